"""The Jacobian of softmax is a full matrix: diag(p) − p pᵀ.

Raising one score lowers all other weights of the row, because together they are 1.  To take the
diagonal p(1 − p) alone, as for a sigmoid, is a mistake that is often made by hand.
"""

import argparse
from pathlib import Path

import numpy as np

import tinygrad_attn as ta

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the picture")
out = parser.parse_args().out
out.mkdir(parents=True, exist_ok=True)

s = np.array([2.0, 1.0, 0.0, -1.0])
p = ta.softmax(s)  # arrays in, arrays out
J = ta.jacobian(ta.softmax, s).numpy()  # one backward pass for each row
print("p =", p.round(3))
print("J =\n", J.round(3), sep="")
print("J = diag(p) − p pᵀ:    ", np.allclose(J, np.diag(p) - np.outer(p, p), rtol=0, atol=1e-15))
print("each row of J sums to 0:", np.allclose(J.sum(axis=1), 0, atol=1e-15))

# Backward never forms J: it needs J dp only, and that is p ∘ (dp − p·dp).
dp = np.array([0.3, -0.5, 0.2, 0.9])
x = ta.Tensor(s, requires_grad=True)
ta.softmax(x).backward(dp)
print("J dp            =", (J @ dp).round(3))
print("backward gives  =", x.grad.numpy().round(3))
print("p(1 − p) dp     =", (p * (1 - p) * dp).round(3), "  (the mistake)")

# If the loss is the sum of the weights, which is always 1, no score can change it.
x.grad = None
ta.softmax(x).sum().backward()
print("gradient of the sum is 0:", np.allclose(x.grad, 0, atol=1e-15))

labels = [f"s = {score:g}" for score in s]
path = out / "02_softmax_jacobian.svg"
ta.viz.plots.heatmap(J, path, rows=labels, columns=labels, title="diag(p) − p pᵀ", signed=True)
print("picture:", path.as_posix())
