"""Anatomy pages for the tests in a browser, and what is asked of them there."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from attended import CASES, Model, inputs, loss_of

from tinygrad_attn import Tensor, nn
from tinygrad_attn.viz.anatomy import anatomy

NAME = "blocks.1.attn"
INPUTS = {"X", "M", "Wq", "Wk", "Wv", "Wo", "bq", "bk", "bv", "bo", "dY"}
WORDS = [list("abcde"), ["the", "animal", "was", "too", "tired"]]
LENGTH = 130


@cache
def html(case: str) -> str:
    """The page of a case, with three targets: two numbers and one element of Y."""
    rng = np.random.default_rng(5)
    model, given = Model(CASES[case], rng), inputs(CASES[case], rng)
    keys = [*"tuvwxyz"] if CASES[case].cross else WORDS[0]
    examples: Any = [(words, keys) if CASES[case].cross else words for words in WORDS]
    page = anatomy(
        model,
        lambda model: loss_of(model, *given),
        layer=NAME,
        examples=examples,
        cells=[(0, 1, 2)],
        title="a sentence",
        numeric_limit=40,
    )
    return page.to_html()


@cache
def long_html() -> str:
    """130 tokens, one head after the other 4 wide."""
    rng = np.random.default_rng(6)
    layer = nn.MultiHeadAttention(8, 2, rng=rng)
    x, w = rng.standard_normal((2, 1, LENGTH, 8))
    page = anatomy(layer, lambda layer: (layer(Tensor(x), causal=True) * w).sum(), numeric_limit=0)
    return page.to_html()


# ── what is asked ────────────────────────────────────────────────────────────────────────────────
def path_of(page: Any) -> Path:
    """The file that a page was opened from."""
    return Path(page.url.removeprefix("file://"))


def inspected(page: Any) -> dict[str, str]:
    return page.evaluate("({...document.getElementById('inspector').dataset})")


def state(page: Any) -> dict[str, Any]:
    return page.evaluate("anatomy.state()")


def number(text: str) -> float:
    return float(text.replace("Infinity", "inf"))


def assert_sum(found: dict[str, str]) -> None:
    value, sum_ = number(found["value"]), number(found["sum"])
    assert value == sum_ or abs(value - sum_) <= 1e-9 * max(1, abs(value)), found


def shapes(page: Any) -> dict[str, tuple[int, int, int]]:
    """Heads, rows and columns of every matrix, from what `get` gives."""
    data = page.evaluate("JSON.parse(document.getElementById('anatomy-data').textContent).matrices")
    found = {}
    for name in page.evaluate("anatomy.names()"):
        matrix = data[name.removeprefix("d")]
        found[name] = (max(1, matrix["heads"]), *matrix["shape"][-2:])
    return found


def pixels(page: Any, name: str) -> bytes:
    """A matrix as it is painted."""
    return page.evaluate(
        f"document.querySelector('[data-matrix=\"{name}\"] canvas').toDataURL()"
    ).encode()
