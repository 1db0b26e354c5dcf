"""One sample of every loss, norm and other function of `nn.functional`, for suite.py."""

from __future__ import annotations

import numpy as np

from ..nn import functional
from .samples import Sample, apart, normal, positive

TARGETS = np.array([[3, 0, 6], [1, -100, 2]])
FUNCTIONS = {
    sample.name: sample
    for sample in (
        # losses of classes and of probabilities
        Sample(
            "cross_entropy",
            lambda x: (
                functional.cross_entropy(x, TARGETS),
                functional.cross_entropy(x, TARGETS, label_smoothing=0.1),
                functional.cross_entropy(x, TARGETS, reduction="none"),
            ),
            (normal(2, 3, 7),),
        ),
        Sample(
            "cross_entropy, weighted classes",
            lambda x, w: (
                functional.cross_entropy(x, TARGETS, weight=w, axis=1),
                functional.cross_entropy(x, TARGETS, weight=w, axis=1, label_smoothing=0.1),
            ),
            (normal(2, 7, 3), positive(7)),
        ),
        Sample(
            "cross_entropy, probabilities",
            lambda x, q, w: (
                functional.cross_entropy(x, q, label_smoothing=0.1),
                functional.cross_entropy(x, q, weight=w, reduction="none"),
            ),
            (normal(2, 3, 5), positive(2, 3, 5), positive(5)),
        ),
        Sample(
            "nll_loss",
            lambda x, w: (
                functional.nll_loss(x, TARGETS),
                functional.nll_loss(x, TARGETS, weight=w, reduction="sum"),
            ),
            (normal(2, 3, 7), positive(7)),
        ),
        Sample(
            "binary_cross_entropy",
            lambda p, y, w: functional.binary_cross_entropy(p / 3, y, weight=w),
            (positive(3, 5), normal(3, 5), normal(5)),
        ),
        Sample(
            "binary_cross_entropy_with_logits",
            lambda x, y, w, v: functional.binary_cross_entropy_with_logits(
                x, y, weight=w, pos_weight=v
            ),
            (normal(3, 5), normal(3, 5), normal(5), positive(3, 1)),
        ),
        Sample(
            "kl_div",
            lambda x, p, y: (
                functional.kl_div(x, p, reduction="batchmean"),
                functional.kl_div(x, y, log_target=True, reduction="none"),
            ),
            (normal(3, 5), positive(3, 5), normal(3, 5)),
        ),
        # losses of differences
        Sample("mse_loss", functional.mse_loss, (normal(3, 5), normal(3, 5))),
        Sample("l1_loss", functional.l1_loss, (apart(3, 5), apart(3, 5) / 3), analytic=False),
        Sample(
            "huber_loss",
            lambda x, y: functional.huber_loss(x, y, delta=0.75),
            (apart(3, 5), np.zeros((3, 5))),
            analytic=False,
        ),
        Sample(
            "smooth_l1_loss",
            lambda x, y: functional.smooth_l1_loss(x, y, "sum", beta=0.75),
            (apart(3, 5), np.zeros((3, 5))),
            analytic=False,
        ),
        # directions
        Sample(
            "cosine_similarity",
            lambda a, b: functional.cosine_similarity(a, b, 1),
            (normal(2, 5, 1), normal(5, 3)),
        ),
        Sample(
            "normalize",
            lambda x: (functional.normalize(x), functional.normalize(x, 0, ord=1)),
            (apart(3, 5),),
            analytic=False,
        ),
        # norms
        Sample(
            "layer_norm, two axes",
            lambda x, w, b: functional.layer_norm(x, w, b, axes=2),
            (normal(2, 3, 5), normal(3, 5), normal(3, 5)),
        ),
        Sample(
            "rms_norm, two axes",
            lambda x, w: functional.rms_norm(x, w, axes=2),
            (normal(2, 3, 5), normal(3, 5)),
        ),
        Sample(
            "group_norm",
            lambda x, w, b: functional.group_norm(x, 2, w, b),
            (normal(2, 6, 3), normal(6), normal(6)),
        ),
        Sample("instance_norm", functional.instance_norm, (normal(2, 3, 5), normal(3), normal(3))),
        Sample(
            "batch_norm",
            lambda x, w, b, mean, var: (
                functional.batch_norm(x, w, b),
                functional.batch_norm(x, w, b, mean=mean, var=var),
            ),
            (normal(3, 2, 5), normal(2), normal(2), normal(2), positive(2)),
        ),
        # others
        Sample(
            "bilinear",
            functional.bilinear,
            (normal(3, 2), normal(3, 5), normal(4, 2, 5), normal(4)),
        ),
        Sample(
            "rotary",
            lambda x, cos, sin: (
                functional.rotary(x, cos, sin),
                functional.rotary(x, cos, sin, interleaved=True),
            ),
            (normal(2, 3, 5), normal(3, 2), normal(3, 2)),
        ),
    )
}
