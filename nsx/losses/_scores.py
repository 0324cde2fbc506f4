"""What every score-level loss does first: promote, check, mask, scale."""

from __future__ import annotations

import jax.numpy as jnp

from nsx._checks import as_floats, as_mask, require_broadcastable, require_negatives, require_positive
from nsx._numerics import per_row
from nsx._types import Array, ArrayLike


def checked(positive: ArrayLike, negatives: ArrayLike, where: Array | None) -> tuple[Array, Array, Array | None]:
    """Both scores as floats and the mask at full shape; what is masked is 0, whatever it was.

    The mask comes before any arithmetic: 0 cotangent times the slope of inf / temperature would be NaN.
    """
    positive, negatives = as_floats(positive=positive, negatives=negatives)
    require_negatives(positive, negatives)
    if where is not None:
        where = as_mask("where", where, negatives.shape, meaning="True at the negatives that count")
        negatives = jnp.where(where, negatives, 0)
    return positive, negatives, where


def scaled_gaps(positive: Array, negatives: Array, temperature: ArrayLike) -> Array:
    """(s_j - s+) / tau, subtracted first: scores near each other lose no digit to a small temperature."""
    temperature = checked_temperature(temperature, negatives)
    return (negatives - per_row(positive)) / per_row(temperature)


def checked_temperature(temperature: ArrayLike, negatives: Array) -> Array:
    """The temperature as an array, a scalar or one per row; ValueError where it is not positive."""
    require_positive("temperature", temperature, advice="It divides the scores.")
    return row_parameter("temperature", temperature, negatives)


def row_parameter(name: str, value: ArrayLike, negatives: Array) -> Array:
    """The value as an array, a scalar or one per row of negatives; ValueError where it is neither."""
    value = jnp.asarray(value)
    require_broadcastable(name, value.shape, negatives.shape[:-1])
    return value


def entry_parameter(name: str, value: ArrayLike, negatives: Array, where: Array | None) -> Array:
    """The value as an array that meets negatives entry by entry, 0 where masked."""
    value = jnp.asarray(value)
    require_broadcastable(name, value.shape, negatives.shape)
    return value if where is None else jnp.where(where, value, 0)


def num_valid(negatives: Array, where: Array | None) -> Array:
    """How many negatives count: a scalar without a mask, else one per row; at least 0."""
    if where is None:
        return jnp.asarray(negatives.shape[-1], negatives.dtype)
    return jnp.sum(where, axis=-1).astype(negatives.dtype)
