"""Identities of attention's gradients, tested on arrays from anywhere.

    identities(q, k, dq=dq, dk=dk)    what holds of the little that is known
    assert_identities(...)            raises if one is broken, and says what that usually means

No derivative is taken, and nothing is computed again: what is given is compared with itself, in
less than a millisecond.  So a gradient that passes may still be wrong, but not in one of these
ways; `gradcheck` is the proof.  equations.py has the mathematics, conditions.py says when each
equation holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from ..engine import ShapeError, TensorError
from .attention_arrays import WHO, Known, Seen, as_array, known
from .conditions import EQUATIONS, Equation
from .pullback import finite, positive, truth, whole

POSITIONAL = ("q", "k", "v", "dq", "dk", "dv", "dcontext")
GRADIENTS = {
    "dq", "dk", "dv", "dcontext", "dscores", "dmasked", "dweights", "dkey_bias", "dvalue_bias",
    "doutput_bias",
}  # fmt: skip


# ── what they find ───────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Identity:
    """An equation between attention's arrays and gradients, and how well it holds.

    Attributes:
        name: the equation.
        holds: whether it applies and its deviation is within the tolerance.
        deviation: the largest difference of its two sides, relative to the same sums without signs
            (0 where it does not apply).
        condition: when it holds, in words.
        applies: whether that is so here, and what it is about was given.
        missing: what was not given, if that is why it does not apply.
        meaning: what it usually means if it is broken.
        shown: where it is broken, what the numbers show: one side may be a multiple of another, or
            an array holds numbers that are not finite.
    """

    name: str
    holds: bool
    deviation: float
    condition: str
    applies: bool
    missing: str
    meaning: str
    shown: str = ""

    @property
    def broken(self) -> bool:
        """Does it apply and not hold?"""
        return self.applies and not self.holds

    def __str__(self) -> str:
        if self.applies:
            return f"{self.name}: {'holds' if self.holds else 'broken'} ({self.deviation:.1e})"
        why = f"needs {self.missing}" if self.missing else self.condition
        return f"{self.name}: does not apply ({why})"


class IdentityError(TensorError, AssertionError):
    """Gradients of attention that cannot be right; `.identities` has all that were looked at."""

    def __init__(self, message: str, identities: list[Identity]) -> None:
        super().__init__(message)
        self.identities = identities


def identities(
    q: Any = None,
    k: Any = None,
    v: Any = None,
    dq: Any = None,
    dk: Any = None,
    dv: Any = None,
    dcontext: Any = None,
    *,
    scores: Any = None,
    dscores: Any = None,
    dmasked: Any = None,
    weights: Any = None,
    dweights: Any = None,
    context: Any = None,
    dkey_bias: Any = None,
    dvalue_bias: Any = None,
    doutput_bias: Any = None,
    output_weight: Any = None,
    mask: Any = None,
    causal: bool = False,
    offset: int = 0,
    scale: float | None = None,
    softcap: float | None = None,
    rotary: bool = False,
    dropout: bool = False,
    tolerance: float | None = None,
) -> list[Identity]:
    """What holds among the arrays and gradients of one call of attention, of any library.

    Everything may be left out; an identity that lacks something does not apply.  Arrays are what
    `np.asarray` takes (NumPy's, JAX's, PyTorch's detached and on the CPU), shaped (..., heads,
    time, width), all with the same axes in front, or (time, width) where there is one head.

    Where softmax is nearly one-hot little more than rounding is left of dS.  With q, v and dcontext
    (or weights and dweights) a deviation is relative to what cancelled there, and no false alarm.

    Args:
        q, k, v: (..., H, T, D), (..., G, S, D) and (..., G, S, E); G divides H.
        dq, dk, dv: their gradients.
        dcontext: the gradient that arrives at `context`, (..., H, T, E).
        scores, dscores: Q Kᵀ·scale before soft cap and mask, (..., H, T, S), and its gradient.
        dmasked: the gradient at what softmax takes; that of the scores where there is no soft cap.
        weights, dweights: what softmax gives, and its gradient.
        context: weights · V.
        dkey_bias, dvalue_bias, doutput_bias: gradients of the biases of the layer around it.
        output_weight: its output projection, (width, H·E).
        mask: boolean, True = may attend, or additive, −∞ where not; broadcast to (..., H, T, S).
        causal, offset: query i may only look at keys j ≤ i + offset.
        scale: 1/√D where None.
        softcap: c of c·tanh(S/c), if there is one: some identities then do not hold.
        rotary: q, k and their gradients are those before a rotation by position.
        dropout: some weights are dropped.
        tolerance: the largest deviation allowed; where None by the least precise array given: 1e-12
            in float64, 1e-5 in float32.

    Raises:
        DTypeError: an array is none, or holds no real floating numbers; an option is of a wrong
            kind.
        ShapeError: two arrays do not fit together, or an option is out of range.
    """
    given = {
        "q": q, "k": k, "v": v, "dq": dq, "dk": dk, "dv": dv, "dcontext": dcontext,
        "scores": scores, "dscores": dscores, "dmasked": dmasked, "weights": weights,
        "dweights": dweights, "context": context,
    }  # fmt: skip
    layer = {
        "dkey_bias": dkey_bias, "dvalue_bias": dvalue_bias, "doutput_bias": doutput_bias,
        "output_weight": output_weight,
    }  # fmt: skip
    positive(WHO, tolerance)
    finite(WHO, "softcap", softcap, above=0)
    scale = finite(WHO, "scale", scale)
    for name, switch in (("causal", causal), ("rotary", rotary), ("dropout", dropout)):
        truth(WHO, name, switch)
    seen = Seen(mask, causal, whole(WHO, "offset", offset))
    m, exactness = known(given, layer, seen, scale, softcap is not None, rotary, dropout)
    limit = exactness if tolerance is None else tolerance
    return [judged(equation, m, limit) for equation in EQUATIONS.values()]


def assert_identities(*arrays: Any, **options: Any) -> list[Identity]:
    """The identities that apply must hold; takes what `identities` takes, and returns the same.

    Raises:
        IdentityError: one is broken; the message says which, by how much, and what that usually
            means.  Or every gradient is 0, which says nothing.
        ShapeError: no identity applies to what is given.
        DTypeError, ShapeError: as in `identities`.
    """
    found = identities(*arrays, **options)
    applying = [identity for identity in found if identity.applies]
    if not applying:
        lacking = "\n".join(f"  {identity}" for identity in found)
        raise ShapeError(f"assert_identities: nothing to check in what was given\n{lacking}")
    refuse_zeros(dict(zip(POSITIONAL, arrays, strict=False)) | options, found)
    broken = [identity for identity in found if identity.broken]
    if broken:
        raise IdentityError(told(broken, applying), found)
    return found


def refuse_zeros(given: dict[str, Any], found: list[Identity]) -> None:
    """Raises: IdentityError: there are gradients, and all are 0."""
    gradients = [x for name, x in given.items() if name in GRADIENTS and x is not None]
    if gradients and not any(np.any(as_array("", x)) for x in gradients):
        raise IdentityError(
            "assert_identities: every gradient is 0, so nothing was checked; was backward run?",
            found,
        )


def told(broken: list[Identity], applying: list[Identity]) -> str:
    """The message: what is broken, and the rest in a line."""
    lines = [f"assert_identities: {len(broken)} of {len(applying)} identities are broken"]
    for identity in broken:
        lines += [f"  {identity}"]
        lines += [f"    {identity.shown}"] * bool(identity.shown)
        lines += [f"    usually: {identity.meaning}"] * isfinite(identity.deviation)
    right = [identity.name for identity in applying if identity.holds]
    return "\n".join([*lines, *([f"  these hold: {'; '.join(right)}"] if right else [])])


def judged(equation: Equation, m: Known, tolerance: float) -> Identity:
    """An equation for what is known."""
    applies = equation.applies(m)
    with np.errstate(over="ignore", invalid="ignore"):  # it is told below
        deviation = equation.deviation(m) if applies else 0.0
    missing = "" if equation.known(m) else lacking(equation, m)
    holds = applies and deviation <= tolerance
    shown = ""
    if applies and not holds:
        shown = equation.shown(m) if isfinite(deviation) else not_finite(equation, m)
    return Identity(
        equation.name,
        holds,
        deviation,
        equation.condition,
        applies,
        missing,
        equation.meaning,
        shown,
    )


def not_finite(equation: Equation, m: Known) -> str:
    """Which arrays hold numbers that are not finite: those that it is about, else the others."""
    counts: dict[
        int, tuple[str, str]
    ] = {}  # by the array, for one may stand under two names: the first is that given
    for name, array in m.arrays.items():
        wrong = ~np.isfinite(array) & ~(np.isneginf(array) & (name == "scores"))  # masked: fair
        if wrong.any():
            told = f"{name} is not finite at {wrong.sum()} of {array.size} places"
            counts.setdefault(id(array), (name, told))
    about = {name for names in equation.needs for name in names}
    own = [told for name, told in counts.values() if name in about]
    return "; ".join(own or [told for _, told in counts.values()]) or (
        "the numbers are finite, and too large to multiply"
    )


def lacking(equation: Equation, m: Known) -> str:
    """What must still be given: of the ways to be enough, the shortest."""
    ways = [[name for name in names if not m.has(name)] for names in equation.needs]
    words = {"allowed": "a mask"}
    return " and ".join(words.get(name, name) for name in min(ways, key=len))
