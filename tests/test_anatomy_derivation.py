"""The derivation sheet: its numbers are the recorded ones, its text is nobody's markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from anatomies import recorded
from hostile import LABELS
from markdown_it import MarkdownIt

from tinygrad_attn import IndexingError
from tinygrad_attn.viz.anatomy.cells import Cells
from tinygrad_attn.viz.anatomy.data import Recording
from tinygrad_attn.viz.anatomy.derivation import derivation
from tinygrad_attn.viz.anatomy.markdown import block, text
from tinygrad_attn.viz.anatomy.paths import paths_of
from tinygrad_attn.viz.anatomy.steps import symbol
from tinygrad_attn.viz.labels import clean, visible

Rng = np.random.Generator
KINDS: dict[str, dict[str, Any]] = {
    "self": {"masked": True},
    "no bias": {"bias": False},
    "rotary, grouped": {"rotary": True, "kv_heads": 3, "masked": True},
    "cross, grouped": {"cross": True, "kv_heads": 2},
}
DIGITS = str.maketrans("₀₁₂₃₄₅₆₇₈₉−", "0123456789-")
CELL = re.compile(r"(?m)^(d?[A-Z][a-z]*′?)([₀-₉]*)\[([\d, ]+)\]: (.*)\n((?:  .*\n)+)")
READER = MarkdownIt("gfm-like", {"linkify": False})


class Reader(HTMLParser):
    """Elements, links and the text of table cells of a rendered sheet."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.cells: list[str] = []
        self.inside = ""
        self.words: dict[str, str] = {}
        self.feed(READER.render(markdown))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.inside = tag
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "td":
            self.cells[-1] += data
        self.words[self.inside] = self.words.get(self.inside, "") + data


def numbers(line: str) -> float:
    return float(line.rpartition("= ")[2].translate(DIGITS))


@pytest.mark.parametrize("example", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_cells_are_those_of_the_recording(rng: Rng, kind: str, example: int) -> None:
    recording = recorded(rng, **KINDS[kind])
    found = CELL.findall(derivation(recording, example=example))
    cells = Cells(recording, recording.targets[0])
    names = {symbol(name): name for name in cells.matrices}
    for shown, head, place, _, lines in found:
        name = names[shown]
        at = [int(i) for i in place.split(", ")]
        at = [int(head.translate(DIGITS)), *at] if head else at
        at = at if name.removeprefix("d") in recording.parameters else [example, *at]
        rows = lines.splitlines()
        assert rows[-1].strip().startswith("recorded")
        value = cells.matrices[name][tuple(at)]
        assert np.isclose(numbers(rows[-1]), value, rtol=1e-5), (name, at)
        terms = [r for r in rows if not r.strip().startswith(("together", "recorded", "exp", "Σ"))]
        total = sum(map(numbers, terms)) if terms else numbers(rows[-2])
        sizes = sum(abs(numbers(row)) for row in terms)
        assert abs(total - value) < 1e-4 * max(sizes, abs(value)), (name, at)
        off = float(rows[-1].split("difference ")[1].split(" =")[0].translate(DIGITS))
        assert off < 1e-12
    layer = recording.layer
    made = {name for name, *_ in found}
    both = {symbol(name) for name in layer.columns} - {"X", "M"}
    back = {symbol(f"d{name}") for name in layer.columns} - {"dY"}
    assert made == both | back | {"dWq", "dWo"}


def test_a_wrong_gradient_shows(rng: Rng) -> None:
    recording = recorded(rng)
    target = recording.targets[0]
    wrong = {**target.gradients[0], "dSmasked": 1.5 * target.gradients[0]["dSmasked"] + 0.1}
    spoilt = replace(recording, targets=(replace(target, gradients=(wrong, target.gradients[1])),))
    before, after = derivation(recording), derivation(spoilt)
    assert "**no**" not in before
    assert re.search(r"\| rows of dS′ sum to 0 \| \*\*no\*\* \|", after)
    offs = {
        shown: float(lines.split("difference ")[1].split(" =")[0].translate(DIGITS))
        for shown, _, _, _, lines in CELL.findall(after)
    }
    assert offs["dS′"] > 0.01
    assert offs["dS"] > 0.01
    assert offs["dP"] < 1e-12


def test_the_cells_follow_the_largest_gradient_of_a_score(rng: Rng) -> None:
    recording = recorded(rng, masked=True)
    scores = np.abs(recording.targets[0].gradients[1]["dSmasked"])
    h, t, s = np.unravel_index(scores.argmax(), scores.shape)
    sheet = derivation(recording, example=1)
    head = str(h).translate({ord(str(i)): ord("₀") + i for i in range(10)})
    for name in ("R", "S", "S′", "P", "dP", "dS′", "dS", "dR"):
        assert f"\n{name}{head}[{t}, {s}]: " in sheet
    assert f"belong to head {h}, query {t} “q{t}” and key {s} “k{s}”" in sheet
    key = re.search(rf"\| {s} \| “k{s}” \|(.*)\|", sheet)
    assert key
    shown, value = key[1].split("|")[-1], recording.targets[0].gradients[1]["dSmasked"][h, t, s]
    assert np.isclose(float(shown.translate(DIGITS)), value, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_it_reads_as_markdown(rng: Rng, kind: str) -> None:
    recording = recorded(rng, **KINDS[kind])
    sheet = derivation(recording)
    found = Reader(sheet)
    assert found.tags == {
        "h1", "h2", "h3", "p", "br", "pre", "code", "table", "thead", "tbody", "tr", "th", "td",
    }  # fmt: skip
    assert found.attributes <= {"class", "style"}
    assert found.words["h1"] == "The chain rule of block.attn"
    for title in ("Symbols", "Forward", "Backward", "Identities", "One row: query"):
        assert title in found.words["h2"]
    steps = 18 if recording.layer.rotary else 16
    assert sheet.count("\n### ") == steps
    assert f"### {steps}. Queries, keys and values, backward" in sheet
    for line in sheet.splitlines():
        assert len(line) < 500
    tables = [chunk.splitlines() for chunk in sheet.split("\n\n") if chunk.startswith("|")]
    assert len(tables) == 3
    for rows in tables:
        assert len({row.count("|") for row in rows}) == 1


def test_rules_identities_and_paths_are_on_it(rng: Rng) -> None:
    sheet = derivation(recorded(rng, kv_heads=2))
    assert "lambda g, out, axis: out * (g - (g * out)" in sheet
    assert "dS′ = P∘(dP − Σ dP∘P)" in sheet
    assert "| the key bias gets no gradient | yes | " in sheet
    assert "| dS′ is 0 where masked | does not apply | – |" in sheet
    assert "dX, the whole " in sheet
    assert "around attention (residual)" in sheet
    assert "u is the input of block." in sheet
    assert "complex step" not in sheet


def test_beside_the_complex_step(rng: Rng) -> None:
    recording = recorded(rng)
    dX = [np.array(g["dX"]) for g in recording.targets[0].gradients]
    dX[1][2, 3] += 3e-5
    dX[0][1:] = np.nan
    numeric = {"dX": tuple(dX), "dWq": (np.full((12, 12), np.nan),)}
    sheet = derivation(replace(recording, numeric=numeric))
    row = next(line for line in sheet.splitlines() if line.startswith("| dX | "))
    assert row.split(" | ")[1] == "72 of 120"
    assert row.endswith("| 3e−05 |")
    assert "| dWq |" not in sheet
    twice = replace(recording, numeric=numeric, targets=recording.targets * 2, block=None)
    assert "complex step" in derivation(twice, 0)
    assert "complex step" not in derivation(twice, 1)  # it is of the first target


def test_a_gradient_of_a_weight_names_the_examples(rng: Rng) -> None:
    sheet = derivation(recorded(rng), example=1)
    rows = next(lines for name, *_, lines in CELL.findall(sheet) if name == "dWq")
    assert "example 0: dQ" in rows
    assert "example 1" not in sheet  # it is the sheet's own
    assert re.search(r"(?m)^  dQ[₀-₉]\[\d, \d\] · X\[", rows)


def test_long_sequences_are_cut(rng: Rng) -> None:
    recording = recorded(rng, batch=1)
    (example,), (target,) = recording.examples, recording.targets

    def longer(arrays: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
        wide = {n: np.concatenate([arrays[n]] * 3, axis=-1) for n in names}
        tall = {n: np.concatenate([a] * 3, axis=-2) for n, a in {**arrays, **wide}.items()}
        return tall

    scores = ("R", "S", "Smasked", "P")
    longer_one = replace(
        example,
        queries=example.queries * 3,
        keys=example.keys * 3,
        values=longer(example.values, scores),
        mask=np.zeros((1, 15, 15)),
    )
    gradients = longer(target.gradients[0], tuple(f"d{name}" for name in scores))
    sheet = derivation(
        replace(
            recording,
            examples=(longer_one,),
            targets=(replace(target, gradients=(gradients,)),),
            block=None,
        )
    )
    shown = {int(row) for row in re.findall(r"(?m)^\| (\d+) \| “k\d”", sheet)}
    row = re.search(r"belong to head (\d), query (\d+) ", sheet)
    assert row
    sizes = np.abs(gradients["dSmasked"][int(row[1]), int(row[2])])
    assert min(sizes[s] for s in shown) >= max(sizes[s] for s in range(15) if s not in shown)
    assert "The 3 keys whose scores have the smallest gradients are left out." in sheet
    assert "The matrices of this head" not in sheet
    assert " more " in sheet


def test_a_query_that_may_look_nowhere_and_no_gradient(rng: Rng) -> None:
    recording = recorded(rng, masked=True)
    target = recording.targets[0]
    mask = np.array(recording.examples[0].mask)
    mask[:] = -np.inf
    values = dict(recording.examples[0].values)
    values |= {"P": 0 * values["P"], "Smasked": values["S"] + mask}
    example = replace(recording.examples[0], mask=mask, values=values)
    nothing = {name: 0 * g for name, g in target.gradients[0].items()}
    sheet = derivation(
        replace(
            recording,
            examples=(example, recording.examples[1]),
            targets=(replace(target, gradients=(nothing, target.gradients[1])),),
            block=None,
        )
    )
    assert "P₀[0, 0] = 0: this query may look at no key" in sheet
    assert "−∞" in sheet
    assert "nan" not in sheet.lower()


@pytest.mark.parametrize(("target", "example"), [(1, 0), (-1, 0), (0, 2), (0, -1)])
def test_what_is_not_there(rng: Rng, target: int, example: int) -> None:
    with pytest.raises(IndexingError, match=r"derivation: expected (target 0 … 0|example 0 … 1)"):
        derivation(recorded(rng), target, example)


def labelled(recording: Recording, labels: tuple[str, ...]) -> Recording:
    """Five labels where text from outside can be: each once a key and once a name."""
    block_, keys = recording.block, labels
    assert block_ is not None
    name, title, of, target, around = labels
    examples = (replace(recording.examples[0], title=of, queries=keys, keys=keys),)
    return replace(
        recording,
        title=title,
        layer=replace(recording.layer, name=name),
        examples=examples,
        targets=(replace(recording.targets[0], name=target),),
        block=replace(block_, name=around, through=(around,)),
    )


@pytest.mark.parametrize("first", range(0, len(LABELS), 5))
def test_labels_stay_text(rng: Rng, first: int) -> None:
    recording = recorded(rng, batch=1)
    plain = derivation(recording)
    labels = (LABELS[first:] + LABELS)[:5]
    sheet = derivation(labelled(recording, labels))
    found = Reader(sheet)
    assert found.tags == Reader(plain).tags
    assert found.attributes <= {"class", "style"}
    for label in labels:
        shown = clean(label)
        assert found.cells.count(f"“{shown}”") == [*map(clean, labels)].count(shown), label
    assert f"“{clean(labels[3])}”" in found.words["p"]
    assert found.words["h1"] == f"The chain rule of {visible(labels[0])}"
    assert len(sheet.splitlines()) == len(plain.splitlines())
    sheet.encode("utf-8")
    refuse_signs(re.sub(r"(?s)(?m)^```.*?^```$", "", sheet))


def refuse_signs(source: str) -> None:
    """Nothing that a reader of Markdown, GitHub's extensions included, could act on."""
    source = source.lower()
    for sign in ("<script", "<img", "://", "www.", "](", "$", "`", "\\", "javascript:", "mailto:"):
        assert sign not in source, sign
    assert source.replace("<!-- -->", "").count("<") == 0


@pytest.mark.parametrize("label", LABELS, ids=range(len(LABELS)))
def test_text_stays_text_wherever_it_stands(label: str) -> None:
    written = text(label)
    refuse_signs(written)
    found = Reader(f"{written} end\n\n| a |\n| --- |\n| “{written}” |\n\nafter {written} end")
    assert found.tags == {"p", "table", "thead", "tbody", "tr", "th", "td"}
    shown = clean(label)
    assert found.cells == [f"“{shown}”"]
    assert found.words["p"].strip() == f"{shown} endafter {shown} end".strip()


def test_what_could_become_an_address_is_parted() -> None:
    assert text("a@b.test") == "a&#64;<!-- -->b.test"
    assert text("www.b.test, WWW.b") == "www&#46;b.test&#44; WWW&#46;b"
    assert text("x://y") == "x&#58;<!-- -->&#47;&#47;y"
    assert text(" x ") == "&#32;x&#32;"
    assert text("  ") == "&#32;&#32;"


def test_punctuation_within_words_stays() -> None:
    for plain in ("blocks.1.self_attn", "it didn't"):
        assert text(plain) == plain
    assert text("1. a.") == "1&#46; a&#46;"
    assert text(".a_.b") == "&#46;a&#95;&#46;b"
    assert text("_a_ b__c 'd'") == "&#95;a&#95; b&#95;&#95;c &#39;d&#39;"


def test_fences_are_longer_than_what_they_hold() -> None:
    assert block("a", "````", "b", language="python") == "`````python\na\n````\nb\n`````"
    assert block("a").startswith("```text\n")


def test_a_target_goes_by_its_name(rng: Rng) -> None:
    recording = recorded(rng)
    other = replace(recording.targets[0], name="logit", value=2.5)
    recording = replace(recording, targets=(recording.targets[0], other), block=None)
    assert derivation(recording, "logit") == derivation(recording, 1)
    for wrong, message in (("lost", "one of loss, logit, got 'lost'"), (None, "0 … 1, got None")):
        with pytest.raises(IndexingError, match=message):
            derivation(recording, wrong)  # type: ignore[arg-type]


def test_paths_are_worked_out_once(rng: Rng, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = recorded(rng)
    known = replace(recording, paths=paths_of(recording))
    expected = derivation(recording)
    monkeypatch.delattr("tinygrad_attn.viz.anatomy.derivation.paths_of")
    assert derivation(known) == expected
