"""Handwritten digits: the 1,797 real 8×8 images that scikit-learn carries.

E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..engine import Array
from ..extras import need
from .errors import DataError


@dataclass(frozen=True)
class Images:
    """Images (N, 8, 8), float32 from 0 to 1, and their labels (N,), int64."""

    images: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Digits:
    """The digits in two parts with the same share of every digit and no image in both."""

    train: Images
    test: Images


def digits(test: float = 0.2, seed: int = 0) -> Digits:
    """The digits, split by `seed`.

    Args:
        test: share of each digit's images that goes into the test part, between 0 and 1.

    Raises:
        DataError: a share that leaves one part empty.
        ExtraError: scikit-learn is not installed.
    """
    if not 0.01 <= test <= 0.99:
        raise DataError(f"digits: expected a test share from 0.01 to 0.99, got {test}")
    loaded = need("sklearn.datasets", "the handwritten digits").load_digits()
    images, labels = (loaded.images / 16).astype(np.float32), loaded.target.astype(np.int64)
    rng = np.random.default_rng(seed)
    first, second = [], []
    for digit in range(10):
        places = rng.permutation(np.flatnonzero(labels == digit))
        cut = round(len(places) * test)
        first.append(places[cut:])
        second.append(places[:cut])
    train, held_out = (rng.permutation(np.concatenate(part)) for part in (first, second))
    return Digits(Images(images[train], labels[train]), Images(images[held_out], labels[held_out]))
