"""Anomaly mode raises no alarm: masks of all kinds, infinities on purpose, every model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from planted_anomalies import INF, NAN, F, leaf

import tinygrad_attn as ta
from tinygrad_attn import Tensor, nn, optim

SETS = ["off", "numpy", pytest.param("numba", marks=pytest.mark.numba)]
every_set = pytest.mark.parametrize("kernels", SETS)
T, S = 5, 7
KEEP = np.random.default_rng(3).random((T, S)) < 0.6
KEEP[2] = False  # may attend to no key
LEAST = np.finfo(np.float32).min
MASKS: dict[str, Any] = {
    "none": None,
    "keep": KEEP,
    "additive": np.where(KEEP, 0.5, -INF),
    "the least number": np.where(KEEP, 0.0, LEAST).astype(np.float32),
    "the least float64": np.where(KEEP, 0.0, np.finfo(np.float64).min),
    "a tensor": lambda: Tensor(np.where(KEEP, 0.0, -INF)),
    "a tensor of the least float64": lambda: Tensor(np.where(KEEP, 0.0, np.finfo(float).min)),
    "a learned one": lambda: leaf(np.where(KEEP, 0.0, -INF), "bias"),
    "twice": nn.Mask.additive(np.where(KEEP, 0.0, LEAST).astype(np.float32))
    & nn.Mask.additive(np.where(KEEP, 0.0, LEAST).astype(np.float32)),
    "causal": nn.Mask.causal(),
    "before everything": nn.Mask.causal(-2),
    "window": nn.Mask.window(1, 0) & nn.Mask.keep(KEEP),
    "lengths": nn.Mask.lengths([0, 4]),
}


@every_set
@pytest.mark.parametrize("method", ["definition", "fused", "tiled"])
@pytest.mark.parametrize("empty_row", ["zero", "uniform"])
@pytest.mark.parametrize("mask", MASKS)
def test_masked_attention_raises_no_alarm(
    mask: str, empty_row: str, method: str, kernels: str, rng: np.random.Generator
) -> None:
    made = MASKS[mask]() if callable(MASKS[mask]) else MASKS[mask]
    for dtype in (np.float32, np.float64):
        q, k, v = (leaf(rng.standard_normal((2, 3, n, 4)), dtype=dtype) for n in (T, S, S))
        with ta.kernels.use(kernels), ta.detect_anomaly():
            context = F.attention(q, k, v, made, method=method, empty_row=empty_row)
            context.backward(rng.standard_normal(context.shape).astype(dtype))
            with ta.no_grad():
                F.attention(q, k, v, made, method=method, empty_row=empty_row)
            stages = F.attention(q, k, v, made, empty_row=empty_row, return_stages=True)
            (g,) = ta.grad(stages[0].sum(), [q], create_graph=True)
            (g * g).sum().backward()


ON_PURPOSE: dict[str, Callable[[], Any]] = {
    "masked_fill and softmax": lambda: ta.softmax(
        ta.masked_fill(leaf(np.ones((T, S))), ~KEEP & (np.arange(S) > 0), -INF)
    ),
    "where and log_softmax": lambda: ta.log_softmax(
        ta.where(KEEP | (np.arange(S) == 0), leaf(np.ones((T, S))), -INF)
    )[:, 0],
    "added and logsumexp": lambda: ta.logsumexp(
        leaf(np.ones((T, S))) + np.where(KEEP | (np.arange(S) == 0), 0.0, -INF), -1
    ),
    "negated, moved and gone": lambda: ta.exp(
        -ta.where(KEEP, leaf(np.ones((T, S))), INF).T.reshape(-1)
    ),
    "a largest one to begin with": lambda: ta.minimum(leaf([1.0, 2.0]), INF),
    "clip": lambda: ta.clip(leaf([1.0, 2.0]), -INF, INF),
    "pad": lambda: ta.exp(ta.pad(leaf([1.0, 2.0]), 1, constant_values=-INF)),
    "a state": lambda: ta.lstm_cell(Tensor(np.full((1, 8), 1000.0)), np.array([[1.0, INF]]))[0],
    "a number that is not looked at": lambda: leaf([1.0, NAN, 2.0])[::2],
    "large numbers": lambda: leaf([1e200, 1e300]) * 1.0,
    "large float16": lambda: leaf([1e3, 6e4], dtype=np.float16) * 1.0,
    "integers": lambda: Tensor(np.array([2**62, 2**62])) * 1,
    "booleans": lambda: ta.where(np.array([True, False]), leaf([1.0, 2.0]), 0.0),
    "nothing": lambda: leaf(np.ones((0, 3))) * 2.0,
    "complex": lambda: ta.exp(leaf([1j, 2.0], dtype=complex)),
}


@pytest.mark.parametrize("name", ON_PURPOSE)
def test_infinities_on_purpose_raise_no_alarm(name: str) -> None:
    with ta.detect_anomaly():
        y = ON_PURPOSE[name]()
        if y.requires_grad:
            y.backward(np.ones(y.shape, y.dtype))


TOKENS = np.array([[3, 1, 4, 1], [5, 2, 6, 0]])
TARGETS = np.array([[1, 4, 1, 5], [2, 6, -100, -100]])
SOURCE = np.array([[3, 4, 5, 6], [4, 6, 0, 0]])
ROWS = np.array([[5, 3, 4], [6, 0, 0]])
m, RNG = ta.models, np.random.default_rng
SIZES: Any = {"num_layers": 2, "num_heads": 2, "d_model": 8}
MODELS: dict[str, Callable[[], tuple[Any, Callable[[Any], Tensor]]]] = {
    "GPT": lambda: (
        m.GPT(m.GPTConfig(7, 5, **SIZES, dropout=0.25), rng=RNG(0)),
        lambda model: model.loss(TOKENS, TARGETS),
    ),
    "Llama": lambda: (
        m.Llama(m.LlamaConfig(7, 5, **SIZES, d_ff=11, num_kv_heads=1), rng=RNG(0)),
        lambda model: model.loss(TOKENS, TARGETS),
    ),
    "BERT": lambda: (
        m.BERT(m.BERTConfig(7, 5, **SIZES, d_ff=11, window=1), rng=RNG(0)),
        lambda model: F.cross_entropy(
            model.logits(model(TOKENS, mask=nn.Mask.lengths([4, 2]))), TARGETS
        ),
    ),
    "Transformer": lambda: (
        m.Transformer(m.TransformerConfig(7, 7, 5, **SIZES, d_ff=11), rng=RNG(0)),
        lambda model: model.loss(SOURCE, ROWS, label_smoothing=0.1),
    ),
    "ViT": lambda: (
        m.ViT(m.ViTConfig(6, 3, 5, **SIZES, d_ff=11), rng=RNG(0)),
        lambda model: model.loss(RNG(1).random((2, 6, 6)).astype(np.float32), np.array([3, 1])),
    ),
    **{
        f"Seq2Seq, {attention} {score}": lambda attention=attention, score=score: (
            m.Seq2Seq(m.Seq2SeqConfig(7, 7, 4, 6, attention=attention, score=score), rng=RNG(0)),
            lambda model: model.loss(SOURCE, ROWS, np.array([4, 2])),
        )
        for attention, score in (("bahdanau", "dot"), ("luong", "dot"), ("luong", "concat"))
    },
}


@every_set
@pytest.mark.parametrize("name", MODELS)
def test_models_train_and_predict_without_alarm(name: str, kernels: str) -> None:
    model, loss_of = MODELS[name]()
    optimizer = optim.AdamW(model.parameters(), lr=1e-2)
    with ta.kernels.use(kernels), ta.detect_anomaly():
        for _ in range(2):
            loss_of(model).backward()
            optimizer.step()
            optimizer.zero_grad()
        with ta.no_grad():
            loss_of(model)
        with ta.keep_grads():
            loss_of(model).backward()
