"""The page of a training film: its numbers as JSON, in the template film.html, film.css, film.js.

"P" and "dP" of a layer are little-endian float32 in base64, (snapshots, B, H, T, S) in row order;
"frames" says which points of the curve have a snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import TYPE_CHECKING, Any

import numpy as np

from ...engine import Array
from ..labels import clean, visible
from .naming import Names
from .payload import FULL_LIMIT, TITLE_LIMIT, encoded, ends, number
from .template import html, resource

if TYPE_CHECKING:
    from .film import Film, Scene, Snapshot

POINTS = 1_000  # of a curve


def film_page(film: Film) -> str:
    """The whole page, which says how large it is."""
    return html("film", film.title, resource("film.js"), film_data(film))


def film_data(film: Film) -> dict[str, Any]:
    """All that the page shows."""
    frames = film.frames
    curve = thinned(film.curve, {frame.step for frame in frames})
    places = {point[0]: at for at, point in enumerate(curve)}
    training = thinned(film.training)
    return {
        "version": 1,
        "title": clean(film.title, TITLE_LIMIT),
        "target": clean(film.target or "loss"),
        "taken": len(film.curve),
        "frames": [places[frame.step] for frame in frames],
        "layers": [drawn(scene, at, frames) for at, scene in enumerate(film.scenes)],
        "modules": [clean(visible(name)) for name in film.modules],
        "curve": {
            "steps": [step for step, _, _ in curve],
            "values": [number(value) for _, value, _ in curve],
            "norms": [list(map(number, norms)) for norms in zip(*(n for *_, n in curve))],
        },
        "training": {
            "steps": [step for step, _ in training],
            "losses": [number(loss) for _, loss in training],
        },
        "size": 0,
    }


def thinned(points: Sequence[Any], needed: Set[int] = frozenset()) -> list[Any]:
    """At most POINTS of the points (step, …), and those at the steps that are needed."""
    every = -(-len(points) // POINTS)
    last = len(points) - 1
    return [p for at, p in enumerate(points) if at % every == 0 or at == last or p[0] in needed]


def drawn(scene: Scene, at: int, frames: Sequence[Snapshot]) -> dict[str, Any]:
    """One layer in all snapshots."""
    P = np.stack([frame.weights[at] for frame in frames])
    dP = np.stack([frame.gradients[at] for frame in frames])
    seen = dP if scene.allowed is None else np.where(scene.allowed, dP, 0)
    return {
        "name": clean(scene.name),
        "cross": scene.cross,
        "shape": list(P.shape),
        "P": {"range": ends(P), "data": encoded(P, "<f4")},
        "dP": {"range": ends(seen), "data": encoded(dP, "<f4")},
        "allowed": None if scene.allowed is None else allowed(scene.allowed),
        "examples": list(map(labelled, scene.examples)),
    }


def allowed(mask: Array) -> dict[str, Any]:
    """Where queries may look, 1 or 0."""
    return {"heads": mask.shape[1], "data": encoded(mask, "u1")}


def labelled(names: Names) -> dict[str, Any]:
    """The labels of an example; "full" has them longer where one had to be cut or cleaned."""
    shown = {side: list(map(clean, getattr(names, side))) for side in ("queries", "keys")}
    full = {
        side: [clean(text, FULL_LIMIT) for text in getattr(names, side)]
        for side in ("queries", "keys")
    }
    return {
        "title": clean(names.title, TITLE_LIMIT),
        **shown,
        "full": full if full != shown else None,
    }
