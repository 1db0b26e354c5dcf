"""Files that would like to be something else than safetensors, and what is said about them.

`FILES` are their bytes with a part of the sentence; `COSTLY` want time and memory.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile
from collections.abc import Callable

import numpy as np

from tinygrad_attn.files import MAX_HEADER


def whole(header: str | bytes, data: bytes = b"") -> bytes:
    """A file with this header."""
    text = header.encode() if isinstance(header, str) else header
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: str = "U8", shape: object = (3,), places: object = (0, 3)) -> str:
    """An array's description."""
    return json.dumps({"dtype": dtype, "shape": shape, "data_offsets": places})


def one(description: str, data: bytes = b"abc") -> bytes:
    """A file with one array, described in these words."""
    return whole(f'{{"a": {description}}}', data)


def two(first: tuple[int, int], second: tuple[int, int], size: int) -> bytes:
    """A file with two arrays at these places."""
    described = [entry("U8", [b - a], [a, b]) for a, b in (first, second)]
    return whole(f'{{"a": {described[0]}, "b": {described[1]}}}', b"x" * size)


def zipped() -> bytes:
    """A zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.pkl", "x")
    return file.getvalue()


GOOD = one(entry())
BAD_NUMBERS = ("-1", "1.0", "1e0", '"1"', "true", "null", "9" * 30, str(1 << 63), "[1]")

FILES: dict[str, tuple[bytes, str]] = {
    # ── length ──
    "empty": (b"", "no room for a header"),
    "seven bytes": (b"abcdefg", "no room"),
    "length alone": ((2).to_bytes(8, "little"), "no room"),
    "length 0": (bytes(8) + b"{}", "header would be 0 bytes"),
    "length 1": (whole("{") + b"}", "header would be 1 bytes"),
    "length of the rest and one": ((4).to_bytes(8, "little") + b"{ }", "no header length"),
    "length 2⁶³": ((1 << 63).to_bytes(8, "little") + b"{}" * 9, "no header length"),
    "length 2⁶⁴ − 1": (b"\xff" * 8 + b"{}" * 9, "no header length"),
    "length 2⁶⁴ − 8": ((2**64 - 8).to_bytes(8, "little") + b"{}" * 9, "no header length"),
    "a longer header than any": (whole("{" + " " * MAX_HEADER + "}"), "expected 2 to"),
    # ── other formats ──
    "zip": (zipped(), "a zip archive"),
    "gzip": (gzip.compress(GOOD), "a gzip archive"),
    "pickle": (pickle.dumps({"a": [1, 2]}), "a pickle"),
    "old pickle": (pickle.dumps({"a": [1, 2]}, 2), "a pickle"),
    "numpy": (b"\x93NUMPY\x01\x00v\x00{'descr'", "an array of np.save"),
    "a zip before it": (zipped()[:8] + GOOD, "a zip archive"),
    "text": (b"Once upon a time there was a model", "no header length of a file of 34 bytes"),
    # ── JSON ──
    "no object": (whole("[]"), "begins with b'\\[\\]'"),
    "blank first": (whole(" {}"), "begins with"),
    "mark of byte order": (whole(b"\xef\xbb\xbf{}"), "begins with"),
    "not closed": (whole('{"a": ' + entry(), b"abc"), "expected ,"),
    "comma at the end": (whole('{"a": ' + entry() + ",}", b"abc"), "expected a text"),
    "two objects": (whole("{}{}"), "expected the end"),
    "zeros after it": (whole(b"{}\0\0"), "expected the end"),
    "tab after it": (whole("{}\t"), "expected the end"),
    "single quotes": (whole("{'a': 1}"), "expected a text"),
    "a comment": (whole('{/**/"a": ' + entry() + "}", b"abc"), "expected a text"),
    "a line in a name": (whole('{"a\nb": ' + entry() + "}", b"abc"), "not JSON"),
    "a wrong escape": (whole('{"\\x41": ' + entry() + "}", b"abc"), "not JSON"),
    "a name without end": (whole('{"a'), "not JSON"),
    "not UTF-8": (whole(b'{"\xff": ' + entry().encode() + b"}", b"abc"), "not UTF-8"),
    "UTF-8 too long": (whole(b'{"\xc0\xaf": {}}'), "not UTF-8"),
    "UTF-16": (whole('{"a": {}}'.encode("utf-16-le")), "expected a text"),
    "a surrogate, encoded": (whole(b'{"\xed\xa0\x80": {}}'), "not UTF-8"),
    "a lone surrogate": (whole('{"\\ud800": ' + entry() + "}", b"abc"), "surrogate stands alone"),
    "a surrogate in the metadata": (whole('{"__metadata__": {"a": "\\udfff"}}'), "stands alone"),
    "deep lists": (whole('{"a": ' + "[" * 9999), "expected an array's description"),
    "deep objects": (whole('{"a":' * 9999), "expected an array's description"),
    "a deep shape": (one('{"shape": ' + "[" * 1500 + "]" * 400 + "}"), "not JSON|fields"),
    "an array that is null": (one("null"), "expected an array's description"),
    "an array that is a list": (one("[]"), "expected an array's description"),
    "a long description": (one("{" + " " * 5000 + "}"), "expected an array's description"),
    # ── twice ──
    "a name twice": (whole(f'{{"a": {entry()}, "a": {entry()}}}', b"abc"), "name 'a' comes twice"),
    "a name twice, escaped": (
        whole(f'{{"a": {entry("U8", [0], [0, 0])}, "\\u0061": {entry()}}}', b"abc"), "'a' comes",
    ),
    "a key twice": (one('{"dtype": "I8", ' + entry()[1:]), "key 'dtype' comes twice"),
    "metadata twice": (whole('{"__metadata__": {}, "__metadata__": {}}'), "comes twice"),
    "metadata's key twice": (whole('{"__metadata__": {"a": "", "a": ""}}'), "comes twice"),
    # ── metadata ──
    "metadata of numbers": (whole('{"__metadata__": {"a": 1}}'), "expected a text"),
    "metadata that is text": (whole('{"__metadata__": "a"}'), "expected {"),
    "metadata that is null": (whole('{"__metadata__": null}'), "expected {"),
    "deep metadata": (whole('{"__metadata__": {"a": {"a": "b"}}}'), "expected a text"),
    # ── descriptions ──
    "no dtype": (one('{"shape": [3], "data_offsets": [0, 3]}'), "fields"),
    "no shape": (one('{"dtype": "U8", "data_offsets": [0, 3]}'), "fields"),
    "a field more": (one('{"x": 1, ' + entry()[1:]), "fields"),
    "nothing": (one("{}"), "fields"),
    "NaN": (one('{"dtype": NaN, "shape": [3], "data_offsets": [0, 3]}'), "'NaN' is not JSON"),
    "Infinity": (one('{"dtype": "U8", "shape": [-Infinity], "data_offsets": [0, 3]}'), "not JSON"),
    "an unknown dtype": (one(entry("F31")), "dtype 'F31'"),
    "a dtype of NumPy": (one(entry("|u1")), "dtype"),
    "an object's dtype": (one(entry("O")), "dtype 'O'"),
    "a dtype in small letters": (one(entry("u8")), "dtype 'u8'"),
    "a dtype that is a list": (one('{"dtype": ["U8"], ' + entry().split(",", 1)[1]), "dtype"),
    "a dtype that is too large": (one(entry("F32")), "takes 12"),
    "a shape that is a number": (one(entry("U8", 3)), "shape 3"),
    "a shape too large": (one(entry("U8", [4])), "takes 4"),
    "65 axes": (one(entry("U8", [1] * 64 + [3])), "shape"),
    "a product over 2⁶⁴": (one(entry("U8", [1 << 32, 1 << 32])), "takes 18,?446"),
    "a product that is 3 again": (one(entry("U8", [3, (1 << 62) + 1, 4])), "takes"),
    "zero times too much": (one(entry("F64", [0, 1 << 62, 1 << 62], [0, 0]), b""), "takes 0"),
    "places that are none": (one(entry(places=[])), "expected two"),
    "one place": (one(entry(places=[3])), "expected two"),
    "three places": (one(entry(places=[0, 3, 3])), "expected two"),
    "places the wrong way round": (one(entry(places=[3, 0])), "-3 bytes"),
    # ── places ──
    "overlap": (two((0, 3), (2, 5), 5), "overlap"),
    "the same bytes": (two((0, 3), (0, 3), 3), "overlap"),
    "overlap with room": (two((0, 3), (2, 5), 6), "overlaps another: it begins at 2, not 3"),
    "one inside another": (two((0, 5), (1, 3), 9), "overlap"),
    "a hole": (two((0, 3), (4, 7), 7), "leaves a hole before it: it begins at 4, not 3"),
    "a hole at the beginning": (one(entry(places=[1, 4]), b"xabc"), "hole"),
    "a byte too many": (GOOD + b"x", "take 3 bytes, but the file has 4"),
    "a byte too few": (GOOD[:-1], "ends 3 bytes of arrays, but the file has 2: it is cut"),
    "data without arrays": (whole("{}", b"abc"), "take 0 bytes"),
    "an array beyond the end": (one(entry(places=[1 << 40, (1 << 40) + 3])), "hole"),
    "a large empty array": (one(entry("U8", [0], [1 << 62, 1 << 62]), b""), "hole"),
    **{
        f"size {number}": (
            one(f'{{"dtype": "U8", "shape": [{number}], "data_offsets": [0, 3]}}'), "shape|takes"
        )
        for number in BAD_NUMBERS
    },
    **{
        f"place {number}": (
            one(f'{{"dtype": "U8", "shape": [3], "data_offsets": [0, {number}]}}'),
            "data_offsets|bytes, but its shape",
        )
        for number in BAD_NUMBERS
    },
}  # fmt: skip


def many(count: int, places: str, shape: str = "[]") -> str:
    """Descriptions of many arrays that all stand at the same place."""
    return ",".join(
        f'"{n:x}":{{"dtype":"U8","shape":{shape},"data_offsets":{places}}}' for n in range(count)
    )


def filled(begin: str, unit: str, end: str) -> str:
    """A header as long as allowed."""
    return begin + unit * ((MAX_HEADER - len(begin) - 4 * len(end)) // len(unit)) + end


COSTLY: dict[str, Callable[[], bytes]] = {
    "100,000 arrays on the same bytes": lambda: whole(f"{{{many(100_000, '[0,1]')}}}", b"x"),
    "30,000 arrays on the same bytes": lambda: whole(f"{{{many(30_000, '[0,1]')}}}", b"x" * 99_999),
    "35,000 empty arrays and a hole": lambda: whole(f"{{{many(35_000, '[0,0]', '[0]')}}}", b"x"),
    "a long name": lambda: whole(filled('{"', "a", '": {}}'), b"x"),
    "a name of escapes": lambda: whole(filled('{"', "\\u00e9", '": {}}'), b"x"),
    "a long text of wide characters": lambda: whole(
        filled('{"__metadata__": {"a": "', "a", '😀"}}'), b"x"
    ),
    "a long text that is not ours": lambda: whole(filled('{"__metadata__": {"a": "', "a", '"}}')),
    "many texts": lambda: whole(
        '{"__metadata__":{' + ",".join(f'"{n:x}":""' for n in range(200_000)) + "}}", b"x"
    ),
    "deep": lambda: whole(filled('{"a":', "[", "]")),
    "deep metadata": lambda: whole(filled('{"__metadata__":', '{"":', "")),
    "blanks": lambda: whole(filled("{", " ", "}"), b"x"),
    "a shape without end": lambda: whole(filled('{"a": {"shape": [', "1,", "1]}}")),
    "a list of lists for us": lambda: whole(
        filled('{"__metadata__": {"tinygrad_attn": "[', "[],", '[]]"}}')
    ),
    "short texts for us": lambda: whole(
        filled('{"__metadata__": {"tinygrad_attn": "[', '\\"\\",', '0]"}}')
    ),
    "texts that do not end for us": lambda: whole(
        filled('{"__metadata__": {"tinygrad_attn": "[,\\"', '\\\\\\",', '"}}')
    ),
    "objects for us": lambda: whole(
        filled('{"__metadata__": {"tinygrad_attn": "[', "{},", '{}]"}}')
    ),
    "a deep list for us": lambda: whole(filled('{"__metadata__": {"tinygrad_attn": "', "[", '"}}')),
    "a number without end for us": lambda: whole(
        filled('{"__metadata__": {"tinygrad_attn": "', "9", '"}}')
    ),
}


def random_bytes(seed: int) -> bytes:
    """Nothing at all."""
    return np.random.default_rng(seed).bytes(200)
