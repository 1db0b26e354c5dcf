"""A graph as indented text, for terminals."""

from __future__ import annotations

from collections import defaultdict

from .data import Cluster, GraphData
from .labels import lines, visible


def to_text(graph: GraphData) -> str:
    """One line a box, numbered, indented by module; arrows name the boxes they come from."""
    sources: dict[int, list[int]] = defaultdict(list)
    for edge in graph.edges:
        sources[edge.target].append(edge.source)
    rows = []
    for depth, item in graph.outline():
        if isinstance(item, Cluster):
            rows.append(f"{'│  ' * depth}┌─ {visible(item.name)}")
        elif item is None:
            rows.append(f"{'│  ' * depth}└─")
        else:
            heading, *others = (line.text for line in lines(item))
            came = " ".join(f"[{source}]" for source in sources[item.id])
            others += [f"from {came}"] if came else []
            rows.append(f"{'│  ' * depth}[{item.id}] {heading}  ({'; '.join(others)})")
    return "\n".join(rows)
