"""Plots: what they write, what they refuse, and labels that stay text."""

import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import viz
from tinygrad_attn.extras import ExtraError
from tinygrad_attn.viz import curves, matrices

plots = viz.plots
STARTS = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}


def weights(heads=2, queries=3, keys=5):
    scores = np.random.default_rng(0).normal(size=(heads, queries, keys))
    return ta.softmax(scores)


def texts(path):
    return [node.text for node in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]


# ── what is written ──────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_every_format(tmp_path, suffix):
    path = tmp_path / f"map.{suffix}"
    assert plots.heatmap(weights()[0], path) == path
    assert path.read_bytes().startswith(STARTS[suffix])


def test_a_heatmap_prints_its_numbers_and_scale(tmp_path):
    matrix = np.array([[0.25, -0.5], [0.125, 1.0]])
    found = texts(
        plots.heatmap(
            matrix,
            tmp_path / "m.svg",
            rows=["q1", "q2"],
            columns=["k1", "k2"],
            title="dS",
            signed=True,
        )
    )
    assert {"q1", "q2", "k1", "k2", "dS", "0.25", "−0.5", "0.12", "1"} <= set(found)
    assert {"−1.0", "0.0", "1.0"} <= set(found)  # the scale, centred at 0


def test_a_large_heatmap_has_no_numbers_and_few_labels(tmp_path):
    found = texts(
        plots.heatmap(np.eye(200), tmp_path / "m.svg", rows=[f"r{i}" for i in range(200)])
    )
    assert 10 <= sum(text.startswith("r") for text in found) <= 110
    assert len(found) < 130


@pytest.mark.parametrize(
    "matrix",
    [
        np.zeros((2, 3)),
        np.full((2, 3), np.nan),
        np.array([[np.inf, -np.inf, 1.0]]),
        np.ones((1, 1)),
        np.full((2, 3), -2.0),
        np.array([[1, 2]]),
        np.array([[True, False]]),
        np.ones((1, 40)),
        np.full((2, 2), 1e300),
        np.full((2, 2), 5e-324),
    ],
)
@pytest.mark.parametrize("signed", [True, False])
def test_matrices_of_every_kind(tmp_path, matrix, signed):
    assert plots.heatmap(matrix, tmp_path / "m.png", signed=signed).stat().st_size > 1000


@pytest.mark.parametrize(
    ("values", "signed", "expected"),
    [
        ([1.0, -3.0], True, (-3.0, 3.0)),
        ([0.2, 0.7], False, (0.0, 0.7)),
        ([-1.0, 2.0], False, (-1.0, 2.0)),
        ([0.0, 0.0], True, (-1.0, 1.0)),
        ([np.nan, 0.5], False, (0.0, 0.5)),
        ([np.inf], False, (0.0, 1.0)),
    ],
)
def test_the_ends_of_the_scale(values, signed, expected):
    assert matrices.limits(np.array(values), signed) == expected


def test_attention_maps_have_a_panel_for_each_head(tmp_path):
    path = plots.attention_maps(
        weights(6, 3, 3), ["the", "cat", "sat"], tmp_path / "a.svg", title="all"
    )
    found = texts(path)
    assert [text for text in found if text.startswith("head")] == [f"head {h}" for h in range(6)]
    assert {"the", "cat", "sat", "all", "weight"} <= set(found)


def test_cross_attention_has_labels_of_its_own(tmp_path):
    found = texts(
        plots.attention_maps(
            weights(1, 2, 3), ["q0", "q1"], tmp_path / "a.svg", keys=["k0", "k1", "k2"]
        )
    )
    assert {"q0", "q1", "k0", "k1", "k2"} <= set(found)
    assert "head 0" not in found


def test_tensors_with_a_graph_can_be_plotted(tmp_path):
    x = ta.Tensor(np.random.default_rng(0).normal(size=(2, 3, 3)), requires_grad=True)
    assert plots.attention_maps(ta.softmax(x), None, tmp_path / "a.png").exists()
    assert plots.attention_maps(ta.softmax(x)[0], None, tmp_path / "a.png").exists()


def test_a_loss_curve_with_its_baseline(tmp_path):
    steps = range(50)
    found = texts(
        plots.loss_curve(
            steps,
            [4 / (1 + s) for s in steps],
            [(0, 4.0), (49, 0.25)],
            tmp_path / "l.svg",
            baseline=2.32,
            baseline_label="bigram $model$",
        )
    )
    assert {
        "training, 0.081 at the end",  # the mean of the last two
        "held-out, 0.250 at the end",
        "bigram $model$, 2.320",
        "step",
    } <= set(found)


@pytest.mark.parametrize(
    ("steps", "train", "evaluations"),
    [
        ([], [], []),
        ([0], [1.0], []),
        ([], [], [(0, 1.0)]),
        ([], [], np.array([(0, 2.0), (3, 1.0)])),
        ([0, 1, 2], [1.0, np.nan, np.inf], [(2, 1.0)]),
    ],
)
def test_short_and_broken_curves(tmp_path, steps, train, evaluations):
    assert plots.loss_curve(steps, train, evaluations, tmp_path / "l.png").stat().st_size > 1000


def test_smoothing_keeps_the_level_and_skips_what_is_not_a_number():
    np.testing.assert_allclose(curves.smoothed(np.full(301, 2.5)), 2.5, rtol=1e-14)
    rising = np.arange(301.0)
    np.testing.assert_allclose(curves.smoothed(rising)[6:-6], rising[6:-6], rtol=1e-12)  # no lag
    np.testing.assert_allclose(curves.smoothed(np.where(rising == 150, np.nan, 1.0)), 1.0)


def test_the_same_plot_is_the_same_file(tmp_path):
    for suffix in ("svg", "pdf", "png"):
        first, second = (
            plots.heatmap(weights()[0], tmp_path / f"{i}.{suffix}").read_bytes() for i in range(2)
        )
        assert first == second


# ── labels ───────────────────────────────────────────────────────────────────────────────────────
def test_labels_are_text_and_never_mathematics(tmp_path):
    labels = ["$x^2$", "$\\frac{", "<b>", "   ", 7, None]
    path = plots.heatmap(np.eye(6), tmp_path / "m.svg", rows=labels, title="$\\frac{1}")
    assert {"$x^2$", "$\\frac{", "<b>", "␣␣␣", "7", "None", "$\\frac{1}"} <= set(texts(path))


def test_a_missing_glyph_is_no_warning(tmp_path):
    assert plots.heatmap(np.eye(2), tmp_path / "m.png", rows=["한국어", "\U0001f600"]).exists()


def test_the_users_settings_come_back(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    plots.heatmap(np.eye(2), tmp_path / "m.png")
    assert dict(matplotlib.rcParams) == before


# ── what is refused ──────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (
            lambda p: plots.heatmap(np.ones(3), p),
            ta.ShapeError,
            r"2 axes \(rows, columns\), got shape \(3,\)",
        ),
        (lambda p: plots.heatmap(np.ones((0, 3)), p), ta.ShapeError, "non-empty"),
        (
            lambda p: plots.heatmap(np.ones((2, 2), complex), p),
            ta.DTypeError,
            "real numbers, got complex",
        ),
        (lambda p: plots.heatmap(np.array([["a"]]), p), ta.DTypeError, "real numbers"),
        (
            lambda p: plots.heatmap(np.eye(2), p, rows=["a"]),
            ta.ShapeError,
            "each of the 2 rows, got 1",
        ),
        (lambda p: plots.heatmap(np.eye(2), p, columns="abc"), ta.ShapeError, "2 columns, got 3"),
        (
            lambda p: plots.attention_maps(np.ones((1, 2, 3, 4)), None, p),
            ta.ShapeError,
            "heads, queries",
        ),
        (lambda p: plots.attention_maps(weights(), "ab", p), ta.ShapeError, "3 queries, got 2"),
        (
            lambda p: plots.attention_maps(weights(), "abc", p, keys="a"),
            ta.ShapeError,
            "5 keys, got 1",
        ),
        (lambda p: plots.loss_curve([0, 1], [1.0], [], p), ta.ShapeError, "a loss for each step"),
        (lambda p: plots.loss_curve([0], [1.0], [(1, 2, 3)], p), ta.ShapeError, "pairs"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(tmp_path, draw, error, message):
    with pytest.raises(error, match=message):
        draw(tmp_path / "plot.png")
    assert list(tmp_path.iterdir()) == []


def test_bad_places(tmp_path):
    with pytest.raises(viz.RenderError, match=r"must end in \.svg, \.png, \.pdf"):
        plots.heatmap(np.eye(2), tmp_path / "m.jpg")
    with pytest.raises(viz.RenderError, match="cannot write"):
        plots.heatmap(np.eye(2), tmp_path / "missing" / "m.png")


def test_without_matplotlib_one_sentence_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ExtraError, match=r'pip install "tinygrad_attn\[demo\]"'):
        plots.heatmap(np.eye(2), tmp_path / "m.png")


def test_matplotlib_is_loaded_by_the_first_plot_only():
    code = (
        "import sys, tinygrad_attn as ta; ta.viz.plots; ta.viz.trace\n"
        "assert not {'matplotlib', 'pygraphviz'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
