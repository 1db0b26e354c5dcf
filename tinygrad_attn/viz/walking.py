"""The gradients behind a drawing: the engine's own walk, and what passes along every edge of it.

The walk goes over a twin of the graph under create_graph: the same operations, rules, saved arrays
and hooks, but every rule notes the part of the gradient that it gave.  So nothing drawn is made up,
every step of a rule is recorded by the primitives themselves, and the graph traced keeps what it
has saved; its tensors get no `.grad`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..engine import GraphError, Node, Primitive, Scope, Tensor
from ..engine.backward import fitted, unbroadcast, upstream, walk
from ..engine.node import Edge as NodeEdge
from ..engine.node import EdgeRule, Hook, recorded
from ..engine.results import Parts, Result
from ..engine.rule import Rule
from ..engine.settings import changed


class Passage:
    """An edge of the twin: runs the rule, notes its part as it is added to the gradient.

    Attributes:
        node: the operation whose rule it is; None: from outside, to an output.
        parent: whose gradient the part belongs to.
        argument: the position of `parent` among the operation's arguments.
        rule: the rule itself.
        scope: in which the rule's own steps are recorded, and nothing else.
        given: the gradient of the operation's result (a tuple where there are several).
        part: what the rule made of it, in the shape and dtype of `parent`.
        summed: was it added up over broadcast axes after the rule?
    """

    def __init__(self, node: Node | None, parent: Node, argument: int, rule: EdgeRule) -> None:
        self.node, self.parent, self.argument, self.rule = node, parent, argument, rule
        self.scope = Scope(rule.formula, None)
        self.given: Any = None
        self.part: Any = None
        self.summed = False

    @property
    def formula(self) -> str:
        """The rule's, and what was done to its part after that."""
        done = ", summed over broadcast axes" * self.summed
        return self.rule.formula and self.rule.formula + done

    @property
    def own(self) -> Any:
        """The part; of an operation with several results the one that this result gave."""
        return self.part.items[self.rule.slot] if isinstance(self.rule, Result) else self.part

    def fn(self, g: Any, *needs: Any) -> Any:
        """The rule's part, summed over broadcast axes and in the argument's dtype."""
        with changed(scope=self.scope):
            part = self.rule.fn(g, *needs)
            if type(part) is not Parts and self.node is not None:
                if part.shape != self.parent.shape:
                    part, self.summed = unbroadcast(part, self.parent.shape), True
                if part.dtype is not self.parent.dtype:
                    part = fitted(part, self.node, self.parent)
        self.given, self.part = g, part
        return part

    def attached(self, node: Node, needs: Any) -> Any:
        """The saved arrays as Tensors on the nodes of the graph itself, not of its twin."""
        return needs if self.node is None else self.rule.attached(self.node, needs)


class FromOutside:
    """The rule of an edge to an output, and the operation above all outputs."""

    name, formula = "gradient from outside", "dx = dy"

    def __init__(self, g: Any = None) -> None:
        self.g = g

    def fn(self, g: Any) -> Any:
        """What was given for the output."""
        return self.g

    def attached(self, node: Node, needs: Any) -> Any:
        """Nothing is saved."""
        return needs


class Backward(NamedTuple):
    """What a walk went through.

    Attributes:
        gradients: by node, newest first; a tuple for an operation with several results.
        passages: the edges gone along.
    """

    gradients: dict[Node, Any]
    passages: list[Passage]


def walked(
    outputs: Sequence[Tensor],
    given: Sequence[Any],
    nodes: Sequence[Node],
    stand_ins: Mapping[Node, Node],
    *,
    values: bool = False,
) -> Backward:
    """Every gradient of the traced `nodes` (oldest first).

    Args:
        outputs: what was traced.
        given: the gradient of each output; None: 1, for one with a single element.
        stand_ins: for each node left out the one that stands for it.
        values: let the recorded steps keep their values.

    Raises:
        GraphError: the graph was freed.
        ShapeError, DTypeError: a gradient does not fit its output, or is missing.
    """
    unfreed(nodes)
    passages: list[Passage] = []
    twins = twins_of(nodes, stand_ins, passages)
    seeds: list[NodeEdge] = []
    for t, g in zip(outputs, given, strict=True):
        # A leaf: then also rules that are linear are recorded.
        leaf = Tensor(upstream(t, g, False, "trace"), requires_grad=True)
        node = t.need_node("trace")
        root = stand_ins.get(node, node)
        passages.append(Passage(None, root, len(seeds), FromOutside(leaf)))
        seeds.append((twins[root], passages[-1], ()))
    top = recorded(FromOutside(), (), seeds, (), np.dtype(np.float64))
    start = Tensor(np.float64(1))
    with changed(recording=True, keep_values=values):
        reached = dict(
            walk(top, start, create_graph=True, retain_graph=True, wanted=twins.values())
        )
    passages = [passage for passage in passages if passage.part is not None]
    several = {p.node: p.given for p in passages if p.node is not None and type(p.given) is tuple}
    found = {node: reached[twin] for node, twin in twins.items() if twin in reached} | several
    return Backward({node: found[node] for node in reversed(nodes) if node in found}, passages)


def unfreed(nodes: Sequence[Node]) -> None:
    """Refuse a graph whose saved arrays are gone."""
    for node in nodes:
        if node.op is not None and node.edges is None:
            raise GraphError(
                f"trace: no gradients can be drawn, since an earlier backward freed what "
                f"`{node.label}` had saved; trace with backward=True before backward, or call "
                "backward(retain_graph=True)"
            )


def twins_of(
    nodes: Sequence[Node], stand_ins: Mapping[Node, Node], passages: list[Passage]
) -> dict[Node, Node]:
    """A twin for each node; the `passages` between them are added to the list."""
    twins: dict[Node, Node] = {}
    hooks: dict[Node, tuple[Hook, ...]] = defaultdict(tuple)
    for node, inner in stand_ins.items():  # the outer ones come first
        hooks[inner] += node.hooks or ()
    for node in nodes:
        edges = []
        for argument, parent, rule, needs in ruled(node):
            source = stand_ins.get(parent, parent)
            passages.append(Passage(node, source, argument, rule))
            edges.append((twins[source], passages[-1], needs))
        twin = recorded(node.op, (), edges, node.shape, node.dtype, node.scope)
        twin.hooks = hooks[node] + (node.hooks or ())
        twins[node] = twin
    return twins


def ruled(node: Node) -> Iterator[tuple[int, Node, EdgeRule, Any]]:
    """(position of the argument, its node, rule, what the rule asked for) for each edge."""
    rules = [rule_of(node.op, k) for k in range(len(node.parents))]
    places = [
        k for k, parent in enumerate(node.parents) if parent is not None and rules[k] is not None
    ]
    if not isinstance(node.op, Primitive):
        places = list(range(len(node.edges)))
    for k, (parent, rule, needs) in zip(places, node.edges, strict=True):
        yield k, parent, rule, needs


def rule_of(op: Any, k: int) -> Rule | None:
    """The rule for argument `k`; operations of any number of arrays have one for all."""
    if not isinstance(op, Primitive):
        return None
    return op.rules[0 if op.variadic else k]


def norm(grad: Any) -> float:
    """Euclidean norm of a gradient or of several, in float64, scaled so that it cannot overflow."""
    arrays = [
        t.data if isinstance(t, Tensor) else t for t in (grad if type(grad) is tuple else [grad])
    ]
    sizes = np.concatenate([np.abs(array).astype(np.float64).ravel() for array in arrays])
    largest = float(sizes.max(initial=0.0))
    if largest == 0 or not np.isfinite(largest):
        return largest
    return largest * float(np.sqrt(np.square(sizes / largest).sum()))
