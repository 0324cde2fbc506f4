"""Nearest words by cosine, and analogies by vector arithmetic."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import as_float, is_concrete, require_count
from nsx._types import Array, ArrayLike, Float, Int

QUERIES_AT_ONCE = 128


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
        vectors: one a word, shape `(v, d)`. A zero vector has cosine 0 with every other.
        ids: the words asked about, shape `(...)`, in [0, v).
        k: how many, 1 to v - 1; the word itself is left out.

    Returns:
        `Neighbours`, ids and cosines of shape `(..., k)`; equal cosines in order of id. Memory beyond the result:
        the normalised vectors and 128 rows of cosines.

    Raises:
        ValueError: k or an id out of range (a traced id out of range gives meaningless neighbours), or vectors
            that are no table.
        TypeError: ids that are not integers.

    Exact up to rounding: every word is compared, no index is approximated.

    Example:
        >>> nearest(jnp.array([[1.0, 0.0], [3.0, 1.0], [0.0, 1.0]]), 0, k=2).ids.tolist()
        [1, 2]

    References:
        [mikolov2013efficient]
    """
    unit = _unit(vectors)
    ids = _as_ids("ids", ids, unit.shape[0])
    _require_k(k, unit.shape[0] - 1)
    return _top(unit, unit[ids.reshape(-1)], ids.reshape(-1, 1), ids.shape, k)


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
        vectors: one a word, shape `(v, d)`.
        a: ids, shape `(...)`: man in "man is to king as woman is to ...".
        b: ids, the same shape: king.
        c: ids, the same shape: woman.
        k: how many answers, 1 to v - 3.

    Returns:
        `Neighbours`, ids and cosines of shape `(..., k)`, best first.

    Raises:
        ValueError: k or an id out of range, shapes that differ, or vectors that are no table.
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
    words = [_as_ids(name, ids, unit.shape[0]) for name, ids in (("a", a), ("b", b), ("c", c))]
    shapes = [w.shape for w in words]
    if len(set(shapes)) > 1:
        raise ValueError(f"a, b and c must have one shape, got {shapes}. Repeat the ids that are shared.")
    _require_k(k, unit.shape[0] - 3)
    asked = jnp.stack([w.reshape(-1) for w in words], axis=-1)
    target = _unit(unit[asked[:, 1]] - unit[asked[:, 0]] + unit[asked[:, 2]])
    return _top(unit, target, asked, shapes[0], k)


@partial(jax.jit, static_argnames=("shape", "k"))
def _top(unit: Array, queries: Array, excluded: Array, shape: tuple[int, ...], k: int) -> Neighbours:
    """Best k rows of unit for each query but those excluded `(m, e)`, a few queries at a time."""

    def best(query_and_excluded: tuple[Array, Array]) -> tuple[Array, Array]:
        query, out = query_and_excluded
        return jax.lax.top_k((unit @ query).at[out].set(-jnp.inf), k)

    cosines, ids = jax.lax.map(best, (queries, excluded), batch_size=QUERIES_AT_ONCE)
    return Neighbours(ids.reshape(*shape, k), cosines.reshape(*shape, k))


def _unit(vectors: ArrayLike) -> Array:
    vectors = as_float("vectors", vectors)
    if vectors.ndim != 2:
        raise ValueError(f"vectors must have shape (v, d), one row a word, got {vectors.shape}.")
    norm = jnp.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / jnp.where(norm > 0, norm, 1)


def _as_ids(name: str, ids: ArrayLike, size: int) -> Array:
    ids = jnp.asarray(ids)
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TypeError(f"{name} must be integer ids, got dtype {ids.dtype}. Map words to ids first.")
    if is_concrete(ids) and ids.size and not (np.min(ids) >= 0 and np.max(ids) < size):
        raise ValueError(f"{name} must be in [0, {size}), got {np.min(ids)} to {np.max(ids)}.")
    return ids


def _require_k(k: int, most: int) -> None:
    require_count("k", k)
    if k > most:
        raise ValueError(f"k must be at most {most} for these vectors, got {k}. Ask for fewer, or give more words.")
