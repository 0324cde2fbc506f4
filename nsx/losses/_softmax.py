"""Softmax losses: the positive is picked out of 1 + k candidates."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nsx._checks import as_float, require_negatives, require_positive
from nsx._numerics import masked_logsumexp, per_row
from nsx._types import Array, ArrayLike, Bool, Float


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
        negatives: scores of the negatives, shape `(..., k)`.
        temperature: tau > 0, a scalar or one per row, shape `(...)`.
        log_q_positive: log-probability of the positive under the proposal, nats; None corrects nothing.
        log_q_negatives: the same for the negatives, shape `(..., k)`; None corrects nothing.
        where: True at the negatives that count; a row where none does has loss 0.

    Returns:
        Loss per example in nats, shape `(...)`. The softplus form keeps relative precision when the positive
        wins by hundreds of temperatures, in value and in gradient.

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
    positive, negatives = as_float("positive", positive), as_float("negatives", negatives)
    require_negatives(positive, negatives, where)
    require_positive("temperature", temperature)
    temperature = jnp.asarray(temperature)
    positive = positive / temperature
    negatives = negatives / per_row(temperature)
    if log_q_positive is not None:
        positive = positive - jnp.asarray(log_q_positive)
    if log_q_negatives is not None:
        negatives = negatives - jnp.asarray(log_q_negatives)
    if where is not None:
        # masked before the subtraction: inf - inf in a masked entry would put NaN into the gradient
        negatives = jnp.where(where, negatives, -jnp.inf)
    return jax.nn.softplus(masked_logsumexp(negatives - per_row(positive)))
