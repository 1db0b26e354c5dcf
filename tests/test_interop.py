"""Hugging Face folders: round trips, names and shapes, older files, and all that can be wrong."""

from __future__ import annotations

import json
import os
import pickle
import re
import stat
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_files import FILES
from safetensors.numpy import load_file, save_file

import tinygrad_attn as ta
from tinygrad_attn import interop, nn
from tinygrad_attn.interop import InteropError
from tinygrad_attn.models import BERT, GPT, BERTConfig, GPTConfig, ViT, ViTConfig

Array = np.ndarray[Any, Any]
State = dict[str, Array]
CONFIG = GPTConfig(vocab_size=11, max_length=7, num_layers=2, num_heads=3, d_model=6)


def randomised(model: Any, dtype: Any = np.float32) -> Any:
    """The model with random parameters, norms and biases too."""
    rng = np.random.default_rng(3)
    for parameter in model.astype(dtype).parameters():
        parameter.data = rng.standard_normal(parameter.shape)
    return model.eval()


def gpt(**changes: Any) -> GPT:
    model: GPT = randomised(GPT(GPTConfig(**{**vars(CONFIG), **changes})))
    return model


def same_bits(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(
        a[name].dtype == b[name].dtype and a[name].tobytes() == b[name].tobytes() for name in a
    )


def tensors(folder: Path) -> State:
    return dict(load_file(folder / "model.safetensors"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A GPT-2."""
    return interop.save(gpt(), tmp_path / "gpt2")


def rewritten(folder: Path, changes: State, without: tuple[str, ...] = ()) -> Path:
    """The folder with some arrays exchanged, added or taken away."""
    state = {k: v for k, v in (tensors(folder) | changes).items() if k not in without}
    save_file({k: np.ascontiguousarray(v) for k, v in state.items()}, folder / "model.safetensors")
    return folder


def configured(folder: Path, **changes: Any) -> Path:
    """The folder with other settings; None takes one away."""
    path = folder / "config.json"
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in values.items() if v is not None}))
    return folder


def problems(folder: Path) -> list[str]:
    with pytest.raises(InteropError) as caught:
        interop.load(folder)
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


# ── what travels ─────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bias", [True, False])
def test_a_round_trip_keeps_every_bit(bias: bool, dtype: Any, tmp_path: Path) -> None:
    model = randomised(GPT(GPTConfig(**{**vars(CONFIG), "bias": bias, "dropout": 0.25})), dtype)
    back: Any = interop.load(interop.save(model, tmp_path / "new" / "folder"))
    assert same_bits(model.state_dict(), back.state_dict())
    assert back.config == model.config
    assert not back.training
    assert same_bits(tensors(tmp_path / "new" / "folder"), tensors(interop.save(back, tmp_path)))
    tokens = np.array([[3, 1, 4, 1, 5]])
    np.testing.assert_array_equal(back(tokens).data, model(tokens).data)


def test_names_and_shapes_are_gpt2s(folder: Path) -> None:
    shapes = {name: array.shape for name, array in tensors(folder).items()}
    assert len(shapes) == 4 + 2 * 12
    assert shapes["transformer.wte.weight"] == (11, 6)
    assert shapes["transformer.wpe.weight"] == (7, 6)
    assert shapes["transformer.h.1.attn.c_attn.weight"] == (6, 18)  # Conv1D: (d_in, d_out)
    assert shapes["transformer.h.1.mlp.c_proj.weight"] == (24, 6)
    assert "lm_head.weight" not in shapes
    values = tensors(folder)["transformer.h.0.attn.c_proj.weight"]
    np.testing.assert_array_equal(values.T, gpt().blocks[0].attn.out_proj.weight.data)


def test_a_model_without_biases_is_written_with_zeros(tmp_path: Path) -> None:
    state = tensors(interop.save(gpt(bias=False), tmp_path))
    biases = [array for name, array in state.items() if name.endswith("bias")]
    assert len(biases) == 1 + 2 * 6
    assert not any(array.any() for array in biases)


def test_older_files_are_read(folder: Path) -> None:
    """Without the prefix, with the causal mask as a buffer, with the head beside the embedding."""
    before = tensors(folder)
    old = {name.removeprefix("transformer."): array for name, array in before.items()}
    old["h.0.attn.bias"] = np.tril(np.ones((1, 1, 7, 7), bool))
    old["h.1.attn.masked_bias"] = np.array(-1e4, np.float32)
    old["lm_head.weight"] = old["wte.weight"]
    model = interop.load(rewritten(folder, old, without=tuple(before)))
    assert same_bits(model.state_dict(), gpt().state_dict())


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_half_precision_becomes_float32_exactly(kind: str, folder: Path) -> None:
    values = np.array([1.5, -0.375, 2.0**-9, 192.0, 0.0, -3.0], np.float32)
    model: Any = gpt()
    model.ln_f.bias.data = values
    interop.save(model, folder)
    head, data = {}, b""
    for name, array in tensors(folder).items():
        bits = array.astype(np.float16) if kind == "F16" else array.view(np.uint32) >> 16
        new = bits.tobytes() if kind == "F16" else bits.astype(np.uint16).tobytes()
        place = [len(data), len(data) + len(new)]
        head[name] = {"dtype": kind, "shape": array.shape, "data_offsets": place}
        data += new
    text = json.dumps(head).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    read: Any = interop.load(folder)
    assert read.wte.weight.dtype == np.float32
    np.testing.assert_array_equal(read.ln_f.bias.data, values)


def test_weights_go_into_a_model_of_its_own_dtype(folder: Path) -> None:
    model = GPT(CONFIG).astype(np.float64)
    interop.load_weights(model, folder)
    assert model.wte.weight.dtype == np.float64
    np.testing.assert_array_equal(model.wte.weight.data, gpt().wte.weight.data)


def test_weights_for_other_heads_are_refused_though_the_shapes_fit(folder: Path) -> None:
    model = randomised(GPT(GPTConfig(**{**vars(CONFIG), "num_heads": 2, "dropout": 0.5})))
    before = model.state_dict()
    with pytest.raises(InteropError, match="do not fit this GPT") as caught:
        interop.load_weights(model, folder)
    assert caught.value.problems == ["n_head is 3 in the folder, 2 in the model"]
    assert same_bits(before, model.state_dict())
    with pytest.raises(InteropError) as caught:
        interop.load_weights(GPT(GPTConfig(**{**vars(CONFIG), "max_length": 5})), folder)
    assert caught.value.problems == [
        "n_positions is 7 in the folder, 5 in the model",
        "wpe.weight has shape (7, 6), expected (5, 6)",
    ]


def test_what_is_loaded_can_be_trained(folder: Path) -> None:
    model: Any = interop.load(folder)
    model.loss(np.array([[1, 2, 3]]), np.array([[2, 3, 4]])).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def vit(**changes: Any) -> ViT:
    sizes = {
        "image_size": 6, "patch_size": 3, "num_classes": 3, "num_layers": 2, "num_heads": 2,
        "d_model": 4, "d_ff": 5,
    }  # fmt: skip
    model: ViT = randomised(ViT(ViTConfig(**sizes | changes)))
    return model


@pytest.mark.parametrize("channels", [1, 3])
def test_a_vision_transformer_travels(channels: int, tmp_path: Path) -> None:
    model = vit(channels=channels, dropout=0.25, activation="gelu_tanh", eps=1e-5)
    back: Any = interop.load(interop.save(model, tmp_path))
    assert back.config == model.config
    assert same_bits(model.state_dict(), back.state_dict())
    shapes = {name: array.shape for name, array in tensors(tmp_path).items()}
    assert shapes["vit.embeddings.patch_embeddings.projection.weight"] == (4, channels, 3, 3)
    assert shapes["vit.embeddings.position_embeddings"] == (1, 5, 4)
    assert shapes["classifier.weight"] == (3, 4)


@pytest.mark.parametrize("kept", [True, False])
def test_two_classes_may_go_without_names(kept: bool, tmp_path: Path) -> None:
    model = vit(num_classes=2)
    path = interop.save(model, tmp_path) / "config.json"
    values = json.loads(path.read_text()) | {"id2label": None, "label2id": None}
    names = {k: v for k, v in values.items() if kept or v is not None}
    path.write_text(json.dumps(names))
    read: Any = interop.load(tmp_path)
    assert read.config == model.config
    path.write_text(json.dumps(values | {"id2label": {}}))
    assert "num_classes must be an integer of 1 or more, got 0" in problems(tmp_path)[0]


def test_sides_of_images_may_be_written_twice(tmp_path: Path) -> None:
    interop.save(vit(), tmp_path)
    read: Any = interop.load(configured(tmp_path, image_size=[6, 6], patch_size=[3, 3]))
    assert (read.config.image_size, read.config.patch_size) == (6, 3)
    configured(tmp_path, image_size=[6, 9], qkv_bias=False, hidden_act="quick_gelu")
    assert problems(tmp_path) == [
        "qkv_bias is False, expected True",
        "image_size is [6, 9], expected a square",
        "hidden_act is 'quick_gelu', expected one of gelu, gelu_new, gelu_pytorch_tanh, relu, "
        "silu, swish, tanh",
    ]


# ── what is wrong with weights ───────────────────────────────────────────────────────────────────
def test_all_that_is_wrong_is_listed_and_the_model_untouched(folder: Path) -> None:
    prefix = "transformer."
    conv1d = tensors(folder)[prefix + "h.0.mlp.c_fc.weight"]
    rewritten(
        folder,
        {
            prefix + "h.0.mlp.c_fc.weight": conv1d.T,
            prefix + "h.1.ln_1.bias": np.zeros(5, np.float32),
            prefix + "h.1.attn.q_norm.weight": np.ones(2, np.float32),
            prefix + "h.0.ln_2.bias": np.zeros(6, np.int32),
            "lm_head.weight": np.ones((11, 6), np.float32),
            "wpe.weight": np.ones((7, 6), np.float32),
        },
        without=(prefix + "ln_f.weight",),
    )
    expected = [
        "wpe.weight comes more than once: as transformer.wpe.weight and wpe.weight",
        "h.1.ln_1.bias has shape (5,), expected (6,)",
        "h.0.ln_2.bias has dtype int32, expected a floating one",
        "h.0.mlp.c_fc.weight is transposed: it has (24, 6), expected Conv1D's (d_in, d_out) = "
        "(6, 24)",
        "ln_f.weight is missing, expected (6,)",
        "lm_head.weight differs from wte.weight, but this model has one parameter for both",
        "h.1.attn.q_norm.weight has no place in this model",
    ]
    assert problems(folder) == expected
    model = randomised(GPT(CONFIG))
    before = model.state_dict()
    with pytest.raises(InteropError, match="do not fit this GPT"):
        interop.load_weights(model, folder)
    assert same_bits(before, model.state_dict())


def test_a_bias_that_the_model_does_not_have_must_be_zero(tmp_path: Path) -> None:
    interop.save(gpt(bias=False), tmp_path)
    name = "transformer.h.1.mlp.c_fc.bias"
    rewritten(tmp_path, {}, without=(name,))  # a missing one is as good as zero
    interop.load(tmp_path)
    rewritten(tmp_path, {name: np.eye(1, 24, dtype=np.float32)[0]})
    assert problems(tmp_path) == [
        "h.1.mlp.c_fc.bias is not zero, but the model has no bias there"
    ]  # fmt: skip


# ── what is wrong with files and settings ────────────────────────────────────────────────────────
def test_settings_our_model_has_not_are_listed(folder: Path) -> None:
    configured(
        folder, activation_function="relu", layer_norm_epsilon=1e-6, n_inner=23, embd_pdrop=0.5,
        add_cross_attention=True, tie_word_embeddings=False, n_layer=None,
    )  # fmt: skip
    assert problems(folder) == [
        "activation_function is 'relu', expected 'gelu_new' or 'gelu_pytorch_tanh'",
        "layer_norm_epsilon is 1e-06, expected 1e-05",
        "n_inner is 23, expected None or 24",
        "add_cross_attention is True, expected False",
        "tie_word_embeddings is False, expected True",
        "n_layer is missing",
        "resid_pdrop=0.0, embd_pdrop=0.5, attn_pdrop=0.0 differ, but this model has one value "
        "for them",
    ]


def test_sizes_that_do_not_fit_are_an_error_of_this_part(folder: Path) -> None:
    assert "num_heads must divide d_model" in problems(configured(folder, n_head=4))[0]
    assert "must be an integer" in problems(configured(folder, n_head="3"))[0]
    configured(interop.save(vit(), folder), id2label=5)
    assert "has no len" in problems(folder)[0]


def test_another_kind_of_model(folder: Path) -> None:
    (problem,) = problems(configured(folder, model_type="t5"))
    assert problem.startswith("model_type is 't5', expected one of bert, gpt2, llama, vit")
    with pytest.raises(InteropError, match="it is a Linear, expected BERT or GPT or Llama or ViT"):
        interop.save(nn.Linear(2, 3), folder)
    with pytest.raises(InteropError, match="it is a Linear, expected GPT"):
        interop.load_weights(nn.Linear(2, 3), configured(folder, model_type="gpt2"))


def test_what_a_bert_there_cannot_do_is_refused_before_a_file_is_written(tmp_path: Path) -> None:
    sizes = {"vocab_size": 5, "max_length": 4, "num_layers": 1, "num_heads": 1}
    plain, seeing = (
        BERT(BERTConfig(**sizes, d_model=2, d_ff=3, window=window)) for window in (None, 1)
    )
    message = "window is 1, expected None: there every position sees all others"
    with pytest.raises(InteropError, match=message):
        interop.save(seeing, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(InteropError, match=message):
        interop.load_weights(seeing, interop.save(plain, tmp_path / "plain"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.json", None, "config.json cannot be read"),
        ("model.safetensors", None, "model.safetensors cannot be read"),
        ("config.json", b"{", "config.json is damaged (it is not JSON"),
        ("config.json", b"\xff", "config.json is damaged (it is not UTF-8"),
        ("config.json", b"[1]", "config.json is damaged (it is [1], not an object"),
        ("config.json", b'{"a": NaN}', "config.json is damaged ('NaN' is not JSON"),
        ("config.json", b'{"a": 1, "a": 2}', "config.json is damaged (the key 'a' comes twice"),
        ("config.json", b"[" * 99_999, "config.json is damaged (it is not JSON"),
        ("config.json", b"9" * 99_999, "config.json is damaged (it is not JSON"),
        ("config.json", b"[" * 999_999, "config.json is damaged (it holds more than 262,144"),
        ("config.json", b" " * 3_000_000, "config.json is damaged (it has more than 2,097,152"),
        ("model.safetensors", b"12345678 and more", "model.safetensors is damaged"),
    ],
)
def test_a_wrong_file(name: str, content: bytes | None, words: str, folder: Path) -> None:
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    (problem,) = problems(folder)
    assert problem.startswith(words)


@pytest.mark.parametrize("name", FILES)
def test_hostile_weights_are_refused_as_in_a_checkpoint(name: str, folder: Path) -> None:
    content, sentence = FILES[name]
    (folder / "model.safetensors").write_bytes(content)
    (problem,) = problems(folder)
    assert re.match(rf"model.safetensors is damaged \(.*({sentence})", problem)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_pipe_is_not_waited_for(name: str, folder: Path) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert problems(folder) == [f"{name} is damaged (this is a pipe or a device, not a file)"]


def test_a_name_of_the_hub_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InteropError, match=r"config.json cannot be read .*; nothing is downloaded"):
        interop.load("gpt2")


@pytest.mark.parametrize("travelled", [copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_reaches_another_process_whole(travelled: Any) -> None:
    error = InteropError("the weights", ["a is missing", "b is missing"])
    again = travelled(error)
    assert type(again) is InteropError
    assert str(again) == str(error) == "the weights:\n  a is missing\n  b is missing"
    assert (again.where, again.problems) == ("the weights", error.problems)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InteropError, match="cannot be written"):
        interop.save(gpt(), tmp_path / "file")


def test_a_failed_save_leaves_the_old_weights(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "model.safetensors").read_bytes()

    def fails(draft: Path, place: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fails)
    with pytest.raises(InteropError, match="No space left"):
        interop.save(gpt(bias=False), folder)
    assert (folder / "model.safetensors").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert stat.S_ISREG((folder / "config.json").stat().st_mode)


# ── state dicts without PyTorch ──────────────────────────────────────────────────────────────────
class Tied(nn.Module):
    """Two names for one parameter."""

    def __init__(self) -> None:
        self.first = nn.Linear(3, 5)
        self.second = nn.Linear(3, 5, bias=False)
        del self.second.weight
        self.second.weight = self.first.weight


def tied_state() -> State:
    rng = np.random.default_rng(5)
    weight = rng.standard_normal((5, 3))
    return {"first.weight": weight, "first.bias": weight[:, 0], "second.weight": weight}


def test_a_state_of_arrays_is_taken_too() -> None:
    module = interop.from_torch(Tied().astype(np.float64), tied_state())
    np.testing.assert_array_equal(module.second.weight.data, tied_state()["first.weight"])
    alone = {k: v for k, v in tied_state().items() if k != "second.weight"}
    assert same_bits(interop.from_torch(module, alone).state_dict(), alone)


def test_all_that_is_wrong_with_a_state_is_listed() -> None:
    module = Tied()
    before = module.state_dict()
    state = tied_state()
    state = {
        "first.weight": state["first.weight"], "second.weight": state["first.weight"] + 1,
        "third.weight": state["first.bias"],
    }  # fmt: skip
    with pytest.raises(InteropError, match="does not fit this Tied") as caught:
        interop.from_torch(module, state)
    assert caught.value.problems == [
        "first.bias is missing, expected (5,)",
        "second.weight differs from first.weight, but they are one parameter",
        "third.weight has no place in this module",
    ]
    with pytest.raises(InteropError) as caught:
        interop.from_torch(
            nn.Linear(3, 5), {"weight": np.ones((3, 5)), "bias": np.zeros(5, np.int64)}
        )
    assert caught.value.problems == [
        "weight is transposed: it has (3, 5), expected (5, 3)",
        "bias has dtype int64, expected float32",
    ]
    assert same_bits(before, module.state_dict())


def test_the_part_is_public() -> None:
    assert ta.interop is interop
