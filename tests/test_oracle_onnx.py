"""The adapters of ONNX's operators: attention against loops, what is refused, gradients.

ONNX's own cases are run by `python -m benchmarks.oracle`; these need nothing from elsewhere.
"""

from __future__ import annotations

from itertools import product
from math import exp, sqrt, tanh
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinygrad_attn as ta
from benchmarks.oracle.__main__ import main
from benchmarks.oracle.gradients import finding
from benchmarks.oracle.onnx import ADAPTERS, Unsupported

Array = np.ndarray[Any, Any]
B, H, KV, T, S, PAST, D, DV = 2, 6, 3, 3, 4, 3, 5, 2
OUTPUTS = ("Y", "present_key", "present_value", "qk_matmul_output")
NAMES = ("q", "k", "v", "mask", "past_key", "past_value", "lengths")


def case(op: str, inputs: list[Any], outputs: tuple[str, ...] = ("y",), **attrs: Any) -> Any:
    """What the loader gives an adapter, as far as it looks."""
    names = [f"x{i}" if x is not None else "" for i, x in enumerate(inputs)]
    return SimpleNamespace(
        name=op, op_type=op, inputs=inputs, attrs=attrs, input_names=names, output_names=outputs
    )


def run(op: str, inputs: list[Any], outputs: tuple[str, ...] = ("y",), **attrs: Any) -> list[Any]:
    return ADAPTERS[op](inputs, attrs, case(op, inputs, outputs, **attrs))


# ── attention ────────────────────────────────────────────────────────────────────────────────────
def reference(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None,
    past: int,
    lengths: Array | None,
    *,
    causal: bool,
    left: int,
    right: int,
    softcap: float,
    mode: int,
) -> tuple[Array, Array]:
    """Attention of opset 25, a number at a time: Y and the scores of the mode."""
    keys = k.shape[-2]
    out, scores = np.zeros((*q.shape[:-1], v.shape[-1])), np.zeros((*q.shape[:-1], keys))
    for b, h, i in np.ndindex(q.shape[:-1]):
        head = h // (q.shape[1] // k.shape[1])
        position = i + (past if lengths is None else int(lengths[b]) - q.shape[2])
        valid = keys if lengths is None else int(lengths[b])
        steps: list[list[float]] = []
        for j in range(keys):
            score = float(q[b, h, i] @ k[b, head, j]) / sqrt(q.shape[-1])
            capped = softcap * tanh(score / softcap) if softcap else score
            blocked = (
                (causal and j > position)
                or (left >= 0 and j < position - left)
                or (right >= 0 and j > position + right)
                or j >= valid
            )
            added = 0.0
            if mask is not None:
                given = np.broadcast_to(mask, (*q.shape[:-1], mask.shape[-1]))[b, h, i]
                inside = j < len(given)
                blocked = blocked or not inside or (mask.dtype == bool and not given[j])
                added = float(given[j]) if inside and mask.dtype != bool else 0.0
            steps.append([score, capped, -np.inf if blocked else capped + added])
        masked = [step[2] for step in steps]
        total = sum(exp(x) for x in masked)
        weights = [exp(x) / total if total else 0.0 for x in masked]
        for j in range(keys):
            scores[b, h, i, j] = [*steps[j], weights[j]][mode]
            out[b, h, i] += weights[j] * v[b, head, j]
    return out, scores


MASKS = ("none", "keys", "square", "heads", "whole", "added", "short")
BEFORE = ("nothing", "past", "padding")
COMBINATIONS = list(product(MASKS, BEFORE, (False, True)))


def drawn_mask(kind: str, keys: int, rng: np.random.Generator) -> Array | None:
    shapes = {
        "keys": (keys,),
        "square": (T, keys),
        "heads": (H, T, keys),
        "whole": (B, 1, T, keys),
        "added": (B, H, T, keys),
        "short": (T, keys - 1),
    }
    if kind == "none":
        return None
    if kind == "added":
        return rng.standard_normal(shapes[kind])
    return rng.random(shapes[kind]) < 0.6


@pytest.mark.parametrize(("kind", "before", "causal"), COMBINATIONS)
def test_attention_of_every_combination(kind: str, before: str, causal: bool) -> None:
    """Windows, soft caps and modes are drawn; each combination of the rest is met."""
    rng = np.random.default_rng(COMBINATIONS.index((kind, before, causal)))
    past = PAST if before == "past" else 0
    q = rng.standard_normal((B, H, T, D))
    k, v = (rng.standard_normal((B, KV, S, width)) for width in (D, DV))
    earlier = [rng.standard_normal((B, KV, past, n)) if past else None for n in (D, DV)]
    lengths = np.array([S, 1]) if before == "padding" else None
    mask = drawn_mask(kind, past + S, rng)
    left, right = rng.integers(-1, 3, 2).tolist()
    softcap, mode = float(rng.choice([0.0, 0.7])), int(rng.integers(0, 4))
    whole = [x if y is None else np.concatenate([y, x], -2) for x, y in zip((k, v), earlier)]
    expected = reference(
        q,
        *whole,
        mask,
        past,
        lengths,
        causal=causal,
        left=left,
        right=right,
        softcap=softcap,
        mode=mode,
    )
    options = {
        "is_causal": int(causal),
        "left_window_size": left,
        "right_window_size": right,
        "softcap": softcap,
        "qk_matmul_output_mode": mode,
    }
    inputs = [q, k, v, mask, *earlier, lengths]
    out, key, value, scores = run("Attention", inputs, OUTPUTS, **options)
    np.testing.assert_allclose(out, expected[0], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(scores, expected[1], rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(key, whole[0])
    np.testing.assert_array_equal(value, whole[1])
    (alone,) = run("Attention", inputs, ("Y",), **options)  # by a kernel
    np.testing.assert_allclose(alone, expected[0], rtol=1e-12, atol=1e-14)


def test_heads_side_by_side(rng: np.random.Generator) -> None:
    q = rng.standard_normal((B, T, H * D))
    k, v = rng.standard_normal((B, S, KV * D)), rng.standard_normal((B, S, KV * DV))
    (out,) = run("Attention", [q, k, v], ("Y",), q_num_heads=H, kv_num_heads=KV, scale=0.3)
    apart = [
        x.reshape(B, -1, heads, x.shape[-1] // heads).transpose(0, 2, 1, 3)
        for x, heads in ((q, H), (k, KV), (v, KV))
    ]
    (expected,) = run("Attention", apart, ("Y",), scale=0.3)
    np.testing.assert_array_equal(out, expected.transpose(0, 2, 1, 3).reshape(B, T, -1))


# ── others ───────────────────────────────────────────────────────────────────────────────────────
def test_norms_give_their_statistics(rng: np.random.Generator) -> None:
    x, weight = rng.standard_normal((2, 3, 5)), rng.standard_normal((3, 5))
    out, mean, scale = run("LayerNormalization", [x, weight], axis=1, epsilon=0.1)
    assert mean.shape == scale.shape == (2, 1, 1)
    np.testing.assert_allclose(out, (x - mean) * scale * weight, rtol=1e-12)
    np.testing.assert_allclose(mean[:, 0, 0], x.reshape(2, 15).mean(1))


def test_one_hot_wraps_once_and_is_off_beyond() -> None:
    (out,) = run("OneHot", [np.array([0, -1, 3, -4]), np.array(3), np.array([2.0, 5.0])], axis=0)
    np.testing.assert_array_equal(out, [[5, 2, 2, 2], [2, 2, 2, 2], [2, 5, 2, 2]])


def test_top_k_takes_the_first_of_equals_first() -> None:
    x = np.array([[2, 7, 7, 1], [3, 3, 3, 5]], np.uint64)
    values, places = run("TopK", [x, np.array([3])])
    np.testing.assert_array_equal(values, [[7, 7, 2], [5, 3, 3]])
    np.testing.assert_array_equal(places, [[1, 2, 0], [3, 0, 1]])
    _, places = run("TopK", [x, np.array([2])], largest=0)
    np.testing.assert_array_equal(places, [[3, 0], [0, 1]])


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scattering_of_parts(reduction: str, rng: np.random.Generator) -> None:
    x, new = rng.standard_normal((2, 3, 5)), rng.standard_normal((3, 5))
    at = np.array([[1, 2], [0, 0], [1, 2]])
    expected = x.copy()
    meet = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
    for (i, j), row in zip(at, new):
        expected[i, j] = row if reduction == "none" else meet[reduction](expected[i, j], row)
    (out,) = run("ScatterND", [x, at, new], reduction=reduction)
    np.testing.assert_allclose(out, expected, rtol=1e-14)


def test_quotients_of_integers_are_cut_off() -> None:
    (out,) = run("Div", [np.array([7, -7, -6, 7]), np.array([2, 2, 2, -2])])
    np.testing.assert_array_equal(out, [3, -3, -3, -3])
    (out,) = run("Mod", [np.array([7, -7, -6, 7]), np.array([2, 2, 2, -2])])
    np.testing.assert_array_equal(out, [1, 1, 0, -1])
    (out,) = run("Mod", [np.array([7.5, -7.5]), np.array([2.0, 2.0])], fmod=1)
    np.testing.assert_array_equal(out, [1.5, -1.5])


def test_pads_of_a_convolution_are_those_before_then_those_after() -> None:
    x, weight = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[1.0, 10.0]]])
    (out,) = run("Conv", [x, weight, np.array([100.0])], pads=[2, 1], strides=[2])
    np.testing.assert_array_equal(out, [[[100, 121, 103]]])


def test_slices_with_negative_steps() -> None:
    x = np.arange(5)
    (out,) = run("Slice", [x, np.array([3]), np.array([-9]), np.array([0]), np.array([-2])])
    np.testing.assert_array_equal(out, [3, 1])


@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "message"),
    [
        ("Softmax", [np.ones(3)], {"beta": 2.0}, "Softmax with beta=2.0"),
        ("Equal", [np.array(["a"]), np.array(["b"])], {}, "Equal of <U1"),
        ("Dropout", [np.ones(3), None, np.array(True)], {}, "Dropout while training"),
        ("Attention", [np.ones((1, 1, 2, 2))] * 3, {"softmax_precision": 16}, "bfloat16"),
        ("Pad", [np.ones(3), np.array([1, -1])], {}, r"Pad with widths \(1, -1\): borders are not"),
        ("Conv", [np.ones((1, 1, 3))] * 2, {"auto_pad": "SAME_UPPER"}, "auto_pad=SAME_UPPER"),
        ("ReduceMax", [np.ones((0, 3)), np.array([0])], {}, "the max of no element"),
    ],
)
def test_what_is_not_offered_is_refused(
    op: str, inputs: list[Any], attrs: dict[str, Any], message: str
) -> None:
    with pytest.raises(Unsupported, match=message):
        run(op, inputs, **attrs)


def test_an_array_of_an_unknown_dtype_is_refused() -> None:
    """bfloat16, which the loader gives as None under the input's name."""
    given = case("Relu", [np.ones(3)])
    with pytest.raises(Unsupported, match="Relu of bfloat16"):
        ADAPTERS["Relu"]([None], {}, given)


# ── gradients ────────────────────────────────────────────────────────────────────────────────────
def test_gradients_at_a_case(rng: np.random.Generator) -> None:
    q, k, v = (rng.standard_normal((1, 2, 3, 5)).astype(np.float32) for _ in range(3))
    attention = case("Attention", [q, k, v], OUTPUTS, is_causal=1, qk_matmul_output_mode=2)
    assert finding(attention).verdict == "right"
    with ta.softmax.replaced_vjp("x", lambda g, out: g * out * (1 - out)):
        assert finding(attention).verdict == "wrong"
    assert finding(case("Relu", [np.array([0.0, 1.0])])).verdict == "undecided"
    assert finding(case("IsNaN", [np.array([0.3])])).verdict == "not differentiable"
    assert finding(case("Add", [np.ones(3, int)] * 2)).verdict == "not differentiable"
    assert finding(case("Softmax", [np.ones(3)], beta=2.0)).verdict == "unsupported"


LOADER = """
from types import SimpleNamespace
import numpy as np

CORE = ()

class Unsupported(Exception):
    pass

def iter_cases(folder, ops=(), expanded=False):
    for op, x, y in (("Tanh", [0.3, -0.5], np.tanh([0.3, -0.5])), ("Relu", [0.0], [0.0])):
        yield SimpleNamespace(
            name=op.lower(), op_type=op, tier="unary", inputs=[np.array(x)], outputs=[np.array(y)],
            attrs={}, input_names=["x"], output_names=["y"], expanded=False,
        )

def run_cases(adapters, cases):
    report = {"passed": [], "failed": [], "unsupported": []}
    for case in cases:
        (y,) = adapters[case.op_type](case.inputs, case.attrs, case)
        right = np.allclose(y, case.outputs[0], rtol=1e-3)
        report["passed" if right else "failed"].append(case.name if right else (case.name, "no"))
    return report
"""


def test_the_command_runs_cases_and_checks_gradients(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "onnx_cases.py").write_text(LOADER)
    assert main([str(tmp_path)]) == 0
    assert "ONNX nodes: 2 of 2 operators, 2 of 2 cases right, 0 wrong" in capsys.readouterr().out
    assert main([str(tmp_path), "--gradients"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].split() == ["unary", "1", "0", "1", "0", "0"]
    assert shown[-1].startswith("undecided: relu: there is a kink at this point")
    with ta.tanh.replaced_vjp("x", lambda g, out: g * (1 + out * out)):
        assert main([str(tmp_path), "--gradients"]) == 1
    assert "wrong: tanh: " in capsys.readouterr().out


def test_gradients_need_cases_of_onnx(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--gradients"])
    assert "expected onnx_cases.py in this folder" in capsys.readouterr().err
