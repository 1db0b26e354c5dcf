"""What the anatomy of a call consists of: plain data, from the recording to the page.

Arrays are float64 and read-only.  Names of matrices, each with its gradient under "d" + name
(T queries, N keys, H heads of queries, G of keys and values, each d wide; D = H·d):

    X (T, D)            the layer's input; M (N, kdim), the keys' and values', in cross-attention
    Q (H, T, d)         and K, V (G, N, d); with rotary positions before rotation, after it
                        Qrot (H, T, d) and Krot (G, N, d)
    R S Smasked P       (H, T, N): Q Kᵀ, scaled, masked, after the softmax
    C (H, T, d)         P V; O (T, D) the heads side by side; Y (T, D) the result
    Wq (D, D)           and Wk, Wv (G·d, kdim), Wo (D, D); bq bk bv bo (rows,)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from ...engine import Array

if TYPE_CHECKING:
    from .paths import Decomposition

PARAMETERS = ("Wq", "Wk", "Wv", "Wo", "bq", "bk", "bv", "bo")
Matrices = dict[str, Array]
Place = Literal["X", "M", "block"]


class Text(NamedTuple):
    """The same in English and in Korean."""

    en: str
    ko: str


MEANINGS = {
    "X": Text("input", "입력"),
    "M": Text("memory", "메모리"),
    "Q": Text("queries", "쿼리"),
    "K": Text("keys", "키"),
    "V": Text("values", "값"),
    "Qrot": Text("rotated Q", "회전한 Q"),
    "Krot": Text("rotated K", "회전한 K"),
    "R": Text("raw scores", "원점수"),
    "S": Text("scores", "점수"),
    "Smasked": Text("masked scores", "마스크한 점수"),
    "P": Text("weights", "가중치"),
    "C": Text("context", "문맥"),
    "O": Text("heads joined", "헤드 연결"),
    "Y": Text("output", "출력"),
    "Wq": Text("query weights", "쿼리 가중치"),
    "Wk": Text("key weights", "키 가중치"),
    "Wv": Text("value weights", "값 가중치"),
    "Wo": Text("output weights", "출력 가중치"),
    "bq": Text("query bias", "쿼리 편향"),
    "bk": Text("key bias", "키 편향"),
    "bv": Text("value bias", "값 편향"),
    "bo": Text("output bias", "출력 편향"),
}


@dataclass(frozen=True)
class Layer:
    """The layer that was called.

    Attributes:
        name: its full name in the model, "blocks.0.attn".
        d_head: d; scale: 1/√d, what R is multiplied by.
        cross: keys and values come from M, not from X.
        rotary: queries and keys are turned by their positions.
        bias: Q, K, V and Y have biases.
    """

    name: str
    d_model: int
    num_heads: int
    num_kv_heads: int
    d_head: int
    scale: float
    cross: bool = False
    rotary: bool = False
    bias: bool = True

    @property
    def group(self) -> int:
        """How many query heads share one head of keys and values: head h reads h // group."""
        return self.num_heads // self.num_kv_heads

    @property
    def columns(self) -> tuple[str, ...]:
        """The matrices of an example in the order of the forward pass."""
        asking, asked = (("Qrot",), ("Krot",)) if self.rotary else ((), ())
        steps = ("R", "S", "Smasked", "P", "C", "O", "Y")
        if self.cross:  # what has a row for each query stands together, then for each key
            return ("X", "Q", *asking, "M", "K", "V", *asked, *steps)
        return ("X", "Q", "K", "V", *asking, *asked, *steps)


@dataclass(frozen=True)
class Turn:
    """Rotary positions: Qrot[t, i] = Q[t, i]·cos[t, i] + Q[t, pair[i]]·sin[t, i], for any head.

    Attributes:
        pair: (d,) integers, the partner of each feature.
        cos, sin: (T, d) of the queries; keycos, keysin: (N, d) of the keys; signs are in `sin`.
    """

    pair: tuple[int, ...]
    cos: Array
    sin: Array
    keycos: Array
    keysin: Array


@dataclass(frozen=True)
class Example:
    """One sequence of the batch: its labels, and the matrices of `Layer.columns`.

    Attributes:
        queries, keys: a label for each of the T queries and N keys, as given, not yet cleaned.
        mask: (1 | H, T, N), S′ = S + mask; −∞ where a query may not attend to a key.
    """

    title: str
    queries: tuple[str, ...]
    keys: tuple[str, ...]
    values: Matrices
    mask: Array


@dataclass(frozen=True)
class Target:
    """A number, and its gradients through this call of the layer alone.

    Attributes:
        gradients: for each example its "dX", "dQ", …, of the shapes of X, Q, …
        parameters: "dWq", …, summed over all examples.
        cell: for a target "Y[…]" the (example, row, column) whose upstream gradient is 1.
    """

    name: str
    value: float
    gradients: tuple[Matrices, ...]
    parameters: Matrices
    cell: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Block:
    """The input u (B, T, D) of the module around the layer, and the gradients that arrive there.

    For each target, total = residual + pull("X", dX) (+ pull("M", dM) in cross-attention), to
    rounding; `pull` is linear, so a part of dX can be pulled back alone.

    Attributes:
        name: the module's, "blocks.0".
        through: what lies between u and X: the names of the modules, "norm1"; () where X is u.
        residual: for each target (B, T, D), the gradient at u by all ways around the layer.
        total: for each target (B, T, D), the whole gradient at u.
        pull: ("X", gradient (B, T, D) at X) or ("M", gradient (B, N, kdim) at M) -> the part of it
            that arrives at u (B, T, D).
        norm: what lies between is one module, a LayerNorm or an RMSNorm.
    """

    name: str
    through: tuple[str, ...]
    residual: tuple[Array, ...]
    total: tuple[Array, ...]
    pull: Callable[[Literal["X", "M"], Array], Array]
    norm: bool = False


@dataclass(frozen=True)
class PathPart:
    """One way on which gradient arrives.

    Attributes:
        kind: "q", "k", "v", "residual", "norm", …
        head: of queries (kind "q"), or of keys and values, which several heads of queries may
            share; None: of all heads together.
        at: where it arrives: at X, at M, or at the block's input.
        norm: ‖part‖; share: ⟨part, whole⟩/‖whole‖², signed; cosine: with the whole.
        data: the part itself (T, D).
    """

    name: Text
    kind: str
    head: int | None
    at: Place
    norm: float
    share: float
    cosine: float
    data: Array


@dataclass(frozen=True)
class Identity:
    """An equation between the matrices, and how well it holds here.

    Attributes:
        deviation: the largest difference of the two sides (0 where it does not apply).
        condition: when it holds; applies: whether that is so for this layer and input.
    """

    name: Text
    holds: bool
    deviation: float
    condition: Text
    applies: bool


@dataclass(frozen=True)
class Step:
    """One step of the forward or the backward pass.

    Attributes:
        makes: names of the matrices that it makes; sources: of those that it reads.
        formula: in symbols; source: the rule's own source text; shapes, saves: in words.
    """

    direction: Literal["forward", "backward"]
    makes: tuple[str, ...]
    sources: tuple[str, ...]
    title: Text
    formula: str
    source: str
    shapes: str
    saves: str
    sentence: Text


@dataclass(frozen=True)
class Recording:
    """One call of a layer, forward and backward.

    Attributes:
        examples: one for each sequence of the batch, all of the same T and N.
        parameters: Wq, Wk, Wv, Wo and, with biases, bq, bk, bv, bo.
        numeric: the first target's gradients of X, M and the parameters by the complex step:
            "dX": an array an example, "dWq": one array; NaN where not computed.
        turn: the rotation, with rotary positions.
        block: the module around the layer; None where the layer is the model itself, or where no
            input of that module leads to X.
        paths: for each target and each example.  identities: for each target.
    """

    title: str
    layer: Layer
    examples: tuple[Example, ...]
    parameters: Matrices
    targets: tuple[Target, ...]
    numeric: dict[str, tuple[Array, ...]]
    turn: Turn | None = None
    block: Block | None = None
    paths: tuple[tuple[Decomposition, ...], ...] = ()
    identities: tuple[tuple[Identity, ...], ...] = ()
    steps: tuple[Step, ...] = ()
