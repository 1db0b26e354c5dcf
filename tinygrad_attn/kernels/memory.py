"""Freed memory stays with the process: glibc would hand it back after every step.

A training step frees its graph, up to some tens of MiB, and the next step needs as much again.  By
default glibc returns free memory above 128 KiB at the end of its heap to the system, and the next
step pays a page fault for every 4 KiB of it: 11,000 faults, a third of the step, for nanoGPT's CPU
configuration.  But glibc learns: freeing a large block moves its limits up, the one for blocks that
get a mapping of their own to that size (at most 32 MiB), the one for returning memory to twice it
(mallopt(3), M_MMAP_THRESHOLD).  So one block is taken and freed; nothing is written into it, so it
costs nothing, and other allocators do not mind.
"""

import numpy as np

LARGEST = (32 << 20) - (1 << 16)  # bytes; with its header still below the 32 MiB that count


def keep_freed_memory() -> None:
    """Let the allocator keep up to 64 MiB of freed memory for the next step."""
    np.empty(LARGEST, np.uint8)
