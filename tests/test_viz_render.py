"""Files and layout engines: found, missing, failing, hanging; files whole or untouched."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import viz
from tinygrad_attn.viz import files, render

ENGINES = viz.engines()
STARTS = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF"}
SLEEP = shutil.which("sleep", path=os.defpath)
posix = pytest.mark.skipif(os.name != "posix", reason="shell scripts stand in for `dot`")


@pytest.fixture(scope="module")
def graph():
    x = ta.Tensor(np.ones((2, 3)), requires_grad=True, name="x")
    with ta.scope("part"):
        y = ta.softmax(x) * 2.0
    return viz.trace(y)


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without a layout engine."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setitem(sys.modules, "pygraphviz", None)


@pytest.fixture
def fake_dot(bare, monkeypatch, tmp_path):
    """Put a shell script in the place of `dot`; no other engine is there."""

    def write(script):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / "dot"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))

    return write


def leftovers(folder):
    return [path.name for path in Path(folder).iterdir() if path.name.endswith(".tmp")]


# ── engines that work ────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
@pytest.mark.parametrize("engine", list(ENGINES))
def test_every_engine_writes_every_format(graph, tmp_path, monkeypatch, engine, suffix):
    monkeypatch.setattr(render, "engines", lambda: {engine: ENGINES[engine]})
    path = tmp_path / f"graph.{suffix}"
    assert graph.render(str(path)) == path
    assert path.read_bytes().startswith(STARTS[suffix])
    assert leftovers(tmp_path) == []


def test_pygraphviz_serves_where_dot_is_not_on_the_path(graph, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list(viz.engines()) == ["pygraphviz"]
    assert graph.render(tmp_path / "graph.svg").suffix == ".svg"


def test_a_broken_dot_is_passed_over(graph, tmp_path, fake_dot, monkeypatch):
    fake_dot("exit 3")
    monkeypatch.delitem(sys.modules, "pygraphviz")
    assert graph.render(tmp_path / "graph.svg").read_bytes().startswith(b"<svg")


def test_the_svg_is_the_same_every_time(graph, tmp_path):
    first, second = (graph.render(tmp_path / f"{i}.svg").read_bytes() for i in range(2))
    assert first == second


@pytest.mark.parametrize("direction", ["TB", "LR"])
def test_the_svg_has_a_box_for_each_vertex_and_an_arrow_for_each_edge(graph, tmp_path, direction):
    path = graph.render(tmp_path / "graph.SVG", direction=direction, title="a title", formulas=True)
    root = ElementTree.parse(path).getroot()
    ids = [node.get("data-id") for node in root.iter() if node.get("data-id")]
    assert sorted(i for i in ids if i[0] == "n") == [f"n{v.id}" for v in graph.vertices]
    assert len([i for i in ids if i[0] == "e"]) == len(graph.edges)
    assert len([i for i in ids if i[0] == "c"]) == 1
    written = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"x", "softmax", "2 × 3 · float64", "saves out", "part", "a title"} <= set(written)
    assert "dx = y∘(dy − Σ dy∘y)" in written


def test_a_folded_drawing(graph, tmp_path):
    text = graph.render(tmp_path / "graph.svg", depth=0).read_text()
    assert ">part<" in text
    assert ">2 operations<" in text
    assert "softmax" not in text


@pytest.mark.parametrize("suffix", ["dot", "gv"])
def test_dot_text_needs_no_engine(graph, tmp_path, bare, suffix):
    path = graph.render(tmp_path / f"graph.{suffix}")
    assert path.read_text() == graph.to_dot()


def test_a_notebook_shows_the_svg(graph):
    assert ElementTree.fromstring(graph._repr_svg_()).tag.endswith("svg")


# ── the page ─────────────────────────────────────────────────────────────────────────────────────
def test_the_page_holds_the_drawing_and_the_text(graph, tmp_path):
    page = graph.save_html(tmp_path / "graph.html", title="Softmax").read_text()
    assert "<h1>Softmax</h1>" in page
    assert page.count("<svg") == 1
    assert str(graph) in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def test_the_page_without_an_engine_says_how_to_get_one(graph, tmp_path, bare):
    with pytest.warns(viz.RenderWarning, match="no layout engine was found"):
        page = graph.save_html(tmp_path / "graph.html").read_text()
    assert "<svg" not in page
    assert "pip install pygraphviz" in page
    assert str(graph) in page


# ── no engine ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_without_an_engine_the_dot_text_is_written_and_one_sentence_says_so(
    graph, tmp_path, bare, suffix
):
    assert viz.engines() == {}
    with pytest.warns(viz.RenderWarning) as caught:
        path = graph.render(tmp_path / f"graph.{suffix}")
    assert path == tmp_path / "graph.dot"
    assert path.read_text() == graph.to_dot()
    message = str(caught[0].message)
    assert "install Graphviz" in message
    assert "pip install pygraphviz" in message
    assert str(path) in message
    assert "\n" not in message
    assert not (tmp_path / f"graph.{suffix}").exists()


def test_a_notebook_without_an_engine_shows_text(graph, bare):
    with pytest.warns(viz.RenderWarning, match="no layout engine"):
        assert graph._repr_svg_() is None


def test_a_script_without_an_engine_ends_well(tmp_path):
    """What a user sees: one sentence on the error stream, no traceback, exit status 0."""
    code = (
        "import sys; sys.modules['pygraphviz'] = None\n"
        "import tinygrad_attn as ta\n"
        "x = ta.Tensor([1.0, 2.0], requires_grad=True)\n"
        "print(ta.viz.trace(x * x).render('graph.png'))"
    )
    env = {**os.environ, "PATH": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=env,
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "graph.dot")
    assert done.stderr.count("RenderWarning") == 1
    assert "Traceback" not in done.stderr
    assert (tmp_path / "graph.dot").read_text().startswith("digraph")


# ── engines that fail ────────────────────────────────────────────────────────────────────────────
@posix
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'bad thing' >&2; exit 3", "dot failed with exit status 3 \\(bad thing\\)"),
        ("exit 1", "dot failed with exit status 1"),
        ("kill -9 $$", "dot was ended by signal 9"),
        ("exit 0", "dot gave no SVG"),
        ("echo '<html>'", "dot gave no SVG"),
        ("printf '\\001\\377garbage'", "dot gave no SVG"),
        ("kill -15 $$", "dot was ended by signal 15"),
        ("echo '<?xml version=\"1.0\"?><svg'", "SVG cannot be read"),
        ("echo '<?xml version=\"1.0\"?><html/>'", "gave <html> instead of <svg>"),
    ],
)
def test_a_failing_engine_is_one_sentence_and_the_dot_text_stays(
    graph, tmp_path, fake_dot, script, reason
):
    fake_dot(script)
    with pytest.raises(viz.RenderError, match=reason) as caught:
        graph.render(tmp_path / "graph.svg")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "graph.dot") in str(caught.value)
    assert (tmp_path / "graph.dot").read_text() == graph.to_dot()
    assert not (tmp_path / "graph.svg").exists()


@posix
def test_a_program_that_cannot_be_started(graph, tmp_path, fake_dot):
    fake_dot("")
    (tmp_path / "bin" / "dot").write_bytes(b"\x7fELF not really")
    with pytest.raises(viz.RenderError, match="dot cannot be started"):
        graph.render(tmp_path / "graph.svg")


@posix
def test_a_hanging_engine_and_its_children_are_stopped(graph, tmp_path, fake_dot):
    fake_dot(f'"{SLEEP}" 300 &\necho $! > "{tmp_path}/child"\nwait')
    start = time.monotonic()
    with pytest.raises(viz.RenderError, match=r"longer than 0.5 s.*depth=1.*graph\.dot"):
        graph.render(tmp_path / "graph.svg", time_limit=0.5)
    assert time.monotonic() - start < 10
    assert ended(int((tmp_path / "child").read_text()))


@posix
def test_an_engine_that_leaves_a_child_behind_does_not_hang_us(graph, tmp_path, fake_dot):
    fake_dot(f'"{SLEEP}" 300 &\necho $! > "{tmp_path}/child"')
    start = time.monotonic()
    with pytest.raises(viz.RenderError, match="dot gave no SVG"):
        graph.render(tmp_path / "graph.svg", time_limit=30)
    assert time.monotonic() - start < 10
    assert ended(int((tmp_path / "child").read_text()))


@posix
def test_an_interrupt_stops_the_engine(monkeypatch):
    started = []

    def interrupted(process, written, limit):
        started.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr(render, "ended", interrupted)
    with pytest.raises(KeyboardInterrupt):
        render.run([SLEEP, "300"], b"", 60)
    assert started[0].returncode == -9


@posix
@pytest.mark.parametrize("stream", ["1", "2"])
def test_an_engine_that_writes_without_end_is_stopped(
    graph, tmp_path, fake_dot, monkeypatch, stream
):
    monkeypatch.setattr(render, "LARGEST", 1 << 20)
    fake_dot(f"while :; do echo garbage >&{stream}; done")
    with pytest.raises(viz.RenderError, match=r"dot wrote more than 1 MB; the DOT text is in"):
        graph.render(tmp_path / "graph.svg", time_limit=60)
    assert (tmp_path / "graph.dot").read_text() == graph.to_dot()


@posix
def test_an_engine_that_does_not_read_its_input(graph, tmp_path, fake_dot):
    fake_dot("exec <&-; exit 0")
    with pytest.raises(viz.RenderError, match="dot gave no SVG"):
        graph.render(tmp_path / "graph.svg")


def ended(pid):
    """Does the process with this id end within seconds?"""
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        status = Path(f"/proc/{pid}/stat")  # a zombie has ended, too
        if status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


@posix
def test_the_page_survives_a_failing_engine(graph, tmp_path, fake_dot):
    fake_dot("exit 4")
    with pytest.warns(viz.RenderWarning, match="exit status 4"):
        page = graph.save_html(tmp_path / "graph.html").read_text()
    assert "exit status 4" in page
    assert str(graph) in page


# ── what is refused ──────────────────────────────────────────────────────────────────────────────
def test_too_large_a_graph_is_refused_at_once(graph, tmp_path):
    for draw in (
        lambda: graph.render(tmp_path / "graph.svg", max_nodes=3),
        lambda: graph.save_html(tmp_path / "graph.html", max_nodes=3),
    ):
        with pytest.raises(viz.GraphTooLargeError, match=r"4 boxes.*max_nodes=3.*depth= below 2"):
            draw()
    assert list(tmp_path.iterdir()) == []
    assert graph.render(tmp_path / "graph.svg", max_nodes=3, depth=0).exists()


@pytest.mark.parametrize("name", ["graph", "graph.bmp", "graph.html", ".svg", "graph.svg.exe"])
def test_an_unknown_suffix(graph, tmp_path, name):
    with pytest.raises(viz.RenderError, match=r"must end in \.svg, \.png, \.pdf, \.dot, \.gv"):
        graph.render(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_page_must_be_called_html(graph, tmp_path):
    with pytest.raises(viz.RenderError, match=r"must end in \.html, \.htm"):
        graph.save_html(tmp_path / "graph.svg")


@pytest.mark.parametrize(
    "place", ["missing/graph.dot", "nul\0.dot", "x" * 300 + ".dot", "file/g.dot"]
)
def test_a_place_that_cannot_be_written(graph, tmp_path, place):
    (tmp_path / "file").write_text("a file, not a folder")
    with pytest.raises(viz.RenderError, match=r"cannot write .*choose another place") as caught:
        graph.render(str(tmp_path / place))
    assert "\n" not in str(caught.value)


def test_a_folder_is_not_overwritten(graph, tmp_path):
    (tmp_path / "graph.dot").mkdir()
    with pytest.raises(viz.RenderError, match="it is not a file"):
        graph.render(tmp_path / "graph.dot")


# ── whole files ──────────────────────────────────────────────────────────────────────────────────
def test_a_write_that_fails_half_way_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "graph.dot"
    path.write_bytes(b"old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(viz.RenderError, match="No space left on device"):
        files.write_whole(path, b"new content")
    assert path.read_bytes() == b"old"
    assert leftovers(tmp_path) == []


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "graph.dot").write_text("old")
    link = tmp_path / "graph.dot"
    link.symlink_to(tmp_path / "real" / "graph.dot")
    files.write_whole(link, b"new")
    assert link.is_symlink()
    assert (tmp_path / "real" / "graph.dot").read_text() == "new"
