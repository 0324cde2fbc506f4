"""Laws as log-weights, their algebra, masks and mining."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from nsx import samplers
from tests.helpers import PRECISION, slope
from tests.oracles import samplers as oracle

INF = np.inf
double = pytest.mark.skipif(PRECISION != 64, reason="finite differences need float64")


def device(x):
    """The array on the device, and the same rounded numbers in float64 for the oracle."""
    array = jnp.asarray(np.asarray(x, np.float64))
    return array, np.asarray(array, np.float64)


def random_rows(seed, *shape, scale=3.0):
    return device(scale * np.random.default_rng(seed).normal(size=shape))


def check_transforms(f, *args):
    """jit and vmap over leading axes give what eager rows give: ids and masks equal, numbers to rounding."""
    eager = np.asarray(f(*args))
    rtol = 1e-6 if eager.dtype.kind == "f" else 0
    np.testing.assert_allclose(jax.jit(f)(*args), eager, rtol=rtol, atol=0)
    rows = np.stack([f(*row) for row in zip(*args, strict=True)])
    np.testing.assert_allclose(rows, eager, rtol=rtol, atol=0)
    np.testing.assert_allclose(jax.vmap(f)(*args), rows, rtol=rtol, atol=0)


class TestPower:
    COUNTS = np.array([[3, 0, 7, 1, 1e6], [0, 0, 2, 0, 5.5]])

    @pytest.mark.parametrize("exponent", [0, 0.75, 1.0, -0.5, 3, 1e-3])
    def test_oracle(self, exponent, tolerance):
        got = samplers.power(self.COUNTS, exponent=exponent)
        expected = np.stack([oracle.power(row, exponent) for row in self.COUNTS])
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)

    def test_exponent_zero_is_uniform_over_zero_counts_too(self):
        assert samplers.power([0, 5, 0], exponent=0).tolist() == [0, 0, 0]
        traced = jax.jit(lambda a: samplers.power(jnp.array([0.0, 5.0]), exponent=a))
        assert traced(0.0).tolist() == [0, 0]
        assert traced(1e-6)[0] == -INF
        assert traced(-1.0)[0] == -INF

    def test_exponent_per_row(self, tolerance):
        got = samplers.power(self.COUNTS, exponent=jnp.array([0.5, 2.0]))
        expected = np.stack([oracle.power(r, a) for r, a in zip(self.COUNTS, (0.5, 2.0), strict=True)])
        np.testing.assert_allclose(got, expected, rtol=tolerance)

    def test_scale_of_the_counts_does_not_matter(self, tolerance):
        a = samplers.probabilities(samplers.power([1.0, 2.0, 5.0], exponent=0.7))
        b = samplers.probabilities(samplers.power([1e-9, 2e-9, 5e-9], exponent=0.7))
        np.testing.assert_allclose(a, b, rtol=4 * tolerance)

    def test_counts_beyond_int32_do_not_wrap(self):
        got = samplers.power(np.array([2**40, 1]), exponent=1.0)
        np.testing.assert_allclose(got, [40 * np.log(2), 0], rtol=1e-6)
        assert got.dtype == jnp.result_type(float)

    def test_transforms(self):
        check_transforms(lambda c, a: samplers.power(c, exponent=a), jnp.asarray(self.COUNTS), jnp.array([0.5, -1.0]))

    @double
    def test_gradients(self):
        target = jnp.array([0.1, 0.2, 0.3, 0.2, 0.2])
        counts = self.COUNTS[0].copy()
        counts[-1] = 4.0

        def cross_entropy(c, a):
            return samplers.log_prob(samplers.power(c, exponent=a), jnp.array([0, 2, 3, 4])) @ target[1:]

        got = jax.grad(cross_entropy, argnums=(0, 1))(jnp.asarray(counts), 0.75)
        seen = np.flatnonzero(counts)
        full = lambda c: jnp.zeros(5).at[seen].set(c)
        np.testing.assert_allclose(
            got[0][seen], slope(lambda c: cross_entropy(full(c), 0.75), counts[seen]), rtol=1e-6, atol=1e-9
        )
        assert got[0][1] == 0
        np.testing.assert_allclose(got[1], slope(lambda a: cross_entropy(jnp.asarray(counts), a), 0.75), rtol=1e-6)

    @pytest.mark.parametrize("exponent", [0.0, 0.75, -2.0])
    def test_gradients_are_finite_at_zero_counts(self, exponent):
        f = lambda c, a: jnp.sum(samplers.probabilities(samplers.power(c, exponent=a)) ** 2)
        for g in jax.grad(f, argnums=(0, 1))(jnp.array([0.0, 2.0, 3.0]), exponent):
            assert np.all(np.isfinite(g))

    @pytest.mark.parametrize(
        ("counts", "exponent", "match"),
        [
            ([1, -1], 1.0, "counts must be finite and >= 0, got -1"),
            ([1.0, np.nan], 1.0, "got nan"),
            ([1.0, INF], 1.0, "got inf"),
            ([1.0, 2.0], np.nan, "exponent must be finite"),
            ([0, 0], 1.0, "all -inf"),
            (3.0, 1.0, "last axis"),
            (np.zeros((2, 0)), 1.0, "last axis"),
        ],
    )
    def test_bad_input(self, counts, exponent, match):
        with pytest.raises(ValueError, match=match):
            samplers.power(counts, exponent=exponent)

    def test_traced_row_without_mass_is_all_minus_inf(self):
        assert jax.jit(lambda c: samplers.power(c, exponent=1.0))(jnp.zeros(2)).tolist() == [-INF, -INF]


class TestGibbsAndScores:
    def test_values(self, tolerance):
        d, exact = device([[0.5, 2.0, INF], [1.0, 0.0, 3.0]])
        np.testing.assert_allclose(samplers.gibbs(d, sharpness=1.5), -1.5 * exact, rtol=tolerance)
        np.testing.assert_allclose(samplers.from_scores(-d, temperature=0.25), -4 * exact, rtol=tolerance)
        rows = jnp.array([1.0, 2.0])
        np.testing.assert_allclose(samplers.gibbs(d, sharpness=rows), -exact * [[1], [2]], rtol=tolerance)
        np.testing.assert_allclose(samplers.from_scores(-d, temperature=rows), -exact / [[1], [2]], rtol=tolerance)

    def test_infinite_distance_is_excluded_at_every_sharpness(self):
        for sharpness in (0.0, -1.0, 5.0):
            assert samplers.gibbs(jnp.array([1.0, INF]), sharpness=sharpness)[1] == -INF

    def test_transforms(self):
        d, _ = random_rows(0, 4, 6)
        check_transforms(lambda x, a: samplers.gibbs(x, sharpness=a), d, jnp.arange(4.0))
        check_transforms(lambda x, a: samplers.from_scores(x, temperature=a), d, 1 + jnp.arange(4.0))

    def test_sharpness_slope_is_minus_the_variance(self, tolerance):
        """d E[d] / d alpha = -Var(d), a law of the Gibbs family."""
        d, _ = random_rows(1, 7)
        mean = lambda a: samplers.probabilities(samplers.gibbs(d, sharpness=a)) @ d
        q = samplers.probabilities(samplers.gibbs(d, sharpness=0.7))
        variance = q @ (d - q @ d) ** 2
        np.testing.assert_allclose(jax.grad(mean)(0.7), -variance, rtol=20 * tolerance)

    def test_gradients_are_finite_beside_an_exclusion(self):
        for f in (
            lambda d, a: samplers.gibbs(d, sharpness=a),
            lambda d, a: samplers.from_scores(-d, temperature=a),
        ):
            g = jax.grad(lambda d, a, f=f: samplers.probabilities(f(d, a))[0], argnums=(0, 1))
            got = g(jnp.array([1.0, 2.0, INF]), 0.5)
            assert np.all(np.isfinite(got[0]))
            assert got[0][2] == 0
            assert np.isfinite(got[1])
            assert got[1] != 0

    @pytest.mark.parametrize(
        ("call", "match"),
        [
            (lambda: samplers.gibbs([1.0], sharpness=INF), "sharpness must be finite"),
            (lambda: samplers.gibbs([1.0, np.nan], sharpness=1.0), "NaN"),
            (lambda: samplers.gibbs([INF, INF], sharpness=1.0), "all -inf"),
            (lambda: samplers.from_scores([1.0], temperature=0.0), "temperature must be positive"),
            (lambda: samplers.from_scores([1.0], temperature=-1.0), "temperature must be positive"),
            (lambda: samplers.from_scores([1.0], temperature=np.nan), "temperature must be positive"),
            (lambda: samplers.from_scores([INF], temperature=1.0), r"\+inf"),
            (lambda: samplers.maxent(np.ones((3, 2)), np.ones(3)), "multipliers"),
            (lambda: samplers.maxent(np.ones(2), np.ones(2)), "features must be"),
            (lambda: samplers.maxent([[1.0, INF]], [1.0, 0.0]), "features must be finite"),
        ],
    )
    def test_bad_input(self, call, match):
        with pytest.raises(ValueError, match=match):
            call()


class TestMaxent:
    def test_oracle(self, tolerance):
        (f, exact_f), (m, exact_m) = random_rows(2, 3, 5, 4), random_rows(3, 4)
        expected = np.stack([oracle.maxent(row, exact_m) for row in exact_f])
        np.testing.assert_allclose(samplers.maxent(f, m), expected, rtol=tolerance, atol=20 * tolerance)
        np.testing.assert_allclose(samplers.maxent(f[0], m), expected[0], rtol=tolerance, atol=20 * tolerance)
        np.testing.assert_allclose(
            jax.vmap(samplers.maxent, (0, None))(f, m), expected, rtol=tolerance, atol=20 * tolerance
        )

    def test_slope_of_log_z_is_the_moment(self, tolerance):
        """d log Z / d lambda = E_q[f]: the dual of the maximum-entropy problem."""
        (f, _), (m, _) = random_rows(4, 6, 3), random_rows(5, 3, scale=0.5)
        got = jax.grad(lambda m: jax.nn.logsumexp(samplers.maxent(f, m)))(m)
        np.testing.assert_allclose(
            got, samplers.probabilities(samplers.maxent(f, m)) @ f, rtol=20 * tolerance, atol=20 * tolerance
        )


class TestProbabilitiesAndLogProb:
    @pytest.mark.parametrize("scale", [1.0, 200.0])
    def test_oracle(self, scale, tolerance):
        w, exact = random_rows(6, 4, 6, scale=scale)
        expected = np.stack([oracle.probabilities(row) for row in exact])
        np.testing.assert_allclose(samplers.probabilities(w), expected, rtol=scale * tolerance, atol=tolerance)
        ids = jnp.asarray(np.random.default_rng(7).integers(0, 6, (4, 2)))
        expected = [[oracle.log_prob(r, i) for i in row] for r, row in zip(exact, ids.tolist(), strict=True)]
        np.testing.assert_allclose(samplers.log_prob(w, ids), expected, rtol=10 * tolerance, atol=tolerance)

    @pytest.mark.parametrize("shift", [0.0, 1e4, -1e4, 1e8])
    def test_a_common_shift_costs_no_precision(self, shift):
        w = jnp.array([0.0, 0.0, -INF], jnp.float32) + shift
        np.testing.assert_allclose(samplers.probabilities(w), [0.5, 0.5, 0], rtol=1e-6)
        np.testing.assert_allclose(samplers.log_prob(w, 0), -np.log(2), rtol=1e-6)

    def test_shapes_of_ids(self):
        w, exact = random_rows(8, 6)
        for shape in [(), (2, 3)]:
            assert samplers.log_prob(w, jnp.ones(shape, int)).shape == shape
        np.testing.assert_allclose(samplers.log_prob(w, 1), oracle.log_prob(exact, 1), rtol=1e-5)
        assert samplers.log_prob([0.0, -INF], 1) == -INF
        assert samplers.log_prob([3.0], 0) == 0

    def test_transforms(self):
        w, _ = random_rows(9, 4, 6)
        ids = jnp.asarray(np.random.default_rng(1).integers(0, 6, (4, 2)))
        check_transforms(samplers.log_prob, w, ids)
        check_transforms(samplers.probabilities, w)

    @double
    def test_gradient(self):
        w, _ = random_rows(10, 5)
        w = w.at[3].set(-INF)
        f = lambda w: samplers.log_prob(w, jnp.array([0, 1, 1])) @ jnp.array([1.0, 2.0, -0.5])
        got = jax.grad(f)(w)
        kept = np.array([0, 1, 2, 4])
        np.testing.assert_allclose(got[kept], slope(lambda x: f(w.at[kept].set(x)), w[kept]), rtol=1e-6, atol=1e-9)
        assert got[3] == 0
        np.testing.assert_allclose(got[kept].sum(), 0, atol=1e-12)

    def test_traced_limits(self):
        empty = jnp.full(2, -INF)
        assert jax.jit(samplers.probabilities)(empty).tolist() == [0, 0]
        assert jax.jit(samplers.log_prob)(empty, 0) == -INF
        out = jax.jit(samplers.log_prob)(jnp.zeros(2), jnp.array([-1, 0, 2]))
        np.testing.assert_array_equal(np.isnan(out), [True, False, True])
        g = jax.grad(lambda w: jnp.nansum(jax.jit(samplers.log_prob)(w, jnp.array([-1, 0]))))(jnp.zeros(2))
        np.testing.assert_allclose(g, [0.5, -0.5])
        assert np.all(np.isfinite(jax.grad(lambda w: jnp.sum(jax.jit(samplers.probabilities)(w)))(empty)))

    @pytest.mark.parametrize(
        ("w", "ids", "error", "match"),
        [
            ([0.0, 0.0], 2, ValueError, r"ids must be in \[0, 1\], got 2"),
            ([0.0, 0.0], -1, ValueError, "got -1"),
            ([0.0, 0.0], 0.5, TypeError, "ids must be integers"),
            ([-INF, -INF], 0, ValueError, "all -inf"),
            ([np.nan, 0.0], 0, ValueError, "NaN"),
            ([[0.0, 0.0]], [0], ValueError, "leading axes"),
            (0.0, 0, ValueError, "last axis"),
        ],
    )
    def test_bad_input(self, w, ids, error, match):
        with pytest.raises(error, match=match):
            samplers.log_prob(w, ids)

    def test_half_precision_is_promoted(self):
        w = jnp.zeros(3, jnp.bfloat16)
        assert samplers.probabilities(w).dtype == jnp.float32
        assert samplers.log_prob(w, 0).dtype == jnp.float32


class TestMixtures:
    @pytest.mark.parametrize("rate", [0.0, 1e-6, 0.3, 1.0])
    def test_oracle(self, rate, tolerance):
        (a, exact_a), (b, exact_b) = random_rows(11, 4, 6), random_rows(12, 4, 6)
        expected = np.stack([oracle.mix(x, y, rate) for x, y in zip(exact_a, exact_b, strict=True)])
        np.testing.assert_allclose(jnp.exp(samplers.mix(a, b, rate=rate)), expected, rtol=20 * tolerance)
        expected = np.stack([oracle.mix(x, np.zeros(6), rate) for x in exact_a])
        np.testing.assert_allclose(jnp.exp(samplers.mix_uniform(a, rate=rate)), expected, rtol=20 * tolerance)

    def test_ends_are_exact_where_probabilities_underflow(self):
        w = jnp.array([0.0, -1000.0])
        np.testing.assert_array_equal(samplers.mix_uniform(w, rate=0.0), [0.0, -1000.0])
        np.testing.assert_allclose(samplers.mix_uniform(w, rate=1.0), [-np.log(2)] * 2, rtol=1e-6)
        np.testing.assert_allclose(samplers.mix(w, w - 5, rate=0.5)[1], -1000.0, rtol=1e-6)

    def test_uniform_part_counts_excluded_candidates_too(self):
        """The law is (1 - rate) p + rate / n, n all candidates: exclude after mixing."""
        np.testing.assert_allclose(
            jnp.exp(samplers.mix_uniform(jnp.array([0.0, 0.0, -INF, -INF]), rate=0.4)), [0.4, 0.4, 0.1, 0.1], rtol=1e-6
        )

    def test_rate_per_row_and_transforms(self):
        (a, _), (b, _) = random_rows(13, 4, 6), random_rows(14, 4, 6)
        rate = jnp.array([0.0, 0.5, 0.75, 1.0])
        check_transforms(lambda x, r: samplers.mix_uniform(x, rate=r), a, rate)
        check_transforms(lambda x, y, r: samplers.mix(x, y, rate=r), a, b, rate)

    @double
    def test_gradients(self):
        (a, _), (b, _), (c, _) = random_rows(15, 5), random_rows(16, 5), random_rows(17, 5)
        f = lambda a, b, r: samplers.mix(a, b, rate=r) @ c
        got = jax.grad(f, argnums=(0, 1, 2))(a, b, 0.3)
        np.testing.assert_allclose(got[0], slope(lambda x: f(x, b, 0.3), a), rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(got[1], slope(lambda x: f(a, x, 0.3), b), rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(got[2], slope(lambda r: f(a, b, r), 0.3), rtol=1e-6)
        curvature = jax.grad(jax.grad(f, argnums=2), argnums=2)(a, b, 0.3)
        np.testing.assert_allclose(curvature, slope(lambda r: jax.grad(f, argnums=2)(a, b, r), 0.3), rtol=1e-6)

    def test_slope_in_the_rate_at_the_ends(self, tolerance):
        """d log m / d rate = (b - a) / m, where the textbook form has 0 / 0."""
        w, exact = random_rows(18, 6)
        p = oracle.probabilities(exact)
        for rate, law in ((0.0, p), (1.0, np.full(6, 1 / 6))):
            got = jax.jacfwd(lambda r: samplers.mix_uniform(w, rate=r))(rate)
            np.testing.assert_allclose(got, (1 / 6 - p) / law, rtol=50 * tolerance, atol=10 * tolerance)

    @pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
    def test_gradients_are_finite_beside_exclusions(self, rate):
        a, b = jnp.array([0.0, -INF, -900.0, -INF]), jnp.array([1.0, 2.0, 0.0, -INF])
        out = samplers.mix(a, b, rate=rate)
        assert out[3] == -INF
        jacobians = jax.jacrev(lambda *x: samplers.mix(x[0], x[1], rate=x[2]), argnums=(0, 1, 2))(a, b, rate)
        for j in jacobians:
            assert np.all(np.isfinite(j))
        mean = lambda r: samplers.probabilities(samplers.mix(a, b, rate=r))[1]
        assert np.isfinite(jax.grad(mean)(rate))

    @pytest.mark.parametrize(
        ("call", "match"),
        [
            (lambda: samplers.mix_uniform([0.0], rate=1.5), r"rate must be in \[0, 1\], got 1.5"),
            (lambda: samplers.mix_uniform([0.0], rate=-0.1), "rate must be in"),
            (lambda: samplers.mix_uniform([0.0], rate=np.nan), "rate must be in"),
            (lambda: samplers.mix_uniform(0.0, rate=0.5), "last axis"),
            (lambda: samplers.mix([0.0], [0.0, 1.0], rate=0.5), "one shape"),
            (lambda: samplers.mix([0.0], [-INF], rate=0.5), "all -inf"),
        ],
    )
    def test_bad_input(self, call, match):
        with pytest.raises(ValueError, match=match):
            call()


class TestExclusions:
    def test_odds_of_the_others_are_kept(self, tolerance):
        w, exact = random_rows(19, 6)
        mask = np.array([True, False, False, True, False, False])
        q = oracle.probabilities(exact) * ~mask
        np.testing.assert_allclose(samplers.probabilities(samplers.exclude(w, mask)), q / q.sum(), rtol=20 * tolerance)

    def test_shapes(self):
        w, mask = jnp.zeros((2, 3)), jnp.array([True, False, False])
        assert samplers.exclude(w, mask).tolist() == [[-INF, 0, 0]] * 2
        assert samplers.exclude(w[0], jnp.stack([mask, ~mask])).tolist() == [[-INF, 0, 0], [0, -INF, -INF]]
        check_transforms(samplers.exclude, w, jnp.stack([mask, ~mask]))

    def test_gradient_is_zero_at_what_is_left_out(self):
        mask = jnp.array([False, True, False])
        g = jax.grad(lambda w: samplers.log_prob(samplers.exclude(w, mask), 0))(jnp.array([0.0, INF, 0.0]))
        assert g.tolist() == [0.5, 0.0, -0.5]

    @pytest.mark.parametrize(
        ("w", "mask", "error", "match"),
        [
            ([0.0, 1.0], [True, True], ValueError, "all -inf"),
            ([0.0, 1.0], [1, 0], TypeError, "mask must be boolean"),
            ([0.0, 1.0], [True, False, False], ValueError, "one shape"),
            (np.zeros((2, 2)), np.zeros((3, 2), bool), ValueError, "one shape"),
        ],
    )
    def test_bad_input(self, w, mask, error, match):
        with pytest.raises(error, match=match):
            samplers.exclude(w, mask)

    @pytest.mark.parametrize("width", [0, 1, 3, 20])
    def test_window_oracle(self, width):
        anchors = np.array([0, 4, 8, -2, 30])
        expected = np.stack([oracle.exclusion_window(9, a, width) for a in anchors])
        np.testing.assert_array_equal(samplers.exclusion_window(9, anchors, width=width), expected)
        traced = jax.jit(lambda a, w: samplers.exclusion_window(9, a, width=w))(jnp.asarray(anchors), width)
        np.testing.assert_array_equal(traced, expected)

    def test_window_excludes_from_a_law(self):
        law = samplers.exclude(jnp.zeros(6), samplers.exclusion_window(6, jnp.array([0, 3]), width=1))
        np.testing.assert_array_equal(
            samplers.probabilities(law) > 0,
            [[False, False, True, True, True, True], [True, True] + [False] * 3 + [True]],
        )

    @pytest.mark.parametrize(
        ("call", "error", "match"),
        [
            (lambda: samplers.exclusion_window(0, 0, width=1), ValueError, "num must be at least 1"),
            (lambda: samplers.exclusion_window(3.0, 0, width=1), TypeError, "num sets a shape"),
            (lambda: samplers.exclusion_window(3, 0.0, width=1), TypeError, "anchors must be integers"),
            (lambda: samplers.exclusion_window(3, 0, width=-1), ValueError, "width must be in"),
        ],
    )
    def test_window_bad_input(self, call, error, match):
        with pytest.raises(error, match=match):
            call()

    def test_accidental_hits(self):
        positive, negative = np.array([3, 5]), np.array([[3, 4, 3], [5, 5, 3]])
        expected = [[False, True, False], [False, False, True]]
        assert samplers.no_accidental_hits(positive, negative).tolist() == expected
        assert jax.vmap(samplers.no_accidental_hits)(positive, negative).tolist() == expected
        shared = samplers.no_accidental_hits(positive, np.array([5, 7, 3]))
        assert shared.tolist() == [[True, True, False], [False, True, True]]
        assert samplers.no_accidental_hits(3, np.array([3, 4])).tolist() == [False, True]

    def test_accidental_hits_in_a_batch_are_the_diagonal_and_the_duplicates(self):
        ids = jnp.array([2, 9, 2])
        np.testing.assert_array_equal(samplers.no_accidental_hits(ids, ids), ids[None, :] != np.asarray(ids)[:, None])

    def test_accidental_hits_bad_input(self):
        with pytest.raises(ValueError, match=r"negative_ids must be \(k,\) or \(2, 'k'\)"):
            samplers.no_accidental_hits(np.array([1, 2]), np.zeros((3, 4), int))
        with pytest.raises(TypeError, match="negative_ids must be integers"):
            samplers.no_accidental_hits(1, np.zeros(3))


class TestMining:
    def test_hardest_oracle_with_ties(self):
        rng = np.random.default_rng(20)
        scores = rng.integers(-3, 4, (60, 9)).astype(float)
        where = rng.random((60, 9)) < 0.7
        where[:, :3] = True
        got = samplers.hardest(scores, k=3, where=where)
        assert got.dtype == jnp.int32
        assert got.tolist() == [oracle.hardest(s, 3, w) for s, w in zip(scores, where, strict=True)]
        f = lambda s, w: samplers.hardest(s, k=3, where=w)
        check_transforms(f, jnp.asarray(scores), jnp.asarray(where))

    def test_masked_scores_may_be_anything(self):
        scores, where = np.array([np.nan, INF, 0.1, 0.2]), np.array([False, False, True, True])
        assert samplers.hardest(scores, k=2, where=where).tolist() == [3, 2]

    def test_hardest_is_the_limit_of_cold_draws(self, key):
        scores, _ = random_rows(21, 12)
        cold = samplers.draw_without_replacement(key, samplers.from_scores(scores, temperature=1e-4), 4)
        assert cold.tolist() == samplers.hardest(scores, k=4).tolist()

    def test_too_few_is_an_error_or_a_mark(self):
        scores, where = jnp.arange(4.0), jnp.array([True, False, True, False])
        with pytest.raises(ValueError, match=r"k = 3 distinct ids .* leave only 2 candidates"):
            samplers.hardest(scores, k=3, where=where)
        assert jax.jit(lambda s, w: samplers.hardest(s, k=3, where=w))(scores, where).tolist() == [2, 0, -1]
        nan = jax.jit(lambda s: samplers.hardest(s, k=2))(jnp.array([np.nan, 1.0, 2.0]))
        assert nan.tolist() == [-1, -1]

    @pytest.mark.parametrize(
        ("scores", "k", "where", "error", "match"),
        [
            ([1.0, np.nan], 1, None, ValueError, "scores hold NaN"),
            ([1.0, 2.0], 3, None, ValueError, "k = 3"),
            ([1.0, 2.0], 0, None, ValueError, "k must be at least 1"),
            ([1.0, 2.0], 1.0, None, TypeError, "k sets a shape"),
            ([1.0, -INF], 2, None, ValueError, "only 1 candidates"),
            ([1.0, 2.0], 1, [1, 0], TypeError, "where must be boolean"),
            ([1.0, 2.0], 1, [True] * 3, ValueError, "where of shape"),
            (1.0, 1, None, ValueError, "last axis"),
        ],
    )
    def test_hardest_bad_input(self, scores, k, where, error, match):
        with pytest.raises(error, match=match):
            samplers.hardest(scores, k=k, where=where)

    def test_semi_hard_oracle_and_strict_bounds(self):
        rng = np.random.default_rng(22)
        positive, negative = rng.integers(0, 5, 50) / 4, rng.integers(0, 9, (50, 6)) / 4
        expected = np.stack([oracle.semi_hard(p, n, 0.5) for p, n in zip(positive, negative, strict=True)])
        got = samplers.semi_hard(positive, negative, margin=0.5)
        np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(samplers.semi_hard(positive[:, None], negative, margin=0.5), expected)
        f = lambda p, n: samplers.semi_hard(p, n, margin=0.5)
        check_transforms(f, jnp.asarray(positive), jnp.asarray(negative))
        assert samplers.semi_hard(positive, positive + 0.25, margin=0.5).all()

    def test_semi_hard_keeps_a_small_margin_beside_a_large_distance(self):
        far = jnp.float32(1e4)
        assert samplers.semi_hard(far, jnp.nextafter(far, jnp.float32(INF))[None], margin=0.0014).tolist() == [True]
        assert samplers.semi_hard(far, far[None] + 0.01, margin=0.0014).tolist() == [False]
        assert samplers.semi_hard(1.0, jnp.array([np.nan, INF]), margin=1.0).tolist() == [False, False]

    def test_semi_hard_bad_input(self):
        with pytest.raises(ValueError, match="margin must be positive"):
            samplers.semi_hard(1.0, [1.0], margin=0.0)
        with pytest.raises(ValueError, match="does not broadcast"):
            samplers.semi_hard(np.zeros(3), np.zeros((2, 4)), margin=1.0)

    @pytest.mark.parametrize(("share", "num_hard"), [(0.0, 0), (0.4, 2), (0.5, 3), (1.0, 5)])
    def test_mixed_parts(self, key, share, num_hard):
        scores, exact = random_rows(23, 30, 12)
        where = np.random.default_rng(24).random((30, 12)) < 0.7
        where[:, :6] = True
        ids = np.asarray(samplers.mine_mixed(key, scores, k=5, hard_share=share, where=where))
        for row, s, w in zip(ids, exact, where, strict=True):
            assert row[:num_hard].tolist() == oracle.hardest(s, num_hard, w)
            assert len(set(row.tolist())) == 5
            assert w[row].all()

    def test_mixed_rest_is_uniform(self, key):
        scores = jnp.broadcast_to(jnp.arange(6.0), (20_000, 6))
        ids = np.asarray(samplers.mine_mixed(key, scores, k=3, hard_share=1 / 3))
        assert np.all(ids[:, 0] == 5)
        for column in (1, 2):
            counts = np.bincount(ids[:, column], minlength=6)
            assert counts[5] == 0
            assert stats.chisquare(counts[:5]).pvalue > 1e-6

    def test_mixed_short_and_bad(self, key):
        f = jax.jit(lambda s: samplers.mine_mixed(key, s, k=4, hard_share=0.5))
        assert sorted(f(jnp.array([1.0, -INF, 2.0, -INF, 3.0])).tolist()) == [-1, 0, 2, 4]
        with pytest.raises(ValueError, match="hard_share must be in"):
            samplers.mine_mixed(key, jnp.zeros(3), k=1, hard_share=2)
        with pytest.raises(ValueError, match="k = 3 distinct"):
            samplers.mine_mixed(key, jnp.array([0.0, 1.0, -INF]), k=3, hard_share=0.3)


class TestIntegers:
    """Ids, labels and positions of any integer type: nothing wraps."""

    def test_hits_of_64_bits(self):
        ids = np.array([5, 7])
        assert not np.any(~np.asarray(samplers.no_accidental_hits(ids, ids + 2**32)))
        assert samplers.no_accidental_hits(ids + 2**40, ids + 2**40).tolist() == [[False, True], [True, False]]
        signed, unsigned = np.array([-1, 2**53]), np.array([2**64 - 1, 2**53 + 1], np.uint64)
        assert np.all(samplers.no_accidental_hits(signed, unsigned))

    @pytest.mark.parametrize("bad", [2**32 + 3, -(2**32) + 3, 2**31])
    def test_log_prob_refuses_what_would_wrap_into_range(self, bad):
        with pytest.raises(ValueError, match=rf"ids must be in \[0, 9\], got {bad}"):
            samplers.log_prob(np.zeros(10), np.array([bad]))

    def test_log_prob_of_traced_narrow_ids(self):
        found = jax.jit(samplers.log_prob)(jnp.zeros(1000), jnp.array([-1, 7, 127], jnp.int8))
        np.testing.assert_allclose(found, [np.nan, -np.log(1000), -np.log(1000)], rtol=1e-6)

    @pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint32, np.int64, np.uint64])
    @pytest.mark.parametrize("anchor", [0, 2, 4, 100, 127])
    def test_window_of_every_type(self, dtype, anchor):
        expected = oracle.exclusion_window(300, anchor, 130)
        anchors = np.asarray(anchor, dtype)
        np.testing.assert_array_equal(samplers.exclusion_window(300, anchors, width=130), expected)
        traced = jax.jit(lambda a: samplers.exclusion_window(300, a, width=130))(jnp.asarray(anchors))
        np.testing.assert_array_equal(traced, expected)

    @pytest.mark.parametrize("anchor", [-(2**31), 2**31 - 1, -(2**31) + 3])
    def test_window_at_the_ends_of_the_type(self, anchor):
        for width in (1, 2**31 - 1):
            expected = [abs(i - anchor) <= width for i in range(5)]
            assert samplers.exclusion_window(5, anchor, width=width).tolist() == expected
            traced = jax.jit(lambda a, w: samplers.exclusion_window(5, a, width=w))(jnp.int32(anchor), jnp.int32(width))
            assert traced.tolist() == expected

    def test_window_refuses_and_traced_negative_width_excludes_nothing(self):
        with pytest.raises(ValueError, match="anchors must be in"):
            samplers.exclusion_window(5, 2**32 + 2, width=1)
        with pytest.raises(TypeError, match="width must be integers"):
            samplers.exclusion_window(5, 2, width=1.5)
        assert not jax.jit(lambda w: samplers.exclusion_window(5, 2, width=w))(-1).any()


class TestDomains:
    """Outside a domain: an error that blames the right argument, NaN where traced."""

    @pytest.mark.parametrize(
        ("call", "match"),
        [
            (lambda: samplers.from_scores(np.float32([1e38, 0]), temperature=1e-3), "scores / temperature overflows"),
            (lambda: samplers.from_scores([np.nan, 0.0], temperature=1.0), "scores hold NaN"),
            (lambda: samplers.gibbs(np.float32([1e38, 2e38]), sharpness=100.0), r"sharpness \* distance overflows"),
            (lambda: samplers.gibbs([np.nan, 0.0], sharpness=1.0), "distance holds NaN"),
            (lambda: samplers.maxent(np.float32([[1e38]]), np.float32([1e38])), "features @ multipliers overflows"),
            (
                lambda: samplers.power(np.float32([20.0, 30.0]), exponent=np.float32(3e38)),
                r"exponent \* log counts over",
            ),
            (lambda: samplers.mix([0.0], [np.nan], rate=0.5), "log_weights_b hold NaN"),
            (lambda: samplers.power(np.ones(3), exponent=np.ones(3)), "exponent of shape"),
            (lambda: samplers.gibbs(np.ones(3), sharpness=np.ones(3)), "sharpness of shape"),
            (lambda: samplers.from_scores(np.ones(3), temperature=np.ones(3)), "temperature of shape"),
            (lambda: samplers.mix_uniform(np.ones(3), rate=np.full(3, 0.5)), "rate of shape"),
            (lambda: samplers.semi_hard(1.0, [1.0, 2.0], margin=np.ones(2)), "margin must be a single number"),
        ],
    )
    def test_blame(self, call, match):
        with pytest.raises(ValueError, match=match):
            call()

    def test_traced_counts_outside_give_nan(self):
        found = jax.jit(lambda c: samplers.power(c, exponent=0.5))(jnp.array([-1.0, np.nan, 0.0, 1.0]))
        np.testing.assert_array_equal(found, [np.nan, np.nan, -INF, 0.0])

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_no_warning_of_numpy(self, dtype):
        with pytest.raises(ValueError, match="got nan"):
            samplers.power(np.array([1.0, np.nan], dtype), exponent=1.0)

    def test_traced_nan_row_gives_no_id(self, key):
        w = jnp.array([[0.0, np.nan, 1.0, 2.0], [0.0, 1.0, 2.0, -INF]])
        drawn = jax.jit(lambda w: samplers.draw_without_replacement(jax.random.clone(key), w, 2))(w)
        mined = jax.jit(lambda w: samplers.mine_mixed(key, w, k=2, hard_share=0.5))(w)
        for ids in (drawn, mined):
            assert ids[0].tolist() == [-1, -1]
            assert np.all(np.asarray(ids[1]) >= 0)
