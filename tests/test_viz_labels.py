"""Names are data: whatever they are, they stay text in DOT, SVG, HTML and on the terminal."""

import re
import unicodedata
from functools import cache
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

import tinygrad_attn as ta
from tinygrad_attn import viz
from tinygrad_attn.viz import dot, html, labels, render, svg

SCRIPT = "<script>alert(1)</script>"
# name → what is shown of it; None: exactly the name
# fmt: off
HOSTILE = {
    SCRIPT: None, "</script>": None, "</title><script>x</script>": None, "</svg>": None,
    "-->": None, "]]>": None,
    "<!-- a": None, "<?xml?>": None, "<img src=x onerror=alert(1)>": None,
    "javascript:alert(1)": None, '" onload="alert(1)': None, "' onload='alert(1)": None,
    '"];\n}': '"];⏎}', '", URL="javascript:alert(1)", label="': None, "<b>bold</b>": None,
    "<<table><tr><td>x</td></tr></table>>": None, "<>": None, "&lt;b&gt;": None, "&amp;amp;": None,
    "&#60;i&#62;": None, "&": None, "&nope;": None, '"': None, "\\": None, "\\\\": None,
    'a\\"': None,
    "ends in \\": None, "\\N": None, "\\G \\T \\H \\E \\L": None, "\\l\\r\\n": None, "$x^2$": None,
    "{a|b}": None, "n1 -> n0": None, "a--b": None, "two  spaces   three": None, "한국어": None,
    "dA = dY Bᵀ ∘ √σ": None, "👩‍🔬": None, "é e\u0301": None, "\u200fmark": None,
    "%s {0} ${x}": None,
    "line\nbreak\ttab": "line⏎break⇥tab", "\r\n": "\ufffd⏎", "nul\0nul": "nul\ufffdnul",
    "\x1b[31mred": "\ufffd[31mred", "\x7f\x85": "\ufffd\ufffd", "\ud800 alone": "\ufffd alone",
    "\udfff": "\ufffd", "\ufffe\uffff": "\ufffd\ufffd", "\u202egnp.exe": "\ufffdgnp.exe",
    "\u2066isolate": "\ufffdisolate", "\u2028para\u2029": "\ufffdpara\ufffd",
    "\U0001fffe": "\ufffd", " ": "' '", "\u3000": "'\\u3000'", "x" * 20_000: "x" * 59 + "…",
    "\\" * 20_001: "\\" * 59 + "…", "<" * 61: "<" * 59 + "…", "y" * 60: None,
}
# fmt: on
NAMES = list(HOSTILE)
ENGINES = list(viz.engines())
assert ENGINES, "these tests need a layout engine"
LINKS = {"a", "script", "image", "use", "foreignObject", "iframe", "animate", "set", "style"}


# fmt: off
ELEMENTS = {
    "html", "head", "meta", "title", "style", "body", "h1", "ul", "li", "i", "b", "div", "p",
    "details", "summary", "pre", "svg", "g", "polygon", "polyline", "path", "ellipse", "text",
}
# fmt: on


def shown(name):
    return name if HOSTILE[name] is None else HOSTILE[name]


@cache
def graph():
    """Every name on a variable, on a result, on an output and on a scope."""
    outputs = []
    for name in NAMES:
        x = ta.Tensor(1.0, requires_grad=True, name=name)
        with ta.scope(name):
            y = -x
            y.name = name
        outputs.append(y)
    return viz.trace(outputs)


def vertex_ids(name):
    """The ids of the variable, the operation and the output called `name`."""
    return [v.id for v in graph().vertices if v.name == name]


@cache
def raw(engine):
    """Graphviz's own SVG of the DOT text, by element id."""
    command = viz.engines()[engine]
    content, reason = render.run([*command, "-Tsvg"], graph().to_dot(title=SCRIPT).encode(), 60)
    assert not reason
    return content


@cache
def finished(engine):
    return svg.finished(raw(engine), graph())


def texts(source, key):
    """The lines of text of the group with each id."""
    groups = {}
    for node in ElementTree.fromstring(source).iter():
        if node.tag.endswith("}g") and node.get(key):
            lines = [child.text for child in node if child.tag.endswith("}text")]
            groups[node.get(key)] = [(line or "").replace("\u00a0", " ") for line in lines]
    return groups


def check_drawing(groups, name):
    variable, operation, output = vertex_ids(name)
    assert groups[f"n{variable}"][0] == groups[f"n{output}"][0] == shown(name)
    assert groups[f"n{operation}"][0] == f"{shown(name)} = negative"
    cluster = graph().vertices[operation].cluster
    assert groups[f"c{cluster}"] == [shown(name)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_dot_text_means_the_name_to_graphviz(engine, name):
    check_drawing(texts(raw(engine), "id"), name)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_svg_shows_the_name(engine, name):
    check_drawing(texts(finished(engine), "data-id"), name)


@pytest.mark.parametrize("engine", ENGINES)
def test_drawings_hold_no_link_no_script_and_no_handler(engine):
    for source in (raw(engine), finished(engine)):
        for node in ElementTree.fromstring(source).iter():
            assert node.tag.rpartition("}")[2] not in LINKS
            assert not any("href" in key or key.startswith("on") for key in node.attrib)
            assert "javascript" not in "".join(node.attrib.values())


def test_tooltips_hold_the_text_too():
    titles = [
        node.text
        for node in ElementTree.fromstring(finished(ENGINES[0])).iter()
        if node.tag.endswith("}title")
    ]
    for name in NAMES:
        assert any(
            f"{shown(name)} = negative\nscalar · float32" in (title or "") for title in titles
        )


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
def page(picture):
    source = finished(ENGINES[0]) if picture else ""
    return Page(html.page(graph(), SCRIPT, source, graph().to_dot(), "<b>why</b>"))


@pytest.mark.parametrize("picture", [True, False])
def test_html_holds_nothing_that_runs_or_loads(picture):
    assert page(picture).tags <= ELEMENTS
    assert not {"href", "src", "srcset", "xlink:href", "action"} & page(picture).keys
    assert not any(key.startswith("on") for key in page(picture).keys)
    assert page(picture).text["h1"] == SCRIPT
    assert page(picture).text["p"] == "<b>why</b>"


@pytest.mark.parametrize("picture", [True, False])
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_html_shows_the_name(picture, name):
    place = "text" if picture else "pre"
    assert f"{shown(name)} = negative" in page(picture).text[place]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_text_is_safe_on_a_terminal(name):
    line = next(row for row in str(graph()).split("\n") if f"{shown(name)} = negative" in row)
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in line)


def test_dot_text_is_plain():
    text = graph().to_dot(title=SCRIPT)
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
UNSHOWABLE = set("\r\0\x1b\x7f\x85\ud800\udfff\ufffe\uffff\u202e\u2066\u2028\u2029\U0001fffe")


def one_line(text, limit=60):
    """What is to be seen of any text: replaced sign by sign, cut to `limit`."""
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    shown_as = {"\n": "⏎", "\t": "⇥", **dict.fromkeys(UNSHOWABLE, "\ufffd")}
    return "".join(shown_as.get(c, c) for c in text)


def gradient_title(name):
    plain = name and not any(c.isspace() or c in ".()[]" for c in name)
    return one_line(f"d{name}" if plain else f"d({name})")


@cache
def gradients():
    """The graph of all names, and the gradients beside it."""
    outputs = [trace_one(name) for name in NAMES]
    return viz.trace(outputs, backward=True, detail="operations")


def trace_one(name):
    x = ta.Tensor(1.0, requires_grad=True, name=name)
    with ta.scope(name):
        y = ta.exp(x)
        y.name = name
    return y


@cache
def steps():
    """Every name as a constant, an operation of a rule, its cluster, and a formula."""
    vertices, edges, clusters = [], [], []
    for i, name in enumerate(NAMES):
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


@cache
def drawn(make, engine):
    """Graphviz's SVG of a graph, and ours made of it."""
    command = viz.engines()[engine]
    content, reason = render.run([*command, "-Tsvg"], make().to_dot(title=SCRIPT).encode(), 60)
    assert not reason
    return content, svg.finished(content, make())


@cache
def written(make, engine):
    """The lines of text in both, by element id."""
    content, ours = drawn(make, engine)
    return texts(content, "id"), texts(ours, "data-id")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_gradients_show_the_name(engine, name):
    ids = [v.id for v in gradients().vertices if v.name == name and v.kind in ("input", "op")]
    boxes = [v.id for v in gradients().vertices if v.kind == "gradient" and v.of in ids]
    assert len(boxes) == 2
    for groups in written(gradients, engine):
        assert {groups[f"n{i}"][0] for i in boxes} == {gradient_title(name)}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_steps_constants_and_formulas_show_the_name(engine, name):
    i = NAMES.index(name)
    for groups in written(steps, engine):
        assert [groups[f"n{4 * i + k}"][0] for k in (1, 2, 3)] == [shown(name)] * 3
        assert groups[f"n{4 * i + 1}"][1:] == ["2 × 3 · bool", "constant"]
        notes = [one_line(f"constant {name}"), one_line(f"saves {name}")]
        assert groups[f"n{4 * i + 2}"][2:] == notes
        assert groups[f"c{i}"] == [shown(name)]
        formula = [line.strip() for line in groups[f"e{2 * i + 1}"]]
        assert formula == [one_line(name, 200).strip(), "2 × 3 · norm 0.5"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("make", [gradients, steps])
def test_both_directions_hold_no_link_no_script_and_no_handler(make, engine):
    for source in drawn(make, engine):
        for node in ElementTree.fromstring(source).iter():
            assert node.tag.rpartition("}")[2] not in LINKS
            assert not any("href" in key or key.startswith("on") for key in node.attrib)
            assert "javascript" not in "".join(node.attrib.values())
    shows = Page(html.page(make(), SCRIPT, drawn(make, engine)[1], make().to_dot()))
    assert shows.tags <= ELEMENTS
    assert not {"href", "src", "srcset", "xlink:href", "action"} & shows.keys
    assert not any(key.startswith("on") for key in shows.keys)


def test_tooltips_of_gradients_hold_the_text():
    titles = {
        node.text
        for node in ElementTree.fromstring(drawn(steps, ENGINES[0])[1]).iter()
        if node.tag.endswith("}title")
    }
    for name in NAMES:
        argument = f"argument {one_line(name)}"
        assert f"2 × 3\nnorm 0.5\n{argument}\n{one_line(name, 200)}" in titles
        assert f"saved by the forward pass, used by this rule\n{argument}" in titles


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
    x.name = 7
    assert viz.trace(x).vertices[0].label == "7"


def test_quoting_is_undone_by_the_rules_of_dot():
    assert dot.quoted('a"b', "c\\", "<&>") == '"a\\"b\\nc\\\\\\n<&amp;>"'


def test_a_label_of_any_length_is_bounded():
    assert labels.clean("ab", 2) == "ab"
    assert labels.clean("abc", 2) == "a…"
    assert len(labels.clean("x" * 10**6)) == labels.NAME_LIMIT
