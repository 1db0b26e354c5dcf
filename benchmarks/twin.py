"""The GPT of `tinygrad_attn.models` in PyTorch: the same layers, names and numbers.

Plain eager PyTorch, written as its users write it.  Each parameter has its namesake's shape, so
that `twin(model)` only has to load a state_dict, and both start from the same values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from tinygrad_attn.models import GPT, GPTConfig


class Attention(nn.Module):
    """Causal multi-head self-attention."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        width, self.heads, self.dropout = config.d_model, config.num_heads, config.dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width)) if config.bias else None
        self.out_proj = nn.Linear(width, width, config.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, T, D)."""
        B, T, D = x.shape
        projected: Any = functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = (
            part.view(B, T, self.heads, D // self.heads).transpose(1, 2)  # (B, H, T, D/H)
            for part in projected.split(D, dim=2)
        )
        dropout = self.dropout if self.training else 0.0
        context = functional.scaled_dot_product_attention(
            q, k, v, dropout_p=dropout, is_causal=True
        )
        return self.out_proj(context.transpose(1, 2).reshape(B, T, D))


class MLP(nn.Module):
    """Two linear layers, four times as wide inside, with the tanh form of GELU between."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.d_model, 4 * config.d_model, config.bias)
        self.down = nn.Linear(4 * config.d_model, config.d_model, config.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, T, D)."""
        return self.down(functional.gelu(self.up(x), approximate="tanh"))


class Block(nn.Module):
    """Attention and MLP, each on a normalised input and added to what it came from."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.d_model, bias=config.bias)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.d_model, bias=config.bias)
        self.mlp = MLP(config)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, T, D)."""
        x = x + self.drop(self.attn(self.ln_1(x)))
        return x + self.drop(self.mlp(self.ln_2(x)))


class Twin(nn.Module):
    """GPT-2 with a tied output projection, of the sizes in `config`."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.d_model)
        self.wpe = nn.Embedding(config.max_length, config.d_model)
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.ln_f = nn.LayerNorm(config.d_model, bias=config.bias)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (B, T) -> logits (B, T, vocab_size)."""
        x = self.drop(self.wte(tokens) + self.wpe.weight[: tokens.shape[1]])
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.ln_f(x), self.wte.weight)

    def loss(self, tokens: Any, targets: Any) -> torch.Tensor:
        """Mean cross-entropy of `targets` (B, T); both may be NumPy arrays."""
        logits = self(torch.as_tensor(tokens))
        return functional.cross_entropy(logits.flatten(0, 1), torch.as_tensor(targets).flatten())


def twin(model: GPT) -> Twin:
    """A PyTorch model with the sizes, dtype and parameters of `model`."""
    from tinygrad_attn import interop

    copy = Twin(model.config).to(getattr(torch, model.wte.weight.dtype.name))
    copy.load_state_dict(interop.to_torch(model))
    return copy
