"""Every wrong call of wrong_calls.py raises its typed error, names itself, and changes nothing."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from wrong_calls import TABLE, Call, given

import tinygrad_attn as ta
from tinygrad_attn import Tensor, TensorError, nn, optim
from tinygrad_attn.engine.settings import SETTINGS
from tinygrad_attn.rng import OWN

CASES = [
    pytest.param(*row, id=f"{group} {number}: {row[1]}")
    for group, rows in TABLE.items()
    for number, row in enumerate(rows)
]


def state(thing: Any) -> Any:
    """All there is to know about a thing of `given()`, in a form that can be compared."""
    if isinstance(thing, Tensor):
        node = thing.node
        kept = node and (id(node), id(node.edges), node.parents, node.hooks, node.retain, node.name)
        grad = None if thing.grad is None else (id(thing.grad), thing.grad.data.tobytes())
        return thing.data.tobytes(), thing.name, kept, grad
    if isinstance(thing, np.ndarray):
        return thing.tobytes(), thing.shape, thing.flags.writeable
    if isinstance(thing, np.random.Generator):
        return str(thing.bit_generator.state)
    if isinstance(thing, nn.Module):
        inside = {name: state(value) for name, value in vars(thing).items()}
        return type(thing), thing.training, inside
    if isinstance(thing, nn.KVCache):
        return thing.length, id(thing.keys), id(thing.values), state(thing.keys)
    if isinstance(thing, optim.Optimizer):
        return repr(thing.state_dict()), [state(p) for p in thing.parameters]
    return repr(thing)


def snapshot(things: SimpleNamespace) -> Any:
    """The things, the library's own generator and the settings."""
    found = {name: state(thing) for name, thing in vars(things).items()}
    return found, state(OWN), SETTINGS.get(), dict(ta.PRIMITIVES), ta.exp.rules


@pytest.mark.parametrize(("kind", "message", "call"), CASES)
def test_a_wrong_call_is_refused_and_changes_nothing(
    kind: type[Exception], message: str, call: Call
) -> None:
    things = given()
    before = snapshot(things)
    with pytest.raises(kind, match=f"(?s){message}") as caught:
        call(things)
    assert isinstance(caught.value, TensorError)
    assert len(str(caught.value)) < 700
    assert snapshot(things) == before
    things.graph.backward(np.ones((2, 3)))
    slopes = 1 - np.tanh(things.x.data * things.v.data) ** 2
    np.testing.assert_allclose(things.x.grad.numpy(), slopes * things.v.data)


def test_the_table_is_long() -> None:
    assert len(CASES) >= 350


CHANGES = {
    "an array": lambda t: t.boolean.fill(False),
    "a gradient": lambda t: setattr(t.x, "grad", np.ones((2, 3))),
    "a parameter": lambda t: setattr(t.linear.bias, "data", np.ones(3)),
    "a random state": lambda t: t.rng.random(),
    "the library's random state": lambda t: ta.seed(3),
    "a setting": lambda t: SETTINGS.set(replace(SETTINGS.get(), keep_values=True)),
    "a mode": lambda t: t.encoder.eval(),
    "a cache": lambda t: t.cache.truncate(2),
    "an optimiser": lambda t: t.adam.zero_grad(),
    "a running mean": lambda t: t.adam.states[0]["exp_avg"].fill(3),
    "a graph": lambda t: t.graph.backward(np.ones((2, 3))),
    "a hook": lambda t: t.graph.register_hook(print),
    "a name": lambda t: setattr(t.x, "name", "x"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_snapshot_sees_a_change(what: str) -> None:
    things = given()
    before, settings = snapshot(things), SETTINGS.get()
    assert snapshot(things) == before
    CHANGES[what](things)
    assert snapshot(things) != before
    SETTINGS.set(settings)
