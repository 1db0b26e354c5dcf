"""The command line: `tinygrad-attn COMMAND`; COMMANDS has them, and `--help` explains them.

Wrong input is answered by one sentence on standard error and the exit code 2; Ctrl-C by one line
and 130.  What is asked for goes to standard output, progress to standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from ..checkpoint import CheckpointError
from ..data import DataError
from ..engine import TensorError
from ..environment import package_version
from ..extras import ExtraError
from ..train import TrainError
from . import anatomy, bench, check, demo, draw, film, predict, sample, saturation, train, zoo
from .options import Parser, UsageError, plain

COMMANDS = (
    demo, train, sample, predict, check, zoo, draw, anatomy, film, saturation, bench,
)  # fmt: skip
MISTAKES = (
    UsageError,
    DataError,
    TrainError,
    CheckpointError,
    ExtraError,
    TensorError,
    OSError,
    MemoryError,
)


def parser() -> Parser:
    """The parser of the whole command line."""
    whole = Parser(
        prog="tinygrad-attn",
        allow_abbrev=False,
        description="See how gradients flow through attention: train a model, ask it, check its "
        "gradients, draw its graph and the anatomy of its attention, measure its speed.",
        epilog="Start with `tinygrad-attn demo`.  Each command explains itself: "
        "tinygrad-attn COMMAND --help",
    )
    whole.add_argument("--version", action="version", version=f"tinygrad_attn {package_version()}")
    commands = whole.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=Parser
    )
    for command in COMMANDS:
        command.add(commands)
    return whole


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (sys.argv where None); returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console that cannot show "…" shows "?"
    options = parser().parse_args(argv)
    try:
        code: int = options.execute(options)
        if sys.stdout:  # None where it was closed from outside
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, such as `head`, has had enough
        return hush()
    except MISTAKES as error:
        print(f"tinygrad-attn: {sentence(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ntinygrad-attn: stopped; what is written so far stays", file=sys.stderr)
        return 130


def sentence(error: BaseException) -> str:
    """What an error says, on one line."""
    if isinstance(error, MemoryError):
        detail = f" ({error})" if str(error) else ""
        return f"there is not enough memory{detail}; choose smaller sizes"
    text = str(error)
    if isinstance(error, OSError):
        text = f"{error.filename or 'the output'}: {error.strerror or error}"
    return plain(text)


def hush() -> int:
    """Let nothing that is still to be printed fail; the exit code of a program ended by SIGPIPE."""
    with suppress(OSError):  # standard output may be no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141
