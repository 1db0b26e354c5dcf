"""One cell of a matrix as the sum of products that it is: what the derivation writes out.

A term is a product of other cells.  Every matrix of a recording but its inputs and dY has a row in
`TERMS`, which says by which cells; P, which is no sum, has not.  Indices, after the example's b:

    h, g    head of queries, and of keys and values (g = h // group)
    t, s    query, key          i    feature of a head          j, m, o    feature of X, of Y; a row
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np

from ...engine import IndexingError
from .data import Matrices, Recording, Target
from .identities import matrices

Index = tuple[int, ...]


class Factor(NamedTuple):
    """A cell of a matrix, by its place."""

    name: str
    at: Index


@dataclass(frozen=True)
class Term:
    """A product of cells, added or subtracted."""

    factors: tuple[Factor, ...]
    values: tuple[float, ...]
    sign: int = 1

    @property
    def product(self) -> float:
        """Its value."""
        return self.sign * prod(self.values)


@dataclass(frozen=True)
class Cell:
    """A cell, its value as it was recorded, and its terms, largest first."""

    place: Factor
    value: float
    terms: tuple[Term, ...]

    @property
    def total(self) -> float:
        """The sum of the terms."""
        return float(sum(term.product for term in self.terms))

    @property
    def difference(self) -> float:
        """How far the sum is from the value."""
        return 0.0 if self.total == self.value else abs(self.total - self.value)


class Cells:
    """The cells of one target."""

    def __init__(self, recording: Recording, target: Target) -> None:
        self.layer = recording.layer
        self.matrices: Matrices = matrices(recording, target)
        self.sizes = self.matrices["P"].shape  # B, H, T, S
        if recording.turn is not None:
            turn, copies = recording.turn, (self.sizes[0], 1, 1)
            for name in ("cos", "sin", "keycos", "keysin"):
                self.matrices[name] = np.tile(getattr(turn, name), copies)
            self.pair: tuple[int, ...] = turn.pair

    def cell(self, name: str, *index: int) -> Cell:
        """A cell with its terms; `index` begins with the example, except of a parameter.

        Raises:
            IndexingError: the matrix is an input, is not here, or has no such cell.
        """
        if name not in TERMS or name not in self.matrices:
            raise IndexingError(f"cells: {name!r} opens into nothing here")
        value = self.value(Factor(name, index))
        found = sorted(self.terms(name, index), key=lambda term: -abs(term.product))
        return Cell(Factor(name, index), value, tuple(found))

    def value(self, factor: Factor) -> float:
        """The number in a cell."""
        array = self.matrices[factor.name]
        inside = len(factor.at) == array.ndim and all(
            0 <= i < n for i, n in zip(factor.at, array.shape)
        )
        if not inside:
            raise IndexingError(
                f"cells: {factor.name} has no cell {factor.at}; its shape is {array.shape}"
            )
        return float(array[factor.at])

    def terms(self, name: str, index: Index) -> Iterator[Term]:
        """The terms of a cell, in the order of the sum."""
        for factors in TERMS[name](self, *index):
            sign = -1 if factors[0].name == "−" else 1
            kept = tuple(f for f in factors if f.name != "−")
            yield Term(kept, tuple(map(self.value, kept)), sign)


Products = Iterator[tuple[Factor, ...]]
F = Factor
MINUS = Factor("−", ())


# ── forward ──────────────────────────────────────────────────────────────────────────────────────
def projected(source: str, kind: str) -> Callable[..., Products]:
    """Q, K and V: Σ_j X[t, j] Wq[h·d + i, j] + bq[h·d + i]."""

    def products(c: Cells, b: int, h: int, t: int, i: int) -> Products:
        x = "M" if c.layer.cross and source == "keys" else "X"
        row = h * c.layer.d_head + i
        for j in range(c.matrices[x].shape[-1]):
            yield F(x, (b, t, j)), F(f"W{kind}", (row, j))
        if f"b{kind}" in c.matrices:
            yield (F(f"b{kind}", (row,)),)

    return products


def turned(name: str, side: str) -> Callable[..., Products]:
    """Q[t, i] cos[t, i] + Q[t, pair(i)] sin[t, i]."""

    def products(c: Cells, b: int, h: int, t: int, i: int) -> Products:
        yield F(name, (b, h, t, i)), F(f"{side}cos", (b, t, i))
        yield F(name, (b, h, t, c.pair[i])), F(f"{side}sin", (b, t, i))

    return products


def raw(c: Cells, b: int, h: int, t: int, s: int) -> Products:
    """Σ_i Q[h, t, i] K[g, s, i]."""
    q, k = queries_keys(c)
    for i in range(c.layer.d_head):
        yield F(q, (b, h, t, i)), F(k, (b, h // c.layer.group, s, i))


def masked(c: Cells, b: int, h: int, t: int, s: int) -> Products:
    """S[h, t, s] + mask[h, t, s]."""
    yield (F("S", (b, h, t, s)),)
    yield (F("mask", (b, h, t, s)),)


def context(c: Cells, b: int, h: int, t: int, i: int) -> Products:
    """Σ_s P[h, t, s] V[g, s, i]."""
    for s in range(c.sizes[3]):
        yield F("P", (b, h, t, s)), F("V", (b, h // c.layer.group, s, i))


def concat(c: Cells, b: int, t: int, o: int) -> Products:
    """C[h, t, i], o = h·d + i."""
    yield (F("C", (b, o // c.layer.d_head, t, o % c.layer.d_head)),)


def output(c: Cells, b: int, t: int, m: int) -> Products:
    """Σ_o O[t, o] Wo[m, o] + bo[m]."""
    for o in range(c.matrices["O"].shape[-1]):
        yield F("O", (b, t, o)), F("Wo", (m, o))
    if "bo" in c.matrices:
        yield (F("bo", (m,)),)


# ── backward ─────────────────────────────────────────────────────────────────────────────────────
def output_back(c: Cells, b: int, t: int, o: int) -> Products:
    """Σ_m dY[t, m] Wo[m, o]."""
    for m in range(c.matrices["dY"].shape[-1]):
        yield F("dY", (b, t, m)), F("Wo", (m, o))


def heads_apart(c: Cells, b: int, h: int, t: int, i: int) -> Products:
    """dO[t, h·d + i]."""
    yield (F("dO", (b, t, h * c.layer.d_head + i)),)


def weights_back(c: Cells, b: int, h: int, t: int, s: int) -> Products:
    """Σ_i dC[h, t, i] V[g, s, i]."""
    for i in range(c.layer.d_head):
        yield F("dC", (b, h, t, i)), F("V", (b, h // c.layer.group, s, i))


def softmax_back(c: Cells, b: int, h: int, t: int, s: int) -> Products:
    """P[s] dP[s] − Σ_k P[s] P[k] dP[k], all of row (h, t)."""
    p = F("P", (b, h, t, s))
    yield p, F("dP", (b, h, t, s))
    for k in range(c.sizes[3]):
        yield MINUS, p, F("P", (b, h, t, k)), F("dP", (b, h, t, k))


def same(name: str) -> Callable[..., Products]:
    """The cell of another matrix in the same place."""
    return lambda c, *index: iter([(F(name, index),)])


def scaled(name: str) -> Callable[..., Products]:
    """1/√d times the cell of another matrix in the same place."""
    return lambda c, *index: iter([(F(name, index), F("scale", ()))])


def queries_back(c: Cells, b: int, h: int, t: int, i: int) -> Products:
    """Σ_s dR[h, t, s] K[g, s, i]."""
    for s in range(c.sizes[3]):
        yield F("dR", (b, h, t, s)), F(queries_keys(c)[1], (b, h // c.layer.group, s, i))


def shared_back(left: str, right: str) -> Callable[..., Products]:
    """Σ over queries t and the heads h of group g: dR[h, t, s] Q[h, t, i]; P and dC for dV."""

    def products(c: Cells, b: int, g: int, s: int, i: int) -> Products:
        other = queries_keys(c)[0] if right == "Q" else right
        for h in range(g * c.layer.group, (g + 1) * c.layer.group):
            for t in range(c.sizes[2]):
                yield F(left, (b, h, t, s)), F(other, (b, h, t, i))

    return products


def turned_back(name: str, side: str, unturned: Callable[..., Products]) -> Callable[..., Products]:
    """dQrot[t, i] cos[t, i] + dQrot[t, pair(i)] sin[t, pair(i)]; `unturned` where nothing turns."""

    def products(c: Cells, b: int, h: int, t: int, i: int) -> Products:
        if not c.layer.rotary:
            yield from unturned(c, b, h, t, i)
            return
        for feature in (i, c.pair[i]):
            wave = "cos" if feature == i else "sin"
            yield F(name, (b, h, t, feature)), F(f"{side}{wave}", (b, t, feature))

    return products


def input_back(at: str) -> Callable[..., Products]:
    """Σ_o dQ[t, o] Wq[o, j] + dK[t, o] Wk[o, j] + dV[t, o] Wv[o, j], of those made from it."""

    def products(c: Cells, b: int, t: int, j: int) -> Products:
        for kind in "qkv":
            if at == ("M" if c.layer.cross and kind != "q" else "X"):
                for o in range(len(c.matrices[f"W{kind}"])):
                    h, i = divmod(o, c.layer.d_head)
                    yield F(f"d{kind.upper()}", (b, h, t, i)), F(f"W{kind}", (o, j))

    return products


def weight_back(kind: str) -> Callable[..., Products]:
    """Σ over all examples and tokens: dQ[h, t, i] X[t, j], o = h·d + i."""

    def products(c: Cells, o: int, j: int) -> Products:
        x = "M" if c.layer.cross and kind != "q" else "X"
        for b, t in np.ndindex(*c.matrices[x].shape[:2]):
            yield F(f"d{kind.upper()}", (b, *by_head(c, o, t))), F(x, (b, t, j))

    return products


def bias_back(kind: str) -> Callable[..., Products]:
    """Σ over all examples and tokens: dQ[h, t, i], o = h·d + i."""

    def products(c: Cells, o: int) -> Products:
        gradient = f"d{kind.upper()}"
        for b in range(c.sizes[0]):
            for t in range(c.matrices[gradient].shape[-2]):
                yield (F(gradient, (b, *by_head(c, o, t))),)

    return products


def output_weight_back(c: Cells, m: int, o: int) -> Products:
    """Σ over all examples and queries: dY[t, m] O[t, o]."""
    for b, t in np.ndindex(c.sizes[0], c.sizes[2]):
        yield F("dY", (b, t, m)), F("O", (b, t, o))


def output_bias_back(c: Cells, m: int) -> Products:
    """Σ over all examples and queries: dY[t, m]."""
    for b, t in np.ndindex(c.sizes[0], c.sizes[2]):
        yield (F("dY", (b, t, m)),)


def by_head(c: Cells, o: int, t: int) -> Index:
    """Row o of a weight in a matrix of heads: head, token, feature."""
    h, i = divmod(o, c.layer.d_head)
    return h, t, i


def queries_keys(c: Cells) -> tuple[str, str]:
    """What enters R."""
    return ("Qrot", "Krot") if c.layer.rotary else ("Q", "K")


TERMS: dict[str, Callable[..., Products]] = {
    "Q": projected("queries", "q"), "K": projected("keys", "k"), "V": projected("keys", "v"),
    "Qrot": turned("Q", ""), "Krot": turned("K", "key"),
    "R": raw, "S": scaled("R"), "Smasked": masked, "C": context, "O": concat, "Y": output,
    "dO": output_back, "dC": heads_apart,
    "dP": weights_back, "dV": shared_back("P", "dC"),
    "dSmasked": softmax_back, "dS": same("dSmasked"), "dR": scaled("dS"),
    "dQrot": queries_back, "dKrot": shared_back("dR", "Q"),
    "dQ": turned_back("dQrot", "", queries_back),
    "dK": turned_back("dKrot", "key", shared_back("dR", "Q")),
    "dX": input_back("X"), "dM": input_back("M"),
    "dWq": weight_back("q"), "dWk": weight_back("k"), "dWv": weight_back("v"),
    "dbq": bias_back("q"), "dbk": bias_back("k"), "dbv": bias_back("v"),
    "dWo": output_weight_back, "dbo": output_bias_back,
}  # fmt: skip
