"""Hyperbolic functions divided by their argument, smooth through curvature 0, with slopes that do not cancel."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from nsx._types import Array

SMALL = 0.05  # below it slopes come from the series (truncated under 1e-17), above it direct forms lose two digits
TERMS = 14


def _arcsinh_series() -> list[float]:
    """Coefficients a_n of arcsinh(sqrt z) / sqrt z = sum a_n z^n."""
    terms, central = [], 1.0
    for n in range(TERMS):
        terms.append(central / (2 * n + 1))
        central *= -(2 * n + 1) / (2 * n + 2)
    return terms


def _tanh_series() -> list[float]:
    """Coefficients of tanh(sqrt z) / sqrt z, from tanh' = 1 - tanh^2."""
    terms = [1.0]
    for n in range(1, TERMS):
        terms.append(-sum(terms[i] * terms[n - 1 - i] for i in range(n)) / (2 * n + 1))
    return terms


def _sinh_series() -> list[float]:
    """Coefficients of sinh(sqrt z) / sqrt z: 1 / (2n + 1)!."""
    terms = [1.0]
    for n in range(1, TERMS):
        terms.append(terms[-1] / (2 * n * (2 * n + 1)))
    return terms


def _slope_of_series(terms: list[float], z: Array) -> Array:
    """sum n a_n z^(n-1), by Horner's rule."""
    total = jnp.zeros_like(z)
    for n in range(len(terms) - 1, 0, -1):
        total = total * z + n * terms[n]
    return total


def _smooth_ratio(
    function: Callable[[Array], Array], derivative: Callable[[Array], Array], terms: list[float]
) -> Callable[[Array], Array]:
    """f(sqrt z) / sqrt z of z >= 0, value 1 at 0; `derivative` is f' at sqrt z as a function of z."""

    @jax.custom_jvp
    def ratio(z: Array) -> Array:
        some = z > 0
        root = jnp.sqrt(jnp.where(some, z, 1))
        return jnp.where(some, function(root) / root, jnp.where(jnp.isnan(z), z, 1))

    def slope(z: Array) -> Array:
        small = z < SMALL
        near, far = jnp.where(small, z, 0), jnp.where(small, 1, z)
        return jnp.where(small, _slope_of_series(terms, near), (derivative(far) - ratio(far)) / (2 * far))

    @ratio.defjvp
    def _(primals, tangents):
        (z,), (dz,) = primals, tangents
        return ratio(z), slope(z) * dz

    return ratio


arcsinh_ratio = _smooth_ratio(jnp.arcsinh, lambda z: jax.lax.rsqrt(1 + z), _arcsinh_series())
tanh_ratio = _smooth_ratio(jnp.tanh, lambda z: 1 - jnp.tanh(jnp.sqrt(z)) ** 2, _tanh_series())
sinh_ratio = _smooth_ratio(jnp.sinh, lambda z: jnp.cosh(jnp.sqrt(z)), _sinh_series())


def safe_sqrt(x: Array) -> Array:
    """Square root with gradient 0, not NaN, at 0."""
    some = x > 0
    return jnp.where(some, jnp.sqrt(jnp.where(some, x, 1)), jnp.where(jnp.isnan(x), x, 0))


def _inverse_hypotenuse(u: Array, c: Array) -> Array:
    """1 / sqrt(1 + c u^2) without overflow: the derivative of arcsinh at 1e19 is 1e-19 and not 0."""
    far = safe_sqrt(c) * u > 1e9
    near = jax.lax.rsqrt(1 + c * jnp.square(jnp.where(far, 1, u)))
    return jnp.where(far, 1 / (safe_sqrt(jnp.where(far, c, 1)) * jnp.where(far, u, 1)), near)


@jax.custom_jvp
def scaled_arcsinh(u: Array, c: Array) -> Array:
    """arcsinh(sqrt(c) u) / sqrt(c) of u >= 0, c >= 0; u at c = 0. Exact slopes in both arguments."""
    w = safe_sqrt(c) * u
    some = w > 0
    angle = jnp.where(some, w, 1)
    return u * jnp.where(some, jnp.arcsinh(angle) / angle, 1)


@scaled_arcsinh.defjvp
def _(primals, tangents):
    (u, c), (du, dc) = primals, tangents
    value, slope = scaled_arcsinh(u, c), _inverse_hypotenuse(u, c)
    small = safe_sqrt(c) * u < SMALL**0.5
    near = jnp.where(small, u, 0)
    in_series = near**3 * _slope_of_series(_arcsinh_series(), c * near**2)
    direct = (u * slope - value) / (2 * jnp.where(small, 1, c))
    return value, slope * du + jnp.where(small, in_series, direct) * dc
