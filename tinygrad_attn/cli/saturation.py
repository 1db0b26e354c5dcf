"""`tinygrad-attn saturation`: what grows with the width of a head, and what with the length."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from ..environment import limited_blas
from ..extras import need
from ..study import Sweep
from ..study import saturation as measured
from ..study.saturation import LARGEST, SIZES
from ..viz import plots
from .options import Parser, add_seed, folder, integer, number, subparser
from .tables import counted, print_table

SUMMARY = "measure why attention divides by √d_k, and what the length of a sentence does"
TEXT = """Draw random queries, keys and values, and measure attention with the factor 1/√d_k and
without it, in float64: once for wider and wider heads, once for longer and longer sentences.
The entries of Q and K are N(0, sigma²), those of V and of the upstream gradient dC N(0, 1).

  var S      variance of the scores
  largest    largest score of a row, mean over the rows
  entropy    of a row of P in nats, and as a share of ln T
  ‖J‖        Frobenius norm of softmax's Jacobian diag(p) − p pᵀ, mean over the rows
  ‖dQ‖/√d    of a row, against about 1 for dC: of the median row, and root mean square

Writes saturation-width.png, saturation-length.png and saturation.json, which has every draw."""
EXAMPLES = """
--widths 8,64,512 --length 256
--lengths 16,256,4096 --width 128 --sigma 2 --out lab"""
HEADINGS = ("d_k", "T", "factor", "var S", "largest", "entropy", "/ ln T", "‖J‖", "‖dQ‖/√d", "rms")
FACTORS = ("1/√d", "none")  # as the rows of a Sweep


def add(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add this command's options."""
    parser = subparser(commands, "saturation", SUMMARY, TEXT, EXAMPLES)
    for name, least, what in (("widths", 1, "of a head"), ("lengths", 2, "of a sentence, in keys")):
        parser.add_argument(
            f"--{name}",
            type=rising(least),
            default=SIZES,
            metavar="N,N,…",
            help=f"{name} {what} to go through, rising (default: 4,8,16,…,4096)",
        )
    for name, least, other in (("width", 1, "lengths"), ("length", 2, "widths")):
        parser.add_argument(
            f"--{name}",
            type=integer(least, LARGEST),
            default=64,
            metavar="N",
            help=f"{name} while the {other} go up (default: 64)",
        )
    parser.add_argument(
        "--sigma",
        type=number(0, 1_000, above=True),
        default=1.0,
        metavar="X",
        help="standard deviation of the entries of Q and K (default: 1)",
    )
    parser.add_argument(
        "--draws",
        type=integer(1, 1_000),
        default=16,
        metavar="N",
        help="how often each point is drawn (default: 16)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("tinygrad-attn-saturation"),
        metavar="FOLDER",
        help="folder for what is written (default: tinygrad-attn-saturation)",
    )
    add_seed(parser, "all draws")
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Measure, print the table, write the pictures and the numbers."""
    out = folder(options.out)
    need("matplotlib", "the pictures")
    sweeps = swept(options)
    for sweep in sweeps:
        lines = [cells(sweep, at, factor) for at in range(len(sweep.sizes)) for factor in (0, 1)]
        print_table(HEADINGS, lines, [""] * len(lines))
    out.mkdir(parents=True, exist_ok=True)
    written = [plots.saturation(s, out / f"saturation-{s.along}.png") for s in sweeps]
    numbers = out / "saturation.json"
    numbers.write_text(
        json.dumps([s.as_dict() for s in sweeps], ensure_ascii=False, indent=1), encoding="utf-8"
    )
    print(*written, numbers, sep="\n")
    return 0


def swept(options: argparse.Namespace) -> list[Sweep]:
    """Both sweeps, with a progress bar where there is a terminal."""
    sizes = {"width": options.widths, "length": options.lengths}
    fixed = {"width": options.length, "length": options.width}
    each = {along: len(values) * options.draws for along, values in sizes.items()}
    with limited_blas(1), counted("measuring", sum(each.values())) as advance:
        return [
            measured(
                along,
                sizes[along],
                fixed=fixed[along],
                sigma=options.sigma,
                draws=options.draws,
                seed=options.seed,
                on_progress=lambda done, total: advance(),
            )
            for along in sizes
        ]


def cells(sweep: Sweep, at: int, factor: int) -> tuple[str, ...]:
    """One line of the table: means over the draws."""
    width, length = sweep.point(sweep.sizes[at])
    names = ("variance", "largest", "entropy", "entropy_share", "jacobian", "gradient")
    values = [sweep.mean(name)[factor, at] for name in (*names, "gradient_rms")]
    return (f"{width:,}", f"{length:,}", FACTORS[factor], *map(figures, values))


def figures(value: float) -> str:
    """Three figures, or all before the point."""
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"


def rising(least: int) -> Callable[[str], tuple[int, ...]]:
    """A type for integers with commas between, each larger than the one before."""
    one = integer(least, LARGEST)

    def parse(text: str) -> tuple[int, ...]:
        sizes = tuple(one(part.strip()) for part in text.split(","))
        if list(sizes) != sorted(set(sizes)):
            raise argparse.ArgumentTypeError(f"expected numbers that rise, got {text!r}")
        return sizes

    return parse
