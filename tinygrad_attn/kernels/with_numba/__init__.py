"""Kernels compiled by numba: one pass over memory, shared among threads by rows or heads.

compile.py       how functions become machine code
elementary.py    exp, the logistic and the normal distribution function, for loops over many numbers
blocks.py        how arrays reach compiled loops, and in which parts
"""

from ...engine.kernel import Kernel
from ..bound import attentions
from ..with_numpy.products import embedding_forward
from . import activations, adam, attention, embedding, losses, norms

KERNELS: dict[str, Kernel] = {
    "embedding": Kernel(embedding_forward, embedding.embedding_backward),
    "layer_norm": Kernel(norms.layer_norm_forward, norms.layer_norm_backward),
    "rms_norm": Kernel(norms.rms_norm_forward, norms.rms_norm_backward),
    "gelu": Kernel(activations.gelu_forward, activations.gelu_backward),
    "silu": Kernel(activations.silu_forward, activations.silu_backward),
    "cross_entropy": Kernel(losses.cross_entropy_forward, losses.cross_entropy_backward),
    **attentions(attention.PASSES),
    "adam": Kernel(adam.adam_forward),
}
