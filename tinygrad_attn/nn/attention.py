"""Multi-head attention (Vaswani et al. 2017, section 3.2.2) with PyTorch's parameters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np

from .. import ops
from ..engine import Array, DTypeError, ShapeError, Tensor
from . import functional
from .cache import KVCache, restoring
from .functional import Mask, Stages
from .functional.attention import attend, divided, joined, parted, self_attention
from .functional.layers import array_of, flag, operand, probability
from .layers import Linear, positive, uniform
from .module import Module
from .parameter import Parameter
from .positions import AlibiBias, RotaryPositions


class MultiHeadAttention(Module):
    """Queries from `x` attend to `keys` and collect `values`, several heads at once; batch first.

    Args:
        d_model: width of x and of the result.
        num_heads: number of heads; each is d_model / num_heads wide.
        num_kv_heads: number of key and value heads, each serving a group of query heads; num_heads
            where None.
        kdim, vdim: widths of `keys` and `values`; d_model where None.
        bias: add biases after the projections.
        dropout: probability of dropping an attention weight while training.
        positions: RotaryPositions turns queries and keys, AlibiBias adds to the scores.
        rng: generator for initial values and dropout.

    Attributes:
        in_proj_weight: (3·d_model, d_model), the rows of W_Q, W_K and W_V, drawn from Xavier's
            uniform distribution.
        q_proj_weight (d_model, d_model), k_proj_weight (d_kv, kdim), v_proj_weight (d_kv, vdim):
            instead of it, where widths or numbers of heads differ; drawn alike.
        d_kv: d_model / num_heads · num_kv_heads.
        in_proj_bias: (d_model + 2·d_kv,), the biases of q, k and v, zeros; None with bias=False.
        out_proj: the output projection W_O, a Linear with zero bias.

    Raises:
        ShapeError: sizes do not fit, or the positions are for other heads.
        DTypeError: the positions, dropout or bias are of a wrong kind.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        *,
        num_kv_heads: int | None = None,
        kdim: int | None = None,
        vdim: int | None = None,
        bias: bool = True,
        dropout: float = 0.0,
        positions: RotaryPositions | AlibiBias | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        kdim, vdim = (d_model if width is None else width for width in (kdim, vdim))
        positive(
            "MultiHeadAttention",
            d_model=d_model,
            num_heads=num_heads,
            num_kv_heads=kv_heads,
            kdim=kdim,
            vdim=vdim,
        )
        if d_model % num_heads or num_heads % kv_heads:
            raise ShapeError(
                "MultiHeadAttention: num_heads must divide d_model, and num_kv_heads "
                f"num_heads; got {d_model=}, {num_heads=}, num_kv_heads={kv_heads}"
            )
        self.d_model, self.num_heads, self.num_kv_heads = d_model, num_heads, kv_heads
        self.d_kv = d_model // num_heads * kv_heads
        self.positions = checked_positions(positions, num_heads, d_model // num_heads)
        self.dropout, self.rng = probability("MultiHeadAttention", dropout), rng
        has_bias = flag("MultiHeadAttention", "bias", bias)
        self.packed = (kv_heads, kdim, vdim) == (num_heads, d_model, d_model)
        if self.packed:
            self.in_proj_weight = xavier(3 * d_model, d_model, rng)
        else:
            self.q_proj_weight = xavier(d_model, d_model, rng)
            self.k_proj_weight = xavier(self.d_kv, kdim, rng)
            self.v_proj_weight = xavier(self.d_kv, vdim, rng)
        self.in_proj_bias = Parameter(np.zeros(d_model + 2 * self.d_kv)) if has_bias else None
        self.out_proj = Linear(d_model, d_model, bias, rng=rng)
        if self.out_proj.bias is not None:
            self.out_proj.bias.data = np.zeros(d_model)

    @restoring
    def forward(
        self,
        x: Tensor,
        keys: Tensor | None = None,
        values: Tensor | None = None,
        mask: Any = None,
        *,
        causal: bool = False,
        offset: int | Array = 0,
        cache: KVCache | None = None,
        method: str = "auto",
        return_weights: bool = False,
        return_stages: bool = False,
    ) -> Any:
        """Attention of `x` (B, T, d_model) to `keys` (B, S, kdim) and `values` (B, S, vdim).

        Args:
            keys: what is attended to; x itself where None.
            values: what is collected; the keys where None.
            mask: an nn.Mask; or boolean (True = may attend) or floating (added to the scores); of
                shape (S), (T, S), (B, T, S) or (B, heads, T, S); each length may be 1.  Rank 3 is
                (B, T, S) here, unlike in `functional.attention`; (B, S) would be read as (T, S).
            causal: query i may attend to key j only if j ≤ i + offset.
            offset: number of keys before the first query, an integer; without `positions` also an
                array (B,).  RotaryPositions turns the queries by offset, offset + 1, …, the keys by
                0, 1, …
            cache: earlier keys and values; those of this call are appended to it, S counts them
                all, and the offset is the number of earlier ones.
            method: see `functional.attention`.
            return_weights: return (out, weights), the weights (B, heads, T, S) before dropout.
            return_stages: return (out, Stages) with every step, whose gradients backward keeps; it
                wins over return_weights.

        Returns:
            (B, T, d_model).

        Raises:
            ShapeError: shapes do not fit, an offset is given beside a cache, or the cache is full.
                The cache is then unchanged.
            DTypeError: the mask or the cache is of a wrong kind.
        """
        if isinstance(keys, Mask) or isinstance(values, Mask):
            raise DTypeError("MultiHeadAttention: keys and values come first; pass mask=…")
        past = 0 if cache is None else unmoved(cache, offset)
        offset = offset if cache is None else past
        x = operand(x)
        keys = x if keys is None else operand(keys)
        values = keys if values is None else operand(values)
        self.check(x, keys, values)
        wanted = flag("MultiHeadAttention", "return_weights", return_weights)
        wanted = flag("MultiHeadAttention", "return_stages", return_stages) or wanted
        mask = head_mask(mask)
        if isinstance(self.positions, AlibiBias):
            bias = self.positions(x.shape[1], past + keys.shape[1], offset).astype(x.dtype)
            mask = Mask.additive(bias) & as_mask(mask)
        options: dict[str, Any] = {
            "causal": causal,
            "offset": offset,
            "rng": self.rng,
            "method": method,
            "dropout": self.dropout if self.training else 0.0,
        }
        alone = self.packed and x is keys and keys is values
        if alone and cache is None and not (wanted or self.turned) and x.dtype != np.float16:
            qkv = functional.linear(x, self.in_proj_weight, self.in_proj_bias)
            return self.out_proj(self_attention(qkv, self.num_heads, mask, **options))
        q, k, v = self.heads(x, keys, values, offset, past)
        if cache is not None:
            k, v = cache.append(k, v)
        if not wanted:
            return self.out_proj(joined(functional.attention(q, k, v, mask, **options)))
        stages = self.staged(attend(q, k, v, mask, **options))
        return (stages.output, stages.retain() if return_stages else stages.weights)

    def heads(
        self, x: Tensor, keys: Tensor, values: Tensor, offset: int | Array, past: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Q, K and V of each head, (B, heads, time, d), turned by their positions."""
        numbers = (self.num_heads, self.num_kv_heads, self.num_kv_heads)
        q, k, v = map(divided, self.projected(x, keys, values), numbers)
        if self.turned:
            q, k = self.positions(q, offset), self.positions(k, past)
        return q, k, v

    def staged(self, stages: Stages) -> Stages:
        """The steps of all heads, with the two that follow: the heads side by side, and Y."""
        concat = joined(stages.context)
        return replace(stages, concat=concat, output=self.out_proj(concat))

    @property
    def turned(self) -> bool:
        """Are queries and keys turned by their positions?"""
        return isinstance(self.positions, RotaryPositions)

    def projected(self, x: Tensor, keys: Tensor, values: Tensor) -> Iterable[Tensor]:
        """Q, K and V (B, time, width); by one product where x, keys and values are one."""
        cuts = (self.d_model, self.d_model + self.d_kv)
        bias = self.in_proj_bias
        if self.packed and x is keys and keys is values:
            together = functional.linear(x, self.in_proj_weight, bias)
            return parted(together)
        weights = ops.split(self.in_proj_weight, cuts) if self.packed else self.separate_weights
        biases = (None, None, None) if bias is None else ops.split(bias, cuts)
        return map(functional.linear, (x, keys, values), weights, biases)

    @property
    def separate_weights(self) -> tuple[Parameter, Parameter, Parameter]:
        """W_Q, W_K and W_V, where they are not packed into one."""
        return self.q_proj_weight, self.k_proj_weight, self.v_proj_weight

    def check(self, x: Tensor, keys: Tensor, values: Tensor) -> None:
        """Refuse inputs that do not fit together."""
        widths = [self.d_model] * 3 if self.packed else [w.shape[1] for w in self.separate_weights]
        inputs = [("x", "T", x), ("keys", "S", keys), ("values", "S", values)]
        few = 1 if self.packed and x is keys is values else 3
        for (name, time, y), width in zip(inputs[:few], widths):
            if y.ndim != 3 or y.shape[-1] != width or y.shape[0] != x.shape[0]:
                beside = "" if y is x else f" beside x {x.shape}"
                raise ShapeError(
                    f"MultiHeadAttention: expected {name} (B, {time}, {width}), got "
                    f"{y.shape}{beside}"
                )
        if keys.shape[1] != values.shape[1]:
            raise ShapeError(
                f"MultiHeadAttention: keys have {keys.shape[1]} time steps but values "
                f"have {values.shape[1]}; they must match"
            )

    def extra_repr(self) -> str:
        """d_model, num_heads and what is not as usual."""
        notes = [f"{self.d_model}", f"num_heads={self.num_heads}"]
        if self.num_kv_heads != self.num_heads:
            notes.append(f"num_kv_heads={self.num_kv_heads}")
        if self.dropout:
            notes.append(f"dropout={self.dropout}")
        return ", ".join(notes)


def xavier(rows: int, columns: int, rng: np.random.Generator | None) -> Parameter:
    """U(−a, a) with a = √(6 / (rows + columns)) (Glorot and Bengio 2010, eq. 16)."""
    return uniform((rows, columns), sqrt(6 / (rows + columns)), rng)


def unmoved(cache: KVCache, offset: Any) -> int:
    """The length of the cache, which is the offset: refuse another beside it."""
    if offset if isinstance(offset, int) else np.any(offset):
        raise ShapeError(
            f"MultiHeadAttention: with a cache the offset is its length, {cache.length}; "
            "leave offset out"
        )
    return cache.length


def head_mask(mask: Any) -> Any:
    """A mask (S), (T, S), (B, T, S) or (B, heads, T, S), made to broadcast to the last of these."""
    if mask is None:
        return None
    if isinstance(mask, Mask):
        return mask.for_layers()
    if not isinstance(mask, Tensor):
        mask = array_of("MultiHeadAttention", "the rows of the mask", mask)
    if mask.ndim not in (1, 2, 3, 4):
        raise ShapeError(
            "MultiHeadAttention: expected a mask (S), (T, S), (B, T, S) or "
            f"(B, heads, T, S), got {mask.shape}"
        )
    return ops.expand_dims(mask, 1) if mask.ndim == 3 else mask


def as_mask(mask: Any) -> Mask:
    """A mask of any kind as a Mask."""
    if mask is None or isinstance(mask, Mask):
        return Mask() if mask is None else mask
    return Mask.additive(mask) if mask.dtype.kind in "fc" else Mask.keep(mask)


def checked_positions(positions: Any, num_heads: int, d_head: int) -> Any:
    """Refuse positions for other heads."""
    if positions is None:
        return None
    if not isinstance(positions, (RotaryPositions, AlibiBias)):
        raise DTypeError(
            "MultiHeadAttention: positions must be RotaryPositions or AlibiBias, got "
            f"{type(positions).__name__}"
        )
    if isinstance(positions, RotaryPositions) and positions.d_head != d_head:
        raise ShapeError(
            f"MultiHeadAttention: the heads are {d_head} wide, but the positions are "
            f"for {positions.d_head}"
        )
    if isinstance(positions, AlibiBias) and len(positions.slopes) != num_heads:
        raise ShapeError(
            f"MultiHeadAttention: there are {num_heads} heads, but the positions are "
            f"for {len(positions.slopes)}"
        )
    return positions
