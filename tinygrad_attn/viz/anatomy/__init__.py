"""The anatomy of one call of an attention layer: every matrix, every gradient, on one page.

    page = ta.viz.anatomy(model, lambda model: model.loss(inputs, targets))
    page.save("anatomy.html")

The package is called like the function, and calling it is calling the function.

data.py         what a recording consists of
recording.py    one call of a layer, forward and backward (watching.py, rotation.py, numeric.py)
paths.py        where the gradient of the layer's input comes from
identities.py   equations between the matrices
steps.py        the steps forward and backward, in words (sentences.py)
derivation.py   the same with the numbers of a recording, as Markdown (cells.py, markdown.py)
page.py         the page: payload.py is its data, page.html, page.css and page.js its template
film.py         the same layer while it learns (film_page.py and its template)
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from .data import Example, Identity, Layer, PathPart, Paths, Recording, Step, Target
from .page import Page, anatomy

__all__ = [
    "Example", "Identity", "Layer", "Page", "PathPart", "Paths", "Recording", "Step", "Target",
    "anatomy",
]  # fmt: skip


class CallableModule(ModuleType):
    """A module that can be called."""

    def __call__(self, *args: Any, **options: Any) -> Page:
        """See the function `anatomy`."""
        return anatomy(*args, **options)


sys.modules[__name__].__class__ = CallableModule
