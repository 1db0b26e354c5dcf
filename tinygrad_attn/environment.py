"""On what a run ran: versions, kernels and threads, without which "same" says little.

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

from .engine.settings import SETTINGS
from .kernels import threads, use


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
        "numba": installed_version("numba"),
        "kernels": SETTINGS.get().kernels,
        "kernel_threads": threads(),
    }


def package_version() -> str:
    """The version of this package; "unknown" where it runs without being installed."""
    return installed_version("tinygrad_attn") or "unknown"


def installed_version(package: str) -> str | None:
    """The version of a package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def blas_threads() -> int | None:
    """How many threads NumPy's BLAS uses; None where threadpoolctl is not there to ask."""
    try:
        pools = import_module("threadpoolctl").threadpool_info()
    except ImportError:
        return None
    blas = [pool for pool in pools if pool["user_api"] == "blas"]
    own = [pool for pool in blas if "numpy" in pool["filepath"]]  # SciPy may bring another
    return max((pool["num_threads"] for pool in own or blas), default=None)


@contextmanager
def limited_blas(threads: int | None) -> Iterator[None]:
    """Let the BLAS and the kernels use so many threads inside; None: as many as ever.

    Without threadpoolctl only the kernels are limited.
    """
    with use(threads=threads):
        try:
            limits = import_module("threadpoolctl").threadpool_limits
        except ImportError:
            yield
            return
        with limits(threads, user_api="blas"):
            yield
