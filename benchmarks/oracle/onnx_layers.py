"""ONNX's operators of attention, of networks and of linear algebra, by ours."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_attn as ta
from tinygrad_attn import Tensor, nn
from tinygrad_attn.nn import functional
from tinygrad_attn.nn.functional.attention import divided, joined

from .operators import Operator, Unsupported, whole

BFLOAT16 = 16  # among ONNX's numbers of dtypes


# ── attention ────────────────────────────────────────────────────────────────────────────────────
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int = 0,
    left_window_size: int = -1,
    q_num_heads: int = 0,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int = 0,
    outputs: tuple[str, ...] | None = None,
) -> dict[str, Tensor]:
    """Attention of opset 25: what came before, or the padding at the end, says the offset."""
    if softmax_precision == BFLOAT16:
        raise Unsupported("Attention with a softmax of bfloat16")
    together = q.ndim == 3
    if together:
        q, k, v = divided(q, q_num_heads), divided(k, kv_num_heads), divided(v, kv_num_heads)
    offset: Any = 0
    if past_key is not None and past_value is not None:
        offset = past_key.shape[-2]
        k, v = ta.concat([past_key, k], -2), ta.concat([past_value, v], -2)
    limits = nn.Mask() if mask is None else limited(mask, k.shape[-2])
    if lengths is not None:
        limits = limits & nn.Mask.lengths(lengths)
        offset = lengths.numpy() - q.shape[-2]
    left, right = (None if n < 0 else n for n in (left_window_size, right_window_size))
    options: dict[str, Any] = {
        "causal": bool(is_causal),
        "offset": offset,
        "window": (left, right),
        "scale": scale,
        "softcap": softcap or None,
    }
    named = {"present_key": k, "present_value": v}
    if outputs is None or "qk_matmul_output" in outputs:
        context, stages = functional.attention(q, k, v, limits, return_stages=True, **options)
        asked = step(stages, qk_matmul_output_mode, softcap)
        named["qk_matmul_output"] = ta.astype(asked, q.dtype)
    else:
        context = functional.attention(q, k, v, limits, **options)
    return {"Y": joined(context) if together else context, **named}


def limited(mask: Tensor, keys: int) -> nn.Mask:
    """A mask of either kind; the keys that it does not reach are blocked."""
    boolean = mask.dtype == bool
    if mask.shape[-1] not in (1, keys):
        border = [(0, 0)] * (mask.ndim - 1) + [(0, keys - mask.shape[-1])]
        mask = ta.pad(mask, border, constant_values=False if boolean else -np.inf)
    return nn.Mask.keep(mask) if boolean else nn.Mask.additive(mask)


def step(stages: nn.Stages, mode: int, softcap: float) -> Tensor:
    """The scores of the mode: as they are, after the soft cap, after the mask, as weights."""
    if mode == 1 and softcap:
        return ta.tanh(stages.scores / softcap) * softcap
    return (stages.scores, stages.scores, stages.masked, stages.weights)[mode]


def rotary_embedding(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    positions: Tensor | None = None,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
) -> Tensor:
    """Cosines and sines of each sequence's positions, (B, T, r/2) or a table to take them from."""
    together = x.ndim == 3
    x = divided(x, num_heads) if together else x
    if positions is not None:
        cos, sin = ta.take(cos, positions, 0), ta.take(sin, positions, 0)
    if rotary_embedding_dim not in (0, 2 * cos.shape[-1]):
        raise Unsupported(f"RotaryEmbedding of {rotary_embedding_dim} by angles {cos.shape}")
    cos, sin = ta.expand_dims(cos, 1), ta.expand_dims(sin, 1)
    out = functional.rotary(x, cos, sin, interleaved=bool(interleaved))
    return joined(out) if together else out


# ── networks ─────────────────────────────────────────────────────────────────────────────────────
def softmax(x: Tensor, *, axis: int = -1) -> Any:
    """Of opset 13: along one axis."""
    return ta.softmax(x, axis)


def log_softmax(x: Tensor, *, axis: int = -1) -> Any:
    """Of opset 13: along one axis."""
    return ta.log_softmax(x, axis)


def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """The same."""
    return functional.gelu(x, approximate)


def layer_normalization(
    x: Tensor,
    scale: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> list[Tensor]:
    """Over `axis` and those after it; with the mean and 1/√(var + ε)."""
    axes = tuple(range(axis % x.ndim, x.ndim))
    out = functional.layer_norm(x, scale, bias, epsilon, axes=len(axes))
    spread = ta.var(x, axes, keepdims=True)
    return [out, ta.mean(x, axes, True), ta.rsqrt(spread + epsilon)]


def rms_normalization(
    x: Tensor,
    scale: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Tensor:
    """Over `axis` and those after it."""
    return functional.rms_norm(x, scale, epsilon, axes=x.ndim - axis % x.ndim)


def softmax_cross_entropy_loss(
    scores: Tensor,
    labels: Tensor,
    weights: Tensor | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> list[Any]:
    """With the classes on axis 1, and the logarithms of the probabilities."""
    loss = functional.cross_entropy(
        scores, labels, ignore_index, reduction=reduction, weight=weights, axis=1
    )
    return [loss, ta.log_softmax(scores, 1)]


def negative_log_likelihood_loss(
    log_p: Tensor,
    labels: Tensor,
    weights: Tensor | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    """With the classes on axis 1."""
    return functional.nll_loss(log_p, labels, ignore_index, reduction, weight=weights, axis=1)


def dropout(
    x: Tensor, ratio: Any = None, training: Any = None, *, seed: int | None = None
) -> list[Any]:
    """In evaluation it does nothing; the second output says what was kept."""
    if training is not None and training.item():
        raise Unsupported("Dropout while training, which is random")
    return [x, np.ones(x.shape, bool)]


def one_hot(indices: Tensor, depth: Tensor, values: Tensor, *, axis: int = -1) -> Any:
    """`values` is (off, on); negative indices count from the end, those beyond are off."""
    count, at = whole(depth.detach().astype(np.int64)), indices.numpy().astype(np.int64)
    at = np.where(at < 0, at + count, at)
    inside = (at >= 0) & (at < count)
    hot = ta.one_hot(np.where(inside, at, 0), count).numpy() * inside[..., None]
    return ta.moveaxis(ta.where(hot == 1, values[1], values[0]), -1, axis)


# ── linear algebra ───────────────────────────────────────────────────────────────────────────────
def gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    """α A B + β C, A and B transposed on demand."""
    product = ((a.T if transA else a) @ (b.T if transB else b)) * alpha
    return product if c is None else product + c * beta


def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    strides: Any = 1,
    pads: Any = None,
    dilations: Any = 1,
    group: int = 1,
    kernel_shape: Any = None,
    auto_pad: str = "NOTSET",
) -> Tensor:
    """Pads are those before all axes, then those after them; the weight has the kernel's shape."""
    if auto_pad not in ("NOTSET", "VALID"):
        raise Unsupported(f"Conv with auto_pad={auto_pad}")
    ndim = weight.ndim - 2
    pads = [0] * (2 * ndim) if pads is None else pads
    padded = ta.pad(x, [(0, 0), (0, 0), *zip(pads[:ndim], pads[ndim:])])
    strides, dilations = (o if o == 1 else tuple(o) for o in (strides, dilations))
    y = ta.conv(padded, weight, strides, 0, dilations, group)
    return y if bias is None else y + ta.reshape(bias, (-1,) + (1,) * ndim)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """The same."""
    return a @ b


def einsum(*operands: Tensor, equation: str) -> Any:
    """The same."""
    return ta.einsum(equation, *operands)


OPERATORS: dict[str, Operator] = {
    "Conv": conv,
    "Attention": attention,
    "Dropout": dropout,
    "Einsum": einsum,
    "Gelu": gelu,
    "Gemm": gemm,
    "LayerNormalization": layer_normalization,
    "LogSoftmax": log_softmax,
    "MatMul": matmul,
    "NegativeLogLikelihoodLoss": negative_log_likelihood_loss,
    "OneHot": one_hot,
    "RMSNormalization": rms_normalization,
    "RotaryEmbedding": rotary_embedding,
    "Softmax": softmax,
    "SoftmaxCrossEntropyLoss": softmax_cross_entropy_loss,
}
