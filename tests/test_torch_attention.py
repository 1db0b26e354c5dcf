"""Attention beside PyTorch's over random option sets: results and every gradient, to 1e-10."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygrad_attn import Tensor, nn
from tinygrad_attn.nn import Mask, functional

pytestmark = pytest.mark.torch
TOLERANCE = 1e-10
DRAWS = 150


@pytest.fixture(scope="module")
def torch() -> Any:
    import torch

    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    yield torch
    torch.set_default_dtype(torch.float32)


def close(draw: int, what: str, ours: np.ndarray, theirs: Any) -> None:
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape, (draw, what)
    np.testing.assert_allclose(
        ours, theirs, rtol=TOLERANCE, atol=TOLERANCE, err_msg=f"draw {draw}: {what}"
    )


def keeping(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Booleans with a key for every query: PyTorch's layer answers NaN where there is none."""
    keep = rng.random(shape) < 0.6
    keep[..., rng.integers(shape[-1])] = True
    return keep


def in_some_form(rng: np.random.Generator, keep: np.ndarray) -> Any:
    """What `keep` says, as one of the kinds of mask."""
    forms = [
        keep,
        np.where(keep, 0.0, -np.inf),
        Mask.keep(keep),
        Mask.block(~keep),
        Mask.additive(np.where(keep, 0.0, -np.inf)),
    ]
    return forms[rng.integers(len(forms))]


@pytest.mark.parametrize("method", ["definition", "fused", "tiled"])
def test_scaled_dot_product_attention(torch: Any, method: str) -> None:
    peer = torch.nn.functional.scaled_dot_product_attention
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        B, H, group, T, S, d, dv = (int(n) for n in rng.integers(1, 6, 7))
        shapes = ((B, H * group, T, d), (B, H, S, d), (B, H, S, dv))
        here = [Tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]
        there = [torch.tensor(x.data, requires_grad=True) for x in here]
        ours: dict[str, Any] = {"method": method}
        theirs: dict[str, Any] = {"enable_gqa": group > 1}
        if rng.random() < 0.5:
            ours["scale"] = theirs["scale"] = float(rng.uniform(0.1, 2))
        kind = rng.integers(5)
        lead = [(), (B, 1), (1, H * group), (B, H * group)][rng.integers(4)]
        if kind == 1:
            ours["causal"] = theirs["is_causal"] = True
        elif kind == 2:
            keep = keeping(rng, *lead, T, S)
            ours["mask"], theirs["attn_mask"] = in_some_form(rng, keep), torch.tensor(keep)
        elif kind > 2:  # a bias that is learned
            bias = Tensor(rng.standard_normal((*lead, T, S)), requires_grad=True)
            here.append(bias)
            there.append(torch.tensor(bias.data, requires_grad=True))
            ours["mask"] = bias if kind == 3 else Mask.additive(bias)
            theirs["attn_mask"] = there[-1]
        out, expected = functional.attention(*here[:3], **ours), peer(*there[:3], **theirs)
        g = rng.standard_normal(out.shape)
        out.backward(g)
        expected.backward(torch.tensor(g))
        close(draw, "result", out.data, expected)
        for name, mine, other in zip(("q", "k", "v", "mask"), here, there):
            close(draw, name, mine.grad.data, other.grad)


def drawn_layer(torch: Any, rng: np.random.Generator) -> tuple[nn.MultiHeadAttention, Any, int]:
    """A layer, its twin with the same weights, and how many inputs it is to get."""
    heads = int(rng.integers(1, 4))
    d_model = heads * int(rng.integers(1, 4))
    inputs = int(rng.integers(1, 4))
    options: dict[str, Any] = {"bias": bool(rng.random() < 0.6)}
    if inputs > 1 and rng.random() < 0.5:
        options["kdim"] = int(rng.integers(1, 6))
        options["vdim"] = options["kdim"] if inputs == 2 else int(rng.integers(1, 6))
    layer = nn.MultiHeadAttention(d_model, heads, **options).astype(np.float64)
    for parameter in layer.parameters():
        parameter.data = rng.standard_normal(parameter.shape)
    twin = torch.nn.MultiheadAttention(d_model, heads, batch_first=True, **options)
    twin.load_state_dict({name: torch.tensor(x) for name, x in layer.state_dict().items()})
    return layer, twin, inputs


def drawn_masks(
    torch: Any, rng: np.random.Generator, B: int, H: int, T: int, S: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A mask, causality or lengths, in our terms and in PyTorch's (True = must not attend)."""
    kind = rng.integers(6)
    if kind == 0:
        return {}, {}
    if kind == 1:
        return {"causal": True}, {"attn_mask": torch.tensor(~np.tri(T, S, dtype=bool))}
    if kind == 2:
        n = rng.integers(1, S + 1, B)
        return (
            {"mask": Mask.lengths(n)},
            {"key_padding_mask": torch.tensor(np.arange(S) >= n[:, None])},
        )
    if kind == 3:
        bias = rng.standard_normal((T, S))
        return {"mask": bias}, {"attn_mask": torch.tensor(bias)}
    lead = [(), (B,), (B, H)][rng.integers(3)]
    keep = keeping(rng, *lead, T, S)
    mine = {"mask": in_some_form(rng, keep)}
    wide = np.broadcast_to(keep[:, None] if len(lead) == 1 else keep, (B, H, T, S))
    theirs = keep if not lead else wide.reshape(B * H, T, S)
    if kind == 5 and not lead:
        n = np.full(B, S)
        return (
            {"mask": Mask.keep(keep) & Mask.lengths(n)},
            {
                "attn_mask": torch.tensor(~keep),
                "key_padding_mask": torch.tensor(np.arange(S) >= n[:, None]),
            },
        )
    return mine, {"attn_mask": torch.tensor(~theirs)}


def test_multi_head_attention(torch: Any) -> None:
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        layer, twin, inputs = drawn_layer(torch, rng)
        B, T, S = (int(n) for n in rng.integers(1, 6, 3))
        S = T if inputs == 1 else S
        shapes = [(B, T, twin.embed_dim), (B, S, twin.kdim), (B, S, twin.vdim)][:inputs]
        here = [Tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]
        there = [torch.tensor(x.data, requires_grad=True) for x in here]
        mine, theirs = drawn_masks(torch, rng, B, layer.num_heads, T, S)
        wanted, method = bool(rng.random() < 0.3), str(rng.choice(["auto", "tiled", "definition"]))
        found = layer(*here, **mine, method=method, return_weights=wanted)
        out, weights = found if wanted else (found, None)
        three = there + there[-1:] * (3 - inputs)
        expected, others = twin(*three, **theirs, need_weights=wanted, average_attn_weights=False)
        g = rng.standard_normal(out.shape)
        out.backward(g)
        expected.backward(torch.tensor(g))
        close(draw, "result", out.data, expected)
        if weights is not None:
            close(draw, "weights", weights.data, others)
        for i, (x, other) in enumerate(zip(here, there, strict=True)):
            close(draw, f"input {i}", x.grad.data, other.grad)
        gradients = {name: p.grad for name, p in twin.named_parameters()}
        for name, parameter in layer.named_parameters():
            close(draw, name, parameter.grad.data, gradients[name])
