"""PyTorch's layers probed through `vjp=`: arrays in, arrays out, in float32 and float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_docs import ROOT, blocks

import tinygrad_attn as ta
from tinygrad_attn import check
from tinygrad_attn.check import ProbeError

pytestmark = pytest.mark.torch
B, T, D = 2, 5, 6
Array = np.ndarray[Any, Any]


class Theirs:
    """nn.TransformerEncoderLayer with a mask, as functions of arrays."""

    def __init__(self, dtype: str, **masks: Any) -> None:
        import torch

        self.torch = torch
        torch.manual_seed(1)
        layer = torch.nn.TransformerEncoderLayer(D, 2, 7, dropout=0.0, batch_first=True)
        self.layer = layer.to(getattr(torch, dtype))
        self.masks = {name: torch.tensor(mask) for name, mask in masks.items()}

    def __call__(self, x: Array) -> Array:
        return np.asarray(self.layer(self.torch.tensor(x), **self.masks).detach())

    def vjp(self, x: Array, g: Array) -> Array:
        leaf = self.torch.tensor(x, requires_grad=True)
        out = self.layer(leaf, **self.masks)
        return np.asarray(self.torch.autograd.grad(out, leaf, self.torch.tensor(g))[0])


@pytest.fixture(params=["float32", "float64"])
def x(request: pytest.FixtureRequest, rng: np.random.Generator) -> Array:
    return rng.standard_normal((B, T, D)).astype(request.param)


def test_causal_with_the_mask_and_not_without(x: Array) -> None:
    future = np.triu(np.ones((T, T), bool), 1)  # in PyTorch True = must not attend
    masked, bare = Theirs(str(x.dtype), src_mask=future), Theirs(str(x.dtype))
    check.assert_causal(masked, x, vjp=masked.vjp)
    check.assert_causal(None, x, vjp=masked.vjp)
    with pytest.raises(ProbeError, match="10 of 10 pairs leak"):
        check.assert_causal(bare, x, vjp=bare.vjp)
    flipped = Theirs(str(x.dtype), src_mask=np.tri(T, k=-1, dtype=bool))
    with pytest.raises(ProbeError, match="other polarity"):
        check.assert_causal(flipped, x, vjp=flipped.vjp)


def test_padding_order_and_examples(x: Array) -> None:
    real = np.arange(T) < np.array([[T], [3]])
    masked, bare = Theirs(str(x.dtype), src_key_padding_mask=~real), Theirs(str(x.dtype))
    check.assert_padding_inert(masked, x, real, vjp=masked.vjp)
    with pytest.raises(ProbeError, match="reaches 2 of 2 padded inputs"):
        check.assert_padding_inert(bare, x, real, vjp=bare.vjp)
    check.assert_permutation_equivariant(bare, x, vjp=bare.vjp)
    with pytest.raises(ProbeError, match="outputs do not follow"):
        check.assert_permutation_equivariant(masked, x, vjp=masked.vjp)
    check.assert_independent(bare, x, vjp=bare.vjp)
    check.assert_depends_on(bare, x, vjp=bare.vjp)


@pytest.mark.parametrize("mask", ["src_mask=future", "src_mask=~future"])
def test_the_documented_probe_runs(mask: str, rng: np.random.Generator) -> None:
    """As it stands on the page it passes; with the mask of the other polarity it does not."""
    page = blocks(ROOT / "docs" / "gradient-checking.md")
    (shown,) = [b for b in page if b.language == "py" and "torch" in b.text]
    names = {"np": np, "ta": ta, "x": rng.standard_normal((B, 4, D))}
    assert "src_mask=future" in shown.text
    code = compile(shown.text.replace("src_mask=future", mask), "page", "exec")
    if mask == "src_mask=future":
        exec(code, names)
    else:
        with pytest.raises(ProbeError, match="6 of 6 pairs leak"):
            exec(code, names)
