"""A recording as the JSON that the page reads: every array once, as base64 of float64.

"data" of a matrix: one text for each example, of its shape's numbers in row order, little-endian;
"range" the least and the greatest of these, all heads together.
A matrix and its gradient have one entry each, "X" under "matrices" and "dX" under "gradients";
shape and axes of a gradient are its matrix's.  What is no finite number is null, except inside the
arrays.  Labels are cleaned for display; an example whose labels had to be changed carries what they
were, as far as that can be shown on one line, under "full".
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from json import dumps
from math import isfinite
from typing import Any

import numpy as np

from ...engine import Array
from ..labels import clean
from .data import MEANINGS, Example, Identity, Layer, PathPart, Recording, Step, Target, Turn
from .naming import untitled
from .paths import Decomposition
from .sentences import korean

VERSION = 1
BLOCK = 96  # a matrix of more rows is shown in blocks
FULL_LIMIT = 1000  # of a label's full text
TITLE_LIMIT = 120
AXES = {
    "X": ("queries", "features"),
    "M": ("keys", "features"),
    "K": ("keys", "features"),
    "V": ("keys", "features"),
    "Krot": ("keys", "features"),
    **dict.fromkeys(("R", "S", "Smasked", "P"), ("queries", "keys")),
}
EXAMPLE_AXES, PARAMETER_AXES = ("queries", "features"), ("features", "features")
ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def page_data(recording: Recording) -> dict[str, Any]:
    """All that the page shows; see the module's text."""
    layer, targets = recording.layer, recording.targets
    return {
        "version": VERSION,
        "title": clean(recording.title, TITLE_LIMIT),
        "layer": described(layer),
        "examples": [labelled(b, example) for b, example in enumerate(recording.examples)],
        "targets": list(map(aimed, targets)),
        "columns": list(layer.columns),
        "parameters": list(recording.parameters),
        "meanings": {name: text._asdict() for name, text in MEANINGS.items()},
        "matrices": matrices(recording),
        "gradients": gradients(recording),
        "mask": {
            "shape": list(recording.examples[0].mask.shape),
            "data": [encoded(example.mask) for example in recording.examples],
        },
        "turn": recording.turn and turned(recording.turn),
        "numeric": {n: list(map(encoded, arrays)) for n, arrays in recording.numeric.items()},
        "steps": [step_entry(step) for step in recording.steps],
        "paths": [[table(paths) for paths in found] for found in recording.paths],
        "identities": [[judged(identity) for identity in found] for found in recording.identities],
        "blocks": {"limit": BLOCK},
        "size": 0,
    }


def written(data: dict[str, Any]) -> str:
    """The JSON in pure ASCII, without any character by which HTML begins or ends something."""
    return dumps(data, allow_nan=False, separators=(",", ":")).translate(ESCAPES)


# ── matrices ─────────────────────────────────────────────────────────────────────────────────────
def matrices(recording: Recording) -> dict[str, Any]:
    """Every matrix of the forward pass, and the parameters."""
    found = {}
    for name in recording.layer.columns:
        arrays = [example.values[name] for example in recording.examples]
        axes = AXES.get(name, EXAMPLE_AXES)
        found[name] = matrix(arrays, axes, "example", "probability" if name == "P" else "signed")
    for name, array in recording.parameters.items():
        found[name] = matrix([array], PARAMETER_AXES, "layer", "signed")
    return found


def matrix(arrays: Sequence[Array], axes: tuple[str, str], per: str, kind: str) -> dict[str, Any]:
    """One matrix, for all examples or for the layer."""
    shape = arrays[0].shape
    return {
        "per": per,
        "rows": axes[0],
        "columns": axes[1],
        "heads": shape[0] if len(shape) == 3 else 0,
        "shape": list(shape) if len(shape) > 1 else [1, *shape],
        "kind": kind,
        "range": list(map(ends, arrays)),
        "data": list(map(encoded, arrays)),
    }


def gradients(recording: Recording) -> dict[str, Any]:
    """The gradient of each matrix, for each target."""
    targets = recording.targets
    found = {}
    for name in targets[0].gradients[0]:
        per_target = [[gradient[name] for gradient in target.gradients] for target in targets]
        found[name] = gradient_of(per_target, "example")
    for name in targets[0].parameters:
        found[name] = gradient_of([[target.parameters[name]] for target in targets], "layer")
    return found


def gradient_of(arrays: Sequence[Sequence[Array]], per: str) -> dict[str, Any]:
    """The gradient of one matrix: for each target, for each example."""
    return {
        "per": per,
        "range": [list(map(ends, few)) for few in arrays],
        "data": [list(map(encoded, few)) for few in arrays],
    }


def ends(array: Array) -> list[float]:
    """The least and the greatest finite number."""
    finite = array[np.isfinite(array)]
    return [float(finite.min()), float(finite.max())] if finite.size else [0.0, 0.0]


def encoded(array: Array, kind: str = "<f8") -> str:
    """An array as text: its numbers as `kind`, in base64."""
    return b64encode(np.ascontiguousarray(array, kind).tobytes()).decode("ascii")


# ── everything else ──────────────────────────────────────────────────────────────────────────────
def described(layer: Layer) -> dict[str, Any]:
    """The layer."""
    return {
        "name": clean(layer.name),
        "d_model": layer.d_model,
        "heads": layer.num_heads,
        "groups": layer.num_kv_heads,
        "d_head": layer.d_head,
        "scale": layer.scale,
        "cross": layer.cross,
        "rotary": layer.rotary,
        "bias": layer.bias,
    }


def aimed(target: Target) -> dict[str, Any]:
    """A target, and the (example, row, column) of the element of Y that it is, if it is one."""
    cell = None if target.cell is None else list(target.cell)
    return {"name": clean(target.name), "value": number(target.value), "cell": cell}


def labelled(number: int, example: Example) -> dict[str, Any]:
    """The labels of an example; one without a title is called by its number on the page."""
    sides = {"queries": example.queries, "keys": example.keys}
    shown: dict[str, Any] = {name: list(map(clean, side)) for name, side in sides.items()}
    full = {n: [clean(label, FULL_LIMIT) for label in side] for n, side in sides.items()}
    changed = any(shown[name] != list(side) for name, side in sides.items())
    title = "" if example.title == untitled(number) else clean(example.title, TITLE_LIMIT)
    return {"title": title, **shown, "full": full if changed else None}


def turned(turn: Turn) -> dict[str, Any]:
    """The rotation."""
    tables = {name: encoded(getattr(turn, name)) for name in ("cos", "sin", "keycos", "keysin")}
    return {"pair": list(turn.pair), **tables}


def table(paths: Decomposition) -> dict[str, Any]:
    """Where the gradient of one example comes from."""
    return {
        "parts": [part_of(part) for part in paths.parts],
        "cancellation": number(paths.cancellation),
        "at": paths.at,
        "split": {name: number(share) for name, share in paths.split.items()},
    }


def part_of(part: PathPart) -> dict[str, Any]:
    """One part; the array only where it is that of all heads, to keep the page small."""
    shown = part.data if part.head is None else None
    return {
        "name": part.name._asdict(),
        "kind": part.kind,
        "head": part.head,
        "at": part.at,
        "norm": number(part.norm),
        "share": number(part.share),
        "cosine": number(part.cosine),
        "shape": None if shown is None else list(shown.shape),
        "data": None if shown is None else encoded(shown),
    }


def judged(identity: Identity) -> dict[str, Any]:
    """One identity."""
    return {
        "name": identity.name._asdict(),
        "holds": bool(identity.holds),
        "deviation": number(identity.deviation),
        "condition": identity.condition._asdict(),
        "applies": bool(identity.applies),
    }


def step_entry(step: Step) -> dict[str, Any]:
    """One step."""
    return {
        "direction": step.direction,
        "makes": list(step.makes),
        "from": list(step.sources),
        "title": step.title._asdict(),
        "formula": {"en": step.formula, "ko": korean(step.formula)},
        "source": step.source,
        "shapes": step.shapes,
        "saves": step.saves,
        "sentence": step.sentence._asdict(),
    }


def number(value: float) -> float | None:
    """A finite number; None for any other, which JSON has not."""
    return float(value) if isfinite(value) else None
