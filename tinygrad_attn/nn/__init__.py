"""Layers and models' parts.

    parameter.py, module.py   named parameters and parts, state, scopes
    containers.py             ModuleList, Sequential
    layers.py                 Linear, Embedding, norms, Dropout
    attention.py              MultiHeadAttention
    functional/               the same computations as functions
"""

from . import functional
from .attention import MultiHeadAttention
from .containers import ModuleList, Sequential
from .functional import Stages
from .layers import GELU, Dropout, Embedding, LayerNorm, Linear, ReLU, RMSNorm
from .module import Module
from .parameter import Parameter

__all__ = [
    "GELU", "Dropout", "Embedding", "LayerNorm", "Linear", "Module", "ModuleList",
    "MultiHeadAttention", "Parameter", "RMSNorm", "ReLU", "Sequential", "Stages", "functional",
]
