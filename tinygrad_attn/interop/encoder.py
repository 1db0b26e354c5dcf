"""The encoder layers of BERT and of ViT: there too they are the same but for a few names."""

from __future__ import annotations

from typing import Any

from .layout import Row, row
from .settings import ACTIVATIONS, Settings, theirs_of

HERE, THERE = "blocks.{i}.", "encoder.layer.{i}."


def encoder_rows(attention: str, norm1: str, norm2: str) -> tuple[Row, ...]:
    """The parameters of an nn.TransformerEncoderLayer.

    Args:
        attention, norm1, norm2: what the layer calls them there.
    """
    ours, theirs = HERE + "self_attn.in_proj_", THERE + attention
    return (
        row(
            ours + "weight",
            theirs + ".query.weight",
            theirs + ".key.weight",
            theirs + ".value.weight",
        ),
        row(ours + "bias", theirs + ".query.bias", theirs + ".key.bias", theirs + ".value.bias"),
        *linear_rows("self_attn.out_proj", "attention.output.dense"),
        *linear_rows("norm1", norm1),
        *linear_rows("linear1", "intermediate.dense"),
        *linear_rows("linear2", "output.dense"),
        *linear_rows("norm2", norm2),
    )


def linear_rows(ours: str, theirs: str) -> tuple[Row, Row]:
    """Weight and bias of a part of each layer."""
    return (
        row(f"{HERE}{ours}.weight", f"{THERE}{theirs}.weight"),
        row(f"{HERE}{ours}.bias", f"{THERE}{theirs}.bias"),
    )


def sizes_here(given: Settings, dropout: float) -> dict[str, Any]:
    """Of their configuration what the layers are made from; `dropout` where it is not told."""
    return {
        "num_layers": given.get("num_hidden_layers"),
        "num_heads": given.get("num_attention_heads"),
        "d_model": given.get("hidden_size"),
        "d_ff": given.get("intermediate_size"),
        "dropout": given.equal(
            "hidden_dropout_prob", "attention_probs_dropout_prob", default=dropout
        ),
        "activation": given.choice("hidden_act", ACTIVATIONS, "gelu"),
        "eps": given.get("layer_norm_eps", 1e-12),
    }


def sizes_there(config: Any) -> dict[str, Any]:
    """The same of our configuration, as theirs."""
    return {
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.dropout,
        "hidden_act": theirs_of(config.activation),
        "layer_norm_eps": config.eps,
    }
