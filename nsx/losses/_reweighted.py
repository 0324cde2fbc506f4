"""Losses that change what the negatives weigh: debiased, hard, self-adversarial."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nsx._checks import SMALLEST_NORMAL, as_floats, require_finite, require_in_range
from nsx._numerics import masked_logsumexp, per_row
from nsx._types import Array, ArrayLike, Bool, Float
from nsx.losses._scores import checked, nan_from, num_valid, require_temperature, row_parameter, scaled_gaps

_LOWEST = -1e15  # stands for a score of -inf where it meets a sharpness: 0 times it is 0, not NaN


def debiased_info_nce(
    positive: Float[ArrayLike, "..."],
    negatives: Float[ArrayLike, "... k"],
    *,
    temperature: Float[ArrayLike, "..."],
    positive_prior: Float[ArrayLike, "..."],
    where: Bool[ArrayLike, "... k"] | None = None,
) -> Float[Array, "..."]:
    r"""Debiased contrastive loss: InfoNCE with the expected share of false negatives taken out again.

    $$\ell = -\log\frac{e^{z^+}}{e^{z^+} + k g}, \qquad
      g = \max\Bigl\{\frac{\frac1k\sum_j e^{z_j} - \pi e^{z^+}}{1 - \pi},\; e^{-1/\tau}\Bigr\},
      \qquad z = s/\tau .$$

    Args:
        positive: scores of the positives in [-1, 1] (cosines), shape `(...)`.
        negatives: scores of the negatives in [-1, 1], shape `(..., k)`; a score of -inf weighs nothing, but counts
            in k.
        temperature: tau > 0, a scalar or one per row, shape `(...)`.
        positive_prior: pi in [0, 1), the chance that a negative is of the positive's class, one or per row.
        where: True at the negatives that count; k is then their number, and a row where none does has loss 0.

    Returns:
        Loss per example in nats, shape `(...)`, formed from logs: finite in float32 at temperature 0.001.

    Raises:
        ValueError: temperature not positive or positive_prior outside [0, 1) (traced, each gives NaN), k = 0, or
            shapes that do not fit.
        TypeError: a mask that is not boolean.

    Biased: consistent as k grows when positives and false negatives share one law, but the log of a sample
    mean is not the log of its expectation, and the clamp g >= e^{-1/tau}, the least that scores in [-1, 1]
    allow, binds by chance at small k. Where it binds the negatives get gradient 0 and the positive keeps its
    own. Where all scores lie below -1 it always binds; at positive_prior 0, where it does not, this is `info_nce`.

    Example:
        >>> from nsx.losses import info_nce
        >>> one_false = jnp.array([0.5, -0.1, -0.1, -0.1])  # the first scores like the positive, and is of its class
        >>> debiased = debiased_info_nce(0.5, one_false, temperature=0.5, positive_prior=0.25)
        >>> plain = info_nce(0.5, one_false, temperature=0.5)
        >>> all_true = info_nce(0.5, jnp.full(4, -0.1), temperature=0.5)
        >>> [round(float(loss), 4) for loss in (plain, debiased, all_true)]
        [1.0659, 0.7906, 0.7906]

    References:
        [chuang2020debiased, sec. 3]
    """
    positive, negatives, temperature, prior = as_floats(
        positive=positive,
        negatives=negatives,
        temperature=require_temperature(temperature),
        positive_prior=_require_prior(positive_prior),
    )
    positive, negatives, where = checked(positive, negatives, where)
    temperature = row_parameter("temperature", temperature, negatives)
    prior = row_parameter("positive_prior", prior, negatives)
    count = num_valid(negatives, where)
    log_sum = masked_logsumexp(scaled_gaps(positive, negatives, temperature), where)
    log_mean = log_sum - jnp.log(jnp.maximum(count, 1))
    loss = _corrected(log_mean, count, _floor(positive, temperature), prior)
    return nan_from(loss, positive, temperature, prior)


def hard_info_nce(
    positive: Float[ArrayLike, "..."],
    negatives: Float[ArrayLike, "... k"],
    *,
    temperature: Float[ArrayLike, "..."],
    positive_prior: Float[ArrayLike, "..."],
    concentration: Float[ArrayLike, "..."],
    where: Bool[ArrayLike, "... k"] | None = None,
) -> Float[Array, "..."]:
    r"""Hard-negative contrastive loss: the debiased loss with negatives reweighted towards high scores.

    The mean over the negatives in `debiased_info_nce` becomes a weighted one,

    $$\frac1k\sum_j w_j e^{z_j}, \qquad w_j = \frac{e^{\beta z_j}}{\frac1k\sum_i e^{\beta z_i}},
      \qquad z = s/\tau .$$

    Args:
        positive: scores of the positives in [-1, 1] (cosines), shape `(...)`.
        negatives: scores of the negatives in [-1, 1], shape `(..., k)`; a score of -inf weighs nothing, but counts
            in k.
        temperature: tau > 0, a scalar or one per row, shape `(...)`.
        positive_prior: pi in [0, 1), the chance that a negative is of the positive's class, one or per row.
        concentration: beta; 0 is `debiased_info_nce`, large beta keeps the hardest negative only.
        where: True at the negatives that count; k is then their number, and a row where none does has loss 0.

    Returns:
        Loss per example in nats, shape `(...)`, formed from logs: finite in float32 at temperature 0.001.

    Raises:
        ValueError: temperature not positive, positive_prior outside [0, 1) or concentration not finite (traced,
            each gives NaN), k = 0, or shapes that do not fit.
        TypeError: a mask that is not boolean.

    Biased: the weights are self-normalised over the k negatives, and the gradient flows through them, as in
    the authors' code, in proportion to (1 + beta) softmax((1 + beta) z) - beta softmax(beta z): an easy negative
    may be pulled in, to take weight from the hard ones. The clamp g >= e^{-1/tau} is that of `debiased_info_nce`.

    Example:
        >>> from functools import partial
        >>> scores = jnp.array([0.5, -0.5])
        >>> hard = partial(hard_info_nce, 0.0, scores, temperature=1.0, positive_prior=0.0)
        >>> [round(float(hard(concentration=beta)), 4) for beta in (0.0, 1.0, 1e3)]
        [1.1803, 1.3182, 1.458]
        >>> round(float(jnp.log1p(2 * jnp.exp(0.5))), 4)  # as if both scored like the harder one
        1.458

    References:
        [robinson2021contrastive, sec. 3]
    """
    positive, negatives, temperature, prior, beta = as_floats(
        positive=positive,
        negatives=negatives,
        temperature=require_temperature(temperature),
        positive_prior=_require_prior(positive_prior),
        concentration=require_finite("concentration", concentration),
    )
    positive, negatives, where = checked(positive, negatives, where)
    temperature = row_parameter("temperature", temperature, negatives)
    prior = row_parameter("positive_prior", prior, negatives)
    beta = row_parameter("concentration", beta, negatives)
    gaps = scaled_gaps(positive, negatives, temperature)
    log_mean = masked_logsumexp(gaps + _log_softmax(beta, gaps, where), where)
    loss = _corrected(log_mean, num_valid(negatives, where), _floor(positive, temperature), prior)
    return nan_from(loss, positive, temperature, prior, beta)


def self_adversarial(
    positive: Float[ArrayLike, "..."],
    negatives: Float[ArrayLike, "... k"],
    *,
    sharpness: Float[ArrayLike, "..."],
    where: Bool[ArrayLike, "... k"] | None = None,
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
        ValueError: sharpness not finite (traced, it gives NaN), k = 0, or shapes that do not fit.
        TypeError: a mask that is not boolean.

    Biased: no gradient flows through the weights, so this is the gradient of no fixed loss, and
    self-normalised weights over k draws are biased for those over all candidates by O(1/k).

    Example:
        >>> negatives = jnp.array([2.0, -2.0])
        >>> flat, sharp = (self_adversarial(0.0, negatives, sharpness=alpha) for alpha in (0.0, 10.0))
        >>> round(float(flat), 4), round(float(sharp), 4)  # the mean of both pushes, the harder one alone
        (1.8201, 2.8201)

    References:
        [sun2019rotate, sec. 3.3]
    """
    positive, negatives, alpha = as_floats(
        positive=positive, negatives=negatives, sharpness=require_finite("sharpness", sharpness)
    )
    positive, negatives, where = checked(positive, negatives, where)
    alpha = row_parameter("sharpness", alpha, negatives)
    log_weights = _log_softmax(alpha, negatives, where)
    if where is not None:
        log_weights = jnp.where(where, log_weights, -jnp.inf)
    weights = jax.lax.stop_gradient(jnp.exp(log_weights))
    loss = jax.nn.softplus(-positive) + jnp.sum(weights * jax.nn.softplus(negatives), axis=-1)
    return nan_from(loss, alpha)


def _log_softmax(sharpness: Array, x: Array, where: Array | None) -> Array:
    """Log of the softmax of sharpness * x over what counts; finite also where nothing does.

    The largest x goes first: sharpness * x itself would round away the differences that a large sharpness means.
    """
    x = jnp.maximum(x, _LOWEST)
    top = jnp.max(x if where is None else jnp.where(where, x, -jnp.inf), axis=-1, keepdims=True)
    logits = per_row(sharpness) * (x - jax.lax.stop_gradient(jnp.where(jnp.isneginf(top), 0, top)))
    log_total = masked_logsumexp(logits, where)
    return logits - per_row(jnp.where(jnp.isneginf(log_total), 0, log_total))


def _floor(positive: Array, temperature: Array) -> Array:
    """log of the clamp e^{-1/tau} over e^{z+}."""
    return -(1 + positive) / temperature


def _require_prior(positive_prior: ArrayLike) -> ArrayLike:
    return require_in_range("positive_prior", positive_prior, 0, 1, open_high=True)


def _corrected(log_mean: Array, count: Array, floor: Array, prior: Array) -> Array:
    """softplus(log k g / e^{z+}), where the mean, already over e^{z+}, is corrected for the prior and clamped."""
    log_k = jnp.log(jnp.maximum(count, 1))
    log_g = _log_clamped(log_mean, prior, floor)
    return jnp.where(count > 0, jax.nn.softplus(log_k + log_g), 0)


def _log_clamped(log_mean: Array, prior: Array, floor: Array) -> Array:
    """Logarithm of max((e^log_mean - prior) / (1 - prior), e^floor), no exponential of which can overflow.

    Both comparisons are False for NaN, which so comes through; what is not chosen is finite, for its gradient is 0.
    """
    share = _share(log_mean, prior)
    above = share < 1
    log_g = log_mean + jnp.log1p(-jnp.where(above, share, 0)) - jnp.log1p(-prior)
    clamped = (share >= 1) | (log_g < floor)
    return jnp.where(clamped, floor, log_g)


def _share(log_mean: Array, prior: Array) -> Array:
    """prior / e^log_mean, at most 1 where the prior is not 0.

    A prior of 0 keeps its slope, 1 / mean, up to the largest that the precision holds; above 0 the logarithms are
    subtracted first, since 1 / mean may overflow where the quotient does not.
    """
    none = prior < SMALLEST_NORMAL
    cap = 0.9 * jnp.log(jnp.finfo(log_mean.dtype).max)
    at_zero = prior * jnp.exp(jnp.minimum(-log_mean, cap))
    above_zero = jnp.exp(jnp.minimum(jnp.log(jnp.where(none, 1, prior)) - log_mean, 0))
    return jnp.where(none, at_zero, above_zero)
