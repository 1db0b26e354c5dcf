"""The shape of the package: imports point down, files and functions stay small, heavy parts wait.

Everything here is read from the source, so that a new module is held to the rules without a word.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median

import pytest

import tinygrad_attn

NAME = "tinygrad_attn"
ROOT = Path(tinygrad_attn.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# What each part may import; a part is the longest prefix here that fits a module's name.
BARE = {"engine.errors", "engine.kernel", "engine.settings", "extras"}  # what knows no Tensor
BASE = {"engine", "calculus", "ops", "rng"} | BARE
LAYERS: dict[str, set[str]] = {
    "engine.errors": set(),
    "engine.kernel": set(),
    "engine.settings": {"engine.errors"},
    "engine": {"engine.errors", "engine.kernel", "engine.settings"},
    "calculus": {"engine", "engine.settings"},
    "rng": {"engine"},
    "anomaly": {"engine", "engine.settings"},
    "extras": {"engine"},
    "kernels": BARE,  # arrays alone
    "environment": BARE | {"kernels"},
    "files": {"engine", "extras"},
    "ops": {"engine", "engine.errors", "engine.settings"},
    "nn.functional": BASE | {"kernels"},
    "nn": BASE | {"kernels", "nn.functional"},
    "optim": BASE | {"kernels", "nn.functional", "nn"},
    "models": BASE | {"nn.functional", "nn", "optim"},
    "study": BASE | {"nn.functional", "nn"},
    "data": BASE,
    "checkpoint": BASE | {"nn", "optim", "models", "files", "environment"},
    "train": BASE
    | {"kernels", "nn.functional", "nn", "optim", "models", "study", "data", "checkpoint", "viz"}
    | {"environment", "files"},
    "check": BASE,
    "check.functions": BASE | {"check", "nn.functional"},
    "check.suite": BASE | {"check", "check.functions", "nn.functional", "nn", "models"},
    "check.zoo": BASE | {"check", "check.suite", "kernels", "nn.functional", "nn"},
    "viz": BASE | {"files"},
    "viz.anatomy": BASE | {"viz", "nn.functional", "nn", "study", "check"},
    "interop": BASE | {"nn", "models", "files"},
}
LAYERS["cli"] = set(LAYERS)  # the top: everything is below it
LAYERS["__main__"] = {"cli"}
LAYERS["__init__"] = set(LAYERS) - {"cli", "__main__"}  # the public face


def module_of(path: Path) -> str:
    """engine/tensor.py → engine.tensor; nn/__init__.py → nn; the package itself → __init__."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {module_of(path): path for path in FILES}


def part_of(module: str) -> str:
    """The longest prefix of a module's name that is a part in LAYERS."""
    pieces = module.split(".")
    prefixes = [".".join(pieces[:k]) for k in range(len(pieces), 0, -1)]
    found = [prefix for prefix in prefixes if prefix in LAYERS]
    assert found, f"{module} is in no layer: give it a line in LAYERS"
    return found[0]


def running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker sees."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from running(child)


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text("utf-8"))


def imported(module: str) -> Iterator[str]:
    """The package's modules that `module` imports, wherever in the file."""
    path = MODULES[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    package = [] if module == "__init__" else package
    for node in running(tree_of(module)):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        above = package[: len(package) - node.level + 1]
        base = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            inner = f"{base}.{alias.name}".lstrip(".")
            yield inner if inner in MODULES else base or "__init__"


def outside(module: str, *, top_level: bool) -> set[str]:
    """Names of packages from elsewhere that `module` imports."""
    tree = tree_of(module)
    nodes = tree.body if top_level else list(running(tree))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {
        node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level
    }
    return {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)


# ── imports ─────────────────────────────────────────────────────────────────────────────────────
def upward(module: str) -> list[str]:
    """The imports of a module that its layer does not allow."""
    part = part_of(module)
    below = {part} | LAYERS[part]
    return [
        f"{module} imports {target}" for target in imported(module) if part_of(target) not in below
    ]


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    assert not upward(module)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("engine.planted", "from ..ops import add"),
        ("engine.planted", "def f():\n    from ..nn.functional import attention"),
        ("ops.planted", "from .. import nn"),
        ("nn.functional.planted", "from ...nn import Linear"),
        ("check.planted", "from ..nn import Linear"),
        ("models.planted", "from .. import cli"),
    ],
)
def test_a_planted_import_is_seen(
    module: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "planted.py"
    path.write_text(line)
    monkeypatch.setitem(MODULES, module, path)
    assert upward(module)
    tree_of.cache_clear()


def test_layers_are_layers() -> None:
    """The table itself has no cycle."""
    order = list(TopologicalSorter(LAYERS).static_order())
    assert order.index("engine") < order.index("ops") < order.index("nn") < order.index("cli")


def test_no_module_imports_itself_by_a_detour() -> None:
    order = TopologicalSorter({module: set(imported(module)) - {module} for module in MODULES})
    order.prepare()  # raises CycleError and names the cycle


def test_nothing_imports_the_command_line() -> None:
    users = {
        module for module in MODULES for target in imported(module) if part_of(target) == "cli"
    }
    assert {part_of(user) for user in users} <= {"cli", "__main__"}


@pytest.mark.parametrize("module", MODULES)
def test_no_module_imports_the_package_by_name(module: str) -> None:
    assert NAME not in outside(module, top_level=False)


@pytest.mark.parametrize("module", MODULES)
def test_heavy_packages_are_imported_where_they_are_used(module: str) -> None:
    compiled = module.startswith("kernels.with_numba")  # themselves imported late
    own = {"numba", "llvmlite"} if compiled else set()
    assert outside(module, top_level=True) <= {"numpy", "graphviz"} | own


@pytest.mark.parametrize(
    "module", [m for m in MODULES if part_of(m) in ("engine", "ops", "optim", "nn")]
)
def test_the_core_needs_numpy_alone(module: str) -> None:
    assert outside(module, top_level=False) <= {"numpy"}


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = [
        "matplotlib",
        "rich",
        "sklearn",
        "torch",
        "safetensors",
        "graphviz",
        "pygraphviz",
        "scipy",
        "numba",
        "pydoc_data",
        "asyncio",
        "http",
        f"{NAME}.cli",
    ]
    code = (
        f"import sys, {NAME}, {NAME}.nn, {NAME}.optim, {NAME}.models\n"
        f"print(*[name for name in {heavy!r} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_a_wrong_import_is_seen() -> None:
    """The reader of imports, read."""
    assert "engine.tensor" in set(imported("engine.backward"))
    assert "engine" in set(imported("ops.arithmetic"))
    assert "ops" in set(imported("__init__"))
    assert set(imported("__main__")) == {"cli"}
    assert part_of("engine.tensor") == "engine"
    assert part_of("nn.functional.attention") == "nn.functional"
    assert "engine" not in LAYERS["engine"]
    assert "nn" not in LAYERS["ops"]


# ── size ────────────────────────────────────────────────────────────────────────────────────────
def functions(path: Path) -> Iterator[tuple[str, int]]:
    """(name, lines of its body without the docstring) of every function in a file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 1
            yield f"{path.name}:{node.name}", lines


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_longer_than_one_can_hold_in_the_head(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 400


def test_functions_of_the_engine_are_short() -> None:
    lengths = dict(pair for path in (ROOT / "engine").glob("*.py") for pair in functions(path))
    assert median(lengths.values()) <= 5
    assert max(lengths.values()) <= 45, max(lengths, key=lengths.__getitem__)


def code_lines(path: Path) -> int:
    """Lines that are neither blank nor comment nor docstring."""
    text = path.read_text("utf-8")
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, documented)]
    first = [node.body[0] for node in nodes if ast.get_docstring(node) is not None]
    words = {line for node in first for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    lines = enumerate(text.splitlines(), 1)
    return sum(
        1 for n, line in lines if n not in words and line.strip(" #") and line.strip()[0] != "#"
    )


def test_the_engine_can_be_read_in_one_sitting() -> None:
    assert sum(code_lines(path) for path in (ROOT / "engine").glob("*.py")) <= 1400


# ── habits ──────────────────────────────────────────────────────────────────────────────────────
FORBIDDEN = {
    "a shell": r"os\.system|shell\s*=\s*True",
    "a blanket ignore": r"#\s*type:\s*ignore(?!\[)|#\s*noqa(?!:)",
    "unfinished work": r"\b(TODO|FIXME|XXX|HACK)\b",
    "a global statement": r"^\s*global\s",
    "a bare except": r"except\s*:",
}


def lines_with(pattern: str) -> list[str]:
    """module:line of every line in the package that matches."""
    return [
        f"{module}:{number}: {line.strip()}"
        for module, path in MODULES.items()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if re.search(pattern, line)
    ]


@pytest.mark.parametrize("habit", FORBIDDEN)
def test_what_the_package_does_without(habit: str) -> None:
    assert not lines_with(FORBIDDEN[habit])


PLANTED = {
    "a shell": ["os.system(command)", "run(command, shell=True)"],
    "a blanket ignore": ["x = 1  # type: ignore", "import os  # noqa"],
    "unfinished work": ["# TODO: later", "return 0  # FIXME"],
    "a global statement": ["    global count"],
    "a bare except": ["except:", "    except :"],
}
INNOCENT = [
    "x = f()  # type: ignore[assignment]", "import os  # noqa: F401", "except ValueError:",
    "a global one",
]  # fmt: skip


@pytest.mark.parametrize("habit", FORBIDDEN)
def test_planted_habits_are_seen(habit: str) -> None:
    assert all(re.search(FORBIDDEN[habit], line) for line in PLANTED[habit])
    assert not [line for line in INNOCENT if re.search(FORBIDDEN[habit], line)]


def test_one_context_variable_holds_the_settings() -> None:
    (line,) = lines_with(r"= ContextVar\(")
    assert line.startswith("engine.settings:")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


def test_the_package_is_typed() -> None:
    assert (ROOT / "py.typed").exists()


def test_public_names_exist() -> None:
    missing = [name for name in tinygrad_attn.__all__ if not hasattr(tinygrad_attn, name)]
    assert not missing
    assert len(set(tinygrad_attn.__all__)) == len(tinygrad_attn.__all__)
