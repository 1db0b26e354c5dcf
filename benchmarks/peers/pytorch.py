"""PyTorch, eager and compiled, written as its users write it; the GPT is the one of twin.py."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from ..problems import BETAS, CLIP, DECAY, EPS, LR, Problem, Sizes, problem
from ..twin import Twin
from ..work import Array, Work


class Gradients(Work):
    """Forward and backward: a function of leaves, differentiated from the problem's gradient."""

    def __init__(
        self, given: Problem, leaves: dict[str, Any], compute: Callable[[], torch.Tensor]
    ) -> None:
        self.g, self.leaves, self.compute = torch.tensor(given.upstream), leaves, compute
        self.result = self.g

    def run(self) -> None:
        """Forward and backward; old gradients are dropped first."""
        for leaf in self.leaves.values():
            leaf.grad = None
        self.result = self.compute()
        self.result.backward(self.g)

    def check(self) -> dict[str, Array]:
        """The result and every gradient."""
        self.run()
        gradients = {name: leaf.grad.numpy() for name, leaf in self.leaves.items()}
        return {"result": self.result.detach().numpy(), **gradients}


class Training(Work):
    """Training steps of a module; `loss` is its loss, compiled or not."""

    def __init__(self, given: Problem, model: nn.Module, loss: Callable[..., Any]) -> None:
        self.model, self.loss, self.data = model, loss, given.data()
        self.first = given.batches[0]
        matrices = [p for p in model.parameters() if p.dim() >= 2]
        vectors = [p for p in model.parameters() if p.dim() < 2]
        groups: list[dict[str, Any]] = [
            {"params": matrices},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, LR, BETAS, EPS, DECAY)

    def run(self) -> float:
        """One step: the loss."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(*map(torch.as_tensor, next(self.data)))
        loss.backward()
        clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        return float(loss.item())

    def check(self) -> dict[str, Array]:
        """The loss of the first batch and every gradient."""
        self.optimizer.zero_grad()
        loss = self.loss(*map(torch.as_tensor, self.first))
        loss.backward()
        parameters: Any = self.model.named_parameters()
        gradients = {name: p.grad.numpy().copy() for name, p in parameters}
        return {"loss": loss.detach().numpy(), **gradients}


class Generation(Work):
    """Writing tokens with a cache that is allocated once, always the most probable one."""

    def __init__(self, given: Problem) -> None:
        c = given.config
        self.model, self.prompt = gpt(given).eval(), given.batches[0][0][:, : c.prompt]

    @torch.inference_mode()
    def tokens(self) -> torch.Tensor:
        """All tokens up to the model's length, (B, max_length)."""
        c, prompt = self.model.config, torch.as_tensor(self.prompt)
        B, past = prompt.shape[0], 0
        shape = (c.num_layers, 2, B, c.num_heads, c.max_length, c.d_model // c.num_heads)
        cache = torch.empty(shape)
        out = torch.empty(B, c.max_length, dtype=torch.int64)
        out[:, : prompt.shape[1]], new = prompt, prompt
        for end in range(prompt.shape[1], c.max_length):
            out[:, end] = self.logits(new, cache, past).argmax(-1)
            past, new = end, out[:, end : end + 1]
        return out

    def logits(self, new: torch.Tensor, cache: torch.Tensor, past: int) -> torch.Tensor:
        """Logits after the last of the `new` tokens, which follow `past` cached ones."""
        model = self.model
        x = model.wte(new) + model.wpe.weight[past : past + new.shape[1]]
        for block, kept in zip(model.blocks, cache):
            x = x + self.attended(block.attn, block.ln_1(x), kept, past)
            x = x + block.mlp(block.ln_2(x))
        return functional.linear(model.ln_f(x[:, -1]), model.wte.weight)

    @staticmethod
    def attended(layer: Any, x: torch.Tensor, kept: torch.Tensor, past: int) -> torch.Tensor:
        """Self-attention of x (B, T, D) to the cache and itself; `kept` is (2, B, H, S, d)."""
        B, T, D = x.shape
        qkv = functional.linear(x, layer.in_proj_weight, layer.in_proj_bias)
        q, k, v = qkv.view(B, T, 3, layer.heads, D // layer.heads).permute(2, 0, 3, 1, 4)
        end = past + T
        kept[0, :, :, past:end], kept[1, :, :, past:end] = k, v
        context = functional.scaled_dot_product_attention(
            q, kept[0, :, :, :end], kept[1, :, :, :end], is_causal=T > 1
        )
        return layer.out_proj(context.transpose(1, 2).reshape(B, T, D))

    def run(self) -> None:
        """All tokens."""
        self.tokens()

    def check(self) -> dict[str, Array]:
        """The tokens."""
        return {"tokens": self.tokens().numpy()}


class ViT(nn.Module):
    """A Vision Transformer of the sizes in `config`, from PyTorch's own layers."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        width, self.patch = config.d_model, config.patch_size
        self.patch_embed = nn.Linear(self.patch**2, width)
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Embedding((config.image_size // self.patch) ** 2 + 1, width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, config.num_heads, config.d_ff, dropout=0.0, activation=gelu,
                layer_norm_eps=1e-6, batch_first=True, norm_first=True,
            )
            for _ in range(config.num_layers)
        )  # fmt: skip
        self.norm = nn.LayerNorm(width, 1e-6)
        self.head = nn.Linear(width, config.num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, size, size) -> logits (B, classes)."""
        B, size, p = len(images), images.shape[-1], self.patch
        cut = images.view(B, size // p, p, size // p, p).transpose(2, 3)
        x = self.patch_embed(cut.reshape(B, -1, p * p))
        x = torch.cat([self.cls_token.expand(B, -1, -1), x], 1) + self.pos_embed.weight
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x[:, 0]))

    def loss(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy."""
        return functional.cross_entropy(self(images), labels)


def gelu(x: torch.Tensor) -> torch.Tensor:
    """The tanh form."""
    return functional.gelu(x, approximate="tanh")


def gpt(given: Problem) -> Any:
    """The twin with the problem's values."""
    config: Any = SimpleNamespace(dropout=0.0, **vars(given.config))
    return loaded(Twin(config), given)


def vit(given: Problem) -> Any:
    """The model with the problem's values."""
    return loaded(ViT(given.config), given)


def loaded(model: nn.Module, given: Problem) -> nn.Module:
    """`model` with the problem's dtype and values."""
    model.to(getattr(torch, given.config.dtype))
    values = {name: torch.tensor(value) for name, value in given.params.items()}
    model.load_state_dict({name: value for name, value in values.items() if name != "x"})
    return model


def leaves(given: Problem) -> dict[str, torch.Tensor]:
    """The problem's parameters as tensors."""
    return {name: torch.tensor(p, requires_grad=True) for name, p in given.params.items()}


def attention(given: Problem, compiled: bool, need_weights: bool) -> Gradients:
    """The layer, as users call it; `need_weights` is PyTorch's own default."""
    c = given.config
    dtype = getattr(torch, c.dtype)
    layer: Any = nn.MultiheadAttention(c.d_model, c.num_heads, batch_first=True, dtype=dtype)
    loaded(layer, given)
    x = torch.tensor(given.params["x"], requires_grad=True)
    call = torch.compile(layer) if compiled else layer
    return Gradients(
        given, {"x": x, **dict(layer.named_parameters())},
        lambda: call(x, x, x, need_weights=need_weights)[0],
    )  # fmt: skip


def chain(given: Problem, compiled: bool) -> Gradients:
    """Small operations one after the other."""
    p, length = leaves(given), given.config.length

    def compute(y: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        for _ in range(length):
            y = torch.softmax(y * a * b, -1)
        return y

    call = torch.compile(compute) if compiled else compute
    return Gradients(given, p, lambda: call(p["x"], p["a"], p["b"]))


def long_attention(given: Problem) -> Gradients:
    """PyTorch's own fused attention."""
    p, causal = leaves(given), given.config.causal

    def compute() -> torch.Tensor:
        return functional.scaled_dot_product_attention(p["q"], p["k"], p["v"], is_causal=causal)

    return Gradients(given, p, compute)


def make(name: str, sizes: Sizes, compiled: bool = False, need_weights: bool = True) -> Work:
    """The work, on as many threads as the environment says."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    given = problem(name, sizes)
    if name == "gpt" and "prompt" in sizes:
        return Generation(given)
    if name in ("gpt", "vit"):
        model = gpt(given) if name == "gpt" else vit(given)
        return Training(given, model, torch.compile(model.loss) if compiled else model.loss)
    if name == "attention":
        return attention(given, compiled, need_weights)
    return chain(given, compiled) if name == "chain" else long_attention(given)
