"""One call of an attention layer with every matrix and every gradient, as plain arrays.

The model is run twice, as a float64 copy in evaluation mode.  In the first run the graph is cut at
the layer's input, so that gradients there are those of this call alone, and what reaches the input
of the block went around the layer.  The second run is not cut: what it finds there is the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from math import sqrt
from typing import Any, Literal

import numpy as np

from ...engine import Array, DTypeError, GraphError, IndexingError, ShapeError, Tensor, grad
from ...engine.backward import reaching
from ...engine.tensor import locked
from ...nn import LayerNorm, Module, MultiHeadAttention, Parameter, RMSNorm
from ..labels import visible
from .data import PARAMETERS, Block, Example, Layer, Matrices, Recording, Target
from .naming import Names, named_examples
from .numeric import numeric
from .rotation import turn_of
from .watching import LARGEST, Call, Watch, enclosing

Run = Callable[[Any], Any]
Cell = tuple[int, int, int]


def record(
    model: Module,
    run: Run,
    *,
    layer: str | MultiHeadAttention | None = None,
    call: int = 0,
    examples: Sequence[Any] | None = None,
    cells: Iterable[Cell] = (),
    title: str = "",
    numeric_limit: int = 4096,
    on_progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """One call of a layer in `run(model)`, forward and backward; see `anatomy`.

    `paths`, `identities` and `steps` are still empty.
    """
    places = listed(cells)
    twin, name = copied(model, layer)
    cut, targets = watched(twin, name, run, call, cut=True)
    whole, again = watched(twin, name, run, call, cut=False)
    upstreams = arriving(cut, targets)
    same_again((cut, upstreams), (whole, arriving(whole, again)))
    owner = dict(twin.named_modules())[name]
    assert isinstance(owner, MultiHeadAttention)
    about = described(name, owner, cut)
    time, keys = cut.mask.shape[-2:]
    names = named_examples("anatomy", examples, len(cut.mask), time, keys)
    turn = turn_of(owner.positions, time, keys, cut.offset) if about.rotary else None
    recorded = tuple(example(about, cut, b, names[b]) for b in range(len(names)))
    parameters = parameters_of(owner, lambda p: p.numpy())
    refuse_pages(recorded, parameters, len(upstreams) + len(places))
    upstreams += single(cut, places, names)
    found = tuple(target(about, owner, cut, *upstream) for upstream in upstreams)
    ticks = len(parameters) + 1 + about.cross
    done = iter(range(1, ticks + 1))

    def tick() -> None:
        if on_progress is not None:
            on_progress(next(done), ticks)

    limit = whole_number("numeric_limit", numeric_limit)
    first = upstreams[0][2]
    numbers = numeric(about, recorded, parameters, turn, first, limit, tick) if limit else {}
    around = block(twin, name, cut, whole, upstreams, targets, again)
    return Recording(title, about, recorded, parameters, found, numbers, turn, around)


# ── the model and its runs ───────────────────────────────────────────────────────────────────────
def copied(model: Module, layer: str | MultiHeadAttention | None) -> tuple[Module, str]:
    """A float64 copy of the model in evaluation mode, and the layer's name."""
    if not isinstance(model, Module):
        raise DTypeError(f"anatomy: expected an nn.Module, got a {type(model).__name__}")
    layers = {n: m for n, m in model.named_modules() if isinstance(m, MultiHeadAttention)}
    if not layers:
        raise DTypeError(
            f"anatomy: there is no nn.MultiHeadAttention in this {type(model).__name__}"
        )
    name = next(iter(layers)) if layer is None else layer
    if isinstance(name, MultiHeadAttention):
        name = next((n for n, m in layers.items() if m is layer), "?")
    if not isinstance(name, str) or name not in layers:
        got = layer if isinstance(layer, str) else type(layer).__name__
        raise IndexingError(
            f"anatomy: expected a layer of this model, one of {', '.join(map(repr, layers))}; "
            f"got {got!r:.80}"
        )
    for part, module in model.named_modules():
        if "forward" in vars(module):
            raise GraphError(
                f"anatomy: the forward of {visible(part or type(module).__name__)} is replaced on "
                "the object itself, as study.observed does; call anatomy outside of its block"
            )
    twin = deepcopy(model).astype(np.float64).eval()
    for parameter in dict(twin.named_modules())[name].parameters():
        parameter.requires_grad = True
    return twin, name


def watched(
    model: Module, name: str, run: Run, call: int, *, cut: bool
) -> tuple[Call, dict[str, Tensor]]:
    """The call, and the targets of a run."""
    if not callable(run):
        raise DTypeError(f"anatomy: run must be a function of the model, got {run!r:.80}")
    watch = Watch(model, name, whole_number("call", call), cut)
    with watch.attached():
        targets = checked_targets(run(model))
    if watch.found is None:
        who = visible(name or type(watch.layer).__name__)
        if watch.count:
            there = f"call 0 … {watch.count - 1}" if watch.count > 1 else "call 0, the only one,"
            raise IndexingError(f"anatomy: expected {there} of {who} in run(model), got {call}")
        raise GraphError(f"anatomy: {who} was not called; `run` must use the model it is given")
    return watch.found, targets


def checked_targets(result: Any) -> dict[str, Tensor]:
    """What `run` returned, by name."""
    targets = dict(result) if isinstance(result, Mapping) else {"loss": result}
    if not targets:
        raise ShapeError("anatomy: run(model) returned no target")
    for name, value in targets.items():
        if not isinstance(value, Tensor):
            raise DTypeError(
                "anatomy: run(model) must return a scalar Tensor, or such by name; got a "
                f"{type(value).__name__} for {name!r:.80}"
            )
        if value.size != 1 or value.dtype.kind != "f":
            raise ShapeError(
                f"anatomy: run(model) must return scalars; {name!r:.80} is a {value.dtype} of "
                f"shape {value.shape}"
            )
        value.need_node(f"anatomy: the target {name!r:.80}")
    return {str(name): value for name, value in targets.items()}


def same_again(first: tuple[Call, list[Upstream]], second: tuple[Call, list[Upstream]]) -> None:
    """Refuse a `run` that does something else the second time: before the layer or behind it."""

    def seen(call: Call, upstreams: list[Upstream]) -> list[Array]:
        values, gradients = [value for _, value, *_ in upstreams], [g for *_, g, _ in upstreams]
        return [call.x.data, call.output.data, np.array(values), *gradients]

    pairs = zip(seen(*first), seen(*second))
    names = [[name for name, *_ in upstreams] for _, upstreams in (first, second)]
    if names[0] != names[1] or not all(
        a.shape == b.shape and np.allclose(a, b, 1e-9, 1e-12, equal_nan=True) for a, b in pairs
    ):
        raise GraphError(
            "anatomy: run(model) did something else the second time; it must give the same "
            "whenever it is called (no random draws inside)"
        )


def whole_number(name: str, value: Any) -> int:
    """An integer of 0 or more."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 0:
        raise IndexingError(f"anatomy: {name} must be an integer of 0 or more, got {value!r:.80}")
    return int(value)


# ── matrices ─────────────────────────────────────────────────────────────────────────────────────
def described(name: str, layer: MultiHeadAttention, call: Call) -> Layer:
    """What kind of layer it is."""
    width = layer.d_model // layer.num_heads
    return Layer(
        name or type(layer).__name__,
        layer.d_model,
        layer.num_heads,
        layer.num_kv_heads,
        width,
        1 / sqrt(width),
        cross=call.source is not None,
        rotary=layer.turned,
        bias=layer.in_proj_bias is not None,
    )


def tensors(layer: Layer, call: Call) -> dict[str, Tensor]:
    """The matrices of `Layer.columns`, (B, …) each; Q and K before rotation (B, time, width)."""
    stages = call.stages
    named = {"X": call.x, "Q": stages.q, "K": stages.k, "V": stages.v}
    if layer.rotary:
        named |= {"Q": call.projections[0], "K": call.projections[1]}
        named |= {"Qrot": stages.q, "Krot": stages.k}
    if call.source is not None:
        named["M"] = call.source
    named |= {"R": stages.raw, "S": stages.scores, "Smasked": stages.masked}
    named |= {"P": stages.weights, "C": stages.context, "Y": call.output}
    assert stages.concat is not None  # this is a layer's call
    return named | {"O": stages.concat}


def one(layer: Layer, name: str, array: Array) -> Array:
    """A matrix of one example as the page has it: heads first."""
    if layer.rotary and name in ("Q", "K"):
        array = array.reshape(len(array), -1, layer.d_head).swapaxes(0, 1)
    return locked(np.array(array, np.float64))


def example(layer: Layer, call: Call, b: int, names: Names) -> Example:
    """One sequence of the batch."""
    found = tensors(layer, call)
    mask = call.mask[b]
    if (mask == mask[:1]).all():
        mask = mask[:1]
    values = {name: one(layer, name, found[name].data[b]) for name in layer.columns}
    return Example(*names, values, locked(np.array(mask, np.float64)))


def parameters_of(layer: MultiHeadAttention, read: Callable[[Parameter], Array]) -> Matrices:
    """Wq … bo, of what `read` tells about each parameter: its values, or its gradient."""
    if layer.packed:
        weights = np.split(read(layer.in_proj_weight), 3)
    else:
        weights = [read(weight) for weight in layer.separate_weights]
    found = dict(zip(("Wq", "Wk", "Wv"), weights, strict=True))
    found["Wo"] = read(layer.out_proj.weight)
    if layer.in_proj_bias is not None:
        cuts = [layer.d_model, layer.d_model + layer.d_kv]
        parts = np.split(read(layer.in_proj_bias), cuts)
        found |= dict(zip(("bq", "bk", "bv"), parts, strict=True))
    if layer.out_proj.bias is not None:
        found["bo"] = read(layer.out_proj.bias)
    return {n: locked(np.array(found[n], np.float64)) for n in PARAMETERS if n in found}


# ── targets ──────────────────────────────────────────────────────────────────────────────────────
Upstream = tuple[str, float, Array, Cell | None]  # a target's name and value, dY, its cell


def arriving(call: Call, targets: dict[str, Tensor]) -> list[Upstream]:
    """dY of what `run` returned."""
    found: list[Upstream] = []
    for name, value in targets.items():
        (g,) = grad(value, [call.output], retain_graph=True, allow_unused=True)
        if g is None:
            raise GraphError(
                f"anatomy: the target {name!r:.80} does not depend on this call of the layer; "
                "choose another call, layer or target"
            )
        found.append((name, float(value.item()), g.data, None))
    return found


def listed(cells: Any) -> list[Any]:
    """What `cells` are, as tuples where they can be."""
    if not isinstance(cells, Iterable) or isinstance(cells, str):
        found = None
    else:
        found = [
            tuple(c) if isinstance(c, Iterable) and not isinstance(c, str) else c for c in cells
        ]
    if found is None or not all(isinstance(cell, tuple) for cell in found):
        raise IndexingError(
            f"anatomy: cells must be a list of (example, row, column), got {cells!r:.80}"
        )
    return found


def refuse_pages(examples: Sequence[Example], parameters: Matrices, targets: int) -> None:
    """Refuse what is too large: every target has a gradient of every matrix."""
    arrays = [*parameters.values(), *(a for example in examples for a in example.values.values())]
    count = (1 + targets) * sum(array.size for array in arrays)
    if count > LARGEST:
        raise ShapeError(
            f"anatomy: {targets} targets make a page of {count:,} numbers, and at most "
            f"{LARGEST:,} fit; ask for fewer targets or cells, or give `run` fewer examples"
        )


def single(call: Call, cells: Sequence[Any], names: list[Names]) -> list[Upstream]:
    """dY of cells of Y: 1 there."""
    found: list[Upstream] = []
    shape = call.output.shape
    for place in cells:
        if len(place) != 3 or not all(
            isinstance(i, (int, np.integer)) and 0 <= i < n for i, n in zip(place, shape)
        ):
            raise IndexingError(
                f"anatomy: a cell of Y is (example, row, column) below {shape}, got {place!r:.80}"
            )
        b, row, column = map(int, place)
        g = np.zeros(shape)
        g[b, row, column] = 1
        lead = f"{b}, " if len(names) > 1 else ""
        name = f"Y[{lead}“{names[b].queries[row]}”, {column}]"
        found.append((name, float(call.output.data[b, row, column]), g, (b, row, column)))
    return found


def target(
    about: Layer,
    layer: MultiHeadAttention,
    call: Call,
    name: str,
    value: float,
    upstream: Array,
    cell: Cell | None,
) -> Target:
    """The gradients that `upstream` makes in this call."""
    inner = {n: t for n, t in tensors(about, call).items() if n != "Y"}
    owned = list(layer.parameters())
    found = pulled(call.output, [*inner.values(), *owned], upstream)
    by_name = {**dict(zip(inner, found)), "Y": upstream}
    gradients = tuple(
        {"d" + n: one(about, n, by_name[n][b]) for n in about.columns} for b in range(len(upstream))
    )
    of = {id(p): g for p, g in zip(owned, found[len(inner) :], strict=True)}
    parameters = parameters_of(layer, lambda p: of[id(p)])
    return Target(name, value, gradients, {"d" + n: g for n, g in parameters.items()}, cell)


def pulled(output: Tensor, inputs: list[Tensor], g: Array | None) -> list[Array]:
    """ta.grad's, zeros where the output does not depend on an input."""
    found = grad(output, inputs, g, retain_graph=True, allow_unused=True)
    return [
        np.zeros(t.shape) if part is None else part.data
        for t, part in zip(inputs, found, strict=True)
    ]


# ── the block around the layer ───────────────────────────────────────────────────────────────────
def block(
    model: Module,
    name: str,
    cut: Call,
    whole: Call,
    upstreams: list[Upstream],
    targets: dict[str, Tensor],
    again: dict[str, Tensor],
) -> Block | None:
    """What arrives at the input of the module around the layer; None where X is not made of it."""
    if cut.block is None or whole.block is None or not leads(cut.block.leaf, cut.came[0]):
        return None
    around = enclosing(dict(model.named_modules()), name)
    assert around is not None  # it has let the block's input pass
    u, whole_u, came = cut.block.leaf, whole.block.leaf, cut.came
    residual, total = [], []
    for which, _, g, cell in upstreams:
        if cell is None:
            residual += pulled(targets[which], [u], None)
            total += pulled(again[which], [whole_u], None)
        else:
            residual.append(np.zeros(u.shape))
            total += pulled(whole.output, [whole_u], g)

    def pull(at: Literal["X", "M"], g: Array) -> Array:
        origin = came["XM".index(at)]
        return pulled(origin, [u], g)[0] if leads(u, origin) else np.zeros(u.shape)

    through, inside = passed(cut), dict(around[1].named_modules())
    norm = len(through) == 1 and isinstance(inside.get(through[0]), (LayerNorm, RMSNorm))
    return Block(
        around[0] or type(model).__name__,
        through,
        tuple(map(locked, residual)),
        tuple(map(locked, total)),
        pull,
        norm,
    )


def leads(u: Tensor, to: Any) -> bool:
    """Is `to` a tensor made from u?"""
    if not isinstance(to, Tensor) or to.node is None or u.node is None:
        return False
    return u.node in reaching(to.node, [u.node])


def passed(call: Call) -> tuple[str, ...]:
    """The modules between the block's input and the layer's, as the block calls them."""
    assert call.block is not None
    u, x = call.block.leaf.need_node("anatomy"), call.came[0].node
    depth = len(call.block.scope.chain) if call.block.scope else 0
    nodes = sorted(reaching(x, [u]) - {u}, key=lambda node: node.order)
    chains = [node.scope.chain for node in nodes if node.scope is not None]
    return tuple(dict.fromkeys(chain[depth].name for chain in chains if len(chain) > depth))
