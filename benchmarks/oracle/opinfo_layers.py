"""PyTorch's layer-like functions (`torch.nn.functional`) by ours, for its OpInfo samples.

Each function below has PyTorch's signature and says what ours calls it; `ADAPTERS` gives outputs
and gradients for a sample: {"input", "args", "kwargs", "wrt", "cot"} -> (outputs, gradients).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_attn.nn import functional

from .operators import Unsupported
from .samples import Adapter, differentiated

# ── norms ────────────────────────────────────────────────────────────────────────────────────────


def layer_norm(
    x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """The shape to normalise over is that of the last axes."""
    return functional.layer_norm(x, weight, bias, eps, axes=len(normalized_shape))


def rms_norm(x: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    """Without eps it is the resolution of the dtype."""
    eps = float(np.finfo(x.dtype).eps) if eps is None else eps
    return functional.rms_norm(x, weight, eps, axes=len(normalized_shape))


def group_norm(x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """The same."""
    return functional.group_norm(x, groups, weight, bias, eps)


def instance_norm(
    x: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """The running averages are updated and not used."""
    if not use_input_stats:
        raise Unsupported("instance_norm with kept averages")
    return functional.instance_norm(x, weight, bias, eps)


def batch_norm(
    x: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """In training the averages are updated and not used."""
    if x.ndim < 2:
        raise Unsupported(f"batch_norm of shape {x.shape}, which has no channels")
    mean, var = (None, None) if training else (running_mean, running_var)
    return functional.batch_norm(x, weight, bias, mean=mean, var=var, eps=eps)


def normalize(x: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    """`p` is the order of the norm."""
    return functional.normalize(x, dim, eps, ord=p)


def cosine_similarity(a: Any, b: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """`dim` is the axis."""
    return functional.cosine_similarity(a, b, dim, eps)


# ── losses ───────────────────────────────────────────────────────────────────────────────────────


def cross_entropy(
    logits: Any,
    targets: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """The classes are on axis 1."""
    return functional.cross_entropy(
        logits,
        targets,
        ignore_index,
        label_smoothing,
        reduction,
        weight=weight,
        axis=class_axis(logits),
    )


def nll_loss(
    log_p: Any,
    targets: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Any:
    """The classes are on axis 1."""
    return functional.nll_loss(
        log_p, targets, ignore_index, reduction, weight=weight, axis=class_axis(log_p)
    )


def class_axis(x: Any) -> int:
    """1, or 0 where there is no batch."""
    return min(1, x.ndim - 1)


def binary_cross_entropy(p: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """The same."""
    return functional.binary_cross_entropy(p, target, weight=weight, reduction=reduction)


# ── attention ────────────────────────────────────────────────────────────────────────────────────


def scaled_dot_product_attention(
    q: Any,
    k: Any,
    v: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """A mask with True = may attend, as here."""
    if dropout_p:
        raise Unsupported("scaled_dot_product_attention with dropout, which is random")
    return functional.attention(q, k, v, attn_mask, causal=is_causal, scale=scale)


def multi_head_attention_forward(*args: Any, **options: Any) -> Any:
    """All samples drop weights out."""
    raise Unsupported("multi_head_attention_forward with dropout, which is random")


def embedding(weight: Any, tokens: Any) -> Any:
    """The table comes first."""
    return functional.embedding(tokens, weight)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        batch_norm,
        binary_cross_entropy,
        cosine_similarity,
        cross_entropy,
        embedding,
        group_norm,
        instance_norm,
        layer_norm,
        multi_head_attention_forward,
        nll_loss,
        normalize,
        rms_norm,
        scaled_dot_product_attention,
        functional.bilinear,
        functional.binary_cross_entropy_with_logits,
        functional.huber_loss,
        functional.kl_div,
        functional.l1_loss,
        functional.linear,
        functional.mse_loss,
        functional.smooth_l1_loss,
    )
}
ADAPTERS: dict[str, Adapter] = {
    f"nn.functional.{name}": differentiated(function) for name, function in FUNCTIONS.items()
}
