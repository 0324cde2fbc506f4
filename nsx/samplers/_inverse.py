"""Draws by inverting the cumulative distribution, in 64-bit integers made of two 32-bit words.

A float32 running sum over 1e7 candidates loses every class under 1e-7 and can return classes of probability
0. Here the sum is kept in whole units of 2^-63 with carries: exact under jit and in float32 mode.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from nsx._checks import as_float, as_shape, require_log_weights
from nsx._numerics import log_normalize, wide_product
from nsx._types import Array, ArrayLike, Float, Int, Key
from nsx.samplers._alias import random_words

Wide = tuple[Array, Array]  # a 64-bit unsigned integer as its high and low 32 bits


def draw_inverse(
    key: Key[Array, ""], log_weights: Float[ArrayLike, " n"], shape: int | tuple[int, ...]
) -> Int[Array, "..."]:
    r"""Independent draws, with replacement, by binary search of the cumulative distribution.

    $$i = \min\{i : C_i > v\}, \qquad C_i = \sum_{j \le i} \lfloor 2^{63} q_j \rfloor,\;
      v \sim \mathrm{Uniform}\{0..C_n - 1\}.$$

    Costs O(n) a call and O(log n) a draw, and runs under jit, where `alias_table` cannot: the choice for a
    law that changes at every step. For many draws from one law `alias_table` is faster.

    Args:
        key: a typed key, `jax.random.key`.
        log_weights: shape `(n,)`, unnormalised, nats, -inf for probability 0, n <= 2^30.
        shape: of the draws, an integer or a tuple.

    Returns:
        int32 ids of that shape, the same in and out of jit. Not differentiable. Traced weights without mass,
        or with NaN, give -1.

    Raises:
        ValueError: not 1-d, no mass, NaN or +inf; a negative size in shape.
        TypeError: sizes that are not integers.

    Exact to the rounding of exp(log_weights): relative 1e-6 in float32, 1e-14 in float64, for every class
    down to 2^-63, wherever it stands; a candidate of probability 0 is never drawn.

    Example:
        >>> draw_inverse(jax.random.key(0), jnp.array([-jnp.inf, 0.0, -jnp.inf]), 3).tolist()
        [1, 1, 1]

    References:
        [devroye1986nonuniform, sec. III.2]
    """
    log_weights = as_float("log_weights", log_weights)
    require_log_weights(log_weights, ndim=1)
    return _draw(key, log_weights, shape=as_shape(shape))


@partial(jax.jit, static_argnames="shape")
def _draw(key: Array, log_weights: Array, *, shape: tuple[int, ...]) -> Array:
    log_q = log_normalize(log_weights)
    sums = _cumulative(jnp.exp(log_q))
    coin = _scale_down(random_words(key, shape), (sums[0][-1], sums[1][-1]))
    return jnp.where(jnp.max(log_q) > -jnp.inf, _first_above(sums, coin), -1)


def _cumulative(mass: Array) -> Wide:
    """Running sums of floor(2^63 mass), which total about 2^63."""
    scaled = mass * 2.0**31
    high = jnp.floor(scaled)
    low = jnp.floor((scaled - high) * 2.0**32).astype(jnp.uint32)
    low_sum = jnp.cumsum(low, dtype=jnp.uint32)
    carry = (low_sum < low).astype(jnp.uint32)
    return jnp.cumsum(high.astype(jnp.uint32) + carry, dtype=jnp.uint32), low_sum


def _scale_down(word: Wide, total: Wide) -> Wide:
    """About word * total / 2^64, always below total: the dropped low products cost at most two units."""
    high, low = wide_product(word[0], total[0])
    for part in (wide_product(word[0], total[1])[0], wide_product(word[1], total[0])[0]):
        low = low + part
        high = high + (low < part).astype(jnp.uint32)
    return high, low


def _first_above(sums: Wide, coin: Wide) -> Array:
    """The first index whose running sum exceeds the coin; there is one, since the coin is below the last."""
    size = sums[0].shape[0]

    def unsettled(bounds: tuple[Array, Array]) -> Array:
        return jnp.any(bounds[0] < bounds[1])

    def halve(bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        mid = low + (high - low) // 2
        at_high = sums[0].at[mid].get(mode="promise_in_bounds")
        at_low = sums[1].at[mid].get(mode="promise_in_bounds")
        above = (at_high > coin[0]) | ((at_high == coin[0]) & (at_low > coin[1]))
        return jnp.where(above, low, jnp.minimum(mid + 1, high)), jnp.where(above, mid, high)

    before, bucket = _guide(sums[0], coin[0])
    start = before.at[bucket].get(mode="promise_in_bounds")
    stop = before.at[bucket + 1].get(mode="promise_in_bounds")
    return jax.lax.while_loop(unsettled, halve, (start, jnp.minimum(stop, size - 1)))[1]


def _guide(sums: Array, coin: Array) -> tuple[Array, Array]:
    """How many running sums lie below each bucket of leading bits, and the coins' buckets: most of the search."""
    bits = max((sums.shape[0] - 1).bit_length() - 1, 1)
    last = 2**bits + 1  # the total is 2^63 up to rounding, so all but stray sums fall under 2^bits

    def bucket_of(high: Array) -> Array:
        """The leading bits of a running sum or coin."""
        return jnp.minimum((high >> (31 - bits)).astype(jnp.int32), last)

    counts = jnp.zeros(last + 2, jnp.int32).at[bucket_of(sums) + 1].add(1, indices_are_sorted=True)
    return jnp.cumsum(counts), bucket_of(coin)
