"""A cache of keys and values: a new position then costs one row of attention, not all of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np

from .. import ops
from ..engine import Array, DTypeError, ShapeError, Tensor
from ..engine.tensor import locked, wrapped
from .layers import natural

F = TypeVar("F", bound=Callable[..., Any])


class KVCache:
    """The keys and values of the positions so far, of one attention layer.

    What needs no gradient is written into an array with room for more; where gradients are
    recorded, they flow through the cache.

    Args:
        capacity: the most positions it takes; None for no limit.

    Attributes:
        keys, values: Tensors (..., heads, length, d); None before the first.
    """

    def __init__(self, capacity: int | None = None) -> None:
        if capacity is not None and not (natural(capacity) and capacity):
            raise ShapeError(f"KVCache: capacity must be 1 or more, or None, got {capacity!r:.80}")
        self.capacity = capacity
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        self.rooms: list[Array | None] = [None, None]

    @property
    def length(self) -> int:
        """Number of positions."""
        return 0 if self.keys is None else int(self.keys.shape[-2])

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values, those of T new positions (..., heads, T, d) at the end.

        Raises:
            ShapeError: they do not fit to the earlier ones, or the cache is full.
            DTypeError: they are of another dtype than the earlier ones.
        """
        k, v = (x if isinstance(x, Tensor) else Tensor(x) for x in (k, v))
        self.check(k, v)
        k, v = self.extended(0, self.keys, k), self.extended(1, self.values, v)
        self.keys, self.values = k, v
        return k, v

    def extended(self, place: int, old: Tensor | None, new: Tensor) -> Tensor:
        """`old` with `new` after it; the array behind it has room for more."""
        if new.node is not None or (old is not None and old.node is not None):
            self.rooms[place] = None
            return new if old is None else ops.concat([old, new], -2)
        past = 0 if old is None else old.shape[-2]
        total, room = past + new.shape[-2], self.rooms[place]
        if room is None or room.shape[-2] < total:
            self.rooms[place] = room = np.empty(
                (*new.shape[:-2], self.capacity or 2 * total, new.shape[-1]), new.dtype
            )
            if old is not None:
                room[..., :past, :] = old._data
        room[..., past:total, :] = new._data
        return wrapped(locked(room[..., :total, :]), None)

    def truncate(self, length: int) -> None:
        """Forget all positions after the first `length`.

        Raises:
            ShapeError: there are fewer.
        """
        if not (natural(length) and length <= self.length):
            raise ShapeError(f"KVCache: expected a length of 0 … {self.length}, got {length!r:.80}")
        self.rooms = [None, None]  # others may still see what is there
        if self.keys is not None and self.values is not None:
            self.keys, self.values = (
                x[..., :length, :] if length else None for x in (self.keys, self.values)
            )

    def check(self, k: Tensor, v: Tensor) -> None:
        """Refuse what does not fit, before anything has changed."""
        if k.ndim < 2 or k.shape[:-1] != v.shape[:-1]:
            raise ShapeError(
                "KVCache: expected keys (..., heads, T, d) and values "
                f"(..., heads, T, dv), got {k.shape} and {v.shape}"
            )
        for name, old, new in (("keys", self.keys, k), ("values", self.values, v)):
            if old is None:
                continue
            same_shape = old.shape[:-2] == new.shape[:-2] and old.shape[-1] == new.shape[-1]
            if not same_shape or old.dtype != new.dtype:
                kind = DTypeError if same_shape else ShapeError
                raise kind(
                    f"KVCache: holds {name} {old.dtype}{list(old.shape)}, which "
                    f"{new.dtype}{list(new.shape)} do not continue"
                )
        if self.capacity is not None and self.length + k.shape[-2] > self.capacity:
            raise ShapeError(
                f"KVCache: full: it holds {self.length} of {self.capacity} positions, "
                f"and {k.shape[-2]} more do not fit"
            )

    def __repr__(self) -> str:
        of = "" if self.capacity is None else f" of {self.capacity}"
        return f"KVCache({self.length}{of} positions)"


def restoring(forward: F) -> F:
    """Let `forward(self, ..., *, cache=None)` leave the cache as it was where it fails."""

    @wraps(forward)
    def inner(self: Any, *args: Any, cache: Any = None, **options: Any) -> Any:
        if cache is None:
            return forward(self, *args, **options)
        if not isinstance(cache, KVCache):
            raise DTypeError(
                f"{type(self).__name__}: cache must be a KVCache or None, got "
                f"{type(cache).__name__}"
            )
        before = cache.keys, cache.values
        try:
            return forward(self, *args, cache=cache, **options)
        except BaseException:  # an interrupted step too may be tried again
            cache.keys, cache.values = before
            cache.rooms = [None, None]
            raise

    return cast(F, inner)
