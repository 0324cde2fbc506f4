"""Nearest words by cosine, and analogies by vector arithmetic."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nsx._checks import as_float, as_ids, require_count
from nsx._types import Array, ArrayLike, Float, Int

QUERIES_AT_ONCE = 128
SQUARED_SAFELY = 1e-15  # the square of a number between this and its inverse is an ordinary float32


class Neighbours(NamedTuple):
    """The k words nearest to each query, nearest first.

    Attributes:
        ids: int32 `(..., k)`.
        cosines: shape `(..., k)`, falling.
    """

    ids: Array
    cosines: Array


def nearest(vectors: Float[ArrayLike, "v d"], ids: Int[ArrayLike, "..."], *, k: int) -> Neighbours:
    r"""The k words whose vectors point most nearly the same way.

    $$\operatorname{top-}k_{j \ne i}\; \frac{v_i^\top v_j}{|v_i|\,|v_j|}.$$

    Args:
        vectors: one per word, shape `(v, d)`. A zero vector has cosine 0 with every other.
        ids: the words asked about, shape `(...)`, in [0, v), of any integer type.
        k: how many, 1 to v - 1; the word itself is left out.

    Returns:
        `Neighbours`, ids and cosines of shape `(..., k)`; equal cosines in order of id. Memory beyond the result:
        the normalised vectors and 128 rows of cosines.

    Raises:
        ValueError: k or an id out of range (a traced id gives ids of -1 and cosines of NaN), or vectors that are no
            table. A vector that is NaN may stand anywhere in the order, so the same comes for every query.
        TypeError: ids that are not integers.

    Exact up to rounding: every word is compared, no index is approximated.

    Example:
        >>> nearest(jnp.array([[1.0, 0.0], [3.0, 1.0], [0.0, 1.0]]), 0, k=2).ids.tolist()
        [1, 2]

    References:
        [mikolov2013efficient]
    """
    unit = _unit(vectors)
    ids = as_ids("ids", ids, high=unit.shape[0])
    _require_k(k, unit.shape[0] - 1)
    asked = ids.reshape(-1, 1)
    return _top(unit, _looked_up(unit, asked[:, 0]), asked, ids.shape, k)


def analogy(
    vectors: Float[ArrayLike, "v d"],
    a: Int[ArrayLike, "..."],
    b: Int[ArrayLike, "..."],
    c: Int[ArrayLike, "..."],
    *,
    k: int = 1,
) -> Neighbours:
    r"""Words that are to c as b is to a, by adding cosines (3CosAdd).

    $$\operatorname{top-}k_{j \notin \{a, b, c\}}\; \cos(v_j,\; \hat v_b - \hat v_a + \hat v_c), \qquad
      \hat v = v / |v|.$$

    Args:
        vectors: one per word, shape `(v, d)`.
        a: ids, shape `(...)`: man in "man is to king as woman is to ...".
        b: ids, the same shape: king.
        c: ids, the same shape: woman.
        k: how many answers, 1 to v - 3.

    Returns:
        `Neighbours`, ids and cosines of shape `(..., k)`, best first.

    Raises:
        ValueError: k or an id out of range, shapes that differ, or vectors that are no table. Traced ids and NaN as in
            `nearest`.
        TypeError: ids that are not integers.

    Exact up to rounding. Biased as a test of linear structure: a, b and c are left out of the answers, and
    without that c or b itself often wins.

    Example:
        >>> square = jnp.array([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.1], [-1.0, 1.0], [-0.5, -1.0]])
        >>> analogy(square, 0, 1, 2).ids.tolist()
        [3]

    References:
        [mikolov2013linguistic], [levy2014linguistic, eq. 1]
    """
    unit = _unit(vectors)
    words = [as_ids(name, ids, high=unit.shape[0]) for name, ids in (("a", a), ("b", b), ("c", c))]
    shapes = [w.shape for w in words]
    if len(set(shapes)) > 1:
        raise ValueError(f"a, b and c must have one shape, got {shapes}. Repeat the ids that are shared.")
    _require_k(k, unit.shape[0] - 3)
    asked = jnp.stack([w.reshape(-1).astype(jnp.int32) for w in words], axis=-1)
    first, second, third = (_looked_up(unit, asked[:, column]) for column in range(3))
    target = _unit(second - first + third)
    return _top(unit, target, asked, shapes[0], k)


@partial(jax.jit, static_argnames=("shape", "k"))
def _top(unit: Array, queries: Array, excluded: Array, shape: tuple[int, ...], k: int) -> Neighbours:
    """Best k rows of unit for each query but those excluded `(m, e)`, a few queries at a time."""

    def best(query_and_excluded: tuple[Array, Array]) -> tuple[Array, Array]:
        query, out = query_and_excluded
        cosines = (unit @ query).at[out].set(-jnp.inf)
        unknown = jnp.any(jnp.isnan(cosines))  # NaN has no place in an order
        best, ids = jax.lax.top_k(cosines, k)
        return jnp.where(unknown, jnp.nan, best), jnp.where(unknown, -1, ids)

    cosines, ids = jax.lax.map(best, (queries, excluded), batch_size=QUERIES_AT_ONCE)
    return Neighbours(ids.reshape(*shape, k), cosines.reshape(*shape, k))


def _unit(vectors: ArrayLike) -> Array:
    vectors = as_float("vectors", vectors)
    if vectors.ndim != 2:
        raise ValueError(f"vectors must have shape (v, d), one row per word, got {vectors.shape}.")
    size = jnp.max(jnp.abs(vectors), axis=-1, keepdims=True)
    extreme = (size > 1 / SQUARED_SAFELY) | ((size > 0) & (size < SQUARED_SAFELY))
    vectors = vectors / jnp.where(extreme, size, 1)
    norm = jnp.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / jnp.where(norm == 0, 1, norm)


def _looked_up(unit: Array, ids: Array) -> Array:
    """Rows of the table; NaN for a traced id that it does not have."""
    place = jnp.where(ids < 0, len(unit), ids)  # a negative place would count from the end
    return unit.at[place].get(mode="fill", fill_value=jnp.nan)


def _require_k(k: int, most: int) -> None:
    require_count("k", k)
    if k > most:
        raise ValueError(f"k must be at most {most} for these vectors, got {k}. Ask for fewer, or give more words.")
