"""Modules: what they list, what they save, what they refuse, and how they look."""

from __future__ import annotations

import copy
import re

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import DTypeError, IndexingError, ShapeError, Tensor, nn


class Scale(nn.Module):
    """One parameter of its own and a part."""

    def __init__(self, width: int = 3) -> None:
        self.weight = nn.Parameter(np.arange(1.0, width + 1))
        self.inner = nn.Linear(width, 2, rng=np.random.default_rng(0))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x * self.weight)
        return out


def deep() -> nn.Module:
    return nn.Sequential(Scale(), nn.ModuleList([Scale(), nn.Dropout(0.5)]))


# ── parameters ───────────────────────────────────────────────────────────────────────────────────


def test_a_parameter_is_a_float32_variable_unless_said_otherwise() -> None:
    values = np.array([1.0, 2.0])
    assert nn.Parameter(values).dtype == np.float32
    assert nn.Parameter([1, 2]).dtype == np.float32
    assert nn.Parameter(values, dtype=np.float64).dtype == np.float64
    with ta.default_dtype(np.float64):
        assert nn.Parameter(values).dtype == np.float64
        assert nn.Linear(2, 3).weight.dtype == np.float64
    assert nn.Parameter(values).requires_grad
    with pytest.raises(DTypeError, match="must be floating, got int64"):
        nn.Parameter(values, dtype=np.int64)


def test_names_are_attributes_joined_by_dots() -> None:
    model = deep()
    names = [
        "0.weight",
        "0.inner.weight",
        "0.inner.bias",
        "1.0.weight",
        "1.0.inner.weight",
        "1.0.inner.bias",
    ]
    assert [name for name, _ in model.named_parameters()] == names
    assert list(model.state_dict()) == names
    assert len(list(model.parameters())) == 6
    assert [name for name, _ in model.named_modules()] == [
        "",
        "0",
        "0.inner",
        "1",
        "1.0",
        "1.0.inner",
        "1.1",
    ]
    assert [name for name, _ in model.named_modules("model")][:2] == ["model", "model.0"]


def test_a_shared_parameter_and_a_shared_module_are_listed_once() -> None:
    model = nn.Module()
    model.a, model.b = nn.Linear(3, 2), nn.Linear(3, 2, bias=False)
    model.b.weight = model.a.weight  # tied: it has a home already
    model.c = model.a
    assert [name for name, _ in model.named_parameters()] == ["a.weight", "a.bias"]
    assert len(list(model.modules())) == 3
    model.b(np.ones((1, 3), np.float32)).sum().backward()
    assert model.a.weight.grad is not None


def test_two_siblings_cannot_have_one_name() -> None:
    module = nn.Module()
    module.weight = nn.Parameter([1.0])
    with pytest.raises(ShapeError, match=r"Module.weight: there is a parameter of this name"):
        module.weight = nn.Parameter([2.0])
    with pytest.raises(ShapeError, match=r"Module.other: the parameter weight .* 'weight'"):
        module.other = nn.Parameter([2.0], name="weight")
    module.first = nn.Parameter([2.0], name="second")
    with pytest.raises(ShapeError, match="already named 'second'"):
        module.second = nn.Parameter([2.0])
    with pytest.raises(ShapeError, match="must not contain a dot"):
        setattr(module, "a.b", nn.Parameter([2.0]))
    assert [name for name, _ in module.named_parameters()] == ["weight", "first"]
    guest = nn.Linear(1, 1).weight
    module.tied = guest  # a guest keeps its name and is no rival
    assert guest.name == "weight"


def test_a_place_is_free_again_after_del() -> None:
    module = Scale()
    del module.weight
    module.weight = nn.Parameter([5.0])
    assert module.state_dict()["weight"] == 5


def test_parameters_hidden_in_plain_containers_are_refused() -> None:
    module = nn.Module()
    for hiding in ([nn.Linear(2, 2)], (nn.Parameter([1.0]),), {"a": nn.Linear(2, 2)}):
        with pytest.raises(DTypeError, match=r"Module.layers: .*nn.ModuleList"):
            module.layers = hiding
    module.sizes = [2, 3]
    assert module.sizes == [2, 3]


def test_deep_copies_are_separate() -> None:
    model = nn.Module()
    model.a = nn.Linear(3, 2)
    model.tied = model.a.weight
    twin = copy.deepcopy(model)
    twin.a.weight.data = np.zeros((2, 3))
    assert model.a.weight.data.any()
    assert twin.tied is twin.a.weight
    assert twin.a.weight.home == "weight"
    assert isinstance(twin.a.weight, nn.Parameter)


# ── state ────────────────────────────────────────────────────────────────────────────────────────


def test_state_travels(rng: np.random.Generator) -> None:
    source, target = deep(), deep()
    for parameter in source.parameters():
        parameter.data = rng.standard_normal(parameter.shape)
    state = source.state_dict()
    target.load_state_dict(state)
    for name, array in target.state_dict().items():
        assert type(array) is np.ndarray
        np.testing.assert_array_equal(array, state[name])
    state["0.weight"][:] = 7  # a copy: nobody feels it
    assert not (source.state_dict()["0.weight"] == 7).any()
    assert not (target.state_dict()["0.weight"] == 7).any()


def test_state_is_converted_to_the_parameters_dtype() -> None:
    model = nn.Linear(3, 2)
    model.load_state_dict({"weight": np.full((2, 3), 0.5), "bias": [1, 2]})
    assert model.weight.dtype == np.float32
    np.testing.assert_array_equal(model.bias.data, [1, 2])


def test_loading_lists_every_problem_and_changes_nothing() -> None:
    model = deep()
    before = model.state_dict()
    state = {name: array + 1 for name, array in before.items()}
    del state["0.inner.bias"]
    state["1.0.weight"] = np.zeros(4)
    state["1.0.inner.bias"] = np.array(["a", "b"])
    state["extra"] = np.zeros(1)
    with pytest.raises(ShapeError) as caught:
        model.load_state_dict(state)
    for part in (
        "Sequential.load_state_dict: ",
        "0.inner.bias is missing",
        "extra is not in this model",
        "1.0.weight has shape (4,), expected (3,)",
        "1.0.inner.bias has dtype <U1",
    ):
        assert part in str(caught.value)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_astype_converts_everything_and_keeps_what_is_frozen_frozen() -> None:
    model = Scale()
    model.weight.requires_grad = False
    old = model(np.ones((1, 3), np.float32))
    assert model.astype(np.float64) is model
    assert {parameter.dtype for parameter in model.parameters()} == {np.dtype(np.float64)}
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, True, True]
    out = model(np.ones((1, 3)))
    assert out.dtype == np.float64
    out.sum().backward()
    assert model.inner.weight.grad.dtype == np.float64
    old.sum().backward()  # the graph from before still works
    with pytest.raises(DTypeError, match=r"Scale.astype: expected a floating dtype"):
        model.astype(np.int32)


# ── switches and scopes ──────────────────────────────────────────────────────────────────────────


def test_train_and_eval_reach_every_part() -> None:
    model = deep()
    assert all(module.training for module in model.modules())
    assert model.eval() is model
    assert not any(module.training for module in model.modules())
    assert model.train() is model
    assert all(module.training for module in model.modules())


def test_zero_grad() -> None:
    model = Scale()
    model.weight.requires_grad = False
    model(np.ones((1, 3), np.float32)).sum().backward()
    assert model.inner.weight.grad is not None
    model.zero_grad()
    assert model.inner.weight.grad is None


def scopes_of(out: Tensor) -> set[str]:
    """The paths of the scopes of everything behind `out`."""
    found, stack = set(), [out.node]
    while stack:
        node = stack.pop()
        if node.scope is not None:
            found.add(node.scope.path)
        stack += [parent for parent in node.parents if parent is not None]
    return found


def test_a_call_enters_the_scope_its_parent_named() -> None:
    class Root(nn.Module):
        def __init__(self) -> None:
            self.blocks = nn.ModuleList([Scale(), nn.Sequential(Scale(), nn.ReLU())])

        def forward(self, x: Tensor) -> list[Tensor]:
            return [block(x) for block in self.blocks]

    first, second = Root()(np.ones((1, 3), np.float32))
    assert scopes_of(first) == {"Root.blocks.0", "Root.blocks.0.inner"}
    assert scopes_of(second) == {"Root.blocks.1.0", "Root.blocks.1.0.inner", "Root.blocks.1.1"}
    assert scopes_of(Scale()(np.ones((1, 3), np.float32))) == {"Scale", "Scale.inner"}


def test_every_call_is_a_scope_of_its_own() -> None:
    layer = nn.Linear(2, 2)
    x = np.ones((1, 2), np.float32)
    assert layer(x).node.scope is not layer(x).node.scope


# ── containers and display ───────────────────────────────────────────────────────────────────────


def test_sequential_is_the_composition(rng: np.random.Generator) -> None:
    first, second = nn.Linear(3, 5), nn.Linear(5, 2)
    x = rng.standard_normal((4, 3)).astype(np.float32)
    np.testing.assert_array_equal(
        nn.Sequential(first, nn.GELU("tanh"), second)(x).data,
        second(nn.functional.gelu(first(x), "tanh")).data,
    )


def test_module_lists_are_lists() -> None:
    items = nn.ModuleList([nn.ReLU()])
    items.append(nn.GELU())
    assert len(items) == 2
    assert [type(module) for module in items] == [nn.ReLU, nn.GELU]
    assert items[-1] is items[1]
    with pytest.raises(IndexingError, match="index 2 is outside its 2 modules"):
        items[2]
    with pytest.raises(DTypeError, match="expected modules, got int"):
        items.append(3)


def test_repr_is_a_tree_with_repeated_parts_rolled_up() -> None:
    model = nn.Module()
    model.blocks = nn.ModuleList([nn.Linear(2, 3), nn.Linear(2, 3), nn.Linear(2, 3, bias=False)])
    model.norm = nn.LayerNorm(3)
    assert (
        repr(model)
        == """\
Module(
  blocks: ModuleList(
    0-1: 2 × Linear(2, 3)
    2: Linear(2, 3, bias=False)
  )
  norm: LayerNorm(3, eps=1e-05)
)"""
    )
    assert re.fullmatch(
        r"MultiHeadAttention\(4, num_heads=2\n  out_proj: Linear\(4, 4\)\n\)",
        repr(nn.MultiHeadAttention(4, 2)),
    )
