"""Train a tiny GPT on English for some seconds: what is attention worth?

The text is the language reference that every Python carries; a tenth of it is held out.  The loss
to beat is that of a model which looks at one character only.
"""

import argparse
from itertools import islice
from pathlib import Path

import numpy as np

import tinygrad_attn as ta
from tinygrad_attn import data, models, optim

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the picture")
parser.add_argument("--steps", type=int, default=300)
arguments = parser.parse_args()
arguments.out.mkdir(parents=True, exist_ok=True)

rng = np.random.default_rng(0)
text = data.text()
bigram = data.Bigram(text.train, len(text.vocabulary)).loss(text.held_out)
print(f"{len(text.train):,} characters to learn from, {len(text.vocabulary)} different ones")

symbols = len(text.vocabulary)
config = models.GPTConfig(symbols, max_length=32, num_layers=2, num_heads=4, d_model=64)
model = models.GPT(config, rng=rng).astype(np.float64)  # so that every machine prints the same
optimizer = optim.AdamW(model.parameters(), lr=3e-3)


def held_out():
    """Mean loss on 64 windows that the model never learns from."""
    with ta.no_grad():
        batches = data.windows(text.held_out, length=32, size=32, at_most=64)
        return np.mean([model.loss(x, y).item() for x, y in batches])


losses, evaluations = [], []
batches = data.batches(text.train, length=32, size=12, rng=rng)
for step, (x, y) in enumerate(islice(batches, arguments.steps + 1)):
    if step % 100 == 0:
        evaluations.append((step, held_out()))
        print(f"step {step:3}: held-out loss {evaluations[-1][1]:.2f}")
    optimizer.zero_grad()
    loss = model.loss(x, y)
    loss.backward()
    optim.clip_grad_norm(model.parameters(), 1.0)
    optimizer.step()
    losses.append(loss.item())
print(f"bigram model, which sees one character only: {bigram:.2f}")

path = arguments.out / "06_tiny_gpt.svg"
steps = range(len(losses))
ta.viz.plots.loss_curve(steps, losses, evaluations, path, baseline=bigram, baseline_label="bigram")
print("picture:", path.as_posix())
