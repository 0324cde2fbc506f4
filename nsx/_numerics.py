"""Sums and logs that stay finite, in value and in gradient, where the textbook form gives NaN."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nsx._types import Array


def masked_logsumexp(x: Array, where: Array | None = None, *, axis: int = -1) -> Array:
    """log sum exp over the entries that count; -inf with zero gradient where none does.

    The maximum is subtracted first, so entries of +-1e4 and -inf are safe. `jax.nn.logsumexp` has a NaN
    gradient where every entry is masked or -inf; this form has gradient 0 there.
    """
    if where is not None:
        x = jnp.where(where, x, -jnp.inf)
    top = jnp.max(x, axis=axis, keepdims=True)
    top = jax.lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0))
    total = jnp.sum(jnp.exp(x - top), axis=axis)
    some = total > 0
    log_total = jnp.log(jnp.where(some, total, 1)) + jnp.squeeze(top, axis=axis)
    return jnp.where(some, log_total, -jnp.inf)


def masked_sum(x: Array, where: Array | None, *, axis: int = -1) -> Array:
    """Sum over the entries that count; what is masked may be anything, NaN included (mask it before too)."""
    return jnp.sum(x if where is None else jnp.where(where, x, 0), axis=axis)


def per_row(x: Array) -> Array:
    """A scalar as it is, shape (...) as (..., 1): a per-row parameter ready to meet scores of shape (..., k)."""
    return x if x.ndim == 0 else x[..., None]
