"""The anatomy page in a real browser: what it shows, on every screen, and how it speaks of it."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from anatomy_pages import (
    LENGTH,
    assert_sum,
    html,
    inspected,
    long_html,
    number,
    path_of,
    pixels,
    state,
)
from attended import INF, H, T
from attended import page_data as data_of

from tinygrad_attn.viz.anatomy.page import page_script

pytestmark = pytest.mark.browser
pytest_plugins = ["browser", "anatomy_windows"]


# ── what is shown ────────────────────────────────────────────────────────────────────────────────
def test_heads_examples_and_targets_switch_and_the_numbers_follow(shared: Any) -> None:
    page = shared("causal")
    page.evaluate("anatomy.select('dP', 0, 0, 2, 1)")

    def expected() -> float:
        now = state(page)
        return page.evaluate("a => anatomy.get(...a)", ["dP", now["example"], now["head"]])[2][1]

    seen = []
    for control, value in (("#head", "2"), ("#example", "1"), ("#target", "1"), ("#head", "5")):
        before = pixels(page, "dP")
        page.select_option(control, value)
        assert pixels(page, "dP") != before
        assert number(inspected(page)["value"]) == expected()
        assert_sum(inspected(page))
        seen.append(inspected(page)["value"])
    assert len(set(seen)) == 4
    now = state(page)
    assert (now["example"], now["head"], now["target"]) == (1, 5, 1)
    assert "“animal”" in page.inner_text("#inspector h2")


ENDS = """names => names.map(name => {
    const label = document.querySelector(`[data-matrix="${name}"]`).getAttribute("aria-label");
    const ends = label.match(/(\\S+) to (\\S+)$/).slice(1).map(n => +n.replaceAll("−", "-"));
    const heads = ["dP", "S"].includes(name) ? HEADS : 1;
    const { example } = anatomy.state();
    const values = [...Array(heads).keys()].flatMap(h => anatomy.get(name, example, h)).flat();
    return [ends, [Math.min(...values), Math.max(...values)]];
})""".replace("HEADS", str(H))


def test_the_heads_of_an_example_share_a_scale(shared: Any) -> None:
    page, names, seen = shared("causal"), ["dP", "S", "dWq"], []
    for control, value in (("#head", "0"), ("#head", "3"), ("#example", "1"), ("#target", "1")):
        page.select_option(control, value)
        found = page.evaluate(ENDS, names)
        for shown, expected in found:
            assert shown == pytest.approx(expected, rel=1e-3)
        seen.append([shown for shown, _ in found])
    changes = [[a != b for a, b in zip(*pair, strict=True)] for pair in pairwise(seen)]
    assert changes == [[False] * 3, [True, True, False], [True, False, True]]


def test_a_page_starts_at_the_first_example_and_target(show: Any) -> None:
    page = show(html("self"))
    now = state(page)
    assert (now["example"], now["head"], now["target"], now["step"]) == (0, 0, 0, 0)
    assert page.eval_on_selector("#example", "e => e.selectedOptions[0].text") == "a b c d e"
    assert page.eval_on_selector("#target", "e => e.selectedOptions[0].text").startswith("loss = ")


def test_every_matrix_says_what_it_is_and_its_range(shared: Any) -> None:
    page = shared("cross")
    for name in page.evaluate("anatomy.names()"):
        box = page.locator(f'[data-matrix="{name}"]')
        assert box.count() == 1
        assert box.get_attribute("role") == "img"
        label = box.get_attribute("aria-label")
        numbers = re.findall(r"−?\d[\d.]*(?:e−?\d+)?", label.split(" × ")[1])
        assert len(numbers) == 3, label
        if name.startswith("d"):
            assert "gradient of" in label
    above, below = (page.locator(f'[data-matrix="{n}"]').bounding_box() for n in ("K", "dK"))
    assert (above["x"], above["width"], above["height"]) == (
        below["x"],
        below["width"],
        below["height"],
    )
    assert above["y"] + above["height"] <= below["y"]


def test_hovering_shows_the_value(shared: Any) -> None:
    page = shared("self")
    page.hover('[data-matrix="Y"]', position={"x": 1, "y": 1})
    value = page.evaluate("anatomy.get('Y', 0, 0)[0][0]")
    assert page.is_visible("#tip")
    shown = page.inner_text("#tip").split(" = ")[1].replace("−", "-")
    assert float(shown) == pytest.approx(value, rel=1e-2)


def test_korean_has_every_word_that_english_has(shared: Any) -> None:
    script = page_script()
    words = script[script.index("const WORDS") : script.index("const SYMBOLS")]
    english, korean = words.split("\n  ko: {")
    keys = [
        re.findall(r"[{,]\s*(\w+): [\"“]|^ {4}(\w+): \"", part, re.M) for part in (english, korean)
    ]
    names = [{a or b for a, b in found} for found in keys]
    assert names[0] == names[1]
    assert len(names[0]) > 80
    template = (files("tinygrad_attn.viz.anatomy") / "page.html").read_text("utf-8")
    rest = template + script.replace(words, "")
    assert [name for name in names[0] - {"Y"} if f'"{name}"' not in rest] == []
    page = shared("self")
    page.click("[data-language=ko]")
    assert page.evaluate("document.documentElement.lang") == "ko"
    page.evaluate("anatomy.select('dSmasked', 0, 1, 2, 1); anatomy.step(12)")
    page.mouse.move(0, 0)
    texts = page.evaluate(
        "[...document.querySelectorAll('h2, h3, .gloss, .quiet, .hint, .where, th, dt, #size')]"
        ".map(e => e.textContent).filter(t => /[A-Za-z]{5}/.test(t))"
    )
    assert [t for t in texts if not re.search(r"[가-힣]", t)] == []
    page.click("[data-language=en]")
    assert not re.search(r"[가-힣]", page.inner_text("main"))


def test_dark_and_light_follow_the_system_and_the_buttons(show: Any) -> None:
    for dark in (True, False):
        page = show(html("self"), dark=dark)
        assert state(page)["appearance"] == ("dark" if dark else "light")
        before, painted = background(page), pixels(page, "P")
        assert (before < 60) == dark
        page.click(f"[data-appearance={'light' if dark else 'dark'}]")
        assert (background(page) < 60) != dark
        assert pixels(page, "P") != painted
        assert contrasts(page) >= 4.5


def background(page: Any) -> int:
    text = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return int(re.findall(r"\d+", text)[0])


def contrasts(page: Any) -> float:
    """The least contrast of a text with what lies behind it (WCAG 2.2, 1.4.3)."""
    page.evaluate("anatomy.select('dP', 0, 1, 2, 1); anatomy.step(5)")
    page.wait_for_timeout(300)
    return page.evaluate("""() => {
        const numbers = text => text.match(/[\\d.]+/g).map(Number);
        const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
            .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
            .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
        const behind = e => {
            for (; e; e = e.parentElement) {
                const colour = numbers(getComputedStyle(e).backgroundColor);
                if (colour.length === 3 || colour[3] > 0) return colour;
            }
        };
        const texts = [...document.querySelectorAll("body *")].filter(e =>
            e.offsetParent && !e.disabled
            && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()));
        return Math.min(...texts.map(e => {
            const pair = [light(numbers(getComputedStyle(e).color)), light(behind(e))];
            return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
        }));
    }""")


@pytest.mark.parametrize("width", [360, 640, 820])
def test_a_narrow_screen_scrolls_only_the_sheet(show: Any, width: int) -> None:
    page = show(html("self"), width=width, height=740)
    for language in ("ko", "en"):
        page.click(f"[data-language={language}]")
        page.evaluate("anatomy.step(12); anatomy.select('dSmasked', 0, 1, 2, 1)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("#inspector").is_visible()
        box = page.locator("#inspector").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    page.locator('[data-matrix="dY"]').click()
    assert inspected(page)["name"] == "dY"
    if width == 360:
        assert box["y"] + box["height"] == pytest.approx(740, abs=1)
        page.keyboard.press("Escape")
        assert not page.locator("#inspector").is_visible()


def test_printing_is_black_on_white_and_fits_the_paper(show: Any) -> None:
    page = show(html("self"), dark=True)
    page.emulate_media(media="print")
    page.locator("html[data-theme=light]").wait_for(state="attached")
    assert background(page) == 255
    assert not page.locator("[data-appearance=dark]").is_visible()
    assert not page.locator("#inspector").is_visible()
    last = page.locator('[data-matrix="dY"]').bounding_box()
    assert (
        last["x"] + last["width"] <= 980
    )  # pixels across a sheet of Letter, which is the narrower
    page.emulate_media(media="screen")
    page.locator("html[data-theme=dark]").wait_for(state="attached")


def test_paths_and_identities_are_those_of_the_target_and_the_example(shared: Any) -> None:
    page = shared("self")
    data = data_of(path_of(page))
    for target, example in ((0, 0), (1, 1)):
        page.select_option("#target", str(target))
        page.select_option("#example", str(example))
        table = data["paths"][target][example]
        assert page.locator("#paths tbody tr").count() == len(table["parts"])
        places = {part["at"] for part in table["parts"]}
        assert page.locator("#paths table").count() == len(places)
        shown = page.locator("#paths tbody .portion .figure").all_inner_texts()
        shares = sorted(100 * part["share"] for part in table["parts"])
        read = sorted(float(text.replace("−", "-").removesuffix(" %")) for text in shown)
        np.testing.assert_allclose(read, shares, atol=0.0501)
        assert page.locator("#identities li").count() == len(data["identities"][target])
    assert page.locator("#identities .fails").count() == 0


def test_paths_within_others_are_set_in_and_every_place_has_its_own_numbers(shared: Any) -> None:
    page = shared("self")
    table = data_of(path_of(page))["paths"][0][0]
    depths = page.eval_on_selector_all(
        "#paths table",
        """all => all.map(table => [...table.tBodies[0].rows].map(row =>
            [+row.className.slice(5), row.querySelector(".portion .figure").textContent]))""",
    )
    at_x, at_block = (
        [[float(share.replace("−", "-")[:-2]) for depth, share in rows if depth == level]
         for level in range(3)]
        for rows in depths
    )  # fmt: skip
    assert [len(shares) for shares in at_x] == [3, 3 * H, 0]
    assert [len(shares) for shares in at_block] == [2, 3, 3 * H]
    for shares, whole in ((at_x[0], 100), (at_block[0], 100), (at_block[1], at_block[0][1])):
        assert sum(shares) == pytest.approx(whole, abs=0.2)
    left = "all => all.map(e => parseFloat(getComputedStyle(e).paddingLeft))"
    places = page.eval_on_selector_all("#paths .place:last-child tbody th", left)
    assert len(set(places)) == 3
    assert places[1] < places[2] < places[3]
    notes = page.locator("#paths .place p").all_inner_texts()
    softmax, lost = (f"{100 * n:.1f} %" for n in (table["split"]["softmax"], table["cancellation"]))
    assert notes[0].startswith(f"Through the softmax (Q and K) {softmax.replace('-', '−')},")
    assert "Cancellation" not in notes[0]
    assert notes[1].startswith(f"Cancellation {lost}:")


def test_the_page_says_its_size(shared: Any) -> None:
    page = shared("self")
    size = path_of(page).stat().st_size
    said = float(re.findall(r"([\d.]+) kB", page.inner_text("#size"))[0])
    assert said * 1000 == pytest.approx(size, abs=1000)


# ── nothing remote ───────────────────────────────────────────────────────────────────────────────
def test_nothing_remote_can_be_asked_for() -> None:
    template = (files("tinygrad_attn.viz.anatomy") / "page.html").read_text("utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', template)
    assert policy
    assert policy[1].startswith("default-src 'none'")
    assert not re.search(r"https?:|unsafe", policy[1])
    script = page_script()
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|fetch\(", script
    )


# ── long inputs ──────────────────────────────────────────────────────────────────────────────────
def test_more_than_96_rows_open_in_blocks(show: Any) -> None:
    page = show(long_html())
    assert "96" in page.inner_text("#blocks")
    assert page.locator("[data-rows=R]").first.locator("span").count() <= 65
    box = page.locator('[data-matrix="P"]')
    whole = box.bounding_box()
    box.click(position={"x": 2, "y": whole["height"] - 2})
    assert state(page)["cell"] is None  # first the block opens
    assert "96–129" in page.inner_text("#blocks")
    block = box.bounding_box()
    size = block["height"] / (LENGTH - 96)
    box.click(position={"x": 5.5 * size, "y": 3.5 * size})
    found = inspected(page)
    assert (found["name"], found["row"], found["column"]) == ("P", "99", "5")
    assert_sum(found)
    page.click("#blocks button")
    again = box.bounding_box()
    assert (again["width"], again["height"]) == (whole["width"], whole["height"])
    page.evaluate("anatomy.select('dK', 0, 1, 120, 3)")
    assert_sum(inspected(page))
    assert "96–129" in page.inner_text("#blocks")


def test_a_short_page_does_not_speak_of_blocks(shared: Any) -> None:
    assert not shared("self").locator("#blocks").is_visible()


def test_masked_scores_are_read_as_minus_infinity(shared: Any) -> None:
    page = shared("causal")
    scores = np.array(json.loads(json.dumps(page.evaluate("anatomy.get('Smasked', 0, 0)"))), float)
    assert np.array_equal(np.isneginf(scores), ~np.tri(T, dtype=bool))
    assert scores.max() < INF


def test_the_opened_cell_and_the_step_are_brought_into_view(show: Any) -> None:
    page = show(long_html(), width=900, height=760)
    page.evaluate("anatomy.select('dP', 0, 1, 127, 90)")
    cell = page.locator('[data-matrix="dP"]').bounding_box()
    place = cell["y"] + cell["height"] * (127 - 96 + 0.5) / (LENGTH - 96)
    assert 0 < place < page.locator("#inspector").bounding_box()["y"]
    assert 0 < cell["x"] + cell["width"] * 90.5 / 96 < 900
    page.evaluate("anatomy.step(1)")
    assert 0 < page.locator('[data-matrix="Q"]').bounding_box()["x"] < 900
