"""The models once more as functions of a dict of parameters, for libraries that have NumPy's names.

JAX, HIPS autograd and MyGrad run this text; each brings `Functions`, in which what it has of its
own (a softmax, say) stands in place of the composition here.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class Functions:
    """Compositions of a library's NumPy-like functions.

    Args:
        xp: its module.
    """

    def __init__(self, xp: Any) -> None:
        self.xp = xp

    def softmax(self, x: Any) -> Any:
        """Along the last axis."""
        e = self.xp.exp(x - self.xp.max(x, axis=-1, keepdims=True))
        return e / self.xp.sum(e, axis=-1, keepdims=True)

    def log_softmax(self, x: Any) -> Any:
        """Along the last axis."""
        x = x - self.xp.max(x, axis=-1, keepdims=True)
        return x - self.xp.log(self.xp.sum(self.xp.exp(x), axis=-1, keepdims=True))

    def gelu(self, x: Any) -> Any:
        """The tanh form."""
        inner = number(x, np.sqrt(2 / np.pi)) * (x + number(x, 0.044715) * (x * x * x))
        return number(x, 0.5) * x * (number(x, 1) + self.xp.tanh(inner))

    def layer_norm(self, x: Any, params: Any, name: str, eps: float) -> Any:
        """Along the last axis."""
        x = x - self.xp.mean(x, axis=-1, keepdims=True)
        variance = self.xp.mean(x * x, axis=-1, keepdims=True)
        x = x / self.xp.sqrt(variance + number(x, eps)) * params[f"{name}.weight"]
        return x + params[f"{name}.bias"] if f"{name}.bias" in params else x

    def cross_entropy(self, logits: Any, targets: Any) -> Any:
        """The mean over the rows of logits (N, V); targets (N,)."""
        rows = np.arange(len(targets))
        return -self.xp.mean(self.log_softmax(logits)[rows, targets])


def number(x: Any, value: float) -> Any:
    """`value` in the dtype of x, so that float32 stays float32 everywhere."""
    return x.dtype.type(value)


def linear(x: Any, params: Any, name: str) -> Any:
    """Rows (N, d_in) -> (N, d_out)."""
    y = x @ params[f"{name}.weight"].T
    return y + params[f"{name}.bias"] if f"{name}.bias" in params else y


def heads(f: Functions, x: Any, p: Any, name: str, shape: Any, count: int, causal: bool) -> Any:
    """Multi-head self-attention of rows (B·T, D), which are of shape (B, T, D)."""
    B, T, D = shape
    qkv = x @ p[f"{name}in_proj_weight"].T
    if f"{name}in_proj_bias" in p:
        qkv = qkv + p[f"{name}in_proj_bias"]
    parts = f.xp.transpose(qkv.reshape(B, T, 3, count, D // count), (2, 0, 3, 1, 4))
    context = scaled(f, parts[0], parts[1], parts[2], causal)  # (B, H, T, D/H)
    concat = f.xp.transpose(context, (0, 2, 1, 3)).reshape(B * T, D)
    return linear(concat, p, f"{name}out_proj")


def scaled(f: Functions, q: Any, k: Any, v: Any, causal: bool) -> Any:
    """Scaled dot-product attention of (B, H, T, d)."""
    scores = q @ f.xp.transpose(k, (0, 1, 3, 2)) * number(q, q.shape[-1] ** -0.5)
    if causal:
        T = q.shape[-2]
        scores = scores + np.triu(np.full((T, T), -np.inf, q.dtype), 1)
    return f.softmax(scores) @ v


def gpt(f: Functions, p: Any, tokens: Any, targets: Any, config: Any) -> Any:
    """The loss of tokens (B, T)."""
    B, T = tokens.shape
    shape, eps = (B, T, config.d_model), 1e-5
    x = (p["wte.weight"][tokens] + p["wpe.weight"]).reshape(B * T, config.d_model)
    for i in range(config.num_layers):
        name = f"blocks.{i}"
        y = f.layer_norm(x, p, f"{name}.ln_1", eps)
        x = x + heads(f, y, p, f"{name}.attn.", shape, config.num_heads, True)
        y = linear(f.layer_norm(x, p, f"{name}.ln_2", eps), p, f"{name}.mlp.up")
        x = x + linear(f.gelu(y), p, f"{name}.mlp.down")
    logits = f.layer_norm(x, p, "ln_f", eps) @ p["wte.weight"].T
    return f.cross_entropy(logits, targets.reshape(-1))


def vit(f: Functions, p: Any, images: Any, labels: Any, config: Any) -> Any:
    """The loss of images (B, 8, 8)."""
    B, D, eps, size = len(images), config.d_model, 1e-6, config.patch_size
    n = config.image_size // size
    cut = images.reshape(B, n, size, n, size).transpose(0, 1, 3, 2, 4)
    patches = linear(cut.reshape(B * n * n, size * size), p, "patch_embed").reshape(B, n * n, D)
    first = p["cls_token"] + np.zeros((B, 1, D), config.dtype)
    x = f.xp.concatenate([first, patches], axis=1) + p["pos_embed.weight"]
    shape = (B, n * n + 1, D)
    x = x.reshape(B * shape[1], D)
    for i in range(config.num_layers):
        name = f"blocks.{i}"
        y = f.layer_norm(x, p, f"{name}.norm1", eps)
        x = x + heads(f, y, p, f"{name}.self_attn.", shape, config.num_heads, False)
        y = linear(f.layer_norm(x, p, f"{name}.norm2", eps), p, f"{name}.linear1")
        x = x + linear(f.gelu(y), p, f"{name}.linear2")
    features = f.layer_norm(x.reshape(*shape)[:, 0], p, "norm", eps)
    return f.cross_entropy(linear(features, p, "head"), labels)


def attention(f: Functions, p: Any, config: Any) -> Any:
    """A layer's result (B, T, D)."""
    shape = (config.batch, config.length, config.d_model)
    rows = p["x"].reshape(config.batch * config.length, config.d_model)
    return heads(f, rows, p, "", shape, config.num_heads, False).reshape(*shape)


def chain(f: Functions, p: Any, config: Any) -> Any:
    """softmax(y·a·b), over and over."""
    y = p["x"]
    for _ in range(config.length):
        y = f.softmax(y * p["a"] * p["b"])
    return y


def plain_attention(f: Functions, p: Any, config: Any) -> Any:
    """Attention in one piece, all weights at once."""
    return scaled(f, p["q"], p["k"], p["v"], config.causal)
