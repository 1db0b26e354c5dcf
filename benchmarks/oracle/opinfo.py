"""PyTorch's OpInfo samples by our operations: what each op is here, and its gradients.

    opinfo_elementwise.py  single elements
    opinfo_reductions.py   along an axis
    opinfo_shapes.py       elements moved
    opinfo_indexing.py     elements taken out and put in
    opinfo_products.py     products of matrices, convolutions
    opinfo_layers.py       norms, losses, attention

`ADAPTERS[op](sample)` gives outputs and gradients; see samples.py.
"""

from __future__ import annotations

from . import (
    opinfo_elementwise,
    opinfo_indexing,
    opinfo_layers,
    opinfo_products,
    opinfo_reductions,
    opinfo_shapes,
)
from .samples import Adapter, differentiated

MODULES = (
    opinfo_elementwise, opinfo_reductions, opinfo_shapes, opinfo_indexing, opinfo_products,
)  # fmt: skip
ADAPTERS: dict[str, Adapter] = {
    name: differentiated(function)
    for module in MODULES
    for name, function in module.FUNCTIONS.items()
} | opinfo_layers.ADAPTERS
