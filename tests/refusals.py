"""A wrong call is refused by a typed error, and changes nothing of the tensors it was given."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tinygrad_attn import TensorError


def refused(
    kind: type[Exception],
    message: str,
    call: Callable[[SimpleNamespace], Any],
    tensors: SimpleNamespace,
) -> SimpleNamespace:
    """Call it; returns the tensors."""
    before = {name: (t, t.node, t.numpy()) for name, t in vars(tensors).items()}
    with pytest.raises(kind, match=f"(?s){message}") as caught:
        call(tensors)
    assert isinstance(caught.value, TensorError)
    assert len(str(caught.value)) < 600
    for name, (t, node, values) in before.items():
        assert getattr(tensors, name) is t
        assert t.node is node
        assert t.grad is None
        np.testing.assert_array_equal(t.numpy(), values)
    return tensors
