"""What is compared: upstream gradients g, directions u, and the numbers gᵀ(∂f/∂x)u for all pairs.

A small Jacobian is compared entry by entry, with dense random upstream gradients besides.  For a
large one g and u are random, u within one input at a time, and some columns are taken singly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..engine import Array
from .problem import Problem, upstream

FULL = 4096  # entries of a Jacobian that is still compared in full
LONGEST = 256  # and the length of its longer side
DENSE = 2  # dense random upstream gradients, and directions for each input
COLUMNS = 24  # single columns of a large Jacobian


@dataclass(frozen=True)
class Probes:
    """Upstream gradients (k, outputs) and directions (d, inputs).

    `outputs` and `inputs` say for each the only element that is not 0, or −1 if it is dense.
    """

    rows: Array
    directions: Array
    outputs: Array
    inputs: Array


def probes(rows: Array, directions: Array) -> Probes:
    """Probes from their vectors."""
    return Probes(rows, directions, sole_elements(rows), sole_elements(directions))


def sole_elements(vectors: Array) -> Array:
    """For each vector the place of the 1 in a unit vector, else −1."""
    places = [np.flatnonzero(vector) for vector in vectors]
    return np.array(
        [
            at[0] if len(at) == 1 and vector[at[0]] == 1 else -1
            for at, vector in zip(places, vectors, strict=True)
        ],
        int,
    )


def chosen_probes(problem: Problem, rng: np.random.Generator) -> Probes:
    """Every entry of a small Jacobian; random projections and columns of a large one."""
    m, n = problem.outputs.size, problem.inputs.size
    dense = np.array([upstream(rng, (m,)) for _ in range(DENSE)])
    if m * n <= FULL and max(m, n) <= LONGEST:
        return probes(np.concatenate([np.eye(m), dense]), np.eye(n))
    directions = [random_directions(problem, rng), random_columns(problem, rng)]
    return probes(dense, np.concatenate(directions))


def random_directions(problem: Problem, rng: np.random.Generator) -> Array:
    """Directions that move one input at a time, each element in proportion to max(1, |x|)."""
    scale = np.maximum(1, np.abs(problem.x))
    directions = []
    for k in range(len(problem.inputs.names)):
        for _ in range(DENSE):
            u, at = np.zeros_like(problem.x), problem.inputs.section(k)
            u[at] = upstream(rng, u[at].shape) * scale[at]
            directions.append(u)
    return np.array(directions)


def random_columns(problem: Problem, rng: np.random.Generator) -> Array:
    """Unit vectors, at least two in each input that has so many elements."""
    names = problem.inputs.names
    each = max(2, COLUMNS // len(names))
    picked: list[int] = []
    for k in range(len(names)):
        at = problem.inputs.section(k)
        size = at.stop - at.start
        picked.extend(at.start + rng.choice(size, min(each, size), replace=False))
    columns = np.zeros((len(picked), problem.inputs.size))
    columns[np.arange(len(picked)), picked] = 1
    return columns


def projected(matrix: Array, vectors: Array) -> Array:
    """matrix @ vectors.T over the elements of each vector that are not 0: 0 · ∞ does not arise."""
    live = [np.flatnonzero(vector) for vector in vectors]
    columns = [matrix[:, at] @ vector[at] for at, vector in zip(live, vectors, strict=True)]
    return np.stack(columns, axis=1) if columns else np.zeros((len(matrix), 0))


def bisect(vector: Array, error: Callable[[Array], float]) -> int:
    """An element of `vector` to which `error`, a linear function, owes its value.

    Of the two halves the one with the larger part of the error is halved again.
    """
    live, total = np.flatnonzero(vector), error(vector)
    while len(live) > 1:
        left, right = np.array_split(live, 2)
        half = np.zeros_like(vector)
        half[left] = vector[left]
        found = error(half)
        larger = abs(found) >= abs(total - found)
        live, total = (left, found) if larger else (right, total - found)
    return int(live[0])
