"""The ball as a gyrovector space: Mobius addition, multiplication by a number, and the gyration between orders."""

from __future__ import annotations

import jax.numpy as jnp

from nsx._types import Array, ArrayLike, Float
from nsx.poincare._ball import held_inside
from nsx.poincare._functions import arcsinh_ratio, capped, tanh_ratio, unit_and_size
from nsx.poincare._points import dot, gap, prepare, require_inside, square_norm


def mobius_add(
    x: Float[ArrayLike, "... d"], y: Float[ArrayLike, "... d"], *, curvature: Float[ArrayLike, ""] = 1.0
) -> Float[Array, "... d"]:
    r"""Mobius addition: y moved by the translation that takes the origin to x.

    $$x \oplus_c y = \frac{(1 + 2c\langle x, y\rangle + c|y|^2)\,x + (1 - c|x|^2)\,y}
                          {1 + 2c\langle x, y\rangle + c^2|x|^2|y|^2}
                   = \frac{\alpha s + c|s|^2 x}{\alpha\beta + c|s|^2},\quad s = x + y,$$
    with alpha, beta = 1 - c|x|^2, 1 - c|y|^2: the second form is computed, for no term of it cancels.

    Args:
        x: points, shape `(..., d)`.
        y: points of the same dimension, broadcasting.
        curvature: c >= 0; 0 gives x + y.

    Returns:
        Points, shape `(..., d)`, held inside at the default margin of `project`. Not commutative, not associative:
        `gyration` mends both. Traced points outside the ball, a traced curvature outside its domain, and NaN give NaN.

    Raises:
        ValueError: a concrete point on the boundary or outside, a negative curvature, or shapes that do not fit.

    Exact to a few units in the last place of each coordinate; near the boundary that is eps / (1 - |x|) of hyperbolic
    length, which no chart of the ball avoids: `to_lorentz` does.

    Example:
        >>> x, y = jnp.array([0.5, 0.0]), jnp.array([0.0, 0.5])
        >>> print(*(np.asarray(z, float).round(4) for z in (mobius_add(x, y), mobius_add(y, x))))  # the order matters
        [0.5882 0.3529] [0.3529 0.5882]

    References:
        [ungar2008gyrovector], [ganea2018hyperbolic, sec. 2]
    """
    c, x, y = prepare(curvature, x=x, y=y)
    require_inside(c, x=x, y=y)
    return held_inside(add(x, y, c), c)


def add(x: Array, y: Array, c: Array) -> Array:
    """`mobius_add` of prepared arrays, not yet held inside."""
    total = x + y
    gap_x = gap(x, c)
    square = c * square_norm(total)
    return (gap_x * total + square * x) / (gap_x * gap(y, c) + square)


def mobius_scale(
    scale: Float[ArrayLike, "..."], x: Float[ArrayLike, "... d"], *, curvature: Float[ArrayLike, ""] = 1.0
) -> Float[Array, "... d"]:
    r"""Multiplication by a number: the point on the ray of x at `scale` times its distance from the origin.

    $$r \otimes_c x = \frac{1}{\sqrt c}\tanh\bigl(r\,\mathrm{artanh}(\sqrt c\,|x|)\bigr)\frac{x}{|x|}.$$

    Args:
        scale: r, one number or one per point, shape `(...)`.
        x: points, shape `(..., d)`.
        curvature: c >= 0; 0 gives r x.

    Returns:
        Points, shape `(..., d)`, held inside at the default margin of `project`. Traced points outside, a traced
        curvature outside its domain, and NaN give NaN.

    Raises:
        ValueError: a concrete point on the boundary or outside, a negative curvature, or shapes that do not fit.

    Exact: artanh is found from 1 - c|x|^2, so nothing saturates before the margin.

    Example:
        >>> x = jnp.array([0.5, 0.0])
        >>> [np.asarray(mobius_scale(r, x), float).round(4).tolist() for r in (0.5, 1.0, 2.0)]
        [[0.2679, 0.0], [0.5, 0.0], [0.8, 0.0]]

    References:
        [ungar2008gyrovector], [ganea2018hyperbolic, sec. 2]
    """
    c, x, scale = prepare(curvature, one_per_point=("scale",), x=x, scale=scale)
    require_inside(c, x=x)
    gap_x = gap(x, c)
    square = c * square_norm(x)
    angle = scale * arcsinh_ratio(square / gap_x) / jnp.sqrt(gap_x)  # of the result, over sqrt(c) |x|
    return held_inside(angle * tanh_ratio(capped(square * capped(angle**2))) * x, c)


def gyration(
    x: Float[ArrayLike, "... d"],
    y: Float[ArrayLike, "... d"],
    v: Float[ArrayLike, "... d"],
    *,
    curvature: Float[ArrayLike, ""] = 1.0,
) -> Float[Array, "... d"]:
    r"""The rotation by which Mobius addition fails to associate: gyr[x, y] v.

    $$\mathrm{gyr}[x, y]\,v = \ominus(x \oplus y) \oplus \bigl(x \oplus (y \oplus v)\bigr)
      = v + 2\,\frac{p\,Kv + K^2 v}{\alpha\beta + c|x + y|^2},$$
    with p = 1 + c<x, y> and Kv = c (x<y, v> - y<x, v>), a rotation in the plane of x and y.

    Args:
        x: points, shape `(..., d)`.
        y: points of the same dimension, broadcasting.
        v: vectors to turn (any length), broadcasting.
        curvature: c >= 0; 0 turns nothing.

    Returns:
        Vectors of the length of v, shape `(..., d)`. Traced points outside the ball, a traced curvature outside its
        domain, and NaN give NaN.

    Raises:
        ValueError: a concrete x or y on the boundary or outside, a negative curvature, or shapes that do not fit.

    Exact to a few units in the last place: lengths are kept also where x and y sit at the boundary.

    Example:
        >>> x, y = jnp.array([0.5, 0.0]), jnp.array([0.0, 0.5])
        >>> print(np.asarray(gyration(x, y, jnp.array([1.0, 0.0])), float).round(4))  # by -28 degrees
        [ 0.8824 -0.4706]

    References:
        [ungar2008gyrovector]
    """
    c, x, y, v = prepare(curvature, x=x, y=y, v=v)
    require_inside(c, x=x, y=y)
    return rotate(x, y, v, c)


def rotate(x: Array, y: Array, v: Array, c: Array) -> Array:
    """`gyration` of prepared arrays; x + y stands for y so that nearly opposite points lose nothing."""
    total = x + y
    gap_x = gap(x, c)
    gap_y = gap(y, c)
    square = c * square_norm(total)

    unit, size = unit_and_size(v)  # a rotation is linear, and the products of a unit with points do not overflow

    def turn(w: Array) -> Array:
        """The generator K of rotations in the plane of x and y."""
        return x * (c * dot(total, w)) - total * (c * dot(x, w))

    turned = turn(unit)
    change = 2 * ((gap_x + gap_y + square) / 2 * turned + turn(turned)) / (gap_x * gap_y + square)
    return v + size * change
