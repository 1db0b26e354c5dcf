"""On what a run ran: versions and the number of BLAS threads, without which "same" says little.

A large float32 product can differ in its last bits between one thread and two.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np


def environment() -> dict[str, Any]:
    """Versions, machine and BLAS, as plain JSON values."""
    built: Any = np.show_config(mode="dicts")
    blas = built.get("Build Dependencies", {}).get("blas", {})
    return {
        "tinygrad_attn": package_version(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "blas": f"{blas.get('name')} {blas.get('version')}",
        "blas_threads": blas_threads(),
    }


def package_version() -> str:
    """The version of this package; "unknown" where it runs without being installed."""
    try:
        return version("tinygrad_attn")
    except PackageNotFoundError:
        return "unknown"


def blas_threads() -> int | None:
    """How many threads the BLAS uses; None where threadpoolctl is not there to ask."""
    try:
        pools = import_module("threadpoolctl").threadpool_info()
    except ImportError:
        return None
    return max((pool["num_threads"] for pool in pools if pool["user_api"] == "blas"), default=None)


@contextmanager
def limited_blas(threads: int | None) -> Iterator[None]:
    """Let the BLAS use so many threads inside; None, or no threadpoolctl: as many as ever."""
    try:
        limits = import_module("threadpoolctl").threadpool_limits
    except ImportError:
        yield
        return
    with limits(threads, user_api="blas"):
        yield
