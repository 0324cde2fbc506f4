"""Distances that proposals are built on: edits between sequences of symbols, great circles between places."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import as_float, require_in_range, require_positive
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
        a: symbols, shape `(..., s)`, integer; a negative entry ends the sequence, whatever follows.
        b: the same, shape `(..., t)`; leading axes broadcast.
        substitution: cost c of putting column for row, shape `(n, n)`, >= 0, for symbols 0 to n - 1: close sounds
            may cost less than 1. None is Levenshtein's distance.

    Returns:
        Shape `(...)`, number of edits or their cost, floating. An empty sequence is as far from another as that one is
        long; two empty ones are at 0. Differentiable in `substitution` (along a cheapest path; ties share).

    Raises:
        TypeError: symbols that are not integers.
        ValueError: no axis of symbols, leading axes that do not broadcast, costs that are not square, negative or NaN,
            a symbol beyond their rows (concrete values only; a traced one is taken as n - 1).

    Exact, in O(s) steps over rows of t + 1: row i follows from row i - 1 by one running minimum. A metric without
    `substitution`; with it as far as the costs are one.

    Example:
        >>> float(edit_distance(jnp.array([10, 8, 19, 19, 4, 13]), jnp.array([18, 8, 19, 19, 8, 13, 6])))  # kitten
        3.0

    References:
        [wagner1974string]
    """
    a, b = _as_symbols("a", a), _as_symbols("b", b)
    costs = None if substitution is None else _as_costs(substitution, a, b)
    lead = _broadcast_lead(a.shape[:-1], b.shape[:-1])
    one = lambda a, b: _edits(a, b, costs)
    if not lead:
        return one(a, b)
    rows = (jnp.broadcast_to(x, lead + x.shape[-1:]).reshape(-1, x.shape[-1]) for x in (a, b))
    return jax.vmap(one)(*rows).reshape(lead)


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
    a, b = _as_symbols("a", a), _as_symbols("b", b)
    longest = jnp.maximum(*jnp.broadcast_arrays(_length(a), _length(b)))
    distance = edit_distance(a, b)
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
        points, where there is none.

    Raises:
        ValueError: no last axis of length 2, a latitude outside [-90, 90] or a radius that is not positive (concrete
            values only).

    Exact on a sphere; biased by up to 0.6 % against the Earth's ellipsoid.

    Example:
        >>> amsterdam, denver = jnp.array([52.309, 4.764]), jnp.array([39.862, -104.673])
        >>> round(float(great_circle(amsterdam, denver)))
        7723

    References:
        [sinnott1984virtues]
    """
    require_positive("radius", radius)
    x, y = _as_places("x", x), _as_places("y", y)
    shape = _broadcast_lead(x.shape[:-1], y.shape[:-1])
    (lat_x, lon_x), (lat_y, lon_y) = (jnp.moveaxis(jnp.broadcast_to(p, (*shape, 2)), -1, 0) for p in (x, y))
    half = jnp.deg2rad((lat_x - lat_y) / 2)
    middle, turn = jnp.deg2rad((lat_x + lat_y) / 2), jnp.deg2rad((lon_x - lon_y) / 2)
    near = _hypotenuse(jnp.sin(half) * jnp.cos(turn), jnp.cos(middle) * jnp.sin(turn))
    far = _hypotenuse(jnp.cos(half) * jnp.cos(turn), jnp.sin(middle) * jnp.sin(turn))
    return 2 * radius * jnp.arctan2(near, far)


def _hypotenuse(a: Array, b: Array) -> Array:
    """sqrt(a^2 + b^2), with gradient 0 at the origin."""
    square = a**2 + b**2
    some = square > 0
    return jnp.where(some, jnp.sqrt(jnp.where(some, square, 1)), 0)


def _as_places(name: str, value: ArrayLike) -> Array:
    places = as_float(name, value)
    if places.ndim == 0 or places.shape[-1] != 2:
        raise ValueError(
            f"{name} must have latitude and longitude on its last axis, shape (..., 2), got {places.shape}."
        )
    require_in_range(f"the latitude of {name}", places[..., 0], -90, 90, advice="Latitude comes first, in degrees.")
    return places


def _as_symbols(name: str, value: ArrayLike) -> Array:
    symbols = jnp.asarray(value)
    if not jnp.issubdtype(symbols.dtype, jnp.integer):
        raise TypeError(f"{name} must hold integers (symbols as ids, -1 after the end), got dtype {symbols.dtype}.")
    if symbols.ndim == 0:
        raise ValueError(f"{name} must have its symbols on the last axis, got a scalar.")
    return symbols.astype(jnp.int32)


def _as_costs(substitution: ArrayLike, *symbols: Array) -> Array:
    costs = as_float("substitution", substitution)
    if costs.ndim != 2 or costs.shape[0] != costs.shape[1]:
        raise ValueError(f"substitution must be square, a cost for each pair of symbols, got shape {costs.shape}.")
    require_in_range("substitution", costs, 0, np.inf, open_high=True)
    for values in symbols:
        if values.size:
            require_in_range("a symbol", values, -np.inf, len(costs) - 1, advice="substitution has no row for it.")
    return costs


def _broadcast_lead(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        raise ValueError(f"leading axes {a} and {b} do not broadcast; insert axes of length 1.") from None


def _length(symbols: Array) -> Array:
    """Number of entries before the first negative one."""
    return jnp.sum(jnp.cumprod((symbols >= 0).astype(jnp.int32), axis=-1), axis=-1)


def _edits(a: Array, b: Array, costs: Array | None) -> Array:
    """One pair: rows of the table by scan; within a row, D_j - j is a running minimum."""
    dtype = jnp.result_type(float) if costs is None else costs.dtype
    places = jnp.arange(b.shape[0] + 1, dtype=dtype)
    length_a, length_b = _length(a), _length(b)

    def step(row: Array, entry: tuple[Array, Array]) -> tuple[Array, None]:
        i, symbol = entry
        cost = (b != symbol).astype(dtype) if costs is None else costs[jnp.clip(symbol, 0), jnp.clip(b, 0)]
        best = jnp.minimum(row[1:] + 1, row[:-1] + cost)
        new = jax.lax.cummin(jnp.concatenate([row[:1] + 1, best]) - places) + places
        return jnp.where(i < length_a, new, row), None

    row, _ = jax.lax.scan(step, places, (jnp.arange(a.shape[0]), a))
    return row[length_b]
