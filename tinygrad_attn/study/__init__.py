"""Studies: what the attention of a trained model does, and what that does to its answer.

    with study.observed(model) as calls:            every call of an nn.MultiHeadAttention inside
        logits = model(tokens)
    logits[0, -1, answer].backward()                ask about one logit
    calls[0].weights, calls[0].gradient             P and dP = ∂logit/∂P of every head
    study.rollout(calls)                            which input each position draws on
    study.relevance(calls)                          and which input speaks for the answer

Read in this order: observing.py (P and dP of every layer), flow.py (from all layers to one map):

    rollout             Abnar and Zuidema, "Quantifying Attention Flow in Transformers", 2020
    relevance           Chefer, Gur and Wolf, "Generic Attention-model Explainability for
    cross_relevance     Interpreting Bi-Modal and Encoder-Decoder Transformers", 2021, eq. 5 to 10

    saturation          what grows with the width of a head, and what with the length of a sentence
                        (saturation.py; Vaswani et al. 2017, section 3.2.1)

A map says what the computation did, not what the model would do with other inputs.
"""

from .flow import cross_relevance, relevance, rollout
from .observing import Call, observed
from .saturation import Sweep, saturation

__all__ = ["Call", "Sweep", "cross_relevance", "observed", "relevance", "rollout", "saturation"]
