"""Every example runs, prints what examples/README.md shows, and makes its pictures."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "examples"
SCRIPTS = sorted(FOLDER.glob("[0-9]*.py"))
TINY_GPT = next(script for script in SCRIPTS if script.stem == "06_tiny_gpt")
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")


def documented(script: Path) -> str:
    """The output that the README shows for a script."""
    section = PAGE.partition(f"## {script.stem}\n")[2]
    return section.partition("```text\n")[2].partition("```")[0]


def printed(script: Path, folder: Path, *options: str) -> str:
    """What the script prints when it runs in `folder`, warnings being errors."""
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent), "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", script, *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def pictures(output: str) -> list[str]:
    """The files that the last line of an output names."""
    return output.splitlines()[-1].partition(":")[2].split()


@pytest.mark.parametrize(
    "script", [script for script in SCRIPTS if script != TINY_GPT], ids=lambda script: script.stem
)
def test_example_prints_what_the_readme_shows(script: Path, tmp_path: Path) -> None:
    output = printed(script, tmp_path)
    assert output == documented(script)
    for picture in pictures(output):
        assert (tmp_path / picture).stat().st_size > 1000


def same_text(output: str, shown: str) -> bool:
    """Does this Python carry the same text as the one that printed what is shown?"""
    return output.partition("\n")[0] == shown.partition("\n")[0]


def test_tiny_gpt_prints_the_first_lines_of_the_readme(tmp_path: Path) -> None:
    output, shown = printed(TINY_GPT, tmp_path, "--steps", "100"), documented(TINY_GPT)
    lines = output.splitlines()
    assert (tmp_path / pictures(output)[0]).stat().st_size > 1000
    assert [line.partition(":")[0] for line in lines[1:3]] == ["step   0", "step 100"]
    if same_text(output, shown):
        assert set(lines) <= set(shown.splitlines())
    assert float(lines[2].split()[-1]) < 2.7 < 4.4 < float(lines[1].split()[-1])


@pytest.mark.slow
def test_tiny_gpt_beats_the_bigram_model(tmp_path: Path) -> None:
    output, shown = printed(TINY_GPT, tmp_path), documented(TINY_GPT)
    assert output == shown or not same_text(output, shown)
    *_, last, bigram, _ = output.splitlines()
    assert float(last.split()[-1]) < float(bigram.split()[-1])


def test_the_index_names_every_example_once() -> None:
    assert re.findall(r"^\| \[(.+?)\]\((.+?)\)", PAGE, re.M) == [(s.name, s.name) for s in SCRIPTS]
    assert re.findall(r"^## (.+)$", PAGE, re.M) == [s.stem for s in SCRIPTS]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_example_is_short(script: Path) -> None:
    code = [line for line in script.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(code) <= 50
