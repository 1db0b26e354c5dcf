"""A Graph is plain data with its drawings: DOT, text, pictures, one HTML page."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from . import html, render, svg
from .data import GraphData
from .dot import to_dot
from .errors import GraphTooLargeError, RenderError, RenderWarning
from .files import PATH_LIMIT, FilePath, suffix_of, write_whole
from .folding import fold
from .labels import clean, summary
from .options import MAX_NODES, Keywords, Options, options
from .plumbing import hide_plumbing
from .rolling import roll
from .selecting import only
from .text import to_text

TOO_LARGE_DEPTH = 2  # to which a graph that is too large is folded


class Graph(GraphData):
    """What `trace` returns: vertices, edges and clusters, and the ways to draw them.

    All drawings take the same keywords, which `viz.options.Options` explains: depth, roll,
    plumbing, to, title, direction, legend, formulas, max_nodes, time_limit.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return f"<{summary(self)}>"

    # ── graphs from this one ─────────────────────────────────────────────────────────────────────
    def fold(self, depth: int | None) -> Graph:
        """The graph with what lies more than `depth` modules deep in one box a module.

        A module's gradients fold into a box of their own beside it.
        """
        Options(depth=depth)  # checks it
        return self if depth is None else graph_of(fold(self, depth))

    def roll(self) -> Graph:
        """The graph with equal siblings in a row drawn once, with their number.

        Norms are then the range of theirs, from the least to the greatest.
        """
        return graph_of(roll(self))

    def hide_plumbing(self) -> Graph:
        """The graph without operations that only move elements; formulas stay where still true."""
        return graph_of(hide_plumbing(self))

    def only(self, *, to: str) -> Graph:
        """The paths from the variable called `to` to the output, and the gradients along them.

        Raises:
            DTypeError: `to` is no text.
            UnknownNameError: nothing has this name; the message has the nearest names.
        """
        Options(to=to)  # checks it
        return graph_of(only(self, to))

    def chosen(self, how: Options) -> Graph:
        """The graph as `how` wants it, but for the limit on its size.

        Plumbing goes last: so a folded module shows the shape of its true result.
        """
        graph = self if how.to is None else self.only(to=how.to)
        graph = graph.roll() if how.roll else graph
        graph = graph.fold(how.depth)
        return graph if how.plumbing else graph.hide_plumbing()

    def limited(self, how: Options, max_nodes: int | None) -> Graph:
        """The graph as `how` wants it, folded further where it has more than `max_nodes` boxes.

        Raises:
            GraphTooLargeError: it still has more; the message names the options.
        """
        graph = self.chosen(how)
        size = len(graph.vertices)
        if max_nodes is None or size <= max_nodes:
            return graph
        if how.depth is None:
            graph = self.chosen(replace(how, depth=TOO_LARGE_DEPTH))
        if len(graph.vertices) <= max_nodes:
            warnings.warn(
                f"the graph has {size} boxes, more than max_nodes={max_nodes}, so it is folded to "
                f"depth={TOO_LARGE_DEPTH}; choose a depth= or raise max_nodes= for another drawing",
                RenderWarning,
                stacklevel=3,
            )
            return graph
        folded = f" ({len(graph.vertices)} at depth {TOO_LARGE_DEPTH})" * (how.depth is None)
        raise GraphTooLargeError(
            f"the graph has {size} boxes{folded}, more than max_nodes={max_nodes}; "
            f"{' or '.join(self.smaller(how))}"
        )

    def smaller(self, how: Options) -> list[str]:
        """What can still be done so that the drawing has fewer boxes, or is made all the same."""
        depth = TOO_LARGE_DEPTH if how.depth is None else how.depth
        modules = any(v.cluster is not None for v in self.vertices)
        ways = {
            f"fold modules with a depth= below {depth}": modules and depth > 0,
            "draw equal modules once with roll=True": modules and not how.roll,
            "hide what only moves elements with plumbing=False": how.plumbing,
            "draw only the paths to one variable with to=its name": how.to is None,
            "raise max_nodes=": True,
        }
        return [way for way, helps in ways.items() if helps]

    # ── drawings ─────────────────────────────────────────────────────────────────────────────────
    def to_text(self, **keywords: Unpack[Keywords]) -> str:
        """Indented text for a terminal: one numbered line a box, with the boxes it comes from.

        Under a box stands its gradient, with its norm and the rules that make it.
        """
        how = options(keywords)
        graph = self.limited(how, how.max_nodes)
        return to_text(graph, title=how.title, legend=how.legend, formulas=how.formulas)

    def to_dot(self, **keywords: Unpack[Keywords]) -> str:
        """DOT text, the same for the same graph every time; every label stands for itself."""
        how = options(keywords)
        return self.limited(how, how.max_nodes).dot(how, title=how.title, legend=how.legend)

    def render(self, path: FilePath, **keywords: Unpack[Keywords]) -> Path:
        """Write the drawing as .svg, .png or .pdf, or the DOT text as .dot or .gv.

        Without a layout engine the DOT text is written beside `path`, and a RenderWarning says in
        one sentence how to get one.

        Returns:
            The path of the file that was written.

        Raises:
            GraphTooLargeError: there are more than `max_nodes` boxes, even if folded.
            UnknownNameError: nothing has the name `to`.
            RenderError: the suffix is unknown, the file cannot be written, or the layout failed or
                took too long (then the DOT text was written beside `path`).
        """
        how = options(keywords)
        suffix = suffix_of(path, ("svg", "png", "pdf", "dot", "gv"))
        is_text = suffix in ("dot", "gv")
        graph = self.limited(how, how.max_nodes if is_text else how.max_nodes or MAX_NODES)
        dot = graph.dot(how, title=how.title, legend=how.legend)
        if is_text:
            return write_whole(path, dot.encode())
        try:
            content = graph.picture(dot, suffix, how.time_limit)
        except RenderError as error:
            written = write_whole(Path(path).with_suffix(".dot"), dot.encode())
            message = f"{error}; the DOT text is in {clean(written, PATH_LIMIT)}"
            if not isinstance(error, render.NoEngineError):
                raise RenderError(message) from error
            warnings.warn(message, RenderWarning, stacklevel=2)
            return written
        return write_whole(path, content)

    def save_html(self, path: FilePath, **keywords: Unpack[Keywords]) -> Path:
        """Write one HTML file that needs nothing else: drawing, legend, the graph as text.

        Where no drawing can be laid out the page has the text and the DOT text, and says why, as
        does a RenderWarning.

        Returns:
            The path.

        Raises:
            GraphTooLargeError: there are more than `max_nodes` boxes, even if folded.
            UnknownNameError: nothing has the name `to`.
            RenderError: the suffix is not .html or .htm, or the file cannot be written.
        """
        how = options(keywords)
        suffix_of(path, ("html", "htm"))
        graph = self.limited(how, how.max_nodes or MAX_NODES)
        dot = graph.dot(how, title="", legend=False)
        picture, trouble = "", ""
        try:
            picture = graph.picture(dot, "svg", how.time_limit).decode()
        except RenderError as error:
            trouble = str(error)
            warnings.warn(f"{trouble}; the page has the graph as text", RenderWarning, stacklevel=2)
        page = html.page(graph, how, picture, dot, trouble)
        return write_whole(path, page.encode())

    def dot(self, how: Options, *, title: str, legend: bool) -> str:
        """DOT text of the graph as it stands."""
        return to_dot(
            self, title=title, direction=how.direction, legend=legend, formulas=how.formulas
        )

    def picture(self, dot: str, suffix: str, time_limit: float) -> bytes:
        """The content of a picture file; an SVG has this graph's own text and tooltips."""
        content = render.layout(dot, suffix, time_limit)
        return svg.finished(content, self).encode() if suffix == "svg" else content

    def _repr_svg_(self) -> str | None:
        """The drawing in a notebook; None, so that it shows text, where there can be none."""
        how = Options()
        try:
            graph = self.limited(how, MAX_NODES)
            dot = graph.dot(how, title="", legend=True)
            return graph.picture(dot, "svg", how.time_limit).decode()
        except RenderError as error:
            warnings.warn(str(error), RenderWarning, stacklevel=2)
            return None


def graph_of(data: GraphData) -> Graph:
    """The same with its drawings."""
    return Graph(data.vertices, data.edges, data.clusters)
