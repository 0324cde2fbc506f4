"""What it costs to draw from one law in the place of another: bias of the gradient, and its bound.

Notation: q ~ exp(log_weights) the proposal used, u ~ exp(target_log_weights) the one meant, g_i the gradient that
candidate i would give.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nsx._leaves import mapped, prepare_pair, weighted_sum
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
    counted = (log_q > -jnp.inf) | (log_u > -jnp.inf)
    difference, u = _difference(log_q, log_u), jax.nn.softmax(log_u)
    return mapped(lambda leaf: weighted_sum(leaf - weighted_sum(leaf, u)[None], difference), gradients, counted)


def _difference(log_q: Array, log_u: Array, *, power: float = 0.0) -> Array:
    """(q - u) / u^power entry by entry, 0 where u = 0 < power.

    By expm1 of the log-ratio: near-equal laws differ by less than the rounding of their probabilities.
    """
    counted = (log_u > -jnp.inf) | ((log_q > -jnp.inf) & (power == 0))
    log_total_q, log_total_u = jax.nn.logsumexp(log_q), jax.nn.logsumexp(log_u)
    log_q, log_u = jnp.where(counted, log_q, 0), jnp.where(counted, log_u, 0)
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
    log_q, log_u = prepare_pair(log_weights, target_log_weights)
    uncovered = jnp.any((log_u == -jnp.inf) & (log_q > -jnp.inf))
    return jnp.where(uncovered, jnp.inf, jnp.sum(_difference(log_q, log_u, power=0.5) ** 2))


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
        The same pytree with leaves `(...)`, >= 0; a component without variance under u gives 0 where chi2 is finite
        and NaN where it is not (u says nothing of what it never draws).

    Raises:
        ValueError: as `gradient_bias`.
        TypeError: complex values.

    Exact as a bound.

    Example:
        >>> u = jnp.zeros(2)
        >>> round(float(bias_bound(jnp.array([0.0, 1.0]), jnp.log(jnp.array([0.25, 0.75])), u)), 6)  # the bias itself
        0.25

    References:
        [agapiou2017importance]
    """
    divergence = chi_square(log_weights, target_log_weights)
    return jax.tree.map(lambda v: _root(divergence) * _root(v), gradient_variance(gradients, target_log_weights))


def _root(x: Array) -> Array:
    """The square root with gradient 0 at 0."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), x)
