"""Fixtures of the tier `browser`: pages opened from their files, offline, in a real Chromium.

A test module asks for them by `pytest_plugins = ["browser"]`.  The browser is the `chromium` on the
PATH, or what TINYGRAD_ATTN_CHROMIUM names.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PageOf = Callable[..., Any]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The browser, started once."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("TINYGRAD_ATTN_CHROMIUM") or shutil.which("chromium")
    assert path, "no `chromium` on the PATH: install it, or name one in TINYGRAD_ATTN_CHROMIUM"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page_of(chromium: Any) -> Iterator[PageOf]:
    """Opens a file: page_of(path, width=…, height=…, dark=…).

    At the end of the test no page may have reported an error, opened a dialog or asked for
    anything but itself.
    """
    contexts: list[Any] = []
    troubles: list[str] = []

    def opened(path: Path, *, width: int = 1440, height: int = 900, dark: bool = False) -> Any:
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            offline=True,
            color_scheme="dark" if dark else "light",
        )
        contexts.append(context)
        address = path.resolve().as_uri()
        page = context.new_page()
        page.set_default_timeout(10_000)
        watch(page, address, troubles)
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not troubles, troubles


def watch(page: Any, address: str, troubles: list[str]) -> None:
    """Note what a page must not do."""

    def said(message: Any) -> None:
        if message.type in ("error", "warning"):
            troubles.append(message.text)

    def asked(request: Any) -> None:
        if request.url != address:
            troubles.append(f"request {request.url}")

    def talked(dialog: Any) -> None:
        troubles.append(f"dialog {dialog.message}")
        dialog.dismiss()

    page.on("console", said)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", asked)
    page.on("dialog", talked)
