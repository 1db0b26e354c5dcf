"""What does "it" mean?  A model learns where to look, and the gradient tells what that is worth.

    the animal didn't cross the street because it was too tired     it = the animal
    the animal didn't cross the street because it was too wide      it = the street

This pair explains self-attention everywhere; here a small BERT learns it from other sentences, in
seconds.  It is only told which noun is meant, never where to look.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

import tinygrad_attn as ta
from tinygrad_attn import data, study, train

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the picture")
arguments = parser.parse_args()
arguments.out.mkdir(parents=True, exist_ok=True)

rng = np.random.default_rng(0)
task = train.presets.pronouns(data.pronouns(), rng)
task.model.astype(np.float64)  # so that every machine prints the same
trainer = train.Trainer(task, replace(train.presets.SETTINGS["pronouns"], steps=300), rng)
for _ in trainer:
    pass
model, words = task.model.eval(), task.corpus.vocabulary
layer, head = task.head()
print(f"unseen sentences, noun right: {trainer.evaluate().right:.0%}")
share = task.looks(task.unseen)[layer, head]
print(f"in which head {head} of layer {layer} looks at that noun: {share:.0%}")

pictured = []
for reason in ("tired", "wide"):
    sentence = f"the animal didn't cross the street because it was too {reason}".split()
    it, animal, street = map(sentence.index, ("it", "animal", "street"))
    with study.observed(model) as calls:
        logits = model.logits(model(words.encode(sentence)[None]))[0, it]
    question = logits[words.token["animal"]] - logits[words.token["street"]]
    question.backward()  # animal rather than street?
    weights, gradient = calls[layer].weights[0, head], calls[layer].gradient[0, head]
    towards, change = weights[it], gradient[it, animal] - gradient[it, street]
    print(f"too {reason}: from it to animal {towards[animal]:.2f}, to street {towards[street]:.2f}")
    print(f"  logit of animal above street's: {question.item():.1f}", end="; ")
    print(f"by weight moved from street to animal: {change:+.1f} per unit")
    pictured.append((sentence, weights))

path = arguments.out / "07_what_it_means.svg"
ta.viz.plots.word_links(
    *zip(*pictured),
    path,
    queries=[it, it],
    marked=[animal, street],
    titles=["too tired", "too wide"],
)
print("picture:", path.as_posix())
