"""A scalar expression, its gradient, and the graph behind both.

Every operation leaves a node behind.  `backward` visits the nodes from the newest to the oldest and
multiplies by one local derivative at a time.
"""

import argparse
from math import tanh
from pathlib import Path

import tinygrad_attn as ta

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the picture")
out = parser.parse_args().out
out.mkdir(parents=True, exist_ok=True)

x = ta.Tensor(2.0, requires_grad=True, name="x")
y = ta.Tensor(-3.0, requires_grad=True, name="y")
with ta.keep_grads():  # keep the gradient of every step, for us to see
    u = x * y
    t = ta.tanh(u + 7)
    z = t * x  # x is used twice: its gradient has two parts
z.backward()

print(f"z = tanh(x·y + 7)·x = {z.item():.4f}")
for symbol, tensor in (("t", t), ("u", u), ("x", x), ("y", y)):
    print(f"dz/d{symbol} = {tensor.grad.item():7.4f}")

slope = 1 - tanh(1) ** 2  # tanh′ at x·y + 7 = 1
print(f"by hand: dz/dx = t + x·tanh′·y = {tanh(1) + 2 * slope * -3:.4f}")
print(f"         dz/dy =     x·tanh′·x = {2 * slope * 2:.4f}")

# Rules are plain array code, so they run on tensors too: differentiate the gradient once more.
(dx,) = ta.grad(ta.tanh(x * y + 7) * x, [x], create_graph=True)
(dxx,) = ta.grad(dx, [x])
print(f"d²z/dx² = {dxx.item():.4f}, by hand {2 * slope * -3 + 2 * -2 * tanh(1) * slope * 9:.4f}")

picture = ta.viz.trace(z).render(out / "01_scalar_expression.svg")
print("picture:", picture.as_posix())
