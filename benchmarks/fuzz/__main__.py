"""Command line of the fuzzing: `python -m benchmarks.fuzz --files 100000`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from .judging import tally

ABOUT = """Make safetensors files and checkpoints, most of them wrong, and read each.

Of a file that is none, our reading must raise its own error and no other; of one that both we and
safetensors accept, both must find the same names, dtypes, shapes, bytes and metadata.  Checkpoints
have a right digest, so that what they say is looked at.  A file may take a second.  Exit code 1 if
something else happened; those files are kept."""


def main(given: list[str] | None = None) -> int:
    """Run the command; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fuzz", description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--files", type=int, default=10_000, metavar="N",
                        help="how many (default: %(default)s)")  # fmt: skip
    parser.add_argument("--first", type=int, default=0, metavar="N",
                        help="number of the first (default: %(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"), metavar="FOLDER",
                        help="for files judged wrongly (default: %(default)s)")  # fmt: skip
    args = parser.parse_args(given)
    if args.files < 1 or args.first < 0:
        parser.error(f"expected --files ≥ 1 and --first ≥ 0, got {args.files} and {args.first}")
    began = time.perf_counter()
    with TemporaryDirectory() as folder:
        numbers = range(args.first, args.first + args.files)
        outcomes = tally(args.seed, numbers, Path(folder), args.out)
    for outcome, count in outcomes.most_common():
        print(f"{count:>10,}  {outcome[:300]}")
    wrong = sum(count for outcome, count in outcomes.items() if outcome.startswith("WRONG"))
    print(f"{args.files:,} files in {time.perf_counter() - began:.0f} s, {wrong:,} judged wrongly")
    if wrong:
        print(f"they are in {args.out}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
