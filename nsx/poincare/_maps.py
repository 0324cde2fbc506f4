"""Between points and tangent vectors: exponential and logarithm, transport, geodesics, midpoints."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import as_float, is_concrete, require_broadcastable
from nsx._types import Array, ArrayLike, Float
from nsx.poincare._ball import held_inside
from nsx.poincare._functions import arcsinh_ratio, safe_sqrt, scaled_arcsinh, sinh_ratio, tanh_ratio
from nsx.poincare._gyro import _add, rotate
from nsx.poincare._points import dot, gap, prepare, require_inside

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
        gradient in v). Traced points outside the ball give NaN.

    Raises:
        ValueError: a concrete point on the boundary or outside, a negative curvature, or shapes that do not fit.

    Exact to a unit in the last place of the larger coordinates.

    Example:
        >>> x, v = jnp.array([0.3, 0.4]), jnp.array([0.1, -0.2])
        >>> bool(jnp.allclose(distance(x, exp_map(x, v)), conformal_factor(x) * jnp.linalg.norm(v)))
        True

    References:
        [ganea2018hyperbolic, sec. 2]
    """
    c, x, v = prepare(curvature, x=x, v=v)
    require_inside(c, x=x)
    return held_inside(x + displacement(x, v, c), c)


def displacement(x: Array, v: Array, c: Array) -> Array:
    """exp_x(v) - x of prepared arrays, to full relative accuracy."""
    gap_x = gap(x, c)
    w = v / gap_x
    reach = safe_sqrt(c) * jnp.max(jnp.abs(w), axis=-1, keepdims=True)
    w = w * jnp.where(reach > FAR, FAR / jnp.where(reach > FAR, reach, 1), 1)
    z = c * dot(w, w)
    p = w * tanh_ratio(z)
    square, total = z * tanh_ratio(z) ** 2, x + p
    return gap_x * (p + square * x) / (gap_x * _sech_square(z) + c * dot(total, total))


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
        identity for gradient in y where y = x. Traced points outside the ball give NaN.

    Raises:
        ValueError: a concrete point on the boundary or outside, a negative curvature, or shapes that do not fit.

    Exact within 2e-6 relative in float32 over the whole ball: the length comes from arcsinh, never from the artanh of
    a number next to 1.

    Example:
        >>> x, y = jnp.array([0.3, 0.4]), jnp.array([-0.2, 0.6])
        >>> bool(jnp.allclose(exp_map(x, log_map(x, y)), y, atol=1e-6))
        True

    References:
        [ganea2018hyperbolic, sec. 2]
    """
    c, x, y = prepare(curvature, x=x, y=y)
    require_inside(c, x=x, y=y)
    gap_x, gap_y, step = gap(x, c), gap(y, c), y - x
    square = dot(step, step)
    product = gap_x * gap_y
    stretch = jnp.sqrt(gap_x / gap_y) * arcsinh_ratio(c * square / product)
    return (gap_x * step - c * square * x) * stretch / jnp.sqrt(product + c * square)


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
        ball give NaN.

    Raises:
        ValueError: a concrete x or y on the boundary or outside, a negative curvature, or shapes that do not fit.

    Exact to a few units in the last place.

    Example:
        >>> x, y = jnp.array([0.3, 0.4]), jnp.array([-0.2, 0.6])
        >>> bool(jnp.allclose(parallel_transport(x, y, log_map(x, y)), -log_map(y, x), atol=1e-6))
        True

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
        Traced points outside the ball give NaN.

    Raises:
        ValueError: a concrete point on the boundary or outside, a negative curvature, or shapes that do not fit.

    Exact to a few units in the last place for t in [0, 1], where every term is positive; beyond, the error grows like
    exp(|t| theta).

    Example:
        >>> x, y = jnp.array([0.3, 0.4]), jnp.array([-0.2, 0.6])
        >>> bool(jnp.allclose(distance(x, geodesic(x, y, 0.25)), distance(x, y) / 4))
        True

    References:
        [ungar2008gyrovector], [nickel2018learning, sec. 3]
    """
    time = jnp.asarray(time)[..., None]
    time = jnp.broadcast_to(time, (*time.shape[:-1], jnp.shape(x)[-1]))
    c, x, y, time = prepare(curvature, x=x, y=y, time=time)
    require_inside(c, x=x, y=y)
    time, factors = time[..., :1], (2 / gap(x, c), 2 / gap(y, c))
    chord = safe_sqrt(dot(x - y, x - y) * factors[0] * factors[1]) / 2
    z = c * (2 * scaled_arcsinh(chord, c)) ** 2
    share = lambda t: t * sinh_ratio(z * t**2) / sinh_ratio(z)
    a, b = share(1 - time), share(time)
    below = 1 + a * (factors[0] - 1) + b * (factors[1] - 1)
    return held_inside((a * factors[0] * x + b * factors[1] * y) / below, c)


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
        points outside the ball, or weights whose sum is not positive, give NaN.

    Raises:
        ValueError: a concrete point on the boundary or outside, concrete weights that are negative or all 0, a
            negative curvature, or shapes that do not fit.

    Exact: a first estimate is taken to the origin and the midpoint found again there, where nothing cancels.
    Biased as a Frechet mean.

    Example:
        >>> x = jnp.array([[0.3, 0.4], [-0.2, 0.6]])
        >>> bool(jnp.allclose(midpoint(x), geodesic(x[0], x[1], 0.5), atol=1e-6))
        True

    References:
        [ungar2008gyrovector], [law2019lorentzian, eq. 11]
    """
    c, x = prepare(curvature, x=x)
    if x.ndim < 2:
        raise ValueError(f"x needs two last axes, n points by d coordinates, got shape {x.shape}.")
    require_inside(c, x=x)
    weights = _as_weights(weights, x)
    first = jax.lax.stop_gradient(_centre(x, weights, c))  # any reference near the centre gives the same midpoint
    centred = held_inside(_add(-first, x, c), c)
    return held_inside(_add(first, _centre(centred, weights, c), c), c)[..., 0, :]


def _as_weights(weights: ArrayLike | None, x: Array) -> Array:
    """Normalised weights of shape (..., n, 1)."""
    if weights is None:
        return jnp.full((*x.shape[:-1], 1), 1 / x.shape[-2], x.dtype)
    weights = as_float("weights", weights)
    require_broadcastable("weights", weights.shape, x.shape[:-1])
    if is_concrete(weights) and not (np.all(np.asarray(weights) >= 0) and np.all(np.any(np.asarray(weights) > 0, -1))):
        raise ValueError("weights must be at least 0 with a positive sum over the last axis. Drop empty rows.")
    weights = jnp.broadcast_to(weights, x.shape[:-1]).astype(x.dtype)
    return (weights / jnp.sum(weights, axis=-1, keepdims=True))[..., None]


def _centre(x: Array, weights: Array, c: Array) -> Array:
    """Gyromidpoint, the axis of points kept; the Lorentz norm of the mean is at least the sum of weights, 1."""
    factor = 2 / gap(x, c)
    space = jnp.sum(weights * factor * x, axis=-2, keepdims=True)
    time = jnp.sum(weights * (factor - 1), axis=-2, keepdims=True)
    norm = jnp.sqrt(jnp.maximum(time**2 - c * dot(space, space), 1))
    return space / (time + norm)
