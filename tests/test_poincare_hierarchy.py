"""Hierarchies: closure, the trainer against loops over relations, metrics against loops over nodes."""

import numpy as np
import pytest
from oracles import hierarchy as oracle

from experiments import data
from experiments.data import hierarchy, wordnet
from nsx import poincare


def random_dag(rng, num_nodes, num_edges):
    """Edges from larger to smaller places in a random order, some of them twice."""
    order = rng.permutation(num_nodes)
    pairs = np.sort(rng.integers(0, num_nodes, (num_edges, 2)), axis=1)[:, ::-1]
    return order[pairs[pairs[:, 0] > pairs[:, 1]]]


class TestClosure:
    def test_against_walks_from_every_node(self):
        rng = np.random.default_rng(0)
        for size, edges in [(3, 9), (12, 8), (12, 40), (40, 60), (40, 300)]:
            dag = random_dag(rng, size, edges)
            got = poincare.transitive_closure(dag, num_nodes=size + 2)
            np.testing.assert_array_equal(got, oracle.ancestors(dag.tolist(), size + 2))
            assert got.dtype == np.int32

    def test_is_its_own_closure(self):
        closed = poincare.transitive_closure(random_dag(np.random.default_rng(1), 30, 80), num_nodes=30)
        np.testing.assert_array_equal(poincare.transitive_closure(closed, num_nodes=30), closed)

    def test_long_chain(self):
        chain = np.stack([np.arange(59), np.arange(1, 60)], axis=1)
        got = poincare.transitive_closure(chain, num_nodes=60)
        np.testing.assert_array_equal(got, np.argwhere(np.triu(np.ones((60, 60)), 1)))

    @pytest.mark.parametrize(
        ("edges", "error", "message"),
        [
            ([[0, 1], [1, 2], [2, 0], [3, 0]], ValueError, "cycle of length 3 through the nodes 0, 1, 2:"),
            ([[0, 1], [2, 2]], ValueError, "cycle of length 1 through the nodes 2"),
            ([[i, (i + 1) % 9] for i in range(9)], ValueError, r"length 9 through the nodes 0, 1, 2, 3, 4, \.\.\."),
            ([[0, 9]], ValueError, r"ids from 0 to 9, outside \[0, 9\)"),
            ([[-1, 2]], ValueError, "ids from -1 to 2"),
            ([[0.0, 1.0]], TypeError, "integer node ids"),
            ([], ValueError, r"at least one row .* got \(0,\)"),
            ([[0, 1, 2]], ValueError, r"got \(1, 3\)"),
        ],
    )
    def test_bad_edges(self, edges, error, message):
        with pytest.raises(error, match=message):
            poincare.transitive_closure(edges, num_nodes=9)


class TestWordNet:
    NAMES = ("entity", "mammal", "tusker", "dog", "pet", "puppy", "stone")
    EDGES = ((1, 0), (2, 1), (3, 1), (3, 4), (5, 3), (6, 0), (4, 0))

    def test_subtree_keeps_pairs_among_its_nodes(self):
        closed = hierarchy.close(wordnet.Hypernyms(np.arange(7), self.NAMES, np.array(self.EDGES)))
        got = hierarchy.subtree(closed, 1, without=("tusker",))
        assert got.names == ("mammal", "dog", "puppy")
        np.testing.assert_array_equal(got.relations, [[1, 0], [2, 0], [2, 1]])
        assert hierarchy.subtree(closed, 1).names == ("mammal", "tusker", "dog", "puppy")

    @pytest.mark.fetch
    def test_published_counts(self):
        if not data.available("wordnet"):
            pytest.skip("wordnet is not in the data cache; run: python -m experiments fetch wordnet")
        nouns, mammals = hierarchy.noun_closure(), hierarchy.mammals()
        assert (len(nouns.names), len(nouns.relations)) == (82_115, 743_241)
        assert (len(mammals.names), len(mammals.relations)) == (1_180, 6_540)
        without = np.unique(mammals.relations[:, 0])
        assert [n for i, n in enumerate(mammals.names) if i not in without] == ["mammal"]
        entity = nouns.names.index("entity")
        assert np.sum(nouns.relations[:, 1] == entity) == 82_114
        above = {mammals.names[p] for c, p in mammals.relations.tolist() if mammals.names[c] == "lion"}
        assert above == {"big_cat", "feline", "carnivore", "placental", "mammal"}
        filtered = hierarchy.subtree(nouns, nouns.names.index("mammal")).relations
        assert len(filtered) == 6_542
