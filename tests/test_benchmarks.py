"""The benchmarks' own parts: what they measure is what they say."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

pytest.importorskip("rich", reason="the benchmarks' tables and bars need the extra `demo`")

from benchmarks import shakespeare
from benchmarks.peers import floor
from tinygrad_attn.models import GPT, GPTConfig
from tinygrad_attn.train import TrainConfig

SENTENCE = "Speak, speak. You are all resolved rather to die than to famish?\n\n"


@pytest.fixture
def play(tmp_path: Path) -> Path:
    """A short text that repeats itself."""
    path = tmp_path / "play.txt"
    path.write_text(SENTENCE * 20 + "z")
    return path


def small(rng: np.random.Generator, dtype: str = "float64", bias: bool = False) -> GPT:
    """A model of odd sizes whose parameters are all random."""
    model = GPT(GPTConfig(11, 7, 2, 3, 15, bias=bias), rng=rng).astype(dtype)
    for parameter in model.parameters():
        parameter.data = parameter.data + 0.3 * rng.standard_normal(parameter.shape).astype(dtype)
    return model


# --- the published run ---


def test_the_text_is_cut_where_nine_tenths_end_and_nothing_is_left_out(play: Path) -> None:
    text, characters = shakespeare.corpus(play), play.read_text()
    cut = int(0.9 * len(characters))
    assert text.vocabulary.decode(text.train) == characters[:cut]
    assert text.vocabulary.decode(text.held_out) == characters[cut:]
    assert len(text.vocabulary) == len(set(characters))


def test_the_settings_are_the_published_ones() -> None:
    """The schedule at its corners, as nanoGPT's configuration gives it."""
    config = TrainConfig(steps=2000, **shakespeare.SETTINGS)
    rates = [config.lr * shakespeare.share(step, config) for step in range(2001)]
    assert rates[0] == pytest.approx(1e-3 / 101)
    assert int(np.argmax(rates)) == 100
    assert rates[100] == 1e-3
    assert rates[1050] == pytest.approx((1e-3 + 1e-4) / 2)
    assert rates[2000] == pytest.approx(1e-4)
    model = GPT(GPTConfig(65, **shakespeare.SIZES))
    assert sum(p.size for p in model.parameters()) == (
        (65 + 64) * 128 + 4 * (12 * 128**2 + 2 * 128) + 128
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--text", "nowhere.txt"], "nowhere.txt: expected a text file"),
        (["--text", "{play}", "--steps", "0"], "steps must be an integer of 1 or more, got 0"),
        (["--text", "{play}", "--threads", "0"], "threads must be an integer of 1 or more"),
        (["--text", "{play}", "--seeds", "-1"], "--seeds: expected 0 or more, got -1"),
        (["--text", "{play}", "--out", "{play}/a.json"], "--out: "),
    ],
)
def test_a_wrong_option_is_one_sentence(
    options: list[str], message: str, play: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [option.format(play=play) for option in options]
    with pytest.raises(SystemExit) as stopped:
        shakespeare.main(["--only", "ours", *given])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_run_writes_its_figures_and_prints_them(
    play: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    given = ["--text", str(play), "--only", "ours", "--steps", "3", "--seeds", "5", "7"]
    shakespeare.main([*given, "--out", str(out)])
    figures = json.loads(out.read_text())
    assert [run["seed"] for run in figures["runs"]] == [5, 7]
    first, second = figures["runs"]
    assert first["losses"][0] == pytest.approx(np.log(len(set(play.read_text()))), abs=0.2)
    assert first["validation"] != second["validation"]
    shown = capsys.readouterr().out
    for figure in (first["validation"], (first["validation"] + second["validation"]) / 2):
        assert f"{figure:.4f}" in shown


# --- the floor ---


def test_the_floor_of_a_vit_has_no_gradient_of_the_images() -> None:
    c = SimpleNamespace(batch=3, image_size=6, patch_size=2, d_model=10, d_ff=14, num_heads=5,
                        num_layers=2, num_classes=7, dtype="float32")  # fmt: skip
    products = [out.shape for _, _, out in floor.vit(c).triples]
    assert products[:2] == [(27, 10), (10, 4)]
    assert (27, 4) not in products
    assert len(products) == 2 + 2 * (4 * 3 + 6) + 3


# --- its twin in PyTorch ---


@pytest.mark.torch
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
@pytest.mark.parametrize("bias", [False, True])
def test_the_twin_has_the_same_loss_and_gradients(
    dtype: str, tolerance: float, bias: bool, rng: np.random.Generator
) -> None:
    from benchmarks.twin import twin

    ours = small(rng, dtype, bias)
    theirs: Any = twin(ours)
    tokens, targets = rng.integers(0, 11, (2, 3, 5))
    loss, their_loss = ours.loss(tokens, targets), theirs.loss(tokens, targets)
    loss.backward()
    their_loss.backward()
    assert their_loss.item() == pytest.approx(loss.item(), rel=tolerance)
    gradients = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
    assert gradients.keys() == dict(ours.named_parameters()).keys()
    for name, parameter in ours.named_parameters():
        expected = gradients[name]
        assert parameter.grad is not None
        assert parameter.grad.dtype == expected.dtype == dtype
        difference = np.abs(parameter.grad.numpy() - expected).max()
        assert difference <= tolerance * np.abs(expected).max(), name


@pytest.mark.torch
def test_both_train_alike(rng: np.random.Generator, play: Path) -> None:
    """Loss, rate and gradient's norm of every step, in float64; the gradients are clipped."""
    text: Any = shakespeare.corpus(play)
    config = TrainConfig(steps=40, threads=1, **{**shakespeare.SETTINGS, "clip": 0.7})
    records = []
    for contestant in shakespeare.CONTESTANTS.values():
        own = np.random.default_rng(3)
        model = GPT(GPTConfig(len(text.vocabulary), 7, 2, 3, 15, bias=False), rng=own)
        run = contestant(model.astype("float64"), text, config, own)
        steps = [run.update() for _ in range(config.steps)]
        rows = np.array([(s.step, s.loss, s.lr, s.grad_norm) for s in steps])
        records.append((rows, run.evaluate()))
    (ours, held_out), (theirs, their_held_out) = records
    np.testing.assert_allclose(theirs, ours, rtol=1e-9)
    assert (ours[:, 3] > config.clip).any()
    assert ours[-1, 1] < ours[0, 1]
    assert their_held_out == pytest.approx(held_out, rel=1e-9)
