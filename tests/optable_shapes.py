"""The rows of operations that move elements, take them out and put them in; and of products."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from oprow import UNARY, Array, S, apart, row

import tinygrad_attn as ta

# A table: rows as long as they fit, not one argument a line.
# fmt: off

MASK = np.array([[True, False, True], [False, False, True]])


def diag_embed(x: Array, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Array:
    """Each row put on a diagonal with np.diag."""
    n = x.shape[-1] + abs(offset)
    rows = [np.diag(row, offset) for row in x.reshape(-1, x.shape[-1])]
    return np.moveaxis(np.reshape(rows, (*x.shape[:-1], n, n)), (-2, -1), (axis1, axis2))


# ── shapes ────────────────────────────────────────────────────────────────────────────────────────
row("reshape", lambda x, shape: np.reshape(x, shape), S((2, 3), shape=(3, 2)), S((2, 3), shape=-1),
    S((2, 3, 5), shape=(5, -1)), S((), shape=(1, 1)), S((1,), shape=()), S((0, 3), shape=(3, 0)))
row("transpose", np.transpose, S((2, 3)), S((2, 3, 5)), S((2, 3, 5), axes=(1, 2, 0)),
    S((2, 3, 5), axes=(-1, 0, 1)), S((7,)), S(()), S((0, 3)))
row("swapaxes", np.swapaxes, S((2, 3, 5), axis1=0, axis2=-1), S((2, 3), axis1=1, axis2=1))
row("moveaxis", np.moveaxis, S((2, 3, 5), source=0, destination=-1),
    S((2, 3, 5), source=(0, -1), destination=(1, 0)), S((7,), source=0, destination=0))
row("squeeze", np.squeeze, S((1, 3, 1)), S((1, 3, 1), axis=0), S((1, 3, 1), axis=(0, -1)),
    S((1, 1)), S((2, 3)))
row("expand_dims", np.expand_dims, S((2, 3), axis=0), S((2, 3), axis=-1), S((2, 3), axis=(0, 2)),
    S((), axis=0))
row("broadcast_to", np.broadcast_to, S((3,), shape=(2, 3)), S((2, 1, 5), shape=(7, 2, 3, 5)),
    S((), shape=(3, 2)), S((1, 3), shape=(0, 3)), S((2, 3), shape=(2, 3)))
row("concatenate", lambda *xs, axis=0: np.concatenate(xs, axis), S((2, 3), (5, 3)),
    S((2, 3), (2, 1), (2, 5), axis=-1), S((2, 3), (5,), axis=None), S((3,)), S((0, 3), (2, 3)),
    S((2,), np.array([1, 2, 3])), call=lambda *xs, axis=0: ta.concat(xs, axis))
row("stack", lambda *xs, axis=0: np.stack(xs, axis), S((2, 3), (2, 3)),
    S((2, 3), (2, 3), (2, 3), axis=-1), S((3,), (3,), axis=1), S((), ()), S((0,), (0,)),
    call=lambda *xs, axis=0: ta.stack(xs, axis))
row("split", np.split, S((6, 2), indices_or_sections=3),
    S((2, 7), indices_or_sections=[2, 3], axis=1),
    S((3, 5), indices_or_sections=[0, 2, 9], axis=-1), S((2, 6), indices_or_sections=2, axis=-1),
    S((5,), indices_or_sections=[]))
row("pad", np.pad, S((2, 3), pad_width=1), S((2, 3), pad_width=(1, 2)),
    S((2, 3), pad_width=((0, 1), (2, 0))), S((5,), pad_width=((2, 3),), constant_values=1.5),
    S((0, 2), pad_width=1), S((), pad_width=2))
row("flip", np.flip, S((2, 3)), S((2, 3, 5), axis=1), S((2, 3, 5), axis=(0, -1)), S((7,)), S(()),
    S((0,)))
row("roll", np.roll, S((7,), shift=2), S((2, 3), shift=-1), S((2, 3), shift=1, axis=-1),
    S((2, 3), shift=[1, -2], axis=[0, 1]), S((3, 5), shift=(1, -2), axis=(0, 1)),
    S((3, 5), shift=2, axis=(0, 1)), S((0, 3), shift=1))
row("tile", np.tile, S((2, 3), reps=2), S((2, 3), reps=(3, 1)), S((3,), reps=(2, 3)),
    S((2, 3, 5), reps=(2,)), S((), reps=(2, 3)), S((), reps=3), S((3,), reps=0),
    S((2, 3), reps=[2, 2]), S((3,), reps=np.int64(2)))
row("repeat", np.repeat, S((2, 3), repeats=2), S((2, 3), repeats=3, axis=0),
    S((2, 3), repeats=2, axis=-1), S((2, 3), repeats=np.array([1, 0, 4]), axis=1),
    S((3,), repeats=[2, 0, 1]), S((), repeats=3), S((), repeats=2, axis=0), S((2, 3), repeats=0),
    S((0, 3), repeats=2, axis=0), S((3,), repeats=[2], axis=0))
row("tril", np.tril, S((3, 5)), S((5, 3), k=1), S((2, 3, 3), k=-1), S((0, 3)), S((7, 7), k=9))
row("triu", np.triu, S((3, 5)), S((5, 3), k=1), S((2, 3, 3), k=-1), S((0, 3)), S((7, 7), k=-9))

row("ravel", np.ravel, *UNARY)
row("atleast_1d", np.atleast_1d, *UNARY)
row("atleast_2d", np.atleast_2d, *UNARY)
row("atleast_3d", np.atleast_3d, *UNARY, S((2, 1, 3, 2)))
row("fliplr", np.fliplr, S((2, 3)), S((2, 3, 5)), S((3, 0)))
row("flipud", np.flipud, S((7,)), S((2, 3, 5)), S((0, 3)))
row("rot90", np.rot90, *(S((2, 3), k=k) for k in range(-3, 4)), S((2, 3, 5), k=5, axes=(2, 0)),
    S((2, 3, 5), axes=(-1, 1)), S((2, 3, 5), k=-1, axes=(1, 2)))
JOINED = (S((3,), (5,)), S((2, 3, 5), (2, 1, 5)), S((2, 2), (2, 3)), S((), ()))
row("hstack", lambda *xs: np.hstack(xs), *JOINED, call=lambda *xs: ta.hstack(xs))
row("vstack", lambda *xs: np.vstack(xs), S((3,), (3,)), S((2, 3), (3,)), S((2, 3, 5), (1, 3, 5)),
    S((), ()), call=lambda *xs: ta.vstack(xs))
row("dstack", lambda *xs: np.dstack(xs), S((3,), (3,)), S((2, 3), (2, 3)), S((2, 3, 5), (2, 3, 1)),
    S((), ()), call=lambda *xs: ta.dstack(xs))
row("column_stack", lambda *xs: np.column_stack(xs), S((3,), (3,)), S((3,), (3, 2)),
    S((2, 3, 5), (2, 1, 5)), S((), ()), call=lambda *xs: ta.column_stack(xs))
row("array_split", np.array_split, S((7, 2), indices_or_sections=3),
    S((2, 7), indices_or_sections=[2, 3], axis=1), S((3, 5), indices_or_sections=2, axis=-1),
    S((2,), indices_or_sections=3))
row("unstack", lambda x, axis=0: tuple(np.moveaxis(x, axis, 0)), S((3, 5)),
    S((2, 3, 5), axis=-1), S((7,)), S((2, 0), axis=0), call=lambda x, axis=0: ta.unstack(x, axis))
row("pad", np.pad, S((3, 5), pad_width=2, mode="edge"), S((3, 5), pad_width=(1, 2), mode="reflect"),
    S((5,), pad_width=7, mode="wrap"), S((3, 5), pad_width=((0, 2), (3, 0)), mode="symmetric"),
    S((2, 3), pad_width=0, mode="edge"), S((0, 3), pad_width=((0, 0), (1, 1)), mode="wrap"))
row("sliding_window_view", sliding_window_view, S((7,), window_shape=3),
    S((3, 5), window_shape=(2, 3)), S((2, 3, 5), window_shape=2, axis=1), S((3,), window_shape=3),
    S((3, 5), window_shape=(2, 2), axis=(-1, 0)))
row("trace", np.trace, S((3, 5)), S((5, 3), offset=-1), S((3, 5), offset=2), S((3, 3), offset=7),
    S((2, 3, 5), axis1=-1, axis2=0))
row("diag", np.diag, S((3,)), S((3,), k=2), S((3,), k=-1), S((3, 5)), S((3, 5), k=1),
    S((5, 3), k=-2), S((0,)))
row("diag_embed", diag_embed, S((3,)), S((2, 3), offset=1), S((2, 3), offset=-2),
    S((2, 3), axis1=0, axis2=2), S((2, 3, 5), offset=1, axis1=-1, axis2=1), S((0, 3)))

# ── indexing ──────────────────────────────────────────────────────────────────────────────────────
def scattered(g: Array, index: Any, shape: tuple[int, ...]) -> Array:
    """Zeros with g added element by element."""
    out = np.zeros(shape)
    places = np.arange(out.size).reshape(shape)[index]
    np.add.at(out.reshape(-1), places, g)
    return out


def scattered_rows(g: Array, indices: Array, axis: int, shape: tuple[int, ...]) -> Array:
    """Zeros with the slices of g added at `indices`."""
    return scattered(g, (slice(None),) * axis + (indices,), shape)


def scatter_add(x: Array, updates: Array, indices: Array, axis: int = -1) -> Array:
    """x with each update added in a loop."""
    out = x.copy()
    for k in np.ndindex(updates.shape):
        place = list(k)
        place[axis] = indices[k]
        out[tuple(place)] += updates[k]
    return out


def put(x: Array, values: Any, index: Any, accumulate: bool = False) -> Array:
    """A copy of x, written into."""
    out = x.copy()
    if accumulate:
        np.add.at(out, index, values)
    else:
        out[index] = values
    return out


def put_along(x: Array, values: Array, indices: Array, axis: int | None) -> Array:
    """A copy of x, written into along an axis."""
    out = x.copy()
    np.put_along_axis(out, indices, values, axis)
    return out


FOLDS = {"sum": np.sum, "prod": np.prod, "mean": np.mean, "max": np.max, "min": np.min}


def scatter_reduce(x: Array, updates: Array, indices: Array, axis: int = -1, reduce: str = "sum",
                   include_self: bool = True) -> Array:
    """Everything that meets at a place, collected in a loop and reduced."""
    meeting: dict[Any, list[Any]] = {}
    for k in np.ndindex(updates.shape):
        place = list(k)
        place[axis] = indices[k] % x.shape[axis]
        meeting.setdefault(tuple(place), []).append(updates[k])
    out = x.copy()
    for goal, parts in meeting.items():
        out[goal] = FOLDS[reduce]([x[goal], *parts] if include_self else parts)
    return out


EACH = np.array([[0, 2, -1, 0, 2], [1, 1, 1, 0, -2], [2, 0, 1, 2, 0]])      # (3, 5)
row("getitem", lambda x, index: x[index], S((5, 7), index=2),
    S((5, 7), index=(slice(1, 4), slice(None, None, -2))), S((5, 7), index=[0, 0, -1, 3]),
    S((2, 3, 5), index=(..., None, 1)), S((2, 3), index=MASK),
    S((2, 3, 5), index=(slice(None), np.array([[0, 2], [2, 2]]), [1, -1])),
    S((2, 3, 5), index=(1, slice(None), [4, 4, 0])), S((), index=()), S((), index=None),
    S((5, 7), index=slice(3, 3)), S((2, 3, 5), index=(MASK, slice(0, 2))), S((2, 3), index=(0, 1)))
row("scatter", scattered, S((2,), index=[0, 3], shape=(5,)), S((3,), index=[1, 1, 0], shape=(2,)),
    S((3, 2), index=(slice(None), [4, 4]), shape=(3, 5)), S((3,), index=(MASK,), shape=(2, 3)),
    S((2, 3), index=slice(1, 3), shape=(5, 3)))
row("take", np.take, S((5, 3), indices=[0, -1, 0], axis=0),
    S((2, 3, 5), indices=np.array([[0, 4], [4, -5]]), axis=-1), S((2, 3), indices=4),
    S((2, 3), indices=[[0, 5], [5, 5]]), S((5, 3), indices=2, axis=0),
    S((3, 2), indices=[], axis=1), S((7,), indices=EACH))
row("untaken", scattered_rows, S((3, 2), indices=np.array([0, 4, 0]), axis=0, shape=(5, 2)),
    S((3, 2, 2), indices=np.array([[0, -1], [-1, 1]]), axis=1, shape=(3, 2)),
    S((2, 0), indices=np.array([], int), axis=1, shape=(2, 3)),
    S((3,), indices=np.array(2), axis=0, shape=(5, 3)))
row("take_along_axis", np.take_along_axis, S((3, 3), indices=EACH, axis=-1),
    S((3, 5), indices=EACH, axis=0), S((3, 3), indices=EACH[:, :2], axis=1),
    S((3, 5), indices=EACH[:1], axis=0))
row("scatter_add", scatter_add, S((3, 3), (3, 5), indices=EACH, axis=-1),
    S((3, 5), (3, 5), indices=EACH, axis=0), S((3, 4), (3, 2), indices=EACH[:, :2]), call=lambda x,
    updates, indices, axis=-1: ta.scatter_add(x, indices, updates, axis))
row("index_put", put, S((5, 7), (7,), index=2), S((5,), (3,), index=[0, 3, 1]),
    S((5,), (4,), index=[0, 3, 0, 0]), S((2, 3), (), index=MASK), S((2, 3), 1.5, index=MASK),
    S((5, 7), (2, 1), index=(slice(1, 3), slice(None, None, 2))),
    S((3,), (2,), index=[-1, 2]), S((5,), (3,), index=[4, 0, 4], accumulate=True),
    S((2, 3), (3,), index=slice(None), accumulate=True), S((), (), index=()), call=lambda x, values,
    index, accumulate=False: ta.index_put(x, index, values, accumulate))
row("put_along_axis", put_along, S((3, 3), (3, 5), indices=EACH, axis=-1),
    S((3, 5), (3, 5), indices=EACH, axis=0), S((3, 4), (3, 2), indices=EACH[:, :2], axis=1),
    S((2, 3), (3,), indices=np.array([0, 5, 2]), axis=None),
    S((3, 5), (), indices=EACH[:1], axis=0),
    call=lambda x, values, indices, axis: ta.put_along_axis(x, indices, values, axis))
row("scatter_reduce", scatter_reduce, *(
    S((3, 3), (3, 5), indices=EACH, axis=-1, reduce=reduce, include_self=include_self)
    for reduce in FOLDS for include_self in (True, False)),
    S((3, 5), (3, 5), indices=EACH, axis=0, reduce="mean"), S((3,), (0,), indices=EACH[0, :0]),
    smooth=False, domain=apart, call=lambda x, updates, indices, axis=-1, **options:
    ta.scatter_reduce(x, indices, updates, axis, **options))
row("one_hot", lambda x, indices: x @ np.eye(3)[indices].swapaxes(-1, -2),
    S((2, 3), indices=[2, 0, 2, 1]), call=lambda x,
    indices: ta.matmul(x, ta.one_hot(indices, 3, np.float32).data.T))
row("sort", np.sort, S((7,)), S((3, 5)), S((2, 3, 5), axis=0), S((2, 3, 5), axis=-2),
    S((3, 5), axis=None), S((0, 3)), smooth=False, domain=apart)
row("diagonal", np.diagonal, S((3, 5)), S((5, 3), offset=-1), S((3, 5), offset=2),
    S((2, 3, 5), axis1=-1, axis2=0), S((3, 3), offset=7), S((2, 3, 5), offset=1, axis1=1, axis2=2))

# ── products ──────────────────────────────────────────────────────────────────────────────────────
row("matmul", np.matmul, S((2, 3), (3, 5)), S((3,), (3,)), S((3,), (3, 5)), S((2, 3), (3,)),
    S((3,), (2, 3, 5)), S((2, 5, 3), (3,)), S((2, 3, 5), (2, 5, 7)), S((2, 1, 3, 5), (7, 5, 2)),
    S((3, 5), (2, 5, 7)), S((2, 0), (0, 3)), S((0, 3), (3, 2)), S((0,), (0,)), S((1, 3), (3, 1)),
    S((2, 3), np.arange(6.0).reshape(3, 2)))


row("dot", np.dot, S((3,), (3,)), S((2, 3), (3, 5)), S((2, 3), (3,)), S((2, 3, 5), (7, 5, 2)),
    S((2, 3, 5), (5,)), S((), (2, 3)), S((2, 3), 1.5), S((0,), (0,)))
row("inner", np.inner, S((3,), (3,)), S((2, 3), (5, 3)), S((2, 3, 5), (7, 5)), S((), (2, 3)),
    S((3,), (2, 3)), S((2, 0), (3, 0)))
row("vdot", np.vdot, S((2, 3), (2, 3)), S((2, 3), (6,)), S((), ()))
row("tensordot", np.tensordot, S((2, 3, 5), (3, 5, 7)), S((2, 3), (5, 2), axes=([0], [1])),
    S((2, 3, 5), (5, 3), axes=((1, -1), (1, 0))), S((2, 3), (5,), axes=0),
    S((3, 5), (5, 3), axes=1), S((2, 3), (3, 5), axes=(1, 0)), S((2, 0), (0, 3), axes=1))
row("kron", np.kron, S((2,), (3,)), S((2, 3), (5, 7)), S((2, 3), (5,)), S((3,), (2, 1, 5)),
    S((), (3,)), S((2, 0), (3, 1)))
row("multi_dot", lambda *xs: np.linalg.multi_dot(xs), S((2, 3), (3, 5), (5, 7)), S((2, 3), (3, 2)),
    S((3,), (3, 5), (5, 2)), S((3,), (3, 5), (5,)), call=lambda *xs: ta.multi_dot(xs))


def conv(x: Array, weight: Array, stride: int = 1, padding: int = 0, dilation: int = 1,
         groups: int = 1) -> Array:
    """In a loop over filters and places."""
    n, filters, channels = weight.ndim - 2, weight.shape[0], weight.shape[1]
    stride, padding, dilation = (np.broadcast_to(o, n) for o in (stride, padding, dilation))
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    reach = dilation * (np.array(weight.shape[2:]) - 1) + 1
    sizes = (np.array(x.shape[2:]) - reach) // stride + 1
    out = np.zeros((len(x), filters, *sizes))
    for place in np.ndindex(*out.shape[1:]):
        k, first = place[0], np.array(place[1:]) * stride
        cut = tuple(slice(a, a + r, d) for a, r, d in zip(first, reach, dilation))
        group = k // (filters // groups)
        part = x[:, group * channels : (group + 1) * channels][(slice(None), slice(None), *cut)]
        out[(slice(None), *place)] = (part * weight[k]).sum(axis=tuple(range(1, x.ndim)))
    return out


row("conv", conv, S((2, 3, 7), (5, 3, 2)), S((2, 3, 7), (5, 3, 3), stride=2, padding=1),
    S((1, 2, 5, 7), (3, 2, 2, 3), stride=(1, 2), dilation=(2, 1)),
    S((2, 6, 5), (4, 3, 2), groups=2, dilation=2),
    S((1, 3, 5, 5), (3, 1, 3, 3), groups=3, padding=1), S((2, 1, 3, 3, 3), (2, 1, 2, 2, 2)),
    S((0, 2, 3), (1, 2, 3)))


def of(subscripts: str, *shapes: tuple[int, ...]) -> S:
    return S(*shapes, subscripts=subscripts)


row("einsum", lambda *xs, subscripts: np.einsum(subscripts, *xs), of("ij,jk->ik", (2, 3), (3, 5)),
    of("ij,jk", (2, 3), (3, 5)), of("ba", (2, 3)), of("i,i", (3,), (3,)), of("ij->", (2, 3)),
    of("ij->j", (2, 3)), of("ii->i", (3, 3)), of("ii", (3, 3)), of("iij->j", (3, 3, 2)),
    of("iii->i", (2, 2, 2)), of("ii,ij->j", (3, 3), (3, 2)), of("ii,jj->ij", (2, 2), (3, 3)),
    of("...ij,...jk->...ik", (2, 3, 5), (5, 7)), of("...ij,jk", (7, 2, 3), (3, 5)),
    of("i...->...i", (2, 3, 5)), of("...ii->...i", (2, 3, 3)), of("...,...", (2, 3), (3,)),
    of("bhqd,bhkd->bhqk", (2, 3, 5, 2), (2, 3, 7, 2)), of("ij,jk,kl->il", (2, 3), (3, 5), (5, 2)),
    of("ij,k->i", (2, 3), (5,)), of("i,j->ij", (2,), (3,)), of("ij,ij->i", (3, 5), (3, 1)),
    of("ij,ij->ij", (3, 5), (1, 5)), of("ij,ij", (3, 1), (3, 5)),
    of("ij , jk -> k i", (2, 3), (3, 5)), of(",ij->ji", (), (2, 3)),
    of("ij,jk->ik", (2, 0), (0, 3)), call=lambda *xs, subscripts: ta.einsum(subscripts, *xs))
row("outer", np.outer, S((3,), (5,)), S((2, 3), (5,)), S((), (3,)))
# fmt: on
