"""Wrong calls of the operations beyond the first ones: a typed error names operation and shapes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from refusals import refused

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, IndexingError, ShapeError, Tensor

Call = Callable[[SimpleNamespace], Any]


def given() -> SimpleNamespace:
    """Tensors to go wrong with."""
    rng = np.random.default_rng(0)
    shapes = {"x": (2, 3), "y": (5, 7), "v": (3,), "s": (), "cube": (2, 3, 5), "empty": (0, 3)}
    return SimpleNamespace(
        **{name: Tensor(rng.standard_normal(n), requires_grad=True) for name, n in shapes.items()}
    )


BINARY = (
    ta.arctan2, ta.floor_divide, ta.fmax, ta.fmin, ta.fmod, ta.hypot, ta.logaddexp, ta.logaddexp2,
    ta.remainder,
)  # fmt: skip
UNARY = (
    ta.arccos, ta.arccosh, ta.arcsin, ta.arcsinh, ta.arctan, ta.arctanh, ta.ceil, ta.cosh, ta.erfc,
    ta.exp2, ta.floor, ta.hardtanh, ta.log10, ta.log2, ta.round, ta.sinh, ta.tan, ta.trunc,
)  # fmt: skip
ALONG = (
    ta.cummax, ta.cummin, ta.cumprod, ta.cumsum, ta.glu, ta.logcumsumexp, ta.softmin, ta.unstack,
)  # fmt: skip


def with_two(op: Any) -> Call:
    """Shapes that do not broadcast."""
    return lambda t: op(t.x, t.y)


def with_text(op: Any) -> Call:
    """No number."""
    return lambda t: op("text")


def with_unknown(op: Any) -> Call:
    """An option of another library."""
    return lambda t: op(t.x, dim=1)


def with_axis_5(op: Any) -> Call:
    """An axis that is not there."""
    return lambda t: op(t.x, 5)


# (error, what the message must contain, the call)
WRONG: list[tuple[type[Exception], str, Call]] = [
    *((ShapeError, rf"^{op.name}.*\[2, 3\].*\[5, 7\]", with_two(op)) for op in BINARY),
    *((DTypeError, f"^{op.name}", with_text(op)) for op in UNARY),
    *((DTypeError, f"^{op.name}", with_unknown(op)) for op in UNARY),
    *((ShapeError, rf"^{op.name}.*5", with_axis_5(op)) for op in ALONG),
    (ShapeError, r"glu: axis -1 of \(2, 3\).*even", lambda t: ta.glu(t.x)),
    (ShapeError, r"celu: alpha.*0", lambda t: ta.celu(t.x, 0.0)),
    (ShapeError, r"prelu.*\[2\].*\[2, 3\]", lambda t: ta.prelu(t.x, np.ones(2))),
    (DTypeError, r"prelu", lambda t: ta.prelu(t.x)),
    (DTypeError, r"threshold", lambda t: ta.threshold(t.x, 0.5)),
    (DTypeError, r"hardtanh.*max_val.*tensor", lambda t: ta.hardtanh(t.x, -1.0, t.s)),
    (ShapeError, r"clip.*\(2,3\) \(5,7\)", lambda t: ta.clip(t.x, t.y)),
    (DTypeError, r"nan_to_num", lambda t: ta.nan_to_num(t.x, True)),
    (DTypeError, r"round.*decimals", lambda t: ta.round(t.x, "many")),
    # order
    (ShapeError, r"topk: k.*0 … 3.*got 4", lambda t: ta.topk(t.x, 4)),
    (ShapeError, r"topk: axis 2.*\(2, 3\)", lambda t: ta.topk(t.x, 1, 2)),
    (ShapeError, r"topk: axis -1.*\(\)", lambda t: ta.topk(t.s, 1)),
    (DTypeError, r"topk", lambda t: ta.topk(t.x, 1.5)),
    (ShapeError, r"kthvalue: k.*1 … 2.*got 0", lambda t: ta.kthvalue(t.x, 0, 0)),
    (ShapeError, r"kthvalue: axis -3.*\(2, 3\)", lambda t: ta.kthvalue(t.x, 1, -3)),
    (ShapeError, r"median.*\[2, 3\].*axis 2", lambda t: ta.median(t.x, 2)),
    (ShapeError, r"median.*repeated", lambda t: ta.median(t.x, (0, -2))),
    (ShapeError, r"median: of no elements.*\(0, 3\)", lambda t: ta.median(t.empty)),
    # norms
    (ShapeError, r"norm: ord.*3.*\(2, 3\)", lambda t: ta.norm(t.x, 3)),
    (ShapeError, r"norm: ord.*fro.*\(3,\)", lambda t: ta.norm(t.v, "fro")),
    (ShapeError, r"norm: ord.*\(2, 3, 5\)", lambda t: ta.norm(t.cube, 1)),
    (ShapeError, r"norm.*\[2, 3\].*axis 2", lambda t: ta.norm(t.x, 3, axis=2)),
    # shapes
    (ShapeError, r"hstack.*concat", lambda t: ta.hstack([t.x, t.y])),
    (ShapeError, r"hstack", lambda t: ta.hstack([])),
    (ShapeError, r"vstack.*concat", lambda t: ta.vstack([t.x, np.ones(5)])),
    (ShapeError, r"dstack.*concat", lambda t: ta.dstack([t.x, t.y])),
    (ShapeError, r"column_stack.*concat", lambda t: ta.column_stack([t.x, t.v])),
    (ShapeError, r"array_split: expected one section", lambda t: ta.array_split(t.x, 0)),
    (ShapeError, r"array_split: axis 2.*\(2, 3\)", lambda t: ta.array_split(t.x, 2, 2)),
    (ShapeError, r"fliplr.*flip.*\[3\]", lambda t: ta.fliplr(t.v)),
    (ShapeError, r"flipud.*flip", lambda t: ta.flipud(t.s)),
    (ShapeError, r"rot90.*\[2, 3\].*axis 2", lambda t: ta.rot90(t.x, 1, (0, 2))),
    (ShapeError, r"rot90.*repeated", lambda t: ta.rot90(t.x, 1, (1, -1))),
    (ShapeError, r"rot90.*two", lambda t: ta.rot90(t.cube, 1, (0, 1, 2))),
    (ShapeError, r"pad: mode.*mean", lambda t: ta.pad(t.x, 1, "mean")),
    (ShapeError, r"pad.*\[0, 3\].*empty axis", lambda t: ta.pad(t.empty, 1, "edge")),
    (ShapeError, r"pad.*\[2, 3\].*negative", lambda t: ta.pad(t.x, -1, "wrap")),
    (
        ShapeError,
        r"sliding_window_view: a window of 4.*\(2, 3\)",
        lambda t: ta.sliding_window_view(t.x, 4, 1),
    ),
    (
        ShapeError,
        r"sliding_window_view: expected a window length for each.*\(0, 1\)",
        lambda t: ta.sliding_window_view(t.x, 2),
    ),
    (
        ShapeError,
        r"sliding_window_view.*repeated axis",
        lambda t: ta.sliding_window_view(t.x, (1, 1), (1, -1)),
    ),
    (ShapeError, r"sliding_window_view.*-1", lambda t: ta.sliding_window_view(t.v, -1)),
    (ShapeError, r"diag: expected 1 or 2.*\(2, 3, 5\)", lambda t: ta.diag(t.cube)),
    (DTypeError, r"diag_embed.*float", lambda t: ta.diag_embed(t.v, 1.5)),
    (ShapeError, r"diag_embed", lambda t: ta.diag_embed(t.v, 0, 1, 1)),
    (ShapeError, r"trace.*moveaxis", lambda t: ta.trace(t.v)),
    (ShapeError, r"conv: expected x.*\(2, 3\)", lambda t: ta.conv(t.x, np.ones((1, 3, 2)))),
    (ShapeError, r"conv: expected x.*\(1, 2, 2\)", lambda t: ta.conv(t.cube, np.ones((1, 2, 2)))),
    (ShapeError, r"conv: expected x.*\(3,\) and groups=1", lambda t: ta.conv(t.cube, t.v)),
    (ShapeError, r"conv: expected x.*\(\) and groups=1", lambda t: ta.conv(t.cube, 2.0)),
    (DTypeError, r"conv: groups.*integer ≥ 1.*1\.0", lambda t: ta.conv(t.cube, t.cube, groups=1.0)),
    (DTypeError, r"conv: stride.*integer ≥ 1.*1\.5", lambda t: ta.conv(t.cube, t.cube, (1.5,))),
    (DTypeError, r"conv: stride.*integer ≥ 1.*None", lambda t: ta.conv(t.cube, t.cube, None)),
    (
        DTypeError,
        r"conv: padding.*integer ≥ 0.*'same'",
        lambda t: ta.conv(t.cube, t.cube, 1, ["same"]),
    ),
    (ShapeError, r"conv: expected.*groups=2", lambda t: ta.conv(t.cube, t.cube, groups=2)),
    (ShapeError, r"conv: a window of 7.*axis 2", lambda t: ta.conv(t.cube, np.ones((1, 3, 7)))),
    (ShapeError, r"conv: stride.*≥ 1.*0", lambda t: ta.conv(t.cube, t.cube, 0)),
    (ShapeError, r"conv: dilation.*1 of them", lambda t: ta.conv(t.cube, t.cube, 1, 0, (1, 2))),
    (ShapeError, r"conv: padding.*≥ 0.*-1", lambda t: ta.conv(t.cube, t.cube, 1, (-1,))),
    # writing
    (IndexingError, r"index_put.*\[2, 3\].*out of bounds", lambda t: ta.index_put(t.x, 2, 0.0)),
    (ShapeError, r"index_put.*\[2\].*\(3,\)", lambda t: ta.index_put(t.x, 0, np.ones(2))),
    (IndexingError, r"index_put.*boolean", lambda t: ta.index_put(t.x, np.ones(7, bool), 0.0)),
    (IndexingError, r"index_put", lambda t: ta.index_put(t.x, 1.5, 0.0)),
    (
        ShapeError,
        r"put_along_axis: indices \(3,\) and array \(2, 3\)",
        lambda t: ta.put_along_axis(t.x, [0, 1, 0], 7.0, 1),
    ),
    (
        IndexingError,
        r"put_along_axis.*out of bounds",
        lambda t: ta.put_along_axis(t.x, [[3], [0]], 7.0, 1),
    ),
    (
        DTypeError,
        r"put_along_axis: indices must be integers.*float64",
        lambda t: ta.put_along_axis(t.x, [[0.5]], 7.0, 1),
    ),
    (DTypeError, r"take_along_axis", lambda t: ta.take_along_axis(t.x, [[0], [1]], 1.5)),
    (
        ShapeError,
        r"scatter_reduce: reduce must be one of.*median",
        lambda t: ta.scatter_reduce(t.x, [[0], [1]], np.ones((2, 1)), 1, "median"),
    ),
    (
        ShapeError,
        r"scatter_reduce: updates.*\(2, 1\).*\(2, 2\)",
        lambda t: ta.scatter_reduce(t.x, [[0], [1]], np.ones((2, 2)), 1),
    ),
    (
        IndexingError,
        r"scatter_reduce.*out of bounds",
        lambda t: ta.scatter_reduce(t.x, [[7], [1]], np.ones((2, 1)), 1),
    ),
    # products
    (ShapeError, r"dot.*\(2, 3\).*\(5, 7\)", lambda t: ta.dot(t.x, t.y)),
    (ShapeError, r"dot: tensordot.*\(2, 3, 5\).*\(2, 3\)", lambda t: ta.dot(t.cube, t.x)),
    (ShapeError, r"inner.*\(2, 3\).*\(5, 7\)", lambda t: ta.inner(t.x, t.y)),
    (ShapeError, r"vdot.*\(6,\).*\(35,\)", lambda t: ta.vdot(t.x, t.y)),
    (ShapeError, r"tensordot: axes must be 0 … 2.*got 3", lambda t: ta.tensordot(t.x, t.y, 3)),
    (ShapeError, r"tensordot: the axes.*\(2, 3\)", lambda t: ta.tensordot(t.x, t.y, ([0], [1]))),
    (ShapeError, r"tensordot.*axis 2", lambda t: ta.tensordot(t.x, t.y, ([2], [0]))),
    (DTypeError, r"tensordot", lambda t: ta.tensordot(t.x, t.y, 1.5)),
    (DTypeError, r"kron", lambda t: ta.kron(t.x)),
    (ShapeError, r"multi_dot: expected two arrays or more", lambda t: ta.multi_dot([t.x])),
    (ShapeError, r"multi_dot.*\(2, 3\).*\(5, 7\)", lambda t: ta.multi_dot([t.x, t.y])),
    # NumPy's own functions
    (DTypeError, r"np\.put_along_axis", lambda t: np.put_along_axis(t.x, [[0]], 7.0, 1)),
    (DTypeError, r"median", lambda t: np.median(t.x, out=np.zeros(3))),
    (DTypeError, r"round", lambda t: np.round(t.x, 1, out=np.zeros((2, 3)))),
    (DTypeError, r"cumprod", lambda t: np.cumprod(t.x, 0, np.float32)),
    (DTypeError, r"trace", lambda t: np.trace(t.x, dtype=np.float32)),
]


@pytest.mark.parametrize(
    ("kind", "message", "call"), WRONG, ids=[message for _, message, _ in WRONG]
)
def test_a_wrong_call_raises_a_typed_error_and_changes_nothing(
    kind: type[Exception], message: str, call: Call
) -> None:
    refused(kind, message, call, given())
