"""The derivation sheet: the chain rule of one recorded call with shapes and numbers, in Markdown.

Everything on it is read from the recording: the steps and the rules from `steps_of`, a cell a step
from `Cells`, chosen so that one can follow the gradient back from cell to cell.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...engine import Array, IndexingError
from ..labels import number_text, shape_text, visible
from .cells import Cells, Factor, Index, Term
from .data import MEANINGS, Example, Layer, Recording, Step, Target
from .identities import identities_of
from .markdown import aligned, block, grid, number, off, printed, text
from .paths import paths_of, percent
from .paths import symbol as place_symbol
from .paths import table as paths_table
from .steps import NOTHING, steps_of, symbol

MOST_TERMS = 6  # of a sum that are written out; the others in one line
MOST_KEYS = 12  # of a row that are shown
LARGEST = 12  # rows and columns of a matrix that is printed
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
PER_HEAD = {"Q", "K", "V", "Qrot", "Krot", "R", "S", "Smasked", "P", "C"}


class Sheet:
    """What the parts of a derivation share.

    Attributes:
        b, h, t, s: example, head, query and key whose cells are written out.
    """

    def __init__(self, recording: Recording, target: Target, b: int) -> None:
        self.recording, self.target, self.b = recording, target, b
        self.layer: Layer = recording.layer
        self.example: Example = recording.examples[b]
        self.cells = Cells(recording, target)
        self.paths = recording.paths or paths_of(recording)
        scores = np.abs(target.gradients[b]["dSmasked"])  # what is most wanted to change
        self.h, self.t, self.s = map(int, np.unravel_index(scores.argmax(), scores.shape))

    def largest(self, name: str, *lead: int) -> int:
        """Where |name[lead]| is largest: the feature whose cell is written out."""
        return int(np.abs(self.cells.matrices[name][lead]).argmax())

    def index(self, name: str) -> Index:
        """The cell of a matrix or gradient that is written out."""
        b, h, t, s, width = self.b, self.h, self.t, self.s, self.layer.d_head
        g, bare = h // self.layer.group, name.removeprefix("d")
        i_q, i_c = self.largest("dQ", b, h, t), self.largest("dC", b, h, t)
        j, m = self.largest("dX", b, t), self.largest("dY", b, t)
        by_key = (b, g, s, self.largest("dV" if bare == "V" else "dK", b, g, s))
        places: dict[str, Index] = {
            "X": (b, t, j), "Q": (b, h, t, i_q), "Qrot": (b, h, t, i_q),
            "K": by_key, "Krot": by_key, "V": by_key,
            "C": (b, h, t, i_c), "O": (b, t, h * width + i_c), "Y": (b, t, m),
            "Wq": (h * width + i_q, j), "Wo": (m, h * width + i_c),
        }  # fmt: skip
        if bare == "M":
            return (b, s, self.largest("dM", b, s))
        return places.get(bare, (b, h, t, s))


def derivation(recording: Recording, target: int | str = 0, example: int = 0) -> str:
    """The chain rule of a recorded call as a Markdown sheet.

    Args:
        target: whose gradient, by its number or its name.  example: which sequence of the batch.

    Raises:
        IndexingError: there is no such target or example.
    """
    if isinstance(target, str):
        target = number_of(target, [each.name for each in recording.targets])
    refuse_beyond("target", target, len(recording.targets))
    refuse_beyond("example", example, len(recording.examples))
    sheet = Sheet(recording, recording.targets[target], example)
    steps: dict[str, list[str]] = {"forward": [], "backward": []}
    for n, step in enumerate(steps_of(recording), 1):
        steps[step.direction].append(step_part(sheet, n, step))
    parts = [
        heading(sheet),
        symbols(sheet),
        "## Forward",
        *steps["forward"],
        row_part(sheet),
        "## Backward",
        *steps["backward"],
        matrices_part(sheet),
        identities_part(sheet, target),
        paths_part(sheet, target),
        numeric_part(sheet, target),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def number_of(target: str, names: list[str]) -> int:
    """The number of a target by its name."""
    if target not in names:
        there = ", ".join(map(visible, names))
        raise IndexingError(f"derivation: expected a target, one of {there}, got {target!r:.80}")
    return names.index(target)


def refuse_beyond(name: str, i: Any, count: int) -> None:
    """Refuse what is not there."""
    if not isinstance(i, (int, np.integer)) or isinstance(i, bool) or not 0 <= i < count:
        raise IndexingError(f"derivation: expected {name} 0 … {count - 1}, got {i!r:.80}")


# ── head ─────────────────────────────────────────────────────────────────────────────────────────
def heading(sheet: Sheet) -> str:
    """What the sheet is about, and whose cells it writes out."""
    layer, example, target = sheet.layer, sheet.example, sheet.target
    T, S = example.values["P"].shape[1:]
    kind = "cross-attention" if layer.cross else "self-attention"
    extras = [f"{layer.num_kv_heads} heads of keys and values"] * (layer.group > 1)
    extras += ["rotary positions"] * layer.rotary + ["no biases"] * (not layer.bias)
    about = ", ".join([kind, f"{layer.num_heads} heads of width {layer.d_head}", *extras])
    of = f"{text(sheet.recording.title, 120)}: " if sheet.recording.title else ""
    return (
        f"# The chain rule of {text(visible(layer.name))}\n\n"
        f"{of}{about}; {T} queries, {S} keys: “{text(example.title, 120)}”.\n\n"
        f"L is “{text(target.name)}” = {number(target.value)}; a gradient is d + the symbol, "
        "dS = ∂L/∂S.  All numbers were recorded in float64, gradients by the rules that stand "
        "beside each step; sums are written out from the cells that enter them and compared with "
        "what was recorded.\n\n"
        f"The cells written out belong to head {sheet.h}, query {sheet.t} "
        f"“{text(example.queries[sheet.t])}” and key {sheet.s} “{text(example.keys[sheet.s])}”: "
        "the score whose gradient is largest.  Counting starts at 0; S′₂[3, 5] is head 2, query 3, "
        "key 5."
    )


def symbols(sheet: Sheet) -> str:
    """The table of all matrices."""
    layer, target = sheet.layer, sheet.target
    values = {**sheet.example.values, **sheet.recording.parameters}
    gradients = {**target.gradients[sheet.b], **target.parameters}
    rows = [
        (
            symbol(name),
            MEANINGS[name].en,
            shape_text(values[name].shape),
            length(values[name]),
            length(gradients[f"d{name}"]),
        )
        for name in (*layer.columns, *sheet.recording.parameters)
    ]
    head = ("symbol", "is", "shape", "length", "length of its gradient")
    return (
        "## Symbols\n\n"
        + grid(head, rows, right=2)
        + "\n\nLength: the root of the sum of squares, where finite.  Gradients of parameters are "
        f"sums over all examples ({len(sheet.recording.examples)}), all others are this example's."
    )


def length(array: Array) -> str:
    """‖·‖ of what is finite."""
    return number_text(float(np.linalg.norm(array[np.isfinite(array)])), 4)


# ── steps ────────────────────────────────────────────────────────────────────────────────────────
def step_part(sheet: Sheet, n: int, step: Step) -> str:
    """A step: formula, sentence, shapes, what was kept, the rule, and cells written out."""
    kept = "Kept for the way back" if step.direction == "forward" else "Was kept for this"
    lines = [
        f"### {n}. {step.title.en}",
        block(*step.formula.splitlines()),
        step.sentence.en,
        f"Shapes: {step.shapes}  \n{kept}: {step.saves.replace(NOTHING, 'nothing')}",
    ]
    if step.direction == "backward":
        lines.append(block(*step.source.splitlines(), language="python"))
    lines += [block(*opened(sheet, name)) for name in written_out(sheet, step)]
    return "\n\n".join(lines)


def written_out(sheet: Sheet, step: Step) -> list[str]:
    """Which of the matrices of a step are shown with a cell: no bias, and of the weights one."""
    weights = [name for name in step.makes if name in ("dWq", "dWo")]
    others = [name for name in step.makes if name.removeprefix("d")[0] not in "Wb"]
    turned = sheet.layer.rotary and sheet.recording.turn is None
    hidden = {"Qrot", "Krot", "dQ", "dK"} if turned else set()
    return [name for name in (*others, *weights) if name not in hidden]


def opened(sheet: Sheet, name: str) -> Iterator[str]:
    """The lines of a cell: its terms, largest first, their sum, and what was recorded."""
    index = sheet.index(name)
    if name == "P":
        yield from softmax_cell(sheet, index)
        return
    cell = sheet.cells.cell(name, *index)
    count = f"a sum of {len(cell.terms)} products" if len(cell.terms) > 1 else "one cell"
    yield f"{placed(sheet, cell.place)}: {count}"
    rows = [term_row(sheet, term) for term in cell.terms[:MOST_TERMS]]
    if len(cell.terms) > MOST_TERMS:
        rest = sum(term.product for term in cell.terms[MOST_TERMS:])
        rows.append((f"{len(cell.terms) - MOST_TERMS} more", "", number(rest)))
    if len(cell.terms) > 1:
        rows.append(("together", "", number(cell.total)))
    yield from aligned([*rows, recorded_row(cell.difference, cell.value)])


def recorded_row(difference: float, value: float) -> tuple[str, str, str]:
    """What was recorded, and how far from what was worked out here it is."""
    return "recorded", f"difference {off(difference)}", number(value)


def term_row(sheet: Sheet, term: Term) -> tuple[str, str, str]:
    """A term: its cells, their numbers, the product."""
    names = " · ".join(placed(sheet, factor) for factor in term.factors)
    numbers = " × ".join(map(number, term.values)) if len(term.values) > 1 else ""
    return ("− " if term.sign < 0 else "") + names, numbers, number(term.product)


def softmax_cell(sheet: Sheet, index: Index) -> Iterator[str]:
    """P is no sum, but a quotient."""
    row = sheet.cells.matrices["Smasked"][index[:-1]]
    name, value = placed(sheet, Factor("P", index)), sheet.cells.matrices["P"][index]
    if not np.isfinite(row).any():
        yield f"{name} = {number(value)}: this query may look at no key"
        return
    high = row.max()
    total, part = np.exp(row - high).sum(), np.exp(row[index[-1]] - high)
    yield f"{name}: the largest score of the row, {number(high)}, is taken off; exp cannot overflow"
    yield from aligned(
        [
            ("exp(S′ − max)", f"exp({number(row[index[-1]])} − {number(high)})", number(part)),
            ("Σ exp(S′ − max)", f"{len(row)} keys", number(total)),
            ("together", f"{number(part)} / {number(total)}", number(part / total)),
            recorded_row(abs(part / total - value), value),
        ]
    )


def placed(sheet: Sheet, factor: Factor) -> str:
    """A cell as it is written: dP₀[3, 5]; of another example, with its number before it."""
    bare = factor.name.removeprefix("d")
    if bare in sheet.recording.parameters or not factor.at:
        where = f"[{', '.join(map(str, factor.at))}]" if factor.at else ""
        return symbol(factor.name) + where
    b, *at = factor.at
    head = str(at.pop(0)).translate(SUBSCRIPTS) if bare in PER_HEAD or bare == "mask" else ""
    before = "" if b == sheet.b else f"example {b}: "
    return f"{before}{symbol(factor.name)}{head}[{', '.join(map(str, at))}]"


# ── tables ───────────────────────────────────────────────────────────────────────────────────────
def row_part(sheet: Sheet) -> str:
    """The row of the chosen query: where it looks, and what comes back."""
    m, row = sheet.cells.matrices, (sheet.b, sheet.h, sheet.t)
    columns = ("S", "Smasked", "P", "dP", "dSmasked")
    order = np.argsort(-np.abs(m["dSmasked"][row]), kind="stable")[:MOST_KEYS]
    rows = [
        (str(s), f"“{text(sheet.example.keys[s])}”", *(number(m[c][row][s]) for c in columns))
        for s in sorted(map(int, order))
    ]
    mean = float((m["P"][row] * m["dP"][row]).sum())
    sums = [number_text(float(m[name][row].sum()), 2) for name in ("P", "dSmasked")]
    left = m["P"].shape[-1] - len(rows)
    return (
        f"## One row: query {sheet.t} in head {sheet.h}\n\n"
        + grid(("s", "key", *map(symbol, columns)), rows, right=len(columns))
        + (
            f"\n\nThe {left} keys whose scores have the smallest gradients are left out."
            if left
            else ""
        )
        + f"\n\nΣ P = {sums[0]}, Σ P∘dP = {number(mean)}, Σ dS′ = {sums[1]}.  dS′ is "
        "positive where dP is above the mean Σ P∘dP, and negative where it is below."
    )


def matrices_part(sheet: Sheet) -> str:
    """P and dS′ of the chosen head, where they are small."""
    m, place = sheet.cells.matrices, (sheet.b, sheet.h)
    if max(m["P"].shape[2:]) > LARGEST:
        return ""
    parts = [
        f"{symbol(name)} of head {sheet.h}:\n\n" + block(*printed(m[name][place]))
        for name in ("P", "dP", "dSmasked")
    ]
    return "## The matrices of this head\n\nA row for each query, a column for each key.\n\n" + (
        "\n\n".join(parts)
    )


def identities_part(sheet: Sheet, target: int) -> str:
    """The identities with what was measured."""
    found = sheet.recording.identities or identities_of(sheet.recording, sheet.paths)
    rows = [
        (
            identity.name.en,
            ("yes" if identity.holds else "**no**") if identity.applies else "does not apply",
            off(identity.deviation) if identity.applies else NOTHING,
            identity.condition.en,
        )
        for identity in found[target]
    ]
    return "## Identities\n\n" + grid(("", "holds", "deviation", "condition"), rows)


def paths_part(sheet: Sheet, target: int) -> str:
    """Where dX comes from."""
    paths = sheet.paths[target][sheet.b]
    blocks = [block(*paths_table(paths, at)) for at in paths.whole]
    places = ", ".join(place_symbol(at) for at in paths.whole)
    block_ = sheet.recording.block
    note = "" if block_ is None else f" u is the input of {text(block_.name) or 'the model'}."
    return (
        f"## Where {places} come{'s' * (len(paths.whole) == 1)} from\n\n"
        "The backward pass is linear, so a gradient is the sum of what came by each way.  The "
        f"share of a part is ⟨part, whole⟩ / ‖whole‖²; shares add up to {percent(1)}.{note}\n\n"
        + "\n\n".join(blocks)
    )


def numeric_part(sheet: Sheet, target: int) -> str:
    """The gradients beside the complex step, which knows none of the rules."""
    numeric = sheet.recording.numeric if target == 0 else {}
    rows = []
    for name, arrays in numeric.items():
        exact = sheet.cells.matrices[name]
        found = np.stack(arrays) if name in ("dX", "dM") else arrays[0]
        known = np.isfinite(found)
        if known.any():
            worst = float(np.abs(found - exact)[known].max())
            size = float(np.abs(exact).max())
            rows.append((name, f"{known.sum()} of {found.size}", number(size), off(worst)))
    if not rows:
        return ""
    head = ("gradient", "cells compared", "largest cell", "largest difference")
    return "## Checked by the complex step\n\n" + grid(head, rows, right=3)
