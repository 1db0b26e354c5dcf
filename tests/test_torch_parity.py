"""The same weights in PyTorch and here: results and every gradient, float64, to 1e-10.

Weights travel by `load_state_dict`, so names and layouts are compared as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from tinygrad_attn import Tensor, nn, optim
from tinygrad_attn.models import GPT, GPTConfig
from tinygrad_attn.nn import functional

pytestmark = pytest.mark.torch
TOLERANCE = 1e-10
B, T, S, D = 2, 3, 5, 6
KEEP = np.array([[1, 1, 0, 1, 0], [1, 0, 1, 1, 1], [0, 1, 1, 0, 1]], bool)


@pytest.fixture(scope="module")
def torch() -> Any:
    import torch

    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    yield torch
    torch.set_default_dtype(torch.float32)


def close(ours: Any, theirs: Any) -> None:
    """One shape, and nowhere further apart than the tolerance."""
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(
        ours.data if isinstance(ours, Tensor) else ours, theirs, rtol=TOLERANCE, atol=TOLERANCE
    )


def tensors(torch: Any, layer: nn.Module, **options: Any) -> dict[str, Any]:
    """A layer's state as PyTorch's tensors."""
    return {name: torch.tensor(array, **options) for name, array in layer.state_dict().items()}


def compare(
    torch: Any,
    ours: Callable[..., Tensor],
    theirs: Callable[..., Any],
    arrays: Sequence[np.ndarray],
    layer: nn.Module | None = None,
    twin: Any = None,
) -> None:
    """Results, and gradients of all arrays and all parameters along a random upstream gradient."""
    if layer is not None:
        rng = np.random.default_rng(7)
        layer.astype(np.float64)
        for parameter in layer.parameters():
            parameter.data = rng.standard_normal(parameter.shape)
        twin.load_state_dict(tensors(torch, layer))
    here = [Tensor(x, requires_grad=True) for x in arrays]
    there = [torch.tensor(x, requires_grad=True) for x in arrays]
    out, expected = ours(*here), theirs(*there)
    close(out, expected)
    g = np.random.default_rng(8).standard_normal(out.shape)
    out.backward(g)
    expected.backward(torch.tensor(g))
    for mine, other in zip(here, there, strict=True):
        close(mine.grad, other.grad)
    if layer is not None:
        parameters = dict(twin.named_parameters())
        assert list(parameters) == [name for name, _ in layer.named_parameters()]
        for name, parameter in layer.named_parameters():
            close(parameter.grad, parameters[name].grad)


# ── layers ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5)])
def test_linear(torch: Any, bias: bool, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    layer, twin = nn.Linear(5, 7, bias), torch.nn.Linear(5, 7, bias)
    compare(torch, layer, twin, [rng.standard_normal(shape)], layer, twin)


def test_embedding(torch: Any) -> None:
    layer, twin = nn.Embedding(7, 3), torch.nn.Embedding(7, 3)
    tokens = np.array([[0, 6, 6], [2, 0, 6]])
    compare(torch, lambda: layer(tokens), lambda: twin(torch.tensor(tokens)), [], layer, twin)


@pytest.mark.parametrize("bias", [True, False])
def test_layer_norm(torch: Any, bias: bool, rng: np.random.Generator) -> None:
    layer, twin = nn.LayerNorm(5, 1e-3, bias), torch.nn.LayerNorm(5, 1e-3, bias=bias)
    compare(torch, layer, twin, [rng.standard_normal((2, 3, 5))], layer, twin)


def test_rms_norm(torch: Any, rng: np.random.Generator) -> None:
    layer, twin = nn.RMSNorm(5, 1e-3), torch.nn.RMSNorm(5, 1e-3)
    compare(torch, layer, twin, [rng.standard_normal((2, 3, 5))], layer, twin)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_a_chain(torch: Any, approximate: str, rng: np.random.Generator) -> None:
    layer = nn.Sequential(nn.Linear(5, 7), nn.GELU(approximate), nn.ReLU(), nn.Linear(7, 2))
    twin = torch.nn.Sequential(
        torch.nn.Linear(5, 7), torch.nn.GELU(approximate), torch.nn.ReLU(), torch.nn.Linear(7, 2)
    )
    compare(torch, layer, twin, [rng.standard_normal((3, 5))], layer, twin)


# ── attention ────────────────────────────────────────────────────────────────────────────────────

CALLS = {
    "self": (1, {}, {}),
    "self, causal": (1, {}, {"causal": True}),
    "self, without bias": (1, {"bias": False}, {}),
    "cross": (2, {}, {}),
    "cross, boolean mask": (2, {}, {"mask": KEEP}),
    "cross, additive mask": (2, {}, {"mask": np.where(KEEP, 0.3, -np.inf)}),
    "cross, mask for each batch": (2, {}, {"mask": np.stack([KEEP, KEEP[::-1]])}),
    "cross, mask for each head": (
        2,
        {},
        {"mask": np.stack([KEEP, KEEP[::-1]] * 2).reshape(2, 2, T, S)},
    ),
    "cross, padding": (2, {}, {"mask": KEEP[:2, None]}),
    "keys and values apart": (3, {}, {}),
    "kdim and vdim": (3, {"kdim": 7, "vdim": 4}, {"mask": KEEP}),
    "kdim alone": (3, {"kdim": 7, "bias": False}, {}),
}


def their_mask(torch: Any, mask: np.ndarray | None, causal: bool) -> dict[str, Any]:
    """Our mask in PyTorch's terms, where True means "must not attend"."""
    if causal:
        return {"attn_mask": torch.tensor(~np.tri(T, dtype=bool))}
    if mask is None:
        return {}
    if mask.shape == (B, 1, S):
        return {"key_padding_mask": torch.tensor(~mask[:, 0])}
    if mask.ndim > 2:
        mask = np.broadcast_to(mask[:, None] if mask.ndim == 3 else mask, (B, 2, T, S))
        mask = mask.reshape(2 * B, T, S)
    return {"attn_mask": torch.tensor(~mask if mask.dtype == bool else mask)}


@pytest.mark.parametrize("name", CALLS)
def test_multi_head_attention(torch: Any, name: str, rng: np.random.Generator) -> None:
    inputs, options, call = CALLS[name]
    layer = nn.MultiHeadAttention(D, 2, **options)
    twin = torch.nn.MultiheadAttention(D, 2, batch_first=True, **options)
    shapes = [(B, T, D), (B, S, options.get("kdim", D)), (B, S, options.get("vdim", D))][:inputs]
    theirs = their_mask(torch, call.get("mask"), call.get("causal", False))
    weights: list[Any] = []

    def ours(*xs: Tensor) -> Tensor:
        out, mine = layer(*xs, **call, return_weights=True)
        weights.append(mine)
        return out

    def peer(x: Any, keys: Any = None, values: Any = None) -> Any:
        keys = x if keys is None else keys
        out, other = twin(
            x, keys, keys if values is None else values, average_attn_weights=False, **theirs
        )
        weights.append(other)
        return out

    compare(torch, ours, peer, [rng.standard_normal(shape) for shape in shapes], layer, twin)
    close(*weights)


@pytest.mark.parametrize("name", ["plain", "boolean", "additive", "causal", "scale", "grouped"])
def test_scaled_dot_product_attention(torch: Any, name: str, rng: np.random.Generator) -> None:
    ours, theirs = {
        "plain": ({}, {}),
        "boolean": ({"mask": KEEP}, {"attn_mask": torch.tensor(KEEP)}),
        "additive": ({"mask": KEEP / 3}, {"attn_mask": torch.tensor(KEEP / 3)}),
        "causal": ({"causal": True}, {"is_causal": True}),
        "scale": ({"scale": 0.3}, {"scale": 0.3}),
        "grouped": ({"causal": True}, {"is_causal": True, "enable_gqa": True}),
    }[name]
    heads = 2 if name == "grouped" else 4
    shapes = ((B, 4, T, 7), (B, heads, S, 7), (B, heads, S, 3))
    peer = torch.nn.functional.scaled_dot_product_attention
    compare(
        torch,
        lambda *x: functional.attention(*x, **ours),
        lambda *x: peer(*x, **theirs),
        [rng.standard_normal(shape) for shape in shapes],
    )


def test_a_row_with_no_key_is_where_they_differ(torch: Any, rng: np.random.Generator) -> None:
    """PyTorch's layer answers with NaN (pytorch#41508); here the row is zero, the rest equal."""
    layer = nn.MultiHeadAttention(D, 2).astype(np.float64)
    twin = torch.nn.MultiheadAttention(D, 2, batch_first=True)
    twin.load_state_dict(tensors(torch, layer))
    x, keep = rng.standard_normal((B, T, D)), np.ones((T, T), bool)
    keep[1] = False
    out = layer(x, mask=keep).data
    expected = twin(*[torch.tensor(x)] * 3, attn_mask=torch.tensor(~keep))[0].detach().numpy()
    assert np.isnan(expected[:, 1]).all()
    np.testing.assert_array_equal(out[:, 1], np.broadcast_to(layer.out_proj.bias.data, (B, D)))
    np.testing.assert_allclose(out[:, ::2], expected[:, ::2], rtol=TOLERANCE, atol=TOLERANCE)


# ── losses ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("ignored", [-100, 2])
def test_cross_entropy(
    torch: Any, reduction: str, smoothing: float, ignored: int, rng: np.random.Generator
) -> None:
    targets = np.array([0, 2, 4, 4, 1, 2, 3])
    targets[3] = ignored
    options = {"ignore_index": ignored, "label_smoothing": smoothing, "reduction": reduction}
    peer = torch.nn.functional.cross_entropy
    compare(
        torch,
        lambda x: functional.cross_entropy(x, targets, **options),
        lambda x: peer(x, torch.tensor(targets), **options),
        [rng.standard_normal((7, 5))],
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_mse(torch: Any, reduction: str, rng: np.random.Generator) -> None:
    peer = torch.nn.functional.mse_loss
    compare(
        torch,
        lambda *x: functional.mse_loss(*x, reduction=reduction),
        lambda *x: peer(*x, reduction=reduction),
        list(rng.standard_normal((2, 3, 5))),
    )


# ── optimisers ───────────────────────────────────────────────────────────────────────────────────

OPTIMIZERS = {
    "SGD": {"lr": 0.1},
    "SGD, momentum": {"lr": 0.1, "momentum": 0.9},
    "SGD, momentum and decay": {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1},
    "Adam": {},
    "Adam, decay": {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1},
    "AdamW": {"lr": 0.1},
    "AdamW, no decay": {"lr": 0.1, "weight_decay": 0.0},
    "AdamW, decay": {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.3},
}


@pytest.mark.parametrize("max_norm", [None, 0.5])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_trajectories(
    torch: Any, name: str, max_norm: float | None, rng: np.random.Generator
) -> None:
    """Twenty steps in a valley whose sides differ, in two groups with rates of their own."""
    kind, options = name.split(",")[0], OPTIMIZERS[name]
    start, steepness = rng.standard_normal((2, 3, 5)), np.exp(rng.standard_normal((2, 3, 5)))
    here = [Tensor(x, requires_grad=True) for x in start]
    there = [torch.tensor(x, requires_grad=True) for x in start]
    mine, theirs = (
        getattr(module, kind)([{"params": [p[0]]}, {"params": [p[1]], "lr": 0.03}], **options)
        for module, p in ((optim, here), (torch.optim, there))
    )
    for _ in range(20):
        for params, optimizer in ((here, mine), (there, theirs)):
            optimizer.zero_grad()
            for p, k in zip(params, steepness, strict=True):
                (p * p * (torch.tensor(k) if params is there else k)).sum().backward()
        if max_norm is not None:
            norm = torch.nn.utils.clip_grad_norm_(there, max_norm)
            assert optim.clip_grad_norm(here, max_norm) == pytest.approx(norm.item(), rel=TOLERANCE)
            for p, q in zip(here, there, strict=True):
                close(p.grad, q.grad)
        mine.step()
        theirs.step()
        for p, q in zip(here, there, strict=True):
            close(p, q)


# ── a whole model ────────────────────────────────────────────────────────────────────────────────


def test_gpt(torch: Any, rng: np.random.Generator) -> None:
    """A GPT-2 written with PyTorch's layers: loss and the gradient of every parameter."""
    config = GPTConfig(vocab_size=7, max_length=5, num_layers=2, num_heads=2, d_model=6)
    model, tokens, targets = GPT(config).astype(np.float64), *rng.integers(0, 7, (2, 3, 5))
    for parameter in model.parameters():
        parameter.data = rng.standard_normal(parameter.shape) / 2
    w = tensors(torch, model, requires_grad=True)
    F = torch.nn.functional

    def norm(x: Any, name: str) -> Any:
        return F.layer_norm(x, (6,), w[f"{name}.weight"], w[f"{name}.bias"])

    def linear(x: Any, name: str) -> Any:
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    x = w["wte.weight"][torch.tensor(tokens)] + w["wpe.weight"]
    for block in ("blocks.0", "blocks.1"):
        qkv = F.linear(
            norm(x, f"{block}.ln_1"),
            w[f"{block}.attn.in_proj_weight"],
            w[f"{block}.attn.in_proj_bias"],
        )
        q, k, v = qkv.reshape(3, 5, 3, 2, 3).permute(2, 0, 3, 1, 4)
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + linear(heads.transpose(1, 2).reshape(3, 5, 6), f"{block}.attn.out_proj")
        inside = F.gelu(linear(norm(x, f"{block}.ln_2"), f"{block}.mlp.up"), approximate="tanh")
        x = x + linear(inside, f"{block}.mlp.down")
    logits = norm(x, "ln_f") @ w["wte.weight"].T
    expected = F.cross_entropy(logits.reshape(15, 7), torch.tensor(targets).reshape(15))
    expected.backward()
    loss = model.loss(tokens, targets)
    close(loss, expected)
    loss.backward()
    for name, parameter in model.named_parameters():
        close(parameter.grad, w[name].grad)
