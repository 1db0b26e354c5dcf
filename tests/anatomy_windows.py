"""Fixtures: anatomy pages opened in a browser, shared by the tests of a case or of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anatomy_pages import html
from browser import watch

RESET = """() => {
    const state = anatomy.state();
    if (state.language !== "en") document.querySelector("[data-language=en]").click();
    for (const id of ["example", "head", "target"]) {
        const control = document.getElementById(id);
        if (control.value === "0") continue;
        control.value = "0";
        control.dispatchEvent(new Event("change"));
    }
    if (state.cell) document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
    if (state.step) anatomy.step(0);
    document.activeElement.blur();
    scrollTo(0, 0);
}"""


@pytest.fixture(scope="session")
def opened_pages(chromium: Any) -> Iterator[tuple[Any, dict[str, Any], list[str]]]:
    """One window, the pages that stand open in it by case, and what they reported."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, offline=True)
    yield context, {}, []
    context.close()


@pytest.fixture
def shared(opened_pages: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Opens the page of a case once for all tests; each finds it as it was opened."""
    context, pages, troubles = opened_pages

    def shown(case: str) -> Any:
        if case not in pages:
            path = tmp_path_factory.mktemp("page") / "anatomy.html"
            path.write_text(html(case), "utf-8")
            pages[case] = context.new_page()
            pages[case].set_default_timeout(10_000)
            watch(pages[case], path.as_uri(), troubles)
            pages[case].goto(path.as_uri())
        pages[case].bring_to_front()
        pages[case].mouse.move(0, 0)
        pages[case].evaluate(RESET)
        return pages[case]

    yield shown
    assert not troubles, troubles


@pytest.fixture
def show(page_of: Any, tmp_path: Path) -> Any:
    """Writes a page and opens it."""

    def shown(text: str, **options: Any) -> Any:
        path = tmp_path / "anatomy.html"
        path.write_text(text, "utf-8")
        return page_of(path, **options)

    return shown
