"""The upper tail of a binomial law whose success is a square p^2, for 1e7 trials and more, in float32 too.

P(X >= h), X ~ Binomial(N, q), is the integral from 0 to q of the density of Beta(h, N - h + 1). The density is taken
relative to its largest value, so that the terms that grow with N cancel on paper and not in the computer. The integral
towards the end that is farther from the mode is a Gauss-Legendre sum over the stretch where the density is not yet
nothing. Both q = p^2 and 1 - q = (1 - p)(1 + p) are kept, so that neither end loses digits.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsx._types import Array

NODES, WEIGHTS = np.polynomial.legendre.leggauss(64)
NOTHING = 40.0  # e^-40 = 4e-18 of the density at q: below rounding
HALVINGS = 12  # of the bracket of where that is: to 1 % of its log, which is all that the sum needs
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680)  # of log n! beyond Stirling's formula: c / n, c / n^3, ...
SMALLEST_STIRLING = 15  # from which these four are right to 3e-14
SERIES_TERMS = 16  # of the series of log(1 + x) - x below |x| = 1/2: it falls by 9 a term


class _Beta(NamedTuple):
    """The density of q: its exponents over q and 1 - q, the mode, 1 - mode, and log density there."""

    below: float
    above: float
    mode: float
    co_mode: float
    log_top: float


class _Side(NamedTuple):
    """The tail that is integrated, seen from its end: from `reach` down to 0, where `other` = 1 - reach."""

    exponent: Array
    other_exponent: Array
    reach: Array
    other: Array
    slope: Array  # of -log density at `reach`, towards the end; >= 0


def tail_of_square(p: Array, num_trials: int, threshold: int) -> Array:
    """P(X >= h), X ~ Binomial(N, p^2), for p in [0, 1] and 1 <= h <= N; NaN for NaN."""
    if num_trials == 1:
        return p * p
    if threshold == 1:
        certain = p == 1
        return jnp.where(certain, 1, -jnp.expm1(num_trials * jnp.log1p(-jnp.square(jnp.where(certain, 0, p)))))
    if threshold == num_trials:
        never = p == 0
        return jnp.where(never, 0, jnp.exp(2 * num_trials * jnp.log(jnp.where(never, 1, p))))
    return _tail(p, _beta(num_trials, threshold))


def _beta(num_trials: int, threshold: int) -> _Beta:
    """Beta(h, N - h + 1), 1 < h < N; log density at the mode by Stirling's formula and its corrections, in float64."""
    below = threshold - 1
    above = num_trials - threshold
    both = num_trials - 1
    spread = math.log(both / (2 * math.pi * below * above)) / 2
    correction = _beyond_stirling(both) - _beyond_stirling(below) - _beyond_stirling(above)
    return _Beta(
        below=float(below),
        above=float(above),
        mode=below / both,
        co_mode=above / both,
        log_top=math.log(num_trials) + spread + correction,
    )


def _beyond_stirling(n: int) -> float:
    """log n! less Stirling's formula (n + 1/2) log n - n + log(2 pi) / 2."""
    if n < SMALLEST_STIRLING:
        return math.lgamma(n + 1) - (n + 0.5) * math.log(n) + n - math.log(2 * math.pi) / 2
    return sum(c / n ** (2 * i + 1) for i, c in enumerate(STIRLING))


@jax.custom_jvp
@jax.jit
def _tail(p: Array, beta: _Beta) -> Array:
    """The integral of the density up to p^2; 0 and 1 at the ends."""
    inside = (p > 0) & (p < 1)
    safe = jnp.where(inside, p, 0.5)
    offset = _offset(safe, beta)
    part = _density(safe, beta) * _relative_integral(_side(safe, offset, beta))
    return jnp.where(inside, jnp.where(offset > 0, 1 - part, part), p)


@_tail.defjvp
def _tail_jvp(primals: tuple[Array, _Beta], tangents: tuple[Array, _Beta]) -> tuple[Array, Array]:
    p, beta = primals
    inside = (p > 0) & (p < 1)
    density = jnp.where(inside, _density(jnp.where(inside, p, 0.5), beta), 0 * p)
    return _tail(p, beta), 2 * p * density * tangents[0]


def _offset(p: Array, beta: _Beta) -> Array:
    """p^2 - mode, from whichever end is nearer to the mode."""
    return jnp.where(beta.mode <= 0.5, p * p - beta.mode, beta.co_mode - (1 - p) * (1 + p))


def _density(p: Array, beta: _Beta) -> Array:
    """Of Beta(h, N - h + 1) at p^2: the linear terms of both logs cancel about the mode."""
    offset = _offset(p, beta)
    from_below = beta.below * _log_less_linear(p * p / beta.mode, offset / beta.mode)
    from_above = beta.above * _log_less_linear((1 - p) * (1 + p) / beta.co_mode, -offset / beta.co_mode)
    return jnp.exp(beta.log_top + (from_below + from_above))


def _side(p: Array, offset: Array, beta: _Beta) -> _Side:
    """Below the mode the tail towards 0, above it the one towards 1: there the density falls all the way."""
    low = offset <= 0
    q = p * p
    rest = (1 - p) * (1 + p)
    return _Side(
        exponent=jnp.where(low, beta.below, beta.above),
        other_exponent=jnp.where(low, beta.above, beta.below),
        reach=jnp.where(low, q, rest),
        other=jnp.where(low, rest, q),
        slope=(beta.below + beta.above) * jnp.abs(offset) / q / rest,
    )


def _relative_integral(side: _Side) -> Array:
    """The integral of the density over its value at `reach`, from there to the end."""
    # where the density is nothing: between what its first factor alone would need, and the end
    low = jnp.log(-jnp.expm1(-NOTHING / side.exponent)) + jnp.log(side.reach)
    high = jnp.log(side.reach)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        some = _fall(jnp.exp(middle), side) < NOTHING
        low = jnp.where(some, middle, low)
        high = jnp.where(some, high, middle)
    width = jnp.exp(high)

    def term(place: Array, weight: Array) -> Array:
        return weight * jnp.exp(-_fall(jnp.minimum(place * width, side.reach), side))

    # Gauss-Legendre, whose nodes are in [-1, 1]
    places = jnp.asarray((NODES + 1) / 2, width.dtype)
    weights = jnp.asarray(WEIGHTS / 2, width.dtype)
    return width * jnp.sum(jax.vmap(term)(places, weights), axis=0)


def _fall(away: Array, side: _Side) -> Array:
    """How far log density has fallen at this distance from `reach`."""
    near = away / side.reach
    far = away / side.other
    curved = side.exponent * _log_less_linear(1 - near, -near) + side.other_exponent * _log_less_linear(1 + far, far)
    return side.slope * away - curved


def _log_less_linear(ratio: Array, x: Array) -> Array:
    """log(1 + x) - x for ratio = 1 + x, without cancellation: about 0 by the series of 2 artanh(x / (2 + x))."""
    small = jnp.abs(x) < 0.5
    about = jnp.where(small, x, 0)
    half = about / (2 + about)
    square = half * half
    series = jnp.zeros_like(half)
    for i in range(SERIES_TERMS, 0, -1):
        series = series * square + 1 / (2 * i + 1)
    near = -about * half + 2 * half * square * series
    return jnp.where(small, near, jnp.log(jnp.where(small, 1, ratio)) - x)
