"""Random programs on tensors (machine.py), and that they find planted faults."""

from __future__ import annotations

import inspect
import textwrap
from importlib import import_module
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from machine import GraphMachine

import tinygrad_attn as ta
from tinygrad_attn import Tensor

ALWAYS = settings(max_examples=140, stateful_step_count=50, derandomize=True, deadline=None)


class TestGraphs(GraphMachine.TestCase):
    settings = ALWAYS


@pytest.mark.slow
def test_many_more_graphs() -> None:
    deeper = settings(max_examples=300, stateful_step_count=60, derandomize=True, deadline=None)
    run_state_machine_as_test(GraphMachine, settings=deeper)


ENGINE_FILES = ("backward", "primitive", "recompute", "results", "rule")
backward, primitive, recompute, results, rule = (
    import_module(f"tinygrad_attn.engine.{name}") for name in ENGINE_FILES
)


# ── faults ───────────────────────────────────────────────────────────────────────────────────────
def fails() -> bool:
    """Does the machine find a fault?  No time is spent on a short story."""
    quick = settings(ALWAYS, phases=[Phase.generate], report_multiple_bugs=False)
    try:
        run_state_machine_as_test(GraphMachine, settings=quick)
    except Exception:
        return True
    return False


RULES: dict[str, tuple[Any, Any, Any]] = {
    "a sign": (ta.sin, 0, lambda g, x: -g * ta.cos(x)),
    "a factor": (ta.square, 0, lambda g, x: g * x),
    "the diagonal of a Jacobian": (ta.softmax, 0, lambda g, out: g * out * (1 - out)),
    "operands exchanged": (ta.multiply, "a", lambda g, a: g * a),
    "a branch cut": (ta.subtract, 1, lambda g: g * 0.0),
}


@pytest.mark.parametrize("name", RULES)
def test_a_wrong_rule_is_found(name: str) -> None:
    op, argument, wrong = RULES[name]
    with op.replaced_vjp(argument, wrong):
        assert fails()


ENGINE: dict[str, tuple[Any, str, str, str]] = {
    "the last use overwrites": (backward, "walk", "waiting[order] + part", "part"),
    "an older gradient overwritten": (backward, "backward", "node.grad + part", "part"),
    "half a gradient written": (
        backward,
        "walk",
        "reached.append((node, g))",
        "reached.append((node, g)); node.grad = as_tensor(g)",
    ),
    "oldest first": (backward, "walk", "-heappop(heap)", "-heap.pop()"),
    "saved arrays never freed": (backward, "walk", "node.edges = None", "pass"),
    "freed under retain_graph": (backward, "walk", "(retain_graph or create_graph)", "False"),
    "hooks without effect": (backward, "walk", "g = hooked(node, g", "hooked(node, g"),
    "the first hook alone": (backward, "hooked", "in node.hooks or ()", "in node.hooks[:1]"),
    "one axis too few summed": (backward, "unbroadcast", "sum(axis=axes)", "mean(axis=axes)"),
    "no second order": (backward, "prepared", "if create_graph else", "if False else"),
    "a way forgotten": (backward, "reaching", ">= oldest", "> oldest"),
    "g not copied": (backward, "upstream", "np.array(g)", "np.asarray(g)"),
    "a result linked to itself": (rule.Rule, "attached", "node if argument == OUT", "None if True"),
    "constants not copied": (primitive, "constant", "frozen(a)", "a"),
    "parts of a split lost": (results.Parts, "__add__", "a if b is None", "None if b is None"),
    "recompute of changed leaves": (recompute, "rerecorded", "expected is not None", "False"),
}


@pytest.mark.parametrize("name", ENGINE)
def test_a_fault_in_the_engine_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    home, function, right, wrong = ENGINE[name]
    original = getattr(home, function)
    source = textwrap.dedent(inspect.getsource(original))
    assert source.count(right) == 1, source
    space = dict(original.__globals__)
    exec("from __future__ import annotations\n" + source.replace(right, wrong), space)
    broken = space[function]
    monkeypatch.setattr(home, function, broken)
    if function == "backward":
        monkeypatch.setattr(Tensor, "backward", broken)
    assert fails()


def test_a_detach_that_detaches_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "detach", lambda self: self)
    assert fails()


def test_a_hook_that_cannot_be_removed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    register = Tensor.register_hook
    monkeypatch.setattr(
        Tensor, "register_hook", lambda self, fn: register(self, fn) and (lambda: None)
    )
    assert fails()
