"""`python -m benchmarks.oracle`: right, wrong and missing answers are told apart.

The outside cases need not be there: a loader and a few samples in their format are made here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.oracle import opinfo
from benchmarks.oracle.__main__ import main
from benchmarks.oracle.samples import differentiated

LOADER = '''"""As the frozen samples' own: arrays in an npz, calls in a json."""
import json
import numpy as np

class Unsupported(Exception):
    pass

def samples(path):
    with np.load(path + "/opdb.npz") as opened, open(path + "/opdb.json") as rows:
        store, rows = dict(opened), json.load(rows)
    for row in rows:
        arrays = {key: store[at] for key, at in row["arrays"].items()}
        yield row["name"], {
            "input": [arrays[k] for k in row["input"]] if row["listed"] else arrays[row["input"]],
            "args": [arrays.get(a, a) if isinstance(a, str) else a for a in row["args"]],
            "kwargs": row["kwargs"], "wrt": [arrays[k] for k in row["wrt"]],
            "cot": [arrays["g"]], "out": arrays["out"], "grads": [arrays[k] for k in row["grads"]],
        }

def run(adapter, path):
    report = {"passed": [], "failed": [], "unsupported": []}
    for name, sample in samples(path):
        try:
            op = name.rpartition("[")[0].rpartition(".")[0]
            if op not in adapter:
                raise Unsupported(op)
            outs, grads = adapter[op](sample)
            np.testing.assert_allclose(outs[0], sample["out"], rtol=1e-9)
            for got, right in zip(grads, sample["grads"], strict=True):
                np.testing.assert_allclose(got, right, rtol=1e-9)
            report["passed"].append(name)
        except Unsupported as error:
            report["unsupported"].append((name, str(error)))
        except Exception as error:
            report["failed"].append((name, str(error)))
    return report
'''
RNG = np.random.default_rng(7)
A, B, G = (RNG.standard_normal((2, 3)) for _ in range(3))


def sample(
    name: str, given: Any, args: Any, out: Any, grads: dict[str, Any], **kwargs: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A row and its arrays: `grads` by the name of the argument, a and b."""
    arrays = {"a": A, "b": B, "g": G, "out": out, **{f"d{k}": v for k, v in grads.items()}}
    row = {
        "name": name, "input": given, "listed": isinstance(given, list), "args": args,
        "kwargs": kwargs, "wrt": list(grads), "grads": [f"d{k}" for k in grads],
    }  # fmt: skip
    return row, arrays


RIGHT = (
    sample("add.[0]", "a", ["b"], A + 2 * B, {"a": G, "b": 2 * G}, alpha=2),
    sample("mul.[1]", "a", ["b"], A * B, {"a": G * B, "b": G * A}),
    sample("nn.functional.relu.[2]", "a", [], np.maximum(A, 0), {"a": G * (A > 0)}, inplace=False),
    sample("flip.both[3]", "a", [], A[::-1, ::-1], {"a": G[::-1, ::-1]}, dims=[0, 1]),
)
MISSING = (
    sample("nn.functional.relu.[4]", "a", [], A, {"a": G}, inplace=True),
    sample("nothing.of.the.sort.[5]", "a", [], A, {"a": G}),
)
WRONG_VALUE = sample("sub.[6]", "a", ["b"], (A - B) * (1 + 1e-6), {"a": G, "b": -G})
WRONG_GRADIENT = sample("tanh.[7]", "a", [], np.tanh(A), {"a": G * (1 - np.tanh(A))})


def frozen(folder: Path, *rows: tuple[dict[str, Any], dict[str, Any]]) -> str:
    """The samples on disk, beside their loader."""
    (folder / "opinfo").mkdir()
    store, listed = {}, []
    for k, (row, arrays) in enumerate(rows):
        store.update({f"{k}{key}": value for key, value in arrays.items()})
        listed.append({**row, "arrays": {key: f"{k}{key}" for key in arrays}})
    np.savez(folder / "opinfo" / "opdb.npz", **store)
    (folder / "opinfo" / "opdb.json").write_text(json.dumps(listed), encoding="utf-8")
    (folder / "opdb_oracle.py").write_text(LOADER, encoding="utf-8")
    return str(folder)


def test_right_and_missing_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([frozen(tmp_path, *RIGHT, *MISSING)]) == 0
    shown = capsys.readouterr().out
    assert "4 of 5 operators, 4 of 6 cases right, 0 wrong, 2 unsupported" in shown
    assert "unsupported: inplace=True: tensors are read-only" in shown
    assert "FAILED" not in shown


@pytest.mark.parametrize("planted", [WRONG_VALUE, WRONG_GRADIENT])
def test_a_planted_wrong_answer_fails_by_name(
    planted: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([frozen(tmp_path, *RIGHT, planted)]) == 1
    shown = capsys.readouterr().out
    assert f"FAILED {planted[0]['name']}: Not equal to tolerance" in shown
    assert "4 of 5 operators, 4 of 5 cases right, 1 wrong" in shown


def test_an_adapter_that_breaks_has_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(opinfo.ADAPTERS, "mul", differentiated(lambda a, b: a @ b))
    assert main([frozen(tmp_path, *RIGHT)]) == 1
    assert "FAILED mul.[1]: matmul: shapes (2, 3) and (2, 3) do not fit" in capsys.readouterr().out


def test_a_folder_without_cases_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refusal:
        main([str(tmp_path)])
    assert refusal.value.code == 2
    assert "expected opdb_oracle.py or onnx_cases.py" in capsys.readouterr().err


# ── the adapters' own choices ────────────────────────────────────────────────────────────────────
def answer(op: str, given: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """The first output and the gradient of `given` for an upstream gradient of ones."""
    sample = {"input": given, "args": list(args), "kwargs": kwargs, "wrt": [given], "cot": [None]}
    outs, grads = opinfo.ADAPTERS[op](sample)
    return outs[0].tolist(), grads[0].tolist()


@pytest.mark.parametrize(
    ("op", "values", "args", "options", "value", "gradient"),
    [
        ("median", [3.0, 1.0, 2.0, 5.0], [], {}, 2, [0, 0, 1, 0]),  # the lower one
        ("norm", [3.0, 4.0], [], {}, 5, [0.6, 0.8]),
        ("std", [1.0, 2.0, 3.0], [], {}, 1, [-0.5, 0, 0.5]),  # n − 1
        ("sum", [1.0, 2.0], [], {"dim": ()}, 3, [1, 1]),  # () means all
        ("select", [1.0, 2.0], [0, -1], {}, 2, [0, 1]),
        ("narrow", [1.0, 2.0, 3.0], [0, 1, 1], {}, [2], [0, 1, 0]),
        ("t", [1.0], [], {}, [1], [1]),
    ],
)
def test_options_mean_what_pytorch_means(
    op: str, values: Any, args: Any, options: Any, value: Any, gradient: Any
) -> None:
    got, slope = answer(op, np.array(values), *args, **options)
    np.testing.assert_allclose(got, value)
    np.testing.assert_allclose(slope, gradient, atol=1e-15)
