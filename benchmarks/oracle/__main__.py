"""Command line of the outside cases: `python -m benchmarks.oracle PATH`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from . import gradients, onnx, opinfo
from .operators import Unsupported

ABOUT = """Outside cases with right answers, by this library, through thin adapters.

PATH is a folder with `opdb_oracle.py` and `opinfo/` (PyTorch's OpInfo samples, outputs and
gradients), with `onnx_cases.py` and `onnx/` (ONNX's node cases), or with both.  A wrong answer has
failed; what the library does not offer is unsupported.  Exit code 1 if anything failed.

With --gradients: ours at the inputs of ONNX's cases, against numeric differentiation."""

Report = dict[str, list[Any]]
KINDS = ("passed", "failed", "unsupported")


def loaded(path: Path) -> ModuleType:
    """The module in a file, whose `Unsupported` is ours."""
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no module")
    module = module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    vars(module)["Unsupported"] = Unsupported
    return module


def reports(folder: Path) -> Iterator[tuple[str, dict[str, Report]]]:
    """(title, a report for each operator) of every suite that is there."""
    if (folder / "opdb_oracle.py").exists():
        report = loaded(folder / "opdb_oracle.py").run(opinfo.ADAPTERS, str(folder / "opinfo"))
        yield "PyTorch OpInfo", by_op(report)
    if (folder / "onnx_cases.py").exists():
        loader = loaded(folder / "onnx_cases.py")
        cases = list(loader.iter_cases(str(folder / "onnx"), ops=loader.CORE, expanded=True))
        single = [case for case in cases if not case.expanded]
        yield (
            "ONNX nodes",
            {
                op: loader.run_cases(onnx.ADAPTERS, [c for c in single if c.op_type == op])
                for op in sorted({case.op_type for case in single})
            },
        )
        bodies = [case for case in cases if case.expanded]
        yield "ONNX bodies", {"graphs of primitives": loader.run_cases(onnx.BODIES, bodies)}


def by_op(report: Report) -> dict[str, Report]:
    """A report of samples named "op.variant[number]", op by op."""
    ops: dict[str, Report] = {}
    for kind in KINDS:
        for entry in report[kind]:
            name = entry if isinstance(entry, str) else entry[0]
            op = name.rpartition("[")[0].rpartition(".")[0]
            ops.setdefault(op, {k: [] for k in KINDS})[kind].append(entry)
    return dict(sorted(ops.items()))


def printed(title: str, ops: dict[str, Report]) -> Counter[str]:
    """Show a suite, a line for each operator, and what did not pass; the totals."""
    print(f"{title:45} {'passed':>7} {'failed':>7} {'unsupported':>12}")
    total: Counter[str] = Counter()
    for op, report in ops.items():
        counts = Counter({kind: len(report[kind]) for kind in KINDS})
        total += counts
        print(f"  {op:43} {counts['passed']:7} {counts['failed']:7} {counts['unsupported']:12}")
        for name, reason in report["failed"]:
            print(f"    FAILED {name}: {' '.join(str(reason).split())[:300]}")
        for reason, number in Counter(reason for _, reason in report["unsupported"]).items():
            print(f"    {number} unsupported: {reason}")
    answered = sum(1 for report in ops.values() if report["passed"] and not report["failed"])
    print(
        f"{title}: {answered} of {len(ops)} operators, {total['passed']} of {total.total()} cases "
        f"right, {total['failed']} wrong, {total['unsupported']} unsupported\n"
    )
    return total


def differentiated(folder: Path, parser: argparse.ArgumentParser) -> int:
    """Check gradients at the inputs of ONNX's cases, and show how many came out how."""
    if not (folder / "onnx_cases.py").exists():
        parser.error(f"{folder}: expected onnx_cases.py in this folder")
    loader = loaded(folder / "onnx_cases.py")
    lines = list(gradients.table(loader.iter_cases(str(folder / "onnx"), ops=loader.CORE)))
    print("\n".join(lines))
    return 1 if any(line.startswith("wrong") for line in lines) else 0


def main(given: list[str] | None = None) -> int:
    """Run every suite in the folder."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.oracle", description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("path", type=Path, metavar="PATH", help="the folder with the cases")
    parser.add_argument("--gradients", action="store_true", help="check gradients instead")
    options = parser.parse_args(given)
    folder = options.path
    if options.gradients:
        return differentiated(folder, parser)
    totals = [printed(title, ops) for title, ops in reports(folder)]
    if not totals:
        parser.error(f"{folder}: expected opdb_oracle.py or onnx_cases.py in this folder")
    return 1 if any(total["failed"] for total in totals) else 0


if __name__ == "__main__":
    sys.exit(main())
