"""The steps of a layer, forward from left to right, then backward from right to left.

Formulas and source texts of the backward steps are those of the engine's own rules: a rule says
"dA = dY Bᵀ" beside its code, and with P, V and C for A, B and Y that is "dP = dC Vᵀ".  Which rules
belong to which step is the table `stages`; nothing is derived a second time here.
"""

from __future__ import annotations

import inspect
import re
from ast import FunctionDef, get_docstring, parse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from textwrap import dedent
from typing import Any, NamedTuple

from ...engine import PRIMITIVES
from ...engine.rule import Rule
from ...nn import RotaryPositions
from ..labels import shape_text
from .data import Layer, Recording, Step, Text
from .sentences import CROSS, SHARED, WORDS

NOTHING = "–"
LETTERS = re.compile("[A-Za-z]+ᵢ?")  # a symbol of a formula; not the ᵀ behind it


class Use(NamedTuple):
    """A primitive's rule for one argument, and what the arrays in it are called here.

    Attributes:
        symbols: the letters of the rule's formula → matrices of this step.
        saved: the matrices that the rule's needs stand for, by their names in it.
        broadcast: the argument was added to every token, so the engine sums over all of them.
    """

    primitive: str
    argument: int
    symbols: Mapping[str, str]
    saved: Mapping[str, str] = {}
    broadcast: bool = False

    @property
    def rule(self) -> Rule:
        """The rule itself, as it stands now."""
        rule = PRIMITIVES[self.primitive].rules[self.argument]
        assert rule is not None  # those of the table all have one
        return rule

    @property
    def formula(self) -> str:
        """The rule's formula in this step's symbols."""
        named = {d + x: d + y for x, y in self.symbols.items() for d in ("", "d")}
        text = LETTERS.sub(lambda found: named.get(found[0], found[0]), self.rule.formula)
        text = text.replace(" = ", " = Σ ") + " over all tokens" if self.broadcast else text
        return text.replace("ᵀᵀ", "").replace(", copies", " over the heads h that share it")

    @property
    def needs(self) -> list[str]:
        """The matrices that were kept for it."""
        return [self.saved[need] for need in self.rule.needs if need in self.saved]

    @property
    def source(self) -> str:
        """The rule as it stands in the engine."""
        op = PRIMITIVES[self.primitive]
        return f"# {op.name}, {op.argument(self.argument)}\n{code(self.rule.fn)}"


@dataclass(frozen=True)
class Stage:
    """A step of the forward pass and the one that undoes it.

    Attributes:
        words: its key in WORDS.
        makes, reads: matrices of the forward pass; the parameters among `reads` included.
        forward: formulas, one a line.
        uses: the rules of the backward step.
        code: what computes it forward.
        backward: formulas, where those of the rules have to be put together.
    """

    words: str
    makes: tuple[str, ...]
    reads: tuple[str, ...]
    forward: tuple[str, ...]
    uses: tuple[Use, ...]
    code: tuple[Callable[..., Any], ...]
    backward: tuple[str, ...] = ()


def steps_of(recording: Recording) -> tuple[Step, ...]:
    """All steps: forward, then backward.

    Args:
        recording: whose layer, examples and parameters are known.
    """
    values = {**recording.examples[0].values, **recording.parameters}
    shapes = {name: array.shape for name, array in values.items()}
    found = stages(recording.layer)
    there = [forward(recording.layer, stage, shapes) for stage in found]
    return (*there, *(backward(recording.layer, stage, shapes) for stage in reversed(found)))


def forward(layer: Layer, stage: Stage, shapes: Mapping[str, tuple[int, ...]]) -> Step:
    """A stage on the way there."""
    words = WORDS[stage.words]
    return Step(
        "forward",
        stage.makes,
        stage.reads,
        words.forward,
        "\n".join(stage.forward),
        "\n\n".join(code(function) for function in stage.code),
        shapes_text(shapes, stage.reads, stage.makes),
        saves_text(stage),
        words.forwards,
    )


def backward(layer: Layer, stage: Stage, shapes: Mapping[str, tuple[int, ...]]) -> Step:
    """The same stage on the way back."""
    words = WORDS[stage.words]
    makes = tuple("d" + name for name in stage.reads)
    kept = tuple(name for name in saved(stage) if name in shapes)
    reads = (*("d" + name for name in stage.makes), *kept)
    shapes = {**shapes, **{"d" + name: shape for name, shape in shapes.items()}}
    formulas = stage.backward or tuple(use.formula for use in stage.uses)
    sources = dict.fromkeys(use.source for use in stage.uses)
    return Step(
        "backward",
        makes,
        reads,
        words.backward,
        "\n".join(formulas),
        "\n\n".join(sources),
        shapes_text(shapes, reads, makes),
        saves_text(stage),
        told(layer, stage.words, words.backwards),
    )


def told(layer: Layer, words: str, text: Text) -> Text:
    """The sentence of a backward step, for this layer."""
    if words == "projection" and layer.cross:
        return CROSS
    if words == "raw" and layer.group > 1:
        return Text(text.en + SHARED.en, text.ko + SHARED.ko)
    return text


# ── the table ────────────────────────────────────────────────────────────────────────────────────
def stages(layer: Layer) -> list[Stage]:
    """The steps of this layer, in the order of the forward pass."""
    q, k = ("Qrot", "Krot") if layer.rotary else ("Q", "K")
    add, multiply, softmax, matmul, reshape, transpose = (
        PRIMITIVES[name].__wrapped__
        for name in ("add", "multiply", "softmax", "matmul", "reshape", "transpose")
    )
    return [
        projections(layer),
        *([rotation()] if layer.rotary else []),
        Stage(
            "raw",
            ("R",),
            (q, k),
            (f"R = {q} {k}ᵀ",),
            (*product(q, each(layer, k) + "ᵀ", "R", kept=(q, k)), *shared(layer, k)),
            (matmul,),
        ),
        Stage(
            "scores",
            ("S",),
            ("R",),
            ("S = R / √d",),
            (Use("multiply", 0, {"a": "R", "b": "(1/√d)", "y": "S"}, {"b": "scale"}),),
            (multiply,),
        ),
        Stage(
            "mask",
            ("Smasked",),
            ("S",),
            ("S′ = S + mask",),
            (Use("add", 0, {"a": "S", "b": "mask", "y": "S′"}),),
            (add,),
        ),
        Stage(
            "softmax",
            ("P",),
            ("Smasked",),
            ("P = softmax(S′), each row by itself",),
            (Use("softmax", 0, {"x": "S′", "y": "P"}, {"out": "P"}),),
            (softmax,),
        ),
        Stage(
            "context",
            ("C",),
            ("P", "V"),
            ("C = P V",),
            (*product("P", each(layer, "V"), "C", kept=("P", "V")), *shared(layer, "V")),
            (matmul,),
        ),
        joined((transpose, reshape)),
        Stage(
            "output",
            ("Y",),
            ("O", "Wo", *(("bo",) if layer.bias else ())),
            (linear("Y", "O", "Wo", "bo" if layer.bias else ""),),
            (*product("O", "Woᵀ", "Y", kept=("O", "Wo")), *added("bo", "Y", layer.bias)),
            (matmul, add) if layer.bias else (matmul,),
        ),
    ]


def projections(layer: Layer) -> Stage:
    """X, and in cross-attention M, to Q, K and V."""
    source = "M" if layer.cross else "X"
    rows = [("Q", "X", "q"), ("K", source, "k"), ("V", source, "v")]
    uses = [product(x, f"W{kind}ᵀ", y, kept=(x, f"W{kind}")) for y, x, kind in rows]
    biases = [use for y, _, kind in rows for use in added(f"b{kind}", y, layer.bias)]
    parts: dict[str, list[str]] = {}  # an input that is used several times collects all of them
    for (_, x, _), (to_input, _) in zip(rows, uses, strict=True):
        parts.setdefault(x, []).append(to_input.formula.partition(" = ")[2])
    matmul, add = (PRIMITIVES[name].__wrapped__ for name in ("matmul", "add"))
    return Stage(
        "projection",
        ("Q", "K", "V"),
        (*parts, "Wq", "Wk", "Wv", *(("bq", "bk", "bv") if layer.bias else ())),
        tuple(linear(y, x, f"W{kind}", f"b{kind}" if layer.bias else "") for y, x, kind in rows),
        (*(use for pair in uses for use in pair), *biases),
        (matmul, add) if layer.bias else (matmul,),
        (
            *(f"d{x} = {' + '.join(found)}" for x, found in parts.items()),
            *(to_weight.formula for _, to_weight in uses),
            *(use.formula for use in biases),
        ),
    )


def rotation() -> Stage:
    """Q and K turned by their positions: the rules of the products, the difference and the pair."""
    uses = (
        Use("multiply", 0, {}, {"b": "cos, sin"}),
        Use("subtract", 1, {}),
        Use("concatenate", 0, {}),
        Use("split", 0, {}),
    )
    return Stage(
        "rotation",
        ("Qrot", "Krot"),
        ("Q", "K"),
        tuple(f"{x}rot = (a∘cos − b∘sin, b∘cos + a∘sin) for each pair (a, b) in {x}" for x in "QK"),
        uses,
        (RotaryPositions.forward,),
        tuple(
            f"d{x} = (da∘cos + db∘sin, db∘cos − da∘sin) for each pair (da, db) in d{x}rot"
            for x in "QK"
        ),
    )


def joined(code: tuple[Callable[..., Any], ...]) -> Stage:
    """The heads side by side; what the rules of both moves say, in one line."""
    uses = tuple(Use(name, 0, {"x": "C", "y": "O"}) for name in ("reshape", "transpose"))
    moves = ", ".join(use.formula.partition(", ")[2] for use in uses)
    return Stage(
        "concat", ("O",), ("C",), ("O = C, heads side by side",), uses, code, (f"dC = dO, {moves}",)
    )


def product(a: str, b: str, y: str, *, kept: tuple[str, str]) -> tuple[Use, Use]:
    """Both rules of y = a b; `kept` are the matrices behind a and b."""
    symbols = {"A": a, "B": b, "Y": y}
    saved = dict(zip("ab", kept, strict=True))
    return Use("matmul", 0, symbols, saved), Use("matmul", 1, symbols, saved)


def each(layer: Layer, name: str) -> str:
    """K or V as a query head h sees it: its own copy, where several share one."""
    return f"{name}ₕ" if layer.group > 1 else name


def shared(layer: Layer, name: str) -> list[Use]:
    """The rule of the copies where several query heads share one head of keys or values."""
    return [Use("repeat", 0, {"xᵢ": name, "y": each(layer, name)})] if layer.group > 1 else []


def added(bias: str, y: str, there: bool) -> list[Use]:
    """The rule of a bias."""
    return [Use("add", 1, {"b": bias, "y": y}, broadcast=True)] if there else []


def linear(y: str, x: str, weight: str, bias: str) -> str:
    """The formula of a projection."""
    return f"{y} = {x} {weight}ᵀ" + (f" + {bias}" if bias else "")


# ── as text ──────────────────────────────────────────────────────────────────────────────────────
def symbol(name: str) -> str:
    """How a matrix is written: dSmasked as dS′."""
    return name.replace("Smasked", "S′").replace("scale", "1/√d")


def shapes_text(
    shapes: Mapping[str, tuple[int, ...]], reads: Iterable[str], makes: Iterable[str]
) -> str:
    """ "P 6 × 5 × 7, V 3 × 7 × 2 → C 6 × 5 × 2"."""
    sides = [
        ", ".join(f"{symbol(name)} {shape_text(shapes[name])}" for name in names)
        for names in (reads, makes)
    ]
    return " → ".join(sides)


def saved(stage: Stage) -> list[str]:
    """What the rules of a stage ask for, and so was kept on the way there."""
    kept = {need for use in stage.uses for need in use.needs}
    return [n for n in (*stage.reads, *stage.makes) if n in kept] + sorted(
        kept - {*stage.reads, *stage.makes}
    )


def saves_text(stage: Stage) -> str:
    """The same as a line."""
    return ", ".join(map(symbol, saved(stage))) or NOTHING


def code(function: Callable[..., Any]) -> str:
    """Its source without decorators, docstring and indentation; "" where there is none."""
    try:
        text = dedent(inspect.getsource(function)).strip()
    except OSError:
        return ""
    if "lambda" in text.partition("\n")[0]:
        return text.replace(",  #", "  #").removesuffix(",")
    (definition,) = parse(text).body
    assert isinstance(definition, FunctionDef)
    lines, (first, *_) = text.splitlines(), definition.body
    end = first.end_lineno if get_docstring(definition) else None
    skipped = range(first.lineno, 1 + (end or 0))
    return "\n".join(
        line
        for number, line in enumerate(lines, 1)
        if number >= definition.lineno and number not in skipped
    )
