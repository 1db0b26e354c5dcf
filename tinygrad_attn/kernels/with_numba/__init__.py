"""Kernels compiled by numba: one pass over memory, shared among threads by rows or heads."""

from ..kernel import Kernel

KERNELS: dict[str, Kernel] = {}
