"""The Vision Transformer as in Hugging Face's ViTForImageClassification.

Where we have a linear layer on flattened patches, it has a convolution with the same numbers.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from ..models import ViT, ViTConfig
from .layout import Layout, row
from .settings import ACTIVATIONS, Settings, theirs_of

HERE, THERE = "blocks.{i}.", "encoder.layer.{i}."
SELF = THERE + "attention.attention."


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
        row(HERE + "norm1.weight", THERE + "layernorm_before.weight"),
        row(HERE + "norm1.bias", THERE + "layernorm_before.bias"),
        row(
            HERE + "self_attn.in_proj_weight",
            SELF + "query.weight",
            SELF + "key.weight",
            SELF + "value.weight",
        ),
        row(
            HERE + "self_attn.in_proj_bias",
            SELF + "query.bias",
            SELF + "key.bias",
            SELF + "value.bias",
        ),
        row(HERE + "self_attn.out_proj.weight", THERE + "attention.output.dense.weight"),
        row(HERE + "self_attn.out_proj.bias", THERE + "attention.output.dense.bias"),
        row(HERE + "norm2.weight", THERE + "layernorm_after.weight"),
        row(HERE + "norm2.bias", THERE + "layernorm_after.bias"),
        row(HERE + "linear1.weight", THERE + "intermediate.dense.weight"),
        row(HERE + "linear1.bias", THERE + "intermediate.dense.bias"),
        row(HERE + "linear2.weight", THERE + "output.dense.weight"),
        row(HERE + "linear2.bias", THERE + "output.dense.bias"),
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
    sizes = {
        "image_size": given.side("image_size", 224),
        "patch_size": given.side("patch_size", 16),
        "num_classes": len(given.get("id2label", {"0": "", "1": ""})),
        "num_layers": given.get("num_hidden_layers"),
        "num_heads": given.get("num_attention_heads"),
        "d_model": given.get("hidden_size"),
        "d_ff": given.get("intermediate_size"),
        "channels": given.get("num_channels", 3),
        "dropout": given.equal("hidden_dropout_prob", "attention_probs_dropout_prob", default=0.0),
        "activation": given.choice("hidden_act", ACTIVATIONS, "gelu"),
        "eps": given.get("layer_norm_eps", 1e-12),
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
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.dropout,
        "hidden_act": theirs_of(config.activation),
        "layer_norm_eps": config.eps,
        "qkv_bias": True,
        "id2label": labels,
        "label2id": {label: int(i) for i, label in labels.items()},
    }
