"""Kernels in NumPy: few passes over memory, written in place, in blocks that fit the cache."""

from ..kernel import Kernel
from . import attention, tiled

KERNELS: dict[str, Kernel] = {
    "attention": Kernel(attention.forward, attention.backward),
    "tiled": Kernel(tiled.forward, tiled.backward),
}
