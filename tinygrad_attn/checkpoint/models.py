"""Models from their configuration, and no larger than the file they come from.

A configuration is a few numbers, and anybody may have written them: a model with a million times
a million weights takes one line.  So a model is first built with zeros, in a trial that ends where
it asks for more numbers than the file can fill; only then is it built for good.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from math import prod
from typing import Any

import numpy as np

from .. import models
from ..engine import Array
from ..nn import Module
from ..rng import OWN
from .errors import CheckpointError
from .values import Packing

FLOATING = ("float16", "float32", "float64")
TOO_LARGE = "its sizes ask for more numbers than the file holds"
REDRAWN = 4  # GPT, BERT and Llama draw weights again that their layers have drawn
TABLES = {"Transformer": ("max_length", "d_model")}  # sizes of what is computed, not saved
SMALL_TABLE = 1 << 22  # numbers that every file may ask for
BY_HAND = "save its weights with safetensors.numpy.save_file(model.state_dict(), path)"


# ── saving ───────────────────────────────────────────────────────────────────────────────────────
def description(model: Module) -> dict[str, Any]:
    """The class and the configuration of a model."""
    kind, name = type(model), type(model).__name__
    config: Any = getattr(model, "config", None)
    # Not by name alone: a class of one's own may be named GPT and compute something else.
    if name not in models.__all__ or getattr(models, name) is not kind:
        raise CheckpointError(
            f"expected a model of tinygrad_attn.models, rebuilt from its config; got "
            f"{kind.__module__}.{kind.__qualname__}; {BY_HAND}"
        )
    if type(config) is not getattr(models, f"{name}Config"):
        raise CheckpointError(
            f"expected a {name} with a {name}Config, got {type(config).__name__}; make it with one"
        )
    check_parts(model)
    sizes = asdict(config)
    return {"name": name, "config": {key: plain(value) for key, value in sizes.items()}}


def check_parts(model: Any) -> None:
    """Refuse a model that its configuration does not build: a part was exchanged, added or removed.

    It would not load, or load as another model.
    """
    name = type(model).__name__
    found, built = (
        parts_of(m) for m in (model, type(model)(model.config, rng=Budget(sys.maxsize)))
    )
    differing = [k for k in (found | built) if found.get(k) != built.get(k)]
    if differing:
        raise CheckpointError(
            f"expected the {name} that its {name}Config builds, but {', '.join(differing[:5])}"
            f"{', …' * (len(differing) > 5)} is of another kind, shape or place; {BY_HAND}"
        )


def parts_of(model: Module) -> dict[str, Any]:
    """The class of every module, and the shape of every parameter, by name."""
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    return {name: type(part) for name, part in model.named_modules()} | shapes


def plain(value: Any) -> Any:
    """A number as Python's own."""
    return value.item() if isinstance(value, np.generic) else value


def particulars(model: Any, packing: Packing) -> dict[str, Any]:
    """What the configuration does not say: the dtype, what is not trained, whose generator."""
    parameters = dict(model.named_parameters())
    dtypes = sorted({str(parameter.dtype) for parameter in parameters.values()})
    if len(dtypes) != 1 or dtypes[0] not in FLOATING:
        raise CheckpointError(
            f"expected parameters of one dtype, which is {' or '.join(FLOATING)}, got "
            f"{' and '.join(dtypes)}; convert the whole model with astype"
        )
    name, config = type(model).__name__, model.config
    asked, allowed = table_of(name, config), most_of_table(sum(p.size for p in parameters.values()))
    if asked > allowed:
        raise CheckpointError(
            f"expected {' × '.join(TABLES[name])} of at most {allowed:,}, got "
            f"{asked:,}: loading would refuse a larger table; take a smaller max_length"
        )
    held = {id(rng): rng for part in model.modules() for rng in generators_of(part)}
    if len(held) > 1:
        raise CheckpointError("expected a model with one generator, which all its parts use")
    return {
        "dtype": dtypes[0],
        "frozen": [name for name, p in parameters.items() if not p.requires_grad],
        "rng": packing.number(*held.values()) if held else None,
    }


def generators_of(part: Module) -> list[np.random.Generator]:
    """The generators that a module was given; the library's own is everybody's."""
    return [x for x in vars(part).values() if isinstance(x, np.random.Generator) and x is not OWN]


# ── loading ──────────────────────────────────────────────────────────────────────────────────────
def rebuilt(
    saved: Mapping[str, Any], weights: Mapping[str, Array], rng: np.random.Generator | None
) -> Module:
    """A model of the saved class and sizes, with these weights, in evaluation mode.

    Raises:
        ValueError: there is no such model, or it would be larger than its weights.
        TensorError: sizes that do not fit, or weights that are missing, too many or of another
            shape; all of them are named.
    """
    name = saved["name"]
    if name not in models.__all__ or f"{name}Config" not in models.__all__:
        raise ValueError(f"unknown model {name!r}")
    config = getattr(models, f"{name}Config")(**saved["config"])
    if saved["dtype"] not in FLOATING:
        raise ValueError(f"the dtype {saved['dtype']!r} is none of {', '.join(FLOATING)}")
    numbers = sum(array.size for array in weights.values())
    if table_of(name, config) > most_of_table(numbers):
        raise ValueError(TOO_LARGE)
    getattr(models, name)(config, rng=Budget(REDRAWN * numbers))
    with own_left_alone():
        model: Module = getattr(models, name)(config, rng=rng)
    model.astype(saved["dtype"])
    model.load_state_dict(weights)
    parameters = dict(model.named_parameters())
    for frozen in saved["frozen"]:
        parameters[frozen].requires_grad = False
    return model.eval()


def table_of(name: str, config: Any) -> int:
    """How many numbers a model's tables have."""
    return prod(getattr(config, size) for size in TABLES.get(name, ()))


def most_of_table(weights: int) -> int:
    """How many numbers a table may have in a model with so many weights."""
    return max(weights, SMALL_TABLE)


class Budget(np.random.Generator):
    """Draws zeros, as long as there are any left."""

    def __init__(self, numbers: int) -> None:
        super().__init__(np.random.PCG64(0))
        self.left = numbers

    def zeros(self, shape: tuple[int, ...]) -> Array:
        """Zeros where numbers would be drawn."""
        self.left -= prod(shape)
        if self.left < 0:
            raise ValueError(TOO_LARGE)
        return np.zeros(shape)

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        """As NumPy's."""
        return self.zeros(size)

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
        """As NumPy's."""
        return self.zeros(size)

    def standard_normal(self, size: Any = None, dtype: Any = float, out: Any = None) -> Any:
        """As NumPy's."""
        return self.zeros(size)


@contextmanager
def own_left_alone() -> Iterator[None]:
    """A model that is given no generator draws from the library's own, which must not move."""
    before = OWN.bit_generator.state
    try:
        yield
    finally:
        OWN.bit_generator.state = before
