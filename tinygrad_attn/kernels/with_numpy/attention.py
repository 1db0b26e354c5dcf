"""Attention's passes over the scores, in NumPy (kernels/passes.py says what each does)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ..limits import Array, blocking, within
from ..passes import Passes


def softmax(scores: Array, scale: float, low: int | None, high: int | None) -> None:
    """P = softmax(scale·R)."""
    if scale != 1:
        scores *= scale
    bound(scores, low, high)
    scores -= np.maximum.reduce(scores, axis=-1, keepdims=True, initial=-np.inf)
    np.exp(scores, out=scores)
    scores /= np.add.reduce(scores, axis=-1, keepdims=True)


def dsoftmax(dweights: Array, weights: Array, scale: float) -> None:
    """scale·P∘(dP − δ)."""
    dweights -= np.vecdot(dweights, weights)[..., None]  # δ
    dweights *= weights
    if scale != 1:
        dweights *= scale


def online(
    scores: Array, low: int | None, high: int | None, largest: Array, total: Array, out: Array
) -> None:
    """E = exp(S − m)."""
    bound(scores, low, high)
    before = largest.copy()
    np.maximum(before, scores.max(axis=-1, keepdims=True), out=largest)
    shift = np.where(np.isneginf(largest), 0, largest)  # no key so far: ∞ − ∞ must not arise
    decay = np.exp(before - shift)
    scores -= shift
    np.exp(scores, out=scores)
    total *= decay
    total += np.add.reduce(scores, axis=-1, keepdims=True)
    out *= decay


def again(
    scores: Array, dweights: Array, low: int | None, high: int | None, logsum: Array, delta: Array
) -> None:
    """P = exp(S − L) and P∘(dP − δ)."""
    bound(scores, low, high)
    scores -= logsum
    np.exp(scores, out=scores)
    dweights -= delta
    dweights *= scores


def bound(scores: Array, low: int | None, high: int | None) -> None:
    """−∞ where not low ≤ j − i ≤ high."""
    if low is not None or high is not None:
        queries, keys = scores.shape[-2:]
        # Larger ones would only fill the cache: two of them are as large as a tile.
        small = queries * keys <= 1 << 16
        bias = (beyond if small else beyond.__wrapped__)(queries, keys, low, high, scores.dtype)
        if bias is not None:
            scores += bias


@lru_cache(maxsize=8)
def beyond(
    queries: int, keys: int, low: int | None, high: int | None, dtype: np.dtype[Any]
) -> Array | None:
    """What `bound` adds, (T, S), read-only; None where it would be nothing."""
    near = within(slice(0, queries), slice(0, keys), low, high)
    if near is None:
        return None
    bias = blocking(near, dtype)
    bias.setflags(write=False)
    return bias


PASSES = Passes(softmax, dsoftmax, online, again)
