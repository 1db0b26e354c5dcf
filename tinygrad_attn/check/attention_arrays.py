"""What is known of one call of attention: arrays from anywhere, read and found to fit together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from ..engine import Array, DTypeError, ShapeError, Tensor

WHO = "identities"
TOLERANCES = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-2, "bfloat16": 1e-1}
AXES = {
    "q": "HTD", "k": "GSD", "v": "GSE", "scores": "HTS", "masked": "HTS", "weights": "HTS",
    "context": "HTE",
}  # fmt: skip
LAYER_AXES = {"dkey_bias": "GD", "dvalue_bias": "GE", "output_weight": "HE"}
LENGTHS = {
    "H": "query heads", "G": "key heads", "T": "queries", "S": "keys", "D": "features",
    "E": "features of a value",
}  # fmt: skip


@dataclass(frozen=True)
class Known:
    """What is known of one call of attention.

    Attributes:
        arrays: in float64, by name, each gradient under "d" + name: q (…, H, T, D); k (…, G, S, D);
            v (…, G, S, E); scores, masked and weights (…, H, T, S); context (…, H, T, E).  Of the
            layer around it dkey_bias (G·D,), dvalue_bias (G·E,), output_weight (·, H·E),
            doutput_bias and doutput.  `allowed` (…, H, T, S) is true where a query may look.
        scale: what R is multiplied by.  group: how many query heads share a head of keys, H / G.
        softcap: is there one?  rotary: are q and k those before a rotation?
        dropout: are some weights dropped?
    """

    arrays: Mapping[str, Array]
    scale: float = 1.0
    group: int = 1
    softcap: bool = False
    rotary: bool = False
    dropout: bool = False

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]

    def has(self, *names: str) -> bool:
        """Are all of them known?"""
        return all(name in self.arrays for name in names)

    @cached_property
    def score_gradients(self) -> list[Array]:
        """dS′ and dS, as far as they are known."""
        return [self[name] for name in ("dmasked", "dscores") if self.has(name)]

    @cached_property
    def score_terms(self) -> Array:
        """P∘(|dP| + Σ P∘|dP|), the terms of dS′ without signs; |dS′| where they are unknown."""
        if not self.has("weights", "dweights"):
            return np.abs(self.score_gradients[0])
        size = np.abs(self["dweights"])
        terms: Array = self["weights"] * (size + (self["weights"] * size).sum(-1, keepdims=True))
        return terms

    @cached_property
    def row_bound(self) -> Array | None:
        """What the terms of a row of dS′ add up to at most (…, H, T), by V and dC alone.

        Rows of P sum to 1, so Σ P|dP| is at most the largest |dP|.  None where V or dC is unknown.
        """
        if not self.has("v", "dcontext"):
            return None
        largest = np.abs(self["v"]).max(-2, keepdims=True, initial=0.0)
        values = np.repeat(largest, self.group, -3)
        return np.asarray(2 * (np.abs(self["dcontext"]) * values).sum(-1))

    @cached_property
    def context_terms(self) -> list[Array]:
        """P|V|∘|dC|, the terms of C∘dC without signs (…, H, T, E); nothing where unknown."""
        if not self.has("weights", "v"):
            return []
        values = np.abs(np.repeat(self["v"], self.group, -3))
        return [self["weights"] @ values * np.abs(self["dcontext"])]


@dataclass(frozen=True)
class Seen:
    """Where queries may look: a mask, and whether j ≤ i + offset besides."""

    mask: Any
    causal: bool
    offset: int


# ── what is given ────────────────────────────────────────────────────────────────────────────────
def known(
    given: dict[str, Any],
    layer: dict[str, Any],
    seen: Seen,
    scale: float | None,
    softcap: bool,
    rotary: bool,
    dropout: bool,
) -> tuple[Known, float]:
    """What is known of a call, and the deviation that rounding may leave.

    Args:
        given: the arrays of one call, or None.  layer: those of the layer around it.

    Raises:
        DTypeError, ShapeError: as in `identities`.
    """
    found, others = read(given), read(layer)
    exactness = max(map(allowed_for, [*found.values(), *others.values()]), default=0.0)
    arrays = {name: with_heads(name, array) for name, array in found.items()}
    lengths, front = measured(arrays)
    arrays |= {name: array.astype(np.float64) for name, array in others.items()}
    if not softcap and ("dscores" in arrays) != ("dmasked" in arrays):  # a mask is only added
        same = arrays["dscores" if "dscores" in arrays else "dmasked"]
        arrays["dmasked"] = arrays["dscores"] = same
    allowed = allowed_pairs(seen, lengths, front)
    if allowed is not None:
        arrays["allowed"] = allowed
    check_layer(others, lengths)
    scale = lengths.get("D", 1) ** -0.5 if scale is None else scale
    group = lengths["H"] // lengths["G"] if lengths.keys() >= {"H", "G"} else 1
    return Known(arrays, scale, group, softcap, rotary, dropout), exactness


def read(given: dict[str, Any]) -> dict[str, Array]:
    """The arrays that are there.

    Raises:
        DTypeError: one is no array of real floating numbers.
    """
    return {name: as_array(name, x) for name, x in given.items() if x is not None}


def as_array(name: str, x: Any) -> Array:
    """`x` as an array of its own dtype."""
    try:
        array = np.asarray(x.data if isinstance(x, Tensor) else x)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: PyTorch's
        raise DTypeError(f"{WHO}: {name} is no array: {error}") from None
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise DTypeError(f"{WHO}: {name} must hold real floating numbers, got {array.dtype}")
    return array


def allowed_for(array: Array) -> float:
    """The deviation that rounding may leave."""
    return TOLERANCES.get(array.dtype.name, TOLERANCES["float64"])


def with_heads(name: str, array: Array) -> Array:
    """In float64, (..., heads, rows, columns)."""
    if array.ndim < 2:
        raise ShapeError(
            f"{WHO}: {name} must have the axes (..., heads, time, width), got the shape "
            f"{array.shape}"
        )
    return np.asarray(array if array.ndim > 2 else array[None], np.float64)


def measured(arrays: dict[str, Array]) -> tuple[dict[str, int], tuple[int, ...]]:
    """The length of every axis by its letter, and the axes in front.

    Raises:
        ShapeError: two arrays disagree, or G does not divide H.
    """
    lengths: dict[str, tuple[int, str]] = {}
    front: tuple[tuple[int, ...], str] | None = None
    for name, array in arrays.items():
        axes = AXES[name] if name in AXES else AXES[name.removeprefix("d")]
        for letter, length in zip(axes, array.shape[-3:], strict=True):
            first, where = lengths.setdefault(letter, (length, name))
            if first != length:
                raise ShapeError(
                    f"{WHO}: {where} has {first} {LENGTHS[letter]} but {name} has {length}; they "
                    f"must match (shapes {arrays[where].shape} and {array.shape})"
                )
        front = front or (array.shape[:-3], name)
        if front[0] != array.shape[:-3]:
            raise ShapeError(
                f"{WHO}: before the heads {front[1]} has the axes {front[0]} but {name} has "
                f"{array.shape[:-3]}; they must be the same"
            )
    sizes = {letter: length for letter, (length, _) in lengths.items()}
    if sizes.keys() >= {"H", "G"} and (not sizes["G"] or sizes["H"] % sizes["G"]):
        raise ShapeError(
            f"{WHO}: {sizes['G']} key heads cannot serve {sizes['H']} query heads; the one must "
            "divide the other"
        )
    return sizes, front[0] if front else ()


def check_layer(others: dict[str, Array], lengths: dict[str, int]) -> None:
    """Raises: ShapeError: an array of the layer does not fit those of the call."""
    for name, axes in LAYER_AXES.items():
        if name in others and lengths.keys() >= set(axes):
            size, found = prod(lengths[letter] for letter in axes), others[name].shape
            if found[-1:] != (size,):
                raise ShapeError(f"{WHO}: {name} must have {size} columns, got the shape {found}")


def allowed_pairs(seen: Seen, lengths: dict[str, int], front: tuple[int, ...]) -> Array | None:
    """Where a query may look (..., H, T, S); None without mask, or where those are not known.

    Raises:
        DTypeError: the mask is neither boolean nor floating.
        ShapeError: it does not fit.
    """
    if (seen.mask is None and not seen.causal) or not lengths.keys() >= {"H", "T", "S"}:
        return None
    shape = (*front, *(lengths[letter] for letter in "HTS"))
    allowed = np.ones(shape, bool)
    if seen.causal:
        allowed &= np.tri(lengths["T"], lengths["S"], seen.offset, dtype=bool)
    if seen.mask is not None:
        allowed &= fitted(seen.mask, shape)
    return allowed


def fitted(mask: Any, shape: tuple[int, ...]) -> Array:
    """A mask as booleans of this shape; an additive one forbids where it is −∞."""
    try:
        array = np.asarray(mask.data if isinstance(mask, Tensor) else mask)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DTypeError(f"{WHO}: mask is no array: {error}") from None
    if array.dtype.kind not in "bf":
        raise DTypeError(
            f"{WHO}: mask must be boolean (True = may attend) or additive (−∞ where not), got "
            f"{array.dtype}"
        )
    try:
        return np.broadcast_to(array if array.dtype.kind == "b" else ~np.isneginf(array), shape)
    except ValueError:
        raise ShapeError(
            f"{WHO}: mask of shape {array.shape} does not fit the scores {shape}"
        ) from None
