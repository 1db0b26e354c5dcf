"""Weights travel: PyTorch's state dicts, and Hugging Face folders.

    load, save, load_weights    GPT-2, BERT, Llama and ViT as `config.json` + `model.safetensors`
    from_torch, to_torch        `state_dict`s of layers that have a PyTorch twin

Read layout.py for how a table of names is used, then gpt2.py for one.
"""

from .errors import InteropError
from .hugging_face import load, load_weights, save
from .pytorch import from_torch, to_torch

__all__ = ["InteropError", "from_torch", "load", "load_weights", "save", "to_torch"]
