"""Write an operation of your own, check its gradient, plant a bug and see it caught.

A primitive is a NumPy function and one rule per array argument.  A rule takes `g`, the gradient of
the result, and asks by name for whatever else it needs.
"""

import argparse
from pathlib import Path

import numpy as np

import tinygrad_attn as ta

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the picture")
out = parser.parse_args().out
out.mkdir(parents=True, exist_ok=True)


@ta.primitive
def bell(x, width, /):
    """exp(−½ (x / width)²), with broadcasting."""
    return np.exp(-0.5 * (x / width) ** 2)


bell.defvjp(
    lambda g, out, x, width: -g * out * x / width**2,  # dx = −dy∘y∘x/w²
    lambda g, out, x, width: g * out * x**2 / width**3,  # dw = dy∘y∘x²/w³
)

rng = np.random.default_rng(0)
x, width = rng.standard_normal((3, 5)), np.array(0.7)  # the width is broadcast to x
report = ta.check.gradcheck(bell, x, width, order=2)
print(f"{report.verdict}, up to order {report.order}, by {report.method}")
print("error below 1e-13:", report.max_error < 1e-13)

# A slip of the pen: w² instead of w³.
with bell.replaced_vjp("width", lambda g, out, x, width: g * out * x**2 / width**2):
    try:
        ta.check.gradcheck(bell, x, width)
    except ta.check.GradientError as error:
        wrong = error.report
print(f"{wrong.verdict}: ∂bell/∂{wrong.input} is {wrong.analytic:.4f}, not {wrong.numeric:.4f}")
print(f"operation: {wrong.op}; cause: {wrong.cause}")


def similarity(x):
    """How alike the rows of x are, as weights."""
    return ta.softmax(bell(x, 0.7) @ bell(x, 0.9).T)


# A sign lost in a larger function: the report names the operation all the same.
with bell.replaced_vjp("x", lambda g, out, x, width: g * out * x / width**2):
    try:
        ta.check.gradcheck(similarity, x)
    except ta.check.GradientError as error:
        print(f"operation: {error.report.op}; cause: {error.report.cause}")

graph = ta.viz.trace(similarity(ta.Tensor(x, requires_grad=True, name="x")))
print("picture:", graph.render(out / "05_check_your_own_op.svg").as_posix())
