"""Distances that proposals are built on: edits between sequences of symbols, great circles between places."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import (
    as_float,
    as_floats,
    as_ids,
    as_labels,
    clip_to_int32,
    is_concrete,
    require_in_range,
    require_positive,
)
from nsx._numerics import safe_sqrt
from nsx._types import Array, ArrayLike, Float, Int

EARTH_RADIUS = 6371.0088
"""Mean radius of the Earth in km, (2 a + b) / 3 of the WGS 84 ellipsoid."""


def edit_distance(
    a: Int[ArrayLike, "... s"], b: Int[ArrayLike, "... t"], *, substitution: Float[ArrayLike, "n n"] | None = None
) -> Float[Array, "..."]:
    r"""Least cost of insertions, deletions and substitutions that turn one sequence of symbols into another.

    $$D_{ij} = \min(D_{i-1,j} + 1,\; D_{i,j-1} + 1,\; D_{i-1,j-1} + c(a_i, b_j)), \qquad
      c(x, y) = [x \ne y] \text{ unless given.}$$

    Args:
        a: symbols, shape `(..., s)`, integers of any type and size; a negative entry ends the sequence, whatever
            follows.
        b: the same, shape `(..., t)`; leading axes broadcast.
        substitution: cost c of putting column for row, shape `(n, n)`, >= 0, for symbols 0 to n - 1: close sounds
            may cost less than 1. None is Levenshtein's distance.

    Returns:
        Shape `(...)`, number of edits or their cost, floating. An empty sequence is as far from another as that one is
        long; two empty ones are at 0. Differentiable in `substitution` (along a cheapest path; ties share). NaN where a
        traced cost that is needed is negative, infinite or NaN, and for a traced symbol beyond their rows.

    Raises:
        TypeError: symbols that are not integers; signed ones against unsigned ones where one is traced.
        ValueError: no axis of symbols, leading axes that do not broadcast, costs that are not square, negative,
            infinite or NaN, a symbol beyond their rows.

    Exact, in O(s) steps over rows of t + 1: row i follows from row i - 1 by one running minimum. A metric without
    `substitution`; with it as far as the costs are one.

    Example:
        >>> kitten, sitting = jnp.array([10, 8, 19, 19, 4, 13]), jnp.array([18, 8, 19, 19, 8, 13, 6])
        >>> float(edit_distance(kitten, sitting))
        3.0

    References:
        [wagner1974string]
    """
    costs = None if substitution is None else _prepare_costs(substitution)
    first, second = _prepare_sequences(a, b, num_symbols=None if costs is None else len(costs))
    return _edit_distance(first, second, costs)


def normalised_edit_distance(a: Int[ArrayLike, "... s"], b: Int[ArrayLike, "... t"]) -> Float[Array, "..."]:
    r"""Levenshtein's distance over the length of the longer sequence.

    $$\bar d(a, b) = d(a, b) / \max(|a|, |b|) \in [0, 1].$$

    Args:
        a: symbols, shape `(..., s)`, as in `edit_distance`.
        b: the same, shape `(..., t)`.

    Returns:
        Shape `(...)`: 0 for equal sequences, two empty ones included; 1 where nothing is shared, as between an empty
        sequence and another.

    Raises:
        TypeError: as `edit_distance`.
        ValueError: as `edit_distance`.

    Exact. Not a metric: "ab" is 1 from "ba", and "aba" is 1/3 from both.

    Example:
        >>> round(float(normalised_edit_distance(jnp.array([2, 0, 19]), jnp.array([2, 0, 19, 18]))), 3)  # cat, cats
        0.25

    References:
        [levenshtein1966binary], [yujian2007normalized]
    """
    first, second = _prepare_sequences(a, b, num_symbols=None)
    distance = _edit_distance(first, second, None)
    longest = jnp.maximum(*jnp.broadcast_arrays(first.length, second.length))
    return distance / jnp.maximum(longest, 1).astype(distance.dtype)


def great_circle(
    x: Float[ArrayLike, "... 2"], y: Float[ArrayLike, "... 2"], *, radius: float = EARTH_RADIUS
) -> Float[Array, "..."]:
    r"""Distance between places along the surface of a sphere.

    $$d = 2 R \arctan\frac{\sqrt{h}}{\sqrt{1 - h}}, \qquad
      h = \sin^2\tfrac{\Delta\phi}{2} \cos^2\tfrac{\Delta\lambda}{2} + \cos^2\bar\phi\, \sin^2\tfrac{\Delta\lambda}{2},
      \qquad 1 - h = \cos^2\tfrac{\Delta\phi}{2} \cos^2\tfrac{\Delta\lambda}{2}
        + \sin^2\bar\phi\, \sin^2\tfrac{\Delta\lambda}{2},$$

    h the haversine, with mean latitude $\bar\phi$: two sums of squares, so nothing cancels at either end.

    Args:
        x: latitude in [-90, 90] and longitude (any real number) in degrees, shape `(..., 2)`.
        y: the same; leading axes broadcast.
        radius: R > 0 of the sphere; the Earth's in km unless given, 1 for the angle in radians.

    Returns:
        Shape `(...)`, in the unit of `radius`, between 0 and pi R. The gradient is 0 at coincident and at antipodal
        points, where there is none. NaN for a longitude that is NaN or infinite, and where a traced latitude is outside
        [-90, 90] or a traced radius not positive.

    Raises:
        ValueError: no last axis of length 2, a latitude outside [-90, 90], a radius that is no positive number.

    Exact on a sphere; biased by up to 0.6 % against the Earth's ellipsoid.

    Example:
        >>> amsterdam, denver = jnp.array([52.309, 4.764]), jnp.array([39.862, -104.673])
        >>> round(float(great_circle(amsterdam, denver)))
        7723

    References:
        [sinnott1984virtues]
    """
    radius = require_positive("radius", radius)
    if np.ndim(radius):
        raise ValueError(f"radius must be a number, got shape {np.shape(radius)}.")
    x, y, radius = as_floats(x=x, y=y, radius=radius)
    x = _prepare_places("x", x)
    y = _prepare_places("y", y)
    shape = _broadcast_lead(x.shape[:-1], y.shape[:-1])
    lat_x, lon_x = jnp.moveaxis(jnp.broadcast_to(x, (*shape, 2)), -1, 0)
    lat_y, lon_y = jnp.moveaxis(jnp.broadcast_to(y, (*shape, 2)), -1, 0)
    half = jnp.deg2rad((lat_x - lat_y) / 2)
    middle = jnp.deg2rad((lat_x + lat_y) / 2)
    turn = jnp.deg2rad((lon_x - lon_y) / 2)
    near = safe_sqrt((jnp.sin(half) * jnp.cos(turn)) ** 2 + (jnp.cos(middle) * jnp.sin(turn)) ** 2)
    far = safe_sqrt((jnp.cos(half) * jnp.cos(turn)) ** 2 + (jnp.sin(middle) * jnp.sin(turn)) ** 2)
    return 2 * radius * jnp.arctan2(near, far)


class _Sequences(NamedTuple):
    """Symbols `(..., s)`, anything behind the end, and the number of them before it, `(...)`."""

    symbols: Array
    length: Array


def _prepare_places(name: str, places: Array) -> Array:
    if places.ndim == 0 or places.shape[-1] != 2:
        raise ValueError(
            f"{name} must have latitude and longitude on its last axis, shape (..., 2), got {places.shape}."
        )
    advice = "Latitude comes first, in degrees."
    latitude = require_in_range(f"the latitude of {name}", places[..., 0], -90, 90, advice=advice)
    return jnp.stack([latitude, places[..., 1]], axis=-1)


def _prepare_sequences(a: ArrayLike, b: ArrayLike, *, num_symbols: int | None) -> tuple[_Sequences, _Sequences]:
    """Both sequences, with symbols that are equal where they were; where `num_symbols` is given they index its rows."""
    symbols_a, symbols_b = as_labels(a=a, b=b)
    for name, symbols in (("a", symbols_a), ("b", symbols_b)):
        if symbols.ndim == 0:
            raise ValueError(f"{name} must have its symbols on the last axis, got a scalar.")
    ends_a = _ends(a)
    ends_b = _ends(b)
    if num_symbols is not None:
        symbols_a = _as_rows("a", a, ends_a, num_symbols)
        symbols_b = _as_rows("b", b, ends_b, num_symbols)
    wider = max(symbols_a.dtype, symbols_b.dtype, key=lambda dtype: dtype.itemsize)
    return (
        _Sequences(symbols=symbols_a.astype(wider), length=_length(ends_a)),
        _Sequences(symbols=symbols_b.astype(wider), length=_length(ends_b)),
    )


def _ends(symbols: ArrayLike) -> Array | np.ndarray:
    """Where a symbol is negative, looked at in its own width; on the host where the symbols are."""
    if not is_concrete(symbols):
        return symbols < 0
    return (np.asarray(symbols) < 0).astype(bool)


def _as_rows(name: str, symbols: ArrayLike, ends: Array | np.ndarray, num_symbols: int) -> Array:
    """Symbols as rows of the costs; negative ones end the sequence, and any row does for them."""
    if is_concrete(symbols):
        symbols = np.where(ends, 0, symbols) if ends.size else np.zeros(ends.shape, np.int32)
    return clip_to_int32(as_ids(f"symbols of {name}, as rows of substitution,", symbols, high=num_symbols))


def _prepare_costs(substitution: ArrayLike) -> Array:
    costs = as_float("substitution", require_in_range("substitution", substitution, 0, np.inf, open_high=True))
    if costs.ndim != 2 or costs.shape[0] != costs.shape[1] or costs.size == 0:
        raise ValueError(f"substitution must be square, a cost for each pair of symbols, got shape {costs.shape}.")
    return costs


def _broadcast_lead(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        raise ValueError(f"leading axes {a} and {b} do not broadcast; insert axes of length 1.") from None


def _length(ends: Array | np.ndarray) -> Array:
    """Number of entries before the first end."""
    return jnp.sum(jnp.cumprod((~jnp.asarray(ends)).astype(jnp.int32), axis=-1), axis=-1)


def _edit_distance(a: _Sequences, b: _Sequences, costs: Array | None) -> Array:
    """All pairs of the broadcast leading axes."""
    lead = _broadcast_lead(a.length.shape, b.length.shape)

    def one(a: _Sequences, b: _Sequences) -> Array:
        return _edits(a, b, costs)

    if not lead:
        return one(a, b)

    def as_list(sequences: _Sequences) -> _Sequences:
        symbols = jnp.broadcast_to(sequences.symbols, lead + sequences.symbols.shape[-1:])
        length = jnp.broadcast_to(sequences.length, lead)
        pairs = math.prod(lead)
        return _Sequences(symbols=symbols.reshape(pairs, symbols.shape[-1]), length=length.reshape(pairs))

    return jax.vmap(one)(as_list(a), as_list(b)).reshape(lead)


def _edits(a: _Sequences, b: _Sequences, costs: Array | None) -> Array:
    """One pair: rows of the table by scan; within a row, D_j - j is a running minimum."""
    dtype = jnp.zeros(()).dtype if costs is None else costs.dtype
    places = jnp.arange(b.symbols.shape[0] + 1, dtype=dtype)

    def step(row: Array, entry: tuple[Array, Array]) -> tuple[Array, None]:
        i, symbol = entry
        cost = _costs(symbol, b.symbols, costs, dtype)
        best = jnp.minimum(row[1:] + 1, row[:-1] + cost)
        new = jax.lax.cummin(jnp.concatenate([row[:1] + 1, best]) - places) + places
        return jnp.where(i < a.length, new, row), None

    steps = jnp.arange(a.symbols.shape[0], dtype=a.length.dtype)
    row, _ = jax.lax.scan(step, places, (steps, a.symbols))
    return row[b.length]


def _costs(symbol: Array, others: Array, costs: Array | None, dtype: Any) -> Array:
    """Of putting the others for a symbol; NaN where there is no row for one."""
    if costs is None:
        return (others != symbol).astype(dtype)
    return costs.at[symbol, others].get(mode="fill", fill_value=jnp.nan)
