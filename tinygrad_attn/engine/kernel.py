"""A kernel: a forward function on arrays and its backward, derived by hand (fused.py runs them)."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Kernel(NamedTuple):
    """forward(*arrays, **options) -> (result, residuals), and what backward makes of these."""

    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[..., tuple[Any, ...]] = lambda *_, **__: ()  # an optimiser's step has none
