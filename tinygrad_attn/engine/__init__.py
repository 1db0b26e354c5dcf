"""The engine: reverse-mode automatic differentiation on NumPy.

Read in this order:

    tensor.py      a Tensor is an array and the node that made it
    node.py        the graph: nodes that point back in time
    primitive.py   a NumPy function, one VJP per argument, and how a call is recorded
    rule.py        the VJP of one argument: it asks by name for what it needs
    backward.py    the walk, newest node first
    results.py     operations with several results
    adapter.py     other calling forms around primitives
    recompute.py   activation checkpointing by the same walk
    kernel.py      what a kernel is
    fused.py       a definition in primitives with a kernel beside it
    dispatch.py    NumPy's own functions on tensors
    operators.py   + * @ and methods, declared for type checkers
    settings.py    no_grad, keep_grads, scope: one ContextVar
    errors.py      what is raised
"""

from .adapter import Adapter, adapts, composed, inner
from .backward import backward, grad
from .dispatch import register
from .errors import DTypeError, GraphError, IndexingError, ShapeError, TensorError
from .fused import Fused
from .node import Node
from .primitive import PRIMITIVES, Primitive, primitive
from .recompute import recompute
from .settings import Scope, default_dtype, keep_grads, keep_values, no_grad, scope
from .tensor import Array, Tensor

__all__ = [
    "PRIMITIVES", "Adapter", "Array", "DTypeError", "Fused", "GraphError", "IndexingError",
    "Node", "Primitive", "Scope", "ShapeError", "Tensor", "TensorError", "adapts", "backward",
    "composed", "default_dtype", "grad", "inner", "keep_grads", "keep_values", "no_grad",
    "primitive", "recompute", "register", "scope",
]  # fmt: skip
