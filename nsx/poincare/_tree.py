"""A tree drawn in the disk without training: all edges alike, children spread evenly."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import require_positive
from nsx._types import Array, ArrayLike, Float, Int
from nsx.poincare._ball import held_inside
from nsx.poincare._functions import tanh_ratio
from nsx.poincare._gyro import add
from nsx.poincare._points import as_curvature


def embed_tree(
    parents: Int[ArrayLike, " n"], *, length: Float[ArrayLike, ""], curvature: Float[ArrayLike, ""] = 1.0
) -> Float[Array, "n 2"]:
    r"""Sarkar's construction: each node, taken to the origin, spreads its neighbours at equal angles.

    $$x_v = x_u \oplus_c \frac{\tanh(\sqrt c\,\tau / 2)}{\sqrt c}\,(\cos\phi, \sin\phi),\qquad
      \phi = \phi_{\mathrm{parent}(u)} + \frac{2\pi j}{\deg u},\; j = 1, 2, \dots$$

    Args:
        parents: index of each node's parent, shape `(n,)`, a parent before its children; the root, node 0, has -1.
        length: tau > 0, distance in the ball of a node from its parent.
        curvature: c >= 0; 0 draws the same angles in the plane, with edges of Euclidean length tau / 2.

    Returns:
        Points of the disk, shape `(n, 2)`. With degree at most 6, or tau large enough, every neighbour is nearer than
        any other node; distances approach tau times those of the tree as tau grows. A traced length or curvature
        outside its domain gives NaN.

    Raises:
        ValueError: parents that are no tree in this order, a length that is not positive, a negative curvature.

    Exact while depth times tau stays below 15 / sqrt(c) in float32 (35 in float64); deeper nodes are held at the
    margin of `project`.

    Example:
        >>> x = embed_tree(np.array([-1, 0, 0, 1]), length=2.0)
        >>> np.asarray(distance(x[1], x[jnp.array([0, 2, 3])]), float).round(4).tolist()  # parent, sibling, child
        [2.0, 4.0, 2.0]

    References:
        [sarkar2011low], [desa2018representation, alg. 1]
    """
    parents, turns = _turns(parents)
    length = require_positive("length", length)
    dtype = jnp.zeros(()).dtype
    c = as_curvature(curvature, dtype)
    length = jnp.asarray(length).astype(dtype)
    reach = length / 2 * tanh_ratio(c * (length / 2) ** 2)

    def place(points: Array, node: _Node) -> tuple[Array, None]:
        """Put a node at its angle, as seen from its parent."""
        here = points[node.parent]
        behind = add(-here, points[node.grandparent], c)
        angle = jnp.where(node.parent == 0, 0, jnp.arctan2(behind[1], behind[0])) + node.turn
        step = reach * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
        return points.at[node.child].set(held_inside(add(here, step, c), c)), None

    nodes = _Node(
        child=np.arange(1, len(parents), dtype=np.int32),
        parent=parents[1:],
        grandparent=np.maximum(parents[parents[1:]], 0),
        turn=turns[1:].astype(dtype),
    )
    start = jnp.zeros((len(parents), 2), dtype) + 0 * reach  # NaN where the length or the curvature is
    return jax.lax.scan(place, start, jax.tree.map(jnp.asarray, nodes))[0]


class _Node(NamedTuple):
    """What places one node: int32 ids, and its angle from its parent's own parent."""

    child: Array
    parent: Array
    grandparent: Array
    turn: Array


def _turns(parents: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Parents, and each node's angle from its parent's own parent, both from the host."""
    parents = np.asarray(parents)
    nodes = np.arange(len(parents)) if parents.ndim == 1 else np.zeros(0, int)
    valid = len(nodes) and parents.dtype.kind in "iu" and parents[0] == -1
    if not (valid and np.all(parents[1:] >= 0) and np.all(parents < nodes)):
        raise ValueError(
            "parents must hold, for each node, the index of an earlier one, and -1 for the root, node 0, got "
            f"{parents}. Order the nodes from the root outwards."
        )
    children = np.bincount(parents[1:], minlength=len(parents))
    degree = children + (nodes > 0)
    order = np.argsort(parents, kind="stable")
    rank = np.empty(len(parents), int)
    rank[order] = np.arange(len(parents)) - np.searchsorted(parents[order], parents[order])
    return parents.astype(np.int32), 2 * np.pi * (rank + 1) / degree[np.maximum(parents, 0)].clip(1)
