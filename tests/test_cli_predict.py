"""Training every model by the command line, and asking it."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_attn import checkpoint
from tinygrad_attn.cli import main
from tinygrad_attn.data import Vocabulary, dates, digits, image
from tinygrad_attn.train import read_log, translated, understood

SMALL = {
    "gpt": ["--length", "12", "--width", "8", "--heads", "2", "--steps", "2"],
    "seq2seq": ["--attention", "luong", "--width", "8", "--steps", "3"],
    "transformer": ["--width", "8", "--heads", "2", "--steps", "3"],
    "vit": ["--width", "8", "--heads", "2", "--layers", "2", "--steps", "3"],
    "pronouns": ["--width", "8", "--heads", "2", "--steps", "3"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small trained model of every kind, and pairs of one's own."""
    folder = tmp_path_factory.mktemp("trained")
    lines = (f"{n}\t{'ab'[n % 2]}{n}" for n in range(40))
    (folder / "pairs.tsv").write_text("\n".join(lines))
    (folder / "own.txt").write_text("she sells sea shells\n" * 60)
    for kind, options in SMALL.items():
        text = ["--text", str(folder / "own.txt")] if kind == "gpt" else []
        assert main(["train", kind, *options, *text, "--out", str(folder / kind)]) == 0
    return folder


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def spread(model: Any) -> Any:
    """A model whose output differs from input to input, without training it for long."""
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        parameter.data = rng.normal(0, 0.5, parameter.shape)
    return model


@pytest.mark.parametrize("kind", SMALL)
def test_train_leaves_the_same_files_for_every_model(folder: Path, kind: str) -> None:
    names = {path.name for path in (folder / kind).iterdir()}
    files = {"log.jsonl", "loss.png", "model.safetensors", "best.safetensors"}
    assert files <= names <= files | {"learned.png"}
    assert kind in ("seq2seq", "transformer") or "learned.png" in names
    start, *_, end = read_log(folder / kind / "log.jsonl")
    assert start["unit"].startswith("nats")
    assert (start["baseline"] is None) == (kind != "gpt")
    assert (end["right"] is None) == (kind == "gpt")


@pytest.mark.parametrize("kind", ["seq2seq", "transformer"])
def test_predict_writes_what_the_model_generates(
    here: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = checkpoint.load(here / kind / "model.safetensors")
    checkpoint.save("spread", model=spread(saved.model), **saved.state)
    asked = ["May 3rd, 2021", "3.5.21"]
    assert main(["predict", "spread", *asked, "--out", "seen.svg"]) == 0
    told = capsys.readouterr().out.splitlines()
    expected = translated(saved.model, Vocabulary(saved.state["vocabulary"]), asked, 11)
    assert told[0] == f"May 3rd, 2021  →  {expected[0][0]}"
    assert told[1] == f"3.5.21         →  {expected[1][0]}"
    assert told[2] == "seen.svg"
    assert "May 3rd, 2021" in Path("seen.svg").read_text()
    assert all(
        weights.shape == (len(text), len(source))
        for (text, weights), source in zip(expected, asked, strict=True)
    )


def test_a_translation_does_not_depend_on_its_neighbours(here: Path) -> None:
    """Padding is inert: a text alone gives the same as beside a longer one."""
    for kind in ("seq2seq", "transformer"):
        saved = checkpoint.load(here / kind / "model.safetensors")
        model, vocabulary = spread(saved.model), Vocabulary(saved.state["vocabulary"])
        model.astype(np.float64)
        alone, beside = (
            translated(model, vocabulary, sources, 9)[0]
            for sources in (["3.5.21"], ["3.5.21", "Monday, May 3rd, 2021"])
        )
        assert alone[0] == beside[0]
        np.testing.assert_allclose(alone[1], beside[1], atol=1e-12)


@pytest.mark.parametrize("kind", ["seq2seq", "transformer", "vit", "pronouns"])
def test_predict_alone_asks_what_is_held_out(
    here: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", f"{kind}/model.safetensors"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert len(told) == (10 if kind == "vit" else 8)
    if kind == "vit":
        right = np.arange(10)
        assert [line.split("→")[0].strip() for line in told] == [f"image {n}" for n in range(1, 11)]
    elif kind == "pronouns":
        state = checkpoint.load("pronouns/model.safetensors").state
        right = np.array([noun for _, noun in state["examples"]])
    else:
        right = np.array([pair.target for pair in dates().test[:8]])
        assert told[0].startswith(dates().test[0].source)
    for line, answer in zip(told, right, strict=True):
        said = line.split("→")[1].split("   ")[0].strip()
        assert line.endswith("   right" if said == str(answer) else f"   wrong, it is {answer}")


def test_predict_reads_pictures(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from matplotlib.image import imsave

    held_out = digits().test
    for i in range(2):
        # Larger, dark on light, and off the centre.
        pixels = np.pad(1 - np.kron(held_out.images[i], np.ones((5, 5))), (3, 9), constant_values=1)
        imsave(f"{i}.png", pixels, cmap="gray", vmin=0, vmax=1)
    assert main(["predict", "vit/model.safetensors", "0.png", "1.png", "--out", "seen.png"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split("→")[0].strip() for line in told[:2]] == ["0.png", "1.png"]
    model = checkpoint.load("vit/model.safetensors").model
    digits_read = model.predict(np.stack([image("0.png"), image("1.png")]))
    assert [line.split("→")[1].strip() for line in told[:2]] == [str(d) for d in digits_read]
    assert Path("seen.png").read_bytes().startswith(b"\x89PNG")


def test_predict_reads_sentences(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sentence = "The dog didn't eat the cheese, because it was too salty."
    assert main(["predict", "pronouns/model.safetensors", sentence, "--out", "it.svg"]) == 0
    told = capsys.readouterr().out
    saved = checkpoint.load("pronouns/model.safetensors")
    (reading,) = understood(saved.model, Vocabulary(saved.state["vocabulary"]), [sentence])
    assert told == f"{sentence}  →  {reading.noun}\nit.svg\n"
    assert f"it = {reading.noun}" in Path("it.svg").read_text()


def test_pairs_of_ones_own(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--text", "pairs.tsv", "--out", "own", *SMALL["transformer"]]
    assert main(["train", "transformer", *options]) == 0
    shown = capsys.readouterr().out
    assert "pairs.tsv, 36 to learn from and 4 held out" in shown
    assert "of 4 right" in shown
    assert main(["predict", "own/model.safetensors", "12"]) == 0
    assert capsys.readouterr().out.startswith("12  →")


def test_a_preset_is_the_same_for_the_same_seed(here: Path) -> None:
    for kind in ("seq2seq", "transformer", "vit", "pronouns"):
        again = f"{kind}-again"
        assert main(["train", kind, *SMALL[kind], "--out", again]) == 0
        first, second = (Path(name) / "model.safetensors" for name in (kind, again))
        assert first.read_bytes() == second.read_bytes()


MISTAKES = {
    "predict": "required: CHECKPOINT",
    "predict no": "let `tinygrad-attn train seq2seq` write one",
    "predict own.txt": "expected a checkpoint",
    "predict gpt/model.safetensors": "a GPT writes text: tinygrad-attn sample gpt/model.safe",
    "predict nameless": "nameless: expected examples beside the model, got NoneType",
    "predict seq2seq/model.safetensors ¿?": "got '¿'; leave it out",
    "predict transformer/model.safetensors "
    + "1" * 99: "expected at most 31 characters, got 99: 1111",
    "predict vit/model.safetensors 7": "7: expected a picture",
    "predict vit/model.safetensors own.txt": "own.txt: expected a picture",
    "predict vit/model.safetensors --out seen.gif": "ends in .png, .svg or .pdf, got 'seen.gif'",
    "predict pronouns/model.safetensors hello": 'expected a sentence with "it", got',
    "predict pronouns/model.safetensors it": 'expected a noun that "it" can mean, such as',
    "train gpt --width 20000 --layers 100": "these sizes need at least 7,",
    "train seq2seq --text /dev/zero": "/dev/zero: expected a text file, but it is a device",
    "sample vit/model.safetensors": "expected a GPT, got a ViT",
    "draw gpt --checkpoint vit/model.safetensors": "expected a GPT, got a ViT",
    "train seq2seq --layers 2": "--layers: seq2seq has --width, --dropout, --attention",
    "train seq2seq --attention dot": "expected one of bahdanau, luong, got 'dot'",
    "train seq2seq --width 7": "--width must be even for seq2seq, got 7",
    "train transformer --heads 3": "--heads must divide --width, got 3 and 64",
    "train transformer --length 9": "--length: transformer has --layers",
    "train vit --text own.txt": "--text: vit learns from its own examples",
    "train seq2seq --text own.txt": "line 1: expected a source, one tab and its target",
    "train transformer --text no.tsv": "no.tsv: expected a text file",
}


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("seq2seq", {"vocabulary": None}, "expected vocabulary beside the model, got NoneType"),
        ("seq2seq", {"vocabulary": ["a"]}, "different symbols in the vocabulary, got 1"),
        ("transformer", {"steps": "9"}, "expected steps beside the model, got str"),
        ("transformer", {"examples": []}, "expected pairs among the examples"),
        ("transformer", {"examples": [1]}, "expected pairs among the examples"),
        ("vit", {"examples": [[[[1]], "3"]]}, "expected images of 8×8"),
        ("vit", {"examples": [["five", "5"]]}, "expected images of numbers"),
        ("pronouns", {"head": [9, 9]}, "expected a layer and a head, got [9, 9]"),
        ("pronouns", {"head": None}, "expected head beside the model, got NoneType"),
        ("pronouns", {"vocabulary": 3}, "expected vocabulary beside the model, got int"),
    ],
)
def test_a_checkpoint_without_what_it_takes(
    kind: str, change: dict[str, Any], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = checkpoint.load(f"{kind}/model.safetensors")
    checkpoint.save("changed", model=saved.model, **{**saved.state, **change})
    assert main(["predict", "changed"]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("tinygrad-attn: changed: ")
    assert message in shown.err
    assert len(shown.err.splitlines()) == 1


def test_texts_are_read_as_they_were_learnt(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without blanks around, composed; nothing reserved, nothing empty."""
    asked = ["  2021년 5월 3일 ", unicodedata.normalize("NFD", "2021년 5월 3일"), "2021년 5월 3일"]
    assert main(["predict", "seq2seq/model.safetensors", *asked]) == 0
    answers = [line.split("→")[1] for line in capsys.readouterr().out.splitlines()]
    assert len(set(answers)) == 1
    messages = {
        "": "expected a text, got an empty one",
        "  ": "expected a text, got an empty one",
        "1␃2": "expected a text without ␀ ␂ ␃, got",
    }
    for wrong, message in messages.items():
        assert main(["predict", "seq2seq/model.safetensors", wrong]) == 2
        assert message in capsys.readouterr().err


def test_the_picture_does_not_replace_what_is_asked(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.png").write_bytes(b"mine")
    assert main(["predict", "vit/model.safetensors", "mine.png", "--out", "mine.png"]) == 2
    assert "mine.png is what is asked" in capsys.readouterr().err
    assert Path("mine.png").read_bytes() == b"mine"


def test_what_is_printed_cannot_control_the_terminal(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"\x1b[2J{n}\tx{n}" for n in range(30)]
    Path("escape.tsv").write_text("\n".join(lines))
    options = ["--text", "escape.tsv", "--out", "escaped", *SMALL["transformer"]]
    assert main(["train", "transformer", *options]) == 0
    assert main(["predict", "escaped/model.safetensors"]) == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(
    line: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint.save("nameless", model=checkpoint.load("vit/model.safetensors").model)
    try:
        code = main(line.split())
    except SystemExit as exit:  # argparse's own way
        code = exit.code
    shown = capsys.readouterr()
    assert code == 2
    assert shown.err.startswith("tinygrad-attn")
    assert MISTAKES[line] in shown.err
    assert len(shown.err.splitlines()) == 1
