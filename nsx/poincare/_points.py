"""Points of the ball: checks, common shape and dtype, and 1 - c|x|^2 to full relative accuracy."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import as_floats, is_concrete, require_in_range, require_positive
from nsx._types import Array, ArrayLike
from nsx.poincare._functions import capped

WRITTEN_OUT = 128  # coordinates; beyond, compile time would grow past a second


def prepare(
    curvature: ArrayLike, *, positive_curvature: bool = False, one_per_point: tuple[str, ...] = (), **arrays: ArrayLike
) -> tuple[Array, ...]:
    """The curvature, then the arrays: floating, of one dtype and rank, coordinates on the last axis.

    Arrays named in `one_per_point` hold one number per point, shape (...), and get a last axis of 1.
    """
    values = dict(zip(arrays, as_floats(**arrays), strict=True))
    for name, value in values.items():
        if name not in one_per_point and (value.ndim == 0 or value.shape[-1] == 0):
            raise ValueError(f"{name} needs a last axis of coordinates, got shape {value.shape}.")
    values |= {name: values[name][..., None] for name in one_per_point}
    shapes = {name: value.shape for name, value in values.items()}
    try:
        rank = len(np.broadcast_shapes(*(shape[:-1] for shape in shapes.values()))) + 1
    except ValueError:
        rank = 0
    if not rank or len({shape[-1] for name, shape in shapes.items() if name not in one_per_point}) > 1:
        raise ValueError(
            f"{', '.join(values)} must share the number of coordinates on the last axis and broadcast before it, "
            f"got shapes {', '.join(str(np.shape(array)) for array in arrays.values())}."
        )
    values = {name: value.reshape((1,) * (rank - value.ndim) + value.shape) for name, value in values.items()}
    dtype = next(iter(values.values())).dtype
    return as_curvature(curvature, dtype, positive=positive_curvature), *values.values()


def as_curvature(curvature: ArrayLike, dtype: jnp.dtype, *, positive: bool = False) -> Array:
    """The curvature as a scalar of the points' own dtype, which it never widens; traced and outside its domain, NaN."""
    if np.ndim(curvature) != 0:
        raise ValueError(f"curvature must be a scalar, got shape {np.shape(curvature)}. Use vmap for several.")
    if is_concrete(curvature):
        with np.errstate(over="ignore"):  # what overflows is refused below
            curvature = np.asarray(curvature).astype(dtype)
    advice = "c > 0 is the ball of radius 1/sqrt(c), sectional curvature -c"
    if positive:
        curvature = require_positive("curvature", curvature, advice=f"Here it cannot be 0: {advice}.")
    else:
        advice = f"{advice}; 0 is Euclid."
        curvature = require_in_range("curvature", curvature, 0, np.inf, open_high=True, advice=advice)
    return jnp.asarray(curvature).astype(dtype)


def require_inside(c: Array, **points: Array) -> None:
    """Raise ValueError where a concrete point lies on the boundary or outside; NaN passes, and so do traced points."""
    for name, point in points.items():
        if not (is_concrete(point) and is_concrete(c)):
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            squares = float(c) * np.sum(np.asarray(point, np.float64) ** 2, axis=-1)
        if np.any(squares >= 1):
            raise ValueError(
                f"{name} must lie inside the ball, c|{name}|^2 < 1, got up to {np.nanmax(squares):.9g} at curvature "
                f"{float(c):g}. Use `poincare.project` first."
            )


def halves(x: Array) -> tuple[Array, Array]:
    """x as a sum of two numbers of half the digits, whose products are exact."""
    kind = jnp.finfo(x.dtype)
    high = jax.lax.reduce_precision(x, exponent_bits=kind.nexp, mantissa_bits=(kind.nmant - 1) // 2)
    return high, x - high


def _total(x: Array) -> Array:
    """Sum over the coordinates, the axis kept. Short axes are written out, since XLA's CPU sums store their terms."""
    if x.shape[-1] > WRITTEN_OUT:
        return jnp.sum(x, axis=-1, keepdims=True)
    parts = [x[..., i : i + 1] for i in range(x.shape[-1])]
    while len(parts) > 1:  # in pairs: the error of the rests must not grow with d
        parts = [sum(parts[i + 1 : i + 2], parts[i]) for i in range(0, len(parts), 2)]
    return parts[0]


def _fixed_point_sum(terms: list[Array], small: list[Array], scale: Array) -> tuple[Array, Array]:
    """Sum over the last axis as an exact multiple of 1 / scale (a power of two) and a rest, with the small terms."""
    unit = 1 / scale
    counts = [jnp.round(term * scale) for term in terms]
    rests = [term - count * unit for term, count in zip(terms, counts, strict=True)]
    return _total(sum(counts[1:], counts[0])) * unit, _total(sum(small, sum(rests[1:], rests[0])))


@jax.custom_jvp
@functools.partial(jax.jit, inline=True)  # else a call outside jit would dispatch every coordinate by itself
def _gap(x: Array, c: Array) -> Array:
    """1 - c|x|^2 with an error of about eps^2: the squares are summed in fixed point, their halves exact."""
    kind = jnp.finfo(x.dtype)

    # c below this has a lower half that is no normal number: count lengths in larger units
    small = c < kind.tiny / kind.eps
    x = x * jnp.where(small, 2.0**-32, 1).astype(x.dtype)
    c = c * jnp.where(small, 2.0**64, 1).astype(x.dtype)

    top = jnp.asarray(2.0 ** (kind.nmant - 1), x.dtype)
    x = x * jnp.where(c == 0, 0, 1).astype(x.dtype)  # at c = 0 the square of x may overflow, and 0 times it be NaN

    # |x|^2; the nearest power of two to c keeps every partial sum below 2^(nmant + 1) units, as c|x|^2 < 1
    power = jax.lax.reduce_precision(jnp.maximum(c, kind.tiny), exponent_bits=kind.nexp, mantissa_bits=0)
    high, low = halves(x)
    square, rest = _fixed_point_sum([high * high, 2 * high * low], [low * low], power * top)

    # c|x|^2
    c_high, c_low = halves(c)
    high, low = halves(square)
    whole, part = _fixed_point_sum([c_high * high, c_high * low, c_low * high], [c_low * low, c * rest], top)
    # divided by a 1 that the compiler cannot see: it keeps quotients, but repeats cheap sums for every coordinate
    return ((1 - whole) - part) / (power * (1 / power))


@_gap.defjvp
def _(primals, tangents):
    x, c = primals
    dx, dc = tangents
    return _gap(x, c), -2 * dot(c * x, dx) - square_norm(x) * dc


def gap(x: Array, c: Array) -> Array:
    """1 - c|x|^2 > 0, shape (..., 1); NaN on the boundary and outside."""
    value = _gap(x, c)
    return jnp.where(value > 0, value, jnp.nan)


def unchecked_gap(x: Array, c: Array) -> Array:
    """1 - c|x|^2, also where it is not positive."""
    return _gap(x, c)


def dot(x: Array, y: Array) -> Array:
    """Euclidean inner product over the coordinates, the axis kept."""
    return jnp.sum(x * y, axis=-1, keepdims=True)


def square_norm(x: Array) -> Array:
    """|x|^2, the axis kept; the largest number where it overflows, which points do at curvature 0 alone."""
    return capped(dot(x, x))
