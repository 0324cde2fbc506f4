"""Collapse of a generator with a norm penalty: one law in closed form, its folds and its two branches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import as_float, as_floats, require_in_range, require_positive
from nsx._types import Array, ArrayLike, Float


class CollapseBand(NamedTuple):
    """Where a collapsed and a spread state are both stable.

    `low` and `high` are the penalty over reward gap, g / D, at the two folds, NaN where there is no band;
    `margin` is max_x x tanh((log(K - 1) - x) / 2) - 1, positive where there is one.
    """

    low: Float[Array, "..."]
    high: Float[Array, "..."]
    margin: Float[Array, "..."]


def collapse_penalty(
    logit_gap: Float[ArrayLike, "..."], *, num_candidates: Float[ArrayLike, "..."]
) -> Float[Array, "..."]:
    r"""The norm penalty at which a generator rests with a given gap between its hard candidate and the others.

    A softmax generator maximises q . l - (g / 2) |phi|^2 where one of K candidates is harder by D. At rest
    q_c (l_c - q . l) = g phi_c, so the K - 1 others share one logit, x = phi_hard - phi_other, and

    $$\frac{g}{D} = \frac{K}{K - 1}\, \frac{p (1 - p)}{x}, \qquad p = \sigma(x - \log(K - 1)) .$$

    Args:
        logit_gap: x > 0.
        num_candidates: K >= 2, the hard one included; broadcasts.

    Returns:
        g / D. As a function of x it falls all the way for K <= 22; from K = 23 it rises in between, and three x
        share one penalty: see `collapse_band`.

    Raises:
        ValueError: x not positive or K < 2 (traced, they give NaN), or shapes that do not fit.

    Exact.

    Example:
        >>> round(float(collapse_penalty(5.1703, num_candidates=100)), 4)
        0.045

    References:
        [strogatz2015nonlinear, sec. 3.6]
    """
    x, k = as_floats(
        logit_gap=require_positive("logit_gap", logit_gap),
        num_candidates=require_in_range("num_candidates", num_candidates, 2.0, math.inf, open_high=True),
    )
    try:
        shape = np.broadcast_shapes(x.shape, k.shape)
    except ValueError:
        raise ValueError(f"logit_gap {x.shape} and num_candidates {k.shape} do not broadcast.") from None
    x = jnp.broadcast_to(x, shape)
    k = jnp.broadcast_to(k, shape)
    p = jax.nn.sigmoid(x - jnp.log(k - 1))
    return k / (k - 1) * p * jax.nn.sigmoid(jnp.log(k - 1) - x) / x


def collapse_band(num_candidates: Float[ArrayLike, "..."]) -> CollapseBand:
    r"""The band of penalties in which collapse and spread are both stable, so that history decides.

    $$\frac{d \log(g / D)}{d x} = \tanh\frac{\log(K - 1) - x}{2} - \frac1x = 0 \quad\text{at the folds;}\qquad
      \text{they exist iff } \max_x\, x \tanh\frac{\log(K - 1) - x}{2} > 1 .$$

    Args:
        num_candidates: K >= 2, the hard one included, any shape.

    Returns:
        `CollapseBand(low, high, margin)`: g / D at the folds. Below low only the collapsed state is left, above high
        only the spread one. NaN, NaN and a margin <= 0 for K <= 22.

    Raises:
        ValueError: K < 2 (traced, NaN comes back).

    Exact up to rounding: bisection between x = 0, the maximum and log(K - 1).

    Example:
        >>> bool(jnp.isnan(collapse_band(22).low)), round(float(collapse_band(100).high), 4)
        (True, 0.058)

    References:
        [strogatz2015nonlinear, sec. 3.6]
    """
    k = as_float("num_candidates", require_in_range("num_candidates", num_candidates, 2.0, math.inf, open_high=True))
    top = jnp.maximum(jnp.log(k - 1), 0)
    bottom = jnp.zeros_like(top)

    def height(x: Array) -> Array:
        """A fold is where this is 1."""
        return x * jnp.tanh((top - x) / 2)

    def steepness(x: Array) -> Array:
        """Of the sign of the derivative of the height."""
        return jnp.sinh(top - x) - x

    crest = _root(steepness, bottom, top)
    margin = height(crest) - 1
    folds = margin > 0

    def penalty_at(x: Array) -> Array:
        """The penalty at a fold, NaN where there is none."""
        return jnp.where(folds, collapse_penalty(jnp.where(folds, x, 1), num_candidates=k), jnp.nan)

    rising = _root(lambda x: 1 - height(x), bottom, crest)
    falling = _root(lambda x: height(x) - 1, crest, top)
    return CollapseBand(low=penalty_at(rising), high=penalty_at(falling), margin=margin)


def _root(function: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Where a function positive at low and negative at high changes sign, by bisection."""

    def halve(_: int | Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        """The half in which the sign changes."""
        low, high = ends
        middle = (low + high) / 2
        above = function(middle) > 0
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    low, high = jax.lax.fori_loop(0, 64, halve, (low, high))
    return (low + high) / 2
