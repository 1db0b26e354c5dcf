"""The steps of a layer: complete, in order, true of the numbers, and told by the engine's rules."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from anatomies import recorded

import tinygrad_attn as ta
from tinygrad_attn.viz.anatomy.data import Matrices, Recording, Step
from tinygrad_attn.viz.anatomy.sentences import WORDS, korean
from tinygrad_attn.viz.anatomy.steps import steps_of

Rng = np.random.Generator
KINDS: dict[str, dict[str, Any]] = {
    "self": {"masked": True},
    "no bias": {"bias": False},
    "rotary, grouped": {"rotary": True, "kv_heads": 3},
    "cross": {"cross": True},
    "cross, grouped": {"cross": True, "kv_heads": 2},
}


def of(recording: Recording, direction: str) -> list[Step]:
    return [step for step in steps_of(recording) if step.direction == direction]


@pytest.mark.parametrize("kind", KINDS)
def test_each_matrix_is_made_once_from_what_is_there(rng: Rng, kind: str) -> None:
    recording = recorded(rng, **KINDS[kind])
    layer, parameters = recording.layer, set(recording.parameters)
    known = {"X", *parameters} | ({"M"} if layer.cross else set())
    for step in of(recording, "forward"):
        assert set(step.sources) <= known, step.title
        assert not known & set(step.makes)
        known |= set(step.makes)
    assert known == {*layer.columns, *parameters}
    known.add("dY")
    for step in of(recording, "backward"):
        assert set(step.sources) <= known, step.title
        assert not known & set(step.makes)
        known |= set(step.makes)
    names = {*layer.columns, *parameters}
    assert known == names | {f"d{name}" for name in names}


@pytest.mark.parametrize("kind", KINDS)
def test_backward_undoes_forward_from_right_to_left(rng: Rng, kind: str) -> None:
    recording = recorded(rng, **KINDS[kind])
    there, back = of(recording, "forward"), of(recording, "backward")
    assert len(there) == len(back) == (9 if recording.layer.rotary else 8)
    for forward, backward in zip(there, reversed(back), strict=True):
        assert backward.makes == tuple(f"d{name}" for name in forward.sources)
        assert {f"d{name}" for name in forward.makes} <= set(backward.sources)
        assert backward.saves == forward.saves


def python(formula: str) -> str:
    """A formula of a step as an expression of NumPy."""
    text = re.sub(
        r" over all tokens$|, each row by itself$| over the heads h that share it$", "", formula
    )
    text = (
        re.sub(r"Σ (dP∘P)", r"rows(\1)", text).replace("1/√d", "scale").replace(" / √d", "∘scale")
    )
    text = re.sub(r"Σ (\w+)", r"tokens(\1)", text)
    text = re.sub(r"(?<=[\w)ᵀ′]) (?=[A-Zd])", " @ ", text)
    return text.replace("ᵀ", ".flipped").replace("∘", "*").replace("−", "-").replace("′", "masked")


def evaluated(step: Step, m: Matrices) -> int:
    """Check the formulas of a step by the recorded matrices; how many there were."""
    found = 0
    projection = "Wq" in step.sources
    m = {n: merged(a) if projection and n.lstrip("d") in "QKV" else a for n, a in m.items()}
    helpers = {
        "rows": lambda a: a.sum(-1, keepdims=True),
        "tokens": lambda a: a.sum(-2),
        "softmax": lambda a: np.exp(a) / np.exp(a).sum(-1, keepdims=True),
    }
    for line in step.formula.splitlines():
        if "pair" in line or "heads" in line or "axes" in line:
            continue  # moves and turns are in words
        left, _, right = python(line).partition(" = ")
        value = eval(right, {}, {**m, **helpers})
        expected = eval(left, {}, m)
        assert value.shape == expected.shape, line
        assert np.abs(value - expected).max() < 1e-12 * max(1, np.abs(value).max()), line
        found += 1
    return found


def merged(heads: Any) -> Any:
    return heads.swapaxes(0, 1).reshape(heads.shape[1], -1)


class Transposable(np.ndarray[Any, Any]):
    """An array whose last two axes can be exchanged by a name."""

    @property
    def flipped(self) -> Any:
        return self.swapaxes(-1, -2) if self.ndim > 1 else self


@pytest.mark.parametrize("kind", ["self", "no bias", "cross"])
def test_formulas_are_true_of_the_numbers(rng: Rng, kind: str) -> None:
    recording = recorded(rng, batch=1, **{**KINDS[kind], "masked": False})
    (example,), (target,) = recording.examples, recording.targets
    m = {**example.values, **target.gradients[0], **recording.parameters, **target.parameters}
    m |= {"mask": example.mask, "scale": np.asarray(recording.layer.scale)}
    arrays = {name: np.asarray(array).view(Transposable) for name, array in m.items()}
    found = sum(evaluated(step, arrays) for step in steps_of(recording))
    # Q K V R S S′ P C Y · dO dWo dP dV dS′ dS dR dQ dK dX dWq dWk dWv, with biases dbo dbq dbk dbv
    assert found == 9 + 13 + 4 * recording.layer.bias + recording.layer.cross
    for wrong in ("dQ", "dX", "dWv", "dSmasked", "dR"):
        spoilt = {**arrays, wrong: 1.001 * arrays[wrong]}
        with pytest.raises(AssertionError):
            [evaluated(step, spoilt) for step in steps_of(recording)]


def test_backward_formulas_and_source_are_the_rules_own(rng: Rng) -> None:
    recording = recorded(rng)
    softmax = next(s for s in of(recording, "backward") if s.makes == ("dSmasked",))
    (rule,) = ta.softmax.rules
    assert rule is not None
    assert rule.formula == "dx = y∘(dy − Σ dy∘y)"
    assert softmax.formula == "dS′ = P∘(dP − Σ dP∘P)"
    assert softmax.source.startswith("# softmax, x\nlambda g, out, axis: out * (g - (g * out)")
    assert softmax.saves == "P"

    def planted(g: Any, x: Any, out: Any) -> Any:
        """Not shown."""
        return g * out - x  # dx = dy∘y − x

    with ta.softmax.replaced_vjp("x", planted):
        other = next(s for s in of(recording, "backward") if s.makes == ("dSmasked",))
    assert other.formula == "dS′ = dP∘P − S′"
    assert other.source == (
        "# softmax, x\ndef planted(g: Any, x: Any, out: Any) -> Any:\n"
        "    return g * out - x  # dx = dy∘y − x"
    )


def test_a_rule_without_source_is_told_without(rng: Rng) -> None:
    recording = recorded(rng)
    rule = eval(compile("lambda g, out: g * out", "<nowhere>", "eval"))
    with ta.softmax.replaced_vjp("x", rule):
        step = next(s for s in of(recording, "backward") if s.makes == ("dSmasked",))
    assert step.source.strip() == "# softmax, x"
    assert step.formula == ""


def test_shared_keys_and_cross_attention_are_said(rng: Rng) -> None:
    grouped = {s.makes: s for s in steps_of(recorded(rng, kv_heads=2))}
    raw = grouped[("dQ", "dK")]
    assert raw.formula == "dQ = dR Kₕ\ndKₕᵀ = Qᵀ dR\ndK = Σ dKₕ over the heads h that share it"
    assert "collect from all of them" in raw.sentence.en
    assert "K 2 × 5 × 2" in raw.shapes
    alone = {s.makes: s for s in steps_of(recorded(rng))}[("dQ", "dK")]
    assert alone.formula == "dQ = dR K\ndKᵀ = Qᵀ dR"
    assert "collect" not in alone.sentence.en
    assert alone.shapes == "dR 6 × 5 × 5, Q 6 × 5 × 2, K 6 × 5 × 2 → dQ 6 × 5 × 2, dK 6 × 5 × 2"
    last = steps_of(recorded(rng, cross=True))[-1]
    assert last.formula.splitlines()[:2] == ["dX = dQ Wq", "dM = dK Wk + dV Wv"]
    assert last.sentence.en.startswith("X hears from the queries alone")
    turned = {s.makes: s for s in steps_of(recorded(rng, rotary=True))}
    assert turned[("R",)].formula == "R = Qrot Krotᵀ"
    assert turned[("dQ", "dK")].saves == "cos, sin"


def test_every_step_says_something_in_both_languages(rng: Rng) -> None:
    for kind in KINDS.values():
        for step in steps_of(recorded(rng, **kind)):
            for text in (step.title, step.sentence):
                assert text.en.isascii() or "√" in text.en or "∞" in text.en or "′" in text.en
                assert any("가" <= c <= "힣" for c in text.ko), text
                assert not any("가" <= c <= "힣" for c in text.en), text
            assert step.sentence.en.endswith(".")
            assert step.sentence.ko.endswith("다.")
            assert step.formula
            assert step.source
            assert step.shapes
            assert "@" not in step.source.partition("\n")[0]  # no decorator
            words = re.sub(r"softmax|cos|sin|mask|rot|[dWbP]*[a-z]\b", "", korean(step.formula))
            assert not re.search("[a-z]{3}", words), words
    assert set(WORDS) == {
        "projection", "rotation", "raw", "scores", "mask", "softmax", "context", "concat", "output",
    }  # fmt: skip
