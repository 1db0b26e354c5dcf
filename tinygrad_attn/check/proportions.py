"""What a broken identity between inner products shows: is one side a multiple of another?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..engine import Array
from .attention_arrays import Known
from .equations import inner
from .explain.plain import made_of, rounded

SYMBOLS = {
    "q": "⟨Q, dQ⟩", "scores": "⟨S, dS⟩", "k": "⟨K, dK⟩", "context": "⟨C, dC⟩", "v": "⟨V, dV⟩",
}  # fmt: skip
SAME, ALIKE = 1e-9, 1e-4  # a factor that is 1, and sides that are proportional


def among_scores(m: Known) -> str:
    """Among ⟨Q, dQ⟩, ⟨S, dS⟩ and ⟨K, dK⟩."""
    return multiples(m, ("scores", "q", "k"))


def among_values(m: Known) -> str:
    """Between ⟨C, dC⟩ and ⟨V, dV⟩."""
    return multiples(m, ("context", "v"))


def multiples(m: Known, names: Sequence[str]) -> str:
    """Sides that are a multiple of the first one known, and where the factor may come from; ""."""
    first, *others = (name for name in names if m.has(name, f"d{name}"))
    found = [(name, factor_of(inner(m, name)[0], inner(m, first)[0])) for name in others]
    return "; ".join(
        f"{SYMBOLS[name]} is {rounded(factor):g} {SYMBOLS[first]}{meaning(m, factor)}"
        for name, factor in found
        if factor is not None and abs(factor - 1) > SAME
    )


def factor_of(side: Array, other: Array) -> float | None:
    """The number that `side` is of `other`; None where they are not proportional."""
    square = float((other * other).sum())
    factor = float((side * other).sum()) / square if square else 0.0
    off = np.abs(side - factor * other).max(initial=0.0)
    return factor if factor and off <= ALIKE * np.abs(side).max() else None


def meaning(m: Known, factor: float) -> str:
    """Of which length the factor is made, if of one."""
    lengths = {m.group: "a group"}
    lengths |= {m[name].shape[-1]: "a head" for name in ("q", "k") if m.has(name)}
    told = [*made_of(abs(factor), {n: places for n, places in lengths.items() if n > 1})]
    sign = "the sign is flipped" if factor < 0 else ""
    reasons = [reason for reason in (sign, *told) if reason]
    return f": {', '.join(reasons)}" if reasons else ""
