"""A million negatives that are no edges, ten for each of 100,000 nodes: nsx, a rejection loop, torch_geometric.

The graph is directed, ten edges per node, half of them from anchors of a Zipf law: hubs of 1e5 neighbours and more.
Anchors are those of edges drawn at random, as in training, so hubs come often. And the sorting of the edges before.
"""

from __future__ import annotations

import importlib
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._race import Run, Topic
from nsx import graphs

ANCHORS = 100_000
EACH = 10
DEGREE = 10
SIZES = {"quick": (10**4, 10**5), "full": (10**5, 10**6), "device": (10**5, 10**6, 10**7)}


def edge_list(nodes: int) -> np.ndarray:
    """Directed edges (anchor, target), ten per node; node 1 is the largest hub."""
    rng = np.random.default_rng(0)
    count = DEGREE * nodes
    zipf = np.minimum(np.exp(rng.random(count) * np.log(nodes)), nodes - 1).astype(np.int64)
    anchors = np.where(rng.random(count) < 0.5, zipf, rng.integers(0, nodes, count))
    return np.stack([anchors, rng.integers(0, nodes, count)], axis=1)


def proposal(nodes: int) -> np.ndarray:
    """Log-weights of a law that is not uniform: a power 3/4 of Zipf's."""
    return -0.75 * np.log(np.arange(1, nodes + 1))


def rejection(keys: np.ndarray, anchors: np.ndarray, nodes: int, seed: int) -> np.ndarray:
    """Draw, look the pairs up among the sorted edges, draw again what was one: what a user writes first."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(anchors, EACH)
    drawn = rng.integers(0, nodes, rows.size)
    left = np.arange(rows.size)
    while left.size:
        pairs = rows[left] * nodes + drawn[left]
        place = np.minimum(np.searchsorted(keys, pairs), keys.size - 1)
        left = left[(keys[place] == pairs) | (drawn[left] == rows[left])]
        drawn[left] = rng.integers(0, nodes, left.size)
    return drawn


def contestants(nodes: int) -> dict[str, Run]:
    """A new key or seed every run; edges are sorted before, for all."""
    edges = edge_list(nodes)
    anchors = edges[np.random.default_rng(1).integers(0, len(edges), ANCHORS), 0]
    keys = np.unique(edges[:, 0] * nodes + edges[:, 1])
    uniform = graphs.index_edges(edges, num_nodes=nodes)
    weighted = graphs.index_edges(edges, num_nodes=nodes, log_weights=proposal(nodes))
    draw = jax.jit(graphs.draw_from_index, static_argnames="k")
    places = jnp.asarray(anchors)
    turn = itertools.count()

    def run(index: graphs.EdgeIndex) -> jax.Array:
        return draw(jax.random.key(next(turn)), index, places, k=EACH).block_until_ready()

    runs = {
        "nsx.draw_from_index": lambda: run(uniform),
        "nsx, with a law": lambda: run(weighted),
        "numpy rejection": lambda: rejection(keys, anchors, nodes, next(turn)),
    }
    try:
        torch, utils = importlib.import_module("torch"), importlib.import_module("torch_geometric.utils")
    except ImportError:
        return runs
    pairs = torch.from_numpy(np.stack([keys // nodes, keys % nodes]))
    count = ANCHORS * EACH
    # of the whole graph, not of given anchors: it has no call for these
    peer = partial(utils.negative_sampling, pairs, num_nodes=nodes, num_neg_samples=count, method="sparse")
    return runs | {"torch_geometric": peer}


def build(nodes: int) -> dict[str, Run]:
    """Sorting the edges once."""
    edges = edge_list(nodes)
    law = proposal(nodes)

    def index(log_weights: np.ndarray | None) -> graphs.EdgeIndex:
        return jax.block_until_ready(graphs.index_edges(edges, num_nodes=nodes, log_weights=log_weights))

    return {
        "nsx.index_edges": lambda: index(None),
        "nsx, with a law": lambda: index(law),
        "numpy unique": lambda: np.unique(edges[:, 0] * nodes + edges[:, 1]),
    }


TOPICS = (
    Topic("non_edges", "a million negatives that are no edges", "nodes n, 10 n edges", SIZES, contestants,
          goals={"numpy rejection": 3.0}),
    Topic("edge_index", "sorting 10 n edges for draws", "nodes n", SIZES, build),
)  # fmt: skip
