"""Graphs made from graphs: folded, rolled up, without plumbing, only to a variable."""

from __future__ import annotations

import math
import re
import time
from dataclasses import replace
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_attn as ta
from tinygrad_attn import models, nn, viz
from tinygrad_attn.viz import folding, plumbing, rebuilding, rolling, selecting
from tinygrad_attn.viz.data import Cluster, Edge, GraphData, Vertex
from tinygrad_attn.viz.graph import graph_of
from tinygrad_attn.viz.labels import cluster_title


# ── graphs to try ────────────────────────────────────────────────────────────────────────────────
def op(i: int, label: str = "exp", **more: Any) -> Vertex:
    return Vertex(i, "op", label, shape=(2, 3), dtype="float64", **more)


def grad(i: int, of: int, **more: Any) -> Vertex:
    return Vertex(i, "gradient", f"d{of}", shape=(2, 3), of=of, **more)


def vjp(source: int, target: int, norm: float | None = None, formula: str = "dx = dy") -> Edge:
    return Edge(source, target, "x", formula, (2, 3), norm, "vjp")


def chain(*labels: str, **more: Any) -> GraphData:
    """x, one operation after the other, the output; the gradient of each with norm 2."""
    count = len(labels) + 2
    forward = [Vertex(0, "input", "x", "x", (2, 3))]
    forward += [op(i, label, **more) for i, label in enumerate(labels, 1)]
    forward.append(Vertex(count - 1, "output", "y", shape=(2, 3)))
    behind = [grad(count + k, count - 1 - k, grad_norm=2.0) for k in range(count)]
    edges = [Edge(i, i + 1, "x", f"rule {i + 1}", (2, 3)) for i in range(count - 1)]
    edges += [vjp(v.id, v.id + 1, 2.0, f"rule {v.of}") for v in behind[:-1]]
    return GraphData((*forward, *behind), tuple(edges))


def gpt(layers: int = 3, backward: bool = True, **sizes: int) -> viz.Graph:
    config = {"max_length": 7, "num_heads": 2, "d_model": 6} | sizes
    model = models.GPT(
        models.GPTConfig(11, num_layers=layers, **config), rng=np.random.default_rng(0)
    ).eval()
    tokens = np.arange(6)[None]
    return viz.trace(model.loss(tokens[:, :-1], tokens[:, 1:]), backward=backward, model=model)


@pytest.fixture(scope="module")
def whole() -> viz.Graph:
    return gpt()


def ways(graph: GraphData, kinds: set[str] = frozenset(("forward",))) -> dict[int, set[int]]:  # type: ignore[assignment]
    """For each id all ids that arrows of these kinds lead to."""
    onward: dict[int, set[int]] = {v.id: set() for v in graph.vertices}
    for edge in graph.edges:
        if edge.kind in kinds:
            onward[edge.source].add(edge.target)
    return {start: selecting.reached(onward[start], all_steps(onward)) for start in onward}


def all_steps(onward: dict[int, set[int]]) -> list[tuple[int, int]]:
    return [(here, there) for here in onward for there in onward[here]]


def sound(graph: GraphData) -> None:
    """Ids are positions, everything refers to something, parents come first, no module is empty."""
    assert [v.id for v in graph.vertices] == list(range(len(graph.vertices)))
    assert [c.id for c in graph.clusters] == list(range(len(graph.clusters)))
    assert all(c.parent is None or c.parent < c.id for c in graph.clusters)
    holders = {v.cluster for v in graph.vertices} | {c.parent for c in graph.clusters}
    assert holders - {None} == set(range(len(graph.clusters)))
    ends = {end for edge in graph.edges for end in (edge.source, edge.target)}
    ends |= {v.of for v in graph.vertices if v.of is not None}
    assert ends <= set(range(len(graph.vertices)))


def labelled(graph: GraphData, label: str) -> Vertex:
    (found,) = (v for v in graph.vertices if v.label == label)
    return found


def between(graph: GraphData, source: str, target: str, kind: str = "forward") -> list[Edge]:
    ends = (labelled(graph, source).id, labelled(graph, target).id)
    return [e for e in graph.edges if (e.source, e.target) == ends and e.kind == kind]


@st.composite
def dags(draw: st.DrawFn) -> GraphData:
    """Graphs of operations, some of which only move elements, in nested modules, both ways."""
    count = draw(st.integers(2, 14))
    parents = draw(st.lists(st.integers(-1, 5), max_size=6))
    clusters = tuple(
        Cluster(i, f"m{i}", None if p < 0 or p >= i else p) for i, p in enumerate(parents)
    )
    place = st.sampled_from([None, *range(len(clusters))])
    labels = st.sampled_from(["exp", "add", "reshape", "transpose", "split", "concatenate"])
    forward = [Vertex(0, "input", "x", "x")]
    forward += [op(i, draw(labels), cluster=draw(place)) for i in range(1, count)]
    edges = [
        Edge(draw(st.integers(0, i - 1)), i, f"a{k}", f"f{i}{k}")
        for i in range(1, count)
        for k in range(1 if rebuilding.only_moves(forward[i]) else draw(st.integers(1, 3)))
    ]
    fed = {edge.source for edge in edges}
    for end in [i for i in range(count) if i not in fed]:
        forward.append(Vertex(len(forward), "output", f"y{end}"))
        edges.append(Edge(end, forward[-1].id))
    total = len(forward)
    behind = [grad(total + k, v.id, cluster=v.cluster) for k, v in enumerate(reversed(forward))]
    at = {v.of: v.id for v in behind}
    edges += [vjp(at[e.target], at[e.source], 1.0, e.formula) for e in edges]
    return rebuilding.rebuilt([*forward, *behind], edges, clusters)


# ── folding both ways ────────────────────────────────────────────────────────────────────────────
def test_the_gradients_of_a_module_fold_into_a_box_of_their_own(whole: viz.Graph) -> None:
    graph = whole.fold(1)
    sound(graph)
    for name in ("blocks.0", "blocks.1", "blocks.2", "ln_f"):
        box, behind = labelled(graph, name), labelled(graph, f"d({name})")
        assert (box.kind, behind.kind, behind.of) == ("module", "gradient", box.id)
        assert (behind.shape, behind.operations) == (box.shape, box.operations)
    assert len(between(graph, "blocks.0", "blocks.1")) == 1
    (back,) = between(graph, "d(blocks.1)", "d(blocks.0)", "vjp")
    assert (back.formula, back.argument) == ("", "")


def test_a_folded_box_shows_the_gradient_of_its_result(whole: viz.Graph) -> None:
    last = max(
        (v for v in whole.vertices if v.scope == "GPT.blocks.1" and v.of is None),
        key=lambda v: v.id,
    )
    (gradient,) = (v for v in whole.vertices if v.of == last.id)
    assert labelled(whole.fold(1), "d(blocks.1)").grad_norm == gradient.grad_norm


def test_the_norm_between_blocks_is_that_of_the_gradient_they_hand_on(whole: viz.Graph) -> None:
    """All parts of that gradient (residual, mean, subtract) come along one arrow: it is whole."""
    graph = whole.fold(1)
    (back,) = between(graph, "d(blocks.2)", "d(blocks.1)", "vjp")
    assert back.norm == labelled(graph, "d(blocks.1)").grad_norm


def two_in_one(*, other_part: bool) -> GraphData:
    """Two operations in a module send parts (3 and 4) of dx; a third outside it may, too."""
    inside = Cluster(0, "m", None, "m")
    vertices = [
        Vertex(0, "input", "x", shape=(2, 3)), op(1, cluster=0), op(2, cluster=0), op(3),
        grad(4, 3), grad(5, 2, cluster=0), grad(6, 1, cluster=0), grad(7, 0, grad_norm=6.0),
    ]  # fmt: skip
    edges = [vjp(5, 7, 3.0), vjp(6, 7, 4.0)] + [vjp(4, 7, 1.0)] * other_part
    return GraphData(tuple(vertices), tuple(edges), (inside,))


@pytest.mark.parametrize(("other_part", "norm"), [(False, 6.0), (True, None)])
def test_parts_of_one_gradient_have_no_norm_unless_they_are_all_of_it(
    other_part: bool, norm: float | None
) -> None:
    graph = folding.fold(two_in_one(other_part=other_part), 0)
    (edge,) = between(graph, "d(m)", "d0", "vjp")
    assert edge.norm == norm  # not √(3² + 4²) = 5: parts of the same gradient are added


def test_parts_of_different_gradients_have_a_norm_together() -> None:
    graph = two_in_one(other_part=False)
    other = Vertex(8, "input", "z", shape=(5,))
    moved = replace(graph.edges[1], target=9, shape=(5,))
    graph = GraphData(
        (*graph.vertices, other, replace(grad(9, 8), cluster=None)),
        (graph.edges[0], moved),
        graph.clusters,
    )
    to_x, to_z = folding.fold(graph, 0).edges
    assert (to_x.norm, to_z.norm) == (3.0, 4.0)
    both = replace(graph, clusters=(*graph.clusters, Cluster(1, "n", None, "n")))
    vertices = [replace(v, cluster=1) if v.id in (0, 7, 8, 9) else v for v in graph.vertices]
    (edge,) = folding.fold(replace(both, vertices=tuple(vertices)), 0).edges
    assert edge.norm == 5.0
    assert edge.shape == ((2, 3), (5,))


def test_one_tensor_that_is_used_twice_flows_once() -> None:
    vertices = (Vertex(0, "input", "x"), op(1, cluster=0), op(2, cluster=0))
    edges = (Edge(0, 1, "a", "f", (2,), 3.0), Edge(0, 2, "b", "g", (2,), 3.0))
    (edge,) = folding.fold(GraphData(vertices, edges, (Cluster(0, "m"),)), 0).edges
    assert edge == Edge(0, 1, "", "", (2,), 3.0)


def test_a_folded_rule_is_no_gradient(whole: viz.Graph) -> None:
    x = ta.Tensor(np.ones((2, 3)), requires_grad=True, name="x")
    with ta.scope("part"):
        y = ta.exp(ta.tanh(x))
    graph = viz.trace(y, backward=True, g=np.ones((2, 3)), detail="operations")
    folded = graph.fold(1)
    sound(folded)
    assert {v.kind for v in folded.vertices if " rule: d" in v.label} == {"module"}
    assert all(v.of is not None for v in folded.vertices if " rule: d" in v.label)
    assert labelled(folded, "exp rule: dx").operations == 1
    (edge,) = between(folded, "exp rule: dx", "d(tanh)", "vjp")
    assert edge.formula == "dx = dy∘y"
    assert {v.kind for v in graph.fold(0).vertices} == {"input", "module", "output", "gradient"}


@given(dags(), st.integers(0, 3))
def test_folding_joins_what_was_joined(graph: GraphData, depth: int) -> None:
    folded = folding.fold(graph, depth)
    sound(folded)
    hiders = folding.hiding(graph.clusters, depth)
    kept = [v for v in graph.vertices if v.cluster is None or hiders[v.cluster] is None]
    outer = {v.label: v.id for v in folded.vertices if v.kind in ("input", "output")}
    before, after = ways(graph), ways(folded)
    for v in kept:
        if v.kind == "output":
            assert outer[v.label] in after[outer["x"]] or v.id not in before[0]
    assert folding.fold(graph, 9) == graph
    assert len(folded.edges) <= len(graph.edges)


# ── rolling up ───────────────────────────────────────────────────────────────────────────────────
def test_equal_blocks_are_drawn_once(whole: viz.Graph) -> None:
    graph = whole.roll()
    sound(graph)
    (rolled,) = (c for c in graph.clusters if c.count > 1)
    assert (rolled.name, rolled.path, rolled.count) == (
        "blocks.0–2",
        "GPT.blocks.0–2",
        3,
    )
    assert labelled(graph, "blocks.0–2.attn.out_proj.weight").kind == "parameter"
    per_block = sum(v.scope.startswith("GPT.blocks.0") for v in whole.vertices)
    assert len(graph.vertices) == len(whole.vertices) - 2 * per_block
    assert graph.roll() == graph


def test_rolled_blocks_keep_what_goes_in_and_out(whole: viz.Graph) -> None:
    graph = whole.roll().fold(1)
    name = "blocks.0–2"
    (add,) = (v for v in graph.vertices if v.label == "add" and v.kind == "op")
    assert [e.source for e in graph.edges if e.target == labelled(graph, name).id] == [add.id]
    assert len(between(graph, name, "ln_f")) == 1
    assert len(between(graph, "d(ln_f)", f"d({name})", "vjp")) == 1
    assert labelled(graph, name).count == labelled(graph, f"d({name})").count == 3


def test_folded_and_rolled_in_either_order(whole: viz.Graph) -> None:
    first, second = whole.roll().fold(1), whole.fold(1).roll()
    assert [(v.label, v.kind, v.count, v.of) for v in first.vertices] == [
        (v.label, v.kind, v.count, v.of) for v in second.vertices
    ]
    assert {(e.source, e.target, e.kind) for e in first.edges} == {
        (e.source, e.target, e.kind) for e in second.edges
    }


def test_the_norms_of_rolled_siblings_are_a_range(whole: viz.Graph) -> None:
    graph = whole.roll()
    (box,) = (v for v in graph.vertices if v.label == "d(blocks.0–2.mlp.up.bias)")
    norms = [labelled(whole, f"d(blocks.{i}.mlp.up.bias)").grad_norm for i in range(3)]
    assert (box.least_norm, box.grad_norm) == (min(norms), max(norms))  # type: ignore[type-var]
    (edge,) = (e for e in graph.edges if e.target == box.id and e.kind == "vjp")
    assert (edge.least_norm, edge.norm, edge.sibling) == (box.least_norm, box.grad_norm, "")
    assert re.search(r"norm 0\.\d+ – 0\.\d+  ←", graph.to_text())


def test_an_arrow_out_of_a_row_says_whose_it_is(whole: viz.Graph) -> None:
    parts = between(whole.fold(1), "d(blocks.0)", "d(add)", "vjp")
    graph = whole.roll()
    first = [
        e for e in graph.edges
        if e.kind == "vjp" and "blocks" in graph.vertices[e.source].scope
        and "blocks" not in graph.vertices[e.target].scope
    ]  # fmt: skip
    assert {e.sibling for e in first} == {"blocks.0"}
    assert len(parts) == 1
    assert " (blocks.0)‖" in graph.to_text()
    last = between(graph.fold(1), "d(ln_f)", "d(blocks.0–2)", "vjp")
    assert [e.sibling for e in last] == ["blocks.2"]


def test_joined_ranges_are_not_known() -> None:
    one, several = (3.0, None), (4.0, 2.0)
    assert rebuilding.joint_norm([one, one]) == (math.hypot(3, 3), None)
    assert rebuilding.joint_norm([several]) == several
    assert rebuilding.joint_norm([one, several]) == (None, None)
    assert rolling.span_of([one, several]) == (4.0, 2.0)
    assert rolling.span_of([one, one]) == one
    assert rolling.span_of([one, (None, None)]) == (None, None)


def test_a_graph_has_the_same_rows_with_gradients_as_without() -> None:
    rng = np.random.default_rng(0)
    layers = nn.Sequential(*(nn.Linear(3, 3, rng=rng) for _ in range(3)))
    x = ta.Tensor(np.ones((2, 3)), requires_grad=True, dtype=np.float32)
    y = layers(x).sum()
    rows = [
        [c.name for c in viz.trace(y, backward=backward).roll().clusters if c.count > 1]
        for backward in (False, True)
    ]
    assert rows == [["0–2"], ["0–2"]]


def siblings(*names: str, between: bool = False) -> GraphData:
    """Modules one after the other, each exp then tanh; perhaps an operation between them."""
    vertices, edges, clusters = [Vertex(0, "input", "x")], [], []
    for i, name in enumerate(names):
        clusters.append(Cluster(i, name, None, name))
        for label in ("exp", "tanh"):
            vertices.append(op(len(vertices), label, cluster=i, scope=name))
        if between:
            vertices.append(op(len(vertices), "add"))
    edges = [Edge(i, i + 1, "x", "f", (2, 3)) for i in range(len(vertices) - 1)]
    return GraphData(tuple(vertices), tuple(edges), tuple(clusters))


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("a.0", "a.1", "a.2"), ["a.0–2 ×3"]),
        (("a9", "a10"), ["a9–10 ×2"]),
        (("a", "a"), ["a ×2"]),
        (("a.0", "b.1", "a.2"), ["a.0", "b.1", "a.2"]),
        (("a.0", "a.1", "b.0", "b.1"), ["a.0–1 ×2", "b.0–1 ×2"]),
        (("a#", "a1"), ["a#", "a1"]),
        (("", ""), ["'' ×2"]),
        (("1", "2"), ["1–2 ×2"]),
    ],
)
def test_names_may_differ_in_their_numbers(names: tuple[str, ...], found: list[str]) -> None:
    graph = rolling.roll(siblings(*names))
    sound(graph)
    assert [cluster_title(c) for c in graph.clusters] == found


def test_siblings_with_something_between_them_stay() -> None:
    graph = siblings("a.0", "a.1", between=True)
    assert rolling.roll(graph) == graph


FAULTS = {
    "another operation": lambda v: replace(v, label="tan"),
    "another shape": lambda v: replace(v, shape=(3, 2)),
    "another dtype": lambda v: replace(v, dtype="float32"),
    "something saved": lambda v: replace(v, saves=("out",)),
    "a constant": lambda v: replace(v, constants=("b",)),
    "a name": lambda v: replace(v, name="t"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_siblings_that_differ_stay(fault: str) -> None:
    graph = siblings("a.0", "a.1", "a.2")
    assert len(rolling.roll(graph).vertices) == 3
    vertices = list(graph.vertices)
    vertices[4] = FAULTS[fault](vertices[4])
    changed = replace(graph, vertices=tuple(vertices))
    assert rolling.roll(changed) == changed
    vertices = [*graph.vertices[:-1], FAULTS[fault](graph.vertices[-1])]
    last = rolling.roll(replace(graph, vertices=tuple(vertices)))
    assert [cluster_title(c) for c in last.clusters] == ["a.0–1 ×2", "a.2"]


@pytest.mark.parametrize(
    "change", [{"source": 2}, {"argument": "b"}, {"formula": "g"}, {"shape": (6,)}]
)
def test_siblings_that_are_joined_differently_stay(change: dict[str, Any]) -> None:
    graph = siblings("a.0", "a.1")
    wrong = tuple(replace(e, **change) if e.target == 4 else e for e in graph.edges)
    changed = replace(graph, edges=wrong)
    assert rolling.roll(changed) == changed


def test_a_sibling_that_takes_more_from_outside_stays() -> None:
    graph = siblings("a.0", "a.1")
    more = replace(graph, edges=(*graph.edges, Edge(0, 4, "y")))
    assert rolling.roll(more) == more


def test_an_inner_row_in_an_outer_one() -> None:
    x = ta.Tensor(np.ones(3), requires_grad=True, name="x")
    y = x
    for i in range(4):
        with ta.scope(f"outer.{i}"):
            for k in range(2):
                with ta.scope(f"inner.{k}"):
                    y = ta.tanh(y)
    graph = viz.trace(y).roll()
    assert [(cluster_title(c), c.path) for c in graph.clusters] == [
        ("outer.0–3 ×4", "outer.0–3"),
        ("inner.0–1 ×2", "outer.0–3.inner.0–1"),
    ]
    assert [v.label for v in graph.vertices] == ["x", "tanh", "output"]
    assert [(e.source, e.target) for e in graph.edges] == [(0, 1), (1, 2)]


def test_parallel_heads_are_rolled_up_too() -> None:
    x = ta.Tensor(np.ones((2, 3)), requires_grad=True, name="x")
    heads = []
    for i in range(3):
        with ta.scope(f"head.{i}"):
            heads.append(ta.softmax(ta.tanh(x)))
    graph = viz.trace(ta.concatenate(heads)).roll()
    assert [v.label for v in graph.vertices] == ["x", "tanh", "softmax", "concatenate", "output"]
    assert cluster_title(graph.clusters[0]) == "head.0–2 ×3"
    assert [(e.source, e.target) for e in graph.edges] == [(0, 1), (1, 2), (2, 3), (3, 4)]


@given(dags())
def test_rolling_keeps_what_reaches_the_output(graph: GraphData) -> None:
    clusters = tuple(replace(c, name=f"m{c.id}") for c in graph.clusters)
    named = replace(graph, clusters=clusters)
    rolled = rolling.roll(named)
    sound(rolled)
    before, after = ways(named), ways(rolled)
    ends = {v.label: v.id for v in rolled.vertices if v.kind in ("input", "output")}
    for v in named.vertices:
        if v.kind == "output":
            assert (ends[v.label] in after[ends["x"]]) == (v.id in before[0])


# ── plumbing ─────────────────────────────────────────────────────────────────────────────────────
def test_plumbing_disappears_from_both_passes(whole: viz.Graph) -> None:
    graph = whole.hide_plumbing()
    sound(graph)
    left = {v.label for v in graph.vertices if v.kind in ("op", "result")}
    assert left & rebuilding.PLUMBING.keys() == set()
    assert {"matmul", "softmax", "add"} <= left
    for name in ("reshape", "transpose", "split"):
        assert f"d({name})" not in {v.label for v in graph.vertices}
    assert graph.hide_plumbing() == graph


def test_a_joined_arrow_says_what_the_hidden_rules_do() -> None:
    q, k = (ta.Tensor(np.ones((2, 3)), requires_grad=True, name=name) for name in "qk")
    y = ta.matmul(q, k.reshape(3, 2).T.reshape(2, 3).T)
    graph = viz.trace(y, backward=True, g=np.ones((2, 2))).hide_plumbing()
    (forward,) = between(graph, "k", "matmul")
    (back,) = between(graph, "d(matmul)", "dk", "vjp")
    assert forward.formula == back.formula == "dB = Aᵀ dY, axes put back"
    assert (forward.argument, forward.shape) == ("b", (3, 2))
    assert back.norm == pytest.approx(labelled(graph, "dk").grad_norm)
    assert between(graph, "q", "dk", "saved")  # dk's rule uses q, though its first box is hidden


@pytest.mark.parametrize(
    ("move", "formula"),
    [
        (lambda x: x.reshape(3, 2), "dx = dy∘y"),
        (lambda x: x.T, "dx = dy∘y, axes put back"),
        (lambda x: ta.flip(x), "dx = dy∘y, reversed"),
        (lambda x: ta.split(x, 2)[0], "dx = dy∘y, in its place"),
    ],
    ids=["reshape", "transpose", "flip", "split"],
)
def test_joined_formulas_say_what_moved(move: Any, formula: str) -> None:
    x = ta.Tensor(np.ones((2, 3)), requires_grad=True, name="x")
    graph = viz.trace(ta.exp(move(x))).hide_plumbing()
    assert [v.label for v in graph.vertices] == ["x", "exp", "output"]
    assert graph.edges[0].formula == formula


@pytest.mark.parametrize(
    ("op", "label"),
    [
        (lambda x: x[[0, 0, 1]], "getitem"),
        (lambda x: ta.broadcast_to(x, (5, 2, 3)), "broadcast_to"),
        (lambda x: ta.tril(x), "tril"),
        (lambda x: ta.concatenate([x, x]), "concatenate"),
        (lambda x: ta.pad(x, 1), "pad"),
    ],
    ids=["getitem", "broadcast", "tril", "concatenate", "pad"],
)
def test_what_picks_copies_or_joins_is_no_plumbing(op: Any, label: str) -> None:
    x = ta.Tensor(np.ones((2, 3)), requires_grad=True, name="x")
    assert labelled(viz.trace(ta.exp(op(x))).hide_plumbing(), label).kind == "op"


def test_plumbing_consists_of_operations() -> None:
    assert rebuilding.PLUMBING.keys() <= ta.PRIMITIVES.keys()


def test_norms_stay_true_since_elements_only_move() -> None:
    both = chain("reshape", "transpose", "exp")
    (edge,) = (e for e in plumbing.hide_plumbing(both).edges if e.kind == "vjp" and e.source == 4)
    assert edge.norm == 2.0
    graph = GraphData(
        (*both.vertices, op(10, "tanh"), grad(11, 10)),
        (*both.edges, Edge(2, 10), vjp(11, 7, 9.0)),  # d(transpose) gets a part from d(tanh), too
    )
    joined = [e for e in plumbing.hide_plumbing(graph).edges if e.kind == "vjp"]
    assert [e.norm for e in joined if e.target == 5] == [2.0, 9.0]


def test_a_box_with_a_name_stays() -> None:
    x = ta.Tensor(np.ones((2, 3)), requires_grad=True, name="x")
    moved = x.T.reshape(6)
    moved.name = "row"
    graph = viz.trace(ta.exp(moved)).hide_plumbing()
    assert [v.name or v.label for v in graph.vertices] == ["x", "row", "exp", "output"]


def test_steps_of_rules_lose_their_plumbing_too() -> None:
    a, b = (ta.Tensor(np.ones(s), requires_grad=True, name=n) for n, s in (("a", (2, 3)), ("b", 3)))
    y = ta.matmul(a, ta.exp(b).reshape(3, 1))
    graph = viz.trace(y, backward=True, g=np.ones((2, 1)), detail="operations")
    hidden = graph.hide_plumbing()
    sound(hidden)
    assert {
        v.label for v in hidden.vertices if v.kind == "op"
    } & rebuilding.PLUMBING.keys() == set()
    to = {e.target for e in hidden.edges}
    assert all(v.id in to for v in hidden.vertices if v.kind == "op")


@given(dags())
def test_hiding_joins_exactly_what_was_joined(graph: GraphData) -> None:
    """Between two boxes that stay there is a way exactly where there was one, in both passes."""
    joining = plumbing.Joining(graph)
    kept = [v.id for v in graph.vertices if v.id not in joining.ways]
    hidden = plumbing.hide_plumbing(graph)
    sound(hidden)
    place = {old: new for new, old in enumerate(kept)}
    for kind in ("forward", "vjp"):
        before, after = ways(graph, {kind}), ways(hidden, {kind})
        for old, new in place.items():
            assert after[new] == {place[i] for i in before[old] if i in place}


def test_a_lost_arrow_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The property above, with a fault planted: hidden boxes are not joined."""
    monkeypatch.setattr(plumbing.Joining, "joined", lambda self, way, last: last)
    with pytest.raises(AssertionError):
        test_hiding_joins_exactly_what_was_joined()


def test_a_folded_module_keeps_the_shape_of_its_result(whole: viz.Graph) -> None:
    graph = whole.chosen(viz.options.Options(depth=2, plumbing=False))
    sound(graph)
    (shape,) = {v.shape for v in graph.vertices if v.label == "attn"}
    assert shape == (1, 5, 6)  # a reshape makes it, which would have been hidden


# ── only to ──────────────────────────────────────────────────────────────────────────────────────
def test_only_the_paths_to_a_parameter(whole: viz.Graph) -> None:
    name = "blocks.1.attn.out_proj.weight"
    graph = whole.only(to=name)
    sound(graph)
    before = ways(whole)
    start = labelled(whole, name).id
    path = {start} | before[start]
    assert len([v for v in graph.vertices if v.of is None]) == len(path)
    assert len([v for v in graph.vertices if v.of is not None]) == len(path)
    assert {v.label for v in graph.vertices if v.kind == "parameter"} == {name}
    (end,) = (v.id for v in graph.vertices if v.label == f"d({name})")
    (seed,) = (v.id for v in graph.vertices if v.of == labelled(graph, "output").id)
    assert end in ways(graph, {"vjp"})[seed]


def test_what_is_left_out_beside_a_path_is_counted() -> None:
    a, b = (ta.Tensor(np.eye(2), requires_grad=True, name=name) for name in "ab")
    graph = viz.trace(ta.matmul(a, b), backward=True, g=np.ones((2, 2))).only(to="a")
    product, gradient = labelled(graph, "matmul"), labelled(graph, "da")
    assert (product.undrawn, gradient.undrawn, labelled(graph, "a").undrawn) == (1, 1, 0)
    text = graph.to_text()
    assert "saves a, b; 1 argument not drawn; from [0])" in text
    assert "← d[1] dA = dY Bᵀ  1 saved value not drawn" in text
    assert "1 argument not drawn" in graph.to_dot()


def test_what_does_not_lead_to_the_output_is_left_out() -> None:
    x, z = (ta.Tensor(np.ones(3), requires_grad=True, name=name) for name in "xz")
    graph = viz.trace(ta.exp(x) * ta.tanh(z), backward=True, g=np.ones(3)).only(to="z")
    assert [v.label for v in graph.vertices if v.of is None] == ["z", "tanh", "multiply", "output"]
    assert {v.label for v in graph.vertices if v.of is not None} == {
        "dz", "d(tanh)", "d(multiply)", "g",
    }  # fmt: skip


def test_a_named_step_can_be_chosen_too() -> None:
    x = ta.Tensor(np.ones(3), requires_grad=True, name="x")
    inner = ta.exp(x)
    inner.name = "inner"
    graph = viz.trace(ta.tanh(inner)).only(to="inner")
    assert [v.label for v in graph.vertices] == ["exp", "tanh", "output"]


@pytest.mark.parametrize(
    "name", ["blocks.0.attn.in_proj_weigth", "", "x" * 20_000, "a\nb", "\ud800"]
)
def test_an_unknown_name_is_told_the_nearest(whole: viz.Graph, name: str) -> None:
    with pytest.raises(viz.UnknownNameError, match="nearest names are") as caught:
        whole.only(to=name)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    assert message.encode()
    if name.startswith("blocks"):
        assert message.split("nearest names are ")[1].startswith("'blocks.0.attn.in_proj_weight'")


def test_where_nothing_has_a_name() -> None:
    graph = GraphData((op(0), op(1)), (Edge(0, 1),))
    with pytest.raises(LookupError, match="nothing in it has a name"):
        selecting.only(graph, "x")


@given(dags())
def test_only_keeps_exactly_the_vertices_on_paths(graph: GraphData) -> None:
    selected = selecting.only(graph, "x")
    sound(selected)
    before = ways(graph)
    ends = {v.id for v in graph.vertices if v.kind == "output"}
    path = {0} | {i for i in before[0] if i in ends or before[i] & ends}
    forward = [v for v in graph.vertices if v.id in path]
    assert [v.label for v in selected.vertices if v.of is None] == [v.label for v in forward]
    assert len(selected.vertices) == 2 * len(path)


# ── size ─────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def large() -> viz.Graph:
    """20,000 boxes: 40 blocks of 5 parts of 100 operations; ends differ, so that none is equal."""
    vertices, clusters = [Vertex(0, "input", "x", "x", (2,))], []
    for b in range(40):
        clusters.append(Cluster(len(clusters), f"block.{b}", None, f"block.{b}"))
        block = clusters[-1].id
        for p in range(5):
            name = f"part{'abcde'[p]}"
            clusters.append(Cluster(len(clusters), name, block, f"block.{b}.{name}"))
            for _ in range(100):
                at = len(vertices)
                label = "reshape" if at % 4 else f"exp{at}"
                vertices.append(op(at, label, cluster=clusters[-1].id))
    vertices.append(Vertex(len(vertices), "output", "y"))
    edges = tuple(Edge(a.id, b.id, "x", "f", (2,)) for a, b in pairwise(vertices))
    return viz.Graph(tuple(vertices), edges, tuple(clusters))


def test_each_change_of_a_large_graph_is_quick(large: viz.Graph) -> None:
    assert len(large.vertices) == 20_002
    start = time.process_time()
    assert len(large.fold(0).vertices) == 42
    assert len(large.roll().vertices) < 2_000
    assert len(large.hide_plumbing().vertices) == 5_002
    assert len(large.only(to="x").vertices) == 20_002
    assert time.process_time() - start < 6


def test_a_large_graph_is_refused_within_two_seconds(large: viz.Graph, tmp_path: Any) -> None:
    flat = graph_of(
        replace(large, vertices=tuple(replace(v, cluster=None) for v in large.vertices))
    )
    for draw in (
        lambda: flat.render(tmp_path / "large.svg"),
        lambda: flat.save_html(tmp_path / "large.html"),
        lambda: flat.to_text(max_nodes=1500),
        lambda: large.render(tmp_path / "large.svg", depth=7),
    ):
        start = time.process_time()
        with pytest.raises(viz.GraphTooLargeError) as caught:
            draw()
        assert time.process_time() - start < 2
        for option in ("plumbing=", "to=", "max_nodes="):
            assert option in str(caught.value)
    assert "depth= below 7 or draw equal modules once with roll=True" in str(caught.value)
    with pytest.raises(viz.GraphTooLargeError) as caught:
        flat.to_text(max_nodes=1500, plumbing=False)  # no modules to fold or to roll up
    assert not re.search("depth=|roll=|plumbing=", str(caught.value))
    assert list(tmp_path.iterdir()) == []


def test_a_large_graph_is_folded_to_depth_2_by_itself(tmp_path: Any) -> None:
    x = ta.Tensor(np.ones(2), requires_grad=True, name="x")
    y = x
    for name in ("a", "b"):
        with ta.scope(name), ta.scope("inner"), ta.scope("deep"):
            for _ in range(5):
                y = ta.tanh(y)
    graph = viz.trace(y)
    with pytest.warns(viz.RenderWarning, match=r"12 boxes.*max_nodes=11.*depth=2") as caught:
        path = graph.render(tmp_path / "g.dot", max_nodes=11)
    assert len(caught) == 1
    assert path.read_text() == graph.to_dot(depth=2)
    with pytest.warns(viz.RenderWarning, match="depth=2"):
        assert "deep" in graph.to_text(max_nodes=11)
    assert graph.to_dot(max_nodes=12) == graph.to_dot()
    with pytest.raises(viz.GraphTooLargeError, match=r"12 boxes \(4 at depth 2\)"):
        graph.to_dot(max_nodes=3)


# ── options ──────────────────────────────────────────────────────────────────────────────────────
def test_every_drawing_takes_the_same_options(whole: viz.Graph, tmp_path: Any) -> None:
    how: dict[str, Any] = {
        "depth": 2, "roll": True, "plumbing": False, "to": "wte.weight", "title": "A title",
        "direction": "LR", "legend": False, "formulas": True, "max_nodes": 200, "time_limit": 50.0,
    }  # fmt: skip
    dot = whole.to_dot(**how)
    same = whole.only(to="wte.weight").roll().fold(2).hide_plumbing()
    assert dot == same.to_dot(title="A title", direction="LR", legend=False, formulas=True)
    assert whole.render(tmp_path / "g.dot", **how).read_text() == dot
    assert whole.to_text(**how) == "A title\n" + same.to_text(legend=False, formulas=True)
    assert "A title" in whole.save_html(tmp_path / "g.html", **how).read_text()
    page = (tmp_path / "g.html").read_text()
    assert '<ul class="legend">' not in page
    assert "Legend" not in page
    assert escape(same.to_text(legend=False, formulas=True)) in page


MISTAKES: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "unknown": ({"dept": 1}, TypeError, "no option 'dept'; it has depth, roll"),
    "negative": ({"depth": -1}, ValueError, "depth: expected 0 or more, or None, got -1"),
    "a float": ({"depth": 1.0}, TypeError, "depth: expected int or None, got float"),
    "a flag": ({"depth": True}, TypeError, "depth: expected int or None, got bool"),
    "a number": ({"roll": 1}, TypeError, "roll: expected bool, got int"),
    "no name": ({"to": 3}, TypeError, "to: expected str or None, got int"),
    "a title": ({"title": None}, TypeError, "title: expected str, got NoneType"),
    "a direction": ({"direction": "RL"}, ValueError, 'expected "TB" or "LR", got \'RL\''),
    "no boxes": ({"max_nodes": 0}, ValueError, "max_nodes: expected 1 or more"),
    "no time": ({"time_limit": 0}, ValueError, "time_limit: expected seconds above 0"),
    "nan": ({"time_limit": math.nan}, ValueError, "time_limit: expected seconds above 0"),
    "unheard of": ({"to": "nobody"}, LookupError, "nothing in the graph is called 'nobody'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_wrong_options(whole: viz.Graph, tmp_path: Any, mistake: str) -> None:
    how, kind, message = MISTAKES[mistake]
    for draw in (
        lambda: whole.to_text(**how),
        lambda: whole.to_dot(**how),
        lambda: whole.render(tmp_path / "g.svg", **how),
        lambda: whole.save_html(tmp_path / "g.html", **how),
    ):
        with pytest.raises(kind) as caught:
            draw()
        assert isinstance(caught.value, ta.TensorError)
        assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


# ── text ─────────────────────────────────────────────────────────────────────────────────────────
def test_text_in_both_directions() -> None:
    q, k = (ta.Tensor(np.eye(2), requires_grad=True, name=name) for name in "QK")
    with ta.scope("scores"):
        y = ta.matmul(q, k)
    y.name = "S"
    graph = viz.trace(y, backward=True, g=np.array([[3.0, 0.0], [0.0, 4.0]]))
    assert graph.to_text().splitlines() == [
        "[0] Q  (2 × 2 · float64)",
        "    d[0]  norm 5  ← d[2] dA = dY Bᵀ  uses [1]",
        "[1] K  (2 × 2 · float64)",
        "    d[1]  norm 5  ← d[2] dB = Aᵀ dY  uses [0]",
        "┌─ scores",
        "│  [2] S = matmul  (2 × 2 · float64; saves a, b; from [0] [1])",
        "│      d[2]  norm 5  ← d[3] dx = dy",
        "└─",
        "[3] S  (2 × 2 · float64; from [2])",
        "    d[3]  norm 5",
        "d[4]: the gradient of [4]; ← made of what, by which rule, ‖norm‖ of each part",
    ]


def test_several_parts_have_a_norm_each() -> None:
    x = ta.Tensor(np.full(2, 3.0), requires_grad=True, name="x")
    text = viz.trace(x * x, backward=True, g=np.ones(2)).to_text()
    assert "    d[0]  norm 8.49  ← d[1] da = dy∘b ‖4.24‖  ← d[1] db = dy∘a ‖4.24‖" in text


def test_a_norm_is_written_once() -> None:
    x = ta.Tensor(np.full(2, 3.0), requires_grad=True, name="x")
    y = ta.exp(x)
    x.grad = np.full(2, 7.0)
    assert "‖grad‖ 9.9" in viz.trace(y).to_text()
    assert "‖grad‖" not in viz.trace(y, backward=True, g=np.ones(2)).to_text()


def test_text_fits_into_80_columns(whole: viz.Graph) -> None:
    for how in ({}, {"roll": True}, {"plumbing": False}, {"depth": 2}, {"to": "wpe.weight"}):
        lines = whole.to_text(**how).splitlines()  # type: ignore[arg-type]
        assert max(map(len, lines)) <= 80, max(lines, key=len)


def test_formulas_in_text_are_wanted(whole: viz.Graph) -> None:
    x = ta.Tensor(np.ones(3), requires_grad=True, name="x")
    graph = viz.trace(ta.exp(x))
    assert "from [0] dx = dy∘y)" in graph.to_text(formulas=True)
    assert "dy" not in graph.to_text()


def test_text_says_what_a_number_of_modules_means(whole: viz.Graph) -> None:
    assert "with norms: from the least to the greatest" in whole.to_text(roll=True)
    assert "with norms: from the least to the greatest" in whole.fold(1).to_text(roll=True)
    assert "with norms: from the least to the greatest" not in whole.to_text()
    assert "[4]" not in gpt(1, backward=False).to_text().splitlines()[-1]


def test_every_legend_says_what_a_number_of_modules_means(whole: viz.Graph, tmp_path: Path) -> None:
    words = "×3: three equal modules drawn once"
    for said, graph in ((True, whole.roll().fold(1)), (False, whole.fold(1))):
        page = graph.save_html(tmp_path / "a.html").read_text("utf-8")
        for drawing in (graph.to_text(), graph.to_dot(), page):
            assert ("×3 with norms: from the least to the greatest" in drawing) is said
            assert (words in drawing) is said
    forward = gpt(3, backward=False).roll()
    assert forward.to_dot().count(words) == 1
    assert "from the least" not in forward.to_dot()


def test_a_name_that_ends_like_a_number_of_modules_is_kept() -> None:
    graph = siblings("part ×2", "other")
    assert labelled(graph_of(folding.fold(graph, 0)), "part ×2").count == 1


def test_a_look_up_in_a_table_is_no_plumbing() -> None:
    table = ta.Tensor(np.ones((5, 3)), requires_grad=True, name="table")
    graph = viz.trace(ta.take(table, np.array([1, 4, 1]), 0)).hide_plumbing()
    assert [v.label for v in graph.vertices] == ["table", "indices", "take", "output"]


def test_names_of_a_hostile_kind_stay_text() -> None:
    for name in ("a\nb", "</script>", "1" * 20_000, "\ud800", "\u202e2", "7", "×3", ""):
        graph = rolling.roll(siblings(f"{name}0", f"{name}1"))
        assert len(graph.clusters) == 1
        text = graph_of(graph).to_text(title=name)
        assert text.encode()
        assert text.count("\n") == (6 if name else 5)


def test_the_multihead_layer_reads_well_without_plumbing() -> None:
    layer = nn.MultiHeadAttention(6, 2, rng=np.random.default_rng(1))
    x = ta.Tensor(np.ones((2, 5, 6)), requires_grad=True, dtype=np.float32, name="x")
    graph = viz.trace(layer(x), backward=True, g=np.ones((2, 5, 6), np.float32), model=layer)
    shown = [v.label for v in graph.hide_plumbing().vertices if v.kind == "op"]
    assert shown == [
        "matmul", "add", "matmul", "multiply", "softmax", "matmul", "matmul", "add",
    ]  # fmt: skip
