"""Kernels in NumPy: few passes over memory, written in place, in blocks that fit the cache."""

from ...engine.kernel import Kernel
from ..bound import attentions
from . import activations, attention, losses, norms, products

KERNELS: dict[str, Kernel] = {
    "linear": Kernel(products.linear_forward, products.linear_backward),
    "embedding": Kernel(products.embedding_forward, products.embedding_backward),
    "layer_norm": Kernel(norms.layer_norm_forward, norms.layer_norm_backward),
    "rms_norm": Kernel(norms.rms_norm_forward, norms.rms_norm_backward),
    "gelu": Kernel(activations.gelu_forward, activations.gelu_backward),
    "silu": Kernel(activations.silu_forward, activations.silu_backward),
    "cross_entropy": Kernel(losses.cross_entropy_forward, losses.cross_entropy_backward),
    **attentions(attention.PASSES),
}
