"""Maps over images: where a Vision Transformer looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import Array, ShapeError
from .figures import add_scale, as_numbers, check_labels, figure, fit, token_text
from .files import FilePath
from .labels import clean

HEAT = (0.835, 0.369, 0.0)  # figures.ORANGE in red, green and blue
LONGEST = 1.05  # inches of an image's longer side
DARKEST = 0.85  # opacity of the greatest value of a map
FAINT = 0.5  # how far an image under a map goes towards black, so that colours stay colours


def overlays(
    images: Any,
    maps: Mapping[str, Any],
    path: FilePath,
    *,
    titles: Sequence[object] | None = None,
    title: str = "",
    ink: bool = True,
) -> Path:
    """Draw images, and below them the same images under each kind of map, as colour.

    Args:
        images: grey images (n, h, w).
        maps: for each kind its name and a map for each image, (n, rows, columns): one value for
            each patch, 0 or more.  A map is drawn in proportion to its own greatest value.
        path: ends in .svg, .png or .pdf.
        titles: one for each image.
        title: stands above all.
        ink: great values of an image are dark, as ink is; with False light, as in a photograph.

    Raises:
        ShapeError: other axes, no map, another number of maps or titles than of images, patches
            that do not divide the images, or a value of a map that is negative or not finite.
        DTypeError: images or maps are not real numbers.
        RenderError, ExtraError: as in `heatmap`.
    """
    pictures = as_numbers("overlays", images, 3, "(images, height, width)")
    if not np.isfinite(pictures).all():
        raise ShapeError("overlays: the values of the images must be finite")
    layers = [checked_map(name, values, pictures.shape) for name, values in maps.items()]
    if not layers:
        raise ShapeError("overlays: expected at least one kind of map, got none")
    check_labels("overlays", titles, len(pictures), "images")
    n, *size = pictures.shape
    down, across = (LONGEST * side / max(size) for side in size)
    with figure(path) as (fig, save):
        axes = fig.subplots(1 + len(layers), n, squeeze=False)
        for i, ax in enumerate(axes[0]):
            draw_grey(ax, pictures[i], ink, 1.0)
            ax.set_title("" if titles is None else token_text(titles[i]), fontsize=10)
        for row, layer in zip(axes[1:], layers, strict=True):
            for ax, picture, values in zip(row, pictures, layer, strict=True):
                draw_grey(ax, picture, ink, FAINT)
                draw_map(ax, values, picture.shape)
        for row, name in zip(axes, ["image", *maps], strict=True):
            row[0].set_ylabel(clean(name), rotation=0, ha="right", va="center", labelpad=8)
        add_heat(fig, axes, width=n * across, height=len(axes) * down)
        fit(fig, title, width=1.9 + n * (across + 0.1), height=0.6 + len(axes) * (down + 0.1))
        return save()


def checked_map(name: object, values: Any, images: tuple[int, ...]) -> Array:
    """One kind of map (n, rows, columns), if it fits the images (n, h, w)."""
    array = as_numbers("overlays", values, 3, "(images, rows, columns)")
    n, height, width = images
    if len(array) != n or height % array.shape[1] or width % array.shape[2]:
        raise ShapeError(
            f"overlays: expected {clean(name)!r} of shape ({n}, rows, columns) with rows that "
            f"divide {height} and columns that divide {width}, got {array.shape}"
        )
    if not np.isfinite(array).all() or (array < 0).any():
        raise ShapeError(f"overlays: the values of {clean(name)!r} must be finite and 0 or more")
    return array


def draw_grey(ax: Any, picture: Array, ink: bool, depth: float) -> None:
    """An image in shades of grey; `depth` 1 goes as far as black (without ink, from black)."""
    low, high = np.nanmin(picture), np.nanmax(picture)
    reach = ((high - low) or 1.0) / depth
    ends = (low, low + reach) if ink else (high - reach, high)
    ax.imshow(picture, cmap="gray_r" if ink else "gray", vmin=ends[0], vmax=ends[1])
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_color("#d0d0d0")


def draw_map(ax: Any, values: Array, size: tuple[int, int]) -> None:
    """A map over an image of `size`, each value on its patch: the greater, the less transparent."""
    colour = np.empty((*values.shape, 4))
    colour[..., :3] = HEAT
    colour[..., 3] = DARKEST * values / (values.max() or 1.0)
    ends = (-0.5, size[1] - 0.5, size[0] - 0.5, -0.5)  # left, right, bottom, top
    ax.imshow(colour, extent=ends, interpolation="nearest")


def add_heat(fig: Any, axes: Any, *, width: float, height: float) -> None:
    """The colours of a map on white, from 0 to its greatest value."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap

    strongest = tuple(1 - DARKEST * (1 - part) for part in HEAT)
    colours = LinearSegmentedColormap.from_list("heat", [(1.0, 1.0, 1.0), strongest])
    bar = add_scale(fig, ScalarMappable(cmap=colours), axes, width=width, height=height)
    bar.set_ticks([0.0, 1.0], labels=["0", "greatest"])
    bar.ax.tick_params(length=0, labelsize=8)
    bar.outline.set(visible=True, edgecolor="#d0d0d0")
