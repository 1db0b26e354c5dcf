"""What a GPT's attention does, and the gradients there: for `demo` and `train gpt`."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..check import Report, reports
from ..data import Text
from ..engine import Array, Tensor, keep_grads
from ..models import GPT
from ..nn import Module, MultiHeadAttention
from ..study import observed
from ..viz import RenderWarning, plots, trace
from .draw import block_of, entering, walked

SENTENCE = re.compile(r"[A-Z][a-z]+ [a-z ,]{16,40}\.(?=\s)")  # one that fits into a picture
FEW = 6  # characters in the gradient check and in the drawn graph


@dataclass(frozen=True)
class Attention:
    """What one layer did while the loss of a sentence was computed and differentiated.

    Attributes:
        sentence: what was read; one character a query.
        weights, gradient: P and dP, (heads, T, T); dP is not a number where P is masked.
        row_sum: the largest |sum of a row of dS′|, which is 0 but for rounding.
    """

    sentence: str
    weights: Array
    gradient: Array
    row_sum: float

    @property
    def liveliest(self) -> int:
        """The head whose weights have the largest gradient."""
        return int(np.argmax(np.nansum(self.gradient**2, axis=(1, 2))))


class Causal(Module):
    """A layer that looks back only, as a function of its input and parameters."""

    def __init__(self, attn: MultiHeadAttention) -> None:
        self.attn = attn

    def forward(self, x: Tensor) -> Any:
        """(B, T, D) -> (B, T, D)."""
        return self.attn(x, causal=True)


def held_out_sentence(corpus: Text, length: int) -> str:
    """The first sentence of the held-out text that fits, else its beginning."""
    passage = corpus.vocabulary.decode(corpus.held_out).replace("\n", " ")
    found = SENTENCE.search(passage)
    return (found[0] if found else passage)[:length]


def attention_of(model: GPT, corpus: Text, sentence: str, layer: int) -> Attention:
    """Read `sentence`, predict each next character, and keep what happens in the layer."""
    tokens = corpus.vocabulary.encode(sentence)[None]
    with observed(model) as calls:
        model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
    model.zero_grad()
    stages = calls[layer].stages
    weights, gradient, scores = (
        np.asarray(t)[0] for t in (stages.weights.detach(), stages.weights.grad, stages.masked.grad)
    )
    visible = np.tril(np.ones(weights.shape[1:], bool))
    return Attention(
        sentence[:-1],
        weights,
        np.where(visible, gradient, np.nan),
        float(np.abs(scores.sum(axis=-1)).max()),
    )


def double(attn: MultiHeadAttention) -> MultiHeadAttention:
    """A float64 copy of a trained layer."""
    twin = MultiHeadAttention(
        attn.d_model,
        attn.num_heads,
        bias=attn.in_proj_bias is not None,
        rng=np.random.default_rng(0),
    )
    twin.astype(np.float64).load_state_dict(attn.state_dict())
    return twin.eval()


def checked(model: GPT, corpus: Text, layer: int) -> list[Report]:
    """Gradient checks, first and second order, of the trained layer on what really enters it."""
    x = entering_attention(model, corpus, layer).data.astype(np.float64)
    return list(reports(Causal(double(block_of(model, layer).attn)), x, order=2))


def entering_attention(model: GPT, corpus: Text, layer: int) -> Tensor:
    """What enters a layer's attention at the beginning of the held-out text: (1, few, D)."""
    x = entering(model, corpus.held_out[None, :FEW], layer)
    return Tensor(block_of(model, layer).ln_1(x).data, requires_grad=True, name="x")


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────
def draw_graph(model: GPT, corpus: Text, layer: int, folder: Path) -> tuple[list[Path], str]:
    """The layer's graph with its gradients, as SVG and PNG.

    Returns:
        The files, and the sentence that says why there is the DOT text alone ("" if there is not).
    """
    attn = block_of(model, layer).attn
    x = entering_attention(model, corpus, layer)
    with keep_grads():
        output, _ = attn(x, causal=True, return_stages=True)
        graph = trace(walked(output, np.random.default_rng(0)), model=attn)
    attn.zero_grad()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RenderWarning)
        files = [graph.render(folder / f"graph.{form}") for form in ("svg", "png")]
    return sorted(set(files)), str(caught[0].message) if caught else ""


def draw_heads(weights: Array, tokens: list[str], layer: int, path: Path) -> Path:
    """The weights of every head of a layer."""
    title = f"Attention weights P, layer {layer}"
    return plots.attention_maps(weights, tokens, path, title=title)


def draw_attention(found: Attention, layer: int, folder: Path) -> list[Path]:
    """The weights of every head; weights and gradient of the head where most happens."""
    head, tokens = found.liveliest, list(found.sentence)
    heatmap = partial(plots.heatmap, rows=tokens, columns=tokens)
    name = f"layer {layer}, head {head}"
    return [
        draw_heads(found.weights, tokens, layer, folder / "attention.png"),
        heatmap(found.weights[head], folder / "weights.png", title=f"P, {name}"),
        heatmap(
            found.gradient[head],
            folder / "weights-gradient.png",
            signed=True,
            title=f"dP = ∂loss/∂P, {name}",
        ),
    ]
