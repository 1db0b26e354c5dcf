"""Reading the command line: options that say in one sentence what they expect."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from math import inf, isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from ..viz.labels import clean

LARGEST = 1_000_000_000
LONGEST = 4000  # characters of a message


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that explains a mistake in one sentence and exits with 2."""

    def error(self, message: str) -> NoReturn:
        """One sentence on standard error instead of the whole usage."""
        self.exit(2, f"{self.prog}: {plain(message)}; see {self.prog} --help\n")


def plain(message: str) -> str:
    """A message on one line, without what a terminal would obey."""
    return clean(" ".join(message.split()), LONGEST)


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


def choice(*names: str) -> Callable[[str], str]:
    """A type for one of `names`."""

    def parse(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"expected one of {', '.join(names)}, got {text!r}")
        return text

    return parse


SIZES: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "layers": (integer(1, 100), "N", "layers, each with attention"),
    "heads": (integer(1, 1_000), "N", "attention heads in each layer; must divide the width"),
    "width": (integer(1, 20_000), "N", "numbers that stand for one character, patch or word"),
    "length": (integer(1, 100_000), "N", "characters that a gpt sees at once"),
    "dropout": (number(0, 0.99), "P", "probability of dropping a value while training"),
    "attention": (choice("bahdanau", "luong"), "NAME", "of a seq2seq: bahdanau or luong"),
}


def add_seed(parser: argparse._ActionsContainer, what: str, default: int | None = 0) -> None:
    """The option --seed; where `default` is None one can see whether it was given."""
    parser.add_argument(
        "--seed",
        type=integer(0),
        default=default,
        metavar="N",
        help=f"of {what}; the same seed gives the same result (default: 0)",
    )


def add_sizes(parser: argparse.ArgumentParser) -> None:
    """The options for the sizes of models; without one, each model's own is taken."""
    for name, (kind, metavar, text) in SIZES.items():
        parser.add_argument(f"--{name}", type=kind, metavar=metavar, help=text)


def drawing(text: str) -> Path:
    """A type for the name of a picture that matplotlib can write."""
    path = Path(text)
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise argparse.ArgumentTypeError(
            f"expected a name that ends in .png, .svg or .pdf, got {text!r}"
        )
    return path


def folder(path: Path) -> Path:
    """`path`, if it is a folder to write to or one can be made there; nothing is left behind."""
    place = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not place.is_dir():
        raise UsageError(f"--out: expected a folder, but {place} is a file; choose another name")
    refuse_unwritable(f"--out: {path}: expected a folder to write to, but", place)
    return path


def file_to_write(option: str, path: Path | None) -> None:
    """Before the work: can the file that an option names be written?  Nothing is left behind.

    Raises:
        UsageError: there is no such folder, it is not to be written to, or the file is a folder.
    """
    if path is None:
        return
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{option}: there is no folder {path.parent}; make it, or choose another")
    if path.is_dir():
        raise UsageError(f"{option}: {path} is a folder; name a file")
    refuse_unwritable(f"{option}:", path.absolute().parent)


def refuse_unwritable(what: str, place: Path) -> None:
    """Raises: UsageError: nothing can be written to this folder; `what` begins the sentence."""
    try:
        TemporaryDirectory(dir=place).cleanup()
    except OSError as error:
        raise UsageError(
            f"{what} nothing can be written to {place} ({error.strerror}); choose another"
        ) from error
