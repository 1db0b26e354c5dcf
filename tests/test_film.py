"""The training film: its numbers are ta.grad's, training goes on untouched, labels stay text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studied import SOURCE, TARGET, TOKENS, bert, gpt, in_double, transformer

import tinygrad_attn as ta
from tinygrad_attn import nn, optim
from tinygrad_attn.viz.anatomy import film_page
from tinygrad_attn.viz.anatomy.film import Film, evenly

Array = np.ndarray[Any, Any]
WORDS = [["a", "b", "c", "d", "e"], ["v", "w", "x", "y", "z"]]


def question(model: Any) -> ta.Tensor:
    """One number about both sentences, with another upstream gradient for every logit."""
    logits = model(TOKENS)
    g = np.random.default_rng(6).standard_normal(logits.shape).astype(logits.dtype)
    return (logits * g).sum()


def moved(model: nn.Module, seed: int) -> None:
    """Another model, as after some training."""
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.data = parameter.data + 0.2 * rng.standard_normal(parameter.shape)


def taken(model: nn.Module, steps: Any = (0, 3, 4), **options: Any) -> Film:
    """A film of a model that is another one at every step."""
    film = Film(model, question, **options)
    for step in steps:
        moved(model, step)
        film.snap(step)
    return film


def read(film: Film) -> dict[str, Any]:
    """The JSON in the page."""
    (text,) = re.findall(
        r'<script type="application/json" id="film-data">(.*?)</script>', film.to_html()
    )
    return json.loads(text)


def array(layer: dict[str, Any], name: str) -> Array:
    """A layer's P or dP (snapshots, B, H, T, S), read back from the page."""
    return np.frombuffer(base64.b64decode(layer[name]["data"]), "<f4").reshape(layer["shape"])


# ── the numbers ──────────────────────────────────────────────────────────────────────────────────
def by_grad(model: nn.Module) -> tuple[float, list[Array], list[Array], dict[str, float]]:
    """The value, P and dP of a GPT's layers, and the norms, without the film's code."""
    stages = []
    for block in model.blocks:
        plain = block.attn.forward

        def keeping(*args: Any, _plain: Any = plain, **options: Any) -> Any:
            out, steps = _plain(*args, **options, return_stages=True)
            stages.append(steps.weights)
            return out

        vars(block.attn)["forward"] = keeping
    value = question(model)
    named = dict(model.named_parameters())
    gradients = ta.grad(value, [*stages, *named.values()])
    for block in model.blocks:
        del vars(block.attn)["forward"]
    squares: dict[str, float] = {}
    for name, g in zip(named, gradients[len(stages) :], strict=True):
        owner = name.rpartition(".")[0]
        squares[owner] = squares.get(owner, 0.0) + float((g.data**2).sum())
    return (
        value.item(),
        [P.data for P in stages],
        [g.data for g in gradients[: len(stages)]],
        {name: square**0.5 for name, square in squares.items()},
    )


def test_every_number_of_the_page_is_that_of_grad() -> None:
    model = in_double(gpt())
    film = Film(model, question, examples=WORDS)
    expected = []
    for step in (0, 2, 7):
        moved(model, step)
        film.snap(step)
        expected.append(by_grad(model))
    data = read(film)
    assert [layer["name"] for layer in data["layers"]] == ["blocks.0.attn", "blocks.1.attn"]
    assert [data["curve"]["steps"][at] for at in data["frames"]] == [0, 2, 7]
    np.testing.assert_allclose(data["curve"]["values"], [e[0] for e in expected], rtol=1e-13)
    for at, layer in enumerate(data["layers"]):
        assert layer["shape"] == [3, 2, 2, 5, 5]
        for name, place in (("P", 1), ("dP", 2)):
            exact = np.stack([e[place][at] for e in expected])
            assert np.abs(exact).max() > 0.1
            np.testing.assert_allclose(array(layer, name), exact, rtol=1e-7, atol=1e-14)
    assert data["modules"] == list(expected[0][3])
    for m, name in enumerate(data["modules"]):
        norms = [e[3][name] for e in expected]
        np.testing.assert_allclose(data["curve"]["norms"][m], norms, rtol=1e-12)


def test_the_range_and_what_may_not_be_looked_at() -> None:
    (first, _) = read(taken(in_double(gpt())))["layers"]
    P, dP = array(first, "P"), array(first, "dP")
    causal = np.tri(5, dtype=bool)
    allowed = np.frombuffer(base64.b64decode(first["allowed"]["data"]), "u1").reshape(2, 1, 5, 5)
    assert first["allowed"]["heads"] == 1
    np.testing.assert_array_equal(allowed, np.broadcast_to(causal, (2, 1, 5, 5)))
    assert (P[..., ~causal] == 0).all()
    assert np.abs(dP[..., ~causal]).max() > 0  # a masked weight has a gradient, not a colour
    np.testing.assert_allclose(first["P"]["range"], [P.min(), P.max()])
    seen = np.where(causal, dP, 0)
    np.testing.assert_allclose(first["dP"]["range"], [seen.min(), seen.max()])
    assert read(taken(in_double(bert())))["layers"][0]["allowed"] is None


def test_a_mask_of_its_own_for_every_head_is_kept() -> None:
    layer = nn.MultiHeadAttention(6, 3).astype(np.float64)
    rng = np.random.default_rng(0)
    x, mask = rng.standard_normal((1, 4, 6)), rng.random((1, 3, 4, 4)) < 0.6
    mask[..., 0] = True
    g = rng.standard_normal((1, 4, 6))
    film = Film(layer, lambda layer: (layer(x, mask=mask) * g).sum())
    film.snap(0)
    (only,) = read(film)["layers"]
    assert only["name"] == "MultiHeadAttention"
    assert only["allowed"]["heads"] == 3
    allowed = np.frombuffer(base64.b64decode(only["allowed"]["data"]), "u1").reshape(mask.shape)
    np.testing.assert_array_equal(allowed, mask)


def test_cross_attention_with_labels_for_both_sides() -> None:
    def translated(model: Any) -> ta.Tensor:
        logits = model(SOURCE, TARGET)
        return (logits * np.random.default_rng(1).standard_normal(logits.shape)).sum()

    name = "decoder.layers.1.multihead_attn"
    labels = [(["<s>", "in", "to"], ["un", "deux", "trois", "quatre", "cinq"])] * 2
    film = Film(in_double(transformer()), translated, layers=[name], examples=labels)
    film.snap(5)
    (layer,) = read(film)["layers"]
    assert (layer["name"], layer["cross"], layer["shape"]) == (name, True, [1, 2, 2, 3, 5])
    assert layer["examples"][1]["queries"] == ["<s>", "in", "to"]
    assert layer["examples"][1]["keys"][-1] == "cinq"
    np.testing.assert_allclose(array(layer, "P").sum(-1), 1, rtol=1e-6)


def test_a_layer_called_twice_is_recorded_twice() -> None:
    layer = nn.MultiHeadAttention(4, 2).astype(np.float64)
    model = nn.Sequential(layer, layer)
    x, g = np.random.default_rng(0).standard_normal((2, 1, 3, 4))
    film = Film(model, lambda model: (model(x) * g).sum())
    film.snap(0)
    first, second = read(film)["layers"]
    assert (first["name"], second["name"]) == ("0", "0 (call 2)")
    assert not np.array_equal(array(first, "P"), array(second, "P"))
    chosen = Film(model, lambda model: (model(x) * g).sum(), layers=["0 (call 2)"])
    chosen.snap(0)
    np.testing.assert_array_equal(array(read(chosen)["layers"][0], "P"), array(second, "P"))


def test_of_several_targets_one_is_followed() -> None:
    def several(model: Any) -> dict[str, ta.Tensor]:
        logits = model(TOKENS)
        return {"sum": (logits * logits).sum(), "logit": logits[0, -1, 3]}

    def first(model: Any) -> ta.Tensor:
        return several(model)["sum"]

    def one(model: Any) -> ta.Tensor:
        return several(model)["logit"]

    model = in_double(gpt())
    for run, target, same, name in (
        (several, None, first, "sum"),
        (several, "logit", one, "logit"),
        (one, "a logit", one, "a logit"),
        (one, None, one, "loss"),
    ):
        film, expected = Film(model, run, target=target), Film(model, same)
        assert film.snap(0) == expected.snap(0)
        np.testing.assert_array_equal(film.frames[0].gradients[1], expected.frames[0].gradients[1])
        assert read(film)["target"] == name


# ── training goes on as if nobody looked ─────────────────────────────────────────────────────────
def trained(film: bool) -> list[Array]:
    """The parameters after some steps with dropout, filmed or not."""
    model = gpt(dropout=0.3)
    optimizer, ta_seed = optim.AdamW(model.parameters(), 0.01), 5
    ta.seed(ta_seed)
    reel = Film(model, question) if film else None
    for step in range(4):
        optimizer.zero_grad()
        model.loss(TOKENS[:, :-1], TOKENS[:, 1:]).backward()
        if reel:
            reel.snap(step)
            assert model.training
        optimizer.step()
    return [parameter.numpy() for parameter in model.parameters()]


def test_filming_changes_nothing() -> None:
    for with_film, without in zip(trained(True), trained(False), strict=True):
        np.testing.assert_array_equal(with_film, without)


def test_a_snapshot_is_taken_in_evaluation_mode() -> None:
    model = gpt(dropout=0.5)
    film = Film(model, question)
    assert film.snap(0) == film.snap(1) == question(model.eval()).item()


# ── how much there is ────────────────────────────────────────────────────────────────────────────
def test_evenly() -> None:
    assert evenly([4, 5, 9], 3) == [0, 1, 2]
    assert evenly(range(11), 3) == [0, 5, 10]
    assert evenly([0, 1, 2, 3, 4, 5, 50, 100], 3) == [0, 6, 7]
    assert evenly([0, 1, 2, 3, 100], 4) == [0, 3, 4]  # 33 and 67 have one nearest step each


def test_many_snapshots_are_thinned_and_the_curve_keeps_them() -> None:
    film = Film(in_double(gpt()), question, most=4)
    for step in range(0, 50, 2):
        film.snap(step)
        assert len(film.snapshots) <= 8
    assert len(film.frames) <= 4
    steps = [frame.step for frame in film.frames]
    assert (steps[0], steps[-1]) == (0, 48)
    assert max(np.diff(steps)) <= 24
    data = read(film)
    assert data["taken"] == 25
    assert data["curve"]["steps"] == list(range(0, 50, 2))
    assert [data["curve"]["steps"][at] for at in data["frames"]] == steps
    assert len(data["layers"][0]["P"]["data"]) == pytest.approx(
        len(steps) * 2 * 2 * 25 * 16 / 3, abs=4
    )


def test_long_curves_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film_page, "POINTS", 3)
    film = taken(in_double(gpt()), range(11), most=3)
    for step in range(1, 24):
        film.add_loss(step, 0.5 * step)
    data = read(film)
    frames = [frame.step for frame in film.frames]
    assert len(data["training"]["steps"]) <= 4
    assert (data["training"]["steps"][0], data["training"]["steps"][-1]) == (1, 23)
    assert data["training"]["losses"] == [0.5 * step for step in data["training"]["steps"]]
    assert set(frames) <= set(data["curve"]["steps"])
    assert data["curve"]["steps"] == [0, 4, 6, 8, 10]  # 6 has a snapshot
    assert [data["curve"]["steps"][at] for at in data["frames"]] == frames


def test_a_film_that_would_be_too_large_is_refused_at_the_first_snapshot() -> None:
    film = Film(gpt(), question, most=50_000)
    with pytest.raises(ta.ShapeError, match="50000 snapshots would hold 20,000,000 numbers"):
        film.snap(0)
    assert film.frames == []


def test_the_page_says_its_size(tmp_path: Path) -> None:
    film = taken(in_double(gpt()))
    path = film.save(tmp_path / "film.html")
    assert read(film)["size"] == path.stat().st_size


# ── the file ──────────────────────────────────────────────────────────────────────────────────────
def test_the_page_needs_nothing_and_runs_only_its_own_script() -> None:
    html = taken(in_double(gpt()), (0,)).to_html()
    assert not re.search(r'(src|href)\s*=\s*"', html)
    assert "url(" not in html
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.S)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.S)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b", script)


# ── what is refused ──────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": None}, ta.DTypeError, "expected an nn.Module, got a NoneType"),
        ({"run": 3}, ta.DTypeError, "run must be a function"),
        ({"most": 1}, ta.ShapeError, "most must be an integer of 2 or more, got 1"),
        ({"most": 2.5}, ta.ShapeError, "most must be an integer"),
        ({"layers": "blocks.0.attn"}, ta.DTypeError, "layers must be a list of names"),
        ({"layers": ["a", "a"]}, ta.ShapeError, "each layer can be recorded once"),
    ],
)
def test_a_film_of_nothing_is_refused(options: Any, error: Any, message: str) -> None:
    given = {"model": gpt(), "run": question, **options}
    with pytest.raises(error, match=message):
        Film(given.pop("model"), given.pop("run"), **given)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layers": ["blocks.7.attn"]}, ta.GraphError, "to call blocks.7.attn, but it"),
        ({"examples": [["a"] * 5]}, ta.ShapeError, "^Film: the batch has 2 examples"),
        ({"examples": [["a"] * 4] * 2}, ta.ShapeError, "^Film: example 0 has 5 queries"),
        ({"examples": [3, 4]}, ta.DTypeError, "^Film: expected a list of labels"),
        ({"run": lambda m: {}}, ta.GraphError, "to return a target"),
        ({"run": lambda m: {"a": question(m)}, "target": "b"}, ta.GraphError, "target b, it"),
        ({"run": lambda m: {"a": 3.0}}, ta.DTypeError, "must return a Tensor, got float"),
        ({"run": lambda m: 3.0}, ta.DTypeError, "must return a Tensor, got float"),
        ({"run": lambda m: m(TOKENS)}, ta.ShapeError, "one finite number, got shape"),
        ({"run": lambda m: m(TOKENS).sum() * np.inf}, ta.ShapeError, "one finite number, got"),
        ({"run": lambda m: m(TOKENS).sum().detach()}, ta.GraphError, "no gradient"),
        ({"run": lambda m: m.wte.weight.sum()}, ta.GraphError, "attention, but it calls none"),
        ({"run": lambda m: (m(TOKENS), m.wte.weight.sum())[1]}, ta.GraphError, "not depend on"),
    ],
)  # fmt: skip
def test_a_snapshot_that_cannot_be_taken_leaves_no_trace(
    options: Any, error: Any, message: str
) -> None:
    film = Film(gpt(), options.pop("run", question), **options)
    with pytest.raises(error, match=message):
        film.snap(0)
    assert (film.frames, film.curve, film.scenes) == ([], [], ())


def test_steps_rise_and_inputs_stay(tmp_path: Path) -> None:
    length = [5]

    def first(model: Any) -> ta.Tensor:
        return model(TOKENS[:, : length[0]])[0, -1, 3]

    film = Film(gpt(), first)
    with pytest.raises(ta.GraphError, match="there is no snapshot"):
        film.save(tmp_path / "film.html")
    film.snap(3)
    for step in (3, 2, -1, 4.5):
        with pytest.raises(ta.ShapeError, match="step must be an integer above 3"):
            film.snap(step)
    length[0] = 4
    with pytest.raises(ta.ShapeError, match="every snapshot needs the same layers and input"):
        film.snap(4)
    film.add_loss(1, 2.0)
    with pytest.raises(ta.ShapeError, match="above 1"):
        film.add_loss(1, 2.0)
    with pytest.raises(ta.DTypeError, match="loss must be a number"):
        film.add_loss(2, "low")  # type: ignore[arg-type]
    assert [frame.step for frame in film.frames] == [3]
    assert not list(tmp_path.iterdir())


def test_a_loss_may_be_an_array_of_one_number() -> None:
    values = [Film(gpt(), run).snap(0) for run in (question, lambda m: question(m).reshape(1))]
    assert values[0] == values[1]
