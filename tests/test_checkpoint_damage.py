"""A checkpoint that was damaged, or could not be written whole: never another one, never none."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fuzz.checkpoints import right
from tinygrad_attn import checkpoint
from tinygrad_attn.checkpoint import CheckpointError
from tinygrad_attn.checkpoint.layout import DIGITS
from tinygrad_attn.models import GPT, GPTConfig

WHOLE = right()[0]
FLIPS = 2_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A checkpoint that is whole."""
    path = tmp_path / "m"
    path.write_bytes(WHOLE)
    checkpoint.load(path)
    return path


def detected(path: Path) -> bool:
    """Is this refused?"""
    try:
        checkpoint.load(path)
    except CheckpointError:
        return True
    return False


def undetected(path: Path, bits: Iterable[int]) -> list[int]:
    """Those of these bits that may be flipped and nobody sees it."""
    unseen = []
    for bit in bits:
        byte = WHOLE[bit // 8]
        write_byte(path, bit // 8, byte ^ 1 << bit % 8)
        if not detected(path):
            unseen.append(bit)
        write_byte(path, bit // 8, byte)
    assert path.read_bytes() == WHOLE
    return unseen


def write_byte(path: Path, place: int, byte: int) -> None:
    with open(path, "r+b") as file:
        file.seek(place)
        file.write(bytes([byte]))


def test_every_flipped_bit_is_noticed(path: Path) -> None:
    """Wherever it falls: in a number, in a name, in a blank, in the digest itself."""
    bits = np.random.default_rng(4).choice(8 * len(WHOLE), FLIPS, replace=False)
    header = 8 * (8 + int.from_bytes(WHOLE[:8], "little"))
    assert min((bits < header).sum(), (bits >= header).sum()) > 300
    assert undetected(path, bits.tolist()) == []


def test_every_bit_up_to_the_digest_and_after_it_is_noticed(path: Path) -> None:
    assert undetected(path, range(8 * (DIGITS.stop + 40))) == []


@pytest.mark.faults
def test_every_cut_is_noticed(path: Path) -> None:
    for length in reversed(range(len(WHOLE))):
        os.truncate(path, length)
        assert detected(path), f"{length} bytes"


# ── a limit on the size of files ─────────────────────────────────────────────────────────────────
@contextmanager
def limited(most: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_whatever_part_can_be_written_the_old_one_stays(tmp_path: Path) -> None:
    """The system takes as much as it may, and then refuses."""
    model = GPT(GPTConfig(vocab_size=7, max_length=5, num_layers=1, num_heads=2, d_model=6))
    path = checkpoint.save(tmp_path / "m", model=model, step=1)
    size, refused = path.stat().st_size, 0
    for most in np.linspace(0, size - 1, 40).astype(int).tolist():
        with limited(most), pytest.raises(CheckpointError, match=r"File too large.*is untouched"):
            checkpoint.save(path, model=model, step=2)
        refused += 1
        assert checkpoint.load(path).step == 1
        assert os.listdir(tmp_path) == ["m"]
    assert refused == 40
    with limited(size):
        checkpoint.save(path, model=model, step=2)
    assert checkpoint.load(path).step == 2
