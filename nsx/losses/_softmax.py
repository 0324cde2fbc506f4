"""Softmax losses: the positive is picked out of 1 + k candidates."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nsx._checks import as_float, as_floats, require_positive
from nsx._numerics import masked_logsumexp, per_row
from nsx._types import Array, ArrayLike, Bool, Float
from nsx.losses._scores import (
    checked,
    log_q_of_negatives,
    log_q_of_positive,
    nan_from,
    require_temperature,
    row_parameter,
    scaled_gaps,
)


def info_nce(
    positive: Float[ArrayLike, "..."],
    negatives: Float[ArrayLike, "... k"],
    *,
    temperature: Float[ArrayLike, "..."] = 1.0,
    log_q_positive: Float[ArrayLike, "..."] | None = None,
    log_q_negatives: Float[ArrayLike, "... k"] | None = None,
    k: Float[ArrayLike, "..."] | None = None,
    where: Bool[ArrayLike, "... k"] | None = None,
) -> Float[Array, "..."]:
    r"""InfoNCE, also called sampled softmax and NT-Xent: cross-entropy of the positive among 1 + k candidates.

    $$\ell = -\log\frac{e^{z^+}}{e^{z^+} + \sum_j e^{z_j}}
           = \mathrm{softplus}\Bigl(\log\sum_j e^{z_j - z^+}\Bigr),$$

    where what is known of the law q of the draws says what the logits z are:

    | given | form | positive | negatives |
    |---|---|---|---|
    | neither log q | no correction | $s^+/\tau$ | $s_j/\tau$ |
    | `log_q_negatives` | importance | $s^+/\tau$ | $s_j/\tau - \log(k\,q_j)$ |
    | both log q | ranking | $s^+/\tau - \log q^+$ | $s_j/\tau - \log q_j$ |

    Args:
        positive: scores of the positives, shape `(...)`.
        negatives: scores of the negatives, shape `(..., k)`; a score of -inf weighs nothing, but is a draw.
        temperature: tau > 0, a scalar or one per row, shape `(...)`.
        log_q_positive: log-probability of the positive under q, nats, a scalar or `(...)`; only beside log_q_negatives.
        log_q_negatives: log-probability of each negative under q, nats, shape `(..., k)`, without log k.
        k: number of draws, a scalar or one per row, shape `(...)`: masked hits of the positive are draws and count,
            padding is none and does not. None takes the last axis of negatives. It enters the importance form alone;
            1 goes with the logarithm of expected counts in log_q_negatives.
        where: True at the negatives that count; a row where none does has loss 0.

    Returns:
        Loss per example in nats, shape `(...)`. The softplus form keeps relative precision when the positive
        wins by many temperatures, and nothing saturates when it loses by thousands, in value and in gradient.

    Raises:
        ValueError: temperature or k not positive, a log q that counts not finite (traced, each gives NaN);
            log_q_positive or k without log_q_negatives; k = 0 negatives, or shapes that do not fit.
        TypeError: a mask that is not boolean.

    Biased for the full softmax without correction, unless q is that softmax. The importance form has the right
    denominator in expectation when hits of the positive are masked, and a gradient that is right up to O(1/k); the
    ranking form has the right optimum for every k when hits are kept. The other way round both are biased:
    `samplers.correction` gives the arguments that belong together and refuses the others.

    Example:
        >>> scores = jnp.array([0.0, -1.0, 2.0, 1.0])  # four draws, uniform over four candidates; the last is the hit
        >>> settings = {"log_q_negatives": jnp.log(jnp.full(4, 0.25)), "where": jnp.array([True, True, True, False])}
        >>> sampled = info_nce(1.0, scores, **settings)
        >>> full = info_nce(1.0, scores[:3])
        >>> not_counted = info_nce(1.0, scores, **settings, k=3)  # the hit is masked, but it was drawn
        >>> [round(float(loss), 4) for loss in (sampled, full, not_counted)]
        [1.4402, 1.4402, 1.6668]

    References:
        [oord2018representation, eq. 4], [bengio2008adaptive], [ma2018noise]
    """
    _require_form(log_q_positive, log_q_negatives, k)
    positive, negatives, temperature, log_q_positive, log_q_negatives = as_floats(
        positive=positive,
        negatives=negatives,
        temperature=require_temperature(temperature),
        log_q_positive=log_q_positive,
        log_q_negatives=log_q_negatives,
    )
    positive, negatives, where = checked(positive, negatives, where)
    temperature = row_parameter("temperature", temperature, negatives)
    gaps = scaled_gaps(positive, negatives, temperature)
    if log_q_negatives is not None:
        gaps = gaps - log_q_of_negatives(log_q_negatives, negatives, where)
    if log_q_positive is not None:  # the ranking form: log k would move every logit alike
        log_q_positive = log_q_of_positive(log_q_positive, negatives)
        gaps = gaps + per_row(log_q_positive)
    elif log_q_negatives is not None:
        k = _num_draws(k, negatives, where)
        gaps = gaps - per_row(jnp.log(k))
    loss = jax.nn.softplus(masked_logsumexp(gaps, where))
    return nan_from(loss, positive, temperature, log_q_positive, k)


def _require_form(log_q_positive: ArrayLike | None, log_q_negatives: ArrayLike | None, k: ArrayLike | None) -> None:
    """ValueError where log q of the positive or k is given without log q of the negatives."""
    if log_q_negatives is not None:
        return
    if log_q_positive is not None:
        raise ValueError(
            "log_q_positive needs log_q_negatives beside it, got it alone. Give both (the ranking form), "
            "log_q_negatives alone (the importance form), or neither."
        )
    if k is not None:
        raise ValueError(f"k enters beside log_q_negatives only, got k = {k} alone. Leave it out, or give log q.")


def _num_draws(k: ArrayLike | None, negatives: Array, where: Array | None) -> Array:
    """The number of draws, a scalar or one per row; 1 in a row where no negative counts, whatever was given."""
    if k is None:
        return jnp.asarray(negatives.shape[-1], negatives.dtype)
    k = row_parameter("k", as_float("k", k).astype(negatives.dtype), negatives)
    counted = negatives != -jnp.inf if where is None else (negatives != -jnp.inf) & where
    k = jnp.where(jnp.any(counted, axis=-1) | jnp.isnan(k), k, 1)
    return jnp.asarray(require_positive("k", k, advice="It is the number of draws, masked hits included."))


def decoupled_info_nce(
    positive: Float[ArrayLike, "..."],
    negatives: Float[ArrayLike, "... k"],
    *,
    temperature: Float[ArrayLike, "..."],
    where: Bool[ArrayLike, "... k"] | None = None,
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
        ValueError: temperature not positive (traced, it gives NaN), k = 0, or shapes that do not fit.
        TypeError: a mask that is not boolean.

    Exact for the scores given, but no log-likelihood: it has no lower bound, so bounded scores are assumed.

    Example:
        >>> float(decoupled_info_nce(1.0, jnp.zeros(1), temperature=0.5))
        -2.0

    References:
        [yeh2022decoupled, sec. 3]
    """
    positive, negatives, temperature = as_floats(
        positive=positive, negatives=negatives, temperature=require_temperature(temperature)
    )
    positive, negatives, where = checked(positive, negatives, where)
    temperature = row_parameter("temperature", temperature, negatives)
    log_odds = masked_logsumexp(scaled_gaps(positive, negatives, temperature), where)
    loss = jnp.where(jnp.isneginf(log_odds), 0, log_odds)
    return nan_from(loss, positive, temperature)
