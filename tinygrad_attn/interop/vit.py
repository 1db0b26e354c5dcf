"""The Vision Transformer as in Hugging Face's ViTForImageClassification.

Where we have a linear layer on flattened patches, it has a convolution with the same numbers.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from ..models import ViT, ViTConfig
from .encoder import encoder_rows, sizes_here, sizes_there
from .layout import Layout, row
from .settings import Settings


def of_patches(config: ViTConfig) -> tuple[int, ...]:
    """Shape of the convolution's kernel."""
    return config.d_model, config.channels, config.patch_size, config.patch_size


def of_positions(config: ViTConfig) -> tuple[int, ...]:
    """Shape of the positions: with an axis for the batch."""
    return 1, 1 + config.num_patches, config.d_model


LAYOUT = Layout(
    rows=(
        #   ours                                    theirs
        row(
            "patch_embed.weight", "embeddings.patch_embeddings.projection.weight", shape=of_patches
        ),
        row("patch_embed.bias", "embeddings.patch_embeddings.projection.bias"),
        row("cls_token", "embeddings.cls_token"),
        row("pos_embed.weight", "embeddings.position_embeddings", shape=of_positions),
        *encoder_rows("attention.attention", norm1="layernorm_before", norm2="layernorm_after"),
        row("norm.weight", "layernorm.weight"),
        row("norm.bias", "layernorm.bias"),
        row("head.weight", "classifier.weight"),
        row("head.bias", "classifier.bias"),
    ),
    prefix="vit.",
    heads=("classifier.",),
)
MODEL = ViT


def config_here(values: dict[str, Any], names: Set[str]) -> ViTConfig:
    """Their configuration as ours; the `names` of the arrays do not matter."""
    given = Settings(values)
    given.only("qkv_bias", True)
    classes = given.get("id2label", None)  # transformers leaves it out where there are 2
    sizes = {
        "image_size": given.side("image_size", 224),
        "patch_size": given.side("patch_size", 16),
        "num_classes": 2 if classes is None else len(classes),
        "channels": given.get("num_channels", 3),
        **sizes_here(given, dropout=0.0),
    }
    given.settle()
    return ViTConfig(**sizes)


def config_there(config: ViTConfig) -> dict[str, Any]:
    """Our configuration as theirs; the classes are named LABEL_0, LABEL_1, …"""
    labels = {str(i): f"LABEL_{i}" for i in range(config.num_classes)}
    return {
        "model_type": "vit",
        "architectures": ["ViTForImageClassification"],
        "image_size": config.image_size,
        "patch_size": config.patch_size,
        "num_channels": config.channels,
        "qkv_bias": True,
        "id2label": labels,
        "label2id": {label: int(i) for i, label in labels.items()},
        **sizes_there(config),
    }
