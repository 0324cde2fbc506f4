"""64-bit unsigned integers as two 32-bit words: exact under jit, also where JAX has no 64-bit types.

Sums and differences are taken modulo 2^64, as in C.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsx._numerics import wide_product
from nsx._types import Array, Int, Key, Shaped


class Wide(NamedTuple):
    """`high` 2^32 + `low`, both uint32 and of one shape."""

    high: Shaped[Array, "..."]
    low: Shaped[Array, "..."]


def from_host(values: np.ndarray) -> Wide:
    """The integers of a NumPy array of type uint64."""
    return Wide(
        high=jnp.asarray((values >> np.uint64(32)).astype(np.uint32)),
        low=jnp.asarray(values.astype(np.uint32)),
    )


def from_word(word: Array) -> Wide:
    """Integers >= 0 that fit into one word."""
    low = word.astype(jnp.uint32)
    return Wide(high=jnp.zeros_like(low), low=low)


def random_wide(key: Key[Array, ""], shape: tuple[int, ...]) -> Wide:
    """Uniform over 0..2^64-1. Splitting a key hashes once for both words, `jax.random.bits` once for each."""
    words = jax.random.key_data(jax.random.split(key, shape))
    return Wide(high=words[..., 0], low=words[..., 1])


def take(x: Wide, place: Int[Array, "..."]) -> Wide:
    """The entries at these places; one beyond the end reads the last."""
    return Wide(*(word.at[place].get(mode="clip") for word in x))


def at_most(x: Wide, y: Wide) -> Array:
    """True where x <= y."""
    return (x.high < y.high) | ((x.high == y.high) & (x.low <= y.low))


def add(x: Wide, y: Wide) -> Wide:
    """x + y modulo 2^64."""
    low = x.low + y.low
    carry = (low < x.low).astype(jnp.uint32)
    return Wide(high=x.high + y.high + carry, low=low)


def subtract(x: Wide, y: Wide) -> Wide:
    """x - y modulo 2^64."""
    borrow = (x.low < y.low).astype(jnp.uint32)
    return Wide(high=x.high - y.high - borrow, low=x.low - y.low)


def product(a: Array, b: Array) -> Wide:
    """The 64 bits of the product of two 32-bit words."""
    return Wide(*wide_product(a, b))


def multiply_high(x: Wide, y: Wide) -> Wide:
    """floor(x y / 2^64): a uniform x becomes uniform over 0..y-1, each value to 2^-64."""
    low = product(x.low, y.low)
    across = add(product(x.high, y.low), from_word(low.high))
    along = add(product(x.low, y.high), from_word(across.low))
    return add(product(x.high, y.high), add(from_word(across.high), from_word(along.high)))
