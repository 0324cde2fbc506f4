"""What noise-contrastive estimation costs in the limit of much data, against maximum likelihood.

Notation: p_d the data law (the truth, inside the model), p_n the noise, nu = noise draws per datum, and
g(x) = d log p_theta(x) / d theta at the truth. Densities enter as log-weights over the n points of a quadrature grid:
log density + log of the point's quadrature weight.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nsx._checks import as_floats, require_positive, require_scalar
from nsx._leaves import keep, prepare_leaves, prepare_log_weights, prepare_pair, weighted_sum
from nsx._types import Array, ArrayLike, Float


def fisher_information(score: Float[ArrayLike, "n d"], data_log_weights: Float[ArrayLike, " n"]) -> Float[Array, "d d"]:
    r"""Fisher information of a normalised model on a grid; its inverse is the Cramer-Rao bound per datum.

    $$I = \mathbb{E}_{p_d}[g g^\top].$$

    Args:
        score: g at each grid point, shape `(n, d)`.
        data_log_weights: unnormalised log p_d of the points, shape `(n,)`; -inf where there is no datum.

    Returns:
        Shape `(d, d)`.

    Raises:
        ValueError: shapes that do not fit; log-weights with NaN, +inf or no mass (traced, they give NaN).

    Exact on the grid; biased by the quadrature.

    Example:
        >>> x = jnp.linspace(-8.0, 8.0, 401)
        >>> round(float(fisher_information(x[:, None], -0.5 * x**2)[0, 0]), 4)
        1.0

    References:
        [gutmann2012noise]
    """
    log_p = prepare_log_weights("data_log_weights", data_log_weights)
    return _moments(_prepare_score(score, log_p), jax.nn.softmax(log_p))[1]


def nce_covariance(
    score: Float[ArrayLike, "n d"],
    data_log_weights: Float[ArrayLike, " n"],
    noise_log_weights: Float[ArrayLike, " n"],
    *,
    nu: Float[ArrayLike, ""],
) -> Float[Array, "d d"]:
    r"""Asymptotic covariance of noise-contrastive estimation, per unit of the total budget of data and noise.

    $$T\,\mathrm{Cov}(\hat\theta) \to (1 + \nu)\Bigl(I^{-1} - \frac{1 + \nu}{\nu} I^{-1} m m^\top I^{-1}\Bigr),
      \quad I = \mathbb{E}_{p_d}[(1 - D) g g^\top],\; m = \mathbb{E}_{p_d}[(1 - D) g],\;
      1 - D = \frac{\nu p_n}{p_d + \nu p_n},$$

    for T / (1 + nu) data and T nu / (1 + nu) noise draws; its trace over T is the mean squared error. With p_n = p_d
    and a normalised model it is (1 + nu)^2 / nu times the inverse Fisher information.

    Args:
        score: g at each grid point, shape `(n, d)`; for a free log-normaliser append a column of ones.
        data_log_weights: unnormalised log p_d of the points, shape `(n,)`.
        noise_log_weights: unnormalised log p_n, shape `(n,)`.
        nu: noise draws per datum, a number > 0; noise is the share nu / (1 + nu) of the budget.

    Returns:
        Shape `(d, d)`, differentiable in both laws and nu: a noise can be optimised by its gradient.

    Raises:
        ValueError: shapes that do not fit, nu not positive or no single number, log-weights with NaN, +inf or no mass.
            Traced, a nu that is not positive and such log-weights give NaN. A singular I gives inf or NaN.

    Exact on the grid in the limit T -> infinity; biased by the quadrature, and at finite T by O(1/T).

    Example:
        >>> x = jnp.linspace(-8.0, 8.0, 401)
        >>> data = -0.5 * x**2
        >>> round(float(nce_covariance(x[:, None], data, data, nu=1.0)[0, 0]), 3)
        4.0

    References:
        [gutmann2012noise, thm. 3], [chehab2022optimal]
    """
    require_scalar("nu", nu)
    nu = require_positive("nu", nu)
    log_p, log_n = prepare_pair(data_log_weights, noise_log_weights, names=("data_log_weights", "noise_log_weights"))
    score, log_p, log_n, nu = as_floats(score=_prepare_score(score, log_p), data=log_p, noise=log_n, nu=nu)
    counted = ~jnp.isneginf(log_p)
    log_odds = jax.nn.log_softmax(log_n) - jnp.where(counted, jax.nn.log_softmax(log_p), 0) + jnp.log(nu)
    noise_share = jax.nn.sigmoid(log_odds)
    mean, information = _moments(score, jax.nn.softmax(log_p) * noise_share)
    solved_mean = jnp.linalg.solve(information, mean)
    inverse = jnp.linalg.inv(information)
    return (1 + nu) * (inverse - (1 + nu) / nu * jnp.outer(solved_mean, solved_mean))


def _prepare_score(score: ArrayLike, log_weights: Array) -> Array:
    score = prepare_leaves(score, log_weights.shape[0])
    if score.ndim != 2:
        raise ValueError(f"score must have shape (n, d), got {score.shape}. For one parameter use score[:, None].")
    return keep(score, ~jnp.isneginf(log_weights))


def _moments(score: Array, weights: Array) -> tuple[Array, Array]:
    """sum w g and sum w g g^T."""
    return weighted_sum(score, weights), weighted_sum(score, (weights[:, None] * score).T)
