"""The header of a safetensors file, read strictly.

    8 bytes     n, the length of the header, little-endian
    n bytes     JSON {"__metadata__": {text: text},
                      name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}, blanks
    the rest    the arrays' bytes, each beginning where another ends

Anybody may have written it.  It is read piece by piece and given up at the first wrong one, so that
a hostile file costs little time and memory; no other library sees it before.  A name or a key that
comes twice is refused, as are numbers that are no integers, and lone surrogates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from .strict import STRICT, FormatError, shown

MAX_HEADER = 2 << 20  # bytes; 15,000 arrays with names of usual lengths
MAX_DIMS = 64  # NumPy's limit
METADATA = "__metadata__"
FIELDS = ["data_offsets", "dtype", "shape"]
SIZES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "C64": 8, "BOOL": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1,
}  # fmt: skip
FOREIGN = {
    b"PK\x03\x04": "a zip archive, such as torch.save and np.savez write",
    b"\x1f\x8b": "a gzip archive",
    b"\x80\x02": "a pickle", b"\x80\x03": "a pickle", b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle", b"\x93NUMPY": "an array of np.save", b"\x89HDF": "an HDF5 file",
    b"GGUF": "a GGUF file",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """An array's description: its bytes are `start` to `stop`, counted from the header's end."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Header:
    """What a header says, all of it checked.

    Attributes:
        metadata: further texts by name.
        entries: the arrays by name, in the header's order.
    """

    metadata: dict[str, str] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)


# ── the file ─────────────────────────────────────────────────────────────────────────────────────
def header_of(content: bytes) -> Header:
    """The header of a whole file in memory.

    Raises:
        FormatError: the file is none of this format, or not whole; says what is wrong.
    """
    end = header_end(content[:8], len(content))
    return parsed(content[8:end], len(content) - end)


def header_end(first: bytes, size: int) -> int:
    """Where the header of a file of so many bytes ends, by its first 8."""
    end = 8 + int.from_bytes(first, "little")
    if len(first) < 8 or not 10 <= end <= min(size, 8 + MAX_HEADER):
        foreign = next((name for sign, name in FOREIGN.items() if first.startswith(sign)), None)
        if foreign is not None:
            raise FormatError(f"this is {foreign}")
        if size < 10:
            raise FormatError(f"a file of {size} bytes has no room for a header")
        if end > size:
            raise FormatError(
                f"the first 8 bytes are no header length of a file of {size:,} bytes: it is cut, "
                "or of another format"
            )
        raise FormatError(
            f"the header would be {end - 8:,} bytes long; expected 2 to {MAX_HEADER:,}"
        )
    return end


def parsed(header: bytes, available: int) -> Header:
    """A header's text, for a file with so many bytes after it."""
    if not header.startswith(b"{"):
        raise FormatError(f"the header begins with {header[:4]!r}, expected {{")
    try:
        scanner = Scanner(header.decode("utf-8"))
        found = read_header(scanner, available)
    except UnicodeDecodeError as error:
        raise FormatError(f"the header is not UTF-8 ({error.reason} at {error.start})") from error
    if scanner.text[scanner.at :].strip(" "):
        scanner.fail("the end of the header")
    check_places(found.entries, available)
    return found


def read_header(scanner: Scanner, available: int) -> Header:
    """The object that is the header; arrays that take more bytes than there are end it early."""
    found, used = Header(), 0
    for name in scanner.members():
        if name == METADATA:
            for key in scanner.members():
                found.metadata[key] = scanner.string()
            continue
        entry = found.entries[name] = entry_of(name, scanner.record())
        used += entry.stop - entry.start
        if used > available:
            raise FormatError(
                f"{shown(name)} ends {used:,} bytes of arrays, but the file has {available:,}: it "
                "is cut, or arrays overlap"
            )
    return found


def entry_of(name: str, record: dict[str, Any]) -> Entry:
    """One array's description, checked by itself."""
    if sorted(record) != FIELDS:
        raise FormatError(f"{shown(name)} has the fields {shown(list(record))}, not {FIELDS}")
    dtype, shape, places = record["dtype"], record["shape"], record["data_offsets"]
    if not isinstance(dtype, str) or dtype not in SIZES:
        raise FormatError(
            f"{shown(name)} has the dtype {shown(dtype)}; expected one of {', '.join(SIZES)}"
        )
    if not naturals(shape) or len(shape) > MAX_DIMS:
        raise FormatError(f"{shown(name)} has the shape {shown(shape)}; expected integers ≥ 0")
    if not naturals(places) or len(places) != 2:
        raise FormatError(f"{shown(name)} has the data_offsets {shown(places)}; expected two")
    size, largest = SIZES[dtype], SIZES[dtype]
    for n in shape:
        size, largest = size * n, largest * max(n, 1)
    if largest >= 1 << 63 or places[1] - places[0] != size:
        raise FormatError(
            f"{shown(name)} has {places[1] - places[0]} bytes, but its shape {shown(shape)} "
            f"of {dtype} takes {size}"
        )
    return Entry(dtype, tuple(shape), *places)


def naturals(values: object) -> bool:
    """Is this a list of integers from 0 to 2⁶³ − 1?"""
    return isinstance(values, list) and all(type(n) is int and 0 <= n < 1 << 63 for n in values)


def check_places(entries: dict[str, Entry], available: int) -> None:
    """Refuse arrays that overlap, leave holes, or do not reach the end of the file."""
    reached = 0
    for name, entry in sorted(entries.items(), key=lambda pair: (pair[1].start, pair[1].stop)):
        if entry.start != reached:
            fault = "overlaps another" if entry.start < reached else "leaves a hole before it"
            raise FormatError(f"{shown(name)} {fault}: it begins at {entry.start}, not {reached}")
        reached = entry.stop
    if reached != available:
        raise FormatError(f"the arrays take {reached:,} bytes, but the file has {available:,}")


# ── JSON, piece by piece ─────────────────────────────────────────────────────────────────────────
BLANK = " \t\n\r"
BLANKS = re.compile(f"[{BLANK}]*+")
RECORD = re.compile(r"\{[^{}]{0,2000}+\}")  # nothing inside that could be deep or long


class Scanner:
    """Reads JSON text from left to right."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def fail(self, expected: str) -> NoReturn:
        """Say what stands where something else should."""
        found = shown(self.text[self.at : self.at + 20])
        raise FormatError(f"the header has {found} at {self.at}; expected {expected}")

    def peek(self) -> str:
        """The character after the blanks, which are passed; "" at the end."""
        found = self.text[self.at : self.at + 1]
        if found in BLANK and found and (blanks := BLANKS.match(self.text, self.at)):
            self.at = blanks.end()
            return self.text[self.at : self.at + 1]
        return found

    def expect(self, mark: str) -> None:
        """Go past a mark."""
        if self.peek() != mark:
            self.fail(mark)
        self.at += 1

    def members(self) -> Iterator[str]:
        """The keys of the object that begins here; the caller reads each value before the next."""
        seen: set[str] = set()
        self.expect("{")
        if self.peek() == "}":
            self.at += 1
            return
        while True:
            key = self.string()
            if key in seen:
                raise FormatError(f"the name {shown(key)} comes twice")
            seen.add(key)
            self.expect(":")
            yield key
            if self.peek() == "}":
                self.at += 1
                return
            self.expect(",")

    def string(self) -> str:
        """The text that stands here."""
        if self.peek() != '"':
            self.fail("a text")
        text: str = self.value()
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise FormatError(f"{shown(text)} is no text: a surrogate stands alone") from error
        return text

    def record(self) -> dict[str, Any]:
        """The small object, without objects in it, that stands here."""
        self.peek()
        if RECORD.match(self.text, self.at) is None:
            self.fail("an array's description")
        found: dict[str, Any] = self.value()
        return found

    def value(self) -> Any:
        """The JSON value that stands here; what it may be is looked at before."""
        try:
            found, self.at = STRICT.raw_decode(self.text, self.at)
        except FormatError:
            raise
        except (ValueError, RecursionError) as error:
            raise FormatError(f"the header is not JSON near {self.at} ({error})") from error
        return found
