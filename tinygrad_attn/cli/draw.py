"""`tinygrad-attn draw`: the graph of a softmax, of attention, of a model, with its gradients."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .. import ops
from ..data import Vocabulary
from ..engine import Array, Tensor, keep_grads, no_grad
from ..models import GPT, GPTConfig
from ..models.gpt import Block
from ..nn import functional
from ..viz import Graph, GraphTooLargeError, RenderWarning, trace
from ..viz.graph import TOO_LARGE_DEPTH
from ..viz.options import MAX_NODES, Keywords
from .options import Parser, UsageError, add_seed, integer, subparser
from .sample import language_model

SUMMARY = "draw the graph of attention, of a layer or of a model"
TEXT = """Run something on a small input, forward and backward, and draw its graph: operations,
shapes, what is kept for the backward pass, and the norm of every gradient; with --backward each
gradient has its own box, and each arrow between them the rule that makes one of the other.  Models
read "the animal didn't cross the street because it was too tired"."""
CHOICES = f"""
what can be drawn:
  softmax      softmax of a matrix
  attention    causal attention with two heads, from q, k and v
  multihead    a multi-head attention layer with its projections
  block        a Transformer block: attention and MLP, each with its norm
  gpt          a GPT with two blocks, up to its loss

The ending of the file chooses the form: .svg .png .pdf .html, or .dot (needs no layout engine).
A graph of more than {MAX_NODES} boxes is folded to --depth {TOO_LARGE_DEPTH}.

NAME in --to is x, the input of softmax, multihead and block; q, k or v of attention; a stage of
attention or multihead, such as P; or a parameter, such as out_proj.weight of multihead or
blocks.0.ln_1.bias of gpt."""
EXAMPLES = """attention --backward --to q --text
multihead --formulas --out multihead.html
gpt --backward --roll --no-plumbing --depth 3 --out gpt.svg
gpt --depth 2 --out gpt.png
block --checkpoint tinygrad-attn-demo/model.safetensors --layer 1"""
TOO_LARGE = (
    "the graph of this {} is too large to be laid out; choose a smaller --depth, draw less of it "
    "with --roll, --no-plumbing or --to NAME, or write the DOT text to a name that ends in .dot"
)
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
        "--out",
        type=Path,
        metavar="FILE",
        help="file to write (default: WHAT.svg, or none with --text)",
    )
    parser.add_argument(
        "--text", action="store_true", help="print the graph as text, 80 columns wide"
    )
    parser.add_argument(
        "--backward",
        action="store_true",
        help="draw the gradients, too, with rules and norms",
    )
    parser.add_argument(
        "--depth",
        type=integer(0, 100),
        metavar="N",
        help="fold modules that lie deeper than N into one box each",
    )
    parser.add_argument(
        "--roll",
        action="store_true",
        help="draw equal modules in a row once: blocks.0–1 ×2",
    )
    parser.add_argument(
        "--no-plumbing",
        dest="plumbing",
        action="store_false",
        help="hide what only moves elements: reshape, transpose, split …",
    )
    parser.add_argument(
        "--to",
        metavar="NAME",
        help="draw only the paths between NAME and the output",
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
    out = options.out or (None if options.text else Path(f"{options.what}.svg"))
    if out is not None and out.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"--out: expected a name that ends in {' '.join(SUFFIXES)}, got {str(out)!r}"
        )
    if options.layer is not None and options.what not in ("multihead", "block"):
        raise UsageError(f"--layer: expected multihead or block, got {options.what}; leave it out")
    if options.checkpoint and options.what in FUNCTIONS:
        raise UsageError(f"--checkpoint: expected multihead, block or gpt, got {options.what}")
    graph = traced(options)
    how = Keywords(
        depth=options.depth,
        roll=options.roll,
        plumbing=options.plumbing,
        to=options.to,
        formulas=options.formulas,
    )
    for message in without_effect(graph, options):
        print(f"tinygrad-attn: {message}", file=sys.stderr)
    if options.text:
        print(graph.to_text(**how))
    if out is not None:
        print(saved(graph, out, options.what, how))
    return 0


def traced(options: argparse.Namespace) -> Graph:
    """The graph of what was asked for, with its gradients."""
    rng = np.random.default_rng(options.seed)
    with keep_grads():
        made = FUNCTIONS.get(options.what)
        output, model = of_model(options, rng) if made is None else made(rng)
        if options.backward:
            return trace(output, backward=True, g=upstream(output, rng), model=model)
        return trace(walked(output, rng), model=model)


def without_effect(graph: Graph, options: argparse.Namespace) -> Iterator[str]:
    """One sentence for each option that changes nothing in this drawing.

    Raises:
        UsageError: --depth where there are no modules at all.
    """
    if options.depth is not None and not graph.clusters:
        raise UsageError(
            f"--depth: {options.what} has no modules that could be folded; leave it out"
        )
    if options.depth is not None and graph.fold(options.depth) == graph:
        yield f"--depth {options.depth} folds nothing: no module lies that deep"
    if options.roll and graph.roll() == graph:
        yield f"--roll changes nothing: {options.what} has no equal modules in a row"
    if not options.plumbing and graph.hide_plumbing() == graph:
        yield f"--no-plumbing hides nothing: nothing in {options.what} only moves elements"


def saved(graph: Graph, out: Path, title: str, how: Keywords) -> Path:
    """Write the drawing; a missing layout engine is told in one sentence."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RenderWarning)
        try:
            if out.suffix.lower() in (".html", ".htm"):
                path = graph.save_html(out, **(how | Keywords(title=title)))
            else:
                path = graph.render(out, **how)
        except GraphTooLargeError as error:
            raise UsageError(TOO_LARGE.format(title)) from error
    for warning in caught:
        print(f"tinygrad-attn: {warning.message}", file=sys.stderr)
    return path


# ── what is drawn ────────────────────────────────────────────────────────────────────────────────
def upstream(output: Tensor, rng: np.random.Generator) -> Array | None:
    """A random upstream gradient; None, which stands for 1, for a loss."""
    return rng.standard_normal(output.shape).astype(output.dtype) if output.ndim else None


def walked(output: Tensor, rng: np.random.Generator) -> Tensor:
    """`output` after a backward pass that kept what was saved: constants are drawn from it."""
    output.backward(upstream(output, rng), retain_graph=True)
    return output


def variable(rng: np.random.Generator, name: str, *shape: int) -> Tensor:
    """A random input with a name."""
    return Tensor(rng.standard_normal(shape), requires_grad=True, dtype=np.float32, name=name)


def softmax(rng: np.random.Generator) -> Drawn:
    """Softmax of a matrix (3, 5)."""
    return ops.softmax(variable(rng, "x", 3, 5)), {}


def attention(rng: np.random.Generator) -> Drawn:
    """Causal attention with two heads."""
    q, k, v = (variable(rng, name, 2, TIME, 4) for name in "qkv")
    # The stages are asked for so that they have their names in the drawing.
    output, _ = functional.attention(q, k, v, causal=True, return_stages=True)
    return output, {}


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
        loss = model.loss(tokens[:, :-1], tokens[:, 1:])
        loss.name = "loss"
        return loss, model
    block = block_of(model, layer)
    x = entering(model, tokens[:, :-1], layer)
    if options.what == "block":
        return block(x), block
    with no_grad():
        x = Tensor(block.ln_1(x).data, requires_grad=True, name="x")
    # The stages are asked for so that they have their names in the drawing.
    output, _ = block.attn(x, causal=True, return_stages=True)
    return output, block.attn


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
