"""What all plots share: the figure and its file, its style, numbers and labels from outside."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import Array, DTypeError, ShapeError, Tensor
from ..extras import need
from .files import FilePath, suffix_of, write_whole
from .labels import clean

Labels = Sequence[object] | None
BLUE, ORANGE = "#0072b2", "#d55e00"  # from Okabe and Ito's colour-blind safe palette
GREY, INK = "#8a8a8a", "#222222"
KOREAN = ("Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "Malgun Gothic", "AppleGothic")
LABEL_LIMIT, TITLE_LIMIT = 16, 120
WIDEST, HIGHEST = 24.0, 96.0  # inches of a figure without its title
# fmt: off
STYLE: dict[Any, Any] = {
    "text.usetex": False, "text.parse_math": False, "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True, "svg.fonttype": "none", "svg.hashsalt": "tinygrad_attn",
    "text.color": INK, "axes.labelcolor": INK, "xtick.color": "#555555", "ytick.color": "#555555",
    "axes.edgecolor": GREY, "axes.facecolor": "white", "figure.facecolor": "white",
    "savefig.facecolor": "white", "font.size": 10.0, "axes.titlesize": 11.0, "axes.grid": False,
}
# fmt: on


# ── the figure and its file ──────────────────────────────────────────────────────────────────────
@contextmanager
def figure(path: FilePath) -> Iterator[tuple[Any, Callable[[], Path]]]:
    """An empty figure in this library's style, and the function that writes it to `path`."""
    suffix = suffix_of(path, ("svg", "png", "pdf"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # among matplotlib and its own parts
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # it is shown as a box
        matplotlib = need("matplotlib", "a plot")
        Figure = need("matplotlib.figure", "a plot").Figure
        with matplotlib.rc_context({**STYLE, "font.family": font_families()}):
            yield (fig := Figure(layout="compressed")), lambda: saved(fig, path, suffix)


def saved(fig: Any, path: FilePath, suffix: str) -> Path:
    """Write `fig` to `path`, without a date, so that the same plot is the same file."""
    content = io.BytesIO()
    date = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(suffix)
    fig.savefig(content, format=suffix, dpi=160, metadata=date)
    return write_whole(path, content.getvalue())


def font_families() -> list[str]:
    """A sans-serif face, then those installed that have Korean script."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in KOREAN if name in installed)]


def fit(fig: Any, title: object, *, width: float, height: float) -> float:
    """Give a figure its title, in as many lines as it takes, and its size.

    Args:
        title: stands above all; may be empty.
        width, height: inches without the title.

    Returns:
        The part of `width` and `height` that there is: 1, or less where that is too much.
    """
    part = min(1.0, WIDEST / width, HIGHEST / height)
    width, height = max(part * width, 3.2), part * height
    if text := wrapped(title, width - 0.3, 12):
        fig.suptitle(text, fontsize=12)
        height += 0.3 + 0.2 * text.count("\n")
    fig.set_size_inches(width, max(height, 2.4))
    return part


def wrapped(title: object, width: float, size: float) -> str:
    """A title in lines of at most `width` inches, in letters of `size` points."""
    text = clean(title, TITLE_LIMIT).strip()
    lines = [text]
    most = len(text)  # characters in a line, which are not all as wide
    while most > 1 and (widest := max(text_inches(line, size=size) for line in lines)) > width:
        most = min(most - 1, int(1.2 * most * width / widest))
        lines = textwrap.wrap(text, max(most, 1))
    return "\n".join(lines)


def add_scale(
    fig: Any, image: Any, axes: Any, *, width: float, height: float, label: str = ""
) -> Any:
    """The colours of `image` beside `axes`, which together take so many inches, and as high."""
    height = max(height, 1.0)
    thick = min(height / 20, 0.25)
    part, pad = (min(inches / width, 0.2) for inches in (thick, 0.15))
    bar = fig.colorbar(image, ax=axes, fraction=part, pad=pad, aspect=height / thick, label=label)
    bar.outline.set_visible(False)
    return bar


def cell_inches(cells: int) -> float:
    """Width of so many cells: roomy for few, narrow for many."""
    return min(0.45 * cells, 1.8 + 0.06 * cells, 8.0)


# ── numbers and labels ───────────────────────────────────────────────────────────────────────────
def as_plain(values: Any) -> Array:
    """The array of a tensor, or `values` as an array."""
    return values.data if isinstance(values, Tensor) else np.asarray(values)


def as_numbers(who: str, values: Any, ndim: int, axes: str) -> Array:
    """`values` as a non-empty float64 array of `ndim` axes."""
    array = as_plain(values)
    if array.dtype.kind not in "biuf":
        raise DTypeError(f"{who}: expected real numbers, got {array.dtype}")
    if array.ndim != ndim or not array.size:
        raise ShapeError(
            f"{who}: expected a non-empty array of {ndim} axes {axes}, got shape {array.shape}"
        )
    return array.astype(np.float64)


def check_labels(who: str, labels: Labels, cells: int, what: str) -> None:
    """Refuse another number of labels than of what they are for."""
    if labels is not None and len(labels) != cells:
        raise ShapeError(
            f"{who}: expected a label for each of the {cells} {what}, got {len(labels)}"
        )


def token_text(token: object) -> str:
    """A token as a label; a blank one is made visible."""
    text = clean(token, LABEL_LIMIT)
    return text if text.strip() else "␣" * len(text)


def text_inches(text: str, *, size: float = 10.0, weight: str = "normal") -> float:
    """The width of a line of text, in the figure's face; inside `figure` only."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    face = FontProperties(size=size, weight=weight)
    points: float = text_to_path.get_text_width_height_descent(text, face, False)[0]
    return points / 72
