"""Layers one after the other: what BERT, ViT and Transformer share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..engine import Tensor
from ..nn import ModuleList, TransformerDecoderLayer, TransformerEncoderLayer


def stacked(
    layer: type[TransformerEncoderLayer | TransformerDecoderLayer],
    config: Any,
    rng: np.random.Generator,
    **options: Any,
) -> ModuleList:
    """Layers of the sizes in `config`, its num_layers in number; `options` are the layer's."""
    return ModuleList(
        layer(
            config.d_model,
            config.num_heads,
            config.d_ff,
            dropout=config.dropout,
            activation=config.activation,
            rng=rng,
            **options,
        )
        for _ in range(config.num_layers)
    )


def through(
    layers: ModuleList, x: Tensor, masks: Iterable[Any], return_weights: bool
) -> tuple[Tensor, list[Tensor]]:
    """`x` (B, T, D) after all encoder layers, and their weights (B, heads, T, T) where wanted."""
    weights: list[Tensor] = []
    for layer, mask in zip(layers, masks):
        if return_weights:
            x, found = layer(x, mask, return_weights=True)
            weights.append(found)
        else:
            x = layer(x, mask)
    return x, weights
