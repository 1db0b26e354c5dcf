"""Models of sizes, and settings, with which each learns what it is for in less than three minutes.

    task = presets.transformer(dates(), rng)
    trainer = Trainer(task, presets.SETTINGS["transformer"], rng)

`tinygrad-attn train` runs them; what comes out over several seeds, on data that they have not seen,
says `python -m benchmarks.learning`.
"""

from __future__ import annotations

import numpy as np

from ..data import Digits, Pairs, Pronouns, Text
from ..data.pairs import SPECIAL
from ..models import (
    BERT,
    GPT,
    BERTConfig,
    GPTConfig,
    Seq2Seq,
    Seq2SeqConfig,
    Transformer,
    TransformerConfig,
    ViT,
    ViTConfig,
)
from .config import TrainConfig
from .digits import Recognition
from .language import Language
from .reference import Reference
from .translation import Translation

SETTINGS = {
    "gpt": TrainConfig(steps=1_000, batch=12, lr=4e-3, betas=(0.9, 0.99)),
    "seq2seq": TrainConfig(
        steps=1_000,
        batch=64,
        lr=5e-3,
        warmup=0.05,
        lr_end=0.02,
        weight_decay=0.0,
        betas=(0.9, 0.98),
    ),
    "transformer": TrainConfig(steps=2_000, batch=64, lr=3e-3, lr_end=0.02, betas=(0.9, 0.99)),
    "pronouns": TrainConfig(steps=600, batch=64, lr=3e-3, lr_end=0.05, betas=(0.9, 0.99)),
    "vit": TrainConfig(steps=2_000, batch=32, lr=3e-3, lr_end=0.05, betas=(0.9, 0.99)),
}


def gpt(
    corpus: Text,
    rng: np.random.Generator,
    *,
    layers: int = 2,
    heads: int = 4,
    width: int = 128,
    length: int = 64,
    dropout: float = 0.0,
) -> Language:
    """A GPT that reads `length` characters at once."""
    sizes = GPTConfig(len(corpus.vocabulary), length, layers, heads, width, dropout)
    return Language(GPT(sizes, rng=rng), corpus)


def seq2seq(
    corpus: Pairs,
    rng: np.random.Generator,
    *,
    width: int = 64,
    attention: str = "bahdanau",
    dropout: float = 0.0,
) -> Translation:
    """Recurrent networks with attention; `attention` is "bahdanau" or "luong"."""
    vocabulary = len(corpus.vocabulary)
    padding, start, end = range(len(SPECIAL))
    sizes = Seq2SeqConfig(
        vocabulary,
        vocabulary,
        d_embed=max(1, width // 2),
        d_hidden=width,
        attention=attention,
        dropout=dropout,
        padding=padding,
        start=start,
        end=end,
    )
    return Translation(Seq2Seq(sizes, rng=rng), corpus)


def transformer(
    corpus: Pairs,
    rng: np.random.Generator,
    *,
    layers: int = 1,
    heads: int = 4,
    width: int = 64,
    dropout: float = 0.05,
) -> Translation:
    """An encoder and a decoder.

    Without dropout it looks less: it writes a date's "9" because "1" came before.
    """
    vocabulary = len(corpus.vocabulary)
    padding, start, end = range(len(SPECIAL))
    sizes = TransformerConfig(
        vocabulary,
        vocabulary,
        max_length=max(corpus.longest_source, corpus.longest_target + 1),
        num_layers=layers,
        num_heads=heads,
        d_model=width,
        d_ff=2 * width,
        padding=padding,
        start=start,
        end=end,
        dropout=dropout,
        norm_first=True,
    )
    return Translation(Transformer(sizes, rng=rng), corpus)


def vit(
    corpus: Digits,
    rng: np.random.Generator,
    *,
    layers: int = 3,
    heads: int = 4,
    width: int = 32,
    dropout: float = 0.1,
) -> Recognition:
    """A ViT of 2×2 patches, with label smoothing."""
    sizes = ViTConfig(
        image_size=8,
        patch_size=2,
        num_classes=10,
        num_layers=layers,
        num_heads=heads,
        d_model=width,
        d_ff=2 * width,
        dropout=dropout,
        activation="gelu_tanh",
    )
    return Recognition(ViT(sizes, rng=rng), corpus, label_smoothing=0.1)


def pronouns(
    corpus: Pronouns,
    rng: np.random.Generator,
    *,
    layers: int = 2,
    heads: int = 2,
    width: int = 32,
    dropout: float = 0.1,
) -> Reference:
    """A BERT whose first layer sees three words to either side.

    So "it" cannot collect everything in the first layer: it learns there what happened to it ("was
    too tired"), and looks for the noun in the second.
    """
    sizes = BERTConfig(
        len(corpus.vocabulary),
        max_length=max(len(s.words) for s in corpus.train + corpus.test),
        num_layers=layers,
        num_heads=heads,
        d_model=width,
        d_ff=2 * width,
        num_token_types=1,
        dropout=dropout,
        activation="gelu_tanh",
        eps=1e-6,
        pooler=False,
        window=3,
    )
    return Reference(BERT(sizes, rng=rng), corpus)
