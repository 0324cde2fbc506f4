"""An edge list made ready for draws: who may be no negative of a node, sorted, with the law's mass before each.

A node's *excluded* targets are its out-neighbours and itself; the others are its non-edges. For the uniform law the
ranks of the excluded are all that is needed. For any other law masses are whole units of 2^-63, summed in 64 bits, so
sums and differences are exact.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from nsx import _wide
from nsx._checks import host_ids, is_concrete, require_count, require_log_weights
from nsx._types import Array, ArrayLike, Float, Int
from nsx._wide import Wide

UNITS = 2.0**63  # of probability: the largest power of two whose sums, each term rounded, stay below 2^64
MOST = 2**31 - 1  # ids and places are int32


class TargetLaw(NamedTuple):
    """A law over targets in whole units of 2^-63, each number a `Wide` of two uint32 words.

    Attributes:
        cumulative: `(t,)`, units of the targets up to and with each.
        before: `(m,)`, units of the anchor's non-edges before each of its excluded targets.
        free: `(n,)`, units of all non-edges of each node.
    """

    cumulative: Wide
    before: Wide
    free: Wide


class EdgeIndex(NamedTuple):
    """Edges sorted by anchor and target, with what draws need; a pytree, ready to be passed into jit.

    Attributes:
        starts: int32 `(n + 1,)`, where each anchor's stretch of `excluded` begins.
        excluded: int32 `(m,)`, the targets that are no negatives, ascending and once each in a stretch, counted from
            `first`.
        first: int32, the id of the first target.
        num_targets: int32, t.
        law: a `TargetLaw`, None for the uniform one.
    """

    starts: Int[Array, " n+1"]
    excluded: Int[Array, " m"]
    first: Int[Array, ""]
    num_targets: Int[Array, ""]
    law: TargetLaw | None


class _Targets(NamedTuple):
    """The ids that may be drawn: `first`, ..., `first + size - 1`; `nodes` where they are nodes as the anchors are."""

    first: int
    size: int
    nodes: bool


def index_edges(
    edges: Int[ArrayLike, "e 2"],
    *,
    num_nodes: int,
    targets: int | range | None = None,
    log_weights: Float[ArrayLike, " t"] | None = None,
) -> EdgeIndex:
    r"""Sort an edge list once, for any number of draws of non-edges by `draw_from_index`.

    $$E_i = \{j : (i, j) \text{ is an edge}\} \cup \{i\}, \qquad
      N_i = \{\text{targets}\} \setminus E_i \text{, the non-edges of } i.$$

    Args:
        edges: pairs (anchor, target), shape `(e, 2)`, integers of any type, in any order, e >= 0; a pair that occurs
            twice counts once. They are directed: for an undirected graph give each edge both ways,
            `np.concatenate([edges, edges[:, ::-1]])`.
        num_nodes: n, a Python integer: anchors are 0, ..., n - 1.
        targets: what may be drawn. None: all nodes. A range, `range(low, high)`: the nodes of one kind, numbered as the
            anchors are. An integer t: another set, numbered 0, ..., t - 1 by itself (users and items), where target i
            is not node i and so may be drawn for it.
        log_weights: shape `(t,)`, nats, one law for all anchors over the targets in their order; -inf for probability
            0. None is uniform. NumPy float64 is used in full, also where JAX runs in float32.

    Returns:
        `EdgeIndex`: 4 bytes per node and per edge, and with log_weights 8 bytes more per edge, 16 per node.

    Raises:
        TypeError: traced edges or log_weights (the index is built on the host: build it outside jit, pass it in),
            edges that are not integers, targets that are neither an integer nor a range.
        ValueError: edges not of shape (e, 2) or with an id outside, targets outside the nodes, log_weights that do not
            fit, without mass, with NaN or +inf; 2^31 nodes, targets or edges.

    Exact in integers; with log_weights each probability is cut to a multiple of 2^-63, after rounding of exp in
    float64.

    Example:
        >>> index = index_edges(np.array([[0, 2], [2, 1], [0, 2]]), num_nodes=4)
        >>> non_edge_counts(index).tolist()
        [2, 3, 2, 3]

    References:
        [yang2020understanding]
    """
    num_nodes = require_count("num_nodes", num_nodes)
    wanted = _prepare_targets(targets, num_nodes)
    if not (is_concrete(edges) and is_concrete(log_weights)):
        raise TypeError(
            "edges or log_weights are traced, but the index is built on the host. "
            "Build it outside jit, grad or vmap by index_edges, and pass it in to draw_from_index."
        )
    anchor, target = _prepare_edges(edges, num_nodes, wanted)
    if wanted.nodes:  # no node is a negative of itself
        itself = np.arange(wanted.size, dtype=np.int64)
        anchor = np.concatenate([anchor, itself + wanted.first])
        target = np.concatenate([target, itself])
    starts, excluded = _sorted_rows(anchor, target, num_nodes, wanted.size)
    return EdgeIndex(
        starts=jnp.asarray(starts),
        excluded=jnp.asarray(excluded),
        first=jnp.asarray(wanted.first, jnp.int32),
        num_targets=jnp.asarray(wanted.size, jnp.int32),
        law=None if log_weights is None else _law(log_weights, wanted.size, starts, excluded),
    )


def non_edge_counts(index: EdgeIndex) -> Int[Array, " n"]:
    r"""Number of non-edges of each node; under the uniform law a draw has probability 1 over it.

    $$|N_i| = t - |E_i|.$$

    Args:
        index: from `index_edges`.

    Returns:
        int32, shape `(n,)`; 0 at a node that is joined to every target, whose draws are refused.

    Exact.

    Example:
        >>> star = np.array([[0, 1], [0, 2]])
        >>> non_edge_counts(index_edges(star, num_nodes=3)).tolist()
        [0, 2, 2]

    References:
        [yang2020understanding]
    """
    return index.num_targets - (index.starts[1:] - index.starts[:-1])


def _prepare_targets(targets: int | range | None, num_nodes: int) -> _Targets:
    if num_nodes > MOST:
        raise ValueError(f"num_nodes must be below 2^31, got {num_nodes}.")
    if targets is None:
        return _Targets(first=0, size=num_nodes, nodes=True)
    if not isinstance(targets, range):
        size = require_count("targets", targets)
        if size > MOST:
            raise ValueError(f"targets must be below 2^31, got {size}.")
        return _Targets(first=0, size=size, nodes=False)
    if targets.step != 1 or not 0 <= targets.start < targets.stop <= num_nodes:
        raise ValueError(
            f"targets must be range(low, high) with 0 <= low < high <= num_nodes = {num_nodes}, got {targets}. "
            "Number the nodes of one kind in one stretch; for another numbering give their number."
        )
    return _Targets(first=targets.start, size=len(targets), nodes=True)


def _prepare_edges(edges: ArrayLike, num_nodes: int, targets: _Targets) -> tuple[np.ndarray, np.ndarray]:
    """Anchors, and targets counted from the first, as int64."""
    pairs = np.asarray(edges)
    if pairs.shape == (0,):
        pairs = np.zeros((0, 2), np.int32)
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ValueError(f"edges must be pairs (anchor, target), shape (e, 2), got {pairs.shape}. Transpose a (2, e).")
    if len(pairs) + num_nodes > MOST:
        raise ValueError(f"edges and nodes together must be fewer than 2^31, got {len(pairs)} and {num_nodes}.")
    low = targets.first
    anchor = host_ids("the anchors of edges", pairs[:, 0], high=num_nodes)
    target = host_ids("the targets of edges", pairs[:, 1], low=low, high=low + targets.size)
    return anchor.astype(np.int64), target.astype(np.int64) - low


def _sorted_rows(anchor: np.ndarray, target: np.ndarray, num_nodes: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct pairs in order: where each anchor's stretch begins, and the targets."""
    pairs = anchor * size
    pairs += target
    pairs.sort()
    if pairs.size:
        pairs = pairs[np.append(True, pairs[1:] != pairs[:-1])]
    rows = pairs // size
    starts = np.searchsorted(rows, np.arange(num_nodes + 1))
    return starts.astype(np.int32), (pairs - rows * size).astype(np.int32)


def _law(log_weights: ArrayLike, size: int, starts: np.ndarray, excluded: np.ndarray) -> TargetLaw:
    """The law in units, with the mass before each excluded target, by running sums."""
    weights = np.asarray(log_weights).astype(np.float64)
    if weights.shape != (size,):
        raise ValueError(f"log_weights must be one law over the {size} targets, shape ({size},), got {weights.shape}.")
    require_log_weights(weights, ndim=1)
    mass = np.exp(weights - np.max(weights))
    units = np.floor(mass * (UNITS / np.sum(mass))).astype(np.uint64)
    cumulative = np.cumsum(units)

    lost = units[excluded]
    running = np.append(np.uint64(0), np.cumsum(lost))  # over all anchors, modulo 2^64
    at_start = running[starts]
    lost_before = running[:-1] - np.repeat(at_start[:-1], np.diff(starts))
    return TargetLaw(
        cumulative=_wide.from_host(cumulative),
        before=_wide.from_host(cumulative[excluded] - lost - lost_before),
        free=_wide.from_host(cumulative[-1] - np.diff(at_start)),
    )
