"""PyTorch's operations that move elements, by ours."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np

import tinygrad_attn as ta

from .operators import Unsupported

SAME = (
    "broadcast_to", "column_stack", "diag", "dstack", "fliplr", "flipud", "hstack", "ravel",
    "reshape", "tril", "triu", "vstack",
)  # fmt: skip
RENAMED = {
    "cat": "concat", "view": "reshape", "permute": "transpose", "movedim": "moveaxis",
    "unsqueeze": "expand_dims", "tile": "tile", "repeat": "tile", "stack": "stack", "roll": "roll",
    "unbind": "unstack", "tensor_split": "array_split",
}  # fmt: skip
AXES = {"dim": "axis", "dims": "axis", "dim0": "axis1", "dim1": "axis1", "dim2": "axis2"}


def renamed(op: Callable[..., Any]) -> Callable[..., Any]:
    """Options named as here."""
    return lambda *args, **options: op(*args, **{AXES.get(k, k): v for k, v in options.items()})


def expand(x: Any, shape: Any) -> Any:
    """A length of −1 stays as it is."""
    own = (1,) * (len(shape) - x.ndim) + x.shape
    return ta.broadcast_to(x, tuple(m if n == -1 else n for n, m in zip(shape, own)))


def expand_as(x: Any, other: Any) -> Any:
    """To the shape of another tensor."""
    return ta.broadcast_to(x, other.shape)


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Some axes as one."""
    shape = ta.atleast_1d(x).shape
    first, last = start_dim % len(shape), end_dim % len(shape)
    return ta.reshape(x, (*shape[:first], -1, *shape[last + 1 :]))


def unflatten(x: Any, dim: int, sizes: Any) -> Any:
    """One axis as several."""
    return ta.reshape(x, (*x.shape[:dim], *sizes, *x.shape[dim + 1 :]))


def flip(x: Any, dims: Any) -> Any:
    """Axes as a tuple."""
    return ta.flip(x, tuple(dims))


def rot90(x: Any, k: int = 1, dims: Any = (0, 1)) -> Any:
    """`dims` are the axes."""
    return ta.rot90(x, k, dims)


def repeat_interleave(x: Any, repeats: Any, dim: int | None = None) -> Any:
    """Element by element."""
    return ta.repeat(x, repeats, dim)


def squeeze(x: Any, dim: Any = None) -> Any:
    """PyTorch lets axes that are longer than 1 stay."""
    dims = range(x.ndim) if dim is None else dim if isinstance(dim, (tuple, list)) else (dim,)
    return ta.squeeze(x, tuple(d for d in dims if x.ndim and x.shape[d] == 1))


def transpose(x: Any, dim0: int, dim1: int) -> Any:
    """Two axes exchanged; PyTorch lets a number have one."""
    return ta.swapaxes(x, dim0, dim1) if x.ndim else ta.transpose(x)


def split(x: Any, size: Any, dim: int = 0) -> Any:
    """PyTorch gives the size of the parts, or the sizes."""
    n = x.shape[dim]
    ends = range(size, n, size) if isinstance(size, int) else list(accumulate(size))[:-1]
    return ta.split(x, list(ends), dim)


def chunk(x: Any, chunks: int, dim: int = 0) -> Any:
    """Parts of equal size, but for the last."""
    return split(x, -(-x.shape[dim] // chunks), dim)


def tensor_split(x: Any, indices_or_sections: Any, dim: int = 0) -> Any:
    """An array of indices may be given."""
    return ta.array_split(x, indices_or_sections, dim)


def unfold(x: Any, dim: int, size: int, step: int) -> Any:
    """Every `step`-th window."""
    windows = ta.sliding_window_view(ta.atleast_1d(x), size, dim)
    taken = windows[(slice(None),) * (dim % max(x.ndim, 1)) + (slice(None, None, step),)]
    return taken if x.ndim else taken[0]


def diag_embed(x: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """The same."""
    return ta.diag_embed(x, offset, dim1, dim2)


def diagonal(x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The same."""
    return ta.diagonal(x, offset, dim1, dim2)


MODES = {"constant": "constant", "replicate": "edge", "circular": "wrap", "reflect": "reflect"}


def pad(x: Any, pad: Any, mode: str = "constant", value: float | None = None) -> Any:
    """PyTorch names the last axis first; a negative width cuts off."""
    if mode not in MODES:
        raise Unsupported(f"pad with mode {mode!r}")
    pairs = [(0, 0)] * (x.ndim - len(pad) // 2) + list(zip(pad[::2], pad[1::2]))[::-1]
    widths = [(max(a, 0), max(b, 0)) for a, b in pairs]
    options = {"mode": MODES[mode], **({"constant_values": value} if value else {})}
    if mode == "replicate":  # an edge that is cut off is replicated nevertheless
        return cut(ta.pad(x, widths, **options), pairs)
    return ta.pad(cut(x, pairs), widths, **options)


def cut(x: Any, pairs: Any) -> Any:
    """x without as much at its ends as widths are negative."""
    return x[tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape, pairs))]


def narrow(x: Any, dim: int, start: Any, length: int) -> Any:
    """A slice of one axis."""
    first = int(np.asarray(start)) % max(x.shape[dim], 1)
    return ta.take(x, np.arange(first, first + length), dim)


def select(x: Any, dim: int, index: int) -> Any:
    """One place of an axis."""
    return ta.take(x, index, dim)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(ta, name) for name in SAME},
    **{name: renamed(getattr(ta, ours)) for name, ours in RENAMED.items()},
    **{f.__name__: f for f in (expand, expand_as, flatten, unflatten, flip, rot90, squeeze)},
    **{f.__name__: f for f in (repeat_interleave, transpose, split, chunk, tensor_split, unfold)},
    **{f.__name__: f for f in (diag_embed, diagonal, narrow, select)},
    "split_with_sizes": split,
    "t": ta.transpose,
    "trace": ta.trace,
    "nn.functional.pad": pad,
}
