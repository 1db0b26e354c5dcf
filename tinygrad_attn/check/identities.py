"""Identities of attention's gradients, tested on arrays from anywhere in microseconds.

    identities(q, k, dq=dq, dk=dk)    what holds of the little that is known
    assert_identities(...)            raises if one is broken, and says what that usually means

No derivative is taken, and nothing is computed again: what is given is compared with itself.  So a
gradient that passes may still be wrong, but not in one of these ways; `gradcheck` is the proof.
equations.py has the mathematics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from ..engine import ShapeError, TensorError
from . import equations as eq
from .known import WHO, Known, Seen, as_array, known
from .proportions import among_scores, among_values
from .pullback import positive, whole


@dataclass(frozen=True)
class Equation:
    """An identity, and when it holds.

    Attributes:
        deviation: of what is known; see the functions above.
        needs: the arrays it is about; each tuple is enough.
        condition: in words.  fits: is it fulfilled?
        meaning: what it usually means when the identity is broken.
        shown: what the numbers show besides, or "".
    """

    name: str
    deviation: Callable[[Known], float]
    needs: tuple[tuple[str, ...], ...]
    condition: str
    meaning: str
    fits: Callable[[Known], bool] = lambda m: True
    shown: Callable[[Known], str] = lambda m: ""

    def known(self, m: Known) -> bool:
        """Is everything there that it is about?"""
        return any(m.has(*names) for names in self.needs)

    def applies(self, m: Known) -> bool:
        """Is everything there, and the condition fulfilled?"""
        return self.known(m) and self.fits(m)


POSITIONAL = ("q", "k", "v", "dq", "dk", "dv", "dcontext")
GRADIENTS = {
    "dq", "dk", "dv", "dcontext", "dscores", "dmasked", "dweights", "dkey_bias", "dvalue_bias",
    "doutput_bias",
}  # fmt: skip
SHIFTS = "without soft cap; with rotary positions only for the rotated keys"
EQUATIONS: dict[str, Equation] = {
    "weight rows": Equation(
        "rows of P sum to 1",
        eq.weight_rows,
        (("weights",),),
        "always; the row of a query that may look nowhere sums to 0",
        "softmax runs over another axis, or these are the weights after dropout",
        lambda m: not m.dropout,
    ),
    "score rows": Equation(
        "rows of dS′ sum to 0",
        eq.score_rows,
        (("dmasked",), ("dscores",)),
        "always; those of dS only without soft cap",
        "softmax's backward lacks its mean Σ P∘dP (only the diagonal of its Jacobian), or takes it "
        "over another axis",
        lambda m: m.has("dmasked") or not m.softcap,
    ),
    "masked scores": Equation(
        "dS′ is 0 where masked",
        eq.masked_scores,
        (("dmasked", "allowed"), ("dscores", "allowed")),
        "where a mask forbids something",
        "the mask is not applied backward, or another one is: the other polarity, off by one",
        lambda m: not m["allowed"].all(),
    ),
    "row means": Equation(
        "Σ P∘dP over a row = ⟨C, dC⟩",
        eq.row_means,
        (("weights", "dweights", "context", "dcontext"),),
        "without dropout",
        "dP is not dC Vᵀ: rows or heads exchanged, V not that of the forward pass, or dC stale",
        lambda m: not m.dropout,
    ),
    "inner products": Equation(
        "⟨Q, dQ⟩ = ⟨S, dS⟩ = ⟨K, dK⟩",
        eq.inner_products,
        (
            ("q", "dq", "k", "dk"),
            ("q", "dq", "scores", "dscores"),
            ("k", "dk", "scores", "dscores"),
        ),
        "always; S before a soft cap, K with all query heads that it serves",
        "the scale 1/√d is missing or applied twice on one side, or heads of a group are left out "
        "of dK",
        shown=among_scores,
    ),
    "value products": Equation(
        "⟨V, dV⟩ = ⟨C, dC⟩",
        eq.value_products,
        (("v", "dv", "context", "dcontext"),),
        "always; V with all query heads that it serves",
        "backward has other weights than forward (no mask, another scale, other dropout), or heads "
        "of a group are left out of dV",
        shown=among_values,
    ),
    "key sums": Equation(
        "dK sums to 0 over the keys",
        eq.key_sums,
        (("dk",),),
        SHIFTS,
        "softmax's backward lacks its mean Σ P∘dP, some keys are left out, or dK is not dSᵀQ",
        lambda m: not (m.softcap or m.rotary),
    ),
    "key bias": Equation(
        "the key bias gets no gradient",
        eq.key_bias,
        (("dkey_bias", "dk"), ("dkey_bias", "q", "weights", "dweights")),
        "with biases, without rotary positions and soft cap",
        "as for dK; or the bias is not added to every key alike",
        lambda m: not (m.softcap or m.rotary),
    ),
    "value sums": Equation(
        "ΣdV over the keys = ΣdC over the queries",
        eq.value_sums,
        (("dv", "dcontext"),),
        "without dropout, if every query may look at some key",
        "dV is not PᵀdC: P not transposed or not normalised, or heads of a group left out",
        lambda m: not m.dropout and bool(eq.alive(m).all()),
    ),
    "value bias": Equation(
        "dbv = dbo Wo, over each group",
        eq.value_bias,
        (("dvalue_bias", "doutput_bias", "output_weight", "v"),),
        "with biases, if every query may look at some key",
        "the weights of a row do not sum to 1 backward, or heads of a group are left out",
        lambda m: not m.dropout and bool(eq.alive(m).all()),
    ),
    "group sums": Equation(
        "dK and dV of a group are sums over its query heads",
        eq.group_sums,
        (("dk", "dscores", "q"), ("dv", "weights", "dcontext")),
        "always; with rotary positions dK is that of the rotated keys; dV without dropout",
        "heads of a group are left out or averaged, the scale is missing in dK, or P is not "
        "transposed",
        lambda m: bool(eq.carried_to_keys(m)) and not (m.dropout and m.has("weights")),
    ),
    "query products": Equation(
        "dQ = dS K/√d",
        eq.query_products,
        (("dq", "dscores", "k"),),
        "with rotary positions only for the rotated queries and keys",
        "the scale is missing in dQ, or applied twice; or heads meet the keys of another group",
        lambda m: not m.rotary,
    ),
    "bound queries": Equation(
        "dQ is 0 for a query that may look at one key only",
        eq.bound_queries,
        (("dq", "allowed"),),
        "where a mask leaves a query one key or none, as a causal one does the first",
        "the mask is not applied backward, or another one is",
        lambda m: bool(eq.bound(m).any()),
    ),
    "unseen keys": Equation(
        "dK and dV are 0 for a key that no query may look at",
        eq.unseen_keys,
        (("dk", "allowed"), ("dv", "allowed")),
        "where a mask hides a key from every query, as padding is",
        "the mask is not applied backward, or another one is",
        lambda m: bool(eq.unseen(m).any()),
    ),
}


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
        shown: where it is broken, what the numbers show: one side may be a multiple of another.
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
        DTypeError: an array is none, or holds no real floating numbers.
        ShapeError: two arrays do not fit together.
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
    whole(WHO, "offset", offset)
    seen = Seen(mask, causal, offset)
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
        lines += [f"    usually: {identity.meaning}"]
    right = [identity.name for identity in applying if identity.holds]
    return "\n".join([*lines, *([f"  these hold: {'; '.join(right)}"] if right else [])])


def judged(equation: Equation, m: Known, tolerance: float) -> Identity:
    """An equation for what is known."""
    applies = equation.applies(m)
    deviation = equation.deviation(m) if applies else 0.0
    missing = "" if equation.known(m) else lacking(equation, m)
    holds = applies and deviation <= tolerance
    return Identity(
        equation.name,
        holds,
        deviation,
        equation.condition,
        applies,
        missing,
        equation.meaning,
        equation.shown(m) if applies and not holds and isfinite(deviation) else "",
    )


def lacking(equation: Equation, m: Known) -> str:
    """What must still be given: of the ways to be enough, the shortest."""
    ways = [[name for name in names if not m.has(name)] for names in equation.needs]
    words = {"allowed": "a mask"}
    return " and ".join(words.get(name, name) for name in min(ways, key=len))
