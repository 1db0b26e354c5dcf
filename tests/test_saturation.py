"""The saturation lab measures what it says, the theory holds, and the picture shows both."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import study
from tinygrad_attn.cli import main
from tinygrad_attn.study.saturation import MEASURES, entropy, jacobian_norm
from tinygrad_attn.viz import plots, sweeps

WITH, WITHOUT = 0, 1


@cache
def by_width() -> study.Sweep:
    return study.saturation("width", (4, 64, 1024), fixed=67, draws=6, seed=3)


@cache
def by_length() -> study.Sweep:
    return study.saturation("length", (5, 64, 1024), fixed=48, draws=6, seed=3)


# ── what is measured ─────────────────────────────────────────────────────────────────────────────
def by_hand(width: int, length: int, sigma: float, queries: int, seed: int, scale: float) -> Any:
    """The measures of one draw from the formulas, with every Jacobian written out."""
    rng = np.random.default_rng((seed, width, length))
    q, g = rng.standard_normal((2, queries, width))
    k, v = rng.standard_normal((2, length, width))
    q, k = sigma * q, sigma * k
    S = q @ k.T * scale
    P = np.exp(S - S.max(axis=1, keepdims=True))
    P /= P.sum(axis=1, keepdims=True)
    J = np.stack([np.diag(p) - np.outer(p, p) for p in P])
    dQ = np.einsum("ijl,il,jd->id", J, g @ v.T, k) * scale
    gains = np.linalg.norm(dQ, axis=1) / np.sqrt(width)
    H = -(P * np.log(P)).sum(axis=1).mean()
    return [
        S.var(),
        S.max(axis=1).mean(),
        H,
        H / np.log(length),
        np.linalg.norm(J, axis=(1, 2)).mean(),
        np.median(gains),
        np.linalg.norm(gains) / np.sqrt(queries),
    ]


@pytest.mark.parametrize("along", ["width", "length"])
def test_every_measure_is_that_of_the_formulas(along: str) -> None:
    sweep = study.saturation(along, (3, 7), fixed=5, sigma=1.3, queries=11, draws=2, seed=4)
    assert list(sweep.measured) == list(MEASURES)
    for at, size in enumerate(sweep.sizes):
        width, length = sweep.point(size)
        assert {width, length} == {size, 5}
        for draw, seed in enumerate(sweep.seeds):
            for factor, scale in enumerate((width**-0.5, 1.0)):
                found = [values[factor, at, draw] for values in sweep.measured.values()]
                expected = by_hand(width, length, 1.3, 11, seed, scale)
                np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_the_norm_of_the_jacobian_is_that_of_the_engine(rng: np.random.Generator) -> None:
    S = ta.Tensor(3 * rng.standard_normal(7))
    J = ta.jacobian(ta.softmax, S)
    P = ta.softmax(S).data
    assert jacobian_norm(P[None])[0] == pytest.approx(np.linalg.norm(J.data), rel=1e-13)


def test_norm_and_entropy_at_both_ends() -> None:
    ends = np.stack([np.eye(5)[2], np.full(5, 0.2)])
    np.testing.assert_allclose(entropy(ends), [0, np.log(5)], rtol=1e-15)
    np.testing.assert_allclose(jacobian_norm(ends), [0, np.sqrt(4) / 5], atol=1e-16)
    tiny = jacobian_norm(
        np.array([1 - 1e-12, 1e-12])
    )  # J is 1e-12 in all four places, but for signs
    assert tiny == pytest.approx(2e-12, rel=1e-9)


def test_a_point_depends_on_its_own_sizes_and_seed_alone() -> None:
    alone = study.saturation("width", (64,), fixed=67, draws=2, seed=4)
    for name, values in by_width().measured.items():
        np.testing.assert_array_equal(alone.measured[name][:, 0], values[:, 1, 1:3])
    assert alone.seeds == (4, 5)
    same_point = study.saturation("length", (67,), fixed=64, draws=2, seed=4)
    for name, values in same_point.measured.items():
        np.testing.assert_array_equal(alone.measured[name], values)


def test_draws_differ() -> None:
    for values in by_width().measured.values():
        assert (np.diff(np.sort(values, axis=-1), axis=-1) > 0).all()


# ── what grows with what ─────────────────────────────────────────────────────────────────────────
def test_the_variance_grows_with_the_width_and_not_with_the_length() -> None:
    for sweep in (by_width(), by_length()):
        expected = sweep.theory["variance"]
        np.testing.assert_allclose(sweep.mean("variance"), expected, rtol=0.15)
    np.testing.assert_allclose(by_width().theory["variance"], [[1, 1, 1], [4, 64, 1024]])
    np.testing.assert_allclose(by_length().theory["variance"], [[1, 1, 1], [48, 48, 48]])


def test_the_variance_goes_with_the_fourth_power_of_sigma() -> None:
    sweep = study.saturation("width", (64,), sigma=2.0, draws=6)
    np.testing.assert_allclose(sweep.theory["variance"], [[16], [1024]])
    np.testing.assert_allclose(sweep.mean("variance"), sweep.theory["variance"], rtol=0.1)


def test_the_largest_score_stays_below_its_bound_and_near_it() -> None:
    share = by_length().mean("largest") / by_length().theory["largest"]
    assert (share < 1).all()
    assert (np.diff(share) > 0).all()
    assert (share[:, -1] > 0.8).all()


def test_entropy_and_norms_come_near_their_limits() -> None:
    sweep, last = by_length(), -1
    for name, error in (("entropy", 0.01), ("jacobian", 0.02), ("gradient_rms", 0.05)):
        expected = sweep.theory[name.removesuffix("_rms")]
        assert sweep.mean(name)[WITH, last] == pytest.approx(expected[WITH, last], rel=error)
    share = sweep.theory["entropy"][WITH] / np.log(sweep.sizes)
    np.testing.assert_allclose(sweep.theory["entropy_share"][WITH], share)


def test_theory_is_silent_where_single_keys_carry_the_weight() -> None:
    silent = ("entropy", "entropy_share", "jacobian", "gradient")
    assert all(np.isnan(by_length().theory[name][WITHOUT]).all() for name in silent)
    holds = [np.isfinite(by_length().theory[name][WITH]).tolist() for name in silent]
    assert holds == [[False, True, True]] * 4  # ln 5 / 2 is below 1, ln 64 / 2 above
    weak = study.saturation("width", (4, 64), sigma=0.5, draws=4)  # s² = 0.25 and 4
    assert np.isfinite(weak.theory["entropy"]).tolist() == [[True, True], [True, False]]
    assert weak.mean("entropy")[WITHOUT, 0] == pytest.approx(
        weak.theory["entropy"][WITHOUT, 0], abs=0.02
    )


def test_the_gradient_lacks_the_factor_too() -> None:
    sweep = study.saturation("width", (64,), fixed=1024, sigma=0.3, draws=4)  # s² = 0.008 and 0.5
    expected = sweep.theory["gradient"]
    assert expected[WITHOUT, 0] > 9 * expected[WITH, 0]
    np.testing.assert_allclose(sweep.mean("gradient_rms"), expected, rtol=0.04)


def test_without_the_factor_wide_heads_saturate() -> None:
    entropy_, jacobian, typical, all_rows = (
        by_width().mean(name) for name in ("entropy", "jacobian", "gradient", "gradient_rms")
    )
    assert np.ptp(entropy_[WITH]) < 0.2
    assert entropy_[WITHOUT, -1] < 0.2
    assert jacobian[WITHOUT, -1] < jacobian[WITH, -1] / 2
    assert typical[WITHOUT, -1] < typical[WITH, -1] / 5  # most rows learn nothing
    assert all_rows[WITHOUT, -1] > 10 * all_rows[WITH, -1]  # and a few far too much


# ── the record ───────────────────────────────────────────────────────────────────────────────────
def test_mean_and_spread() -> None:
    low, high = by_width().spread("variance")
    draws = by_width().measured["variance"]
    assert draws.shape == (2, 3, 6)
    assert (low <= by_width().mean("variance")).all()
    assert (high[1, 2], low[1, 2]) == (max(draws[1, 2]), min(draws[1, 2]))


def test_the_record_is_json_and_keeps_every_number() -> None:
    sweep = by_length()
    read = json.loads(json.dumps(sweep.as_dict(), allow_nan=False))
    assert (read["along"], read["sizes"], read["fixed"]) == ("length", [5, 64, 1024], 48)
    assert (read["seeds"], read["queries"], read["sigma"]) == ([3, 4, 5, 6, 7, 8], 64, 1.0)
    for name, values in sweep.measured.items():
        np.testing.assert_array_equal(np.array(read["measured"][name]), values)
    for name, values in sweep.theory.items():
        np.testing.assert_array_equal(np.array(read["theory"][name], np.float64), values)


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    study.saturation("width", (2, 3), draws=2, on_progress=lambda *at: told.append(at))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"along": "depth"}, "along must be one of"),
        ({"sizes": ()}, "one size or more, rising"),
        ({"sizes": (4, 4)}, "rising, got \\[4, 4\\]"),
        ({"sizes": (0, 4)}, "must be an integer of 1 or more, got 0"),
        ({"sizes": (2.5,)}, "must be an integer of 1 or more, got 2.5"),
        ({"along": "length", "sizes": (1, 4)}, "a length must be 2 or more"),
        ({"fixed": 1}, "a length must be 2 or more"),
        ({"fixed": 0}, "fixed must be an integer"),
        ({"sizes": (1 << 15,)}, "16,384 at most"),
        ({"sizes": (1 << 14,), "fixed": 1 << 11}, "16,777,216"),
        ({"draws": 0}, "draws must be"),
        ({"queries": 0}, "queries must be"),
        ({"seed": -1}, "seed must be"),
        ({"sigma": 0}, "sigma must be a finite number above 0"),
        ({"sigma": float("nan")}, "sigma must be a finite number above 0"),
    ],
)
def test_what_cannot_be_measured_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ta.ShapeError, match=message):
        study.saturation(**{"along": "width", "sizes": (3, 4), "draws": 1, **changed})
    with pytest.raises(ta.DTypeError, match="sigma must be a number"):
        study.saturation("width", (3,), sigma="one")  # type: ignore[arg-type]


# ── the picture ──────────────────────────────────────────────────────────────────────────────────
def texts(picture: Path) -> set[str]:
    return {
        "".join(e.itertext()) for e in ElementTree.parse(picture).iter() if e.tag[-4:] == "text"
    }


@pytest.mark.parametrize("sweep", [by_width, by_length])
def test_the_picture_shows_every_panel_and_says_what_goes_up(sweep: Any, tmp_path: Path) -> None:
    shown = texts(plots.saturation(sweep(), tmp_path / "sweep.svg"))
    headings = {heading for _, heading, _ in sweeps.PANELS}
    assert headings | {"with 1/√d", "without 1/√d", "theory, where it holds"} <= shown
    wide = sweep is by_width
    up = "Wider heads: d_k goes up, T = 67" if wide else "Longer sentences: T goes up, d_k = 48"
    assert {up, "width of a head d_k" if wide else "keys T", "1,024"} <= shown
    assert not any("$" in text for text in shown)


def test_the_lines_are_the_measurements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Any] = []
    fit = sweeps.fit
    monkeypatch.setattr(
        sweeps, "fit", lambda fig, *a, **k: (figures.append(fig), fit(fig, *a, **k))
    )
    plots.saturation(by_width(), tmp_path / "sweep.png", title="A title")
    for ax, (name, *_) in zip(figures[0].axes, sweeps.PANELS, strict=True):
        drawn = [line.get_ydata() for line in ax.lines if len(line.get_ydata())]
        expected = [*by_width().mean(name), *by_width().theory[name]]
        if name == "gradient":
            expected += [*by_width().mean("gradient_rms")]
        assert len(drawn) == len(expected)
        for line in expected:
            assert any(np.array_equal(line, other, equal_nan=True) for other in drawn), name


def test_powers_of_an_axis() -> None:
    numbers = (0.001, 0.05, 1.0, 20.0, 1000.0, 1e-5, 2e-7, 1e6)
    assert [*map(sweeps.power_text, numbers)] == [
        "0.001", "0.05", "1", "20", "1,000", "10⁻⁵", "2·10⁻⁷", "10⁶"
    ]  # fmt: skip


def test_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ta.ShapeError, match="got none"):
        plots.saturation(replace(by_width(), sizes=()), tmp_path / "none.png")
    with pytest.raises(ta.viz.RenderError, match="must end in"):
        plots.saturation(by_width(), tmp_path / "sweep.gif")


# ── the command ──────────────────────────────────────────────────────────────────────────────────
SMALL = ["saturation", "--widths", "4,32", "--lengths", "8,16", "--width", "12", "--draws", "2"]


def test_the_command_prints_and_writes_what_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "lab"
    options = ["--length", "9", "--sigma", "1.5", "--seed", "5", "--out", str(out)]
    assert main([*SMALL, *options]) == 0
    shown = capsys.readouterr().out
    names = ["saturation-length.png", "saturation-width.png", "saturation.json"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert all(str(out / name) in shown for name in names)
    width, length = json.loads((out / "saturation.json").read_text(encoding="utf-8"))
    given = {"sigma": 1.5, "draws": 2, "seed": 5}
    expected = study.saturation("width", (4, 32), fixed=9, **given)
    assert width == expected.as_dict()
    assert length == study.saturation("length", (8, 16), fixed=12, **given).as_dict()
    rows = [line.split() for line in shown.splitlines()]
    factors = [row[2] for row in rows if len(row) == 10 and row[0].isdigit()]
    assert factors == ["1/√d", "none"] * 4
    assert ["32", "9", "none"] in [row[:3] for row in rows]
    (row,) = (row for row in rows if row[:3] == ["32", "9", "1/√d"])
    names = ("variance", "largest", "entropy", "entropy_share", "jacobian", "gradient")
    means = [expected.mean(name)[WITH, 1] for name in (*names, "gradient_rms")]
    assert row[3:] == [f"{mean:.3g}" for mean in means]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--widths", "8,4"], "expected numbers that rise, got '8,4'"),
        (["--widths", "4,,8"], "expected an integer from 1 to 16,384, got ''"),
        (["--lengths", "1,8"], "expected an integer from 2 to 16,384, got '1'"),
        (["--length", "1"], "expected an integer from 2"),
        (["--sigma", "0"], "expected a number above 0"),
        (["--draws", "0"], "expected an integer from 1"),
    ],
)
def test_wrong_options_are_answered_by_a_sentence(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["saturation", *options])
    error = capsys.readouterr().err
    assert exit_.value.code == 2
    assert message in error
    assert error.count("\n") == 1


def test_sizes_beyond_memory_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = ["--widths", "16384", "--length", "16384", "--out", str(tmp_path / "lab")]
    assert main(["saturation", *given]) == 2
    assert "16,777,216" in capsys.readouterr().err
    assert not (tmp_path / "lab").exists()
