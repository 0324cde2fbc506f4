"""Losses that change what the negatives weigh: debiased, hard, self-adversarial."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nsx._checks import require_finite, require_in_range
from nsx._numerics import masked_logsumexp, per_row
from nsx._types import Array, ArrayLike, Bool, Float
from nsx.losses._scores import checked, num_valid, row_parameter, scaled_gaps


def debiased_info_nce(
    positive: Float[ArrayLike, "..."],
    negatives: Float[ArrayLike, "... k"],
    *,
    temperature: Float[ArrayLike, "..."],
    positive_prior: Float[ArrayLike, "..."],
    where: Bool[Array, "... k"] | None = None,
) -> Float[Array, "..."]:
    r"""Debiased contrastive loss: InfoNCE with the expected share of false negatives taken out again.

    $$\ell = -\log\frac{e^{z^+}}{e^{z^+} + k g}, \qquad
      g = \max\Bigl\{\frac{\frac1k\sum_j e^{z_j} - \pi e^{z^+}}{1 - \pi},\; e^{-1/\tau}\Bigr\},
      \qquad z = s/\tau .$$

    Args:
        positive: scores of the positives in [-1, 1] (cosines), shape `(...)`.
        negatives: scores of the negatives in [-1, 1], shape `(..., k)`.
        temperature: tau > 0, a scalar or one per row, shape `(...)`.
        positive_prior: pi in [0, 1), the chance that a negative is of the positive's class, one or per row.
        where: True at the negatives that count; k is then their number, and a row where none does has loss 0.

    Returns:
        Loss per example in nats, shape `(...)`, formed from logs: finite in float32 at temperature 0.001.

    Raises:
        ValueError: temperature not positive or positive_prior outside [0, 1) (concrete values only; traced
            ones outside give NaN or a meaningless value), k = 0, or shapes that do not fit.

    Biased: consistent as k grows when positives and false negatives share one law, but the log of a sample
    mean is not the log of its expectation, and the clamp g >= e^{-1/tau}, the least that scores in [-1, 1]
    allow, binds by chance at small k. Where it binds the negatives get gradient 0 and the positive keeps its
    own. Where all scores lie below -1 it always binds; at positive_prior 0, where it does not, this is `info_nce`.

    Example:
        >>> one_false = jnp.array([0.5, -0.1, -0.1, -0.1])  # scores like the positive
        >>> debiased = debiased_info_nce(0.5, one_false, temperature=0.5, positive_prior=0.25)
        >>> bool(jnp.allclose(debiased, jnp.log1p(4 * jnp.exp(-1.2))))  # as if all four scored -0.1
        True

    References:
        [chuang2020debiased, sec. 3]
    """
    positive, negatives, where = checked(positive, negatives, where)
    gaps = scaled_gaps(positive, negatives, temperature)
    count = num_valid(negatives, where)
    log_mean = masked_logsumexp(gaps, where) - jnp.log(jnp.maximum(count, 1))
    return _corrected(log_mean, count, _floor(positive, temperature), _prior(positive_prior, negatives))


def hard_info_nce(
    positive: Float[ArrayLike, "..."],
    negatives: Float[ArrayLike, "... k"],
    *,
    temperature: Float[ArrayLike, "..."],
    positive_prior: Float[ArrayLike, "..."],
    concentration: Float[ArrayLike, "..."],
    where: Bool[Array, "... k"] | None = None,
) -> Float[Array, "..."]:
    r"""Hard-negative contrastive loss: the debiased loss with negatives reweighted towards high scores.

    The mean over the negatives in `debiased_info_nce` becomes a weighted one,

    $$\frac1k\sum_j w_j e^{z_j}, \qquad w_j = \frac{e^{\beta z_j}}{\frac1k\sum_i e^{\beta z_i}},
      \qquad z = s/\tau .$$

    Args:
        positive: scores of the positives in [-1, 1] (cosines), shape `(...)`.
        negatives: scores of the negatives in [-1, 1], shape `(..., k)`.
        temperature: tau > 0, a scalar or one per row, shape `(...)`.
        positive_prior: pi in [0, 1), the chance that a negative is of the positive's class, one or per row.
        concentration: beta; 0 is `debiased_info_nce`, large beta keeps the hardest negative only.
        where: True at the negatives that count; k is then their number, and a row where none does has loss 0.

    Returns:
        Loss per example in nats, shape `(...)`, formed from logs: finite in float32 at temperature 0.001.

    Raises:
        ValueError: temperature not positive, positive_prior outside [0, 1) or concentration not finite
            (concrete values only; traced ones outside give NaN or a meaningless value), k = 0, or shapes that
            do not fit.

    Biased: the weights are self-normalised over the k negatives, and the gradient flows through them, as in
    the authors' code, in proportion to (1 + beta) softmax((1 + beta) z) - beta softmax(beta z): an easy negative
    may be pulled in, to take weight from the hard ones. The clamp g >= e^{-1/tau} is that of `debiased_info_nce`.

    Example:
        >>> scores = jnp.array([0.5, -0.5])
        >>> hard = hard_info_nce(0.0, scores, temperature=1.0, positive_prior=0.0, concentration=1e3)
        >>> bool(jnp.allclose(hard, jnp.log1p(2 * jnp.exp(0.5))))
        True

    References:
        [robinson2021contrastive, sec. 3]
    """
    positive, negatives, where = checked(positive, negatives, where)
    gaps = scaled_gaps(positive, negatives, temperature)
    require_finite("concentration", concentration)
    beta = per_row(row_parameter("concentration", concentration, negatives))
    log_weights = _log_softmax(beta, gaps, where)
    log_mean = masked_logsumexp(gaps + log_weights, where)
    count = num_valid(negatives, where)
    return _corrected(log_mean, count, _floor(positive, temperature), _prior(positive_prior, negatives))


def self_adversarial(
    positive: Float[ArrayLike, "..."],
    negatives: Float[ArrayLike, "... k"],
    *,
    sharpness: Float[ArrayLike, "..."],
    where: Bool[Array, "... k"] | None = None,
) -> Float[Array, "..."]:
    r"""Self-adversarial negative sampling: the model's own softmax says what each negative weighs.

    $$\ell = \mathrm{softplus}(-s^+) + \sum_j w_j\,\mathrm{softplus}(s_j), \qquad
      w = \mathrm{stop\_gradient}\bigl(\mathrm{softmax}(\alpha s)\bigr).$$

    Args:
        positive: scores of the observed facts, shape `(...)`; for a distance d and margin gamma, gamma - d.
        negatives: scores of the corrupted facts, shape `(..., k)`.
        sharpness: alpha, an inverse temperature, a scalar or one per row; 0 weighs all alike.
        where: True at the negatives that count; weights are normalised over them, and all False leaves
            softplus(-s+).

    Returns:
        Loss per example in nats, shape `(...)`. The weights sum to 1: the negative part does not grow with k.

    Raises:
        ValueError: sharpness not finite (concrete values only; a traced one gives NaN), k = 0, or shapes that
            do not fit.

    Biased: no gradient flows through the weights, so this is the gradient of no fixed loss, and
    self-normalised weights over k draws are biased for those over all candidates by O(1/k).

    Example:
        >>> float(self_adversarial(0.0, jnp.zeros(5), sharpness=1.0)) / float(jnp.log(2.0))
        2.0

    References:
        [sun2019rotate, sec. 3.3]
    """
    positive, negatives, where = checked(positive, negatives, where)
    require_finite("sharpness", sharpness)
    alpha = per_row(row_parameter("sharpness", sharpness, negatives))
    log_weights = _log_softmax(alpha, negatives, where)
    if where is not None:
        log_weights = jnp.where(where, log_weights, -jnp.inf)
    weights = jax.lax.stop_gradient(jnp.exp(log_weights))
    return jax.nn.softplus(-positive) + jnp.sum(weights * jax.nn.softplus(negatives), axis=-1)


def _log_softmax(sharpness: Array, x: Array, where: Array | None) -> Array:
    """Log of the softmax of sharpness * x over what counts; finite also where nothing does.

    The largest x goes first: sharpness * x itself would round away the differences that a large sharpness means.
    """
    top = jnp.max(x if where is None else jnp.where(where, x, -jnp.inf), axis=-1, keepdims=True)
    logits = sharpness * (x - jax.lax.stop_gradient(jnp.where(jnp.isneginf(top), 0, top)))
    log_total = masked_logsumexp(logits, where)
    return logits - per_row(jnp.where(jnp.isneginf(log_total), 0, log_total))


def _floor(positive: Array, temperature: ArrayLike) -> Array:
    """log of the clamp e^{-1/tau} over e^{z+}."""
    return -(1 + positive) / jnp.asarray(temperature)


def _prior(positive_prior: ArrayLike, negatives: Array) -> Array:
    require_in_range("positive_prior", positive_prior, 0, 1, open_high=True)
    return row_parameter("positive_prior", positive_prior, negatives)


def _corrected(log_mean: Array, count: Array, floor: Array, prior: Array) -> Array:
    """softplus(log k g / e^{z+}), where the mean, already over e^{z+}, is corrected for the prior and clamped."""
    log_k = jnp.log(jnp.maximum(count, 1))
    log_g = _log_clamped(log_mean, prior, floor)
    return jnp.where(count > 0, jax.nn.softplus(log_k + log_g), 0)


def _log_clamped(log_mean: Array, prior: Array, floor: Array) -> Array:
    """Logarithm of max((e^log_mean - prior) / (1 - prior), e^floor), no exponential of which can overflow.

    Both `where` of each pair are needed: the unchosen side must be finite for its gradient to be 0, not NaN.
    """
    above = log_mean > jnp.log(prior)
    log_mean = jnp.where(above, log_mean, 0)
    ratio = prior * jnp.exp(-log_mean)
    above = above & (ratio < 1)
    log_g = log_mean + jnp.log1p(-jnp.where(above, ratio, 0)) - jnp.log1p(-prior)
    return jnp.where(above & (log_g >= floor), log_g, floor)
