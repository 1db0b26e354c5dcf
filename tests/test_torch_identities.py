"""Identities of attention's gradients on PyTorch's own attention, in float32 and float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn.check import IdentityError, assert_identities

pytestmark = pytest.mark.torch
B, H, G, T, D, E = 2, 6, 2, 7, 3, 5
OPTIONS: dict[str, dict[str, Any]] = {
    "bare": {},
    "causal": {"is_causal": True},
    "scale": {"scale": 0.7},
    "mask": {"attn_mask": np.random.default_rng(4).random((B, 1, T, T)) < 0.6},
}
OURS = {"is_causal": "causal", "attn_mask": "mask", "scale": "scale"}


def theirs(rng: np.random.Generator, dtype: str, options: dict[str, Any]) -> dict[str, Any]:
    """q, k, v, the context and all gradients, as PyTorch tensors."""
    import torch

    shapes = ((B, H, T, D), (B, G, T, D), (B, G, T, E))
    q, k, v = (
        torch.tensor(rng.standard_normal(s).astype(dtype), requires_grad=True) for s in shapes
    )
    options = {n: torch.tensor(x) if n == "attn_mask" else x for n, x in options.items()}
    context = torch.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True, **options)
    dcontext = torch.tensor(rng.standard_normal(context.shape).astype(dtype))
    dq, dk, dv = torch.autograd.grad(context, (q, k, v), dcontext)
    values = {"q": q, "k": k, "v": v, "context": context}
    gradients = {"dq": dq, "dk": dk, "dv": dv, "dcontext": dcontext}
    return {name: x.detach() for name, x in (values | gradients).items()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", OPTIONS)
def test_their_attention_fulfils_them(rng: np.random.Generator, dtype: str, kind: str) -> None:
    m = theirs(rng, dtype, OPTIONS[kind])
    options = {OURS[name]: value for name, value in OPTIONS[kind].items()}
    found = assert_identities(**m, **options)
    assert sum(identity.applies for identity in found) >= 3
    assert max(identity.deviation for identity in found) < (1e-14 if dtype == "float64" else 2e-6)
    for name in ("dq", "dk", "dv"):
        with pytest.raises(IdentityError):
            assert_identities(**{**m, name: m[name] * 1.001}, **options)


def test_a_tensor_that_is_still_attached_is_refused(rng: np.random.Generator) -> None:
    import torch

    attached = torch.ones((2, 3), requires_grad=True)
    with pytest.raises(ta.DTypeError, match=r"dk is no array: .*detach"):
        assert_identities(dk=attached)
    half = theirs(rng, "float32", {})
    assert_identities(**{name: x.to(torch.float16) for name, x in half.items()})
