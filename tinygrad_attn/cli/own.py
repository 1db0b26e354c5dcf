"""Somebody's own function: found by its name, called with random inputs, and judged.

    my_module:score          from a module: of the folder one is in, or installed
    models/mine.py:score     from a file
    my_module:Layer()        what a class or a function makes of nothing

Whatever goes wrong in it, its import included, is told in one sentence with file and line.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..engine import TensorError
from .options import UsageError

PACKAGE = Path(__file__).parent.parent
PYTHON = Path(os.__file__).parent
NUMPY = Path(np.__file__).parent
INPUTS = """inputs (--input):
  3x4           random numbers of this shape; 4 is a vector, scalar a single number
  3x4:positive  from 0.5 to 1.5, for a logarithm or a root
  2x5:int7      tokens: integers from 0 to 6, which have no gradient
  3x3:bool      a mask
  several are separated by commas: 2x3,5x3,2x5:bool"""
LARGEST = 100_000_000  # elements of an input
SHAPE = re.compile(r"scalar|[0-9]+(x[0-9]+)*")
KIND = re.compile(r"positive|bool|int(?P<below>[0-9]+)")


# ── inputs ───────────────────────────────────────────────────────────────────────────────────────
class Input(NamedTuple):
    """What stands for one argument.

    Attributes:
        kind: "" for numbers of both signs, "positive", "bool", or "int" for those below `below`.
    """

    shape: tuple[int, ...]
    kind: str = ""
    below: int = 0

    def drawn(self, rng: np.random.Generator) -> Any:
        """Random numbers of this shape and kind."""
        if self.kind == "positive":
            return rng.uniform(0.5, 1.5, self.shape)
        if self.kind == "bool":
            return rng.random(self.shape) < 0.5
        if self.kind == "int":
            return rng.integers(self.below, size=self.shape)
        return rng.standard_normal(self.shape)


def inputs(text: str) -> list[Input]:
    """The inputs that a text such as "3x4,4:positive" describes; none if it is empty.

    Raises:
        UsageError: it cannot be read.
    """
    return [read(part.strip()) for part in text.split(",")] if text.strip() else []


def read(text: str) -> Input:
    """One input.

    Raises:
        UsageError: it is no shape, or no kind.
    """
    shape, _, kind = text.partition(":")
    known = KIND.fullmatch(kind)
    if not SHAPE.fullmatch(shape) or (":" in text and not known):
        raise UsageError(
            f"--input: expected a shape such as 3x4, 4 or scalar, with :positive, :int7 or :bool "
            f"behind it where needed, got {text!r}"
        )
    lengths = () if shape == "scalar" else tuple(map(int, shape.split("x")))
    if int(np.prod(lengths, dtype=object)) not in range(1, LARGEST + 1):
        raise UsageError(f"--input: expected 1 to {LARGEST:,} elements, got {text!r}")
    below = int(known["below"] or 0) if known else 0
    if known and known["below"] and not 0 < below < 2**63:
        raise UsageError(
            "--input: after int comes a number of 1 or more, below 2**63: int7 is 0 to 6; got "
            f"{text!r}"
        )
    return Input(lengths, "int" if below else kind, below)


# ── the function ─────────────────────────────────────────────────────────────────────────────────
def function_named(name: str) -> Callable[..., Any]:
    """What a name such as "my_module:score" stands for.

    Raises:
        UsageError: there is no such module, file or function, or importing it fails.
    """
    where, _, path = name.rpartition(":")
    makes = path.endswith("()")
    if not where or not all(part.isidentifier() for part in path.removesuffix("()").split(".")):
        raise UsageError(f"expected MODULE:FUNCTION or FILE.py:FUNCTION, got {name!r}")
    with told(f"importing {where}"):
        target: Any = loaded(where)
    for part in path.removesuffix("()").split("."):
        target = member(target, part, where)
    if makes:
        with told(name):
            target = target()
    elif inspect.isclass(target):
        raise UsageError(f"{name} is a class; to check what it makes, write {name}()")
    if not callable(target):
        raise UsageError(f"{name}: expected a function or a layer, got {type(target).__name__}")
    return target


def is_file(where: str) -> bool:
    """Does this name a file, and no module?"""
    return where.endswith(".py") or "/" in where or os.sep in where


def loaded(where: str) -> Any:
    """A module by its name, as `python -m` finds it, or by its file.

    Raises:
        UsageError: there is none.
    """
    if is_file(where):
        return from_file(Path(where))
    sys.path.insert(0, os.getcwd())
    try:
        return import_module(where)
    except ModuleNotFoundError as error:
        if not f"{where}.".startswith(f"{error.name}."):
            raise  # the module is there, and needs one that is not
        raise UsageError(
            f"there is no module {error.name} in {os.getcwd()} nor among the installed ones; a "
            "file is named with its path, as FILE.py:FUNCTION"
        ) from None


def from_file(path: Path) -> Any:
    """The module in a file, which finds its neighbours as a script does.

    Raises:
        UsageError: there is no such file.
    """
    if not path.is_file() or path.suffix != ".py":
        raise UsageError(f"{path}: expected a Python file, but there is none")
    sys.path.insert(0, str(path.resolve().parent))
    spec = spec_from_file_location(f"checked_{path.stem}", path.resolve())
    if spec is None or spec.loader is None:
        raise UsageError(f"{path}: expected a Python file")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def member(target: Any, name: str, where: str) -> Any:
    """An attribute.

    Raises:
        UsageError: there is none; what is called alike is named.
    """
    if not hasattr(target, name):
        close = get_close_matches(name, [n for n in vars(target) if not n.startswith("_")])
        meant = f"; did you mean {' or '.join(close)}?" if close else ""
        raise UsageError(f"{where} has no {name}{meant}")
    return getattr(target, name)


def check_count(f: Callable[..., Any], name: str, given: list[Input]) -> None:
    """Raises: UsageError: `f` takes more inputs, or fewer, or some by name alone."""
    try:
        signature = inspect.signature(getattr(f, "forward", f))
    except (TypeError, ValueError):  # of a builtin, none
        return
    takes = f"{name} takes {signature.replace(return_annotation=signature.empty)}"
    named = [
        p.name
        for p in signature.parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.default is p.empty
    ]
    if named:
        be = "is" if len(named) == 1 else "are"
        raise UsageError(
            f"{takes}: {', '.join(named)} {be} given by name alone; wrap it in a function that "
            f"gives {'it' if len(named) == 1 else 'them'}"
        )
    try:
        signature.bind(*given)
    except TypeError:
        raise UsageError(
            f"{takes}, but --input has {len(given)}; give one for each, as --input 3x4,4"
        ) from None


# ── errors of theirs ─────────────────────────────────────────────────────────────────────────────
@contextmanager
def told(doing: str) -> Iterator[None]:
    """What their code raises becomes one sentence with its file and line.

    Raises:
        UsageError: their code raised something, or the check refuses what it returned.
    """
    try:
        yield
    except (UsageError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit too: a script that ends when it is imported
        place = place_of(error)
        if isinstance(error, TensorError) and place is None:  # said by the check itself
            raise UsageError(f"{doing}: {error}") from error
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        what = f"{type(error).__name__}: {said}" if said else type(error).__name__
        raise UsageError(f"{doing}: {what} ({place or 'inside tinygrad_attn'})") from error


def place_of(error: BaseException) -> str | None:
    """File and line of the innermost frame of their code, or of what cannot be parsed."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{short(error.filename)}, line {error.lineno}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not is_library(f.filename)]
    own = [frame for frame in frames if "site-packages" not in Path(frame.filename).parts] or frames
    return f"{short(own[-1].filename)}, line {own[-1].lineno}" if own else None


def is_library(file: str) -> bool:
    """Is it this package's, NumPy's or Python's own?"""
    path = Path(file)
    python = path.is_relative_to(PYTHON) and "site-packages" not in path.parts
    ours = path.is_relative_to(PACKAGE) or path.is_relative_to(NUMPY)
    return python or ours or file.startswith("<frozen")


def short(file: str) -> str:
    """A file as seen from here."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file
