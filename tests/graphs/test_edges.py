"""Draws of non-edges against lists of them: the inverse map for every coin, then its draws; corners and bad input."""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from nsx import graphs
from nsx._wide import Wide
from nsx.graphs import _draws
from tests.helpers import FLOAT, PRECISION, SEED
from tests.oracles import graphs as oracle

RNG = np.random.default_rng(SEED)
N = 9


def draw_edges(p, sources=N, targets=N):
    """A directed graph, some edges twice, some to the node itself, in any order."""
    edges = np.argwhere(RNG.random((sources, targets)) < p)
    edges = np.concatenate([edges, edges[::3]])
    return RNG.permutation(edges)


HUB = np.array([[0, j] for j in range(1, N - 1)] + [[j, 0] for j in range(1, N)])
"""Node 0 is joined to all but itself and the last one, node N - 1 to node 0."""
LAW = np.log(
    np.array([5.0, 0.0, 1.0, 3.0, 0.25, 40.0, 1e-6, 2.0, 1.0]), where=np.arange(N) != 1, out=np.full(N, -np.inf)
)

# edges, targets as given, targets by id, whether a node may be its own
GRAPHS = {
    "sparse": (draw_edges(0.2), None, range(N), False),
    "dense": (draw_edges(0.7), None, range(N), False),
    "hub": (HUB, None, range(N), False),
    "empty": (np.zeros((0, 2), int), None, range(N), False),
    "bipartite": (draw_edges(0.5, targets=5), 5, range(5), True),
    "one kind": (draw_edges(0.5, targets=4) + np.array([0, 3]), range(3, 7), range(3, 7), False),
}
LAWS = {"uniform": None, "law": LAW}


def make_index(name, law):
    edges, targets, ids, _ = GRAPHS[name]
    log_weights = None if LAWS[law] is None else LAW[np.array(ids)]
    return graphs.index_edges(edges, num_nodes=N, targets=targets, log_weights=log_weights)


def exact_law(name, law, anchor):
    edges, _, ids, itself = GRAPHS[name]
    weight = dict.fromkeys(ids, 1.0) if LAWS[law] is None else {j: float(np.exp(LAW[j])) for j in ids}
    free = oracle.non_edges(edges.tolist(), anchor, ids, itself)
    if not any(weight[j] > 0 for j in free):
        return {}
    return oracle.law_of_non_edges(edges.tolist(), anchor, ids, itself, weight)


invert = jax.jit(_draws._invert)
rows = jax.jit(_draws._rows)


def inverse_map(index, anchor, coins):
    """The ids that coins 0, ..., free - 1 mean for one anchor."""
    coins = np.array(coins, np.uint64)
    words = Wide(
        high=jnp.asarray((coins >> np.uint64(32)).astype(np.uint32)),
        low=jnp.asarray(coins.astype(np.uint32)),
    )
    return np.asarray(invert(index, rows(index, jnp.int32(anchor)), words) + index.first).tolist()


# --- The inverse map, coin by coin


@pytest.mark.parametrize("name", GRAPHS)
def test_uniform_every_rank_is_its_non_edge(name):
    index = make_index(name, "uniform")
    edges, _, ids, itself = GRAPHS[name]
    counts = np.asarray(graphs.non_edge_counts(index)).tolist()
    for anchor in range(N):
        free = oracle.non_edges(edges.tolist(), anchor, ids, itself)
        assert counts[anchor] == len(free)
        assert inverse_map(index, anchor, range(len(free))) == free


@pytest.mark.parametrize("name", GRAPHS)
def test_law_every_coin_on_a_grid_is_its_non_edge(name):
    """The coin at a share u of the anchor's mass is the first id whose running probability, in float64, passes u."""
    index = make_index(name, "law")
    free = (np.asarray(index.law.free.high).astype(object) << 32) + np.asarray(index.law.free.low).astype(object)
    shares = (np.arange(4096) + 0.5) / 4096
    for anchor in range(N):
        law = exact_law(name, "law", anchor)
        if not law:
            assert free[anchor] == 0
            continue
        passed = np.searchsorted(np.cumsum(list(law.values())), shares, side="right")
        coins = [int(free[anchor]) * (2 * i + 1) // 8192 for i in range(4096)]
        assert inverse_map(index, anchor, coins) == [list(law)[i] for i in passed]


@pytest.mark.parametrize("name", GRAPHS)
def test_law_is_exact_at_every_seam(name):
    """In Python's integers: the last unit of each non-edge is its own, the next one is the next one's."""
    index = make_index(name, "law")
    edges, _, ids, itself = GRAPHS[name]
    high, low = (np.asarray(word).astype(object) for word in index.law.cumulative)
    cumulative = [int(h) * 2**32 + int(w) for h, w in zip(high, low, strict=True)]
    units = dict(zip(ids, np.diff([0, *cumulative]).tolist(), strict=True))
    assert abs(cumulative[-1] - 2**63) <= 2**11 * len(ids), "units of 2^-63, each mass rounded as float64 is"
    for anchor in range(N):
        free = [j for j in oracle.non_edges(edges.tolist(), anchor, ids, itself) if units[j]]
        coins, expected, total = [], [], 0
        for j in free:
            coins += [total, total + units[j] // 2, total + units[j] - 1]
            expected += [j] * 3
            total += units[j]
        held = int(index.law.free.high[anchor]) * 2**32 + int(index.law.free.low[anchor])
        assert held == total
        if coins:
            assert inverse_map(index, anchor, coins) == expected


# --- Draws


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", GRAPHS)
def test_draws_follow_the_law(name, law):
    """Chi-square of each anchor's draws at a false alarm of 1e-6 in all 12 cases together, and no draw off the law."""
    index = make_index(name, law)
    laws = {i: exact_law(name, law, i) for i in range(N)}
    anchors = np.array([i for i in range(N) if laws[i]])
    k = 4000
    drawn = np.asarray(graphs.draw_from_index(jax.random.key(SEED), index, anchors, k=k))
    assert drawn.shape == (len(anchors), k)
    assert drawn.dtype == np.int32
    statistic, degrees = 0.0, 0
    for anchor, row in zip(anchors, drawn, strict=True):
        likely = {j: p for j, p in laws[anchor].items() if p * k >= 5}
        assert {int(j) for j in row} <= {j for j, p in laws[anchor].items() if p > 0}
        counts = np.array([np.sum(row == j) for j in likely])
        expected = np.array(list(likely.values())) * k
        rest = k - counts.sum(), k - expected.sum()
        statistic += np.sum((counts - expected) ** 2 / expected)
        statistic += (rest[0] - rest[1]) ** 2 / rest[1] if rest[1] >= 5 else 0
        degrees += len(likely) - 1 + (rest[1] >= 5)
    assert statistic < stats.chi2.ppf(1 - 1e-6 / 12, degrees) if degrees else statistic == 0


def test_the_one_call_equals_the_two():
    edges, targets, ids, _ = GRAPHS["one kind"]
    weights = LAW[np.array(ids)]
    key = jax.random.key(SEED)
    anchors = np.array([[0, 8], [1, 2]], np.uint8)
    index = graphs.index_edges(edges, num_nodes=N, targets=targets, log_weights=weights)
    one = graphs.draw_non_edges(
        jax.random.clone(key), edges, anchors, k=3, num_nodes=N, targets=targets, log_weights=weights
    )
    np.testing.assert_array_equal(one, graphs.draw_from_index(key, index, anchors, k=3))
    assert one.shape == (2, 2, 3)


def test_jit_vmap_scalars_and_none():
    index = make_index("sparse", "law")
    draw = jax.jit(graphs.draw_from_index, static_argnames="k")
    for anchors in (np.int64(3), np.array([], int), np.array([[4, 4, 5]])):
        eager = graphs.draw_from_index(jax.random.key(SEED), index, anchors, k=5)
        assert eager.shape == (*np.shape(anchors), 5)
        np.testing.assert_array_equal(draw(jax.random.key(SEED), index, anchors, k=5), eager)
    keys = jax.random.split(jax.random.key(SEED + 1), 3)
    second = jax.random.clone(keys[1])
    many = jax.vmap(lambda key: graphs.draw_from_index(key, index, jnp.array([2, 3]), k=4))(jax.random.clone(keys))
    np.testing.assert_array_equal(many[1], graphs.draw_from_index(second, index, jnp.array([2, 3]), k=4))


def test_the_index_made_under_jit_of_concrete_edges():
    """A closure over an edge list: sorted while tracing, on the host."""
    edges = GRAPHS["dense"][0]
    anchors = np.flatnonzero(np.asarray(graphs.non_edge_counts(make_index("dense", "uniform"))))
    key = jax.random.key(SEED)
    inside = jax.jit(lambda key, a: graphs.draw_non_edges(key, edges, a, k=3, num_nodes=N))(
        jax.random.clone(key), anchors
    )
    np.testing.assert_array_equal(inside, graphs.draw_non_edges(key, edges, anchors, k=3, num_nodes=N))


def test_traced_anchors_without_a_non_edge_give_minus_one():
    full = np.array([[0, 1], [0, 2], [1, 0]])
    draw = jax.jit(graphs.draw_from_index, static_argnames="k")
    for law in (None, np.zeros(3), np.array([0.0, -np.inf, -np.inf])):
        index = graphs.index_edges(full, num_nodes=3, log_weights=law)
        for dtype in (np.int8, np.uint8, np.int32, np.uint32, np.int64 if PRECISION == 64 else np.int32):
            anchors = np.array([0, 1, 2, 3, 100], dtype)
            found = np.asarray(draw(jax.random.key(SEED), index, anchors, k=6))
            assert np.all(found[[0, 3, 4]] == -1)
            assert set(found[2].tolist()) <= {0, 1}
            assert np.all(found[1] == (2 if law is None or law[2] == 0 else -1))
        negative = np.asarray(draw(jax.random.key(SEED), index, np.array([-1, -(2**31)]), k=2))
        assert np.all(negative == -1)
    if PRECISION == 64:
        far = np.asarray(draw(jax.random.key(SEED), index, np.array([2**32 + 2, 2**40]), k=2))
        assert np.all(far == -1), "not modulo 2^32"
    wide = np.asarray(draw(jax.random.key(SEED), index, np.array([2**32 - 1, 2**31 + 2], np.uint32), k=2))
    assert np.all(wide == -1)


def test_the_hub_has_one_choice():
    found = graphs.draw_non_edges(jax.random.key(SEED), HUB, np.zeros(50, int), k=4, num_nodes=N)
    assert np.all(found == N - 1)


def test_never_an_edge_in_a_large_graph_and_within_memory():
    """A million nodes, degrees from 0 to 1e5, both laws: no draw is an edge or the node itself; memory is linear."""
    n, e = 10**6, 2 * 10**6
    source = np.minimum(RNG.pareto(0.8, e), n - 1).astype(np.int64)
    edges = np.stack([source, RNG.integers(0, n, e)], axis=1)
    keys = np.unique(edges[:, 0] * n + edges[:, 1])
    anchors = np.concatenate([np.arange(200), RNG.integers(0, n, 2000)])
    for weights in (None, RNG.normal(size=n)):
        tracemalloc.start()
        index = graphs.index_edges(edges, num_nodes=n, log_weights=weights)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < (56 if weights is None else 120) * (n + e), "bytes per node and edge, on the way"
        held = sum(leaf.nbytes for leaf in jax.tree.leaves(index))
        assert held <= 4 * (2 * n + e + 3) + (0 if weights is None else 16 * n + 8 * (n + e))
        drawn = np.asarray(graphs.draw_from_index(jax.random.key(SEED), index, anchors, k=50)).astype(np.int64)
        pairs = anchors[:, None] * n + drawn
        assert not np.any(keys[np.minimum(np.searchsorted(keys, pairs), len(keys) - 1)] == pairs)
        assert not np.any(drawn == anchors[:, None])
        assert drawn.min() >= 0
        assert drawn.max() < n


# --- Log-probabilities


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", GRAPHS)
def test_log_prob_equals_the_list(name, law, tolerance):
    index = make_index(name, law)
    ids = GRAPHS[name][2]
    for anchor in range(N):
        exact = exact_law(name, law, anchor)
        if not exact:
            with pytest.raises(ValueError, match=f"anchor {anchor} has no non-edge"):
                graphs.non_edge_log_prob(index, anchor, np.array(ids))
            continue
        p = np.exp(graphs.non_edge_log_prob(index, anchor, np.array(ids)))
        np.testing.assert_allclose(p, [exact.get(j, 0.0) for j in ids], rtol=20 * tolerance)
        np.testing.assert_allclose(p.sum(), 1, rtol=20 * tolerance)


def test_log_prob_of_what_is_no_target_or_node_is_nan_when_traced():
    index = make_index("one kind", "law")
    found = jax.jit(graphs.non_edge_log_prob)(index, np.array([0, N]), np.array([[2, 7, -1], [3, 4, 5]]))
    assert np.all(np.isnan(found))
    with pytest.raises(ValueError, match=r"ids must be in \[3, 6\], got 7 at \(0, 1\)"):
        graphs.non_edge_log_prob(index, np.array([0]), np.array([[3, 7]]))
    with pytest.raises(ValueError, match="one axis more"):
        graphs.non_edge_log_prob(index, np.array([0]), np.array([3, 4]))


# --- Laws that reach far


def test_an_anchor_left_with_too_little_of_the_law_is_refused():
    """Joined to the heavy target, the others 2^-50 of it: too few units of 2^-63; 2^-30 of it are enough."""
    edges = np.array([[1, 0]])

    def draw(anchor, exponent):
        weights = np.array([0.0, -np.inf, exponent * np.log(2), exponent * np.log(2)])
        return graphs.draw_non_edges(
            jax.random.key(SEED), edges, np.array([anchor]), k=4000, num_nodes=4, log_weights=weights
        )

    assert np.all(np.asarray(draw(2, -50)) == 0)
    share = float(np.mean(draw(1, -30) == 2))
    assert abs(share - 0.5) < 4.9 * 0.5 / np.sqrt(4000)
    with pytest.raises(ValueError, match=r"anchor 1 has no non-edge.*below 4 2\^-40"):
        draw(1, -50)


def test_weights_of_any_scale_and_type():
    edges = GRAPHS["sparse"][0]
    key = jax.random.key(SEED)
    one = graphs.draw_non_edges(jax.random.clone(key), edges, np.arange(3), k=50, num_nodes=N, log_weights=LAW)
    moved = graphs.draw_non_edges(key, edges, np.arange(3), k=50, num_nodes=N, log_weights=LAW + 1e4)
    assert np.mean(np.asarray(one) == np.asarray(moved)) > 0.99, "a constant changes the rounding of 1e4 alone"
    half = graphs.index_edges(edges, num_nodes=N, log_weights=jnp.zeros(N, jnp.bfloat16))
    assert float(half.law.cumulative.high[-1]) == pytest.approx(2**31, rel=1e-6)


def test_edges_of_every_integer_type_and_none():
    wanted = graphs.index_edges(GRAPHS["dense"][0], num_nodes=N)
    for dtype in (np.int8, np.uint8, np.uint32, np.int64, np.uint64):
        found = graphs.index_edges(GRAPHS["dense"][0].astype(dtype), num_nodes=N)
        np.testing.assert_array_equal(found.excluded, wanted.excluded)
        np.testing.assert_array_equal(found.starts, wanted.starts)
    by_jax = graphs.index_edges(jnp.asarray(GRAPHS["dense"][0]), num_nodes=N)
    np.testing.assert_array_equal(by_jax.excluded, wanted.excluded)
    assert np.asarray(graphs.non_edge_counts(graphs.index_edges([], num_nodes=4))).tolist() == [3] * 4


# --- Bad input

EDGES = np.array([[0, 1], [1, 2]])


def call(edges=EDGES, anchors=(0,), **options):
    options = {"k": 2, "num_nodes": 3} | options
    return graphs.draw_non_edges(jax.random.key(0), edges, np.asarray(anchors), **options)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"edges": EDGES.T[:, :1]}, ValueError, r"shape \(e, 2\), got \(2, 1\)"),
        ({"edges": EDGES * 1.0}, TypeError, "anchors of edges must be integers"),
        ({"edges": EDGES + 1}, ValueError, r"targets of edges must be in \[0, 2\], got 3 at \(1,\)"),
        ({"edges": EDGES + np.array([2**32, 0])}, ValueError, r"anchors of edges must be in \[0, 2\], got 4294967296"),
        ({"edges": -EDGES}, ValueError, r"anchors of edges must be in \[0, 2\], got -1"),
        ({"anchors": [3]}, ValueError, r"anchors must be in \[0, 2\], got 3 at \(0,\)"),
        ({"anchors": [2**32]}, ValueError, "got 4294967296"),
        ({"anchors": [0.0]}, TypeError, "anchors must be integers"),
        ({"k": 0}, ValueError, "k must be at least 1"),
        ({"k": 1.5}, TypeError, "k sets a shape"),
        ({"num_nodes": 0}, ValueError, "num_nodes must be at least 1"),
        ({"num_nodes": 2**31}, ValueError, "below 2"),
        ({"targets": 2}, ValueError, r"targets of edges must be in \[0, 1\], got 2"),
        ({"targets": 2**31}, ValueError, "targets must be below 2"),
        ({"targets": range(1, 5)}, ValueError, "0 <= low < high <= num_nodes = 3"),
        ({"targets": range(0, 3, 2)}, ValueError, r"got range\(0, 3, 2\)"),
        ({"targets": "items"}, TypeError, "targets sets a shape"),
        ({"log_weights": np.zeros(4)}, ValueError, r"shape \(3,\), got \(4,\)"),
        ({"log_weights": np.zeros((3, 3))}, ValueError, r"got \(3, 3\)"),
        ({"log_weights": np.array([0.0, np.nan, 0.0])}, ValueError, "hold NaN"),
        ({"log_weights": np.array([0.0, np.inf, 0.0])}, ValueError, r"\+inf"),
        ({"log_weights": np.full(3, -np.inf)}, ValueError, "all -inf"),
        ({"edges": np.array([[0, 1], [0, 2]])}, ValueError, "anchor 0 has no non-edge.*non_edge_counts"),
        ({"log_weights": np.array([0.0, 0.0, -np.inf])}, ValueError, "anchor 0 has no non-edge"),
    ],
)
def test_bad_input(wrong, error, message):
    with pytest.raises(error, match=message):
        call(**wrong)


def test_traced_edges_and_laws_are_refused():
    with pytest.raises(TypeError, match="built on the host"):
        jax.jit(lambda edges: call(edges=edges))(EDGES)
    with pytest.raises(TypeError, match="built on the host"):
        jax.jit(lambda weights: call(log_weights=weights))(np.zeros(3, FLOAT))
