"""Encoder and decoder layers, Transformer and ViT beside PyTorch: float64, to 1e-10.

Weights travel by `load_state_dict`, so names and layouts are compared as well.  The options of each
case are drawn at random: norm_first, activation, biases, heads, widths, and masks of every kind.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygrad_attn import Tensor, nn
from tinygrad_attn.models import Transformer, TransformerConfig, ViT, ViTConfig
from tinygrad_attn.nn import TransformerDecoderLayer, TransformerEncoderLayer

pytestmark = pytest.mark.torch
TOLERANCE = 1e-10
CASES = 40
KINDS = (
    "none",
    "boolean",
    "for each batch",
    "for each head",
    "additive",
    "padding",
    "causal",
    "causal and boolean",
    "causal and padding",
)
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def torch() -> Any:
    import torch

    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    yield torch
    torch.set_default_dtype(torch.float32)


def close(ours: Any, theirs: Any) -> None:
    """One shape, and nowhere further apart than the tolerance, relative to the largest."""
    ours, theirs = ours.data, theirs.detach().numpy()
    assert ours.shape == theirs.shape
    assert abs(ours - theirs).max(initial=0) <= TOLERANCE * max(1, abs(theirs).max(initial=0))


def randomised(module: nn.Module) -> dict[str, Array]:
    """Fill a module with random float64 parameters; its state."""
    rng = np.random.default_rng(7)
    for parameter in module.astype(np.float64).parameters():
        parameter.data = rng.standard_normal(parameter.shape) / 2
    return module.state_dict()


def tensors(torch: Any, state: dict[str, Array], **options: Any) -> dict[str, Any]:
    return {name: torch.tensor(array, **options) for name, array in state.items()}


# ── layers ───────────────────────────────────────────────────────────────────────────────────────


def drawn(case: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Constructor's options and sizes; every kind of mask comes up at least four times."""
    rng = np.random.default_rng(case)
    heads = int(rng.integers(1, 4))
    sizes = {
        "d_model": heads * int(rng.integers(1, 4)),
        "num_heads": heads,
        "d_ff": int(rng.integers(1, 8)),
    }
    options = {
        "norm_first": bool(case % 2),
        "bias": bool(rng.random() < 0.7),
        "activation": ("relu", "gelu", "silu", "tanh", "gelu_tanh")[case // 2 % 5],
        "eps": float(rng.choice([1e-5, 1e-3])),
    }
    lengths = {
        "B": int(rng.integers(1, 4)),
        "T": int(rng.integers(1, 6)),
        "S": int(rng.integers(1, 8)),
        "kind": KINDS[case % len(KINDS)],
    }
    return {**sizes, **options}, lengths


def mask_of(kind: str, case: int, shape: tuple[int, ...]) -> Array | None:
    """A mask of this kind for scores (B, heads, T, S); every query may attend to the first key."""
    batch, heads, queries, keys = shape
    rng = np.random.default_rng(1000 + case)
    kind = kind.removeprefix("causal").removeprefix(" and ")
    lead = {
        "boolean": (queries,),
        "for each batch": (batch, queries),
        "padding": (batch, 1),
        "for each head": (batch, heads, queries),
        "additive": (batch, 1, queries),
    }.get(kind)
    if lead is None:
        return None
    keep = rng.random((*lead, keys)) < 0.6
    keep[..., 0] = True
    return np.where(keep, rng.standard_normal(keep.shape), -np.inf) if kind == "additive" else keep


def in_their_terms(
    torch: Any, name: str, mask: Array | None, causal: bool, shape: tuple[int, ...]
) -> dict[str, Any]:
    """The mask for PyTorch, where True means "must not attend" and heads lie in the batch."""
    found, past = {}, np.tri(*shape[2:], dtype=bool) if causal else np.ones(shape[2:], bool)
    if mask is not None and mask.shape == (shape[0], 1, shape[3]):
        found[f"{name}_key_padding_mask"] = torch.tensor(~mask[:, 0])
        mask = None
    if mask is not None or causal:
        mask = past if mask is None else mask & past if mask.dtype == bool else mask
        full = np.broadcast_to(mask[:, None] if mask.ndim == 3 else mask, shape)
        full = full.reshape(-1, *shape[2:])
        found[f"{name}_mask"] = torch.tensor(~full if mask.dtype == bool else full)
    return found


def their_options(torch: Any, options: dict[str, Any]) -> dict[str, Any]:
    """The constructor's options in PyTorch's names."""
    functional = torch.nn.functional
    activation = {
        "silu": functional.silu,
        "tanh": torch.tanh,
        "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    }
    rest = {name: options[name] for name in ("d_model", "norm_first", "bias")}
    return {
        **rest,
        "nhead": options["num_heads"],
        "dim_feedforward": options["d_ff"],
        "layer_norm_eps": options["eps"],
        "dropout": 0.0,
        "batch_first": True,
        "activation": activation.get(options["activation"], options["activation"]),
    }


def compare(
    torch: Any,
    layer: nn.Module,
    twin: Any,
    arrays: list[Array],
    ours: dict[str, Any],
    theirs: dict[str, Any],
) -> None:
    """Results, and gradients of all inputs and parameters along a random upstream gradient."""
    twin.load_state_dict(tensors(torch, randomised(layer)))
    here = [Tensor(x, requires_grad=True) for x in arrays]
    there = [torch.tensor(x, requires_grad=True) for x in arrays]
    out, expected = layer(*here, **ours), twin(*there, **theirs)
    close(out, expected)
    g = np.random.default_rng(8).standard_normal(out.shape)
    out.backward(g)
    expected.backward(torch.tensor(g))
    for mine, other in zip(here, there, strict=True):
        close(mine.grad, other.grad)
    parameters = dict(twin.named_parameters())
    assert list(parameters) == [name for name, _ in layer.named_parameters()]
    for name, parameter in layer.named_parameters():
        close(parameter.grad, parameters[name].grad)


@pytest.mark.parametrize("case", range(CASES))
def test_encoder_layer(torch: Any, case: int, rng: np.random.Generator) -> None:
    options, call = drawn(case)
    batch, time, kind = call["B"], call["T"], call["kind"]
    shape, causal = (batch, options["num_heads"], time, time), kind.startswith("causal")
    mask = mask_of(kind, case, shape)
    compare(
        torch,
        TransformerEncoderLayer(**options),
        torch.nn.TransformerEncoderLayer(**their_options(torch, options)),
        [rng.standard_normal((batch, time, options["d_model"]))],
        {"mask": mask, "causal": causal},
        in_their_terms(torch, "src", mask, causal, shape),
    )


@pytest.mark.parametrize("case", range(CASES))
def test_decoder_layer(torch: Any, case: int, rng: np.random.Generator) -> None:
    options, call = drawn(case)
    batch, time, keys, heads = call["B"], call["T"], call["S"], options["num_heads"]
    own, cross = (batch, heads, time, time), (batch, heads, time, keys)
    causal = call["kind"].startswith(("causal", "none"))
    mask = mask_of(call["kind"], case, own)
    memory_mask = mask_of(KINDS[(case // 2) % 6], case + 1, cross)
    compare(
        torch,
        TransformerDecoderLayer(**options),
        torch.nn.TransformerDecoderLayer(**their_options(torch, options)),
        [rng.standard_normal((batch, n, options["d_model"])) for n in (time, keys)],
        {"mask": mask, "memory_mask": memory_mask, "causal": causal},
        {
            **in_their_terms(torch, "tgt", mask, causal, own),
            **in_their_terms(torch, "memory", memory_mask, False, cross),
        },
    )


def test_the_cases_cover_every_option() -> None:
    cases = [drawn(case) for case in range(CASES)]
    for option, values in (
        ("norm_first", 2),
        ("bias", 2),
        ("activation", 5),
        ("eps", 2),
        ("num_heads", 3),
    ):
        assert len({options[option] for options, _ in cases}) == values
    for kind in KINDS:
        assert sum(call["kind"] == kind for _, call in cases) >= 4
    assert {call["S"] for _, call in cases} >= {1, 7}


# ── models ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
@pytest.mark.parametrize("norm_first", [False, True])
def test_transformer(
    torch: Any, norm_first: bool, positions: str, tied: bool, rng: np.random.Generator
) -> None:
    """Its stacks in PyTorch's TransformerEncoder and TransformerDecoder: loss, every gradient."""
    config = TransformerConfig(
        9,
        9,
        8,
        2,
        2,
        6,
        7,
        norm_first=norm_first,
        positions=positions,
        tied=tied,
        activation="gelu",
    )
    model, functional = Transformer(config), torch.nn.functional
    w = tensors(torch, randomised(model), requires_grad=True)
    source, target = rng.integers(3, 9, (3, 5)), rng.integers(3, 9, (3, 4))
    source[1, 3:] = target[2, 1:] = config.padding
    options = their_options(torch, {**vars(config), "eps": 1e-5})
    stacks = {}
    for name, kind in (("encoder", "Encoder"), ("decoder", "Decoder")):
        layer = getattr(torch.nn, f"Transformer{kind}Layer")(**options)
        more = {"enable_nested_tensor": False} if name == "encoder" else {}
        norm = torch.nn.LayerNorm(6) if norm_first else None
        stacks[name] = getattr(torch.nn, f"Transformer{kind}")(layer, 2, norm, **more)
        prefix = f"{name}."
        inside = {key.removeprefix(prefix): x for key, x in w.items() if key.startswith(prefix)}
        assert set(inside) == set(stacks[name].state_dict())
        stacks[name] = lambda *x, stack=stacks[name], inside=inside, **options: (
            torch.func.functional_call(stack, inside, x, options)
        )

    def embedded(tokens: Array, side: str) -> Any:
        table = w["source_embedding.weight" if tied else f"{side}_embedding.weight"]
        if positions == "learned":
            places = w[f"{side}_positions.weight"]
        else:
            places = torch.tensor(np.array(model.source_positions.table))
        return table[torch.tensor(tokens)] * 6**0.5 + places[: tokens.shape[1]]

    start = np.full((3, 1), config.start)
    expected = np.hstack([target, np.zeros((3, 1), int)])
    expected[[0, 1, 2], [4, 4, 1]] = config.end
    pad = torch.tensor(source == config.padding)
    memory = stacks["encoder"](embedded(source, "source"), src_key_padding_mask=pad)
    out = stacks["decoder"](
        embedded(np.hstack([start, target]), "target"),
        memory,
        tgt_mask=torch.tensor(~np.tri(5, dtype=bool)),
        memory_key_padding_mask=pad,
    )
    table = w["source_embedding.weight" if tied else "output.weight"]
    logits = out @ table.T + w["output.bias"]
    loss = functional.cross_entropy(
        logits.reshape(15, 9), torch.tensor(expected).reshape(15), ignore_index=config.padding
    )
    loss.backward()
    ours = model.loss(source, target)
    close(ours, loss)
    close(model(source, target), logits)
    ours.backward()
    for name, parameter in model.named_parameters():
        close(parameter.grad, w[name].grad)


@pytest.mark.parametrize("channels", [1, 3])
def test_vit(torch: Any, channels: int, rng: np.random.Generator) -> None:
    """Patches by a convolution, the layers by PyTorch's: logits, every gradient."""
    config = ViTConfig(6, 2, 5, 2, 2, 4, 7, channels=channels)
    model = ViT(config)
    w = tensors(torch, randomised(model), requires_grad=True)
    images, labels = rng.standard_normal((3, channels, 6, 6)), np.array([4, 0, 2])
    options = their_options(torch, {**vars(config), "eps": 1e-6, "norm_first": True, "bias": True})
    functional = torch.nn.functional
    kernel = w["patch_embed.weight"].reshape(4, channels, 2, 2)
    x = functional.conv2d(torch.tensor(images), kernel, w["patch_embed.bias"], stride=2)
    x = torch.cat([w["cls_token"].expand(3, 1, 4), x.flatten(2).transpose(1, 2)], 1)
    x = x + w["pos_embed.weight"]
    for block in ("blocks.0.", "blocks.1."):
        layer = torch.nn.TransformerEncoderLayer(**options)
        inside = {key.removeprefix(block): y for key, y in w.items() if key.startswith(block)}
        assert set(inside) == set(layer.state_dict())
        x = torch.func.functional_call(layer, inside, (x,))
    x = functional.layer_norm(x[:, 0], (4,), w["norm.weight"], w["norm.bias"], 1e-6)
    logits = functional.linear(x, w["head.weight"], w["head.bias"])
    loss = functional.cross_entropy(logits, torch.tensor(labels))
    loss.backward()
    close(model(images), logits)
    ours = model.loss(images, labels)
    ours.backward()
    for name, parameter in model.named_parameters():
        close(parameter.grad, w[name].grad)
