"""Recurrent networks with PyTorch's parameters: RNN, GRU and LSTM, batch first.

    a layer in one direction     W_i x + b_i for all steps at once, then step by step the cell
    two directions               the second reads from the end; outputs side by side
    several layers               each reads the outputs of the one below

Sequences of different lengths are padded at the end and given with `lengths`: past its end a
sequence keeps its state, so that the final state is that of the last real step, and the backward
direction starts at each sequence's own end.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np

from .. import ops
from ..engine import Array, DTypeError, ShapeError, Tensor
from ..engine.tensor import locked
from ..ops.recurrent import gru_cell, lstm_cell
from . import functional
from .functional.layers import choice, flag, integers_of, probability
from .layers import positive, uniform
from .module import Module
from .parameter import Parameter

State = tuple[Tensor, ...]  # (h,), or (h, c) for an LSTM; each (1, B, H)


class Recurrent(Module):
    """What RNN, GRU and LSTM share; a subclass says what one step does.

    Args:
        d_in: width of the input.
        d_hidden: width H of the state and, for each direction, of the output.
        num_layers: layers, each reading the outputs of the one below.
        bias: add b_ih and b_hh.
        bidirectional: read from the end as well; outputs are the two directions side by side.
        dropout: probability of dropping an output between two layers while training.
        rng: generator for initial values and dropout.

    Attributes:
        weight_ih_l0: (gates·H, d_in), and for each layer and direction a set of its own:
            weight_ih_l0_reverse, weight_ih_l1 (gates·H, directions·H), …
        weight_hh_l0: (gates·H, H).
        bias_ih_l0, bias_hh_l0: (gates·H,); not there with bias=False.  All are drawn from
            U(−1/√H, 1/√H).
        step: gi = W_i x + b and gh = W_h h, both (1, B, gates·H), and the state -> the next state.
    """

    step: Callable[[Tensor, Tensor, State], State]
    weight_hh_l0: Parameter
    gates = 1  # pre-activations, in widths of the state
    state_names: tuple[str, ...] = ("h",)
    scaled_bias = False  # does a gate scale b_hh?  Otherwise it is added with b_ih, once for all

    def __init__(
        self,
        d_in: int,
        d_hidden: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        bidirectional: bool = False,
        dropout: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        who = type(self).__name__
        positive(who, d_in=d_in, d_hidden=d_hidden, num_layers=num_layers)
        self.d_in, self.d_hidden, self.num_layers = d_in, d_hidden, num_layers
        self.bias = flag(who, "bias", bias)
        self.bidirectional = flag(who, "bidirectional", bidirectional)
        self.dropout, self.rng = probability(who, dropout), rng
        rows, bound = self.gates * d_hidden, 1 / sqrt(d_hidden)
        for layer in range(num_layers):
            width = d_in if layer == 0 else d_hidden * len(self.directions)
            for suffix in self.directions:
                shapes: dict[str, tuple[int, ...]] = {
                    "weight_ih": (rows, width),
                    "weight_hh": (rows, d_hidden),
                }
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                for name, shape in shapes.items():
                    setattr(self, f"{name}_l{layer}{suffix}", uniform(shape, bound, rng))

    @property
    def directions(self) -> tuple[str, ...]:
        """The endings of the parameters' names, one for each direction."""
        return ("", "_reverse") if self.bidirectional else ("",)

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> tuple[Tensor, Any]:
        """Read sequences x (B, T, d_in).

        Args:
            state: where to start: h (num_layers·directions, B, H), for an LSTM (h, c); zeros where
                None.
            lengths: integers (B,), how many steps of each sequence are real; all where None.

        Returns:
            (outputs (B, T, directions·H), zeros past a sequence's end; the final state, shaped like
            `state`: first layer first, forward before backward).

        Raises:
            ShapeError: x, state or lengths have the wrong shape, or a length is not in [0, T].
            DTypeError: x is not floating, lengths are not integers, or the state is of a wrong
                kind.
        """
        x = self.checked_input(x)
        batch, time, _ = x.shape
        real = real_steps(type(self).__name__, lengths, batch, time)
        x = ops.transpose(x, (1, 0, 2))  # (T, B, D): one step is one block of memory
        x = x if real is None else ops.where(real, x, 0.0)  # NaN in padding reaches no gradient
        starts = self.starts(state, batch, x)
        ends: list[State] = []
        for layer in range(self.num_layers):
            if layer and self.training:
                x = functional.dropout(x, self.dropout, rng=self.rng)
            outputs = []
            for suffix in self.directions:
                name, backwards = f"_l{layer}{suffix}", suffix == "_reverse"
                output, end = self.read(x, starts[len(ends)], real, name, backwards)
                outputs.append(output)
                ends.append(end)
            x = ops.concat(outputs, -1) if len(outputs) > 1 else outputs[0]
        x = x if real is None else ops.where(real, x, 0.0)
        final = tuple([ops.concat(parts, 0) for parts in zip(*ends)])
        return ops.transpose(x, (1, 0, 2)), final if len(final) > 1 else final[0]

    def read(
        self, x: Tensor, state: State, real: Array | None, name: str, backwards: bool
    ) -> tuple[Tensor, State]:
        """One layer in one direction: x (T, B, D) -> (outputs (T, B, H), final state)."""
        time, weight = len(x), ops.transpose(getattr(self, "weight_hh" + name))
        bias, inside = self.biases(name)
        inputs = functional.linear(x, getattr(self, "weight_ih" + name), bias)  # (T, B, gates·H)
        if not time:
            return inputs[..., : self.d_hidden], state
        parts = ops.split(inputs, time, 0)
        outputs: list[Tensor] = [state[0]] * time
        for t in reversed(range(time)) if backwards else range(time):
            product = ops.matmul(state[0], weight)
            new = self.step(parts[t], product if inside is None else product + inside, state)
            if real is not None and not real[t].all():
                new = tuple([ops.where(real[t : t + 1], n, old) for n, old in zip(new, state)])
            outputs[t], state = new[0], new
        whole: Tensor = ops.concat(outputs, 0)
        return whole, state

    def biases(self, name: str) -> tuple[Tensor | None, Tensor | None]:
        """What is added to the input's product, and what to the state's."""
        if not self.bias:
            return None, None
        b_ih, b_hh = getattr(self, "bias_ih" + name), getattr(self, "bias_hh" + name)
        return (b_ih, b_hh) if self.scaled_bias else (b_ih + b_hh, None)

    # ── checks ───────────────────────────────────────────────────────────────────────────────────
    def checked_input(self, x: Any) -> Tensor:
        """`x` as a floating tensor (B, T, d_in)."""
        x = x if isinstance(x, Tensor) else Tensor(x)
        if x.ndim != 3 or x.shape[-1] != self.d_in:
            raise ShapeError(
                f"{type(self).__name__}: expected x (B, T, {self.d_in}), got {x.shape}"
            )
        if x.dtype.kind not in "fc":
            raise DTypeError(f"{type(self).__name__}: expected a floating x, got {x.dtype}")
        return x

    def starts(self, state: Any, batch: int, x: Tensor) -> list[State]:
        """The state each layer and direction starts with, each part (1, B, H)."""
        who, names = type(self).__name__, self.state_names
        count = self.num_layers * len(self.directions)
        shape = (count, batch, self.d_hidden)
        if state is None:
            dtype = np.result_type(x.dtype, self.weight_hh_l0.dtype)
            zeros = Tensor(np.zeros((1, *shape[1:]), dtype))
            return [(zeros,) * len(names)] * count
        given = state if isinstance(state, (tuple, list)) else (state,)
        if len(given) != len(names):
            raise DTypeError(
                f"{who}: expected the state ({', '.join(names)}), got {len(given)} part"
                f"{'s' if len(given) > 1 else ''}"
            )
        for name, part in zip(names, given):
            if np.shape(part) != shape:
                raise ShapeError(
                    f"{who}: expected the state {name} (layers·directions, B, H) = {shape}, got "
                    f"{np.shape(part)}"
                )
        parts = [part if isinstance(part, Tensor) else Tensor(part) for part in given]
        return [tuple([part[k : k + 1] for part in parts]) for k in range(count)]

    def extra_repr(self) -> str:
        """Sizes, and what is not as usual."""
        notes = [f"{self.d_in}, {self.d_hidden}"]
        notes += [f"num_layers={self.num_layers}"] if self.num_layers > 1 else []
        notes += [] if self.bias else ["bias=False"]
        notes += ["bidirectional=True"] if self.bidirectional else []
        notes += [f"dropout={self.dropout}"] if self.dropout else []
        return ", ".join(notes)


class RNN(Recurrent):
    """h′ = tanh(W_ih x + b_ih + W_hh h + b_hh) (Elman 1990); see nn.Recurrent for the arguments.

    Args:
        nonlinearity: "tanh", or "relu" in its place.
    """

    def __init__(
        self,
        d_in: int,
        d_hidden: int,
        num_layers: int = 1,
        *,
        nonlinearity: str = "tanh",
        bias: bool = True,
        bidirectional: bool = False,
        dropout: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.nonlinearity = choice("RNN", "nonlinearity", nonlinearity, ("tanh", "relu"))
        super().__init__(
            d_in,
            d_hidden,
            num_layers,
            bias=bias,
            bidirectional=bidirectional,
            dropout=dropout,
            rng=rng,
        )

    def step(self, gi: Tensor, gh: Tensor, state: State) -> State:
        """tanh(gi + gh)."""
        return ((ops.tanh if self.nonlinearity == "tanh" else ops.relu)(gi + gh),)

    def extra_repr(self) -> str:
        """Sizes, and what is not as usual."""
        other = "" if self.nonlinearity == "tanh" else f', nonlinearity="{self.nonlinearity}"'
        return super().extra_repr() + other


class GRU(Recurrent):
    """The gated recurrent unit, each step `gru_cell`; see nn.Recurrent for the arguments.

    K. Cho et al., "Learning phrase representations using RNN encoder–decoder for statistical
    machine translation", EMNLP 2014; the reset gate is applied after the product, as in cuDNN.
    """

    gates = 3
    scaled_bias = True  # the reset gate scales b_hh's last part

    def step(self, gi: Tensor, gh: Tensor, state: State) -> State:
        """gru_cell(gi, gh, h)."""
        return (gru_cell(gi, gh, state[0]),)


class LSTM(Recurrent):
    """Long short-term memory, each step `lstm_cell`; see nn.Recurrent for the arguments.

    S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997); with
    the forget gate of F. Gers et al., Neural Computation 12 (2000).  The state is (h, c).
    """

    gates = 4
    state_names = ("h", "c")

    def step(self, gi: Tensor, gh: Tensor, state: State) -> State:
        """lstm_cell(gi + gh, c)."""
        h, c = lstm_cell(gi + gh, state[1])
        return h, c


def real_steps(who: str, lengths: Any, batch: int, time: int) -> Array | None:
    """(T, B, 1): is step t of sequence b real?  None where all are.

    Raises:
        DTypeError: lengths are not integers.
        ShapeError: they are not (B,), or one lies outside [0, T].
    """
    if lengths is None:
        return None
    array = integers_of(who, "lengths", lengths)
    if array.dtype.kind not in "iu":
        raise DTypeError(f"{who}: lengths must be integers, got {array.dtype}")
    if array.shape != (batch,):
        raise ShapeError(f"{who}: expected lengths ({batch},), one per sequence, got {array.shape}")
    if array.size and not (array.min() >= 0 and array.max() <= time):
        raise ShapeError(
            f"{who}: lengths must lie between 0 and the {time} steps of x, got "
            f"{array.min()} … {array.max()}"
        )
    if (array == time).all():
        return None
    return locked((np.arange(time)[:, None] < array)[..., None])
