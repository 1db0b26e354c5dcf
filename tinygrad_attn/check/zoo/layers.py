"""Bugs in layers and losses: linear maps, norms, embeddings, dropout, cross-entropy."""

from __future__ import annotations

import numpy as np

from ... import ops
from ...engine import Array
from ...nn import functional
from ..causes import Cause
from ..draws import normal, spread
from .bug import Cage, Draw, Size, Subject

CAGE = Cage("layers and losses")
plants = CAGE.plants


# ── what they are seen in ────────────────────────────────────────────────────────────────────────
def linear(size: Size, rng: Draw) -> Subject:
    """x Wᵀ + b for a batch of sequences."""
    inputs = normal(rng, size.B, size.T, size.D), normal(rng, size.S, size.D), normal(rng, size.S)
    return Subject(functional.linear, inputs)


def square_linear(size: Size, rng: Draw) -> Subject:
    """x Wᵀ + b that keeps the width."""
    inputs = normal(rng, size.T, size.D), normal(rng, size.D, size.D), normal(rng, size.D)
    return Subject(functional.linear, inputs)


def layer_norm(size: Size, rng: Draw) -> Subject:
    """Layer norm with random gain and bias."""
    width = size.D + 1
    return Subject(
        functional.layer_norm, (normal(rng, size.T, width), normal(rng, width), normal(rng, width))
    )


def rms_norm(size: Size, rng: Draw) -> Subject:
    """RMS norm with a random gain."""
    return Subject(functional.rms_norm, (normal(rng, size.T, size.D), normal(rng, size.D)))


def embedding(size: Size, rng: Draw) -> Subject:
    """Sentences in which one token is frequent."""
    tokens = rng.integers(0, size.S, (size.B, size.T))
    tokens[:, -1] = 1
    return Subject(functional.embedding, (tokens, normal(rng, size.S, size.D)))


def losses(size: Size, rng: Draw) -> Subject:
    """Cross-entropy of each position."""
    targets = rng.integers(0, size.S, size.T)
    return Subject(
        lambda x: functional.cross_entropy(x, targets, reduction="none"),
        (normal(rng, size.T, size.S),),
    )


def loss(size: Size, rng: Draw) -> Subject:
    """Mean cross-entropy of a batch with padding."""
    targets = rng.integers(0, size.S, (size.B, size.T))
    targets[0, -1] = -100
    return Subject(
        lambda x: functional.cross_entropy(x, targets), (normal(rng, size.B, size.T, size.S),)
    )


def smoothed(size: Size, rng: Draw) -> Subject:
    """Cross-entropy with label smoothing."""
    targets = rng.integers(0, size.S, size.T)
    return Subject(
        lambda x: functional.cross_entropy(x, targets, label_smoothing=0.1, reduction="none"),
        (normal(rng, size.T, size.S),),
    )


def dropped(size: Size, rng: Draw) -> Subject:
    """Dropout with a given mask."""
    factors = spread(rng, size.T, size.S) / (1 - 0.3)
    return Subject(
        lambda x: functional.dropout(x, 0.3, mask=factors), (normal(rng, size.T, size.S),)
    )


# ── linear ───────────────────────────────────────────────────────────────────────────────────────
@plants(functional.linear, "x", square_linear, Cause.TRANSPOSED)
def linear_weight_not_transposed(g: Array, weight: Array) -> Array:
    """y = x Wᵀ, so dx = dy W; with frameworks that store W the other way round it is dy Wᵀ."""
    return g @ weight.T


@plants(functional.linear, "weight", linear, Cause.OVERWRITTEN, Cause.BROADCAST)
def linear_weight_of_last_position(g: Array, x: Array) -> Array:
    """`=` for `+=` in a loop over the positions: the last one is all the weight learns from."""
    return np.einsum("bs,bd->sd", g[:, -1], x[:, -1])


@plants(functional.linear, "bias", linear, Cause.FACTOR)
def linear_bias_averaged(g: Array) -> Array:
    """mean for sum, over batch and time: a bias that hardly moves."""
    return g.mean((0, 1))


@plants(functional.linear, "bias", linear, Cause.BROADCAST)
def linear_bias_of_first_position(g: Array) -> Array:
    """The sum over batch and time is missing; only its first term arrives."""
    return g[0, 0]


# ── norms ────────────────────────────────────────────────────────────────────────────────────────
def standardised(x: Array) -> tuple[Array, Array]:
    """x̂ = (x − mean)·s, and s = 1/√(var + 1e-5)."""
    centred = x - x.mean(-1, keepdims=True)
    s = 1 / np.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5)
    return centred * s, s


@plants(functional.layer_norm, "x", layer_norm, Cause.DETACHED, Cause.DIAGONAL)
def layer_norm_constant_statistics(g: Array, x: Array, weight: Array) -> Array:
    """Mean and variance taken for constants, as batch norm's are in evaluation. The loss falls, and
    activations grow, since nothing tells x that its scale does not matter.
    """
    return g * weight * standardised(x)[1]


@plants(functional.layer_norm, "x", layer_norm, Cause.DETACHED)
def layer_norm_constant_mean(g: Array, x: Array, weight: Array) -> Array:
    """The path through the mean is missing: a shift of x, which changes nothing, is learnt."""
    x_hat, s = standardised(x)
    dy = g * weight
    return s * (dy - x_hat * (dy * x_hat).mean(-1, keepdims=True))


@plants(functional.layer_norm, "x", layer_norm, Cause.DETACHED)
def layer_norm_constant_variance(g: Array, x: Array, weight: Array) -> Array:
    """The path through the variance is missing: the scale of x gets a gradient."""
    dy = g * weight
    return standardised(x)[1] * (dy - dy.mean(-1, keepdims=True))


@plants(functional.layer_norm, "x", layer_norm, Cause.BRANCH)
def layer_norm_counts_one_less(g: Array, x: Array, weight: Array) -> Array:
    """The variance divides by n forward and by n − 1 backward, as torch.var does where nothing else
    is said: nobody notices for n = 768.
    """
    x_hat, s = standardised(x)
    dy = g * weight
    through_variance = (dy * x_hat).sum(-1, keepdims=True) / (x.shape[-1] - 1)
    return s * (dy - dy.mean(-1, keepdims=True) - x_hat * through_variance)


@plants(functional.layer_norm, "x", layer_norm, Cause.ARRAY_FACTOR)
def layer_norm_forgets_gain(g: Array, x: Array) -> Array:
    """dy is not multiplied with the gain. At the start all gains are 1, and a check passes."""
    x_hat, s = standardised(x)
    return s * (g - g.mean(-1, keepdims=True) - x_hat * (g * x_hat).mean(-1, keepdims=True))


@plants(functional.layer_norm, "x", layer_norm, Cause.WRONG_AXIS)
def layer_norm_over_positions(g: Array, x: Array, weight: Array) -> Array:
    """Means over the positions, as in batch norm: they broadcast, and nothing fails."""
    x_hat, s = standardised(x)
    dy = g * weight
    return s * (dy - dy.mean(0, keepdims=True) - x_hat * (dy * x_hat).mean(0, keepdims=True))


@plants(functional.layer_norm, "weight", layer_norm, Cause.WRONG_VALUE)
def layer_norm_gain_from_input(g: Array, x: Array) -> Array:
    """Σ dy∘x where Σ dy∘x̂ is meant: right for data that are standardised already."""
    return (g * x).sum(0)


@plants(functional.layer_norm, "bias", layer_norm, Cause.BROADCAST)
def layer_norm_bias_not_summed(g: Array) -> Array:
    """The bias hears the first position of the first sequence only."""
    return g[0]


@plants(functional.rms_norm, "x", rms_norm, Cause.DETACHED, Cause.DIAGONAL)
def rms_norm_constant_scale(g: Array, x: Array, weight: Array) -> Array:
    """The root mean square taken for a constant."""
    return g * weight / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6)


@plants(functional.rms_norm, "x", rms_norm, Cause.ARRAY_FACTOR)
def rms_norm_forgets_gain(g: Array, x: Array) -> Array:
    """The gain is left out, where it is 1 at the start."""
    s = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6)
    return s * (g - x * s * s * (g * x).mean(-1, keepdims=True))


@plants(functional.rms_norm, "x", rms_norm, Cause.ANOTHER_CALL)
def rms_norm_forgets_epsilon(g: Array, x: Array, weight: Array) -> Array:
    """eps is added forward and not backward: too small to see, until an activation is."""
    s = 1 / np.sqrt((x * x).mean(-1, keepdims=True))
    dy = g * weight
    return s * (dy - x * s * s * (dy * x).mean(-1, keepdims=True))


# ── embeddings and dropout ───────────────────────────────────────────────────────────────────────
@plants(functional.embedding, "weight", embedding, Cause.OVERWRITTEN)
def embedding_overwrites(g: Array, weight: Array, tokens: Array) -> Array:
    """`grad[tokens] = g`: of a token that occurs five times the last one counts. NumPy's `+=` with
    an index array does the same, and looks right.
    """
    gw = np.zeros(weight.shape, g.dtype)
    gw[tokens] += g
    return gw


@plants(functional.embedding, "weight", embedding, Cause.ARRAY_FACTOR)
def embedding_averages(g: Array, weight: Array, tokens: Array) -> Array:
    """Divided by how often each token occurs: frequent words learn no faster than rare ones."""
    gw, count = np.zeros(weight.shape, g.dtype), np.zeros((len(weight), 1))
    np.add.at(gw, tokens, g)
    np.add.at(count, tokens, 1)
    return gw / np.maximum(count, 1)


@plants(ops.multiply, "a", dropped, Cause.FACTOR)
def dropout_forgets_its_factor(g: Array, b: Array) -> Array:
    """Forward divides by 1 − p, backward does not: a learning rate that depends on dropout."""
    return g * (b != 0)


@plants(ops.multiply, "a", dropped, Cause.MASK)
def dropout_lets_all_through(g: Array, b: Array) -> Array:
    """The mask is not kept, so what was dropped is trained as if it had been there."""
    return g * b.max()


DRAWS = np.random.default_rng(0)


@plants(ops.multiply, "a", dropped, Cause.NOT_REPEATABLE)
def dropout_draws_again(g: Array) -> Array:
    """Backward draws a mask of its own, because a checkpoint ran the layer again without putting
    the generator back: right on average, so it trains, as noise.
    """
    return g * (DRAWS.random(g.shape) < 0.7) / 0.7


# ── cross-entropy ────────────────────────────────────────────────────────────────────────────────
@plants(functional.cross_entropy, "logits", losses, Cause.DETACHED)
def cross_entropy_without_targets(g: Array, logits: Array) -> Array:
    """softmax − one-hot without the one-hot: every logit falls, whatever the target is."""
    return g[..., None] * ops.softmax(logits)


@plants(functional.cross_entropy, "logits", losses, Cause.SIGN)
def cross_entropy_sign(g: Array, logits: Array, classes: Array) -> Array:
    """one-hot − softmax is the direction to go in, not the gradient: it learns if the optimiser
    adds, and unlearns if it subtracts.
    """
    return g[..., None] * (np.eye(logits.shape[-1])[classes] - ops.softmax(logits))


@plants(functional.cross_entropy, "logits", smoothed, Cause.ANOTHER_CALL)
def cross_entropy_forgets_smoothing(g: Array, logits: Array, classes: Array) -> Array:
    """The gradient of the plain loss behind the smoothed one: the curve is smoothed, the model is
    not.
    """
    return g[..., None] * (ops.softmax(logits) - np.eye(logits.shape[-1])[classes])


@plants(ops.divide, "a", loss, Cause.FACTOR)
def cross_entropy_like_a_sum(g: Array) -> Array:
    """1/n of the mean is forgotten: twice the batch needs half the learning rate."""
    return g


@plants(ops.where, "a", loss, Cause.MASK)
def cross_entropy_trains_on_padding(g: Array) -> Array:
    """ignore_index counts nothing forward and everything backward: the model learns to pad."""
    return g
