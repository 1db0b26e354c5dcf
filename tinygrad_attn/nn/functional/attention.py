"""Attention (Vaswani et al. 2017, eq. 1), step by step as it is taught.

R = Q Kᵀ                 raw
S = R / √d               scores
S′ = S + mask            masked
P = softmax(S′)          weights
C = P V                  context
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from inspect import signature
from math import isfinite, prod, sqrt
from typing import Any, TypeVar, cast

import numpy as np

from ... import ops
from ...engine import Array, DTypeError, ShapeError, Tensor
from ...engine.node import noted
from ...engine.tensor import locked, wrapped
from ...kernels import Factors, Limits, Plan, finder
from ...rng import generator
from .layers import choice, flag, probability, real
from .limits import limiting, total_bias
from .masks import Window
from .naming import named
from .operation import Operation, around
from .stages import Stages

EMPTY_ROWS = ("zero", "uniform", "nan", "error")
METHODS = ("auto", "definition", "fused", "tiled")
F = TypeVar("F", bound=Callable[..., Any])
LARGE = 1 << 24  # weights: more take up more than 64 MiB in float32
LARGE_BAND = 1 << 22  # the same with a limit of distance: "tiled" leaves out what lies beyond


# ── the definition ───────────────────────────────────────────────────────────────────────────────
def steps(q: Tensor, k: Tensor, v: Tensor, added: Any, plan: Plan) -> Stages:
    """The definition: every step, from primitives."""
    groups = q.shape[-3] // k.shape[-3] if q.ndim > 2 and k.ndim > 2 else 1
    keys, values = (ops.repeat(x, groups, -3) if groups > 1 else x for x in (k, v))
    bias = total_bias(plan.limits, added, plan.shape, q.dtype)
    cap, alive, empty_row = plan.softcap, plan.limits.alive, plan.limits.empty_row
    raw = ops.matmul(q, keys.mT)  # R = Q Kᵀ
    scores = raw * plan.scale  # S = R/√d
    capped = scores if cap is None else ops.tanh(scores / cap) * cap
    masked = capped if bias is None else plus(capped, bias)  # S′
    weights = normalised(masked, alive, empty_row)  # P = softmax(S′)
    dropped = weights if plan.factors is None else weights * plan.factors.whole()
    context = ops.matmul(dropped, values)  # C = P V
    if empty_row == "nan" and not plan.shape[-1]:
        context = context + np.asarray(np.nan, q.dtype)  # the sum over no key
    return Stages(q, k, v, raw, scores, masked, weights, context)


def plus(scores: Tensor, bias: Any) -> Tensor:
    """The sum; drawings call a constant `bias` "mask", unless it has a name, and know its shape."""
    if isinstance(scores, Tensor) and not isinstance(bias, Tensor):
        bias = wrapped(bias, None, "mask")
    elif isinstance(bias, Tensor) and bias.node is None and bias.name is None:
        bias = wrapped(bias._data, None, "mask")
    masked = scores + bias
    if isinstance(masked, Tensor) and masked.node is not None and bias.node is None:
        masked.node.constants = (None, noted(bias))  # `add` saves nothing that could tell
    return masked


def definition(q: Tensor, k: Tensor, v: Tensor, added: Any, *, plan: Plan) -> Tensor:
    """softmax(Q Kᵀ · scale + mask) V, from primitives."""
    return steps(q, k, v, added, plan).context


def normalised(masked: Tensor, alive: Array | None, empty_row: str) -> Tensor:
    """Softmax over the keys; rows without any are set aside, so that ∞ − ∞ does not arise."""
    weights: Tensor = ops.softmax(masked if alive is None else ops.where(alive, masked, 0.0))
    if alive is not None and empty_row != "uniform":
        weights = ops.where(alive, weights, 0.0 if empty_row == "zero" else np.nan)
    return weights


FUSED = Operation(definition, finder("attention"), "attention")
TILED = Operation(definition, finder("tiled"), "attention")
IMPLEMENTATIONS: dict[str, Callable[..., Tensor]] = {
    "definition": definition,
    "fused": FUSED,
    "tiled": TILED,
}


# ── the public function ──────────────────────────────────────────────────────────────────────────
def widened(function: F) -> F:
    """Compute attention of float16 in float32: a sum of many float16 is worth little."""

    @wraps(function)
    def inner(q: Any, k: Any, v: Any, *args: Any, **options: Any) -> Any:
        if any(getattr(x, "dtype", None) != np.float16 for x in (q, k, v)):
            return function(q, k, v, *args, **options)
        wide = (
            ops.astype(x if isinstance(x, Tensor) else Tensor(x), np.float32) for x in (q, k, v)
        )
        return narrowed(function(*wide, *args, **options))

    return cast(F, inner)


def narrowed(result: Any) -> Any:
    """What `attention` or `attend` gave, with the context in float16."""
    if isinstance(result, tuple):
        stages = narrowed(result[1])
        return stages.context, stages.retain()
    if isinstance(result, Stages):
        return replace(result, context=ops.astype(result.context, np.float16))
    return ops.astype(result, np.float16)


@around(FUSED)
@named
@widened
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Any = None,
    *,
    causal: bool = False,
    offset: int | Array = 0,
    window: Window | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    dropout: float = 0.0,
    rng: np.random.Generator | None = None,
    empty_row: str = "zero",
    method: str = "auto",
    return_stages: bool = False,
) -> Any:
    """softmax(Q Kᵀ · scale + mask) V, of shape (..., heads, T, dv).

    float16 is computed in float32, and so are its stages; the context is float16 again.

    Args:
        q: queries (..., heads, T, d); the axes before T may be missing.
        k, v: keys (..., heads, S, d) and values (..., heads, S, dv); with fewer heads than the
            queries, each serves a group of neighbouring query heads (Ainslie et al. 2023).
        mask: an nn.Mask; or boolean (True = may attend) or floating (added to the scores),
            broadcast to (..., heads, T, S), so rank 3 is (heads, T, S) here, unlike in a layer.
            A floating mask of 0s and 1s is added like any other; if 1 means may attend, pass
            mask.astype(bool).
        causal: query i may attend to key j only if j ≤ i + offset.
        offset: number of keys before the first query, e.g. the length of a cache; an integer, or an
            array (B,), one for each sequence.
        window: (left, right): so many keys before and after position i + offset; None: no limit.
        scale: factor of the scores; 1/√d where None.
        softcap: c limits the scores to c·tanh(scores/c), before the mask.
        dropout: probability of dropping a weight.
        rng: generator for dropout.
        empty_row: for a query that may attend to no key "zero" gives a zero row, "uniform" the mean
            of the values (zeros where there are none), "nan" not-a-number; "error" raises.  Such
            a query gives q and k no gradient.
        method: "definition" is composed of primitives, "fused" and "tiled" are kernels; "tiled"
            needs memory linear in the lengths, beside what an array as mask or offset takes.
            "auto" takes "tiled" for very many weights, else "fused".  Kernels give way to the
            definition where every step is wanted, where another rule is planted in a primitive, and
            under `ta.kernels.use("off")`.
        return_stages: return (context, Stages) with every step, whose gradients backward keeps.

    Raises:
        ShapeError: shapes do not fit, an option is unknown, or a row is empty under "error".
        DTypeError: q, k or v is not floating, or the mask or an option is of a wrong kind.
    """
    staged = flag("attention", "return_stages", return_stages)
    q, k, v, added, plan = planned(
        q, k, v, mask, causal, offset, window, scale, softcap, dropout, rng, empty_row, method
    )
    if staged:
        stages = steps(q, k, v, added, plan)
        return stages.context, stages.retain()
    return IMPLEMENTATIONS[chosen(method, plan)](q, k, v, added, plan=plan)


DEFAULTS = {
    name: option.default
    for name, option in signature(attention).parameters.items()
    if option.kind is option.KEYWORD_ONLY and name != "return_stages"
}


@widened
def attend(q: Tensor, k: Tensor, v: Tensor, mask: Any = None, **options: Any) -> Stages:
    """The Stages of `attention`, whose options it takes; gradients are kept after `.retain()`."""
    return steps(*planned(q, k, v, mask, **{**DEFAULTS, **options}))


def planned(
    q: Any,
    k: Any,
    v: Any,
    mask: Any,
    causal: bool,
    offset: int | Array,
    window: Window | None,
    scale: float | None,
    softcap: float | None,
    dropout: float,
    rng: np.random.Generator | None,
    empty_row: str,
    method: str,
) -> tuple[Tensor, Tensor, Tensor, Any, Plan]:
    """q, k and v as tensors, what is added to the scores, and everything else in one plan."""
    check_options(empty_row, method, scale, softcap)
    q, k, v = (x if isinstance(x, Tensor) else Tensor(x) for x in (q, k, v))
    shape, dtype = score_shape(q, k, v), q.dtype
    limits, added = limiting(
        mask, shape, dtype, flag("attention", "causal", causal), offset, window, empty_row
    )
    refuse_empty_rows(limits, shape)
    scale = 1 / sqrt(q.shape[-1] or 1) if scale is None else float(scale)
    cap = None if softcap is None else float(softcap)
    return q, k, v, added, Plan(shape, limits, scale, cap, drawn(dropout, rng, shape, dtype))


def refuse_empty_rows(limits: Limits, shape: tuple[int, ...]) -> None:
    """Under "error": is there a query that may attend to no key?"""
    if limits.alive is not None and limits.empty_row == "error" and 0 not in shape[:-1]:
        row = tuple(int(i) for i in np.argwhere(~limits.alive[..., 0])[0])
        raise ShapeError(
            f"attention: query {row} may attend to no key; unmask one, or choose "
            f"another empty_row of {EMPTY_ROWS}"
        )


def drawn(
    p: float, rng: np.random.Generator | None, shape: tuple[int, ...], dtype: Any
) -> Factors | None:
    """What dropout multiplies the weights with."""
    source = generator(rng)
    if not probability("attention", p):
        return None
    return Factors(int(source.integers(1 << 63)), p, shape, dtype)


def chosen(method: str, plan: Plan) -> str:
    """The method itself; for "auto" one that suits the size; "fused" has the planted rules."""
    if FUSED.planted:
        return "fused"
    if method != "auto":
        return method
    unbounded = plan.limits.low is None and plan.limits.high is None
    large = prod(plan.shape) > (LARGE if unbounded else LARGE_BAND)
    return "tiled" if large else "fused"


# ── all heads of a layer in one ──────────────────────────────────────────────────────────────────
def self_attention(
    qkv: Tensor,
    heads: int,
    mask: Any = None,
    *,
    causal: bool = False,
    offset: int | Array = 0,
    dropout: float = 0.0,
    rng: np.random.Generator | None = None,
    method: str = "auto",
) -> Tensor:
    """Attention of X to itself, all heads at once: (B, T, 3·D) -> (B, T, D).

    With the kernel in one piece ("fused"), Q, K and V are never taken apart in memory, nor are the
    heads put together.

    Args:
        qkv: Q, K and V side by side, as one projection of X gives them, float32 or float64.
        heads: their number; divides D (a layer has checked that).
        mask, causal, offset, dropout, rng, method: as in `attention`.
    """
    batch, time, width = qkv.shape
    shape, dtype = (batch, heads, time, time), qkv.dtype
    choice("attention", "method", method, METHODS)
    causal = flag("attention", "causal", causal)
    limits, added = limiting(mask, shape, dtype, causal, offset)
    scale = 1 / sqrt(width // (3 * heads))
    plan = Plan(shape, limits, scale, None, drawn(dropout, rng, shape, dtype))
    method = chosen(method, plan)
    if method == "fused" and not FUSED.planted:
        return TOGETHER(qkv, added, heads=heads, plan=plan)
    q, k, v = (divided(x, heads) for x in parted(qkv))
    return joined(IMPLEMENTATIONS[method](q, k, v, added, plan=plan))


def together(qkv: Tensor, added: Any, *, heads: int, plan: Plan) -> Tensor:
    """Q, K and V (B, T, D) side by side -> heads -> attention -> the heads side by side again."""
    q, k, v = (divided(x, heads) for x in parted(qkv))
    return joined(definition(q, k, v, added, plan=plan))


TOGETHER = Operation(together, finder("self_attention"), "self_attention")


# Where there is nothing to record, these three make views, in a tenth of the time.
def parted(qkv: Tensor) -> Sequence[Tensor]:
    """(B, T, 3·D) -> Q, K and V, each (B, T, D)."""
    if qkv.node is None:
        batch, time, width = qkv.shape
        thirds = qkv._data.reshape(batch, time, 3, width // 3).transpose(2, 0, 1, 3)
        return [wrapped(x, None) for x in thirds]
    parts: Sequence[Tensor] = ops.split(qkv, 3, -1)
    return parts


def divided(x: Tensor, heads: int) -> Tensor:
    """(B, T, heads·d) -> (B, heads, T, d)."""
    batch, time, width = x.shape
    apart = (batch, time, heads, width // heads)
    if x.node is None:
        return wrapped(x._data.reshape(apart).transpose(0, 2, 1, 3), None)
    return x.reshape(apart).transpose(0, 2, 1, 3)


def joined(context: Tensor) -> Tensor:
    """(B, heads, T, d) -> (B, T, heads·d)."""
    batch, heads, time, width = context.shape
    beside = (batch, time, heads * width)
    if context.node is None:
        return wrapped(locked(context._data.transpose(0, 2, 1, 3).reshape(beside)), None)
    return ops.transpose(context, (0, 2, 1, 3)).reshape(beside)


def score_shape(q: Tensor, k: Tensor, v: Tensor) -> tuple[int, ...]:
    """The shape (..., heads, T, S) of the scores, once everything fits."""
    for name, x in (("query", q), ("key", k), ("value", v)):
        if x.ndim < 2:
            raise ShapeError(f"attention: expected {name} (..., heads, time, width), got {x.shape}")
        if x.dtype.kind not in "fc":
            raise DTypeError(f"attention: expected a floating {name}, got {x.dtype}")
    if q.shape[-1] != k.shape[-1]:
        raise ShapeError(
            f"attention: query has width {q.shape[-1]} but key has width "
            f"{k.shape[-1]}; they must match"
        )
    if k.shape[-2] != v.shape[-2]:
        raise ShapeError(
            f"attention: key has {k.shape[-2]} time steps but value has "
            f"{v.shape[-2]}; they must match"
        )
    heads, kv_heads, value_heads = (x.shape[-3] if x.ndim > 2 else 1 for x in (q, k, v))
    if kv_heads != value_heads or not kv_heads or heads % kv_heads:
        raise ShapeError(
            f"attention: query has {heads} heads, key {kv_heads} and value "
            f"{value_heads}; key and value need equally many, a divisor of query's"
        )
    try:
        lead = q.shape[:-3]
        if not lead == k.shape[:-3] == v.shape[:-3]:
            lead = np.broadcast_shapes(lead, k.shape[:-3], v.shape[:-3])
    except ValueError:
        raise ShapeError(
            f"attention: the leading axes of query {q.shape}, key {k.shape} and value "
            f"{v.shape} do not broadcast"
        ) from None
    return (*lead, *([heads] if max(q.ndim, k.ndim, v.ndim) > 2 else []), q.shape[-2], k.shape[-2])


def check_options(empty_row: str, method: str, scale: Any, softcap: Any) -> None:
    """Refuse options that do not exist."""
    choice("attention", "empty_row", empty_row, EMPTY_ROWS)
    choice("attention", "method", method, METHODS)
    if scale is None and softcap is None:
        return
    advice = {"scale": "multiply q by it", "softcap": "apply c·tanh(scores/c) yourself"}
    for name, number in (("scale", scale), ("softcap", softcap)):
        if isinstance(number, Tensor) and number.node is not None:
            raise DTypeError(
                f"attention: {name} is a plain number and gets no gradient; to learn it, "
                f"{advice[name]}"
            )
        if number is not None and not isfinite(real("attention", name, number)):
            raise ShapeError(f"attention: {name} must be finite, got {number}")
    if softcap is not None and not softcap > 0:
        raise ShapeError(f"attention: softcap must be positive, got {softcap}")
