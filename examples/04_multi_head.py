"""Several heads: what splitting and concatenating does to the gradient.

Splitting into heads and laying them side by side only moves numbers.  So the gradient of one head's
columns flows to that head's queries, keys and values and to no other; W_O is where heads meet.
"""

import argparse
from pathlib import Path

import numpy as np

import tinygrad_attn as ta
from tinygrad_attn import nn

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the picture")
out = parser.parse_args().out
out.mkdir(parents=True, exist_ok=True)

B, T, D, H = 2, 5, 12, 3
d = D // H
rng = np.random.default_rng(0)
x = ta.Tensor(rng.standard_normal((B, T, D)), requires_grad=True)
layer = nn.MultiHeadAttention(D, H, rng=rng).astype(np.float64)
y, stages = layer(x, return_stages=True)
gy = rng.standard_normal(y.shape)
total, go = ta.grad(y, [x, stages.concat], gy, retain_graph=True)
print("dO", go.shape, "is dC", stages.context.shape, "with the heads side by side")

# Send the columns of one head back at a time, and nothing in the others.
share = np.zeros((H, *x.shape))
for h in range(H):
    only = np.zeros(go.shape)
    columns = slice(h * d, (h + 1) * d)
    only[..., columns] = go.data[..., columns]
    gx, q, w = ta.grad(stages.concat, [x, stages.q, layer.in_proj_weight], only, retain_graph=True)
    reached = [g for g in range(H) if np.abs(q.data[:, g]).max() > 0]
    rows = np.flatnonzero(np.abs(w.data[:D]).max(axis=1) > 0)
    size = np.linalg.norm(gx.data)
    print(f"from head {h}: ‖dX‖ {size:.3f}, dQ of heads {reached}, dW_Q rows {rows[0]}–{rows[-1]}")
    share[h] = gx.data
    if h == 1:
        path = out / "04_multi_head.svg"
        ta.viz.plots.heatmap(w.data.T, path, title="dW_Q, dW_K, dW_V by head 1", signed=True)

print(f"from all:    ‖dX‖ {np.linalg.norm(total.data):.3f}")
same = np.allclose(share.sum(axis=0), total, rtol=0, atol=1e-14)
print("the shares of the heads add up to dX:", same)

# Through W_O every element of Y speaks to every head.
one = np.zeros(y.shape)
one[0, 0, 0] = 1
(gc,) = ta.grad(y, [stages.context], one)
print("‖dC‖ per head from one element of dY:", np.linalg.norm(gc.data[0], axis=(1, 2)).round(3))
print("picture:", path.as_posix())
