"""What every test file shares: one thread, NumPy's kernels, seeded numbers, no leaking settings."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy loads: small matrices gain nothing
os.environ.setdefault("TINYGRAD_ATTN_KERNELS", "numpy")  # whether numba is installed or not

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tinygrad_attn.engine.settings import SETTINGS

settings.register_profile("same", derandomize=True, deadline=None, max_examples=60, database=None)
settings.load_profile("same")


pytest_plugins = ["pytest_tinygrad_attn"]  # the project's own, from this folder: `rng` and others


def pytest_itemcollected(item: pytest.Item) -> None:
    """What runs under numba's kernels is of the tier `numba`."""
    call = getattr(item, "callspec", None)
    if call is not None and call.params.get("_kernel_set") == "numba":
        item.add_marker("numba")


@pytest.fixture(autouse=True)
def _settings_as_found() -> Iterator[None]:
    """No test leaves a dtype, a scope or a switch behind."""
    before = SETTINGS.get()
    yield
    left, _ = SETTINGS.get(), SETTINGS.set(before)
    assert left == before, f"the test left the settings changed: {left}"
