"""Points of the ball: checks, common shape and dtype, and 1 - c|x|^2 to full relative accuracy."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import as_float, is_concrete, require_in_range
from nsx._types import Array, ArrayLike

WRITTEN_OUT = 128  # coordinates; beyond, compile time would grow past a second


def prepare(curvature: ArrayLike, *, positive_curvature: bool = False, **arrays: ArrayLike) -> tuple[Array, ...]:
    """The curvature, then the arrays: floating, of one dtype and rank, coordinates on the last axis."""
    values = {name: as_float(name, value) for name, value in arrays.items()}
    for name, value in values.items():
        if value.ndim == 0 or value.shape[-1] == 0:
            raise ValueError(f"{name} needs a last axis of coordinates, got shape {value.shape}.")
    shapes = [value.shape for value in values.values()]
    try:
        rank = len(np.broadcast_shapes(*(shape[:-1] for shape in shapes))) + 1
    except ValueError:
        rank = 0
    if not rank or len({shape[-1] for shape in shapes}) > 1:
        raise ValueError(
            f"{', '.join(values)} must share the number of coordinates on the last axis and broadcast before it, "
            f"got shapes {', '.join(map(str, shapes))}."
        )
    dtype = jnp.result_type(*values.values())
    lead = lambda value: value.astype(dtype).reshape((1,) * (rank - value.ndim) + value.shape)
    return as_curvature(curvature, dtype, positive=positive_curvature), *map(lead, values.values())


def as_curvature(curvature: ArrayLike, dtype: jnp.dtype, *, positive: bool = False) -> Array:
    """The curvature as a scalar of the points' own dtype; it never forces a precision on them."""
    if np.ndim(curvature) != 0:
        raise ValueError(f"curvature must be a scalar, got shape {np.shape(curvature)}. Use vmap for several.")
    advice = "c > 0 is the ball of radius 1/sqrt(c), sectional curvature -c" + ("." if positive else "; 0 is Euclid.")
    require_in_range("curvature", curvature, 0, np.inf, open_high=True, advice=advice)
    if positive and is_concrete(curvature) and not np.asarray(curvature) > 0:
        raise ValueError(f"curvature must be positive here, got {curvature}. {advice}")
    return jnp.asarray(curvature).astype(dtype)


def require_inside(c: Array, **points: Array) -> None:
    """Raise ValueError unless every concrete point lies inside the ball; traced ones pass and give NaN."""
    for name, point in points.items():
        if not (is_concrete(point) and is_concrete(c)):
            continue
        squares = float(c) * np.sum(np.asarray(point, np.float64) ** 2, axis=-1)
        if not np.all(squares < 1):
            raise ValueError(
                f"{name} must lie inside the ball, c|{name}|^2 < 1, got up to {np.max(squares):.9g} at curvature "
                f"{float(c):g}. Use `poincare.project` first."
            )


def _halves(x: Array) -> tuple[Array, Array]:
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
    top = jnp.asarray(2.0 ** (kind.nmant - 1), x.dtype)
    # the nearest power of two to c: c|x|^2 < 1 keeps every partial sum below 2^(nmant + 1) units
    power = jax.lax.reduce_precision(jnp.maximum(c, 2.0**-100), exponent_bits=kind.nexp, mantissa_bits=0)
    high, low = _halves(x)
    square, rest = _fixed_point_sum([high * high, 2 * high * low], [low * low], power * top)
    (c_high, c_low), (high, low) = _halves(c), _halves(square)
    whole, part = _fixed_point_sum([c_high * high, c_high * low, c_low * high], [c_low * low, c * rest], top)
    # divided by a 1 that the compiler cannot see: it keeps quotients, but repeats cheap sums for every coordinate
    return ((1 - whole) - part) / (power * (1 / power))


@_gap.defjvp
def _(primals, tangents):
    (x, c), (dx, dc) = primals, tangents
    dots = lambda y: jnp.sum(x * y, axis=-1, keepdims=True)
    return _gap(x, c), -2 * c * dots(dx) - dots(x) * dc


def gap(x: Array, c: Array) -> Array:
    """1 - c|x|^2 > 0, shape (..., 1); NaN on the boundary and outside."""
    value = _gap(x, c)
    return jnp.where(value > 0, value, jnp.nan)


def dot(x: Array, y: Array) -> Array:
    """Euclidean inner product over the coordinates, the axis kept."""
    return jnp.sum(x * y, axis=-1, keepdims=True)
