"""What the demo found, told on one page in short sentences."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from pathlib import Path

from ..check import Report
from ..train import Language, Result, TrainConfig
from . import page
from .attention import Attention

TITLE = "What attention is worth"
NEXT = """tinygrad-attn sample {out}/model.safetensors --prompt "The " --tokens 500
tinygrad-attn draw block --checkpoint {out}/model.safetensors --out block.html
tinygrad-attn train gpt --text your-own.txt
tinygrad-attn check"""


@dataclass(frozen=True)
class Findings:
    """All that the page shows.

    Attributes:
        task, config, result: the model and its text, how it was trained, and how well it did.
        sample: what it wrote.
        reports: the gradient checks of the layer.
        attention: of the layer, on one sentence.
        graph: the files of the layer's graph.
        no_graph: why that is no picture ("" where it is one).
        layer: number of the layer.
    """

    task: Language
    config: TrainConfig
    result: Result
    sample: str
    reports: list[Report]
    attention: Attention
    graph: list[Path]
    no_graph: str
    layer: int


def write_page(found: Findings, out: Path) -> Path:
    """Write index.html into the folder `out`, where the pictures are."""
    parts = [
        introduction(found),
        losses(found),
        sample(found),
        looks(found),
        gradients(found),
        checks(found),
        graph(found),
        files(found, out),
    ]
    index = out / "index.html"
    index.write_text(page.page(TITLE, parts, footer(found)), encoding="utf-8")
    return index


def introduction(found: Findings) -> str:
    """What was done, in two sentences."""
    sizes, corpus = found.task.model.config, found.task.corpus
    return page.paragraph(
        f"A GPT with {sizes.num_layers} layers of attention learnt from {len(corpus.train):,} "
        f"characters of English ({corpus.name}), in {found.result.seconds:.0f} seconds. Here is "
        "what it learnt, and the gradients from which it learnt.",
        "lead",
    )


def losses(found: Findings) -> str:
    """Both losses, and how training went."""
    result, length = found.result, found.task.model.config.max_length
    bigram = found.task.baseline.loss
    pays = result.held_out < bigram
    return page.section(
        "Looking back pays" if pays else "Looking back does not pay yet: train longer",
        page.paragraph(
            "Two models guess the next character of a text they have never seen. The "
            "loss is the mean of −log p in nats: less is better."
        ),
        page.bars(
            [
                (
                    bigram,
                    "looks at one character only (bigram): as unsure as among "
                    f"{exp(bigram):.1f} equally likely characters",
                ),
                (
                    result.held_out,
                    f"looks back with attention, over up to {length} characters: as "
                    f"among {exp(result.held_out):.1f}",
                ),
            ],
            ours=1,
        ),
        page.figure(
            "loss.png",
            "Loss during training, with the bigram model's as a line",
            f"{result.step:,} steps. The held-out points are measured on the same "
            f"{found.config.evaluate_examples} pieces of text every time, the "
            "number above on all of it.",
        ),
    )


def sample(found: Findings) -> str:
    """What the model wrote."""
    return page.section(
        "What it writes",
        page.paragraph(
            "Nobody told the model about words. It draws one character after another "
            "from its own probabilities, slightly sharpened (temperature 0.9)."
        ),
        page.listing(found.sample),
    )


def looks(found: Findings) -> str:
    """Where each head looks."""
    seen = found.attention
    return page.section(
        "Where it looks",
        page.paragraph(
            f"The {len(seen.weights)} heads of layer {found.layer} while they read "
            f"“{seen.sentence}”. Each row is a character, and shows from where in the "
            "past it takes something. The weights of a row add up to 1."
        ),
        page.figure("attention.png", "Attention weights of every head as heat maps", wide=True),
    )


def gradients(found: Findings) -> str:
    """The weights of one head, and their gradient."""
    head = found.attention.liveliest
    return page.section(
        "How it learns to look",
        page.paragraph(
            f"Head {head}, where most happens: its weights P, and dP, the gradient of "
            "the loss with respect to each weight. Orange: more weight there would "
            "raise the loss. Violet: it would lower it. Grey: masked, the future."
        ),
        page.pair(
            page.figure("weights.png", f"Attention weights P of head {head}"),
            page.figure("weights-gradient.png", f"Gradient dP of head {head}"),
        ),
        page.paragraph(
            "One step further back, through the softmax, comes dS′ = P∘(dP − Σ P∘dP). "
            "A weight can only grow at the cost of the others, so each row of dS′ adds "
            f"up to 0. Largest sum in this layer: {found.attention.row_sum:.0e}."
        ),
        page.paragraph(
            "Every other step, forward and backward, number by number, each opening into the sum "
            "it comes from:"
        ),
        page.links([("anatomy.html", "the anatomy of this layer, with every matrix and gradient")]),
    )


def checks(found: Findings) -> str:
    """The gradient check as a table."""
    return page.section(
        "Are the gradients right?",
        page.paragraph(
            "A float64 copy of the trained layer, on what really enters it, against "
            "numeric derivatives. First order: the gradient of its output with respect "
            "to input and parameters. Second order: the gradient of that gradient."
        ),
        page.table(
            ("order", "method", "numbers compared", "largest error", "allowed", "verdict"),
            [
                (
                    str(r.order),
                    r.method,
                    str(r.entries),
                    f"{r.max_error:.1e}",
                    f"{r.tolerance:.0e}",
                    r.verdict,
                )
                for r in found.reports
            ],
        ),
        page.paragraph("The error is max |analytic − numeric| / max(1, |numeric|)."),
    )


def graph(found: Findings) -> str:
    """The layer's graph, or why it is text only."""
    heading = "The graph of the layer"
    told = page.paragraph(
        "Every operation of the layer from x to its output, with shapes, what "
        "is kept for the backward pass, and the norm of the gradient that came "
        "back."
    )
    if found.no_graph:
        return page.section(heading, told, page.paragraph(f"{found.no_graph}."))
    return page.section(
        heading,
        told,
        page.figure("graph.svg", "Graph of the multi-head attention layer", tall=True),
    )


def files(found: Findings, out: Path) -> str:
    """What else there is, and what to try next."""
    listed = [
        ("model.safetensors", "the trained model"),
        ("best.safetensors", "the model at its lowest evaluation"),
        ("log.jsonl", "every step and evaluation, one JSON object a line"),
        *((file.name, "the graph of the layer") for file in found.graph),
    ]
    return page.section(
        "Go on",
        page.links(listed),
        page.paragraph("Commands to try next:"),
        page.listing(NEXT.format(out=out)),
    )


def footer(found: Findings) -> str:
    """On what all this ran."""
    e = found.result.environment
    count = e["blas_threads"]
    threads = "" if count is None else f", {count} thread{'s' if count > 1 else ''}"
    return (
        f"tinygrad_attn {e['tinygrad_attn']}, Python {e['python']}, NumPy {e['numpy']}, "
        f"{e['blas']}{threads}, {e['machine']}; seed {found.config.seed}. The same "
        "seed on the same machine gives the same numbers."
    )
