"""Hierarchies: closure, the trainer against loops over relations, metrics against loops over nodes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from experiments import data
from experiments.data import hierarchy, wordnet
from nsx import poincare
from nsx.poincare import _epoch, _negatives
from tests.helpers import PRECISION
from tests.oracles import hierarchy as oracle

FLOAT = jnp.float64 if PRECISION == 64 else jnp.float32
LOOSE = 1e-7 if PRECISION == 64 else 2e-4  # of central differences at step 1e-6, and of single precision
GEOMETRIES = {
    "ball": (poincare.ball_geometry(), oracle.ball_distance, oracle.ball_metric),
    "lorentz": (poincare.lorentz_geometry(), oracle.lorentz_distance, oracle.lorentz_metric),
    "euclidean": (poincare.euclidean_geometry(), oracle.euclidean_distance, oracle.flat_metric),
    "squared": (poincare.euclidean_geometry(squared=True), oracle.squared_distance, oracle.flat_metric),
}
each_geometry = pytest.mark.parametrize(("geometry", "distance", "metric"), GEOMETRIES.values(), ids=GEOMETRIES)


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


def some_points(seed, *shape):
    """Rows well inside the ball."""
    x = np.random.default_rng(seed).normal(size=shape)
    return jnp.asarray(0.9 * x / (1 + np.linalg.norm(x, axis=-1, keepdims=True)), FLOAT)


class TestGeometry:
    @each_geometry
    def test_closeness_falls_with_distance(self, geometry, distance, metric, tolerance):
        u, v = some_points(0, 5, 1, 3), some_points(1, 5, 4, 3)
        closeness, _ = geometry.pull(u, v)
        apart = [[distance(a[0], b) for b in row] for a, row in zip(np.float64(u), np.float64(v), strict=True)]
        expected = np.exp(-np.array(apart))
        ratio = np.asarray(closeness) / expected
        np.testing.assert_allclose(ratio, ratio[:, :1] * np.ones((1, 4)), rtol=100 * tolerance)

    @each_geometry
    def test_gradients_are_riemannian(self, geometry, distance, metric):
        u, v = some_points(2, 1, 1, 3), some_points(3, 1, 4, 3)
        c = jnp.asarray([[0.7, -1.3, 0.2, 2.0]], FLOAT)
        du, dv = geometry.pull(u, v)[1](c)
        points = np.concatenate([np.float64(u)[0], np.float64(v)[0]])
        loss = lambda x: sum(w * distance(x[0], z) for w, z in zip(np.float64(c)[0], x[1:], strict=True))
        expected = oracle.riemannian_gradient(loss, points, metric)
        np.testing.assert_allclose(np.concatenate([du, dv[0]]), expected, rtol=LOOSE, atol=LOOSE)

    @each_geometry
    def test_coincident_points_do_not_pull(self, geometry, distance, metric):
        u = some_points(4, 2, 1, 3)
        closeness, gradients = geometry.pull(u, jnp.concatenate([u, -u], axis=1))
        du, dv = gradients(jnp.asarray([[1.0, 0.0]] * 2, FLOAT))
        assert not np.any(du)
        assert not np.any(dv)
        assert np.all(np.isfinite(closeness))
        assert np.all(closeness[:, 0] > closeness[:, 1])

    @each_geometry
    def test_chart_orders_as_distances_do(self, geometry, distance, metric):
        x = some_points(5, 30, 3)
        y, factor = (np.float64(z) for z in geometry.chart(x))
        for u in range(5):
            key = np.sum((y - y[u]) ** 2, axis=1) * factor
            np.testing.assert_array_equal(
                np.argsort(key), np.argsort([distance(np.float64(x[u]), z) for z in np.float64(x)])
            )

    def test_lorentz_is_the_ball(self, tolerance):
        u, v = some_points(6, 5, 1, 3), some_points(7, 5, 4, 3)
        lift = lambda x: 2 * x / (1 - jnp.sum(x * x, axis=-1, keepdims=True))
        ball, lorentz = (
            g.pull(f(u), f(v))[0]
            for g, f in ((poincare.ball_geometry(), lambda x: x), (poincare.lorentz_geometry(), lift))
        )
        np.testing.assert_allclose(ball, lorentz, rtol=100 * tolerance)
        np.testing.assert_allclose(poincare.lorentz_geometry().chart(lift(u))[0], u, rtol=100 * tolerance)

    @pytest.mark.parametrize(
        "geometry", [poincare.ball_geometry(margin=0.25), poincare.euclidean_geometry(max_norm=0.75)]
    )
    def test_settle_shortens_long_rows_only(self, geometry, tolerance):
        x = jnp.asarray([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [0.0, -0.76]], FLOAT)
        np.testing.assert_allclose(geometry.settle(x), [[0.45, 0.6], [0.3, 0.4], [0, 0], [0, -0.75]], rtol=tolerance)

    def test_equal_geometries_are_one(self):
        assert poincare.euclidean_geometry(max_norm=1.0) is poincare.euclidean_geometry(max_norm=1.0)
        assert hash(poincare.ball_geometry())

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: poincare.ball_geometry(margin=0.0), "margin must be positive"),
            (lambda: poincare.ball_geometry(margin=1.0), r"margin must be in \[0, 1\)"),
            (lambda: poincare.euclidean_geometry(max_norm=-1.0), "max_norm must be positive"),
        ],
    )
    def test_bad_options(self, make, message):
        with pytest.raises(ValueError, match=message):
            make()


FAMILY = np.array([[1, 0], [2, 0], [2, 1], [3, 0], [4, 1], [4, 0], [5, 0], [5, 1], [5, 4]])


class TestNegatives:
    @pytest.mark.parametrize("weights", [None, (0.05, 0.2, 0.0, 0.3, 0.15, 0.1, 0.2)])
    def test_draws_follow_the_law(self, key, weights):
        """Chi-square of 40,000 draws for each of 7 anchors, at one false alarm in a million."""
        law = _negatives.noise_law(FAMILY, 7, None if weights is None else np.array(weights))
        word = jax.random.bits(key, (40_000, 7), jnp.uint32)
        drawn = np.asarray(jax.jit(_negatives.draw_negatives)(word, law, jnp.arange(7)))
        assert drawn.dtype == np.int32
        for node, row in enumerate(drawn):
            q = np.ones(7) if weights is None else np.array(weights)
            q[[node, *FAMILY[FAMILY[:, 0] == node, 1]]] = 0
            counts = np.bincount(row, minlength=7)
            assert not counts[q == 0].any()
            expected = counts.sum() * q[q > 0] / q.sum()
            assert np.sum((counts[q > 0] - expected) ** 2 / expected) < stats.chi2.isf(1e-6, np.sum(q > 0) - 1)

    def test_every_number_has_its_node(self):
        """Walk the whole line of a coarse law: each node gets its units, no more."""
        law = _negatives.noise_law(FAMILY, 7, np.full(7, 1 / 7))
        units = np.diff(np.asarray(law.ends), prepend=0)
        for node in range(7):
            kept = [z for z in range(7) if z != node and [node, z] not in FAMILY.tolist()]
            assert law.room[node] == units[kept].sum()
        assert _negatives.noise_law(FAMILY, 7).room.tolist() == [6, 5, 4, 5, 4, 3, 6]

    def test_law_of_burn_in_counts_ancestors(self):
        plan = poincare.hierarchy_plan(FAMILY, num_nodes=7, dampening=0.5)
        weights = np.sqrt([5, 3, 0, 0, 1, 0, 0])
        got = np.diff(np.asarray(plan.burn_in_noise.ends), prepend=0) / 2**30
        np.testing.assert_allclose(got, weights / weights.sum(), atol=2**-29)


def one_step(geometry, points, pairs, negatives, rate):
    """What a step must give, by the loops of the oracle."""
    distance, metric = next(g[1:] for g in GEOMETRIES.values() if g[0] is geometry)
    loss = lambda x: sum(oracle.relation_loss(x, u, v, z, distance) for (u, v), z in zip(pairs, negatives, strict=True))
    return points - rate * oracle.riemannian_gradient(loss, points, metric), loss(points)


class TestStep:
    @pytest.mark.parametrize("name", GEOMETRIES)
    def test_step_is_the_summed_gradient(self, name):
        geometry = GEOMETRIES[name][0]
        points = some_points(8, 7, 3)
        pairs, negatives = [(5, 4), (5, 0), (2, 1)], [(3, 6, 6), (2, 3, 1), (5, 5, 5)]
        others = jnp.asarray([[v, *z] for (_, v), z in zip(pairs, negatives, strict=True)])
        batch = jnp.asarray([5, 5, 2]), others, jnp.ones(3, FLOAT)
        got, loss = jax.jit(partial(_epoch._step, geometry))(jnp.asarray(0.05, FLOAT), points, batch)
        expected, expected_loss = one_step(geometry, np.float64(points), pairs, negatives, 0.05)
        np.testing.assert_allclose(got, expected, rtol=LOOSE, atol=LOOSE)
        np.testing.assert_allclose(loss, expected_loss, rtol=LOOSE)

    def test_a_relation_that_does_not_count_changes_nothing(self):
        batch = jnp.asarray([5]), jnp.asarray([[4, 3, 2]]), jnp.zeros(1, FLOAT)
        points = some_points(9, 7, 2)
        got, loss = _epoch._step(poincare.ball_geometry(), jnp.asarray(1.0, FLOAT), points, batch)
        np.testing.assert_array_equal(got, points)
        assert loss == 0

    @pytest.mark.parametrize("geometry", [poincare.ball_geometry(), poincare.euclidean_geometry(max_norm=1.0)])
    def test_large_steps_stay_inside(self, key, geometry):
        plan = poincare.hierarchy_plan(FAMILY, num_nodes=7, geometry=geometry, learning_rate=30.0, negatives=3)
        state = poincare.hierarchy_init(key, plan, dimension=2)
        for i in range(30):
            state, info = poincare.hierarchy_epoch(jax.random.key(i), plan, state)
        assert np.linalg.norm(state.points, axis=1).max() <= 1 + 1e-6
        assert np.isfinite(info.loss)


# every node has one negative: 0, 1, 2 have 3, and 3 has 0
FORCED = np.array([[0, 1], [0, 2], [1, 0], [1, 2], [3, 1], [3, 2]])


class TestEpoch:
    @pytest.mark.parametrize("batch_size", [6, 8])
    @pytest.mark.parametrize("burn_in", [0, 1])
    def test_an_epoch_takes_each_relation_once(self, key, batch_size, burn_in):
        """One step for all of them, with negatives that cannot but be these; empty slots are passed over."""
        plan = poincare.hierarchy_plan(
            FORCED, num_nodes=4, batch_size=batch_size, negatives=2, burn_in=burn_in, log_weights=[-20.0, 0, 0, 3.0]
        )
        start = poincare.HierarchyState(some_points(10, 4, 2), jnp.int32(0))
        state, info = poincare.hierarchy_epoch(key, plan, start)
        pairs = [tuple(p) for p in FORCED.tolist()]
        negatives = [(3, 3)] * 4 + [(0, 0)] * 2
        rate = 0.03
        if burn_in:  # the only ancestor that 3 is not below is 0; nobody is below 3, so 0 and 1 have no negative left
            pairs, negatives, rate = pairs[4:], negatives[4:], 0.003
        expected, loss = one_step(poincare.ball_geometry(), np.float64(start.points), pairs, negatives, rate)
        np.testing.assert_allclose(state.points, expected, rtol=LOOSE, atol=LOOSE)
        np.testing.assert_allclose(info.loss, loss / 6, rtol=LOOSE)
        np.testing.assert_allclose(info.learning_rate, rate, rtol=1e-6)
        assert state.epoch == 1

    def test_vmap_is_a_loop_over_seeds(self, tolerance):
        plan = poincare.hierarchy_plan(FAMILY, num_nodes=7, batch_size=2, negatives=3, burn_in=0)
        state = poincare.HierarchyState(some_points(11, 3, 7, 2), jnp.zeros(3, jnp.int32))
        keys = lambda: jax.random.split(jax.random.key(3), 3)
        together, info = jax.vmap(poincare.hierarchy_epoch, (0, None, 0))(keys(), plan, state)
        for i, key in enumerate(keys()):
            alone, single = poincare.hierarchy_epoch(key, plan, jax.tree.map(lambda x, i=i: x[i], state))
            np.testing.assert_allclose(together.points[i], alone.points, rtol=100 * tolerance, atol=tolerance)
            np.testing.assert_allclose(info.loss[i], single.loss, rtol=100 * tolerance)

    def test_relations_are_visited_in_chunks_too(self, key, monkeypatch):
        """Rates so small that the points do not move: the epoch's loss is that of all relations, in any cut."""
        monkeypatch.setattr("nsx.poincare._plan.DRAWS_AT_ONCE", 8)
        plan = poincare.hierarchy_plan(
            FORCED[2:],
            num_nodes=4,
            batch_size=1,
            negatives=4,
            learning_rate=1e-12,
            burn_in=0,
            log_weights=[-40.0, 0, -40.0, 3.0],
        )
        assert plan.chunks == 2
        start = poincare.HierarchyState(some_points(12, 4, 2), jnp.int32(0))
        losses = [
            oracle.relation_loss(np.float64(start.points), u, v, z, oracle.ball_distance)
            for (u, v), z in zip(FORCED[2:], [(3,) * 4] * 2 + [(0,) * 4] * 2, strict=True)
        ]
        _, info = poincare.hierarchy_epoch(key, plan, start)
        np.testing.assert_allclose(info.loss, np.mean(losses), rtol=LOOSE)


def binary_tree(depth):
    nodes = np.arange(1, 2**depth - 1)
    return poincare.transitive_closure(np.stack([nodes, (nodes - 1) // 2], axis=1), num_nodes=2**depth - 1)


class TestTraining:
    @pytest.mark.parametrize(("name", "learning_rate"), [("ball", 0.1), ("lorentz", 0.1), ("euclidean", 0.1)])
    def test_a_tree_is_found_again(self, key, name, learning_rate):
        geometry, tree = GEOMETRIES[name][0], binary_tree(4)
        options = {"num_nodes": 15, "geometry": geometry, "learning_rate": learning_rate, "negatives": 10}
        trained = poincare.train_hierarchy(key, tree, dimension=3, epochs=150, dtype=FLOAT, **options)
        found = poincare.reconstruction(trained.points, tree, geometry=geometry)
        assert found.mean_average_precision > 0.9  # 0.3 at the start
        assert trained.points.dtype == FLOAT
        assert trained.losses.shape == (150,)
        np.testing.assert_allclose(trained.losses[0], np.log(11), atol=0.1)

    def test_same_key_same_points(self):
        seen = []
        run = partial(poincare.train_hierarchy, relations=FAMILY, num_nodes=7, dimension=2, epochs=3, negatives=2)
        first = run(jax.random.key(5), progress=lambda epoch, info: seen.append((epoch, float(info.loss))))
        np.testing.assert_array_equal(first.points, run(jax.random.key(5)).points)
        assert np.any(first.points != run(jax.random.key(6)).points)
        assert [epoch for epoch, _ in seen] == [0, 1, 2]
        np.testing.assert_allclose([loss for _, loss in seen], first.losses)

    def test_divergence_is_told(self, key):
        with pytest.raises(FloatingPointError, match="training diverged in epoch"):
            poincare.train_hierarchy(
                key,
                FAMILY,
                num_nodes=7,
                dimension=2,
                epochs=60,
                negatives=2,
                learning_rate=1e25,
                burn_in=0,
                geometry=poincare.euclidean_geometry(squared=True),
            )

    @pytest.mark.parametrize(
        ("relations", "options", "error", "message"),
        [
            ([[0, 0], [1, 0]], {}, ValueError, "node 0 is given as its own ancestor"),
            ([[0, 3]], {}, ValueError, r"ids from 0 to 3, outside \[0, 3\)"),
            ([[0, 1]], {"num_nodes": 2}, ValueError, "no negative to draw"),
            ([[0, 1]], {"negatives": 0}, ValueError, "negatives must be at least 1"),
            ([[0, 1]], {"batch_size": 2.5}, TypeError, "batch_size sets a shape"),
            ([[0, 1]], {"burn_in": -1}, ValueError, "burn_in must be at least 0"),
            ([[0, 1]], {"learning_rate": 0.0}, ValueError, "learning_rate must be positive"),
            ([[0, 1]], {"dampening": np.inf}, ValueError, "dampening must be finite"),
            ([[0, 1]], {"log_weights": np.zeros(2)}, ValueError, r"one entry a node, \(3,\), got \(2,\)"),
            ([[0, 1]], {"dimension": 0}, ValueError, "dimension must be at least 1"),
            ([[0, 1]], {"epochs": 0}, ValueError, "epochs must be at least 1"),
        ],
    )
    def test_bad_input(self, key, relations, options, error, message):
        with pytest.raises(error, match=message):
            poincare.train_hierarchy(key, relations, **({"num_nodes": 3} | options))


class TestReconstruction:
    @each_geometry
    @pytest.mark.parametrize("block_size", [None, 4])
    def test_against_loops(self, geometry, distance, metric, block_size):
        """Points on a coarse grid, so that many distances tie, and nodes without ancestors."""
        rng = np.random.default_rng(0)
        pairs = poincare.transitive_closure(random_dag(rng, 25, 40), num_nodes=27)
        points = rng.integers(-2, 3, (27, 2)) / 4
        got = poincare.reconstruction(
            jnp.asarray(points, FLOAT), rng.permutation(pairs), geometry=geometry, block_size=block_size
        )
        ranks, precisions = [], []
        for node in range(27):
            above = pairs[pairs[:, 0] == node, 1].tolist()
            apart = [round(distance(points[node], z), 5) for z in points]
            if above:
                ranks += oracle.ranks(apart, node, above)
                precisions.append(oracle.average_precision(apart, node, above))
        np.testing.assert_array_equal(got.ranks, ranks)
        np.testing.assert_allclose(got.average_precision, precisions, rtol=1e-12)
        np.testing.assert_allclose(got[:2], (np.mean(ranks), np.mean(precisions)), rtol=1e-12)

    def test_some_nodes_of_all(self):
        pairs, points = binary_tree(5), some_points(13, 31, 2)
        whole = poincare.reconstruction(points, pairs)
        part = poincare.reconstruction(points, pairs, nodes=[3, 17, 0])
        np.testing.assert_array_equal(part.ranks, whole.ranks[np.isin(pairs[:, 0], [3, 17])])
        np.testing.assert_array_equal(part.average_precision, whole.average_precision[[2, 16]])

    def test_a_collapsed_embedding_is_the_worst(self):
        pairs = binary_tree(4)
        got = poincare.reconstruction(jnp.zeros((15, 2)), pairs)
        depth = np.bincount(pairs[:, 0], minlength=15)[1:]
        np.testing.assert_array_equal(got.ranks, 15 - np.repeat(depth, depth))
        np.testing.assert_allclose(got.average_precision, depth / 14)

    @pytest.mark.parametrize(
        ("points", "options", "error", "message"),
        [
            (np.full((3, 2), 0.8), {}, ValueError, "lie outside the geometry"),
            (np.full((3, 2), np.nan), {"geometry": poincare.euclidean_geometry()}, ValueError, "not finite"),
            (np.zeros(3), {}, ValueError, r"shape \(n, d\), got \(3,\)"),
            (np.zeros((2, 2)), {}, ValueError, r"ids from 0 to 2, outside \[0, 2\)"),
            (np.zeros((3, 2)), {"nodes": [0]}, ValueError, "none of `nodes` has an ancestor"),
            (np.zeros((3, 2)), {"block_size": 0}, ValueError, "block_size must be at least 1"),
        ],
    )
    def test_bad_input(self, points, options, error, message):
        with pytest.raises(error, match=message):
            poincare.reconstruction(points, [[1, 0], [2, 0]], **options)

    def test_traced_points_are_refused(self):
        with pytest.raises(TypeError, match="outside jit"):
            jax.jit(lambda x: poincare.reconstruction(x, [[1, 0]]).mean_rank)(jnp.zeros((2, 2)))
