"""The gradient beside a numeric derivative, number by number, and the verdict on each.

A number is wrong only if the numeric derivative is known well enough to say so.  Where it is not (a
kink, noise, the edge of a domain) the verdict is undecided.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..engine import Array
from .numeric import EPS, Estimate, NotAnalyticError, careful, complex_step, richardson
from .probes import Probes, bisect, probes, projected
from .problem import Problem, upstream

Method = Literal["complex step", "Richardson"]
Verdict = Literal["right", "wrong", "undecided"]

TOLERANCE: dict[Method, float] = {"complex step": 1e-12, "Richardson": 1e-10}
LOOSE = 1e-8  # the most that a badly known numeric derivative may add to the tolerance
MARGIN = 10  # how many uncertainties must lie between two values that differ
GROSS = 1e-6  # an error that no rounding explains
KNOWN = 1e-3  # relative uncertainty beyond which a derivative may not exist at all
NEARBY = 2.0**-6  # how far, relative to max(1, |x|), a point without the kink is looked for
ROUNDINGS = 64  # how many roundings a gradient has at least
NUDGES = 4  # how many points are tried to see the rounding
SETTLED = 16  # how many doubtful directions are looked at again


@dataclass
class Comparison:
    """Analytic and numeric gᵀ(∂f/∂x)u for every upstream gradient g and every direction u."""

    problem: Problem
    probes: Probes
    method: Method
    tolerance: float
    analytic: Array
    numeric: Array
    uncertainty: Array
    jump: Array

    @property
    def scale(self) -> Array:
        """max(1, |numeric|)."""
        return np.asarray(np.maximum(1, np.abs(self.numeric)))

    @property
    def error(self) -> Array:
        """|analytic − numeric| / max(1, |numeric|); ∞ where one is not finite, NaN where both."""
        error = np.abs(self.analytic - self.numeric) / self.scale
        here, there = np.isfinite(self.analytic), np.isfinite(self.numeric)
        return np.where(here & there, error, np.where(here | there, np.inf, np.nan))

    @property
    def right(self) -> Array:
        """Where the values agree."""
        doubt = MARGIN * self.uncertainty / self.scale
        doubt = np.where(np.isfinite(doubt), np.minimum(doubt, LOOSE), 0)
        return np.asarray(self.error <= self.tolerance + doubt)

    @property
    def wrong(self) -> Array:
        """Where they differ by more than the numeric one can be off."""
        apart = self.error > self.tolerance + MARGIN * self.uncertainty / self.scale
        kink = MARGIN * self.jump > np.abs(self.analytic - self.numeric)
        exists = np.isfinite(self.numeric) & (self.jump == 0)
        exists &= self.uncertainty <= KNOWN * self.scale
        excused = ~np.isfinite(self.analytic) & ~exists.all(axis=0)  # NaN is fair at an edge
        return np.asarray(apart & ~kink & np.isfinite(self.numeric) & ~excused)

    @property
    def verdict(self) -> Verdict:
        """On all numbers together."""
        if self.right.all():
            return "right"
        return "wrong" if self.wrong.any() else "undecided"

    @property
    def badness(self) -> Array:
        """The error, but larger than anything where there is none."""
        return np.nan_to_num(self.error, nan=np.inf)

    @property
    def worst(self) -> tuple[int, int]:
        """(row, column) to report: the worst of the wrong, of the doubtful, else of all numbers.

        A single entry of the Jacobian goes before a sum of entries.
        """
        single = (self.probes.outputs >= 0)[:, None] & (self.probes.inputs >= 0)
        wrong, doubtful, everything = self.wrong, ~self.right, np.ones_like(single)
        groups = (wrong & single, wrong, doubtful & single, doubtful, everything)
        group = next(group for group in groups if group.any())
        k, d = np.unravel_index(np.argmax(np.where(group, self.badness, -1)), group.shape)
        return int(k), int(d)

    # ── a second look ────────────────────────────────────────────────────────────────────────────
    def settle(self, rng: np.random.Generator, replacing: bool, alone: bool) -> None:
        """Look again, with the utmost care, at the directions in which values differ.

        Args:
            replacing: take the careful Richardson derivative where the complex step differs.
            alone: f is a single operation, which has a kink only if its own derivative has one.
        """
        if self.method == "complex step":
            small = ~self.right & (self.error < GROSS)
            for d in np.flatnonzero(small.any(axis=0)):
                self.uncertainty[:, d] = self.rounding(int(d), rng)
        badness = np.where(self.right, 0, self.badness).max(axis=0)
        unsettled = badness > 0
        suspects = self.kinks(rng) if alone else np.full(len(self.probes.rows), True)
        for d in np.argsort(-badness, kind="stable")[: min(SETTLED, unsettled.sum())]:
            self.settle_direction(int(d), replacing)
            unsettled[d] = False
            if (self.wrong[:, d] & suspects).any():
                self.excuse(int(d), suspects, rng)
            if self.wrong[:, d].any():
                break
        self.uncertainty[:, unsettled] = np.inf  # nobody knows whether these are wrong

    def settle_direction(self, d: int, replacing: bool) -> None:
        """The careful derivative in direction `d`, what is known of it, and the kink if any."""
        problem, u = self.problem, self.probes.directions[d]
        estimate = careful(problem.value, problem.x, u)
        value, uncertainty, self.jump[:, d] = seen(estimate, self.probes)
        differs = ~(np.abs(value - self.numeric[:, d]) <= MARGIN * uncertainty)
        taken = (differs & replacing) | (self.method == "Richardson")
        self.uncertainty[taken, d] = uncertainty[taken]
        self.numeric[taken, d] = value[taken]

    def kinks(self, rng: np.random.Generator) -> Array:
        """Which upstream gradients see a kink at x: a derivative that is not linear in u?"""
        x, scale = self.problem.x, np.maximum(1, np.abs(self.problem.x))
        u, v = (upstream(rng, x.shape) * scale for _ in range(2))
        one, two, both = (careful(self.problem.value, x, w) for w in (u, v, u + v))
        unknown = one.uncertainty + two.uncertainty + both.uncertainty
        linear = np.abs(one.value + two.value - both.value) <= MARGIN * unknown
        kink = ~(linear & (unknown <= KNOWN * scale.max()) & (one.jump + two.jump == 0))
        return np.asarray(np.abs(self.probes.rows) @ kink > 0)

    def excuse(self, d: int, suspects: Array, rng: np.random.Generator) -> None:
        """Do not call wrong what is right at a point nearby: here an operation is at a kink.

        It need not show in f: |x|² is smooth, but |x| is not.  NaN is no excuse.
        """
        x = self.problem.x
        nearby = copy(self.problem)
        nearby.x = x + NEARBY * upstream(rng, x.shape) * np.maximum(1, np.abs(x))
        sides = both_sides(nearby, self.along(d), self.method, nearby.x)
        there = Comparison(
            nearby,
            self.along(d),
            self.method,
            self.tolerance,
            *sides,
            jump=np.zeros((len(suspects), 1)),
        )
        there.settle_direction(0, replacing=True)
        excused = self.wrong[:, d] & ~there.wrong[:, 0] & np.isfinite(self.analytic[:, d])
        self.jump[excused & suspects, d] = np.inf

    def rounding(self, d: int, rng: np.random.Generator) -> Array:
        """The rounding in both values of direction `d`.

        It shows when x moves in its last digit, and g and u by a factor that changes many.  Some is
        the same at each of these points: of the order of the largest derivative times the largest
        value, as in exp(x − y).
        """
        x, moved = self.problem.x, []
        for factor in 1 + 1e-6 * rng.uniform(1, 2, NUDGES):
            near = x * (1 + EPS * rng.integers(-8, 9, x.shape))
            larger = replace(
                self.along(d),
                rows=self.probes.rows * factor,
                directions=self.probes.directions[d : d + 1] * factor,
            )
            analytic, numeric, _ = both_sides(self.problem, larger, self.method, near)
            moved.append((analytic - numeric)[:, 0] / factor**2)
        apart = np.abs(moved - (self.analytic - self.numeric)[:, d]) / self.scale[:, d]
        terms = np.abs(self.numeric[np.isfinite(self.numeric[:, d]), d]).max(initial=0)
        values = max(1.0, float(np.abs(self.problem.value(x)).max(initial=0)))
        shown = np.nan_to_num(apart, posinf=0).max()
        return np.asarray(shown * self.scale[:, d] + ROUNDINGS * EPS * terms * values)

    def along(self, d: int) -> Probes:
        """The probes of direction `d` alone."""
        return replace(
            self.probes,
            directions=self.probes.directions[d : d + 1],
            inputs=self.probes.inputs[d : d + 1],
        )


def seen(estimate: Estimate, chosen: Probes) -> tuple[Array, Array, Array]:
    """An estimate for every output as one for every upstream gradient: value, uncertainty, jump."""
    g, size = chosen.rows, np.abs(chosen.rows)
    value = projected(estimate.value[None], g)[0]
    uncertainty = projected(estimate.uncertainty[None], size)[0]
    jump = projected(estimate.jump[None], size)[0]
    return value, np.where(np.isnan(uncertainty), np.inf, uncertainty), jump


def derivative_along(
    problem: Problem, method: Method, u: Array, x: Array | None = None
) -> Estimate:
    """The numeric derivative in one direction, at `x` or at the problem's point."""
    x = problem.x if x is None else x
    if method == "Richardson":
        return richardson(problem.value, x, u)
    found = complex_step(problem.value, x, u)
    return Estimate(found, np.zeros_like(found), np.zeros_like(found))


def both_sides(
    problem: Problem, chosen: Probes, method: Method, x: Array
) -> tuple[Array, Array, Array]:
    """Analytic and numeric value of every probe, and what is not known of the numeric one."""
    analytic = projected(problem.pull(chosen.rows, x), chosen.directions)
    numeric, uncertainty = np.zeros(analytic.shape), np.zeros(analytic.shape)
    for d, u in enumerate(chosen.directions):
        estimate = derivative_along(problem, method, u, x)
        numeric[:, d], uncertainty[:, d], _ = seen(estimate, chosen)
    return analytic, numeric, uncertainty


def compared(
    problem: Problem,
    chosen: Probes,
    method: Method,
    tolerance: float | None,
    rng: np.random.Generator,
    *,
    replacing: bool = True,
    alone: bool = False,
) -> Comparison:
    """Both sides of every probe, doubtful ones settled (see there for the switches).

    Raises:
        RuleFailedError: a gradient rule raised an error.
        NotAnalyticError: the complex step was asked for and is not possible.
    """
    sides = both_sides(problem, chosen, method, problem.x)
    allowed = TOLERANCE[method] if tolerance is None else tolerance
    found = Comparison(problem, chosen, method, allowed, *sides, jump=np.zeros(sides[0].shape))
    if not found.right.all():
        found.settle(rng, replacing, alone)
    return found


def localised(found: Comparison, rng: np.random.Generator) -> Comparison:
    """Of a wrong comparison the single wrong entry of the Jacobian, if bisection finds one."""
    k, d = found.worst
    if found.probes.outputs[k] >= 0 and found.probes.inputs[d] >= 0:
        return found
    problem, method = found.problem, found.method
    g, u = found.probes.rows[k], found.probes.directions[d]
    gradient = problem.pull(g[None])[0]
    i = bisect(u, lambda v: gradient @ v - g @ derivative_along(problem, method, v).value)
    column = np.eye(1, problem.inputs.size, i)
    slope = derivative_along(problem, method, column[0]).value
    o = bisect(g, lambda v: problem.pull(v[None])[0, i] - v @ slope)
    row = np.eye(1, problem.outputs.size, o)
    entry = compared(problem, probes(row, column), method, found.tolerance, rng)
    return entry if entry.verdict == "wrong" else found


def chosen_method(problem: Problem, rng: np.random.Generator) -> tuple[Method, str]:
    """The complex step if it can be trusted here, else Richardson; and a remark, or "".

    It can if f runs on complex numbers, keeps their imaginary parts, and agrees with the careful
    Richardson derivative in a random direction; kinks may explain a difference.
    """
    u = upstream(rng, problem.x.shape) * np.maximum(1, np.abs(problem.x))
    try:
        found = complex_step(problem.value, problem.x, u)
    except NotAnalyticError as error:
        return "Richardson", f"no complex step: {error}"
    trusted = careful(problem.value, problem.x, u)
    apart, known = np.abs(found - trusted.value), np.isfinite(trusted.uncertainty)
    rounding = 1e-9 * np.maximum(1, np.abs(trusted.value))
    agrees = apart <= np.maximum(MARGIN * trusted.uncertainty, rounding)
    kink = MARGIN * trusted.jump > apart
    if (known & ~agrees & ~kink).any():
        return "Richardson", (
            "no complex step: f is not analytic (does it take an absolute value, "
            "a real part or a conjugate?)"
        )
    if found.size and not known.any():
        return "complex step", "the complex step could not be cross-checked at this point"
    return "complex step", ""
