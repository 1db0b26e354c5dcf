"""The benchmarks' harness: turns and ratios, agreement, contestants that fail, figures on disk."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rich", reason="the benchmarks' tables and bars need the extra `demo`")

from benchmarks import cases, harness, report, runs
from benchmarks.cases import CASES, PEERS, Case, Peer, Point
from benchmarks.contestant import Contestant, ContestantError
from benchmarks.formulas import Functions
from benchmarks.harness import DisagreementError, Result, verify
from benchmarks.peers import floor, ours, plain
from benchmarks.problems import BETAS, CLIP, DECAY, EPS, LR, problem
from tinygrad_attn import Tensor, optim

TINY: dict[str, dict[str, Any]] = {
    "gpt": {"vocab_size": 11, "max_length": 5, "num_layers": 2, "num_heads": 3, "d_model": 6,
            "batch": 2},
    "vit": {"num_layers": 2, "num_heads": 3, "d_model": 6, "d_ff": 7, "batch": 2},
    "attention": {"d_model": 6, "num_heads": 3, "length": 5, "batch": 2},
    "chain": {"length": 3, "width": 5},
    "long_attention": {"heads": 2, "width": 3, "length": 7, "causal": True},
}  # fmt: skip
WRITING = {**TINY["gpt"], "max_length": 13, "prompt": 3}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short turns; the planted contestants can be imported by their processes."""
    monkeypatch.setattr(harness, "TURN", 1e-3)
    monkeypatch.setattr(harness, "PAUSE", 0.0)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def contestant(fault: str = "", limit: float = 60.0, **options: Any) -> Contestant:
    """A process of a planted contestant."""
    options = {"fault": fault, **options}
    return Contestant("Planted", "planted_contestants", options, limit=limit)


# --- figures ---


def test_ratios_are_paired_round_by_round() -> None:
    """A machine that grows slower changes both times, and the ratio not at all."""
    result = Result(
        ["ours"], {"ours": [2.0, 4.0, 8.0, 16.0, 48.0], "peer": [1.0, 2.0, 4.0, 8.0, 16.0]}
    )
    assert result.ratios("ours", "peer") == [2.0, 2.0, 2.0, 2.0, 3.0]
    (row,) = result.rows()
    assert (row["ours_median"], row["peer_median"], row["ratio"]) == (8.0, 4.0, 2.0)
    result.rounds["peer"] = [2.0, 2.0, 2.0, 2.0, 2.0]
    assert result.row("ours", "peer")["quartiles"] == [2.0, 8.0]
    assert result.row("ours", "peer")["ratio"] == 4.0


def test_every_contestant_has_its_turn_in_every_round() -> None:
    class Fake:
        def __init__(self, name: str, seconds: float) -> None:
            self.name, self.seconds, self.compiles = name, seconds, 30.0

        def run(self, times: int) -> float:
            turns.append((self.name, times))
            compiling, self.compiles = self.compiles, 0.0
            return compiling + self.seconds * times

    turns: list[tuple[str, int]] = []
    result = Result(["a"], {"a": [], "b": []})
    fakes: Any = [Fake("a", 1e-4), Fake("b", 1.0)]
    harness.measure(fakes, result, 5)
    assert result.rounds == {"a": pytest.approx([1e-4] * 5), "b": [1.0] * 5}
    assert result.repeats == {"a": 10, "b": 1}
    assert turns[-10:] == [("a", 10), ("b", 1)] * 5
    harness.measure(fakes, result, 2)
    assert result.by_launch("b") == [[1.0] * 5, [1.0] * 2]


def test_units() -> None:
    assert report.converted("ms", 1, 0.25) == 250
    assert report.converted("tokens/s", 240, 0.5) == 480
    assert report.converted("MiB", 1, 70.0) == 70


# --- agreement ---


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"w": np.array([1.0, 2.0 + 1e-6])}, "w of b differs from that of a by 1.0e-06"),
        ({"w": np.array([1.0, math.nan])}, "w of b differs from that of a by nan"),
        ({"w": np.array([[1.0, 2.0]])}, r"w of b is \(1, 2\) float64"),
        ({"w": np.array([1, 2], np.float32)}, r"w of b is \(2,\) float32"),
        ({"v": np.array([1.0, 2.0])}, "b and a do not both have v, w"),
    ],
)
def test_other_numbers_are_refused(found: dict[str, Any], message: str) -> None:
    reference = {"w": np.array([1.0, 2.0])}
    verify({"a": reference, "b": {"w": reference["w"] * (1 + 1e-12)}, "floor": {}})
    with pytest.raises(DisagreementError, match=message):
        verify({"a": reference, "floor": {}, "b": found})


@pytest.mark.parametrize("name", TINY)
def test_the_formulas_are_what_this_library_computes(name: str) -> None:
    """In bare NumPy; what the peers compute from them is compared before they are timed."""
    given = problem(name, TINY[name])
    batch = given.batches[0]
    expected = ours.make(name, TINY[name]).check()
    found = given.compute(Functions(np), given.params, *batch)
    assert found == pytest.approx(expected["loss" if given.trains else "result"], rel=1e-5)
    assert {*expected} - {"loss", "result"} == {*given.params}


def test_the_plain_optimizer_is_this_librarys(rng: np.random.Generator) -> None:
    values = {"w": rng.standard_normal((3, 5)), "b": rng.standard_normal(7)}
    tensors = {name: Tensor(value, requires_grad=True) for name, value in values.items()}
    groups = [{"params": [tensors["w"]]}, {"params": [tensors["b"]], "weight_decay": 0.0}]
    expected, found = optim.AdamW(groups, LR, BETAS, EPS, DECAY), plain.AdamW(values)
    for size in (0.1, 3.0, 1.0):
        gradients = {name: size * rng.standard_normal(v.shape) for name, v in values.items()}
        for name, g in gradients.items():
            tensors[name].grad = Tensor(g)
        optim.clip_grad_norm(tensors.values(), CLIP)
        expected.step()
        found.step(gradients)
    for name, value in values.items():
        np.testing.assert_allclose(value, tensors[name].numpy(), rtol=1e-12)


def test_the_floor_has_the_products_of_a_step_and_no_others() -> None:
    """Three products for each weight of a matrix and each token; six for each pair of tokens."""
    c = problem("gpt", TINY["gpt"]).config
    made: Any = floor.make("gpt", TINY["gpt"])
    work = sum(a.size * b.shape[-1] for a, b, _ in made.triples)
    weights = c.num_layers * 12 * c.d_model**2 + c.vocab_size * c.d_model
    pairs = c.num_layers * c.batch * c.max_length**2
    assert work == 3 * weights * c.batch * c.max_length + 6 * pairs * c.d_model
    made.run()
    assert all(np.array_equal(out, a @ b) for a, b, out in made.triples)


# --- contestants in their processes ---


def test_a_contestant_does_what_it_is_asked() -> None:
    with contestant(value=3.0) as one:
        assert one.run(4) == 12.0
        np.testing.assert_array_equal(one.check()["numbers"], np.full(7, 3.0))
        assert one.memory()["peak"] > 5
    assert one.process.returncode is not None


def test_a_contestant_has_the_threads_that_all_have() -> None:
    made = Contestant("Planted", "planted_contestants", {"fault": "threads"}, threads=1)
    with made as one:
        numbers = one.check()
    assert {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"} <= numbers.keys()
    assert {int(n) for n in numbers.values()} == {1}


def test_extra_memory_is_what_a_run_takes() -> None:
    options = {"fault": "takes memory"}
    entry = cases.Entry("Planted", "planted_contestants", options)
    start = partial(runs.process, threads=1, limit=60.0)
    assert 36 < runs.extra_memory(entry, Point("", {}), start) < 48


@pytest.mark.parametrize(
    ("fault", "limit", "message"),
    [
        ("dies", 60.0, "Planted ended with code 3 when asked to run"),
        ("hangs", 1.0, "Planted gave no answer to 'run' within 1 s"),
    ],
)
def test_a_contestant_that_dies_or_hangs_is_a_sentence(
    fault: str, limit: float, message: str
) -> None:
    with contestant(fault) as one:
        one.limit = limit
        with pytest.raises(ContestantError, match=message):
            one.run(1)
    assert one.process.returncode is not None


def test_a_contestant_that_cannot_be_built_is_a_sentence() -> None:
    message = "^Planted failed when asked to build: ValueError: there is no such work$"
    with pytest.raises(ContestantError, match=message):
        contestant("cannot be built")


# --- cases ---


def planted_case(monkeypatch: pytest.MonkeyPatch, **faults: dict[str, Any]) -> Case:
    """A case in which this library and the named peers are all planted."""
    for name, options in faults.items():
        peer = Peer(name, "numpy", "planted_contestants", options)
        monkeypatch.setitem(PEERS, name, peer)
    entry = cases.Entry("ours", "planted_contestants", {"value": 2.0}, "numpy")
    monkeypatch.setattr(
        runs, "entries",
        lambda case, point, peers, kernels: [
            entry, *(e for peer in peers for e in cases.of_peer(case, point, peer))
        ],
    )  # fmt: skip
    return Case("planted", "planted", (Point("", {}),), tuple(faults))


def run_planted(case: Case, launches: int = 1, tick: Callable[[], None] = lambda: None) -> Result:
    """The case's result."""
    return runs.run_point(
        case, case.points[0], peers=list(case.peers), kernels=["numpy"], rounds=5,
        launches=launches, threads=1, tick=tick,
    )  # fmt: skip


def by_launch(monkeypatch: pytest.MonkeyPatch, **options: list[dict[str, Any]]) -> list[str]:
    """Give contestants other options at each launch; the names of those started, as it goes on."""
    started: list[str] = []
    process = runs.process

    def launch(entry: cases.Entry, **limits: Any) -> Contestant:
        started.append(entry.name)
        at_this = options.get(entry.name, [{}] * 3)[started.count(entry.name) - 1]
        return process(replace(entry, options=entry.options | at_this), **limits)

    monkeypatch.setattr(runs, "process", launch)
    return started


def test_all_launches_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of `moody` keeps the speed that it got when it was started."""
    case = planted_case(monkeypatch, moody={})
    started = by_launch(monkeypatch, moody=[{"value": 2.0}, {"value": 8.0}, {"value": 4.0}])
    ticks: list[None] = []
    result = run_planted(case, 3, lambda: ticks.append(None))
    assert started == ["ours", "moody"] * 3
    assert result.figures()["contestants"]["moody"]["rounds"] == [[2.0, 2.0], [8.0, 8.0], [4.0]]
    assert result.ratios("ours", "moody") == [1.0, 1.0, 0.25, 0.25, 0.5]
    assert result.row("ours", "moody")["ratio"] == 0.5
    assert len(ticks) == 5


@pytest.mark.parametrize("fault", ["dies", "cannot be built"])
def test_who_fails_in_a_later_launch_is_left_out(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = planted_case(monkeypatch, dead={"value": 2.0}, right={"value": 2.0})
    started = by_launch(monkeypatch, dead=[{}, {"fault": fault}])
    result = run_planted(case, 3)
    assert result.rounds == {"ours": [2.0] * 5, "right": [2.0] * 5}
    assert started == [*["ours", "dead", "right"] * 2, "ours", "right"]
    (note,) = result.notes
    assert note.startswith("left out: dead ")
    assert not result.failed


def test_importing_starts_its_contestants_once() -> None:
    """Each of its runs is a fresh process."""
    assert CASES["import"].launches == 1
    assert runs.shares(12, 1) == [12]
    assert runs.shares(11, 3) == [4, 4, 3]


def test_who_computes_something_else_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run_planted(planted_case(monkeypatch, right={"value": 2.0}, wrong={"value": 2.5}))
    (note,) = result.notes
    assert note.startswith("not measured: numbers of wrong differs from that of ours by 5.0e-01")
    assert result.failed
    assert not result.rounds


def test_who_fails_is_left_out_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    right, dead = {"value": 2.0}, {"value": 2.0, "fault": "dies"}
    result = run_planted(planted_case(monkeypatch, dead=dead, right=right))
    assert result.rounds == {"ours": [2.0] * 5, "right": [2.0] * 5}
    (note,) = result.notes
    assert note.startswith("left out: dead ended with code 3 when asked to run: what a library")
    assert not result.failed


def test_memory_is_the_peak_of_a_fresh_process_in_every_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`dead` only dies in a run: it takes part in the agreement and is left out then."""
    monkeypatch.setattr(runs, "FRESH", 2)
    heavy, dead = ({"value": 2.0, "fault": fault} for fault in ("takes memory", "dies"))
    case = replace(planted_case(monkeypatch, heavy=heavy, dead=dead), unit="MiB")
    result = run_planted(case)
    assert list(result.rounds) == ["ours", "heavy"]
    assert result.repeats == {"ours": runs.STEPS, "heavy": runs.STEPS}
    assert result.launches == [1, 1]
    for ours_peak, heavy_peak in zip(*result.rounds.values(), strict=True):
        assert 30 < heavy_peak - ours_peak < 60


def test_every_case_names_peers_and_sizes_that_there_are() -> None:
    for case in CASES.values():
        assert set(case.peers) <= PEERS.keys()
        for point in case.points:
            assert set(point.without) <= set(case.peers)
            found = cases.entries(case, point, list(PEERS), ["numpy"])
            assert [entry.ours for entry in found].count(True) == 1
            assert len({entry.name for entry in found}) == len(found)


# --- PyTorch computes the same ---


@pytest.mark.torch
@pytest.mark.parametrize("name", TINY)
def test_pytorch_computes_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    from benchmarks.peers import pytorch

    mine, theirs = (peer.make(name, TINY[name]) for peer in (ours, pytorch))
    verify({"ours": mine.check(), "PyTorch": theirs.check()})
    losses = [[work.run() for _ in range(3)] for work in (mine, theirs)]
    if problem(name, TINY[name]).trains:
        assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.torch
def test_pytorch_writes_the_same_with_its_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    from benchmarks.peers import pytorch

    mine, theirs = (peer.make("gpt", WRITING).check() for peer in (ours, pytorch))
    verify({"ours": mine, "PyTorch": theirs})
    assert mine["tokens"].shape == (2, 13)
    assert len(np.unique(mine["tokens"][:, 3:])) > 1
