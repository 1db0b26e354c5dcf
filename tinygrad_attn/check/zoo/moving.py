"""Bugs in operations that move and pick elements: orders, slices, indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import ops
from ...engine import Array
from ...ops.joining import along, section
from ..causes import Cause
from ..draws import normal
from .bug import Cage, Draw, Size, Subject

CAGE = Cage("shapes and indices")
plants = CAGE.plants


# ── what they are seen in ────────────────────────────────────────────────────────────────────────
def cube(size: Size, rng: Draw) -> Subject:
    """Three axes of one length, in another order."""
    return Subject(lambda x: ops.transpose(x, (1, 2, 0)), (normal(rng, size.T, size.T, size.T),))


def box(size: Size, rng: Draw) -> Subject:
    """Three axes of different lengths, in another order."""
    return Subject(lambda x: ops.transpose(x, (0, 2, 1)), (normal(rng, size.B, size.T, size.S),))


def side_by_side(size: Size, rng: Draw) -> Subject:
    """Two arrays beside each other."""
    shape = (size.T, size.S)
    return Subject(lambda a, b: ops.concat([a, b], -1), (normal(rng, *shape), normal(rng, *shape)))


def picked(size: Size, rng: Draw) -> Subject:
    """Rows of x, the first of them twice."""
    rows = np.array([0, size.T - 1, 0])
    return Subject(lambda x: x[rows], (normal(rng, size.T, size.S),))


# ── orders ───────────────────────────────────────────────────────────────────────────────────────
@plants(ops.transpose, "x", cube, Cause.PERMUTATION)
def transpose_not_inverted(g: Array, axes: Sequence[int]) -> Array:
    """The same order of axes again. Swaps undo themselves, so only a cycle of three shows it."""
    return np.transpose(g, axes)


@plants(ops.transpose, "x", box, Cause.PERMUTATION)
def transpose_undone_by_reshape(g: Array, in_shape: tuple[int, ...]) -> Array:
    """The shape is right and every number in a wrong place: heads are merged like this daily."""
    return g.reshape(in_shape)


@plants(
    ops.reshape,
    "x",
    lambda s, rng: Subject(lambda x: ops.reshape(x, (s.S, s.T)), (normal(rng, s.T, s.S),)),
    Cause.PERMUTATION,
)
def reshape_by_columns(g: Array, in_shape: tuple[int, ...]) -> Array:
    """Read in Fortran's order, as a library that stores by columns would."""
    return g.reshape(in_shape, order="F")


@plants(
    ops.roll,
    "x",
    lambda s, rng: Subject(lambda x: ops.roll(x, 1, 0), (normal(rng, s.T + 2, s.S),)),
    Cause.PERMUTATION,
)
def roll_forward_again(g: Array, shift: int, axis: int) -> Array:
    """Rolled on where it should be rolled back: shifted tokens learn from their neighbours."""
    return np.roll(g, shift, axis)


@plants(
    ops.flip,
    "x",
    lambda s, rng: Subject(lambda x: ops.flip(x, 0) * 2, (normal(rng, s.T, s.S),)),
    Cause.PASSED_ON,
)
def flip_passes_on(g: Array) -> Array:
    """A reversed sequence whose gradient is not: the backward direction of an RNN learns from the
    other end.
    """
    return g


# ── slices ───────────────────────────────────────────────────────────────────────────────────────
@plants(ops.concat, 0, side_by_side, Cause.SHIFTED)
def concat_off_by_one(g: Array, i: int, in_shapes: Any, axis: int) -> Array:
    """Sections start one element late, the last element coming from the front."""
    return np.roll(g, -1, axis)[along(axis, section(i, in_shapes, axis))]


@plants(ops.concat, 0, side_by_side, Cause.ANOTHER_ARGUMENT)
def concat_swapped(g: Array, i: int, in_shapes: Any, axis: int) -> Array:
    """The parts' gradients change places; when they are equally wide nothing fails."""
    return g[along(axis, section(len(in_shapes) - 1 - i, in_shapes, axis))]


@plants(
    ops.stack,
    0,
    lambda s, rng: Subject(
        lambda a, b: ops.stack([a, b]), (normal(rng, s.T, s.S), normal(rng, s.T, s.S))
    ),
    Cause.ANOTHER_ARGUMENT,
)
def stack_gives_first_to_all(g: Array) -> Array:
    """Index 0 where i belongs: all layers of a stack get the first one's gradient."""
    return g[0]


@plants(
    ops.split,
    "x",
    lambda s, rng: Subject(lambda x: tuple(ops.split(x, 2, -1)), (normal(rng, s.T, 2 * s.S),)),
    Cause.PERMUTATION,
)
def split_joined_backwards(g: tuple[Array, ...], axis: int) -> Array:
    """The parts' gradients are put together in reverse order: gate and value change places."""
    return np.concatenate(g[::-1], axis)


@plants(
    ops.pad,
    "x",
    lambda s, rng: Subject(lambda x: ops.pad(x, ((1, 2), (0, 0))), (normal(rng, s.T, s.S),)),
    Cause.SHIFTED,
)
def pad_forgets_the_margin(g: Array, in_shape: tuple[int, ...]) -> Array:
    """Cut from the corner instead of after the border: each row learns from the one before it."""
    return g[: in_shape[0]]


# ── indexing ─────────────────────────────────────────────────────────────────────────────────────
@plants(ops.getitem, "x", picked, Cause.OVERWRITTEN)
def getitem_overwrites(g: Array, index: Any, in_shape: tuple[int, ...]) -> Array:
    """`gx[index] = g` where `np.add.at(gx, index, g)` belongs: of a row that was taken twice only
    the last use counts.
    """
    gx = np.zeros(in_shape, g.dtype)
    gx[index] = g
    return gx


@plants(
    ops.take,
    "x",
    lambda s, rng: Subject(
        lambda x, rows: ops.take(x, rows, 0), (normal(rng, s.T, s.S), np.array([1, 0, 1, 1]))
    ),
    Cause.OVERWRITTEN,
)
def take_overwrites(g: Array, indices: Array, in_shape: tuple[int, ...]) -> Array:
    """The same in a table of embeddings: frequent words learn from their last occurrence alone."""
    gx = np.zeros(in_shape, g.dtype)
    gx[indices] = g
    return gx
