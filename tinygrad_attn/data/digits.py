"""Handwritten digits: the 1,797 real 8×8 images that scikit-learn carries.

E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..engine import Array
from ..extras import need
from .errors import DataError, check_share, whole


@dataclass(frozen=True)
class Images:
    """Images (N, 8, 8), float32 from 0 to 1, and their labels (N,), int64."""

    images: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, repr=False)
class Digits:
    """The digits in two parts with the same share of every digit and no image in both."""

    train: Images
    test: Images

    def __repr__(self) -> str:
        return f"Digits({len(self.train):,} to learn from, {len(self.test):,} held out)"


def digits(test: float = 0.2, seed: int = 0) -> Digits:
    """The digits, split by `seed`.

    Args:
        test: share of each digit's images that goes into the test part, between 0 and 1.

    Raises:
        DataError: a share that leaves one part empty, or a seed that is no whole number.
        ExtraError: scikit-learn is not installed.
    """
    check_share("digits", test)
    rng = np.random.default_rng(whole("digits: seed", seed))
    loaded = need("sklearn.datasets", "the handwritten digits").load_digits()
    images, labels = (loaded.images / 16).astype(np.float32), loaded.target.astype(np.int64)
    first, second = [], []
    for digit in range(10):
        places = rng.permutation(np.flatnonzero(labels == digit))
        cut = round(len(places) * test)
        first.append(places[cut:])
        second.append(places[:cut])
    train, held_out = (rng.permutation(np.concatenate(part)) for part in (first, second))
    return Digits(Images(images[train], labels[train]), Images(images[held_out], labels[held_out]))


def image(path: str | Path, size: int = 8) -> Array:
    """A picture of one digit, prepared like the handwritten digits: (size, size), from 0 to 1.

    Dark on light or light on dark; cut to what is drawn, centred in a square, and made smaller by
    averaging over areas, as theirs were.

    Raises:
        DataError: the file is no picture, or too large a one, nothing is drawn on it, or `size` is
            not a whole number from 1 on.
        ExtraError: matplotlib, which reads it, is not installed.
    """
    size = whole("image: size", size, 1)
    ink = grey(Path(path))
    border = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
    ink = np.abs(ink - np.median(border))
    if ink.max() < 0.1:
        raise DataError(f"{path}: expected a digit on a plain ground, but nothing stands out")
    rows, columns = (np.flatnonzero(ink.max(axis=axis) > 0.2 * ink.max()) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = ink.shape
    side = max(height, width)
    around = [((side - n) // 2, side - n - (side - n) // 2) for n in (height, width)]
    square = np.pad(ink, around)
    averaging = overlaps(size, side)
    small = averaging @ square @ averaging.T
    return (small / small.max()).astype(np.float32)


def grey(path: Path) -> Array:
    """The brightness of a picture, (height, width), from 0 to 1; what is transparent is white."""
    reader = need("matplotlib.image", "reading a picture")
    too_large = need("PIL.Image", "reading a picture").DecompressionBombError
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow's, about size and damage
            pixels = reader.imread(path)
    except (OSError, ValueError, SyntaxError, too_large) as error:  # Pillow raises all four
        raise DataError(f"{path}: expected a picture, such as a PNG file ({error})") from error
    values = pixels / 255 if pixels.dtype.kind == "u" else np.asarray(pixels, np.float64)
    if values.ndim == 2:
        return values
    opaque = values[..., 3:] if values.shape[2] == 4 else np.float64(1)  # grey with it is RGBA too
    brightness: Array = (values[..., :3] * opaque + 1 - opaque).mean(axis=-1)
    return brightness


def overlaps(few: int, many: int) -> Array:
    """(few, many): row i averages the i-th of `few` equal parts of `many` cells."""
    edges = np.linspace(0, many, few + 1)
    cells = np.arange(many)
    shared = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    parts: Array = np.clip(shared, 0, None) * few / many
    return parts
