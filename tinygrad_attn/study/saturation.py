"""The saturation lab: what grows with the width of a head, and what with the length of a sentence.

    by_width = study.saturation("width")          d_k = 4 … 4,096, 64 keys
    by_length = study.saturation("length")        4 … 4,096 keys, d_k = 64

Queries and keys have independent entries N(0, σ²), values N(0, 1).  Every point is measured twice
on the same numbers: with the factor 1/√d_k of attention, and without.  Vaswani et al. 2017 (section
3.2.1 and its footnote 4) divide by √d_k because q·k has the variance d_k; the length is not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import isfinite, log, sqrt
from typing import Any

import numpy as np

from ..engine import Array, ShapeError, Tensor, grad
from ..nn import functional
from ..nn.functional.layers import choice, real
from ..nn.layers import natural, positive

SIZES = tuple(2**n for n in range(2, 13))
LARGEST = 1 << 14  # of a width, a length or a number of queries
LARGEST_PRODUCT = 1 << 24  # of width and length: 128 MiB for the keys
MEASURES = {
    "variance": "variance of the scores S",
    "largest": "largest score of a row, mean over the rows",
    "entropy": "entropy of a row of P in nats, mean over the rows",
    "entropy_share": "the same as a share of ln T, the entropy of a uniform row",
    "jacobian": "Frobenius norm of diag(p) − p pᵀ, mean over the rows",
    "gradient": "‖dQ‖/√d_k of a row, median over the rows",
    "gradient_rms": "‖dQ‖/√d_k of a row, root mean square over the rows",
}
FACTORS = ("1/√d_k", "1")


@dataclass(frozen=True)
class Sweep:
    """What was measured while one size went up and the other stood still.

    The upstream gradient dC has independent entries N(0, 1), so a row of it is about √d_k long.  A
    row of dQ is therefore divided by √d_k: that is the gain of the gradient on its way from C to Q,
    and 1 means as large as it came.

    Attributes:
        along: "width" (d_k) or "length" (T, the number of keys).
        sizes: what it went through.
        fixed: the size that stood still.
        sigma: standard deviation of the entries of Q and K.
        queries: rows of Q in each draw.
        seeds: one for each draw.
        measured: for each name in MEASURES (2, sizes, draws); first with 1/√d_k, then without.
        theory: for each name with one (2, sizes); NaN where the theory does not hold.
    """

    along: str
    sizes: tuple[int, ...]
    fixed: int
    sigma: float
    queries: int
    seeds: tuple[int, ...]
    measured: dict[str, Array]
    theory: dict[str, Array]

    def mean(self, name: str) -> Array:
        """The mean over the draws (2, sizes)."""
        return self.measured[name].mean(axis=-1)

    def spread(self, name: str) -> tuple[Array, Array]:
        """The smallest and the largest draw, each (2, sizes)."""
        return self.measured[name].min(axis=-1), self.measured[name].max(axis=-1)

    def point(self, size: int) -> tuple[int, int]:
        """(d_k, T) where the size that goes up is `size`."""
        return (size, self.fixed) if self.along == "width" else (self.fixed, size)

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values that JSON can hold; NaN becomes None."""
        return {
            "along": self.along,
            "sizes": list(self.sizes),
            "fixed": self.fixed,
            "sigma": self.sigma,
            "queries": self.queries,
            "seeds": list(self.seeds),
            "factors": list(FACTORS),
            "measures": dict(MEASURES),
            "measured": {name: values.tolist() for name, values in self.measured.items()},
            "theory": {
                name: [[x if isfinite(x) else None for x in line] for line in lines.tolist()]
                for name, lines in self.theory.items()
            },
        }


def saturation(
    along: str,
    sizes: Sequence[int] = SIZES,
    *,
    fixed: int = 64,
    sigma: float = 1.0,
    queries: int = 64,
    draws: int = 16,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Sweep:
    """Measure attention on random numbers, size after size, with 1/√d_k and without; in float64.

    Args:
        along: what goes up: "width" (d_k) or "length" (T).
        sizes: the values it takes, rising; a length is at least 2.
        fixed: the other one.
        sigma: standard deviation of the entries of Q and K.
        queries: rows of Q in each draw.
        draws: how often each point is drawn afresh.
        seed: of the first draw; the next ones have the numbers that follow.  A point depends on its
            own sizes and seed alone.
        on_progress: called with (points done, points in all).

    Raises:
        DTypeError: a value is of a wrong kind.
        ShapeError: a value is out of range, or the sizes do not rise.
    """
    sizes = checked(along, sizes, fixed, sigma, queries, draws, seed)
    seeds = tuple(range(seed, seed + draws))
    points = [(size, fixed) if along == "width" else (fixed, size) for size in sizes]
    found, total = [], len(points) * draws
    for done, (point, drawn) in enumerate(product(points, seeds), 1):
        found.append(both_ways(*point, sigma, queries, drawn))
        on_progress(done, total)
    table = np.array(found).reshape(len(points), draws, 2, len(MEASURES))
    measured = {name: table[..., at].transpose(2, 0, 1) for at, name in enumerate(MEASURES)}
    return Sweep(along, sizes, fixed, float(sigma), queries, seeds, measured, theory(points, sigma))


# ── one point ────────────────────────────────────────────────────────────────────────────────────
def both_ways(width: int, length: int, sigma: float, queries: int, seed: int) -> list[list[float]]:
    """The MEASURES of one draw, with 1/√d_k and without, on the same numbers."""
    rng = np.random.default_rng((seed, width, length))
    q, g = rng.standard_normal((2, queries, width))
    k, v = rng.standard_normal((2, length, width))
    q, k, v = Tensor(sigma * q, requires_grad=True), Tensor(sigma * k), Tensor(v)
    return [measures(q, k, v, g, scale) for scale in (1 / sqrt(width), 1.0)]


def measures(q: Tensor, k: Tensor, v: Tensor, g: Array, scale: float) -> list[float]:
    """The MEASURES of attention of `q` (rows, d_k) to `k` and `v`; `g` is dC (rows, d_k)."""
    context, stages = functional.attention(q, k, v, scale=scale, return_stages=True)
    (dq,) = grad(context, [q], g)
    assert dq is not None
    S, P = stages.scores.data, stages.weights.data
    gains = np.sqrt((dq.data**2).mean(axis=-1))  # ‖dQᵢ‖/√d_k
    in_nats = entropy(P).mean()
    found = {
        "variance": S.var(),
        "largest": S.max(axis=-1).mean(),
        "entropy": in_nats,
        "entropy_share": in_nats / log(P.shape[-1]),
        "jacobian": jacobian_norm(P).mean(),
        "gradient": np.median(gains),
        "gradient_rms": np.sqrt((gains**2).mean()),
    }
    return [float(found[name]) for name in MEASURES]


def entropy(P: Array) -> Array:
    """−Σ p ln p of each row, in nats; 0 ln 0 counts as 0: (..., T) -> (...)."""
    result: Array = -(P * np.log(np.where(P > 0, P, 1))).sum(axis=-1)
    return result


def jacobian_norm(P: Array) -> Array:
    """‖diag(p) − p pᵀ‖_F of each row, without forming it: (..., T) -> (...).

    The square is Σ pᵢ²(1 − pᵢ)² + Σ_{i≠j} pᵢ²pⱼ².  The largest p stands apart in both sums: where
    it is near 1, what is left over must not come from subtracting from 1.
    """
    ordered = np.sort(P, axis=-1)
    first, rest = ordered[..., -1] ** 2, ordered[..., :-1]
    squares = rest**2
    others = squares.sum(axis=-1)
    diagonal = first * rest.sum(axis=-1) ** 2 + (squares * (1 - rest) ** 2).sum(axis=-1)
    beside = 2 * first * others + others**2 - (squares**2).sum(axis=-1)
    return np.sqrt(diagonal + beside)


# ── what the theory says ─────────────────────────────────────────────────────────────────────────
def theory(points: Sequence[tuple[int, int]], sigma: float) -> dict[str, Array]:
    """What is expected at each (d_k, T), with 1/√d_k and without: (2, points) for each name.

    With s² the variance of the scores, in a row of T independent Gaussian ones:

        variance    s² = d_k·σ⁴, and σ⁴ with the factor; T is not in it
        largest     s·√(2 ln T), which the mean of the largest does not exceed
        entropy     ln T − s²/2
        jacobian    √(exp(s²)/T), for Σ p² is about exp(s²)/T
        gradient    the Jacobian's, times σ, and times √d_k without the factor

    The last three hold while many keys share the weight, and are NaN elsewhere: for s² above
    ln(T)/2 single keys carry sums of p² (Derrida 1981: the random-energy model, where
    the same sums are partition functions).
    """
    width, length = np.array(points, np.float64).T
    variance = sigma**4 * np.stack([np.ones_like(width), width])
    many = variance <= np.log(length) / 2
    spread = np.where(many, variance, np.nan)
    jacobian = np.exp(spread / 2) / np.sqrt(length)
    return {
        "variance": variance,
        "largest": np.sqrt(2 * variance * np.log(length)),
        "entropy": np.log(length) - spread / 2,
        "entropy_share": 1 - spread / 2 / np.log(length),
        "jacobian": jacobian,
        "gradient": sigma * jacobian * np.stack([np.ones_like(width), np.sqrt(width)]),
    }


# ── what is asked for ────────────────────────────────────────────────────────────────────────────
def checked(
    along: str, sizes: Sequence[int], fixed: int, sigma: float, queries: int, draws: int, seed: int
) -> tuple[int, ...]:
    """The sizes as integers, once everything is in its range."""
    choice("saturation", "along", along, ("width", "length"))
    if not natural(seed):
        raise ShapeError(f"saturation: seed must be an integer of 0 or more, got {seed!r}")
    if not (isfinite(real("saturation", "sigma", sigma)) and sigma > 0):
        raise ShapeError(f"saturation: sigma must be a finite number above 0, got {sigma}")
    positive("saturation", fixed=fixed, queries=queries, draws=draws)
    for size in sizes:
        positive("saturation", **{f"each size in {list(sizes)}": size})
    lengths = [fixed] if along == "width" else list(sizes)
    if not len(sizes) or list(sizes) != sorted(set(sizes)):
        raise ShapeError(f"saturation: expected one size or more, rising, got {list(sizes)}")
    if min(lengths) < 2:
        raise ShapeError("saturation: a length must be 2 or more, since a single key has no rival")
    if max(fixed, queries, *sizes) > LARGEST or fixed * max(sizes) > LARGEST_PRODUCT:
        raise ShapeError(
            f"saturation: sizes and queries may be {LARGEST:,} at most, and width times length "
            f"{LARGEST_PRODUCT:,}; got {max(sizes):,} beside {fixed:,} and {queries:,} queries"
        )
    return tuple(map(int, sizes))
