"""Between points and tangent vectors: exponential and logarithm, transport, geodesics, midpoints."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import as_floats, is_concrete, require_broadcastable
from nsx._types import Array, ArrayLike, Float
from nsx.poincare._ball import held_inside
from nsx.poincare._functions import (
    arcsinh_ratio,
    capped,
    norm,
    scaled_arcsinh,
    sinh_ratio,
    tanh_ratio,
    within_reach,
)
from nsx.poincare._gyro import add, rotate
from nsx.poincare._points import gap, prepare, require_inside, square_norm

FAR = 1e6  # tanh is 1 long before; longer steps are cut to it so that their squares cannot overflow


def exp_map(
    x: Float[ArrayLike, "... d"], v: Float[ArrayLike, "... d"], *, curvature: Float[ArrayLike, ""] = 1.0
) -> Float[Array, "... d"]:
    r"""The point reached from x along the geodesic with initial velocity v, after unit time.

    $$\exp_x(v) = x \oplus_c p = x + \alpha\,\frac{p + c|p|^2 x}{\alpha\beta + c|x + p|^2},\qquad
      p = \tanh\Bigl(\frac{\sqrt c\,\lambda_x|v|}{2}\Bigr)\frac{v}{\sqrt c\,|v|},$$
    with alpha, beta = 1 - c|x|^2, 1 - c|p|^2; the sum of x and a small term is computed, so that a short step is not
    lost in rounding.

    Args:
        x: points, shape `(..., d)`.
        v: tangent vectors in the coordinates of the ball, shape `(..., d)`; their length at x is lambda_x |v|.
        curvature: c >= 0; 0 gives x + v.

    Returns:
        Points, shape `(..., d)`, held inside at the default margin of `project`; v = 0 gives x (with the identity for
        gradient in v). Traced points outside the ball, a traced curvature outside its domain, and NaN
        give NaN.

    Raises:
        ValueError: a concrete point on the boundary or outside, a negative curvature, or shapes that do not fit.

    Exact to a unit in the last place of the larger coordinates.

    Example:
        >>> x, v = jnp.array([0.6, 0.0]), jnp.array([0.0, 0.32])  # a step of length 3.125 * 0.32 = 1 at x
        >>> y = exp_map(x, v)
        >>> print(np.asarray(y, float).round(4), round(float(distance(x, y)), 4))
        [0.6761 0.2746] 1.0

    References:
        [ganea2018hyperbolic, sec. 2]
    """
    c, x, v = prepare(curvature, x=x, v=v)
    require_inside(c, x=x)
    return held_inside(x + displacement(x, v, c), c)


def displacement(x: Array, v: Array, c: Array) -> Array:
    """exp_x(v) - x of prepared arrays, to full relative accuracy."""
    gap_x = gap(x, c)
    w = within_reach(v, c, FAR * gap_x) / gap_x
    z = c * square_norm(w)
    p = w * tanh_ratio(z)
    square = z * tanh_ratio(z) ** 2
    return gap_x * (p + square * x) / (gap_x * _sech_square(z) + c * square_norm(x + p))


def _sech_square(z: Array) -> Array:
    """1 / cosh(sqrt z)^2, small where 1 - tanh^2 would be rounding."""
    small = z < 1
    decay = jnp.exp(-2 * jnp.sqrt(jnp.where(small, 1, z)))
    return jnp.where(
        small, 1 - jnp.where(small, z, 0) * tanh_ratio(jnp.where(small, z, 0)) ** 2, 4 * decay / (1 + decay) ** 2
    )


def log_map(
    x: Float[ArrayLike, "... d"], y: Float[ArrayLike, "... d"], *, curvature: Float[ArrayLike, ""] = 1.0
) -> Float[Array, "... d"]:
    r"""The initial velocity at x of the geodesic that reaches y after unit time.

    $$\log_x(y) = \frac{d_c(x, y)}{\lambda_x}\,\frac{w}{|w|},\qquad
      w = \ominus x \oplus_c y = \frac{\alpha\delta - c|\delta|^2 x}{\alpha\beta + c|\delta|^2},\quad \delta = y - x.$$

    Args:
        x: points, shape `(..., d)`.
        y: points of the same dimension, broadcasting.
        curvature: c >= 0; 0 gives y - x.

    Returns:
        Tangent vectors at x, shape `(..., d)`: the inverse of `exp_map`, of length d(x, y) / lambda_x; 0 with the
        identity for gradient in y where y = x. Traced points outside the ball, a traced curvature outside its domain,
        and NaN give NaN.

    Raises:
        ValueError: a concrete point on the boundary or outside, a negative curvature, or shapes that do not fit.

    Exact within 2e-6 relative in float32 over the whole ball: the length comes from arcsinh, never from the artanh of
    a number next to 1.

    Example:
        >>> x, y = jnp.array([0.5, 0.0]), jnp.array([0.0, 0.5])
        >>> v = log_map(x, y)
        >>> print(np.asarray(v, float).round(4), abs(exp_map(x, v).round(3)))
        [-0.5404  0.3243] [0.  0.5]

    References:
        [ganea2018hyperbolic, sec. 2]
    """
    c, x, y = prepare(curvature, x=x, y=y)
    require_inside(c, x=x, y=y)
    gap_x = gap(x, c)
    gap_y = gap(y, c)
    step = y - x
    square = c * square_norm(step)
    product = gap_x * gap_y
    stretch = jnp.sqrt(gap_x / gap_y) * arcsinh_ratio(square / product)
    return (gap_x * step - square * x) * stretch / jnp.sqrt(product + square)


def parallel_transport(
    x: Float[ArrayLike, "... d"],
    y: Float[ArrayLike, "... d"],
    v: Float[ArrayLike, "... d"],
    *,
    curvature: Float[ArrayLike, ""] = 1.0,
) -> Float[Array, "... d"]:
    r"""A tangent vector at x carried to y along the geodesic between them.

    $$P_{x \to y}(v) = \frac{\lambda_x}{\lambda_y}\,\mathrm{gyr}[y, \ominus x]\,v.$$

    Args:
        x: points where the vectors live, shape `(..., d)`.
        y: points where they go, broadcasting.
        v: tangent vectors at x, broadcasting.
        curvature: c >= 0; 0 gives v.

    Returns:
        Tangent vectors at y, shape `(..., d)`, with the lengths and angles they had at x. Traced points outside the
        ball, a traced curvature outside its domain, and NaN give NaN.

    Raises:
        ValueError: a concrete x or y on the boundary or outside, a negative curvature, or shapes that do not fit.

    Exact to a few units in the last place.

    Example:
        >>> x, y = jnp.array([0.5, 0.0]), jnp.array([0.0, 0.5])
        >>> carried = parallel_transport(x, y, jnp.array([0.0, 1.0]))  # turned by the area that the way encloses
        >>> print(np.asarray(carried, float).round(4))
        [0.4706 0.8824]

    References:
        [ganea2018hyperbolic, sec. 2], [ungar2008gyrovector]
    """
    c, x, y, v = prepare(curvature, x=x, y=y, v=v)
    require_inside(c, x=x, y=y)
    return rotate(y, -x, v, c) * (gap(y, c) / gap(x, c))


def geodesic(
    x: Float[ArrayLike, "... d"],
    y: Float[ArrayLike, "... d"],
    time: Float[ArrayLike, "..."],
    *,
    curvature: Float[ArrayLike, ""] = 1.0,
) -> Float[Array, "... d"]:
    r"""The point of the geodesic through x (time 0) and y (time 1) at a given time.

    $$\gamma(t) = \frac{a\lambda_x x + b\lambda_y y}{1 + a(\lambda_x - 1) + b(\lambda_y - 1)},\qquad
      a = \frac{\sinh((1 - t)\theta)}{\sinh\theta},\; b = \frac{\sinh(t\theta)}{\sinh\theta},\; \theta = \sqrt c\,d,$$
    the straight line of the hyperboloid, in coordinates of the ball.

    Args:
        x: points at time 0, shape `(..., d)`.
        y: points at time 1, broadcasting.
        time: t, one number or one per pair, shape `(...)`; beyond [0, 1] the geodesic goes on.
        curvature: c >= 0; 0 gives (1 - t) x + t y.

    Returns:
        Points, shape `(..., d)`, at distance t d(x, y) from x; held inside at the default margin of `project`.
        Traced points outside the ball, a traced curvature outside its domain, and NaN give NaN.

    Raises:
        ValueError: a concrete point on the boundary or outside, a negative curvature, or shapes that do not fit.

    Exact to a few units in the last place for t in [0, 1], where every term is positive; beyond, the error grows like
    exp(|t| theta).

    Example:
        >>> x, y = jnp.array([0.5, 0.0]), jnp.array([0.0, 0.5])
        >>> z = geodesic(x, y, 0.25)  # bent towards the origin
        >>> print(np.asarray(z, float).round(4), round(float(distance(x, z) / distance(x, y)), 4))
        [0.3595 0.0959] 0.25

    References:
        [ungar2008gyrovector], [nickel2018learning, sec. 3]
    """
    c, x, y, time = prepare(curvature, one_per_point=("time",), x=x, y=y, time=time)
    require_inside(c, x=x, y=y)
    factor_x = 2 / gap(x, c)
    factor_y = 2 / gap(y, c)
    chord = norm(x - y) * jnp.sqrt(factor_x) * jnp.sqrt(factor_y) / 2
    z = c * capped((2 * scaled_arcsinh(chord, c)) ** 2)

    def share(t: Array) -> Array:
        """sinh(t theta) / sinh(theta)."""
        return t * sinh_ratio(z * t**2) / sinh_ratio(z)

    a = share(1 - time)
    b = share(time)
    below = 1 + a * (factor_x - 1) + b * (factor_y - 1)
    return held_inside((a * factor_x * x + b * factor_y * y) / below, c)


def midpoint(
    x: Float[ArrayLike, "... n d"],
    weights: Float[ArrayLike, "... n"] | None = None,
    *,
    curvature: Float[ArrayLike, ""] = 1.0,
) -> Float[Array, "... d"]:
    r"""Weighted gyromidpoint of n points: the centre of mass of the hyperboloid (the Einstein midpoint).

    $$m = \tfrac12 \otimes_c \frac{\sum_i w_i\lambda_i x_i}{\sum_i w_i(\lambda_i - 1)}.$$

    Args:
        x: points, shape `(..., n, d)`.
        weights: w >= 0 with a positive sum, shape `(..., n)`; None weighs all alike.
        curvature: c >= 0; 0 gives the weighted mean.

    Returns:
        Points, shape `(..., d)`. It moves with every isometry, and for two equal weights it is the middle of the
        geodesic; for more points it minimises sum_i w_i cosh(sqrt(c) d(x_i, m)), not the squared distances. Traced
        points outside the ball, traced weights that are negative or all 0, a traced curvature outside its domain, and
        NaN give NaN.

    Raises:
        ValueError: no points (n = 0), a concrete point on the boundary or outside, concrete weights that are negative,
            infinite or all 0, a negative curvature, or shapes that do not fit.

    Exact: a first estimate is taken to the origin and the midpoint found again there, where nothing cancels.
    Biased as a Frechet mean.

    Example:
        >>> x = jnp.array([[0.0, 0.0], [0.8, 0.0]])
        >>> m = midpoint(x)
        >>> np.asarray(m, float).round(4).tolist(), np.asarray(distance(m, x), float).round(4).tolist()
        ([0.5, 0.0], [1.0986, 1.0986])

    References:
        [ungar2008gyrovector], [law2019lorentzian, eq. 11]
    """
    if weights is not None:
        x, weights = as_floats(x=x, weights=weights)
    c, x = prepare(curvature, x=x)
    if x.ndim < 2 or x.shape[-2] == 0:
        raise ValueError(f"x needs two last axes, n >= 1 points by d coordinates, got shape {x.shape}.")
    require_inside(c, x=x)
    weights = _normalised(weights, x)
    first = jax.lax.stop_gradient(_centre(x, weights, c))  # any reference near the centre gives the same midpoint
    centred = held_inside(add(-first, x, c), c)
    return held_inside(add(first, _centre(centred, weights, c), c), c)[..., 0, :]


def _normalised(weights: Array | None, x: Array) -> Array:
    """Weights that sum to 1, of shape (..., n, 1); NaN where they are traced and negative, infinite or all 0."""
    if weights is None:
        return jnp.full((*x.shape[:-1], 1), 1 / x.shape[-2], x.dtype)
    require_broadcastable("weights", weights.shape, x.shape[:-1])
    if is_concrete(weights):
        host = np.asarray(weights)
        if np.any(host < 0) or np.any(host == np.inf) or np.any(np.all(host == 0, axis=-1)):
            raise ValueError("weights must be finite and at least 0, with a positive sum over the last axis.")
    weights = jnp.broadcast_to(weights, x.shape[:-1])
    weights = jnp.where((weights >= 0) & (weights < jnp.inf), weights, jnp.nan)
    largest = jnp.max(weights, axis=-1, keepdims=True)  # over it the sum cannot overflow; 0 / 0 where all are 0
    shift = jnp.where(largest > 1, 2.0**-64, 1).astype(weights.dtype)  # compiled code takes 1 / 3e38 for 0
    weights = (weights * shift) / (largest * shift)
    return (weights / jnp.sum(weights, axis=-1, keepdims=True))[..., None]


def _centre(x: Array, weights: Array, c: Array) -> Array:
    """Gyromidpoint, the axis of points kept; the Lorentz norm of the mean is at least the sum of weights, 1."""
    factor = 2 / gap(x, c)
    space = jnp.sum(weights * factor * x, axis=-2, keepdims=True)
    time = jnp.sum(weights * (factor - 1), axis=-2, keepdims=True)
    length = jnp.sqrt(jnp.maximum(time**2 - c * square_norm(space), 1))
    return space / (time + length)
