"""Self-attention step by step: every stage, and the gradient that reaches it on the way back.

`return_stages=True` returns the steps by which attention is taught, with their gradients kept.
"""

import argparse
from pathlib import Path

import numpy as np

import tinygrad_attn as ta
from tinygrad_attn import nn

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the pictures")
out = parser.parse_args().out
out.mkdir(parents=True, exist_ok=True)

words = ["the", "cat", "sat", "down"]
rng = np.random.default_rng(4)
x = ta.Tensor(rng.standard_normal((1, 4, 6)), requires_grad=True, name="x")  # (B, T, D)
layer = nn.MultiHeadAttention(6, num_heads=1, rng=rng).astype(np.float64)
y, stages = layer(x, causal=True, return_stages=True)
y.backward(rng.standard_normal(y.shape))  # a random gradient: all ones would hide mistakes

print(f"{'stage':8}  {'shape':13}  {'‖gradient‖':>10}")
for name in ("output", "concat", "context", "weights", "masked", "scores", "raw", "q", "k", "v"):
    stage = getattr(stages, name)
    stage.name = name  # shown in the drawing
    print(f"{name:8}  {stage.shape!s:13}  {np.linalg.norm(stage.grad.data):10.3f}")

P, gs = stages.weights.data[0, 0], stages.masked.grad.data[0, 0] + 0.0  # −0 becomes 0
print("\nP = softmax(S′), one row for each query:")
for word, row in zip(words, P, strict=True):
    print(f"  {word:4}", *(f"{weight:7.3f}" for weight in row))
print("dS′, the gradient of the scores; every row sums to 0:")
for word, row in zip(words, gs, strict=True):
    print(f"  {word:4}", *(f"{slope:7.3f}" if slope else "      0" for slope in row))
print("all sums are below 1e-15:", np.abs(gs.sum(axis=1)).max() < 1e-15)

pictures = [
    ta.viz.trace(y, model=layer).render(out / "03_self_attention.svg"),
    ta.viz.plots.attention_maps(P[None], words, out / "03_weights.svg", title="P"),
    ta.viz.plots.heatmap(gs, out / "03_gradient.svg", rows=words, columns=words, signed=True),
]
print("pictures:", *(picture.as_posix() for picture in pictures))
