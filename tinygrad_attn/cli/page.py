"""Parts of the demo's page: one HTML file beside its pictures, nothing from outside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from ..viz.labels import clean

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --page: #fbfbf9; --card: #fff;
  --line: #e2e4e8; --blue: #0072b2; --orange: #d55e00; --grey: #a3a9b3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ec; --soft: #a2abb8; --page: #14171c;
  --card: #1c2027; --line: #333a45; --blue: #56b4e9; --orange: #f0883e; --grey: #6d7683; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 17px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: clamp(1.7rem, 5vw, 2.4rem); line-height: 1.2; margin: 0 0 .6rem; }
h2 { font-size: 1.3rem; margin: 3.2rem 0 .5rem; padding-top: 1.2rem;
  border-top: 1px solid var(--line); }
p { max-width: 44rem; margin: .6rem 0; }
.lead { font-size: 1.12rem; color: var(--soft); }
pre, .number { font-family: ui-monospace, "SF Mono", Consolas, "DejaVu Sans Mono", monospace; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 1rem 1.2rem; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere;
  font-size: .86rem; line-height: 1.5; }
.bars { display: grid; gap: 1rem; margin: 1.4rem 0; }
.bar b { font-size: 1.5rem; margin-right: .5rem; }
.bar span { color: var(--soft); }
.bar div { height: .8rem; border-radius: .4rem; margin-top: .25rem; background: var(--grey); }
.bar.ours div { background: var(--blue); }
figure { margin: 1.2rem 0; padding: .8rem; background: #fff; border: 1px solid var(--line);
  border-radius: 10px; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
figure.tall { max-height: 85vh; overflow: auto; }
figure.wide { overflow-x: auto; }
figure.wide img { min-width: 54rem; }
figcaption { color: #5b6675; font-size: .88rem; text-align: center; padding-top: .5rem; }
figure a { color: #0072b2; }
.pair { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
.pair figure { margin: 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { text-align: left; padding: .35rem 1.2rem .35rem 0; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { color: var(--soft); font-weight: 600; font-size: .88rem; }
a { color: var(--blue); }
.right { color: #0a7d4f; font-weight: 600; } .wrong { color: var(--orange); font-weight: 600; }
@media (prefers-color-scheme: dark) { .right { color: #4cc38a; } }
footer { margin-top: 3rem; color: var(--soft); font-size: .86rem; }
"""


def shown(text: str) -> str:
    """Text as HTML, line by line; what cannot be shown is replaced sign by sign."""
    return escape("\n".join(clean(line, len(line)) for line in text.split("\n")))


def page(title: str, parts: Iterable[str], footer: str) -> str:
    """A whole page; `parts` are HTML."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{shown(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{shown(title)}</h1>
{chr(10).join(parts)}
<footer>{shown(footer)}</footer>
</main>
</body>
</html>
"""


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="{kind}">{shown(text)}</p>' if kind else f"<p>{shown(text)}</p>"


def section(heading: str, *parts: str) -> str:
    """A heading and what stands under it: HTML."""
    return "\n".join([f"<section>\n<h2>{shown(heading)}</h2>", *parts, "</section>"])


def bars(values: Sequence[tuple[float, str]], ours: int) -> str:
    """Losses as horizontal bars; the one numbered `ours` is in colour."""
    longest = max(value for value, _ in values)
    return (
        '<div class="bars">'
        + "".join(
            f'<div class="bar{" ours" if i == ours else ""}"><b class="number">{value:.3f}</b>'
            f"<span>{shown(text)}</span>"
            f'<div style="width:{100 * value / longest:.1f}%"></div></div>'
            for i, (value, text) in enumerate(values)
        )
        + "</div>"
    )


def figure(
    name: str, description: str, caption: str = "", *, tall: bool = False, wide: bool = False
) -> str:
    """A picture of this folder; a tall or wide one scrolls in its frame."""
    kind = ' class="tall"' if tall else ' class="wide"' if wide else ""
    name = shown(name)
    below = f"<figcaption>{shown(caption)}</figcaption>" if caption else ""
    return (
        f'<figure{kind}><a href="{name}"><img src="{name}" alt="{shown(description)}"></a>'
        f"{below}</figure>"
    )


def pair(*figures: str) -> str:
    """Figures side by side, or below each other where the window is narrow."""
    return f'<div class="pair">{"".join(figures)}</div>'


def table(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table; a last cell "right" or "wrong" gets its colour."""
    head = "".join(f"<th>{shown(heading)}</th>" for heading in headings)
    body = "".join("<tr>" + "".join(cell(text) for text in line) + "</tr>" for line in lines)
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )


def cell(text: str) -> str:
    """One cell."""
    kind = f' class="{text}"' if text in ("right", "wrong") else ""
    return f"<td{kind}>{shown(text)}</td>"


def listing(text: str) -> str:
    """Text as it is, line by line."""
    return f"<pre>{shown(text)}</pre>"


def links(files: Iterable[tuple[str, str]]) -> str:
    """Files of this folder, each with what it is."""
    items = "".join(
        f'<li><a href="{shown(name)}">{shown(name)}</a>: {shown(what)}</li>' for name, what in files
    )
    return f"<ul>{items}</ul>"
