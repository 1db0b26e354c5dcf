"""Where does the gradient come from?  Exact, because the backward pass is linear.

A copy collects the gradients of its uses, so dX is a sum with one term for each way on which the
loss can depend on X: through the queries, the keys and the values of every head.

    dX = Σ_h dQ_h Wq_h + Σ_g dK_g Wk_g + Σ_g dV_g Wv_g        W_h: the rows of head h

What came by the softmax is the sum over Q and K; what came by the values is that over V.  At the
input of the block around the layer each part goes back through what lies between, a norm, whose
vector-Jacobian product is linear too, and the ways around the layer are added: the residual.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...engine import Array, ShapeError
from ..files import FilePath
from ..labels import clean, number_text
from ..matrices import alignments
from .data import Block, Layer, Matrices, PathPart, Place, Recording, Target, Text

NAMES = {
    "q": Text("through Q", "Q를 거쳐"),
    "k": Text("through K", "K를 거쳐"),
    "v": Text("through V", "V를 거쳐"),
    "norm": Text("through the norm", "정규화를 거쳐"),
    "layer": Text("through attention", "어텐션을 거쳐"),
    "residual": Text("around attention (residual)", "어텐션을 건너뛰어(잔차)"),
}
SUMS = ("norm", "layer")  # of everything that came through the layer: not one part more
Raw = tuple[str, int | None, Array]  # kind, head, and for each example (B, time, width)


@dataclass(frozen=True)
class Decomposition:
    """Where the gradient of one example comes from: numbers, a table for terminals, a picture.

    Attributes:
        parts: all of them; for each place `at`, those of the finest division add up to the whole.
        cancellation: 1 − ‖Σ parts‖ / Σ ‖part‖ at `at`: 0 where all point one way.
        at: the outermost place: the block's input where it is known, else X.
        split: shares of dX through the "softmax" (Q and K) and through the "values".
        title: what the gradient is of, and where.
        whole: for each place the gradient itself, as `ta.grad` gave it.
        rows: for each place a label for each row of it.
        group: how many query heads share one head of keys and values.
    """

    parts: tuple[PathPart, ...]
    cancellation: float
    at: Place
    split: dict[str, float]
    title: str
    whole: dict[Place, Array]
    rows: Mapping[Place, Sequence[str]]
    group: int = 1

    def finest(self, at: Place) -> tuple[PathPart, ...]:
        """The parts by head, and the residual: together the gradient at that place."""
        return tuple(p for p in self.of(at) if p.head is not None or p.kind == "residual")

    def of(self, at: Place) -> tuple[PathPart, ...]:
        """All parts at a place.

        Raises:
            ShapeError: there is no gradient at that place.
        """
        if at not in self.whole:
            raise ShapeError(f"paths: expected a place among {tuple(self.whole)}, got {at!r}")
        return tuple(p for p in self.parts if p.at == at)

    def name(self, part: PathPart) -> str:
        """A part's name, with the head if it is one head's."""
        return part.name.en + ("" if part.head is None else f", {self.head(part)}")

    def head(self, part: PathPart) -> str:
        """The query heads that a part belongs to: one, or those that share a K and V."""
        first = (part.head or 0) * (1 if part.kind == "q" else self.group)
        last = first + (0 if part.kind == "q" else self.group - 1)
        return f"head {first}" if first == last else f"heads {first}–{last}"

    def __str__(self) -> str:
        lines = [text for at in self.whole for text in ("", *table(self, at))]
        return "\n".join([clean(self.title, 200), *lines])

    def save(self, path: FilePath, *, at: Place | None = None, heads: bool = False) -> Path:
        """Draw the gradient and its parts beside each other, on one scale, shares in their titles.

        Args:
            path: ends in .svg, .png or .pdf.
            at: "X", "M" (the keys' and values' input in cross-attention) or "block" (the input of
                the module around the layer); the outermost that is known where None.
            heads: draw the parts of each head too.

        Raises:
            ShapeError: there is no gradient at that place.
            RenderError, ExtraError: as in `heatmap`.
        """
        at = self.at if at is None else at
        shown = [p for p in self.of(at) if heads or p.head is None]
        titles = [f"{symbol(at)}   ‖{symbol(at)}‖ = {number_text(norm(self.whole[at]))}"]
        return alignments(
            [self.whole[at], *(p.data for p in shown)],
            path,
            rows=[self.rows[at]] * (len(shown) + 1),
            titles=titles + [f"{self.name(p)}   {percent(p.share)}" for p in shown],
            title=self.title,
            label="gradient",
            signed=True,
        )


def paths_of(recording: Recording) -> tuple[tuple[Decomposition, ...], ...]:
    """The paths of each target and each example.

    Args:
        recording: whose examples, parameters, targets and block are known.
    """
    return tuple(
        tuple(of_target(recording, number, target))
        for number, target in enumerate(recording.targets)
    )


def of_target(recording: Recording, number: int, target: Target) -> Iterator[Decomposition]:
    """The paths of one target, example by example."""
    layer, block = recording.layer, recording.block
    ways = by_place(layer, recording.parameters, target)
    wholes = {at: np.stack([g[f"d{at}"] for g in target.gradients]) for at in ways}
    if block is not None:
        ways["block"] = at_block(block, block.residual[number], ways)
        wholes["block"] = block.total[number]
    at = tuple(ways)[-1] if block is not None else "X"
    for b, example in enumerate(recording.examples):
        whole = {place: g[b] for place, g in wholes.items()}
        parts = tuple(
            measured(kind, head, place, array[b], whole[place])
            for place, raw in ways.items()
            for kind, head, array in raw
        )
        labels = {place: example.keys if place == "M" else example.queries for place in whole}
        title = f"{layer.name}: gradient of {target.name}, {example.title}"
        lost = cancelled(parts, whole, at)
        yield Decomposition(parts, lost, at, split(parts), title, whole, labels, layer.group)


# ── the parts ────────────────────────────────────────────────────────────────────────────────────
def by_place(layer: Layer, parameters: Matrices, target: Target) -> dict[Place, list[Raw]]:
    """What arrives at X, and in cross-attention at M: by Q, K and V, then by their heads."""
    kinds = [("q", "Q"), ("k", "K"), ("v", "V")]
    heads = {
        kind: through(np.stack([g[f"d{name}"] for g in target.gradients]), parameters[f"W{kind}"])
        for kind, name in kinds
    }
    ways: dict[Place, list[Raw]] = {"X": [], **({"M": []} if layer.cross else {})}
    for kind, parts in heads.items():
        ways[source(layer, kind)].append((kind, None, parts.sum(0)))
    for kind, parts in heads.items():
        ways[source(layer, kind)] += [(kind, h, part) for h, part in enumerate(parts)]
    return ways


def source(layer: Layer, kind: str) -> Place:
    """Where queries (X), keys and values (M in cross-attention) are made from."""
    return "M" if layer.cross and kind != "q" else "X"


def through(gradients: Array, weight: Array) -> Array:
    """Each head's dQ_h Wq_h: (B, heads, time, d), (heads·d, width) -> (heads, B, time, width)."""
    rows = weight.reshape(gradients.shape[1], -1, weight.shape[-1])
    parts: Array = np.einsum("bhti,hij->hbtj", gradients, rows)
    return parts


def at_block(block: Block, residual: Array, ways: dict[Place, list[Raw]]) -> list[Raw]:
    """What arrives at the block's input u: the residual, all by the layer, and the parts of that.

    A part of dM that reaches no u (a decoder's memory) is left out.
    """
    pulled = {
        at: [(kind, head, block.pull(at, array)) for kind, head, array in ways[at]]
        for at in ("X", "M")
        if at in ways
    }
    both = any(array.any() for _, _, array in pulled.get("M", ()))
    found = pulled["X"] + (pulled["M"] if both else [])
    together = sum((array for _, head, array in found if head is None), np.zeros_like(residual))
    kind = "norm" if block.norm and not both else "layer"
    return [("residual", None, residual), (kind, None, together), *found]


# ── their numbers ────────────────────────────────────────────────────────────────────────────────
def measured(kind: str, head: int | None, at: Place, part: Array, whole: Array) -> PathPart:
    """A part with its norm, share and cosine; both are 0 where there is no gradient at all."""
    size, total = norm(part), norm(whole)
    along = float(np.vdot(part / size, whole / total)) if size and total else 0.0
    share = along * (size / total) if total else 0.0
    return PathPart(NAMES[kind], kind, head, at, size, share, along, part)


def norm(array: Array) -> float:
    """‖·‖ over all elements, scaled so that the squares of tiny gradients do not vanish."""
    largest = float(np.abs(array).max(initial=0.0))
    return largest * float(np.linalg.norm(array / largest)) if largest else 0.0


def cancelled(parts: Sequence[PathPart], whole: dict[Place, Array], at: Place) -> float:
    """1 − ‖whole‖ / Σ ‖part‖ over the parts by head and the residual.

    0: all point one way.  1: they cancel.  The sum is never smaller than ‖whole‖ (triangle
    inequality), so this is the part of their lengths that is lost where they meet.
    """
    fine = [p.norm for p in parts if p.at == at and (p.head is not None or p.kind == "residual")]
    return max(0.0, 1 - norm(whole[at]) / sum(fine)) if any(fine) else 0.0


def split(parts: Sequence[PathPart]) -> dict[str, float]:
    """Shares of dX through the softmax (Q and K), and through the values."""
    share = {p.kind: p.share for p in parts if p.at == "X" and p.head is None}
    return {"softmax": share["q"] + share.get("k", 0.0), "values": share.get("v", 0.0)}


# ── as text ──────────────────────────────────────────────────────────────────────────────────────
def table(paths: Decomposition, at: Place) -> list[str]:
    """The lines of one place: a heading, each kind with its heads below it, and what they make."""
    coarse = [p for p in paths.of(at) if p.head is None]
    nested = any(p.kind in SUMS for p in coarse)
    lines = [line(f"{symbol(at)} comes", "norm", "share", "cosine")]
    for part in coarse:
        heads = [p for p in paths.of(at) if p.kind == part.kind and p.head is not None]
        indent = "  " * (nested and bool(heads))
        lines.append(measures(indent + part.name.en, part))
        if len(heads) > 1:
            lines += [measures(f"{indent}  {paths.head(p)}", p) for p in heads]
    whole = norm(paths.whole[at])
    lines.append(line(f"{symbol(at)}, the whole", number_text(whole), percent(1), "1.000"))
    softmax, values = (sum(p.share for p in coarse if p.kind in kinds) for kinds in ("qk", "v"))
    lost = percent(cancelled(paths.parts, paths.whole, at))
    return [
        *lines,
        f"by the softmax (Q and K) {percent(softmax)}, by the values {percent(values)}; "
        f"{lost} of the parts' lengths cancel",
    ]


def measures(name: str, part: PathPart) -> str:
    """The line of one part."""
    return line(name, number_text(part.norm), percent(part.share), f"{part.cosine:.3f}")


def line(name: str, *numbers: str) -> str:
    """A name and its numbers, in columns."""
    return f"{name:30}" + "".join(f"{number.replace('-', '−'):>12}" for number in numbers)


def symbol(at: Place) -> str:
    """dX, dM, and du for the block's input."""
    return "du" if at == "block" else f"d{at}"


def percent(share: float) -> str:
    """0.4137 as "41.4 %", with a true minus sign."""
    return f"{round(100 * share, 1) + 0.0:.1f} %".replace("-", "−")
