"""Positions: attention alone cannot tell the order of its keys, so something has to say it.

    SinusoidalPositions, LearnedPositions    are added to the embeddings
    RotaryPositions                          turns queries and keys
    AlibiBias                                is added to the scores

`offset` is the number of positions that came before, e.g. the length of a cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..engine import Array, DTypeError, ShapeError, Tensor
from ..engine.tensor import locked
from ..rng import generator
from .functional.layers import flag, operand, real
from .functional.rotary import rotary
from .layers import natural, positive
from .module import Module
from .parameter import Parameter


class SinusoidalPositions(Module):
    """Adds sines and cosines of the position (Vaswani et al. 2017, section 3.5).

        PE(t, 2i) = sin(t / 10000^(2i/d))       PE(t, 2i + 1) = cos(t / 10000^(2i/d))

    Args:
        d_model: width.
        max_length: number of positions.

    Attributes:
        table: (max_length, d_model), float64, read-only; no parameter.
    """

    def __init__(self, d_model: int, max_length: int) -> None:
        positive("SinusoidalPositions", d_model=d_model, max_length=max_length)
        rates = inverse_powers(10_000.0, d_model)
        table = np.empty((max_length, d_model))
        table[:, 0::2] = np.sin(np.arange(max_length)[:, None] * rates)
        table[:, 1::2] = np.cos(np.arange(max_length)[:, None] * rates[: d_model // 2])
        self.table: Array = locked(table)

    def forward(self, x: Tensor, offset: int = 0) -> Tensor:
        """(..., T, d_model), the first row being position `offset` -> the same shape.

        Raises:
            ShapeError: x has another width, or a position lies beyond max_length.
            DTypeError: x is not floating.
        """
        x = operand(x)
        rows = self.table[stretch("SinusoidalPositions", x, self.table.shape, offset)]
        out: Tensor = ops.add(x, locked(rows.astype(x.dtype)))
        return out

    def extra_repr(self) -> str:
        """d_model, max_length."""
        return "{1}, max_length={0}".format(*self.table.shape)


class LearnedPositions(Module):
    """Adds a trained vector for each position (Gehring et al. 2017, section 3.1; BERT, GPT-2, ViT).

    Args:
        max_length: number of positions.
        d_model: width.
        rng: generator for initial values.

    Attributes:
        weight: (max_length, d_model), drawn from N(0, 0.02²).
    """

    def __init__(
        self, max_length: int, d_model: int, *, rng: np.random.Generator | None = None
    ) -> None:
        positive("LearnedPositions", max_length=max_length, d_model=d_model)
        self.weight = Parameter(generator(rng).normal(0.0, 0.02, (max_length, d_model)))

    def forward(self, x: Tensor, offset: int = 0) -> Tensor:
        """(..., T, d_model), the first row being position `offset` -> the same shape.

        Raises:
            ShapeError: x has another width, or a position lies beyond max_length.
            DTypeError: x is not floating.
        """
        x = operand(x)
        return x + self.weight[stretch("LearnedPositions", x, self.weight.shape, offset)]

    def extra_repr(self) -> str:
        """max_length, d_model."""
        return "{}, d_model={}".format(*self.weight.shape)


class RotaryPositions(Module):
    """Turns pairs of features by angles that grow with the position (Su et al. 2021, eq. 34).

        θᵢ = base^(−2i/d)
        (a, b) at position t → (a cos tθᵢ − b sin tθᵢ, b cos tθᵢ + a sin tθᵢ)

    With queries and keys turned alike, a score depends on the distance of their positions only.

    Args:
        d_head: width of a head; even.
        base: of the angles.
        interleaved: feature 2i is paired with 2i + 1, as in the paper; else feature i with
            i + d/2, as in Hugging Face's Llama.

    Attributes:
        rates: θ, (d_head/2,) float64.

    Raises:
        ShapeError: d_head is odd, or base is not positive.
    """

    def __init__(self, d_head: int, *, base: float = 10_000.0, interleaved: bool = False) -> None:
        positive("RotaryPositions", d_head=d_head)
        if d_head % 2 or not 0 < real("RotaryPositions", "base", base) < np.inf:
            raise ShapeError(
                "RotaryPositions: features turn in pairs, so d_head must be even, and "
                f"base positive; got {d_head=}, {base=}"
            )
        self.d_head, self.base = d_head, base
        self.interleaved = flag("RotaryPositions", "interleaved", interleaved)
        self.rates: Array = locked(inverse_powers(base, d_head))

    def forward(self, x: Tensor, offset: int = 0) -> Tensor:
        """(..., T, d_head), the first row being position `offset` -> the same shape, turned.

        Raises:
            ShapeError: x has another width, or offset is negative.
            DTypeError: x is not floating.
        """
        x = operand(x)
        span = stretch("RotaryPositions", x, (None, self.d_head), offset)
        angles = np.arange(span.start, span.stop)[:, None] * self.rates
        cos, sin = (locked(wave(angles).astype(x.dtype)) for wave in (np.cos, np.sin))
        return rotary(x, cos, sin, interleaved=self.interleaved)

    def extra_repr(self) -> str:
        """d_head, and what is not as usual."""
        notes = [f"{self.d_head}", f"base={self.base:g}"]
        return ", ".join(notes + ["interleaved=True"] * self.interleaved)


class AlibiBias(Module):
    """Keys count less the farther away they are, in each head at a rate of its own.

        bias(h, i, j) = −slope(h)·|i + offset − j|

    Press et al. 2022, section 3, for causal attention; to the right it falls as to the left.

    Args:
        num_heads: number of heads.

    Attributes:
        slopes: (num_heads,) float64: 2^(−8k/n), k = 1 … n, for n heads, n a power of two.  For
            other numbers those of the next lower power, followed by every second one, from the
            first, of the next higher power: the authors' choice.
    """

    def __init__(self, num_heads: int) -> None:
        positive("AlibiBias", num_heads=num_heads)
        lower = 1 << (int(num_heads).bit_length() - 1)
        between = geometric(2 * lower)[0::2]
        self.slopes: Array = locked(np.concatenate([geometric(lower), between])[:num_heads])

    def forward(self, queries: int, keys: int, offset: int = 0) -> Array:
        """What to add to the scores (heads, queries, keys): a read-only array, float64.

        Raises:
            ShapeError: queries, keys or offset is not an integer of 0 or more.
        """
        for name, n in (("queries", queries), ("keys", keys), ("offset", offset)):
            if not natural(n):
                raise ShapeError(
                    f"AlibiBias: {name} must be an integer of 0 or more, got {n!r:.80}"
                )
        distance = np.abs(np.arange(queries)[:, None] + offset - np.arange(keys))
        bias: Array = locked(-self.slopes[:, None, None] * distance)
        return bias

    def extra_repr(self) -> str:
        """num_heads."""
        return f"{len(self.slopes)}"


def inverse_powers(base: float, width: int) -> Array:
    """base^(−2i/width) for i = 0 … ⌈width/2⌉ − 1."""
    powers: Array = base ** (-np.arange(0, width, 2) / width)
    return powers


def geometric(n: int) -> Array:
    """2^(−8k/n) for k = 1 … n."""
    slopes: Array = 2.0 ** (-8 * np.arange(1, n + 1) / n)
    return slopes


def stretch(who: str, x: Any, limits: tuple[int | None, int], offset: int) -> slice:
    """The positions of the rows of `x` (..., T, width), if max_length and width allow them."""
    max_length, width = limits
    if x.ndim < 2 or x.shape[-1] != width:
        raise ShapeError(f"{who}: expected x (..., T, {width}), got {x.shape}")
    if x.dtype.kind not in "fc":
        raise DTypeError(f"{who}: expected floating x, got {x.dtype}")
    if not natural(offset):
        raise ShapeError(f"{who}: offset must be an integer of 0 or more, got {offset!r}")
    end = int(offset) + x.shape[-2]
    if max_length is not None and end > max_length:
        raise ShapeError(
            f"{who}: expected positions below max_length={max_length}, got {offset} … {end - 1}"
        )
    return slice(int(offset), end)
