"""Checks of arguments: what was wrong, what was got, what to do.

Shapes and dtypes are always known and always checked. Values are checked when they are concrete (Python
or NumPy numbers, arrays outside a transformation); a traced value passes, and the docstring of each public
function says what comes back then.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from nsx._types import Array, ArrayLike


def is_concrete(value: object) -> bool:
    """True where the value can be looked at: not a tracer of jit, grad or vmap."""
    return not isinstance(value, jax.core.Tracer)


def require_positive(name: str, value: ArrayLike, *, advice: str = "") -> None:
    """Raise ValueError unless every entry is finite and > 0; traced values pass."""
    if is_concrete(value) and not np.all((np.asarray(value) > 0) & np.isfinite(np.asarray(value))):
        raise ValueError(f"{name} must be positive and finite, got {value}. {advice}".rstrip())


def require_finite(name: str, value: ArrayLike, *, advice: str = "") -> None:
    """Raise ValueError unless every entry is finite; traced values pass."""
    if is_concrete(value) and not np.all(np.isfinite(np.asarray(value))):
        raise ValueError(f"{name} must be finite, got {value}. {advice}".rstrip())


def require_in_range(
    name: str, value: ArrayLike, low: float, high: float, *, open_high: bool = False, advice: str = ""
) -> None:
    """Raise ValueError unless low <= value <= high (< high where open_high); traced values pass."""
    if not is_concrete(value):
        return
    entries = np.asarray(value)
    inside = (entries >= low) & ((entries < high) if open_high else (entries <= high))
    if not np.all(inside):
        bracket = ")" if open_high else "]"
        raise ValueError(f"{name} must be in [{low}, {high}{bracket}, got {value}. {advice}".rstrip())


def require_count(name: str, value: int, *, minimum: int = 1) -> None:
    """Raise unless the value is a Python or NumPy integer >= minimum: it sets a shape, so it is static."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise TypeError(f"{name} sets a shape and must be a Python integer, got {value!r}.")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}.")


def as_float(name: str, value: ArrayLike) -> Array:
    """The value as a floating array, half precision promoted to float32 so that sums accumulate there."""
    array = jnp.asarray(value)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"{name} must be real, got dtype {array.dtype}.")
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def require_negatives(positive: Array, negatives: Array, where: Array | None = None) -> None:
    """Raise ValueError unless positive is (...), negatives (..., k) with k >= 1, and where fits negatives."""
    if negatives.ndim == 0 or negatives.shape[-1] == 0:
        raise ValueError(
            f"negatives must have shape (..., k) with k >= 1 on the last axis, got {negatives.shape}. "
            "Mask unwanted entries with `where` instead of passing none."
        )
    lead = negatives.shape[:-1]
    fits = positive.ndim == len(lead) and all(a == b or 1 in (a, b) for a, b in zip(positive.shape, lead, strict=True))
    if not fits:
        raise ValueError(
            f"positive must have the leading shape of negatives, {lead}, got {positive.shape}. "
            "One positive score faces the k negatives of its row."
        )
    if where is not None:
        if where.dtype != bool:
            raise TypeError(f"where must be boolean (True at the negatives that count), got {where.dtype}.")
        require_broadcastable("where", where.shape, negatives.shape)


def require_broadcastable(name: str, shape: tuple[int, ...], target: tuple[int, ...]) -> None:
    """Raise ValueError unless an array of this shape broadcasts to exactly the target shape."""
    try:
        fits = np.broadcast_shapes(shape, target) == tuple(target)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name} of shape {shape} does not broadcast to {target}.")


def require_log_weights(log_weights: Array, *, ndim: int | None = None) -> None:
    """Raise ValueError unless log-weights have a candidate axis, and (concrete) some mass and no NaN or +inf."""
    if log_weights.ndim == 0 or log_weights.shape[-1] == 0:
        raise ValueError(f"log_weights need a last axis of n >= 1 candidates, got shape {log_weights.shape}.")
    if ndim is not None and log_weights.ndim != ndim:
        raise ValueError(f"log_weights must be {ndim}-dimensional here, got shape {log_weights.shape}.")
    if is_concrete(log_weights):
        top = np.max(np.asarray(log_weights), axis=-1)
        if np.any(np.isnan(top)) or np.any(top == math.inf):
            raise ValueError("log_weights hold NaN or +inf; a weight must be finite, or -inf for probability 0.")
        if np.any(top == -math.inf):
            raise ValueError(
                "log_weights are all -inf: no candidate is left to draw. Exclude fewer candidates, or drop the row."
            )
