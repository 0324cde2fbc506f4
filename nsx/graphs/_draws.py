"""Draws of non-edges: the r-th target that is not excluded, found by binary search, without rejection."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsx import _wide
from nsx._checks import as_ids, clip_to_int32, is_concrete, require_count
from nsx._types import Array, ArrayLike, Float, Int, Key
from nsx._wide import Wide
from nsx.graphs._index import EdgeIndex, index_edges

# a node whose non-edges hold less than t 2^-40 of the law is refused: at t units lost to rounding of its t 2^23, the
# law of its draws is right to 2^-23 in total variation
LEAST_UNITS = 2**23


class _Rows(NamedTuple):
    """The anchors' stretches of `EdgeIndex.excluded`, and whether they are nodes; node 0 stands for one that is not."""

    node: Array
    known: Array
    start: Array
    stop: Array


def draw_non_edges(
    key: Key[Array, ""],
    edges: Int[ArrayLike, "e 2"],
    anchors: Int[ArrayLike, "..."],
    *,
    k: int,
    num_nodes: int,
    targets: int | range | None = None,
    log_weights: Float[ArrayLike, " t"] | None = None,
) -> Int[Array, "... k"]:
    r"""Negatives of nodes of a large graph: independent draws among the targets that a node has no edge to.

    $$P(j \mid i) = \frac{q_j}{\sum_{l \in N_i} q_l}, \quad j \in N_i, \qquad
      N_i = \{\text{targets}\} \setminus \{j : (i, j) \text{ is an edge}\} \setminus \{i\}.$$

    The edges are sorted at each call, O(e log e). To draw more than once, or under jit, sort them once by `index_edges`
    and call `draw_from_index`: this function is the one after the other.

    Args:
        key: a typed key, `jax.random.key`.
        edges: pairs (anchor, target), shape `(e, 2)`, directed; both ways for an undirected graph. See `index_edges`.
        anchors: the nodes i to draw for, any shape.
        k: draws per anchor, with replacement, a Python integer.
        num_nodes: n, a Python integer.
        targets: None for all nodes, a range for the nodes of one kind, an integer t for another set (bipartite), whose
            target i is not node i. See `index_edges`.
        log_weights: of q, shape `(t,)`, nats; None is uniform.

    Returns:
        int32 ids, the shape of anchors with k as last axis. A true edge is never drawn, nor the anchor itself.
        Traced anchors that are no nodes, or have no non-edge, give -1. Not differentiable.

    Raises:
        ValueError: an anchor without a non-edge, or outside 0, ..., n - 1; else as `index_edges`.
        TypeError: anchors that are not integers, traced edges or log_weights; else as `index_edges`.

    Exact, as `draw_from_index`.

    Example:
        >>> path = np.array([[0, 1], [1, 2], [2, 3]])
        >>> both = np.concatenate([path, path[:, ::-1]])
        >>> draw_non_edges(jax.random.key(0), both, jnp.array([1, 2]), k=3, num_nodes=4).tolist()
        [[3, 3, 3], [0, 0, 0]]

    References:
        [yang2020understanding], [devroye1986nonuniform, sec. III.2]
    """
    index = index_edges(edges, num_nodes=num_nodes, targets=targets, log_weights=log_weights)
    return draw_from_index(key, index, anchors, k=k)


def draw_from_index(
    key: Key[Array, ""], index: EdgeIndex, anchors: Int[ArrayLike, "..."], *, k: int
) -> Int[Array, "... k"]:
    r"""Independent draws of non-edges, with replacement, by an index of the edges that is made once.

    $$j = r + \bigl|\{l : E_{i,l} - l \le r\}\bigr|, \qquad r \sim \mathrm{Uniform}\{0 .. |N_i| - 1\},$$

    the r-th target that is not among the excluded ones $E_{i,0} < E_{i,1} < \dots$: before the l-th of them lie
    $E_{i,l} - l$ non-edges. With a law the same, mass for number. O(log degree) per draw, with a law O(log t) more.

    Args:
        key: a typed key, `jax.random.key`.
        index: from `index_edges`.
        anchors: the nodes to draw for, any shape.
        k: draws per anchor, a Python integer.

    Returns:
        int32 ids, the shape of anchors with k as last axis; the same in and out of jit, in float32 and in float64.
        Traced anchors (or a traced index): -1 for an anchor that is no node, or has no non-edge to draw.

    Raises:
        ValueError: an anchor without a non-edge or outside 0, ..., n - 1. With a law also one whose non-edges together
            have a probability below t 2^-40, too few units of 2^-63 to be told apart.
        TypeError: anchors that are not integers, k that is not a Python integer.

    Exact: without a law each non-edge to 2^-64, with one to t 2^-63 over the probability of the anchor's non-edges (in
    total variation). Nothing is rejected, so a hub costs no more than a leaf.

    Example:
        >>> star = np.array([[0, 1], [0, 2], [0, 3]])
        >>> index = index_edges(star, num_nodes=5, log_weights=np.log([8.0, 1.0, 1.0, 1.0, 1.0]))
        >>> draw = jax.jit(draw_from_index, static_argnames="k")
        >>> draws = draw(jax.random.key(0), index, jnp.array([0, 1]), k=100_000)
        >>> [round(float(share), 2) for share in jnp.mean(draws[1, :, None] == jnp.arange(5)[None], axis=0)]
        [0.73, 0.0, 0.09, 0.09, 0.09]

    References:
        [yang2020understanding], [devroye1986nonuniform, sec. III.2]
    """
    k = require_count("k", k)
    anchors = as_ids("anchors", anchors, high=index.starts.shape[0] - 1)
    ids, possible = _draw(key, index, anchors, k=k)
    if is_concrete(possible):
        _require_non_edges(np.asarray(anchors), np.asarray(possible), index)
    return ids


def non_edge_log_prob(
    index: EdgeIndex, anchors: Int[ArrayLike, "..."], ids: Int[ArrayLike, "... k"]
) -> Float[Array, "... k"]:
    r"""Log-probability of targets under the law that `draw_from_index` draws from: the log q of a loss.

    $$\log P(j \mid i) = \log q_j - \log \sum_{l \in N_i} q_l \;\text{ for } j \in N_i, \qquad -\infty \text{ else}.$$

    Args:
        index: from `index_edges`.
        anchors: the nodes i, any shape.
        ids: targets j, the shape of anchors with one axis more.

    Returns:
        The shape of ids, nats, in the default float type; -inf at edges, at the anchor itself and at targets of
        probability 0. NaN where a traced anchor is no node or has no non-edge, and where a traced id is no target.

    Raises:
        ValueError: shapes that do not fit, ids outside the targets, anchors outside the nodes or without a non-edge.
        TypeError: ids or anchors that are not integers.

    Exact for the draws' own law in units of 2^-63, to rounding of the logarithm.

    Example:
        >>> index = index_edges(np.array([[0, 1]]), num_nodes=4)
        >>> jnp.exp(non_edge_log_prob(index, jnp.array([0]), jnp.array([[0, 1, 2, 3]]))).tolist()
        [[0.0, 0.0, 0.5, 0.5]]

    References:
        [yang2020understanding]
    """
    anchors = as_ids("anchors", anchors, high=index.starts.shape[0] - 1)
    ids = _prepare_targets(ids, index)
    if ids.shape[:-1] != anchors.shape or ids.ndim != anchors.ndim + 1:
        raise ValueError(f"ids must have the shape of anchors and one axis more, got {ids.shape} for {anchors.shape}.")
    log_prob, possible = _log_prob(index, anchors, ids)
    if is_concrete(possible):
        _require_non_edges(np.asarray(anchors), np.asarray(possible), index)
    return log_prob


def _require_non_edges(anchors: np.ndarray, possible: np.ndarray, index: EdgeIndex) -> None:
    """Raise the error that names the first anchor for which nothing can be drawn."""
    if np.all(possible):
        return
    bare = anchors[~possible].flat[0]
    why = "it is joined to every target"
    if index.law is not None:
        why += f", or its non-edges have a probability below {int(index.num_targets)} 2^-40"
    raise ValueError(
        f"anchor {bare} has no non-edge to draw: {why}. Leave such anchors out; graphs.non_edge_counts tells them."
    )


def _prepare_targets(ids: ArrayLike, index: EdgeIndex) -> Array:
    """Ids of targets, looked at where both they and the index are concrete."""
    if not is_concrete(index.first):
        return as_ids("ids", ids)
    low = int(index.first)
    return as_ids("ids", ids, low=low, high=low + int(index.num_targets))


@partial(jax.jit, static_argnames="k")
def _draw(key: Array, index: EdgeIndex, anchors: Array, *, k: int) -> tuple[Array, Array]:
    """The ids, -1 where none is possible; and the anchors for which some is."""
    rows = _rows(index, anchors)
    free = _free(index, rows)
    possible = rows.known & _enough(index, free)
    below = Wide(*(word[..., None] for word in free))
    coin = _wide.multiply_high(_wide.random_wide(key, (*anchors.shape, k)), below)
    target = _invert(index, rows, coin)
    return jnp.where(possible[..., None], target + index.first, -1), possible


def _rows(index: EdgeIndex, anchors: Array) -> _Rows:
    node = clip_to_int32(anchors)
    known = (node >= 0) & (node < index.starts.shape[0] - 1)
    node = jnp.where(known, node, 0)
    return _Rows(node=node, known=known, start=index.starts[node], stop=index.starts[node + 1])


def _free(index: EdgeIndex, rows: _Rows) -> Wide:
    """What an anchor's non-edges hold: their number, or units of the law."""
    if index.law is None:
        return _wide.from_word(index.num_targets - (rows.stop - rows.start))
    return _wide.take(index.law.free, rows.node)


def _enough(index: EdgeIndex, free: Wide) -> Array:
    """True where there is something to draw."""
    if index.law is None:
        return free.low > 0
    return _wide.at_most(_wide.product(index.num_targets.astype(jnp.uint32), jnp.uint32(LEAST_UNITS)), free)


def _invert(index: EdgeIndex, rows: _Rows, coin: Wide) -> Array:
    """The non-edge (counted from the first target) in whose share of 0, ..., free - 1 the coin falls."""
    start = jnp.broadcast_to(rows.start[..., None], coin.low.shape)
    stop = jnp.broadcast_to(rows.stop[..., None], coin.low.shape)
    if index.law is None:
        return _invert_uniform(index, start, stop, coin.low.astype(jnp.int32))
    return _invert_law(index, start, stop, coin)


def _invert_uniform(index: EdgeIndex, start: Array, stop: Array, rank: Array) -> Array:
    """The target of this rank among the non-edges: each excluded one before it moves it up by one."""

    def lies_before(place: Array) -> Array:
        ahead = index.excluded.at[place].get(mode="clip") - (place - start)
        return ahead <= rank

    return rank + _first_false(lies_before, start, stop) - start


def _invert_law(index: EdgeIndex, start: Array, stop: Array, coin: Wide) -> Array:
    """The first target at which the mass of non-edges passes the coin."""
    cumulative, before, _ = index.law

    def lies_before(place: Array) -> Array:
        return _wide.at_most(_wide.take(before, place), coin)

    # the coin moves up by the mass of the excluded targets before the one that is looked for
    passed = _first_false(lies_before, start, stop)
    last = jnp.maximum(passed - 1, 0)
    with_last = _wide.take(cumulative, index.excluded.at[last].get(mode="clip"))
    skipped = _wide.subtract(with_last, _wide.take(before, last))
    some = passed > start
    aim = _wide.add(coin, Wide(*(jnp.where(some, word, 0) for word in skipped)))

    def below_aim(target: Array) -> Array:
        return _wide.at_most(_wide.take(cumulative, target), aim)

    return _first_false(below_aim, jnp.zeros_like(start), jnp.full_like(start, cumulative.low.shape[0] - 1))


def _first_false(holds: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """The first place of low, ..., high - 1 at which a condition, True up to there, no longer holds; else high."""

    def unsettled(bounds: tuple[Array, Array]) -> Array:
        return jnp.any(bounds[0] < bounds[1])

    def halve(bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = low + (high - low) // 2
        later = holds(middle)
        return jnp.where(later, jnp.minimum(middle + 1, high), low), jnp.where(later, high, middle)

    return jax.lax.while_loop(unsettled, halve, (low, high))[0]


@jax.jit
def _log_prob(index: EdgeIndex, anchors: Array, ids: Array) -> tuple[Array, Array]:
    """Log-probabilities, and the anchors that have a non-edge."""
    rows = _rows(index, anchors)
    targets = clip_to_int32(ids) - index.first
    free = _free(index, rows)
    start = jnp.broadcast_to(rows.start[..., None], targets.shape)
    stop = jnp.broadcast_to(rows.stop[..., None], targets.shape)

    def comes_before(place: Array) -> Array:
        return index.excluded.at[place].get(mode="clip") < targets

    place = _first_false(comes_before, start, stop)
    is_excluded = (place < stop) & (index.excluded.at[place].get(mode="clip") == targets)
    share = _as_float(_mass(index, targets)) / _as_float(free)[..., None]
    log_prob = jnp.where(is_excluded, -jnp.inf, jnp.log(share))
    possible = rows.known & _enough(index, free)
    is_target = (targets >= 0) & (targets < index.num_targets)
    return jnp.where(possible[..., None] & is_target, log_prob, jnp.nan), possible


def _mass(index: EdgeIndex, targets: Array) -> Wide:
    """Each target's number, 1, or its units of the law."""
    if index.law is None:
        return _wide.from_word(jnp.ones_like(targets))
    up_to = _wide.take(index.law.cumulative, targets)
    previous = _wide.take(index.law.cumulative, jnp.maximum(targets - 1, 0))
    return _wide.subtract(up_to, Wide(*(jnp.where(targets > 0, word, 0) for word in previous)))


def _as_float(x: Wide) -> Array:
    """In the default float type, rounded."""
    dtype = jnp.zeros(()).dtype
    return x.high.astype(dtype) * 2.0**32 + x.low.astype(dtype)
