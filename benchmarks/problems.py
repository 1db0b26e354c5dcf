"""The work, the same for all: sizes, initial values and data, in plain NumPy.

Every parameter has the name and the layout that it has in this library and in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from types import SimpleNamespace
from typing import Any

import numpy as np

from . import formulas
from .work import Array

LR, BETAS, EPS, DECAY, CLIP = 1e-3, (0.9, 0.99), 1e-8, 0.1, 1.0
BATCHES = 16
Sizes = dict[str, Any]
Params = dict[str, Array]
Shapes = dict[str, tuple[int, ...]]
Batches = list[tuple[Array, ...]]


@dataclass(frozen=True)
class Problem:
    """What a contestant gets.

    Attributes:
        formula: (functions, params, *batch, config) -> the result, from formulas.py.
        config: the sizes, as attributes.
        params: the initial values by name.
        batches: what a run takes, in turn.
        upstream: the gradient of the result; None if the result is a loss, and a run is a training
            step: gradients, clipping to norm 1, AdamW.
    """

    formula: Callable[..., Any]
    config: SimpleNamespace
    params: Params
    batches: Batches
    upstream: Array | None = None

    @property
    def trains(self) -> bool:
        """Is a run a training step?"""
        return self.upstream is None

    def data(self) -> Iterator[tuple[Array, ...]]:
        """The batches, over and over."""
        return cycle(self.batches)

    def compute(self, functions: Any, params: Any, *batch: Any) -> Any:
        """The result by the formula."""
        return self.formula(functions, params, *batch, self.config)


def gpt(sizes: Sizes) -> Problem:
    """A training step of a GPT-2 with a tied output projection, on random tokens."""
    c, rng = SimpleNamespace(**{"bias": False, "dtype": "float32", **sizes}), generator()
    shapes: Shapes = {
        "wte.weight": (c.vocab_size, c.d_model),
        "wpe.weight": (c.max_length, c.d_model),
    }
    for i in range(c.num_layers):
        shapes |= norm(f"blocks.{i}.ln_1", c) | attention_shapes(f"blocks.{i}.attn.", c)
        shapes |= norm(f"blocks.{i}.ln_2", c) | linear(f"blocks.{i}.mlp.up", c.d_model, 4, c)
        shapes |= linear(f"blocks.{i}.mlp.down", 4 * c.d_model, 0.25, c)
    shapes |= norm("ln_f", c)
    tokens = rng.integers(0, c.vocab_size, (BATCHES, c.batch, c.max_length + 1))
    batches: Batches = [(window[:, :-1], window[:, 1:]) for window in tokens]
    return Problem(formulas.gpt, c, values(shapes, rng, c.dtype), batches)


def vit(sizes: Sizes) -> Problem:
    """A training step of a ViT on scikit-learn's handwritten digits (8×8, patches of 2×2)."""
    from sklearn.datasets import load_digits

    given = {"bias": True, "dtype": "float32", "image_size": 8, "patch_size": 2, "num_classes": 10}
    c, rng, width = SimpleNamespace(**given, **sizes), generator(), sizes["d_model"]
    patches = (c.image_size // c.patch_size) ** 2
    shapes: Shapes = {"cls_token": (1, 1, width), "pos_embed.weight": (1 + patches, width)}
    shapes |= {"patch_embed.weight": (width, c.patch_size**2), "patch_embed.bias": (width,)}
    for i in range(c.num_layers):
        shapes |= attention_shapes(f"blocks.{i}.self_attn.", c)
        shapes |= linear(f"blocks.{i}.linear1", width, c.d_ff / width, c)
        shapes |= linear(f"blocks.{i}.linear2", c.d_ff, width / c.d_ff, c)
        shapes |= norm(f"blocks.{i}.norm1", c) | norm(f"blocks.{i}.norm2", c)
    shapes |= norm("norm", c) | {
        "head.weight": (c.num_classes, width),
        "head.bias": (c.num_classes,),
    }
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(c.dtype).reshape(-1, c.image_size, c.image_size)
    chosen = rng.permutation(len(images))[: BATCHES * c.batch].reshape(BATCHES, c.batch)
    batches: Batches = [(images[places], labels[places].astype(np.int64)) for places in chosen]
    return Problem(formulas.vit, c, values(shapes, rng, c.dtype), batches)


def attention(sizes: Sizes) -> Problem:
    """Multi-head self-attention, forward and backward from a random gradient."""
    c, rng = SimpleNamespace(**{"bias": True, "dtype": "float64", **sizes}), generator()
    shape = (c.batch, c.length, c.d_model)
    params = values(attention_shapes("", c), rng, c.dtype)
    x, g = rng.standard_normal((2, *shape)).astype(c.dtype)
    return Problem(formulas.attention, c, {"x": x, **params}, [()], g)


def chain(sizes: Sizes) -> Problem:
    """softmax(y·a·b), `length` times on one small matrix, forward and backward."""
    c, rng = SimpleNamespace(dtype="float64", **sizes), generator()
    x, a, b, g = rng.standard_normal((4, c.width, c.width)).astype(c.dtype)
    return Problem(formulas.chain, c, {"x": x, "a": a, "b": b}, [()], g)


def long_attention(sizes: Sizes) -> Problem:
    """Attention alone, forward and backward, of (1, heads, length, width) arrays."""
    c, rng = SimpleNamespace(dtype="float32", **sizes), generator()
    q, k, v, g = rng.standard_normal((4, 1, c.heads, c.length, c.width), np.float32)
    return Problem(formulas.plain_attention, c, {"q": q, "k": k, "v": v}, [()], g)


MAKERS = {made.__name__: made for made in (gpt, vit, attention, chain, long_attention)}


def problem(name: str, sizes: Sizes) -> Problem:
    """The problem of this name; the same numbers every time."""
    return MAKERS[name](sizes)


# ── shapes and values ────────────────────────────────────────────────────────────────────────────
def generator() -> np.random.Generator:
    """The numbers that all contestants start from."""
    return np.random.default_rng(0)


def linear(name: str, width: int, times: float, config: SimpleNamespace) -> Shapes:
    """A layer from `width` to `width`·`times`."""
    out = round(width * times)
    return {f"{name}.weight": (out, width)} | ({f"{name}.bias": (out,)} if config.bias else {})


def norm(name: str, config: SimpleNamespace) -> Shapes:
    """A layer norm."""
    parts = ("weight", "bias") if config.bias else ("weight",)
    return {f"{name}.{part}": (config.d_model,) for part in parts}


def attention_shapes(prefix: str, config: SimpleNamespace) -> Shapes:
    """Multi-head self-attention with packed projections."""
    width = config.d_model
    packed: Shapes = {f"{prefix}in_proj_weight": (3 * width, width)}
    bias: Shapes = {f"{prefix}in_proj_bias": (3 * width,)} if config.bias else {}
    return packed | bias | linear(f"{prefix}out_proj", width, 1, config)


def values(shapes: Shapes, rng: np.random.Generator, dtype: str) -> Params:
    """N(0, 0.02²) for matrices and biases, 1 + N(0, 0.02²) for the weights of norms."""
    made = {name: rng.normal(0.0, 0.02, shape) for name, shape in shapes.items()}
    for name, value in made.items():
        if name.endswith("weight") and value.ndim == 1:
            value += 1.0
    return {name: value.astype(dtype) for name, value in made.items()}
