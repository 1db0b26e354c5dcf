"""The Vision Transformer: an image as a sequence of patches (Dosovitskiy et al. 2021).

image -> patches -> linear -> class token before them -> + position    (equation 1)
      -> encoder layers                                                (equations 2 and 3)
      -> the class token's features -> norm                            (equation 4)
      -> linear -> logits
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np

from .. import ops
from ..engine import Array, DTypeError, ShapeError, Tensor
from ..nn import (
    Dropout,
    LayerNorm,
    LearnedPositions,
    Linear,
    Module,
    Parameter,
    TransformerEncoderLayer,
    functional,
)
from ..nn.functional.layers import operand, probability
from ..nn.transformer import check_activation
from ..rng import generator
from .config import check_divides, check_eps, check_sizes
from .evaluation import evaluating
from .stack import stacked, through


@dataclass(frozen=True)
class ViTConfig:
    """The sizes of a ViT.

    Attributes:
        image_size: height and width of an image, in pixels.
        patch_size: height and width of a patch; divides image_size.
        num_classes: number of classes.
        num_layers: number of encoder layers.
        num_heads: attention heads in each; divides d_model.
        d_model: width.
        d_ff: width inside the feed-forward networks.
        channels: of an image: 1 for grey, 3 for colours.
        dropout: probability of dropping embeddings, attention weights and branches in training.
        activation: of the feed-forward networks; see nn.TransformerEncoderLayer.
        eps: of the norms.

    Raises:
        ShapeError: sizes that do not fit.
    """

    image_size: int
    patch_size: int
    num_classes: int
    num_layers: int
    num_heads: int
    d_model: int
    d_ff: int
    channels: int = 1
    dropout: float = 0.0
    activation: str = "gelu"
    eps: float = 1e-6

    def __post_init__(self) -> None:
        check_sizes(self, "channels")
        check_divides(self, "patch_size", "image_size")
        check_divides(self, "num_heads", "d_model")
        check_eps(self)
        check_activation("ViTConfig", self.activation)
        probability("ViTConfig", self.dropout)

    @property
    def num_patches(self) -> int:
        """Number of patches in an image."""
        return (self.image_size // self.patch_size) ** 2


class ViT(Module):
    """A Vision Transformer of the sizes in `config`; the layers are pre-norm.

    Args:
        config: the sizes.
        rng: generator for initial values and dropout; the library's own where None.

    Attributes:
        patch_embed: Linear, channels·patch_size² to d_model; a row of its weight is a patch
            (channel, row, column), flattened: the convolution that other libraries have here,
            reshaped.
        cls_token: (1, 1, d_model), drawn from N(0, 0.02²).
        pos_embed: LearnedPositions (1 + patches, d_model), the class token's first, then the
            patches', row by row.
        blocks: the encoder layers.
        norm, head: the last norm, and the Linear that makes the logits.
    """

    def __init__(self, config: ViTConfig, *, rng: np.random.Generator | None = None) -> None:
        self.config = config
        width, rng = config.d_model, generator(rng)
        self.patch_embed = Linear(config.channels * config.patch_size**2, width, rng=rng)
        self.cls_token = Parameter(rng.normal(0.0, 0.02, (1, 1, width)))
        self.pos_embed = LearnedPositions(1 + config.num_patches, width, rng=rng)
        self.dropout = Dropout(config.dropout, rng=rng)
        self.blocks = stacked(TransformerEncoderLayer, config, rng, norm_first=True, eps=config.eps)
        self.norm = LayerNorm(width, config.eps)
        self.head = Linear(width, config.num_classes, rng=rng)

    def forward(self, images: Any, *, return_weights: bool = False) -> Any:
        """Images (B, channels, size, size) -> logits (B, num_classes).

        Args:
            images: of one channel also (B, size, size).
            return_weights: return (logits, list of the weights (B, heads, 1 + patches, 1 + patches)
                of every layer).

        Raises:
            ShapeError: images of another shape.
            DTypeError: images that are not floating.
        """
        x = self.patch_embed(self.patches(images))
        first = ops.broadcast_to(self.cls_token, (len(x), 1, self.config.d_model))
        x = self.dropout(self.pos_embed(ops.concat([first, x], 1)))
        x, weights = through(self.blocks, x, repeat(None), return_weights)
        logits = self.head(self.norm(x[:, 0]))
        return (logits, weights) if return_weights else logits

    def patches(self, images: Any) -> Any:
        """Images -> flattened patches (B, patches, channels·patch_size²), row by row."""
        c, size, p = self.config.channels, self.config.image_size, self.config.patch_size
        images = operand(images)
        shape = images.shape
        if shape[1:] != (c, size, size) and not (c == 1 and shape[1:] == (size, size)):
            grey = f" or (B, {size}, {size})" if c == 1 else ""
            raise ShapeError(f"ViT: expected images (B, {c}, {size}, {size}){grey}, got {shape}")
        if images.dtype.kind not in "fc":
            raise DTypeError(
                f"ViT: expected floating images, got {images.dtype}; divide by the largest value"
            )
        n = size // p
        cut = ops.reshape(images, (len(images), c, n, p, n, p))
        rows = ops.transpose(cut, (0, 2, 4, 1, 3, 5))  # (B, n, n, c, p, p)
        return ops.reshape(rows, (len(images), n * n, c * p * p))

    def loss(self, images: Any, labels: Any, *, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy, in nats an image, of `labels` (B,); see functional.cross_entropy."""
        return functional.cross_entropy(self(images), labels, label_smoothing=label_smoothing)

    def predict(self, images: Any) -> Array:
        """The most probable class of each image, without dropout: integers (B,)."""
        with evaluating(self):
            classes: Array = self(images)._data.argmax(axis=-1)
        return classes
