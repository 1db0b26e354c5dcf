"""Plots with matplotlib: matrices, attention maps, loss curves.

Every function writes one SVG, PNG or PDF and returns its path.  Nothing global is touched: no
pyplot, no backend, and the user's settings come back afterwards.  Labels are text, never
mathematics.  matplotlib is imported when the first plot is made.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import Array, DTypeError, ShapeError, Tensor
from ..extras import need
from .files import FilePath, suffix_of, write_whole
from .labels import clean, number_text

Labels = Sequence[object] | None
BLUE, ORANGE = "#0072b2", "#d55e00"  # from Okabe and Ito's colour-blind safe palette
GREY, INK = "#8a8a8a", "#222222"
SEQUENTIAL, DIVERGING = "Blues", "PuOr_r"
KOREAN = ("Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "Malgun Gothic", "AppleGothic")
MOST_TICKS, MOST_NUMBERS, LABEL_LIMIT, TITLE_LIMIT = 48, 144, 16, 120
# fmt: off
STYLE: dict[Any, Any] = {
    "text.usetex": False, "text.parse_math": False, "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True, "svg.fonttype": "none", "svg.hashsalt": "tinygrad_attn",
    "text.color": INK, "axes.labelcolor": INK, "xtick.color": "#555555", "ytick.color": "#555555",
    "axes.edgecolor": GREY, "axes.facecolor": "white", "figure.facecolor": "white",
    "savefig.facecolor": "white", "font.size": 10.0, "axes.titlesize": 11.0, "axes.grid": False,
}
# fmt: on


def heatmap(
    matrix: Any,
    path: FilePath,
    *,
    rows: Labels = None,
    columns: Labels = None,
    title: str = "",
    signed: bool = False,
) -> Path:
    """Draw a matrix (n, m) as colours with its scale, and its numbers where it is small.

    Args:
        matrix: array or Tensor of two axes.
        path: ends in .svg, .png or .pdf.
        rows, columns: one label each; numbered when left out.
        title: stands above.
        signed: two colours centred at 0 (for gradients), instead of one from 0 up (for weights).

    Raises:
        ShapeError: not two axes, or a wrong number of labels.
        RenderError: the suffix is unknown or the file cannot be written.
        ExtraError: matplotlib is not installed.
    """
    values = as_numbers("heatmap", matrix, 2, "(rows, columns)")
    check_labels("heatmap", rows, values.shape[0], "rows")
    check_labels("heatmap", columns, values.shape[1], "columns")
    with figure(path) as (fig, save):
        ax = fig.add_subplot()
        image = draw_matrix(ax, values, rows, columns, limits(values, signed), signed)
        if values.size <= MOST_NUMBERS:
            write_numbers(ax, values, image)
        add_title(ax, title)
        fig.colorbar(image, ax=ax, fraction=0.046, pad=0.03).outline.set_visible(False)
        n, m = map(cell_inches, values.shape)
        fit(fig, width=2.2 + 1.2 * m, height=1.2 + 1.2 * n)
        return save()


def attention_maps(
    weights: Any, tokens: Labels, path: FilePath, *, keys: Labels = None, title: str = ""
) -> Path:
    """Draw attention weights (H, T, S), one panel a head: row i shows where query i looks.

    Args:
        weights: array or Tensor of heads, queries and keys; (T, S) is taken as one head.
        tokens: a label for each query (None: numbered).
        path: ends in .svg, .png or .pdf.
        keys: a label for each key; left out, the `tokens` where queries and keys are equally many.
        title: stands above all panels.

    Raises:
        ShapeError: other axes, no head, or a wrong number of labels.
        RenderError, ExtraError: as in `heatmap`.
    """
    array = as_plain(weights)
    array = array[None] if array.ndim == 2 else array
    values = as_numbers("attention_maps", array, 3, "(heads, queries, keys)")
    heads, T, S = values.shape
    keys = tokens if keys is None and T == S else keys
    check_labels("attention_maps", tokens, T, "queries")
    check_labels("attention_maps", keys, S, "keys")
    across = min(heads, 4)
    down = -(-heads // across)
    with figure(path) as (fig, save):
        axes = list(fig.subplots(down, across, squeeze=False).ravel())
        for head, ax in enumerate(axes[:heads]):
            image = draw_matrix(ax, values[head], tokens, keys, limits(values, signed=False))
            add_title(ax, f"head {head}" if heads > 1 else "")
            ax.tick_params(labelleft=head % across == 0)
        for ax in axes[heads:]:
            ax.remove()
        bar = fig.colorbar(image, ax=axes[:heads], fraction=0.03, pad=0.02, label="weight")
        bar.outline.set_visible(False)
        fig.suptitle(clean(title, TITLE_LIMIT))
        fig.supxlabel("key (what is looked at)", fontsize=10)
        fig.supylabel("query (who looks)", fontsize=10)
        fit(
            fig,
            width=1.9 + across * (0.3 + cell_inches(S)),
            height=1.3 + down * (0.6 + cell_inches(T)),
        )
        return save()


def loss_curve(
    steps: Sequence[float],
    train: Sequence[float],
    evaluations: Sequence[tuple[float, float]],
    path: FilePath,
    *,
    baseline: float | None = None,
    baseline_label: str = "baseline",
    title: str = "",
    unit: str = "loss (nats per token)",
) -> Path:
    """Draw the training loss of every step, the held-out losses, and a baseline as a line across.

    Args:
        steps, train: the training loss at each step, equally many.
        evaluations: (step, loss) on held-out data.
        path: ends in .svg, .png or .pdf.
        baseline: a loss to compare with, such as a bigram model's.
        baseline_label: what the baseline is.
        title, unit: above, and beside the vertical axis.

    Raises:
        ShapeError: another number of steps than of losses, or evaluations that are not pairs.
        RenderError, ExtraError: as in `heatmap`.
    """
    x, y = np.asarray(steps, np.float64), np.asarray(train, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ShapeError(f"loss_curve: expected a loss for each step, got {x.shape} and {y.shape}")
    if any(np.shape(pair) != (2,) for pair in evaluations):
        raise ShapeError("loss_curve: evaluations must be pairs (step, loss)")
    with figure(path) as (fig, save):
        ax = fig.add_subplot()
        if x.size:
            ax.plot(x, y, color=BLUE, alpha=0.25, linewidth=0.8)
            ax.plot(
                x, smoothed(y), color=BLUE, linewidth=1.8, label=f"training, {y[-1]:.3f} at the end"
            )
        if evaluations:
            ax.plot(
                *zip(*evaluations, strict=True),
                color=ORANGE,
                linewidth=1.8,
                marker="o",
                markersize=4,
                label=f"held-out, {evaluations[-1][1]:.3f} at the end",
            )
        if baseline is not None:
            ax.axhline(
                baseline,
                color=GREY,
                linewidth=1.4,
                linestyle=(0, (5, 3)),
                label=f"{clean(baseline_label)}, {baseline:.3f}",
            )
        add_title(ax, title)
        ax.set(xlabel="step", ylabel=clean(unit), axisbelow=True)
        ax.grid(axis="y", color="#e6e6e6", linewidth=0.8)
        ax.spines[["top", "right"]].set_visible(False)
        if ax.get_legend_handles_labels()[0]:
            ax.legend(frameon=False)
        fit(fig, width=7.2, height=4.2)
        return save()


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
            yield (fig := Figure(layout="constrained")), lambda: saved(fig, path, suffix)


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


def fit(fig: Any, *, width: float, height: float) -> None:
    """Set the size in inches, within what a screen and a page can take."""
    fig.set_size_inches(min(max(width, 3.2), 24.0), min(max(height, 2.4), 24.0))


def cell_inches(cells: int) -> float:
    """Width of so many cells: roomy for few, narrow for many."""
    return min(0.45 * cells, 1.8 + 0.06 * cells, 8.0)


def add_title(ax: Any, title: str) -> None:
    if title:
        ax.set_title(clean(title, TITLE_LIMIT), loc="left")


# ── numbers and labels ───────────────────────────────────────────────────────────────────────────
def as_plain(values: Any) -> Array:
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
    if labels is not None and len(labels) != cells:
        raise ShapeError(
            f"{who}: expected a label for each of the {cells} {what}, got {len(labels)}"
        )


def limits(values: Array, signed: bool) -> tuple[float, float]:
    """The ends of the scale: symmetric about 0 when signed, else from at most 0 to the greatest."""
    finite = values[np.isfinite(values)]
    if not finite.size or not finite.any():
        return (-1.0 if signed else 0.0), 1.0
    if signed:
        high = float(np.abs(finite).max())
        return -high, high
    return min(0.0, float(finite.min())), max(0.0, float(finite.max()))


def smoothed(y: Array, window: float = 0.04) -> Array:
    """The mean over `window` of the curve around each step, over less of it at the ends."""
    at = np.arange(len(y))
    reach = int(window * len(y) / 2)
    good = np.isfinite(y)
    total = np.concatenate([[0.0], np.cumsum(np.where(good, y, 0.0))])
    count = np.concatenate([[0], np.cumsum(good)])
    first, last = np.maximum(at - reach, 0), np.minimum(at + reach + 1, len(y))
    seen = count[last] - count[first]
    mean: Array = np.where(seen > 0, (total[last] - total[first]) / np.maximum(seen, 1), np.nan)
    return mean


# ── the matrix ───────────────────────────────────────────────────────────────────────────────────
def draw_matrix(
    ax: Any,
    values: Array,
    rows: Labels,
    columns: Labels,
    scale: tuple[float, float],
    signed: bool = False,
) -> Any:
    """Draw `values` (n, m) with its labels; what is not a finite number is grey."""
    from matplotlib import colormaps

    colours = colormaps[DIVERGING if signed else SEQUENTIAL].with_extremes(bad="#c8c8c8")
    narrow = max(values.shape) > 8 * min(values.shape)
    image = ax.imshow(
        np.ma.masked_invalid(values),
        cmap=colours,
        vmin=scale[0],
        vmax=scale[1],
        interpolation="nearest",
        aspect="auto" if narrow else "equal",
    )
    label_axis(ax.xaxis, columns, values.shape[1])
    label_axis(ax.yaxis, rows, values.shape[0])
    upright = columns is None or max(len(token_text(label)) for label in columns) == 1
    ax.tick_params(axis="x", rotation=0 if upright else 90)
    ax.tick_params(length=0, labelsize=8)
    ax.spines[:].set_color("#d0d0d0")
    return image


def label_axis(axis: Any, labels: Labels, cells: int) -> None:
    """A label for each cell, or for every so-many-th where they would overlap."""
    from matplotlib.ticker import MaxNLocator

    if labels is None:
        axis.set_major_locator(MaxNLocator(min(cells, 8), steps=[1, 2, 5, 10], integer=True))
        return
    shown = range(0, cells, -(-cells // MOST_TICKS))
    axis.set_ticks(list(shown), [token_text(labels[i]) for i in shown])


def token_text(token: object) -> str:
    """A token as a label; a blank one is made visible."""
    text = clean(token, LABEL_LIMIT)
    return text if text.strip() else "␣" * len(text)


def write_numbers(ax: Any, values: Array, image: Any) -> None:
    """Each value in its cell, light on dark and dark on light."""
    for (i, j), value in np.ndenumerate(values):
        red, green, blue, _ = image.to_rgba(value)
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
        ax.text(
            j,
            i,
            number_text(value, 2),
            ha="center",
            va="center",
            fontsize=7,
            color="white" if dark else INK,
        )


__all__ = ["attention_maps", "heatmap", "loss_curve"]
