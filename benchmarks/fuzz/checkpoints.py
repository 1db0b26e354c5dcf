"""Checkpoints, right and wrong: values and arrays are spoiled, and the digest is right again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from safetensors.numpy import save

from tinygrad_attn import checkpoint, models, optim
from tinygrad_attn.checkpoint.layout import BLANK, DIGITS, KEY, digest
from tinygrad_attn.files import arrays_of, header_of

Head = dict[str, Any]
Arrays = dict[str, np.ndarray]
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 0.5, -0.0, 1e308, 1 << 31, 1 << 40, 1 << 63, 1 << 200, "",
    "x", "GPT", "float32", "object", [], [[]], {}, {"x": 1}, {"$array": "wte.weight"},
    {"$array": 3}, {"$scalar": "wte.weight"}, {"$tuple": [1]}, {"$generator": 0}, {"$generator": 9},
    {"$array": "", "$tuple": []},
)  # fmt: skip
DTYPES = ("f2", "f4", "f8", "c8", "i8", "u1", "?")


# ── apart and together ───────────────────────────────────────────────────────────────────────────
def taken_apart(content: bytes) -> tuple[Head, Arrays]:
    """The metadata of a checkpoint and its arrays."""
    header = header_of(content)
    return json.loads(header.metadata[KEY]), arrays_of(content, header, "this")


def forged(head: Head | str, arrays: Arrays) -> bytes:
    """A checkpoint with these; a text stands for metadata that has no place for a digest."""
    if isinstance(head, str):
        return save(arrays, {KEY: head})
    rest = {key: value for key, value in head.items() if key != "sha256"}
    return sealed(save(arrays, {KEY: json.dumps({"sha256": BLANK, **rest})}))


def sealed(content: bytes) -> bytes:
    """A file with the digest it should have."""
    whole = bytearray(content)
    whole[DIGITS] = digest(bytes(whole)).encode()
    return bytes(whole)


# ── right ones ───────────────────────────────────────────────────────────────────────────────────
def right() -> list[bytes]:
    """Small checkpoints with everything in them, one of a model with a computed table."""
    rng = np.random.default_rng(0)
    config = models.GPTConfig(
        vocab_size=7, max_length=5, num_layers=1, num_heads=2, d_model=6, dropout=0.25
    )
    gpt = models.GPT(config, rng=rng)
    optimizer = optim.AdamW(gpt.parameters())
    schedule = optim.WarmupCosine(optimizer, 2, 5)
    gpt.loss([[1, 2, 3]], [[2, 3, 4]]).backward()
    optimizer.step()
    schedule.step()
    state: dict[str, Any] = {"order": np.arange(5), "nested": {"t": (1, [rng, None])}}
    sizes = models.TransformerConfig(
        source_vocab=5, target_vocab=5, max_length=3, num_layers=1, num_heads=1, d_model=2, d_ff=3
    )
    pairs = models.Transformer(sizes, rng=np.random.default_rng(1))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "m"
        checkpoint.save(
            path, model=gpt, optimizer=optimizer, schedule=schedule, step=3, rng=rng, **state
        )
        full = path.read_bytes()
        checkpoint.save(path, model=pairs)
        return [full, path.read_bytes()]


# ── spoiled ──────────────────────────────────────────────────────────────────────────────────────
def places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, inner in list(items):
        found.append((value, key))
        if isinstance(inner, dict | list):
            found += places(inner)
    return found


def spoil_value(head: Head, arrays: Arrays, random: Random) -> None:
    """Another value, the value of another place, or none."""
    container, key = random.choice(places(head))
    how = random.random()
    if how < 0.6:
        container[key] = random.choice(VALUES)
    elif how < 0.8:
        other, at = random.choice(places(head))
        container[key] = json.loads(json.dumps(other[at]))
    else:
        del container[key]


def spoil_size(head: Head, arrays: Arrays, random: Random) -> None:
    """A size of the model is another."""
    model = head.get("model")
    config = model.get("config") if isinstance(model, dict) else None
    if isinstance(config, dict) and config:
        config[random.choice(list(config))] = random.choice(VALUES)


def spoil_array(head: Head, arrays: Arrays, random: Random) -> None:
    """An array of another name, shape or dtype, or gone."""
    if not arrays:
        return
    name = random.choice(list(arrays))
    array = arrays.pop(name)
    how = random.randrange(5)
    if how == 0:
        arrays[random.choice(("x", "state:x", "optimizer:9", "schedule:", name + "'"))] = array
    elif how == 1:
        arrays[name] = np.zeros(random.choice(((), (0,), (1,), (2, 3), (6, 7))), array.dtype)
    elif how == 2:
        arrays[name] = np.zeros(array.shape, random.choice(DTYPES))
    elif how == 3:
        arrays[name] = array.T.copy()


SPOILS: tuple[Callable[[Head, Arrays, Random], None], ...] = (
    spoil_value, spoil_value, spoil_size, spoil_array,
)  # fmt: skip


def made(parts: list[tuple[Head, Arrays]], random: Random) -> bytes:
    """A checkpoint, with up to three things wrong with it, whose digest is right."""
    head, arrays = random.choice(parts)
    head, arrays = json.loads(json.dumps(head)), dict(arrays)
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        random.choice(SPOILS)(head, arrays, random)
    return forged(head, arrays)
