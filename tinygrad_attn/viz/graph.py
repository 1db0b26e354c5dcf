"""A Graph is plain data with its drawings: DOT, text, pictures, one HTML page."""

from __future__ import annotations

import warnings
from pathlib import Path

from ..engine import ShapeError
from . import html, render, svg
from .data import GraphData
from .dot import to_dot
from .errors import GraphTooLargeError, RenderError, RenderWarning
from .files import PATH_LIMIT, FilePath, suffix_of, write_whole
from .folding import fold
from .labels import clean
from .text import to_text

MAX_NODES = 1500
TIME_LIMIT = 60.0


class Graph(GraphData):
    """What `trace` returns: vertices, edges and clusters, and the ways to draw them.

    All drawings take the same keywords:
        depth: leave so many levels of modules open and fold what lies deeper into one box a module;
            0 folds the outermost modules, None folds nothing.
        title: a caption.
        direction: "TB" (top to bottom) or "LR" (left to right).
        legend: say under the drawing what its shapes mean.
        formulas: write on every arrow the rule by which the gradient comes back along it.
        max_nodes: refuse to lay out more boxes than this.
        time_limit: stop a layout after so many seconds.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return (
            f"<Graph: {len(self.vertices)} boxes, {len(self.edges)} arrows, "
            f"{len(self.clusters)} modules>"
        )

    def fold(self, depth: int | None) -> Graph:
        """The graph with what lies more than `depth` modules deep in one box a module."""
        if depth is None:
            return self
        if depth < 0:
            raise ShapeError(f"depth: expected 0 or more, or None to fold nothing, got {depth}")
        folded = fold(self, depth)
        return Graph(folded.vertices, folded.edges, folded.clusters)

    def to_text(self, *, depth: int | None = None) -> str:
        """Indented text for a terminal: one numbered line a box, with the boxes it comes from."""
        return to_text(self.fold(depth))

    def to_dot(
        self,
        *,
        depth: int | None = None,
        title: str = "",
        direction: str = "TB",
        legend: bool = True,
        formulas: bool = False,
    ) -> str:
        """DOT text, the same for the same graph every time; every label stands for itself."""
        return to_dot(
            self.fold(depth), title=title, direction=direction, legend=legend, formulas=formulas
        )

    def render(
        self,
        path: FilePath,
        *,
        depth: int | None = None,
        title: str = "",
        direction: str = "TB",
        legend: bool = True,
        formulas: bool = False,
        max_nodes: int = MAX_NODES,
        time_limit: float = TIME_LIMIT,
    ) -> Path:
        """Write the drawing as .svg, .png or .pdf, or the DOT text as .dot or .gv.

        Without a layout engine the DOT text is written beside `path`, and a RenderWarning says in
        one sentence how to get one.

        Returns:
            The path of the file that was written.

        Raises:
            GraphTooLargeError: there are more than `max_nodes` boxes.
            RenderError: the suffix is unknown, the file cannot be written, or the layout failed or
                took too long (then the DOT text was written beside `path`).
        """
        suffix = suffix_of(path, ("svg", "png", "pdf", "dot", "gv"))
        graph = self.fold(depth)
        dot = graph.to_dot(title=title, direction=direction, legend=legend, formulas=formulas)
        if suffix in ("dot", "gv"):
            return write_whole(path, dot.encode())
        graph.check_size(max_nodes)
        try:
            content = graph.picture(dot, suffix, time_limit)
        except RenderError as error:
            written = write_whole(Path(path).with_suffix(".dot"), dot.encode())
            message = f"{error}; the DOT text is in {clean(written, PATH_LIMIT)}"
            if not isinstance(error, render.NoEngineError):
                raise RenderError(message) from error
            warnings.warn(message, RenderWarning, stacklevel=2)
            return written
        return write_whole(path, content)

    def save_html(
        self,
        path: FilePath,
        *,
        depth: int | None = None,
        title: str = "",
        direction: str = "TB",
        formulas: bool = False,
        max_nodes: int = MAX_NODES,
        time_limit: float = TIME_LIMIT,
    ) -> Path:
        """Write one HTML file that needs nothing else: drawing, legend, the graph as text.

        Where no drawing can be laid out the page has the text and the DOT text, and says why, as
        does a RenderWarning.

        Returns:
            The path.

        Raises:
            GraphTooLargeError: there are more than `max_nodes` boxes.
            RenderError: the suffix is not .html or .htm, or the file cannot be written.
        """
        suffix_of(path, ("html", "htm"))
        graph = self.fold(depth)
        graph.check_size(max_nodes)
        dot = graph.to_dot(direction=direction, legend=False, formulas=formulas)
        picture, trouble = "", ""
        try:
            picture = graph.picture(dot, "svg", time_limit).decode()
        except RenderError as error:
            trouble = str(error)
            warnings.warn(f"{trouble}; the page has the graph as text", RenderWarning, stacklevel=2)
        page = html.page(graph, title or repr(graph)[1:-1], picture, dot, trouble)
        return write_whole(path, page.encode())

    def picture(self, dot: str, suffix: str, time_limit: float) -> bytes:
        """The content of a picture file; an SVG has this graph's own text and tooltips."""
        content = render.layout(dot, suffix, time_limit)
        return svg.finished(content, self).encode() if suffix == "svg" else content

    def check_size(self, max_nodes: int) -> None:
        """Refuse a graph whose layout would take very long."""
        if len(self.vertices) > max_nodes:
            raise GraphTooLargeError(
                f"the graph has {len(self.vertices)} boxes, more than max_nodes={max_nodes}; fold "
                "modules with depth=1 (or 0), draw a part of it, or raise max_nodes="
            )

    def _repr_svg_(self) -> str | None:
        """The drawing in a notebook; None, so that it shows text, where there can be none."""
        try:
            self.check_size(MAX_NODES)
            return self.picture(self.to_dot(), "svg", TIME_LIMIT).decode()
        except RenderError as error:
            warnings.warn(str(error), RenderWarning, stacklevel=2)
            return None
