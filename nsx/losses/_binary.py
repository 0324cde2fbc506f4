"""Binary losses: each score is classified alone as data or noise."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nsx._checks import as_float, require_negatives
from nsx._numerics import masked_sum, per_row
from nsx._types import Array, ArrayLike, Bool, Float


def sgns(
    positive: Float[ArrayLike, "..."],
    negatives: Float[ArrayLike, "... k"],
    *,
    where: Bool[Array, "... k"] | None = None,
) -> Float[Array, "..."]:
    r"""Skip-gram negative-sampling loss: one positive score against k negative ones.

    $$\ell = -\log\sigma(s^+) - \sum_{j=1}^{k} \log\sigma(-s_j)
           = \mathrm{softplus}(-s^+) + \sum_j \mathrm{softplus}(s_j).$$

    Args:
        positive: scores of the observed pairs, shape `(...)`, larger is closer.
        negatives: scores of the noise pairs, shape `(..., k)`.
        where: True at the negatives that count; all False leaves softplus(-s+).

    Returns:
        Loss per example in nats, shape `(...)`, no reduction. Half precision is summed in float32.

    Raises:
        ValueError: k = 0, or shapes that do not fit.

    Exact for the scores given. Its population optimum is log p(c|w) - log q(c) - log k, a density ratio:
    biased as an estimate of log p(c|w); see `nce` for that.

    Example:
        >>> float(sgns(0.0, jnp.zeros(2))) / float(jnp.log(2.0))
        3.0

    References:
        [mikolov2013distributed, eq. 4], [levy2014neural]
    """
    positive, negatives = as_float("positive", positive), as_float("negatives", negatives)
    require_negatives(positive, negatives, where)
    if where is not None:
        negatives = jnp.where(where, negatives, 0)
    return jax.nn.softplus(-positive) + masked_sum(jax.nn.softplus(negatives), where)


def nce(
    positive: Float[ArrayLike, "..."],
    negatives: Float[ArrayLike, "... k"],
    *,
    log_q_positive: Float[ArrayLike, "..."],
    log_q_negatives: Float[ArrayLike, "... k"],
    where: Bool[Array, "... k"] | None = None,
) -> Float[Array, "..."]:
    r"""Noise-contrastive estimation: logistic regression of data against k noise draws a datum.

    $$\ell = \mathrm{sgns}\bigl(s^+ - \log k q^+,\; s_j - \log k q_j\bigr), \qquad q \text{ normalised.}$$

    Args:
        positive: unnormalised log-model of the datum, shape `(...)`.
        negatives: unnormalised log-model of the noise draws, shape `(..., k)`.
        log_q_positive: normalised log-probability of the datum under the noise, nats, shape `(...)`.
        log_q_negatives: the same for the draws, shape `(..., k)`.
        where: True at the negatives that count; k is then their number, row by row.

    Returns:
        Loss per example in nats, shape `(...)`; softplus(-s+) where no negative counts.

    Raises:
        ValueError: k = 0, or shapes that do not fit.

    Consistent for a self-normalised model when q is fixed and q > 0 wherever the data are; biased when the
    gradient flows through q, or when one model serves contexts of different partition functions.

    Example:
        >>> q = jnp.log(jnp.full(3, 0.25))
        >>> float(nce(jnp.log(0.75), q, log_q_positive=q[0], log_q_negatives=q) - sgns(0.0, -jnp.log(3.0) + 0 * q))
        0.0

    References:
        [gutmann2010noise], [gutmann2012noise, eq. 3]
    """
    positive, negatives = as_float("positive", positive), as_float("negatives", negatives)
    require_negatives(positive, negatives, where)
    log_q_positive, log_q_negatives = jnp.asarray(log_q_positive), jnp.asarray(log_q_negatives)
    if where is None:
        log_k = jnp.log(jnp.asarray(negatives.shape[-1], negatives.dtype))
        corrected = negatives - log_q_negatives - log_k
    else:
        where = jnp.broadcast_to(where, negatives.shape)
        log_k = jnp.log(jnp.maximum(jnp.sum(where, axis=-1), 1).astype(negatives.dtype))
        log_q_negatives = jnp.where(where, log_q_negatives, 0)
        corrected = negatives - log_q_negatives - per_row(log_k)
    return sgns(positive - log_q_positive - log_k, corrected, where=where)
