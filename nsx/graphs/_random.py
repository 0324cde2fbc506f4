"""Random graphs: independent edges, and growth by preferential attachment."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from nsx._checks import require_count
from nsx._types import Array, ArrayLike, Bool, Float, Key
from nsx.graphs._checks import prepare_probabilities


def random_graph(key: Key[Array, ""], edge_probability: Float[ArrayLike, "n n"]) -> Bool[Array, "n n"]:
    r"""A graph with independent edges: Erdos-Renyi, a planted partition, or any other matrix of probabilities.

    $$A_{ij} = A_{ji} \sim \mathrm{Bernoulli}(p_{ij}), \qquad i < j.$$

    Args:
        key: a typed key, `jax.random.key`.
        edge_probability: p, shape `(n, n)`; only what lies above the diagonal is used.

    Returns:
        Adjacency, boolean, shape `(n, n)`; no edge where a traced p is outside [0, 1].

    Raises:
        ValueError: p not square, or (concrete) an entry outside [0, 1].

    Exact, to the resolution 2^-23 (float32) of a uniform draw.

    Example:
        >>> random_graph(jax.random.key(0), jnp.ones((2, 2))).tolist()
        [[False, True], [True, False]]

    References:
        [holland1983stochastic]
    """
    p = prepare_probabilities(edge_probability)
    above = jnp.triu(jax.random.uniform(key, p.shape, p.dtype) < p, 1)
    return above | above.T


def preferential_attachment(key: Key[Array, ""], *, num_nodes: int, num_edges: int) -> Bool[Array, "n n"]:
    r"""A scale-free graph: each new node brings m edges, to old nodes in proportion to their degree.

    $$P(\text{new} \to i) \propto d_i, \qquad m \text{ distinct ends, from a star of } m + 1 \text{ nodes.}$$

    Args:
        key: a typed key, `jax.random.key`.
        num_nodes: n > m, a Python integer.
        num_edges: m >= 1, a Python integer: edges per new node.

    Returns:
        Adjacency, boolean, shape `(n, n)`, with m (n - m) edges; nodes in order of arrival, node 0 the star's hub.

    Raises:
        ValueError: m < 1 or n <= m.
        TypeError: sizes that are not Python integers.

    Exact: the m ends are drawn one after another without replacement, degrees held until the node is in.

    Example:
        >>> graph = preferential_attachment(jax.random.key(0), num_nodes=10, num_edges=3)
        >>> int(graph.sum()) // 2
        21

    References:
        [barabasi1999emergence]
    """
    require_count("num_edges", num_edges)
    require_count("num_nodes", num_nodes, minimum=num_edges + 1)
    return _grow(key, num_nodes, num_edges)


@partial(jax.jit, static_argnums=(1, 2))
def _grow(key: Array, num_nodes: int, num_edges: int) -> Array:
    star = jnp.zeros((num_nodes, num_nodes), bool).at[0, 1 : num_edges + 1].set(True)
    late = jnp.arange(num_edges + 1, num_nodes)
    noise = jax.random.gumbel(key, (late.size, num_nodes))

    def join(graph: Array, entry: tuple[Array, Array]) -> tuple[Array, None]:
        node, luck = entry
        ends = jax.lax.top_k(jnp.log(jnp.sum(graph, axis=1).astype(luck.dtype)) + luck, num_edges)[1]
        return graph.at[node, ends].set(True).at[ends, node].set(True), None

    return jax.lax.scan(join, star | star.T, (late, noise))[0]
