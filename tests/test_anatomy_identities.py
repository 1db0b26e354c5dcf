"""The identities of attention's gradients: they hold where they should, and show planted faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from anatomies import recorded

import tinygrad_attn as ta
from tinygrad_attn import Tensor
from tinygrad_attn.check import equations
from tinygrad_attn.check.attention_arrays import Known
from tinygrad_attn.nn.functional import attention
from tinygrad_attn.viz.anatomy.data import Identity, Matrices, Recording
from tinygrad_attn.viz.anatomy.identities import (
    KOREAN,
    TOLERANCE,
    identities_of,
    known,
    matrices,
)

Rng = np.random.Generator
KINDS: dict[str, dict[str, Any]] = {
    "self": {},
    "masked": {"masked": True},
    "no bias": {"bias": False},
    "rotary": {"rotary": True, "masked": True},
    "grouped": {"kv_heads": 2},
    "cross, grouped": {"cross": True, "kv_heads": 3, "masked": True},
}
ROWS, SUMS, HIDDEN, MEANS, INNER, KEY_BIAS, VALUE_BIAS, GROUPS, PARTS = range(9)
ALWAYS = {ROWS, SUMS, MEANS, INNER, GROUPS, PARTS}
APPLY = {
    "self": ALWAYS | {KEY_BIAS, VALUE_BIAS},
    "masked": ALWAYS | {HIDDEN, KEY_BIAS},  # one query looks nowhere
    "no bias": ALWAYS,
    "rotary": ALWAYS | {HIDDEN},
    "grouped": ALWAYS | {KEY_BIAS, VALUE_BIAS},
    "cross, grouped": ALWAYS | {HIDDEN, KEY_BIAS},
}


def of(recording: Recording) -> tuple[Identity, ...]:
    return identities_of(recording)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_they_apply_and_hold(rng: Rng, kind: str) -> None:
    found = of(recorded(rng, **KINDS[kind]))
    assert {i for i, identity in enumerate(found) if identity.applies} == APPLY[kind]
    for identity in found:
        assert identity.holds == identity.applies, identity
        assert identity.deviation < (1e-14 if identity.applies else 1e-300), identity
        assert identity.name.ko
        assert identity.condition.ko


# What each must see: a matrix, and how it is made wrong; at least these identities must fail.
FAULTS: dict[str, tuple[str, str, Callable[[Any], Any], set[int]]] = {
    "a weight too large": ("masked", "P", lambda a: planted(a, (1, 2, 3), 1e-9), {ROWS}),
    "softmax without its mean": ("self", "dSmasked", lambda a: planted(a, ..., 1e-9), {SUMS}),
    "a hidden score": ("masked", "dSmasked", lambda a: planted(a, (0, 1, 2), 1e-9), {HIDDEN}),
    "dC of another row": ("self", "dC", lambda a: a[:, ::-1], {MEANS}),
    "dP of a head": ("cross, grouped", "dP", lambda a: planted(a, 4, 1e-3), {MEANS}),
    "dQ scaled": ("rotary", "dQ", lambda a: a * (1 + 1e-9), {INNER, PARTS}),
    "dQ scaled, cross": ("cross, grouped", "dQ", lambda a: a * 1.1, {INNER, PARTS}),
    "dK of a group": ("grouped", "dK", lambda a: planted(a, (1, 2, 1), 1e-6), {INNER, GROUPS}),
    "dK of a group's first head": ("grouped", "dK", lambda a: a / 3, {INNER, GROUPS, PARTS}),
    "dV of a group": ("grouped", "dV", lambda a: a / 3, {GROUPS, PARTS}),
    "dS not as dS′": ("masked", "dS", lambda a: a * 1.01, {INNER}),
    "dX": ("self", "dX", lambda a: planted(a, (3, 7), 1e-9), {PARTS}),
    "dM": ("cross, grouped", "dM", lambda a: planted(a, (6, 10), 1e-9), {PARTS}),
    "dbk": ("self", "dbk", lambda a: planted(a, (4,), 1e-9), {KEY_BIAS}),
    "dbk, masked": ("masked", "dbk", lambda a: planted(a, (11,), 1e-9), {KEY_BIAS}),
    "dbv": ("grouped", "dbv", lambda a: planted(a, (3,), 1e-9), {VALUE_BIAS}),
}


def planted(array: Any, at: Any, size: float) -> Any:
    wrong = np.array(array)
    wrong[at] += size
    return wrong


def with_fault(recording: Recording, name: str, spoil: Callable[[Any], Any]) -> Recording:
    """The recording with one of its matrices (of the last example) or gradients made wrong."""
    target, examples = recording.targets[0], recording.examples
    if name in target.parameters:
        wrong = {**target.parameters, name: spoil(target.parameters[name])}
        return replace(recording, targets=(replace(target, parameters=wrong),))
    if name in target.gradients[-1]:
        wrong = {**target.gradients[-1], name: spoil(target.gradients[-1][name])}
        changed = replace(target, gradients=(*target.gradients[:-1], wrong))
        return replace(recording, targets=(changed,))
    values = {**examples[-1].values, name: spoil(examples[-1].values[name])}
    return replace(recording, examples=(*examples[:-1], replace(examples[-1], values=values)))


@pytest.mark.parametrize("fault", FAULTS)
def test_they_see_planted_faults(rng: Rng, fault: str) -> None:
    kind, name, spoil, seen_by = FAULTS[fault]
    recording = recorded(rng, **KINDS[kind])
    if fault == "a hidden score":
        spoil = hidden_cell(recording, spoil)
    found = of(with_fault(recording, name, spoil))
    failed = {i for i, identity in enumerate(found) if identity.applies and not identity.holds}
    assert seen_by <= failed, (fault, failed)
    assert all(found[i].deviation > TOLERANCE for i in seen_by)


def hidden_cell(recording: Recording, spoil: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A fault in a cell that the mask of the last example hides, made up for in its row."""
    mask = np.broadcast_to(recording.examples[-1].mask, (6, 5, 5))
    h, t, s = next(c for c in np.argwhere(np.isneginf(mask)) if np.isfinite(mask[c[0], c[1]]).any())
    open_ = int(np.flatnonzero(np.isfinite(mask[h, t]))[0])
    return lambda a: planted(planted(a, (h, t, s), 1e-9), (h, t, open_), -1e-9)


def test_every_identity_is_seen_to_fail() -> None:
    assert set().union(*(seen for *_, seen in FAULTS.values())) == set(range(len(KOREAN) + 1))


RULES: dict[str, tuple[str, int, Callable[..., Any], set[int]]] = {
    "softmax forgets the mean": ("softmax", 0, lambda g, out: g * out, {SUMS, KEY_BIAS}),
    "a product's second rule": (
        "matmul",
        1,
        lambda g, a: 1.5 * (np.swapaxes(a, -1, -2) @ g),
        {INNER, VALUE_BIAS},
    ),
    "the scale is left out": ("multiply", 0, lambda g: g * 1.0, {INNER}),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_wrong_rule_in_the_engine_shows(rng: Rng, rule: str) -> None:
    name, argument, wrong, seen_by = RULES[rule]
    with ta.PRIMITIVES[name].replaced_vjp(argument, wrong):
        found = of(recorded(rng))
    failed = {i for i, identity in enumerate(found) if identity.applies and not identity.holds}
    assert seen_by <= failed, failed


def test_shares_of_100_percent_are_not_enough(rng: Rng) -> None:
    recording = replace(recorded(rng, batch=1), block=None)
    whole = recording.targets[0].gradients[0]["dX"]
    v = rng.standard_normal(whole.shape)
    reflected = whole - (v * whole).sum() / (v * v).sum() * v  # ⟨whole, it⟩ = ‖it‖²
    assert np.isclose((whole * reflected).sum(), (reflected**2).sum(), rtol=1e-12)
    found = of(with_fault(recording, "dX", lambda a: reflected))
    assert found[PARTS].deviation > 1e-3
    assert not found[PARTS].holds


def test_saturated_softmax_is_no_fault(rng: Rng) -> None:
    recording = recorded(rng)
    factor = 300.0  # each row is one-hot but for 1e-60
    target = recording.targets[0]
    examples = []
    gradients = []
    for example, g in zip(recording.examples, target.gradients, strict=True):
        m = through_attention(example.values, factor, g["dC"], recording.layer.scale)
        examples.append(replace(example, values={**example.values, **m[0]}))
        gradients.append({**g, **m[1]})
    target = replace(target, gradients=tuple(gradients))
    found = of(replace(recording, examples=tuple(examples), targets=(target,)))
    for i in (ROWS, SUMS, MEANS, INNER):
        assert found[i].holds, found[i]


def test_rows_of_a_nearly_saturated_softmax(rng: Rng) -> None:
    """What is left of dS′ where P is 1 − 1e-12 is as good as rounding: measured by its terms."""
    scores = rng.standard_normal((1, 4, 5))
    scores[..., 2] += 27
    x = Tensor(scores, requires_grad=True)
    P, dP = ta.softmax(x), rng.standard_normal((1, 4, 5))
    (dS,) = ta.grad(P, [x], g=dP)
    m = {"weights": P.data, "dweights": dP, "dmasked": dS.data}
    assert np.abs(dS.data.sum(-1)).max() > 1e-9 * np.abs(dS.data).max()
    assert equations.score_rows(Known(m)) < 1e-15
    assert equations.score_rows(Known({**m, "dmasked": dS.data + 1e-10})) > TOLERANCE


def through_attention(
    values: Matrices, factor: float, dC: Any, scale: float
) -> tuple[Matrices, Matrices]:
    """Attention of one example by its gradients, with `factor` times the queries."""
    q, k, v = (
        Tensor(f * values[n], requires_grad=True)
        for n, f in zip("QKV", (factor, 1.0, 1.0), strict=True)
    )
    context, stages = attention(q, k, v, scale=scale, return_stages=True)
    tensors = dict(
        zip(
            ("Q", "K", "V", "R", "S", "Smasked", "P", "C"),
            (q, k, v, stages.raw, stages.scores, stages.masked, stages.weights, context),
            strict=True,
        )
    )
    found = ta.grad(context, list(tensors.values()), g=dC)
    return (
        {n: t.data for n, t in tensors.items()},
        {f"d{n}": g.data for n, g in zip(tensors, found, strict=True)},
    )


def test_with_rotary_positions_the_key_bias_does_get_a_gradient(rng: Rng) -> None:
    recording = recorded(rng, rotary=True)
    assert equations.key_bias(known_of(recording)) > 1e-3
    assert equations.key_bias(known_of(recorded(rng))) < 1e-15


def known_of(recording: Recording) -> Known:
    return known(recording.layer, matrices(recording, recording.targets[0]))


def test_an_empty_row_breaks_the_value_bias_alone(rng: Rng) -> None:
    recording = recorded(rng, masked=True)
    m = known_of(recording)
    assert equations.value_bias(m) > 1e-3
    assert equations.weight_rows(m) < 1e-15
    assert not equations.alive(m).all()


def test_no_gradient_at_all(rng: Rng) -> None:
    recording = recorded(rng)
    target = recording.targets[0]
    block = recording.block
    assert block is not None
    zero = replace(
        target,
        gradients=tuple({n: 0 * g for n, g in e.items()} for e in target.gradients),
        parameters={n: 0 * g for n, g in target.parameters.items()},
    )
    nothing = replace(block, residual=(0 * block.residual[0],), total=(0 * block.total[0],))
    found = of(replace(recording, targets=(zero,), block=nothing))
    assert all(identity.holds for identity in found if identity.applies)
    assert max(identity.deviation for identity in found) < 1e-15
