"""Tracing: what the plain data say about a graph."""

import json
import sys
from dataclasses import asdict

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import nn, viz
from tinygrad_attn.viz import labels


def variable(*shape, name=None, seed=0, dtype=np.float64):
    data = np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)
    return ta.Tensor(data, requires_grad=True, name=name)


def named(graph, label):
    """The one vertex of this label or name that is not an output."""
    found = [v for v in graph.vertices if label in (v.label, v.name) and v.kind != "output"]
    assert len(found) == 1, found
    return found[0]


def sources(graph, vertex):
    return [graph.vertices[e.source].label for e in graph.edges if e.target == vertex.id]


def attention(mask=None):
    """One attention from primitives, in two scopes inside a third."""
    x, W = (
        variable(2, 5, 7, name="x"),
        [variable(7, 3, name=f"W_{c}", seed=i) for i, c in enumerate("QKV")],
    )
    with ta.scope("attention"):
        with ta.scope("project"):
            q, k, v = (x @ w for w in W)
        with ta.scope("weights"):
            P = ta.softmax(ta.where(np.tri(5, dtype=bool), q @ k.mT / np.sqrt(3), -1e9))
            P.name = "P"
        y = P @ v
    return x, W, P, y


# ── vertices and edges ───────────────────────────────────────────────────────────────────────────
def test_a_small_graph_as_plain_data():
    x, w = variable(2, 3, name="x", dtype=np.float32), variable(3, 5, dtype=np.float32)
    y = ta.exp(x @ w)
    y.name = "y"
    graph = viz.trace(y)
    assert graph.vertices == (
        viz.Vertex(0, "input", "x", "x", (2, 3), "float32"),
        viz.Vertex(1, "input", "input", None, (3, 5), "float32"),
        viz.Vertex(2, "op", "matmul", None, (2, 5), "float32", saves=("a", "b")),
        viz.Vertex(3, "op", "exp", "y", (2, 5), "float32", saves=("out",)),
        viz.Vertex(4, "output", "y", "y", (2, 5), "float32"),
    )
    assert graph.edges == (
        viz.Edge(0, 2, "a", "dA = dY Bᵀ", (2, 3)),
        viz.Edge(1, 2, "b", "dB = Aᵀ dY", (3, 5)),
        viz.Edge(2, 3, "x", "dx = dy∘y", (2, 5)),
        viz.Edge(3, 4, shape=(2, 5)),
    )
    assert graph.clusters == ()


def test_plain_data_can_be_written_as_json():
    data = json.loads(json.dumps(asdict(viz.trace(attention()[-1]))))
    assert [v["label"] for v in data["vertices"]][:4] == ["x", "W_Q", "W_K", "W_V"]


def test_a_leaf_alone():
    graph = viz.trace(variable(3, name="x"))
    assert [v.kind for v in graph.vertices] == ["input", "output"]
    assert [(e.source, e.target) for e in graph.edges] == [(0, 1)]


def test_an_argument_used_twice_has_two_arrows():
    x = variable(3)
    graph = viz.trace(x * x)
    assert [(e.source, e.target, e.argument) for e in graph.edges] == [
        (0, 1, "a"),
        (0, 1, "b"),
        (1, 2, ""),
    ]


def test_several_outputs_share_their_graph():
    x = variable(3)
    y = ta.exp(x)
    graph = viz.trace([y, ta.sin(y)])
    assert [v.label for v in graph.vertices] == ["input", "exp", "sin", "output", "output"]
    assert [(e.source, e.target) for e in graph.edges] == [(0, 1), (1, 2), (1, 3), (2, 4)]


def test_constants_are_visible():
    graph = viz.trace(attention()[-1])
    where = named(graph, "where")
    assert where.saves == ("condition",)
    assert where.constants == ()
    found = [v for v in graph.vertices if v.kind == "constant"]
    assert [(v.label, v.shape, v.dtype) for v in found] == [
        ("condition", (5, 5), "bool"),
        ("b", (), ""),  # which no rule asks for, so that nothing keeps it
    ]
    assert {v.scope for v in found} == {"attention.weights"}
    assert sources(graph, where) == ["divide", "condition", "b"]
    assert [line.text for line in labels.lines(found[1])] == ["b", "constant"]


def test_single_numbers_are_written_into_the_box():
    y = variable(3) * 0.25
    assert viz.trace(y).vertices[1].constants == ("b = 0.25",)
    y.backward(np.ones(3))
    assert viz.trace(y).vertices[1].constants == ("b",)  # freed


def test_indices_are_constants_too():
    graph = viz.trace(ta.take(variable(7, 3), np.array([[1, 2, 3, 6, 6]]), 0))
    indices = named(graph, "indices")
    assert (indices.kind, indices.shape, indices.dtype) == ("constant", (1, 5), "int64")
    assert sources(graph, named(graph, "take")) == ["input", "indices"]
    targets = np.array([[1, 2], [0, 4], [3, 3]])
    graph = viz.trace(ta.take_along_axis(variable(3, 5), targets, -1))
    assert named(graph, "index").shape == (3, 2)  # the largest of the arrays in it
    assert "constant" not in {v.kind for v in viz.trace(variable(3)[1:]).vertices}


def test_a_name_given_to_a_fused_result_shows_on_its_definition():
    q = variable(3, 5, name="q", dtype=np.float32)
    with ta.kernels.use("numpy"):
        out = nn.functional.attention(q, q, q, method="fused")
    out.name = "C"
    out.retain_grad()
    out.backward(np.ones((3, 5), np.float32), retain_graph=True)
    last = viz.trace(out).vertices[-2]
    assert (last.label, last.name) == ("matmul", "C")
    assert last.grad_norm == pytest.approx(15**0.5)


@pytest.mark.parametrize(
    ("f", "saves"),
    [
        (lambda x: x + x, ()),
        (lambda x: x.sum(), ()),
        (ta.softmax, ("out",)),
        (ta.exp, ("out",)),
        (lambda x: x * x, ("a", "b")),
        (lambda x: x * 2.0, ("b",)),
        (ta.sin, ("x",)),
        (lambda x: 3.0 / x, ("b", "out")),
        (lambda x: ta.einsum("i,i->", x, x), ("all arguments",)),
        (lambda x: ta.recompute(ta.exp, x), ("inputs",)),
    ],
)
def test_saves_what_the_rules_ask_for_before_and_after_backward(f, saves):
    x = variable(5)
    y = f(x)
    before = viz.trace(y).vertices[-2]
    y.backward(np.ones(y.shape))
    after = viz.trace(y).vertices[-2]
    assert before.saves == after.saves == saves


def test_split_is_drawn_with_its_results():
    a, _, c = ta.split(variable(6, name="x"), 3)
    graph = viz.trace(a * c)
    split = named(graph, "split")
    assert split.shape == ((2,), (2,), (2,))
    results = [v for v in graph.vertices if v.kind == "result"]
    assert [v.label for v in results] == ["split[0]", "split[2]"]
    assert all(sources(graph, v) == ["split"] for v in results)
    assert "3 results" in str(graph)


def test_a_formula_stands_on_every_arrow_that_gradients_go_back_along():
    graph = viz.trace(attention()[-1])
    kinds = [(graph.vertices[e.source].kind, graph.vertices[e.target].kind) for e in graph.edges]
    into_ops = [e for e, (a, b) in zip(graph.edges, kinds, strict=True) if b == "op"]
    constant = [a == "constant" for a, b in kinds if b == "op"]
    assert [not e.formula for e in into_ops] == constant
    assert "dA = dY Bᵀ" in {e.formula for e in into_ops}


# ── gradients ────────────────────────────────────────────────────────────────────────────────────
def test_gradient_norms_appear_after_backward():
    x, W, P, y = attention()
    assert all(v.grad_norm is None for v in viz.trace(y).vertices)
    P.retain_grad()
    g = np.random.default_rng(1).normal(size=y.shape)
    y.backward(g)
    graph = viz.trace(y)
    for t in (x, *W, P):
        assert named(graph, t.name).grad_norm == pytest.approx(
            np.linalg.norm(t.grad.data), rel=1e-14
        )
    assert named(graph, "where").grad_norm is None


def test_keep_grads_gives_every_operation_a_norm():
    with ta.keep_grads():
        *_, y = attention()
        y.backward(np.ones(y.shape))
    assert all(v.grad_norm is not None for v in viz.trace(y).vertices if v.kind == "op")


@pytest.mark.parametrize(
    ("grad", "expected"),
    [
        ([3e300, 4e300], 5e300),
        ([0.0, 0.0], 0.0),
        ([np.inf, 1.0], np.inf),
        ([3e-300, 4e-300], 5e-300),
    ],
)
def test_a_norm_neither_overflows_nor_vanishes(grad, expected):
    x = variable(2)
    y = x + 0.0
    y.backward(np.array(grad))
    assert viz.trace(y).vertices[0].grad_norm == pytest.approx(expected, rel=1e-14)


def test_a_gradient_that_is_not_a_number_shows():
    x = variable(2)
    x.grad = np.array([np.nan, 1.0])
    assert "‖grad‖ nan" in str(viz.trace(x))


# ── modules ──────────────────────────────────────────────────────────────────────────────────────
def test_scopes_become_nested_clusters():
    graph = viz.trace(attention()[-1])
    assert [(c.name, c.parent, c.path) for c in graph.clusters] == [
        ("attention", None, "attention"),
        ("project", 0, "attention.project"),
        ("weights", 0, "attention.weights"),
    ]
    assert named(graph, "softmax").scope == "attention.weights"
    assert named(graph, "x").cluster is None


def test_every_call_of_a_module_is_a_cluster_of_its_own():
    layer = nn.Linear(3, 3)
    graph = viz.trace(layer(layer(variable(2, 3, name="x", dtype=np.float32))), model=layer)
    assert [c.name for c in graph.clusters] == ["Linear", "Linear"]
    assert named(graph, "weight").cluster is None  # both calls use it, so neither holds it


def test_parameters_are_drawn_in_the_module_that_uses_them():
    layer = nn.MultiHeadAttention(4, 2)
    x = variable(2, 3, 4, name="x", dtype=np.float32)
    for model in (None, layer, dict(layer.named_parameters())):
        graph = viz.trace(layer(x), model=model)
        weight = named(graph, "weight" if model is None else "out_proj.weight")
        assert (weight.kind, weight.scope) == ("parameter", "MultiHeadAttention.out_proj")
        assert (named(graph, "x").kind, named(graph, "x").cluster) == ("input", None)


def test_a_model_says_what_its_parameters_are():
    x, w = variable(3, name="weight"), variable(3)
    with ta.scope("scale"):
        y = x * w
    graph = viz.trace(y, model={"gain": w})
    assert [(v.kind, v.label) for v in graph.vertices[:2]] == [
        ("input", "weight"),
        ("parameter", "gain"),
    ]


# ── folding ──────────────────────────────────────────────────────────────────────────────────────
def test_folding_the_outermost_modules():
    graph = viz.trace(attention()[-1]).fold(0)
    assert [(v.kind, v.label) for v in graph.vertices] == [
        ("input", "x"),
        ("input", "W_Q"),
        ("input", "W_K"),
        ("input", "W_V"),
        ("module", "attention"),
        ("output", "output"),
    ]
    module = graph.vertices[4]
    assert (module.shape, module.operations, module.cluster) == ((2, 5, 3), 9, None)
    assert [(e.source, e.target) for e in graph.edges] == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 5)]
    assert graph.clusters == ()


def test_folding_deeper_modules_only():
    graph = viz.trace(attention()[-1]).fold(1)
    assert [(v.label, v.scope) for v in graph.vertices if v.kind == "module"] == [
        ("project", "attention"),
        ("weights", "attention"),
    ]
    assert sources(graph, named(graph, "matmul")) == ["weights", "project"]
    assert [c.name for c in graph.clusters] == ["attention"]
    assert all(e.source < e.target for e in graph.edges)


def test_folding_nothing():
    graph = viz.trace(attention()[-1])
    assert graph.fold(None) is graph
    assert graph.fold(2) == graph
    with pytest.raises(viz.OptionError, match="expected 0 or more"):
        graph.fold(-1)


# ── text ─────────────────────────────────────────────────────────────────────────────────────────
def test_text_for_a_terminal():
    x = variable(2, 3, name="x", dtype=np.float32)
    with ta.scope("double"):
        y = ta.softmax(x) * 2.0
    x.grad = np.full((2, 3), 0.5, np.float32)
    assert str(viz.trace(y)).splitlines() == [
        "[0] x  (2 × 3 · float32; ‖grad‖ 1.22)",
        "┌─ double",
        "│  [1] softmax  (2 × 3 · float32; saves out; from [0])",
        "│  [2] multiply  (2 × 3 · float32; constant b = 2; saves b; from [1])",
        "└─",
        "[3] output  (2 × 3 · float32; from [2])",
    ]
    assert repr(viz.trace(y)) == "<Graph: 4 boxes, 3 arrows, 1 modules>"


# ── size and sameness ────────────────────────────────────────────────────────────────────────────
def test_a_long_chain_is_traced_folded_and_written_without_recursion():
    y = variable(2, name="x")
    for _ in range(50_000):
        y = -y
    graph = viz.trace(y)
    assert len(graph.vertices) == 50_002 > 10 * sys.getrecursionlimit()
    assert graph.to_dot().count(" -> ") == 50_001
    assert str(graph).count("\n") == 50_001
    assert graph.fold(0) == graph


def test_scopes_may_be_nested_deeper_than_the_recursion_limit():
    def nest(y, depth):
        entered = []
        for i in range(depth):
            entered.append(ta.scope(f"level{i}"))
            entered[-1].__enter__()
        y = ta.exp(y)
        for scope in reversed(entered):
            scope.__exit__(None, None, None)
        return y

    depth = 2 * sys.getrecursionlimit()
    graph = viz.trace(nest(variable(2), depth))
    assert graph.to_dot().count("subgraph") == depth
    assert len(graph.fold(0).vertices) == 3


def test_the_same_program_gives_the_same_drawing():
    first, second = (viz.trace(attention()[-1]) for _ in range(2))
    assert first == second
    assert first.to_dot() == second.to_dot()


# ── bad input ────────────────────────────────────────────────────────────────────────────────────
def test_what_cannot_be_traced():
    with pytest.raises(ta.GraphError, match="trace: this tensor has no graph"):
        viz.trace(ta.Tensor([1.0]))
    with pytest.raises(ta.DTypeError, match="expected a Tensor or several, got ndarray"):
        viz.trace([np.ones(3)])
    with pytest.raises(ta.DTypeError, match="expected a Tensor or several, got int"):
        viz.trace(3)
    with pytest.raises(ta.DTypeError, match="expected a Tensor or several, got none"):
        viz.trace([])


@pytest.mark.parametrize(("model", "got"), [(5, "int"), ([3], "list"), ({"w": 3}, "int for 'w'")])
def test_a_model_that_is_none(model, got):
    with pytest.raises(ta.DTypeError, match=f"a mapping from names to tensors, got {got}$"):
        viz.trace(ta.exp(variable(2)), model=model)


def test_a_wrong_direction_or_name():
    with pytest.raises(ta.DTypeError, match="to: expected str or None, got int"):
        viz.trace(ta.exp(variable(2))).only(to=5)
    with pytest.raises(viz.OptionError, match='expected "TB" or "LR"'):
        viz.trace(variable(2)).to_dot(direction="up")


def test_fused_operations_are_drawn_as_their_definition_until_they_are_freed() -> None:
    q, k, v = (ta.Tensor(np.ones((3, 5)), requires_grad=True, name=name) for name in "QKV")
    with ta.kernels.use("numpy"):
        out = (nn.functional.attention(q, k, v, method="fused") * 2.0).sum()
    steps = [vertex.label for vertex in ta.viz.trace(out).vertices if vertex.kind == "op"]
    assert steps == ["swapaxes", "matmul", "multiply", "softmax", "matmul", "multiply", "sum"]
    out.backward()
    freed = [vertex.label for vertex in ta.viz.trace(out).vertices if vertex.kind == "op"]
    assert freed == ["attention", "multiply", "sum"]


# ── constants by name ────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "how", [{}, {"method": "tiled"}, {"method": "definition"}, {"return_stages": True}]
)
@pytest.mark.parametrize("mask", ["causal", "array", "tensor", "named"])
def test_the_mask_of_attention_is_a_box_with_name_and_shape(mask, how):
    q, k, v = variable(2, 3, 5), variable(2, 7, 5), variable(2, 7, 2)
    added = np.triu(np.full((3, 7), -1.5), 2)
    masks = {
        "causal": {"causal": True, "offset": 2},
        "array": {"mask": added},
        "tensor": {"mask": ta.Tensor(added)},
        "named": {"mask": ta.Tensor(added, name="bias")},
    }
    with ta.kernels.use("numpy"):
        out = nn.functional.attention(q, k, v, **masks[mask], **how)
    graph = viz.trace(out[0] if "return_stages" in how else out)
    kernel = how in ({}, {"method": "tiled"})  # gets bare arrays
    own = mask == "named" and not kernel
    name = "bias" if own else "mask"
    (found,) = (v for v in graph.vertices if v.kind == "constant")
    assert (found.label, found.name, found.shape, found.dtype) == (name, name, (3, 7), "float64")
    (edge,) = (e for e in graph.edges if e.source == found.id)
    assert (graph.vertices[edge.target].label, edge.argument) == ("add", "b")
    assert {v.name for v in graph.only(to=name).vertices} >= {name}


def test_a_mask_that_learns_stays_a_variable():
    mask = variable(3, 7)
    out = nn.functional.attention(variable(3, 5), variable(7, 5), variable(7, 2), mask)
    assert [v.kind for v in viz.trace(out).vertices].count("input") == 4


def test_kept_values_tell_what_constants_were():
    with ta.keep_values():
        y = ta.Tensor(np.ones((2, 3)), name="data") @ variable(3, 5) * 0.25 + [1.0, 2, 3, 4, 5]
    y.backward(np.ones((2, 5)))  # frees what rules have saved
    graph = viz.trace(y)
    constants = [(v.label, v.name, v.shape) for v in graph.vertices if v.kind == "constant"]
    assert constants == [("data", "data", (2, 3)), ("b", None, (5,))]
    assert named(graph, "multiply").constants == ("b = 0.25",)
