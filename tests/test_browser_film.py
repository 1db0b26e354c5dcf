"""The training film in a real browser: offline, by mouse, by keyboard, narrow and dark."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studied import TOKENS, gpt, in_double

from tinygrad_attn.viz.anatomy.film import Film

PageOf = Callable[..., Any]
pytest_plugins = ["browser"]
pytestmark = pytest.mark.browser
WORDS = [["<b>a</b>", "</script>", "c", "d", "e"], ["v" * 80, "w", "x", "y", "z"]]


@pytest.fixture(scope="module")
def film() -> Film:
    """Six snapshots of a causal model with two layers of two heads."""
    model, rng = in_double(gpt()), np.random.default_rng(4)

    def question(model: Any) -> Any:
        return (model(TOKENS) * np.random.default_rng(6).standard_normal((2, 5, 7))).sum()

    film = Film(model, question, examples=WORDS, title="A <i>film</i>")
    for step in (0, 10, 20, 30, 40, 50):
        film.snap(step)
        film.add_loss(step + 1, 3 - 0.05 * step)
        for parameter in model.parameters():
            parameter.data = parameter.data + 0.2 * rng.standard_normal(parameter.shape)
    return film


@pytest.fixture
def opened(film: Film, tmp_path: Path, page_of: PageOf) -> Any:
    """The page, opened from its file."""
    return page_of(film.save(tmp_path / "film.html"))


def state(page: Any) -> dict[str, Any]:
    return page.evaluate("film.state()")


# ── what is shown ────────────────────────────────────────────────────────────────────────────────
def test_the_numbers_in_the_browser_are_those_of_the_snapshots(film: Film, opened: Any) -> None:
    assert opened.evaluate("film.steps()") == [0, 10, 20, 30, 40, 50]
    assert opened.evaluate("film.layers()") == ["blocks.0.attn", "blocks.1.attn"]
    for at in (0, 3, 5):
        for layer, example, head in np.ndindex(2, 2, 2):
            for name, arrays in (("P", film.frames[at].weights), ("dP", film.frames[at].gradients)):
                given = opened.evaluate("a => film.get(...a)", [name, layer, at, example, head])
                expected = arrays[layer][example, head]
                np.testing.assert_array_equal(np.array(given, np.float32), expected)


def test_labels_are_text(opened: Any) -> None:
    assert opened.inner_text("#title") == "A <i>film</i>"
    assert opened.locator("#title *").count() == 0
    options = opened.locator("#example option").all_inner_texts()
    assert options == [" ".join(words) for words in WORDS]
    opened.evaluate("film.select(0, 1, 0)")
    assert "from “</script>” to “<b>a</b>”" in opened.inner_text("#cellTitle")


def colour(page: Any, name: str, head: int, row: int, column: int) -> list[int]:
    """Red, green and blue of what is painted in a cell of a matrix, beside its middle."""
    return page.evaluate(
        """([name, head, row, column]) => {
        const canvas = document.querySelector(`canvas[data-matrix="${name}"][data-head="${head}"]`);
        const box = canvas.getBoundingClientRect(), [x, y] = film.place(name, head, row, column);
        const [across, down] = [x - box.left, y - box.top].map((n) => n * devicePixelRatio);
        const copy = document.createElement("canvas");
        const pen = copy.getContext("2d", { willReadFrequently: true });
        pen.drawImage(canvas, across, down, 1, 1, 0, 0, 1, 1);
        return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
    }""",
        [name, head, row, column],
    )


def test_larger_weights_are_darker_and_gradients_have_the_colour_of_their_sign(
    film: Film, opened: Any
) -> None:
    opened.evaluate("film.go(4)")
    layer, example = (state(opened)[name] for name in ("layer", "example"))
    frame = film.frames[4]
    row, slopes = frame.weights[layer][example, 0, 4], np.tril(frame.gradients[layer][example, 0])
    low, high = (colour(opened, "P", 0, 4, int(k)) for k in (row.argmin(), row.argmax()))
    assert sum(high) < sum(low) - 30
    up, down = (np.unravel_index(at, (5, 5)) for at in (slopes.argmax(), slopes.argmin()))
    red, _, blue = colour(opened, "dP", 0, *map(int, up))
    assert red > blue
    red, _, blue = colour(opened, "dP", 0, *map(int, down))
    assert blue > red


NAMELESS = """() => [...document.querySelectorAll("button, select, input, [role=img], section")]
    .filter((e) => !(e.ariaLabel || e.innerText || e.labels?.[0].innerText || "").trim())
    .map((e) => e.outerHTML)"""


def test_every_control_has_a_name_and_every_picture_a_description(opened: Any) -> None:
    for language in ("en", "ko"):
        opened.click(f"[data-language={language}]")
        assert opened.evaluate(NAMELESS) == []
        assert opened.locator("canvas[role=img]").count() == 4
        texts = opened.locator("[data-word]").all_inner_texts()
        assert all(texts)
        assert all(re.search("[가-힣]", text) for text in texts) == (language == "ko")
        assert opened.get_attribute("html", "lang") == language
    assert "0단계부터 50단계까지" in opened.inner_text("#about")


# ── through the training ─────────────────────────────────────────────────────────────────────────
def marks(page: Any) -> set[str]:
    """The steps that the charts mark."""
    return {mark.get_attribute("data-step") for mark in page.locator("svg .mark").all()}


def test_slider_buttons_and_keys_step_through_the_snapshots(film: Film, opened: Any) -> None:
    def at(frame: int) -> None:
        assert state(opened)["frame"] == frame
        step = film.frames[frame].step
        assert marks(opened) == {str(step)}
        assert opened.inner_text("#now").startswith(f"step {step} · loss ")
        assert opened.input_value("#slider") == str(frame)

    at(0)
    opened.click("#next")
    at(1)
    opened.keyboard.press("ArrowRight")  # the focus is on the button
    at(2)
    opened.focus("#slider")
    opened.keyboard.press("ArrowRight")  # the slider's own key: one step, not two
    at(3)
    opened.keyboard.press("End")
    at(5)
    opened.click("#title")
    opened.keyboard.press("ArrowLeft")
    at(4)
    opened.click("#previous")
    at(3)
    opened.keyboard.press("Home")
    at(0)
    opened.keyboard.press("ArrowLeft")
    at(0)


def until(page: Any, reached: Callable[[dict[str, Any]], bool]) -> None:
    """Wait, 8 seconds at most; the page's policy forbids the driver's own way of waiting."""
    for _ in range(160):
        if reached(state(page)):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"the film stands still: {state(page)}")


def test_it_plays_to_the_end_and_stops(opened: Any) -> None:
    opened.click("#play")
    assert state(opened)["playing"]
    until(opened, lambda at: at["frame"] == 5 and not at["playing"])
    assert opened.inner_text("#play") == "▶ play"
    opened.click("#title")
    opened.keyboard.press("Space")  # from the start again
    until(opened, lambda at: at["playing"] and 0 < at["frame"] < 5)
    opened.keyboard.press("Space")
    assert not state(opened)["playing"]


def test_a_click_on_a_curve_goes_there(opened: Any) -> None:
    box = opened.locator("#loss").bounding_box()
    opened.mouse.click(box["x"] + box["width"] - 40, box["y"] + 60)
    assert state(opened)["frame"] == 5


# ── cells, layers, modules ───────────────────────────────────────────────────────────────────────
def test_a_cell_is_chosen_by_mouse_and_by_keyboard(film: Film, opened: Any) -> None:
    opened.select_option("#layer", "0")
    opened.select_option("#example", "1")
    opened.evaluate("film.go(2)")
    opened.mouse.click(*opened.evaluate("film.place('dP', 1, 3, 2)"))
    assert state(opened)["cell"] == {"head": 1, "row": 3, "column": 2}
    opened.keyboard.press("ArrowLeft")
    opened.keyboard.press("ArrowDown")
    assert state(opened)["cell"] == {"head": 1, "row": 4, "column": 1}
    assert state(opened)["frame"] == 2
    P, dP = (x[0][1, 1, 4, 1] for x in (film.frames[2].weights, film.frames[2].gradients))
    said = opened.inner_text("#cellTitle").replace("−", "-")
    number = r"(-?[\d.]+(?:e-?\d+)?)"
    found = re.fullmatch(rf"head 1, from “z” to “w”: P {number}, dP {number}", said)
    assert found
    assert [float(text) for text in found.groups()] == pytest.approx([P, dP], rel=5e-3)
    opened.evaluate("film.select(0, 0, 0)")
    assert f"from “{'v' * 80}”" in opened.inner_text("#cellTitle")  # though the label is cut
    opened.mouse.click(*opened.evaluate("film.place('P', 1, 3, 2)"))
    for key in ["ArrowRight"] * 6:
        opened.keyboard.press(key)
    assert state(opened)["cell"]["column"] == 4


def test_where_a_query_may_not_look_is_hatched_and_has_no_curve(opened: Any) -> None:
    opened.evaluate("film.select(0, 1, 3)")
    assert "may not be looked at" in opened.inner_text("#cellTitle")
    assert opened.locator("#cell path").count() == 1
    assert opened.locator("#cellGradient path").count() == 0


def test_the_most_changed_weight_is_chosen_first(film: Film, opened: Any) -> None:
    first, last = film.frames[0].weights, film.frames[-1].weights
    off = ~np.eye(5, dtype=bool)
    changes = [(np.abs(b - a) * off)[0] for a, b in zip(first, last, strict=True)]
    layer = int(np.argmax([change.max() for change in changes]))
    cell = map(int, np.unravel_index(changes[layer].argmax(), changes[layer].shape))
    assert state(opened)["layer"] == layer
    assert opened.input_value("#layer") == str(layer)
    assert state(opened)["cell"] == dict(zip(("head", "row", "column"), cell, strict=True))


def test_the_scale_of_dp_is_a_snapshots_own_or_the_whole_films(film: Film, opened: Any) -> None:
    opened.select_option("#layer", "0")
    opened.evaluate("film.go(1)")
    opened.focus("#own")
    opened.keyboard.press("Space")  # the box's own key: it does not play
    assert not opened.is_checked("#own")
    assert not state(opened)["playing"]
    causal = np.tri(5)
    seen = [np.abs(frame.gradients[0] * causal) for frame in film.frames]
    for own, most in ((True, seen[1][0].max()), (False, max(x.max() for x in seen))):
        opened.set_checked("#own", own)
        shown = opened.inner_text("#scaledP").replace("−", "-").split()
        assert [float(text) for text in shown] == pytest.approx([-most, most], rel=5e-3)


def test_modules_are_put_into_the_picture_and_taken_out(film: Film, opened: Any) -> None:
    opened.evaluate("film.go(3)")
    buttons = opened.locator("#modules button")
    names = [text.split("\n")[0] for text in buttons.all_inner_texts()]
    assert names == list(film.modules)
    norms = [float(text.split("\n")[1].replace("−", "-")) for text in buttons.all_inner_texts()]
    assert norms == pytest.approx(film.curve[3][2], rel=5e-3)
    chosen = [n for n, name in enumerate(names) if name.endswith(".attn")]
    assert state(opened)["modules"] == chosen
    buttons.nth(0).click()
    assert state(opened)["modules"] == [*chosen, 0]
    assert buttons.nth(0).get_attribute("aria-pressed") == "true"
    buttons.nth(0).click()
    assert state(opened)["modules"] == chosen


# ── every screen ─────────────────────────────────────────────────────────────────────────────────
FARTHEST = """Math.max(...[...document.querySelectorAll("canvas, svg, button")]
    .map((e) => e.getBoundingClientRect().right))"""


def test_on_a_phone_nothing_sticks_out(film: Film, page_of: PageOf, tmp_path: Path) -> None:
    page = page_of(film.save(tmp_path / "film.html"), width=360, height=740)
    for language in ("en", "ko"):
        page.click(f"[data-language={language}]")
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        assert page.evaluate(FARTHEST) <= 360


def test_dark_where_the_reader_wants_it_dark(film: Film, page_of: PageOf, tmp_path: Path) -> None:
    path = film.save(tmp_path / "film.html")
    for dark in (False, True):
        page = page_of(path, dark=dark)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == dark
        layer, example = (state(page)[name] for name in ("layer", "example"))
        row = film.frames[0].weights[layer][example, 0, 4]
        low, high = (sum(colour(page, "P", 0, 4, int(at))) for at in (row.argmin(), row.argmax()))
        assert (high > low) == dark
