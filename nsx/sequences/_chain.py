"""A chain and its mask, checked, and what the recursions meet at each position."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import as_floats, as_ids, as_mask, is_concrete
from nsx._types import Array, ArrayLike, Bool, Float

MOST = int(np.iinfo(np.int32).max)


class Chain(NamedTuple):
    """Checked arguments.

    Attributes:
        unary: shape `(t, l)`, 0 at skipped positions.
        pairwise: shape `(l, l)`, or `(t - 1, l, l)` where transition i - 1 leads into position i.
        where: True at the positions that count, shape `(t,)`.
    """

    unary: Float[Array, "t l"]
    pairwise: Float[Array, "*t_less_1 l l"]
    where: Bool[Array, " t"]


class Position(NamedTuple):
    """What a recursion meets at positions 1 to t - 1, each field with that leading axis.

    Attributes:
        unary: scores of the labels.
        counts: whether the position counts.
        enters: whether a transition leads into it: it counts, and so does one before it.
        pairwise: the transition's scores, or None where all have the same.
    """

    unary: Array
    counts: Array
    enters: Array
    pairwise: Array | None


def prepare(unary: ArrayLike, pairwise: ArrayLike, where: ArrayLike | None) -> Chain:
    """Scores as floats of one type and a mask, checked; what is skipped may be anything."""
    unary, pairwise = as_floats(unary=unary, pairwise=pairwise)
    if unary.ndim != 2 or 0 in unary.shape:
        raise ValueError(f"unary must be (t, l) with t, l >= 1, got {unary.shape}. Use jax.vmap for a batch.")
    length, labels = unary.shape
    square = (labels, labels)
    if pairwise.shape not in (square, (length - 1, *square)):
        raise ValueError(
            f"pairwise must be {square}, or {(length - 1, *square)} with one table per transition, for unary "
            f"{unary.shape}; got {pairwise.shape}. Use jax.vmap for a batch."
        )
    where = prepare_mask(where, length)
    if is_concrete(where):
        counts = np.asarray(where)
        _require_scores("unary", unary, counts)
        _require_scores("pairwise", pairwise, _entered(counts, np)[1:] if pairwise.ndim == 3 else None)
    return Chain(jnp.where(where[:, None], unary, 0), pairwise, where)


def prepare_mask(where: ArrayLike | None, length: int) -> Array:
    """The mask as an array of this length, all True for None."""
    if where is None:
        return jnp.ones(length, bool)
    mask = as_mask("where", where, meaning="True at the positions that count")
    if mask.shape != (length,):
        raise ValueError(f"where must have one entry per position, shape ({length},), got {mask.shape}.")
    return mask


def prepare_labels(labels: ArrayLike, where: Array, num_labels: int) -> Array:
    """Labels as int32, checked where they count; a traced or a skipped one that 32 bits cannot hold becomes -1."""
    if np.shape(labels) != where.shape:
        raise ValueError(f"labels must have one entry per position, shape {where.shape}, got {np.shape(labels)}.")
    if not is_concrete(labels):
        labels = as_ids("labels", labels)
        return labels.astype(jnp.int32) if _fits_32_bits(labels.dtype) else _narrowed(labels, jnp)
    host = np.asarray(labels)
    counted = np.asarray(where) if is_concrete(where) else np.zeros(where.shape, bool)
    as_ids("labels", np.where(counted, host, 0) if host.dtype.kind in "iu" else host, high=num_labels)
    return jnp.asarray(_narrowed(host, np))


def _fits_32_bits(dtype: np.dtype) -> bool:
    return np.iinfo(dtype).max <= MOST


def _narrowed(labels: Array | np.ndarray, array_module: object) -> Array | np.ndarray:
    """Labels as int32, -1 for those beyond."""
    if _fits_32_bits(labels.dtype):
        return labels.astype(np.int32)
    beyond = (labels > MOST) | (labels < -1)
    return array_module.where(beyond, -1, labels).astype(np.int32)


def _require_scores(name: str, scores: Array, counted: np.ndarray | None) -> None:
    """Raise where a concrete score that counts is NaN or +inf."""
    if not is_concrete(scores):
        return
    host = np.asarray(scores)
    host = host if counted is None else host[counted]
    if not np.all(host < np.inf):  # False for NaN too
        raise ValueError(f"{name} holds NaN or +inf; a score must be finite, or -inf for what is forbidden.")


def _entered(where: Array | np.ndarray, array_module: object) -> Array | np.ndarray:
    """True where a transition leads into a position: it counts, and so does one before it."""
    return where & (array_module.cumsum(where) > 1)


def positions(chain: Chain) -> Position:
    """What a recursion meets after position 0."""
    pairwise = chain.pairwise if chain.pairwise.ndim == 3 else None
    return Position(chain.unary[1:], chain.where[1:], _entered(chain.where, jnp)[1:], pairwise)


def transition(chain: Chain, position: Position) -> Array:
    """The scores that lead into a position, 0 where none do: what is skipped may be NaN."""
    scores = chain.pairwise if position.pairwise is None else position.pairwise
    return jnp.where(position.enters, scores, 0)


def path_terms(chain: Chain, labels: Array) -> Array:
    """The scores that a sequence adds up, shape `(2 t - 1,)`; 0 for what does not count, NaN for a bad label."""
    place = jnp.arange(labels.size, dtype=jnp.int32)
    last = jax.lax.cummax(jnp.where(chain.where, place, -1))
    before = last[:-1]  # the counted position before this one
    inside = (labels >= 0) & (labels < chain.unary.shape[1])
    safe = jnp.where(inside, labels, 0)
    unary = jnp.where(inside | ~chain.where, chain.unary[place, safe], jnp.nan)
    steps = (place[:-1],) if chain.pairwise.ndim == 3 else ()
    pairwise = chain.pairwise[(*steps, safe[before], safe[1:])]
    entered = _entered(chain.where, jnp)[1:]
    return jnp.concatenate([jnp.where(chain.where, unary, 0), jnp.where(entered, pairwise, 0)])
