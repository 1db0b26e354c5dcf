"""One HTML page that needs nothing from outside and runs nothing: drawing, legend, text."""

from __future__ import annotations

from html import escape
from itertools import pairwise
from string import Template

from .data import GraphData
from .dot import LOOKS, look_of
from .labels import clean, number_text, rolled_words, summary
from .norms import Scale
from .options import Options
from .text import to_text

PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { margin: 0; padding: 1.2rem 1.6rem; color: #1f2933; background: #f4f6f8;
       font: 15px/1.5 Helvetica, Arial, 'Noto Sans', sans-serif; }
h1 { font-size: 1.25rem; margin: 0 0 .6rem; overflow-wrap: anywhere; }
ul.legend { list-style: none; margin: 0 0 .9rem; padding: 0; display: flex; flex-wrap: wrap;
            gap: .3rem 1.2rem; color: #46525f; font-size: .87rem; }
.legend i { display: inline-block; width: 1.5em; height: .95em; margin-right: .45em;
            vertical-align: -.12em; }
.legend i.flow { height: 0; vertical-align: .25em; }
.legend i.kept { border-top: 1.5px dashed #c0a9cf; }
.view { overflow: auto; max-height: 82vh; background: #fff; border: 1px solid #d3dae1;
        border-radius: 8px; }
.view svg { display: block; margin: 0 auto; }
.view g[data-id^="n"]:hover > polygon, .view g[data-id^="n"]:hover > path,
.view g[data-id^="n"]:hover > ellipse { stroke-width: 2.2; }
.view g[data-id^="e"]:hover > path { stroke: #d55e00; }
p.trouble { border-left: 4px solid #d08700; background: #fff; padding: .6rem .9rem; }
details { margin-top: .9rem; } summary { cursor: pointer; }
pre { overflow: auto; background: #fff; border: 1px solid #d3dae1; border-radius: 8px;
      padding: .8rem 1rem; font-size: .82rem; line-height: 1.45; }
</style>
</head>
<body>
<h1>$title</h1>
$legend
$picture
<details$open><summary>The graph as text</summary><pre>$text</pre></details>
<details><summary>DOT source</summary><pre>$dot</pre></details>
</body>
</html>
""")
MEANINGS = {
    "input": "input",
    "parameter": "parameter",
    "constant": "constant",
    "op": "operation with its result",
    "result": "only moves elements",
    "module": "folded module",
    "output": "output",
    "gradient": "gradient, beside its tensor",
    "moved gradient": "gradient of what only moves elements",
    "step": "operation inside a rule",
}
CORNERS = {"ellipse": "50%", "box": "0"}


def page(graph: GraphData, how: Options, picture: str, dot: str, trouble: str = "") -> str:
    """The page; `picture` is finished SVG, or "" with the sentence that says why there is none."""
    shown = f'<div class="view" tabindex="0">\n{picture}</div>' if picture else ""
    shown += f'<p class="trouble">{escape(trouble)}</p>' if trouble else ""
    return PAGE.substitute(
        title=escape(clean(how.title or summary(graph), 120)),
        legend=legend(graph) if how.legend else "",
        picture=shown,
        text=escape(to_text(graph, legend=how.legend, formulas=how.formulas)),
        dot=escape(dot),
        open="" if picture else " open",
    )


def legend(graph: GraphData) -> str:
    """What the looks of the boxes and arrows mean, and the words inside them."""
    looks = {look_of(vertex, graph) for vertex in graph.vertices}
    rows = [swatch(kind, meaning) for kind, meaning in MEANINGS.items() if kind in looks]
    rows += scale_rows(Scale(graph.edges))
    words = {
        '<i class="flow kept"></i>a saved array and the rule that uses it': any(
            edge.kind == "saved" for edge in graph.edges
        ),
        "<b>saves</b> arrays kept for backward": any(v.saves for v in graph.vertices),
        "<b>‖grad‖</b> norm of the gradient": any(
            v.grad_norm is not None and v.kind != "gradient" for v in graph.vertices
        ),
        "rest the pointer on an arrow for its formula, shape and norm": True,
    }
    texts = [text for text, holds in words.items() if holds] + rolled_words(graph)
    return "\n".join(['<ul class="legend">', *rows, *(f"<li>{t}</li>" for t in texts), "</ul>"])


def scale_rows(scale: Scale) -> list[str]:
    """An arrow's look for each class of norms, and for what is in none."""
    ends = pairwise(number_text(mark) for mark in scale.marks())
    looks = zip(scale.looks, (f"norm {low} – {high}" for low, high in ends), strict=False)
    return [
        f'<li><i class="flow" style="border-top:{width}px solid {color}"></i>{meaning}</li>'
        for (color, width), meaning in [*looks, *scale.others]
    ]


def swatch(kind: str, meaning: str) -> str:
    """A small box that looks like those of `kind`."""
    shape, style, fill, border = LOOKS[kind]
    corner = "5px" if "rounded" in style else CORNERS[shape]
    line = "dashed" if "dashed" in style else "solid"
    return (
        f'<li><i style="background:{fill};border:1.5px {line} {border};border-radius:{corner}"></i>'
        f"{meaning}</li>"
    )
