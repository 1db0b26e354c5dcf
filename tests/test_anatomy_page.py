"""The page as a file: its numbers are `ta.grad`'s, its text is text, and it stands alone."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from json import loads
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attended import (
    CASES,
    B,
    D,
    H,
    Model,
    T,
    by_hand,
    decoded,
    inputs,
    loss_of,
    page_data,
)
from hostile import LABELS

import tinygrad_attn as ta
from tinygrad_attn import Tensor, nn
from tinygrad_attn.models import GPT, GPTConfig
from tinygrad_attn.viz import RenderError
from tinygrad_attn.viz.anatomy import Page, payload

NAME = "blocks.1.attn"


def page_of(name: str, rng: np.random.Generator, **options: Any) -> tuple[Page, Any]:
    """The page of a case, and the same by hand."""
    model, given = Model(CASES[name], rng), inputs(CASES[name], rng)
    options = {"layer": NAME, "numeric_limit": 0, **options}
    page = ta.viz.anatomy(model, lambda m: loss_of(m, *given), **options)
    return page, by_hand(model.astype(np.float64), *given)


# ── numbers ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("name", CASES)
def test_every_number_in_the_file_is_that_of_ta_grad(
    name: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    page, hand = page_of(name, rng)
    data = page_data(page.save(tmp_path / "page.html"))
    assert set(data["columns"]) | set(data["parameters"]) == set(hand.values)
    assert set(data["matrices"]) == set(hand.values)
    assert set(data["gradients"]) == {"d" + matrix for matrix in hand.values}
    compared = 0
    for matrix, about in data["matrices"].items():
        gradient = data["gradients"]["d" + matrix]
        layer_wide = about["per"] == gradient["per"] == "layer"
        assert layer_wide == (matrix in data["parameters"])
        for b, text in enumerate(about["data"]):
            whole = hand.values[matrix] if layer_wide else hand.values[matrix][b]
            equal(decoded(text, about["shape"]), whole)
            for k, expected in enumerate(hand.gradients):
                found = decoded(gradient["data"][k][b], about["shape"])
                equal(found, expected[matrix] if layer_wide else expected[matrix][b])
                compared += found.size
    assert compared > 2_000
    for b, text in enumerate(data["mask"]["data"]):
        equal(decoded(text, data["mask"]["shape"]), hand.mask[b, : data["mask"]["shape"][0]])


def equal(found: Any, expected: Any) -> None:
    """To 1e-12 of the largest number; biases stand in a row."""
    scale = max(1.0, np.abs(expected[np.isfinite(expected)]).max(initial=0.0))
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=0, atol=1e-12 * scale)


def test_what_the_file_says_about_matrices(rng: np.random.Generator, tmp_path: Path) -> None:
    page, hand = page_of("cross, grouped, empty row", rng, cells=[(0, 1, 2)], numeric_limit=5)
    data = page_data(page.save(tmp_path / "page.html"))
    about = data["matrices"]
    assert data["columns"] == ["X", "Q", "M", *"KVRS", "Smasked", *"PCOY"]
    assert [target["name"] for target in data["targets"]] == ["loss", "logit", "Y[0, “1”, 2]"]
    assert set(data["matrices"]) <= set(data["meanings"])
    assert [target["cell"] for target in data["targets"]] == [None, None, [0, 1, 2]]
    assert [example["title"] for example in data["examples"]] == ["", ""]
    axes = {name: (about[name]["rows"], about[name]["columns"]) for name in data["columns"]}
    assert axes["Q"] == axes["X"] == axes["O"] == ("queries", "features")
    assert axes["K"] == axes["V"] == axes["M"] == ("keys", "features")
    assert axes["R"] == axes["P"] == ("queries", "keys")
    assert [about[n]["heads"] for n in ("X", "Q", "K", "P")] == [0, 6, 3, 6]
    assert [name for name in about if about[name]["kind"] == "probability"] == ["P"]
    for b in range(B):  # each example has its own scale, shared by its heads
        finite = hand.values["Smasked"][b][np.isfinite(hand.values["Smasked"][b])]
        np.testing.assert_allclose(about["Smasked"]["range"][b], [finite.min(), finite.max()])
        found, dP = data["gradients"]["dP"]["range"][1][b], hand.gradients[1]["P"][b]
        np.testing.assert_allclose(found, [dP.min(), dP.max()])
    (found,), dWq = data["gradients"]["dWq"]["range"][0], hand.gradients[0]["Wq"]
    np.testing.assert_allclose(found, [dWq.min(), dWq.max()])
    assert data["turn"] is None
    assert len(data["numeric"]["dX"]) == B
    assert np.isfinite(decoded(data["numeric"]["dWo"][0], -1)).sum() == 5
    assert len(data["paths"]) == len(data["identities"]) == 3
    assert [len(found) for found in data["paths"]] == [B] * 3
    assert data["layer"]["groups"] == 3
    assert data["layer"]["cross"]


def test_biases_stand_in_a_row_and_rotation_is_there(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    page, _ = page_of("rotary", rng)
    data = page_data(page.save(tmp_path / "page.html"))
    assert data["columns"][:6] == [*"XQKV", "Qrot", "Krot"]
    assert data["matrices"]["bq"]["shape"] == [1, D]
    cos, sin = (decoded(data["turn"][name], (T, D // H)) for name in ("cos", "sin"))
    q, turned = (
        decoded(data["matrices"][n]["data"][1], data["matrices"][n]["shape"]) for n in ("Q", "Qrot")
    )
    equal(q * cos + q[..., data["turn"]["pair"]] * sin, turned)


def test_parts_in_the_file_add_up_to_the_gradient(rng: np.random.Generator, tmp_path: Path) -> None:
    page, hand = page_of("grouped", rng)
    data = page_data(page.save(tmp_path / "page.html"))
    for k, per_target in enumerate(data["paths"]):
        for b, table in enumerate(per_target):
            parts = [p for p in table["parts"] if p["at"] == "X" and p["head"] is None]
            arrays = [decoded(p["data"], p["shape"]) for p in parts]
            assert {p["kind"] for p in parts} == {"q", "k", "v"}
            equal(sum(arrays), hand.gradients[k]["X"][b])
            assert sum(p["share"] for p in parts) == pytest.approx(1, abs=1e-12)
            heads = [p for p in table["parts"] if p["head"] is not None]
            assert heads
            assert {p["data"] for p in heads} == {None}


def test_steps_name_the_matrices_of_the_page(rng: np.random.Generator, tmp_path: Path) -> None:
    for name in ("self", "rotary", "cross, grouped, empty row"):
        page, _ = page_of(name, rng)
        data = page_data(page.save(tmp_path / "page.html"))
        known = {*data["matrices"], *data["gradients"]}
        made = [matrix for step in data["steps"] for matrix in step["makes"]]
        assert set(made) <= known
        assert known - set(made) <= {"X", "M", "dY", *data["parameters"]}
        for step in data["steps"]:
            assert set(step["from"]) <= known
            assert step["title"]["en"]
            assert step["title"]["ko"]


# ── text from outside ────────────────────────────────────────────────────────────────────────────
def test_labels_given_by_the_user_arrive(rng: np.random.Generator, tmp_path: Path) -> None:
    long = "y" * 70
    page, _ = page_of(
        "self", rng, examples=[LABELS[1 : T + 1], [*"abcd", long]], title="of </title>"
    )
    example = page_data(page.save(tmp_path / "page.html"))["examples"]
    assert example[0]["queries"][0] == "</script>"
    assert example[1]["queries"] == [*"abcd", "y" * 59 + "…"]
    assert example[1]["full"]["queries"][-1] == long
    assert "<title>of &lt;/title&gt;</title>" in page.to_html()


# ── the file ─────────────────────────────────────────────────────────────────────────────────────
def test_the_page_needs_nothing_and_lets_nothing_in(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    page, _ = page_of("self", rng)
    text = page.save(tmp_path / "page.html").read_text("utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "http" not in policy[1]
    assert "unsafe" not in policy[1].partition("script-src")[2].partition(";")[0]
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy[1]
    assert not re.findall(r"(?:src|href)\s*=\s*[\"']?(?:https?:)?//", text)
    assert "@import" not in text
    assert not re.findall(r"\$[a-z{]", re.sub(r"<script.*</script>", "", text, flags=re.DOTALL))


def test_the_page_says_its_size(rng: np.random.Generator, tmp_path: Path) -> None:
    for name in ("self", "cross"):
        page, _ = page_of(name, rng, title=name)
        path = page.save(tmp_path / "page.html")
        assert page_data(path)["size"] == path.stat().st_size


def test_a_page_of_the_size_in_the_contract(tmp_path: Path) -> None:
    """64 tokens, 128 wide, 4 heads: about 3 MB an example and target, the template included."""
    model = GPT(GPTConfig(20, 64, 1, 4, 128), rng=np.random.default_rng(0))
    tokens = np.random.default_rng(1).integers(0, 20, (1, 65))
    page = ta.viz.anatomy(model, lambda m: m.loss(tokens[:, :-1], tokens[:, 1:]), numeric_limit=0)
    data = payload.page_data(page.recording)
    shared = sum(
        len(text)
        for group, nested in (("matrices", False), ("gradients", True))
        for entry in data[group].values()
        if entry["per"] == "layer"
        for texts in (entry["data"] if nested else [entry["data"]])
        for text in texts
    )
    size = page.save(tmp_path / "page.html").stat().st_size
    assert 2.5e6 < size - shared < 4e6


def test_numbers_that_json_lacks_become_null(rng: np.random.Generator) -> None:
    attn = nn.MultiHeadAttention(D, H, rng=rng)
    u, _, w = inputs(CASES["self"], rng)
    page = ta.viz.anatomy(attn, lambda m: {"nothing": (0 * w * m(Tensor(u))).sum()})
    loads(payload.written(payload.page_data(page.recording)), parse_constant=pytest.fail)
    table = payload.page_data(page.recording)["paths"][0][0]
    assert all(part["norm"] == 0 for part in table["parts"])
    assert all(part["share"] in (None, 0) for part in table["parts"])


def test_places_that_cannot_be_written(rng: np.random.Generator, tmp_path: Path) -> None:
    page, _ = page_of("self", rng)
    with pytest.raises(RenderError, match="choose another place"):
        page.save(tmp_path / "none" / "page.html")
    with pytest.raises(RenderError, match="not a file"):
        page.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_page_tells_what_it_is(rng: np.random.Generator) -> None:
    page, _ = page_of("self", rng)
    assert repr(page) == "Page(blocks.1.attn, 2 examples, gradients of loss, logit)"
    one = replace(page.recording, examples=page.recording.examples[:1])
    assert repr(Page(one)) == "Page(blocks.1.attn, 1 example, gradients of loss, logit)"
    assert page.paths is page.recording.paths
    assert all(
        identity.holds for found in page.identities for identity in found if identity.applies
    )


# ── the name ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "code",
    [
        "import tinygrad_attn.viz as v; f = v.anatomy\nfrom tinygrad_attn.viz.anatomy import Page",
        "from tinygrad_attn.viz.anatomy import Page\nfrom tinygrad_attn.viz import anatomy as f",
        "from tinygrad_attn.viz.anatomy import Page, anatomy as f",
        "from tinygrad_attn.viz import *; f = anatomy; from tinygrad_attn.viz.anatomy import Page",
    ],
)
def test_the_function_and_the_package_go_by_one_name(code: str) -> None:
    code += (
        "\nfrom tinygrad_attn import nn, Tensor; import numpy as np"
        "\nrun = lambda m: m(Tensor(np.ones((1, 2, 4)))).sum()"
        "\nassert type(f(nn.MultiHeadAttention(4, 2), run)) is Page"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_the_drawings_do_not_load_the_page() -> None:
    code = (
        "import sys, tinygrad_attn.viz\n"
        "assert not [m for m in sys.modules if m.startswith('tinygrad_attn.viz.anatomy')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
