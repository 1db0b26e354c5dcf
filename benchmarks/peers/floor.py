"""The floor: the matrix products of the work as they are usually done, in bare NumPy.

Their arrays are made beforehand.  Long attention leaves masked products out, by blocks; a step of
the GPT computes all T×T.  For the chain, which has no products, its arithmetic written out by hand
without any engine.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from ..problems import Problem, Sizes, problem
from ..work import Array, Work

BLOCK = 256  # queries in one piece of long attention


class Products(Work):
    """Products of pairs of matrices, or of stacks of them, into arrays that are there already."""

    def __init__(self, dtype: str) -> None:
        self.dtype, self.rng = dtype, np.random.default_rng(0)
        self.triples: list[tuple[Array, Array, Array]] = []

    def array(self, *shape: int) -> Array:
        """Random numbers."""
        return self.rng.standard_normal(shape).astype(self.dtype)

    def add(self, a: Array, b: Array) -> None:
        """One more product."""
        self.triples.append((a, b, a @ b))

    def linear(self, rows: int, d_in: int, d_out: int, *, data: bool = False) -> None:
        """A layer: x Wᵀ; dyᵀ x and dy W, which nobody needs where x is data."""
        x, w, dy = self.array(rows, d_in), self.array(d_out, d_in), self.array(rows, d_out)
        self.add(x, w.T)
        self.add(dy.T, x)
        if not data:
            self.add(dy, w)

    def attention(self, *shape: int) -> None:
        """Heads (B, H, T, d): QKᵀ and PV; dC Vᵀ, Pᵀ dC, dS K and dSᵀ Q."""
        q, k, v, dc = (self.array(*shape) for _ in range(4))
        p, ds = (self.array(*shape[:3], shape[2]) for _ in range(2))
        for a, b in ((q, k.mT), (p, v), (dc, v.mT), (p.mT, dc), (ds, k), (ds.mT, q)):
            self.add(a, b)

    def run(self) -> None:
        """All products."""
        for a, b, out in self.triples:
            np.matmul(a, b, out=out)


class Blocks(Work):
    """Long attention's products, over blocks of queries; QKᵀ once more for the way back."""

    def __init__(self, given: Problem) -> None:
        self.q, self.k, self.v = (given.params[name][0] for name in "qkv")  # (H, T, d)
        c, upstream = given.config, np.asarray(given.upstream)
        self.dc, self.causal, self.length = upstream[0], c.causal, c.length
        self.scores = np.empty(min(BLOCK, c.length) * c.length, c.dtype)
        self.out = np.empty((c.length, c.width), c.dtype)

    def run(self) -> None:
        """All products; with a causal mask those up to the block's last key."""
        for head in range(len(self.q)):
            for start, stop in pairwise([*range(0, self.length, BLOCK), self.length]):
                self.block(head, start, stop, stop if self.causal else self.length)

    def block(self, head: int, start: int, stop: int, keys: int) -> None:
        """Queries from `start` to `stop` and the first `keys` keys."""
        q, dc = self.q[head, start:stop], self.dc[head, start:stop]
        k, v = self.k[head, :keys], self.v[head, :keys]
        scores = self.scores[: len(q) * keys].reshape(len(q), keys)
        rows, columns = self.out[: len(q)], self.out[:keys]
        for a, b, out in (
            (q, k.T, scores), (scores, v, rows), (q, k.T, scores), (scores.T, dc, columns),
            (dc, v.T, scores), (scores, k, rows), (scores.T, q, columns),
        ):  # fmt: skip
            np.matmul(a, b, out=out)


class Chain(Work):
    """The chain by hand."""

    def __init__(self, given: Problem) -> None:
        self.given = given

    def both(self) -> dict[str, Array]:
        """The result and every gradient."""
        x, a, b = (self.given.params[name] for name in "xab")
        saved, y = [], x
        for _ in range(self.given.config.length):
            scaled = y * a
            scores = scaled * b
            e = np.exp(scores - scores.max(axis=-1, keepdims=True))
            p = e / e.sum(axis=-1, keepdims=True)
            saved.append((y, scaled, p))
            y = p
        g, ga, gb = np.asarray(self.given.upstream), np.zeros_like(a), np.zeros_like(b)
        result = y
        for y, scaled, p in reversed(saved):
            g = p * (g - (g * p).sum(axis=-1, keepdims=True))
            gb, g = gb + g * scaled, g * b
            ga, g = ga + g * y, g * a
        return {"result": result, "x": g, "a": ga, "b": gb}

    def run(self) -> None:
        """Forward and backward."""
        self.both()

    def check(self) -> dict[str, Array]:
        """The result and every gradient."""
        return self.both()


def gpt(c: Any) -> Products:
    """The products of a training step."""
    made, rows, width = Products(c.dtype), c.batch * c.max_length, c.d_model
    for _ in range(c.num_layers):
        layer(made, rows, width, 4 * width)
        made.attention(c.batch, c.num_heads, c.max_length, width // c.num_heads)
    made.linear(rows, width, c.vocab_size)
    return made


def vit(c: Any) -> Products:
    """The products of a training step."""
    made, patches = Products(c.dtype), (c.image_size // c.patch_size) ** 2
    made.linear(c.batch * patches, c.patch_size**2, c.d_model, data=True)
    for _ in range(c.num_layers):
        layer(made, c.batch * (patches + 1), c.d_model, c.d_ff)
        made.attention(c.batch, c.num_heads, patches + 1, c.d_model // c.num_heads)
    made.linear(c.batch, c.d_model, c.num_classes)
    return made


def attention(c: Any) -> Products:
    """The products of one layer, without a feed-forward network."""
    made, rows, width = Products(c.dtype), c.batch * c.length, c.d_model
    made.linear(rows, width, 3 * width)
    made.linear(rows, width, width)
    made.attention(c.batch, c.num_heads, c.length, width // c.num_heads)
    return made


def layer(made: Products, rows: int, width: int, inside: int) -> None:
    """The projections and the feed-forward network of a layer."""
    for d_in, d_out in ((width, 3 * width), (width, width), (width, inside), (inside, width)):
        made.linear(rows, d_in, d_out)


def make(name: str, sizes: Sizes) -> Work:
    """The work."""
    given = problem(name, sizes)
    if name == "chain":
        return Chain(given)
    if name == "long_attention":
        return Blocks(given)
    return {"gpt": gpt, "vit": vit, "attention": attention}[name](given.config)
