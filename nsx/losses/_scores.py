"""What every score-level loss does first: check, mask, scale; and last: let no NaN be lost."""

from __future__ import annotations

import jax.numpy as jnp

from nsx._checks import as_mask, require_broadcastable, require_finite, require_negatives, require_positive
from nsx._numerics import per_row
from nsx._types import Array, ArrayLike


def checked(positive: Array, negatives: Array, where: ArrayLike | None) -> tuple[Array, Array, Array | None]:
    """Both scores, their shapes checked, and the mask at full shape; what is masked is 0, whatever it was.

    The mask comes before any arithmetic: 0 cotangent times the slope of inf / temperature would be NaN.
    """
    require_negatives(positive, negatives)
    if where is None:
        return positive, negatives, None
    where = as_mask("where", where, negatives.shape, meaning="True at the negatives that count")
    return positive, jnp.where(where, negatives, 0), where


# --- Parameters


def require_temperature(temperature: ArrayLike) -> ArrayLike:
    """The temperature, which must be positive."""
    return require_positive("temperature", temperature, advice="It divides the scores.")


def row_parameter(name: str, value: Array, negatives: Array) -> Array:
    """A scalar as it is, or one value per row of negatives, shape (...); ValueError where it is neither."""
    require_broadcastable(name, value.shape, negatives.shape[:-1])
    return value if value.ndim == 0 else jnp.broadcast_to(value, negatives.shape[:-1])


def log_q_of_positive(log_q: Array, negatives: Array) -> Array:
    """log q of the positives, a scalar or one per row, finite."""
    log_q = require_finite("log_q_positive", log_q, advice="A positive of probability 0 has no such correction.")
    return row_parameter("log_q_positive", jnp.asarray(log_q), negatives)


def log_q_of_negatives(log_q: Array, negatives: Array, where: Array | None) -> Array:
    """log q of the negatives that count, finite; 0 at the others, and at scores of -inf, which weigh nothing."""
    require_broadcastable("log_q_negatives", log_q.shape, negatives.shape)
    counted = negatives != -jnp.inf
    if where is not None:
        counted = counted & where
    log_q = jnp.where(counted, log_q, 0)
    return jnp.asarray(require_finite("log_q_negatives", log_q, advice="A draw has a probability above 0."))


# --- Scaled scores


def scaled(negatives: Array, temperature: Array) -> Array:
    """s / tau; -inf stays -inf, with gradient 0 in the temperature too."""
    absent = jnp.isneginf(negatives)
    return jnp.where(absent, -jnp.inf, jnp.where(absent, 0, negatives) / per_row(temperature))


def scaled_gaps(positive: Array, negatives: Array, temperature: Array) -> Array:
    """(s_j - s+) / tau, subtracted first: scores near each other lose no digit to a small temperature."""
    absent = jnp.isneginf(negatives)
    gaps = (jnp.where(absent, 0, negatives) - per_row(positive)) / per_row(temperature)
    return jnp.where(absent, -jnp.inf, gaps)


# --- What is left at the end


def num_valid(negatives: Array, where: Array | None) -> Array:
    """How many negatives count: a scalar without a mask, else one per row; at least 0."""
    if where is None:
        return jnp.asarray(negatives.shape[-1], negatives.dtype)
    return jnp.sum(where, axis=-1).astype(negatives.dtype)


def nan_from(loss: Array, *values: Array | None) -> Array:
    """The loss, NaN where one of the values is: a row without negatives would show 0 whatever they are."""
    for value in values:
        if value is not None:
            loss = jnp.where(jnp.isnan(value), jnp.nan, loss)
    return loss
