"""The anatomy page: a recording and the template in one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...nn import Module, MultiHeadAttention
from ..files import FilePath, write_whole
from ..labels import visible
from .data import Identity, Recording
from .derivation import derivation
from .identities import identities_of
from .paths import Decomposition, paths_of
from .payload import page_data
from .recording import Cell, Run, record
from .steps import steps_of
from .template import html, resource

SCRIPTS = ("cells.js", "words.js", "drawing.js", "sheet.js", "page.js")


@dataclass(frozen=True, repr=False)
class Page:
    """The anatomy of one call of an attention layer.

    Attributes:
        recording: everything on the page, as arrays.
    """

    recording: Recording

    @property
    def paths(self) -> tuple[tuple[Decomposition, ...], ...]:
        """Where the gradient comes from: for each target, for each example."""
        return self.recording.paths

    @property
    def identities(self) -> tuple[tuple[Identity, ...], ...]:
        """For each target, the equations between the matrices and how well they hold."""
        return self.recording.identities

    def to_html(self) -> str:
        """The whole page: ASCII, but for what the template itself says."""
        title = self.recording.title or self.recording.layer.name
        return html("page", title, page_script(), page_data(self.recording))

    def save(self, path: FilePath) -> Path:
        """Write the page to a file; returns its path.

        Raises:
            RenderError: the place cannot be written; what was there before is untouched.
        """
        return write_whole(path, self.to_html().encode("utf-8"))

    def derivation(self, target: int | str = 0, example: int = 0) -> str:
        """The chain rule of this layer step by step, with its shapes and numbers, as Markdown.

        Args:
            target: which of the recording's, from 0, or its name.
            example: which one, from 0.

        Raises:
            IndexingError: there is no such target or example.
        """
        return derivation(self.recording, target, example)

    def __repr__(self) -> str:
        recording = self.recording
        targets = ", ".join(visible(target.name) for target in recording.targets)
        count = len(recording.examples)
        examples = "1 example" if count == 1 else f"{count} examples"
        return f"Page({visible(recording.layer.name)}, {examples}, gradients of {targets})"


def anatomy(
    model: Module,
    run: Run,
    *,
    layer: str | MultiHeadAttention | None = None,
    call: int = 0,
    examples: Sequence[Any] | None = None,
    cells: Iterable[Cell] = (),
    title: str = "",
    numeric_limit: int = 4096,
    on_progress: Callable[[int, int], None] | None = None,
) -> Page:
    """The anatomy of one call of an attention layer: every matrix, every gradient, on one page.

        page = ta.viz.anatomy(model, lambda model: model.loss(inputs, targets))
        page.save("anatomy.html")

    A float64 copy of the model in evaluation mode is run twice; the model itself is not touched.

    Args:
        model: has one or more nn.MultiHeadAttention.
        run: run(model) -> the loss, a scalar Tensor; or several targets by name, such as
            {"loss": loss, "logit of 'animal'": logits[0, -1, 7]}.  It must use the model it is
            given, and do the same each time.
        layer: name of the layer in the model, such as "blocks.0.attn", or the layer itself; the
            first where None.
        call: which of the layer's calls in one run, from 0.
        examples: for each example of the batch a label for each token, or a pair of such lists:
            for queries and for keys.  Positions 0, 1, 2 … where None.
        cells: (example, row, column) of the result Y, each one more target.
        title: of the page.
        numeric_limit: of cells of each matrix whose gradient is also found by the complex step;
            fewer where the layer is large; 0 for none.
        on_progress: called with (done, all) while numeric gradients are computed.

    Raises:
        DTypeError: the model has no such layer, `run` is no function or returns no Tensor, or
            `examples` is no list of lists.
        ShapeError: labels do not fit, a target is no scalar, keys and values have two sources, or
            the batch is too large for a page.
        IndexingError: there is no such layer, call or cell.
        GraphError: the layer is not called, is called with a cache, under no_grad or with dropout,
            a target does not depend on it, or `run` does not do the same twice.
    """
    found = record(
        model,
        run,
        layer=layer,
        call=call,
        examples=examples,
        cells=cells,
        title=title,
        numeric_limit=numeric_limit,
        on_progress=on_progress,
    )
    paths = paths_of(found)
    identities = identities_of(found, paths)
    return Page(replace(found, paths=paths, identities=identities, steps=steps_of(found)))


def page_script() -> str:
    """The page's one script: its files inside one function, so that none of their names leaks."""
    return "\n".join(["(() => {", '"use strict";', *map(resource, SCRIPTS), "})();", ""])
