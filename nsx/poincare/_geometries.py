"""Where the points of a hierarchy may live: the ball, the hyperboloid, or Euclidean space, free or capped.

A trainer needs three things of a geometry: how close points are and how their distance pulls on them, how to
put points back where they may be, and a chart in which they can be ranked. All are closed forms.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import jax.numpy as jnp

from nsx._checks import require_in_range, require_positive
from nsx._types import Array


class Geometry(NamedTuple):
    """Points of d coordinates and their distance; hashable, so static under jit.

    Attributes:
        pull: takes u `(b, 1, d)` and v `(b, k, d)`; returns closeness `(b, k)`, which is exp(-distance) up to a
            factor common to its row, and a function from slopes c `(b, k)` to the Riemannian gradients of
            sum_ij c_ij distance(u_i, v_ij): `(b, d)` and `(b, k, d)`, 0 where points coincide.
        settle: takes points `(..., d)` that a step has moved, returns the nearest allowed ones. None: all are.
        chart: takes points `(n, d)`; returns coordinates y `(n, d)` and factors `(n,)` such that for each u the order
            of |y_u - y_v|^2 factor_v in v is that of the distances.
    """

    pull: Callable
    settle: Callable | None
    chart: Callable


@lru_cache
def ball_geometry(*, margin: float = 1e-5) -> Geometry:
    r"""The Poincare ball of curvature -1.

    $$d(u, v) = 2 \operatorname{arsinh} \sqrt{q}, \quad e^{-d} = \bigl(\sqrt{1 + q} + \sqrt{q}\bigr)^{-2}, \quad
      q = \frac{|u - v|^2}{(1 - |u|^2)(1 - |v|^2)} .$$

    Args:
        margin: norms stay below 1 - margin, 0 < margin < 1.

    Returns:
        `Geometry` whose points are rows of norm < 1.

    Raises:
        ValueError: margin outside (0, 1).

    Exact gradients, divided by the square of the metric's factor 2 / (1 - |u|^2). A step moves along a straight line
    and not along the geodesic, as the published one does.

    Example:
        >>> u, v = jnp.zeros((1, 1, 2)), jnp.array([[[jnp.tanh(0.5), 0.0]]])
        >>> closeness, gradients = ball_geometry().pull(u, v)
        >>> round(float(closeness[0, 0]), 4), gradients(jnp.ones((1, 1)))[0].round(4).tolist()
        (0.3679, [[-0.5, 0.0]])

    References:
        [nickel2017poincare, eq. 1 and 4]
    """
    require_positive("margin", margin)
    require_in_range("margin", margin, 0, 1, open_high=True)
    return Geometry(_ball_pull, partial(_cap, limit=1 - margin), _ball_chart)


@lru_cache
def lorentz_geometry() -> Geometry:
    r"""The hyperboloid, by its d spatial coordinates: every array is a set of points, and none is near a border.

    $$u_0 = \sqrt{1 + |u|^2}, \qquad \cosh d(u, v) = u_0 v_0 - u \cdot v .$$

    Returns:
        `Geometry`, isometric to the ball: y = u / (1 + u_0) are the ball's coordinates.

    Exact gradients: the spatial part of the tangent vector. A step adds it and lets u_0 follow, which agrees with the
    exponential map to first order in its length.

    Example:
        >>> u, v = jnp.zeros((1, 1, 2)), jnp.array([[[jnp.sinh(1.0), 0.0]]])
        >>> closeness, gradients = lorentz_geometry().pull(u, v)
        >>> round(float(closeness[0, 0]), 4), gradients(jnp.ones((1, 1)))[0].round(4).tolist()
        (0.3679, [[-1.0, 0.0]])

    References:
        [nickel2018learning, eq. 3 and 9]
    """
    return Geometry(_lorentz_pull, None, _lorentz_chart)


@lru_cache
def euclidean_geometry(*, max_norm: float | None = None, squared: bool = False) -> Geometry:
    r"""Flat space.

    $$d(u, v) = |u - v| \quad\text{or}\quad |u - v|^2 .$$

    Args:
        max_norm: rows longer than this are shortened to it; None leaves them free.
        squared: use the squared distance.

    Returns:
        `Geometry`. With max_norm=1 and squared=True it is the Euclidean model of the first public code of Nickel and
        Kiela: no squared distance exceeds 4, so no negative can be pushed far.

    Raises:
        ValueError: max_norm <= 0.

    Exact.

    Example:
        >>> closeness, _ = euclidean_geometry().pull(jnp.zeros((1, 1, 1)), jnp.array([[[1.0], [2.0]]]))
        >>> round(float(closeness[0, 1] / closeness[0, 0]), 4)
        0.3679

    References:
        [nickel2017poincare, sec. 4.1]
    """
    if max_norm is not None:
        require_positive("max_norm", max_norm)
    settle = None if max_norm is None else partial(_cap, limit=max_norm)
    return Geometry(partial(_euclidean_pull, squared=squared), settle, _euclidean_chart)


def _ball_pull(u: Array, v: Array) -> tuple[Array, Callable]:
    """With w = u - v and s = |w|^2, grad_u d = a (s u + a w) / (2 sqrt(s (s + a b))), no difference of near numbers."""
    a, b = 1 - _square(u), 1 - _square(v)
    w = u - v
    s = _square(w)
    root = jnp.sqrt(s * (s + a * b))
    closeness = a * b / (a * b + 2 * (s + root))

    def gradients(slope: Array) -> tuple[Array, Array]:
        slope = slope * _half_inverse(root)
        along = jnp.sum(slope * a * s, axis=1, keepdims=True) * u[:, 0]
        du = along + jnp.sum((slope * a * a)[..., None] * w, axis=1)
        return du, (slope * b * s)[..., None] * v - (slope * b * b)[..., None] * w

    return closeness, gradients


def _ball_chart(x: Array) -> tuple[Array, Array]:
    return x, 1 / (1 - _square(x))


def _lorentz_pull(u: Array, v: Array) -> tuple[Array, Callable]:
    """The ball's q from the ball's coordinates; the gradient is (cosh(d) u - v) / sinh(d), with cosh(d) = 1 + 2 q."""
    (y, a), (z, b) = _lorentz_chart(u), _lorentz_chart(v)
    q = _square(y - z) * a * b
    root = jnp.sqrt(q * (1 + q))
    w = u - v

    def gradients(slope: Array) -> tuple[Array, Array]:
        slope = slope * _half_inverse(root)
        turn = 2 * slope * q
        du = jnp.sum(turn, axis=1, keepdims=True) * u[:, 0] + jnp.sum(slope[..., None] * w, axis=1)
        return du, turn[..., None] * v - slope[..., None] * w

    return 1 / (1 + 2 * (q + root)), gradients


def _lorentz_chart(x: Array) -> tuple[Array, Array]:
    time = jnp.sqrt(1 + _square(x))
    return x / (1 + time)[..., None], (1 + time) / 2


def _euclidean_pull(u: Array, v: Array, *, squared: bool) -> tuple[Array, Callable]:
    w = u - v
    s = _square(w)
    distance = s if squared else jnp.sqrt(s)

    def gradients(slope: Array) -> tuple[Array, Array]:
        slope = 2 * slope * (1.0 if squared else _half_inverse(distance))
        pulls = slope[..., None] * w
        return jnp.sum(pulls, axis=1), -pulls

    return jnp.exp(jnp.min(distance, axis=1, keepdims=True) - distance), gradients


def _euclidean_chart(x: Array) -> tuple[Array, Array]:
    return x, jnp.ones(x.shape[:-1], x.dtype)


def _square(x: Array) -> Array:
    return jnp.sum(x * x, axis=-1)


def _half_inverse(root: Array) -> Array:
    """1 / (2 root), and 0 where it is 0: points that coincide do not pull."""
    apart = root > 0
    return jnp.where(apart, 0.5 / jnp.where(apart, root, 1), 0)


def _cap(x: Array, *, limit: float) -> Array:
    """Rows no longer than the limit."""
    norm = jnp.sqrt(_square(x))[..., None]
    return x * jnp.where(norm > limit, limit / jnp.where(norm > limit, norm, 1), 1)
