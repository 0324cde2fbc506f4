"""Draws without replacement by the Gumbel top-k race, and the probability of being among them."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import as_float, is_concrete, require_count, require_log_weights
from nsx._numerics import log_normalize
from nsx._types import Array, ArrayLike, Float, Int, Key
from nsx.samplers._alias import random_words

NODES_AT_ONCE = 32


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
        weights with fewer than k candidates of positive probability end in -1, never in an impossible id.

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
    high, low = random_words(key, log_weights.shape)
    return top_ids(log_weights + _gumbel(high, low, log_weights.dtype), k, name="log_weights")


def _gumbel(high: Array, low: Array, dtype: jnp.dtype) -> Array:
    """Gumbel noise from 64 random bits: -log E, E = -log1p(-u) near u = 0 and -log(1 - u) near 1."""
    unit = lambda a, b: (a.astype(dtype) + (b.astype(dtype) + 0.5) * 2.0**-32) * 2.0**-32
    near_zero = high < jnp.uint32(1 << 31)
    small = jnp.where(near_zero, unit(high, low), unit(~high, ~low))
    return -jnp.log(jnp.where(near_zero, -jnp.log1p(-small), -jnp.log(small)))


def top_ids(values: Array, k: int, *, name: str) -> Array:
    """Ids of the k largest values above -inf, ties by the lower id; -1 (an error where concrete) when short."""
    require_count("k", k)
    values = jnp.where(values > -jnp.inf, values, -jnp.inf)
    fewest = values.shape[-1]
    if is_concrete(values) and values.size:
        fewest = int(np.min(np.sum(np.asarray(values) > -np.inf, axis=-1)))
    if k > fewest:
        raise ValueError(
            f"k = {k} distinct ids were asked for, but {name} leave only {fewest} candidates (of "
            f"{values.shape[-1]}) in some row. Lower k, exclude fewer, or draw with replacement."
        )
    top, ids = jax.lax.top_k(values, k)
    return jnp.where(top > -jnp.inf, ids, -1).astype(jnp.int32)


def inclusion_probability(
    log_weights: Float[ArrayLike, "... n"], k: int, *, num_nodes: int | None = None
) -> Float[Array, "... n"]:
    r"""Probability that a candidate is among k draws without replacement.

    $$\pi_i = \int_0^\infty q_i e^{-q_i t}\; P\Bigl(\sum_{j \ne i} [T_j < t] < k\Bigr)\, dt,
      \qquad T_j \sim \mathrm{Exp}(q_j), \qquad \sum_i \pi_i = k.$$

    The draws are a race of exponential clocks: i is among them when fewer than k others ring before it. The
    count of the others is Poisson-binomial, summed by recursion; the integral is a trapezoidal rule in
    x, t = exp(x - exp(-x)), which converges exponentially. Costs O(num_nodes n k).

    Args:
        log_weights: shape `(..., n)`, unnormalised, nats.
        k: how many are drawn, a Python integer, 1 <= k <= n.
        num_nodes: of the quadrature; None takes 256, or 26 sqrt(k) where that is more. Ask for more where the
            (k + 1)-th largest q is below e^-30.

    Returns:
        Probabilities, shape `(..., n)`, differentiable in the weights. Divide by them for unbiased
        (Horvitz-Thompson) sums over the draws.

    Raises:
        ValueError: k over n, or over the candidates of positive probability (traced, those have 1 then); no
            mass, NaN or +inf.

    Exact to rounding (absolute 1e-12 in float64, 1e-5 in float32) with the nodes named above.

    Example:
        >>> bool(jnp.allclose(inclusion_probability(jnp.zeros(4), 3), 0.75, atol=1e-5))
        True

    References:
        [yellott1977relationship], [horvitz1952generalization]
    """
    log_weights = as_float("log_weights", log_weights)
    require_log_weights(log_weights)
    top_ids(log_weights, k, name="log_weights")
    num_nodes = max(256, math.ceil(26 * math.sqrt(k))) if num_nodes is None else num_nodes
    require_count("num_nodes", num_nodes, minimum=2)
    rows = log_normalize(log_weights).reshape(-1, log_weights.shape[-1])
    return _included(rows, k=k, num_nodes=num_nodes).reshape(log_weights.shape)


@partial(jax.jit, static_argnames=("k", "num_nodes"))
def _included(log_q: Array, *, k: int, num_nodes: int) -> Array:
    return jax.vmap(lambda row: _included_row(row, k, num_nodes))(log_q)


def _included_row(log_q: Array, k: int, num_nodes: int) -> Array:
    possible = log_q > -jnp.inf
    if k == log_q.shape[0]:
        return possible.astype(log_q.dtype)
    # the race is over, but for e^-40, when the k + 1 quickest clocks have rung
    slowest = jax.lax.stop_gradient(jax.lax.top_k(log_q, k + 1)[0][-1])
    over = jnp.isneginf(slowest)
    end = math.log(40 + math.log(k)) - jnp.where(over, 0, slowest)
    x = jnp.linspace(-4.0, end, num_nodes, dtype=log_q.dtype)
    safe = jnp.where(possible, log_q, 0)

    def at_node(node: Array) -> Array:
        log_time = node - jnp.exp(-node)
        rung = jnp.where(possible, jnp.exp(safe + log_time), 0)
        density = jnp.where(possible, jnp.exp(safe + log_time - rung), 0)
        return density * _fewer_others(-jnp.expm1(-rung), k) * (1 + jnp.exp(-node))

    nodes = jax.lax.map(at_node, x, batch_size=min(num_nodes, NODES_AT_ONCE))
    return jnp.where(over, possible, jnp.sum(nodes, axis=0) * (x[1] - x[0]))


def _fewer_others(chance: Array, k: int) -> Array:
    """For each i, the probability that fewer than k of the other independent events happen.

    The probability S for all n events is linear in each chance, so that without i it is S - chance_i dS/dchance_i:
    one reverse pass gives all n, and adds only positive terms.
    """

    def add(counts: Array, p: Array) -> tuple[Array, None]:
        return counts * (1 - p) + jnp.roll(counts, 1).at[0].set(0) * p, None

    def fewer(chance: Array) -> Array:
        none = jnp.zeros(k, chance.dtype).at[0].set(1)
        return jnp.sum(jax.lax.scan(add, none, chance)[0])

    total, slope = jax.value_and_grad(fewer)(chance)
    return total - chance * slope
