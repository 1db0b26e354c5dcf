"""Reading the command line: options that say in one sentence what they expect."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from math import inf, isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

LARGEST = 1_000_000_000
GPT_SIZES = (  # option, default, largest, help
    ("--layers", 2, 100, "blocks of attention and MLP"),
    ("--heads", 4, 1_000, "attention heads in each block; must divide the width"),
    ("--width", 128, 20_000, "numbers that stand for one character"),
    ("--length", 64, 100_000, "characters the model sees at once"),
)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that explains a mistake in one sentence and exits with 2."""

    def error(self, message: str) -> NoReturn:
        """One sentence on standard error instead of the whole usage."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())}; see {self.prog} --help\n")


class UsageError(Exception):
    """Options that do not fit together."""


def subparser(
    commands: argparse._SubParsersAction[Parser], name: str, summary: str, text: str, examples: str
) -> Parser:
    """The parser of one command: its help is a page with `text` first and `examples` last."""
    lines = "\n".join(f"  tinygrad-attn {name} {line}".rstrip() for line in examples.splitlines())
    return commands.add_parser(
        name,
        help=summary,
        description=text,
        epilog=f"examples:\n{lines}",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def integer(least: int, most: int = LARGEST) -> Callable[[str], int]:
    """A type for integers from `least` to `most`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f"expected an integer from {least} to {most:,}, got {text!r}"
            )
        return value

    return parse


def number(least: float, most: float = inf, *, above: bool = False) -> Callable[[str], float]:
    """A type for finite numbers from `least` (or `above` it) up to `most`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = inf
        if not isfinite(value) or not least <= value <= most or (above and value == least):
            start = f"above {least:g}" if above else f"from {least:g}"
            end = f" to {most:g}" if isfinite(most) else " up"
            raise argparse.ArgumentTypeError(f"expected a number {start}{end}, got {text!r}")
        return value

    return parse


def add_seed(parser: argparse.ArgumentParser, what: str) -> None:
    """The option --seed."""
    parser.add_argument(
        "--seed",
        type=integer(0),
        default=0,
        metavar="N",
        help=f"of {what}; the same seed gives the same result (default: 0)",
    )


def add_sizes(parser: argparse.ArgumentParser) -> None:
    """The options for the sizes of a GPT."""
    for option, default, largest, text in GPT_SIZES:
        parser.add_argument(
            option,
            type=integer(1, largest),
            default=default,
            metavar="N",
            help=f"{text} (default: {default})",
        )


def folder(path: Path) -> Path:
    """`path`, if it is a folder to write to or one can be made there; nothing is left behind."""
    place = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not place.is_dir():
        raise UsageError(f"--out: expected a folder, but {place} is a file; choose another name")
    try:
        TemporaryDirectory(dir=place).cleanup()
    except OSError as error:
        raise UsageError(
            f"--out: {path}: expected a folder to write to, but nothing can be written to {place} "
            f"({error.strerror}); choose another"
        ) from error
    return path
