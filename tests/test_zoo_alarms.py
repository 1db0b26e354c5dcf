"""Random right gradients raise no alarm; wrong ones among them do."""

from __future__ import annotations

import numpy as np

import tinygrad_attn as ta
from tinygrad_attn.check.samples import OPERATIONS
from tinygrad_attn.check.suite import LAYERS, SAMPLES
from tinygrad_attn.check.zoo.alarms import outcome, outcomes
from tinygrad_attn.check.zoo.checkers import CHECKERS
from tinygrad_attn.check.zoo.expressions import (
    ANY,
    LARGEST,
    LONGEST,
    MATRICES,
    elsewhere,
    expression,
    right_subject,
)
from tinygrad_attn.check.zoo.matrix import OURS


def test_right_gradients_raise_no_alarm() -> None:
    found = list(outcomes(120, seed=7, compared=3))
    assert not [outcome.name for outcome in found if outcome.alarms[OURS]]
    assert [len(outcome.alarms) for outcome in found[:4]] == [4, 4, 4, 1]
    assert set(found[0].alarms) == {OURS, *CHECKERS}
    assert sum(outcome.verdict == "right" for outcome in found) >= 0.95 * len(found)
    assert all((outcome.report is None) == (outcome.verdict == "right") for outcome in found)


def test_wrong_ones_do() -> None:
    """Every check in which a planted rule runs is an alarm, and no other."""
    with ta.tanh.replaced_vjp("x", lambda g, out: g * (1 - out * out) * 1.001):
        found = list(outcomes(80, seed=7))
    alarms = [outcome for outcome in found if outcome.alarms[OURS]]
    assert 3 <= len(alarms) <= 40
    assert all(outcome.report is not None and outcome.report.op == "tanh" for outcome in alarms)


def test_a_check_has_its_own_seed() -> None:
    first, again = (outcome(5, 3, 0) for _ in range(2))
    assert (first.name, first.alarms) == (again.name, again.alarms)
    assert len({outcome(number, 3, 0).name for number in range(8)}) > 4


# ── what is drawn ────────────────────────────────────────────────────────────────────────────────
def test_expressions_are_small_and_every_step_is_drawn() -> None:
    drawn: set[str] = set()
    for seed in range(400):
        name, subject = expression(np.random.default_rng(seed))
        steps = name.split(" → ")
        drawn.update(steps)
        assert len(steps) <= LONGEST
        out, again = (np.asarray(subject.f(*subject.inputs)) for _ in range(2))
        assert out.size <= LARGEST or name == "x"
        assert np.array_equal(out, again)
        assert np.isfinite(out).all()
    assert drawn >= {*ANY, *MATRICES}


def test_samples_move_elsewhere(rng: np.random.Generator) -> None:
    sample = OPERATIONS["power"]
    moved = elsewhere(sample, rng)
    for before, after in zip(sample.inputs, moved.inputs, strict=True):
        assert before.shape == after.shape
        assert not np.allclose(before, after)
        assert before.min() <= after.min() <= after.max() <= before.max()
    kinked = OPERATIONS["relu"]
    ratios = np.sort(elsewhere(kinked, rng).inputs[0], None) / np.sort(kinked.inputs[0], None)
    np.testing.assert_allclose(ratios, ratios[0])
    tokens = LAYERS["Embedding"].inputs[0]
    assert elsewhere(LAYERS["Embedding"], rng).inputs[0] is tokens


def test_expressions_operations_and_layers_are_drawn() -> None:
    names = [right_subject(np.random.default_rng(seed))[0] for seed in range(300)]
    assert sum(name in LAYERS for name in names) >= 1
    assert sum(name in SAMPLES for name in names) >= 20
    assert sum("→" in name for name in names) >= 150
