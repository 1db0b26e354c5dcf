"""A report as one HTML page that needs nothing from outside."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from .layout import element
from .picture import ErrorMap

if TYPE_CHECKING:
    from .report import Report

STYLE = """
:root { color-scheme: light dark;
  --ink: #1c1c22; --paper: #fdfdfc; --rule: #d8d5cf; --bad: 178,24,43 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e9e7e2; --paper: #16171a; --rule: #3a3b40; --bad: 244,109,96 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 54rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 1.6rem }
th { text-align: left; font-weight: 600; padding-right: 1.5rem; vertical-align: top }
td, th { padding-bottom: .25rem } code { font-family: ui-monospace, monospace }
.wide { overflow-x: auto } .map { border-collapse: collapse }
.map td { width: 1.1rem; height: 1.1rem; border: 1px solid var(--rule); padding: 0 }
""".strip()


def page(report: Report) -> str:
    """The whole page."""
    title = f"gradcheck: {report.verdict}"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>\n"
        f"<h1>{escape(title)}</h1>\n{''.join(body(report))}</body></html>\n"
    )


def body(report: Report) -> Iterator[str]:
    """The page below its heading: what is wrong, where, and pictures of it."""
    if report.reason:
        yield f"<p>{escape(report.reason)}.</p>\n"
    if report.cause and report.cause != report.reason:
        yield f"<p><strong>Cause:</strong> {escape(report.cause)}."
        yield f" Usually: {escape(report.advice)}.</p>\n" if report.advice else "</p>\n"
    yield f"<table>{''.join(rows(report))}</table>\n"
    for drawn in report.pictures:
        yield heatmap(drawn)
    yield f"<h2>In full</h2>\n<pre>{escape(str(report))}</pre>\n"


def rows(report: Report) -> Iterator[str]:
    """A line for each thing that is known."""
    above = element(report.output, report.output_index)
    below = element(report.input, report.index)
    told = {
        "derivative": f"∂ {above} / ∂ {below}" if report.input else "",
        "order": str(report.order),
        "analytic": f"{report.analytic:.12g}" if report.input else "",
        "numeric": f"{report.numeric:.12g} ({report.method})" if report.input else "",
        "ratio": f"{report.ratio:.6g}" if report.input else "",
        "error": f"{report.max_error:.3g}, allowed {report.tolerance:.3g}" if report.input else "",
        "first wrong operation": report.place,
        "module": report.module,
        "its rule": report.formula,
    }
    for name, text in told.items():
        if text:
            yield f"<tr><th>{escape(name)}</th><td><code>{escape(text)}</code></td></tr>"


def heatmap(drawn: ErrorMap) -> str:
    """A cell for each element, redder for a larger error, with its number when pointed at."""
    head, *_ = drawn.lines()
    cells = []
    for i, (shades, errors) in enumerate(zip(drawn.shades, drawn.rows, strict=True)):
        line = "".join(
            f'<td style="background:rgba(var(--bad),{shade / 4:.2f})" '
            f'title="[{i}, {j}] error {error:.3g}"></td>'
            for j, (shade, error) in enumerate(zip(shades, errors, strict=True))
        )
        cells.append(f"<tr>{line}</tr>")
    return (
        f'<h2>{escape(head)}</h2>\n<div class="wide"><table class="map" role="img" '
        f'aria-label="{escape(head, quote=True)}">{"".join(cells)}</table></div>\n'
    )
