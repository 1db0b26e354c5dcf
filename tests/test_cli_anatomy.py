"""`tinygrad-attn anatomy`: the page of a layer from the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attended import decoded, page_data

from tinygrad_attn import checkpoint, no_grad
from tinygrad_attn.cli import main
from tinygrad_attn.data import Vocabulary
from tinygrad_attn.models import GPT, GPTConfig, ViT, ViTConfig
from tinygrad_attn.nn import functional

TRAINED = {
    "gpt": ["--length", "12", "--width", "8", "--heads", "2", "--layers", "2"],
    "pronouns": ["--width", "8", "--heads", "2"],
}
MODEL = "model.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small GPT and a small BERT."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "own.txt").write_text("she sells sea shells\n" * 60)
    for kind, options in TRAINED.items():
        text = ["--text", str(folder / "own.txt")] if kind == "gpt" else []
        out = ["--steps", "3", "--out", str(folder / kind)]
        assert main(["train", kind, *options, *text, *out]) == 0
    vit = ViT(ViTConfig(8, 4, 10, 1, 2, 8, 16), rng=np.random.default_rng(0))
    checkpoint.save(folder / "vit.safetensors", model=vit)
    few = GPT(GPTConfig(2, 5, 1, 1, 4), rng=np.random.default_rng(0))
    checkpoint.save(folder / "few.safetensors", model=few, vocabulary=["?", "!"])
    return folder


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def made(*arguments: str) -> Any:
    """What the page says that these arguments make."""
    assert main(["anatomy", "--out", "made.html", *arguments]) == 0
    return page_data(Path("made.html"))


def array(data: Any, name: str, example: int = 0) -> Any:
    return decoded(data["matrices"][name]["data"][example], data["matrices"][name]["shape"])


# ── without a checkpoint ─────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page after three steps of training, and what was printed."""
    return tmp_path_factory.mktemp("default") / "page.html"


def test_pronouns_are_learnt_on_the_spot(default: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = default.with_suffix(".md")
    arguments = ["anatomy", "--steps", "3", "--out", str(default), "--sheet", str(sheet)]
    assert main(arguments) == 0
    told = capsys.readouterr()
    data = page_data(default)
    assert data["layer"]["name"] == "blocks.1.self_attn"
    sentences = [" ".join(example["queries"]) for example in data["examples"]]
    assert sentences[0] == "the animal didn't cross the street because it was too tired"
    assert sentences[1] == "the animal didn't cross the street because it was too wide"
    assert sentences[2] == "because it was too tired the animal didn't cross the street"
    names = [target["name"] for target in data["targets"]]
    assert names == ["loss", "logit of the noun, summed over 3 texts", "Y[0, “it”, 0]"]
    assert "step 3 of 3" in told.err
    lines = told.out.splitlines()
    assert f"on “{sentences[0]}”:" in told.out
    assert lines[-1].startswith(f"The page is {default} ({default.stat().st_size / 1e6:.1f} MB)")
    assert str(sheet) in lines[-1]
    assert sheet.read_text("utf-8").startswith("#")
    written = next(line for line in lines if "reaches X" in line)
    shares = {kind: share for share, kind in re.findall(r"(−?[\d.]+) % through ([QKV])", written)}
    parts = [p for p in data["paths"][0][0]["parts"] if p["at"] == "X" and p["head"] is None]
    for part in parts:
        share = float(shares[part["kind"].upper()].replace("−", "-"))
        assert share == pytest.approx(100 * part["share"], abs=0.051)
    assert re.search(r"\d+ identities, all fulfilled to \de-1\d", told.out)
    assert re.search(r"differ by \de-\d\d at most", told.out)


def test_the_same_seed_gives_the_same_page(here: Path) -> None:
    seeds = ("0", "0", "1")
    first, again, other = (made("--steps", "1", "--seed", seed)["gradients"] for seed in seeds)
    assert first == again
    assert first != other


# ── a checkpoint of one's own ────────────────────────────────────────────────────────────────────
def test_a_gpt_reads_texts_of_different_lengths(here: Path) -> None:
    texts = ["she sells", "sea"]
    data = made("--checkpoint", f"gpt/{MODEL}", "--text", *texts)
    assert [e["queries"] for e in data["examples"]] == [list("she sell"), [*"se", *"·" * 6]]
    assert data["layer"]["name"] == "blocks.1.attn"
    saved = checkpoint.load(here / "gpt" / MODEL)
    vocabulary = Vocabulary(saved.state["vocabulary"])
    model = saved.model.astype(np.float64)
    losses, scores = [], []
    with no_grad():
        for text in texts:
            tokens = vocabulary.encode(text)[None]
            logits = model(tokens[:, :-1])
            losses += [functional.cross_entropy(logits, tokens[:, 1:]).item()] * (len(text) - 1)
            scores.append(logits.data[0, -1, tokens[0, -1]])
    values = {target["name"]: target["value"] for target in data["targets"]}
    assert list(values) == [
        "loss",
        "logit of the last character, summed over 2 texts",
        "Y[0, “l”, 0]",
    ]
    assert values["loss"] == pytest.approx(np.mean(losses), abs=1e-12)
    assert values["logit of the last character, summed over 2 texts"] == pytest.approx(
        sum(scores), abs=1e-12
    )
    padded = decoded(data["gradients"]["dY"]["data"][0][1], (8, 8))
    assert padded[:2].any()
    assert not padded[2:].any()


@pytest.mark.parametrize("layer", ["0", "blocks.0.attn"])
def test_a_layer_goes_by_number_or_name(here: Path, layer: str) -> None:
    data = made("--checkpoint", f"gpt/{MODEL}", "--layer", layer, "--target", "s", "e")
    assert data["layer"]["name"] == "blocks.0.attn"
    names = [target["name"] for target in data["targets"][:3]]
    assert names == ["loss", "logit of “s”", "logit of “e”"]
    assert len(data["examples"][0]["queries"]) == 12  # as much as it can read
    weights = array(data, "P")
    assert not np.triu(weights, 1).any()


def test_a_bert_reads_its_held_out_sentences_or_ones_own(here: Path) -> None:
    data = made("--checkpoint", f"pronouns/{MODEL}")
    assert data["examples"][0]["queries"][:3] == ["the", "animal", "didn't"]
    assert len(data["examples"]) == 3
    own = ["The dog wasn’t tired because it was hungry.", "the street was busy, it was"]
    data = made("--checkpoint", f"pronouns/{MODEL}", "--text", own[0], "--target", "dog", "street")
    assert " ".join(data["examples"][0]["queries"]) == own[0].lower().replace("’", "'")[:-1]
    names = [target["name"] for target in data["targets"]]
    assert names == ["loss", "logit of “dog”", "logit of “street”", "Y[“it”, 0]"]
    data = made("--checkpoint", f"pronouns/{MODEL}", "--text", *own)
    assert data["examples"][1]["queries"][5:] == ["was", "·", "·"]
    assert np.isinf(decoded(data["mask"]["data"][1], data["mask"]["shape"])[0, 0, 6:]).all()


# ── what is wrong ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "page.png"], "--out: expected a name that ends in .html, got page.png"),
        (["--out", "none/page.html"], "--out: there is no folder none; make it"),
        (["--sheet", "sheet.txt"], "--sheet: expected a name that ends in .md, got sheet.txt"),
        (["--sheet", "none/sheet.md"], "--sheet: there is no folder none; make it"),
        (["--text", "it"], "--text: needs --checkpoint FILE"),
        (["--steps", "0"], "expected an integer from 1 to 100,000, got '0'"),
        (["--target", "unicorn"], "got 'unicorn'; leave it out"),
        (
            ["--layer", "9"],
            "one of blocks.0.self_attn, blocks.1.self_attn, or a number from 0 to 1; got '9'",
        ),
        (["--checkpoint", "nothing"], "nothing: the checkpoint cannot be read"),
        (["--checkpoint", "own.txt"], "own.txt"),
        (["--checkpoint", "vit.safetensors"], "expected a GPT or a BERT, got a ViT"),
        (["--checkpoint", "few.safetensors"], "--text: expected a text"),
        (["--checkpoint", f"gpt/{MODEL}", "--steps", "2"], "--steps: with a checkpoint nothing"),
        (["--checkpoint", f"gpt/{MODEL}", "--text", "s"], "expected 2 to 13 characters, got 1"),
        (["--checkpoint", f"gpt/{MODEL}", "--text", "s" * 14], "2 to 13 characters, got 14"),
        (["--checkpoint", f"gpt/{MODEL}", "--text", "ŝea"], "got 'ŝ'"),
        (["--checkpoint", f"gpt/{MODEL}", "--target", "se"], "got 'se'"),
        (["--checkpoint", f"pronouns/{MODEL}", "--text", "the dog"], 'a sentence with "it"'),
        (["--checkpoint", f"pronouns/{MODEL}", "--text", "it was"], "expected a noun"),
        (["--checkpoint", f"pronouns/{MODEL}", "--text", "the dog saw it"], "got 'saw'"),
    ],
)
def test_one_sentence_for_what_is_wrong(
    arguments: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(here.iterdir())
    try:
        code: Any = main(["anatomy", *arguments])
    except SystemExit as exit:
        code = exit.code
    told = capsys.readouterr().err.splitlines()
    assert code == 2
    assert not any("step" in line for line in told[:-1])  # nothing was trained in vain
    assert message in told[-1]
    assert told[-1].startswith("tinygrad-attn")
    assert not any(line.startswith("Traceback") for line in told)
    assert sorted(here.iterdir()) == before


def test_a_folder_that_takes_no_files_is_told_at_once(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(**_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tinygrad_attn.cli.options.TemporaryDirectory", refuse)
    assert main(["anatomy", "--out", "new.html"]) == 2
    told = capsys.readouterr()
    assert "nothing can be written" in told.err
    assert told.out == ""
