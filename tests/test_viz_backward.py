"""Both directions in one graph: the gradients drawn are those the engine finds, part by part."""

import time
from dataclasses import replace

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import nn, viz
from tinygrad_attn.engine import PRIMITIVES
from tinygrad_attn.viz import walking
from tinygrad_attn.viz.labels import edge_lines, number_text
from tinygrad_attn.viz.norms import LOOKS, TROUBLE, UNKNOWN, ZERO, Scale
from tinygrad_attn.viz.tracing import ancestors

RNG = np.random.default_rng(0)


def variable(*shape, name=None, dtype=np.float64):
    return ta.Tensor(RNG.normal(size=shape).astype(dtype), requires_grad=True, name=name)


def softmax():
    x = variable(3, 5, name="x")
    y = ta.softmax(x)
    y.name = "P"
    return y


def attention():
    q, k, v = variable(2, 5, 3, name="Q"), variable(2, 7, 3, name="K"), variable(2, 7, 5, name="V")
    keep = np.tri(5, 7, 2, dtype=bool)
    return nn.functional.attention(q, k, v, keep, return_stages=True)[0]


def fused():
    q, k = variable(3, 5, name="Q"), variable(3, 5, name="K")
    with ta.kernels.use("numpy"):
        return nn.functional.attention(q, k, k, causal=True, method="fused") * q


def layer():
    model = nn.MultiHeadAttention(6, 2).astype(np.float64)
    return model(variable(2, 5, 6, name="X"))


def used_often():
    x = variable(3, 3, name="x")
    return x * x + x @ x + ta.exp(x) * x[0] + x.sum(0)


def recomputed():
    x, w = variable(2, 3, name="x"), variable(3, 3, name="w")
    return ta.recompute(lambda x: ta.tanh(x @ w) * x, x) + x


def fused_within_recomputed():
    x = variable(5, 64, name="x")

    def inner(x):
        return ta.cos(nn.functional.gelu(x * 0.5))

    with ta.kernels.use("numpy"):
        return ta.recompute(lambda x: ta.sin(nn.functional.gelu(ta.recompute(inner, x))) * x, x)


def split():
    a, b, _ = ta.split(variable(6, 2, name="x"), 3)
    return a * b


def flat():
    x = variable(3, name="x")
    return ta.sign(x) * x + ta.relu(-x * x)


PROGRAMS = [
    softmax, attention, fused, layer, used_often, recomputed, fused_within_recomputed, split, flat,
]  # fmt: skip


def leaves(output):
    nodes, _ = ancestors([output.node], recomputed=True)
    return [node for node in nodes if node.op is None]


def gradient_of(graph, vertex):
    """The one gradient box of a vertex, or None."""
    found = [v for v in graph.vertices if v.kind == "gradient" and v.of == vertex.id]
    assert len(found) <= 1
    return found[0] if found else None


def upstream(y):
    return RNG.normal(size=y.shape).astype(y.dtype)


# ── the numbers are the engine's ─────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_gradient_is_what_grad_finds(program):
    y = program()
    g = upstream(y)
    nodes, stand_ins = ancestors([y.node], recomputed=True)
    found = walking.walked([y], [g], nodes, stand_ins).gradients
    variables = leaves(y)
    tensors = [ta.engine.tensor.wrapped(np.zeros(node.shape), node) for node in variables]
    expected = ta.grad(y, tensors, g, retain_graph=True, allow_unused=True)
    assert any(e is not None for e in expected)
    for node, e in zip(variables, expected, strict=True):
        assert (e is None) == (node not in found)
        if e is not None:
            np.testing.assert_allclose(found[node].data, e.data, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_boxes_show_their_norms(program):
    y = program()
    g = upstream(y)
    graph = viz.trace(y, backward=True, g=g)
    variables = leaves(y)
    tensors = [ta.engine.tensor.wrapped(np.zeros(node.shape), node) for node in variables]
    expected = ta.grad(y, tensors, g, retain_graph=True, allow_unused=True)
    boxes = [v for v in graph.vertices if v.kind in ("input", "parameter") and v.of is None]
    assert len(boxes) == len(variables)
    for box, e in zip(boxes, expected, strict=True):
        gradient = gradient_of(graph, box)
        assert (gradient is None) == (e is None)
        if e is not None:
            assert gradient.grad_norm == pytest.approx(np.linalg.norm(e.data), rel=1e-12)
            assert (gradient.shape, gradient.cluster) == (box.shape, box.cluster)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_parts_of_a_gradient_add_up_to_it(program):
    y = program()
    nodes, stand_ins = ancestors([y.node], recomputed=True)
    found = walking.walked([y], [upstream(y)], nodes, stand_ins)
    several = 0
    for node, gradient in found.gradients.items():
        parts = [p.own.data for p in found.passages if p.parent is node]
        if type(gradient) is tuple:  # one part for each result used
            assert [np.shape(g) for g in gradient] == list(node.shape)
            slots = {p.rule.slot: p.own.data for p in found.passages if p.parent is node}
            for i, g in enumerate(gradient):
                np.testing.assert_array_equal(getattr(g, "data", g), slots.get(i, 0 * g))
            continue
        several += len(parts) > 1
        total = np.sum(parts, axis=0)
        np.testing.assert_allclose(gradient.data, total, rtol=1e-12, atol=1e-12)
    assert several or program not in (fused, used_often, recomputed, flat)


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_arrow_carries_the_part_that_its_rule_gave(program):
    y = program()
    g = upstream(y)
    nodes, stand_ins = ancestors([y.node], recomputed=True)
    found = walking.walked([y], [g], nodes, stand_ins)
    graph = viz.trace(y, backward=True, g=g)
    arrows = [e for e in graph.edges if e.kind == "vjp"]
    assert len(arrows) == len(found.passages)
    expected = sorted(
        (p.formula, p.own.shape, float(np.linalg.norm(p.own.data))) for p in found.passages
    )
    drawn = sorted((e.formula, e.shape, e.norm) for e in arrows)
    for one, other in zip(drawn, expected, strict=True):
        assert one[:2] == other[:2]
        assert one[2] == pytest.approx(other[2], rel=1e-12)


def test_a_planted_rule_is_what_is_drawn():
    x = variable(3, name="x")
    with ta.exp.replaced_vjp("x", lambda g, out: 3 * g * out):
        y = ta.exp(x)
    right, planted = (viz.trace(f, backward=True, g=np.ones(3)) for f in (ta.exp(x), y))
    assert planted.vertices[-1].grad_norm == pytest.approx(3 * right.vertices[-1].grad_norm)


def test_a_rule_may_give_an_array():
    x = variable(3, name="x")
    with ta.exp.replaced_vjp("x", lambda g: np.full(3, 2.0)):
        y = ta.exp(x)
    graph = viz.trace(y, backward=True, g=np.ones(3), detail="operations")
    assert graph.clusters == ()
    assert graph.edges[-1].norm == graph.vertices[-1].grad_norm == pytest.approx(12**0.5)


def test_hooks_act_as_in_backward():
    x = variable(3, name="x")
    y = ta.exp(x)
    y.register_hook(lambda g: 2 * g)
    (expected,) = ta.grad(y, [x], np.ones(3), retain_graph=True)
    graph = viz.trace(y, backward=True, g=np.ones(3))
    assert graph.vertices[-1].label == "dx"
    assert graph.vertices[-1].grad_norm == pytest.approx(np.linalg.norm(expected.data), rel=1e-14)


@pytest.mark.parametrize("wrap", [False, True])
def test_a_hook_on_a_fused_result_acts_once(wrap):
    def attend(q):
        return nn.functional.attention(q, q, q, method="fused")

    q = variable(3, 5, name="q")
    with ta.kernels.use("numpy"):  # all of it: recomputing wants the same bits
        y = ta.recompute(attend, q) if wrap else attend(q)
        y.name = "Y"
        y.register_hook(lambda g: 2 * g)
        g = upstream(y)
        (expected,) = ta.grad(y, [q], g, retain_graph=True)
        graph = viz.trace(y, backward=True, g=g)
    assert graph.vertices[-1].grad_norm == pytest.approx(np.linalg.norm(expected.data), rel=1e-12)
    assert {v.label for v in graph.vertices if v.name == "Y"} == {"matmul", "Y"}


@pytest.mark.parametrize(
    ("g", "expected"), [([3e300, 4e300], 5e300), ([3e-300, 4e-300], 5e-300), ([0, 0], 0)]
)
def test_norms_neither_overflow_nor_vanish(g, expected):
    graph = viz.trace(variable(2) + 0.0, backward=True, g=np.array(g, np.float64))
    assert graph.vertices[-1].grad_norm == pytest.approx(expected, rel=1e-14)
    assert graph.edges[-1].norm == pytest.approx(expected, rel=1e-14)


# ── nothing of the user's is touched ─────────────────────────────────────────────────────────────
@pytest.mark.parametrize("detail", ["gradients", "operations"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_tracing_leaves_the_graph_as_it_was(program, detail):
    y = program()
    g = upstream(y)
    nodes, _ = ancestors([y.node])
    before = [(n.edges, n.grad, n.value, n.hooks, n.retain, n.watched, n.scope) for n in nodes]
    viz.trace(y, backward=True, g=g, detail=detail)
    after = [(n.edges, n.grad, n.value, n.hooks, n.retain, n.watched, n.scope) for n in nodes]
    assert all(x is y for one, other in zip(before, after, strict=True) for x, y in zip(one, other))
    y.backward(g)  # still possible
    with pytest.raises(ta.GraphError):
        y.backward(g)


def test_gradients_of_the_users_stay():
    x = variable(3, name="x")
    y = ta.exp(x)
    x.grad = np.array([1.0, 2.0, 2.0])
    graph = viz.trace(y, backward=True, g=np.ones(3))
    assert x.grad.data.tolist() == [1, 2, 2]
    assert graph.vertices[0].grad_norm == 3  # that, not the one drawn beside it
    assert graph.vertices[-1].grad_norm == pytest.approx(np.linalg.norm(np.exp(x.data)))


def test_tracing_works_where_nothing_is_recorded():
    y = softmax()
    with ta.no_grad():
        assert viz.trace(y, backward=True, g=np.ones((3, 5))).vertices[-1].label == "dx"


# ── what is drawn ────────────────────────────────────────────────────────────────────────────────
def test_softmax_both_ways():
    graph = viz.trace(softmax(), backward=True, g=np.eye(3, 5))
    assert [(v.kind, v.label, v.name, v.of) for v in graph.vertices] == [
        ("input", "x", "x", None),
        ("op", "softmax", "P", None),
        ("output", "P", "P", None),
        ("gradient", "dP", "g", 2),
        ("gradient", "dP", None, 1),
        ("gradient", "dx", None, 0),
    ]
    assert [(e.source, e.target, e.kind, e.formula) for e in graph.edges[2:]] == [
        (3, 4, "vjp", "dx = dy"),
        (4, 5, "vjp", "dx = y∘(dy − Σ dy∘y)"),
        (1, 5, "saved", ""),
    ]
    assert graph.edges[2].norm == pytest.approx(3**0.5)


def test_the_operations_of_a_rule_are_those_it_recorded():
    graph = viz.trace(softmax(), backward=True, g=np.eye(3, 5), detail="operations")
    (cluster,) = graph.clusters
    assert (cluster.name, cluster.parent) == ("softmax rule: dx", None)
    steps = [v for v in graph.vertices if v.cluster == 0]
    assert [v.label for v in steps] == ["multiply", "sum", "subtract", "multiply"]
    assert {v.of for v in steps} == {0}
    label = [f"{v.label} {v.id}" if v.cluster == 0 else v.label for v in graph.vertices]
    assert [(label[e.source], label[e.target], e.kind) for e in graph.edges[3:]] == [
        ("dP", "multiply 5", "vjp"),
        ("softmax", "multiply 5", "saved"),
        ("multiply 5", "sum 6", "vjp"),
        ("dP", "subtract 7", "vjp"),
        ("sum 6", "subtract 7", "vjp"),
        ("softmax", "multiply 8", "saved"),
        ("subtract 7", "multiply 8", "vjp"),
        ("multiply 8", "dx", "vjp"),
    ]
    assert all(e.norm is not None for e in graph.edges if e.kind == "vjp")


@pytest.mark.parametrize("program", PROGRAMS)
def test_both_details_show_the_same_gradients(program):
    y = program()
    g = upstream(y)
    few, many = (viz.trace(y, backward=True, g=g, detail=d) for d in ("gradients", "operations"))
    assert [v for v in few.vertices if v.of is None] == [v for v in many.vertices if v.of is None]
    steps = [v for v in many.vertices if v.kind == "op" and v.of is not None]
    assert all(" rule: d" in v.scope for v in steps)
    assert steps

    def shown(graph):
        return [(v.label, v.shape, v.grad_norm) for v in graph.vertices if v.kind == "gradient"]

    def arriving(graph):
        ends = [v.kind for v in graph.vertices]
        arrows = [e for e in graph.edges if e.kind == "vjp" and ends[e.target] == "gradient"]
        return [(e.formula, e.argument, e.shape, e.norm) for e in arrows]

    assert shown(few) == shown(many)
    assert arriving(few) == arriving(many)
    for graph in (few, many):
        assert all(e.source < e.target for e in graph.edges)
        assert [v.id for v in graph.vertices] == list(range(len(graph.vertices)))
        assert {e.kind for e in graph.edges} <= {"forward", "vjp", "saved"}


def test_saved_arrays_lead_to_the_rules_that_use_them():
    graph = viz.trace(attention(), backward=True, g=np.ones((2, 5, 5)))
    label = [v.name or v.label for v in graph.vertices]
    saved = {(label[e.source], label[e.target]) for e in graph.edges if e.kind == "saved"}
    assert ("Q", "d(swapaxes)") in saved
    assert ("P", "dV") in saved
    assert ("V", "dP") in saved
    assert ("P", "dS′") in saved


def test_an_array_saved_twice_for_one_gradient_has_one_arrow():
    x = variable(3, name="x")
    graph = viz.trace(x * x, backward=True, g=np.ones(3))
    assert [(e.source, e.target) for e in graph.edges if e.kind == "saved"] == [(0, 5)]
    assert len([e for e in graph.edges if e.kind == "vjp" and e.target == 5]) == 2


def test_a_saved_mask_leads_to_its_rule():
    x = variable(3, 5, name="x")
    y = ta.where(np.tri(3, 5, dtype=bool), x, 0.0)
    graph = viz.trace(y, backward=True, g=np.ones((3, 5)))
    (saved,) = (e for e in graph.edges if e.kind == "saved")
    assert graph.vertices[saved.source].label == "condition"
    assert graph.vertices[saved.target].label == "dx"


def test_a_parameter_is_named_with_its_gradient():
    model = nn.Linear(3, 2)
    y = model(variable(5, 3, name="x", dtype=np.float32)).sum()
    graph = viz.trace(y, backward=True, model=model)
    assert {"dx", "dweight", "dbias"} <= {v.label for v in graph.vertices}
    deep = viz.trace(layer_of := nn.Sequential(model)(variable(5, 3)).sum(), backward=True,
                     model=nn.Sequential(model))  # fmt: skip
    assert layer_of.node is not None
    assert "d(0.weight)" in {v.label for v in deep.vertices}


def test_several_outputs():
    x = variable(3, name="x")
    y, z = ta.exp(x), ta.sin(x)
    g = [np.ones(3), np.array([1.0, 2.0, 3.0])]
    graph = viz.trace([y, z], backward=True, g=g)
    expected = np.exp(x.data) * g[0] + np.cos(x.data) * g[1]
    assert graph.vertices[-1].grad_norm == pytest.approx(np.linalg.norm(expected), rel=1e-14)
    assert [v.of for v in graph.vertices if v.label == "g"] == [4, 3]


def test_a_leaf_alone():
    graph = viz.trace(variable(name="x"), backward=True)
    assert [v.label for v in graph.vertices] == ["x", "x", "dx", "dx"]
    assert graph.vertices[-1].grad_norm == 1


def test_the_second_derivative_has_a_backward_graph_too():
    x = variable(3, name="x")
    (dx,) = ta.grad(ta.tanh(x), [x], np.ones(3), create_graph=True)
    graph = viz.trace(dx, backward=True, g=np.ones(3))
    (ddx,) = ta.grad(dx, [x], np.ones(3))
    (box,) = (v for v in graph.vertices if v.name == "x")
    assert gradient_of(graph, box).grad_norm == pytest.approx(np.linalg.norm(ddx.data), rel=1e-12)


# ── one source of truth for formulas ─────────────────────────────────────────────────────────────
def test_every_rule_has_its_formula_beside_it():
    library = {n: p for n, p in PRIMITIVES.items() if p.__module__.startswith("tinygrad_attn")}
    assert len(library) > 60
    for name, primitive in library.items():
        for rule in primitive.rules:
            if rule is not None:
                assert "=" in rule.formula, name
                assert rule.formula.isprintable(), name
                assert not set("*@") & set(rule.formula), f"{name}: code instead of a formula"


# ── bad input ────────────────────────────────────────────────────────────────────────────────────
def test_gradients_of_a_freed_graph_are_refused_with_advice():
    y = softmax()
    y.backward(np.ones((3, 5)))
    with pytest.raises(ta.GraphError, match=r"freed what `softmax` had.*backward\(retain_graph"):
        viz.trace(y, backward=True, g=np.ones((3, 5)))
    assert viz.trace(y).vertices[0].grad_norm is not None  # drawn with what was kept


def test_a_retained_graph_can_be_drawn_after_backward():
    y = softmax()
    y.backward(np.ones((3, 5)), retain_graph=True)
    assert viz.trace(y, backward=True, g=np.ones((3, 5))).vertices[-1].label == "dx"


def test_a_gradient_asked_for_before_backward():
    with pytest.raises(ta.DTypeError, match="a gradient is None before backward"):
        viz.trace(variable(3).grad)


def test_upstream_gradients_must_fit():
    y = softmax()
    with pytest.raises(ta.ShapeError, match=r"trace: the output has shape \(3, 5\); pass g"):
        viz.trace(y, backward=True)
    with pytest.raises(ta.ShapeError, match=r"g must have the output's shape \(3, 5\), got \(3,\)"):
        viz.trace(y, backward=True, g=np.ones(3))
    with pytest.raises(ta.ShapeError, match="expected a list of 2, one for each output, got 1"):
        viz.trace([y, y], backward=True, g=[np.ones((3, 5))])
    one = viz.trace([y], backward=True, g=[np.ones((3, 5))])
    assert one == viz.trace(y, backward=True, g=np.ones((3, 5)))
    with pytest.raises(ta.DTypeError, match="g must be of dtype float64"):
        viz.trace(y, backward=True, g=np.ones((3, 5), complex))
    with pytest.raises(ta.DTypeError, match="g: expected an array of numbers, got str"):
        viz.trace(y, backward=True, g="a")


def test_options_that_do_nothing_are_refused():
    y = softmax()
    with pytest.raises(viz.OptionError, match="detail: expected one of"):
        viz.trace(y, backward=True, g=np.ones((3, 5)), detail="all")
    with pytest.raises(viz.OptionError, match="g is used only with backward=True"):
        viz.trace(y, g=np.ones((3, 5)))
    with pytest.raises(viz.OptionError, match="detail is used only with backward=True"):
        viz.trace(y, detail="operations")
    with pytest.raises(ta.DTypeError, match="backward: expected bool, got str"):
        viz.trace(y, backward="no")


def test_the_rules_of_one_operation_have_names_of_their_own():
    a, b = variable(2, 3, name="a"), variable(3, 5, name="b")
    graph = viz.trace(a @ b, backward=True, g=np.ones((2, 5)), detail="operations")
    assert {c.name for c in graph.clusters} == {"matmul rule: dA", "matmul rule: dB"}


def test_merged_arrows_keep_their_norm():
    x = variable(2, 3, name="x")
    with ta.scope("part"):
        y = ta.exp(ta.tanh(x))
    graph = viz.trace(y, backward=True, g=np.ones((2, 3))).fold(0)
    (last,) = (e for e in graph.edges if e.kind == "vjp" and graph.vertices[e.target].label == "dx")
    assert last.formula == ""
    assert [line.text for line in edge_lines(last)] == [f"2 × 3 · norm {number_text(last.norm)}"]
    several = replace(last, shape=((2, 3), (5,)), norm=2.0)
    assert [line.text for line in edge_lines(several)] == ["2 shapes · norm 2"]


# ── size ─────────────────────────────────────────────────────────────────────────────────────────
def test_two_thousand_nodes_both_ways_within_seconds():
    x = y = variable(3, 5, name="x")
    for _ in range(1_000):
        y = ta.tanh(y) + x
    start = time.process_time()
    graph = viz.trace(y, backward=True, g=np.ones((3, 5)))
    assert time.process_time() - start < 2
    assert len(graph.vertices) == 4_004


def test_a_long_chain_needs_no_recursion():
    y = variable(2, name="x")
    for _ in range(5_000):
        y = -y
    graph = viz.trace(y, backward=True, g=np.ones(2), detail="operations")
    assert graph.vertices[-1].grad_norm == pytest.approx(2**0.5)


# ── the scale of norms ───────────────────────────────────────────────────────────────────────────
def flows(*norms):
    return [viz.Edge(0, 1, norm=norm, kind="vjp") for norm in norms]


def test_arrows_are_as_wide_and_dark_as_their_norms():
    scale = Scale(flows(1e-3, None, 10.0, 0.0, np.inf, np.nan))
    looks = [scale.look(n) for n in (1e-3, 1e-2, 0.1, 1.0, 9.0, 10.0)]
    assert looks == [*LOOKS, LOOKS[-1]]
    others = (0.0, None, np.inf, np.nan)
    assert [scale.look(n) for n in others] == [ZERO, UNKNOWN, TROUBLE, TROUBLE]
    assert len({ZERO, UNKNOWN, TROUBLE, *LOOKS}) == 3 + len(LOOKS)
    assert [look for look, _ in scale.others] == [ZERO, TROUBLE, UNKNOWN]
    widths = [width for _, width in LOOKS]
    assert widths == sorted(widths)
    np.testing.assert_allclose(scale.marks(), 10.0 ** np.linspace(-3, 1, 6))


def test_norms_that_hardly_differ_look_the_same():
    scale = Scale(flows(1.0, 1.1))
    assert scale.look(1.0) == scale.look(1.1)
    assert len(scale.marks()) == 2
    assert scale.others == []
    assert Scale([]).marks() == Scale(flows(0.0, np.nan)).marks() == []


def test_the_scale_is_of_gradients_alone():
    assert Scale([viz.Edge(0, 1, norm=None), viz.Edge(0, 1, norm=3.0, kind="saved")]).others == []


def test_legends_have_words_for_norms_outside_of_the_scale(tmp_path):
    graph = viz.trace(variable(3) * 2.0, backward=True, g=np.full(3, np.inf))
    edges = (*graph.edges, viz.Edge(3, 4, norm=None, kind="vjp"))
    for said, drawn in ((True, replace(graph, edges=edges)), (False, graph)):
        page = drawn.save_html(tmp_path / "a.html", formulas=True).read_text()
        assert ("brown arrow: norm not known" in drawn.to_dot()) is said
        assert ("</i>norm not known</li>" in page) is said
        assert "thick orange arrow: norm not finite" in drawn.to_dot()
        assert "</i>norm not finite</li>" in page


def test_what_was_summed_over_broadcast_axes_says_so():
    x, bias = variable(2, 5, name="x"), variable(5, name="bias")
    column = variable(2, 1, name="column")
    graph = viz.trace((x + bias) * column + x, backward=True, g=np.ones((2, 5)))
    made = {
        (graph.vertices[e.target].label, e.formula.partition(", ")[2], e.shape)
        for e in graph.edges
        if e.kind == "vjp" and graph.vertices[e.target].label in ("dx", "dbias", "dcolumn")
    }
    words = "summed over broadcast axes"
    assert made == {("dx", "", (2, 5)), ("dbias", words, (5,)), ("dcolumn", words, (2, 1))}


# ── before backward ──────────────────────────────────────────────────────────────────────────────
def test_gradients_that_were_to_be_kept_are_missed_before_backward():
    with ta.keep_grads():
        y = (variable(3, name="x") ** 2).sum()
    with pytest.warns(viz.MissingGradientWarning, match="call it first, or draw them by trace"):
        graph = viz.trace(y)
    assert all(vertex.grad_norm is None for vertex in graph.vertices)
    assert any(
        v.kind == "gradient" for v in viz.trace(y, True).vertices
    )  # no warning: they are made
    y.backward()
    assert any(vertex.grad_norm is not None for vertex in viz.trace(y).vertices)
