"""Small models around a layer of attention, and the same written out by hand with `ta.grad`."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass, field
from html.parser import HTMLParser
from json import loads
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_attn as ta
from tinygrad_attn import Tensor, nn

Array = np.ndarray[Any, Any]
B, T, S, D, H, G, KDIM = 2, 5, 7, 24, 6, 3, 11
INF = np.inf


class Block(nn.Module):
    """u + attention(norm(u)), as a Transformer has it."""

    def __init__(self, attn: nn.MultiHeadAttention) -> None:
        self.norm = nn.LayerNorm(D)
        self.attn = attn

    def forward(self, u: Tensor, memory: Tensor | None = None, **options: Any) -> Tensor:
        out: Tensor = u + self.attn(self.norm(u), memory, **options)
        return out


class Model(nn.Module):
    """Two blocks, of which the second is looked at; what it reads is a parameter-like constant."""

    def __init__(self, case: Case, rng: np.random.Generator) -> None:
        kdim = KDIM if case.cross else D
        self.blocks = nn.ModuleList(
            Block(nn.MultiHeadAttention(D, H, kdim=kdim, vdim=kdim, rng=rng, **case.layer))
            for _ in range(2)
        )
        for parameter in self.parameters():
            parameter.data = 0.5 * rng.standard_normal(parameter.shape)
        self.case = case

    def forward(self, u: Any, memory: Any) -> Tensor:
        for block in self.blocks:
            u = block(u, memory, **self.case.options)
        return u  # type: ignore[no-any-return]


@dataclass
class Case:
    """A kind of attention: how the layer is made and called, and what is added to its scores."""

    layer: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    mask: Any = 0.0
    cross: bool = False

    @property
    def keys(self) -> int:
        return S if self.cross else T


def additive(keep: Any) -> Array:
    """0 where `keep`, else −∞."""
    return np.where(keep, 0.0, -INF)


def with_empty_row(S: int) -> Array:
    """(B, T, S) booleans; one query may attend to no key."""
    keep = np.random.default_rng(7).random((B, T, S)) < 0.6
    keep[1, 2] = False
    return keep


def floating() -> Array:
    """(B, H, T, T): numbers and −∞, another for each head."""
    rng = np.random.default_rng(8)
    added = rng.standard_normal((B, H, T, T))
    added[rng.random(added.shape) < 0.3] = -INF
    return added


DISTANCE = np.arange(T)[:, None] - np.arange(T)
ALIBI = nn.AlibiBias(H)
CASES = {
    "self": Case(),
    "without biases": Case({"bias": False}),
    "causal": Case({}, {"causal": True}, additive(DISTANCE >= 0)),
    "empty row": Case({}, {"mask": with_empty_row(T)}, additive(with_empty_row(T))[:, None]),
    "floating mask": Case({}, {"mask": floating()}, floating()),
    "padding": Case(
        {},
        {"mask": nn.Mask.lengths([5, 3])},
        additive(np.arange(T) < np.array([5, 3])[:, None])[:, None, None],
    ),
    "window": Case(
        {}, {"mask": nn.Mask.window(2, 1)}, additive((DISTANCE <= 2) & (DISTANCE >= -1))
    ),
    "ALiBi": Case(
        {"positions": ALIBI},
        {"causal": True},
        -ALIBI.slopes[:, None, None] * np.abs(DISTANCE) + additive(DISTANCE >= 0),
    ),
    "grouped": Case({"num_kv_heads": G}),
    "rotary": Case({"positions": nn.RotaryPositions(D // H)}, {"causal": True, "offset": 3}),
    "rotary in pairs, grouped": Case(
        {"positions": nn.RotaryPositions(D // H, interleaved=True), "num_kv_heads": 2}
    ),
    "cross": Case({}, {}, cross=True),
    "cross, grouped, empty row": Case(
        {"num_kv_heads": G, "bias": False},
        {"mask": with_empty_row(S)},
        additive(with_empty_row(S))[:, None],
        cross=True,
    ),
    "cross, rotary": Case({"positions": nn.RotaryPositions(D // H)}, cross=True),
}
CASES["rotary"].mask = additive(np.arange(T)[:, None] + 3 >= np.arange(T))


def inputs(case: Case, rng: np.random.Generator) -> tuple[Array, Array | None, Array]:
    """u, the memory of cross-attention, and the weights of the loss."""
    u, w = rng.standard_normal((2, B, T, D))
    return u, rng.standard_normal((B, S, KDIM)) if case.cross else None, w


def loss_of(model: Any, u: Array, memory: Array | None, w: Array) -> dict[str, Tensor]:
    """Two targets."""
    out = model(Tensor(u), None if memory is None else Tensor(memory))
    return {"loss": (w * ta.tanh(out)).sum(), "logit": out[1, 2, 3] * out[0, 0, 0]}


# ── by hand ──────────────────────────────────────────────────────────────────────────────────────
@dataclass
class ByHand:
    """Every matrix of the second block's attention, (B, …); for each target their gradients."""

    values: dict[str, Array]
    gradients: list[dict[str, Array]]
    mask: Array


def by_hand(model: Model, u: Array, memory: Array | None, w: Array) -> ByHand:
    """The model without the layer's own forward: products, one softmax, `ta.grad`."""
    first, second = model.blocks
    with ta.no_grad():
        entering = first(
            Tensor(u), None if memory is None else Tensor(memory), **model.case.options
        )
        x = second.norm(entering).data
    t = {"X": leaf(x)} | ({} if memory is None else {"M": leaf(memory)})
    t |= parameters(second.attn)
    attend(second.attn, model.case, t)
    out = Tensor(entering.data) + t["Y"]
    targets = [(w * ta.tanh(out)).sum(), out[1, 2, 3] * out[0, 0, 0]]
    found = []
    for target in targets:
        grads = ta.grad(target, list(t.values()), retain_graph=True, allow_unused=True)
        found.append({n: np.zeros(t[n].shape) if g is None else g.data for n, g in zip(t, grads)})
    mask = np.broadcast_to(model.case.mask, (B, H, T, model.case.keys))
    return ByHand({n: x.data for n, x in t.items()}, found, mask)


def leaf(array: Array) -> Tensor:
    return Tensor(array, requires_grad=True)


def parameters(attn: nn.MultiHeadAttention) -> dict[str, Tensor]:
    """Wq … bo as leaves of their own."""
    named = {name: parameter.data for name, parameter in attn.named_parameters()}
    kv = attn.d_kv
    if "in_proj_weight" in named:
        rows = named["in_proj_weight"]
        weights = [rows[:D], rows[D : 2 * D], rows[2 * D :]]
    else:
        weights = [named[f"{letter}_proj_weight"] for letter in "qkv"]
    found = dict(zip(("Wq", "Wk", "Wv"), weights)) | {"Wo": named["out_proj.weight"]}
    if "in_proj_bias" in named:
        bias = named["in_proj_bias"]
        found |= {"bq": bias[:D], "bk": bias[D : D + kv], "bv": bias[D + kv :]}
        found["bo"] = named["out_proj.bias"]
    return {name: leaf(array) for name, array in found.items()}


def attend(attn: nn.MultiHeadAttention, case: Case, t: dict[str, Tensor]) -> None:
    """Fill in Q … Y."""
    source = t.get("M", t["X"])
    for name, x in (("Q", t["X"]), ("K", source), ("V", source)):
        y = x @ t[f"W{name.lower()}"].mT
        y = y + t[f"b{name.lower()}"] if "bq" in t else y
        t[name] = y.reshape(B, y.shape[1], -1, D // H).transpose(0, 2, 1, 3)
    q, k = t["Q"], t["K"]
    if isinstance(attn.positions, nn.RotaryPositions):
        q = t["Qrot"] = turned(attn.positions, q, case.options.get("offset", 0))
        k = t["Krot"] = turned(attn.positions, k, 0)
    each = H // k.shape[1]
    t["R"] = q @ ta.repeat(k, each, 1).mT
    t["S"] = t["R"] / np.sqrt(D // H)
    t["Smasked"] = t["S"] + case.mask
    alive = np.isfinite(t["Smasked"].data).any(axis=-1, keepdims=True)
    powers = ta.exp(ta.where(alive, t["Smasked"], 0.0))
    t["P"] = ta.where(alive, powers / powers.sum(axis=-1, keepdims=True), 0.0)
    t["C"] = t["P"] @ ta.repeat(t["V"], each, 1)
    t["O"] = t["C"].transpose(0, 2, 1, 3).reshape(B, T, D)
    y = t["O"] @ t["Wo"].mT
    t["Y"] = y + t["bo"] if "bo" in t else y


def turned(positions: nn.RotaryPositions, x: Tensor, offset: int) -> Tensor:
    """Pairs of features as complex numbers, times e^{i·position·rate}, by a matrix a position."""
    d, rows = positions.d_head, []
    for place in range(x.shape[2]):
        matrix = np.zeros((d, d))
        for n, rate in enumerate(positions.rates):
            a, b = (2 * n, 2 * n + 1) if positions.interleaved else (n, n + d // 2)
            c, s = np.cos((place + offset) * rate), np.sin((place + offset) * rate)
            matrix[[a, a, b, b], [a, b, a, b]] = c, -s, s, c
        rows.append(x[:, :, place] @ matrix.T)
    return ta.stack(rows, axis=2)


# ── reading a page ───────────────────────────────────────────────────────────────────────────────
class Scripts(HTMLParser):
    """Collects the data of a page as a browser would find it."""

    data = ""
    inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag == "script" and dict(attrs).get("id") == "anatomy-data"

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.data += data


def page_data(path: Path) -> Any:
    """The JSON in a page."""
    scripts = Scripts()
    scripts.feed(path.read_text("utf-8"))
    return loads(scripts.data)


def decoded(text: str, shape: Any) -> Array:
    """The numbers behind one text of base64."""
    return np.frombuffer(b64decode(text, validate=True), "<f8").reshape(shape)
