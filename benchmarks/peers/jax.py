"""JAX on the CPU; a whole run is compiled as one function."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..formulas import Functions
from ..problems import BETAS, CLIP, DECAY, EPS, LR, Problem, Sizes, problem
from ..work import Array, Work


class JAX(Functions):
    """JAX's own softmax and GELU."""

    softmax = staticmethod(jax.nn.softmax)
    log_softmax = staticmethod(jax.nn.log_softmax)
    gelu = staticmethod(jax.nn.gelu)  # the tanh form, unless told otherwise


FUNCTIONS = JAX(jnp)


class Gradients(Work):
    """Forward and backward from the problem's gradient."""

    def __init__(self, given: Problem, compute: Any) -> None:
        self.params, self.g = jax.device_put((given.params, given.upstream))

        @jax.jit
        def both(params: Any, g: Any) -> Any:
            result, pull = jax.vjp(compute, params)
            return result, pull(g)[0]

        self.both = both

    def run(self) -> None:
        """Forward and backward."""
        jax.block_until_ready(self.both(self.params, self.g))

    def check(self) -> dict[str, Array]:
        """The result and every gradient."""
        result, gradients = self.both(self.params, self.g)
        return {"result": np.asarray(result), **gradients}


class Training(Work):
    """Training steps; the old values' memory is given to the new ones."""

    def __init__(self, given: Problem) -> None:
        compute = partial(given.compute, FUNCTIONS)
        self.data, self.first = given.data(), given.batches[0]
        self.gradients = jax.jit(jax.value_and_grad(compute))
        params = jax.device_put(given.params)
        zeros = jax.tree.map(jnp.zeros_like, params)
        self.state = (params, zeros, jax.tree.map(jnp.copy, zeros), jnp.zeros((), jnp.int32))

        @partial(jax.jit, donate_argnums=0)
        def step(state: Any, batch: Any) -> Any:
            loss, gradients = jax.value_and_grad(compute)(state[0], *batch)
            return updated(state, clipped(gradients)), loss

        self.step = step

    def run(self) -> float:
        """One step: the loss."""
        self.state, loss = self.step(self.state, next(self.data))
        jax.block_until_ready(self.state)
        return float(loss)

    def check(self) -> dict[str, Array]:
        """The loss of the first batch and every gradient."""
        loss, gradients = self.gradients(self.state[0], *self.first)
        return {"loss": np.asarray(loss), **gradients}


def clipped(gradients: Any) -> Any:
    """All gradients, scaled so that their common norm is at most CLIP."""
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in gradients.values()))
    factor = jnp.minimum(1.0, CLIP / (norm + 1e-6))
    return {name: g * factor for name, g in gradients.items()}


def updated(state: Any, gradients: Any) -> Any:
    """AdamW; the state is (parameters, means, means of squares, number of steps)."""
    params, means, squares, count = state
    count = count + 1
    new: Any = ({}, {}, {})
    for name, g in gradients.items():
        m = BETAS[0] * means[name] + (1 - BETAS[0]) * g
        v = BETAS[1] * squares[name] + (1 - BETAS[1]) * g * g
        decay = DECAY if g.ndim >= 2 else 0.0
        scaled = (m / (1 - BETAS[0] ** count)) / (jnp.sqrt(v / (1 - BETAS[1] ** count)) + EPS)
        value = params[name] * (1 - LR * decay) - LR * scaled
        new[0][name], new[1][name], new[2][name] = value, m, v
    return (*new, count)


def fused(given: Problem) -> Any:
    """JAX's own attention, which takes (B, T, H, d)."""

    def compute(params: Any) -> Any:
        q, k, v = (params[name].transpose(0, 2, 1, 3) for name in "qkv")
        context = jax.nn.dot_product_attention(q, k, v, is_causal=given.config.causal)
        return context.transpose(0, 2, 1, 3)

    return compute


def make(name: str, sizes: Sizes) -> Work:
    """The work; float64 where the problem is."""
    given = problem(name, sizes)
    jax.config.update("jax_enable_x64", given.config.dtype == "float64")
    if given.trains:
        return Training(given)
    if name == "long_attention":
        return Gradients(given, fused(given))
    return Gradients(given, partial(given.compute, FUNCTIONS))
