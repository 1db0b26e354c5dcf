"""Layers: values, every gradient, initial values, and what they say about wrong input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from derivatives import of_parameters, worst_error

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, IndexingError, ShapeError, Tensor, TensorError, nn

LAYERS = {
    "Linear": (lambda: nn.Linear(5, 3), (2, 7, 5)),
    "Linear, no bias, one vector": (lambda: nn.Linear(5, 3, bias=False), (5,)),
    "Linear, a matrix": (lambda: nn.Linear(5, 3), (7, 5)),
    "LayerNorm": (lambda: nn.LayerNorm(5), (2, 3, 5)),
    "LayerNorm, no bias": (lambda: nn.LayerNorm(5, eps=0.1, bias=False), (3, 5)),
    "RMSNorm": (lambda: nn.RMSNorm(5), (2, 3, 5)),
    "GELU": (lambda: nn.GELU(), (2, 3)),
    "GELU, tanh": (lambda: nn.GELU("tanh"), (2, 3)),
    "ReLU": (lambda: nn.ReLU(), (2, 3)),
    "Dropout": (lambda: nn.Dropout(0.5).eval(), (2, 3)),
}


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", LAYERS)
def test_every_gradient(name: str, order: int, rng: np.random.Generator) -> None:
    make, shape = LAYERS[name]
    layer = make().astype(np.float64)
    for parameter in layer.parameters():
        parameter.data = rng.standard_normal(parameter.shape)
    inputs: list[Tensor] = []
    by_weights, weights = of_parameters(layer, lambda: layer(inputs[-1]))

    def both(x: Tensor, *tensors: Tensor) -> Tensor:
        inputs.append(x)
        return ta.sin(by_weights(*tensors))  # so that second derivatives are not all 0

    assert worst_error(both, [rng.standard_normal(shape), *weights], order) < 1e-12


@pytest.mark.parametrize("order", [1, 2])
def test_gradient_of_the_embedding(order: int, rng: np.random.Generator) -> None:
    layer = nn.Embedding(5, 3).astype(np.float64)
    tokens = np.array([[0, 4, 4], [2, 4, 0]])
    f, weights = of_parameters(layer, lambda: ta.sin(layer(tokens)))
    assert worst_error(f, weights, order) < 1e-12


def test_values(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 5)).astype(np.float32)
    linear = nn.Linear(5, 7)
    expected = x @ linear.weight.data.T + linear.bias.data
    np.testing.assert_allclose(linear(x).data, expected, rtol=1e-5, atol=1e-6)
    normed = nn.LayerNorm(5)(x).data
    np.testing.assert_allclose(normed.mean(-1), 0, atol=1e-6)
    np.testing.assert_allclose(normed.var(-1), 1, rtol=1e-3)
    np.testing.assert_allclose((nn.RMSNorm(5)(x).data ** 2).mean(-1), 1, rtol=1e-4)
    table = nn.Embedding(7, 3)
    np.testing.assert_array_equal(table([[6, 0]]).data, table.weight.data[[[6, 0]]])


@pytest.mark.parametrize("layer", [nn.Linear(5, 3), nn.LayerNorm(5), nn.RMSNorm(5)], ids=repr)
def test_float32_stays_float32_and_empty_batches_pass(layer: nn.Module) -> None:
    assert layer(np.ones((2, 5), np.float32)).dtype == np.float32
    out = layer(np.ones((0, 2, 5), np.float32))
    assert out.shape == (0, 2, 3 if isinstance(layer, nn.Linear) else 5)
    out.sum().backward()
    assert not layer.weight.grad.data.any()


def test_lists_are_taken_as_constants() -> None:
    rows = [[1.0, 2.0, 4.0]]
    for layer in (nn.Linear(3, 2), nn.LayerNorm(3), nn.RMSNorm(3), nn.Dropout(0.0)):
        out = layer(rows)
        assert out.dtype == np.float32
        np.testing.assert_array_equal(out.data, layer(Tensor(rows)).data)
    layer = nn.MultiHeadAttention(3, 1)
    np.testing.assert_array_equal(layer([rows]).data, layer(Tensor([rows])).data)


def test_initial_values_follow_pytorchs_distributions() -> None:
    rng = np.random.default_rng(0)
    linear = nn.Linear(100, 200, rng=rng)
    for array in (linear.weight.data, linear.bias.data):
        assert 0.095 < abs(array).max() <= 0.1
        assert abs(array.std() - 0.1 / np.sqrt(3)) < 0.005
    assert abs(nn.Embedding(100, 50, rng=rng).weight.data.std() - 1) < 0.05
    attention = nn.MultiHeadAttention(50, 5, rng=rng)
    assert 0.97 < abs(attention.in_proj_weight.data).max() / np.sqrt(6 / 200) <= 1
    assert not attention.in_proj_bias.data.any()
    assert not attention.out_proj.bias.data.any()


def test_initial_values_are_the_same_in_either_dtype() -> None:
    narrow = nn.Linear(3, 2, rng=np.random.default_rng(4))
    with ta.default_dtype(np.float64):
        wide = nn.Linear(3, 2, rng=np.random.default_rng(4))
    np.testing.assert_array_equal(narrow.weight.data, wide.weight.data.astype(np.float32))


def test_seed_repeats_initial_values_and_dropout() -> None:
    def run() -> tuple[np.ndarray, np.ndarray]:
        ta.seed(3)
        return nn.Linear(3, 2).weight.data, nn.Dropout(0.5)(Tensor(np.ones((4, 5)))).data

    for first, second in zip(run(), run(), strict=True):
        np.testing.assert_array_equal(first, second)
    ta.seed(4)
    assert (nn.Linear(3, 2).weight.data != run()[0]).any()


@pytest.mark.parametrize("wrong", [-1, 1.5, "a", True, None])
def test_seed_takes_integers(wrong: object) -> None:
    with pytest.raises(DTypeError, match="seed: expected an integer of 0 or more"):
        ta.seed(wrong)


def test_a_generator_is_no_bare_seed() -> None:
    with pytest.raises(DTypeError, match=r"got int; np.random.default_rng\(0\)"):
        nn.Linear(2, 3, rng=0)


# ── dropout ──────────────────────────────────────────────────────────────────────────────────────


def test_dropout_keeps_the_mean_and_passes_gradients_where_it_passed_values() -> None:
    layer = nn.Dropout(0.25, rng=np.random.default_rng(0))
    x = Tensor(np.ones((50, 40), np.float32), requires_grad=True)
    out = layer(x)
    assert out.dtype == np.float32
    assert set(np.unique(out.data)) == {0, np.float32(4 / 3)}
    assert abs(out.data.mean() - 1) < 0.05
    out.sum().backward()
    np.testing.assert_array_equal(x.grad.data, out.data)
    assert (layer(x).data != out.data).any()  # another mask each time


def test_dropout_does_nothing_in_evaluation_or_with_p_0() -> None:
    x = Tensor([1.0, 2.0])
    assert nn.Dropout(0.5).eval()(x) is x
    assert nn.Dropout(0.0)(x) is x


def test_dropout_with_a_given_mask_is_pure() -> None:
    x, mask = Tensor([1.0, 2.0, 3.0]), np.array([0.0, 2.0, 2.0], np.float32)
    np.testing.assert_array_equal(nn.functional.dropout(x, 0.5, mask=mask).data, [0, 4, 6])


# ── wrong input ──────────────────────────────────────────────────────────────────────────────────


def test_wrong_shapes() -> None:
    with pytest.raises(ShapeError, match=r"Linear: expected last axis 5, got shape \(2, 3\)"):
        nn.Linear(5, 2)(np.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"Linear: expected last axis 5, got shape \(\)"):
        nn.Linear(5, 2)(np.ones(()))
    with pytest.raises(ShapeError, match=r"LayerNorm: expected last axis 5, got shape \(2, 1\)"):
        nn.LayerNorm(5)(np.ones((2, 1)))
    with pytest.raises(ShapeError, match=r"RMSNorm: expected last axis 5, got shape \(5, 2\)"):
        nn.RMSNorm(5)(np.ones((5, 2)))


@pytest.mark.parametrize("tokens", [[0, 5], [-1, 0], np.array([7])])
def test_tokens_outside_the_table(tokens: object) -> None:
    with pytest.raises(IndexingError, match=r"Embedding: tokens must lie in \[0, 5\), got -?\d … "):
        nn.Embedding(5, 2)(tokens)


def test_tokens_must_be_integers() -> None:
    with pytest.raises(DTypeError, match="Embedding: tokens must be an array of integers, got"):
        nn.Embedding(5, 2)(np.array([1.0]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(0, 2),
        lambda: nn.Linear(2, -1),
        lambda: nn.Linear(2.0, 2),
        lambda: nn.Embedding(0, 2),
        lambda: nn.LayerNorm(0),
        lambda: nn.RMSNorm(-3),
    ],
)
def test_sizes_are_positive_integers(make: object) -> None:
    with pytest.raises(ShapeError, match="must be an integer of 1 or more"):
        make()


@pytest.mark.parametrize("p", [-0.1, 1.0, 2])
def test_probabilities(p: float) -> None:
    for make in (
        nn.Dropout,
        lambda p: nn.MultiHeadAttention(4, 2, dropout=p),
        lambda p: nn.functional.dropout(Tensor([1.0]), p),
    ):
        with pytest.raises(ShapeError, match=r"must lie in \[0, 1\)"):
            make(p)


# ── wrong arguments: whatever comes, the error is one of ours ────────────────────────────────────

WRONG = [
    None,
    "text",
    -1,
    1.5,
    np.nan,
    10**30,
    1j,
    True,
    [],
    [[1], [1, 2]],
    {},
    object(),
    np.float64,
    np.array([1, 2]),
    np.ones((2, 3)),
    np.full((2, 3), np.nan),
    np.array([["a", None]], object),
    Tensor(np.ones((2, 3)), requires_grad=True),
    nn.Mask.causal(),
]
X, M = (np.random.default_rng(0).standard_normal(shape) for shape in ((2, 3, 8), (2, 5, 8)))
HEADS = np.ones((2, 2, 3, 4))
RIGHT: dict[str, tuple[Any, dict[str, Any]]] = {
    "Linear()": (nn.Linear, {"d_in": 3, "d_out": 2, "bias": True, "rng": None}),
    "Embedding()": (nn.Embedding, {"num_embeddings": 3, "d": 2, "rng": None}),
    "LayerNorm()": (nn.LayerNorm, {"d": 3, "eps": 1e-5, "bias": True}),
    "RMSNorm()": (nn.RMSNorm, {"d": 3, "eps": 1e-5}),
    "Dropout()": (nn.Dropout, {"p": 0.5, "rng": None}),
    "ModuleList()": (nn.ModuleList, {"modules": ()}),
    "KVCache()": (nn.KVCache, {"capacity": 3}),
    "RotaryPositions()": (nn.RotaryPositions, {"d_head": 2, "base": 10.0, "interleaved": True}),
    "RNN()": (
        nn.RNN,
        {"d_in": 3, "d_hidden": 2, "nonlinearity": "tanh", "bias": True, "bidirectional": True},
    ),
    "MultiHeadAttention()": (
        nn.MultiHeadAttention,
        {"d_model": 8, "num_heads": 2, "num_kv_heads": 1, "kdim": 3, "bias": True, "dropout": 0.5},
    ),
    "TransformerDecoderLayer()": (
        nn.TransformerDecoderLayer,
        {"d_model": 8, "num_heads": 2, "d_ff": 3, "activation": "relu", "norm_first": True},
    ),
    "Linear": (nn.Linear(8, 3), {"x": X}),
    "LayerNorm": (nn.LayerNorm(8), {"x": X}),
    "Dropout": (nn.Dropout(0.5), {"x": X}),
    "Embedding": (nn.Embedding(5, 3), {"tokens": [[0, 4]]}),
    "GRU": (nn.GRU(8, 3), {"x": X, "state": None, "lengths": [3, 2]}),
    "MultiHeadAttention": (
        nn.MultiHeadAttention(8, 2),
        {
            "x": X,
            "keys": M,
            "values": M,
            "mask": None,
            "causal": True,
            "offset": 1,
            "cache": None,
            "method": "auto",
            "return_weights": False,
            "return_stages": False,
        },
    ),
    "MultiHeadAttention, ALiBi": (
        nn.MultiHeadAttention(8, 2, positions=nn.AlibiBias(2)),
        {"x": X, "mask": None, "offset": 1},
    ),
    "TransformerEncoderLayer": (
        nn.TransformerEncoderLayer(8, 2, 3),
        {"x": X, "mask": None, "causal": True, "cache": None, "return_weights": True},
    ),
    "TransformerDecoderLayer": (
        nn.TransformerDecoderLayer(8, 2, 3),
        {"x": X, "memory": M, "mask": None, "memory_mask": None, "cache": None},
    ),
    "KVCache": (nn.KVCache().append, {"k": HEADS, "v": HEADS}),
    "load_state_dict": (nn.Linear(3, 2).load_state_dict, {"state": nn.Linear(3, 2).state_dict()}),
    "astype": (nn.Linear(3, 2).astype, {"dtype": np.float64}),
}


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of NaN and ∞ that are let in
def test_a_wrong_argument_is_refused_by_an_error_of_ours(name: str) -> None:
    """Or taken; never an error of NumPy's or an AttributeError from inside."""
    function, right = RIGHT[name]
    function(**right)
    for argument in right:
        messages = []
        for wrong in WRONG:
            try:
                function(**{**right, argument: wrong})
            except TensorError as error:
                messages.append(str(error))
        assert len(messages) >= 5, f"{argument} takes nearly anything"
        assert max(map(len, messages)) < 600


def test_an_argument_in_a_wrong_place_is_seen(rng: np.random.Generator) -> None:
    with pytest.raises(DTypeError, match="Linear: bias must be True or False, got Generator"):
        nn.Linear(3, 2, rng)
    with pytest.raises(DTypeError, match=r"requires_grad: expected .*; a dtype is given by name"):
        Tensor([1.0], np.float64)
