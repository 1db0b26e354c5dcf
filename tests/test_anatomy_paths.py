"""Where dX comes from: the parts by head add up to what `ta.grad` gives, and can be shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from anatomies import recorded
from studied import ASKED, NAMES

from tinygrad_attn import ShapeError, Tensor, nn
from tinygrad_attn.viz import RenderError, anatomy
from tinygrad_attn.viz.anatomy.data import Place, Recording
from tinygrad_attn.viz.anatomy.paths import Decomposition, paths_of

KINDS: dict[str, dict[str, Any]] = {
    "self": {},
    "masked": {"masked": True},
    "no bias": {"bias": False},
    "rotary": {"rotary": True, "masked": True},
    "grouped": {"kv_heads": 2},
    "grouped, rotary": {"kv_heads": 3, "rotary": True, "bias": False},
    "one kv head": {"kv_heads": 1, "masked": True},
    "cross": {"cross": True, "masked": True},
    "cross, grouped": {"cross": True, "kv_heads": 3},
    "cross, memory made of the block's input": {"cross": True, "memory_of_block": True},
}


def first(recording: Recording) -> Decomposition:
    return paths_of(recording)[0][0]


@pytest.mark.parametrize("kind", KINDS)
def test_parts_add_up_to_the_gradient(rng: np.random.Generator, kind: str) -> None:
    recording = recorded(rng, **KINDS[kind])
    for b, paths in enumerate(paths_of(recording)[0]):
        gradients = recording.targets[0].gradients[b]
        for at in paths.whole:
            block = recording.block
            assert block is not None
            whole = block.total[0][b] if at == "block" else gradients[f"d{at}"]
            total = sum(p.data for p in paths.finest(at) if p.data is not None)
            assert np.abs(total - whole).max() < 1e-12 * max(1, np.abs(whole).max())
            assert abs(sum(p.share for p in paths.finest(at)) - 1) < 1e-12
            coarse = [p for p in paths.of(at) if p.head is None and p.kind not in ("norm", "layer")]
            assert abs(sum(p.share for p in coarse) - 1) < 1e-12


def test_each_part_is_what_is_left_when_the_others_are_cut(rng: np.random.Generator) -> None:
    recording = recorded(rng, masked=True, kv_heads=3)
    gradients, width = recording.targets[0].gradients[1], recording.layer.d_head
    for part in paths_of(recording)[0][1].finest("X"):
        assert part.head is not None
        assert part.data is not None
        rows = slice(part.head * width, (part.head + 1) * width)
        weight = recording.parameters[f"W{part.kind}"][rows]
        alone = gradients[f"d{part.kind.upper()}"][part.head] @ weight
        assert np.abs(part.data - alone).max() < 1e-12


def test_norms_shares_and_cosines(rng: np.random.Generator) -> None:
    paths = first(recorded(rng))
    whole = paths.whole["X"]
    for part in paths.of("X"):
        data = part.data
        assert data is not None
        assert np.isclose(part.norm, np.sqrt((data**2).sum()), rtol=1e-12)
        assert np.isclose(part.share, (data * whole).sum() / (whole**2).sum(), rtol=1e-12)
        cosine = (data * whole).sum() / np.sqrt((data**2).sum() * (whole**2).sum())
        assert np.isclose(part.cosine, cosine, rtol=1e-12)
    share = {p.kind: p.share for p in paths.of("X") if p.head is None}
    assert np.isclose(paths.split["softmax"], share["q"] + share["k"])
    assert np.isclose(paths.split["values"], share["v"])
    block = {p.kind: p.share for p in paths.of("block") if p.head is None}
    assert np.isclose(block["residual"] + block["norm"], 1)
    assert np.isclose(block["q"] + block["k"] + block["v"], block["norm"])


def test_which_places_and_parts_there_are(rng: np.random.Generator) -> None:
    cross = first(recorded(rng, cross=True, kv_heads=3))
    assert tuple(cross.whole) == ("X", "M", "block")
    assert cross.at == "block"
    assert {p.kind for p in cross.of("X")} == {"q"}
    assert [p.head for p in cross.finest("M")] == [0, 1, 2] * 2
    assert {p.kind for p in cross.of("block")} == {"residual", "norm", "q"}
    both = first(recorded(rng, cross=True, memory_of_block=True))
    assert {p.kind for p in both.of("block")} == {"residual", "layer", "q", "k", "v"}
    with pytest.raises(ShapeError, match=r"expected a place among \('X', 'block'\), got 'M'"):
        first(recorded(rng)).of("M")


class Around(nn.Module):
    """u + attention(before(u)), with a layer of any kind and name before it."""

    def __init__(self, name: str, before: nn.Module, rng: np.random.Generator) -> None:
        self.name = name
        setattr(self, name, before)
        self.attn = nn.MultiHeadAttention(6, 2, rng=rng)

    def forward(self, u: Tensor) -> Tensor:
        out: Tensor = u + self.attn(getattr(self, self.name)(u))
        return out


@pytest.mark.parametrize(
    ("name", "before", "kind"),
    [
        ("before", nn.LayerNorm(6), "norm"),
        ("first", nn.RMSNorm(6), "norm"),
        ("kiln", nn.Linear(6, 6), "layer"),
        ("norm", nn.Linear(6, 6), "layer"),
        ("normed", nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 6)), "layer"),
    ],
)
def test_only_a_norm_is_called_one(
    rng: np.random.Generator, name: str, before: nn.Module, kind: str
) -> None:
    x = Tensor(rng.standard_normal((1, 3, 6)))
    page = anatomy(Around(name, before, rng), lambda m: (m(x) ** 2).sum(), numeric_limit=0)
    paths = page.paths[0][0]
    assert [p.kind for p in paths.of("block") if p.head is None] == ["residual", kind, *"qkv"]


@pytest.mark.parametrize("kind", ASKED)
def test_every_model(kind: str) -> None:
    """Parts add up and identities hold in real models, masks and padding as they come."""
    make, given = ASKED[kind]

    def run(model: nn.Module) -> Tensor:
        out = model(*given)
        return (out * np.random.default_rng(5).standard_normal(out.shape)).sum()

    model = make()
    for name in NAMES[kind]:
        page = anatomy(model, run, layer=name, numeric_limit=0)
        for paths in paths_of(page.recording)[0]:
            for at, whole in paths.whole.items():
                total = sum(p.data for p in paths.finest(at) if p.data is not None)
                assert np.abs(total - whole).max() < 1e-12 * max(1, np.abs(whole).max())
        assert all(identity.holds for identity in page.identities[0] if identity.applies)
        assert page.derivation(0, 1).startswith("# The chain rule of")


@pytest.mark.parametrize("at", ["X", "block"])
def test_cancellation(rng: np.random.Generator, at: Place) -> None:
    recording = recorded(rng)
    paths = first(recording if at == "block" else replace(recording, block=None))
    lengths = [np.sqrt((p.data**2).sum()) for p in paths.finest(at) if p.data is not None]
    expected = 1 - np.sqrt((paths.whole[at] ** 2).sum()) / sum(lengths)
    assert paths.at == at
    assert len(lengths) == 18 + (at == "block")
    assert np.isclose(paths.cancellation, expected, rtol=1e-12)
    assert expected > 0.3
    assert f"{100 * expected:.1f} % of the parts' lengths cancel" in str(paths).splitlines()[-1]


def opposed(recording: Recording, gradients: dict[str, np.ndarray[Any, Any]]) -> Recording:
    """A recording whose first example has these gradients in the place of its own."""
    target = recording.targets[0]
    changed = {**target.gradients[0], **gradients}
    return replace(
        recording, targets=(replace(target, gradients=(changed, *target.gradients[1:])),)
    )


def test_parts_that_cancel_and_parts_that_agree(rng: np.random.Generator) -> None:
    recording = replace(recorded(rng, bias=False), block=None)
    recording = replace(
        recording, parameters={**recording.parameters, "Wk": recording.parameters["Wq"]}
    )
    dQ, zero = rng.standard_normal((6, 5, 2)), np.zeros((6, 5, 2))
    dQ[1:] = 0  # one head alone
    against = {"dQ": dQ, "dK": -dQ, "dV": zero, "dX": np.zeros((5, 12))}
    paths = first(opposed(recording, against))
    assert paths.cancellation == 1
    assert {p.share for p in paths.of("X")} == {0.0}
    alike = {"dQ": dQ, "dK": dQ, "dV": zero, "dX": 2 * dQ[0] @ recording.parameters["Wq"][:2]}
    paths = first(opposed(recording, alike))
    assert abs(paths.cancellation) < 1e-15
    assert {p.kind: round(p.share, 12) for p in paths.of("X") if p.head is None} == {
        "q": 0.5,
        "k": 0.5,
        "v": 0.0,
    }


@pytest.mark.parametrize("factor", [0.0, 1e-200, 1e200])
def test_shares_do_not_depend_on_the_size_of_the_gradient(
    rng: np.random.Generator, factor: float
) -> None:
    recording = replace(recorded(rng), block=None)
    gradients = recording.targets[0].gradients[0]
    scaled = opposed(recording, {name: factor * g for name, g in gradients.items()})
    before, after = first(recording), first(scaled)
    for a, b in zip(before.parts, after.parts, strict=True):
        assert np.isclose(b.share, a.share if factor else 0.0, rtol=1e-9)
        assert np.isclose(b.cosine, a.cosine if factor else 0.0, rtol=1e-9)


def test_a_wrong_gradient_shows(rng: np.random.Generator) -> None:
    recording = recorded(rng)
    dK = recording.targets[0].gradients[0]["dK"]
    paths = first(opposed(recording, {"dK": 1.01 * dK}))
    assert abs(sum(p.share for p in paths.finest("X")) - 1) > 1e-4


def test_as_text(rng: np.random.Generator) -> None:
    recording = recorded(rng, kv_heads=2)
    text = str(first(recording))
    assert text.startswith("block.attn: gradient of loss, sequence 0\n")
    rows = [row.split("  ")[0].strip() or row.strip().split("  ")[0] for row in text.splitlines()]
    for name in ("through Q", "head 5", "through K", "heads 0–2", "heads 3–5", "dX, the whole"):
        assert name in rows, name
    assert "around attention (residual)" in rows
    assert "through the norm" in rows
    assert max(map(len, text.splitlines())) < 100
    assert "-" not in text
    shares = [row for row in text.splitlines() if row.startswith(("through", "dX,"))]
    printed = [float(row.split("%")[0].split()[-1].replace("−", "-")) for row in shares[:4]]
    assert abs(sum(printed[:3]) - 100) < 0.2
    assert printed[3] == 100


def test_hostile_titles_stay_one_line(rng: np.random.Generator) -> None:
    recording = recorded(rng)
    title = "a\nb\x1b[2J\u202e" + "x" * 20_000
    examples = (replace(recording.examples[0], title=title), *recording.examples[1:])
    text = str(first(replace(recording, examples=examples)))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.splitlines()[0].startswith("block.attn: gradient of loss, a⏎b")
    assert max(map(len, text.splitlines())) <= 200


@pytest.mark.parametrize("heads", [False, True])
def test_as_picture(rng: np.random.Generator, tmp_path: Path, heads: bool) -> None:
    paths = first(recorded(rng, kv_heads=3))
    path = paths.save(tmp_path / "paths.svg", heads=heads)
    written = " ".join(
        text for text in ElementTree.parse(path).getroot().itertext() if text.strip()
    )
    for part in paths.of("block"):
        shown = f"{paths.name(part)}   {100 * part.share:.1f} %".replace("-", "−")
        assert (" ".join(shown.split()) in " ".join(written.split())) == (
            heads or part.head is None
        )
    assert "‖du‖" in written
    assert "‖dX‖" not in written


def test_picture_of_another_place(rng: np.random.Generator, tmp_path: Path) -> None:
    paths = first(recorded(rng, cross=True))
    written = paths.save(tmp_path / "memory.svg", at="M").read_text("utf-8")
    assert "‖dM‖" in written
    assert "k6" in written
    assert "q1" not in written
    with pytest.raises(RenderError, match="cannot tell the format"):
        paths.save(tmp_path / "paths.gif")
    assert [p.name for p in tmp_path.iterdir()] == ["memory.svg"]
