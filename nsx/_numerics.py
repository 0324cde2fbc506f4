"""Sums, logs and roots that stay finite, in value and in gradient, where the textbook form gives NaN; wide products.

NaN in, NaN out: what is not masked and is NaN reaches the result.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nsx._types import Array


def masked_logsumexp(x: Array, where: Array | None = None, *, axis: int = -1) -> Array:
    """log sum exp over the entries that count; -inf with zero gradient where none does, NaN where one that counts is.

    The maximum is subtracted first, so entries of +-1e4 and -inf are safe. `jax.nn.logsumexp` has a NaN
    gradient where every entry is masked or -inf; this form has gradient 0 there.
    """
    if where is not None:
        x = jnp.where(where, x, -jnp.inf)
    top = jnp.max(x, axis=axis, keepdims=True)
    top = jax.lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0))
    total = jnp.sum(jnp.exp(x - top), axis=axis)
    none = total == 0  # not `total > 0`: a NaN is no empty sum
    log_total = jnp.log(jnp.where(none, 1, total)) + jnp.squeeze(top, axis=axis)
    return jnp.where(none, -jnp.inf, log_total)


def masked_sum(x: Array, where: Array | None, *, axis: int = -1) -> Array:
    """Sum over the entries that count; what is masked may be anything, NaN included (mask it before too)."""
    return jnp.sum(x if where is None else jnp.where(where, x, 0), axis=axis)


def log_normalize(log_weights: Array) -> Array:
    """Log-probabilities over the last axis; a row without mass stays all -inf, NaN in a row makes all of it NaN."""
    top, log_total = log_total_above_top(log_weights)
    return (log_weights - top[..., None]) - log_total[..., None]


def log_total_above_top(log_weights: Array) -> tuple[Array, Array]:
    """The largest log-weight, and log sum exp above it: apart, for at 1e4 their sum drops log 2 to 3 digits."""
    top = jnp.max(log_weights, axis=-1)
    top = jax.lax.stop_gradient(jnp.where(jnp.isneginf(top), 0, top))
    log_total = masked_logsumexp(log_weights - top[..., None])
    return top, jnp.where(jnp.isneginf(log_total), 0, log_total)


def safe_sqrt(x: Array) -> Array:
    """Square root with gradient 0 at 0, where the true one is infinite; NaN for NaN and for negative numbers."""
    zero = x == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, x)))


def wide_product(a: Array, b: Array) -> tuple[Array, Array]:
    """The 64 bits of the product of two uint32 words, as their high and low 32, by halves: JAX may have no 64 bits."""
    half = jnp.uint32(0xFFFF)
    a_high = a >> 16
    a_low = a & half
    b_high = b >> 16
    b_low = b & half
    low = a_low * b_low
    mid = a_high * b_low
    cross = a_low * b_high
    middle = (low >> 16) + (mid & half) + (cross & half)
    return a_high * b_high + (mid >> 16) + (cross >> 16) + (middle >> 16), (middle << 16) | (low & half)


def per_row(x: Array) -> Array:
    """A scalar as it is, shape (...) as (..., 1): a per-row parameter ready to meet scores of shape (..., k)."""
    return x if x.ndim == 0 else x[..., None]
