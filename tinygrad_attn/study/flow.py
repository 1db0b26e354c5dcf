"""From the attention of all layers to one map: which input a position, or an answer, rests on.

A layer passes on its input and adds what attention collects.  So with Ā (T, T), the attention of a
layer with its heads put together, what stands at a position after the layer is made of the inputs
in the proportions (I + Ā) R, where R says of what it was made before.  From layer to layer:

    rollout       R ← (α I + (1 − α) Ā) R      Ā from P alone: the same for every question
    relevance     R ← R + Ā R                  Ā from P∘dP: for the logit that backward started from

Row i of R belongs to position i; for a class token in front look at row 0, for the next token of a
language model at the last row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..engine import Array, DTypeError, ShapeError
from ..engine.dispatch import plain
from .observing import Call

HEADS: dict[str, Callable[..., Array]] = {"mean": np.mean, "max": np.max, "min": np.min}


def rollout(calls: Iterable[Any], *, residual: float = 0.5, heads: str = "mean") -> Array:
    """Attention rollout (Abnar and Zuidema 2020, section 3): the product over all layers.

    Args:
        calls: what `observed` collected in one pass, or the weights (B, heads, T, T) of each layer,
            the first layer first; of self-attention.
        residual: α, the part that goes around the attention; the paper's is a half.
        heads: put together by their "mean" (the paper's), "max" or "min".

    Returns:
        (B, T, T), float64; each row sums to 1 (with α = 0, where a query may attend to no key, to
        less).

    Raises:
        ShapeError: no calls, two passes, cross-attention, weights that are not (B, heads, T, T) or
            differ in B or T, or an option out of range.
        DTypeError: something else than calls or weights.
    """
    if heads not in HEADS or not 0 <= residual <= 1:
        raise ShapeError(
            f"rollout: expected heads from {list(HEADS)} and residual from 0 to 1, got "
            f"{heads!r} and {residual!r}"
        )
    layers = [HEADS[heads](weights, axis=1) for weights in self_attentions("rollout", calls)]
    flow = stay = np.eye(layers[0].shape[-1])
    for layer in layers:
        flow = normalised(residual * stay + (1 - residual) * layer) @ flow
    return flow


def relevance(calls: Iterable[Call]) -> Array:
    """Relevance of each input for the logit that backward started from (Chefer et al. 2021).

    Of self-attention: eq. 5 and 6.  With several sequences start from the sum of a logit of each.
    A head that already gives all its weight to one position may have a gradient ≤ 0 there, and then
    that counts as 0, however large the weight: compare the elements of a row of `call.gradient`.

    Args:
        calls: what `observed` collected in one pass, after backward.

    Returns:
        (B, T, T), float64, not negative; the identity where no attention speaks for the logit.

    Raises:
        GraphError: backward has not reached one of the calls.
        ShapeError, DTypeError: as in `rollout`; arrays are not enough here.
    """
    calls = observed_calls("relevance", calls)
    flow: Array = np.eye(self_attentions("relevance", calls)[0].shape[-1])
    for call in calls:
        flow = flow + positive_part(call) @ flow  # eq. 6
    return flow


def cross_relevance(encoder: Iterable[Call], decoder: Iterable[Call]) -> Array:
    """Relevance of each source position for the logit that backward started from.

    For an encoder and a decoder that looks at it (Chefer et al. 2021, eq. 5 to 10):

        cross_relevance(*([c for c in calls if c.name.startswith(part)]
                          for part in ("encoder", "decoder")))

    Args:
        encoder: the calls of the encoder, of self-attention.
        decoder: the calls of the decoder, of both kinds, in their order.

    Returns:
        (B, T, S), float64: row i is of target position i.

    Raises:
        GraphError: backward has not reached one of the calls.
        ShapeError: no calls, two passes, or shapes that do not fit.
        DTypeError: something else than calls.
    """
    who = "cross_relevance"
    source = normalised_but_identity(relevance(encoder))
    calls = observed_calls(who, decoder)
    B, T, S = len(source), calls[0].weights.shape[2], source.shape[1]
    check_decoder(who, calls, (B, T, S))
    flow, target = np.zeros((B, T, S)), np.eye(T)
    for call in calls:
        layer = positive_part(call)
        if call.cross:
            flow = flow + normalised_but_identity(target).mT @ layer @ source  # eq. 10
        else:
            flow, target = flow + layer @ flow, target + layer @ target  # eq. 7, eq. 6
    return flow


# ── one layer ────────────────────────────────────────────────────────────────────────────────────
def positive_part(call: Call) -> Array:
    """Ā = mean over heads of (∇A ∘ A)⁺ (eq. 5): what speaks for the logit, (B, T, S)."""
    part: Array = np.maximum(call.attribution.astype(np.float64), 0).mean(axis=1)
    return part


def normalised(rows: Array) -> Array:
    """Rows divided by their sums; rows of zeros stay."""
    total = rows.sum(axis=-1, keepdims=True)
    return np.divide(rows, total, out=np.zeros_like(rows), where=total != 0)


def normalised_but_identity(flow: Array) -> Array:
    """I + the rest with rows that sum to 1 (eq. 8 and 9): what flowed, as much as what stayed."""
    stayed = np.eye(flow.shape[-1])
    return stayed + normalised(flow - stayed)


# ── what may be asked ────────────────────────────────────────────────────────────────────────────
def one_pass(who: str, calls: Iterable[Any]) -> list[Any]:
    """`calls` as a list that is not empty and has no layer twice."""
    if not isinstance(calls, Iterable):
        raise DTypeError(f"{who}: expected a list of calls, got {calls!r}")
    listed = list(calls)
    if not listed:
        raise ShapeError(f"{who}: there are no calls; call the model inside `observed`")
    names = Counter(call.name for call in listed if isinstance(call, Call))
    if names and names.most_common(1)[0][1] > 1:
        name, times = names.most_common(1)[0]
        raise ShapeError(
            f"{who}: {name} was called {times} times; give the calls of one pass, such as the "
            f"last, calls[-{len(names)}:]"
        )
    return listed


def observed_calls(who: str, calls: Iterable[Any]) -> list[Call]:
    """`calls` as a list, if they are of one pass, and calls rather than weights."""
    listed = one_pass(who, calls)
    for call in listed:
        if not isinstance(call, Call):
            raise DTypeError(
                f"{who}: expected calls that `observed` collected, which know their gradients; "
                f"got a {type(call).__name__}"
            )
    return listed


def self_attentions(who: str, calls: Iterable[Any]) -> list[Array]:
    """The weights (B, heads, T, T) of each layer of one pass, all of equal B and T."""
    listed = one_pass(who, calls)
    layers = [weights_of(who, i, call) for i, call in enumerate(listed)]
    B, _, T, _ = layers[0].shape
    for i, (call, weights) in enumerate(zip(listed, layers, strict=True)):
        if weights.shape != (B, weights.shape[1], T, T):
            raise ShapeError(
                f"{who}: {called(i, call)} has weights {weights.shape} but {called(0, listed[0])} "
                f"{layers[0].shape}; give the self-attention of one encoder or decoder"
            )
    return layers


def check_decoder(who: str, calls: list[Call], sizes: tuple[int, int, int]) -> None:
    """Refuse calls that are not of a decoder with T positions that looks at S others."""
    B, T, S = sizes
    for call in calls:
        shape, expected = call.weights.shape, (B, T, S if call.cross else T)
        if (shape[0], *shape[2:]) != expected:
            raise ShapeError(
                f"{who}: {call.name} has weights {shape}, expected (B, heads, T, S) with B, T, S ="
                f" {expected}, as the encoder and the decoder's first call have them"
            )
    if not any(call.cross for call in calls):
        raise ShapeError(f"{who}: there is no cross-attention among the decoder's calls")


def weights_of(who: str, i: int, call: Any) -> Array:
    """The weights of a call, or weights themselves, if they are self-attention's."""
    weights = np.asarray(call.weights if isinstance(call, Call) else plain(call))
    if weights.dtype.kind not in "biuf":
        raise DTypeError(
            f"{who}: expected calls of `observed` or weights, got a {type(call).__name__} of "
            f"dtype {weights.dtype}"
        )
    if isinstance(call, Call) and call.cross:
        raise ShapeError(
            f"{who}: {call.name} is cross-attention {weights.shape}; leave it out, such as by "
            '[call for call in calls if call.name.startswith("encoder")]'
        )
    if weights.ndim != 4 or weights.shape[2] != weights.shape[3] or not weights.shape[1]:
        raise ShapeError(
            f"{who}: expected the weights (B, heads, T, T) of self-attention, got {weights.shape} "
            f"from {called(i, call)}"
        )
    return weights.astype(np.float64)


def called(i: int, call: Any) -> str:
    """What a message calls the layer at place i."""
    return call.name if isinstance(call, Call) else f"layer {i}"
