"""RNN, GRU, LSTM and the classic attentions beside PyTorch: forward and every gradient, float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygrad_attn import Tensor, nn

pytestmark = pytest.mark.torch
torch: Any = None  # imported below, so that plain pytest can collect this file without PyTorch


@pytest.fixture(scope="module", autouse=True)
def _torch() -> None:
    global torch
    import torch as module

    torch = module


LIMIT = 1e-10
KINDS = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}
Array = np.ndarray[Any, Any]


class Case:
    """Random sizes, options, inputs and upstream gradients for one kind of network."""

    def __init__(self, name: str, number: int) -> None:
        rng = np.random.default_rng([number, *name.encode()])
        self.name, self.rng = name, rng
        d_in, width, self.layers = (int(rng.integers(1, most)) for most in (7, 7, 4))
        batch, self.time = int(rng.integers(1, 6)), int(rng.integers(1, 8))
        options = {"bias": rng.random() < 0.7, "bidirectional": rng.random() < 0.5}
        if name == "RNN" and rng.random() < 0.5:
            options["nonlinearity"] = "relu"
        self.sizes, self.options = (d_in, width, self.layers), options
        self.x = rng.standard_normal((batch, self.time, d_in))
        shape = (self.layers * (2 if options["bidirectional"] else 1), batch, width)
        parts = 2 if name == "LSTM" else 1
        given = rng.random() < 0.6
        self.state = [rng.standard_normal(shape) for _ in range(parts)] if given else []
        self.lengths = rng.integers(1, self.time + 1, batch) if rng.random() < 0.6 else None

    def upstream(self, outs: list[Any]) -> list[Array]:
        rng = np.random.default_rng(9)
        return [rng.standard_normal(tuple(out.shape)) for out in outs]


def packed(state: list[Any]) -> Any:
    """None, h, or (h, c)."""
    return None if not state else state[0] if len(state) == 1 else tuple(state)


def listed(outputs: Any, state: Any) -> list[Any]:
    return [outputs, *(state if isinstance(state, tuple) else (state,))]


def ours(case: Case) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
    """(results, gradients, weights) of this library."""
    layer = KINDS[case.name](*case.sizes, **case.options).astype(np.float64)
    x, *state = (Tensor(a, requires_grad=True) for a in (case.x, *case.state))
    outs = listed(*layer(x, packed(state), case.lengths))
    total = sum((out * g).sum() for out, g in zip(outs, case.upstream(outs), strict=True))
    total.backward()
    leaves = {"x": x} | {f"state {k}": s for k, s in enumerate(state)}
    leaves |= dict(layer.named_parameters())
    return (
        {f"result {k}": out.data for k, out in enumerate(outs)},
        {name: leaf.grad.data for name, leaf in leaves.items()},
        layer.state_dict(),
    )


def theirs(case: Case, weights: dict[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """(results, gradients) of PyTorch, sequences of different lengths packed."""
    layer = getattr(torch.nn, case.name)(*case.sizes, batch_first=True, **case.options).double()
    assert list(layer.state_dict()) == list(weights)
    layer.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    x, *state = (torch.tensor(a, requires_grad=True) for a in (case.x, *case.state))
    if case.lengths is None:
        outs = listed(*layer(x, packed(state)))
    else:
        rows = torch.nn.utils.rnn.pack_padded_sequence(
            x, torch.tensor(case.lengths), batch_first=True, enforce_sorted=False
        )
        short, final = layer(rows, packed(state))
        long, _ = torch.nn.utils.rnn.pad_packed_sequence(
            short, batch_first=True, total_length=case.time
        )
        outs = listed(long, final)
    total = sum((o * torch.tensor(g)).sum() for o, g in zip(outs, case.upstream(outs), strict=True))
    total.backward()
    leaves = {"x": x} | {f"state {k}": s for k, s in enumerate(state)}
    leaves |= dict(layer.named_parameters())
    return (
        {f"result {k}": out.detach().numpy() for k, out in enumerate(outs)},
        {name: leaf.grad.numpy() for name, leaf in leaves.items()},
    )


@pytest.mark.parametrize("number", range(34))
@pytest.mark.parametrize("name", KINDS)
def test_recurrent_networks_are_pytorchs(name: str, number: int) -> None:
    case = Case(name, number)
    results, gradients, weights = ours(case)
    for mine, other in zip((results, gradients), theirs(case, weights), strict=True):
        assert mine.keys() == other.keys()
        for key, array in mine.items():
            assert array.shape == other[key].shape, key
            assert np.max(np.abs(array - other[key]), initial=0) <= LIMIT, key


def test_the_cases_cover_the_options() -> None:
    cases = [Case(name, number) for name in KINDS for number in range(34)]
    assert sum(case.lengths is not None for case in cases) > 20
    assert sum(bool(case.state) for case in cases) > 20
    assert sum(case.options["bidirectional"] for case in cases) > 20
    assert sum(case.layers > 1 for case in cases) > 20
    assert sum("nonlinearity" in case.options for case in cases) > 5
    assert sum(not case.options["bias"] for case in cases) > 10


def test_initial_values_have_pytorchs_spread() -> None:
    mine = nn.GRU(7, 40, 2, bidirectional=True).state_dict()
    for name, array in torch.nn.GRU(7, 40, 2, bidirectional=True).state_dict().items():
        assert abs(mine[name].std() / array.numpy().std() - 1) < 0.2, name
        assert abs(mine[name]).max() <= 1 / np.sqrt(40)


def test_pytorchs_cells_take_the_same_weights() -> None:
    """One step of our layers is one call of GRUCell and LSTMCell."""
    rng = np.random.default_rng(4)
    for name, cell in (("GRU", torch.nn.GRUCell), ("LSTM", torch.nn.LSTMCell)):
        layer = KINDS[name](3, 5).astype(np.float64)
        twin = cell(3, 5).double()
        weights = {key.removesuffix("_l0"): v for key, v in layer.state_dict().items()}
        twin.load_state_dict({key: torch.tensor(value) for key, value in weights.items()})
        x = rng.standard_normal((2, 3))
        out = twin(torch.tensor(x))
        h = out[0] if isinstance(out, tuple) else out
        np.testing.assert_allclose(layer(x[:, None])[0].data[:, 0], h.detach(), atol=LIMIT)


def aligned(layer: Any, q: Any, k: Any, v: Any, keep: Any) -> Any:
    """The attentions as they are written in PyTorch; `layer` holds the weights as tensors."""
    if "U.weight" in layer:
        hidden = torch.tanh(
            (q @ layer["W.weight"].T)[:, :, None] + (k @ layer["U.weight"].T)[:, None]
        )
        scores = (hidden @ layer["v.weight"].T)[..., 0]
    elif "v.weight" in layer:
        shape = (*q.shape[:2], k.shape[1], -1)
        both = torch.cat([q[:, :, None].expand(shape), k[:, None].expand(shape)], -1)
        scores = (torch.tanh(both @ layer["W.weight"].T) @ layer["v.weight"].T)[..., 0]
    else:
        keys = k @ layer["W.weight"].T if "W.weight" in layer else k
        scores = torch.einsum("btd,bsd->bts", q, keys)
    return torch.softmax(scores.masked_fill(~keep, -torch.inf), -1) @ v


ATTENTIONS = {
    "bahdanau": lambda: nn.BahdanauAttention(4, 4, 6),
    "dot": lambda: nn.LuongAttention(4, 4),
    "general": lambda: nn.LuongAttention(4, 4, "general"),
    "concat": lambda: nn.LuongAttention(4, 4, "concat"),
}


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attentions_are_those_written_in_pytorch(name: str) -> None:
    rng = np.random.default_rng(5)
    layer = ATTENTIONS[name]().astype(np.float64)
    arrays = [rng.standard_normal(shape) for shape in ((2, 3, 4), (2, 5, 4), (2, 5, 7))]
    keep = rng.random((2, 3, 5)) < 0.6
    keep[..., 2] = True
    g = rng.standard_normal((2, 3, 7))
    mine = [Tensor(a, requires_grad=True) for a in arrays]
    out = layer(*mine, mask=keep)
    out.backward(g)
    other = [torch.tensor(a, requires_grad=True) for a in arrays]
    weights = {n: torch.tensor(a, requires_grad=True) for n, a in layer.state_dict().items()}
    wanted = aligned(weights, *other, torch.tensor(keep))
    wanted.backward(torch.tensor(g))
    np.testing.assert_allclose(out.data, wanted.detach(), atol=LIMIT)
    pairs = [*zip(mine, other, strict=True)]
    pairs += [(p, weights[n]) for n, p in layer.named_parameters()]
    for a, b in pairs:
        np.testing.assert_allclose(a.grad.data, b.grad, atol=LIMIT)
