"""Optimisers: how parameters follow their gradients.

optimizer.py   groups of parameters with options, and their state
sgd.py         SGD
adam.py        Adam, AdamW
clipping.py    clip_grad_norm
schedule.py    WarmupCosine
"""

from .adam import Adam, AdamW
from .clipping import clip_grad_norm
from .optimizer import Optimizer
from .schedule import WarmupCosine
from .sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "WarmupCosine", "clip_grad_norm"]
