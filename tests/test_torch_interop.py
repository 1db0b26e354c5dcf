"""Weights beside PyTorch and transformers: same results and gradients, every bit there and back.

Models of random small sizes are made there, written as folders, read here, and written for there
again; nothing is downloaded.
"""

from __future__ import annotations

import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_attn import Tensor, interop, models, nn

pytestmark = pytest.mark.torch
CASES = 20
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def torch() -> Any:
    import torch

    torch.set_num_threads(1)
    return torch


@pytest.fixture(scope="module")
def transformers(torch: Any) -> Any:
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def sizes(rng: np.random.Generator, even: bool = False) -> dict[str, int]:
    """Sizes of a model; heads of an even width if wanted.

    The width is 2 or more: a norm over one feature divides the rounding there by √eps.
    """
    heads = int(rng.integers(1, 4))
    return {
        "vocab": int(rng.integers(5, 14)),
        "length": int(rng.integers(3, 9)),
        "layers": int(rng.integers(1, 4)),
        "heads": heads,
        "width": max(2, heads * int(rng.integers(1, 4)) * (2 if even else 1)),
        "inner": int(rng.integers(3, 12)),
    }


def randomised(torch: Any, model: Any, case: int, scale: float = 1.0) -> Any:
    """A model in float64 and evaluation, every parameter random."""
    generator = torch.Generator().manual_seed(case)
    model = model.to(torch.float64).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(scale * values)
    return model


def both_ways(theirs: Any, path: Path) -> tuple[Any, Any]:
    """Their model as ours, and that as theirs again, with the bits that it had."""
    theirs.save_pretrained(path / "theirs")
    ours: Any = interop.load(path / "theirs")
    back, report = type(theirs).from_pretrained(
        interop.save(ours, path / "ours"), output_loading_info=True, dtype="auto"
    )
    assert not any(report.values()), report
    same_bits(theirs, back)
    return ours, back.eval()


def same_bits(a: Any, b: Any) -> None:
    """Two models of theirs with the same names, dtypes and bits."""
    before, after = a.state_dict(), b.state_dict()
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert tensor.dtype == after[name].dtype
        assert tensor.numpy().tobytes() == after[name].numpy().tobytes(), name


def close(ours: Any, theirs: Any, tolerance: float, name: str = "the result") -> None:
    """One shape, and nowhere further apart than the tolerance, relative to the largest."""
    ours, theirs = ours.numpy(), theirs.detach().numpy()
    assert ours.dtype == theirs.dtype == np.float64
    assert ours.shape == theirs.shape
    error = abs(ours - theirs).max() / max(1, abs(theirs).max())
    assert error <= tolerance, f"{name}: {error:.1e}"


def close_with_gradients(
    ours: Any, theirs: Any, results: list[tuple[Any, Any]], tolerance: float, path: Path
) -> None:
    """Pairs of one result, and every gradient of theirs under random upstream gradients.

    Their gradients are written and read as weights are, and so get our names and shapes.
    """
    rng, sums = np.random.default_rng(0), [0.0, 0.0]
    for pair in results:
        close(*pair, tolerance)
        g = rng.standard_normal(pair[1].shape)
        weights = (g, pair[1].new_tensor(g))
        sums = [total + (x * w).sum() for total, x, w in zip(sums, pair, weights, strict=True)]
    for model, total in zip((ours, theirs), sums, strict=True):
        model.zero_grad()
        total.backward()
    gradients = deepcopy(theirs)
    for slope, parameter in zip(gradients.parameters(), theirs.parameters(), strict=True):
        slope.data = parameter.grad
    gradients.save_pretrained(path / "gradients")
    expected: Any = interop.load(path / "gradients")
    pairs = zip(expected.named_parameters(), ours.parameters(), strict=True)
    for (name, gradient), parameter in pairs:
        close(parameter.grad, gradient, tolerance, name)


def logits(torch: Any, ours: Any, theirs: Any, tokens: Array) -> list[tuple[Any, Any]]:
    """What both language models say to the tokens."""
    return [(ours(tokens), theirs(torch.tensor(tokens)).logits)]


def losses(torch: Any, ours: Any, theirs: Any, tokens: Array) -> list[tuple[Any, Any]]:
    """Both losses, each token predicted from those before; theirs without its step to float32."""
    tokens = np.concatenate([tokens, tokens[:, :1]], 1)
    scores = theirs(torch.tensor(tokens[:, :-1])).logits.mT
    loss = torch.nn.functional.cross_entropy(scores, torch.tensor(tokens[:, 1:]))
    return [(ours.loss(tokens[:, :-1], tokens[:, 1:]), loss)]


# ── transformers ─────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("case", range(CASES))
def test_gpt2(case: int, torch: Any, transformers: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(case)
    size = sizes(rng)
    config = transformers.GPT2Config(
        vocab_size=size["vocab"], n_positions=size["length"], n_embd=size["width"],
        n_layer=size["layers"], n_head=size["heads"], bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    theirs = randomised(torch, transformers.GPT2LMHeadModel(config), case)
    ours, back = both_ways(theirs, tmp_path)
    tokens = rng.integers(0, size["vocab"], (2, int(rng.integers(1, size["length"] + 1))))
    for model in (theirs, back):
        close_with_gradients(ours, model, logits(torch, ours, model, tokens), 1e-10, tmp_path)
    close_with_gradients(ours, theirs, losses(torch, ours, theirs, tokens), 1e-10, tmp_path)


@pytest.mark.parametrize("case", range(CASES))
def test_bert(case: int, torch: Any, transformers: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(case)
    size = sizes(rng)
    config = transformers.BertConfig(
        vocab_size=size["vocab"], max_position_embeddings=size["length"],
        hidden_size=size["width"], num_hidden_layers=size["layers"],
        num_attention_heads=size["heads"], intermediate_size=size["inner"], type_vocab_size=3,
        hidden_act=str(rng.choice(["gelu", "gelu_new", "relu", "silu"])), pad_token_id=None,
    )  # fmt: skip
    pooler = case % 4 > 0
    theirs = transformers.BertModel(config, add_pooling_layer=pooler)
    theirs = randomised(torch, theirs, case)
    theirs.save_pretrained(tmp_path / "theirs")
    ours: Any = interop.load(tmp_path / "theirs")
    assert ours.config.pooler == pooler
    back, report = transformers.BertModel.from_pretrained(
        interop.save(ours, tmp_path / "ours"), output_loading_info=True, dtype="auto",
        add_pooling_layer=pooler,
    )  # fmt: skip
    assert not any(report.values()), report
    same_bits(theirs, back)
    shape = (3, int(rng.integers(1, size["length"] + 1)))
    tokens, types = rng.integers(0, size["vocab"], shape), rng.integers(0, 3, shape)
    lengths = rng.integers(1, shape[1] + 1, 3)
    kept = np.arange(shape[1]) < lengths[:, None]
    expected = theirs(
        torch.tensor(tokens), attention_mask=torch.tensor(kept).long(),
        token_type_ids=torch.tensor(types),
    )  # fmt: skip
    features = ours(tokens, token_types=types, mask=nn.Mask.lengths(lengths))
    results = [(features[kept], expected.last_hidden_state[torch.tensor(kept)])]
    results += [(ours.pooled(features), expected.pooler_output)] if pooler else []
    close_with_gradients(ours, theirs, results, 1e-10, tmp_path)


def test_bert_with_a_head_of_pre_training(torch: Any, transformers: Any, tmp_path: Path) -> None:
    """The prefix goes, and the head."""
    config = transformers.BertConfig(
        vocab_size=11, max_position_embeddings=7, hidden_size=6, num_hidden_layers=2,
        num_attention_heads=3, intermediate_size=5,
    )  # fmt: skip
    theirs = randomised(torch, transformers.BertForPreTraining(config), 0)
    theirs.save_pretrained(tmp_path)
    ours: Any = interop.load(tmp_path)
    tokens = np.array([[3, 1, 4, 1]])
    close(ours(tokens), theirs.bert(torch.tensor(tokens)).last_hidden_state, 1e-10)


@pytest.mark.parametrize("case", range(CASES))
def test_vit(case: int, torch: Any, transformers: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(case)
    size, patch, channels = sizes(rng), int(rng.integers(1, 4)), int(rng.integers(1, 4))
    side = patch * int(rng.integers(1, 4))
    config = transformers.ViTConfig(
        image_size=side, patch_size=patch, num_channels=channels, hidden_size=size["width"],
        num_hidden_layers=size["layers"], num_attention_heads=size["heads"],
        intermediate_size=size["inner"], num_labels=size["vocab"],
        hidden_act=str(rng.choice(["gelu", "gelu_new", "relu", "silu"])),
        layer_norm_eps=float(rng.choice([1e-12, 1e-6, 1e-2])),
    )  # fmt: skip
    theirs = randomised(torch, transformers.ViTForImageClassification(config), case)
    ours, back = both_ways(theirs, tmp_path)
    images = rng.standard_normal((2, channels, side, side))
    for model in (theirs, back):
        results = [(ours(images), model(torch.tensor(images)).logits)]
        close_with_gradients(ours, model, results, 1e-10, tmp_path)
    labels = rng.integers(0, size["vocab"], 2)
    scores = theirs(torch.tensor(images)).logits
    loss = torch.nn.functional.cross_entropy(scores, torch.tensor(labels))
    close_with_gradients(ours, theirs, [(ours.loss(images, labels), loss)], 1e-10, tmp_path)


def llamas(case: int, torch: Any, transformers: Any, scale: float) -> tuple[Any, Array]:
    """A random one of theirs, and tokens for it."""
    rng = np.random.default_rng(case)
    size, group = sizes(rng, even=True), int(rng.integers(1, 4))
    base = float(rng.choice([1e4, 5e5]))
    config = transformers.LlamaConfig(
        vocab_size=size["vocab"], max_position_embeddings=size["length"],
        hidden_size=size["width"] * group, num_hidden_layers=size["layers"],
        num_attention_heads=size["heads"] * group, num_key_value_heads=size["heads"],
        intermediate_size=size["inner"], bos_token_id=None, eos_token_id=None,
        rms_norm_eps=float(rng.choice([1e-6, 1e-5])), tie_word_embeddings=case % 3 == 0,
        rope_parameters={"rope_type": "default", "rope_theta": base},
    )  # fmt: skip
    theirs = randomised(torch, transformers.LlamaForCausalLM(config), case, scale)
    return theirs, rng.integers(0, size["vocab"], (2, int(rng.integers(1, size["length"] + 1))))


@pytest.mark.parametrize("case", range(CASES))
def test_llama(case: int, torch: Any, transformers: Any, tmp_path: Path) -> None:
    """To 1e-6: norms and angles are in float32 there, and large weights would amplify that."""
    theirs, tokens = llamas(case, torch, transformers, scale=0.2)
    ours, back = both_ways(theirs, tmp_path)
    for model in (theirs, back):
        close_with_gradients(ours, model, logits(torch, ours, model, tokens), 1e-6, tmp_path)
    close_with_gradients(ours, theirs, losses(torch, ours, theirs, tokens), 1e-6, tmp_path)


@pytest.mark.parametrize("case", range(CASES))
def test_llama_where_theirs_is_in_float64_throughout(
    case: int, torch: Any, transformers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To 1e-10, with large weights: so what differs above is their float32 alone."""
    there = transformers.models.llama.modeling_llama

    def norm(self: Any, x: Any) -> Any:
        return self.weight * x * torch.rsqrt((x * x).mean(-1, True) + self.variance_epsilon)

    def angles(self: Any, x: Any, position_ids: Any) -> Any:
        d = self.config.head_dim
        rates = self.config.rope_parameters["rope_theta"] ** (-torch.arange(0, d, 2).double() / d)
        both = (position_ids[..., None] * rates).repeat(1, 1, 2)
        return both.cos(), both.sin()

    monkeypatch.setattr(there.LlamaRMSNorm, "forward", norm)
    monkeypatch.setattr(there.LlamaRotaryEmbedding, "forward", angles)
    theirs, tokens = llamas(case, torch, transformers, scale=1.0)
    ours, _ = both_ways(theirs, tmp_path)
    close_with_gradients(ours, theirs, logits(torch, ours, theirs, tokens), 1e-10, tmp_path)


@pytest.mark.parametrize("kind", ["GPT", "Llama"])
def test_a_model_trained_here_opens_in_transformers(
    kind: str, torch: Any, transformers: Any, tmp_path: Path
) -> None:
    """Without biases, in float32, and it writes the same."""
    rng = np.random.default_rng(0)
    ours: Any = (
        models.GPT(models.GPTConfig(11, 9, 2, 2, 6, bias=False), rng=rng)
        if kind == "GPT"
        else models.Llama(models.LlamaConfig(11, 9, 2, 4, 8, 7, num_kv_heads=2), rng=rng)
    )
    for parameter in ours.eval().parameters():
        parameter.data = np.random.default_rng(parameter.size).standard_normal(parameter.shape)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(interop.save(ours, tmp_path))
    tokens = np.array([[3, 1, 4], [1, 5, 9]])
    expected = theirs.generate(
        torch.tensor(tokens), max_new_tokens=5, do_sample=False, pad_token_id=0,
        attention_mask=torch.ones(2, 3),
    )  # fmt: skip
    np.testing.assert_array_equal(ours.generate(tokens, 5, temperature=0), expected.numpy())


# ── state dicts ──────────────────────────────────────────────────────────────────────────────────
def twins(torch: Any) -> list[tuple[nn.Module, Any]]:
    """A layer of ours and PyTorch's."""
    there = torch.nn
    return [
        (nn.Linear(3, 5), there.Linear(3, 5)),
        (nn.Linear(3, 5, bias=False), there.Linear(3, 5, bias=False)),
        (nn.Embedding(7, 3), there.Embedding(7, 3)),
        (nn.LayerNorm(5), there.LayerNorm(5)),
        (nn.RMSNorm(5), there.RMSNorm(5)),
        (nn.MultiHeadAttention(6, 3), there.MultiheadAttention(6, 3)),
        (nn.MultiHeadAttention(6, 3, kdim=5, vdim=7),
         there.MultiheadAttention(6, 3, kdim=5, vdim=7)),
        (nn.TransformerEncoderLayer(6, 3, 5), there.TransformerEncoderLayer(6, 3, 5)),
        (nn.TransformerDecoderLayer(6, 3, 5), there.TransformerDecoderLayer(6, 3, 5)),
        (nn.RNN(3, 5, 2), there.RNN(3, 5, 2)),
        (nn.GRU(3, 5, bidirectional=True), there.GRU(3, 5, bidirectional=True)),
        (nn.LSTM(3, 5, 2, bidirectional=True), there.LSTM(3, 5, 2, bidirectional=True)),
        (nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)),
         there.Sequential(there.Linear(3, 5), there.ReLU(), there.Linear(5, 2))),
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_state_dicts_of_every_twin(dtype: Any, torch: Any) -> None:
    for ours, theirs in twins(torch):
        theirs.to(torch.float64 if dtype == np.float64 else torch.float32)
        state = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
        interop.from_torch(ours.astype(dtype), state)
        for parameter in theirs.parameters():
            torch.nn.init.zeros_(parameter)
        theirs.load_state_dict(interop.to_torch(ours))
        for name, tensor in theirs.state_dict().items():
            assert tensor.numpy().tobytes() == state[name].numpy().tobytes(), (ours, name)


def test_a_state_is_a_copy(torch: Any) -> None:
    ours = nn.Linear(3, 5)
    before = ours.weight.numpy()
    state = interop.to_torch(ours)
    state["weight"].zero_()
    np.testing.assert_array_equal(ours.weight.data, before)
    interop.from_torch(ours, state)
    state["weight"].fill_(1)
    assert not ours.weight.data.any()


def test_bfloat16_and_tensors_that_need_a_gradient(torch: Any) -> None:
    theirs = torch.nn.Linear(3, 5).to(torch.bfloat16)
    ours = interop.from_torch(nn.Linear(3, 5), dict(theirs.named_parameters()))
    np.testing.assert_array_equal(ours.weight.data, theirs.weight.detach().float().numpy())
    x = np.ones((2, 3), np.float32)
    assert ours(Tensor(x)).shape == (2, 5)
