"""Equations that attention's gradients obey, whatever the numbers, each with its condition.

Each is a function of arrays by their symbols ("P", "dP", …; see data.py), of one example or with
more axes in front, so it serves any implementation of attention.  It returns a deviation: the
largest difference of the two sides, relative to the same sums taken without signs.  That is about
1e-16 where an equation holds in float64, however much cancels; a wrong gradient shows in full.
(What dropout does to the weights is left out: a recording has none.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...engine import Array
from .data import Identity, Layer, Matrices, Recording, Target, Text
from .paths import Decomposition, paths_of

TOLERANCE = 1e-12  # far above rounding in float64, far below what a wrong rule does


# ── deviations ───────────────────────────────────────────────────────────────────────────────────
def weight_rows(m: Matrices) -> float:
    """Rows of P sum to 1; that of a query that may look nowhere (its `mask` is all −∞) to 0."""
    return relative(m["P"].sum(-1) - alive(m), np.ones(1))


def score_rows(m: Matrices) -> float:
    """Rows of dS′ sum to 0: adding the same number to all scores of a row changes no weight."""
    return relative(m["dSmasked"].sum(-1), np.abs(m["dSmasked"]).sum(-1), unsigned(m).sum(-1))


def masked_scores(m: Matrices) -> float:
    """dS′ is 0 where the mask is −∞, for there P is."""
    hidden = np.broadcast_to(np.isneginf(m["mask"]), m["P"].shape)
    return relative(m["dSmasked"][hidden], np.abs(m["dSmasked"]), unsigned(m))


def row_means(m: Matrices) -> float:
    """Σ P∘dP over a row is ⟨C, dC⟩: softmax's mean needs no P (Dao et al. 2022, B.2)."""
    weighted, context = m["P"] * m["dP"], m["C"] * m["dC"]
    values = np.repeat(np.abs(m["V"]), heads_per_group(m), -3)
    largest = m["P"] @ values * np.abs(m["dC"])
    return relative(weighted.sum(-1) - context.sum(-1), largest.sum(-1))


def inner_products(m: Matrices) -> float:
    """⟨Q, dQ⟩ = ⟨S, dS⟩ = ⟨K, dK⟩ for each head of keys and the query heads it serves.

    S, not S′, whose −∞ would meet a 0.  A rotation changes none of the three.
    """
    by_query, by_score = (grouped(m, (m[x] * m[f"d{x}"]).sum((-1, -2))) for x in ("Q", "S"))
    by_key = (m["K"] * m["dK"]).sum((-1, -2))
    lengths = [np.linalg.norm(m[x], axis=-1) for x in ("Q", "K")]
    keys = np.repeat(lengths[1], heads_per_group(m), -2)
    terms = unsigned(m) * lengths[0][..., :, None] * keys[..., None, :] * m["scale"]
    largest = grouped(m, terms.sum((-1, -2)))
    return relative(np.stack([by_query - by_score, by_key - by_score]), largest)


def key_bias(m: Matrices) -> float:
    """dbk = 0: the key bias adds Qᵢ·bk to all scores of row i alike, and softmax ignores that."""
    terms = np.swapaxes(unsigned(m), -1, -2) @ np.abs(m["Q"]) * m["scale"]
    largest = grouped(m, terms.sum(-2), -2).reshape(-1, m["dbk"].size).sum(0)
    return relative(m["dbk"], largest)


def value_bias(m: Matrices) -> float:
    """dbv = dbo Wo, summed over each group: rows of P sum to 1, so bv goes through to Y."""
    width = m["V"].shape[-1]
    by_head = (m["dbo"] @ m["Wo"]).reshape(-1, width)
    sizes = np.abs(m["dY"]).reshape(-1, m["dbo"].size).sum(0) @ np.abs(m["Wo"])
    expected = grouped(m, by_head, -2).ravel()
    return relative(m["dbv"] - expected, grouped(m, sizes.reshape(-1, width), -2))


def group_sums(m: Matrices) -> float:
    """dK and dV of a group are the sums of dRᵀ Q and Pᵀ dC over its query heads."""
    turned = "rot" if "Qrot" in m else ""
    found = []
    for made, left, right in ((f"dK{turned}", "dR", f"Q{turned}"), ("dV", "P", "dC")):
        back = np.swapaxes(m[left], -1, -2)
        by_head, largest = back @ m[right], np.abs(back) @ np.abs(m[right])
        difference = m[made] - grouped(m, by_head, -3)
        found.append(relative(difference, grouped(m, largest, -3)))
    return max(found)


# ── what they are made of ────────────────────────────────────────────────────────────────────────
def relative(difference: Array, *sizes: Array) -> float:
    """max |difference| / the largest size; the difference itself where every size is 0."""
    largest = max(float(np.max(size, initial=0.0)) for size in sizes)
    off = float(np.abs(difference).max(initial=0.0))
    return off / largest if largest else off


def unsigned(m: Matrices) -> Array:
    """P∘(|dP| + Σ P∘|dP|), the terms of dS′ without signs."""
    size = np.abs(m["dP"])
    terms: Array = m["P"] * (size + (m["P"] * size).sum(-1, keepdims=True))
    return terms


def alive(m: Matrices) -> Array:
    """Which queries may look at some key (..., H, T)."""
    rows: Array = np.broadcast_to(m["mask"], m["P"].shape).max(-1, initial=-np.inf) > -np.inf
    return rows


def heads_per_group(m: Matrices) -> int:
    """How many query heads share one head of keys and values."""
    return int(m["P"].shape[-3] // m["K"].shape[-3])


def grouped(m: Matrices, by_head: Array, axis: int = -1) -> Array:
    """A sum over the query heads of each group; `axis` is that of the heads."""
    axis += by_head.ndim
    shape = (*by_head.shape[:axis], -1, heads_per_group(m), *by_head.shape[axis + 1 :])
    total: Array = by_head.reshape(shape).sum(axis + 1)
    return total


# ── the table ────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Equation:
    """An identity and when it holds.

    Attributes:
        deviation: of the matrices at hand; see the functions above.
        condition: in words.  holds: whether a layer and its matrices fulfil it.
    """

    name: Text
    deviation: Callable[[Matrices], float]
    condition: Text
    holds: Callable[[Layer, Matrices], bool] = lambda layer, m: True


ALWAYS = Text("always", "언제나")
EQUATIONS = (
    Equation(
        Text("rows of P sum to 1", "P의 각 행은 합이 1이다"),
        weight_rows,
        Text(
            "always; the row of a query that may look nowhere sums to 0",
            "언제나. 아무 키도 볼 수 없는 쿼리의 행은 합이 0이다",
        ),
    ),
    Equation(Text("rows of dS′ sum to 0", "dS′의 각 행은 합이 0이다"), score_rows, ALWAYS),
    Equation(
        Text("dS′ is 0 where masked", "가려진 자리에서 dS′는 0이다"),
        masked_scores,
        Text("where a mask forbids something", "마스크가 가리는 자리가 있을 때"),
        lambda layer, m: bool(np.isneginf(m["mask"]).any()),
    ),
    Equation(
        Text("Σ P∘dP over a row = ⟨C, dC⟩", "행마다 Σ P∘dP = ⟨C, dC⟩"),
        row_means,
        Text("without dropout", "드롭아웃이 없을 때"),
    ),
    Equation(
        Text("⟨Q, dQ⟩ = ⟨S, dS⟩ = ⟨K, dK⟩", "⟨Q, dQ⟩ = ⟨S, dS⟩ = ⟨K, dK⟩"),
        inner_products,
        Text(
            "always; S before a soft cap, K with all query heads that it serves",
            "언제나. S는 소프트캡 이전의 점수이고, K는 함께 쓰는 쿼리 헤드 전부와 견준다",
        ),
    ),
    Equation(
        Text("the key bias gets no gradient", "키 편향은 그래디언트를 받지 않는다"),
        key_bias,
        Text(
            "with biases, without rotary positions and soft cap",
            "편향이 있고 회전 위치 임베딩과 소프트캡이 없을 때",
        ),
        lambda layer, m: "dbk" in m and not layer.rotary,
    ),
    Equation(
        Text("dbv = dbo Wo, over each group", "그룹마다 dbv = dbo Wo"),
        value_bias,
        Text(
            "with biases, if every query may look at some key",
            "편향이 있고 모든 쿼리가 적어도 키 하나를 볼 수 있을 때",
        ),
        lambda layer, m: {"dbv", "dbo"} <= m.keys() and bool(alive(m).all()),
    ),
    Equation(
        Text(
            "dK and dV of a group are sums over its query heads",
            "그룹의 dK와 dV는 그 쿼리 헤드들의 합이다",
        ),
        group_sums,
        Text("where query heads share keys and values", "여러 쿼리 헤드가 키와 값을 함께 쓸 때"),
        lambda layer, m: layer.group > 1,
    ),
)


def identities_of(
    recording: Recording, paths: Sequence[Sequence[Decomposition]] | None = None
) -> tuple[tuple[Identity, ...], ...]:
    """For each target all identities, those that do not apply included.

    Args:
        recording: whose examples, parameters and targets are known.
        paths: its `paths_of`, if they have been worked out.
    """
    paths = paths_of(recording) if paths is None else paths
    return tuple(
        (*(judged(recording, target, equation) for equation in EQUATIONS), adding_up(found))
        for target, found in zip(recording.targets, paths, strict=True)
    )


def judged(recording: Recording, target: Target, equation: Equation) -> Identity:
    """An equation for all examples of a target together."""
    m = matrices(recording, target)
    applies = equation.holds(recording.layer, m)
    deviation = equation.deviation(m) if applies else 0.0
    holds = applies and deviation <= TOLERANCE
    return Identity(equation.name, holds, deviation, equation.condition, applies)


def matrices(recording: Recording, target: Target) -> Matrices:
    """Every matrix by its symbol, those of the examples stacked (B, …); with `mask` and `scale`."""
    examples = recording.examples
    stacked = {n: np.stack([e.values[n] for e in examples]) for n in examples[0].values}
    gradients = {n: np.stack([g[n] for g in target.gradients]) for n in target.gradients[0]}
    extra = {
        "mask": np.stack([np.broadcast_to(e.mask, e.values["P"].shape) for e in examples]),
        "scale": np.asarray(recording.layer.scale),
    }
    return {**stacked, **gradients, **recording.parameters, **target.parameters, **extra}


def adding_up(paths: Sequence[Decomposition]) -> Identity:
    """Do the parts of the gradient make up the whole, for each example and at each place?"""
    deviation = 0.0
    for found in paths:
        for at, whole in found.whole.items():
            finest = found.finest(at)
            parts = np.stack([p.data for p in finest])
            shares = np.asarray([p.share for p in finest])
            deviation = max(deviation, relative(parts.sum(0) - whole, np.abs(parts).sum(0)))
            if whole.any():
                deviation = max(deviation, relative(shares.sum() - 1, np.abs(shares).sum()))
    name = Text(
        "the parts add up to dX, their shares to 100 %", "부분을 더하면 dX, 몫을 더하면 100 %이다"
    )
    condition = Text("always; shares where dX is not 0", "언제나. 몫은 dX가 0이 아닐 때")
    return Identity(name, deviation <= TOLERANCE, deviation, condition, True)
