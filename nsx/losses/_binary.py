"""Binary losses: each negative is judged alone, by one logistic function of its score."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nsx._checks import as_floats, require_finite
from nsx._numerics import masked_sum, per_row
from nsx._types import Array, ArrayLike, Bool, Float
from nsx.losses._scores import (
    checked,
    log_q_of_negatives,
    log_q_of_positive,
    nan_from,
    num_valid,
    require_temperature,
    row_parameter,
    scaled,
)


def sgns(
    positive: Float[ArrayLike, "..."],
    negatives: Float[ArrayLike, "... k"],
    *,
    where: Bool[ArrayLike, "... k"] | None = None,
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
        TypeError: a mask that is not boolean.

    Exact for the scores given. Its population optimum is log p(c|w) - log q(c) - log k, a density ratio:
    biased as an estimate of log p(c|w); see `nce` for that.

    Example:
        >>> sure, unsure, wrong = (float(sgns(s, jnp.array([-s, -s]))) for s in (3.0, 0.0, -3.0))
        >>> round(sure, 3), round(unsure, 3), round(wrong, 3)  # three softplus terms each
        (0.146, 2.079, 9.146)

    References:
        [mikolov2013distributed, eq. 4], [levy2014neural]
    """
    positive, negatives = as_floats(positive=positive, negatives=negatives)
    positive, negatives, where = checked(positive, negatives, where)
    return jax.nn.softplus(-positive) + masked_sum(jax.nn.softplus(negatives), where)


def nce(
    positive: Float[ArrayLike, "..."],
    negatives: Float[ArrayLike, "... k"],
    *,
    log_q_positive: Float[ArrayLike, "..."],
    log_q_negatives: Float[ArrayLike, "... k"],
    where: Bool[ArrayLike, "... k"] | None = None,
) -> Float[Array, "..."]:
    r"""Noise-contrastive estimation: logistic regression of data against k noise draws a datum.

    $$\ell = \mathrm{sgns}\bigl(s^+ - \log k q^+,\; s_j - \log k q_j\bigr), \qquad q \text{ normalised.}$$

    Args:
        positive: unnormalised log-model of the datum, shape `(...)`.
        negatives: unnormalised log-model of the noise draws, shape `(..., k)`.
        log_q_positive: normalised log-probability of the datum under the noise, nats, a scalar or `(...)`.
        log_q_negatives: the same for the draws, shape `(..., k)`, without log k, which is added here.
        where: True at the negatives that count; k is then their number, row by row. It is for padding: a draw that
            hits the datum belongs to the estimator and stays.

    Returns:
        Loss per example in nats, shape `(...)`; where no negative counts, softplus(-(s+ - log q+)).

    Raises:
        ValueError: a log q that counts not finite (traced, it gives NaN), k = 0, or shapes that do not fit.
        TypeError: a mask that is not boolean.

    Exact for the scores given, and consistent for a self-normalised model when q is fixed and q > 0 wherever
    the data are. Biased when the gradient flows through q, or when one model serves contexts of different
    partition functions.

    Example:
        >>> log_q = jnp.log(jnp.full(3, 0.25))
        >>> loss = nce(jnp.log(0.75), log_q, log_q_positive=log_q[0], log_q_negatives=log_q)
        >>> round(float(loss), 4)  # model k q = 3/4 at the datum: even odds, log 2; model q at each draw: 3 log(4/3)
        1.5562

    References:
        [gutmann2010noise], [gutmann2012noise, eq. 3]
    """
    positive, negatives, log_q_positive, log_q_negatives = as_floats(
        positive=positive, negatives=negatives, log_q_positive=log_q_positive, log_q_negatives=log_q_negatives
    )
    positive, negatives, where = checked(positive, negatives, where)
    log_q_positive = log_q_of_positive(log_q_positive, negatives)
    log_q_negatives = log_q_of_negatives(log_q_negatives, negatives, where)
    log_k = jnp.log(jnp.maximum(num_valid(negatives, where), 1))
    return sgns(
        positive - log_q_positive - log_k,
        negatives - log_q_negatives - per_row(log_k),
        where=where,
    )


def sigmoid(
    positive: Float[ArrayLike, "..."],
    negatives: Float[ArrayLike, "... k"],
    *,
    temperature: Float[ArrayLike, "..."],
    bias: Float[ArrayLike, "..."],
    where: Bool[ArrayLike, "... k"] | None = None,
) -> Float[Array, "..."]:
    r"""Sigmoid loss of SigLIP: every pair is classified alone, after one scale and one offset.

    $$\ell = \mathrm{softplus}(-(s^+/\tau + b)) + \sum_j \mathrm{softplus}(s_j/\tau + b).$$

    Args:
        positive: scores of the matching pairs, shape `(...)`.
        negatives: scores of the other pairs, shape `(..., k)`.
        temperature: tau > 0, a scalar or one per row, shape `(...)`.
        bias: b, a scalar or one per row; log(p / (1 - p)) for a share p of matching pairs starts it
            calibrated.
        where: True at the negatives that count; all False leaves the positive term.

    Returns:
        Loss per example in nats, shape `(...)`, no reduction.

    Raises:
        ValueError: temperature not positive or bias not finite (traced, each gives NaN), k = 0, or shapes that do
            not fit.
        TypeError: a mask that is not boolean.

    Exact for the scores given. Its optimum is a log density ratio shifted by b, not a normalised log p.

    Example:
        >>> start = float(jnp.log(1 / 1023))  # one matching pair in 1024: calibrated from the start
        >>> [round(float(sigmoid(0.0, jnp.zeros(1023), temperature=0.1, bias=b)), 2) for b in (0.0, start)]
        [709.78, 7.93]

    References:
        [zhai2023sigmoid, sec. 3.2]
    """
    positive, negatives, temperature, bias = as_floats(
        positive=positive,
        negatives=negatives,
        temperature=require_temperature(temperature),
        bias=require_finite("bias", bias),
    )
    positive, negatives, where = checked(positive, negatives, where)
    temperature = row_parameter("temperature", temperature, negatives)
    bias = row_parameter("bias", bias, negatives)
    return sgns(positive / temperature + bias, scaled(negatives, temperature) + per_row(bias), where=where)


def bpr(
    positive: Float[ArrayLike, "..."],
    negatives: Float[ArrayLike, "... k"],
    *,
    where: Bool[ArrayLike, "... k"] | None = None,
) -> Float[Array, "..."]:
    r"""Bayesian personalised ranking: the positive should beat each negative, one at a time.

    $$\ell = -\sum_{j=1}^{k} \log\sigma(s^+ - s_j) = \sum_j \mathrm{softplus}(s_j - s^+).$$

    Args:
        positive: scores of the observed items, shape `(...)`, larger is preferred.
        negatives: scores of the unobserved items, shape `(..., k)`.
        where: True at the negatives that count; a row where none does has loss 0.

    Returns:
        Loss per example in nats, shape `(...)`: the sum over the negatives, as in `sgns`, so each of the
        paper's triples counts once; divide by their number for the mean.

    Raises:
        ValueError: k = 0, or shapes that do not fit.
        TypeError: a mask that is not boolean.

    Exact for the scores given. It fixes differences of scores only: a constant added to a row changes
    nothing.

    Example:
        >>> [round(float(bpr(3.0, jnp.array([3.0 - gap] * 2))), 4) for gap in (4.0, 0.0, -4.0)]  # two triples each
        [0.0363, 1.3863, 8.0363]

    References:
        [rendle2009bpr, sec. 4.1]
    """
    positive, negatives = as_floats(positive=positive, negatives=negatives)
    positive, negatives, where = checked(positive, negatives, where)
    loss = masked_sum(jax.nn.softplus(negatives - per_row(positive)), where)
    return nan_from(loss, positive)
