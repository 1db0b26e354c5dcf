"""A BERT learns what "it" means, and from "it" its attention goes to the noun that is meant.

Nothing says where to look: the loss counts words alone.  Every sentence of the test part brings two
nouns together that never met in the training part.
"""

from __future__ import annotations

import numpy as np
import pytest

from tinygrad_attn import Tensor, nn, optim
from tinygrad_attn.data import Pronouns, pronouns
from tinygrad_attn.data.pronouns import AGENTS, Rows
from tinygrad_attn.engine import Array, no_grad
from tinygrad_attn.models import BERT, BERTConfig
from tinygrad_attn.models.bert import PRONOUNS, PRONOUNS_SIZES
from tinygrad_attn.nn import functional
from tinygrad_attn.train.loop import decay_groups


def loss(model: BERT, rows: Rows) -> Tensor:
    """The noun in the place of "it", and every other word in its own."""
    logits = model.logits(model(rows.tokens, mask=nn.Mask.lengths(rows.lengths)))
    meant = functional.cross_entropy(logits[np.arange(len(rows)), rows.pronoun], rows.meant)
    return meant + functional.cross_entropy(logits, rows.others)


def trained(corpus: Pronouns, rng: np.random.Generator) -> BERT:
    """A model after the preset's training."""
    model = BERT(BERTConfig(len(corpus.vocabulary), **PRONOUNS_SIZES), rng=rng)
    steps, lr, rows = PRONOUNS["steps"], PRONOUNS["lr"], corpus.rows(corpus.train)
    optimizer = optim.AdamW(
        decay_groups(model), lr, PRONOUNS["betas"], weight_decay=PRONOUNS["weight_decay"]
    )
    schedule = optim.WarmupCosine(
        optimizer, round(PRONOUNS["warmup"] * steps), steps, PRONOUNS["lr_end"] * lr
    )
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model, rows[rng.integers(len(rows), size=PRONOUNS["batch"])]).backward()
        optim.clip_grad_norm(optimizer.parameters, PRONOUNS["clip"])
        optimizer.step()
        schedule.step()
    return model.eval()


def looked(model: BERT, rows: Rows) -> tuple[Array, Array]:
    """From "it": is the noun right (N,), and every head's weights (N, layers, heads, T)."""
    with no_grad():
        features, weights = model(
            rows.tokens, mask=nn.Mask.lengths(rows.lengths), return_weights=True
        )
        logits = model.logits(features)
    at = np.arange(len(rows)), rows.pronoun
    found = np.stack([w.data.transpose(0, 2, 1, 3)[at] for w in weights], axis=1)
    return logits.data[at].argmax(-1) == rows.meant, found


def hits(weights: Array, answer: Array) -> Array:
    """The largest weight lies on the answer: (N, layers, heads)."""
    result: Array = weights.argmax(-1) == answer[:, None, None]
    return result


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_from_it_a_head_looks_at_the_noun_that_is_meant(seed: int) -> None:
    """The head is chosen by the training part, and one for all sentences."""
    corpus = pronouns(seed=seed)
    model = trained(corpus, np.random.default_rng(seed))
    known, unseen = corpus.rows(corpus.train), corpus.rows(corpus.test)
    shares = hits(looked(model, known)[1], known.answer).mean(0)
    layer, head = np.unravel_index(shares.argmax(), shares.shape)
    right, weights = looked(model, unseen)
    assert right.mean() >= 0.99
    assert layer == 1
    assert hits(weights, unseen.answer)[:, layer, head].mean() >= 0.95
    famous = [i for i, s in enumerate(corpus.test) if {"animal", "street"} <= {*s.words}]
    assert len(famous) == 24
    assert right[famous].all()
    assert hits(weights, unseen.answer)[famous, layer, head].all()


# ── sentences as arrays ──────────────────────────────────────────────────────────────────────────
def test_rows_say_what_the_sentences_say() -> None:
    corpus = pronouns()
    some, symbols = corpus.test[:50], corpus.vocabulary.symbols
    rows = corpus.rows(some)
    assert rows.tokens.shape == (50, 12)
    assert {len(s.words) for s in some} == {11, 12}
    for i, s in enumerate(some):
        assert tuple(symbols[t] for t in rows.tokens[i, : rows.lengths[i]]) == s.words
        assert (rows.pronoun[i], rows.answer[i]) == (s.pronoun, s.answer)
        assert tuple(rows.nouns[i]) == s.nouns
        assert symbols[rows.meant[i]] == s.words[s.answer]
        kept = [symbols[t] if t >= 0 else "-" for t in rows.others[i]]
        words = ["-" if word == "it" else word for word in s.words]
        assert kept == words + ["-"] * (12 - len(words))


def test_some_rows_and_none() -> None:
    corpus = pronouns()
    rows = corpus.rows(corpus.test[:7])
    chosen = rows[np.array([5, 2, 5])]
    assert len(chosen) == 3
    np.testing.assert_array_equal(chosen.meant, rows.meant[[5, 2, 5]])
    np.testing.assert_array_equal(rows[2:4].nouns, rows.nouns[2:4])
    none = corpus.rows([])
    assert none.nouns.shape == (0, 2)
    assert len(none.meant) == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_animal_and_the_street_meet_in_the_test_part_alone(seed: int) -> None:
    corpus = pronouns(0.01, seed)
    assert not [s for s in corpus.train if {"animal", "street"} <= {*s.words}]
    assert len([s for s in corpus.test if {"animal", "street"} <= {*s.words}]) == 24
    assert len(corpus.test) == 3 * 24


def test_neither_kind_of_noun_is_meant_more_often() -> None:
    corpus = pronouns()
    for part in (corpus.train, corpus.test):
        assert np.mean([s.words[s.answer] in AGENTS for s in part]) == 0.5
