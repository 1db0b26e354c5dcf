"""ONNX's node cases by our operations: what each operator is here, and its gradients.

    onnx_layers.py       attention, networks, linear algebra
    onnx_elementwise.py  single elements
    onnx_arrays.py       shapes, indices, reductions

`ADAPTERS[op_type](inputs, attributes, case)` gives a list of arrays.  `BODIES` has the constants
besides, which are no operations of ours: with them the bodies run that ONNX expands operators into.
"""

from __future__ import annotations

from . import onnx_arrays, onnx_elementwise, onnx_layers
from .operators import Adapter, Operator, Unsupported, evaluated

__all__ = ["ADAPTERS", "BODIES", "OPERATORS", "Unsupported"]

OPERATORS: dict[str, Operator] = {
    **onnx_layers.OPERATORS,
    **onnx_elementwise.OPERATORS,
    **onnx_arrays.OPERATORS,
}
ADAPTERS: dict[str, Adapter] = {name: evaluated(name, f) for name, f in OPERATORS.items()}
BODIES: dict[str, Adapter] = {
    **ADAPTERS,
    **{name: evaluated(name, f) for name, f in onnx_arrays.CONSTANTS.items()},
}
