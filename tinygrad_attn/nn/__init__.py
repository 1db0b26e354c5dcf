"""Layers and models' parts.

parameter.py, module.py   named parameters and parts, state, scopes
containers.py             ModuleList, Sequential
layers.py                 Linear, Embedding, norms, Dropout
attention.py, cache.py    MultiHeadAttention, KVCache
positions.py              sinusoidal, learned and rotary positions, ALiBi
transformer.py            TransformerEncoderLayer, TransformerDecoderLayer
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
from .positions import AlibiBias, LearnedPositions, RotaryPositions, SinusoidalPositions
from .recurrent import GRU, LSTM, RNN, Recurrent
from .transformer import TransformerDecoderLayer, TransformerEncoderLayer, TransformerLayer

__all__ = [
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "AlibiBias",
    "BahdanauAttention",
    "Dropout",
    "Embedding",
    "KVCache",
    "LayerNorm",
    "LearnedPositions",
    "Linear",
    "LuongAttention",
    "Mask",
    "Module",
    "ModuleList",
    "MultiHeadAttention",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "Recurrent",
    "RotaryPositions",
    "Sequential",
    "SinusoidalPositions",
    "Stages",
    "TransformerDecoderLayer",
    "TransformerEncoderLayer",
    "TransformerLayer",
    "functional",
]
