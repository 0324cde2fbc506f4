"""Graphs of equal mean degree by design, and real ones: adjacency matrices and what their negatives are like."""

from functools import partial

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np

from experiments.data import noun_hypernyms
from nsx import graphs

REAL = ("karate club", "women's events", "Les Miserables", "WordNet: mammals")


def star(n):
    hub = jnp.arange(n) == 0
    return hub[:, None] ^ hub[None]


def block_probability(n, degree, blocks, inside):
    """A planted partition: `inside` of the mean degree falls in the node's own block."""
    same = jnp.arange(n)[:, None] % blocks == jnp.arange(n)[None] % blocks
    own, other = inside * degree / (n / blocks - 1), (1 - inside) * degree / (n - n / blocks)
    return jnp.where(same, own, other)


def scale_free_probability(n, degree, exponent=2.5):
    """Independent edges with expected degrees of a power law, the mean as given: d_i d_j / sum d, at most .9."""
    weight = (jnp.arange(n) + 10.0) ** (-1 / (exponent - 1))
    weight = weight * degree / jnp.mean(weight)
    return jnp.minimum(jnp.outer(weight, weight) / jnp.sum(weight), 0.9)


@partial(jax.jit, static_argnums=1)
def describe(adjacency, threshold):
    """Per node: degree, mean shared neighbours of its negatives, hard rate; 0 where it has no negative."""
    weights, common = graphs.non_neighbours(adjacency), graphs.common_neighbours(adjacency)
    kept = graphs.has_negatives(weights)
    open_pairs = weights > -jnp.inf
    shared = jnp.sum(jnp.where(open_pairs, common, 0), axis=1) / jnp.maximum(jnp.sum(open_pairs, axis=1), 1)
    rate = graphs.hard_negative_rate(weights, common, threshold=threshold, where=kept)
    return jnp.sum(adjacency, axis=1), shared, rate, kept


def gradient_by_shared(key, adjacency, dimension, steps, rate, top):
    """Mean push on negatives that share 0..top neighbours, after SGNS with one vector a node, and the efficiency.

    The loss is the mean pull over edges and the mean push over all other pairs, times the number of nodes.
    """
    weights, common = graphs.non_neighbours(adjacency), graphs.common_neighbours(adjacency)
    negative = weights > -jnp.inf

    def loss(x):
        scores = x @ x.T
        mean = lambda mask, values: jnp.sum(jnp.where(mask, values, 0)) / jnp.sum(mask)
        return len(x) * (mean(adjacency, jax.nn.softplus(-scores)) + mean(negative, jax.nn.softplus(scores)))

    step = lambda x, _: (x - rate * jax.grad(loss)(x), None)
    x = jax.lax.scan(step, 0.1 * jax.random.normal(key, (len(adjacency), dimension)), None, length=steps)[0]
    held = jnp.stack([negative & (common == c) for c in range(top)] + [negative & (common >= top)])
    push = jnp.sum(jnp.where(held, jax.nn.sigmoid(x @ x.T)[None], 0), axis=(1, 2)) / jnp.sum(held, axis=(1, 2))
    return push, graphs.efficiency(x @ x.T, adjacency, weights, where=graphs.has_negatives(weights))


def real():
    """Adjacency of each of REAL."""
    les = nx.convert_node_labels_to_integers(nx.les_miserables_graph())
    known = [nx.karate_club_graph(), nx.davis_southern_women_graph(), les, mammals()]
    return [np.asarray(nx.to_numpy_array(g, weight=None)) > 0 for g in known]


def mammals():
    """The noun hierarchy below mammal, as an undirected graph."""
    table = noun_hypernyms()
    graph = nx.DiGraph([(int(parent), int(child)) for child, parent in table.edges])
    root = table.names.index("mammal")
    return graph.subgraph({root} | nx.descendants(graph, root)).to_undirected()
