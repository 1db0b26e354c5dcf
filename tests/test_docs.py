"""README and docs are true: their code runs and prints what they show, their commands, links,
pictures and line counts are right, and the two languages have the same code.

A ```python block runs after the earlier ones of its file.  What it prints stands below it in a
```text block; a block without one prints nothing.
"""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pytest

import tinygrad_attn as ta

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
RUNNING = [page for page in PAGES if page.parent != ROOT or page.name == "README.md"]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


class Block(NamedTuple):
    """A fenced block of a page: its language, its text, and the line it starts on."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"^```", text, re.M)) % 2 == 0, f"{page}: a fence is not closed"
    return [
        Block(match[1], match[2], text.count("\n", 0, match.start(2)) + 1)
        for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M)
    ]


def examples(page: Path) -> list[tuple[Block, str]]:
    """Each python block with the output shown below it, "" where none is."""
    found = blocks(page)
    pairs = zip(found, [*found, None][1:], strict=True)
    return [
        (block, after.text if after and after.language == "text" else "")
        for block, after in pairs
        if block.language == "python"
    ]


def run_page(page: Path, folder: Path) -> Iterator[tuple[Block, str, str]]:
    """Run the code of a page; for each block what it printed and what the page shows.

    The code stands in a file at the lines it has in the page, so that errors point there and the
    engine finds the formulas beside the rules.
    """
    lines = [""] * (page.read_text(encoding="utf-8").count("\n") + 1)
    for block, _ in examples(page):
        code = block.text.splitlines()
        lines[block.line - 1 : block.line - 1 + len(code)] = code
    source = folder / f"{page.stem.replace('.', '_')}_code.py"
    source.write_text("\n".join(lines), encoding="utf-8")
    linecache.checkcache(str(source))
    names: dict[str, Any] = {"__name__": "page"}
    for block, shown in examples(page):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * (block.line - 1) + block.text, str(source), "exec"), names)
        yield block, printed.getvalue(), shown


@pytest.fixture
def _operations_as_found() -> Iterator[None]:
    """Operations that a page defines are gone afterwards."""
    before = dict(ta.PRIMITIVES)
    yield
    ta.PRIMITIVES.clear()
    ta.PRIMITIVES.update(before)


@pytest.mark.usefixtures("_operations_as_found")
@pytest.mark.parametrize("page", [page for page in RUNNING if examples(page)], ids=lambda p: p.name)
def test_code_runs_and_prints_what_is_shown(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for block, printed, shown in run_page(page, tmp_path):
        assert printed == shown, f"{page.name}, the block at line {block.line}, prints\n{printed}"
    for drawn in tmp_path.glob("*.svg"):
        assert labels(drawn) == labels(ROOT / "docs" / "pictures" / drawn.name)


def labels(picture: Path) -> list[str]:
    """The texts of an SVG; where they stand is the layout engine's business."""
    root = ElementTree.parse(picture).getroot()
    texts = (
        "".join(element.itertext()) for element in root.iter() if element.tag.endswith("}text")
    )
    return sorted(texts)


def test_a_page_with_wrong_output_is_caught(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 1\n```\nand\n```python\nprint(x + 1)\n```\n```text\n3\n```\n")
    outcomes = [(printed, shown) for _, printed, shown in run_page(page, tmp_path)]
    assert outcomes == [("", ""), ("2\n", "3\n")]


# ── two languages ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("korean", sorted(ROOT.glob("docs/*.ko.md")), ids=lambda page: page.name)
def test_translation_has_the_same_code_and_output(korean: Path) -> None:
    english = korean.with_name(korean.name.replace(".ko.md", ".md"))
    assert [block[:2] for block in blocks(korean) if block.language] == [
        block[:2] for block in blocks(english) if block.language
    ]


def test_the_derivation_is_there_in_two_languages() -> None:
    names = {page.name for page in PAGES}
    assert {"backprop-through-attention.md", "backprop-through-attention.ko.md"} <= names


# ── links and pictures ───────────────────────────────────────────────────────────────────────────
LINK = re.compile(r"\]\(([^)\s]+)\)")


def headings(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)


def broken(page: Path) -> list[str]:
    """Links of a page that lead nowhere in the repository."""
    missing = []
    for link in LINK.findall(prose(page)):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        known = target.suffix != ".md" or not anchor or anchor in headings(target)
        if not target.exists() or not known:
            missing.append(link)
    return missing


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_a_broken_link_is_caught(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A title\n[a](#a-title) [b](page.md#other) [c](none.md) ![d](no.svg)\n")
    assert broken(page) == ["page.md#other", "none.md", "no.svg"]


@pytest.mark.parametrize(
    "picture", sorted(ROOT.glob("docs/pictures/*.svg")), ids=lambda path: path.name
)
def test_picture_is_whole_and_shown_somewhere(picture: Path) -> None:
    ElementTree.parse(picture)
    assert any(picture.name in page.read_text(encoding="utf-8") for page in PAGES)


# ── commands ─────────────────────────────────────────────────────────────────────────────────────
def commands(page: Path) -> list[list[str]]:
    """The commands of a page's sh blocks, `&&` chains taken apart, comments left out."""
    lines = [
        line for block in blocks(page) if block.language == "sh" for line in block.text.splitlines()
    ]
    parts = [part for line in lines for part in line.split("&&")]
    return [words for words in (shlex.split(part, comments=True) for part in parts) if words]


COMMANDS = sorted({shlex.join(words) for page in PAGES for words in commands(page)})


COMMAND_LINE = "import sys; from tinygrad_attn.cli import main; sys.exit(main())"


def help_of(*command: str) -> str:
    """What `command --help` prints."""
    environment = {**os.environ, "COLUMNS": "100", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_command_exists_with_its_options(command: str) -> None:
    program, *words = shlex.split(command)
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    if program == "tinygrad-attn":
        text = help_of(sys.executable, "-c", COMMAND_LINE, *words[:1])
        assert [option for option in options if option not in text] == []
    elif program == "python":
        script = next(word for word in words if not word.startswith("-") and word != "venv")
        assert words[0] == "-m" or (ROOT / script).is_file()
        if (ROOT / script).is_file():
            text = help_of(sys.executable, script)
            assert [option for option in options if option not in text] == []
    else:
        assert program in ("pip", "pytest", "ruff", "mypy", "git", "cd", "source")


# ── numbers ──────────────────────────────────────────────────────────────────────────────────────
COUNT = re.compile(r"^\| \[`[^`]+`\]\(([^)]+)\)[^|]*\| (?:[^|]*\| )?~?([\d,]+) \|", re.M)


def stated_counts(page: Path) -> list[tuple[Path, int]]:
    """(file or folder, number of lines a page says it has), from the tables to read in order."""
    text = page.read_text(encoding="utf-8")
    return [
        ((page.parent / path).resolve(), int(count.replace(",", "")))
        for path, count in COUNT.findall(text)
    ]


def lines_of(path: Path) -> int:
    """Lines of a Python file, or of all in a folder."""
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


COUNTED = [(page, *entry) for page in PAGES for entry in stated_counts(page)]


@pytest.mark.parametrize(
    ("page", "path", "stated"), COUNTED, ids=lambda value: getattr(value, "name", value)
)
def test_line_count_is_about_right(page: Path, path: Path, stated: int) -> None:
    counted = lines_of(path)
    assert abs(counted - stated) <= max(10, 0.2 * counted), f"{page.name}: {path.name} {counted}"


def test_the_reading_order_has_line_counts() -> None:
    assert {"README.md", "architecture.md"} <= {page.name for page, _, _ in COUNTED}
