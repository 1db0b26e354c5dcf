"""The equations of attention's gradients by name: what each needs, when it holds, what it tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import equations as eq
from .attention_arrays import Known
from .proportions import among_scores, among_values


@dataclass(frozen=True)
class Equation:
    """An identity, and when it holds.

    Attributes:
        deviation: of what is known; a function of equations.py.
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


SHIFTS = "without soft cap; with rotary positions only for the rotated keys"
EQUATIONS: dict[str, Equation] = {
    "weight rows": Equation(
        "rows of P sum to 1",
        eq.weight_rows,
        (("weights",),),
        "without dropout; the row of a query that may look nowhere sums to 0",
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
        "with biases and without dropout, if every query may look at some key",
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
