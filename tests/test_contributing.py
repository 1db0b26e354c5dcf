"""CONTRIBUTING's example, followed literally: two places are edited in a copy of the project, and
the new operation then passes the same tests, checks and drawings as every other.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
STEPS = PAGE.partition("## Add an operation in five steps")[2].partition("\n## ")[0]
OPERATION, ROW, LOOK = re.findall(r"^```python\n(.*?)^```$", STEPS, re.S | re.M)
SHOWN = STEPS.partition("```text\n")[2].partition("```")[0]
NAME = re.findall(r"^def (\w+)", OPERATION, re.M)[0]
OPS, TABLE = "tinygrad_attn/ops/activations.py", "tests/optable.py"
FILES = (
    "conftest.py", "derivatives.py", "numeric.py", "oprow.py", "optable.py", "optable_shapes.py",
    "test_ops_table.py",
)  # fmt: skip


def python(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the copy, which hides the installed package."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONUTF8": "1"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with steps 1 to 3 done: the operation, its rule and its name; no row yet."""
    folder = tmp_path_factory.mktemp("copy")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "tinygrad_attn", folder / "tinygrad_attn", ignore=ignore)
    (folder / "tests").mkdir()
    for name in FILES:
        if (ROOT / "tests" / name).exists():
            shutil.copy(ROOT / "tests" / name, folder / "tests" / name)
    for name in ("setup.cfg", "pytest_tinygrad_attn.py"):
        shutil.copy(ROOT / name, folder)
    path = folder / OPS
    text = path.read_text(encoding="utf-8")
    assert "__all__ = [" in text
    listed = text.replace("__all__ = [", f'__all__ = [\n    "{NAME}",', 1)
    path.write_text(f"{listed}\n\n{OPERATION}", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def finished(copy: Path) -> Path:
    """The project with step 4 done too."""
    without = python(copy, "-m", "pytest", "-q", "tests/test_ops_table.py", "-k", NAME)
    assert without.returncode == 1, "an operation without a row must fail the tests"
    assert f"add row('{NAME}'" in without.stdout
    with (copy / TABLE).open("a", encoding="utf-8") as table:
        table.write(f"\n{ROW}")
    return copy


def test_the_new_operation_passes_every_test_of_the_table(finished: Path) -> None:
    done = python(finished, "-m", "pytest", "-q", "tests/test_ops_table.py", "-k", NAME)
    assert done.returncode == 0, done.stdout
    passed = int(re.findall(r"(\d+) passed", done.stdout)[0])
    assert passed >= 30


def test_the_new_operation_is_checked_by_the_command_line(finished: Path) -> None:
    done = python(finished, "-m", "tinygrad_attn", "check", NAME)
    assert done.returncode == 0, done.stdout + done.stderr
    assert NAME in done.stdout
    assert "all right" in done.stdout


def test_the_new_operation_is_drawn_as_shown(finished: Path) -> None:
    done = python(finished, "-W", "error", "-c", LOOK)
    assert done.returncode == 0, done.stderr
    assert done.stdout == SHOWN


def test_a_wrong_rule_in_it_is_caught(finished: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    shutil.copytree(finished, wrong, ignore=shutil.ignore_patterns("__pycache__"))
    path = wrong / OPS
    text = path.read_text(encoding="utf-8")
    assert "(2 * out - x)" in text
    path.write_text(text.replace("(2 * out - x)", "(2 * out + x)"), encoding="utf-8")
    done = python(wrong, "-m", "pytest", "-q", "tests/test_ops_table.py", "-k", NAME)
    assert done.returncode == 1
    assert "test_gradient_is_the_numeric_one" in done.stdout


def test_it_is_about_fifteen_lines_in_two_places() -> None:
    lines = [line for line in (OPERATION + ROW).splitlines() if line.strip()]
    assert len(lines) + 1 <= 15  # and one name in __all__
    places = set(re.findall(r"`((?:tinygrad_attn|tests)/\w+[/\w]*\.py)`", STEPS))
    assert places == {OPS, TABLE}
