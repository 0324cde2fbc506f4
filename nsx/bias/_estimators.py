"""Estimates from draws: plain, importance-weighted, self-normalised; and the bias of the last one."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import as_float, is_concrete, require_count
from nsx._leaves import keep, mapped, prepare_leaves, prepare_log_weights, prepare_pair, weighted_sum
from nsx._numerics import safe_sqrt
from nsx._types import Array, ArrayLike, Float, Key, PyTree
from nsx.bias._exact import expected_gradient
from nsx.samplers import draw_inverse


class Estimate(NamedTuple):
    """An estimate from draws with its error bar.

    Attributes:
        mean: over the draws, a pytree.
        standard_error: of the mean, the same pytree.
    """

    mean: PyTree
    standard_error: PyTree


def monte_carlo(
    key: Key[Array, ""],
    gradients: PyTree,
    log_weights: Float[ArrayLike, " n"],
    *,
    num_samples: int | None = None,
    k: int | None = None,
) -> Estimate:
    r"""Mean gradient under a proposal, from independent draws.

    $$\hat g = \frac1k \sum_{j=1}^{k} g_{i_j}, \qquad
      \mathrm{SE}^2 = \frac{1}{k (k - 1)} \sum_j (g_{i_j} - \hat g)^2, \qquad i_j \sim q .$$

    Args:
        key: a `jax.random.key`.
        gradients: pytree, each leaf `(n, ...)`.
        log_weights: unnormalised log q, shape `(n,)`; -inf is never drawn.
        num_samples: the older spelling of k, which it takes the place of.
        k: number of draws, >= 2.

    Returns:
        `Estimate(mean, standard_error)`, leaves `(...)`. The draws enter as counts per candidate, so memory is
        O(n p + k) and not O(k p). NaN where traced log-weights hold NaN or no mass.

    Raises:
        ValueError: as `expected_gradient`, or fewer than 2 draws.
        TypeError: k not an integer, or not given once.

    Unbiased (`nsx.samplers.draw_inverse` keeps every probability down to 2^-63). The standard error is biased low
    where the mean hangs on candidates too rare to be drawn.

    Example:
        >>> estimate = monte_carlo(jax.random.key(0), jnp.array([1.0, 3.0]), jnp.zeros(2), k=1000)
        >>> round(float(estimate.mean), 3), round(float(estimate.standard_error), 3)  # of 2 +- 1 / sqrt(1000)
        (2.0, 0.032)

    References:
        [owen2013monte, ch. 2]
    """
    if (k is None) == (num_samples is None):
        raise TypeError(f"monte_carlo takes k (or num_samples, its other name), got k={k}, num_samples={num_samples}.")
    k = require_count("k", num_samples if k is None else k, minimum=2)
    log_weights = prepare_log_weights("log_weights", log_weights)
    leaves = prepare_leaves(gradients, log_weights.shape[0])
    ids = draw_inverse(key, log_weights, k)
    counts = jnp.bincount(ids, length=log_weights.shape[0])
    drawn = counts > 0
    # ids of -1 tell that traced weights held no mass, or NaN
    share = jnp.where(ids[0] >= 0, counts.astype(log_weights.dtype) / k, jnp.nan)
    leaves = jax.tree.map(lambda leaf: keep(leaf, drawn), leaves)
    mean = jax.tree.map(lambda leaf: weighted_sum(leaf, share), leaves)
    spread = jax.tree.map(lambda leaf, m: weighted_sum((leaf - m[None]) ** 2, share), leaves, mean)
    return Estimate(mean=mean, standard_error=jax.tree.map(lambda v: safe_sqrt(v / (k - 1)), spread))


def importance_weighted(gradients: PyTree, log_ratios: Float[ArrayLike, " k"]) -> PyTree:
    r"""Mean over draws from q of the gradients weighted by p / q: the importance-sampling estimate of E_p g.

    $$\hat g = \frac1k \sum_{j=1}^{k} w_j g_{i_j}, \qquad w_j = \frac{p_{i_j}}{q_{i_j}}, \quad i_j \sim q .$$

    Args:
        gradients: pytree, each leaf `(k, ...)`: the gradients of the k draws.
        log_ratios: log p - log q of the draws, both normalised, nats, shape `(k,)`; -inf where p is 0.

    Returns:
        The same pytree with leaves `(...)`; infinite where a ratio is beyond the type's range.

    Raises:
        ValueError: k = 0, leaves without k draws first, NaN or +inf ratios (traced, they give NaN).
        TypeError: complex values.

    Unbiased when q > 0 wherever p > 0 and both are normalised; its variance, Var_q(w g) / k, grows
    with `chi_square(p, q)`.

    Example:
        >>> float(importance_weighted(jnp.array([1.0, 3.0]), jnp.log(jnp.array([0.5, 1.5]))))
        2.5

    References:
        [owen2013monte, ch. 9]
    """
    log_ratios = as_float("log_ratios", log_ratios)
    if log_ratios.ndim != 1 or log_ratios.shape[0] == 0:
        raise ValueError(f"log_ratios must have shape (k,) with k >= 1 draws, got {log_ratios.shape}.")
    if is_concrete(log_ratios) and not np.all(np.asarray(log_ratios) < np.inf):
        raise ValueError("log_ratios hold NaN or +inf; a draw from q has q > 0, so its ratio is finite or -inf.")
    log_share = log_ratios - math.log(log_ratios.shape[0])
    return mapped(lambda leaf: _sum_in_logs(leaf, log_share), gradients, ~jnp.isneginf(log_ratios))


def _sum_in_logs(leaf: Array, log_weights: Array) -> Array:
    """sum_i e^(w_i) g_i, scaled by the largest weight at the end: one beyond the type's range times 0 is 0."""
    top = jax.lax.stop_gradient(jnp.max(log_weights))
    top = jnp.where(jnp.isneginf(top), 0, top)
    total = weighted_sum(leaf, jnp.exp(log_weights - top))
    unit = jnp.exp(top)
    return jnp.where(jnp.isposinf(unit) & (total == 0), 0, total * unit.astype(total.dtype))


def self_normalised(gradients: PyTree, log_ratios: Float[ArrayLike, " k"]) -> PyTree:
    r"""Mean over draws from q with the weights p / q divided by their sum; p and q need no normaliser.

    $$\hat g = \frac{\sum_j w_j g_{i_j}}{\sum_j w_j}, \qquad w_j \propto \frac{p_{i_j}}{q_{i_j}}, \quad i_j \sim q .$$

    It is `expected_gradient` over the k draws, with the log-ratios as log-weights: the gradient of a sampled softmax
    with log-q correction.

    Args:
        gradients: pytree, each leaf `(k, ...)`: the gradients of the k draws.
        log_ratios: log p - log q of the draws up to a constant, nats, shape `(k,)`; -inf where p is 0.

    Returns:
        The same pytree with leaves `(...)`.

    Raises:
        ValueError: as `expected_gradient`; all -inf (no draw that p could give) is refused too, NaN where traced.
        TypeError: complex values.

    Biased at finite k, to first order by `self_normalised_bias`; consistent as k grows.

    Example:
        >>> round(float(self_normalised(jnp.array([1.0, 3.0]), jnp.log(jnp.array([1.0, 3.0])))), 5)
        2.5

    References:
        [owen2013monte, ch. 9], [bengio2008adaptive]
    """
    return expected_gradient(gradients, log_ratios)


def self_normalised_bias(
    gradients: PyTree, log_weights: Float[ArrayLike, " n"], target_log_weights: Float[ArrayLike, " n"], *, k: int
) -> PyTree:
    r"""Bias of the self-normalised estimate from k draws, to first order in 1 / k.

    $$\mathbb{E}\,\hat g - \mathbb{E}_p g = -\frac1k \sum_i \frac{p_i^2}{q_i} (g_i - \mathbb{E}_p g) + O(k^{-2})
        = -\frac1k \mathrm{Cov}_p\Bigl(\frac pq, g\Bigr) + O(k^{-2}).$$

    Args:
        gradients: pytree, each leaf `(n, ...)`.
        log_weights: unnormalised log q of the draws, shape `(n,)`.
        target_log_weights: unnormalised log p aimed at, shape `(n,)`.
        k: number of draws.

    Returns:
        The same pytree with leaves `(...)`; NaN where p has mass that q lacks and the values are traced.

    Raises:
        ValueError: as `gradient_bias`; k < 1; (concrete) p has mass where q has none: the bias does not vanish then.
        TypeError: k not an integer.

    Exact to first order; biased by O(1/k^2), which is small once k exceeds `chi_square(p, q)` by far. 0 for q = p.

    Example:
        >>> target = jnp.log(jnp.array([0.25, 0.75]))
        >>> round(float(self_normalised_bias(jnp.array([0.0, 1.0]), jnp.zeros(2), target, k=10)), 5)
        -0.01875

    References:
        [owen2013monte, ch. 9], [agapiou2017importance]
    """
    k = require_count("k", k)
    log_q, log_p = prepare_pair(log_weights, target_log_weights)
    counted = ~jnp.isneginf(log_p)
    both = counted & ~jnp.isneginf(log_q)
    covered = jnp.all(both == counted)
    if is_concrete(covered) and not np.asarray(covered):
        raise ValueError(
            "log_weights are -inf at candidates that the target can give: the self-normalised estimate misses them at "
            "every k. Mix some uniform mass into the proposal."
        )
    p = jax.nn.softmax(log_p)
    log_p = jnp.where(both, jax.nn.log_softmax(log_p), 0)
    log_q = jnp.where(both, jax.nn.log_softmax(log_q), 0)
    log_weights = jnp.where(both, 2 * log_p - log_q, -jnp.inf) - math.log(k)

    def bias(leaf: Array) -> Array:
        """Minus the covariance of p / q with the leaf, over k."""
        return -_sum_in_logs(leaf - weighted_sum(leaf, p)[None], log_weights)

    return jax.tree.map(lambda x: jnp.where(covered, x, jnp.nan), mapped(bias, gradients, counted))
