"""The layers of the Transformer (Vaswani et al. 2017, section 3.1), with PyTorch's parameters.

Each is two or three branches: self-attention, in a decoder attention to the encoder's result, and a
feed-forward network.  Where the norm stands is said by `norm_first`:

    norm_first=False    x ← norm(x + branch(x))     the paper's
    norm_first=True     x ← x + branch(norm(x))     easier to train deep (Xiong et al. 2020)

Batch first.  A boolean mask means True = may attend; a query that may attend to no key collects
zeros, and nothing becomes NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..engine import ShapeError, Tensor
from . import functional
from .attention import MultiHeadAttention
from .cache import KVCache, restoring
from .functional.layers import choice, flag, operand
from .functional.norms import epsilon
from .layers import Dropout, LayerNorm, Linear, positive
from .module import Module
from .positions import AlibiBias, RotaryPositions

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "silu": functional.silu,
    "tanh": functional.tanh,
}


class TransformerLayer(Module):
    """What encoder and decoder layers share: their parts, and how branches join.

    Args:
        d_model: width.
        num_heads: attention heads; divides d_model.
        d_ff: width inside the feed-forward network.
        dropout: probability of dropping attention weights, features inside the feed-forward
            network and results of branches, in training.
        activation: "relu", "gelu", "gelu_tanh", "silu" or "tanh".
        norm_first: normalise before each branch instead of after it.
        bias: biases in linear layers, attention and norms.
        eps: of the norms.
        positions: RotaryPositions or AlibiBias for self-attention; None where positions are added
            to the embeddings.
        rng: generator for initial values and dropout.

    Attributes:
        self_attn, multihead_attn: self-attention; attention to the memory, in a decoder layer.
        linear1, linear2: the feed-forward network.
        norm1, norm2, norm3: one for each branch, in their order.

    Raises:
        ShapeError: sizes do not fit, or the activation is unknown.
    """

    has_memory = False

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        d_ff: int,
        *,
        dropout: float = 0.0,
        activation: str = "relu",
        norm_first: bool = False,
        bias: bool = True,
        eps: float = 1e-5,
        positions: RotaryPositions | AlibiBias | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        who = type(self).__name__
        positive(who, d_model=d_model, num_heads=num_heads, d_ff=d_ff)
        check_activation(who, activation)
        epsilon(who, eps)
        self.d_model, self.activation = d_model, activation
        self.norm_first = flag(who, "norm_first", norm_first)
        attention = partial(
            MultiHeadAttention, d_model, num_heads, bias=bias, dropout=dropout, rng=rng
        )
        self.self_attn = attention(positions=positions)
        if self.has_memory:
            self.multihead_attn = attention()
        self.linear1 = Linear(d_model, d_ff, bias, rng=rng)
        self.linear2 = Linear(d_ff, d_model, bias, rng=rng)
        self.norm1, self.norm2 = (LayerNorm(d_model, eps, bias) for _ in range(2))
        if self.has_memory:
            self.norm3 = LayerNorm(d_model, eps, bias)
        self.dropout = Dropout(dropout, rng=rng)

    def entering(self, x: Tensor, norm: LayerNorm) -> Tensor:
        """What a branch gets."""
        return norm(x) if self.norm_first else x

    def joined(self, x: Tensor, branch: Tensor, norm: LayerNorm) -> Tensor:
        """`x` with a branch's result."""
        total = x + self.dropout(branch)
        return total if self.norm_first else norm(total)

    def attended(
        self,
        x: Tensor,
        norm: LayerNorm,
        attn: MultiHeadAttention,
        memory: Tensor | None = None,
        *,
        return_weights: bool,
        **options: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """`x` with a branch of attention, to itself or to the memory; its weights if wanted."""
        found = attn(self.entering(x, norm), memory, return_weights=return_weights, **options)
        branch, weights = found if return_weights else (found, None)
        return self.joined(x, branch, norm), weights

    def fed_forward(self, x: Tensor, norm: LayerNorm) -> Tensor:
        """`x` with the branch that treats all positions alike: W₂ f(W₁ x + b₁) + b₂ (eq. 2)."""
        inside = ACTIVATIONS[self.activation](self.linear1(self.entering(x, norm)))
        return self.joined(x, self.linear2(self.dropout(inside)), norm)

    def checked(self, name: str, time: str, x: Any, batch: int | None = None) -> Any:
        """`x` as an operand; refused unless it is (batch, time, d_model)."""
        x = operand(x)
        if x.ndim != 3 or x.shape[-1] != self.d_model or batch not in (None, x.shape[0]):
            lead = "B" if batch is None else batch
            raise ShapeError(
                f"{type(self).__name__}: expected {name} ({lead}, {time}, "
                f"{self.d_model}), got {x.shape}"
            )
        return x

    def extra_repr(self) -> str:
        """Where the norms stand, and the activation."""
        return f'norm_first={self.norm_first}, activation="{self.activation}"'


class TransformerEncoderLayer(TransformerLayer):
    """Self-attention, then the feed-forward network.  Arguments are nn.TransformerLayer's."""

    @restoring
    def forward(
        self,
        x: Tensor,
        mask: Any = None,
        *,
        causal: bool = False,
        cache: KVCache | None = None,
        return_weights: bool = False,
    ) -> Any:
        """(B, T, d_model) -> (B, T, d_model).

        Args:
            mask: an nn.Mask; or boolean (True = may attend) or floating (added to the scores), of
                shape (T, T), (B, T, T) or (B, heads, T, T); each length may be 1: (B, 1, T) masks
                padding.
            causal: position i may attend to j only if j ≤ i.
            cache: earlier positions, to which these are appended; the last T of a mask's and the
                weights' shape counts them all.
            return_weights: return (out, weights), the weights (B, heads, T, T) before dropout.

        Raises:
            ShapeError: shapes do not fit.  The cache is then unchanged.
            DTypeError: the mask or the cache is of a wrong kind.
        """
        x = self.checked("x", "T", x)
        x, weights = self.attended(
            x,
            self.norm1,
            self.self_attn,
            mask=mask,
            causal=causal,
            cache=cache,
            return_weights=return_weights,
        )
        out = self.fed_forward(x, self.norm2)
        return (out, weights) if return_weights else out


class TransformerDecoderLayer(TransformerLayer):
    """Causal self-attention, attention to the encoder's result, then the feed-forward network.

    Arguments are nn.TransformerLayer's.
    """

    has_memory = True

    @restoring
    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        mask: Any = None,
        memory_mask: Any = None,
        *,
        causal: bool = True,
        cache: KVCache | None = None,
        return_weights: bool = False,
    ) -> Any:
        """`x` (B, T, d_model) with the `memory` (B, S, d_model) -> (B, T, d_model).

        Args:
            mask: which position may attend to which: an nn.Mask; or boolean (True = may attend) or
                floating (added to the scores), of shape (T, T), (B, T, T) or (B, heads, T, T); each
                length may be 1.
            memory_mask: the same for the memory, with S in place of the last T.
            causal: position i may attend to j only if j ≤ i.
            cache: earlier positions of x, to which these are appended; the last T of the mask's and
                the weights' shape counts them all.  Keys and values of the memory are projected
                anew at each call.
            return_weights: return (out, weights of self-attention (B, heads, T, T), weights of the
                attention to the memory (B, heads, T, S)), both before dropout.

        Raises:
            ShapeError: shapes do not fit.  The cache is then unchanged.
            DTypeError: a mask or the cache is of a wrong kind.
        """
        x = self.checked("x", "T", x)
        memory = self.checked("memory", "S", memory, x.shape[0])
        x, to_itself = self.attended(
            x,
            self.norm1,
            self.self_attn,
            mask=mask,
            causal=causal,
            cache=cache,
            return_weights=return_weights,
        )
        x, to_memory = self.attended(
            x,
            self.norm2,
            self.multihead_attn,
            memory,
            mask=memory_mask,
            return_weights=return_weights,
        )
        out = self.fed_forward(x, self.norm3)
        return (out, to_itself, to_memory) if return_weights else out


def check_activation(who: str, name: str) -> None:
    """Refuse the name of an activation that does not exist."""
    choice(who, "activation", name, list(ACTIVATIONS))
