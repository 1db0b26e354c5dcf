"""The layers everything is built from, with PyTorch's names, layouts and initial distributions.

A layer knows that its own parameters fit, so it goes to the definition without checking them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from sys import maxsize
from typing import Any

import numpy as np

from ..engine import ShapeError, Tensor
from ..rng import generator
from . import functional
from .functional import definitions
from .functional.layers import (
    choice,
    flag,
    floating,
    last_axis,
    operand,
    probability,
    whole_numbers,
)
from .functional.norms import epsilon, over_axes
from .module import Module
from .parameter import Parameter


def uniform(shape: tuple[int, ...], bound: float, rng: np.random.Generator | None) -> Parameter:
    """A parameter drawn evenly from [−bound, bound)."""
    return Parameter(generator(rng).uniform(-bound, bound, shape))


def natural(n: Any) -> bool:
    """Is `n` an integer of 0 or more that an array can have elements?"""
    return isinstance(n, (int, np.integer)) and not isinstance(n, bool) and 0 <= int(n) <= maxsize


def positive(who: str, **sizes: int) -> None:
    """Refuse sizes that are not integers of 1 or more."""
    for name, size in sizes.items():
        if not (natural(size) and size):
            raise ShapeError(f"{who}: {name} must be an integer of 1 or more, got {size!r}")


class Linear(Module):
    """y = x Wᵀ + b over the last axis: (..., d_in) -> (..., d_out).

    Attributes:
        weight: (d_out, d_in), drawn from U(−1/√d_in, 1/√d_in).
        bias: (d_out,), likewise; None with bias=False.
    """

    def __init__(
        self, d_in: int, d_out: int, bias: bool = True, *, rng: np.random.Generator | None = None
    ) -> None:
        positive("Linear", d_in=d_in, d_out=d_out)
        has_bias = flag("Linear", "bias", bias)
        self.weight = uniform((d_out, d_in), 1 / sqrt(d_in), rng)
        self.bias = uniform((d_out,), 1 / sqrt(d_in), rng) if has_bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(..., d_in) -> (..., d_out)."""
        x = operand(x)
        last_axis("Linear", x, self.weight.shape[1])
        out: Tensor = definitions.linear(x, self.weight, self.bias)
        return out

    def extra_repr(self) -> str:
        """d_in, d_out and whether there is no bias."""
        d_out, d_in = self.weight.shape
        return f"{d_in}, {d_out}" + ("" if self.bias is not None else ", bias=False")


class Embedding(Module):
    """Rows of a table: integers in [0, num_embeddings) of any shape -> (..., d).

    Attributes:
        weight: (num_embeddings, d), drawn from N(0, 1).
    """

    def __init__(
        self, num_embeddings: int, d: int, *, rng: np.random.Generator | None = None
    ) -> None:
        positive("Embedding", num_embeddings=num_embeddings, d=d)
        self.weight = Parameter(generator(rng).standard_normal((num_embeddings, d)))

    def forward(self, tokens: Any) -> Tensor:
        """Integers (...) -> (..., d)."""
        tokens = whole_numbers("Embedding", "tokens", tokens, len(self.weight))
        rows: Tensor = definitions.embedding(self.weight, tokens=tokens)
        return rows

    def extra_repr(self) -> str:
        """num_embeddings, d."""
        return "{}, {}".format(*self.weight.shape)


class LayerNorm(Module):
    """Zero mean, unit variance over the last axis or axes, then weight and bias (Ba et al. 2016).

    Args:
        d: length of the last axis; for several axes together the lengths of all of them.
        eps: added to the variance.
        bias: add one.

    Attributes:
        weight: (d,), ones.
        bias: (d,), zeros; None with bias=False.
    """

    def __init__(self, d: int | Sequence[int], eps: float = 1e-5, bias: bool = True) -> None:
        shape = lengths("LayerNorm", d)
        self.weight = Parameter(np.ones(shape))
        self.bias = Parameter(np.zeros(shape)) if flag("LayerNorm", "bias", bias) else None
        self.eps = epsilon("LayerNorm", eps)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) -> (..., d)."""
        x, axes, scales = floating(operand(x)), self.weight.ndim, (self.weight, self.bias)
        if axes > 1:
            return over_axes("LayerNorm", definitions.layer_norm, axes, self.eps, x, *scales)
        last_axis("LayerNorm", x, self.weight.size)
        out: Tensor = definitions.layer_norm(x, *scales, eps=self.eps)
        return out

    def extra_repr(self) -> str:
        """d, eps."""
        return f"{listed(self.weight.shape)}, eps={self.eps}"


class RMSNorm(Module):
    """x / √(mean x² + eps) over the last axis or axes, times weight (Zhang and Sennrich 2019).

    Args:
        d: length of the last axis; for several axes together the lengths of all of them.
        eps: added to the mean.

    Attributes:
        weight: (d,), ones.
    """

    def __init__(self, d: int | Sequence[int], eps: float = 1e-6) -> None:
        self.weight = Parameter(np.ones(lengths("RMSNorm", d)))
        self.eps = epsilon("RMSNorm", eps)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) -> (..., d)."""
        x, axes = floating(operand(x)), self.weight.ndim
        if axes > 1:
            return over_axes("RMSNorm", definitions.rms_norm, axes, self.eps, x, self.weight)
        last_axis("RMSNorm", x, self.weight.size)
        out: Tensor = definitions.rms_norm(x, self.weight, eps=self.eps)
        return out

    def extra_repr(self) -> str:
        """d, eps."""
        return f"{listed(self.weight.shape)}, eps={self.eps}"


def lengths(who: str, d: int | Sequence[int]) -> tuple[int, ...]:
    """The shape that a norm covers, one axis or several."""
    shape = tuple(d) if isinstance(d, (tuple, list)) and d else (d,)
    for length in shape:
        positive(who, d=length)
    return shape


def listed(shape: tuple[int, ...]) -> str:
    """A shape as `lengths` takes it."""
    return f"{shape[0]}" if len(shape) == 1 else f"{shape}"


class Dropout(Module):
    """While training, zeroes each element with probability p and divides the others by 1 − p.

    Srivastava et al. 2014, in the form that leaves evaluation alone.
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | None = None) -> None:
        self.p, self.rng = probability("Dropout", p), rng
        generator(rng)  # refuses what is none

    def forward(self, x: Tensor) -> Tensor:
        """Same shape; `x` itself in evaluation."""
        return functional.dropout(x, self.p, rng=self.rng) if self.training else x

    def extra_repr(self) -> str:
        """p."""
        return f"{self.p}"


class GELU(Module):
    """x·Φ(x) (Hendrycks and Gimpel 2016); approximate="tanh" as GPT-2 does."""

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = choice("GELU", "approximate", approximate, ("none", "tanh"))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        out: Tensor = functional.gelu(x, self.approximate)
        return out

    def extra_repr(self) -> str:
        """approximate."""
        return f'approximate="{self.approximate}"'


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        out: Tensor = functional.relu(x)
        return out
