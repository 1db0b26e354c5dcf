"""`tinygrad-attn check MODULE:FUNCTION`: somebody's own function, right, wrong or missing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn.cli import main, own
from tinygrad_attn.cli.own import Input, inputs

MINE = '''
import numpy as np
import tinygrad_attn as ta
from tinygrad_attn import nn
import neighbour

LIMIT = 3

def score(q, k):
    return ta.softmax(q @ k.T / np.sqrt(3))

def forgotten(x):
    return x * x.detach()

def kinked(x):
    return ta.relu(x - np.random.default_rng(0).standard_normal(x.shape))  # drawn so too

def random(x):
    return x * np.random.default_rng().random(x.shape)

def looked_up(tokens, table, mask):
    return ta.where(mask[..., None], table[tokens], 0.0)

def squared(x):
    return ta.sqrt(x) * ta.log(x)

def array(x):
    return x.data

def nothing(x):
    return None

def unfit(x, y):
    """Shapes that do not fit."""
    z = x + 1
    return z @ y

def undefined(x):
    return x * missing

def quitting(x):
    raise SystemExit

def keyword(x, *, scale):
    return x * scale

def optional(x, *, scale=2.0):
    return x * scale

class Layer(nn.Module):
    def __init__(self, width=2):
        self.linear = nn.Linear(3, width)

    def forward(self, x):
        return self.linear(x)

class Sized(Layer):
    def __init__(self, width):
        super().__init__(width)

layer = Layer()
'''
FILES = {
    "mine.py": MINE,
    "neighbour.py": "",
    "half.py": "x = 1\ndef f(x:\n    pass\n",
    "needs.py": "x = 1\nimport not_there_at_all\n",
    "leaves.py": "raise SystemExit(4)\n",
    "fails.py": "def g():\n    return 1 / 0\ng()\n",
    "notes.txt": "",
    "deep/inner.py": "import beside\ndef f(x):\n    return x * beside.TWO\n",
    "deep/beside.py": "TWO = 2.0\n",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with somebody's modules; afterwards they are as if never imported."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name in {n for n in sys.modules if n.partition(".")[0].removeprefix("checked_") in STEMS}:
        del sys.modules[name]


STEMS = {Path(name).stem for name in FILES if name.endswith(".py")}


# ── what works ───────────────────────────────────────────────────────────────────────────────────
RIGHT = {
    "mine:score --input 2x3,5x3": "mine:score is right: first order, largest error",
    "mine:score --input 2x3,5x3 --order 2": "mine:score is right: first and second order, largest",
    "mine:score --input 2x3,5x3 --method richardson --tolerance 1e-8": "(Richardson)",
    "mine.py:score --input 2x3,5x3": "mine.py:score is right",
    "./mine.py:score --input 2x3,5x3": "mine.py:score is right",
    "deep/inner.py:f --input scalar": "deep/inner.py:f is right",
    "mine:looked_up --input 2x5:int7,7x3,2x5:bool": "mine:looked_up is right",
    "mine:squared --input 3:positive": "mine:squared is right",
    "mine:layer --input 5x3": "∂ linear.",
    "mine:Layer() --input 5x3": "∂ linear.",
    "mine:layer.forward --input 5x3": "mine:layer.forward is right",
    "tinygrad_attn.nn.functional:attention --input 2x3x4,2x5x4,2x5x7": "attention is right",
}


@pytest.mark.parametrize("line", RIGHT)
def test_a_right_function(line: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *line.split()]) == 0
    shown = capsys.readouterr()
    assert "gradcheck: right (first order)" in shown.out
    assert RIGHT[line] in shown.out
    assert shown.err == ""
    assert ("second order" in shown.out) == ("--order 2" in line)


def test_a_wrong_function(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "mine:forgotten", "--input", "3x2"]) == 1
    shown = capsys.readouterr().out
    assert "gradcheck: wrong (first order)" in shown
    assert "detached" in shown
    assert shown.splitlines()[-1] == "mine:forgotten has a wrong gradient"


def test_a_wrong_rule_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ta.softmax.replaced_vjp("x", lambda g, out: g * out * (1 - out)):
        assert main(["check", "mine:score", "--input", "2x3,5x3", "--order", "3"]) == 1
    shown = capsys.readouterr().out
    assert "first wrong operation: softmax" in shown
    assert "second order" not in shown


@pytest.mark.parametrize(("name", "why"), [("kinked", "kink"), ("random", "f is random")])
def test_what_cannot_be_judged(
    name: str, why: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", f"mine:{name}", "--input", "3x2"]) == 3
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"mine:{name} could not be judged: ")
    assert why in last


def test_the_seed_chooses_the_numbers(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for seed in ("1", "1", "2"):
        main(["check", "mine:score", "--input", "2x3,5x3", "--seed", seed])
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] != shown[2]


def test_a_page_of_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "check mine:forgotten --input 3 --html"
    assert main([*line.split(), "report.html"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "report.html"
    page = Path("report.html").read_text(encoding="utf-8")
    assert "<html" in page
    assert "detached" in page


def test_the_place_of_a_page_is_looked_at_before_the_work(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "nowhere:f", "--input", "3", "--html", "no/report.html"]) == 2
    assert "--html: there is no folder no" in capsys.readouterr().err
    assert main(["check", "mine:forgotten", "--input", "3", "--html", "deep/report.html"]) == 1
    assert {path.name for path in (here / "deep").iterdir()} >= {"report.html", "inner.py"}


def test_a_folder_called_nearly_as_the_package_is_is_no_part_of_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "def f(x):\n    return x * missing\n"
    for folder in (own.PACKAGE, Path(np.__file__).parent, Path(os.__file__).parent):
        place = f"{folder}_mine/f.py"
        module = ModuleType("alike")
        exec(compile(source, place, "exec"), module.__dict__)
        sys.modules["alike"] = module
        try:
            assert main(["check", "alike:f", "--input", "3"]) == 2
        finally:
            del sys.modules["alike"]
        assert f"({place}, line 2)" in capsys.readouterr().err


def test_from_outside(here: Path) -> None:
    """As a program: the folder one is in is searched, as by `python -m`."""
    installed = Path(ta.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "tinygrad_attn", "check", "mine:undefined", "--input", "3"],
        cwd=here,
        env={"PYTHONPATH": str(installed), "PYTHONUTF8": "1"},
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 2
    line = MINE.splitlines().index("    return x * missing") + 1
    assert done.stderr == (
        "tinygrad-attn: mine:undefined: NameError: name 'missing' is not defined "
        f"(mine.py, line {line})\n"
    )


# ── what is wrong ────────────────────────────────────────────────────────────────────────────────
MISTAKES = {
    "nowhere:f --input 3": "there is no module nowhere in ",
    "deep.nowhere:f --input 3": "there is no module deep.nowhere in ",
    "nowhere.py:f --input 3": "nowhere.py: expected a Python file, but there is none",
    "deep:f --input 3": "deep has no f",
    "notes.txt:f --input 3": "there is no module notes",
    "deep/:f --input 3": "deep: expected a Python file",
    "mine:scores --input 3": "mine has no scores; did you mean score?",
    "mine:layer.liner --input 3": "mine has no liner; did you mean linear?",
    "mine: --input 3": "expected MODULE:FUNCTION or FILE.py:FUNCTION, got 'mine:'",
    ":score --input 3": "expected MODULE:FUNCTION or FILE.py:FUNCTION, got ':score'",
    "mine:sc-ore --input 3": "got 'mine:sc-ore'",
    "mine:LIMIT --input 3": "mine:LIMIT: expected a function or a layer, got int",
    "mine:Layer --input 3": "mine:Layer is a class; to check what it makes, write mine:Layer()",
    "mine:Sized() --input 3": "mine:Sized(): TypeError: ",
    "half:f --input 3": "importing half: SyntaxError: '(' was never closed (half.py, line 2)",
    "half.py:f --input 3": "importing half.py: SyntaxError: '(' was never closed (half.py, line 2)",
    "needs:f --input 3": "No module named 'not_there_at_all' (needs.py, line 2)",
    "leaves:f --input 3": "importing leaves: SystemExit: 4 (leaves.py, line 1)",
    "fails:f --input 3": "importing fails: ZeroDivisionError: division by zero (fails.py, line 2)",
    "mine:score": "mine:score takes (q, k), but --input has 0; give one for each",
    "mine:score --input 2x3": "mine:score takes (q, k), but --input has 1",
    "mine:score --input 2x3,5x3,2": "mine:score takes (q, k), but --input has 3",
    "mine:keyword --input 3,3": "mine:keyword takes (x, *, scale): scale is given by name alone; "
    "wrap it in a function that gives it",
    "mine:keyword --input 3": "mine:keyword takes (x, *, scale): scale is given by name alone",
    "mine:optional --input 3,3": "mine:optional takes (x, *, scale=2.0), but --input has 2",
    "mine:layer --input 3,3": "mine:layer takes (x), but --input has 2",
    "mine:array --input 3": "mine:array: gradcheck: f must return a Tensor",
    "mine:nothing --input 3": "got NoneType",
    "mine:unfit --input 3x2,3x2": "(mine.py, line 36)",
    "mine:quitting --input 3": "mine:quitting: SystemExit (mine.py, line ",
    "mine:squared --input 3:int7": "no input is floating",
    "mine:score --input 3y4,2": "expected a shape such as 3x4, 4 or scalar, with :positive",
    "mine:score --input 3x4,": "got ''",
    "mine:score --input 3x,4": "got '3x'",
    "mine:score --input -3,4": "argument --input: expected one argument",
    "mine:score --input 3:float,4": "got '3:float'",
    "mine:score --input 3:,4": "got '3:'",
    "mine:score --input 3:int0,4": "after int comes a number of 1 or more, below 2**63: int7 is 0 "
    "to 6; got '3:int0'",
    "mine:score --input 3:int99999999999999999999,4": "a number of 1 or more, below 2**63",
    "mine:score --input 3x0,4": "expected 1 to 100,000,000 elements, got '3x0'",
    "mine:score --input 100000x100000,4": "elements, got '100000x100000'",
    "mine:score --input 2x3,5x3 --order 4": "expected an integer from 1 to 3, got '4'",
    "mine:score --input 2x3,5x3 --tolerance 0": "expected a number above 0 to 1, got '0'",
    "mine:score --input 2x3,5x3 --method magic": "expected one of auto, complex, richardson",
    "mine:score --input 2x3,5x3 --seed -1": "got '-1'",
    "mine.py": "name the function: mine.py:FUNCTION",
    "mine.py --input 3": "name the function: mine.py:FUNCTION",
    "deep/inner --input 3": "name the function: deep/inner:FUNCTION",
    "mine:forgotten --input 3 --html no/report.html": "--html: there is no folder no; make it",
    "mine:forgotten --input 3 --html deep": "--html: deep is a folder; name a file",
    "mine:forgotten --input 3 --html /proc/a.html": "--html: nothing can be written to /proc",
    "mine:score --list": "--list is for the library's names",
    "softmax --input 3": "--input is for a function of yours: MODULE:FUNCTION",
    "softmax --method complex": "--method is for a function of yours",
    "softmax --tolerance 1e-9": "--tolerance is for a function of yours",
    "softmax --html a.html": "--html is for a function of yours",
    "softmax --seed 5": "--seed is for a function of yours",
    "softmax --seed 0": "--seed is for a function of yours",
    "softmax --list --order 2": "--order is for checks, and --list makes none",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(
    line: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["check", *line.split()])
    except SystemExit as exit:  # argparse's own way
        code = exit.code
    shown = capsys.readouterr()
    assert (code, shown.out) == (2, "")
    assert MISTAKES[line] in shown.err
    assert shown.err.startswith("tinygrad-attn")
    assert len(shown.err.splitlines()) == 1
    assert not list(here.glob("*.html"))


# ── inputs ───────────────────────────────────────────────────────────────────────────────────────
def test_inputs_are_read() -> None:
    assert inputs("3x4,4:positive, scalar,2x5:int7,1:bool") == [
        Input((3, 4)),
        Input((4,), "positive"),
        Input(()),
        Input((2, 5), "int", 7),
        Input((1,), "bool"),
    ]
    assert inputs("") == []


def test_inputs_are_what_they_say() -> None:
    rng = np.random.default_rng(3)
    drawn = [each.drawn(rng) for each in inputs("50x7,400:positive,scalar,300:int5,100:bool")]
    plain, positive, scalar, tokens, mask = map(np.asarray, drawn)
    assert (plain.shape, plain.dtype, plain.min() < 0 < plain.max()) == ((50, 7), np.float64, True)
    assert 0.5 <= positive.min() < positive.max() <= 1.5
    assert (scalar.shape, scalar.dtype) == ((), np.float64)
    assert set(tokens) == set(range(5))
    assert tokens.dtype.kind == "i"
    assert (mask.dtype, set(mask.tolist())) == (bool, {True, False})
