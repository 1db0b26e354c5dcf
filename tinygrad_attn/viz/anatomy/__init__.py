"""The anatomy of one call of an attention layer: every matrix, every gradient, on one page.

    page = ta.viz.anatomy(model, lambda model: model.loss(inputs, targets))
    page.save("anatomy.html")

The package is called like the function, and calling it is calling the function.

Read in this order:

data.py         what a recording consists of
naming.py       the labels of queries and keys
watching.py     a layer while the model runs
rotation.py     rotary positions as tables
numeric.py      gradients once more, by the complex step
recording.py    one call of a layer, forward and backward
paths.py        where the gradient of the layer's input comes from
identities.py   equations between the matrices
sentences.py    what happens at each step, in words
steps.py        the steps forward and backward, with the rules' own source
cells.py        a cell as the sum that it is
markdown.py     text from outside, tables and numbers as Markdown
derivation.py   the chain rule of a recording with its numbers, as Markdown
payload.py      a recording as JSON
template.py     a page as one HTML file
page.py         the page: page.html, page.css and, one script, cells.js, words.js, drawing.js,
                sheet.js and page.js, with that JSON
film.py         the same layer while it learns
film_page.py    its page: film.html, film.css and film.js
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from .data import Example, Identity, Layer, PathPart, Recording, Step, Target
from .page import Page, anatomy
from .paths import Decomposition

__all__ = [
    "Decomposition", "Example", "Identity", "Layer", "Page", "PathPart", "Recording", "Step",
    "Target", "anatomy",
]  # fmt: skip


class CallableModule(ModuleType):
    """A module that can be called."""

    def __call__(self, *args: Any, **options: Any) -> Page:
        """See the function `anatomy`."""
        return anatomy(*args, **options)


sys.modules[__name__].__class__ = CallableModule
