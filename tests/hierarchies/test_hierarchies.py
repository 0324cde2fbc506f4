"""Hierarchies: closure, the trainer against loops over relations, metrics against loops over nodes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from experiments import data
from experiments.data import hierarchy, wordnet
from nsx import hierarchies
from nsx.hierarchies import _epoch, _geometries, _negatives
from tests.helpers import PRECISION
from tests.oracles import hierarchy as oracle

FLOAT = jnp.float64 if PRECISION == 64 else jnp.float32
LOOSE = 1e-7 if PRECISION == 64 else 2e-4  # of central differences at step 1e-6, and of single precision
GEOMETRIES = {
    "ball": (hierarchies.ball_geometry(), oracle.ball_distance, oracle.ball_metric),
    "lorentz": (hierarchies.lorentz_geometry(), oracle.lorentz_distance, oracle.lorentz_metric),
    "euclidean": (hierarchies.euclidean_geometry(), oracle.euclidean_distance, oracle.flat_metric),
    "squared": (hierarchies.euclidean_geometry(squared=True), oracle.squared_distance, oracle.flat_metric),
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
            got = hierarchies.transitive_closure(dag, num_nodes=size + 2)
            np.testing.assert_array_equal(got, oracle.ancestors(dag.tolist(), size + 2))
            assert got.dtype == np.int32

    def test_is_its_own_closure(self):
        closed = hierarchies.transitive_closure(random_dag(np.random.default_rng(1), 30, 80), num_nodes=30)
        np.testing.assert_array_equal(hierarchies.transitive_closure(closed, num_nodes=30), closed)

    def test_long_chain(self):
        chain = np.stack([np.arange(59), np.arange(1, 60)], axis=1)
        got = hierarchies.transitive_closure(chain, num_nodes=60)
        np.testing.assert_array_equal(got, np.argwhere(np.triu(np.ones((60, 60)), 1)))

    @pytest.mark.parametrize(
        ("edges", "error", "message"),
        [
            ([[0, 1], [1, 2], [2, 0], [3, 0]], ValueError, "cycle of length 3 through the nodes 0, 1, 2:"),
            ([[0, 1], [2, 2]], ValueError, "cycle of length 1 through the nodes 2"),
            ([[i, (i + 1) % 9] for i in range(9)], ValueError, r"length 9 through the nodes 0, 1, 2, 3, 4, \.\.\."),
            ([[0, 9]], ValueError, r"edges must be in \[0, 8\], got 9 at \(0, 1\)"),
            ([[-1, 2]], ValueError, r"edges must be in \[0, 8\], got -1"),
            ([[2**32 + 1, 2]], ValueError, r"got 4294967297 at \(0, 0\)"),
            (np.array([[1, 2**63]], np.uint64), ValueError, r"got 9223372036854775808 at \(0, 1\)"),
            ([[2**70, 2]], ValueError, "got 1180591620717411303424"),
            ([[0.0, 1.0]], TypeError, "edges must be integers"),
            ([], ValueError, r"at least one row .* got \(0,\)"),
            ([[0, 1, 2]], ValueError, r"got \(1, 3\)"),
        ],
    )
    def test_bad_edges(self, edges, error, message):
        with pytest.raises(error, match=message):
            hierarchies.transitive_closure(edges, num_nodes=9)


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


def scale_of(geometry, curvature=1.0, temperature=1.0):
    """As `plan` makes it."""
    ready = hierarchies.plan(
        FAMILY,
        num_nodes=7,
        geometry=geometry,
        curvature=curvature if geometry.curved else None,
        temperature=temperature,
    )
    return jax.tree.map(lambda x: x.astype(FLOAT), ready.scale)


FAMILY = np.array([[1, 0], [2, 0], [2, 1], [3, 0], [4, 1], [4, 0], [5, 0], [5, 1], [5, 4]])
SETTINGS = [(1.0, 1.0), (0.3, 1.0), (1.0, 0.2), (2.5, 3.0)]  # curvature, temperature
each_setting = pytest.mark.parametrize(("curvature", "temperature"), SETTINGS)


class TestGeometry:
    @each_setting
    @each_geometry
    def test_closeness_falls_with_distance(self, geometry, distance, metric, curvature, temperature, tolerance):
        u = some_points(0, 5, 1, 3) / FLOAT(curvature**0.5)
        v = some_points(1, 5, 4, 3) / FLOAT(curvature**0.5)
        pull = geometry.pull(u, v, scale_of(geometry, curvature, temperature))
        rows = zip(np.float64(u), np.float64(v), strict=True)
        apart = np.array([[distance(a[0], b, curvature) for b in row] for a, row in rows])
        expected = np.exp(-apart / temperature)
        ratio = np.asarray(pull.closeness) / expected
        np.testing.assert_allclose(ratio, ratio[:, :1] * np.ones((1, 4)), rtol=300 * tolerance)
        np.testing.assert_allclose(pull.log_first, np.log(np.float64(pull.closeness[:, 0])), atol=100 * tolerance)

    @each_setting
    @each_geometry
    def test_gradients_are_riemannian(self, geometry, distance, metric, curvature, temperature):
        u = some_points(2, 1, 1, 3) / FLOAT(curvature**0.5)
        v = some_points(3, 1, 4, 3) / FLOAT(curvature**0.5)
        slope = jnp.asarray([[0.7, -1.3, 0.2, 2.0]], FLOAT)
        du, dv = geometry.pull(u, v, scale_of(geometry, curvature, temperature)).gradients(slope)
        points = np.concatenate([np.float64(u)[0], np.float64(v)[0]])
        loss = lambda x: sum(w * distance(x[0], z, curvature) for w, z in zip(np.float64(slope)[0], x[1:], strict=True))
        expected = oracle.riemannian_gradient(loss, points, partial(metric, c=curvature))
        np.testing.assert_allclose(np.concatenate([du, dv[0]]), expected, rtol=LOOSE, atol=LOOSE)

    @each_setting
    @each_geometry
    def test_coincident_points_do_not_pull(self, geometry, distance, metric, curvature, temperature):
        u = some_points(4, 2, 1, 3) / FLOAT(curvature**0.5)
        pull = geometry.pull(u, jnp.concatenate([u, -u], axis=1), scale_of(geometry, curvature, temperature))
        du, dv = pull.gradients(jnp.asarray([[1.0, 0.0]] * 2, FLOAT))
        assert not np.any(du)
        assert not np.any(dv)
        assert np.all(np.isfinite(pull.closeness))
        assert np.all(pull.closeness[:, 0] > pull.closeness[:, 1])

    @each_geometry
    def test_nan_reaches_everything(self, geometry, distance, metric):
        u = some_points(4, 2, 1, 3).at[0].set(jnp.nan)
        pull = geometry.pull(u, some_points(5, 2, 3, 3), scale_of(geometry))
        du, dv = pull.gradients(jnp.ones((2, 3), FLOAT))
        for part in (pull.closeness, pull.log_first, du, dv):
            assert np.all(np.isnan(part[0]))
            assert np.all(np.isfinite(part[1]))

    @each_geometry
    def test_a_cold_row_of_far_points_does_not_underflow(self, geometry, distance, metric):
        """exp(-distance / temperature) is 0 for all of them; the loss is thousands of nats all the same."""
        u = some_points(0, 1, 1, 3)
        v = some_points(1, 1, 4, 3)
        v = v[:, np.argsort([-distance(np.float64(u)[0, 0], z) for z in np.float64(v)[0]])]  # the farthest first
        pull = geometry.pull(u, v, scale_of(geometry, temperature=1e-4))
        apart = [distance(np.float64(u)[0, 0], z) for z in np.float64(v)[0]]
        assert pull.closeness[0, 0] == 0
        np.testing.assert_allclose(pull.log_first[0], (apart[-1] - apart[0]) / 1e-4, rtol=1e-4)
        loss = _epoch._cross_entropy(pull.closeness[:, 0], jnp.sum(pull.closeness[:, 1:], axis=1), pull.log_first)
        np.testing.assert_allclose(loss[0], (apart[0] - apart[-1]) / 1e-4, rtol=1e-4)

    @pytest.mark.parametrize("curvature", [1.0, 0.3, 4.0])
    @each_geometry
    def test_chart_orders_as_distances_do(self, geometry, distance, metric, curvature):
        x = some_points(5, 30, 3) / FLOAT(curvature**0.5)
        chart = geometry.chart(x, FLOAT(curvature) if geometry.curved else None)
        order = np.argsort(_geometries.separations(chart, jnp.arange(5)), axis=1)
        wanted = [np.argsort([distance(u, z, curvature) for z in np.float64(x)]) for u in np.float64(x)[:5]]
        np.testing.assert_array_equal(order, wanted)

    def test_lorentz_is_the_ball(self, tolerance):
        u = some_points(6, 5, 1, 3)
        v = some_points(7, 5, 4, 3)
        lift = lambda x: 2 * x / (1 - jnp.sum(x * x, axis=-1, keepdims=True))
        ball = hierarchies.ball_geometry().pull(u, v, scale_of(hierarchies.ball_geometry())).closeness
        sheet = hierarchies.lorentz_geometry()
        lorentz = sheet.pull(lift(u), lift(v), scale_of(sheet)).closeness
        np.testing.assert_allclose(ball / jnp.max(ball, axis=1, keepdims=True), lorentz, rtol=100 * tolerance)

    @pytest.mark.parametrize("radius", [10.0, 17.0] if PRECISION == 32 else [17.0, 40.0])
    def test_far_points_of_the_hyperboloid_keep_their_digits(self, radius):
        """At radius 17 the ball's coordinates hold no digit of a distance of .38 in float32: .7052 came out."""
        along = np.array([3.0, 4.0]) / 5
        steps = np.array([0.38, 0.2, -0.3, 1.0])
        lengths = np.sinh(radius + np.array([0.0, *steps])) / 5
        lengths = (lengths / 2.0 ** (np.floor(np.log2(lengths)) - 18)).round() * 2.0 ** (
            np.floor(np.log2(lengths)) - 18
        )
        points = np.asarray(lengths[:, None] * np.array([3.0, 4.0]), FLOAT)  # few digits: exactly on one ray
        u = points[0]
        v = points[1:]
        geometry = hierarchies.lorentz_geometry()
        pull = geometry.pull(u[None, None], v[None], scale_of(geometry))
        radii = np.arcsinh(np.hypot(*np.float64(np.concatenate([u[None], v])).T))
        apart = np.abs(radii[1:] - radii[0])
        np.testing.assert_allclose(pull.closeness[0], np.exp(apart.min() - apart), rtol=1e-5)
        du, _ = pull.gradients(jnp.eye(4, dtype=FLOAT)[:1])
        speed = np.float64(du[0] @ jnp.asarray(along, FLOAT)) / np.cosh(radii[0])
        np.testing.assert_allclose(speed, -np.sign(steps[0]), rtol=1e-5)
        # and so does the order in which they are ranked, while a rounded direction still tells them apart
        if radius > -np.log(np.finfo(FLOAT).eps):
            return
        chart = geometry.chart(jnp.concatenate([u[None], v]), FLOAT(1.0))
        order = np.argsort(_geometries.separations(chart, jnp.arange(1))[0])
        np.testing.assert_array_equal(order, [0, 2, 3, 1, 4])

    @pytest.mark.parametrize(
        "geometry", [hierarchies.ball_geometry(margin=0.25), hierarchies.euclidean_geometry(max_norm=0.75)]
    )
    def test_settle_shortens_long_rows_only(self, geometry, tolerance):
        x = jnp.asarray([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [0.0, -0.76]], FLOAT)
        settled = geometry.settle(x, FLOAT(1.0))
        np.testing.assert_allclose(settled, [[0.45, 0.6], [0.3, 0.4], [0, 0], [0, -0.75]], rtol=tolerance)

    @pytest.mark.parametrize("size", [1e17, 1e19, 3e38])
    def test_settle_keeps_the_direction_of_a_huge_step(self, size):
        settled = hierarchies.ball_geometry(margin=0.25).settle(
            jnp.asarray([[size, 0.0], [-size, size]], jnp.float32), jnp.float32(4.0)
        )
        np.testing.assert_allclose(settled, [[0.375, 0], [-0.375 / 2**0.5, 0.375 / 2**0.5]], rtol=1e-6)

    def test_half_precision_points_stay_inside(self):
        """In bfloat16 the margin 1e-5 would round onto the boundary."""
        for dtype in (jnp.bfloat16, jnp.float16):
            x = jnp.asarray(3 * some_points(9, 40, 5), dtype)
            settled = hierarchies.ball_geometry().settle(x, FLOAT(1.0))
            assert settled.dtype == dtype
            norms = np.linalg.norm(np.float64(settled), axis=1)
            assert 0.9 < norms.max() < 1

    def test_equal_geometries_are_one(self):
        assert hierarchies.euclidean_geometry(max_norm=1.0) is hierarchies.euclidean_geometry(max_norm=1.0)
        assert hash(hierarchies.ball_geometry())

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: hierarchies.ball_geometry(margin=0.0), "margin must be positive"),
            (lambda: hierarchies.ball_geometry(margin=1.0), r"margin must be in \[0, 1\)"),
            (lambda: hierarchies.euclidean_geometry(max_norm=-1.0), "max_norm must be positive"),
        ],
    )
    def test_bad_options(self, make, message):
        with pytest.raises(ValueError, match=message):
            make()


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
        plan = hierarchies.plan(FAMILY, num_nodes=7, dampening=0.5)
        weights = np.sqrt([5, 3, 0, 0, 1, 0, 0])
        got = np.diff(np.asarray(plan.burn_in_noise.ends), prepend=0) / 2**30
        np.testing.assert_allclose(got, weights / weights.sum(), atol=2**-29)


def one_step(geometry, points, pairs, negatives, rate, curvature=1.0, temperature=1.0):
    """What a step must give, by the loops of the oracle."""
    distance, metric = next(g[1:] for g in GEOMETRIES.values() if g[0] is geometry)
    measure = partial(distance, c=curvature)

    def loss(x):
        rows = zip(pairs, negatives, strict=True)
        return sum(oracle.relation_loss(x, u, v, z, measure, temperature) for (u, v), z in rows)

    return points - rate * oracle.riemannian_gradient(loss, points, partial(metric, c=curvature)), loss(points)


def how(geometry, rate, curvature=1.0, temperature=1.0):
    """What the steps of an epoch share."""
    scale = scale_of(geometry, curvature, temperature)
    return _epoch.How(scale, jnp.asarray(1 / temperature, FLOAT), jnp.asarray(rate, FLOAT))


class TestStep:
    @each_setting
    @pytest.mark.parametrize("name", GEOMETRIES)
    def test_step_is_the_summed_gradient(self, name, curvature, temperature):
        geometry = GEOMETRIES[name][0]
        points = some_points(8, 7, 3) / FLOAT(curvature**0.5)
        pairs = [(5, 4), (5, 0), (2, 1)]
        negatives = [(3, 6, 6), (2, 3, 1), (5, 5, 5)]
        others = jnp.asarray([[v, *z] for (_, v), z in zip(pairs, negatives, strict=True)])
        batch = _epoch.Batch(jnp.asarray([5, 5, 2]), others, jnp.ones(3, FLOAT))
        step = jax.jit(partial(_epoch._step, geometry, axes=None))
        (got, _), loss = step(how(geometry, 0.05, curvature, temperature), carry=(points, ()), batch=batch)
        expected, expected_loss = one_step(geometry, np.float64(points), pairs, negatives, 0.05, curvature, temperature)
        np.testing.assert_allclose(got, expected, rtol=LOOSE, atol=LOOSE)
        np.testing.assert_allclose(loss, expected_loss, rtol=LOOSE)

    def test_a_relation_that_does_not_count_changes_nothing(self):
        batch = _epoch.Batch(jnp.asarray([5]), jnp.asarray([[4, 3, 2]]), jnp.zeros(1, FLOAT))
        points = some_points(9, 7, 2)
        geometry = hierarchies.ball_geometry()
        (got, _), loss = _epoch._step(geometry, how(geometry, 1.0), None, (points, ()), batch)
        np.testing.assert_array_equal(got, points)
        assert loss == 0

    @pytest.mark.parametrize("geometry", [hierarchies.ball_geometry(), hierarchies.euclidean_geometry(max_norm=1.0)])
    def test_large_steps_stay_inside(self, key, geometry):
        plan = hierarchies.plan(FAMILY, num_nodes=7, geometry=geometry, learning_rate=30.0, negatives=3)
        state = hierarchies.init(key, plan, dimension=2)
        for i in range(30):
            state, info = hierarchies.epoch(jax.random.key(i), plan, state)
        assert np.linalg.norm(state.points, axis=1).max() <= 1 + 1e-6
        assert np.isfinite(info.loss)


# every node has one negative: 0, 1, 2 have 3, and 3 has 0
FORCED = np.array([[0, 1], [0, 2], [1, 0], [1, 2], [3, 1], [3, 2]])


class TestEpoch:
    @pytest.mark.parametrize("batch_size", [6, 8])
    @pytest.mark.parametrize("burn_in", [0, 1])
    def test_an_epoch_takes_each_relation_once(self, key, batch_size, burn_in):
        """One step for all of them, with negatives that cannot but be these; empty slots are passed over."""
        plan = hierarchies.plan(
            FORCED, num_nodes=4, batch_size=batch_size, negatives=2, burn_in=burn_in, log_weights=[-20.0, 0, 0, 3.0]
        )
        start = hierarchies.State(some_points(10, 4, 2), jnp.int32(0))
        state, info = hierarchies.epoch(key, plan, start)
        pairs = [tuple(p) for p in FORCED.tolist()]
        negatives = [(3, 3)] * 4 + [(0, 0)] * 2
        rate = 0.03
        if burn_in:  # the only ancestor that 3 is not below is 0; nobody is below 3, so 0 and 1 have no negative left
            pairs, negatives, rate = pairs[4:], negatives[4:], 0.003
        expected, loss = one_step(hierarchies.ball_geometry(), np.float64(start.points), pairs, negatives, rate)
        np.testing.assert_allclose(state.points, expected, rtol=LOOSE, atol=LOOSE)
        np.testing.assert_allclose(info.loss, loss / len(pairs), rtol=LOOSE)  # of those that have a negative
        np.testing.assert_allclose(info.learning_rate, rate, rtol=1e-6)
        assert state.epoch == 1

    def test_vmap_is_a_loop_over_seeds(self, tolerance):
        plan = hierarchies.plan(FAMILY, num_nodes=7, batch_size=2, negatives=3, burn_in=0)
        state = hierarchies.State(some_points(11, 3, 7, 2), jnp.zeros(3, jnp.int32))
        keys = lambda: jax.random.split(jax.random.key(3), 3)
        together, info = jax.vmap(hierarchies.epoch, (0, None, 0))(keys(), plan, state)
        for i, key in enumerate(keys()):
            alone, single = hierarchies.epoch(key, plan, jax.tree.map(lambda x, i=i: x[i], state))
            np.testing.assert_allclose(together.points[i], alone.points, rtol=100 * tolerance, atol=tolerance)
            np.testing.assert_allclose(info.loss[i], single.loss, rtol=100 * tolerance)

    def test_relations_are_visited_in_chunks_too(self, key, monkeypatch):
        """Rates so small that the points do not move: the epoch's loss is that of all relations, in any cut."""
        monkeypatch.setattr("nsx.hierarchies._plan.DRAWS_AT_ONCE", 8)
        plan = hierarchies.plan(
            FORCED[2:],
            num_nodes=4,
            batch_size=1,
            negatives=4,
            learning_rate=1e-12,
            burn_in=0,
            log_weights=[-40.0, 0, -40.0, 3.0],
        )
        assert plan.chunks == 2
        start = hierarchies.State(some_points(12, 4, 2), jnp.int32(0))
        losses = [
            oracle.relation_loss(np.float64(start.points), u, v, z, oracle.ball_distance)
            for (u, v), z in zip(FORCED[2:], [(3,) * 4] * 2 + [(0,) * 4] * 2, strict=True)
        ]
        _, info = hierarchies.epoch(key, plan, start)
        np.testing.assert_allclose(info.loss, np.mean(losses), rtol=LOOSE)


def binary_tree(depth):
    nodes = np.arange(1, 2**depth - 1)
    return hierarchies.transitive_closure(np.stack([nodes, (nodes - 1) // 2], axis=1), num_nodes=2**depth - 1)


class TestTraining:
    @pytest.mark.parametrize(("name", "learning_rate"), [("ball", 0.1), ("lorentz", 0.1), ("euclidean", 0.1)])
    def test_a_tree_is_found_again(self, key, name, learning_rate):
        geometry, tree = GEOMETRIES[name][0], binary_tree(4)
        options = {"num_nodes": 15, "geometry": geometry, "learning_rate": learning_rate, "negatives": 10}
        trained = hierarchies.train(key, tree, dimension=3, epochs=150, dtype=FLOAT, **options)
        found = hierarchies.reconstruction(trained.points, tree, geometry=geometry)
        assert found.mean_average_precision > 0.9  # 0.3 at the start
        assert trained.points.dtype == FLOAT
        assert trained.losses.shape == (150,)
        np.testing.assert_allclose(trained.losses[0], np.log(11), atol=0.1)

    @pytest.mark.parametrize("name", ["ball", "lorentz"])
    def test_curvature_is_a_change_of_units(self, name):
        """At curvature 4: the points of curvature 1 over 2, its temperature over 2, its rate over 4, to the last bit.

        The start is drawn alike at every curvature, so it is scaled too.
        """
        geometry = GEOMETRIES[name][0]
        plan = partial(hierarchies.plan, binary_tree(3), num_nodes=7, geometry=geometry, negatives=3, burn_in=1)
        one = plan(temperature=2.0, learning_rate=0.4)
        four = plan(curvature=4.0, temperature=1.0, learning_rate=0.1)
        state = hierarchies.State(some_points(1, 7, 2), jnp.int32(0))
        scaled = hierarchies.State(state.points / 2, state.epoch)
        for number in range(5):
            state, info = hierarchies.epoch(jax.random.key(number), one, state)
            scaled, scaled_info = hierarchies.epoch(jax.random.key(number), four, scaled)
            np.testing.assert_allclose(scaled_info.loss, info.loss, rtol=LOOSE)
        np.testing.assert_allclose(2 * scaled.points, state.points, rtol=LOOSE, atol=LOOSE)
        assert np.max(np.abs(state.points - some_points(1, 7, 2))) > 0.05, "the points moved"
        relations = binary_tree(3)
        at_four = hierarchies.reconstruction(scaled.points, relations, geometry=geometry, curvature=4.0)
        at_one = hierarchies.reconstruction(2 * scaled.points, relations, geometry=geometry)
        np.testing.assert_array_equal(at_four.ranks, at_one.ranks)

    def test_euclidean_temperature_is_a_change_of_units(self):
        plan = partial(hierarchies.plan, FAMILY, num_nodes=7, geometry=GEOMETRIES["euclidean"][0], negatives=3)
        state = hierarchies.State(some_points(1, 7, 2), jnp.int32(0))
        half = hierarchies.State(state.points / 2, state.epoch)
        moved, info = hierarchies.epoch(jax.random.key(0), plan(learning_rate=0.4), state)
        half_moved, half_info = hierarchies.epoch(jax.random.key(0), plan(temperature=0.5, learning_rate=0.1), half)
        np.testing.assert_allclose(2 * half_moved.points, moved.points, rtol=LOOSE, atol=LOOSE)
        np.testing.assert_allclose(half_info.loss, info.loss, rtol=LOOSE)

    def test_a_traced_curvature_and_temperature_are_swept_by_vmap(self):
        """One program for many; outside their domain they give NaN."""
        state = hierarchies.State(some_points(1, 7, 2) / 2, jnp.int32(0))

        def loss(curvature, temperature):
            ready = hierarchies.plan(FAMILY, num_nodes=7, curvature=curvature, temperature=temperature, negatives=3)
            return hierarchies.epoch(jax.random.key(0), ready, state)[1].loss

        curvatures = jnp.asarray([0.5, 1.0, -1.0, 2.0], FLOAT)
        temperatures = jnp.asarray([1.0, 0.3, 1.0, 0.0], FLOAT)
        together = jax.jit(jax.vmap(loss))(curvatures, temperatures)
        alone = [loss(0.5, 1.0), loss(1.0, 0.3)]
        np.testing.assert_allclose(together[:2], alone, rtol=LOOSE)
        assert np.all(np.isnan(together[2:]))

    @pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
    @pytest.mark.parametrize("name", ["ball", "lorentz", "euclidean"])
    def test_half_precision_tables_sum_their_loss_in_single(self, name, dtype):
        """Ten thousand relations of 2 nats: float16 cannot hold the sum, bfloat16 not its digits."""
        leaves = np.arange(1, 10_001)
        star = np.stack([leaves, np.zeros_like(leaves)], axis=1)
        ready = hierarchies.plan(
            star,
            num_nodes=10_001,
            geometry=GEOMETRIES[name][0],
            negatives=6,
            batch_size=5000,
            burn_in=0,
            learning_rate=1e-7,
        )
        state = hierarchies.init(jax.random.key(0), ready, dimension=2, dtype=dtype)
        state, info = hierarchies.epoch(jax.random.key(1), ready, state)
        assert state.points.dtype == dtype
        assert info.loss.dtype == jnp.float32
        np.testing.assert_allclose(info.loss, np.log(7), rtol=3e-3)

    def test_where_burn_in_has_no_negative_it_draws_as_after_it(self):
        """The only ancestor is the root, which nobody may draw: an epoch of nothing would read as a loss of 0."""
        ready = hierarchies.plan([[1, 0], [2, 0]], num_nodes=4, negatives=2, burn_in=1)
        state = hierarchies.init(jax.random.key(0), ready, dimension=2, dtype=FLOAT)
        _, info = hierarchies.epoch(jax.random.key(1), ready, state)
        np.testing.assert_allclose(info.loss, np.log(3), atol=0.01)

    def test_same_key_same_points(self):
        seen = []
        run = partial(hierarchies.train, relations=FAMILY, num_nodes=7, dimension=2, epochs=3, negatives=2)
        first = run(jax.random.key(5), progress=lambda epoch, info: seen.append((epoch, float(info.loss))))
        np.testing.assert_array_equal(first.points, run(jax.random.key(5)).points)
        assert np.any(first.points != run(jax.random.key(6)).points)
        assert [epoch for epoch, _ in seen] == [0, 1, 2]
        np.testing.assert_allclose([loss for _, loss in seen], first.losses)

    def test_divergence_is_told(self, key):
        with pytest.raises(FloatingPointError, match="training diverged in epoch"):
            hierarchies.train(
                key,
                FAMILY,
                num_nodes=7,
                dimension=2,
                epochs=60,
                negatives=2,
                learning_rate=1e25,
                burn_in=0,
                geometry=hierarchies.euclidean_geometry(squared=True),
            )

    @pytest.mark.parametrize(
        ("relations", "options", "error", "message"),
        [
            ([[0, 0], [1, 0]], {}, ValueError, "node 0 is given as its own ancestor"),
            ([[0, 3]], {}, ValueError, r"relations must be in \[0, 2\], got 3"),
            ([[2**32 + 1, 0]], {}, ValueError, r"relations must be in \[0, 2\], got 4294967297"),
            ([[0, 1]], {"num_nodes": 2}, ValueError, "no negative to draw"),
            ([[0, 1]], {"negatives": 0}, ValueError, "negatives must be at least 1"),
            ([[0, 1]], {"batch_size": 2.5}, TypeError, "batch_size sets a shape"),
            ([[0, 1]], {"burn_in": -1}, ValueError, "burn_in must be at least 0"),
            ([[0, 1]], {"learning_rate": 0.0}, ValueError, "learning_rate must be positive"),
            ([[0, 1]], {"dampening": np.inf}, ValueError, "dampening must be finite"),
            ([[0, 1]], {"log_weights": np.zeros(2)}, ValueError, r"one entry per node, \(3,\), got \(2,\)"),
            ([[0, 1]], {"curvature": 0.0}, ValueError, "curvature must be positive"),
            ([[0, 1]], {"temperature": -1.0}, ValueError, "temperature must be positive"),
            (
                [[0, 1]],
                {"geometry": hierarchies.euclidean_geometry(), "curvature": 1.0},
                ValueError,
                "flat space has no curvature",
            ),
            ([[0, 1]], {"dimension": 0}, ValueError, "dimension must be at least 1"),
            ([[0, 1]], {"epochs": 0}, ValueError, "epochs must be at least 1"),
        ],
    )
    def test_bad_input(self, key, relations, options, error, message):
        with pytest.raises(error, match=message):
            hierarchies.train(key, relations, **({"num_nodes": 3} | options))


class TestReconstruction:
    @each_geometry
    @pytest.mark.parametrize("block_size", [None, 4])
    def test_against_loops(self, geometry, distance, metric, block_size):
        """Points on a coarse grid, so that many distances tie, and nodes without ancestors."""
        rng = np.random.default_rng(0)
        pairs = hierarchies.transitive_closure(random_dag(rng, 25, 40), num_nodes=27)
        points = rng.integers(-2, 3, (27, 2)) / 4
        got = hierarchies.reconstruction(
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
        whole = hierarchies.reconstruction(points, pairs)
        part = hierarchies.reconstruction(points, pairs, nodes=[3, 17, 0])
        np.testing.assert_array_equal(part.ranks, whole.ranks[np.isin(pairs[:, 0], [3, 17])])
        np.testing.assert_array_equal(part.average_precision, whole.average_precision[[2, 16]])

    def test_a_collapsed_embedding_is_the_worst(self):
        pairs = binary_tree(4)
        got = hierarchies.reconstruction(jnp.zeros((15, 2)), pairs)
        depth = np.bincount(pairs[:, 0], minlength=15)[1:]
        np.testing.assert_array_equal(got.ranks, 15 - np.repeat(depth, depth))
        np.testing.assert_allclose(got.average_precision, depth / 14)

    @pytest.mark.parametrize(
        ("points", "options", "error", "message"),
        [
            (np.full((3, 2), 0.8), {}, ValueError, "lie outside the geometry"),
            (np.full((3, 2), np.nan), {"geometry": hierarchies.euclidean_geometry()}, ValueError, "not finite"),
            (np.zeros(3), {}, ValueError, r"shape \(n, d\), got \(3,\)"),
            (np.zeros((2, 2)), {}, ValueError, r"relations must be in \[0, 1\], got 2"),
            (np.zeros((3, 2)), {"nodes": [2**32]}, ValueError, r"nodes must be in \[0, 2\], got 4294967296"),
            (np.full((3, 2), 0.6), {"curvature": 2.0}, ValueError, "lie outside the geometry"),
            (np.zeros((3, 2)), {"nodes": [0]}, ValueError, "none of `nodes` has an ancestor"),
            (np.zeros((3, 2)), {"block_size": 0}, ValueError, "block_size must be at least 1"),
        ],
    )
    def test_bad_input(self, points, options, error, message):
        with pytest.raises(error, match=message):
            hierarchies.reconstruction(points, [[1, 0], [2, 0]], **options)

    def test_traced_points_are_refused(self):
        with pytest.raises(TypeError, match="outside jit"):
            jax.jit(lambda x: hierarchies.reconstruction(x, [[1, 0]]).mean_rank)(jnp.zeros((2, 2)))
