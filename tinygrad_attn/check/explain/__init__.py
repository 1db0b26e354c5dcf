"""Why a rule is wrong: every explanation is tried by asking what the rule would give if it held.

Read evidence.py first (what is known of a wrong rule), then plain.py (a sign, a factor, ...),
structure.py (which elements meet), elsewhere.py (other arguments, options and values), inside.py
(what is wrong within a fused operation) and around.py (where no rule is wrong).
"""

from __future__ import annotations

from collections.abc import Callable

from ..causes import Cause
from . import elsewhere, inside, plain, structure
from .evidence import Evidence

EXPLANATIONS: tuple[Callable[[Evidence], str | None], ...] = (
    plain.nothing_arrives,
    plain.not_linear,
    plain.sign_flipped,
    plain.upstream_ignored,
    plain.constant_factor,
    structure.mask_not_applied,
    structure.one_place_of_a_broadcast_axis,
    structure.last_use_only,
    plain.passed_on,
    plain.axes_permuted,
    structure.mask_inverted,
    structure.diagonal_alone,
    elsewhere.another_argument,
    elsewhere.another_option,
    elsewhere.operand_transposed,
    elsewhere.another_value,
    elsewhere.stale_value,
    inside.one_branch,
    inside.one_step,
    structure.wrong_axes,
    plain.adjoint_missing,
    plain.shifted,
    plain.array_factor,
    plain.low_precision,
)


def explained(evidence: Evidence) -> str:
    """The first explanation that fits."""
    for explanation in EXPLANATIONS:
        cause = explanation(evidence)
        if cause is not None:
            return cause
    return Cause.UNKNOWN
