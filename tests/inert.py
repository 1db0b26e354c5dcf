"""Whether a file does nothing: pages, pictures and text that only show what they should show."""

from __future__ import annotations

import json
import re
import struct
import unicodedata
import zlib
from collections import Counter
from html.parser import HTMLParser
from typing import Any


class Reader(HTMLParser):
    """What a page consists of, and the text inside each kind of element."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.path: list[str] = []
        self.others: list[str] = []
        self.text: dict[str, list[str]] = {}
        self.values: list[tuple[str, str]] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.values += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "br", "img", "input"):
            self.path.append(tag)
            self.text.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.path, f"</{tag}> ends nothing"
        assert self.path.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.path:
            self.text[self.path[-1]][-1] += data

    def handle_comment(self, data: str) -> None:
        self.others.append(data)

    def handle_decl(self, decl: str) -> None:
        self.others.append(decl)

    unknown_decl = handle_pi = handle_comment


def same_structure(hostile: str, calm: str) -> Reader:
    """The hostile page, if it has the elements, attributes and comments of the calm one."""
    found, expected = Reader(hostile), Reader(calm)
    assert Counter(found.elements) == Counter(expected.elements)
    assert found.others == expected.others
    assert not found.path
    assert not any(name.startswith("on") for _, names in found.elements for name in names)
    spoken = ("alt", "title")
    assert not any("javascript" in v.lower() for name, v in found.values if name not in spoken)
    hostile.encode("utf-8")
    return found


def data_of(source: str) -> dict[str, Any]:
    """The JSON of a page; it must not hold a sign by which HTML begins or ends anything."""
    (text,) = re.findall(
        r'<script type="application/json" id="\w+-data">(.*?)</script>', source, re.DOTALL
    )
    assert text.isascii()
    assert not set(text) & set("<>&")
    data: dict[str, Any] = json.loads(text)
    return data


def refuse_controls(text: str) -> None:
    """Nothing that a terminal obeys."""
    bad = [c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c != "\n"]
    assert not bad, bad


def whole_png(content: bytes) -> None:
    """Every chunk has its checksum, and the pixels are all there."""
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    at, pixels, kind, size = 8, b"", b"", (0, 0)
    while kind != b"IEND":
        (length,) = struct.unpack(">I", content[at : at + 4])
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack(">I", content[at + 8 + length : at + 12 + length])
        assert zlib.crc32(kind + body) == checksum
        if kind == b"IHDR":
            size = struct.unpack(">II", body[:8])
        pixels += body if kind == b"IDAT" else b""
        at += 12 + length
    assert at == len(content)
    assert min(size) > 20
    assert len(zlib.decompress(pixels)) >= size[0] * size[1]


def inert_pdf(content: bytes) -> None:
    """A whole file without links, actions and scripts."""
    assert content.startswith(b"%PDF-")
    assert content.rstrip().endswith(b"%%EOF")
    streams = re.findall(rb"stream\r?\n(.*?)endstream", content, re.DOTALL)
    packed = [zlib.decompressobj().decompress(body) for body in streams if body[:1] == b"x"]
    bare = re.sub(rb"(?s)stream\r?\n.*?endstream", b"", content)
    for source in (bare, *packed):
        assert not re.search(rb"/(URI|JavaScript|JS|Launch|OpenAction|Annots\s*\[\s*\d)", source)
