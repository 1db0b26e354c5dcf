"""This library."""

from __future__ import annotations

from typing import Any

import tinygrad_attn as ta
from tinygrad_attn import nn, optim
from tinygrad_attn.models import GPT, GPTConfig, ViT, ViTConfig
from tinygrad_attn.train.loop import decay_groups

from ..problems import BETAS, CLIP, DECAY, EPS, LR, Problem, Sizes, problem
from ..work import Array, Work


class Gradients(Work):
    """Forward and backward: a function of leaves, differentiated from the problem's gradient.

    Args:
        leaves: tensors by name.
        compute: the function; it takes nothing.
    """

    def __init__(self, given: Problem, leaves: dict[str, Any], compute: Any) -> None:
        self.g, self.leaves, self.compute = given.upstream, leaves, compute
        self.result: Any = None

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
        return {"result": self.result.numpy(), **gradients}


class Training(Work):
    """Training steps of a model with a `loss(inputs, targets)`."""

    def __init__(self, given: Problem, model: Any) -> None:
        self.model, self.data, self.first = model, given.data(), given.batches[0]
        self.optimizer = optim.AdamW(decay_groups(model), LR, BETAS, EPS, DECAY)

    def run(self) -> float:
        """One step: the loss."""
        self.optimizer.zero_grad()
        loss = self.model.loss(*next(self.data))
        loss.backward()
        optim.clip_grad_norm(self.model.parameters(), CLIP)
        self.optimizer.step()
        return float(loss.item())

    def check(self) -> dict[str, Array]:
        """The loss of the first batch and every gradient."""
        loss = self.model.loss(*self.first)
        loss.backward()
        gradients = {name: p.grad.numpy() for name, p in self.model.named_parameters()}
        self.optimizer.zero_grad()
        return {"loss": loss.numpy(), **gradients}


class Generation(Work):
    """Writing tokens with a cache, always the most probable one."""

    def __init__(self, given: Problem) -> None:
        self.model, c = gpt(given), given.config
        self.prompt, self.steps = given.batches[0][0][:, : c.prompt], c.max_length - c.prompt

    def run(self) -> None:
        """All tokens up to the model's length."""
        self.model.generate(self.prompt, self.steps, temperature=0)

    def check(self) -> dict[str, Array]:
        """The tokens."""
        return {"tokens": self.model.generate(self.prompt, self.steps, temperature=0)}


def gpt(given: Problem) -> GPT:
    """The model with the problem's sizes and values."""
    c = given.config
    sizes = GPTConfig(
        c.vocab_size, c.max_length, c.num_layers, c.num_heads, c.d_model, bias=c.bias
    )  # fmt: skip
    return loaded(GPT(sizes), given)


def vit(given: Problem) -> ViT:
    """The model with the problem's sizes and values."""
    c = given.config
    sizes = ViTConfig(
        c.image_size, c.patch_size, c.num_classes, c.num_layers, c.num_heads, c.d_model, c.d_ff,
        activation="gelu_tanh",
    )  # fmt: skip
    return loaded(ViT(sizes), given)


def loaded(model: Any, given: Problem) -> Any:
    """`model` with the problem's dtype and values."""
    model.astype(given.config.dtype)
    model.load_state_dict(given.params)
    return model


def leaves(given: Problem) -> dict[str, Any]:
    """The problem's parameters as tensors."""
    return {name: ta.Tensor(value, requires_grad=True) for name, value in given.params.items()}


def chain(given: Problem) -> Gradients:
    """Small operations one after the other."""
    p = leaves(given)

    def compute() -> Any:
        y = p["x"]
        for _ in range(given.config.length):
            y = ta.softmax(y * p["a"] * p["b"])
        return y

    return Gradients(given, p, compute)


def attention(given: Problem) -> Gradients:
    """The layer, as users call it."""
    c = given.config
    layer = nn.MultiHeadAttention(c.d_model, c.num_heads, bias=c.bias).astype(c.dtype)
    params = dict(given.params)
    x = ta.Tensor(params.pop("x"), requires_grad=True)
    layer.load_state_dict(params)
    return Gradients(given, {"x": x, **dict(layer.named_parameters())}, lambda: layer(x))


def long_attention(given: Problem) -> Gradients:
    """Attention alone, over blocks of keys."""
    p, causal = leaves(given), given.config.causal

    def compute() -> Any:
        return nn.functional.attention(p["q"], p["k"], p["v"], causal=causal, method="tiled")

    return Gradients(given, p, compute)


def make(name: str, sizes: Sizes) -> Work:
    """The work."""
    given = problem(name, sizes)
    if name == "gpt":
        return Generation(given) if "prompt" in sizes else Training(given, gpt(given))
    if name == "vit":
        return Training(given, vit(given))
    made: Work = {"chain": chain, "attention": attention, "long_attention": long_attention}[name](
        given
    )
    return made
