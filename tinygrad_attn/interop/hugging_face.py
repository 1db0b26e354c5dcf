"""Models from and to Hugging Face folders.

model = interop.load("path/to/gpt2")            # a folder with config.json, model.safetensors
interop.save(model, "mine")                     # AutoModel.from_pretrained("mine") opens it

Nothing is downloaded.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import Array, TensorError
from ..nn import Module
from . import bert, files, gpt2, llama, vit
from .errors import InteropError
from .layout import exported, imported

# model_type -> the module with LAYOUT, MODEL and how the configuration reads here and there.
KINDS: dict[str, Any] = {"bert": bert, "gpt2": gpt2, "llama": llama, "vit": vit}

# Settings that do not change what is computed: dropout, the classes' names; and `bias`, which the
# arrays show.
WITHOUT_EFFECT = r"pdrop|dropout|label|^bias$"


def load(folder: str | os.PathLike[str], *, rng: np.random.Generator | None = None) -> Module:
    """The model in a folder, in evaluation mode.

    Its parameters have the dtype of the weights: float64 or float32; half precision becomes
    float32, which holds it exactly.

    Args:
        folder: with `config.json`, whose `model_type` is one of KINDS, and `model.safetensors`.
        rng: generator for dropout; the library's own where None.

    Raises:
        InteropError: files cannot be read, the configuration describes something that our model
            cannot compute, or weights are missing, extra, misshaped, transposed or not tied as they
            should be; all of it is listed.
        ExtraError: safetensors is not installed.
    """
    values, tensors = files.read(Path(folder))
    kind = kind_of(values)
    try:
        model: Module = kind.MODEL(config_in(values, tensors), rng=rng)
    except TensorError as error:
        raise InteropError(f"{folder}: the configuration", [str(error)]) from error
    model.astype(dtype_of(tensors))
    model.load_state_dict(imported(model, kind.LAYOUT, tensors))
    return model.eval()


def config_in(values: dict[str, Any], tensors: dict[str, Array]) -> Any:
    """Our configuration for what is in a folder."""
    kind = kind_of(values)
    try:
        return kind.config_here(values, {kind.LAYOUT.name(name) for name in tensors})
    except InteropError:
        raise
    except (TensorError, TypeError, ValueError) as error:
        raise InteropError("the configuration", [str(error)]) from error


def load_weights(model: Any, folder: str | os.PathLike[str]) -> None:
    """Give `model` the weights in a folder; they are converted to its dtype.

    Raises:
        InteropError: as in `load`, or the folder's model computes something else with them: it has
            other heads, another activation, …  The model is then untouched.
        ExtraError: safetensors is not installed.
    """
    values, tensors = files.read(Path(folder))
    kind = kind_for(model, kind_of(values))
    own, read = (kind.config_there(c) for c in (model.config, config_in(values, tensors)))
    differing = [
        f"{name} is {read[name]} in the folder, {own[name]} in the model"
        for name in own
        if own[name] != read[name] and not re.search(WITHOUT_EFFECT, name)
    ]
    try:
        state = imported(model, kind.LAYOUT, tensors)
    except InteropError as error:
        differing += error.problems
    if differing:
        raise InteropError(f"the weights do not fit this {type(model).__name__}", differing)
    model.load_state_dict(state)


def save(model: Any, folder: str | os.PathLike[str]) -> Path:
    """Write a model as a folder that transformers opens; the weights keep their bits.

    Raises:
        InteropError: there is no such kind of model there, or the folder cannot be written.
        ExtraError: safetensors is not installed.
    """
    kind = kind_for(model)
    tensors = exported(model, kind.LAYOUT)
    dtypes = sorted({str(array.dtype) for array in tensors.values()})
    values = kind.config_there(model.config) | {"dtype": dtypes[-1]}
    return files.write(Path(folder), values, tensors)


def kind_of(values: dict[str, Any]) -> Any:
    """The module for a `config.json`."""
    name = values.get("model_type")
    if name not in KINDS:
        raise InteropError(files.CONFIG, [f"model_type is {name!r}, expected one of "
                                          f"{', '.join(KINDS)}"])  # fmt: skip
    return KINDS[name]


def kind_for(model: Module, kind: Any = None) -> Any:
    """The module for a model; refused if it is not `kind`."""
    found = [k for k in KINDS.values() if type(model) is k.MODEL and kind in (None, k)]
    if not found:
        expected = [k.MODEL.__name__ for k in (KINDS.values() if kind is None else [kind])]
        raise InteropError("the model", [f"it is a {type(model).__name__}, expected "
                                         f"{' or '.join(expected)}"])  # fmt: skip
    return found[0]


def dtype_of(tensors: dict[str, Array]) -> np.dtype[Any]:
    """float64 where a weight is, else float32."""
    wide = any(array.dtype == np.float64 for array in tensors.values())
    return np.dtype(np.float64 if wide else np.float32)
