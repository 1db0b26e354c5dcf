"""What `tinygrad-attn bench` measures: each operation that has kernels, and a training step.

The sizes are those of nanoGPT's configuration for a CPU: 12 texts of 64 characters, 4 layers, 4
heads, 128 wide, 65 characters; tiles are measured on one text of 1,024.  Layer norm has a weight
and a bias, linear and the GPT have no biases.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..engine import Array, Tensor
from ..models import GPT, GPTConfig
from ..nn import functional
from ..nn.functional.attention import self_attention
from ..optim import AdamW, clip_grad_norm

B, T, D, HEADS, VOCABULARY, LONG = 12, 64, 128, 4, 65, 1024


@dataclass(frozen=True)
class Workload:
    """Something to measure.

    Attributes:
        name: what `bench NAME` finds it by.
        sizes: of what it is done to, for the table.
        work: does it once; returns what all kernel sets must agree on.
    """

    name: str
    sizes: str
    work: Callable[[], list[Array]]


def workloads() -> list[Workload]:
    """All of them, on the same random numbers every time."""
    rng = np.random.default_rng(0)

    def variable(*shape: int) -> Tensor:
        return Tensor(rng.standard_normal(shape).astype(np.float32), requires_grad=True)

    x, wide, logits = variable(B * T, D), variable(B * T, 4 * D), variable(B * T, VOCABULARY)
    up, scale, shift = variable(4 * D, D), variable(D), variable(D)
    heads = [variable(B, HEADS, T, D // HEADS) for _ in range(3)]
    long = [variable(1, HEADS, LONG, D // HEADS) for _ in range(3)]
    tokens, targets = rng.integers(0, VOCABULARY, (2, B, T))
    cases: dict[str, tuple[Callable[..., Tensor], list[Tensor]]] = {
        "linear": (functional.linear, [x, up]),
        "layer norm": (functional.layer_norm, [x, scale, shift]),
        "RMS norm": (functional.rms_norm, [x, scale]),
        "GELU (tanh)": (partial(functional.gelu, approximate="tanh"), [wide]),
        "GELU": (functional.gelu, [wide]),
        "SiLU": (functional.silu, [wide]),
        "cross-entropy": (partial(functional.cross_entropy, targets=targets.ravel()), [logits]),
        "attention": (partial(functional.attention, causal=True, method="fused"), heads),
        "self-attention": (
            partial(self_attention, heads=HEADS, causal=True, method="fused"),
            [variable(B, T, 3 * D)],
        ),
        "attention in tiles": (partial(functional.attention, causal=True, method="tiled"), long),
    }
    embedding = partial(functional.embedding, tokens)
    table = variable(VOCABULARY, D)
    return [
        *(differentiated(name, f, xs, rng, xs[0].shape) for name, (f, xs) in cases.items()),
        differentiated("embedding", embedding, [table], rng, tokens.shape),
        adamw([variable(*p.shape) for p in gpt().parameters()], rng),
        training_step(tokens, targets),
    ]


def differentiated(
    name: str,
    f: Callable[..., Tensor],
    inputs: list[Tensor],
    rng: np.random.Generator,
    shape: tuple[int, ...],
) -> Workload:
    """f(*inputs) and all its gradients, for a random upstream gradient; `shape` is shown."""
    g = rng.standard_normal(f(*inputs).shape).astype(np.float32)

    def work() -> list[Array]:
        for x in inputs:
            x.grad = None
        out = f(*inputs)
        out.backward(g)
        return [out.data, *(x.grad.data for x in inputs if x.grad is not None)]

    return Workload(name, sizes(shape), work)


def adamw(parameters: list[Tensor], rng: np.random.Generator) -> Workload:
    """Clipping and one step of AdamW for the parameters of the GPT."""
    optimizer = AdamW(parameters)
    for p in parameters:
        p.grad = Tensor(rng.standard_normal(p.shape).astype(np.float32))

    def work() -> list[Array]:
        grads = [p.grad for p in parameters]
        clip_grad_norm(parameters, 1.0)
        optimizer.step()
        for p, grad in zip(parameters, grads, strict=True):
            p.grad = grad
        return []  # each step starts from the last one's values: nothing to compare

    return Workload("clipping and AdamW", f"{sum(p.size for p in parameters):,} numbers", work)


def training_step(tokens: Array, targets: Array) -> Workload:
    """Forward, backward, clipping and AdamW of the GPT."""
    model = gpt()
    optimizer = AdamW(model.parameters(), lr=0.0, weight_decay=0.0)  # all start from the same

    def work() -> list[Array]:
        loss = model.loss(tokens, targets)
        optimizer.zero_grad()
        loss.backward()
        norm = clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        return [loss.data, np.array(norm, np.float32)]

    return Workload("training step of GPT", sizes(tokens.shape), work)


def gpt() -> GPT:
    """The GPT of the training step."""
    config = GPTConfig(VOCABULARY, T, 4, HEADS, D, bias=False)
    return GPT(config, rng=np.random.default_rng(1))


def sizes(shape: tuple[Any, ...]) -> str:
    """A shape as people write it: 12 × 64."""
    return " × ".join(map(str, shape))
