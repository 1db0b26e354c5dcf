"""Matrix products: the two lines on which attention's backward pass rests."""

from __future__ import annotations

from string import ascii_letters
from typing import Any

import numpy as np

from ..engine import Array, DTypeError, ShapeError, adapts, composed, inner
from .shapes import reshape

__all__ = [
    "einsum", "matmul", "outer",
]  # fmt: skip


@inner("matmul")
def product(a: Array, b: Array, /) -> Array:
    """A B for stacks of matrices: (..., n, k), (..., k, m) -> (..., n, m), with broadcasting."""
    return np.matmul(a, b)


product.defvjp(
    lambda g, b: g @ np.swapaxes(b, -1, -2),  # dA = dY Bᵀ
    lambda g, a: np.swapaxes(a, -1, -2) @ g,  # dB = Aᵀ dY
)


@adapts(product)
def matmul(a: Any, b: Any) -> Any:
    """Matrix product as NumPy's: a 1-D operand is a row on the left, a column on the right."""
    shape_a, shape_b = (x.shape if hasattr(x, "shape") else np.shape(x) for x in (a, b))
    rank_a, rank_b = len(shape_a), len(shape_b)
    if not rank_a or not rank_b or shape_a[-1] != shape_b[-2 if rank_b > 1 else 0]:
        raise ShapeError(
            f"matmul: shapes {shape_a} and {shape_b} do not fit: the last axis of a must match the "
            "second to last (or only) one of b, and neither may be 0-d"
        )
    if rank_a > 1 and rank_b > 1:
        return product(a, b)
    a = reshape(a, (1, -1)) if rank_a == 1 else a
    b = reshape(b, (-1, 1)) if rank_b == 1 else b
    out = product(a, b)
    return reshape(
        out, out.shape[:-2] + out.shape[-2:-1] * (rank_a > 1) + out.shape[-1:] * (rank_b > 1)
    )


@inner("einsum")
def summed_product(*arrays: Array, subscripts: str) -> Array:
    """Σ of products, "ij,jk->ik"; no letter twice in one operand (`einsum` sees to that)."""
    return np.einsum(subscripts, *arrays, optimize=True)


summed_product.defvjp(
    lambda g, i, args, subscripts: operand_gradient(g, i, args, subscripts),  # dxᵢ = Σ dy∘others
)


def operand_gradient(g: Any, i: int, args: tuple[Any, ...], subscripts: str) -> Any:
    """The gradient of operand i of "ij,jk->ik": g and it change places, "ik,jk->ij".

    An index that appears in no other operand nor in the result (i in "ij->j"), or there only with
    length 1 (broadcast), is restored by multiplying with ones of that length.
    """
    sources, target = subscripts.split("->")
    letters = sources.split(",")
    others = [(row, x) for k, (row, x) in enumerate(zip(letters, args)) if k != i]
    length = dict(zip(letters[i], args[i].shape))
    known = set(target).union(
        c for row, x in others for c, n in zip(row, x.shape) if n == length.get(c)
    )
    alone = "".join(letter for letter in letters[i] if letter not in known)
    ones = np.ones([length[letter] for letter in alone], g.dtype)
    rows = [target, *(row for row, _ in others), alone]
    return summed_product(
        g, *(x for _, x in others), ones, subscripts=f"{','.join(rows)}->{letters[i]}"
    )


@adapts(summed_product)
def einsum(subscripts: str, *arrays: Any) -> Any:
    """Einstein summation, NumPy's notation: repeated letters, an ellipsis, an implicit result."""
    if not isinstance(subscripts, str):
        raise DTypeError(
            f'einsum: subscripts must be a string such as "ij,jk->ik", got {subscripts!r}'
        )
    rows, target = parsed(subscripts.replace(" ", ""), [np.ndim(x) for x in arrays])
    operands = list(arrays)
    for k, row in enumerate(rows):  # "ii" becomes "ij" beside an identity "ij"
        for place, letter in enumerate(row):
            if letter in row[:place]:
                fresh = next(c for c in ascii_letters if c not in "".join(rows))
                rows[k] = row = row[:place] + fresh + row[place + 1 :]
                rows.append(letter + fresh)
                operands.append(np.eye(np.shape(arrays[k])[place], dtype=bool))
    return summed_product(*operands, subscripts=f"{','.join(rows)}->{target}")


def parsed(subscripts: str, ranks: list[int]) -> tuple[list[str], str]:
    """One row of letters an operand and the result's, with the ellipsis spelled out."""
    sources, arrow, target = subscripts.partition("->")
    rows = sources.split(",")
    if len(rows) != len(ranks):
        raise ShapeError(f"einsum: {subscripts!r} names {len(rows)} operands, got {len(ranks)}")
    free = [c for c in ascii_letters if c not in subscripts]
    hidden = [rank - len(row.replace("...", "")) for row, rank in zip(rows, ranks)]
    for row, extra, rank in zip(rows, hidden, ranks):
        if extra < 0 or (extra and "..." not in row):
            raise ShapeError(
                f"einsum: {row!r} in {subscripts!r} names {len(row.replace('...', ''))} axes, its "
                f"has {rank}"
            )
    dots = "".join(free[: max(hidden, default=0)])
    rows = [row.replace("...", dots[len(dots) - extra :]) for row, extra in zip(rows, hidden)]
    if arrow:
        if dots and "..." not in target:
            raise ShapeError(
                f"einsum: the result in {subscripts!r} needs the '...' of its operands"
            )
        return rows, target.replace("...", dots)
    joined = "".join(rows)
    return rows, dots + "".join(
        sorted(c for c in set(joined) if joined.count(c) == 1 and c not in dots)
    )


@composed
def outer(a: Any, b: Any) -> Any:
    """aᵢ bⱼ of the flattened arrays: shape (a.size, b.size)."""
    return reshape(a, (-1, 1)) * reshape(b, (1, -1))
