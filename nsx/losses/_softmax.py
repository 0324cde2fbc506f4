"""Softmax losses: the positive is picked out of 1 + k candidates."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nsx._numerics import masked_logsumexp, per_row
from nsx._types import Array, ArrayLike, Bool, Float
from nsx.losses._scores import checked, entry_parameter, row_parameter, scaled_gaps


def info_nce(
    positive: Float[ArrayLike, "..."],
    negatives: Float[ArrayLike, "... k"],
    *,
    temperature: Float[ArrayLike, "..."] = 1.0,
    log_q_positive: Float[ArrayLike, "..."] | None = None,
    log_q_negatives: Float[ArrayLike, "... k"] | None = None,
    where: Bool[Array, "... k"] | None = None,
) -> Float[Array, "..."]:
    r"""InfoNCE, also called sampled softmax and NT-Xent: cross-entropy of the positive among 1 + k candidates.

    $$\ell = -\log\frac{e^{z^+}}{e^{z^+} + \sum_j e^{z_j}}
           = \mathrm{softplus}\Bigl(\log\sum_j e^{z_j - z^+}\Bigr), \qquad z = s/\tau - \log q .$$

    Args:
        positive: scores of the positives, shape `(...)`.
        negatives: scores of the negatives, shape `(..., k)`; a score of -inf counts as masked.
        temperature: tau > 0, a scalar or one per row, shape `(...)`.
        log_q_positive: log-probability of the positive under the proposal, nats; None corrects nothing.
        log_q_negatives: the same for the negatives, shape `(..., k)`; None corrects nothing.
        where: True at the negatives that count; a row where none does has loss 0.

    Returns:
        Loss per example in nats, shape `(...)`. The softplus form keeps relative precision when the positive
        wins by many temperatures, and nothing saturates when it loses by thousands, in value and in gradient.

    Raises:
        ValueError: temperature not positive (concrete values only; a traced one <= 0 gives a meaningless
            finite value or NaN), k = 0, or shapes that do not fit.

    Biased for the full softmax unless q is that softmax: see `nsx.bias`. With log q the denominator's
    expectation is right when accidental hits of the positive are masked.

    Example:
        >>> round(float(info_nce(0.0, jnp.zeros(3))), 6) == round(float(jnp.log(4.0)), 6)
        True

    References:
        [oord2018representation, eq. 4], [bengio2008adaptive]
    """
    gaps, where = _gaps(positive, negatives, temperature, where)
    if log_q_positive is not None:
        gaps = gaps + per_row(row_parameter("log_q_positive", log_q_positive, gaps))
    if log_q_negatives is not None:
        gaps = gaps - entry_parameter("log_q_negatives", log_q_negatives, gaps, where)
    return jax.nn.softplus(masked_logsumexp(gaps, where))


def decoupled_info_nce(
    positive: Float[ArrayLike, "..."],
    negatives: Float[ArrayLike, "... k"],
    *,
    temperature: Float[ArrayLike, "..."],
    where: Bool[Array, "... k"] | None = None,
) -> Float[Array, "..."]:
    r"""Decoupled contrastive loss: InfoNCE with the positive left out of its own denominator.

    $$\ell = -\frac{s^+}{\tau} + \log\sum_{j=1}^{k} e^{s_j/\tau}.$$

    Args:
        positive: scores of the positives, shape `(...)`.
        negatives: scores of the negatives, shape `(..., k)`; a score of -inf counts as masked.
        temperature: tau > 0, a scalar or one per row, shape `(...)`.
        where: True at the negatives that count; a row where none does has loss 0 and gradient 0, since the
            formula would give -inf.

    Returns:
        Loss per example in nats, shape `(...)`; negative wherever the positive beats all negatives together.

    Raises:
        ValueError: temperature not positive (concrete values only; a traced one <= 0 gives a meaningless
            finite value or NaN), k = 0, or shapes that do not fit.

    Exact for the scores given, but no log-likelihood: it has no lower bound, so bounded scores are assumed.

    Example:
        >>> float(decoupled_info_nce(1.0, jnp.zeros(1), temperature=0.5))
        -2.0

    References:
        [yeh2022decoupled, sec. 3]
    """
    log_odds = masked_logsumexp(*_gaps(positive, negatives, temperature, where))
    return jnp.where(jnp.isneginf(log_odds), 0, log_odds)


def _gaps(
    positive: ArrayLike, negatives: ArrayLike, temperature: ArrayLike, where: Array | None
) -> tuple[Array, Array]:
    """Scaled gaps and their mask, -inf masked too: the slope of -inf / temperature would put NaN into its gradient."""
    positive, negatives, where = checked(positive, negatives, where)
    possible = negatives != -jnp.inf
    where = possible if where is None else possible & where
    return scaled_gaps(positive, jnp.where(where, negatives, 0), temperature), where
