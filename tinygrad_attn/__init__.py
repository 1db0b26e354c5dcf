"""tinygrad_attn: see how gradients flow through attention, and trust what you see."""

from .engine import *  # noqa: F403
from .ops import *  # noqa: F403
