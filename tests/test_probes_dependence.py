"""Padding, ignored arguments, order: right models pass, planted faults are caught."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from probed import B, D, S, T, bert, decoder, embedding, encoder, gpt, seq2seq, vit_blocks

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, ShapeError, Tensor, nn
from tinygrad_attn.check import (
    ProbeError,
    assert_depends_on,
    assert_padding_inert,
    assert_permutation_equivariant,
)

Array = np.ndarray[Any, Any]
Function = Callable[..., Any]
LENGTHS = [T, 2]
REAL = np.arange(T) < np.array(LENGTHS)[:, None]


@pytest.fixture
def x(rng: np.random.Generator) -> Array:
    return np.asarray(rng.standard_normal((B, T, D)))


@pytest.fixture
def memory(rng: np.random.Generator) -> Array:
    return np.asarray(rng.standard_normal((B, S, D)))


# ── padding ──────────────────────────────────────────────────────────────────────────────────────
def pooled(x: Tensor) -> Any:
    """(B, T, D) -> (B, D): the mean of what is real."""
    return (encoder()(x, REAL[:, None]) * REAL[..., None]).sum(1) / np.array(LENGTHS)[:, None]


def read_by_seq2seq(x: Tensor) -> Any:
    """Embedded sources (B, T, D) -> logits (B, 4, 7) for three targets."""
    model = seq2seq()
    source = embedding(model.encoder.embedding, x)
    state, memory = model.read(source, np.array(LENGTHS))
    return model.decoder(np.array([[1, 3, 4, 5], [1, 5, 5, 3]]), state, memory)[0]


INERT: dict[str, Function] = {
    "encoder layer": lambda x: encoder()(x, nn.Mask.lengths(LENGTHS)),
    "BERT's kind of mask": lambda x: encoder()(x, REAL[:, None]),
    "one vector each": pooled,
    "Seq2Seq": read_by_seq2seq,
    "decoder's memory": lambda x: decoder()(np.ones((B, 3, D)), x, None, REAL[:, None]),
    "GRU": lambda x: nn.GRU(D, 3, rng=np.random.default_rng(2))(x, lengths=np.array(LENGTHS))[0],
    "causal": lambda x: encoder()(x, causal=True),  # padding is at the end
}


@pytest.mark.parametrize("name", INERT)
def test_right_masks_keep_padding_inert(name: str, x: Array) -> None:
    assert_padding_inert(INERT[name], x, LENGTHS)
    assert_padding_inert(INERT[name], Tensor(x), REAL)


AWAKE: dict[str, Function] = {
    "no mask": encoder(),
    "flipped": lambda x: encoder()(x, ~REAL[:, None]),
    "one too long": lambda x: encoder()(x, nn.Mask.lengths([T, 3])),
    "lengths of other examples": lambda x: encoder()(x, nn.Mask.lengths([2, T])),
    "mean over padding": lambda x: encoder()(x, REAL[:, None]).mean(1),
    "norm over time": lambda x: x - x.mean(1, keepdims=True),
    "masked by multiplication": lambda x: ta.softmax(x @ x.mT * REAL[:, None]) @ x,
    "one layer of two": lambda x: encoder()(encoder()(x, REAL[:, None])),
}


@pytest.mark.parametrize("name", AWAKE)
def test_padding_that_is_seen_is_caught(name: str, x: Array) -> None:
    with pytest.raises(ProbeError, match="outputs depend on padding") as caught:
        assert_padding_inert(AWAKE[name], x, REAL)
    matrix = caught.value.matrix
    assert matrix.shape == (B, T)
    assert (matrix[~REAL] > 1e-5).any()
    s = 2 + matrix[1, 2:].argmax()
    assert f"worst: example 1, position {s}: {matrix[1, s]:.3g}" in str(caught.value)


def test_the_picture_of_padding(x: Array) -> None:
    with pytest.raises(ProbeError) as caught:
        assert_padding_inert(lambda x: encoder()(x, nn.Mask.lengths([T, 3])), x, LENGTHS)
    assert "a gradient reaches 1 of 2 padded inputs" in str(caught.value)
    assert "    ▪▪▪▪\n    ▪▪×·\n" in str(caught.value)


def test_outputs_of_padding_may_hold_anything_others_may_not(x: Array) -> None:
    def f(x: Tensor) -> Any:
        return x * 2

    assert_padding_inert(f, x, REAL)
    with pytest.raises(ProbeError, match="depend on padding"):
        assert_padding_inert(lambda x: f(x)[:, ::-1], x, REAL)
    with pytest.raises(ProbeError, match="depend on padding"):  # another length: all must be right
        assert_padding_inert(lambda x: ta.concat([f(x), f(x)], 1), x, REAL)


def test_a_dependence_without_a_slope_is_caught_by_value(x: Array) -> None:
    def counting(x: Tensor) -> Any:
        return x * (1.0 + (x.data[:, 2:] > 0).sum())

    with pytest.raises(ProbeError, match="though no gradient goes there") as caught:
        assert_padding_inert(counting, x, REAL)
    assert caught.value.matrix.max() > 0


def test_padding_as_one_vjp(x: Array) -> None:
    keep = REAL[..., None]

    def good(x: Array, g: Array) -> Array:
        return np.asarray(g * keep)

    assert_padding_inert(lambda x: x * keep, x, REAL, vjp=good)
    assert_padding_inert(None, x, REAL, vjp=good)
    with pytest.raises(ProbeError, match="a gradient reaches 2 of 2"):
        assert_padding_inert(None, x, REAL, vjp=lambda x, g: g[:, ::-1])
    with pytest.raises(ProbeError, match="other numbers in the padding"):
        assert_padding_inert(lambda x: x - x.mean(1, keepdims=True), x, REAL, vjp=good)


# ── dependence ───────────────────────────────────────────────────────────────────────────────────
def test_the_decoder_looks_at_the_encoder(x: Array, memory: Array) -> None:
    assert_depends_on(decoder(), x, memory)
    assert_depends_on(decoder(), x, memory, argument=1, each=True)
    assert_depends_on(lambda memory: decoder()(x, memory), memory, each=True)
    assert_depends_on(read_by_seq2seq, x, each=True)
    assert_depends_on(gpt(), x)


def without_cross_attention(x: Tensor, memory: Tensor) -> Any:
    layer = decoder()
    weight = layer.multihead_attn.out_proj.weight
    weight.data = np.zeros(weight.shape)
    return layer(x, memory)


IGNORING: dict[str, Function] = {
    "zero projection": without_cross_attention,
    "detached": lambda x, memory: decoder()(x, memory.detach()),
    "masked away": lambda x, memory: decoder()(x, memory, None, np.zeros((B, 1, S), bool)),
    "looks at itself": lambda x, memory: decoder()(x, x),
    "rounding": lambda x, memory: x + ta.softmax(memory).sum(-1).sum(-1)[:, None, None],
    "drowned": lambda x, memory: x + 1e-12 * memory.sum(),
}


@pytest.mark.parametrize("name", IGNORING)
def test_a_decoder_that_ignores_the_encoder_is_caught(name: str, x: Array, memory: Array) -> None:
    f = IGNORING[name]
    assert_depends_on(f, x, memory, argument=0)
    every: list[dict[str, Any]] = [{}, {"argument": 1}, {"argument": 1, "each": True}]
    for options in every:
        with pytest.raises(ProbeError, match=r"not depend on memory \(argument 1\)"):
            assert_depends_on(f, x, memory, **options)


def test_each_position_must_look(x: Array, memory: Array) -> None:
    blind = np.ones((B, T, S), bool)
    blind[:, 2] = False

    def f(x: Tensor, memory: Tensor) -> Any:
        return decoder()(x, memory, None, blind, causal=False)

    assert_depends_on(f, x, memory)
    assert_depends_on(lambda x, memory: f(x, memory)[:, :2], x, memory, each=True)
    with pytest.raises(ProbeError, match="at 1 of 4 positions, first 2, does not depend") as caught:
        assert_depends_on(f, x, memory, argument=1, each=True)
    assert (caught.value.matrix > 0).tolist() == [True, True, False, True]


def test_other_arguments_are_passed_on(x: Array) -> None:
    assert_depends_on(lambda x, rows: x[rows], x, np.array([1, 0]))
    assert_depends_on(lambda a, b: a * b, 2.0, [1.0, 3.0])
    assert_depends_on(lambda a, b: a * b, np.float32(2), (1, 3.0))
    assert_depends_on(lambda x, none: x, x, np.zeros(0), argument=0)
    assert_depends_on(lambda x, shape: x.reshape(shape), x, (x.size,))


def test_dependence_as_one_vjp(x: Array) -> None:
    assert_depends_on(None, x, vjp=lambda x, g: g)
    with pytest.raises(ProbeError, match=r"not depend on x \(argument 0\)"):
        assert_depends_on(lambda x: x, x, vjp=lambda x, g: None)
    with pytest.raises(ProbeError, match="not finite"):
        assert_depends_on(None, x, vjp=lambda x, g: g * np.nan)


# ── order ────────────────────────────────────────────────────────────────────────────────────────
def test_what_knows_no_order_is_equivariant(x: Array) -> None:
    assert_permutation_equivariant(encoder(), x)
    assert_permutation_equivariant(vit_blocks(positions=False), x)
    assert_permutation_equivariant(lambda x: ta.softmax(x, 1), x)
    assert_permutation_equivariant(lambda x: x.mean(2), x, axis=1)
    assert_permutation_equivariant(lambda x: ta.transpose(encoder()(x), (1, 0, 2)), x, out_axis=0)


def circular(x: Tensor) -> Any:
    """Commutes with every shift, and with no exchange."""
    return x + 0.5 * ta.roll(x, 1, 1)


def first_two(x: Tensor) -> Any:
    """Commutes with the exchange of the first two, and with no shift."""
    return x * np.where(np.arange(T) < 2, 2.0, 1.0)[:, None]


ORDERED: dict[str, Function] = {
    "BERT": bert(),
    "a ViT with positions": vit_blocks(positions=True),
    "causal": lambda x: encoder()(x, causal=True),
    "a recurrence": lambda x: nn.GRU(D, 3, rng=np.random.default_rng(2)).astype(float)(x)[0],
    "circular convolution": circular,
    "two positions": first_two,
}


@pytest.mark.parametrize("name", ORDERED)
def test_what_knows_the_order_is_caught(name: str, x: Array) -> None:
    with pytest.raises(ProbeError, match="outputs do not follow the inputs") as caught:
        assert_permutation_equivariant(ORDERED[name], x)
    assert caught.value.matrix.shape == (5, T)
    worst = f"{caught.value.matrix.max():.3g}"
    assert worst in str(caught.value)


def test_three_positions_are_enough(x: Array) -> None:
    """Every derangement of three is a shift, and a circular convolution commutes with shifts."""
    with pytest.raises(ProbeError, match="positions 0 and 1 exchanged"):
        assert_permutation_equivariant(circular, x[:, :3])


def test_gradients_must_follow_too(x: Array) -> None:
    scale = 1 + np.arange(T)[:, None]
    with (
        ta.exp.replaced_vjp("x", lambda g, out: g * out * scale),
        pytest.raises(ProbeError, match="gradients do not follow the inputs"),
    ):
        assert_permutation_equivariant(ta.exp, x)
    assert_permutation_equivariant(ta.exp, x)
    assert_permutation_equivariant(np.exp, x, vjp=lambda x, g: g * np.exp(x))
    with pytest.raises(ProbeError, match="gradients do not"):
        assert_permutation_equivariant(None, x, vjp=lambda x, g: g * scale)


def test_a_random_function_is_not_equivariant(x: Array, rng: np.random.Generator) -> None:
    layer = nn.Dropout(0.5, rng=rng).train()
    with pytest.raises(ProbeError, match="is f random"):
        assert_permutation_equivariant(layer, x)
    assert_permutation_equivariant(layer.eval(), x)


# ── nothing passes by saying nothing, and wrong calls say so ─────────────────────────────────────
def test_what_cannot_be_judged_does_not_pass(x: Array) -> None:
    with pytest.raises(ProbeError, match="not depend on x at all"):
        assert_padding_inert(lambda x: x.detach(), x, REAL)
    with pytest.raises(ProbeError, match="not depend on x at all"):
        assert_permutation_equivariant(lambda x: x.detach(), x)
    with np.errstate(all="ignore"):
        with pytest.raises(ProbeError, match="not finite"):
            assert_padding_inert(lambda x: ta.sqrt(x * 0), x, REAL)
        with pytest.raises(ProbeError, match="do not follow"):
            assert_permutation_equivariant(lambda x: ta.log(x * 0 - 1), x)
        with pytest.raises(ProbeError, match="not finite"):
            assert_depends_on(lambda x: ta.sqrt(x * 0), x)


X = np.ones((2, 3, 5))
WRONG: dict[str, tuple[type[Exception], str, Callable[[], Any]]] = {
    "no padding": (ShapeError, "all of x is real", lambda: assert_padding_inert(abs, X, [3, 3])),
    "only padding": (ShapeError, "is padding", lambda: assert_padding_inert(abs, X, [0, 0])),
    "too long": (ShapeError, "0 to 3, got 2 to 4", lambda: assert_padding_inert(abs, X, [2, 4])),
    "negative": (ShapeError, "0 to 3, got -1", lambda: assert_padding_inert(abs, X, [2, -1])),
    "three lengths": (
        ShapeError,
        r"lengths \(2,\) or booleans \(2, 3\) .*int64\[3\]",
        lambda: assert_padding_inert(abs, X, [1, 2, 3]),
    ),
    "additive mask": (
        DTypeError,
        "lengths or booleans, got float64",
        lambda: assert_padding_inert(abs, X, np.zeros((2, 3))),
    ),
    "the batch as time": (
        ShapeError,
        "axis 0 is the batch",
        lambda: assert_padding_inert(abs, X, [1, 2], axis=0),
    ),
    "padding's out_axis": (
        ShapeError,
        "out_axis=4",
        lambda: assert_padding_inert(abs, X, [1, 2], out_axis=4),
    ),
    "argument": (ShapeError, "argument 2 of 1", lambda: assert_depends_on(abs, X, argument=2)),
    "no argument": (DTypeError, "no argument is floating", lambda: assert_depends_on(abs)),
    "tokens": (
        DTypeError,
        "int64; tokens",
        lambda: assert_depends_on(abs, X[0].astype(int), argument=0),
    ),
    "ragged": (
        ShapeError,
        "argument 1 is no array: ",
        lambda: assert_depends_on(lambda x, y: x, X, [[1.0, 2.0], [3.0]]),
    ),
    "ragged alone": (
        ShapeError,
        "x is no array: ",
        lambda: assert_depends_on(abs, [[1.0], [2, 3]]),
    ),
    "two with vjp": (
        ShapeError,
        "one argument, got 2",
        lambda: assert_depends_on(None, X, X, vjp=lambda x, g: g),
    ),
    "each without axis": (
        ShapeError,
        r"out_axis=-2 is outside the shape \(\)",
        lambda: assert_depends_on(lambda x: x.sum(), X, each=True),
    ),
    "one position": (
        ShapeError,
        "at least 2 positions",
        lambda: assert_permutation_equivariant(abs, X[:, :1]),
    ),
    "fewer outputs": (
        ShapeError,
        "x has 3 positions and f.x. 2",
        lambda: assert_permutation_equivariant(lambda x: x[:, :2], X),
    ),
    "tolerance": (
        DTypeError,
        "tolerance must be a number",
        lambda: assert_permutation_equivariant(abs, X, tolerance="small"),  # type: ignore[arg-type]  # the wrong call
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls_say_so(name: str) -> None:
    error, message, call = WRONG[name]
    with pytest.raises(error, match=message):
        call()
