"""Models as functions of embeddings (B, T, D), so that there is something to differentiate by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_attn import Tensor, models, nn

B, T, S, D = 2, 4, 5, 6
Function = Callable[[Any], Any]


def randomised(module: Any) -> Any:
    """float64, in evaluation, with weights large enough to matter."""
    rng = np.random.default_rng(3)
    for parameter in module.astype(np.float64).parameters():
        parameter.data = rng.standard_normal(parameter.shape) / 2
    return module.eval()


def encoder(**options: Any) -> Any:
    return randomised(nn.TransformerEncoderLayer(D, 2, 7, **options))


def decoder() -> Any:
    return randomised(nn.TransformerDecoderLayer(D, 3, 7))


def embedding(module: nn.Module, x: Tensor) -> np.ndarray[Any, Any]:
    """Let an Embedding give x (B, T, D), whatever the tokens are; tokens that fit."""
    vars(module)["forward"] = lambda tokens: x
    return np.ones(x.shape[:2], int)


def gpt() -> Function:
    model = randomised(models.GPT(models.GPTConfig(7, 9, 2, 2, D)))
    return lambda x: model(embedding(model.wte, x))


def bert() -> Function:
    model = randomised(models.BERT(models.BERTConfig(7, 9, 2, 2, D, 5)))
    return lambda x: model(embedding(model.word_embeddings, x))


def vit_blocks(positions: bool) -> Function:
    """A ViT's patches (B, T, D) to its features, with or without their positions."""
    model = randomised(models.ViT(models.ViTConfig(4, 2, 3, 2, 2, D, 7)))

    def features(x: Tensor) -> Any:
        x = model.pos_embed(x) if positions else x
        for block in model.blocks:
            x = block(x)
        return model.norm(x)

    return features


def seq2seq(**options: Any) -> Any:
    return randomised(models.Seq2Seq(models.Seq2SeqConfig(7, 7, D, 4, **options)))


def seq2seq_decoder() -> Function:
    """Embedded targets (B, T, D) -> logits (B, T, 7), beside a fixed source."""
    model = seq2seq()
    source = np.array([[3, 4, 5, 6, 3], [4, 3, 5, 0, 0]])

    def logits(x: Tensor) -> Any:
        tokens = embedding(model.decoder.embedding, x)
        return model.decoder(tokens, *model.read(source, np.array([5, 3])))[0]

    return logits
