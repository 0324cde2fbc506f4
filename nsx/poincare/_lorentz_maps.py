"""Between points of the hyperboloid and tangent vectors."""

from __future__ import annotations

import jax.numpy as jnp

from nsx._types import Array, ArrayLike, Float
from nsx.poincare._functions import norm, sinh_ratio, tanh_ratio
from nsx.poincare._lorentz import distance_of, lorentz_inner, lorentz_project, over, prepare_sheet, time_of
from nsx.poincare._points import dot


def lorentz_exp_map(
    x: Float[ArrayLike, "... d_plus_1"],
    v: Float[ArrayLike, "... d_plus_1"],
    *,
    curvature: Float[ArrayLike, ""] = 1.0,
) -> Float[Array, "... d_plus_1"]:
    r"""The point reached from X along the geodesic with initial velocity V, after unit time.

    $$\exp_X(V) = \cosh(\sqrt c|V|)\,X + \frac{\sinh(\sqrt c|V|)}{\sqrt c|V|}\,V.$$

    Args:
        x: points, shape `(..., d + 1)`, time first.
        v: tangent vectors at X; only the space coordinates are read, the time one follows from <X, V> = 0.
        curvature: c > 0.

    Returns:
        Points of the hyperboloid, shape `(..., d + 1)`. Lengths beyond 88 / sqrt(c) in float32 (709 in float64)
        overflow. A traced curvature that is not positive, and NaN, give NaN.

    Raises:
        ValueError: a concrete point off the hyperboloid, a curvature that is not positive, or shapes that do not fit.

    Exact up to eps X_0 cosh(sqrt(c) |V|) in each coordinate.

    Example:
        >>> origin, v = jnp.array([1.0, 0.0]), jnp.array([0.0, 2.0])
        >>> np.asarray(lorentz_exp_map(origin, v), float).round(4).tolist()  # cosh 2, sinh 2
        [3.7622, 3.6269]

    References:
        [nickel2018learning, eq. 9]
    """
    c, x, v = prepare_sheet(curvature, x=x, v=v)
    space = x[..., 1:]
    v = v[..., 1:]
    z = c * _square_length(space, v, c)
    cosh = 1 + z / 2 * sinh_ratio(z / 4) ** 2
    return lorentz_project(jnp.concatenate([x[..., :1] * cosh, cosh * space + sinh_ratio(z) * v], axis=-1), curvature=c)


def lorentz_log_map(
    x: Float[ArrayLike, "... d_plus_1"],
    y: Float[ArrayLike, "... d_plus_1"],
    *,
    curvature: Float[ArrayLike, ""] = 1.0,
) -> Float[Array, "... d_plus_1"]:
    r"""The initial velocity at X of the geodesic that reaches Y after unit time.

    $$\log_X(Y) = \frac{\theta}{\sinh\theta}\,(Y - X) - \theta\tanh\frac\theta2\,X,\qquad \theta = \sqrt c\,d(X, Y).$$

    Args:
        x: points, shape `(..., d + 1)`, time first.
        y: points, broadcasting.
        curvature: c > 0.

    Returns:
        Tangent vectors at X, shape `(..., d + 1)`, of Minkowski length d(X, Y); 0 where Y = X. A traced curvature that
        is not positive, and NaN, give NaN.

    Raises:
        ValueError: a concrete point off the hyperboloid, a curvature that is not positive, or shapes that do not fit.

    Exact up to eps theta X_0 in each coordinate.

    Example:
        >>> origin, y = jnp.array([1.0, 0.0]), jnp.array([jnp.cosh(2.0), jnp.sinh(2.0)])
        >>> np.asarray(lorentz_log_map(origin, y), float).round(4).tolist()
        [0.0, 2.0]

    References:
        [nickel2018learning, sec. 3]
    """
    c, x, y = prepare_sheet(curvature, x=x, y=y)
    x = x[..., 1:]
    y = y[..., 1:]
    z = c * distance_of(x, y, c) ** 2
    v = (y - x) / sinh_ratio(z) - z / 2 * tanh_ratio(z / 4) * x
    return jnp.concatenate([dot(over(x, time_of(x, c)), v), v], axis=-1)


def lorentz_tangent(
    x: Float[ArrayLike, "... d_plus_1"],
    v: Float[ArrayLike, "... d_plus_1"],
    *,
    curvature: Float[ArrayLike, ""] = 1.0,
) -> Float[Array, "... d_plus_1"]:
    r"""The part of a vector that is tangent to the hyperboloid.

    $$V \mapsto V + c\,\langle X, V\rangle\,X.$$
    Of an ordinary gradient with its time coordinate negated it makes the Riemannian gradient.

    Args:
        x: points, shape `(..., d + 1)`, time first.
        v: any vectors, broadcasting.
        curvature: c > 0.

    Returns:
        Vectors V with <X, V> = 0, shape `(..., d + 1)`. A traced curvature that is not positive, and NaN, give NaN.

    Raises:
        ValueError: a concrete point off the hyperboloid, a curvature that is not positive, or shapes that do not fit.

    Exact up to eps c X_0^2 |V|; tangent vectors come back unchanged up to that.

    Example:
        >>> lorentz_tangent(jnp.array([1.0, 0.0]), jnp.array([5.0, 2.0])).tolist()
        [0.0, 2.0]

    References:
        [nickel2018learning, eq. 10]
    """
    c, x, v = prepare_sheet(curvature, x=x, v=v)
    return v + c * lorentz_inner(x, v)[..., None] * x


def _square_length(space: Array, v: Array, c: Array) -> Array:
    """Minkowski square of the tangent vector over v: its part across the point, and its part along, shortened."""
    slope = over(space, time_of(space, c))
    square = dot(slope, slope)
    some = square > 0
    across = v - slope * dot(slope, v) / jnp.where(some, square, 1)
    return square * dot(across, across) + jnp.square(norm(v) / (jnp.sqrt(c) * time_of(space, c)))
