"""Hostile labels in a real browser: they are seen as text, and nothing else happens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile import LABELS, shown, titled
from named import allowed
from test_hostile_pages import COUNT, T, film_of
from test_hostile_pages import page_of as anatomy_of
from test_viz_labels import PARTS, gradients, graph

from tinygrad_attn import viz
from tinygrad_attn.cli import page as demo_page

pytestmark = pytest.mark.browser
pytest_plugins = ["browser"]

PageOf = Callable[..., Any]
WORDS = (*LABELS, *LABELS)[: COUNT * T]
CALM = tuple(f"w{i}" for i in range(len(WORDS)))
STRUCTURE = """() => [...document.querySelectorAll("*")].map(
    (element) => [element.tagName, ...element.getAttributeNames().sort()].join(" "))"""


@pytest.fixture
def opened(page_of: PageOf, tmp_path: Path) -> Callable[[str, str], Any]:
    """Writes a page and opens it; nothing in it may have run."""

    def shown_in_browser(source: str, name: str = "page.html") -> Any:
        path = tmp_path / name
        path.write_text(source, "utf-8")
        page = page_of(path)
        assert page.evaluate("typeof pwned") == "undefined"
        return page

    return shown_in_browser


def same_structure(hostile: Any, calm: Any) -> None:
    """Two opened pages consist of the same elements with the same attributes, in this order."""
    assert hostile.evaluate(STRUCTURE) == calm.evaluate(STRUCTURE)


def contents(page: Any, selector: str) -> list[str]:
    return page.eval_on_selector_all(selector, "all => all.map((e) => e.textContent)")


# ── the anatomy page ─────────────────────────────────────────────────────────────────────────────
VISIT = """([examples, words]) => {
    const seen = [];
    for (let example = 0; example < examples; example++) for (let row = 0; row < words; row++) {
        anatomy.select("dSmasked", example, 0, row, row);
        const tokens = document.querySelectorAll("#inspector h2 .token");
        const axis = document.querySelectorAll("[data-rows=X] span")[row];
        seen.push([...[...tokens].map((token) => token.textContent), axis.textContent, axis.title]);
    }
    return seen;
}"""


def quoted(label: str) -> str:
    """A token in the inspector; a blank one is made visible."""
    text = shown(label)
    return f"“{text if text.strip() else '␣'}”"


def test_tokens_of_the_anatomy(opened: Any) -> None:
    page = opened(anatomy_of("attn", ("loss",), WORDS, LABELS[0]).to_html())
    seen = page.evaluate(VISIT, [COUNT, T])
    for label, (query, key, axis, full) in zip(WORDS, seen, strict=True):
        assert query == key == f"“{axis}”" == quoted(label)
        assert full == shown(label, 1000)
    calm = opened(anatomy_of("attn", ("loss",), CALM, "calm").to_html(), "calm.html")
    for each in (page, calm):
        each.evaluate("anatomy.select('dP', 1, 0, 2, 1)")
        each.hover('[data-matrix="P"]', position={"x": 3, "y": 3})
    same_structure(page, calm)
    titles = [shown(" ".join(WORDS[i : i + T]), 120) for i in range(0, len(WORDS), T)]
    assert contents(page, "#example option") == titles
    assert page.evaluate("typeof pwned") == "undefined"


def test_names_in_the_anatomy(opened: Any) -> None:
    name, targets = next(filter(allowed, LABELS)), LABELS[::3]
    page = opened(anatomy_of(name, targets, WORDS[:T], LABELS[3]).to_html())
    options = contents(page, "#target option")[:-1]
    assert [option.rpartition(" = ")[0] for option in options] == list(map(shown, targets))
    for i in range(0, len(targets), 9):  # a target's name is part of a sentence
        page.select_option("#target", str(i))
        for language in ("ko", "en"):
            page.click(f"[data-language={language}]")
            page.evaluate("anatomy.select('dY', 0, 0, 1, 0)")
            assert shown(targets[i]) in page.text_content("#inspector")
    assert page.text_content("#title") == page.inner_text("#title") == shown(name)
    assert page.title() == shown(LABELS[3], 120)
    assert page.text_content("#about").startswith(shown(LABELS[3], 120) + " · ")
    calm = opened(anatomy_of("attn", CALM[: len(targets)], CALM[:T], "calm").to_html(), "calm.html")
    page.reload()
    same_structure(page, calm)


# ── the film ─────────────────────────────────────────────────────────────────────────────────────
TOLD = """([examples, words]) => {
    const seen = [], choose = document.getElementById("example");
    for (let example = 0; example < examples; example++) {
        choose.value = example;
        choose.dispatchEvent(new Event("change"));
        for (let row = 0; row < words; row++) {
            film.select(0, row, row);
            seen.push(document.getElementById("cellTitle").textContent);
        }
    }
    return seen;
}"""


def test_the_film(opened: Any) -> None:
    names = tuple(filter(allowed, LABELS))
    page = opened(film_of(LABELS, WORDS, LABELS[0], LABELS[1]).to_html())
    for label, told in zip(WORDS, page.evaluate(TOLD, [COUNT, T]), strict=True):
        text = shown(label, 1000)
        assert f"from “{text}” to “{text}”: P " in told
    assert page.text_content("#title") == page.title() == shown(LABELS[0], 120)
    assert f"{shown(LABELS[1])} on this input" in page.text_content("#lossTitle")
    modules = contents(page, "#modules button > span:first-child")
    assert {titled(name) for name in names[1:] if name} <= set(modules)
    assert contents(page, "#layer option") == [shown(names[0])]
    calm_names = tuple(f"w{i}" for i in range(len(names)))
    calm = opened(film_of(calm_names, CALM, "calm", "loss").to_html(), "calm.html")
    for each in (page, calm):
        each.evaluate(TOLD, [COUNT, T])
    same_structure(page, calm)


# ── graphs, and the demo's page ──────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("make", [graph, gradients])
def test_graphs(make: Callable[[Any], viz.Graph], opened: Any, tmp_path: Path) -> None:
    for i, part in enumerate(PARTS[:2]):
        path = make(part).save_html(tmp_path / "graph.html", title=part[0] or " ")
        page = opened(path.read_text("utf-8"))
        svg = make(part).render(tmp_path / "graph.svg", title=part[0])
        picture = opened(svg.read_text("utf-8"), f"{i}.svg")
        assert picture.locator("parsererror").count() == 0
        operation = "negative" if make is graph else "exp"
        for drawing in (page, picture):
            texts = contents(drawing, "text")
            for label in part:
                assert f"{titled(label)} = {operation}" in texts
        calm = make(tuple(f"w{i}" if label else "" for i, label in enumerate(part)))
        calm.save_html(tmp_path / "calm.html", title="calm")
        other = opened((tmp_path / "calm.html").read_text("utf-8"), "calm.html")
        found, expected = (sorted(each.evaluate(STRUCTURE)) for each in (page, other))
        assert found == expected  # Graphviz orders boxes by where they lie


def demo_of(labels: tuple[str, ...]) -> str:
    """The demo's page with all of these labels, without pictures: the page may ask for nothing."""
    parts = [
        part
        for label in labels
        for part in (
            demo_page.section(label, demo_page.paragraph(label), demo_page.listing(f"-{label}")),
            demo_page.table((label,), [(label,)]),
        )
    ]
    return demo_page.page(labels[0], parts, labels[0])


def test_the_page_of_the_demo(opened: Any) -> None:
    page, calm = opened(demo_of(LABELS)), opened(demo_of(CALM[: len(LABELS)]), "calm.html")
    same_structure(page, calm)
    written = ["\n".join(shown(x, 10**6) for x in label.split("\n")) for label in LABELS]
    for tag in ("h2", "section > p", "th", "td"):
        assert contents(page, tag) == written
    assert contents(page, "pre") == [f"-{text}" for text in written]
