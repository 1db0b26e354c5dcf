"""The identities of attention's gradients in a recording, each with its condition.

The mathematics is `check`'s, one truth for arrays from anywhere; here stand the words in two
languages, and what only a recording has: the parts that add up.  (What dropout does to the weights
is left out: a recording has none.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...check.attention_arrays import Known
from ...check.conditions import EQUATIONS
from ...check.equations import relative
from .data import Identity, Layer, Matrices, Recording, Target, Text
from .paths import Decomposition, paths_of

TOLERANCE = 1e-12  # far above rounding in float64, far below what a wrong rule does

KOREAN = {  # an equation of `check`, and its condition
    "weight rows": (
        "P의 각 행은 합이 1이다",
        "드롭아웃이 없을 때. 아무 키도 볼 수 없는 쿼리의 행은 합이 0이다",
    ),
    "score rows": (
        "dS′의 각 행은 합이 0이다",
        "언제나. dS의 행은 소프트캡이 없을 때만",
    ),
    "masked scores": ("가려진 자리에서 dS′는 0이다", "마스크가 가리는 자리가 있을 때"),
    "row means": ("행마다 Σ P∘dP = ⟨C, dC⟩", "드롭아웃이 없을 때"),
    "inner products": (
        "⟨Q, dQ⟩ = ⟨S, dS⟩ = ⟨K, dK⟩",
        "언제나. S는 소프트캡 이전의 점수이고, K는 함께 쓰는 쿼리 헤드 전부와 견준다",
    ),
    "key bias": (
        "키 편향은 그래디언트를 받지 않는다",
        "편향이 있고 회전 위치 임베딩과 소프트캡이 없을 때",
    ),
    "value bias": (
        "그룹마다 dbv = dbo Wo",
        "편향이 있고 드롭아웃이 없으며 모든 쿼리가 적어도 키 하나를 볼 수 있을 때",
    ),
    "group sums": (
        "그룹의 dK와 dV는 그 쿼리 헤드들의 합이다",
        "언제나. dK는 회전 위치 임베딩이 있으면 회전한 키의 것이고, dV는 드롭아웃이 없을 때",
    ),
}
SYMBOLS = {
    "q": "Q", "k": "K", "v": "V", "scores": "S", "masked": "Smasked", "weights": "P",
    "context": "C",
}  # fmt: skip
OF_THE_LAYER = {
    "dkey_bias": "dbk", "dvalue_bias": "dbv", "doutput_bias": "dbo", "output_weight": "Wo",
    "doutput": "dY",
}  # fmt: skip


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
        (*(judged(recording, target, key) for key in KOREAN), adding_up(found))
        for target, found in zip(recording.targets, paths, strict=True)
    )


def judged(recording: Recording, target: Target, key: str) -> Identity:
    """An equation for all examples of a target together."""
    equation, korean = EQUATIONS[key], KOREAN[key]
    m = known(recording.layer, matrices(recording, target), rotated=key == "group sums")
    applies = equation.applies(m)
    deviation = equation.deviation(m) if applies else 0.0
    name, condition = Text(equation.name, korean[0]), Text(equation.condition, korean[1])
    return Identity(name, applies and deviation <= TOLERANCE, deviation, condition, applies)


def known(layer: Layer, m: Matrices, *, rotated: bool = False) -> Known:
    """The matrices by the names that `check` has for them.

    Args:
        rotated: with rotary positions Q and K are those after the rotation, not before.
    """
    turned = rotated and layer.rotary
    names = SYMBOLS | ({"q": "Qrot", "k": "Krot"} if turned else {})
    arrays = {name: m[symbol] for name, symbol in names.items()}
    arrays |= {f"d{name}": m[f"d{symbol}"] for name, symbol in names.items()}
    arrays |= {name: m[symbol] for name, symbol in OF_THE_LAYER.items() if symbol in m}
    arrays["allowed"] = ~np.isneginf(m["mask"])
    return Known(arrays, layer.scale, layer.group, rotary=layer.rotary and not turned)


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
