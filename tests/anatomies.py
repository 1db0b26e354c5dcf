"""Recordings put together by hand, with `ta.grad` alone: what the anatomy's parts are tested on."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_attn as ta
from tinygrad_attn import Tensor, nn
from tinygrad_attn.viz.anatomy.data import Block, Example, Layer, Matrices, Recording, Target
from tinygrad_attn.viz.anatomy.rotation import turn_of

Array = np.ndarray[Any, Any]
STAGES = {
    "R": "raw",
    "S": "scores",
    "Smasked": "masked",
    "P": "weights",
    "C": "context",
    "O": "concat",
    "Y": "output",
}
SHAPES = {"heads": 6, "d_model": 12, "queries": 5, "keys": 7, "kdim": 11}


class Watched(nn.MultiHeadAttention):
    """A layer that keeps Q, K and V as they were before any rotation."""

    def projected(self, x: Tensor, keys: Tensor, values: Tensor) -> Any:
        self.found = [part * 1.0 for part in super().projected(x, keys, values)]
        return self.found


def masks(rng: np.random.Generator, B: int, T: int, S: int) -> Array:
    """Additive, with −∞, one query that may look nowhere, and numbers elsewhere."""
    added = rng.standard_normal((B, T, S))
    added[rng.random(added.shape) < 0.3] = -np.inf
    added[0, 1] = -np.inf
    return added


def recorded(
    rng: np.random.Generator,
    *,
    cross: bool = False,
    kv_heads: int = 6,
    rotary: bool = False,
    bias: bool = True,
    masked: bool = False,
    memory_of_block: bool = False,
    batch: int = 2,
) -> Recording:
    """u → norm → X → attention → Y, then tanh(u + Y) and a random loss of it, forward and back."""
    B, T, D, H = batch, *(SHAPES[name] for name in ("queries", "d_model", "heads"))
    S, kdim = (SHAPES["keys"], SHAPES["kdim"]) if cross else (T, D)
    positions = nn.RotaryPositions(D // H) if rotary else None
    layer = Watched(
        D, H, num_kv_heads=kv_heads, kdim=kdim, vdim=kdim, bias=bias, positions=positions, rng=rng
    ).astype(np.float64)
    for parameter in layer.parameters():
        parameter.data = 0.5 * rng.standard_normal(parameter.shape)
    before = nn.LayerNorm(D).astype(np.float64)
    before.weight.data = rng.standard_normal(D)
    to_memory = Tensor(rng.standard_normal((S * kdim, T * D)))
    u = Tensor(rng.standard_normal((B, T, D)), requires_grad=True)
    w = rng.standard_normal((B, T, D))
    mask = masks(rng, B, T, S) if masked else np.zeros((B, T, S))

    def memory(u: Tensor) -> Tensor:
        return ta.matmul(u.reshape(B, T * D), to_memory.T).reshape(B, S, kdim)

    sources = {"X": before} | ({"M": memory if memory_of_block else None} if cross else {})
    leaves = {
        name: Tensor(
            rng.standard_normal((B, S, kdim)) if make is None else make(u).data, requires_grad=True
        )
        for name, make in sources.items()
    }

    def loss(inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor, nn.Stages]:
        out, stages = layer(*inputs.values(), mask=mask, return_stages=True)
        return (w * ta.tanh(u + out)).sum(), out, stages

    # The layer alone, on leaves; then the whole, with X = norm(u) attached.
    value, out, stages = loss(leaves)
    (residual, dY) = ta.grad(value, [u, out], retain_graph=True)
    attached = {n: leaves[n] if make is None else make(u) for n, make in sources.items()}
    (total,) = ta.grad(loss(attached)[0], [u])
    value, out, stages = loss(leaves)
    tensors = {**leaves, **{name: getattr(stages, field) for name, field in STAGES.items()}}
    raw = dict(zip("QKV", layer.found, strict=True))
    tensors |= {"Qrot": stages.q, "Krot": stages.k} if rotary else {}
    wanted = {**tensors, **raw}
    parameters = dict(layer.named_parameters())
    found = ta.grad(out, [*wanted.values(), *parameters.values()], g=dY, retain_graph=True)
    gradients = dict(zip([*wanted, *parameters], (g.data for g in found), strict=True))

    def pull(at: str, gradient: Array) -> Array:
        make = sources[at]
        if make is None:
            return np.zeros_like(u.data)
        (part,) = ta.grad(make(u), [u], g=gradient)
        return part.data

    def heads(array: Array) -> Array:
        return array.reshape(*array.shape[:2], -1, D // H).transpose(0, 2, 1, 3)

    def plain(name: str, array: Array) -> Array:
        return heads(array) if name in raw else array

    values = {name: plain(name, tensor.data) for name, tensor in wanted.items()}
    grads = {name: plain(name, gradients[name]) for name in wanted}
    labels = [(f"q{i}" for i in range(T)), (f"k{j}" for j in range(S))]
    queries, keys = map(tuple, labels)
    spread = np.broadcast_to(mask[:, None], (B, 1, T, S))
    return Recording(
        "by hand",
        Layer("block.attn", D, H, kv_heads, D // H, (D // H) ** -0.5, cross, rotary, bias),
        tuple(
            Example(f"sequence {b}", queries, keys, {n: a[b] for n, a in values.items()}, spread[b])
            for b in range(B)
        ),
        split_parameters(layer, {n: p.data for n, p in parameters.items()}),
        (
            Target(
                "loss",
                float(value.data),
                tuple({f"d{n}": g[b] for n, g in grads.items()} for b in range(B)),
                {f"d{n}": g for n, g in split_parameters(layer, gradients).items()},
            ),
        ),
        {},
        turn=turn_of(positions, T, S, 0) if positions is not None else None,
        block=Block("block", ("norm",), (residual.data,), (total.data,), pull, norm=True),
    )


def split_parameters(layer: nn.MultiHeadAttention, named: Any) -> Matrices:
    """The parameters (or their gradients) of a layer by the names of the anatomy."""
    cuts = (layer.d_model, layer.d_model + layer.d_kv)
    if layer.packed:
        weights = np.split(named["in_proj_weight"], cuts)
    else:
        weights = [named[f"{kind}_proj_weight"] for kind in "qkv"]
    found = dict(zip(("Wq", "Wk", "Wv"), weights, strict=True), Wo=named["out_proj.weight"])
    if layer.in_proj_bias is not None:
        biases = np.split(named["in_proj_bias"], cuts)
        found |= dict(zip(("bq", "bk", "bv"), biases, strict=True), bo=named["out_proj.bias"])
    return found
