"""MultiHeadAttention: every gradient, masks, stages, and wrong input."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from derivatives import of_parameters, worst_error

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, ShapeError, Tensor, nn

STAGES = [field.name for field in fields(nn.Stages)]
X, M, V = (
    np.random.default_rng(2).standard_normal(shape) for shape in ((2, 3, 6), (2, 5, 6), (2, 5, 6))
)
WIDE, FAR = (np.random.default_rng(2).standard_normal(shape) for shape in ((2, 5, 7), (2, 5, 3)))
CALLS = {
    "self": ({}, [X], {}),
    "self, causal": ({}, [X], {"causal": True}),
    "self, no bias": ({"bias": False}, [X], {}),
    "cross": ({}, [X, M], {"mask": np.tri(3, 5, 2, bool)}),
    "cross, values of their own": ({}, [X, M, V], {}),
    "kdim and vdim": ({"kdim": 7, "vdim": 3}, [X, WIDE, FAR], {"causal": True, "offset": 2}),
    "grouped": ({"num_kv_heads": 1}, [X], {"causal": True}),
    "grouped, cross": ({"num_kv_heads": 1, "kdim": 7, "vdim": 7}, [X, WIDE], {}),
}


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", CALLS)
def test_every_gradient_of_the_layer(name: str, order: int, rng: np.random.Generator) -> None:
    options, inputs, call = CALLS[name]
    layer = nn.MultiHeadAttention(6, 2, **options).astype(np.float64)
    for parameter in layer.parameters():
        parameter.data = rng.standard_normal(parameter.shape) / 2
    current: list[Tensor] = []
    by_weights, weights = of_parameters(layer, lambda: layer(*current, **call))

    def function(*tensors: Tensor) -> Tensor:
        current[:] = tensors[: len(inputs)]
        return by_weights(*tensors[len(inputs) :])

    assert worst_error(function, [*inputs, *weights], order) < 1e-12


def test_masks_of_every_rank_mean_may_attend(rng: np.random.Generator) -> None:
    layer = nn.MultiHeadAttention(6, 2).astype(np.float64)
    keep = np.tri(3, 5, 1, bool)
    expected = layer(X, M, mask=keep)
    same, weights = layer(X, M, mask=keep, return_weights=True)
    np.testing.assert_allclose(same.data, expected.data, rtol=1e-12, atol=1e-14)
    assert weights.shape == (2, 2, 3, 5)
    assert not weights.data[:, :, ~keep].any()
    assert (weights.data[:, :, keep] > 0).all()
    added = np.where(keep, 0, -np.inf)
    for mask in (
        keep[None],
        np.stack([keep, keep]),
        np.broadcast_to(keep, (2, 2, 3, 5)),
        Tensor(keep),
        added,
        added.astype(np.float32)[None],
    ):
        np.testing.assert_array_equal(layer(X, M, mask=mask).data, expected.data)
    padding = np.array([[True] * 5, [True, True, False, False, False]])[:, None]  # (B, 1, S)
    _, weights = layer(X, M, mask=padding, return_weights=True)
    assert not weights.data[1, :, :, 2:].any()
    assert (weights.data[0] > 0).all()


def test_causal_attention_does_not_see_the_future(rng: np.random.Generator) -> None:
    layer = nn.MultiHeadAttention(6, 2).astype(np.float64)
    before, changed = layer(X, causal=True), X.copy()
    changed[:, 2:] += 1
    after = layer(changed, causal=True)
    np.testing.assert_array_equal(before.data[:, :2], after.data[:, :2])
    assert (before.data[:, 2] != after.data[:, 2]).all()


def test_one_product_or_three_give_the_same(rng: np.random.Generator) -> None:
    packed = nn.MultiHeadAttention(6, 2, rng=rng).astype(np.float64)
    packed.in_proj_bias.data = rng.standard_normal(18)
    alone = packed(X, Tensor(X), Tensor(X))  # other objects: no shortcut
    np.testing.assert_allclose(packed(X).data, alone.data, rtol=1e-12)
    state = packed.state_dict()
    separate = nn.MultiHeadAttention(6, 2, kdim=6, vdim=7).astype(np.float64)
    assert list(separate.state_dict()) == [
        "q_proj_weight",
        "k_proj_weight",
        "v_proj_weight",
        "in_proj_bias",
        "out_proj.weight",
        "out_proj.bias",
    ]
    assert list(state) == ["in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"]
    w = state.pop("in_proj_weight").reshape(3, 6, 6)
    separate.load_state_dict(
        {
            **state,
            "q_proj_weight": w[0],
            "k_proj_weight": w[1],
            "v_proj_weight": np.pad(w[2], [(0, 0), (0, 1)]),
        }
    )
    np.testing.assert_allclose(
        separate(X, X, np.pad(X, [(0, 0), (0, 0), (0, 1)])).data, alone.data, rtol=1e-12
    )


def test_weights_drop_out_only_while_training() -> None:
    layer = nn.MultiHeadAttention(6, 2, dropout=0.5).astype(np.float64)
    assert (layer(X).data != layer(X).data).any()
    layer.eval()
    np.testing.assert_array_equal(layer(X).data, layer(X).data)


def test_stages_lie_on_the_way_of_the_output(rng: np.random.Generator) -> None:
    layer = nn.MultiHeadAttention(6, 2, rng=rng).astype(np.float64)
    x = Tensor(rng.standard_normal((2, 5, 6)), requires_grad=True)
    out, stages = layer(x, causal=True, return_stages=True)
    g = rng.standard_normal(out.shape)
    parts = ta.grad(out, [getattr(stages, name) for name in STAGES], g, retain_graph=True)
    out.backward(g)
    for name, part in zip(STAGES, parts, strict=True):
        stage = getattr(stages, name)
        assert stage.shape == part.shape
        np.testing.assert_array_equal(stage.grad.data, part.data)
    assert stages.output is out
    assert repr(stages).startswith("Stages(q=(2, 2, 5, 3), k=(2, 2, 5, 3), v=")


# ── wrong input ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([np.ones((2, 3, 5))], r"expected x \(B, T, 6\), got \(2, 3, 5\)"),
        ([np.ones((3, 6))], r"expected x \(B, T, 6\), got \(3, 6\)"),
        (
            [X, np.ones((1, 5, 6))],
            r"expected keys \(B, S, 6\), got \(1, 5, 6\) beside x \(2, 3, 6\)",
        ),
        ([X, M, M[:, :4]], "keys have 5 time steps but values have 4; they must match"),
        ([X, M, M[..., :4]], r"expected values \(B, S, 6\), got \(2, 5, 4\)"),
        ([X, M, M, np.ones((), bool)], r"expected a mask \(S\), .*, got \(\)"),
    ],
)
def test_wrong_input_of_the_layer(inputs: list, message: str) -> None:
    with pytest.raises(ShapeError, match=f"^MultiHeadAttention: .*{message}"):
        nn.MultiHeadAttention(6, 2)(*inputs)


@pytest.mark.parametrize("before", [[], [M]])
def test_a_mask_in_the_place_of_keys_or_values(before: list) -> None:
    with pytest.raises(DTypeError, match="keys and values come first; pass mask=…"):
        nn.MultiHeadAttention(6, 2)(X, *before, nn.Mask.causal())


def test_an_offset_for_each_sequence(rng: np.random.Generator) -> None:
    layer = nn.MultiHeadAttention(6, 2, rng=rng).astype(np.float64)
    out = layer(X, M, causal=True, offset=np.array([1, 2])).data
    for i, offset in enumerate((1, 2)):
        alone = layer(X[i : i + 1], M[i : i + 1], causal=True, offset=offset).data
        np.testing.assert_allclose(out[i], alone[0], rtol=1e-12)


@pytest.mark.parametrize("sizes", [{"num_heads": 4}, {"num_heads": 3, "num_kv_heads": 2}])
def test_heads_divide_the_width(sizes: dict) -> None:
    with pytest.raises(ShapeError, match="must divide d_model, and num_kv_heads num_heads"):
        nn.MultiHeadAttention(6, **sizes)
    with pytest.raises(ShapeError, match="num_kv_heads must be an integer of 1 or more, got 0"):
        nn.MultiHeadAttention(6, 2, num_kv_heads=0)
