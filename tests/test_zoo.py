"""Every bug of the zoo is caught at three sizes, nine in ten are named, none is there unasked."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn.check import Cause, Report, reports
from tinygrad_attn.check.zoo import BUGS, SIZES, Size, Subject, UnknownBugError, bug_named
from tinygrad_attn.check.zoo.bug import Cage
from tinygrad_attn.check.zoo.matrix import Trial, names, trials, tried

NOT_OF_RULES = {  # nothing that one can plant in a rule, or only in its own derivative
    Cause.UNKNOWN,
    Cause.NOT_ANALYTIC,
    Cause.SECOND_ORDER,
    Cause.INPUT_WRITTEN,
    Cause.NOT_ADDED,
}


@cache
def said(name: str) -> tuple[Report, ...]:
    """What ours says of a bug at every size."""
    with BUGS[name].plant():
        return tuple(judged(BUGS[name].subject(size)) for size in SIZES)


def judged(subject: Subject) -> Report:
    (report,) = reports(subject.f, *subject.inputs)
    return report


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_caught_at_every_size(name: str) -> None:
    assert [report.verdict for report in said(name)] == [BUGS[name].verdict] * len(SIZES)


def test_nine_in_ten_are_named_at_every_size() -> None:
    wrong = {name: bug for name, bug in BUGS.items() if bug.verdict == "wrong"}
    unnamed = [
        name for name, bug in wrong.items() if not all(names(report, bug) for report in said(name))
    ]
    assert len(unnamed) <= 0.1 * len(wrong), unnamed


@pytest.mark.parametrize("name", BUGS)
def test_without_its_bug_a_subject_is_right(name: str) -> None:
    bug = BUGS[name]
    with bug.plant():
        bug.subject(SIZES[1])
    for size in SIZES[1:]:  # after the block: the switch is off again
        assert judged(bug.subject(size)).ok


@pytest.mark.parametrize("name", ["softmax-diagonal", "attention-diagonal", "residual-detached"])
def test_the_switch_is_off_after_an_error_too(name: str) -> None:
    bug = BUGS[name]
    with pytest.raises(ZeroDivisionError), bug.plant():
        raise ZeroDivisionError
    assert judged(bug.subject(SIZES[0])).ok


def test_a_subject_is_the_same_each_time_and_another_for_another_seed_or_size() -> None:
    bug = BUGS["attention-forgets-mask"]
    first, again, other = (bug.subject(SIZES[0], seed).inputs for seed in (0, 0, 1))
    for a, b, c in zip(first, again, other, strict=True):
        assert np.array_equal(a, b)
        assert a.shape == c.shape
        assert not np.array_equal(a, c)
    shapes = {tuple(x.shape for x in bug.subject(size).inputs) for size in SIZES}
    assert len(shapes) == len(SIZES)


# ── what is written down about them ──────────────────────────────────────────────────────────────
def test_there_are_many_and_the_causes_are_all_met() -> None:
    assert len(BUGS) >= 50
    met = {cause for bug in BUGS.values() for cause in bug.causes}
    assert met >= set(Cause) - NOT_OF_RULES, set(Cause) - NOT_OF_RULES - met


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_has_a_lesson_and_lines(name: str) -> None:
    bug = BUGS[name]
    assert name == bug.name == bug.written.__name__.replace("_", "-")
    assert 40 < len(bug.lesson) < 300
    assert bug.lesson.endswith(".")
    assert bug.source.startswith(f"def {bug.written.__name__}(")
    assert "return" in bug.source
    assert bug.lesson[:20] not in bug.source
    assert "@" not in bug.source.partition("\n")[0]


def test_a_bug_is_found_by_its_name() -> None:
    assert bug_named("softmax-diagonal") is BUGS["softmax-diagonal"]
    with pytest.raises(UnknownBugError, match=r"no bug is called 'softmax_diagonal'; did you mean"):
        bug_named("softmax_diagonal")
    with pytest.raises(UnknownBugError, match=r"'xyzzy'; all names: tinygrad-attn zoo --list"):
        bug_named("xyzzy")


def test_the_page_shows_every_bug() -> None:
    page = (Path(__file__).parent.parent / "docs" / "trust.md").read_text("utf-8")
    shown = re.findall(
        r"^\| ([a-z0-9][a-z0-9-]*) \|", page.partition("## The kill matrix")[2], re.M
    )
    assert shown == ["bug", *BUGS]


def test_the_zoo_is_loaded_when_it_is_asked_for() -> None:
    assert ta.check.zoo.BUGS is BUGS


# ── trials ───────────────────────────────────────────────────────────────────────────────────────
def test_a_trial_asks_everybody_at_every_size() -> None:
    trial = tried("flip-passes-on")
    assert trial.bug is BUGS["flip-passes-on"]
    assert len(trial.reports) == 3
    assert trial.everywhere("ours")
    assert trial.named
    assert trial.caught["differences"] == 0  # the sum of a reversed sequence is the same sum
    assert trial.caught["PyTorch's"] == 3


def test_what_is_not_named_is_seen() -> None:
    """The judge of the names, with names that are wrong."""
    (report, *_), bug = said("softmax-diagonal"), BUGS["softmax-diagonal"]
    assert names(report, bug)
    assert not names(report, BUGS["tanh-sign"])  # another operation and cause
    assert not names(report, BUGS["softmax-sign"])  # another cause
    assert not names(report, BUGS["log-softmax-diagonal"])  # another operation
    assert not names(report, BUGS["relu-at-its-kink"])  # another verdict
    assert not Trial("softmax-diagonal", (report, said("tanh-sign")[0]), {}).named


def test_a_cage_makes_bugs_of_rules_and_of_functions() -> None:
    cage = Cage("a corner")

    def made(size: Size, rng: np.random.Generator) -> Subject:
        return Subject(ta.exp, (rng.standard_normal((size.T, 2)),))

    @cage.plants(ta.exp, "x", made, Cause.FACTOR)
    def twice_as_steep(g: ta.Tensor, out: ta.Tensor) -> ta.Tensor:
        """Twice
        as steep.
        """
        return 2 * g * out

    @cage.misuses(made, Cause.DETACHED)
    def cut_off(size: Size, rng: np.random.Generator) -> Subject:
        """Cut off."""
        return Subject(lambda x: ta.exp(x.detach()) + 0 * x, made(size, rng).inputs)

    steep, cut = cage.bugs
    assert (steep.name, steep.op, steep.area) == ("twice-as-steep", "exp", "a corner")
    assert steep.lesson == "Twice as steep."
    assert (cut.name, cut.op, cut.causes) == ("cut-off", None, (Cause.DETACHED,))
    for bug in cage.bugs:
        with bug.plant():
            assert names(judged(bug.subject(SIZES[0])), bug)
        assert judged(bug.subject(SIZES[0])).ok


def test_several_processes_find_what_one_finds() -> None:
    chosen = list(BUGS)[::25]
    together = list(trials(jobs=2, chosen=chosen))
    assert [trial.name for trial in together] == chosen
    for trial, alone in zip(together, map(tried, chosen), strict=True):
        assert (trial.caught, trial.named) == (alone.caught, alone.named)
