"""`tinygrad-attn draw`: the graph of a softmax, of attention, of a model, with its gradients."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from .. import ops
from ..data import Vocabulary
from ..engine import Array, Tensor, keep_grads, no_grad
from ..models import GPT, GPTConfig
from ..models.gpt import Block
from ..nn import Stages, functional
from ..viz import Graph, RenderWarning, trace
from .options import Parser, UsageError, add_seed, integer, subparser
from .sample import language_model

SUMMARY = "draw the graph of attention, of a layer or of a model"
TEXT = """Run something on a small input, forward and backward, and draw its graph: operations,
shapes, what is kept for the backward pass, and the norm of every gradient.  Models read "the
animal didn't cross the street because it was too tired"."""
CHOICES = """
what can be drawn:
  softmax      softmax of a matrix
  attention    causal attention with two heads, from q, k and v
  multihead    a multi-head attention layer with its projections
  block        a Transformer block: attention and MLP, each with its norm
  gpt          a GPT with two blocks, up to its loss

The ending of the file chooses the form: .svg .png .pdf .html, or .dot (needs no layout engine)."""
EXAMPLES = """attention
multihead --formulas --out multihead.html
gpt --depth 2 --out gpt.png
block --checkpoint tinygrad-attn-demo/model.safetensors --layer 1"""
KINDS = ("softmax", "attention", "multihead", "block", "gpt")
SUFFIXES = (".svg", ".png", ".pdf", ".html", ".htm", ".dot", ".gv")
SENTENCE = "the animal didn't cross the street because it was too tired"
WORDS = Vocabulary.of([SENTENCE.split()])
TIME = len(SENTENCE.split())
SMALL = GPTConfig(len(WORDS), max_length=TIME, num_layers=2, num_heads=2, d_model=8)
Drawn = tuple[Tensor, Any]  # a result, and whose parameters made it


def add(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add this command's options."""
    parser = subparser(commands, "draw", SUMMARY, TEXT + "\n" + CHOICES, EXAMPLES)
    parser.add_argument("what", choices=KINDS, metavar="WHAT", help=f"one of {', '.join(KINDS)}")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="file to write (default: WHAT.svg)"
    )
    parser.add_argument(
        "--depth",
        type=integer(0, 100),
        metavar="N",
        help="fold modules that lie deeper than N into one box each",
    )
    parser.add_argument(
        "--formulas",
        action="store_true",
        help="write on every arrow how the gradient comes back along it",
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="draw a trained model's multihead, block or gpt",
    )
    parser.add_argument(
        "--layer",
        type=integer(0, 1_000),
        metavar="N",
        help="which of the model's layers, from 0, for multihead and block (default: 0)",
    )
    add_seed(parser, "weights and input")
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Draw, and say where."""
    out = options.out or Path(f"{options.what}.svg")
    if out.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"--out: expected a name that ends in {' '.join(SUFFIXES)}, got {str(out)!r}"
        )
    if options.layer is not None and options.what not in ("multihead", "block"):
        raise UsageError(f"--layer: expected multihead or block, got {options.what}; leave it out")
    rng = np.random.default_rng(options.seed)
    if options.what in ("softmax", "attention"):
        if options.checkpoint:
            raise UsageError(f"--checkpoint: expected multihead, block or gpt, got {options.what}")
        output, model = FUNCTIONS[options.what](rng)
    else:
        output, model = of_model(options, rng)
    print(saved(trace(output, model=model), out, options))
    return 0


def saved(graph: Graph, out: Path, options: argparse.Namespace) -> Path:
    """Write the drawing; a missing layout engine is told in one sentence."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RenderWarning)
        if out.suffix.lower() in (".html", ".htm"):
            path = graph.save_html(
                out, depth=options.depth, formulas=options.formulas, title=options.what
            )
        else:
            path = graph.render(out, depth=options.depth, formulas=options.formulas)
    for warning in caught:
        print(f"tinygrad-attn: {warning.message}", file=sys.stderr)
    return path


# ── what is drawn ────────────────────────────────────────────────────────────────────────────────
def walked(output: Tensor, rng: np.random.Generator) -> Tensor:
    """`output` after a backward pass with a random upstream gradient (1 for a loss)."""
    output.backward(rng.standard_normal(output.shape).astype(output.dtype) if output.ndim else None)
    return output


def variable(rng: np.random.Generator, name: str, *shape: int) -> Tensor:
    """A random input with a name."""
    return Tensor(rng.standard_normal(shape), requires_grad=True, dtype=np.float32, name=name)


def softmax(rng: np.random.Generator) -> Drawn:
    """Softmax of a matrix (3, 5)."""
    with keep_grads():
        return walked(ops.softmax(variable(rng, "x", 3, 5)), rng), {}


def attention(rng: np.random.Generator) -> Drawn:
    """Causal attention with two heads."""
    q, k, v = (variable(rng, name, 2, TIME, 4) for name in "qkv")
    with keep_grads():
        output, stages = functional.attention(q, k, v, causal=True, return_stages=True)
        return walked(named(stages, output), rng), {}


FUNCTIONS: dict[str, Callable[[np.random.Generator], Drawn]] = {
    "softmax": softmax,
    "attention": attention,
}


def of_model(options: argparse.Namespace, rng: np.random.Generator) -> Drawn:
    """A layer, a block or the whole of a GPT, trained where there is a checkpoint."""
    model, tokens = GPT(SMALL, rng=rng).eval(), WORDS.encode(SENTENCE.split())[None]
    if options.checkpoint:
        model, vocabulary = language_model(options.checkpoint)
        tokens = beginning(vocabulary, min(TIME, model.config.max_length + 1))
    config = model.config
    layer = options.layer or 0
    if layer >= config.num_layers:
        raise UsageError(
            f"--layer: this model has the layers 0 to {config.num_layers - 1}, got {layer}"
        )
    if options.what == "gpt":
        with keep_grads():
            loss = model.loss(tokens[:, :-1], tokens[:, 1:])
            loss.name = "loss"
            return walked(loss, rng), model
    block = block_of(model, layer)
    x = entering(model, tokens[:, :-1], layer)
    if options.what == "block":
        with keep_grads():
            return walked(block(x), rng), block
    with no_grad():
        x = Tensor(block.ln_1(x).data, requires_grad=True, name="x")
    with keep_grads():
        output, stages = block.attn(x, causal=True, return_stages=True)
        return walked(named(stages, output), rng), block.attn


def beginning(vocabulary: Vocabulary, length: int) -> Array:
    """The sentence in characters that a model knows, or any where it knows too few: (1, length)."""
    known = [c for c in SENTENCE if c in vocabulary.token]
    return vocabulary.encode((known + [vocabulary.symbols[0]] * length)[:length])[None]


def block_of(model: GPT, layer: int) -> Block:
    """One of a GPT's blocks."""
    block = model.blocks[layer]
    assert isinstance(block, Block)
    return block


def entering(model: GPT, tokens: Any, layer: int) -> Tensor:
    """What enters the block `layer`, as a variable called x: (B, T, D)."""
    with no_grad():
        x = model.wte(tokens) + model.wpe(np.arange(tokens.shape[1]))
        for block in list(model.blocks)[:layer]:
            x = block(x)
    return Tensor(x.data, requires_grad=True, name="x")


def named(stages: Stages, output: Tensor) -> Tensor:
    """Give the steps of attention the names by which it is taught; returns `output`."""
    for field in fields(stages):
        stage = getattr(stages, field.name)
        if stage is not None and stage.name is None:
            stage.name = field.name
    return output
