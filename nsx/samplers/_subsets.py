"""Draws without replacement by the Gumbel top-k race."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import as_float, is_concrete, require_count, require_log_weights
from nsx._types import Array, ArrayLike, Float, Int, Key
from nsx.samplers._alias import random_words


def draw_without_replacement(
    key: Key[Array, ""], log_weights: Float[ArrayLike, "... n"], k: int
) -> Int[Array, "... k"]:
    r"""k distinct candidates, as drawn one after another from the law of those that are left.

    $$(i_1, \dots, i_k) = \text{top-}k_i\,(w_i + g_i), \qquad g_i \sim \mathrm{Gumbel}(0, 1), \qquad
      P(i_1, \dots, i_k) = \prod_{r=1}^{k} \frac{q_{i_r}}{1 - \sum_{s<r} q_{i_s}}.$$

    Args:
        key: a typed key, `jax.random.key`.
        log_weights: shape `(..., n)`, unnormalised, nats, -inf for probability 0.
        k: how many, a Python integer, 1 <= k <= n.

    Returns:
        int32 ids, shape `(..., k)`, in the order drawn: the first one has the law q. Not differentiable. Traced
        weights with fewer than k candidates of positive probability end in -1, never in an impossible id; a row with
        NaN is all -1.

    Raises:
        ValueError: k over n, or over the candidates of positive probability; no mass, NaN or +inf.

    Exact: the Gumbel noise has 64 bits of resolution at its upper tail (a float32 uniform ends at 16, where
    rare candidates cannot win and ties go to the lower id). As k draws from q the ids would be biased: the
    probability that i is among them is `inclusion_probability`, not k q.

    Example:
        >>> ids = draw_without_replacement(jax.random.key(0), jnp.array([0.0, -jnp.inf, 3.0]), 2)
        >>> sorted(ids.tolist())
        [0, 2]

    References:
        [kool2019stochastic], [efraimidis2006weighted]
    """
    log_weights = as_float("log_weights", log_weights)
    require_log_weights(log_weights)
    top = jnp.max(log_weights, axis=-1, keepdims=True)
    below = log_weights - jnp.where(jnp.isneginf(top), 0, top)  # beside 1e8 the noise would be rounded away
    high, low = random_words(key, log_weights.shape)
    return top_ids(below + _gumbel(high, low, log_weights.dtype), k, name="log_weights")


def _gumbel(high: Array, low: Array, dtype: jnp.dtype) -> Array:
    """Gumbel noise from 64 random bits: -log E, E = -log1p(-u) near u = 0 and -log(1 - u) near 1."""

    def unit(a: Array, b: Array) -> Array:
        """The two words as one number in (0, 1)."""
        return (a.astype(dtype) + (b.astype(dtype) + 0.5) * 2.0**-32) * 2.0**-32

    near_zero = high < jnp.uint32(1 << 31)
    small = jnp.where(near_zero, unit(high, low), unit(~high, ~low))
    return -jnp.log(jnp.where(near_zero, -jnp.log1p(-small), -jnp.log(small)))


def top_ids(values: Array, k: int, *, name: str) -> Array:
    """Ids of the k largest values above -inf, ties by the lower id; -1 where a row is short or holds NaN."""
    k = require_enough(values, k, name=name)
    broken = jnp.any(jnp.isnan(values), axis=-1, keepdims=True)
    top, ids = jax.lax.top_k(values, k)
    return jnp.where((top > -jnp.inf) & ~broken, ids, -1).astype(jnp.int32)


def require_enough(values: Array, k: int, *, name: str) -> int:
    """K as an integer; ValueError where a row has fewer than k candidates above -inf (traced: fewer than k in all)."""
    k = require_count("k", k)
    fewest = values.shape[-1]
    if is_concrete(values) and values.size:
        fewest = int(np.min(np.sum(~np.isneginf(np.asarray(values)), axis=-1)))
    if k > fewest:
        raise ValueError(
            f"k = {k} distinct ids were asked for, but {name} leave only {fewest} candidates (of "
            f"{values.shape[-1]}) in some row. Lower k, exclude fewer, or draw with replacement."
        )
    return k
