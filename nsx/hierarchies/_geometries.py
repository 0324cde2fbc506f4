"""Where the points of a hierarchy may live: the ball, the hyperboloid, or Euclidean space, free or capped.

A trainer needs three things of a geometry: how close points are and how their distance pulls on them, how to
put points back where they may be, and a chart in which they can be ranked. All are closed forms.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nsx._checks import require_in_range, require_positive
from nsx._types import Array, DTypeLike
from nsx.poincare import lorentz_distance, lorentz_project

UNROLLED = 16  # coordinates added in one pass
HUGE = 2.0**60  # squares of larger coordinates may overflow in float32
HUGE_SHIFT = 2.0**-96  # takes all of them, up to 2^128, to the middle of float32; a power of two does not round
MARGIN_IN_EPS = 4  # a row capped nearer to the boundary than this could round onto it


class Scale(NamedTuple):
    """How a geometry measures; a pytree of scalars.

    Attributes:
        curvature: c > 0 of the ball and the hyperboloid; None in flat space.
        sharpness: p > 0 with e^(-distance / temperature) = (e^-theta)^p, where theta is the distance in units of the
            radius of curvature, sqrt(c) distance, and the distance itself in flat space; None stands for 1.
    """

    curvature: Array | None
    sharpness: Array | None


class Chart(NamedTuple):
    """Coordinates in which nodes are ranked.

    For each node u, the order of its distances to all v is that of |place_u - place_v|^2 weight_v, or, with heights,
    weight_u |place_u - place_v|^2 weight_v / 4 + sinh^2((height_u - height_v) / 2).

    Attributes:
        place: `(d, n)`, coordinates first, so that sums over them are long loops.
        weight: `(n,)`, >= 0.
        height: `(n,)`, or None.
    """

    place: Array
    weight: Array
    height: Array | None


class Pull(NamedTuple):
    """How points u `(b, 1, d)` and v `(b, k, d)` stand to each other.

    Attributes:
        closeness: `(b, k)`, exp(-distance / temperature) up to a factor common to its row.
        log_first: `(b,)`, the logarithm of its first column, finite where that underflows.
        gradients: takes slopes `(b, k)`; returns the Riemannian gradients of sum_ij slope_ij distance(u_i, v_ij),
            `(b, d)` and `(b, k, d)`, 0 where points coincide.
    """

    closeness: Array
    log_first: Array
    gradients: Callable[[Array], tuple[Array, Array]]


class Geometry(NamedTuple):
    """Points of d coordinates and their distance; hashable, so static under jit.

    Attributes:
        pull: takes u `(b, 1, d)`, v `(b, k, d)` and a `Scale`, returns their `Pull`.
        settle: takes points `(..., d)` that a step has moved and a curvature, returns the nearest allowed ones. None:
            all are.
        chart: takes points `(n, d)` and a curvature, returns a `Chart`; NaN in it where a point is not allowed.
        curved: whether it has a curvature; where not, None is passed for one.
    """

    pull: Callable
    settle: Callable | None
    chart: Callable
    curved: bool


@lru_cache
def ball_geometry(*, margin: float = 1e-5) -> Geometry:
    r"""The Poincare ball of curvature c, radius 1/sqrt(c).

    $$d(u, v) = \frac{2}{\sqrt c} \operatorname{arsinh} \sqrt{q}, \quad
      e^{-\sqrt c\,d} = \bigl(\sqrt{1 + q} + \sqrt{q}\bigr)^{-2}, \quad
      q = \frac{c\,|u - v|^2}{(1 - c|u|^2)(1 - c|v|^2)} .$$

    Args:
        margin: norms stay below (1 - margin) / sqrt(c), 0 < margin < 1; never nearer than 4 eps of the points' dtype,
            which in half precision is the wider one.

    Returns:
        `Geometry` whose points are rows of norm < 1/sqrt(c).

    Raises:
        ValueError: margin outside (0, 1).

    Exact gradients, divided by the square of the metric's factor 2 / (1 - c|u|^2); that gap is summed in the points'
    own precision, which in float32 leaves it 1 % at the default margin (`poincare.distance` sums it without rounding).
    A step moves along a straight line and not along the geodesic, as the published one does.

    Example:
        >>> u, v = jnp.zeros((1, 1, 2)), jnp.array([[[jnp.tanh(0.5), 0.0], [jnp.tanh(1.0), 0.0]]])
        >>> pull = ball_geometry().pull(u, v, Scale(jnp.array(1.0), None))  # at distances 1 and 2
        >>> du, _ = pull.gradients(jnp.array([[1.0, 0.0]]))
        >>> np.asarray(pull.closeness, float).round(4).tolist(), du.round(4).tolist()
        ([[0.3679, 0.1353]], [[-0.5, 0.0]])

    References:
        [nickel2017poincare, eq. 1 and 4]
    """
    require_positive("margin", margin)
    require_in_range("margin", margin, 0, 1, open_high=True)
    return Geometry(_ball_pull, partial(_settle_in_ball, margin=float(margin)), _ball_chart, curved=True)


@lru_cache
def lorentz_geometry() -> Geometry:
    r"""The hyperboloid, by its d spatial coordinates: every array is a set of points, and none is near a border.

    $$u_0 = \sqrt{1/c + |u|^2}, \qquad \cosh \sqrt c\,d(u, v) = c\,(u_0 v_0 - u \cdot v) .$$

    Returns:
        `Geometry`, isometric to the ball: y = u / (1 + sqrt(c) u_0) are the ball's coordinates.

    Exact: distances as `poincare.lorentz_distance`, also of points farther than the ball can hold, and the spatial
    part of the tangent vector. A step adds it and lets u_0 follow, which agrees with the exponential map to first
    order in its length.

    Example:
        >>> u, v = jnp.zeros((1, 1, 2)), jnp.array([[[jnp.sinh(1.0), 0.0], [jnp.sinh(2.0), 0.0]]])
        >>> pull = lorentz_geometry().pull(u, v, Scale(jnp.array(1.0), None))  # at distances 1 and 2
        >>> du, _ = pull.gradients(jnp.array([[1.0, 0.0]]))
        >>> np.asarray(pull.closeness, float).round(4).tolist(), du.round(4).tolist()
        ([[1.0, 0.3679]], [[-1.0, 0.0]])

    References:
        [nickel2018learning, eq. 3 and 9]
    """
    return Geometry(_lorentz_pull, None, _lorentz_chart, curved=True)


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
        >>> line = jnp.array([[[1.0], [2.0]]])
        >>> pull = euclidean_geometry().pull(jnp.zeros((1, 1, 1)), line, Scale(None, None))
        >>> du, _ = pull.gradients(jnp.array([[1.0, 0.0]]))
        >>> np.asarray(pull.closeness, float).round(4).tolist(), du.tolist()
        ([[1.0, 0.3679]], [[-1.0]])

    References:
        [nickel2017poincare, sec. 4.1]
    """
    if max_norm is not None:
        require_positive("max_norm", max_norm)
    settle = None if max_norm is None else partial(_settle_in_flat, max_norm=float(max_norm))
    return Geometry(partial(_euclidean_pull, squared=bool(squared)), settle, _euclidean_chart, curved=False)


# --- The ball


def _ball_pull(u: Array, v: Array, scale: Scale) -> Pull:
    """With w = u - v and s = |w|^2, grad_u d = a (c s u + a w) / (2 sqrt(s (c s + a b))): no near numbers meet."""
    c = scale.curvature
    a = 1 - c * _square(u)
    b = 1 - c * _square(v)
    w = u - v
    s = _square(w)
    root = jnp.sqrt(s * (c * s + a * b))
    closeness = a * b / (a * b + 2 * (c * s + jnp.sqrt(c) * root))
    log_first = jnp.log(closeness[:, 0])
    if scale.sharpness is not None:
        nearest = jnp.max(closeness, axis=1, keepdims=True)  # over it, no row underflows whole
        closeness = (closeness / nearest) ** scale.sharpness
        log_first = scale.sharpness * (log_first - jnp.log(nearest[:, 0]))

    def gradients(slope: Array) -> tuple[Array, Array]:
        slope = slope * _half_inverse(root)
        along = jnp.sum(slope * a * (c * s), axis=1, keepdims=True) * u[:, 0]
        du = along + jnp.sum((slope * a * a)[..., None] * w, axis=1)
        dv = (slope * b * (c * s))[..., None] * v - (slope * b * b)[..., None] * w
        return du, dv

    return Pull(closeness, log_first, gradients)


def _settle_in_ball(x: Array, curvature: Array, *, margin: float) -> Array:
    margin = max(margin, MARGIN_IN_EPS * float(jnp.finfo(x.dtype).eps))
    return _cap(x, (1 - margin) / jnp.sqrt(curvature))


def _ball_chart(x: Array, curvature: Array) -> Chart:
    gap = 1 - curvature * _square(x)
    return Chart(x.T, jnp.where(gap > 0, 1 / gap, jnp.nan), None)


# --- The hyperboloid


def _lorentz_pull(u: Array, v: Array, scale: Scale) -> Pull:
    """With theta = sqrt(c) d, grad_u d = sqrt(c) ((u - v) / sinh theta + tanh(theta / 2) u)."""
    c = scale.curvature
    theta = jnp.sqrt(c) * lorentz_distance(_lifted(u, c), _lifted(v, c), curvature=c)

    def gradients(slope: Array) -> tuple[Array, Array]:
        slope = slope * jnp.sqrt(c)
        apart = theta > 0
        across = (slope * jnp.where(apart, 1 / jnp.sinh(jnp.where(apart, theta, 1)), 0))[..., None] * (u - v)
        along = slope * jnp.tanh(theta / 2)
        du = jnp.sum(along, axis=1, keepdims=True) * u[:, 0] + jnp.sum(across, axis=1)
        return du, along[..., None] * v - across

    return _falling(theta, scale.sharpness, gradients)


def _lifted(x: Array, curvature: Array) -> Array:
    """Points of the hyperboloid over their space coordinates."""
    return lorentz_project(jnp.concatenate([jnp.zeros_like(x[..., :1]), x], axis=-1), curvature=curvature)


def _lorentz_chart(x: Array, curvature: Array) -> Chart:
    """Direction, sinh of the height, height: polar coordinates keep their digits, within a rounding of the direction.

    That is a distance of 1 at radius log(1 / eps), 16 in float32 and 36 in float64: farther out near nodes of one
    direction may be ranked in the wrong order.
    """
    top = jnp.max(jnp.abs(x), axis=-1, keepdims=True)
    top = jnp.where(top > 0, top, 1)
    length = jnp.sqrt(_square(x / top))[..., None]
    direction = x / top / jnp.where(length > 0, length, 1)
    sinh = (jnp.sqrt(curvature) * (top * length))[..., 0]
    return Chart(direction.T, sinh, jnp.arcsinh(sinh))


# --- Flat space


def _euclidean_pull(u: Array, v: Array, scale: Scale, *, squared: bool) -> Pull:
    w = u - v
    s = _square(w)
    distance = s if squared else jnp.sqrt(s)

    def gradients(slope: Array) -> tuple[Array, Array]:
        slope = 2 * slope * (1.0 if squared else _half_inverse(distance))
        pulls = slope[..., None] * w
        return jnp.sum(pulls, axis=1), -pulls

    return _falling(distance, scale.sharpness, gradients)


def _settle_in_flat(x: Array, curvature: None, *, max_norm: float) -> Array:
    del curvature
    return _cap(x, max_norm)


def _euclidean_chart(x: Array, curvature: None) -> Chart:
    del curvature
    return Chart(x.T, jnp.ones(x.shape[:-1], x.dtype), None)


# --- Shared


def separations(chart: Chart, anchors: Array) -> Array:
    """What ranks all nodes for each anchor, `(b, n)`: see `Chart`."""
    squares = _squares_apart(chart.place, anchors) * chart.weight[None]
    if chart.height is None:
        return squares
    own = chart.weight[anchors][:, None]
    apart = jnp.sinh((chart.height[anchors][:, None] - chart.height[None]) / 2) ** 2
    return own / jnp.maximum(own, 1) * squares / 4 + apart / jnp.maximum(own, 1)


def _squares_apart(place: Array, anchors: Array) -> Array:
    """Squared differences to every node, `(b, n)`, summed coordinate by coordinate: one long loop each."""
    own = place[:, anchors]

    def add(i: int | Array, total: Array) -> Array:
        return total + (own[i][:, None] - place[i][None]) ** 2

    start = jnp.zeros((anchors.size, place.shape[1]), place.dtype)
    return jax.lax.fori_loop(0, place.shape[0], add, start, unroll=min(UNROLLED, place.shape[0]))


def _falling(distance: Array, sharpness: Array | None, gradients: Callable) -> Pull:
    """Closeness exp(-sharpness distance), each row over its nearest."""
    beyond = jnp.min(distance, axis=1, keepdims=True) - distance
    beyond = beyond if sharpness is None else sharpness * beyond
    return Pull(jnp.exp(beyond), beyond[:, 0], gradients)


def _square(x: Array) -> Array:
    return jnp.sum(x * x, axis=-1)


def _half_inverse(root: Array) -> Array:
    """1 / (2 root), and 0 where it is 0: points that coincide do not pull."""
    apart = root != 0
    return jnp.where(apart, 0.5 / jnp.where(apart, root, 1), 0)


def _cap(x: Array, limit: Array | float) -> Array:
    """Rows no longer than the limit."""
    wide = x.astype(working_type(x.dtype))
    most = jnp.max(jnp.abs(wide), axis=-1, keepdims=True)
    shift = jnp.where(most > HUGE, HUGE_SHIFT, 1).astype(wide.dtype)  # else the square of a huge step is infinite, and
    norm = jnp.sqrt(_square(wide * shift))[..., None]  # the limit over its root sends the row to the origin
    long = norm > limit * shift
    return jnp.where(long, wide * shift * (limit / jnp.where(long, norm, 1)), wide).astype(x.dtype)


def working_type(dtype: DTypeLike) -> DTypeLike:
    """What points are worked with in: half precision is only stored."""
    return jnp.float32 if jnp.finfo(dtype).bits < 32 else dtype
