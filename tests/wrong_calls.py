"""Wrong calls, each with the error it must raise and what the message must say.

    group: [(error, pattern, call), ...]

A call takes the things of `given()`.  Those on shapes, axes and indices of single operations stand
in test_errors.py; here is what they leave out, and functions, layers, optimisers and checks.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from types import SimpleNamespace
from typing import Any

import numpy as np

import tinygrad_attn as ta
from tinygrad_attn import (
    DTypeError,
    GraphError,
    IndexingError,
    ShapeError,
    Tensor,
    TensorError,
    check,
    nn,
    optim,
)
from tinygrad_attn.nn import functional

Call = Callable[[SimpleNamespace], Any]
Row = tuple[type[Exception], str, Call]
RAGGED = [[1.0], [2.0, 3.0]]


def given() -> SimpleNamespace:
    """Tensors with gradients and a graph, layers, an optimiser with a state, a cache."""
    rng = np.random.default_rng(0)

    def variable(*shape: int) -> Tensor:
        return Tensor(rng.standard_normal(shape), requires_grad=True)

    t = SimpleNamespace(
        x=variable(2, 3),
        y=variable(5, 7),
        v=variable(3),
        s=variable(),
        sequence=variable(2, 5, 4),
        heads=variable(2, 2, 5, 4),
        tokens=np.array([[0, 3, 2], [1, 1, 4]]),
        boolean=np.ones((5, 5), bool),
        rng=np.random.default_rng(1),
        linear=nn.Linear(4, 3, rng=rng),
        embedding=nn.Embedding(7, 4, rng=rng),
        norm=nn.LayerNorm(4),
        rms=nn.RMSNorm(4),
        mha=nn.MultiHeadAttention(4, 2, dropout=0.1, rng=np.random.default_rng(2)),
        encoder=nn.TransformerEncoderLayer(4, 2, 3, rng=rng),
        decoder=nn.TransformerDecoderLayer(4, 2, 3, rng=rng),
        gru=nn.GRU(4, 3, rng=rng),
        lstm=nn.LSTM(4, 3, rng=rng),
        bahdanau=nn.BahdanauAttention(4, 4, 3, rng=rng),
        sequential=nn.Sequential(nn.Linear(4, 3, rng=rng)),
        luong=nn.LuongAttention(4, 4),
        cache=nn.KVCache(5),
    )
    for module in [m for m in vars(t).values() if isinstance(m, nn.Module)]:
        module.astype(np.float64)
    t.cache.append(np.ones((2, 2, 3, 2)), np.ones((2, 2, 3, 2)))
    (t.linear(t.sequence) * 2.0).sum().backward()
    t.adam = optim.Adam(t.linear.parameters(), 0.1)
    t.adam.step()
    t.graph = ta.tanh(t.x * t.v)
    t.graph.retain_grad()
    return t


UNARY = [
    "negative", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "square", "reciprocal", "sign",
    "absolute", "sin", "cos", "tanh", "sigmoid", "relu", "leaky_relu", "elu", "erf", "gelu", "silu",
    "softplus", "softmax", "log_softmax", "sum", "mean", "prod", "max", "min", "logsumexp",
    "cumsum", "norm", "var", "std", "tril", "triu", "transpose", "flip", "squeeze",
]  # fmt: skip
REDUCTIONS = ["sum", "mean", "prod", "max", "min", "logsumexp", "var", "std"]
BINARY = ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "matmul"]
LAYERS = ["linear", "norm", "rms", "mha", "encoder", "gru", "lstm"]
NAMED = "^(Linear|LayerNorm|RMSNorm|MultiHeadAttention|TransformerEncoderLayer|GRU|LSTM)"


TABLE: dict[str, list[Row]] = {
    "no array": [
        *(
            (DTypeError, rf"^{name}.*\(x=None", lambda t, n=name: getattr(ta, n)(None))
            for name in UNARY
        ),
        *(
            (TensorError, rf"{name}.*2, 3", lambda t, n=name: getattr(ta, n)(t.x, {}))
            for name in BINARY
        ),
        *(
            (ShapeError, rf"^{name}.*sequence", lambda t, n=name: getattr(ta, n)(t.x, RAGGED))
            for name in BINARY
        ),
    ],
    "counts and names of arguments": [
        *(
            (DTypeError, rf"^{name}.*nonsense", lambda t, n=name: getattr(ta, n)(t.x, nonsense=1))
            for name in UNARY
        ),
        *(
            (
                DTypeError,
                rf"^{name}.*(\['x'\], got 0|missing.*'x')",
                lambda t, n=name: getattr(ta, n)(),
            )
            for name in UNARY
        ),
        *(
            (
                DTypeError,
                rf"^{name}.*('b'\], got 1|missing.*'b')",
                lambda t, n=name: getattr(ta, n)(t.x),
            )
            for name in BINARY
        ),
    ],
    "axes": [
        *(
            (ShapeError, rf"{name}.*5", lambda t, n=name: getattr(ta, n)(t.x, axis=5))
            for name in REDUCTIONS
        ),
        *(
            (DTypeError, rf"{name}.*'rows'", lambda t, n=name: getattr(ta, n)(t.x, axis="rows"))
            for name in REDUCTIONS
        ),
        *(
            (DTypeError, rf"{name}.*1\.5", lambda t, n=name: getattr(ta, n)(t.x, axis=1.5))
            for name in REDUCTIONS
        ),
        (ShapeError, r"softmax\(x: float64\[2, 3\], axis=-3\)", lambda t: ta.softmax(t.x, -3)),
        (DTypeError, r"softmax\(.*\[2, 3\].*'last'", lambda t: ta.softmax(t.x, axis="last")),
        (ShapeError, r"logsumexp.*duplicate", lambda t: ta.logsumexp(t.x, (0, 0))),
    ],
    "options of operations": [
        (DTypeError, r"roll\(.*\[2, 3\].*1\.5", lambda t: ta.roll(t.x, 1.5, 0)),
        (DTypeError, r"one_hot.*2\.5", lambda t: ta.one_hot([0], 2.5)),
        (DTypeError, r"one_hot.*None", lambda t: ta.one_hot([0], None)),
        (DTypeError, r"one_hot.*'text'", lambda t: ta.one_hot([0], 3, "text")),
        (ShapeError, r"one_hot.*sequence", lambda t: ta.one_hot(RAGGED, 3)),
        (DTypeError, r"where.*'a'.*boolean or real numbers", lambda t: ta.where("a", t.x, t.x)),
        (DTypeError, r"where.*None.*boolean or real numbers", lambda t: ta.where(None, t.x, t.x)),
        (DTypeError, r"where.*None.*numbers", lambda t: ta.where(np.ones(3, bool), t.x, None)),
        (
            DTypeError,
            r"masked_fill: mask must be boolean or integers, got float64",
            lambda t: ta.masked_fill(t.x, np.array([0.5, np.nan, 0.0]), 3.0),
        ),
        (DTypeError, r"masked_fill: mask.*got <U1", lambda t: ta.masked_fill(t.x, "a", 3.0)),
        (DTypeError, r"masked_fill.*numbers", lambda t: ta.masked_fill(t.x, np.ones(3, bool), {})),
        (TensorError, r"astype.*float32", lambda t: ta.astype(t.x, np.float32, np.float32)),
        (ShapeError, r"tile\(.*'a'", lambda t: ta.tile(t.x, "a")),
        (DTypeError, r"tile.*numbers", lambda t: ta.tile(object(), 2)),
        (DTypeError, r"expand_dims.*numbers", lambda t: ta.expand_dims("text", 0)),
        (ShapeError, r"getitem\(x=\{\}, index=0", lambda t: ta.getitem({}, 0)),
        (DTypeError, r"reshape\(.*\[2, 3\].*'a'", lambda t: ta.reshape(t.x, "a")),
        (TensorError, r"broadcast_to\(.*\[2, 3\].*-1", lambda t: ta.broadcast_to(t.x, (-1, 3))),
        (TensorError, r"split\(.*\[3\].*=-1", lambda t: ta.split(t.v, -1)),
        (TensorError, r"repeat\(.*\[2, 3\].*None", lambda t: ta.repeat(t.x, None)),
        (TensorError, r"concatenate\(.*axis='a'", lambda t: ta.concat([t.x, t.x], "a")),
        (ShapeError, r"concat.*\[2, 3\].*=None.*dimensions", lambda t: ta.concat([t.x, None])),
        (ShapeError, r"stack.*\[2, 3\].*='text'.*same shape", lambda t: ta.stack([t.x, "text"])),
        (TensorError, r"gru_cell.*\(2, 3\).*\(3,\)", lambda t: ta.gru_cell(t.x, t.x, t.v)),
        (TensorError, r"lstm_cell.*\(2, 3\).*\(3,\)", lambda t: ta.lstm_cell(t.x, t.v)),
        (
            ShapeError,
            r"einsum: 'jk' in.*2 axes.*has 0",
            lambda t: ta.einsum("ij,jk->ik", t.x, None),
        ),
        (DTypeError, r"add\(.*numbers", lambda t: ta.add(np.ones(3, object), t.v)),
        (ShapeError, r"matmul.*\(2, 3\)", lambda t: ta.matmul(t.x, "text")),
    ],
    "tensors": [
        (DTypeError, r"Tensor.*name.*3", lambda t: Tensor([1.0], name=3)),
        (DTypeError, r"name.*array", lambda t: setattr(t.x, "name", np.ones(3))),
        (DTypeError, r"Tensor.*got NoneType", lambda t: Tensor(None)),
        (DTypeError, r"Tensor.*got dict", lambda t: Tensor({})),
        (ShapeError, r"Tensor.*sequence", lambda t: Tensor(RAGGED)),
        (DTypeError, r"Tensor.*'text'", lambda t: Tensor([1.0], dtype="text")),
        (DTypeError, r"requires_grad.*'yes'", lambda t: Tensor([1.0], "yes")),
        (DTypeError, r"register_hook.*NoneType", lambda t: t.graph.register_hook(None)),
        (DTypeError, r"register_hook.*int", lambda t: t.x.register_hook(3)),
        (ShapeError, r"grad.*\(2, 3\).*\(7,\)", lambda t: setattr(t.x, "grad", np.ones(7))),
        (DTypeError, r"grad.*float64.*complex", lambda t: setattr(t.s, "grad", 1j)),
        (GraphError, r"copy.*multiply", lambda t: copy(t.x * t.x)),
        (DTypeError, r"scope.*3", lambda t: ta.scope(3)),
        (DTypeError, r"default_dtype.*int", lambda t: ta.default_dtype("int32")),
        (DTypeError, r"seed.*integer.*'text'", lambda t: ta.seed("text")),
        (TensorError, r"kernels.*nonsense", lambda t: ta.kernels.use("nonsense")),
    ],
    "derivatives": [
        (DTypeError, r"backward.*retain_graph.*'a'", lambda t: t.s.backward(retain_graph="a")),
        (
            DTypeError,
            r"grad.*allow_unused.*True or False.*'no'",
            lambda t: ta.grad(t.graph, [t.x], np.ones((2, 3)), allow_unused="no"),
        ),
        (DTypeError, r"backward.*create_graph.*None", lambda t: t.s.backward(create_graph=None)),
        (ShapeError, r"backward.*\(2, 3\).*\(5, 7\)", lambda t: t.graph.backward(t.y)),
        (ShapeError, r"backward.*sequence", lambda t: t.graph.backward(RAGGED)),
        (DTypeError, r"grad.*create_graph", lambda t: ta.grad(t.s, [t.s], create_graph=[])),
        (DTypeError, r"grad.*output.*ndarray", lambda t: ta.grad(np.ones(3), [t.x])),
        (DTypeError, r"grad: input 0.*ndarray", lambda t: ta.grad(t.s, np.array(3.0))),
        (DTypeError, r"grad: input 0.*str", lambda t: ta.grad(t.s, "x")),
        (DTypeError, r"vjp.*function.*NoneType", lambda t: ta.vjp(None, t.x)),
        (DTypeError, r"jvp.*function.*int", lambda t: ta.jvp(3, [t.x], [t.x])),
        (DTypeError, r"jacobian.*function.*Tensor", lambda t: ta.jacobian(t.x, t.x)),
        (DTypeError, r"hessian.*function.*str", lambda t: ta.hessian("f", t.x)),
        (DTypeError, r"hvp.*function", lambda t: ta.hvp(None, t.x, t.x)),
        (ShapeError, r"hvp.*\(3,\).*\(2,\)", lambda t: ta.hvp(ta.sum, np.ones(3), np.ones(2))),
        (
            ShapeError,
            r"jvp.*\(3,\).*\(2,\)",
            lambda t: ta.jvp(ta.exp, [np.ones(3)], [np.ones(2)]),
        ),
        (
            ShapeError,
            r"jvp.*\(2,\).*\(5,\)",
            lambda t: ta.jvp(lambda a: Tensor(1.0), [np.ones(2)], [np.ones(5)]),
        ),
        (ShapeError, r"hvp.*sequence", lambda t: ta.hvp(ta.sum, np.ones(3), RAGGED)),
        (DTypeError, r"recompute.*function", lambda t: ta.recompute(None, t.x)),
        (DTypeError, r"recompute.*ndarray", lambda t: ta.recompute(lambda x: np.ones(3), t.x)),
        (DTypeError, r"primitive.*function", lambda t: ta.primitive(None)),
        (DTypeError, r"put its arrays before", lambda t: ta.primitive(lambda x: x)),
        (DTypeError, r"exp\.defvjp.*got 2", lambda t: ta.exp.defvjp(None, None)),
        (DTypeError, r"exp\.defvjp.*`g`", lambda t: ta.exp.defvjp(lambda out: out)),
    ],
    "functions": [
        (DTypeError, r"^linear.*NoneType", lambda t: functional.linear(None, t.y)),
        (DTypeError, r"^linear.*offset", lambda t: functional.linear(t.x, t.y, offset=1)),
        (DTypeError, r"^linear.*weight", lambda t: functional.linear(t.x)),
        (ShapeError, r"^linear.*7.*\(2, 3\)", lambda t: functional.linear(t.x, t.y)),
        (ShapeError, r"^linear.*weight.*\(3,\)", lambda t: functional.linear(t.x, t.v)),
        (
            ShapeError,
            r"^linear.*bias.*\(2, 3\)",
            lambda t: functional.linear(t.x, np.ones((5, 3)), t.x),
        ),
        (DTypeError, r"^embedding.*NoneType", lambda t: functional.embedding([0], None)),
        (IndexingError, r"^embedding.*\[0, 5\).*7", lambda t: functional.embedding([7], t.y)),
        (IndexingError, r"^embedding.*-1", lambda t: functional.embedding([-1], t.y)),
        (DTypeError, r"^embedding.*float64", lambda t: functional.embedding([0.5], t.y)),
        (ShapeError, r"^embedding.*length", lambda t: functional.embedding([[0], [1, 2]], t.y)),
        (ShapeError, r"^embedding.*weight.*\(3,\)", lambda t: functional.embedding([0], t.v)),
        (DTypeError, r"^layer_norm.*NoneType", lambda t: functional.layer_norm(None)),
        (ShapeError, r"^layer_norm.*\(2, 3\)", lambda t: functional.layer_norm(t.x, np.ones(7))),
        (ShapeError, r"^layer_norm.*eps", lambda t: functional.layer_norm(t.x, eps=np.inf)),
        (DTypeError, r"^layer_norm.*eps.*None", lambda t: functional.layer_norm(t.x, eps=None)),
        (DTypeError, r"^rms_norm.*dict", lambda t: functional.rms_norm({})),
        (ShapeError, r"^rms_norm.*\(2, 3\)", lambda t: functional.rms_norm(t.x, np.ones(7))),
        (DTypeError, r"gelu.*NoneType", lambda t: functional.gelu(None)),
        (ShapeError, r"gelu.*approximate.*'cubic'", lambda t: functional.gelu(t.x, "cubic")),
        (DTypeError, r"silu.*NoneType", lambda t: functional.silu(None)),
        (ShapeError, r"dropout.*\[0, 1\).*1\.0", lambda t: functional.dropout(t.x, 1.0)),
        (DTypeError, r"dropout.*None", lambda t: functional.dropout(t.x, None)),
        (
            ShapeError,
            r"dropout.*mask.*\(2, 3\).*\(3,\)",
            lambda t: functional.dropout(t.x, 0.5, mask=np.ones(3)),
        ),
        (DTypeError, r"rng.*int", lambda t: functional.dropout(t.x, 0.5, rng=3)),
        (
            ShapeError,
            r"dropout_mask.*\[0, 1\).*-0\.5",
            lambda t: functional.dropout_mask((2, 3), -0.5, np.float32, t.rng),
        ),
        (
            DTypeError,
            r"dropout_mask.*'text'",
            lambda t: functional.dropout_mask((2, 3), 0.5, "text", t.rng),
        ),
        (
            DTypeError,
            r"dropout_mask.*int.*floating",
            lambda t: functional.dropout_mask((2, 3), 0.5, int, t.rng),
        ),
        (
            ShapeError,
            r"dropout_mask.*-2",
            lambda t: functional.dropout_mask((-2, 3), 0.5, float, t.rng),
        ),
        (
            ShapeError,
            r"cross_entropy.*\(2, 3\).*\(3,\)",
            lambda t: functional.cross_entropy(t.x, [0, 1, 2]),
        ),
        (
            IndexingError,
            r"cross_entropy.*\[0, 3\).*7",
            lambda t: functional.cross_entropy(t.x, [0, 7]),
        ),
        (
            ShapeError,
            r"cross_entropy.*label_smoothing.*2",
            lambda t: functional.cross_entropy(t.x, [0, 1], label_smoothing=2.0),
        ),
        (
            ShapeError,
            r"cross_entropy.*reduction.*'max'",
            lambda t: functional.cross_entropy(t.x, [0, 1], reduction="max"),
        ),
        (DTypeError, r"cross_entropy.*NoneType", lambda t: functional.cross_entropy(None, [0])),
        (DTypeError, r"cross_entropy.*smooth", lambda t: functional.cross_entropy(smooth=1)),
        (ShapeError, r"mse_loss.*\(2, 3\).*\(3,\)", lambda t: functional.mse_loss(t.x, t.v)),
        (
            ShapeError,
            r"mse_loss.*reduction.*None",
            lambda t: functional.mse_loss(t.x, t.x, reduction=None),
        ),
        (DTypeError, r"mse_loss.*NoneType", lambda t: functional.mse_loss(t.x, None)),
    ],
    "attention": [
        (DTypeError, r"attention.*NoneType", lambda t: functional.attention(None, t.x, t.x)),
        (DTypeError, r"attention.*missing.*'v'", lambda t: functional.attention(t.x, t.x)),
        (
            DTypeError,
            r"attention.*nonsense",
            lambda t: functional.attention(t.x, t.x, t.x, nonsense=1),
        ),
        (ShapeError, r"attention.*3.*7", lambda t: functional.attention(t.x, t.y, t.y)),
        (
            ShapeError,
            r"attention.*2 time steps.*5",
            lambda t: functional.attention(t.x, t.x, t.y),
        ),
        (ShapeError, r"attention.*\(3,\)", lambda t: functional.attention(t.v, t.x, t.x)),
        (
            DTypeError,
            r"attention.*int64",
            lambda t: functional.attention(np.ones((2, 3), int), t.x, t.x),
        ),
        (
            ShapeError,
            r"attention.*mask \(7, 7\).*\(2, 2, 5, 5\)",
            lambda t: functional.attention(t.heads, t.heads, t.heads, np.ones((7, 7), bool)),
        ),
        (
            DTypeError,
            r"attention.*int64.*astype\(bool\)",
            lambda t: functional.attention(t.heads, t.heads, t.heads, np.ones((5, 5), int)),
        ),
        (
            ShapeError,
            r"attention.*NaN",
            lambda t: functional.attention(t.heads, t.heads, t.heads, np.full((5, 5), np.nan)),
        ),
        *(
            (
                TensorError,
                rf"attention.*{name}",
                lambda t, name=name, value=value: functional.attention(
                    t.heads, t.heads, t.heads, rng=t.rng, **{"dropout": 0.1, name: value}
                ),
            )
            for name, value in [
                ("causal", "yes"), ("offset", 0.5), ("window", (1, -1)), ("window", 3),
                ("scale", "big"), ("softcap", "big"), ("softcap", -1.0), ("empty_row", "one"),
                ("method", "flash"), ("return_stages", "yes"),
            ]
        ),
        (
            ShapeError,
            r"attention.*\[0, 1\)",
            lambda t: functional.attention(t.x, t.x, t.x, dropout=1.5, rng=t.rng),
        ),
        (
            ShapeError,
            r"attention: query \(0,\).*no key",
            lambda t: functional.attention(
                t.x, t.x, t.x, np.zeros((2, 2), bool), empty_row="error", dropout=0.5, rng=t.rng
            ),
        ),
        (DTypeError, r"Mask\.keep.*float64", lambda t: nn.Mask.keep(np.ones((5, 5)))),
        (DTypeError, r"Mask\.block.*int64", lambda t: nn.Mask.block(np.ones((5, 5), int))),
        (ShapeError, r"Mask\.keep.*\(\)", lambda t: nn.Mask.keep(True)),
        (DTypeError, r"Mask\.additive.*bool", lambda t: nn.Mask.additive(t.boolean)),
        (ShapeError, r"Mask\.additive.*NaN", lambda t: nn.Mask.additive([np.nan])),
        (DTypeError, r"Mask\.lengths.*integer.*0\.5", lambda t: nn.Mask.lengths([0.5])),
        (ShapeError, r"Mask\.lengths.*-1", lambda t: nn.Mask.lengths([-1])),
        (DTypeError, r"Mask\.causal.*offset", lambda t: nn.Mask.causal("text")),
        (ShapeError, r"Mask\.window.*-1", lambda t: nn.Mask.window(-1, 0)),
        (DTypeError, r"Mask.*combines", lambda t: nn.Mask.causal() & t.boolean),
    ],
    "layers": [
        *(
            (DTypeError, NAMED + ".*NoneType",
             lambda t, name=name: getattr(t, name)(None))
            for name in LAYERS
        ),
        *(
            (DTypeError, NAMED + r".*forward\(\)",
             lambda t, name=name: getattr(t, name)())
            for name in LAYERS
        ),
        *(
            (ShapeError, NAMED + r".*\(2, 3\)",
             lambda t, name=name: getattr(t, name)(t.x))
            for name in LAYERS
        ),
        (ShapeError, r"Linear.*d_in.*-1", lambda t: nn.Linear(-1, 3, rng=t.rng)),
        (ShapeError, r"Linear.*d_out.*2\.5", lambda t: nn.Linear(4, 2.5, rng=t.rng)),
        (DTypeError, r"Linear.*bias", lambda t: nn.Linear(4, 3, bias="yes", rng=t.rng)),
        *(
            (
                TensorError,
                rf"^{name}: {said}",
                lambda t, name=name, sizes=sizes, options=options: getattr(nn, name)(
                    4, *sizes, rng=t.rng, **options
                ),
            )
            for name, sizes, options, said in [
                ("Linear", (0,), {}, "d_out.*got 0"),
                ("Embedding", (0,), {}, "d must.*got 0"),
                ("LearnedPositions", (0,), {}, "d_model.*got 0"),
                ("MultiHeadAttention", (2,), {"bias": "yes"}, "bias.*'yes'"),
                ("MultiHeadAttention", (2,), {"dropout": 1.0}, ".*dropping.*got 1.0"),
                ("MultiHeadAttention", (2,), {"kdim": 0}, "kdim.*got 0"),
                ("MultiHeadAttention", (2,), {"vdim": 0}, "vdim.*got 0"),
                ("MultiHeadAttention", (2,), {"positions": "rotary"}, "positions.*got str"),
                ("GRU", (3,), {"bias": "yes"}, "bias.*'yes'"),
                ("GRU", (3,), {"dropout": 1.0}, ".*dropping.*got 1.0"),
                ("LSTM", (3, 0), {}, "num_layers.*got 0"),
                ("LSTM", (3,), {"bidirectional": "both"}, "bidirectional.*'both'"),
                ("RNN", (3,), {"nonlinearity": "sin"}, "nonlinearity.*'sin'"),
                ("BahdanauAttention", (4, 0), {}, "d_attn.*got 0"),
                ("LuongAttention", (0, "general"), {}, "d_key.*got 0"),
            ]
        ),
        *(
            (
                TensorError,
                said,
                lambda t, key=key, value=value: nn.TransformerEncoderLayer(
                    4, 2, 3, rng=t.rng, **{key: value}
                ),
            )
            for said, key, value in [
                ("the probability of dropping", "dropout", 1.0),
                ("TransformerEncoderLayer.*activation.*'swish'", "activation", "swish"),
                ("norm_first.*'yes'", "norm_first", "yes"),
                ("bias.*'yes'", "bias", "yes"),
                ("eps.*'small'", "eps", "small"),
                ("positions.*str", "positions", "rotary"),
            ]
        ),
        (DTypeError, r"rng.*int", lambda t: nn.Linear(4, 3, rng=0)),
        (ShapeError, r"Embedding.*0", lambda t: nn.Embedding(0, 4, rng=t.rng)),
        (IndexingError, r"Embedding.*\[0, 7\).*9", lambda t: t.embedding([9])),
        (DTypeError, r"Embedding: tokens.*float64", lambda t: t.embedding(t.x)),
        (ShapeError, r"LayerNorm: d must.*got 0", lambda t: nn.LayerNorm(0)),
        (TensorError, r"LayerNorm.*eps", lambda t: nn.LayerNorm(4, "small")),
        (ShapeError, r"Dropout.*\[0, 1\)", lambda t: nn.Dropout(1.0)),
        (ShapeError, r"GELU.*'cubic'", lambda t: nn.GELU("cubic")),
        (DTypeError, r"ModuleList.*modules", lambda t: nn.ModuleList([t.x])),
        (DTypeError, r"Sequential: expected modules.*int", lambda t: nn.Sequential(3)),
        (DTypeError, r"^Linear: expected numbers.*NoneType", lambda t: t.sequential(None)),
        (
            ShapeError,
            r"MultiHeadAttention.*5.*2|MultiHeadAttention.*2.*5",
            lambda t: nn.MultiHeadAttention(5, 2, rng=t.rng),
        ),
        (
            ShapeError,
            r"MultiHeadAttention.*num_kv_heads",
            lambda t: nn.MultiHeadAttention(4, 2, num_kv_heads=3, rng=t.rng),
        ),
        (DTypeError, r"MultiHeadAttention.*cache.*list", lambda t: t.mha(t.sequence, cache=[])),
        (ShapeError, r"\(7, 7\)", lambda t: t.mha(t.sequence, mask=np.ones((7, 7), bool))),
        (DTypeError, r"attention: causal.*'yes'", lambda t: t.mha(t.sequence, causal="yes")),
        (ShapeError, r"method.*'flash'", lambda t: t.mha(t.sequence, method="flash")),
        (
            DTypeError,
            r"MultiHeadAttention.*return_weights",
            lambda t: t.mha(t.sequence, return_weights="all"),
        ),
        (
            ShapeError,
            r"KVCache: full.*3 of 5",
            lambda t: t.mha(t.sequence, causal=True, cache=t.cache),
        ),
        (ShapeError, r"KVCache.*capacity.*0", lambda t: nn.KVCache(0)),
        (
            ShapeError,
            r"KVCache.*keys.*\[2, 2, 3, 2\]",
            lambda t: t.cache.append(np.ones((2, 2, 1, 7)), np.ones((2, 2, 1, 7))),
        ),
        (
            DTypeError,
            r"KVCache.*float64.*float32",
            lambda t: t.cache.append(*[np.ones((2, 2, 1, 2), np.float32)] * 2),
        ),
        (ShapeError, r"KVCache.*0 … 3.*7", lambda t: t.cache.truncate(7)),
        (ShapeError, r"\(7, 7\)", lambda t: t.encoder(t.sequence, np.ones((7, 7), bool))),
        (DTypeError, r"attention: causal.*None", lambda t: t.encoder(t.sequence, causal=None)),
        (ShapeError, r"TransformerDecoderLayer.*\(2, 3\)", lambda t: t.decoder(t.sequence, t.x)),
        (DTypeError, r"TransformerDecoderLayer.*memory", lambda t: t.decoder(t.sequence)),
        (ShapeError, r"GRU.*lengths|lengths.*GRU", lambda t: t.gru(t.sequence, lengths=[9, 1])),
        (
            ShapeError,
            r"GRU: expected the state.*\(1, 2, 3\), got \(2, 3\)",
            lambda t: t.gru(t.sequence, state=t.x),
        ),
        (
            DTypeError,
            r"LSTM: expected the state \(h, c\), got 1",
            lambda t: t.lstm(t.sequence, state=t.x),
        ),
        (
            TensorError,
            r"BahdanauAttention.*mask|mask.*\(2, 7\)",
            lambda t: t.bahdanau(t.sequence[:, 0], t.sequence, mask=np.ones((2, 7), bool)),
        ),
        (
            DTypeError,
            r"BahdanauAttention.*return_weights.*'all'",
            lambda t: t.bahdanau(t.sequence[:, 0], t.sequence, return_weights="all"),
        ),
        (
            ShapeError,
            r"LuongAttention.*score.*'sum'",
            lambda t: nn.LuongAttention(4, 4, "sum", rng=t.rng),
        ),
        (ShapeError, r"LuongAttention.*4.*3", lambda t: nn.LuongAttention(4, 3)),
        (
            ShapeError,
            r"SinusoidalPositions: max_length.*-1",
            lambda t: nn.SinusoidalPositions(4, -1),
        ),
        (
            ShapeError,
            r"SinusoidalPositions.*max_length=3.*0 … 4",
            lambda t: nn.SinusoidalPositions(4, 3)(t.sequence),
        ),
        (ShapeError, r"RotaryPositions.*3", lambda t: nn.RotaryPositions(3)),
        (ShapeError, r"RotaryPositions.*offset", lambda t: nn.RotaryPositions(4)(t.sequence, -1)),
        (ShapeError, r"AlibiBias: num_heads.*got 0", lambda t: nn.AlibiBias(0)),
        (ShapeError, r"AlibiBias.*queries.*2\.5", lambda t: nn.AlibiBias(2)(2.5, 3)),
        (DTypeError, r"Linear\.train.*'no'", lambda t: t.linear.train("no")),
        (DTypeError, r"Linear\.astype.*int", lambda t: t.linear.astype(int)),
        (DTypeError, r"Linear\.astype.*'text'", lambda t: t.linear.astype("text")),
        (DTypeError, r"Linear\.load_state_dict.*list", lambda t: t.linear.load_state_dict([])),
        (
            ShapeError,
            r"Linear\.load_state_dict.*weight is missing.*bias is missing",
            lambda t: t.linear.load_state_dict({}),
        ),
        (
            ShapeError,
            r"Linear\.load_state_dict.*bias has shape \(7,\), expected \(3,\)",
            lambda t: t.linear.load_state_dict({"weight": np.ones((3, 4)), "bias": np.ones(7)}),
        ),
    ],
    "optimisers": [
        (DTypeError, r"SGD.*got a Tensor", lambda t: optim.SGD(t.x, lr=0.1)),
        (DTypeError, r"SGD.*got a ndarray", lambda t: optim.SGD(np.array(3.0), lr=0.1)),
        (DTypeError, r"SGD.*parameter 0", lambda t: optim.SGD([3], lr=0.1)),
        (DTypeError, r"SGD.*parameter 0", lambda t: optim.SGD([t.graph], lr=0.1)),
        (ShapeError, r"SGD.*no parameters", lambda t: optim.SGD([], lr=0.1)),
        (ShapeError, r"SGD.*more than once", lambda t: optim.SGD([t.x, t.x], lr=0.1)),
        (ShapeError, r"SGD.*lr.*-1", lambda t: optim.SGD([t.x], lr=-1.0)),
        (DTypeError, r"SGD.*lr.*None", lambda t: optim.SGD([t.x], lr=None)),
        (ShapeError, r"SGD.*momentum.*1", lambda t: optim.SGD([t.x], lr=0.1, momentum=1.0)),
        (ShapeError, r"SGD.*\"params\"", lambda t: optim.SGD([{"lr": 1.0}], lr=0.1)),
        (
            ShapeError,
            r"SGD.*'rate'",
            lambda t: optim.SGD([{"params": [t.x], "rate": 1.0}], lr=0.1),
        ),
        (DTypeError, r"Adam.*betas", lambda t: optim.Adam([t.x], betas=0.9)),
        (ShapeError, r"Adam.*betas.*1\.5", lambda t: optim.Adam([t.x], betas=(0.9, 1.5))),
        (ShapeError, r"AdamW.*eps.*-1", lambda t: optim.AdamW([t.x], eps=-1.0)),
        (DTypeError, r"AdamW.*weight_decay", lambda t: optim.AdamW([t.x], weight_decay="a")),
        (DTypeError, r"Adam\.load_state_dict.*None", lambda t: t.adam.load_state_dict(None)),
        (ShapeError, r"Adam\.load_state_dict.*keys.*\[\]", lambda t: t.adam.load_state_dict({})),
        (
            ShapeError,
            r"Adam\.load_state_dict.*\[2\].*\[1\]",
            lambda t: t.adam.load_state_dict(optim.Adam([t.x]).state_dict()),
        ),
        (DTypeError, r"WarmupCosine.*NoneType", lambda t: optim.WarmupCosine(None, 2, 5)),
        (DTypeError, r"WarmupCosine.*warmup.*'a'", lambda t: optim.WarmupCosine(t.adam, "a", 5)),
        (DTypeError, r"WarmupCosine.*total.*2\.5", lambda t: optim.WarmupCosine(t.adam, 2, 2.5)),
        (ShapeError, r"WarmupCosine.*warmup=7", lambda t: optim.WarmupCosine(t.adam, 7, 5)),
        (ShapeError, r"WarmupCosine.*lr_min=-1", lambda t: optim.WarmupCosine(t.adam, 2, 5, -1)),
        (DTypeError, r"WarmupCosine.*lr_min", lambda t: optim.WarmupCosine(t.adam, 2, 5, None)),
        (DTypeError, r"clip_grad_norm.*str", lambda t: optim.clip_grad_norm("text", 1.0)),
        (DTypeError, r"clip_grad_norm.*Tensor", lambda t: optim.clip_grad_norm(t.x, 1.0)),
        (ShapeError, r"clip_grad_norm.*-1", lambda t: optim.clip_grad_norm([t.x], -1.0)),
        (DTypeError, r"clip_grad_norm.*None", lambda t: optim.clip_grad_norm([t.x], None)),
    ],
    "checks": [
        (DTypeError, r"gradcheck: f must.*None", lambda t: check.gradcheck(None, t.x)),
        (DTypeError, r"gradcheck: no input is floating", lambda t: check.gradcheck(ta.tanh)),
        (
            DTypeError,
            r"gradcheck: no input is floating",
            lambda t: check.gradcheck(ta.tanh, "text"),
        ),
        (DTypeError, r"leak_matrix: f must.*None", lambda t: check.leak_matrix(None, t.sequence)),
        (
            DTypeError,
            r"leak_matrix: expected a real floating x.*U4",
            lambda t: check.leak_matrix(ta.tanh, "text"),
        ),
        (
            DTypeError,
            r"assert_causal: f must.*None",
            lambda t: check.assert_causal(None, t.sequence),
        ),
    ],
}  # fmt: skip
