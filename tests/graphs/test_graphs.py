"""nsx.graphs against sets of neighbours, lists of all graphs, and the corners: empty, complete, star."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from nsx import graphs, losses, samplers
from tests.helpers import EPS, FLOAT, PRECISION, SEED
from tests.oracles import graphs as oracle

RNG = np.random.default_rng(SEED)
N = 12


def draw_graph(p, n=N):
    above = np.triu(RNG.random((n, n)) < p, 1)
    return above | above.T


STAR = np.zeros((N, N), bool)
STAR[0, 1:] = STAR[1:, 0] = True
EMPTY, COMPLETE = np.zeros((N, N), bool), ~np.eye(N, dtype=bool)
GRAPHS = {"sparse": draw_graph(0.15), "dense": draw_graph(0.6), "star": STAR, "empty": EMPTY, "complete": COMPLETE}


@jax.jit
def describe(adjacency, log_weights):
    weights = graphs.non_neighbours(adjacency, log_weights=log_weights)
    kept, common = graphs.has_negatives(weights), graphs.common_neighbours(adjacency)
    rates = [graphs.hard_negative_rate(weights, common, threshold=h, where=kept) for h in (1, 3)]
    return weights, kept, common, rates


@pytest.mark.parametrize("name", GRAPHS)
def test_equals_the_sets(name, tolerance):
    a, log_weights = GRAPHS[name], RNG.normal(size=(N, N)).astype(FLOAT)
    log_weights[3, 5] = -np.inf
    weights, kept, common, rates = describe(a, log_weights)
    np.testing.assert_array_equal(common, oracle.common(a))
    forbidden = a | np.eye(N, dtype=bool)
    assert np.all(weights[forbidden] == -np.inf)
    np.testing.assert_array_equal(weights[~forbidden], log_weights[~forbidden])
    for h, rate in zip((1, 3), rates, strict=True):
        exact = oracle.hard_rate(a, np.exp(log_weights.astype(float)), h)
        assert [e is None for e in exact] == [not k for k in kept]
        np.testing.assert_allclose(rate, [e or 0.0 for e in exact], rtol=100 * tolerance, atol=tolerance)
    eager = graphs.hard_negative_rate(weights, common, threshold=1, where=kept)
    np.testing.assert_allclose(eager, rates[0], rtol=100 * tolerance)


def test_star():
    """The hub has no negatives: refused, or masked; all leaf pairs share exactly the hub."""
    weights, common = graphs.non_neighbours(STAR), graphs.common_neighbours(STAR)
    assert np.all(weights[0] == -np.inf)
    with pytest.raises(ValueError, match=r"node 0 has no negative.*where=has_negatives"):
        graphs.hard_negative_rate(weights, common, threshold=1)
    with pytest.raises(ValueError, match="all -inf"):
        samplers.probabilities(weights)
    kept = graphs.has_negatives(weights)
    assert kept.tolist() == [False] + [True] * (N - 1)
    rates = [graphs.hard_negative_rate(weights, common, threshold=h, where=kept) for h in (1, 2)]
    np.testing.assert_allclose(rates[0], [0.0] + [1.0] * (N - 1), rtol=1e-6)
    assert np.all(rates[1] == 0)
    traced = jax.jit(lambda w: graphs.hard_negative_rate(w, common, threshold=1))(weights)
    assert np.isnan(traced[0])
    np.testing.assert_allclose(traced[1:], 1, rtol=1e-6)


def test_shared_law_and_a_batch():
    a, law = GRAPHS["sparse"], np.arange(N, dtype=FLOAT)
    weights = graphs.non_neighbours(a, log_weights=law)
    np.testing.assert_array_equal(weights, graphs.non_neighbours(a, log_weights=np.tile(law, (N, 1))))
    batch = np.stack([GRAPHS["sparse"], GRAPHS["dense"]])
    np.testing.assert_array_equal(jax.vmap(graphs.common_neighbours)(batch)[1], graphs.common_neighbours(batch[1]))


def test_expected_common_neighbours_equals_the_list_of_graphs(tolerance):
    p = RNG.random((6, 6)).astype(FLOAT)
    p = (p + p.T) / 2
    law = oracle.law_of_common(p.astype(float))
    value = graphs.expected_common_neighbours(p)
    np.testing.assert_allclose(value[0, 1], np.dot(np.arange(5), law), rtol=100 * tolerance)
    np.testing.assert_array_equal(np.diag(value), 0)
    blocks = np.kron(np.array([[0.6, 0.1], [0.1, 0.6]]), np.ones((6, 6)))  # a planted partition
    value = graphs.expected_common_neighbours(blocks)
    np.testing.assert_allclose(value[0, 1], 4 * 0.36 + 6 * 0.01, rtol=1e-5)
    np.testing.assert_allclose(value[0, 6], 10 * 0.06, rtol=1e-5)


@pytest.mark.parametrize("threshold", [0, 1, 2, 4, 5])
def test_erdos_renyi_hard_rate(threshold, tolerance):
    p = np.array([0.0, 0.05, 0.3, 0.9, 1.0], FLOAT)
    value = graphs.erdos_renyi_hard_rate(6, p, threshold=threshold)
    exact = [sum(oracle.law_of_common(np.full((6, 6), float(x)))[threshold:]) for x in p]
    np.testing.assert_allclose(value, exact, rtol=1e3 * tolerance, atol=tolerance)
    large = graphs.erdos_renyi_hard_rate(5000, np.array(0.01, FLOAT), threshold=3)
    np.testing.assert_allclose(large, stats.binom.sf(2, 4998, 1e-4), rtol=1e3 * tolerance)
    slope = jax.vmap(jax.grad(lambda x: graphs.erdos_renyi_hard_rate(6, x, threshold=threshold)))(p)
    assert np.all(np.isfinite(slope))
    if 0 < threshold < 5:
        law = lambda x: stats.binom.sf(threshold - 1, 4, x * x)
        np.testing.assert_allclose(slope[1:4], (law(p[1:4] + 1e-4) - law(p[1:4] - 1e-4)) / 2e-4, rtol=1e-2, atol=1e-4)


TAILS = [  # nodes, p, threshold: means from 1e-3 to 5e6, thresholds from both tails
    (10**7, 1e-5, 1),
    (10**6, 0.01, 130),
    (10**6, 0.01, 70),
    (10**7, 8.6e-4, 5),
    (10**7, 0.001, 2),
    (10**7, 0.5, 2_505_000),
    (10**7, 0.7, 4_899_000),
    (10**7, 0.9999, 9_998_050),
    (5000, 0.02, 8),
    (40, 0.9, 20),
    (40, 0.3, 20),
]


@pytest.mark.parametrize(("nodes", "p", "threshold"), TAILS)
def test_hard_rate_of_large_graphs(nodes, p, threshold):
    """To rounding of p^2, which moves the mean by eps and so the rate by about |mean - h| eps of itself."""
    p = FLOAT(p)
    exact = oracle.binomial_tail(nodes - 2, p, threshold)
    margin = 64 * EPS * (1 + abs((nodes - 2) * float(p) ** 2 - threshold))
    rate = jax.jit(lambda p: graphs.erdos_renyi_hard_rate(nodes, p, threshold=threshold))
    np.testing.assert_allclose(rate(p), exact, rtol=margin)
    if PRECISION == 64:
        step = 1e-4 / np.sqrt(nodes)
        difference = oracle.binomial_tail(nodes - 2, p + step, threshold)
        difference -= oracle.binomial_tail(nodes - 2, p - step, threshold)
        np.testing.assert_allclose(jax.grad(rate)(p), difference / (2 * step), rtol=1e-4)


def test_hard_rate_as_faults_were_reported():
    rate = graphs.erdos_renyi_hard_rate
    assert float(rate(10**7, FLOAT(1e-5), threshold=1)) == pytest.approx(9.995e-4, rel=1e-5)
    assert float(rate(10**6, FLOAT(0.01), threshold=130)) == pytest.approx(0.00228, rel=2e-3)


@pytest.mark.parametrize(("nodes", "threshold", "at_0", "at_1"), [
    (12, 1, 0, 0), (12, 3, 0, 0), (12, 10, 0, 20), (3, 1, 0, 2), (10**7, 1, 0, 0), (4, 1, 0, 0), (4, 2, 0, 4),
    (12, 0, 0, 0), (12, 11, 0, 0),
])  # fmt: skip
def test_hard_rate_at_the_ends(nodes, threshold, at_0, at_1):
    """The rate is p^2's share of pairs: 0 and 1 at the ends; slopes of 1 - (1 - p^2)^(n-2) and of p^(2n-4)."""
    rate = lambda p: graphs.erdos_renyi_hard_rate(nodes, p, threshold=threshold)
    ends = jnp.asarray([0.0, 1.0], FLOAT)
    low, high = (0, 1) if 0 < threshold <= nodes - 2 else ((1, 1) if threshold <= 0 else (0, 0))
    np.testing.assert_array_equal(rate(ends), [low, high])
    np.testing.assert_array_equal(jax.vmap(jax.grad(rate))(ends), [at_0, at_1])
    outside = jax.jit(rate)(jnp.asarray([-0.1, 1.1, np.nan], FLOAT))
    assert np.all(np.isnan(outside))
    if PRECISION == 64 and 0 < threshold <= nodes - 2 < 100:
        second = jax.grad(jax.grad(rate))(0.4)
        slopes = [float(jax.grad(rate)(0.4 + h)) for h in (1e-5, -1e-5)]
        np.testing.assert_allclose(second, (slopes[0] - slopes[1]) / 2e-5, rtol=1e-6, atol=1e-8)


def test_nan_is_neither_hidden_nor_spread():
    scores = np.zeros((N, N), FLOAT)
    weights = np.array(graphs.non_neighbours(STAR))
    kept = np.asarray(graphs.has_negatives(weights))
    spoilt = weights.copy()
    spoilt[3, 4] = np.nan
    rates = graphs.hard_negative_rate(spoilt, graphs.common_neighbours(STAR), threshold=1, where=kept)
    assert np.flatnonzero(np.isnan(rates)).tolist() == [3]
    spoilt[0] = np.nan  # the hub, masked
    rates = graphs.hard_negative_rate(spoilt, graphs.common_neighbours(STAR), threshold=1, where=kept)
    assert np.flatnonzero(np.isnan(rates)).tolist() == [3]
    for place, unknown in (((1, 2), True), ((0, 5), True), ((3, 3), False), ((0, 0), False)):
        bad = scores.copy()
        bad[place] = np.nan
        value, slope = jax.value_and_grad(lambda s: graphs.efficiency(s, STAR, weights, where=kept))(bad)
        assert bool(np.isnan(value)) == unknown
        assert bool(np.isnan(slope).any()) == unknown
    degrees = np.array([2.0, np.nan, 1.0], FLOAT)
    expected = graphs.configuration_common_neighbours(degrees)
    assert np.all(np.isnan(expected) | np.eye(3, dtype=bool))
    traced = jax.jit(graphs.configuration_common_neighbours)(np.array([2.0, -1.0, 3.0], FLOAT))
    assert np.any(np.isnan(traced))


def test_degrees_of_any_size_and_type():
    small = graphs.configuration_common_neighbours(np.array([3, 1, 2], np.int8))
    large = graphs.configuration_common_neighbours(np.array([3, 1, 2], np.int64) * 2**33)
    ratio = np.asarray(large)[0, 1] / np.asarray(small)[0, 1]
    d = np.array([3.0, 1.0, 2.0])
    exact = [
        (c * d[0]) * (c * d[1]) * (np.mean((c * d) ** 2) - np.mean(c * d)) / np.mean(c * d) ** 2 for c in (1, 2**33)
    ]
    np.testing.assert_allclose(ratio, exact[1] / exact[0], rtol=1e-5)
    far = graphs.configuration_common_neighbours(np.array([1e25, 1e25], FLOAT) if PRECISION == 64 else [1e18, 1e18])
    assert np.all(np.isfinite(far)), "the mean square alone would overflow"


def test_configuration_common_neighbours(tolerance):
    degrees = RNG.integers(0, 9, 30)
    value = graphs.configuration_common_neighbours(degrees)
    for i, j in ((0, 1), (5, 17), (29, 3)):
        np.testing.assert_allclose(value[i, j], oracle.configuration(degrees.tolist(), i, j), rtol=100 * tolerance)
    assert np.all(graphs.configuration_common_neighbours(np.zeros(4, int)) == 0)
    assert np.all(np.isfinite(jax.grad(lambda d: graphs.configuration_common_neighbours(d).sum())(jnp.zeros(4))))
    np.testing.assert_array_equal(np.diag(value), 0)


@pytest.mark.parametrize("name", ["sparse", "dense", "star"])
def test_efficiency(name, tolerance):
    a, scores = GRAPHS[name], RNG.normal(size=(N, N)).astype(FLOAT)
    weights = graphs.non_neighbours(a)
    value = graphs.efficiency(scores, a, weights, where=graphs.has_negatives(weights))
    np.testing.assert_allclose(value, oracle.efficiency(scores.astype(float), a), rtol=100 * tolerance)
    push = jax.grad(lambda s: losses.sgns(0.0, s[None]))(scores[0, 1])
    np.testing.assert_allclose(push, 1 / (1 + np.exp(-scores[0, 1])), rtol=1e-5)


def test_efficiency_gradient_is_finite_and_right():
    a, scores = STAR, jnp.asarray(RNG.normal(size=(N, N)), FLOAT)
    weights = graphs.non_neighbours(a)
    value = lambda s: graphs.efficiency(s, a, weights, where=graphs.has_negatives(weights))
    gradient = jax.grad(value)(scores)
    assert np.all(np.isfinite(gradient))
    if PRECISION == 64:
        for i, j in ((1, 2), (0, 3)):
            up, down = (value(scores.at[i, j].add(h)) for h in (1e-5, -1e-5))
            np.testing.assert_allclose(gradient[i, j], (up - down) / 2e-5, rtol=1e-6)


def test_empty_and_complete():
    scores = np.zeros((N, N), FLOAT)
    weights = graphs.non_neighbours(EMPTY)
    assert np.all(graphs.hard_negative_rate(weights, graphs.common_neighbours(EMPTY), threshold=1) == 0)
    with pytest.raises(ValueError, match="no edge"):
        graphs.efficiency(scores, EMPTY, weights)
    assert np.isnan(jax.jit(lambda a: graphs.efficiency(scores, a, weights))(EMPTY))
    weights = graphs.non_neighbours(COMPLETE)
    with pytest.raises(ValueError, match="no anchor counts"):
        graphs.efficiency(scores, COMPLETE, weights, where=graphs.has_negatives(weights))


def test_random_graphs_have_their_edges():
    """Share of edges within the binomial's normal quantile of a false alarm in a million."""
    p = np.kron(np.array([[0.5, 0.05], [0.05, 0.5]]), np.ones((10, 10))).astype(FLOAT)
    keys = jax.random.split(jax.random.key(SEED), 400)
    a = np.asarray(jax.vmap(lambda k: graphs.random_graph(k, p))(keys))
    assert np.all(a == a.swapaxes(1, 2))
    assert not a[:, np.arange(20), np.arange(20)].any()
    upper = np.triu_indices(20, 1)
    counts, expected = a[:, upper[0], upper[1]].sum(0), 400 * p[upper].astype(float)
    z = (counts - expected) / np.sqrt(expected * (1 - p[upper]))
    assert np.sum(z**2) < stats.chi2.ppf(1 - 1e-6, z.size)


@pytest.mark.parametrize(("n", "m"), [(4, 3), (30, 1), (30, 4)])
def test_preferential_attachment(n, m):
    a = np.asarray(graphs.preferential_attachment(jax.random.key(SEED), num_nodes=n, num_edges=m))
    assert np.all(a == a.T)
    assert a.sum() == 2 * m * (n - m)
    assert np.all(np.triu(a)[:, m + 1 :].sum(axis=0) == m), "each new node brings m edges to older ones"


def test_attachment_prefers_high_degree():
    """m = 1: the third node takes either end of the edge, the fourth the middle of the path with probability 1/2."""
    keys = jax.random.split(jax.random.key(SEED + 1), 4000)
    a = np.asarray(jax.vmap(lambda k: graphs.preferential_attachment(k, num_nodes=4, num_edges=1))(keys))
    middle = np.argmax(a[:, :3, :3].sum(1), axis=1)
    share = a[np.arange(4000), 3, middle].mean()
    assert abs(share - 0.5) < 4.9 * 0.5 / np.sqrt(4000)
    assert abs(a[:, 2, 0].mean() - 0.5) < 4.9 * 0.5 / np.sqrt(4000)


W = graphs.non_neighbours(EMPTY)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: graphs.common_neighbours(STAR.astype(int)), TypeError, "adjacency must be boolean"),
        (lambda: graphs.common_neighbours(STAR[:3]), ValueError, r"got shape \(3, 12\)"),
        (lambda: graphs.common_neighbours(np.zeros((1, 1), bool)), ValueError, "n >= 2"),
        (lambda: graphs.common_neighbours(np.eye(3, dtype=bool)), ValueError, "empty diagonal"),
        (lambda: graphs.common_neighbours(np.triu(np.ones((3, 3), bool), 1)), ValueError, "symmetric"),
        (lambda: graphs.non_neighbours(STAR, log_weights=np.zeros(3)), ValueError, r"got \(3,\)"),
        (lambda: graphs.hard_negative_rate(W, np.zeros((2, 2), int), threshold=1), ValueError, "common must"),
        (
            lambda: graphs.hard_negative_rate(W, np.zeros((N, N), int), threshold=1, where=np.ones(3, bool)),
            ValueError,
            "where of shape",
        ),
        (lambda: graphs.efficiency(np.zeros((2, 2)), STAR, W), ValueError, "must fit the graph"),
        (lambda: graphs.expected_common_neighbours(np.full((3, 3), 1.5)), ValueError, r"in \[0, 1\]"),
        (lambda: graphs.random_graph(jax.random.key(0), np.zeros((3, 2))), ValueError, "square"),
        (lambda: graphs.configuration_common_neighbours(np.array([-1, 2])), ValueError, ">= 0"),
        (lambda: graphs.erdos_renyi_hard_rate(1, 0.5, threshold=1), ValueError, "at least 2"),
        (lambda: graphs.erdos_renyi_hard_rate(5, 1.5, threshold=1), ValueError, r"in \[0, 1\]"),
        (lambda: graphs.erdos_renyi_hard_rate(5, 0.5, threshold=1.5), TypeError, "threshold must be a Python integer"),
        (lambda: graphs.has_negatives(0.0), ValueError, "got a scalar"),
        (lambda: graphs.hard_negative_rate(W[0], np.zeros(N, int), threshold=1), ValueError, "a row for each anchor"),
        (lambda: graphs.hard_negative_rate(W, np.zeros((N, N)), threshold=1), TypeError, "common must be integers"),
        (
            lambda: graphs.preferential_attachment(jax.random.key(0), num_nodes=3, num_edges=3),
            ValueError,
            "at least 4",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
