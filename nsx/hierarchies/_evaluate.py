"""How well distances rank each node's ancestors among all nodes: mean rank and mean average precision, blockwise."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import as_float, as_ids, is_concrete, require_count
from nsx._types import Array, ArrayLike, Float, Int
from nsx.hierarchies._closure import as_pairs, refuse_loops
from nsx.hierarchies._geometries import Chart, Geometry, ball_geometry, separations
from nsx.hierarchies._plan import scale_of

CELLS = 1 << 19  # distances held at once, unless the block is chosen


class Reconstruction(NamedTuple):
    """Result of `reconstruction`, NumPy.

    Attributes:
        mean_rank: over the relations.
        mean_average_precision: over the nodes that have ancestors.
        ranks: of each relation, 1 is best, shape `(m,)`, in the order of the distinct relations, sorted.
        average_precision: of each node that has ancestors, shape `(a,)`, by ascending id.
    """

    mean_rank: float
    mean_average_precision: float
    ranks: np.ndarray
    average_precision: np.ndarray


def reconstruction(
    points: Float[ArrayLike, "n d"],
    relations: Int[ArrayLike, "m 2"],
    *,
    geometry: Geometry | None = None,
    curvature: Float[ArrayLike, ""] | None = None,
    nodes: Int[ArrayLike, " s"] | None = None,
    block_size: int | None = None,
) -> Reconstruction:
    r"""Rank all nodes by their distance to each node, and see where its ancestors come.

    $$\mathrm{rank}(u, v) = 1 + \#\{z \ne u : z \notin \mathrm{anc}(u),\ d(u, z) \le d(u, v)\}, \qquad
      \mathrm{AP}(u) = \operatorname*{mean}_{v \in \mathrm{anc}(u)}
        \frac{\#\{z \in \mathrm{anc}(u) : d(u, z) \le d(u, v)\}}{\#\{z \ne u : d(u, z) \le d(u, v)\}} .$$

    Args:
        points: one per node, in the coordinates of the geometry.
        relations: (node, ancestor) ids, shape `(m, 2)`.
        geometry: None is `ball_geometry()`.
        curvature: c > 0 that the points were trained at; None is 1. Flat space takes none.
        nodes: rank the ancestors of these nodes only, against all nodes all the same; None is every node.
        block_size: nodes ranked at once; memory is block_size * n numbers. None keeps it in a core's cache.

    Returns:
        `Reconstruction`. The mean rank is over relations, the mean average precision over nodes with an ancestor.

    Raises:
        ValueError: points that are not `(n, d)`, not finite or (ball) not inside; ids out of range; no relation left;
            a curvature that is not positive, or of flat space.
        TypeError: traced points: ranks are counted on the host's plan, outside jit.

    Exact, as Nickel and Kiela evaluate: other ancestors do not lower a rank, and average precision is the area under
    the precision-recall steps. Where distances tie they leave the order open; here a tie counts against the
    embedding, so points that all coincide get the worst rank and not the best.

    Example:
        >>> line = jnp.array([[0.0], [0.1], [0.3], [-0.05]])
        >>> found = reconstruction(line, [[1, 0], [2, 0], [2, 1]])
        >>> found.ranks.tolist(), found.average_precision.tolist()
        ([1, 1, 1], [1.0, 1.0])

    References:
        [nickel2017poincare, sec. 4.1]
    """
    geometry = ball_geometry() if geometry is None else geometry
    chart = _chart(points, geometry, curvature)
    num_nodes = chart.weight.size
    pairs = np.unique(as_pairs("relations", relations, num_nodes), axis=0)
    refuse_loops(pairs)
    if nodes is not None:
        pairs = pairs[np.isin(pairs[:, 0], np.asarray(as_ids("nodes", nodes, high=num_nodes)))]
    if not len(pairs):
        raise ValueError("none of `nodes` has an ancestor in `relations`, so there is nothing to rank.")
    if block_size is None:
        block_size = max(1, min(CELLS // num_nodes, len(np.unique(pairs[:, 0]))))
    require_count("block_size", block_size)

    # count, by blocks of anchors
    blocks = _blocks(pairs, block_size)
    closer, among = (np.asarray(x) for x in _count(chart, jnp.asarray(blocks.anchors), jnp.asarray(blocks.ancestors)))
    found = blocks.ancestors >= 0
    rank = closer - among + 1
    precision = among / np.maximum(closer, 1)

    # back into the order of the relations, and of the nodes
    ranks = np.empty(len(pairs), np.int64)
    ranks[blocks.order] = rank[found]
    node = blocks.anchors >= 0
    average = np.sum(np.where(found, precision, 0), axis=-1)[node] / np.sum(found, axis=-1)[node]
    average = average[np.argsort(blocks.anchors[node])]
    return Reconstruction(float(ranks.mean()), float(average.mean()), ranks, average)


def _chart(points: ArrayLike, geometry: Geometry, curvature: ArrayLike | None) -> Chart:
    """The geometry's chart of the points; raises where they cannot be ranked."""
    if not is_concrete(points):
        raise TypeError("points are traced, but reconstruction plans its blocks on the host. Call it outside jit.")
    points = as_float("points", points)
    if points.ndim != 2 or 0 in points.shape:
        raise ValueError(f"points must be one row per node, shape (n, d), got {points.shape}.")
    scale, _ = scale_of(geometry, curvature)
    chart = geometry.chart(points, None if scale.curvature is None else scale.curvature.astype(points.dtype))
    if not all(np.all(np.isfinite(part)) for part in chart if part is not None):
        raise ValueError(
            "some points are not finite or lie outside the geometry (in the ball, norms are below 1/sqrt(c)), so their "
            "distances have no order. Project them first, or name the geometry they were trained in."
        )
    return chart


class Blocks(NamedTuple):
    """Anchors `(blocks, b)` and their ancestors `(blocks, b, a)`, both -1 where there is none, and pair numbers."""

    anchors: np.ndarray
    ancestors: np.ndarray
    order: np.ndarray


def _blocks(pairs: np.ndarray, block_size: int) -> Blocks:
    """Anchors with as many ancestors come together, so that a block does not wait for one with many."""
    nodes, first, counts = np.unique(pairs[:, 0], return_index=True, return_counts=True)
    by_count = np.argsort(counts, kind="stable")
    size = -(-len(nodes) // block_size) * block_size
    anchors = np.full(size, -1, np.int32)
    anchors[: len(nodes)] = nodes[by_count]
    slot = np.arange(counts.max())
    held = slot < counts[by_count][:, None]
    number = np.where(held, first[by_count][:, None] + slot, 0)
    ancestors = np.full((size, len(slot)), -1, np.int32)
    ancestors[: len(nodes)] = np.where(held, pairs[number, 1], -1)
    return Blocks(
        anchors=anchors.reshape(-1, block_size),
        ancestors=ancestors.reshape(-1, block_size, len(slot)),
        order=number[held],
    )


@jax.jit
def _count(chart: Chart, anchors: Array, ancestors: Array) -> tuple[Array, Array]:
    """For each ancestor, the nodes and the ancestors that are no farther from the anchor than it is."""
    return jax.lax.map(lambda block: _count_block(chart, *block), (anchors, ancestors))


def _count_block(chart: Chart, anchors: Array, ancestors: Array) -> tuple[Array, Array]:
    apart = separations(chart, jnp.maximum(anchors, 0))
    apart = jnp.where(jnp.arange(chart.weight.size, dtype=anchors.dtype)[None] == anchors[:, None], jnp.inf, apart)
    of_ancestor = jnp.where(ancestors >= 0, jnp.take_along_axis(apart, jnp.maximum(ancestors, 0), axis=1), jnp.inf)
    among = jnp.sum(of_ancestor[:, None, :] <= of_ancestor[..., None], axis=2, dtype=jnp.int32)

    def count_one(state: tuple[Array, Array]) -> tuple[Array, Array]:
        i, closer = state
        bound = jax.lax.dynamic_index_in_dim(of_ancestor, i, axis=1)
        return i + 1, closer.at[:, i].set(jnp.sum(apart <= bound, axis=1, dtype=jnp.int32))

    most = jnp.max(jnp.sum(ancestors >= 0, axis=1))
    _, closer = jax.lax.while_loop(lambda state: state[0] < most, count_one, (0, jnp.zeros_like(ancestors)))
    return closer, among
