"""A small model of each kind, what it is asked, and the calls of its attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_attn import Tensor, models, nn, study

Array = np.ndarray[Any, Any]


def gpt(dropout: float = 0.0) -> models.GPT:
    config = models.GPTConfig(7, 6, 2, 2, 4, dropout)
    return models.GPT(config, rng=np.random.default_rng(1))


def llama() -> models.Llama:
    config = models.LlamaConfig(7, 6, 2, 2, 8, 5, num_kv_heads=1)
    return models.Llama(config, rng=np.random.default_rng(1))


def bert(dropout: float = 0.0) -> models.BERT:
    config = models.BERTConfig(7, 6, 2, 2, 4, 5, dropout=dropout)
    return models.BERT(config, rng=np.random.default_rng(1))


def vit(dropout: float = 0.0) -> models.ViT:
    config = models.ViTConfig(6, 3, 5, 2, 2, 4, 7, dropout=dropout)
    return models.ViT(config, rng=np.random.default_rng(1))


def transformer(dropout: float = 0.0) -> models.Transformer:
    config = models.TransformerConfig(7, 8, 9, 2, 2, 4, 5, dropout=dropout)
    return models.Transformer(config, rng=np.random.default_rng(1))


TOKENS = np.random.default_rng(3).integers(0, 7, (2, 5))
IMAGES = np.random.default_rng(3).standard_normal((2, 6, 6))
SOURCE = np.array([[3, 4, 5, 6, 3], [6, 5, 4, 0, 0]])
TARGET = np.array([[3, 7], [5, 0]])
ASKED: dict[str, tuple[Callable[..., nn.Module], list[Array]]] = {
    "GPT": (gpt, [TOKENS]),
    "Llama": (llama, [TOKENS]),
    "BERT": (bert, [TOKENS]),
    "ViT": (vit, [IMAGES]),
    "Transformer": (transformer, [SOURCE, TARGET]),
}
NAMES = {
    "GPT": ["blocks.0.attn", "blocks.1.attn"],
    "Llama": ["blocks.0.attn", "blocks.1.attn"],
    "BERT": ["blocks.0.self_attn", "blocks.1.self_attn"],
    "ViT": ["blocks.0.self_attn", "blocks.1.self_attn"],
    "Transformer": [
        "encoder.layers.0.self_attn",
        "encoder.layers.1.self_attn",
        "decoder.layers.0.self_attn",
        "decoder.layers.0.multihead_attn",
        "decoder.layers.1.self_attn",
        "decoder.layers.1.multihead_attn",
    ],
}


def in_double(model: nn.Module) -> nn.Module:
    """In float64, with weights large enough that attention differs from a mean."""
    rng = np.random.default_rng(8)
    for parameter in model.astype(np.float64).parameters():
        parameter.data = parameter.data + rng.standard_normal(parameter.shape) / 2
    return model.eval()


def asked(name: str) -> tuple[list[study.Call], Tensor]:
    """The calls of one pass, after backward from one logit of each sequence."""
    make, inputs = ASKED[name]
    model = in_double(make())
    with study.observed(model) as calls:
        logits = model(*inputs)
    logits[(0, 1), *[-1] * (logits.ndim - 2), (2, 3)].sum().backward()
    return calls, logits


def call_with(weights: Any, gradient: Any, name: str = "attn", cross: bool = False) -> study.Call:
    """A call that has these weights and their gradient."""
    P = Tensor(np.asarray(weights, np.float64), requires_grad=True)
    (P * np.asarray(gradient, np.float64)).sum().backward()
    return study.Call(name, nn.Stages(*[P] * 8), cross)
