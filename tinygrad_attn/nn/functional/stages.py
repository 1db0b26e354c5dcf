"""The steps of one attention, as tensors that keep their gradients."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ...engine import Tensor

SYMBOLS = {
    "q": "Q", "k": "K", "v": "V", "raw": "R", "scores": "S", "masked": "S′", "weights": "P",
    "context": "C", "concat": "O", "output": "Y",
}  # fmt: skip


@dataclass(frozen=True, repr=False)
class Stages:
    """The steps of one attention, each a Tensor; of float16 in float32, all but the context.

    Attributes:
        q: (..., heads, T, d).
        k, v: (..., kv_heads, S, d) and (..., kv_heads, S, dv), as given: not repeated for groups.
        raw: Q Kᵀ, (..., heads, T, S).
        scores: raw · scale.
        masked: scores after soft cap and masks; −∞ where a query must not attend.
        weights: softmax of masked, before dropout.
        context: weights · V, after dropout if there is any, (..., heads, T, dv).
        concat: the heads side by side, (..., T, heads·dv); only from a multi-head layer.
        output: after the output projection; only from a multi-head layer.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    raw: Tensor
    scores: Tensor
    masked: Tensor
    weights: Tensor
    context: Tensor
    concat: Tensor | None = None
    output: Tensor | None = None

    def __repr__(self) -> str:
        shapes = [f"{name}={stage.shape}" for name, stage in self.present().items()]
        return f"Stages({', '.join(shapes)})"

    def present(self) -> dict[str, Tensor]:
        """The stages that there are, by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: stage for name, stage in found.items() if stage is not None}

    def retain(self) -> Stages:
        """Let backward write `.grad` of every stage, and drawings call them by their symbols."""
        for name, stage in self.present().items():
            if stage.node is not None:
                stage.retain_grad()
                stage.name = stage.name or SYMBOLS[name]
        return self
