"""Recurrent networks: values against plain loops, every gradient, lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from derivatives import of_parameters, worst_error
from scipy.special import expit as sigmoid

import tinygrad_attn as ta
from tinygrad_attn import Tensor, nn
from tinygrad_attn.ops.recurrent import gru_cell

B, T, D, H = 3, 5, 2, 4
LENGTHS = np.array([3, 5, 0])
KINDS = (nn.RNN, nn.GRU, nn.LSTM)
every_kind = pytest.mark.parametrize("kind", KINDS)
Array = np.ndarray[Any, Any]


def made(kind: Any, *sizes: int, **options: Any) -> Any:
    return kind(*sizes, rng=np.random.default_rng(2), **options).astype(np.float64)


def parts(state: Any) -> tuple[Any, ...]:
    """h, or h and c."""
    return state if isinstance(state, tuple) else (state,)


def together(result: tuple[Tensor, Any]) -> Tensor:
    """Outputs and final state in one row."""
    return ta.concat([result[0].flatten(), *(part.flatten() for part in parts(result[1]))])


def some_state(layer: Any, rng: np.random.Generator, batch: int = B) -> list[Array]:
    shape = (layer.num_layers * len(layer.directions), batch, layer.d_hidden)
    return [rng.standard_normal(shape) for _ in layer.state_names]


def as_state(arrays: Any) -> Any:
    return tuple(arrays) if len(arrays) > 1 else arrays[0]


# ── values ───────────────────────────────────────────────────────────────────────────────────────


def stepped(kind: Any, weights: list[Array], x: Array, state: list[Array]) -> list[Array]:
    """One step for one sequence, by the textbook."""
    w_ih, w_hh, b_ih, b_hh = weights
    gi, gh = np.split(w_ih @ x + b_ih, kind.gates), np.split(w_hh @ state[0] + b_hh, kind.gates)
    if kind is nn.RNN:
        return [np.tanh(gi[0] + gh[0])]
    if kind is nn.GRU:
        r, z = sigmoid(gi[0] + gh[0]), sigmoid(gi[1] + gh[1])
        return [(1 - z) * np.tanh(gi[2] + r * gh[2]) + z * state[0]]
    i, f, u, o = (a + b for a, b in zip(gi, gh, strict=True))
    c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(u)
    return [sigmoid(o) * np.tanh(c), c]


def reference(
    layer: Any, x: Array, starts: list[Array], lengths: Array
) -> tuple[Array, list[Array]]:
    """Sequence by sequence, step by step, only the real steps."""
    weights, finals = layer.state_dict(), [np.zeros_like(start) for start in starts]
    outputs = np.zeros((*x.shape[:2], len(layer.directions) * layer.d_hidden))
    for b, length in enumerate(lengths):
        below, k = x[b, :length], 0
        for number in range(layer.num_layers):
            sides = []
            for suffix in layer.directions:
                names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                own = [weights[f"{name}_l{number}{suffix}"] for name in names]
                state, side = [start[k, b] for start in starts], [np.zeros(H)] * length
                for t in reversed(range(length)) if suffix else range(length):
                    state = stepped(type(layer), own, below[t], state)
                    side[t] = state[0]
                for final, part in zip(finals, state, strict=True):
                    final[k, b] = part
                sides.append(np.reshape(side, (length, H)))
                k += 1
            below = np.concatenate(sides, -1)
        outputs[b, :length] = below
    return outputs, finals


@every_kind
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_values_are_the_textbooks(
    kind: Any, bidirectional: bool, lengths: Any, rng: np.random.Generator
) -> None:
    layer = made(kind, D, H, 2, bidirectional=bidirectional)
    x, starts = rng.standard_normal((B, T, D)), some_state(layer, rng)
    outputs, final = layer(Tensor(x), as_state(starts), lengths)
    wanted, finals = reference(layer, x, starts, np.full(B, T) if lengths is None else lengths)
    np.testing.assert_allclose(outputs.data, wanted, rtol=1e-12, atol=1e-14)
    for part, other in zip(parts(final), finals, strict=True):
        np.testing.assert_allclose(part.data, other, rtol=1e-12, atol=1e-14)


def test_relu_in_place_of_tanh(rng: np.random.Generator) -> None:
    layer = made(nn.RNN, D, H, nonlinearity="relu", bias=False)
    x = rng.standard_normal((1, 2, D))
    first = np.maximum(layer.weight_ih_l0.data @ x[0, 0], 0)
    second = np.maximum(layer.weight_ih_l0.data @ x[0, 1] + layer.weight_hh_l0.data @ first, 0)
    np.testing.assert_allclose(layer(x)[0].data[0], [first, second], rtol=1e-13)


@every_kind
def test_without_a_state_it_starts_from_zeros(kind: Any, rng: np.random.Generator) -> None:
    layer, x = made(kind, D, H, 2), rng.standard_normal((B, T, D))
    zeros = as_state([np.zeros((2, B, H)) for _ in layer.state_names])
    np.testing.assert_array_equal(together(layer(x)).data, together(layer(x, zeros)).data)


@every_kind
def test_a_sequence_may_be_read_in_pieces(kind: Any, rng: np.random.Generator) -> None:
    layer, x = made(kind, D, H, 2), rng.standard_normal((B, T, D))
    whole, final = layer(x)
    head, state = layer(x[:, :2])
    tail, end = layer(x[:, 2:], state)
    np.testing.assert_allclose(ta.concat([head, tail], 1).data, whole.data, rtol=1e-13)
    for part, other in zip(parts(end), parts(final), strict=True):
        np.testing.assert_allclose(part.data, other.data, rtol=1e-13)


# ── gradients ────────────────────────────────────────────────────────────────────────────────────


@every_kind
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("lengths", [None, [1, 3]])
def test_every_gradient(kind: Any, order: int, lengths: Any, rng: np.random.Generator) -> None:
    layer = made(kind, 2, 2, 1 if order == 2 else 2, bidirectional=True)
    inputs = [rng.standard_normal((2, 3, 2)), *some_state(layer, rng, 2)]
    seen: list[Any] = []
    call, weights = of_parameters(
        layer, lambda: together(layer(seen[0], as_state(seen[1:]), lengths))
    )

    def of_everything(*tensors: Tensor) -> Tensor:
        seen[:] = tensors[: len(inputs)]
        return call(*tensors[len(inputs) :])

    assert worst_error(of_everything, [*inputs, *weights], order) < 1e-12


def test_a_wrong_rule_is_caught_by_this_test(rng: np.random.Generator) -> None:
    layer, x = made(nn.GRU, 2, 2), rng.standard_normal((2, 3, 2))
    right = worst_error(lambda x: together(layer(x)), [x])
    with gru_cell.replaced_vjp("h", lambda g, h: g * 0.5):
        wrong = worst_error(lambda x: together(layer(x)), [x])
    assert right < 1e-13
    assert wrong > 1e-3


@every_kind
def test_float32_stays_float32(kind: Any, rng: np.random.Generator) -> None:
    layer = kind(D, H, 2, bidirectional=True)
    x = Tensor(rng.standard_normal((B, T, D)).astype(np.float32), requires_grad=True)
    outputs, final = layer(x, lengths=LENGTHS)
    assert {t.dtype for t in (outputs, *parts(final))} == {np.dtype(np.float32)}
    together((outputs, final)).sum().backward()
    assert x.grad.dtype == np.float32
    assert all(p.grad.dtype == np.float32 for p in layer.parameters())


# ── sequences of different lengths ───────────────────────────────────────────────────────────────


@every_kind
def test_padding_is_never_looked_at(kind: Any, rng: np.random.Generator) -> None:
    layer, clean = made(kind, D, H, 2, bidirectional=True), rng.standard_normal((B, T, D))
    dirty = clean.copy()
    for b, length in enumerate(LENGTHS):
        dirty[b, length:] = np.nan
    results, gradients = [], []
    for array in (clean, dirty):
        x = Tensor(array, requires_grad=True)
        layer.zero_grad()
        row = together(layer(x, lengths=LENGTHS))
        row.backward(np.cos(np.arange(row.size)))
        results.append(row.data)
        gradients.append([x.grad.data, *(p.grad.data for p in layer.parameters())])
    np.testing.assert_array_equal(*results)
    for first, second in zip(*gradients, strict=True):
        np.testing.assert_array_equal(first, second)
    for b, length in enumerate(LENGTHS):
        assert not gradients[1][0][b, length:].any()


@every_kind
def test_each_sequence_is_as_if_it_were_alone(kind: Any, rng: np.random.Generator) -> None:
    layer, x = made(kind, D, H, 2, bidirectional=True), rng.standard_normal((B, T, D))
    outputs, final = layer(x, lengths=LENGTHS)
    for b, length in enumerate(LENGTHS):
        alone, end = layer(x[b : b + 1, :length])
        np.testing.assert_allclose(outputs.data[b, :length], alone.data[0], rtol=1e-12)
        assert not outputs.data[b, length:].any()
        for part, other in zip(parts(final), parts(end), strict=True):
            np.testing.assert_allclose(part.data[:, b], other.data[:, 0], rtol=1e-12)


@every_kind
def test_full_lengths_change_nothing(kind: Any, rng: np.random.Generator) -> None:
    layer, x = made(kind, D, H, bidirectional=True), rng.standard_normal((B, T, D))
    for full in ([T] * B, np.full(B, T, np.int32), Tensor(np.full(B, T))):
        np.testing.assert_array_equal(
            together(layer(x, lengths=full)).data, together(layer(x)).data
        )


# ── sizes at the edge ────────────────────────────────────────────────────────────────────────────


@every_kind
@pytest.mark.parametrize(("batch", "time", "width"), [(0, 3, 2), (2, 0, 3), (2, 1, 1), (1, 3, 1)])
def test_sizes_at_the_edge(kind: Any, batch: int, time: int, width: int) -> None:
    layer = kind(D, width, 2, bidirectional=True)
    x = Tensor(np.ones((batch, time, D), np.float32), requires_grad=True)
    outputs, final = layer(x)
    assert outputs.shape == (batch, time, 2 * width)
    assert [part.shape for part in parts(final)] == [(4, batch, width)] * len(layer.state_names)
    outputs.sum().backward()
    assert x.grad.shape == x.shape
    assert all(p.grad.shape == p.shape for p in layer.parameters() if p.grad is not None)


@every_kind
def test_no_steps_hand_the_state_on(kind: Any, rng: np.random.Generator) -> None:
    layer = made(kind, D, H)
    starts = [Tensor(s, requires_grad=True) for s in some_state(layer, rng)]
    _, final = layer(np.zeros((B, 0, D)), as_state(starts))
    for part, start in zip(parts(final), starts, strict=True):
        np.testing.assert_array_equal(part.data, start.data)
        (part * 2).sum().backward()
        assert (start.grad.data == 2).all()


def test_a_long_sequence_needs_no_recursion() -> None:
    layer = nn.GRU(1, 2)
    x = Tensor(np.ones((1, 3_000, 1), np.float32), requires_grad=True)
    layer(x)[1].sum().backward()
    assert np.isfinite(x.grad.data).all()


# ── parameters ───────────────────────────────────────────────────────────────────────────────────


def test_parameters_have_pytorchs_names_order_and_shapes() -> None:
    shapes = {n: a.shape for n, a in nn.GRU(D, H, 2, bidirectional=True).state_dict().items()}
    assert list(shapes) == [
        f"{name}_l{layer}{suffix}"
        for layer in (0, 1)
        for suffix in ("", "_reverse")
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    assert shapes["weight_ih_l0_reverse"] == (3 * H, D)
    assert shapes["weight_ih_l1"] == (3 * H, 2 * H)
    assert shapes["weight_hh_l1_reverse"] == (3 * H, H)
    assert shapes["bias_hh_l0"] == (3 * H,)
    assert list(nn.LSTM(D, H, bias=False).state_dict()) == ["weight_ih_l0", "weight_hh_l0"]
    assert nn.LSTM(D, H).weight_hh_l0.shape == (4 * H, H)


@every_kind
def test_initial_values(kind: Any) -> None:
    layer = kind(3, 25, rng=np.random.default_rng(0))
    for array in layer.state_dict().values():
        assert 0.17 < abs(array).max() <= 0.2  # 1/√25
        assert abs(array.mean()) < 0.06
    again = kind(3, 25, rng=np.random.default_rng(0)).state_dict()
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, again[name])


def test_repr_says_what_is_not_as_usual() -> None:
    assert repr(nn.RNN(2, 3)) == "RNN(2, 3)"
    layer = nn.LSTM(2, 3, 2, bias=False, bidirectional=True, dropout=0.1)
    assert repr(layer) == "LSTM(2, 3, num_layers=2, bias=False, bidirectional=True, dropout=0.1)"
    assert repr(nn.RNN(2, 3, nonlinearity="relu")) == 'RNN(2, 3, nonlinearity="relu")'


# ── dropout ──────────────────────────────────────────────────────────────────────────────────────


@every_kind
def test_dropout_lies_between_layers_while_training(kind: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((B, T, D)).astype(np.float32)

    def run(layers: int, training: bool) -> list[Array]:
        layer = kind(D, H, layers, dropout=0.5, rng=np.random.default_rng(1)).train(training)
        return [layer(x)[0].data for _ in range(2)]

    first, second = run(2, True)
    assert (first != second).any()
    np.testing.assert_array_equal(first, run(2, True)[0])
    np.testing.assert_array_equal(*run(2, False))
    np.testing.assert_array_equal(*run(1, True))
