"""BERT as in Hugging Face's BertModel.

The heads of pre-training ("cls.") are left out; the pooler is there if the file has one.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from ..models import BERT, BERTConfig
from .encoder import encoder_rows, sizes_here, sizes_there
from .errors import InteropError
from .layout import Layout, row
from .settings import Settings

LAYOUT = Layout(
    rows=(
        #   ours                                    theirs
        row("word_embeddings.weight", "embeddings.word_embeddings.weight"),
        row("token_type_embeddings.weight", "embeddings.token_type_embeddings.weight"),
        row("position_embeddings.weight", "embeddings.position_embeddings.weight"),
        row("norm.weight", "embeddings.LayerNorm.weight"),
        row("norm.bias", "embeddings.LayerNorm.bias"),
        *encoder_rows(
            "attention.self", norm1="attention.output.LayerNorm", norm2="output.LayerNorm"
        ),
        row("pooler.weight", "pooler.dense.weight"),
        row("pooler.bias", "pooler.dense.bias"),
    ),
    prefix="bert.",
    ignored=r"^cls\.|^embeddings\.(position|token_type)_ids$",
    renamed={"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"},
)
MODEL = BERT


def config_here(values: dict[str, Any], names: Set[str]) -> BERTConfig:
    """Their configuration as ours; `names` are those of the arrays."""
    given = Settings(values)
    given.only("position_embedding_type", "absolute", None)
    given.only("is_decoder", False)
    given.only("add_cross_attention", False)
    sizes = {
        "vocab_size": given.get("vocab_size"),
        "max_length": given.get("max_position_embeddings"),
        "num_token_types": given.get("type_vocab_size", 2),
        "pooler": any(name.startswith("pooler.") for name in names),
        **sizes_here(given, dropout=0.1),
    }
    given.settle()
    return BERTConfig(**sizes)


def config_there(config: BERTConfig) -> dict[str, Any]:
    """Our configuration as theirs.

    Raises:
        InteropError: the first layer sees a window only, which there is no setting for.
    """
    if config.window is not None:
        found = f"window is {config.window}, expected None: there every position sees all others"
        raise InteropError("the configuration", [found])
    return {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_length,
        "type_vocab_size": config.num_token_types,
        "pad_token_id": None,
        **sizes_there(config),
    }
