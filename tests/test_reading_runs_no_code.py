"""No file that the package reads can run code: the syntax trees of the whole package say so."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tinygrad_attn

ROOT = Path(tinygrad_attn.__file__).parent
UNSAFE = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve",
          "code", "codeop", "yaml"}  # fmt: skip
RUNNING = {"eval", "exec", "compile", "__import__"}
IMPORTING = {"import_module", "need"}


def dangers(tree: ast.AST) -> Iterator[str]:
    """What in a module could run code that stands in a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.partition(".")[0] in UNSAFE)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or "", *(alias.name for alias in node.names)]
            yield from (name for name in names if name.partition(".")[0] in UNSAFE | RUNNING)
        elif isinstance(node, ast.Name) and node.id in RUNNING:
            yield node.id
        elif isinstance(node, ast.Attribute) and "builtins" in ast.unparse(node.value):
            yield from {node.attr} & RUNNING
        elif isinstance(node, ast.Call):
            yield from dangers_of_call(node)


def dangers_of_call(node: ast.Call) -> Iterator[str]:
    """A module imported by its name, or an array that may be a pickle."""
    function = ast.unparse(node.func).rpartition(".")[2]
    first = node.args[0] if node.args else None
    if function in IMPORTING and isinstance(first, ast.Constant):
        yield from {str(first.value).partition(".")[0]} & UNSAFE
    for option in node.keywords:
        refused = isinstance(option.value, ast.Constant) and option.value.value is False
        if option.arg == "allow_pickle" and not refused:
            yield "allow_pickle"
    if ast.unparse(node.func) in ("np.load", "numpy.load") and len(node.args) > 2:
        yield "allow_pickle"


def test_nothing_in_the_package_does() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {danger}"
        for path in sorted(ROOT.rglob("*.py"))
        for danger in dangers(ast.parse(path.read_text("utf-8")))
    }
    assert found == set()


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "import os, pickle as p", "from pickle import loads", "import _pickle",
        "from marshal import loads", "import dill.source", "import_module('pickle')",
        "importlib.import_module('shelve')", "need('joblib', 'a file')", "eval(text)",
        "run = exec", "list(map(eval, texts))", "__import__('os')", "compile(text, '', 'exec')",
        "builtins.eval(text)", "from builtins import eval", "__builtins__.exec(text)",
        "np.load(path, allow_pickle=True)", "np.load(path, allow_pickle=1)",
        "np.load(path, allow_pickle=trusted)", "np.load(path, None, True)",
    ],
)  # fmt: skip
def test_a_planted_danger_is_seen(line: str) -> None:
    assert list(dangers(ast.parse(line)))


@pytest.mark.parametrize(
    "line",
    [
        "model.eval()", "re.compile(text)", "'pickle'", "np.load(path, allow_pickle=False)",
        "np.load(path)", "import_module('fcntl')", "from .code import x", "def eval(self): pass",
    ],
)  # fmt: skip
def test_what_is_harmless_is_not(line: str) -> None:
    assert not list(dangers(ast.parse(line)))
