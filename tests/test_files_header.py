"""The header of a safetensors file: one text can mean one thing only, and costs little."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hostile_files import FILES, GOOD, one, random_bytes, whole
from safetensors.numpy import save

from tinygrad_attn.files import FormatError, arrays_of, header_of
from tinygrad_attn.files.header import SIZES, Entry

ARRAYS = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a.ж": np.ones((5, 0, 3), np.float64),
    "c": np.array(True),
    "d": np.array([1 - 2j], np.complex64),
    **{k: np.array([1, 0, 7], k) for k in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2")},
}


def test_what_the_library_writes_is_read() -> None:
    content = save(ARRAYS, {"é": "\u2028\x7f", "": "{}"})
    assert header_of(content).metadata == {"é": "\u2028\x7f", "": "{}"}
    found = arrays_of(content, header_of(content), "a test")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert found[name].tobytes() == array.tobytes()
        assert found[name].shape == array.shape
        assert found[name].flags.writeable


def test_every_form_of_the_same_header_is_read() -> None:
    a = {"shape": [3], "data_offsets": [0, 3], "dtype": "U8"}
    text = json.dumps({"b": {**a, "shape": [0], "data_offsets": [3, 3]}, "a": a}, indent=2)
    assert header_of(whole(text + "  ", b"abc")).entries == {
        "b": Entry("U8", (0,), 3, 3),
        "a": Entry("U8", (3,), 0, 3),
    }
    assert header_of(whole("{}")).entries == {}


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused(name: str) -> None:
    content, sentence = FILES[name]
    with pytest.raises(FormatError, match=sentence) as caught:
        header_of(content)
    assert len(str(caught.value)) < 400


def test_every_cut_and_every_random_file_is_refused() -> None:
    content = save(ARRAYS, {"note": "x"})
    for length in range(len(content)):
        with pytest.raises(FormatError):
            header_of(content[:length])
    for seed in range(200):
        with pytest.raises(FormatError):
            header_of(random_bytes(seed))


def test_a_name_is_never_a_path() -> None:
    for name in ("../../etc/passwd", "/dev/null", "C:\\x", "a\0b", "", ".", "a/b"):
        content = save({name: np.ones(3)})
        assert list(header_of(content).entries) == [name]
        assert list(arrays_of(content, header_of(content), "a test")) == [name]


def test_arrays_that_numpy_lacks() -> None:
    eight = one('{"dtype": "F8_E5M2", "shape": [3], "data_offsets": [0, 3]}')
    assert header_of(eight).entries["a"].dtype == "F8_E5M2"
    with pytest.raises(FormatError, match="a is F8_E5M2; expected one of F64, F32"):
        arrays_of(eight, header_of(eight), "a test")
    truths = one('{"dtype": "BOOL", "shape": [3], "data_offsets": [0, 3]}')
    with pytest.raises(FormatError, match="a is BOOL, but holds bytes that are neither"):
        arrays_of(truths, header_of(truths), "a test")


def test_bfloat16_becomes_float32() -> None:
    data = np.array([1.5, -2.0], np.float32).view(np.uint16)[1::2].tobytes()
    content = one('{"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}', data)
    found = arrays_of(content, header_of(content), "a test")
    assert found["a"].tolist() == [1.5, -2.0]


def test_the_sizes_are_numpys() -> None:
    names = {"F": "f", "I": "i", "U": "u", "C": "c"}
    known = {k: s for k, s in SIZES.items() if k[0] in names and k[1:].isdigit()}
    assert len(known) == 12
    assert all(np.dtype(f"{names[k[0]]}{s}").itemsize * 8 == int(k[1:]) for k, s in known.items())


def test_a_good_file_is_good() -> None:
    assert header_of(GOOD).entries == {"a": Entry("U8", (3,), 0, 3)}
