"""The command line: every command, its help, and one sentence for everything that is wrong."""

import json
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import checkpoint
from tinygrad_attn.check.suite import SAMPLES
from tinygrad_attn.cli import main
from tinygrad_attn.models import GPT, GPTConfig

EXTRAS = ["rich", "matplotlib", "safetensors", "sklearn", "threadpoolctl", "pygraphviz", "scipy"]
COMMANDS = [
    "demo",
    "train",
    "sample",
    "predict",
    "check",
    "zoo",
    "draw",
    "anatomy",
    "film",
    "saturation",
    "bench",
]
TINY = ["--layers", "1", "--heads", "2", "--width", "8", "--length", "12", "--batch", "3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files to work on: own.txt, what `train` makes of it in run/, and files that are wrong."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "own.txt").write_text("she sells sea shells\n" * 60)
    (folder / "empty.txt").touch()
    (folder / "latin1.txt").write_bytes(b"caf\xe9 " * 400)
    (folder / "short.txt").write_text("too short")
    assert (
        main(
            [
                "train",
                "--text",
                str(folder / "own.txt"),
                *TINY,
                "--steps",
                "30",
                "--out",
                str(folder / "run"),
            ]
        )
        == 0
    )
    model = GPT(GPTConfig(2, 3, 1, 1, 4))
    checkpoint.save(folder / "nameless", model=model)
    checkpoint.save(folder / "misfit", model=model, vocabulary=["a"])
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def subprocess_run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "tinygrad_attn", *arguments],
        text=True,
        capture_output=True,
        timeout=60,
        **options,
    )


# ── what works ───────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_one_page_with_examples(command, capsys):
    with pytest.raises(SystemExit) as exit:
        main([command, "--help"])
    shown = capsys.readouterr().out
    assert exit.value.code == 0
    assert f"tinygrad-attn {command}" in shown
    assert "examples:" in shown
    assert len(shown.splitlines()) <= 50
    assert max(map(len, shown.splitlines())) <= 105


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = re.findall(r"^    (\w+)(?: |$)", capsys.readouterr().out, flags=re.M)
    assert listed == COMMANDS


def test_version():
    done = subprocess_run("--version")
    assert (done.returncode, done.stdout) == (0, f"tinygrad_attn {ta.__version__}\n")


def test_train_writes_what_it_says(here, capsys):
    assert sorted(p.name for p in (here / "run").iterdir()) == [
        "best.safetensors",
        "learned.png",
        "log.jsonl",
        "loss.png",
        "model.safetensors",
    ]
    assert (
        main(
            [
                "train",
                "--text",
                "own.txt",
                *TINY,
                "--steps",
                "2",
                "--seed",
                "4",
                "--dropout",
                "0.5",
                "--lr",
                "0.01",
                "--out",
                "run2",
            ]
        )
        == 0
    )
    shown = capsys.readouterr()
    assert "own.txt, " in shown.out
    assert "a model that looks at one character only" in shown.out
    assert "tinygrad-attn sample run2/model.safetensors" in shown.out
    assert "step 2 of 2" in shown.err
    start = json.loads((here / "run2" / "log.jsonl").read_text().splitlines()[0])
    assert start["config"]["seed"] == 4
    assert start["config"]["lr"] == 0.01
    assert start["model"]["config"]["dropout"] == 0.5


def test_train_is_the_same_for_the_same_seed(here):
    for out in ("a", "b"):
        main(["train", "--text", "own.txt", *TINY, "--steps", "3", "--seed", "9", "--out", out])
    assert Path("a/model.safetensors").read_bytes() == Path("b/model.safetensors").read_bytes()


def test_sample_writes_what_the_model_generates(here, capsys):
    arguments = ["sample", "run/model.safetensors", "--prompt", "she ", "--tokens", "20"]
    texts = []
    for seed in ("1", "1", "2"):
        assert main([*arguments, "--seed", seed]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2]
    assert texts[0].startswith("she ")
    assert len(texts[0]) == 4 + 20 + 1
    saved = checkpoint.load("run/model.safetensors")
    vocabulary = ta.data.Vocabulary(saved.state["vocabulary"])
    tokens = vocabulary.encode("she ")[None]
    expected = saved.model.generate(tokens, 20, temperature=0.8, rng=np.random.default_rng(1))
    assert texts[0] == vocabulary.decode(expected[0]) + "\n"


def test_sample_options(here, capsys):
    texts = []
    for options in ("--temperature 0", "--top-k 1", "--top-p 1e-9", "--top-p 1"):
        arguments = ["--temperature", "2", *options.split()]
        assert main(["sample", "run/model.safetensors", "--tokens", "15", *arguments]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] == texts[2] != texts[3]


def test_check_prints_the_measured_errors(capsys):
    assert main(["check", "softmax", "--order", "1"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^ *softmax +1 +complex step +\d\.\de-\d\d +1e-12 +right", shown, flags=re.M)
    assert "2 operations and layers, 2 checks" in shown
    assert "all right" in shown


def test_check_says_what_the_check_itself_allows(capsys):
    assert main(["check", "relu"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if " relu " in line]
    assert [(line[0], line[-2]) for line in lines] == [("relu", "1e-12")] * 2
    assert main(["check", "floor_divide"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "floor_" in line]
    by_method = {line[-4].split()[-1]: line[-2] for line in lines}
    assert by_method == {"step": "1e-12", "Richardson": "1e-10"}


def test_check_lists_the_names(capsys):
    assert main(["check", "--list"]) == 0
    names = capsys.readouterr().out.splitlines()
    assert names == list(SAMPLES)
    assert main(["check", "softmax", "--list"]) == 0
    assert capsys.readouterr().out.splitlines() == ["softmax", "log_softmax"]


def test_check_finds_a_planted_mistake(capsys):
    with ta.tanh.replaced_vjp(0, lambda g, out: g * (1 + out * out)):
        assert main(["check", "tanh"]) == 1
    shown = capsys.readouterr().out
    assert re.search(r"^ *tanh .* wrong", shown, flags=re.M)
    assert re.search(r"; \d+ not right$", shown, flags=re.M)


def test_check_without_rich_is_plain(capsys, monkeypatch):
    for module in ("rich.console", "rich.progress", "rich.table"):
        monkeypatch.setitem(sys.modules, module, None)
    assert main(["check", "tanh"]) == 0
    assert re.search(r"^tanh +1 +complex step", capsys.readouterr().out, flags=re.M)


@pytest.mark.parametrize("what", ["softmax", "attention", "multihead", "block", "gpt"])
def test_draw_everything(what, tmp_path, capsys):
    out = tmp_path / "graph.dot"
    assert main(["draw", what, "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    dot = out.read_text()
    assert dot.startswith("digraph")
    assert "softmax" in dot
    assert "‖grad‖" in dot


@pytest.mark.parametrize(
    ("name", "start"),
    [("a.svg", b"<svg"), ("a.png", b"\x89PNG"), ("a.pdf", b"%PDF"), ("a.html", b"<!DOCTYPE html>")],
)
def test_draw_every_form(tmp_path, name, start):
    assert main(["draw", "attention", "--formulas", "--out", str(tmp_path / name)]) == 0
    assert start in (tmp_path / name).read_bytes()[:500]


def test_draw_a_trained_layer(here, tmp_path):
    out = tmp_path / "graph.dot"
    trained = ["--checkpoint", "run/model.safetensors"]
    assert main(["draw", "multihead", *trained, "--out", str(out)]) == 0
    assert "24 × 8" in out.read_text()
    whole, folded = tmp_path / "whole.dot", tmp_path / "folded.dot"
    assert main(["draw", "gpt", *trained, "--out", str(whole)]) == 0
    assert main(["draw", "gpt", *trained, "--depth", "1", "--out", str(folded)]) == 0
    assert len(folded.read_text()) < len(whole.read_text())


def test_draw_without_a_layout_engine(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tinygrad_attn.viz.render.engines", dict)
    assert main(["draw", "softmax", "--out", str(tmp_path / "a.svg")]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{tmp_path / 'a.dot'}\n"
    assert len(shown.err.splitlines()) == 1
    assert "pip install pygraphviz" in shown.err


# ── what is wrong ────────────────────────────────────────────────────────────────────────────────
MISTAKES = {
    "": "the following arguments are required: COMMAND",
    "aviary": "invalid choice: 'aviary'",
    "train --text no.txt": "no.txt: expected a text file",
    "train --text empty.txt": "the file is empty",
    "train --text latin1.txt": "expected UTF-8 text, but byte 3",
    "train --text short.txt": "expected at least 1,000 characters, got 9",
    "train --text .": "Is a directory",
    "train --text own.txt --length 500": "one window of 500 tokens",
    "train --steps 0": "expected an integer from 1 to 1,000,000,000, got '0'",
    "train --steps many": "got 'many'",
    "train --steps 1e3": "got '1e3'",
    "train --heads 3": "--heads must divide --width, got 3 and 128",
    "train --lr -1": "expected a number above 0 to 100, got '-1'",
    "train --lr nan": "got 'nan'",
    "train --dropout 1": "expected a number from 0 to 0.99, got '1'",
    "train --seed -1": "got '-1'",
    "train --out own.txt": "expected a folder, but own.txt is a file",
    "train --out own.txt/inside --steps 1": "own.txt is a file; choose another name",
    "train --out /proc/x": "/proc/x: expected a folder to write to",
    "train --wings 2": "unrecognized arguments: --wings",
    "train gpt --step 2": "unrecognized arguments: --step 2",
    "train rnn": "expected one of gpt, seq2seq, transformer, vit",
    "sample": "required: CHECKPOINT",
    "sample no.safetensors": "cannot be read (No such file or directory)",
    "sample no": "let `tinygrad-attn train gpt` write one: tinygrad-attn-gpt/model.safetensors",
    "draw gpt --checkpoint no": "let `tinygrad-attn train gpt` write one",
    "sample own.txt": "expected a checkpoint",
    "sample .": "Is a directory",
    "sample nameless": "expected vocabulary beside the model, got NoneType",
    "sample misfit": "expected 2 different symbols in the vocabulary, got 1",
    "sample run/model.safetensors --prompt É": "got 'É'; leave it out",
    "sample run/model.safetensors --tokens -1": "got '-1'",
    "sample run/model.safetensors --temperature -1": "expected a number from 0 to 100",
    "sample run/model.safetensors --top-k 0": "got '0'",
    "sample run/model.safetensors --top-p 0": "expected a number above 0 to 1, got '0'",
    "check zzz": "tinygrad-attn: no operation or layer is called 'zzz'; all names: tinygrad-attn "
    "check --list",
    "check sofmax": "'sofmax'; did you mean softmax",
    "check tanh --order 4": "expected an integer from 1 to 3, got '4'",
    "draw": "required: WHAT",
    "draw everything": "invalid choice: 'everything'",
    "draw softmax --out graph.gif": "got 'graph.gif'",
    "draw softmax --out graph": "got 'graph'",
    "draw softmax --out no/graph.svg": "no/graph.svg",
    "draw softmax --depth -1": "got '-1'",
    "draw softmax --checkpoint run/model.safetensors": "expected multihead, block or gpt",
    "draw gpt --checkpoint own.txt": "expected a checkpoint",
    "draw attention --layer 1": "--layer: expected multihead or block, got attention",
    "draw block --layer 2": "this model has the layers 0 to 1, got 2",
    "demo --steps 0": "got '0'",
    "demo --out own.txt": "expected a folder, but own.txt is a file",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(line, here, capsys):
    try:
        code = main(line.split())
    except SystemExit as exit:  # argparse's own way
        code = exit.code
    shown = capsys.readouterr()
    assert code == 2
    assert shown.err.startswith("tinygrad-attn")
    assert MISTAKES[line] in shown.err
    assert len(shown.err.splitlines()) == 1
    assert "Traceback" not in shown.err


@pytest.mark.parametrize("line", ["train --text latin1.txt", "sample own.txt", "draw zoo", ""])
def test_a_mistake_from_outside(line, folder):
    done = subprocess_run(*line.split(), cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "module"),
    [
        ("train --text own.txt --out fresh", "matplotlib"),
        ("demo --out fresh", "rich"),
        ("sample run/model.safetensors", "safetensors"),
    ],
)
def test_a_missing_extra_is_named_before_the_work(line, module, here, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, module, None)
    assert main(line.split()) == 2
    message = capsys.readouterr().err
    assert 'pip install "tinygrad_attn[demo]"' in message
    assert len(message.splitlines()) == 1
    assert not Path("fresh").exists()


@pytest.mark.parametrize("command", ["train", "demo"])
def test_a_folder_that_cannot_be_made_is_told_before_the_work(command, here, monkeypatch, capsys):
    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tinygrad_attn.cli.options.TemporaryDirectory", full)
    monkeypatch.setattr("tinygrad_attn.cli.train.prepared", None)
    monkeypatch.setattr("tinygrad_attn.cli.demo.text", None)
    assert main([command, "--out", "new/inside"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "new/inside: expected a folder to write to, but nothing can be written" in shown.err
    assert "(No space left on device); choose another" in shown.err


def test_sizes_beyond_memory(here, monkeypatch, capsys):
    def full(*_, **__):
        raise MemoryError("Unable to allocate 7 TiB")

    monkeypatch.setattr("tinygrad_attn.train.presets.GPT", full)
    assert main(["train", "--text", "own.txt", "--length", "9"]) == 2
    assert "there is not enough memory (Unable to allocate 7 TiB)" in capsys.readouterr().err


def test_the_keyboard_stops_it(here, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tinygrad_attn.cli.train.prepared", interrupted)
    assert main(["train"]) == 130
    assert capsys.readouterr().err.strip() == "tinygrad-attn: stopped; what is written so far stays"


def test_a_broken_pipe_is_quiet(folder):
    command = [
        sys.executable,
        "-m",
        "tinygrad_attn",
        "sample",
        "run/model.safetensors",
        "--tokens",
        "100000",
    ]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, **pipes) as run:
        assert run.stdout.read(5)
        run.stdout.close()
        assert run.wait(timeout=60) == 141
        assert run.stderr.read() == b""


def test_the_keyboard_stops_a_running_program(folder):
    command = [
        sys.executable,
        "-m",
        "tinygrad_attn",
        "train",
        "--text",
        "own.txt",
        *TINY,
        "--steps",
        "1000000",
        "--out",
        "stopped",
    ]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # A shell makes what runs in its background deaf to the keyboard; this program shall hear it.
    listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, cwd=folder, text=True, preexec_fn=listening, **pipes) as run:
        assert "step" in run.stderr.readline()
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=60) == 130
        told = run.stderr.read()
    assert told.splitlines()[-1].endswith("; go on with: tinygrad-attn train --resume stopped")
    assert "Traceback" not in told
    assert ta.train.read_log(folder / "stopped" / "log.jsonl")[0]["kind"] == "start"


def test_what_needs_no_extra_works_without_any(tmp_path):
    program = f"""
import sys
for name in {EXTRAS}:
    sys.modules[name] = None
from tinygrad_attn.cli import main
assert main(["draw", "attention", "--out", "a.dot"]) == 0
assert main(["check", "tanh", "--order", "1"]) == 0
assert main(["sample", "a.dot"]) == 2
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, text=True, timeout=60, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert "all right" in done.stdout
    assert "a checkpoint needs safetensors, which is not installed" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_console_without_unicode(folder):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess_run("check", "tanh", "--order", "1", cwd=folder, env=environment)
    assert done.returncode == 0
    assert "all right" in done.stdout
