"""Labels of a recording, and the one sentence that each mistake is answered with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from attended import CASES, B, D, H, Model, T, inputs, loss_of

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, GraphError, IndexingError, ShapeError, Tensor, nn
from tinygrad_attn.study import observed
from tinygrad_attn.viz.anatomy import Recording
from tinygrad_attn.viz.anatomy.recording import record


def recorded(name: str, rng: np.random.Generator, examples: Any = None) -> Recording:
    """A recording with labels."""
    given = inputs(CASES[name], rng)
    model = Model(CASES[name], rng)
    return record(model, lambda m: loss_of(m, *given), examples=examples, numeric_limit=0)


# ── labels ───────────────────────────────────────────────────────────────────────────────────────
def test_labels_for_queries_and_keys(rng: np.random.Generator) -> None:
    rows = [list("abcde"), ("v", "w", "x", "y", 5)]
    found = recorded("self", rng, rows)
    assert [e.title for e in found.examples] == ["a b c d e", "v w x y 5"]
    assert found.examples[1].keys == found.examples[1].queries == ("v", "w", "x", "y", "5")
    pairs = [(list("abcde"), list("tuvwxyz"))] * 2
    found = recorded("cross", rng, pairs)
    assert found.examples[0].keys == tuple("tuvwxyz")
    found = recorded("cross", rng)
    assert found.examples[0].keys == tuple("0123456")
    assert found.examples[1].title == "example 1"


# ── errors ───────────────────────────────────────────────────────────────────────────────────────
def fine(model: Any) -> Any:
    return model(Tensor(np.ones((B, T, D))), None).sum()


def drawn(model: Any) -> Any:
    """0 each time, with another gradient."""
    y = model(Tensor(np.ones((B, T, D))), None)
    return ((y - y.detach()) * np.random.random((B, T, D))).sum()


class Careless(nn.Module):
    """Calls its attention in ways that a page does not show."""

    def __init__(self, how: str) -> None:
        self.attn, self.how = nn.MultiHeadAttention(D, H, dropout=0.1), how

    def forward(self, x: Tensor) -> Any:
        if self.how == "cache":
            return self.attn(x, cache=nn.KVCache())
        if self.how == "values":
            return self.attn(x, x * 2, x * 3)
        if self.how == "no_grad":
            with ta.no_grad():
                return self.attn(x)
        if self.how == "dropout":
            self.train()
        if self.how == "empty":
            return self.attn(x[:, :0])
        return self.attn(x)


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("cache", GraphError, "attn is called with a KV cache; let `run` pass whole sequences"),
        ("values", ShapeError, "keys and values come from two inputs"),
        ("no_grad", GraphError, "call 0 records no graph"),
        ("dropout", GraphError, "dropout is on"),
        ("empty", ShapeError, "at least one query and one key"),
    ],
)
def test_calls_that_a_page_cannot_show(how: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        record(Careless(how), lambda m: m(Tensor(np.ones((B, T, D)))).sum())


@pytest.mark.parametrize(
    ("run", "options", "kind", "message"),
    [
        (
            fine,
            {"layer": "blocks.7.attn"},
            IndexingError,
            "one of 'blocks.0.attn', 'blocks.1.attn'",
        ),
        (fine, {"layer": nn.MultiHeadAttention(2, 1)}, IndexingError, "got 'MultiHead"),
        (fine, {"layer": 3}, IndexingError, "got 'int'"),
        (fine, {"call": 1}, IndexingError, r"expected call 0, the only one, of blocks\.0\.attn in"),
        (
            lambda m: fine(m) + fine(m),
            {"call": 2},
            IndexingError,
            r"expected call 0 … 1 of blocks\.0\.attn in run\(model\), got 2",
        ),
        (fine, {"call": -1}, IndexingError, "call must be an integer of 0 or more, got -1"),
        (fine, {"numeric_limit": 2.5}, IndexingError, "numeric_limit must be an integer"),
        (fine, {"cells": [(0, 5, 0)]}, IndexingError, r"below \(2, 5, 24\), got \(0, 5, 0\)"),
        (fine, {"cells": [(0, 1)]}, IndexingError, "a cell of Y is"),
        (fine, {"examples": [list("abcde")]}, ShapeError, "2 examples, but there are labels for 1"),
        (fine, {"examples": "ab"}, DTypeError, "for each of the 2 examples, got 'ab'$"),
        (fine, {"examples": 5}, DTypeError, "for each of the 2 examples, got 5$"),
        (fine, {"examples": list("abcde")}, DTypeError, r"put it in a list: \[words\]"),
        (
            fine,
            {"examples": [list("abcde"), "abcde"]},
            DTypeError,
            "a list of labels for example 1",
        ),
        (fine, {"cells": (0, 1, 2)}, IndexingError, r"cells must be a list .* got \(0, 1, 2\)"),
        (fine, {"cells": None}, IndexingError, "cells must be a list .* got None"),
        (None, {}, DTypeError, "run must be a function of the model, got None"),
        (
            fine,
            {"examples": [list("abcde"), list("abcdef")]},
            ShapeError,
            "example 1 has 5 queries, but 6 labels",
        ),
        (
            fine,
            {"examples": [(list("abcde"), list("abcd"))] * 2},
            ShapeError,
            "example 0 has 5 keys, but 4 labels",
        ),
        (lambda m: 1.5, {}, DTypeError, "must return a scalar Tensor"),
        (lambda m: {}, {}, ShapeError, "returned no target"),
        (lambda m: {"a": fine(m), "b": 2}, {}, DTypeError, "got a int for 'b'"),
        (lambda m: m(Tensor(np.ones((B, T, D))), None), {}, ShapeError, "must return scalars"),
        (lambda m: fine(m).detach(), {}, GraphError, "the target 'loss'"),
        (lambda m: Tensor(1.0, requires_grad=True), {}, GraphError, "was not called"),
        (
            lambda m: {"loss": fine(m), "far": (m.blocks[0].norm.weight * 2).sum()},
            {},
            GraphError,
            "'far' does not depend on this call",
        ),
        (
            lambda m: m(Tensor(np.random.default_rng().random((B, T, D))), None).sum(),
            {},
            GraphError,
            "something else the second time",
        ),
        (  # only behind the layer
            lambda m: (m(Tensor(np.ones((B, T, D))), None) * np.random.random((B, T, D))).sum(),
            {},
            GraphError,
            "something else the second time",
        ),
        (drawn, {}, GraphError, "something else the second time"),
    ],
)
def test_one_sentence_for_each_mistake(
    run: Any, options: dict[str, Any], kind: type[Exception], message: str, rng: np.random.Generator
) -> None:
    with pytest.raises(kind, match=message) as error:
        record(Model(CASES["self"], rng), run, **options)
    assert str(error.value).startswith("anatomy: ")
    assert "\n" not in str(error.value)


def test_models_without_attention_and_no_models() -> None:
    with pytest.raises(DTypeError, match=r"no nn\.MultiHeadAttention in this Linear"):
        record(nn.Linear(2, 3), fine)
    with pytest.raises(DTypeError, match=r"expected an nn\.Module, got a function"):
        record(fine, fine)  # type: ignore[arg-type]


def test_a_replaced_forward_is_refused(rng: np.random.Generator) -> None:
    model = Model(CASES["self"], rng)
    with (
        observed(model),
        pytest.raises(GraphError, match=r"forward of blocks\.0\.attn is replaced"),
    ):
        record(model, fine)


def test_too_large_a_batch_is_refused_with_its_size(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinygrad_attn.viz.anatomy.watching.LARGEST", 3_000)
    with pytest.raises(ShapeError, match=r"\(2, 5, 24\) with 5 keys .* 5,760 numbers, .* 3,000"):
        record(Model(CASES["self"], rng), fine)


def test_every_target_counts_for_the_size(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, cells = Model(CASES["self"], rng), [(0, 0, j) for j in range(6)]
    monkeypatch.setattr("tinygrad_attn.viz.anatomy.recording.LARGEST", 30_000)
    assert len(record(model, fine, cells=cells[:2], numeric_limit=0).targets) == 3
    with pytest.raises(ShapeError, match=r"7 targets make a page of .* 30,000 fit; ask for fewer"):
        record(model, fine, cells=cells, numeric_limit=0)


def test_labels_in_arrays(rng: np.random.Generator) -> None:
    found = recorded("self", rng, np.array([list("abcde"), list("vwxyz")]))
    assert found.examples[1].keys == tuple("vwxyz")
    pair = (np.array(list("abcde")), np.array(list("tuvwxyz")))
    assert recorded("cross", rng, [pair, pair]).examples[1].keys == tuple("tuvwxyz")
