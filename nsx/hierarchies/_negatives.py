"""Negatives for a hierarchy: drawn from a law with the anchor and its ancestors cut out, exactly and in one go.

A law gives each node a whole number of units on a line. The units of an anchor's excluded nodes are taken out of
the line; a whole number drawn below what is left is moved past each gap before it, and falls on some node. There
is no rejection, so no draw is lost and none takes longer than the others.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsx._numerics import wide_product
from nsx._types import Array

UNITS = 1 << 30


class NoiseLaw(NamedTuple):
    """A law over n nodes with gaps for each anchor; a pytree.

    Attributes:
        room: int32 `(n,)`, units left to draw from when this node is the anchor.
        gap: int32 `(n, a)`, where each gap starts once those before it are taken out; beyond the last, int32's maximum.
        width: int32 `(n, a)`, units of each gap; None where every node has one unit.
        ends: int32 `(n,)`, running sum of the units; None where every node has one unit.
    """

    room: Array
    gap: Array
    width: Array | None
    ends: Array | None


def noise_law(relations: np.ndarray, num_nodes: int, probabilities: np.ndarray | None = None) -> NoiseLaw:
    """The law that excludes each node and its ancestors; None is uniform. Others are exact to 2^-30."""
    owner, excluded = _with_self(relations, num_nodes).T
    if probabilities is None:
        units = np.ones(num_nodes, np.int64)
    else:
        units = np.floor(probabilities * UNITS).astype(np.int64)
        units = np.maximum(units, probabilities > 0)
    ends = np.cumsum(units)
    first = np.searchsorted(owner, np.arange(num_nodes))
    place = np.arange(owner.size) - first[owner]
    shape = (num_nodes, int(place.max()) + 1)
    width = np.zeros(shape, np.int32)
    gap = np.full(shape, np.iinfo(np.int32).max, np.int32)
    width[owner, place] = units[excluded]
    taken = np.cumsum(width, axis=1, dtype=np.int64)
    gap[owner, place] = (ends - units)[excluded] - (taken - width)[owner, place]
    room = (ends[-1] - taken[:, -1]).astype(np.int32)
    if probabilities is None:
        return NoiseLaw(jnp.asarray(room), jnp.asarray(gap), None, None)
    return NoiseLaw(*(jnp.asarray(x) for x in (room, gap, width, ends.astype(np.int32))))


def _with_self(relations: np.ndarray, num_nodes: int) -> np.ndarray:
    """(anchor, excluded), sorted: each node, its ancestors, and itself."""
    own = np.repeat(np.arange(num_nodes, dtype=relations.dtype)[:, None], 2, axis=1)
    pairs = np.concatenate([relations, own])
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def draw_negatives(word: Array, law: NoiseLaw, anchors: Array) -> Array:
    """int32 `(m, k)` node ids for anchors `(m,)` by random words `(k, m)`; any id where an anchor has no room."""
    below_room, _ = wide_product(word, law.room[anchors].astype(jnp.uint32)[None])
    drawn = below_room.astype(jnp.int32)
    gaps = law.gap[anchors].T  # anchors last: each comparison below is one long loop
    widths = None if law.width is None else law.width[anchors].T

    def pass_gap(i: int, place: Array) -> Array:
        return place + jnp.where(gaps[i][None] <= drawn, 1 if widths is None else widths[i][None], 0)

    place = jax.lax.fori_loop(0, gaps.shape[0], pass_gap, drawn, unroll=8)
    ids = place if law.ends is None else jnp.searchsorted(law.ends, place, side="right").astype(jnp.int32)
    return jnp.minimum(ids, law.room.size - 1).T
