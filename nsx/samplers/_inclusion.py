"""Probability of being among k draws without replacement, by quadrature over the time of a race."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import as_float, is_concrete, require_count, require_log_weights
from nsx._numerics import log_normalize
from nsx._types import Array, ArrayLike, Float
from nsx.samplers._subsets import require_enough

START = -4.0  # t = exp(-4 - e^4) = e^-58.6: no clock has rung
NODES_AT_ONCE = 32
FEWEST_NODES = 256
TRACED_NODES = 400  # 400 steps of 0.15 hold one gap of 45 nats and all that precedes and follows it
MOST_NODES = 1 << 20
OVER = 6.0  # log of q t: a clock that should have rung e^6 times over has rung, but for e^-403


def inclusion_probability(
    log_weights: Float[ArrayLike, "... n"], k: int, *, num_nodes: int | None = None
) -> Float[Array, "... n"]:
    r"""Probability that a candidate is among k draws without replacement.

    $$\pi_i = \int_0^\infty q_i e^{-q_i t}\; P\Bigl(\sum_{j \ne i} [T_j < t] < k\Bigr)\, dt,
      \qquad T_j \sim \mathrm{Exp}(q_j), \qquad \sum_i \pi_i = k.$$

    The draws are a race of exponential clocks: i is among them when fewer than k others ring before it. The
    count of the others is Poisson-binomial, summed by recursion; the integral is a trapezoidal rule in
    x, t = exp(x - exp(-x)), which converges exponentially. A gap of more than 45 nats (30 in float32) between two
    neighbours of the k likeliest is shortened to that: nobody jumps it. Costs O(num_nodes n k).

    Args:
        log_weights: shape `(..., n)`, unnormalised, nats.
        k: how many are drawn, a Python integer, 1 <= k <= n.
        num_nodes: of the quadrature. None takes as many as the weights need, at least 256; where they are traced,
            the larger of 400 and 100 sqrt(k), which reach down to a k-th largest q of e^-44.

    Returns:
        Probabilities, shape `(..., n)`, differentiable in the weights. Divide by them for unbiased
        (Horvitz-Thompson) sums over the draws. A row of traced weights that needs more nodes is NaN.

    Raises:
        ValueError: k over n, or over the candidates of positive probability (traced, those have 1 then); no mass, NaN
            or +inf; weights that need more nodes than num_nodes, or than 2^20.
        TypeError: k or num_nodes not an integer.

    Exact to rounding (absolute 1e-11 in float64, 1e-5 in float32). For many candidates, `expected_counts`.

    Example:
        >>> found = inclusion_probability(jnp.log(jnp.array([0.5, 0.25, 0.25])), 2)
        >>> [round(float(p), 4) for p in found]  # the first: 1/2 + 1/4 2/3 + 1/4 2/3
        [0.8333, 0.5833, 0.5833]

    References:
        [yellott1977relationship], [horvitz1952generalization]
    """
    log_weights = as_float("log_weights", log_weights)
    require_log_weights(log_weights)
    k = require_enough(log_weights, k, name="log_weights")
    rows = log_normalize(log_weights).reshape(-1, log_weights.shape[-1])
    rows = _without_wide_gaps(rows, k)
    num_nodes = _nodes(rows, k, num_nodes)
    return _included(rows, k=k, num_nodes=num_nodes).reshape(log_weights.shape)


def _without_wide_gaps(log_q: Array, k: int) -> Array:
    """The rows with each gap between neighbours of the k likeliest cut to a width that nobody jumps."""
    widest = 45.0 if log_q.dtype.itemsize == 8 else 30.0
    order = jnp.argsort(-log_q, axis=-1)
    ordered = jnp.take_along_axis(log_q, order, axis=-1)
    gap = ordered[:, : k - 1] - ordered[:, 1:k]
    excess = jnp.where(jnp.isfinite(gap), jnp.maximum(gap - widest, 0), 0)
    shift = jnp.cumsum(excess, axis=-1)
    shift = jnp.pad(shift, ((0, 0), (1, 0)))  # nothing above the first
    shift = jnp.pad(shift, ((0, 0), (0, log_q.shape[-1] - k)), mode="edge")  # all below the k-th move with it
    rank = jnp.argsort(order, axis=-1)
    return log_q + jax.lax.stop_gradient(jnp.take_along_axis(shift, rank, axis=-1))


def _step(k: int) -> float:
    """Distance of two nodes at which the rule has converged: the count passes k within 1 / sqrt(k) in log t."""
    return min(0.15, 0.5 / math.sqrt(k))


def _end(kth: ArrayLike, k: int) -> ArrayLike:
    """Where the race is over, but for e^-40: the k quickest clocks have rung."""
    return math.log(40 + math.log(k)) - kth


def _nodes(rows: Array, k: int, num_nodes: int | None) -> int:
    """How many nodes to take; ValueError where that is too few, or the weights are too far apart for any."""
    if num_nodes is not None:
        num_nodes = require_count("num_nodes", num_nodes, minimum=2)
    if not is_concrete(rows):
        return num_nodes or max(TRACED_NODES, math.ceil(100 * math.sqrt(k)))
    kth = -np.sort(-np.asarray(rows, np.float64), axis=-1)[:, k - 1]
    span = _end(np.min(kth, initial=0.0, where=np.isfinite(kth)), k) - START
    needed = math.ceil(span / _step(k)) + 1
    if needed > (num_nodes or MOST_NODES):
        raise ValueError(
            f"log_weights that reach down {span:.0f} nats among the {k} likeliest need num_nodes >= {needed}, "
            f"got {num_nodes or MOST_NODES}. Take more nodes, or a smaller k."
        )
    return num_nodes or max(FEWEST_NODES, 1 << (needed - 1).bit_length())  # a power of two: few compilations


@partial(jax.jit, static_argnames=("k", "num_nodes"))
def _included(log_q: Array, *, k: int, num_nodes: int) -> Array:
    return jax.vmap(lambda row: _included_row(row, k, num_nodes))(log_q)


def _included_row(log_q: Array, k: int, num_nodes: int) -> Array:
    possible = ~jnp.isneginf(log_q)
    certain = jnp.where(jnp.isnan(log_q), log_q, possible.astype(log_q.dtype))
    if k == log_q.shape[0]:
        return certain
    slowest = jax.lax.stop_gradient(jax.lax.top_k(log_q, k + 1)[0])
    over = jnp.isneginf(slowest[k])  # no more than k candidates: all of them are drawn
    x = jnp.linspace(START, _end(jnp.where(over, 0, slowest[k - 1]), k), num_nodes, dtype=log_q.dtype)
    step = x[1] - x[0]
    safe = jnp.where(possible, log_q, 0)

    def at_node(node: Array) -> Array:
        """The integrand for every candidate."""
        log_age = jnp.minimum(safe + node - jnp.exp(-node), OVER)
        age = jnp.where(possible, jnp.exp(log_age), 0)
        density = jnp.where(possible, jnp.exp(log_age - age), 0)
        return density * _fewer_others(-jnp.expm1(-age), k) * (1 + jnp.exp(-node))

    nodes = jax.lax.map(at_node, x, batch_size=min(num_nodes, NODES_AT_ONCE))
    total = jnp.sum(nodes, axis=0) * step
    fine = step <= 1.01 * _step(k)
    return jnp.where(over, certain, jnp.where(fine, total, jnp.nan))


def _fewer_others(chance: Array, k: int) -> Array:
    """For each i, the probability that fewer than k of the other independent events happen.

    The probability S for all n events is linear in each chance, so that without i it is S - chance_i dS/dchance_i:
    one reverse pass gives all n, and adds only positive terms.
    """

    def add(counts: Array, p: Array) -> tuple[Array, None]:
        """The law of the count after one more event."""
        return counts * (1 - p) + jnp.roll(counts, 1).at[0].set(0) * p, None

    def fewer(chance: Array) -> Array:
        """The probability that fewer than k of all happen."""
        none = jnp.zeros(k, chance.dtype).at[0].set(1)
        return jnp.sum(jax.lax.scan(add, none, chance)[0])

    total, slope = jax.value_and_grad(fewer)(chance)
    return total - chance * slope
