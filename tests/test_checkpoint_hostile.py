"""Hostile checkpoints: CheckpointError within a second and 64 MiB, whatever the file says."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forged import changed
from hostile_files import COSTLY, FILES, random_bytes

from benchmarks.fuzz.checkpoints import Arrays, Head, forged, taken_apart
from tinygrad_attn import checkpoint, optim
from tinygrad_attn.checkpoint import CheckpointError
from tinygrad_attn.models import GPT, GPTConfig, Transformer, TransformerConfig

CONFIG = GPTConfig(vocab_size=7, max_length=5, num_layers=1, num_heads=2, d_model=6, dropout=0.25)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    model = GPT(CONFIG, rng=rng)
    optimizer = optim.AdamW(model.parameters())
    model.loss([[1, 2, 3]], [[2, 3, 4]]).backward()
    optimizer.step()
    return checkpoint.save(
        tmp_path / "m", model=model, optimizer=optimizer, rng=rng, order=np.arange(5), t=(1, 2)
    )


def refused(path: Path, sentence: str = "") -> None:
    with pytest.raises(CheckpointError, match=sentence):
        checkpoint.load(path)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_none(name: str, tmp_path: Path) -> None:
    content, sentence = FILES[name]
    path = tmp_path / "file"
    path.write_bytes(content)
    refused(path, sentence)


def test_random_bytes(tmp_path: Path) -> None:
    for seed in range(50):
        (tmp_path / "file").write_bytes(random_bytes(seed))
        refused(tmp_path / "file", "expected a checkpoint")


# ── what is no file ──────────────────────────────────────────────────────────────────────────────
def test_pipes_sockets_devices_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "a pipe or a device")
    for device in ("/dev/null", "/dev/zero", "/dev/full"):
        refused(Path(device), "a pipe or a device")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # as a socket's path must be short
        server.bind("socket")
        refused(tmp_path / "socket", "cannot be read")
    refused(tmp_path, "Is a directory")
    os.symlink(tmp_path / "loop", tmp_path / "loop")
    refused(tmp_path / "loop", "cannot be read .Too many levels of symbolic links")
    refused(tmp_path / "no", "No such file")
    refused(tmp_path / "a\0b", "null")
    refused(tmp_path / ("x" * 300), "File name too long")


# ── metadata with a right digest ─────────────────────────────────────────────────────────────────
def bomb(head: Head, **sizes: Any) -> None:
    head["model"]["config"].update(sizes)


HEADS: dict[str, tuple[Callable[[Head, Arrays], Any], str]] = {
    "wide": (lambda h, a: bomb(h, d_model=1 << 20), "more numbers than the file holds"),
    "wider": (lambda h, a: bomb(h, d_model=1 << 200), "do not fit together"),
    "long": (lambda h, a: bomb(h, max_length=1 << 40), "more numbers than the file holds"),
    "deep": (lambda h, a: bomb(h, num_layers=1 << 40), "more numbers than the file holds"),
    "many words": (lambda h, a: bomb(h, vocab_size=1 << 34), "more numbers than the file"),
    "no size": (lambda h, a: bomb(h, d_model=0), "d_model"),
    "half a size": (lambda h, a: bomb(h, d_model=1.5), "d_model"),
    "a text": (lambda h, a: bomb(h, d_model="6"), "d_model"),
    "a list": (lambda h, a: bomb(h, dropout=[1]), "must be a number"),
    "no config": (lambda h, a: h["model"].pop("config"), "config"),
    "a config that is a list": (lambda h, a: h["model"].update(config=[]), "mapping"),
    "a name that is a list": (lambda h, a: h["model"].update(name=[]), "unknown model"),
    "a class that is no model": (lambda h, a: h["model"].update(name="GPTConfig"), "unknown"),
    "another dtype": (lambda h, a: h["model"].update(dtype="object"), "dtype 'object'"),
    "an unknown frozen": (lambda h, a: h["model"].update(frozen=["wte"]), "'wte'"),
    "no model": (lambda h, a: h.update(model=None), "do not fit together"),
    "no generators": (lambda h, a: h.pop("generators"), "generators"),
    "a generator too far": (lambda h, a: h.update(rng=9), "out of range"),
    "a generator before": (lambda h, a: h.update(rng=-1), "a generator is -1"),
    "a generator's state": (
        lambda h, a: h["generators"][0]["state"].update(state=1 << 200), "fit together"
    ),
    "a negative state": (lambda h, a: h["generators"][0]["state"].update(inc=-1), "fit together"),
    "a generator's kind": (
        lambda h, a: h["generators"][0].update(bit_generator="Generator"), "unknown generator",
    ),
    "a generator with more": (lambda h, a: h["generators"][0].update(x=1), "state of the gen"),
    "a schedule of text": (lambda h, a: h.update(schedule="cosine"), "schedule.s state is no"),
    "an environment of text": (lambda h, a: h.update(environment="x"), "environment is no object"),
    "half a step": (lambda h, a: h.update(step=0.5), "step is 0.5"),
    "a step back": (lambda h, a: h.update(step=-1), "step is -1"),
    "a step that is true": (lambda h, a: h.update(step=True), "step is True"),
    "no optimiser": (lambda h, a: h["optimizer"].pop("groups"), '"groups"'),
    "an optimiser of text": (lambda h, a: h.update(optimizer="adam"), '"groups"'),
    "groups of text": (lambda h, a: h["optimizer"].update(groups=["a"]), "lists of objects"),
    "a group too few": (lambda h, a: h["optimizer"].update(groups=[]), "do not number"),
    "a parameter twice": (
        lambda h, a: h["optimizer"]["groups"][0]["params"].append(0), "do not number",
    ),
    "no numbers": (
        lambda h, a: h["optimizer"]["states"][2].update(step="x", exp_avg=[1]),
        r"no numbers in 2\.step, 2\.exp_avg",
    ),
    "an array that is gone": (
        lambda h, a: h["state"].update(order={"$array": "state:gone"}), "state:gone",
    ),
    "an array twice": (
        lambda h, a: h["state"].update(again={"$array": "state:order"}), "state:order",
    ),
    "a weight as a value": (
        lambda h, a: h["state"].update(order={"$array": "wte.weight"}), "wte.weight",
    ),
    "an array no one asks for": (lambda h, a: a.update({"state:x": a["ln_f.bias"]}), "state:x"),
    "two marks": (lambda h, a: h["state"].update(t={"$tuple": [], "$array": ""}), "fit together"),
    "a tuple of text": (lambda h, a: h["state"].update(t={"$tuple": 3}), "not iterable"),
    "a generator in the state": (
        lambda h, a: h["state"].update(t={"$generator": "0"}), "a generator is '0'",
    ),
    "state that is a list": (lambda h, a: h.update(state=[]), "state"),
    "complex weights": (
        lambda h, a: a.update({"ln_f.bias": np.ones(6, "c8")}), "ln_f.bias has dtype complex64",
    ),
    "integers as moments": (
        lambda h, a: a.update({"optimizer:0.exp_avg": np.ones((7, 6), np.int64)}), "0.exp_avg",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_metadata_that_lies(name: str, saved: Path) -> None:
    change, sentence = HEADS[name]
    changed(saved, change)
    refused(saved, sentence)


def test_metadata_that_is_no_head(saved: Path) -> None:
    _, arrays = taken_apart(saved.read_bytes())
    texts = {
        "": "not JSON", "{": "not JSON", "[]": "not an object", '"a"': "not an object",
        "NaN": "not JSON", '{"a": 1, "a": 1}': "comes twice", "{}": "expected format 2, got 1",
        '{"format": [2]}': r"got \[2\]", '{"a": -Infinity}': "not JSON", "9" * 5000: "digits",
        "[" * 5000: "not JSON", "[" + "1," * 300_000 + "1]": "more than 262,144 values",
    }  # fmt: skip
    for text, sentence in texts.items():
        saved.write_bytes(forged(text, arrays))
        refused(saved, sentence)


def test_everything_that_is_wrong_is_said_at_once(saved: Path) -> None:
    def change(head: Head, arrays: Arrays) -> None:
        del arrays["ln_f.weight"]
        arrays["ln_f.scale"] = np.ones(6, np.float32)
        arrays["wpe.weight"] = np.ones((5, 7), np.float32)

    changed(saved, change)
    refused(
        saved,
        r"ln_f\.weight is missing; ln_f\.scale is not in this model; "
        r"wpe\.weight has shape \(5, 7\), expected \(5, 6\)",
    )


def test_weights_of_another_model_change_nothing(saved: Path, rng: np.random.Generator) -> None:
    other = GPT(GPTConfig(7, 3, 2, 1, 5), rng=rng)
    before = other.state_dict()
    with pytest.raises(ValueError, match=r"blocks\.1.* missing; .*wpe\.weight has shape"):
        other.load_state_dict(checkpoint.load(saved).model.state_dict())
    assert all((before[name] == array).all() for name, array in other.state_dict().items())


def test_a_table_that_is_computed_is_bounded_too(tmp_path: Path) -> None:
    config = TransformerConfig(
        source_vocab=5, target_vocab=5, max_length=3, num_layers=1, num_heads=1, d_model=2, d_ff=3
    )
    path = checkpoint.save(tmp_path / "m", model=Transformer(config))
    assert checkpoint.load(path).model.config == config
    changed(path, lambda head, arrays: bomb(head, max_length=1 << 30))
    refused(path, "more numbers than the file holds")


# ── time and memory ──────────────────────────────────────────────────────────────────────────────
MEASURE = """
import resource, sys, time
from tinygrad_attn import checkpoint
import safetensors
from tinygrad_attn import models
path, peak = sys.argv[1], lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before, began = peak(), time.process_time()
try:
    checkpoint.load(path)
except checkpoint.CheckpointError as error:
    print(time.process_time() - began, (peak() - before) / 1024, error)
"""


def cost(path: Path) -> tuple[float, float, str]:
    """Seconds of the processor, MiB beyond what the process had before, and the sentence."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, path],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    assert done.returncode == 0, done.stderr
    seconds, memory, sentence = done.stdout.split(" ", 2)
    return float(seconds), float(memory), sentence


@pytest.mark.parametrize("name", COSTLY)
def test_what_wants_time_and_memory_gets_little(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(COSTLY[name]())
    seconds, memory, sentence = cost(path)
    assert seconds < 1, sentence
    assert memory < 64, sentence
    assert len(sentence) < 600


@pytest.mark.parametrize("name", ["wide", "long", "deep", "many words"])
def test_a_small_file_of_a_large_model_costs_little(name: str, saved: Path) -> None:
    changed(saved, HEADS[name][0])
    seconds, memory, sentence = cost(saved)
    assert seconds < 1, sentence
    assert memory < 64, sentence


def test_a_large_file_that_is_mostly_hole_costs_little(tmp_path: Path) -> None:
    path = tmp_path / "file"
    header = json.dumps({"a": {"dtype": "U8", "shape": [9], "data_offsets": [0, 9]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(path, 1 << 36)
    seconds, memory, sentence = cost(path)
    assert "the file has 68,719," in sentence
    assert seconds < 1
    assert memory < 64
