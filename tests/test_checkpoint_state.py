"""What a checkpoint holds besides weights: it comes back as it was given, or is refused."""

from __future__ import annotations

from collections import defaultdict, namedtuple
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

import tinygrad_attn as ta
from tinygrad_attn import checkpoint, nn, optim
from tinygrad_attn.checkpoint import CheckpointError
from tinygrad_attn.environment import environment
from tinygrad_attn.models import GPT, GPTConfig, Transformer, TransformerConfig

C = IntEnum("C", ["A"])
L = type("L", (list,), {})
S = type("S", (str,), {})
P = namedtuple("P", ["x"])
G = type("G", (np.random.Generator,), {})

CONFIG = GPTConfig(vocab_size=7, max_length=5, num_layers=1, num_heads=2, d_model=6, dropout=0.25)


def back(folder: Path, **what: Any) -> checkpoint.Checkpoint:
    """Saved and loaded."""
    what.setdefault("model", GPT(CONFIG))
    return checkpoint.load(checkpoint.save(folder / "m", **what))


def dropout(model: nn.Module) -> nn.Dropout:
    """The first that a model has."""
    return next(part for part in model.modules() if isinstance(part, nn.Dropout))


def alike(a: Any, b: Any) -> bool:
    """The same values in the same types, NaN and −0.0 too."""
    if isinstance(a, np.ndarray):
        same: bool = type(b) is np.ndarray and a.dtype == b.dtype and a.shape == b.shape
        return same and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return type(b) is dict and list(a) == list(b) and all(alike(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(alike, a, b))
    return type(a) is type(b) and repr(a) == repr(b)


VALUES: list[Any] = [
    None, True, 0, -(1 << 90), 0.1, -0.0, 5e-324, "", "ж\0\u2028😀\x7f", [], {}, (), [[], {}, ()],
    {"a": {"b": ({"c": [1, (2,)]},)}, "": 0, "a.b": 1}, ((((),),),), {"state:": "optimizer:0"},
    np.arange(5), np.array(3, np.float32), np.zeros((3, 0, 2)), np.array([np.nan, -0.0, np.inf]),
    np.array([[True], [False]]), np.arange(12).reshape(3, 4).T, np.arange(9)[::-2],
    np.array([1 + 2j], np.complex64),
    *(np.array([1, 0, 7], kind) for kind in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2")),
    {"a": {"b": np.arange(2)}, "a.b": np.arange(3), "a'": np.arange(5)}, [np.arange(2)] * 2,
]  # fmt: skip


@pytest.mark.parametrize(
    "value", [np.float64(0.1), np.float32("nan"), np.int64(-3), np.bool_(True), np.uint8(255)]
)
def test_numbers_of_numpys_come_back_as_such(value: Any, tmp_path: Path) -> None:
    found = back(tmp_path, value=value, several=[value, (value,)]).state
    for got in (found["value"], found["several"][0], found["several"][1][0]):
        assert type(got) is type(value)
        assert got.tobytes() == value.tobytes()
    step = back(tmp_path, step=np.int64(3)).step
    assert (step, type(step)) == (3, int)


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_a_value_comes_back_as_it_was(value: Any, tmp_path: Path) -> None:
    found = back(tmp_path, value=value, other=[value]).state
    assert alike({"value": value, "other": [value]}, found)


def test_ten_thousand_values_and_a_deep_one(tmp_path: Path) -> None:
    deep: Any = np.arange(3)
    for level in range(100):
        deep = [deep] if level % 2 else {"x": deep}
    found = back(tmp_path, many=list(range(10_000)), deep=deep).state
    assert alike({"many": list(range(10_000)), "deep": deep}, found)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (np.array(["a"]), "value is an array of <U1"),
        (np.array([None]), "value is an array of object"),
        (np.array([1j]), "value is an array of complex128"),
        (np.arange(3, dtype=">i4"), "value is an array of >i4"),
        (np.ma.masked_array([1]), "value is of type MaskedArray"),
        ([1, {"a": {2}}], r"value\.1\.a is of type set"),
        ({1: 2}, "value has the key 1; keys must be texts"),
        ({"$array": 2}, r"value has the key '\$array'"),
        ([0.0, {"a": float("inf")}], r"value\.1\.a is inf, which JSON cannot hold; an array can"),
        ("\ud800", r"value is no Unicode text \(surrogates not allowed"),
        ({"\ud800": 1}, "a key of state:value is no Unicode text"),
        (C.A, "value is of type C"),
        (np.str_("a"), "value is an array of <U1"),
        ([L([1])], r"value\.0 is of type L"),
        (S("x"), "value is of type S"),
        ({S("x"): 1}, "value has the key 'x'; keys must be texts"),
        (defaultdict(list), "value is of type defaultdict"),
        (P(1), "value is of type P"),
        (G(np.random.PCG64(0)), "value is of type G"),
        (list(range(300_000)), "2 to 2,097,152; keep long lists as arrays"),
        ([0] * 300_000, "holds more than 262,144 values; keep long lists as arrays"),
        (np.random.Generator(np.random.Philox(0)), "got Philox"),
    ],
)  # fmt: skip
def test_what_would_not_come_back_is_refused_before_a_file_is_there(
    value: Any, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        back(tmp_path, value=value)
    assert not list(tmp_path.iterdir())


def test_a_value_that_holds_itself_is_refused(tmp_path: Path) -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(CheckpointError, match="is more than 200 deep, or holds itself"):
        back(tmp_path, value=value)


CHANGED: dict[str, Callable[[Any], None]] = {
    "ln_f.weight": lambda m: setattr(m, "ln_f", nn.LayerNorm(7)),
    "extra": lambda m: setattr(m, "extra", nn.Linear(2, 3)),
    "drop": lambda m: setattr(m, "drop", nn.Sequential()),
}


@pytest.mark.parametrize("part", CHANGED)
def test_a_model_that_its_configuration_does_not_build_is_refused(
    part: str, tmp_path: Path
) -> None:
    model = GPT(CONFIG)
    CHANGED[part](model)
    with pytest.raises(CheckpointError, match=rf"that its GPTConfig builds, but .*{part}"):
        checkpoint.save(tmp_path / "m.safetensors", model=model)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key", ["$array", "$scalar", "$tuple", "$generator"])
def test_a_mark_is_no_name_of_a_value(key: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"state has the key '\{key}'"):
        back(tmp_path, **{key: [1]})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", [3.0, -1, True, "7", np.int64(-3), np.float64(3), None])
def test_a_step_that_is_no_count_is_refused(step: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"step is .*, expected an integer of 0 or more"):
        back(tmp_path, step=step)
    assert not list(tmp_path.iterdir())


def test_tuples_as_deep_as_allowed_come_back_and_one_more_is_refused(tmp_path: Path) -> None:
    value: Any = np.arange(2)
    for _ in range(200):
        value = (value,)
    assert alike(value, back(tmp_path, value=value).state["value"])
    with pytest.raises(CheckpointError, match="is more than 200 deep"):
        back(tmp_path, value=(value,))


def test_marks_inside_texts_are_no_values(tmp_path: Path) -> None:
    for text in ("," * 300_000, '\\":[{' * 100_000):
        assert back(tmp_path, text=text).state == {"text": text}


def test_an_optimiser_that_would_not_be_read_is_refused(tmp_path: Path) -> None:
    model = GPT(CONFIG)
    optimizer = optim.SGD(model.parameters(), 0.1)
    optimizer.state_dict = lambda: {"groups": [], "states": [{}]}
    with pytest.raises(CheckpointError, match="groups do not number its parameters"):
        back(tmp_path, model=model, optimizer=optimizer)
    assert not list(tmp_path.iterdir())


# ── generators ───────────────────────────────────────────────────────────────────────────────────
def test_one_generator_in_many_places_is_one_again(tmp_path: Path) -> None:
    rng, other = np.random.default_rng(5), np.random.Generator(np.random.PCG64DXSM(6))
    model = GPT(CONFIG, rng=rng)
    rng.integers(0, 9, 3, dtype=np.uint32)  # half of a number is kept for the next
    found = back(tmp_path, model=model, rng=rng, order={"rng": rng, "two": (other, rng)})
    assert found.rng is found.state["order"]["rng"] is found.state["order"]["two"][1]
    assert found.rng is dropout(found.model).rng
    for mine, its in ((rng, found.rng), (other, found.state["order"]["two"][0])):
        assert mine.bit_generator.state == its.bit_generator.state
        assert mine.random(7).tolist() == its.random(7).tolist()


def test_a_generator_of_a_class_of_ones_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="got G; "):
        back(tmp_path, rng=G(np.random.PCG64(0)))


def test_a_model_with_two_generators_is_refused(tmp_path: Path) -> None:
    model = GPT(CONFIG, rng=np.random.default_rng(0))
    dropout(model).rng = np.random.default_rng(1)
    with pytest.raises(CheckpointError, match="one generator"):
        back(tmp_path, model=model)


# ── model, optimiser, schedule ───────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_and_what_is_frozen_come_back(dtype: Any, tmp_path: Path) -> None:
    model = GPT(CONFIG).astype(dtype)
    model.wpe.weight.requires_grad = False
    found = back(tmp_path, model=model).model
    assert alike(model.state_dict(), found.state_dict())
    assert [n for n, p in found.named_parameters() if not p.requires_grad] == ["wpe.weight"]


def test_parameters_of_two_dtypes_are_refused(tmp_path: Path) -> None:
    model = GPT(CONFIG)
    model.ln_f.astype(np.float64)
    with pytest.raises(CheckpointError, match="float32 and float64; convert the whole model"):
        back(tmp_path, model=model)


def test_a_complex_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="float64, got complex64; convert the whole model"):
        back(tmp_path, model=GPT(CONFIG).astype(np.complex64))


OPTIMIZERS = [
    lambda p: optim.SGD(p, 0.1), lambda p: optim.SGD(p, 0.1, momentum=0.9),
    lambda p: optim.Adam(p, 0.01), lambda p: optim.AdamW(p, 0.01, (0.8, 0.9), 1e-7, 0.1),
]  # fmt: skip


@pytest.mark.parametrize("made", OPTIMIZERS, ids=range(len(OPTIMIZERS)))
def test_optimiser_and_schedule_go_on(made: Any, tmp_path: Path) -> None:
    def steps(model: Any, optimizer: Any, schedule: Any, rng: Any, count: int) -> None:
        model.train()
        for _ in range(count):
            tokens = rng.integers(0, 7, (3, 5))
            optimizer.zero_grad()
            model.loss(tokens, tokens).backward()
            optimizer.step()
            schedule.step()

    def begun() -> tuple[Any, Any, Any, Any]:
        rng = np.random.default_rng(0)
        model = GPT(CONFIG, rng=rng)
        optimizer = made(model.parameters())
        return model, optimizer, optim.WarmupCosine(optimizer, 2, 7), rng

    whole, first = begun(), begun()
    steps(*whole, 6)
    steps(*first, 3)
    model, optimizer, schedule, rng = first
    found = back(tmp_path, model=model, optimizer=optimizer, schedule=schedule, step=3, rng=rng)
    optimizer = made(found.model.parameters())
    schedule = optim.WarmupCosine(optimizer, 2, 7)
    optimizer.load_state_dict(found.optimizer)
    schedule.load_state_dict(found.schedule)
    steps(found.model, optimizer, schedule, found.rng, 3)
    assert found.step == 3
    assert alike(whole[0].state_dict(), found.model.state_dict())
    assert repr(whole[1].state_dict()) == repr(optimizer.state_dict())
    assert whole[2].state_dict() == schedule.state_dict()


def test_the_environment_is_saved(tmp_path: Path) -> None:
    found = back(tmp_path).environment
    assert found == environment()
    assert {"tinygrad_attn", "numpy", "blas_threads", "kernel_threads"} <= found.keys()


# ── the file ─────────────────────────────────────────────────────────────────────────────────────
def test_the_same_training_gives_the_same_bytes(tmp_path: Path) -> None:
    files = []
    for _ in range(3):
        ta.seed(3)
        path = checkpoint.save(
            tmp_path / "m", model=GPT(CONFIG), order=np.arange(3), b=[np.ones(2)]
        )
        files.append(path.read_bytes())
    assert files[0] == files[1] == files[2]


def test_another_reader_opens_it(tmp_path: Path) -> None:
    model = GPT(CONFIG)
    path = checkpoint.save(tmp_path / "m", model=model, optimizer=optim.AdamW(model.parameters()))
    with safe_open(path, "numpy") as file:
        assert list(file.metadata()) == ["tinygrad_attn"]
        assert '"sha256"' in file.metadata()["tinygrad_attn"]
        assert alike(model.state_dict(), {n: file.get_tensor(n) for n in model.state_dict()})


def test_names_that_look_like_paths_stay_names(tmp_path: Path) -> None:
    names = ["../out", "/etc/passwd", "a/b", "C:\\x", "..", "~"]
    (tmp_path / "in").mkdir()
    state = {name: {name: np.arange(3)} for name in names}
    assert alike(back(tmp_path / "in", **state).state, state)
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "m"]


def test_a_part_of_a_model_is_no_model(tmp_path: Path) -> None:
    class GPTConfig:  # not of this package
        pass

    for model in (nn.Linear(2, 3), nn.Sequential(GPT(CONFIG))):
        with pytest.raises(CheckpointError, match=r"numpy\.save_file\(model\.state_dict"):
            back(tmp_path, model=model)


def test_a_class_of_ones_own_by_the_name_of_a_model_is_no_model(tmp_path: Path) -> None:
    own: Any = type("GPT", (GPT,), {"forward": lambda self, tokens: GPT.forward(self, tokens) * 0})
    with pytest.raises(CheckpointError, match=r"got .*\.GPT; save its weights"):
        back(tmp_path, model=own(CONFIG))
    assert not list(tmp_path.iterdir())


def test_a_config_of_ones_own_is_refused(tmp_path: Path) -> None:
    own: Any = dataclass(frozen=True)(type("Own", (GPTConfig,), {}))
    with pytest.raises(CheckpointError, match="expected a GPT with a GPTConfig, got Own"):
        back(tmp_path, model=GPT(own(**asdict(CONFIG))))


def test_a_table_that_loading_would_refuse_is_refused(tmp_path: Path) -> None:
    sizes = TransformerConfig(
        source_vocab=5, target_vocab=5, max_length=1 << 20, num_layers=1, num_heads=1, d_model=8,
        d_ff=3,
    )  # fmt: skip
    with pytest.raises(
        CheckpointError, match="max_length × d_model of at most 4,194,304, got 8,388,608"
    ):
        back(tmp_path, model=Transformer(sizes))
    fits = Transformer(replace(sizes, max_length=1 << 19))
    assert alike(fits.state_dict(), back(tmp_path, model=fits).model.state_dict())
