"""The hyperboloid: the chart whose points can be far. The time coordinate comes first and is recomputed when read."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import is_concrete
from nsx._types import Array, ArrayLike, Float
from nsx.poincare._ball import held_inside
from nsx.poincare._functions import norm, root_of_square, scaled_arcsinh, unit_and_size, within_reach
from nsx.poincare._points import dot, gap, halves, prepare, require_inside

HUGE = 1e9  # above it 1 + q^2 is q^2 in float64 too
SHEET = 1e-3  # relative error of the time coordinate above which a point is refused; more in half precision


def to_lorentz(x: Float[ArrayLike, "... d"], *, curvature: Float[ArrayLike, ""] = 1.0) -> Float[Array, "... d_plus_1"]:
    r"""The isometry from the ball to the hyperboloid.

    $$X = \frac{1}{1 - c|x|^2}\Bigl(\frac{1 + c|x|^2}{\sqrt c},\; 2x\Bigr),\qquad -X_0^2 + |\vec X|^2 = -1/c.$$

    Args:
        x: points of the ball, shape `(..., d)`.
        curvature: c > 0.

    Returns:
        Points of the hyperboloid, shape `(..., d + 1)`, time first. Traced points outside the ball, a traced curvature
        that is not positive, and NaN give NaN.

    Raises:
        ValueError: a concrete point on the boundary or outside, or a curvature that is not positive.

    Exact to a few units in the last place up to the last float before the boundary.

    Example:
        >>> np.asarray(to_lorentz(jnp.array([0.6, 0.0])), float).round(4).tolist()
        [2.125, 1.875, 0.0]

    References:
        [nickel2018learning, eq. 11]
    """
    c, x = prepare(curvature, positive_curvature=True, x=x)
    require_inside(c, x=x)
    factor = 2 / gap(x, c)
    return jnp.concatenate([(factor - 1) / jnp.sqrt(c), factor * x], axis=-1)


def from_lorentz(
    x: Float[ArrayLike, "... d_plus_1"], *, curvature: Float[ArrayLike, ""] = 1.0
) -> Float[Array, "... d"]:
    r"""The isometry from the hyperboloid to the ball.

    $$x = \frac{\vec X}{1 + \sqrt c\,X_0}.$$

    Args:
        x: points of the hyperboloid, shape `(..., d + 1)`, time first.
        curvature: c > 0.

    Returns:
        Points of the ball, shape `(..., d)`, held inside at the default margin of `project`: what is farther from the
        origin than 15.2 / sqrt(c) in float32 (35.4 in float64) comes back at that distance. A traced curvature that is
        not positive, and NaN, give NaN.

    Raises:
        ValueError: a concrete point off the hyperboloid, or a curvature that is not positive.

    Exact to a few units in the last place up to the margin.

    Example:
        >>> from_lorentz(to_lorentz(jnp.array([0.5, 0.0]))).round(6).tolist()
        [0.5, 0.0]

    References:
        [nickel2018learning, eq. 11]
    """
    c, x = prepare_sheet(curvature, x=x)
    space = within_reach(x[..., 1:], c, HUGE**2)  # at the margin long before
    return held_inside(space / (1 + hypotenuse(jnp.sqrt(c) * norm(space))), c)


def lorentz_inner(x: Float[ArrayLike, "... d_plus_1"], y: Float[ArrayLike, "... d_plus_1"]) -> Float[Array, "..."]:
    r"""The Minkowski product.

    $$\langle X, Y\rangle = -X_0 Y_0 + \vec X\cdot\vec Y.$$

    Args:
        x: vectors, shape `(..., d + 1)`, time first.
        y: vectors, broadcasting.

    Returns:
        Products, shape `(...)`; -1/c of a point of the hyperboloid with itself, -cosh(sqrt(c) d) / c of two. NaN gives
        NaN.

    Raises:
        ValueError: shapes that do not fit.

    Exact up to the rounding of its terms, which is larger than -1/c itself for far points: use `lorentz_distance` for
    distances.

    Example:
        >>> float(lorentz_inner(jnp.array([2.0, 1.0]), jnp.array([3.0, 1.0])))
        -5.0

    References:
        [nickel2018learning, eq. 1]
    """
    _, x, y = prepare(1.0, x=x, y=y)
    return jnp.sum(x[..., 1:] * y[..., 1:], axis=-1) - x[..., 0] * y[..., 0]


def lorentz_project(
    x: Float[ArrayLike, "... d_plus_1"], *, curvature: Float[ArrayLike, ""] = 1.0
) -> Float[Array, "... d_plus_1"]:
    r"""The point of the hyperboloid over the same space coordinates.

    $$(X_0, \vec X) \mapsto \Bigl(\sqrt{1/c + |\vec X|^2},\; \vec X\Bigr).$$

    Args:
        x: any vectors, shape `(..., d + 1)`, time first; the time coordinate is not read.
        curvature: c > 0.

    Returns:
        Points of the hyperboloid, shape `(..., d + 1)`. A traced curvature that is not positive, and NaN, give NaN.

    Raises:
        ValueError: a curvature that is not positive.

    Exact; nothing overflows before the coordinates do.

    Example:
        >>> np.asarray(lorentz_project(jnp.array([9.0, 2.0, 2.0])), float).round(4).tolist()
        [3.0, 2.0, 2.0]

    References:
        [nickel2018learning, sec. 3]
    """
    c, x = prepare(curvature, positive_curvature=True, x=x)
    space = x[..., 1:]
    return jnp.concatenate([time_of(space, c), space], axis=-1)


def lorentz_distance(
    x: Float[ArrayLike, "... d_plus_1"],
    y: Float[ArrayLike, "... d_plus_1"],
    *,
    curvature: Float[ArrayLike, ""] = 1.0,
) -> Float[Array, "..."]:
    r"""Geodesic distance of two points of the hyperboloid.

    $$d = \frac{2}{\sqrt c}\,\mathrm{arcsinh} S,\qquad
      S^2 = \frac c4\langle X - Y, X - Y\rangle
          = \sinh^2\frac{r - r'}{2} + \sinh r\,\sinh r'\,\frac{|\hat X - \hat Y|^2}{4},$$
    where r is sqrt(c) times the distance from the origin and a hat the unit vector of the space coordinates. The last
    form has no cancelling terms and is used where both points are far; near the origin, where unit vectors fail, an
    equal one in X - Y is.

    Args:
        x: points, shape `(..., d + 1)`, time first; only the space coordinates are read.
        y: points, broadcasting.
        curvature: c > 0.

    Returns:
        Distances, shape `(...)`. The gradient has no time component; it is 0 where y = x. There the second derivatives
        of the *square* of the distance are right, those of the distance itself huge. A traced curvature that is not
        positive, and NaN, give NaN.

    Raises:
        ValueError: a concrete point off the hyperboloid, a curvature that is not positive, or shapes that do not fit.

    Exact for coordinates up to 1e30 in float32 (70 from the origin; 1e300 and 690 in float64): on one axis within 4e-6,
    and for points as far as the ball can hold within 1e-6 relative. The angle between points that are farther is known
    to 1e-11 in float32 (1e-24 in float64), at distance r a length of 1e-11 sinh(r) across.

    Example:
        >>> x, y = (jnp.array([jnp.cosh(r), jnp.sinh(r)]) for r in (30.0, 31.5))  # both beyond the ball of float32
        >>> round(float(lorentz_distance(x, y)), 4)
        1.5

    References:
        [nickel2018learning, eq. 5]
    """
    c, x, y = prepare_sheet(curvature, x=x, y=y)
    return distance_of(x[..., 1:], y[..., 1:], c)[..., 0]


def prepare_sheet(curvature: ArrayLike, *, x: ArrayLike, **others: ArrayLike) -> tuple[Array, ...]:
    """`prepare`, and every concrete point (not the tangent vectors v) lies on the hyperboloid.

    Time coordinates are read no more after this, but NaN in one makes the whole point NaN.
    """
    c, *arrays = prepare(curvature, positive_curvature=True, x=x, **others)
    given = [jnp.asarray(array).dtype for array in (x, *others.values())]
    allowed = max([SHEET, *(4 * float(jnp.finfo(t).eps) for t in given if jnp.issubdtype(t, jnp.floating))])
    for name, array in zip(("x", *others), arrays, strict=True):
        if array.shape[-1] < 2:
            raise ValueError(f"{name} needs a time and at least one space coordinate, got shape {array.shape}.")
        if name == "v" or not (is_concrete(array) and is_concrete(c)):
            continue
        points = np.asarray(array, np.float64)
        top = np.maximum(np.max(np.abs(points), axis=-1, initial=0, keepdims=True), 1)
        with np.errstate(over="ignore", invalid="ignore"):  # NaN passes
            time = np.hypot(float(c) ** -0.5, top[..., 0] * np.linalg.norm(points[..., 1:] / top, axis=-1))
            off = np.abs(points[..., 0] - time) > allowed * time
        if np.any(off):
            raise ValueError(
                f"{name} must lie on the hyperboloid, time = sqrt(1/c + |space|^2) at curvature {float(c):g}, time "
                "first. Use `poincare.lorentz_project`, or `poincare.to_lorentz` for points of the ball."
            )
    return c, *(array + 0 * array[..., :1] for array in arrays)


@jax.custom_jvp
def over(x: Array, scale: Array) -> Array:
    """x / scale, whose derivative in jax holds 1 / scale^2 and underflows; this one does not."""
    return x / scale


@over.defjvp
def _(primals, tangents):
    x, scale = primals
    dx, dscale = tangents
    value = over(x, scale)
    return value, dx / scale - value * (dscale / scale)


def hypotenuse(q: Array) -> Array:
    """sqrt(1 + q^2) without overflow."""
    far = jnp.abs(q) > HUGE
    return jnp.where(far, jnp.abs(q), jnp.sqrt(1 + jnp.square(jnp.where(far, 0, q))))


def time_of(space: Array, c: Array) -> Array:
    """The time coordinate sqrt(1/c + |space|^2), the axis kept, without overflow."""
    length = norm(space)
    q = jnp.sqrt(c) * length
    return jnp.where(q > HUGE, length, hypotenuse(jnp.where(q > HUGE, 0, q)) / jnp.sqrt(c))


def distance_of(x: Array, y: Array, c: Array) -> Array:
    """Distance over the space coordinates, the axis kept."""
    root = jnp.sqrt(c)
    near = root * jnp.minimum(norm(x), norm(y)) < 1
    unit = jnp.zeros_like(x).at[..., 0].set(1) / root
    far_part = _half_chord_far(jnp.where(near, unit, x), jnp.where(near, unit, y), root)
    near_part = _half_chord_near(jnp.where(near, x, 0), jnp.where(near, y, 0), root)
    return 2 * scaled_arcsinh(jnp.where(near, near_part, far_part) / root, c)


def _half_chord_near(x: Array, y: Array, root: Array) -> Array:
    """S where one point is near the origin, from e = sqrt(c) (x - y) / sum of times and the nearer point a.

    S^2 = |e|^2 (1 + cosh d) / 2 + |a|^2 |e|^2 - <a, e>^2, with the size of e taken out of the root. The difference
    comes before the factor sqrt(c): rounded products would part neighbours, or join them.
    """
    time_x = hypotenuse(root * norm(x))
    time_y = hypotenuse(root * norm(y))
    unit, size = unit_and_size(over(root * (x - y), time_x + time_y))
    a = root * jnp.where(norm(x) < norm(y), x, y)
    cosh = time_x * time_y - dot(root * x, root * y)
    square = dot(unit, unit)
    return size * root_of_square(square * (1 + cosh) / 2 + dot(a, a) * square - dot(a, unit) ** 2)


def _half_chord_far(x: Array, y: Array, root: Array) -> Array:
    """S where both points are away from the origin: difference of radii and angle, both from x - y."""
    length_x = norm(x)
    length_y = norm(y)
    time_x = hypotenuse(root * length_x)
    time_y = hypotenuse(root * length_y)

    # along: sinh of the difference of the radii, then of its half
    slopes = over(root * length_x, time_x) + over(root * length_y, time_y)
    sinh = dot(over(root * (x - y), time_x), over(root * (x + y), time_y)) / slopes
    along = over(sinh, jnp.sqrt(2 * (1 + hypotenuse(sinh))))

    # across: the turn of the unit vectors, at the mean of the radii
    across = jnp.sqrt(root * length_x) * jnp.sqrt(root * length_y) * _turn(x, y, length_x, length_y) / 2
    return norm(jnp.concatenate([along, across], axis=-1))


def _turn(x: Array, y: Array, length_x: Array, length_y: Array) -> Array:
    """A vector as long as the difference of the unit vectors, 2 sin(phi / 2).

    Up to a right angle it is the part of x (of neighbours, of x - y) that is across y, over |x| cos(phi / 2): that part
    is found with half as many digits again as the coordinates have, since at distance r it counts e^r times.
    """
    step = x - y
    close = norm(step) < jnp.minimum(length_x, length_y) / 2
    lost = (x - (step - (step - x))) - (y + (step - x))  # what rounding took from x - y
    unit = over(y, length_y)
    base = jnp.where(close, step, x)
    # a power of two on a ray of doubled points, where nothing at all must be left
    ratio = jnp.where(close, dot(over(base, length_y), unit), over(length_x, length_y))
    rest = _minus_product(base, ratio, y) + jnp.where(close, lost, 0)
    across = rest - y * dot(over(rest, length_y), unit)
    across = across - y * dot(over(across, length_y), unit)  # rounding had left some of y

    cosine = dot(over(x, length_x), unit)
    acute = cosine > 0
    half = jnp.sqrt((1 + jnp.where(acute, cosine, 1)) / 2)
    return jnp.where(acute, over(across, length_x) / half, over(x, length_x) - unit)


def _minus_product(x: Array, ratio: Array, y: Array) -> Array:
    """x - ratio y where both nearly agree: products of halves are exact, and so are the differences from x."""
    ratio_high, ratio_low = halves(ratio)
    high, low = halves(y)
    return ((x - ratio_high * high) - ratio_high * low) - ratio_low * y
