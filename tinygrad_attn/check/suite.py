"""The table behind `tinygrad-attn check`: every operation and layer, at first and second order.

for row in rows():
    print(row.name, row.order, row.max_error, row.verdict)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from time import perf_counter
from typing import Any

import numpy as np

from .. import nn
from ..engine import PRIMITIVES, Tensor, TensorError
from ..models import GPT, GPTConfig
from ..nn import functional
from .functions import FUNCTIONS
from .gradcheck import reports
from .report import Report
from .samples import OPERATIONS, Sample, normal, ours

ALLOWED = np.array([[1, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 1]], bool)
SOMEONE = np.array([[1], [0], [1]], bool)


class UnknownSampleError(TensorError, LookupError):
    """No operation or layer of this name is in the table."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: of the operation or layer.
        kind: "operation" or "layer".
        order: of the derivative.
        method: "complex step" or "Richardson".
        max_error: max |analytic − numeric| / max(1, |numeric|).
        tolerance: the error that was allowed.
        verdict: "right", "wrong" or "undecided".
        seconds: how long it took.
        report: everything that was found.
    """

    name: str
    kind: str
    order: int
    method: str
    max_error: float
    tolerance: float
    verdict: str
    seconds: float
    report: Report


def seeded() -> np.random.Generator:
    """The generator of a layer's initial values."""
    return np.random.default_rng(7)


def moved(module: Any) -> Any:
    """A module whose parameters are random: zero biases and unit scales hide mistakes."""
    rng = seeded()
    for parameter in module.parameters():
        parameter.data = parameter.data + rng.normal(0, 0.3, parameter.shape)
    return module.eval()


def attention(**options: Any) -> Any:
    """Attention with these options."""
    return lambda q, k, v: functional.attention(q, k, v, **options)


def heads(query_heads: int = 2, kv_heads: int = 2) -> tuple[Any, ...]:
    """Queries, keys and values (batch, heads, time, width) of sizes that differ."""
    return normal(2, query_heads, 3, 5), normal(2, kv_heads, 4, 5), normal(2, kv_heads, 4, 2)


class Called(nn.Module):
    """A module that is called in a way of its own: `call(module, *inputs)`."""

    def __init__(self, module: nn.Module, call: Callable[..., Any]) -> None:
        self.module, self.call = moved(module), call

    def forward(self, *inputs: Any) -> Any:
        """What `call` makes of the module and the inputs."""
        return self.call(self.module, *inputs)


def turned(layer: Any, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    """An LSTM's outputs with its final state, the second sequence being shorter."""
    outputs, (h, c) = layer(x, (h, c), [3, 2])
    return outputs, h, c


LAYERS = {
    sample.name: sample
    for sample in (
        Sample("Linear", moved(nn.Linear(5, 3, rng=seeded())), (normal(2, 5),)),
        Sample(
            "Embedding",
            moved(nn.Embedding(5, 3, rng=seeded())),
            (np.array([[4, 0, 1], [4, 4, 2]]),),
        ),
        Sample("LayerNorm", moved(nn.LayerNorm(5)), (normal(2, 3, 5),)),
        Sample("RMSNorm", moved(nn.RMSNorm(5)), (normal(2, 3, 5),)),
        Sample("GELU", nn.GELU(), (normal(3, 5),)),
        Sample(
            "Sequential",
            moved(
                nn.Sequential(
                    nn.Linear(3, 5, rng=seeded()), nn.GELU("tanh"), nn.Linear(5, 2, rng=seeded())
                )
            ),
            (normal(2, 3),),
        ),
        Sample("attention", attention(), heads()),
        Sample("attention, causal", attention(causal=True, offset=1), heads()),
        Sample("attention, boolean mask", attention(mask=ALLOWED), heads()),
        Sample(
            "attention, additive mask",
            lambda q, k, v, mask: functional.attention(q, k, v, mask),
            (*heads(), normal(3, 4)),
        ),
        Sample("attention, window", attention(window=(1, 0), offset=1), heads()),
        Sample("attention, soft cap", attention(softcap=2.0), heads()),
        Sample("attention, grouped heads", attention(scale=0.7), heads(4, 2)),
        Sample("attention, empty row", attention(mask=ALLOWED & SOMEONE), heads()),
        Sample(
            "MultiHeadAttention",
            moved(nn.MultiHeadAttention(6, 2, rng=seeded())),
            (normal(2, 3, 6),),
        ),
        Sample(
            "MultiHeadAttention, masked",
            Called(
                nn.MultiHeadAttention(6, 3, rng=seeded()),
                lambda layer, x: layer(x, mask=nn.Mask.lengths([4, 3]), causal=True),
            ),
            (normal(2, 4, 6),),
        ),
        Sample(
            "MultiHeadAttention, cross",
            moved(nn.MultiHeadAttention(6, 2, kdim=5, vdim=3, rng=seeded())),
            (normal(2, 3, 6), normal(2, 4, 5), normal(2, 4, 3)),
        ),
        Sample(
            "MultiHeadAttention, grouped",
            moved(nn.MultiHeadAttention(8, 4, num_kv_heads=2, bias=False, rng=seeded())),
            (normal(2, 3, 8),),
        ),
        Sample(
            "MultiHeadAttention, rotary positions",
            moved(nn.MultiHeadAttention(8, 2, positions=nn.RotaryPositions(4), rng=seeded())),
            (normal(2, 3, 8),),
        ),
        Sample(
            "MultiHeadAttention, ALiBi",
            Called(
                nn.MultiHeadAttention(6, 2, positions=nn.AlibiBias(2), rng=seeded()),
                lambda layer, x: layer(x, causal=True),
            ),
            (normal(2, 3, 6),),
        ),
        Sample("SinusoidalPositions", moved(nn.SinusoidalPositions(4, 5)), (normal(2, 3, 4),)),
        Sample(
            "LearnedPositions", moved(nn.LearnedPositions(5, 4, rng=seeded())), (normal(2, 3, 4),)
        ),
        Sample(
            "TransformerEncoderLayer",
            moved(nn.TransformerEncoderLayer(4, 2, 3, activation="gelu", rng=seeded())),
            (normal(2, 3, 4),),
        ),
        Sample(
            "TransformerEncoderLayer, norm first",
            moved(
                nn.TransformerEncoderLayer(
                    4, 2, 3, activation="silu", norm_first=True, rng=seeded()
                )
            ),
            (normal(2, 3, 4),),
        ),
        Sample(
            "TransformerDecoderLayer",
            moved(nn.TransformerDecoderLayer(4, 2, 3, activation="tanh", rng=seeded())),
            (normal(2, 3, 4), normal(2, 2, 4)),
        ),
        Sample("RNN", moved(nn.RNN(2, 3, 2, rng=seeded())), (normal(2, 3, 2), normal(2, 2, 3))),
        Sample(
            "GRU",
            moved(nn.GRU(2, 2, bidirectional=True, rng=seeded())),
            (normal(2, 3, 2), normal(2, 2, 2), np.array([3, 2])),
        ),
        Sample(
            "LSTM",
            Called(nn.LSTM(2, 2, bidirectional=True, rng=seeded()), turned),
            (normal(2, 3, 2), normal(2, 2, 2), normal(2, 2, 2)),
        ),
        Sample(
            "BahdanauAttention",
            moved(nn.BahdanauAttention(3, 5, 4, rng=seeded())),
            (normal(2, 3, 3), normal(2, 4, 5), normal(2, 4, 2)),
        ),
        Sample(
            "LuongAttention, dot",
            moved(nn.LuongAttention(5, 5)),
            (normal(2, 3, 5), normal(2, 4, 5), normal(2, 4, 2)),
        ),
        Sample(
            "LuongAttention, general",
            moved(nn.LuongAttention(3, 5, "general", rng=seeded())),
            (normal(2, 3, 3), normal(2, 4, 5), normal(2, 4, 2)),
        ),
        Sample(
            "LuongAttention, concat",
            moved(nn.LuongAttention(3, 5, "concat", rng=seeded())),
            (normal(2, 3, 3), normal(2, 4, 5), normal(2, 4, 2)),
        ),
        Sample(
            "GPT",
            Called(
                GPT(GPTConfig(7, max_length=4, num_layers=1, num_heads=2, d_model=6), rng=seeded()),
                lambda model, tokens, targets: model.loss(tokens, targets),
            ),
            (np.array([[1, 5, 0, 2], [6, 6, 3, 1]]), np.array([[5, 0, 2, 4], [6, 3, 1, 1]])),
        ),
    )
}

SAMPLES: dict[str, Sample] = {**OPERATIONS, **FUNCTIONS, **LAYERS}


def missing() -> list[str]:
    """The package's own primitives that have no sample."""
    return sorted(name for name, op in PRIMITIVES.items() if ours(op) and name not in SAMPLES)


def named(only: str | None = None) -> list[str]:
    """The names of the samples that contain `only`.

    Raises:
        UnknownSampleError: there are none.
    """
    names = [name for name in SAMPLES if (only or "").lower() in name.lower()]
    if names:
        return names
    known = {name.lower(): name for name in SAMPLES}
    close = [known[name] for name in get_close_matches(str(only).lower(), known)]
    meant = f"did you mean {' or '.join(close)}? A" if close else "a"
    raise UnknownSampleError(
        f"no operation or layer is called {only!r}; {meant}ll names: tinygrad-attn check --list"
    )


def rows(only: str | None = None, order: int = 2) -> Iterator[Row]:
    """Check every sample whose name contains `only`, at the orders 1 to `order`; one row for each.

    Raises:
        UnknownSampleError: no name contains `only`, or a primitive has no sample.
    """
    names = named(only)
    if missing():
        raise UnknownSampleError(
            f"no sample for {', '.join(missing())}; add one in check/samples.py"
        )
    for name in names:
        yield from rows_of(SAMPLES[name], order)


def rows_of(sample: Sample, order: int) -> Iterator[Row]:
    """The rows of one sample; after a wrong order there are no higher ones."""
    kind = "operation" if sample.name in OPERATIONS else "layer"
    start = perf_counter()
    for report in reports(sample.f, *sample.inputs, order=order):
        seconds = perf_counter() - start
        yield Row(
            sample.name,
            kind,
            report.order,
            report.method,
            report.max_error,
            report.tolerance,
            report.verdict,
            seconds,
            report,
        )
        start = perf_counter()
