"""What is recorded of a call: the same as by hand, with nothing left behind in the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from attended import CASES, B, Case, D, H, Model, S, T, by_hand, inputs, loss_of

import tinygrad_attn as ta
from tinygrad_attn import Tensor, nn
from tinygrad_attn.viz.anatomy import Recording
from tinygrad_attn.viz.anatomy.data import PARAMETERS
from tinygrad_attn.viz.anatomy.numeric import forward, spread
from tinygrad_attn.viz.anatomy.recording import record

NAME = "blocks.1.attn"


def recorded(case: Case, rng: np.random.Generator, **options: Any) -> tuple[Recording, Any]:
    """A recording, and the same by hand."""
    model = Model(case, rng)
    given = inputs(case, rng)
    options = {"layer": NAME, **options}
    found = record(model, lambda m: loss_of(m, *given), **options)
    return found, by_hand(model.astype(np.float64), *given)


def close(a: Any, b: Any) -> None:
    """Equal to 1e-12 of the largest number, and infinite in the same places."""
    scale = max(1.0, np.abs(b[np.isfinite(b)]).max(initial=0.0))
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * scale)


# ── the numbers ──────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("name", CASES)
def test_every_number_is_that_of_the_layer_by_hand(name: str, rng: np.random.Generator) -> None:
    found, hand = recorded(CASES[name], rng, numeric_limit=0)
    assert set(found.layer.columns) | set(found.parameters) == set(hand.values)
    for b, example in enumerate(found.examples):
        for matrix in found.layer.columns:
            close(example.values[matrix], hand.values[matrix][b])
        close(example.mask, hand.mask[b, : len(example.mask)])
        np.testing.assert_array_equal(example.values["S"] + example.mask, example.values["Smasked"])
    for matrix, array in found.parameters.items():
        close(array, hand.values[matrix])
    for target, gradients in zip(found.targets, hand.gradients, strict=True):
        for b, of_example in enumerate(target.gradients):
            for matrix in found.layer.columns:
                close(of_example["d" + matrix], gradients[matrix][b])
        for matrix in found.parameters:
            close(target.parameters["d" + matrix], gradients[matrix])


@pytest.mark.parametrize("name", CASES)
def test_complex_steps_agree(name: str, rng: np.random.Generator) -> None:
    found, _ = recorded(CASES[name], rng)
    target = found.targets[0]
    sources = ("dX", "dM") if found.layer.cross else ("dX",)
    assert set(found.numeric) == {*sources, *target.parameters}
    for matrix in sources:
        for b in range(B):
            close(found.numeric[matrix][b], target.gradients[b][matrix])
    for matrix, gradient in target.parameters.items():
        close(found.numeric[matrix][0], gradient)


@pytest.mark.parametrize("name", CASES)
def test_the_whole_at_the_block_is_the_residual_and_what_came_through_the_layer(
    name: str, rng: np.random.Generator
) -> None:
    found, _ = recorded(CASES[name], rng, cells=[(1, 3, 4)], numeric_limit=0)
    block = found.block
    assert block is not None
    assert (block.name, block.through) == ("blocks.1", ("norm",))
    for k, target in enumerate(found.targets):
        through = block.pull("X", np.stack([g["dX"] for g in target.gradients]))
        close(block.residual[k] + through, block.total[k])
        assert np.abs(through).max() > 1e-6
        assert target.cell is None or not block.residual[k].any()
    if found.layer.cross:
        assert not block.pull("M", np.ones((B, S, 11))).any()


def test_the_forward_pass_in_complex_numbers_is_the_layer(rng: np.random.Generator) -> None:
    for case in CASES.values():
        found, _ = recorded(case, rng, numeric_limit=0)
        for example in found.examples:
            values = {**example.values, **found.parameters}
            close(forward(found.layer, values, example.mask, found.turn), example.values["Y"])


@pytest.mark.parametrize("name", ["rotary", "rotary in pairs, grouped", "cross, rotary"])
def test_the_tables_turn_queries_and_keys(name: str, rng: np.random.Generator) -> None:
    found, _ = recorded(CASES[name], rng, numeric_limit=0)
    turn = found.turn
    assert turn is not None
    for example in found.examples:
        for matrix, cos, sin in (("Q", turn.cos, turn.sin), ("K", turn.keycos, turn.keysin)):
            x = example.values[matrix]
            close(x * cos + x[..., list(turn.pair)] * sin, example.values[matrix + "rot"])


def test_a_cell_of_y_is_a_target_of_its_own(rng: np.random.Generator) -> None:
    found, _ = recorded(CASES["grouped"], rng, cells=[(1, 2, 3)], numeric_limit=0)
    target = found.targets[-1]
    assert target.name == "Y[1, “2”, 3]"
    assert target.value == found.examples[1].values["Y"][2, 3]
    assert target.gradients[1]["dY"][2, 3] == 1
    assert sum(np.abs(g["dY"]).sum() for g in target.gradients) == 1
    assert not target.gradients[0]["dX"].any()
    close(target.gradients[1]["dO"][2], found.parameters["Wo"][3])


def test_another_layer_another_call_and_the_layer_itself(rng: np.random.Generator) -> None:
    case = CASES["self"]
    model, given = Model(case, rng), inputs(case, rng)

    def twice(model: Any) -> Tensor:
        u = model(Tensor(given[0]), None)
        return (given[2] * model(u * 0.5, None)).sum()  # type: ignore[no-any-return]

    first = record(model, twice, numeric_limit=0)
    assert first.layer.name == "blocks.0.attn"
    by_object = record(model, twice, layer=model.blocks[0].attn, call=1, numeric_limit=0)
    assert by_object.layer.name == "blocks.0.attn"
    assert not np.array_equal(by_object.examples[0].values["X"], first.examples[0].values["X"])
    # both calls together make the gradient of the parameters
    twin = model.astype(np.float64)
    loss = twice(twin)
    (whole,) = ta.grad(loss, [twin.blocks[0].attn.out_proj.weight])
    close(first.targets[0].parameters["dWo"] + by_object.targets[0].parameters["dWo"], whole.data)


def test_a_layer_that_is_the_model_has_no_block(rng: np.random.Generator) -> None:
    attn = nn.MultiHeadAttention(D, H, rng=rng)
    u, _, w = inputs(CASES["self"], rng)
    found = record(attn, lambda attn: (w * attn(Tensor(u))).sum(), numeric_limit=0)
    assert found.block is None
    assert found.layer.name == "MultiHeadAttention"
    assert found.targets[0].name == "loss"


def test_a_post_norm_layer_gets_the_blocks_input_itself(rng: np.random.Generator) -> None:
    layer = nn.TransformerEncoderLayer(D, H, 17, rng=rng)
    u, _, w = inputs(CASES["self"], rng)
    found = record(layer, lambda layer: (w * layer(Tensor(u))).sum(), numeric_limit=0)
    block = found.block
    assert block is not None
    assert (block.name, block.through) == ("TransformerEncoderLayer", ())
    dX = np.stack([g["dX"] for g in found.targets[0].gradients])
    np.testing.assert_array_equal(block.pull("X", dX), dX)
    close(block.residual[0] + dX, block.total[0])
    twin, leaf = layer.eval().astype(np.float64), Tensor(u, requires_grad=True)
    close(block.total[0], ta.grad((w * twin(leaf)).sum(), [leaf])[0].data)


def test_a_list_of_layers_is_no_block(rng: np.random.Generator) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            self.parts = nn.ModuleList(nn.MultiHeadAttention(D, H, rng=rng) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.parts[0](x) * self.parts[1](ta.tanh(x))

    u, _, w = inputs(CASES["self"], rng)
    found = record(Two(), lambda m: (w * m(Tensor(u))).sum(), layer="parts.1", numeric_limit=0)
    block = found.block
    assert block is not None
    assert (block.name, block.through) == ("Two", ())
    dX = np.stack([g["dX"] for g in found.targets[0].gradients])
    close(block.pull("X", dX), dX * (1 - np.tanh(u) ** 2))
    close(block.residual[0] + block.pull("X", dX), block.total[0])


def test_an_embedding_is_no_input_of_a_block(rng: np.random.Generator) -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            self.words = nn.Embedding(9, D, rng=rng)
            self.attn = nn.MultiHeadAttention(D, H, rng=rng)

        def forward(self, tokens: Any) -> Any:
            return self.attn(self.words(tokens))

    found = record(Reader(), lambda m: m(np.arange(6).reshape(2, 3)).sum(), numeric_limit=0)
    assert found.block is None


def test_arrays_are_whole_and_read_only(rng: np.random.Generator) -> None:
    found, _ = recorded(CASES["rotary"], rng)
    arrays = [*found.parameters.values(), *(a for few in found.numeric.values() for a in few)]
    for example in found.examples:
        arrays += [*example.values.values(), example.mask]
    for target in found.targets:
        arrays += [*target.parameters.values(), *(a for g in target.gradients for a in g.values())]
    for array in arrays:
        assert array.dtype == np.float64
        assert not array.flags.writeable
    assert list(found.parameters) == [n for n in PARAMETERS if n in found.parameters]


# ── numeric gradients ────────────────────────────────────────────────────────────────────────────
def test_a_limit_leaves_evenly_spread_cells(rng: np.random.Generator) -> None:
    found, _ = recorded(CASES["self"], rng, numeric_limit=10)
    for name, arrays in found.numeric.items():
        for array in arrays:
            known = np.flatnonzero(np.isfinite(array))
            assert len(known) == min(10, array.size), name
            assert np.ptp(np.diff(known)) <= 1
    assert recorded(CASES["self"], rng, numeric_limit=0)[0].numeric == {}


def test_a_large_layer_gets_fewer_cells(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinygrad_attn.viz.anatomy.numeric.WORK", 50_000)
    found, _ = recorded(CASES["self"], rng)
    cells = {n: np.isfinite(arrays[0]).sum() for n, arrays in found.numeric.items()}
    assert 0 < cells["dWq"] < cells["dX"] < T * D


def test_many_small_products_give_what_one_large_one_gives(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = recorded(CASES["cross"], np.random.default_rng(1))
    monkeypatch.setattr("tinygrad_attn.viz.anatomy.numeric.ROOM", 5_000)
    parts, _ = recorded(CASES["cross"], np.random.default_rng(1))
    for name, arrays in whole.numeric.items():
        for a, b in zip(arrays, parts.numeric[name], strict=True):
            close(a, b)


@pytest.mark.parametrize(
    ("size", "count", "expected"), [(5, 9, 5), (5, 5, 5), (7, 3, 3), (4, 0, 0)]
)
def test_spread(size: int, count: int, expected: int) -> None:
    cells = spread(size, count)
    assert len(set(cells)) == len(cells) == expected
    assert all(0 <= cell < size for cell in cells)


def test_progress_counts_every_matrix(rng: np.random.Generator) -> None:
    told: list[tuple[int, int]] = []
    recorded(CASES["cross"], rng, on_progress=lambda done, whole: told.append((done, whole)))
    assert told == [(n, 10) for n in range(1, 11)]  # X, M and eight parameters


# ── the model is left as it was ──────────────────────────────────────────────────────────────────
def state_of(model: nn.Module) -> Any:
    return [
        [
            (n, p.data.tobytes(), p.dtype, p.grad, p.requires_grad)
            for n, p in model.named_parameters()
        ],
        [(m.training, sorted(vars(m))) for m in model.modules()],
    ]


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_not_touched(fails: bool, rng: np.random.Generator) -> None:
    case = CASES["self"]
    model, given = Model(case, rng), inputs(case, rng)
    model.blocks[0].eval()  # one part of it
    model.blocks[1].attn.out_proj.weight.requires_grad = False
    before = state_of(model)

    def run(twin: Any) -> Any:
        assert twin is not model
        targets = loss_of(twin, *given)
        targets["loss"].backward(retain_graph=True)
        if fails:
            raise KeyError("in run")
        return targets

    if fails:
        with pytest.raises(KeyError, match="in run"):
            record(model, run, numeric_limit=0)
    else:
        found = record(model, run, layer=NAME, numeric_limit=0)
        assert found.targets[0].parameters["dWo"].any()
    assert state_of(model) == before


def test_a_wrapper_is_taken_off_even_where_run_fails(rng: np.random.Generator) -> None:
    case, seen = CASES["self"], []
    model = Model(case, rng)

    def run(twin: Any) -> Any:
        seen.append(twin)
        assert "forward" in vars(twin.blocks[1].attn)
        raise KeyError("in run")

    with pytest.raises(KeyError):
        record(model, run, layer=NAME)
    assert not [m for m in seen[0].modules() if {"forward", "projected"} & vars(m).keys()]


def test_layers_still_return_what_their_callers_ask_for(rng: np.random.Generator) -> None:
    attn = nn.MultiHeadAttention(D, H, rng=rng)
    u, _, w = inputs(CASES["self"], rng)

    def run(attn: Any) -> Any:
        out, weights = attn(Tensor(u), return_weights=True)
        assert weights.shape == (B, H, T, T)
        again, stages = attn(Tensor(u), return_stages=True)
        assert stages.raw.shape == (B, H, T, T)
        return (w * (out + again)).sum() + (weights[0] ** 2).sum()

    for call in (0, 1):
        assert record(attn, run, call=call, numeric_limit=0).targets


@pytest.mark.parametrize("times", [2, 3])
def test_an_input_given_more_than_once_is_self_attention(
    times: int, rng: np.random.Generator
) -> None:
    attn = nn.MultiHeadAttention(D, H, rng=rng)
    x, _, w = inputs(CASES["self"], rng)
    found, once = (
        record(attn, lambda m, n=n: (w * m(*[Tensor(x)] * n)).sum(), numeric_limit=0)  # type: ignore[misc]
        for n in (times, 1)
    )
    assert not found.layer.cross
    close(found.targets[0].gradients[1]["dX"], once.targets[0].gradients[1]["dX"])


def test_keys_and_values_may_be_given_both(rng: np.random.Generator) -> None:
    attn = nn.MultiHeadAttention(D, H, rng=rng)
    x, _, w = inputs(CASES["self"], rng)
    m = Tensor(rng.standard_normal((B, S, D)))
    found = record(attn, lambda attn: (w * attn(Tensor(x), m, m)).sum(), numeric_limit=0)
    assert found.layer.cross
    np.testing.assert_array_equal(found.examples[1].values["M"], m.data[1])
