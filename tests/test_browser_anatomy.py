"""The anatomy page in a real browser: every cell opens into its sum, by mouse and by keyboard."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from anatomy_pages import (
    INPUTS,
    assert_sum,
    html,
    inspected,
    number,
    path_of,
    pixels,
    shapes,
    state,
)
from attended import B, D, H, T, decoded
from attended import page_data as data_of

from tinygrad_attn import Tensor, nn
from tinygrad_attn.viz.anatomy import anatomy

pytestmark = pytest.mark.browser
pytest_plugins = ["browser", "anatomy_windows"]

# ── cells ────────────────────────────────────────────────────────────────────────────────────────
OPEN = """cells => cells.map(cell => {
    anatomy.select(...cell);
    const [name, example, head, row, column] = cell;
    const found = {...document.getElementById("inspector").dataset};
    return {...found, given: String(anatomy.get(name, example, head)[row][column])};
})"""


@pytest.mark.parametrize(
    "case",
    [
        "without biases",
        "floating mask",
        "rotary",
        "rotary in pairs, grouped",
        "cross",
        "cross, grouped, empty row",
    ],
)
def test_four_cells_of_every_matrix_open_into_their_sum(shared: Any, case: str) -> None:
    page, rng = shared(case), np.random.default_rng(11)
    cells = [
        (name, *map(int, rng.integers([B, heads, rows, columns])))
        for name, (heads, rows, columns) in shapes(page).items()
        for _ in range(4)
    ]
    cells.sort(key=lambda cell: cell[1:3])  # another head redraws the whole sheet
    for cell, found in zip(cells, page.evaluate(OPEN, cells), strict=True):
        name, _, _, row, column = cell
        assert (found["name"], found["row"], found["column"]) == (name, str(row), str(column))
        assert found["value"] == found["given"]
        if name in INPUTS:
            assert found["sum"] == ""
        else:
            assert_sum(found)
    assert len([cell for cell in cells if cell[0] not in INPUTS]) >= 4 * 22


MIDDLE = """([name, [row, column], [rows, columns]]) => {
    const box = document.querySelector(`[data-matrix="${name}"]`);
    box.scrollIntoView({ block: "nearest", inline: "nearest" });
    const { x, y, width, height } = box.getBoundingClientRect();
    return [x + (column + 0.5) * width / columns, y + (row + 0.5) * height / rows];
}"""
CLICKED = f"""clicks => clicks.map(click => {{
    const [clientX, clientY] = ({MIDDLE})(click);
    const box = document.querySelector(`[data-matrix="${{click[0]}}"]`);
    box.dispatchEvent(new MouseEvent("click", {{ clientX, clientY, bubbles: true }}));
    return {{...document.getElementById("inspector").dataset}};
}})"""


@pytest.mark.parametrize("case", ["cross, grouped, empty row", "rotary in pairs, grouped"])
def test_a_click_opens_the_cell_under_the_pointer(shared: Any, case: str) -> None:
    """A click of the mouse on each matrix, and more that only arrive there."""
    page, rng = shared(case), np.random.default_rng(12)
    sizes = {name: [rows, columns] for name, (_, rows, columns) in shapes(page).items()}
    clicks = [
        [name, rng.integers(size).tolist(), size] for name, size in sizes.items() for _ in range(4)
    ]
    seen = page.evaluate(CLICKED, clicks)
    for click in clicks[::4]:
        page.mouse.click(*page.evaluate(MIDDLE, click))
        seen.append(inspected(page))
    for (name, (row, column), _), found in zip(clicks + clicks[::4], seen, strict=True):
        assert (found["name"], found["row"], found["column"]) == (name, str(row), str(column))
        if name not in INPUTS:
            assert_sum(found)


def test_the_browser_reads_the_numbers_that_were_written(shared: Any) -> None:
    page = shared("cross, grouped, empty row")
    data = data_of(path_of(page))
    for name, matrix in data["matrices"].items():
        for example, text in enumerate(matrix["data"]):
            expected = decoded(text, (max(1, matrix["heads"]), *matrix["shape"][-2:]))
            for head, rows in enumerate(expected):
                given = page.evaluate("a => anatomy.get(...a)", [name, example, head])
                np.testing.assert_array_equal(np.array(given, float), rows)


def test_a_missing_cell_is_refused(shared: Any) -> None:
    page = shared("self")
    for wrong in (
        ["Z", 0, 0, 0, 0],
        ["P", B, 0, 0, 0],
        ["P", 0, H, 0, 0],
        ["P", 0, 0, T, 0],
        ["P", 0, 0, 0, 0.5],
    ):
        refused = page.evaluate(
            "a => { try { anatomy.select(...a); } catch (e) { return e.name; } }", wrong
        )
        assert refused == "RangeError"
    assert state(page)["cell"] is None


def test_hidden_scores_and_empty_rows_say_so(shared: Any) -> None:
    page = shared("cross, grouped, empty row")
    page.evaluate("anatomy.select('Smasked', 1, 0, 2, 3)")
    assert inspected(page)["value"] == inspected(page)["sum"] == "-Infinity"
    assert "−∞" in page.inner_text("#inspector h2")
    page.evaluate("anatomy.select('P', 1, 0, 2, 3)")
    assert "empty row" in page.inner_text("#inspector")
    assert number(inspected(page)["sum"]) == 0


def test_inputs_say_where_they_come_from_and_gradients_stand_beside_the_complex_step(
    shared: Any,
) -> None:
    page = shared("self")
    page.evaluate("anatomy.select('X', 1, 0, 1, 2)")
    assert "“animal”" in page.inner_text("#inspector")
    page.evaluate("anatomy.select('dX', 0, 0, 0, 0)")
    analytic, numeric, difference = page.locator("#inspector .compared dd").all_inner_texts()
    assert analytic[:8] == numeric[:8]
    assert float(difference.replace("−", "-")) < 1e-12
    assert "Complex step" not in page.inner_text("#inspector")
    page.evaluate("anatomy.select('dX', 0, 0, 4, 22)")  # 40 cells were computed
    page.select_option("#target", "2")
    assert page.locator("#inspector .compared").count() == 0
    assert "Complex step: computed for loss only." in page.inner_text("#inspector")
    page.evaluate("anatomy.select('dY', 0, 0, 1, 2)")
    assert inspected(page)["value"] == "1"
    assert "1 there and 0 elsewhere" in page.inner_text("#inspector")


def test_terms_stand_by_size_and_all_of_them_can_be_seen(shared: Any) -> None:
    page = shared("self")
    page.evaluate("anatomy.select('dX', 0, 0, 1, 2)")
    assert page.locator(".terms .track").count() == 12
    page.click(".rest button")
    figures = page.locator(".terms .track + .figure").all_inner_texts()
    assert len(figures) == 3 * D
    sizes = [abs(float(text.replace("−", "-"))) for text in figures]
    assert sizes == sorted(sizes, reverse=True)


def test_the_terms_of_a_weight_are_a_numerator_and_a_denominator(shared: Any) -> None:
    page = shared("self")
    page.evaluate("anatomy.select('P', 0, 1, 2, 3)")
    assert_sum(inspected(page))
    scores = np.array(page.evaluate("anatomy.get('Smasked', 0, 1)[2]"))
    parts = np.exp(scores - scores.max())
    assert page.locator(".terms").count() == 0
    headings = page.locator("#inspector h3").all_inner_texts()
    assert headings[0] == "Numerator"
    assert float(headings[1].rpartition(" ")[2]) == pytest.approx(parts.sum(), rel=1e-3)
    shown = page.locator("#inspector .row").first.inner_text()
    assert float(shown.split("= ")[1].split()[0]) == pytest.approx(parts[3], rel=1e-3)


def test_rounding_is_not_painted_like_a_gradient(show: Any) -> None:
    rng = np.random.default_rng(7)
    layer = nn.MultiHeadAttention(6, 2, rng=rng)
    x, w = rng.standard_normal((2, 1, 4, 6))
    page = show(anatomy(layer, lambda m: (m(Tensor(x)) * w).sum(), numeric_limit=0).to_html())
    beside = """name => [...document.querySelector(`[data-matrix="${name}"]`).parentElement
        .querySelectorAll(".scale")].map(e => e.textContent).join()"""
    assert page.evaluate(beside, "bk") == "0"  # as it was made
    assert page.evaluate(beside, "dbk").startswith("≈ 0 (")
    assert page.evaluate(beside, "dbq").startswith("±")
    drawn = """name => { const c = document.querySelector(`[data-matrix="${name}"] canvas`);
        const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data, all = new Set();
        for (let i = 0; i < d.length; i += 4) all.add(d.slice(i, i + 3).join());
        return all.size; }"""
    assert page.evaluate(drawn, "dbk") == page.evaluate(drawn, "bk") < page.evaluate(drawn, "dbq")


def test_a_target_is_an_element_of_y_only_where_it_is_one(show: Any) -> None:
    layer = nn.MultiHeadAttention(4, 2, rng=np.random.default_rng(7))
    x = np.random.default_rng(8).standard_normal((1, 3, 4))

    def run(layer: nn.MultiHeadAttention) -> dict[str, Tensor]:
        return {"Y[mean]": layer(Tensor(x)).mean()}

    page = show(anatomy(layer, run, cells=[(0, 1, 2)], numeric_limit=0).to_html())
    page.evaluate("anatomy.select('dY', 0, 0, 1, 2)")
    assert "1 there and 0 elsewhere" not in page.inner_text("#inspector")
    page.select_option("#target", "1")
    assert "1 there and 0 elsewhere" in page.inner_text("#inspector")
    page.click("[data-language=ko]")
    assert page.locator("#example option").all_inner_texts() == ["예제 0"]


def test_wrong_arguments_are_refused_by_name(shared: Any) -> None:
    page = shared("self")
    refused = "f => { try { f(); } catch (e) { return `${e.name} ${e.message}`; } }"
    for call, message in (
        ("anatomy.get('nope', 0, 0)", "RangeError anatomy: no matrix nope"),
        ("anatomy.step('x')", "RangeError anatomy: no step x"),
        ("anatomy.step(NaN)", "RangeError anatomy: no step NaN"),
    ):
        assert page.evaluate(f"({refused})(() => {call})") == message
    assert page.get_attribute("#step", "data-step") == "0"


def test_keys_and_values_name_the_heads_that_share_them(shared: Any) -> None:
    page = shared("grouped")
    page.evaluate("anatomy.select('dV', 0, 1, 2, 3)")
    assert page.inner_text("#inspector .where").split(" · ")[3] == "heads 2–3"
    page.evaluate("anatomy.select('dX', 0, 0, 1, 2)")
    page.click(".rest button")
    subscripts = page.locator(".terms .cell", has_text="K").locator("sub").all_inner_texts()
    assert "4–5" in subscripts


def test_formulas_are_korean_where_they_have_words(shared: Any) -> None:
    page = shared("grouped")
    page.click("[data-language=ko]")
    page.evaluate("anatomy.step(5)")
    assert "행마다 따로" in page.inner_text("#step .formula")
    page.evaluate("anatomy.step(1)")
    assert "Wq" not in page.inner_text("#step")
    assert page.locator("#step .formula sub").first.inner_text() == "Q"


# ── walking ──────────────────────────────────────────────────────────────────────────────────────
def test_terms_lead_to_their_cells_and_the_trail_leads_back(shared: Any) -> None:
    page = shared("grouped")
    page.evaluate("anatomy.select('dSmasked', 0, 3, 4, 1)")
    page.locator(".terms .cell").nth(1).click()
    walked = state(page)
    assert (walked["cell"]["name"], walked["cell"]["row"], walked["head"]) == ("dP", 4, 3)
    page.locator(".terms .cell", has_text="V").first.click()
    found = state(page)
    assert (found["cell"]["name"], found["cell"]["head"], found["head"]) == ("V", 1, 3)
    assert [cell["name"] for cell in found["trail"]] == ["dSmasked", "dP", "V"]
    page.locator(".trail button").first.click()
    assert [cell["name"] for cell in state(page)["trail"]] == ["dSmasked"]
    assert inspected(page)["name"] == "dSmasked"


def test_sources_are_outlined(shared: Any) -> None:
    page = shared("self")
    names = page.evaluate("anatomy.names()")
    before = {name: pixels(page, name) for name in names}
    page.evaluate("anatomy.select('dP', 0, 0, 1, 2)")
    assert {name for name in names if pixels(page, name) != before[name]} == {"dP", "dC", "V"}
    page.keyboard.press("Escape")
    assert all(pixels(page, name) == before[name] for name in names)


def test_the_head_that_a_cell_is_made_from_is_shown(shared: Any) -> None:
    page = shared("grouped")  # heads 4 wide, two of them on one head of keys
    for name, row, column, head in (("dWq", 9, 1, 2), ("dWk", 5, 1, 2), ("O", 1, 21, 5)):
        page.evaluate("a => anatomy.select(...a)", [name, 0, 0, row, column])
        assert state(page)["head"] == head
    page.evaluate("anatomy.select('dX', 0, 0, 1, 2)")  # from all heads: nothing changes
    assert state(page)["head"] == 5


def test_terms_of_other_heads_and_examples_say_so(shared: Any) -> None:
    page = shared("self")
    page.evaluate("anatomy.select('dX', 0, 0, 1, 2)")
    page.click(".rest button")
    subscripts = set(page.locator(".terms .cell sub").all_inner_texts())
    assert subscripts >= {str(head) for head in range(1, H)}
    page.evaluate("anatomy.select('dbo', 0, 0, 0, 2)")
    texts = page.locator(".terms .cell small").all_inner_texts()
    assert sorted(text.strip() for text in texts) == sorted(
        [f"{t},2" for t in range(T)] + [f"e1 {t},2" for t in range(T)]
    )


def test_arrows_step_through_all_steps(shared: Any) -> None:
    page = shared("self")
    steps = page.evaluate("JSON.parse(document.getElementById('anatomy-data').textContent).steps")
    seen = []
    for step in steps:
        page.keyboard.press("ArrowRight")
        seen.append(page.get_attribute("#step", "data-step"))
        assert step["title"]["en"] in page.inner_text("#step")
        lines = page.inner_text("#step .formula").split("\n")
        assert len(lines) == len(step["formula"]["en"].split("\n"))
        made = page.eval_on_selector_all(".matrix.made", "all => all.map(e => e.dataset.matrix)")
        assert set(made) == set(step["makes"])
    assert seen == [str(n + 1) for n in range(len(steps))]
    page.keyboard.press("ArrowRight")
    assert state(page)["step"] == len(steps)
    page.keyboard.press("ArrowLeft")
    page.click("#previous")
    assert state(page)["step"] == len(steps) - 2
    page.evaluate("anatomy.step(3)")
    assert page.get_attribute("#step", "data-step") == "3"


def test_enter_opens_shift_moves_and_escape_closes(show: Any) -> None:
    page = show(html("self"))
    page.focus('[data-matrix="dP"]')
    page.keyboard.press("Enter")
    assert inspected(page)["name"] == "dP"
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowUp", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(f"Shift+{key}")
    found = inspected(page)
    assert (found["row"], found["column"]) == ("1", "0")
    assert state(page)["step"] == 0
    page.keyboard.press("Escape")
    assert inspected(page) == {"label": "inspector"}
    assert page.evaluate("document.activeElement.dataset.matrix") == "dP"


def test_tab_reaches_every_control(show: Any) -> None:
    page = show(html("self"))
    page.evaluate("anatomy.step(1); anatomy.select('dP', 0, 0, 1, 2)")
    page.evaluate("document.activeElement.blur()")
    wanted = page.evaluate(
        "[...document.querySelectorAll('button:not(:disabled), select, [data-matrix]')]"
        ".filter(e => e.offsetParent).length"
    )
    reached = page.evaluate_handle("new Set()")
    for _ in range(wanted + 6):
        page.keyboard.press("Tab")
        reached.evaluate("all => all.add(document.activeElement)")
    left = page.evaluate(
        "all => [...document.querySelectorAll('button:not(:disabled), select, [data-matrix]')]"
        ".filter(e => e.offsetParent && !all.has(e)).map(e => e.outerHTML.slice(0, 80))",
        reached,
    )
    assert left == []
