"""tinygrad_attn: see how gradients flow through attention, and trust what you see.

    import numpy as np, tinygrad_attn as ta

    x = ta.Tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    (ta.softmax(x) * np.array([0.0, 0.0, 1.0])).sum().backward()
    x.grad

The engine (tensors and their graph), the operations and the choice of `kernels` are here; the rest
is loaded when first used: `nn` (layers and attention), `optim`, `models`, `study` (of trained
models), `check` (gradient checks), `viz` (drawings), `data`, `train`, `checkpoint`, `interop`
(weights of other libraries).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import kernels, ops
from .anomaly import AnomalyError, detect_anomaly
from .calculus import hessian, hvp, jacobian, jvp, vjp
from .engine import (
    PRIMITIVES,
    DTypeError,
    GraphError,
    IndexingError,
    Primitive,
    ShapeError,
    Tensor,
    TensorError,
    backward,
    default_dtype,
    grad,
    keep_grads,
    keep_values,
    no_grad,
    primitive,
    recompute,
    scope,
)
from .ops import *  # noqa: F403  (its __all__ is the list of operations)
from .rng import seed

if TYPE_CHECKING:
    from . import check, checkpoint, data, interop, models, nn, optim, study, train, viz

__version__ = "0.1.0"

SUBMODULES = (
    "check", "checkpoint", "data", "interop", "models", "nn", "optim", "study", "train", "viz",
)  # fmt: skip

__all__ = [
    "PRIMITIVES", "AnomalyError", "DTypeError", "GraphError", "IndexingError", "Primitive",
    "ShapeError", "Tensor", "TensorError", "backward", "check", "checkpoint", "data",
    "default_dtype", "detect_anomaly", "grad", "hessian", "hvp", "interop", "jacobian", "jvp",
    "keep_grads", "keep_values", "kernels", "models", "nn", "no_grad", "optim", "primitive",
    "recompute", "scope", "seed", "study", "train", "viz", "vjp",
    *ops.__all__,
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load a submodule when it is first used."""
    if name in SUBMODULES:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
