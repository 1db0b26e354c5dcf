"""Checkpoints: what comes back is what was saved; what is damaged is said to be so."""

import os
import stat
import sys

import numpy as np
import pytest
from forged import changed
from safetensors.numpy import load_file, save_file

from tinygrad_attn import checkpoint, optim
from tinygrad_attn.checkpoint import CheckpointError
from tinygrad_attn.extras import ExtraError
from tinygrad_attn.models import GPT, GPTConfig
from tinygrad_attn.nn import Linear

CONFIG = GPTConfig(vocab_size=7, max_length=5, num_layers=1, num_heads=2, d_model=6, dropout=0.25)


def trained(steps=3, seed=0):
    """A model, its optimiser and the generator of both batches and dropout after some steps."""
    rng = np.random.default_rng(seed)
    model = GPT(CONFIG, rng=rng)
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    go_on(model, optimizer, rng, steps)
    return model, optimizer, rng


def go_on(model, optimizer, rng, steps):
    model.train()
    for _ in range(steps):
        tokens = rng.integers(0, 7, (3, 5))
        optimizer.zero_grad()
        model.loss(tokens, tokens).backward()
        optimizer.step()


def same(a, b):
    return a.keys() == b.keys() and all(
        (a[name] == b[name]).all() and a[name].dtype == b[name].dtype for name in a
    )


@pytest.fixture
def saved(tmp_path):
    model, optimizer, rng = trained()
    return checkpoint.save(
        tmp_path / "m.safetensors",
        model=model,
        optimizer=optimizer,
        step=3,
        rng=rng,
        vocabulary=list("abcdef한"),
        note=None,
    )


def test_everything_comes_back(saved):
    model, _, rng = trained()
    back = checkpoint.load(saved)
    assert back.model.config == CONFIG
    assert not back.model.training
    assert same(back.model.state_dict(), model.state_dict())
    assert back.step == 3
    assert back.state == {"vocabulary": list("abcdef한"), "note": None}
    assert back.rng.random(5).tolist() == rng.random(5).tolist()


def test_training_goes_on_as_if_nothing_had_happened(saved):
    back = checkpoint.load(saved)
    optimizer = optim.AdamW(back.model.parameters(), lr=0.5)
    optimizer.load_state_dict(back.optimizer)
    go_on(back.model, optimizer, back.rng, steps=2)
    assert same(back.model.state_dict(), trained(steps=5)[0].state_dict())


def test_a_model_alone(tmp_path):
    path = checkpoint.save(tmp_path / "m", model=GPT(CONFIG))
    back = checkpoint.load(path)
    assert (back.step, back.rng, back.optimizer, back.state) == (0, None, None, {})


def test_the_weights_stand_under_their_own_names(saved):
    model, _, _ = trained()
    arrays = load_file(saved)
    own = {name: array for name, array in arrays.items() if not name.startswith("optimizer:")}
    assert same(own, model.state_dict())
    assert len(arrays) == 3 * len(own)


def test_the_library_generator_is_left_alone(saved):
    from tinygrad_attn.rng import OWN

    before = OWN.bit_generator.state
    checkpoint.load(saved)
    assert OWN.bit_generator.state == before


# ── writing ──────────────────────────────────────────────────────────────────────────────────────
def test_a_failing_write_leaves_the_old_file_and_no_other(saved, monkeypatch):
    before = saved.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"No space left .*what was there is untouched"):
        checkpoint.save(saved, model=GPT(CONFIG))
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_saving_replaces_through_a_link_and_keeps_usual_permissions(saved, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(saved)
    checkpoint.save(link, model=GPT(CONFIG), step=9)
    assert link.is_symlink()
    assert checkpoint.load(saved).step == 9
    plain = tmp_path / "plain"
    plain.touch()
    assert stat.S_IMODE(saved.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match=r"cannot be written \(No such file or directory"):
        checkpoint.save(tmp_path / "no" / "m", model=GPT(CONFIG))


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), np.str_("text"), b"bytes"])
def test_a_value_that_is_not_json(tmp_path, value):
    with pytest.raises(CheckpointError, match="not everything would come back as it is: state"):
        checkpoint.save(tmp_path / "m", model=GPT(CONFIG), value=value)
    assert not list(tmp_path.iterdir())


def test_a_module_that_cannot_be_rebuilt(tmp_path):
    with pytest.raises(CheckpointError, match=r"layers\.Linear; save its weights with safe"):
        checkpoint.save(tmp_path / "m", model=Linear(2, 3))


def test_a_generator_whose_state_is_no_plain_number(tmp_path):
    with pytest.raises(CheckpointError, match="got MT19937"):
        checkpoint.save(
            tmp_path / "m", model=GPT(CONFIG), rng=np.random.Generator(np.random.MT19937(0))
        )


def test_without_safetensors(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ExtraError, match="pip install"):
        checkpoint.load(saved)
    with pytest.raises(ExtraError, match="pip install"):
        checkpoint.save(saved, model=GPT(CONFIG))


# ── reading what is wrong ────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read .No such file"),
        (b"", "no safetensors file or damaged"),
        (b"{}" * 99, "no safetensors file or damaged"),
        (b"\xff" * 99, "no safetensors file or damaged"),
    ],
)
def test_a_file_that_is_no_checkpoint(tmp_path, content, sentence):
    path = tmp_path / "m.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=sentence):
        checkpoint.load(path)


def test_a_folder(tmp_path):
    with pytest.raises(CheckpointError, match=r"cannot be read \(Is a directory"):
        checkpoint.load(tmp_path)


def test_a_file_of_another_program(tmp_path):
    save_file({"a": np.zeros(3)}, tmp_path / "a")
    with pytest.raises(CheckpointError, match="was not saved by tinygrad_attn"):
        checkpoint.load(tmp_path / "a")


def merged(head, change):
    for key, value in change.items():
        head[key] = {**head[key], **value} if isinstance(value, dict) else value


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": 3}, "expected format 2, got 3; use the version"),
        ({"model": {"name": "system", "config": {}}}, "unknown model 'system'"),
        ({"model": {"name": "GPT", "config": {"wings": 2}}}, "wings"),
        (
            {
                "model": {
                    "name": "GPT",
                    "config": {
                        "vocab_size": 7,
                        "max_length": 5,
                        "num_layers": 2,
                        "num_heads": 2,
                        "d_model": 6,
                    },
                }
            },
            r"blocks\.1.* missing",
        ),
        ({"generators": [{"bit_generator": "os"}]}, "unknown generator 'os'"),
    ],
)
def test_metadata_that_fits_no_model(saved, change, sentence):
    changed(saved, lambda head, arrays: merged(head, change))
    with pytest.raises(CheckpointError, match=sentence):
        checkpoint.load(saved)


@pytest.mark.parametrize("part", ["read", "rebuilt"])
def test_too_little_memory_is_no_damage(saved, monkeypatch, part):
    def fails(*arguments):
        raise MemoryError

    monkeypatch.setattr(f"tinygrad_attn.checkpoint.loading.{part}", fails)
    with pytest.raises(CheckpointError, match="not enough memory to load") as caught:
        checkpoint.load(saved)
    assert "damaged" not in str(caught.value)


def test_contents_that_do_not_fit_together_are_not_blamed_on_the_model(saved):
    changed(saved, lambda head, arrays: head.update(step=-1))
    with pytest.raises(CheckpointError, match=r"contents do not fit together \(step is -1"):
        checkpoint.load(saved)
