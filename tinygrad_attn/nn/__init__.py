"""Layers and models' parts.

    parameter.py, module.py   named parameters and parts, state, scopes
    containers.py             ModuleList, Sequential
    layers.py                 Linear, Embedding, norms, Dropout
    attention.py, cache.py    MultiHeadAttention, KVCache
    recurrent.py              RNN, GRU, LSTM
    alignment.py              BahdanauAttention, LuongAttention
    functional/               the same computations as functions
"""

from . import functional
from .alignment import BahdanauAttention, LuongAttention
from .attention import MultiHeadAttention
from .cache import KVCache
from .containers import ModuleList, Sequential
from .functional import Mask, Stages
from .layers import GELU, Dropout, Embedding, LayerNorm, Linear, ReLU, RMSNorm
from .module import Module
from .parameter import Parameter
from .recurrent import GRU, LSTM, RNN

__all__ = [
    "GELU", "GRU", "LSTM", "RNN", "BahdanauAttention", "Dropout", "Embedding", "KVCache",
    "LayerNorm", "Linear", "LuongAttention", "Mask", "Module", "ModuleList",
    "MultiHeadAttention", "Parameter", "RMSNorm", "ReLU", "Sequential", "Stages", "functional",
]
