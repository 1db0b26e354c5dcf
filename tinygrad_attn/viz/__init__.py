"""Pictures: the graph behind a tensor, matrices, maps over images, links between words, curves.

    trace(output)       the graph as plain data, with backward=True both ways: a Graph
    Graph               its drawings: to_text, to_dot, render, save_html, itself in a notebook
    anatomy(model, run) one call of an attention layer, forward and backward, on one page
    Film(model, run)    the weights of attention and their gradients while a model learns
    plots               matplotlib's part, loaded when first used

Read data.py first (what a graph consists of), then

    tracing.py, draft.py                        from tensors to boxes and arrows
    walking.py, gradients.py                    the way back, and how it is drawn
    rebuilding.py, then folding.py, rolling.py, plumbing.py, selecting.py      less of it
    labels.py, norms.py, text.py, dot.py, render.py, svg.py, html.py, files.py    its drawings
    options.py, graph.py, errors.py             all of that in one object

and anatomy/ by itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .data import Cluster, Edge, Vertex
from .errors import (
    GraphTooLargeError,
    MissingGradientWarning,
    OptionError,
    RenderError,
    RenderWarning,
    UnknownNameError,
)
from .graph import Graph
from .render import engines
from .tracing import trace

if TYPE_CHECKING:
    from . import plots
    from .anatomy import anatomy
    from .anatomy.film import Film

__all__ = [
    "Cluster", "Edge", "Film", "Graph", "GraphTooLargeError", "MissingGradientWarning",
    "OptionError", "RenderError", "RenderWarning", "UnknownNameError", "Vertex", "anatomy",
    "engines", "plots", "trace",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in ("anatomy", "plots"):  # the package `anatomy` can be called as the function
        return import_module(f".{name}", __name__)
    if name == "Film":
        return import_module(".anatomy.film", __name__).Film
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
