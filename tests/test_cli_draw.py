"""`tinygrad-attn draw`: both passes, less of the graph, text; each option's mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinygrad_attn.cli import main

KINDS = ["softmax", "attention", "multihead", "block", "gpt"]


def drawn(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    code = main(["draw", *line.split()])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# ── both passes ──────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("what", KINDS)
def test_the_backward_pass_of_everything(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert drawn(f"{what} --backward --out g.dot", capsys) == (0, "g.dot\n", "")
    dot = Path("g.dot").read_text()
    assert "class=vjp" in dot
    assert "class=gradient" in dot
    assert "dx = y∘(dy − Σ dy∘y)" in dot


def test_both_drawings_have_the_same_gradients(capsys: pytest.CaptureFixture[str]) -> None:
    """The norms beside the values are those of the gradient boxes."""
    one = drawn("attention --text", capsys)[1]
    two = drawn("attention --text --backward", capsys)[1]
    for name in "qkv":
        (forward,) = (row for row in one.splitlines() if f"] {name}  (" in row)
        norm = forward.split("‖grad‖ ")[1].rstrip(")")
        at = forward.partition("]")[0].strip("[")
        assert f"d[{at}]  norm {norm}  ←" in two


@pytest.mark.parametrize("name", ["g.svg", "g.png", "g.pdf", "g.html"])
def test_every_form_of_both_passes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"multihead --backward --no-plumbing --formulas --out {name}"
    assert drawn(line, capsys) == (0, f"{name}\n", "")
    assert Path(name).stat().st_size > 1000


# ── text ─────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("what", KINDS)
def test_text_fits_a_terminal(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, text, complaint = drawn(f"{what} --backward --text", capsys)
    assert (code, complaint) == (0, "")
    assert max(map(len, text.splitlines())) <= 80
    assert "softmax" in text
    assert "uses [" in text
    assert list(Path().iterdir()) == []


def test_text_and_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = drawn("softmax --text --out g.dot", capsys)
    assert code == 0
    assert text.splitlines()[0].startswith("[0] x  (3 × 5")
    assert text.splitlines()[-1] == "g.dot"
    assert Path("g.dot").exists()


def test_constants_are_drawn_without_gradients_too(capsys: pytest.CaptureFixture[str]) -> None:
    text = drawn("attention --text", capsys)[1]
    assert "constant b = 0.5" in text
    assert "] mask  (11 × 11 · float32; constant)" in text
    loss = drawn("gpt --text", capsys)[1]
    assert "] indices  (1 × 10 · int64; constant)" in loss
    assert "] index  (1 × 10 × 1 · int64; constant)" in loss  # the words to be predicted


# ── less of the graph ────────────────────────────────────────────────────────────────────────────
def test_blocks_are_rolled_up(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, complaint = drawn("gpt --backward --roll --no-plumbing --depth 1 --text", capsys)
    assert (code, complaint) == (0, "")
    assert "] blocks.0–1 ×2  (" in text
    assert "reshape" not in text.replace("reshaped", "")
    assert "transpose" not in text


def test_only_the_paths_to_a_parameter(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = drawn("multihead --backward --to out_proj.weight --text", capsys)
    assert code == 0
    assert "[0] out_proj.weight" in text
    assert "softmax" not in text
    assert "in_proj" not in text


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("gpt --depth 9 --text", "--depth 9 folds nothing: no module lies that deep"),
        ("attention --roll --text", "--roll changes nothing: attention has no equal modules"),
        ("softmax --no-plumbing --text", "--no-plumbing hides nothing"),
    ],
)
def test_an_option_without_effect_is_told(
    line: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text, complaint = drawn(line, capsys)
    assert code == 0
    assert text == drawn(f"{line.split()[0]} --text", capsys)[1]
    assert told in complaint
    assert len(complaint.splitlines()) == 1


def test_a_large_graph_is_folded_and_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinygrad_attn.viz.graph.MAX_NODES", 100)
    code, shown, complaint = drawn("gpt --out g.svg", capsys)
    assert (code, shown) == (0, "g.svg\n")
    assert "folded to depth=2" in complaint
    assert len(complaint.splitlines()) == 1
    monkeypatch.setattr("tinygrad_attn.viz.graph.MAX_NODES", 10)
    code, shown, complaint = drawn("gpt --out h.svg", capsys)
    assert (code, shown) == (2, "")
    assert "--roll, --no-plumbing or --to NAME" in complaint
    assert len(complaint.splitlines()) == 1
    assert not Path("h.svg").exists()


# ── mistakes ─────────────────────────────────────────────────────────────────────────────────────
MISTAKES = {
    "softmax --depth 2": "--depth: softmax has no modules that could be folded; leave it out",
    "gpt --depth two": "expected an integer from 0 to 100, got 'two'",
    "gpt --to wte.weigth": "nothing in the graph is called 'wte.weigth'; the nearest names are "
    "'wte.weight'",
    "attention --to x": "the nearest names are",
    "gpt --to": "argument --to: expected one argument",
    "gpt --roll 2": "unrecognized arguments: 2",
    "gpt --plumbing": "unrecognized arguments: --plumbing",
    "gpt --text --out tree.txt": "--out: expected a name that ends in",
    "softmax --backward --out no/graph.svg": "no/graph.svg",
    "gpt --backwards": "unrecognized arguments: --backwards",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["draw", *line.split()])
    except SystemExit as exit:  # argparse's own way
        code = int(exit.code or 0)
    shown = capsys.readouterr()
    assert (code, shown.out) == (2, "")
    assert MISTAKES[line] in shown.err
    assert shown.err.startswith("tinygrad-attn")
    assert len(shown.err.splitlines()) == 1
    assert list(Path().iterdir()) == []


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["draw", "--help"])
    page = capsys.readouterr().out
    for option in ("backward", "to NAME", "roll", "no-plumbing", "depth N", "formulas", "text"):
        assert f"--{option}" in page
