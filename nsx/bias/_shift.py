"""What it costs to draw from one law in the place of another: bias of the gradient, and its bound.

Notation: q ~ exp(log_weights) the proposal used, u ~ exp(target_log_weights) the one meant, g_i the gradient that
candidate i would give.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nsx._leaves import mapped, prepare_pair, weighted_sum
from nsx._numerics import safe_sqrt
from nsx._types import Array, ArrayLike, Float, PyTree
from nsx.bias._exact import gradient_variance


def gradient_bias(
    gradients: PyTree, log_weights: Float[ArrayLike, " n"], target_log_weights: Float[ArrayLike, " n"]
) -> PyTree:
    r"""Bias of the gradient when candidates come from q in the place of u.

    $$\mathbb{E}_q g - \mathbb{E}_u g = \sum_i (q_i - u_i)(g_i - \mathbb{E}_u g)
        = \mathrm{Cov}_u\Bigl(\frac{q}{u}, g\Bigr),$$

    the last where u > 0 wherever q is.

    Args:
        gradients: pytree, each leaf `(n, ...)`.
        log_weights: unnormalised log q of the proposal used, shape `(n,)`.
        target_log_weights: unnormalised log u of the proposal meant, shape `(n,)`.

    Returns:
        The same pytree with leaves `(...)`. Differences of probabilities are taken in logs and gradients are
        centred, so that a small bias keeps relative precision.

    Raises:
        ValueError: as `expected_gradient`, or laws of different length.
        TypeError: complex values.

    Exact.

    Example:
        >>> bias = gradient_bias(jnp.array([0.0, 1.0]), jnp.log(jnp.array([0.25, 0.75])), jnp.zeros(2))
        >>> round(float(bias), 6)
        0.25

    References:
        [owen2013monte, ch. 9]
    """
    log_q, log_u = prepare_pair(log_weights, target_log_weights)
    counted = ~(jnp.isneginf(log_q) & jnp.isneginf(log_u))
    difference = _difference(log_q, log_u)
    u = jax.nn.softmax(log_u)
    return mapped(lambda leaf: weighted_sum(leaf - weighted_sum(leaf, u)[None], difference), gradients, counted)


def _difference(log_q: Array, log_u: Array, *, power: float = 0.0) -> Array:
    """(q - u) / u^power entry by entry, 0 where u = 0 < power.

    By expm1 of the log-ratio: near-equal laws differ by less than the rounding of their probabilities.
    """
    counted = ~jnp.isneginf(log_u)
    if power == 0:
        counted |= ~jnp.isneginf(log_q)
    log_total_q = jax.nn.logsumexp(log_q)
    log_total_u = jax.nn.logsumexp(log_u)
    log_q = jnp.where(counted, log_q, 0)
    log_u = jnp.where(counted, log_u, 0)
    ratio = (log_q - log_u) - (log_total_q - log_total_u)
    above = ratio > 0
    log_unit = power * (log_u - log_total_u) if power else 0.0
    # each branch sees only its own half line: expm1(inf) in the one not taken would put NaN into the gradient
    more = jnp.exp(log_q - log_total_q - log_unit) * -jnp.expm1(-jnp.where(above, ratio, 0))
    less = jnp.exp(log_u - log_total_u - log_unit) * jnp.expm1(jnp.where(above, 0, ratio))
    return jnp.where(counted, jnp.where(above, more, less), 0)


def chi_square(log_weights: Float[ArrayLike, " n"], target_log_weights: Float[ArrayLike, " n"]) -> Float[Array, ""]:
    r"""Chi-square divergence of a proposal from a reference: the variance of the weight q / u under u.

    $$\chi^2(q \,\Vert\, u) = \sum_i u_i \Bigl(\frac{q_i}{u_i} - 1\Bigr)^2 = \mathrm{Var}_u\Bigl(\frac{q}{u}\Bigr).$$

    Args:
        log_weights: unnormalised log q, shape `(n,)`.
        target_log_weights: unnormalised log u, shape `(n,)`.

    Returns:
        A scalar >= 0; inf where q has mass that u lacks, or beyond the range of the precision.

    Raises:
        ValueError: as `gradient_bias`.
        TypeError: complex values.

    Exact. Under samples of u, 1 / (1 + chi2) is the share of effective ones when they are weighted to q.

    Example:
        >>> round(float(chi_square(jnp.log(jnp.array([0.25, 0.75])), jnp.zeros(2))), 6)
        0.25

    References:
        [owen2013monte, ch. 9], [agapiou2017importance]
    """
    return _chi_square(*prepare_pair(log_weights, target_log_weights))


def _chi_square(log_q: Array, log_u: Array) -> Array:
    square = jnp.sum(_difference(log_q, log_u, power=0.5) ** 2)
    return jnp.where(_uncovered(log_q, log_u), jnp.inf, square)


def _uncovered(log_q: Array, log_u: Array) -> Array:
    """Whether q has mass that u lacks."""
    return jnp.any(jnp.isneginf(log_u) & ~jnp.isneginf(log_q))


def bias_bound(
    gradients: PyTree, log_weights: Float[ArrayLike, " n"], target_log_weights: Float[ArrayLike, " n"]
) -> PyTree:
    r"""Largest bias that a proposal of this chi-square divergence could have, component by component.

    $$\lvert\mathbb{E}_q g - \mathbb{E}_u g\rvert \le \sqrt{\chi^2(q \Vert u)\,\mathrm{Var}_u g},$$

    by Cauchy-Schwarz on the covariance form; reached when g is linear in q / u.

    Args:
        gradients: pytree, each leaf `(n, ...)`.
        log_weights: unnormalised log q of the proposal used, shape `(n,)`.
        target_log_weights: unnormalised log u of the proposal meant, shape `(n,)`.

    Returns:
        The same pytree with leaves `(...)`, >= 0; 0 for a component without variance under u, and inf for all where q
        has mass that u lacks (u says nothing of what it never draws).

    Raises:
        ValueError: as `gradient_bias`.
        TypeError: complex values.

    Exact as a bound.

    Example:
        >>> log_q = jnp.log(jnp.array([0.25, 0.75]))
        >>> round(float(bias_bound(jnp.array([0.0, 1.0]), log_q, jnp.zeros(2))), 6)  # the bias itself
        0.25

    References:
        [agapiou2017importance]
    """
    log_q, log_u = prepare_pair(log_weights, target_log_weights)
    divergence = _chi_square(log_q, log_u)
    uncovered = _uncovered(log_q, log_u)

    def bound(variance: Array) -> Array:
        """The bound of one leaf; a divergence beyond the type's range still allows no bias without variance."""
        still = (variance == 0) & jnp.isposinf(divergence) & ~uncovered
        found = safe_sqrt(jnp.where(still, 0, divergence).astype(variance.dtype)) * safe_sqrt(variance)
        return jnp.where(uncovered, jnp.inf, found)

    return jax.tree.map(bound, gradient_variance(gradients, target_log_weights))
