"""Why a rule is wrong: every explanation is tried by asking what the rule would give if it held.

Read evidence.py first (what is known of a wrong rule), then plain.py (a sign, a factor, ...),
structure.py (which elements meet), elsewhere.py (other arguments, options and values), inside.py
(what is wrong within a fused operation) and around.py (where no rule is wrong).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from ..causes import Cause
from . import elsewhere, inside, plain, structure
from .evidence import Evidence

EXPLANATIONS: tuple[Callable[[Evidence], str | None], ...] = (
    elsewhere.remembered,
    plain.nothing_arrives,
    plain.not_linear,
    plain.sign_flipped,
    plain.upstream_ignored,
    plain.constant_factor,
    structure.result_ignored,
    structure.mask_not_applied,
    structure.one_place_of_a_broadcast_axis,
    structure.last_use_only,
    structure.averaged,
    plain.passed_on,
    plain.axes_permuted,
    elsewhere.another_argument,
    structure.mask_inverted,
    inside.branches,
    structure.diagonal_alone,
    elsewhere.another_option,
    elsewhere.operand_transposed,
    elsewhere.another_value,
    elsewhere.another_rule,
    elsewhere.stale_value,
    inside.one_step,
    inside.another_value,
    plain.another_order,
    structure.wrong_axes,
    plain.adjoint_missing,
    plain.shifted,
    plain.array_factor,
    plain.low_precision,
)


def explained(evidence: Evidence) -> str:
    """The first explanation that fits."""
    for explanation in EXPLANATIONS:
        with suppress(Exception):  # a rule under suspicion may raise on values made up here
            cause = explanation(evidence)
            if cause is not None:
                return cause
    return Cause.UNKNOWN
