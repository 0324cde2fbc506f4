"""The ball as a metric space: distance, conformal factor, Riemannian gradient, and the way back inside."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nsx._checks import is_concrete, require_in_range
from nsx._types import Array, ArrayLike, Float
from nsx.poincare._functions import root_above_zero, scaled_arcsinh, unit_and_size, value_of_root, within_reach
from nsx.poincare._points import dot, gap, prepare, require_inside, square_norm, unchecked_gap

MARGIN_IN_EPS = 4  # rounding of a rescaled point moves its norm by at most 1.5 eps


def distance(
    x: Float[ArrayLike, "... d"], y: Float[ArrayLike, "... d"], *, curvature: Float[ArrayLike, ""] = 1.0
) -> Float[Array, "..."]:
    r"""Geodesic distance of two points of the ball.

    $$d_c(x, y) = \frac{2}{\sqrt c}\,\mathrm{arcsinh}\sqrt{\frac{c\,|x - y|^2}{(1 - c|x|^2)(1 - c|y|^2)}},
      \qquad d_0(x, y) = 2\,|x - y|.$$

    Args:
        x: points, shape `(..., d)`, coordinates on the last axis.
        y: points of the same dimension, any shape that broadcasts against x.
        curvature: c >= 0; the ball has radius 1/sqrt(c) and sectional curvature -c. Smooth through c = 0.

    Returns:
        Distances, shape `(...)`, in the wider precision of x and y. The gradient in x has Euclidean norm
        2 / (1 - c|x|^2) for every y but x itself, where it is 0. The second derivatives of the *square* of the
        distance are right there too, 2 lambda^2 times the identity; those of the distance itself are infinite there,
        and come back as huge numbers. Traced points on the boundary or outside, a traced curvature that is
        negative or infinite, and NaN give NaN.

    Raises:
        ValueError: a concrete point on the boundary or outside, a negative curvature, or shapes that do not fit.

    Exact for the coordinates given: value and gradient within 1e-6 relative in float32 (2e-15 in float64), from
    points 1e-18 apart to points 1e-7 from the boundary, since 1 - c|x|^2 is summed without rounding. Differences
    whose square underflows (under 1e-19 in float32) count as coincidence.

    Example:
        >>> round(float(distance(jnp.zeros(2), jnp.array([0.5, 0.0]))), 4)  # log 3
        1.0986

    References:
        [nickel2017poincare, eq. 1], [ungar2008gyrovector]
    """
    c, x, y = prepare(curvature, x=x, y=y)
    require_inside(c, x=x, y=y)
    return _distance(x, y, c, _may_overflow(curvature, x.dtype))[..., 0]


class _Chord(NamedTuple):
    """Two points of the ball: the square roots of their gaps, and x - y by its direction and length."""

    root_x: Array
    root_y: Array
    unit: Array  # x - y over its size
    size: Array
    square: Array  # of the unit


def _chord(x: Array, y: Array, c: Array, scaled: bool) -> _Chord:
    unit, size = unit_and_size(x - y) if scaled else (x - y, jnp.ones((), x.dtype))
    return _Chord(jnp.sqrt(gap(x, c)), jnp.sqrt(gap(y, c)), unit, size, dot(unit, unit))


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _distance(x: Array, y: Array, c: Array, scaled: bool) -> Array:
    """With the axis kept; scaled where |x - y|^2 may overflow, which costs a third more."""
    chord = _chord(x, y, c, scaled)
    length = chord.size * value_of_root(chord.square)
    return 2 * scaled_arcsinh(length / (chord.root_x * chord.root_y), c)


@_distance.defjvp
def _(scaled, primals, tangents):
    # one rule for the whole, so that the sums without rounding are made once and no (..., d) array is kept
    x, y, c = primals
    dx, dy, dc = tangents
    chord = _chord(x, y, c, scaled)
    product = chord.root_x * chord.root_y
    half = chord.size * value_of_root(chord.square) / product

    # the change of |x - y|, and of the two gaps that it is divided by
    shift = dot(chord.unit, dx - dy) / (root_above_zero(chord.square) * product)
    closing_x = (2 * c * dot(x, dx) + dc * square_norm(x)) / (2 * chord.root_x**2)
    closing_y = (2 * c * dot(y, dy) + dc * square_norm(y)) / (2 * chord.root_y**2)
    tangent = shift + half * (closing_x + closing_y)
    value, slope = jax.jvp(scaled_arcsinh, (half, c), (tangent, dc))
    return 2 * value, 2 * slope


def _may_overflow(curvature: ArrayLike, dtype: jnp.dtype) -> bool:
    """Whether |x - y|^2 may, for all that is known of the curvature; points of the ball are 2/sqrt(c) apart at most."""
    return not is_concrete(curvature) or float(curvature) < 16 / float(jnp.finfo(dtype).max)


def conformal_factor(x: Float[ArrayLike, "... d"], *, curvature: Float[ArrayLike, ""] = 1.0) -> Float[Array, "..."]:
    r"""How much longer a small step at x is in the ball than in the plane.

    $$\lambda_x = \frac{2}{1 - c|x|^2}.$$

    Args:
        x: points, shape `(..., d)`.
        curvature: c >= 0.

    Returns:
        Factors, shape `(...)`, 2 everywhere for c = 0. Traced points outside the ball, a traced curvature outside its
        domain, and NaN give NaN.

    Raises:
        ValueError: a concrete point on the boundary or outside, or a negative curvature.

    Exact: within a unit in the last place up to the last float before the boundary; the textbook form has no digit
    left there.

    Example:
        >>> round(float(conformal_factor(jnp.array([0.6, 0.0]))), 4)
        3.125

    References:
        [ganea2018hyperbolic, sec. 2]
    """
    c, x = prepare(curvature, x=x)
    require_inside(c, x=x)
    return 2 / gap(x, c)[..., 0]


def riemannian_gradient(
    x: Float[ArrayLike, "... d"], gradient: Float[ArrayLike, "... d"], *, curvature: Float[ArrayLike, ""] = 1.0
) -> Float[Array, "... d"]:
    r"""The direction of steepest ascent in the metric of the ball, from the ordinary gradient.

    $$\mathrm{grad} f = \lambda_x^{-2}\,\nabla f = \frac{(1 - c|x|^2)^2}{4}\,\nabla f.$$

    Args:
        x: points, shape `(..., d)`.
        gradient: derivatives in the coordinates of x, shape `(..., d)`.
        curvature: c >= 0.

    Returns:
        Tangent vectors at x, shape `(..., d)`, ready for `exp_map`. The gradient of a distance gets Riemannian
        length 1. Traced points outside the ball, a traced curvature outside its domain, and NaN give NaN.

    Raises:
        ValueError: a concrete point on the boundary or outside, a negative curvature, or shapes that do not fit.

    Exact to a few units in the last place.

    Example:
        >>> x, y = jnp.array([0.9, 0.0]), jnp.array([0.0, 0.3])
        >>> v = riemannian_gradient(x, jax.grad(distance)(x, y))
        >>> round(float(conformal_factor(x) * jnp.linalg.norm(v)), 5)
        1.0

    References:
        [nickel2017poincare, eq. 4]
    """
    c, x, gradient = prepare(curvature, x=x, gradient=gradient)
    require_inside(c, x=x)
    return gradient * (gap(x, c) / 2) ** 2


def project(
    x: Float[ArrayLike, "... d"], *, curvature: Float[ArrayLike, ""] = 1.0, margin: float | None = None
) -> Float[Array, "... d"]:
    r"""The point itself where it is safely inside the ball, else the point of its ray just inside.

    $$x \mapsto x \min\Bigl(1, \frac{1 - m}{\sqrt c\,|x|}\Bigr).$$

    Args:
        x: any finite points, shape `(..., d)`.
        curvature: c >= 0; 0 changes nothing.
        margin: m in (0, 1), the distance kept from the boundary as a share of the radius; None is 4 eps of the
            dtype: 4.8e-7 in float32 (15.2 from the origin at c = 1), 8.9e-16 in float64 (35.4). Below 2 eps the
            result may round onto the boundary.

    Returns:
        Points inside the ball, shape `(..., d)`. Direction is kept and no other point moves; the margin scales with
        the ball, so project(x / s, curvature=c s^2) s = project(x, curvature=c). The gradient of a clipped
        point is the tangential part only. A traced curvature or margin outside its domain, and NaN, give NaN.

    Raises:
        ValueError: a margin outside (0, 1) or a negative curvature.

    Exact: the clamp is radial, the norm is found without rounding, and no coordinate is too large.

    Example:
        >>> [round(v, 3) for v in project(jnp.array([3.0, 4.0]), margin=0.01).tolist()]
        [0.594, 0.792]

    References:
        [nickel2017poincare, sec. 3.1]
    """
    c, x = prepare(curvature, x=x)
    return held_inside(x, c, margin=margin)


def held_inside(x: Array, c: Array, *, margin: ArrayLike | None = None) -> Array:
    """`project` of prepared arrays."""
    eps = float(jnp.finfo(x.dtype).eps)
    if margin is None:
        margin = MARGIN_IN_EPS * eps
    margin = require_in_range("margin", margin, eps / 2, 1, open_high=True, advice="It is a share of the radius.")
    margin = jnp.asarray(margin).astype(x.dtype)
    near = within_reach(x, c, 1)  # far points are first brought near along their ray: squares cannot overflow
    square = 1 - unchecked_gap(near, c)
    inside = square <= (1 - margin) ** 2
    held = near * (jnp.where(inside, 1, 1 - margin) / jnp.sqrt(jnp.where(inside, 1, square)))
    return jnp.where(jnp.isnan(margin), margin, held)
