"""Names are data: whatever they are, they stay text in DOT, SVG, HTML and on the terminal."""

import re
import unicodedata
from functools import cache
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hostile import LABELS
from hostile import shown as one_line
from hostile import titled as shown

import tinygrad_attn as ta
from tinygrad_attn import viz
from tinygrad_attn.viz import dot, html, labels, render, svg
from tinygrad_attn.viz.options import Options

SCRIPT = "<script>alert(1)</script>"
TITLED = Options(title=SCRIPT)
PARTS = [LABELS[i::7] for i in range(7)]  # a layout takes longer than its parts would
ENGINES = list(viz.engines())
assert ENGINES, "these tests need a layout engine"
LINKS = {"a", "script", "image", "use", "foreignObject", "iframe", "animate", "set", "style"}


# fmt: off
ELEMENTS = {
    "html", "head", "meta", "title", "style", "body", "h1", "ul", "li", "i", "b", "div", "p",
    "details", "summary", "pre", "svg", "g", "polygon", "polyline", "path", "ellipse", "text",
}
# fmt: on


@cache
def graph(part):
    """Every name on a variable, on a result, on an output and on a scope."""
    outputs = []
    for name in part:
        x = ta.Tensor(1.0, requires_grad=True, name=name)
        with ta.scope(name):
            y = -x
            y.name = name
        outputs.append(y)
    return viz.trace(outputs)


@cache
def drawn(make, engine, part):
    """Graphviz's own SVG of a graph's DOT text, and ours made of it."""
    command = viz.engines()[engine]
    dot_text = make(part).to_dot(title=SCRIPT).encode()
    content, reason = render.run([*command, "-Tsvg"], dot_text, 60)
    assert not reason
    return content, svg.finished(content, make(part))


@cache
def written(make, engine, part):
    """The lines of text in both, by element id."""
    content, ours = drawn(make, engine, part)
    return texts(content, "id"), texts(ours, "data-id")


def texts(source, key):
    """The lines of text of the group with each id."""
    groups = {}
    for node in ElementTree.fromstring(source).iter():
        if node.tag.endswith("}g") and node.get(key):
            lines = [child.text for child in node if child.tag.endswith("}text")]
            groups[node.get(key)] = [(line or "").replace("\u00a0", " ") for line in lines]
    return groups


def plain(text):
    """As `texts` has it."""
    return text.replace("\u00a0", " ")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("part", PARTS, ids=range(len(PARTS)))
def test_drawings_show_the_name(engine, part):
    """In Graphviz's own drawing of the DOT text, and in ours."""
    for groups in written(graph, engine, part):
        for name in part:
            ids = [v.id for v in graph(part).vertices if v.name == name]
            kinds = ["", " = negative", ""] if name else [" = input", " = negative", " = output"]
            expected = [plain(shown(name)) + kind for kind in kinds]
            assert [groups[f"n{i}"][0] for i in ids] == expected
            cluster = graph(part).vertices[ids[1]].cluster
            assert groups[f"c{cluster}"] == [plain(shown(name))]


def tooltips(make, part):
    ours = ElementTree.fromstring(drawn(make, ENGINES[0], part)[1])
    return {node.text or "" for node in ours.iter() if node.tag.endswith("}title")}


@pytest.mark.parametrize("part", PARTS, ids=range(len(PARTS)))
def test_tooltips_hold_the_text_too(part):
    for name in part:
        place = f"{one_line(name, 200)}: " if name else ""
        expected = f"{place}{shown(name)} = negative\nscalar · float32"
        assert any(title.startswith(expected) for title in tooltips(graph, part)), name


class Page(HTMLParser):
    """What a browser would find: elements, attributes, and text by element."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.tags, self.keys, self.path, self.text = set(), set(), [], {}
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.keys |= {key for key, _ in attrs}
        self.path.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.keys |= {key for key, _ in attrs}

    def handle_endtag(self, tag):
        while self.path and self.path.pop() != tag:
            pass

    def handle_data(self, data):
        tag = self.path[-1] if self.path else ""
        self.text[tag] = self.text.get(tag, "") + data


@cache
def page(picture, part):
    source = drawn(graph, ENGINES[0], part)[1] if picture else ""
    return Page(html.page(graph(part), TITLED, source, graph(part).to_dot(), "<b>why</b>"))


@pytest.mark.parametrize("picture", [True, False])
@pytest.mark.parametrize("part", PARTS, ids=range(len(PARTS)))
def test_html_holds_nothing_that_runs_or_loads(picture, part):
    assert page(picture, part).tags <= ELEMENTS
    assert not {"href", "src", "srcset", "xlink:href", "action"} & page(picture, part).keys
    assert not any(key.startswith("on") for key in page(picture, part).keys)
    assert page(picture, part).text["h1"] == SCRIPT
    assert page(picture, part).text["p"] == "<b>why</b>"


@pytest.mark.parametrize("picture", [True, False])
@pytest.mark.parametrize("part", PARTS, ids=range(len(PARTS)))
def test_html_shows_the_name(picture, part):
    place = "text" if picture else "pre"
    for name in part:
        assert f"{shown(name)} = negative" in page(picture, part).text[place]


@pytest.mark.parametrize("part", PARTS, ids=range(len(PARTS)))
def test_text_is_safe_on_a_terminal(part):
    text = str(graph(part))
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text if c != "\n")
    for name in part:
        assert any(f"] {shown(name)} = negative  (" in row for row in text.split("\n")), name


@pytest.mark.parametrize("part", PARTS, ids=range(len(PARTS)))
def test_dot_text_is_plain(part):
    text = graph(part).to_dot(title=SCRIPT)
    assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in text if c != "\n")
    bare = re.sub(r'"(\\.|[^"\\])*"', '""', text)  # without what is quoted
    assert not re.search(r"[<&\\]|href|URL|tooltip|target|javascript", bare)
    text.encode("utf-8")


def test_formulas_are_text_too():
    edges = (viz.Edge(0, 1, "<b>", formula='\\N " onload="<i>&amp;\\'),)
    small = viz.Graph((viz.Vertex(0, "input", "x"), viz.Vertex(1, "output", "y")), edges)
    for engine, command in viz.engines().items():
        content, _ = render.run([*command, "-Tsvg"], small.to_dot(formulas=True).encode(), 60)
        assert [line.strip() for line in texts(content, "id")["e0"]] == [edges[0].formula], engine
        assert texts(svg.finished(content, small), "data-id")["e0"] == [edges[0].formula]


# ── both directions ──────────────────────────────────────────────────────────────────────────────
def gradient_title(name):
    symbol = not any(c.isspace() or c in ".()[]" for c in name)
    return plain(one_line(f"d{name}" if symbol else f"d({name})"))


@cache
def gradients(part):
    """The graph of all names, and the gradients beside it."""
    outputs = [trace_one(name) for name in part]
    return viz.trace(outputs, backward=True, detail="operations")


def trace_one(name):
    x = ta.Tensor(1.0, requires_grad=True, name=name)
    with ta.scope(name):
        y = ta.exp(x)
        y.name = name
    return y


@cache
def steps(part):
    """Every name as a constant, an operation of a rule, its cluster, and a formula."""
    vertices, edges, clusters = [], [], []
    for i, name in enumerate(part):
        first = 4 * i
        clusters.append(viz.Cluster(i, name, None, name))
        vertices += [
            viz.Vertex(first, "input", "x", name="x"),
            viz.Vertex(first + 1, "constant", name, shape=(2, 3), dtype="bool"),
            viz.Vertex(
                first + 2, "op", name, constants=(name,), saves=(name,), cluster=i, of=first
            ),
            viz.Vertex(first + 3, "gradient", name, grad_norm=0.5, of=first),
        ]
        edges.append(viz.Edge(first + 1, first + 2, name, kind="saved"))
        edges.append(viz.Edge(first + 2, first + 3, name, name, (2, 3), 0.5, "vjp"))
    return viz.Graph(tuple(vertices), tuple(edges), tuple(clusters))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("part", PARTS, ids=range(len(PARTS)))
def test_gradients_show_the_name(engine, part):
    vertices = gradients(part).vertices
    for name in part:
        ids = [v.id for v in vertices if v.name == name and v.kind in ("input", "op")]
        boxes = [v.id for v in vertices if v.kind == "gradient" and v.of in ids]
        expected = [gradient_title(name)] * 2 if name else ["d(input)", "d(exp)"]
        for groups in written(gradients, engine, part):
            assert sorted(groups[f"n{i}"][0] for i in boxes) == sorted(expected)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("part", PARTS, ids=range(len(PARTS)))
def test_steps_constants_and_formulas_show_the_name(engine, part):
    for groups in written(steps, engine, part):
        for i, name in enumerate(part):
            assert [groups[f"n{4 * i + k}"][0] for k in (1, 2, 3)] == [plain(shown(name))] * 3
            assert groups[f"n{4 * i + 1}"][1:] == ["2 × 3 · bool", "constant"]
            notes = [plain(one_line(f"{word} {name}")) for word in ("constant", "saves")]
            assert groups[f"n{4 * i + 2}"][2:] == notes
            assert groups[f"c{i}"] == [plain(shown(name))]
            formula = [line.strip() for line in groups[f"e{2 * i + 1}"]]
            assert formula == [one_line(name, 200).strip()] * bool(name) + ["2 × 3 · norm 0.5"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("part", PARTS, ids=range(len(PARTS)))
@pytest.mark.parametrize("make", [graph, gradients, steps])
def test_drawings_hold_no_link_no_script_and_no_handler(make, engine, part):
    for source in drawn(make, engine, part):
        for node in ElementTree.fromstring(source).iter():
            assert node.tag.rpartition("}")[2] not in LINKS
            assert not any("href" in key or key.startswith("on") for key in node.attrib)
            assert "javascript" not in "".join(node.attrib.values())
    picture = drawn(make, engine, part)[1]
    shows = Page(html.page(make(part), TITLED, picture, make(part).to_dot()))
    assert shows.tags <= ELEMENTS
    assert not {"href", "src", "srcset", "xlink:href", "action"} & shows.keys
    assert not any(key.startswith("on") for key in shows.keys)


@pytest.mark.parametrize("part", PARTS, ids=range(len(PARTS)))
def test_tooltips_of_gradients_hold_the_text(part):
    titles = tooltips(steps, part)
    for name in part:
        argument = f"argument {one_line(name)}\n" if name else ""
        assert f"2 × 3\nnorm 0.5\n{argument}{one_line(name, 200)}".rstrip("\n") in titles
        kept = f"saved by the forward pass, used by this rule\n{argument}"
        assert kept.rstrip("\n") in titles


def test_careless_quoting_would_be_noticed(monkeypatch):
    """What graphviz 0.21 does: two labels, the first ending in a backslash, make a live link."""
    monkeypatch.setattr(dot, "escaped", lambda text: text.replace('"', '\\"'))
    pair = ["\\", ', URL="javascript:alert(1)", x="']
    vertices = tuple(viz.Vertex(i, "input", name) for i, name in enumerate(pair))
    text = dot.to_dot(viz.Graph(vertices, ()), legend=False)
    contents = [
        render.run([*command, "-Tsvg"], text.encode(), 60)[0] for command in viz.engines().values()
    ]
    assert all(not content or texts(content, "id")["n0"][0] != "\\" for content in contents)


def test_names_that_are_not_text_are_shown_as_text():
    x = ta.Tensor([1.0], requires_grad=True)
    assert viz.trace(x, model={7: x}).vertices[0].label == "7"


def test_quoting_is_undone_by_the_rules_of_dot():
    assert dot.quoted('a"b', "c\\", "<&>") == '"a\\"b\\nc\\\\\\n<&amp;>"'


def test_a_label_of_any_length_is_bounded():
    assert labels.clean("ab", 2) == "ab"
    assert labels.clean("abc", 2) == "a…"
    assert len(labels.clean("x" * 10**6)) == labels.NAME_LIMIT
