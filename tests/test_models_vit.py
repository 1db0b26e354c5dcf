"""Vision Transformer: patches, gradients, weights, learning, and wrong input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from derivatives import of_parameters, worst_error

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, IndexingError, ShapeError, Tensor, optim
from tinygrad_attn.models import ViT, ViTConfig

CONFIG = ViTConfig(
    image_size=6, patch_size=2, num_classes=5, num_layers=2, num_heads=2, d_model=4, d_ff=7
)


def tiny(**changes: Any) -> ViT:
    return ViT(ViTConfig(**{**vars(CONFIG), **changes}), rng=np.random.default_rng(0)).eval()


# ── patches ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("channels", [1, 3])
def test_patches_are_squares_row_by_row(channels: int, rng: np.random.Generator) -> None:
    images = rng.standard_normal((2, channels, 6, 6))
    patches = tiny(channels=channels).patches(images)
    assert patches.shape == (2, 9, channels * 4)
    for row in range(3):
        for column in range(3):
            square = images[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            np.testing.assert_array_equal(patches[:, 3 * row + column], square.reshape(2, -1))


def test_grey_images_need_no_channel_axis(rng: np.random.Generator) -> None:
    model, images = tiny(), rng.standard_normal((3, 6, 6)).astype(np.float32)
    np.testing.assert_array_equal(model(images).data, model(images[:, None]).data)
    np.testing.assert_array_equal(model(images.tolist()).data, model(images).data)
    assert model(images).dtype == np.float32


def test_one_patch_and_no_image(rng: np.random.Generator) -> None:
    model = tiny(patch_size=6)
    assert model.config.num_patches == 1
    assert model(rng.standard_normal((2, 6, 6))).shape == (2, 5)
    assert tiny()(np.ones((0, 6, 6))).shape == (0, 5)


# ── the model ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("order", [1, 2])
def test_every_gradient(order: int, rng: np.random.Generator) -> None:
    model = tiny(image_size=2, patch_size=1, num_classes=3, num_layers=1, d_model=2, d_ff=2).astype(
        np.float64
    )
    for parameter in model.parameters():
        parameter.data = rng.standard_normal(parameter.shape) / 2
    images, labels = rng.standard_normal((2, 2, 2)), np.array([2, 0])
    f, weights = of_parameters(model, lambda: model.loss(images, labels))
    assert worst_error(f, weights, order) < 1e-12
    assert worst_error(lambda x: ta.sin(model(x)), [images], order) < 1e-12


def test_weights_of_every_layer_and_head(rng: np.random.Generator) -> None:
    model, images = tiny().astype(np.float64), rng.standard_normal((3, 6, 6))
    logits, weights = model(images, return_weights=True)
    np.testing.assert_allclose(logits.data, model(images).data, rtol=1e-10)
    assert [w.shape for w in weights] == [(3, 2, 10, 10)] * 2
    for w in weights:
        np.testing.assert_allclose(w.data.sum(-1), 1, rtol=1e-5)
        w.retain_grad()
    logits.backward(rng.standard_normal(logits.shape))
    assert not weights[1].grad.data[:, :, 1:].any()  # only the class token is looked at
    assert weights[1].grad.data[:, :, 0].all()
    assert weights[0].grad.data.any(-1).all()


def test_positions_matter(rng: np.random.Generator) -> None:
    """Without positions the patches are a set; with them their order is seen."""
    model, images = tiny(), rng.standard_normal((3, 6, 6))
    turned = images[:, :, [2, 3, 0, 1, 4, 5]]
    assert (model(images).data != model(turned).data).all()
    model.pos_embed.weight.data = np.zeros((10, 4))
    np.testing.assert_allclose(model(images).data, model(turned).data, rtol=1e-5, atol=1e-6)


def test_loss_is_the_mean_cross_entropy(rng: np.random.Generator) -> None:
    model, images = tiny().astype(np.float64), rng.standard_normal((3, 6, 6))
    logits = model(images).data
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = log_p[[0, 1, 2], [4, 0, 2]].mean()
    assert abs(model.loss(images, [4, 0, 2]).item() + expected) < 1e-12
    smooth = 0.8 * expected + 0.2 * log_p.mean()
    assert abs(model.loss(images, [4, 0, 2], label_smoothing=0.2).item() + smooth) < 1e-12


def test_each_image_is_alone(rng: np.random.Generator) -> None:
    model, images = tiny().astype(np.float64), rng.standard_normal((3, 6, 6))
    together = model(images).data
    for i in range(3):
        np.testing.assert_allclose(model(images[i : i + 1]).data[0], together[i], rtol=1e-11)


def test_it_learns_to_find_the_patch_that_matters() -> None:
    rng = np.random.default_rng(0)
    model = ViT(ViTConfig(6, 2, 3, 1, 2, 16, 16), rng=np.random.default_rng(1))
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(50):
        loss = model.loss(*patterns(rng, 32))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    images, labels = patterns(rng, 100)
    assert (model.predict(images) == labels).mean() > 0.95


def patterns(rng: np.random.Generator, count: int) -> tuple[Any, Any]:
    """Noise with one patch in which a row, a column or a diagonal stands out, and which."""
    kinds = np.array([[[1, 1], [-1, -1]], [[1, -1], [1, -1]], [[1, -1], [-1, 1]]])
    images, labels = rng.normal(0, 0.1, (count, 6, 6)), rng.integers(0, 3, count)
    for image, label in zip(images, labels, strict=True):
        row, column = 2 * rng.integers(0, 3, 2)
        image[row : row + 2, column : column + 2] += kinds[label]
    return images.astype(np.float32), labels


def test_predictions_are_the_largest_logits_without_dropout(rng: np.random.Generator) -> None:
    model, images = tiny(dropout=0.5).train(), rng.standard_normal((7, 6, 6)).astype(np.float32)
    assert (model(images).data != model(images).data).any()
    classes = model.predict(images)
    assert model.training
    np.testing.assert_array_equal(classes, model.eval()(images).data.argmax(-1))


def test_names_and_initial_values() -> None:
    model = tiny(d_model=64, image_size=12)
    state = model.state_dict()
    assert {
        "cls_token",
        "pos_embed.weight",
        "patch_embed.weight",
        "blocks.1.norm2.bias",
        "blocks.0.self_attn.in_proj_weight",
        "norm.weight",
        "head.bias",
    } < set(state)
    assert state["pos_embed.weight"].shape == (37, 64)
    assert abs(state["pos_embed.weight"].std() / 0.02 - 1) < 0.1
    assert abs(state["cls_token"].std() / 0.02 - 1) < 0.3
    assert all(block.norm_first for block in model.blocks)


# ── wrong input ──────────────────────────────────────────────────────────────────────────────────


def test_wrong_images() -> None:
    model = tiny()
    for shape in ((6, 6), (2, 6, 5), (2, 3, 6, 6), (2, 6, 6, 1)):
        wanted = r"ViT: expected images \(B, 1, 6, 6\) or \(B, 6, 6\), got \("
        with pytest.raises(ShapeError, match=wanted):
            model(np.ones(shape))
    with pytest.raises(ShapeError, match="inhomogeneous"):
        model([[1.0, 2.0], [3.0]])
    with pytest.raises(ShapeError, match=r"ViT: expected images \(B, 3, 6, 6\), got \(2, 6, 6\)"):
        tiny(channels=3)(np.ones((2, 6, 6)))
    with pytest.raises(DTypeError, match="ViT: expected floating images, got uint8"):
        model(np.ones((2, 6, 6), np.uint8))
    with pytest.raises(IndexingError, match=r"targets must lie in \[0, 5\), got 1 … 5"):
        model.loss(Tensor(np.ones((2, 6, 6))), [1, 5])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": 4}, "patch_size must divide image_size, got 4 and 6"),
        ({"num_heads": 3}, "num_heads must divide d_model, got 3 and 4"),
        ({"eps": -1e-6}, "eps must be 0 or more, got -1e-06"),
        ({"channels": 0}, "channels must be an integer of 1 or more, got 0"),
        ({"activation": "step"}, "activation must be one of .* got 'step'"),
        ({"dropout": 1}, r"dropping must lie in \[0, 1\), got 1"),
    ],
)
def test_wrong_sizes(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=f"ViTConfig: .*{message}"):
        tiny(**changes)
