"""Sums in twice the precision of their terms: a pair holds what a float holds and what its rounding left out.

A sum of t terms in one float drifts by about t roundings, and always to one side where the terms are alike. With the
second float the drift is t roundings of a rounding. The second float may be moved by a few units of its own last place
at each addition, so that the sum is never below (`units` > 0) or never above (`units` < 0) the exact one: two sums
that are formed in different orders can then be compared.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsx._types import Array, DTypeLike

BEYOND_ROUNDING = 2  # units that make up for the two roundings of an addition, whatever their signs


class Double(NamedTuple):
    """The unevaluated sum `head + tail`: head is that sum rounded, tail is 0 where head is infinite."""

    head: Array
    tail: Array


@jax.custom_jvp
def two_sum(x: Array, y: Array) -> Double:
    """x + y rounded, and exactly what the rounding left out (Knuth), for any sizes and orders."""
    head = x + y
    y_part = head - x
    x_part = head - y_part
    tail = (x - x_part) + (y - y_part)
    return Double(head, jnp.where(jnp.isinf(head), 0, tail))


@two_sum.defjvp
def _two_sum_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Double, Double]:
    total = two_sum(*primals)
    slope = tangents[0] + tangents[1]
    return total, Double(slope, jnp.zeros_like(slope))


def sum_type(dtype: DTypeLike) -> jnp.dtype:
    """The type in which numbers of this type are summed: float32 at least; `promote_types` refuses under "strict"."""
    return jnp.dtype(jnp.float32) if jnp.finfo(dtype).bits < 32 else jnp.dtype(dtype)


def double(x: Array) -> Double:
    """A float as a pair."""
    return Double(x, jnp.zeros_like(x))


def add(total: Double, x: Array, *, units: float = 0) -> Double:
    """total + x, its tail moved by so many units of its last place."""
    head, left_out = two_sum(total.head, x)
    tail = total.tail + left_out
    return two_sum(head, moved(tail, jnp.abs(tail), units=units))


def merge(x: Double, y: Double, *, units: float = 0) -> Double:
    """x + y, its tail moved by so many units of its last place."""
    head, left_out = two_sum(x.head, y.head)
    tails = x.tail + y.tail
    tail = tails + left_out
    return two_sum(head, moved(tail, jnp.abs(tails) + jnp.abs(tail), units=units))


def total(terms: Array, *, units: float = 0) -> Double:
    """Sum over the last axis, by halves; 0 where there is no term."""
    if terms.shape[-1] == 0:
        return double(jnp.zeros(terms.shape[:-1], terms.dtype))
    sums = double(terms)
    while (size := sums.head.shape[-1]) > 1:
        half = size // 2
        rest = Double(*(part[..., 2 * half :] for part in sums))
        left = Double(*(part[..., :half] for part in sums))
        right = Double(*(part[..., half : 2 * half] for part in sums))
        merged = merge(left, right, units=units)
        sums = Double(*(jnp.concatenate(parts, axis=-1) for parts in zip(merged, rest, strict=True)))
    return Double(*(part[..., 0] for part in sums))


def moved(x: Array, size: Array, *, units: float) -> Array:
    """A float moved by so many roundings of something of that size."""
    return x + jnp.asarray(units * jnp.finfo(x.dtype).eps, x.dtype) * size


def wide_count(parts: Array) -> Array:
    """Sum of int32 counts >= 0 as uint32 `(2,)`, the high and the low 32 bits: counts of pairs pass 2^31."""
    low = parts.reshape(-1).astype(jnp.uint32)

    def plus(x: tuple[Array, Array], y: tuple[Array, Array]) -> tuple[Array, Array]:
        low = x[1] + y[1]
        carried = (low < x[1]).astype(jnp.uint32)
        return x[0] + y[0] + carried, low

    zero = jnp.uint32(0)
    return jnp.stack(jax.lax.reduce((jnp.zeros_like(low), low), (zero, zero), plus, (0,)))


def read_wide(count: Array) -> int:
    """The count that `wide_count` holds, as a Python integer."""
    high, low = (int(part) for part in np.asarray(count))
    return (high << 32) + low
