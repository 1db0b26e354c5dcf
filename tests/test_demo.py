"""The demo: every file is there, every link leads to one, and what it says was measured."""

import argparse
import html
import io
import json
import math
import re
from contextlib import redirect_stdout
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from attended import page_data

from tinygrad_attn import checkpoint, data
from tinygrad_attn.check import Report
from tinygrad_attn.cli import attention, findings, main
from tinygrad_attn.study import observed
from tinygrad_attn.train import presets

PICTURES = {"loss.png", "attention.png", "weights.png", "weights-gradient.png", "graph.png"}
FILES = PICTURES | {
    "anatomy.html",
    "best.safetensors",
    "graph.svg",
    "index.html",
    "log.jsonl",
    "model.safetensors",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a demo of a few steps, and what it printed."""
    out = tmp_path_factory.mktemp("demo") / "out"
    with redirect_stdout(io.StringIO()) as shown:
        assert main(["demo", "--out", str(out), "--steps", "3"]) == 0
    return out, shown.getvalue()


@pytest.fixture(scope="module")
def folder(finished):
    return finished[0]


@pytest.fixture(scope="module")
def model(folder):
    return checkpoint.load(folder / "model.safetensors").model


class Links(HTMLParser):
    """What a page refers to, which elements are open, and which pictures have no description."""

    def __init__(self):
        super().__init__()
        self.targets, self.open, self.undescribed = [], [], []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.targets += [given[name] for name in ("href", "src") if name in given]
        if tag == "img" and not given.get("alt"):
            self.undescribed.append(given)
        if tag not in ("img", "meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_every_file_is_there(folder):
    assert {path.name for path in folder.iterdir()} == FILES
    for name in PICTURES:
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (folder / "graph.svg").read_bytes()[:500]


def test_the_page_is_whole_and_its_links_lead_somewhere(folder):
    page = Links()
    page.feed((folder / "index.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert page.undescribed == []
    assert set(page.targets) == FILES - {"index.html"}


def test_the_anatomy_shows_the_sentence_of_the_page(folder):
    told = page_data(folder / "anatomy.html")
    assert told["layer"]["name"] == "blocks.1.attn"
    sentence = "".join(told["examples"][0]["queries"])
    assert f"“{sentence}”" in html.unescape((folder / "index.html").read_text(encoding="utf-8"))


def test_the_page_loads_nothing_from_outside(folder):
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "://" not in page
    assert "<script" not in page
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def rows(page):
    """The cells of every line of the page's table."""
    return [re.findall(r"<td.*?>(.*?)</td>", row) for row in re.findall(r"<tr><td.*?</tr>", page)]


def test_the_page_shows_what_was_measured(folder, model):
    """The errors are rounding and differ with the number of BLAS threads; all else is the same."""
    page = html.unescape((folder / "index.html").read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert f"{lines[0]['baseline']['loss']:.3f}" in page
    assert f"{lines[-1]['held_out']:.3f}" in page
    again = attention.checked(model, data.text(), 1)
    assert [(r.order, r.verdict) for r in again] == [(1, "right"), (2, "right")]
    assert all(r.max_error < 1e-12 for r in again)
    for row, report in zip(rows(page), again, strict=True):
        assert row[:3] == [str(report.order), report.method, str(report.entries)]
        assert 0 < float(row[3]) < 1e-12 <= float(row[4])
        assert row[5] == "right"


def test_the_page_shows_the_very_numbers_of_a_report():
    report = Report("wrong", order=2, method="Richardson", tolerance=1e-10, max_error=0.0371)
    table = rows(findings.checks(argparse.Namespace(reports=[report])))
    assert table == [["2", "Richardson", "0", "3.7e-02", "1e-10", "wrong"]]


def test_the_terminal_says_it_too(finished):
    out, shown = finished
    assert "a model that looks at one character only" in shown
    assert "not below 1.8: give it more --steps than 3" in shown
    assert re.search(r"order 2: right, largest error \d\.\de-1\d of \d+ numbers", shown)
    assert shown.endswith(f"open {out / 'index.html'}\n")


def test_without_a_layout_engine_the_page_says_how_to_get_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tinygrad_attn.viz.render.engines", dict)
    small = partial(presets.gpt, heads=2, width=8, length=40)
    monkeypatch.setattr("tinygrad_attn.train.presets.gpt", small)
    assert main(["demo", "--out", str(tmp_path), "--steps", "1"]) == 0
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    links = Links()
    links.feed(page)
    assert {path.name for path in tmp_path.iterdir()} == FILES - {"graph.svg", "graph.png"} | {
        "graph.dot"
    }
    assert set(links.targets) == {path.name for path in tmp_path.iterdir()} - {"index.html"}
    assert "pip install pygraphviz" in page
    assert "pip install pygraphviz" in capsys.readouterr().out


# ── what it looks at ─────────────────────────────────────────────────────────────────────────────
def test_the_sentence_is_one_of_the_held_out_text():
    corpus = data.text()
    sentence = attention.held_out_sentence(corpus, 64)
    assert re.fullmatch(r"[A-Z].{20,}\.", sentence)
    held_out = corpus.vocabulary.decode(corpus.held_out).replace("\n", " ")
    assert sentence in held_out
    assert attention.held_out_sentence(corpus, 9) == sentence[:9]


def test_attention_and_its_gradient_are_those_of_the_loss(model):
    corpus = data.text()
    sentence = "This is the end."
    found = attention.attention_of(model, corpus, sentence, 1)
    T = len(sentence) - 1
    assert found.sentence == sentence[:-1]
    assert found.weights.shape == found.gradient.shape == (4, T, T)
    np.testing.assert_allclose(found.weights.sum(axis=-1), 1, rtol=1e-5)
    assert not np.triu(found.weights, 1).any()
    assert np.isnan(found.gradient[:, ~np.tril(np.ones((T, T), bool))]).all()
    assert np.isfinite(found.gradient[:, np.tril(np.ones((T, T), bool))]).all()
    assert found.row_sum < 1e-6
    tokens = corpus.vocabulary.encode(sentence)[None]
    with observed(model) as calls:
        model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
    model.zero_grad()
    seen = calls[1].stages
    P, dP, dS = (t.numpy()[0] for t in (seen.weights, seen.weights.grad, seen.masked.grad))
    np.testing.assert_allclose(found.gradient, np.where(np.isnan(found.gradient), np.nan, dP))
    np.testing.assert_allclose(dS, P * (dP - (P * dP).sum(-1, keepdims=True)), atol=1e-8)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert "forward" not in vars(model.blocks[1].attn)


def test_the_double_is_the_layer(model, rng):
    attn = model.blocks[1].attn
    x = rng.standard_normal((2, 3, attn.d_model))
    np.testing.assert_allclose(
        attention.double(attn)(x, causal=True).data,
        attn(x.astype(np.float32), causal=True).data,
        atol=1e-5,
    )


# ── in full ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.slow
def test_the_whole_demo_reaches_its_goal(tmp_path):
    assert main(["demo", "--out", str(tmp_path)]) == 0
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "step"]
    assert lines[-1]["held_out"] < 1.8 < 2.2 < lines[0]["baseline"]["loss"] < 2.5
    assert math.isfinite(max(losses))
    assert {path.name for path in Path(tmp_path).iterdir()} == FILES
