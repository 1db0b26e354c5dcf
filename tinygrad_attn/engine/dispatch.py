"""NumPy's protocols: `np.exp(t)`, `array * t`, `np.concatenate([t, u])` find our operations.

Operations carry NumPy's names, so the registry maps a NumPy function to the operation of the same
name.  What has no gradient by nature (comparisons, shapes, `isfinite`) returns plain arrays;
everything else is refused: nothing detaches silently.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import DTypeError, reraised

REGISTRY: dict[Callable[..., Any], Callable[..., Any]] = {}
PLAIN: set[Callable[..., Any]] = {
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.isfinite,
    np.isnan, np.isinf, np.logical_and, np.logical_or, np.logical_not, np.shape,
    np.ndim, np.size, np.argmax, np.argmin, np.argsort, np.allclose, np.isclose, np.array_equal,
    np.any, np.all, np.count_nonzero, np.nonzero, np.zeros_like, np.ones_like, np.empty_like,
    np.full_like, np.array2string, np.array_repr, np.array_str, np.result_type, np.iscomplexobj,
    np.isrealobj, np.signbit,
}  # fmt: skip


def register(op: Callable[..., Any], *functions: Callable[..., Any]) -> None:
    """Let the NumPy `functions` called on tensors run `op`."""
    for function in functions:
        REGISTRY[function] = op


def array_ufunc(self: Any, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
    """`np.<ufunc>` of tensors."""
    if method != "__call__" or options:
        asked = f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
        if "out" in options:
            raise DTypeError(
                f"np.{ufunc.__name__}: an array cannot be written in place from a tensor; write "
                "`a = a - t` instead of `a -= t`"
            )
        raise DTypeError(
            f"{asked} on a tensor takes no {', '.join(options) or 'reduction'}; write "
            f"ta.{ufunc.__name__}(...) and combine it with other operations"
        )
    return dispatched(ufunc, inputs, {})


def array_function(self: Any, function: Any, types: Any, args: Any, options: dict[str, Any]) -> Any:
    """`np.<function>` of tensors."""
    return dispatched(function, args, options)


def dispatched(function: Any, args: Any, options: dict[str, Any]) -> Any:
    """Our operation for a NumPy function, or the function itself where no gradient is at stake."""
    if function in REGISTRY:
        return REGISTRY[function](*args, **options)
    if function in PLAIN:
        try:
            return function(*plain(args), **plain(options))
        except (ValueError, TypeError, IndexError, OverflowError) as error:
            raise reraised(error, f"np.{function.__name__}") from error
    raise DTypeError(
        f"{full_name(function)} is not supported on tensors; use operations of tinygrad_attn, "
        "or .detach().numpy() where no gradient is needed"
    )


def full_name(function: Any) -> str:
    """A NumPy function as users write it, such as np.fft.fft."""
    module = (getattr(function, "__module__", None) or "numpy").replace("numpy", "np", 1)
    return f"{module}.{function.__name__}"


def plain(value: Any) -> Any:
    """`value` with the arrays of tensors in their place, at any depth."""
    if hasattr(value, "node") and hasattr(value, "_data"):
        return value._data
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return type(value)([plain(item) for item in value]) if type(value) in (tuple, list) else value
