"""Clipping and AdamW in plain NumPy, in place: for libraries that have no optimiser."""

from __future__ import annotations

from math import sqrt

import numpy as np

from ..problems import BETAS, CLIP, DECAY, EPS, LR, Params


class AdamW:
    """Loshchilov and Hutter 2019, algorithm 2, with clipping before it.

    Args:
        params: arrays that `step` changes.
    """

    def __init__(self, params: Params) -> None:
        self.params, self.count = params, 0
        self.means = {name: np.zeros_like(p) for name, p in params.items()}
        self.squares = {name: np.zeros_like(p) for name, p in params.items()}

    def step(self, gradients: Params) -> None:
        """One step."""
        self.count += 1
        norm = sqrt(sum(float(np.vdot(g, g)) for g in gradients.values()))
        factor = min(1.0, CLIP / (norm + 1e-6))
        root = sqrt(1 - BETAS[1] ** self.count)
        width = LR * root / (1 - BETAS[0] ** self.count)
        for name, value in self.params.items():
            g, m, v = gradients[name] * factor, self.means[name], self.squares[name]
            m *= BETAS[0]
            m += (1 - BETAS[0]) * g
            v *= BETAS[1]
            v += (1 - BETAS[1]) * (g * g)
            if value.ndim >= 2:
                value *= 1 - LR * DECAY
            value -= width * m / (np.sqrt(v) + EPS * root)
