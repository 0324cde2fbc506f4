"""What every loss over a batch checks first."""

from __future__ import annotations

import jax.numpy as jnp

from nsx._checks import as_float, require_positive
from nsx._types import Array, ArrayLike


def require_pairs(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Both sides as floats, ValueError unless they have one shape (b, d)."""
    x, y = as_float("x", x), as_float("y", y)
    if x.ndim != 2 or x.shape != y.shape or x.shape[0] == 0:
        raise ValueError(f"x and y must have one shape (b, d) with b >= 1, got {x.shape} and {y.shape}.")
    return x, y


def require_scalar_temperature(temperature: ArrayLike) -> None:
    """ValueError unless the temperature is a positive scalar."""
    require_positive("temperature", temperature, advice="It divides the scores.")
    if jnp.ndim(temperature):
        raise ValueError(f"temperature must be a scalar here, got shape {jnp.shape(temperature)}.")


def require_integers(name: str, value: ArrayLike | None, size: int) -> Array | None:
    """The integers, one a row; TypeError or ValueError where they are not, None where there are none."""
    if value is None:
        return None
    value = jnp.asarray(value)
    if not jnp.issubdtype(value.dtype, jnp.integer):
        raise TypeError(f"{name} must be integers, compared for equality, got {value.dtype}.")
    if value.shape != (size,):
        raise ValueError(f"{name} must have shape {(size,)}, one a row, got {value.shape}.")
    return value
