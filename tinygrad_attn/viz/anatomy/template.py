"""A page as one HTML file: a template with its style, its script and its data inside."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape
from importlib.resources import files
from itertools import count
from string import Template
from typing import Any

from ..labels import clean
from .payload import TITLE_LIMIT, written


def html(name: str, title: str, script: str, data: dict[str, Any]) -> str:
    """The whole page, ASCII but for what the template itself says; "size" in its data is filled in.

    Args:
        name: of the template, "page" for page.html and page.css.
        data: what the script reads, with a "size" of any value.
    """
    style = resource(f"{name}.css")
    template = Template(resource(f"{name}.html"))

    def filled(size: int) -> str:
        return template.substitute(
            title=escape(clean(title, TITLE_LIMIT)),
            style=style,
            script=script,
            style_hash=digest(style),
            script_hash=digest(script),
            data=written({**data, "size": size}),
        )

    rest = len(filled(0).encode()) - len("0")
    # the size has as many digits as it needs: the first n with n digits
    return filled(next(rest + n for n in count(1) if len(str(rest + n)) == n))


def resource(name: str) -> str:
    """One of the template's files."""
    return (files(__package__) / name).read_text("utf-8")


def digest(text: str) -> str:
    """What the page's security policy calls a script or a style by."""
    return b64encode(sha256(text.encode("utf-8")).digest()).decode("ascii")
