"""Hyperbolic functions divided by their argument, smooth through curvature 0, with slopes that do not cancel; lengths.

Lengths are found from a vector divided by its largest coordinate, so that no square over- or underflows.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from nsx._numerics import safe_sqrt
from nsx._types import Array

SMALL = 0.05  # below it slopes come from the series (truncated under 1e-17), above it direct forms lose two digits
TERMS = 14
SHIFT = 2.0**16  # a divisor beyond 2^126 is flushed to one by 0; so both sides are moved this far from the ends


def _arcsinh_series() -> list[float]:
    """Coefficients a_n of arcsinh(sqrt z) / sqrt z = sum a_n z^n."""
    terms = []
    central = 1.0
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
        near = jnp.where(small, z, 0)
        far = jnp.where(small, 1, z)
        return jnp.where(small, _slope_of_series(terms, near), (derivative(far) - ratio(far)) / (2 * far))

    @ratio.defjvp
    def _(primals, tangents):
        (z,) = primals
        (dz,) = tangents
        return ratio(z), slope(z) * dz

    return ratio


arcsinh_ratio = _smooth_ratio(jnp.arcsinh, lambda z: jax.lax.rsqrt(1 + z), _arcsinh_series())
tanh_ratio = _smooth_ratio(jnp.tanh, lambda z: 1 - jnp.tanh(jnp.sqrt(z)) ** 2, _tanh_series())
sinh_ratio = _smooth_ratio(jnp.sinh, lambda z: jnp.cosh(jnp.sqrt(z)), _sinh_series())


# --- Lengths


@jax.custom_jvp
def root_of_square(x: Array) -> Array:
    """Square root of a sum of squares: gradient 0 where all of them are 0, and right second derivatives of its square.

    There the root itself has no derivative and its square s has: of s = root^2 JAX forms 2 root (1 / (2 root)) ds. So
    the rule divides by a tiny number where the root is 0, and gives the root that same number as its value when the
    rule is differentiated in turn; then the quotient is 1, and d^2 s survives.
    """
    return safe_sqrt(x)


@root_of_square.defjvp
def _(primals, tangents):
    (x,) = primals
    (dx,) = tangents
    return value_of_root(x), dx / (2 * root_above_zero(x))


@jax.custom_jvp
def value_of_root(x: Array) -> Array:
    """The square root; where it is 0 and differentiated, `root_above_zero`."""
    return safe_sqrt(x)


@value_of_root.defjvp
def _(primals, tangents):
    (x,) = primals
    (dx,) = tangents
    root = root_above_zero(x)
    return root, dx / (2 * root)


def root_above_zero(x: Array) -> Array:
    """The square root, and for 0 a tiny number; the square of its reciprocal, over that of a gap, must be finite."""
    tiny = 2.0**-40 if x.dtype == jnp.float32 else 2.0**-200
    zero = x == 0
    return jnp.where(zero, tiny, jnp.sqrt(jnp.where(zero, 1, x)))


def unit_and_size(x: Array) -> tuple[Array, Array]:
    """x = unit * size, the largest coordinate of the unit about 1 and the size `(..., 1)` a constant; 0 is 0 * 1."""
    top = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=-1, keepdims=True))
    size = jnp.where(top == 0, 1, top)
    shift = jnp.where(size > 1, 1 / SHIFT, SHIFT).astype(x.dtype)
    return (x * shift) * (1 / (size * shift)), size  # the compiler keeps quotients, but repeats a maximum


def norm(x: Array) -> Array:
    """Euclidean norm over the coordinates, the axis kept; gradient 0 at 0, second derivatives of its square right."""
    unit, size = unit_and_size(x)
    return size * root_of_square(jnp.sum(unit * unit, axis=-1, keepdims=True))


def within_reach(x: Array, c: Array, limit: Array | float) -> Array:
    """x with its largest coordinate cut to limit / sqrt(c) along its ray; nothing is cut at c = 0."""
    unit, size = unit_and_size(x)
    root = jax.lax.stop_gradient(safe_sqrt(c))
    beyond = root * size > limit
    return jnp.where(beyond, unit * (limit / jnp.where(beyond, root, 1)), x)


def capped(x: Array) -> Array:
    """x, infinity replaced by the largest number: what is infinite only at curvature 0 is there multiplied by 0."""
    return jnp.minimum(x, jnp.finfo(x.dtype).max)


# --- arcsinh(sqrt(c) u) / sqrt(c)


def _inverse_hypotenuse(u: Array, c: Array) -> Array:
    """1 / sqrt(1 + c u^2) without overflow: the derivative of arcsinh at 1e19 is 1e-19 and not 0."""
    far = safe_sqrt(c) * u > 1e9
    near = jax.lax.rsqrt(1 + c * capped(jnp.square(jnp.where(far, 1, u))))
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
    u, c = primals
    du, dc = tangents
    value = scaled_arcsinh(u, c)
    slope = _inverse_hypotenuse(u, c)
    small = safe_sqrt(c) * u < SMALL**0.5
    near = jnp.where(small, u, 0)
    in_series = capped(near**3) * _slope_of_series(_arcsinh_series(), c * capped(near**2))
    direct = (u * slope - value) / (2 * jnp.where(small, 1, c))
    return value, slope * du + jnp.where(small, in_series, direct) * dc
