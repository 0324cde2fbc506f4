"""Pair counts, PMI, the exact SGNS objective and its optimum, factorisation at rank d."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from nsx import losses, samplers, words
from nsx.words import _counts, _factorise
from tests.helpers import PRECISION, slope
from tests.oracles import words as oracle

INF = np.inf
double = pytest.mark.skipif(PRECISION != 64, reason="finite differences need float64")


def random_table(seed, rows=6, cols=5, *, zeros=0.4):
    """Heavy-tailed integer counts with empty cells, and no empty row or column."""
    rng = np.random.default_rng(seed)
    table = np.ceil(rng.pareto(1.0, (rows, cols)) * 3) * (rng.random((rows, cols)) > zeros)
    table[np.arange(rows), np.arange(rows) % cols] += 1
    table[0] += 1
    return table


def sparse(table):
    rows, cols = np.nonzero(table)
    return words.PairCounts(rows.astype(np.int32), cols.astype(np.int32), table[rows, cols], table.shape)


TABLE = random_table(0)
HOLES = np.array([[4.0, 0, 1], [0, 0, 0], [2.0, 0, 9]])  # an empty row and an empty column


class TestCooccurrence:
    @pytest.mark.parametrize("weighting", ["uniform", "word2vec"])
    def test_oracle(self, weighting):
        rng = np.random.default_rng(1)
        paths = set()
        for _ in range(80):
            n, size, window = rng.integers(1, 50), int(rng.integers(1, 12)), int(rng.integers(1, 7))
            tokens = rng.integers(0, size, n)
            sentence = rng.integers(0, 2, n) if rng.random() < 0.5 else None
            counts = words.cooccurrence(
                tokens, window=window, vocabulary_size=size, sentence=sentence, weighting=weighting
            )
            expected = oracle.cooccurrence(tokens, window, size, sentence, weighting)
            np.testing.assert_allclose(words.to_dense(counts), expected, rtol=1e-12)
            assert np.all(np.diff(counts.rows.astype(np.int64) * size + counts.cols) > 0), "not in row-major order"
            assert np.all(counts.values > 0)
            paths.add(size**2 <= n)
        assert paths == {True, False}, "both ways of counting must be met"

    @pytest.mark.parametrize("size", [40, 300, 66_000, 100_000])
    def test_dense_and_sorted_counting_agree_and_keys_do_not_overflow(self, size):
        """66 000 and 100 000 words need 64-bit keys and a sort of more than 16 bits."""
        rng = np.random.default_rng(2)
        ids = (size - 1 - np.minimum(rng.zipf(1.3, 4000), 60)).astype(np.int64) % size
        ids[::2] = rng.integers(0, size, ids[::2].size)
        counts = words.cooccurrence(ids, window=3, vocabulary_size=size, weighting="word2vec")
        names, small = np.unique(ids, return_inverse=True)
        expected = sparse(oracle.cooccurrence(small, 3, names.size, None, "word2vec"))
        np.testing.assert_array_equal(counts.rows, names[expected.rows])
        np.testing.assert_array_equal(counts.cols, names[expected.cols])
        np.testing.assert_allclose(counts.values, expected.values, rtol=1e-12)
        assert counts.shape == (size, size)
        if size <= 300:
            weights = {1: 3, 2: 2, 3: 1}
            plain = ids.astype(np.uint32)
            for a, b in zip(
                _counts._count_dense(plain, None, size, weights),
                _counts._count_sparse(plain, None, size, weights),
                strict=True,
            ):
                np.testing.assert_array_equal(a, b)

    def test_word2vec_weights_are_the_mean_over_drawn_windows(self):
        tokens = np.random.default_rng(3).integers(0, 9, 200)
        drawn = [words.to_dense(words.cooccurrence(tokens, window=w, vocabulary_size=9)) for w in (1, 2, 3, 4)]
        weighted = words.cooccurrence(tokens, window=4, vocabulary_size=9, weighting="word2vec")
        np.testing.assert_allclose(words.to_dense(weighted), np.mean(drawn, axis=0), rtol=1e-12)

    def test_totals(self):
        """n - d pairs at distance d, met from both ends; fewer tokens than the window leave what there is."""
        tokens = np.random.default_rng(4).integers(0, 5, 40)
        assert words.cooccurrence(tokens, window=3, vocabulary_size=5).values.sum() == 2 * (39 + 38 + 37)
        assert words.cooccurrence([2, 0, 1], window=9, vocabulary_size=3).values.sum() == 6
        assert words.cooccurrence([2], window=9, vocabulary_size=3).values.size == 0

    def test_no_pair_crosses_a_change_of_sentence_even_back_to_an_old_label(self):
        counts = words.cooccurrence([0, 1, 2, 0], window=3, vocabulary_size=3, sentence=[7, 7, 3, 7])
        assert words.to_dense(counts).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]

    def test_marginals(self):
        counts = words.cooccurrence(np.random.default_rng(5).integers(0, 6, 30), window=2, vocabulary_size=8)
        table = words.to_dense(counts)
        np.testing.assert_array_equal(words.marginals(counts)[0], table.sum(axis=1))
        np.testing.assert_array_equal(words.marginals(sparse(TABLE))[1], TABLE.sum(axis=0))
        np.testing.assert_array_equal(words.to_dense(sparse(TABLE)), TABLE)

    @pytest.mark.parametrize(
        ("tokens", "options", "message"),
        [
            ([], {}, "tokens are empty"),
            ([0, 1, 5, 9], {}, r"got 5 at \(2,\)"),
            ([0, -1], {}, r"got -1 at \(1,\)"),
            ([[0, 1]], {}, r"shape \(n,\)"),
            ([0, 1], {"window": 0}, "window must be at least 1"),
            ([0, 1], {"vocabulary_size": 0}, "vocabulary_size must be at least 1"),
            ([0, 1], {"vocabulary_size": 2**31}, "below 2\\^31"),
            ([0, 1], {"sentence": [0]}, "label each token"),
            ([0, 1], {"weighting": "harmonic"}, "'uniform' or 'word2vec'"),
        ],
    )
    def test_bad_input(self, tokens, options, message):
        with pytest.raises(ValueError, match=message):
            words.cooccurrence(np.array(tokens, int), **({"window": 2, "vocabulary_size": 5} | options))

    def test_ids_that_are_not_integers(self):
        with pytest.raises(TypeError, match="tokens must be integers"):
            words.cooccurrence([0.0, 1.0], window=1, vocabulary_size=2)
        with pytest.raises(TypeError, match="window"):
            words.cooccurrence([0, 1], window=1.5, vocabulary_size=2)

    def test_labels_of_any_integer_type(self):
        """Two labels that are one in float64, or modulo 2^32, are two sentences."""
        for label in (np.array([2**63, 2**63, 2**63 + 1], np.uint64), np.array([5, 5, 5 + 2**32])):
            counts = words.cooccurrence(np.uint64([0, 1, 2]), window=2, vocabulary_size=3, sentence=label)
            assert words.to_dense(counts).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
        with pytest.raises(ValueError, match="got 4294967297"):
            words.cooccurrence([1, 2**32 + 1], window=2, vocabulary_size=3)

    def test_cells_outside_the_table(self):
        for name, ids in (("rows", [-1]), ("cols", [2])):
            cell = words.PairCounts(np.array([0]), np.array([0]), np.array([1.0]), (2, 2))._replace(**{name: ids})
            for f in (words.to_dense, words.marginals):
                with pytest.raises(ValueError, match=rf"{name} must be in \[0, 1\]"):
                    f(cell)


class TestSubsampling:
    FREQUENCY = np.array([0, 1e-9, 1e-4, 2.6e-4, 2.7e-4, 1e-3, 0.05, 1])

    @pytest.mark.parametrize("rule", ["code", "paper"])
    def test_oracle(self, rule, tolerance):
        got = words.keep_probability(self.FREQUENCY, threshold=1e-4, rule=rule)
        expected = [oracle.keep_probability(f, 1e-4, rule) for f in self.FREQUENCY]
        np.testing.assert_allclose(got, expected, rtol=tolerance)

    def test_mass_kept_and_where_dropping_begins(self, tolerance):
        f, t = jnp.array([0.001, 0.02, 0.5]), 1e-4
        code, paper = (words.keep_probability(f, threshold=t, rule=rule) for rule in ("code", "paper"))
        np.testing.assert_allclose(f * code, jnp.sqrt(t * f) + t, rtol=tolerance)
        np.testing.assert_allclose(f * paper, jnp.sqrt(t * f), rtol=tolerance)
        golden = ((1 + 5**0.5) / 2) ** 2 * t
        around = words.keep_probability(jnp.array([0.999, 1.001]) * golden, threshold=t)
        assert around[0] == 1
        assert around[1] < 1

    @double
    @pytest.mark.parametrize("rule", ["code", "paper"])
    def test_gradient(self, rule):
        f = np.array([5e-5, 2e-4, 4e-3, 0.3])
        total = lambda x: jnp.sum(words.keep_probability(x, threshold=1e-4, rule=rule))
        np.testing.assert_allclose(jax.grad(total)(jnp.asarray(f)), slope(total, f, 1e-9), rtol=1e-4, atol=1e-4)
        assert np.all(np.isfinite(jax.grad(total)(jnp.asarray(self.FREQUENCY))))

    def test_transforms(self):
        f = lambda x: words.keep_probability(x, threshold=1e-4)
        eager = f(jnp.asarray(self.FREQUENCY))
        np.testing.assert_allclose(jax.jit(f)(self.FREQUENCY), eager, rtol=1e-6)
        np.testing.assert_allclose(jax.vmap(f)(jnp.asarray(self.FREQUENCY)), eager, rtol=1e-6)
        assert words.keep_probability(jnp.array([0.5], jnp.bfloat16), threshold=0.1).dtype == jnp.float32

    def test_bad_input(self):
        with pytest.raises(ValueError, match="Divide counts by their sum"):
            words.keep_probability([3.0], threshold=1e-4)
        with pytest.raises(ValueError, match="threshold must be positive"):
            words.keep_probability([0.1], threshold=0.0)
        with pytest.raises(ValueError, match="'code' or 'paper'"):
            words.keep_probability([0.1], threshold=1e-4, rule="gensim")

    def test_draws(self, key):
        """Kept shares against their law: five words at once, 1e-4 two-sided each by the binomial's normal limit."""
        probability = np.array([0.0, 0.01, 0.3, 0.9, 1.0])
        tokens = jnp.arange(100_000) % 5
        mask = words.subsample(key, tokens, probability)
        assert mask.shape == tokens.shape
        share = np.asarray(mask).reshape(-1, 5).mean(axis=0)
        error = np.sqrt(probability * (1 - probability) / 20_000)
        assert np.all(np.abs(share - probability) <= stats.norm.isf(5e-5) * error)
        np.testing.assert_array_equal(jax.jit(words.subsample)(jax.random.clone(key), tokens, probability), mask)

    def test_keys_decide_and_tokens_are_drawn_one_by_one(self, key):
        tokens, half = jnp.zeros(4000, int), jnp.array([0.5])
        keys = jax.random.split(key)
        a, b = (words.subsample(jax.random.clone(k), tokens, half) for k in keys)
        assert 1700 < int(jnp.sum(a != b)) < 2300  # 2000 expected, standard error 32
        rows = jax.vmap(lambda k: words.subsample(k, tokens, half))(keys)
        np.testing.assert_array_equal(rows, [a, b])

    def test_bad_tokens(self, key):
        draw = lambda tokens, p: words.subsample(jax.random.clone(key), tokens, p)
        with pytest.raises(ValueError, match=r"got 3 at \(1,\)"):
            draw(jnp.array([0, 3]), jnp.ones(2))
        with pytest.raises(ValueError, match="probability must be in"):
            draw(jnp.array([0]), jnp.array([1.5]))
        with pytest.raises(ValueError, match=r"\(n,\) and probability"):
            draw(jnp.array([[0]]), jnp.ones(2))
        with pytest.raises(TypeError, match="tokens must be integers"):
            draw(jnp.array([0.0]), jnp.ones(2))
        traced = jax.jit(words.subsample)(jax.random.clone(key), jnp.array([0, 3, -1, 1]), jnp.ones(2))
        assert traced.tolist() == [True, False, False, True]


class TestPmi:
    @pytest.mark.parametrize("negatives", [1, 2, 15])
    @pytest.mark.parametrize("exponent", [0.0, 0.5, 0.75, 1.0])
    def test_optimum_oracle(self, negatives, exponent, tolerance):
        for table in (TABLE, HOLES, random_table(7, 3, 8)):
            expected = oracle.sgns_optimum(table, negatives, oracle.noise(table, exponent))
            got = words.sgns_optimum(table, negatives=negatives, exponent=exponent)
            np.testing.assert_allclose(got, expected, rtol=tolerance, atol=10 * tolerance)
            clipped = words.sppmi(table, negatives=negatives, exponent=exponent)
            np.testing.assert_allclose(clipped, np.maximum(expected, 0), rtol=tolerance, atol=10 * tolerance)

    def test_pmi(self, tolerance):
        joint = TABLE / TABLE.sum()
        with np.errstate(divide="ignore"):
            expected = np.log(joint / np.outer(joint.sum(1), joint.sum(0)))
        np.testing.assert_allclose(words.pmi(TABLE), expected, rtol=tolerance, atol=10 * tolerance)
        np.testing.assert_array_equal(words.pmi(sparse(TABLE)), words.pmi(TABLE))
        np.testing.assert_allclose(words.pmi(1e-6 * TABLE), expected, rtol=tolerance, atol=20 * tolerance)
        np.testing.assert_array_equal(words.pmi(TABLE.astype(np.int64)), words.pmi(TABLE))
        assert words.pmi(TABLE.astype(np.float16)).dtype == jnp.float32

    def test_unobserved_cells_and_empty_marginals_are_minus_infinity(self):
        np.testing.assert_array_equal(np.isneginf(words.pmi(HOLES)), HOLES == 0)
        np.testing.assert_array_equal(np.isneginf(words.sgns_optimum(HOLES, negatives=5, exponent=0.0)), HOLES == 0)

    @pytest.mark.parametrize("exponent", [0.3, 0.75, 1.0])
    def test_every_row_is_a_law_again(self, exponent, tolerance):
        """k q(c) exp(s*) = P(c | w): the noise times the odds gives the data back."""
        scores = words.sgns_optimum(TABLE, negatives=5, exponent=exponent)
        q = samplers.probabilities(samplers.power(TABLE.sum(0), exponent=exponent))
        conditional = 5 * q[None, :] * jnp.exp(scores)
        np.testing.assert_allclose(conditional, TABLE / TABLE.sum(1, keepdims=True), rtol=20 * tolerance)

    def test_exponent_adds_a_column(self, tolerance):
        p = TABLE.sum(0) / TABLE.sum()
        column = 0.25 * np.log(p) + np.log(np.sum(p**0.75)) - np.log(3)
        got = np.asarray(words.sgns_optimum(TABLE, negatives=3, exponent=0.75))
        seen = TABLE > 0
        expected = (np.asarray(words.pmi(TABLE)) + column)[seen]
        np.testing.assert_allclose(got[seen], expected, rtol=tolerance, atol=20 * tolerance)

    def test_any_noise_law(self, tolerance):
        weights = jnp.log(jnp.array([1.0, 2.0, 3.0, 4.0, 0.0]))
        got = words.sgns_optimum(TABLE, negatives=2, log_weights=weights + 7)
        expected = oracle.sgns_optimum(TABLE, 2, np.array([0.1, 0.2, 0.3, 0.4, 0]))
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=10 * tolerance)
        np.testing.assert_array_equal(np.isposinf(got[:, 4]), TABLE[:, 4] > 0)
        power = samplers.power(TABLE.sum(0), exponent=0.75)
        np.testing.assert_array_equal(
            words.sgns_optimum(TABLE, negatives=2, log_weights=power),
            words.sgns_optimum(TABLE, negatives=2, exponent=0.75),
        )

    @double
    def test_gradient(self):
        """Through the cells and both marginals; an unobserved cell matters to the others, not to itself."""
        mix = np.random.default_rng(8).normal(size=TABLE.shape) * (TABLE > 0)
        dot = lambda t, a: jnp.sum(
            jnp.where(mix != 0, mix * words.sgns_optimum(t, negatives=2, exponent=a, log_weights=None), 0)
        )
        got = jax.grad(dot)(jnp.asarray(TABLE), 0.75)
        seen = TABLE > 0
        observed = lambda x: dot(jnp.asarray(TABLE).at[seen].set(x), 0.75)
        np.testing.assert_allclose(got[seen], slope(observed, TABLE[seen], 1e-4), rtol=1e-5)
        step = np.zeros_like(TABLE)
        step[tuple(np.argwhere(~seen)[0])] = 1e-5
        one_sided = (dot(jnp.asarray(TABLE + step), 0.75) - dot(jnp.asarray(TABLE), 0.75)) / 1e-5
        np.testing.assert_allclose(got[tuple(np.argwhere(~seen)[0])], one_sided, rtol=1e-4)
        by_exponent = jax.grad(dot, argnums=1)(jnp.asarray(TABLE), 0.75)
        np.testing.assert_allclose(by_exponent, slope(lambda a: dot(jnp.asarray(TABLE), a), 0.75), rtol=1e-6)

    def test_gradients_are_finite_beside_infinite_cells(self):
        for table in (HOLES, TABLE):
            f = lambda t: jnp.sum(jnp.where(t > 0, words.sgns_optimum(t, negatives=3, exponent=0.75), 0))
            assert np.all(np.isfinite(jax.grad(f)(jnp.asarray(table))))

    def test_transforms(self, tolerance):
        tables = jnp.asarray([random_table(s) for s in range(4)])
        rows = np.stack([words.pmi(t) for t in tables])
        np.testing.assert_allclose(jax.vmap(words.pmi)(tables), rows, rtol=tolerance, atol=10 * tolerance)
        np.testing.assert_allclose(jax.jit(words.pmi)(tables[0]), rows[0], rtol=tolerance, atol=10 * tolerance)
        law = lambda k, a: words.sgns_optimum(TABLE, negatives=k, exponent=a)
        k, a = jnp.array([1.0, 5.0]), jnp.array([0.5, 1.0])
        np.testing.assert_allclose(jax.vmap(law)(k, a), [law(1, 0.5), law(5, 1)], rtol=tolerance, atol=10 * tolerance)

    def test_traced_bad_input(self):
        assert np.all(np.isnan(jax.jit(words.pmi)(jnp.zeros((2, 2)))))
        for bad in (-3.0, np.nan, np.inf):
            found = jax.jit(words.pmi)(jnp.array([[1.0, bad], [1.0, 0.0]]))
            assert np.isnan(found).tolist() == [[True, True], [True, False]]
            assert np.isneginf(found[1, 1]), "an unobserved cell is one whatever the others are"

    @pytest.mark.parametrize(
        ("counts", "message"),
        [
            (np.zeros((2, 2)), "all zero"),
            ([[1.0, -2.0]], r"got -2.0 at \(0, 1\)"),
            ([[1.0], [np.nan]], r"got nan at \(1, 0\)"),
            ([[np.inf]], "finite"),
            ([1.0, 2.0], r"shape \(V, C\)"),
            (np.zeros((0, 3)), r"V, C >= 1"),
        ],
    )
    def test_bad_counts(self, counts, message):
        for f in (words.pmi, lambda c: words.expected_sgns(np.zeros(np.shape(c)), c, negatives=1)):
            with pytest.raises(ValueError, match=message):
                f(counts)

    def test_bad_law(self):
        for k in (0, -1, np.nan):
            with pytest.raises(ValueError, match="negatives must be positive"):
                words.sgns_optimum(TABLE, negatives=k)
        with pytest.raises(ValueError, match="exponent must be finite"):
            words.sgns_optimum(TABLE, negatives=1, exponent=np.nan)
        with pytest.raises(ValueError, match="one entry per context"):
            words.sgns_optimum(TABLE, negatives=1, log_weights=jnp.zeros(6))


def random_scores(seed, shape=TABLE.shape, scale=3.0):
    return np.asarray(jnp.asarray(scale * np.random.default_rng(seed).normal(size=shape)), np.float64)


class TestObjective:
    @pytest.mark.parametrize(("negatives", "exponent"), [(1, 1.0), (5, 0.75), (2, 0.0), (0.5, 1.0)])
    def test_oracle(self, negatives, exponent, tolerance):
        law = {"negatives": negatives, "exponent": exponent}
        for seed, table in enumerate((TABLE, HOLES)):
            q, scores = oracle.noise(table, exponent), random_scores(seed, table.shape)
            got = words.expected_sgns(scores, table, **law)
            value, best = oracle.expected_sgns(scores, table, negatives, q), oracle.optimal_sgns(table, negatives, q)
            np.testing.assert_allclose(got, value, rtol=10 * tolerance)
            np.testing.assert_allclose(
                words.expected_sgns(scores, sparse(7 * table), **law), value, rtol=10 * tolerance
            )
            np.testing.assert_allclose(words.optimal_sgns(table, **law), best, rtol=10 * tolerance)
            excess = words.deviation(scores, table, **law)
            np.testing.assert_allclose(excess, (value - best) / best, rtol=100 * tolerance)

    def test_is_the_expectation_of_the_sampled_loss(self, tolerance):
        """E of nsx.losses.sgns over pairs and k = 1, 2 draws, every combination enumerated."""
        scores, joint = jnp.asarray(random_scores(3)), jnp.asarray(TABLE / TABLE.sum())
        q = jnp.asarray(oracle.noise(TABLE, 0.75))
        for k in (1, 2):
            draws = np.array(list(itertools.product(range(5), repeat=k)))
            # axes: word, context, combination of draws
            loss = losses.sgns(
                jnp.broadcast_to(scores[:, :, None], (6, 5, len(draws))),
                jnp.broadcast_to(scores[:, draws][:, None], (6, 5, len(draws), k)),
            )
            weight = joint[:, :, None] * jnp.prod(q[draws], axis=1)[None, None, :]
            got = words.expected_sgns(scores, TABLE, negatives=k, exponent=0.75)
            np.testing.assert_allclose(got, jnp.sum(weight * loss), rtol=20 * tolerance)

    def test_gradient_is_pull_minus_push(self, tolerance):
        scores = random_scores(4)
        got = jax.grad(words.expected_sgns)(jnp.asarray(scores), TABLE, negatives=5, exponent=0.75)
        expected = oracle.gradient(scores, TABLE, 5, oracle.noise(TABLE, 0.75))
        np.testing.assert_allclose(got, expected, rtol=20 * tolerance, atol=tolerance)

    @double
    def test_gradient_by_differences(self):
        f = lambda s: words.expected_sgns(s, TABLE, negatives=2, exponent=0.5)
        np.testing.assert_allclose(jax.grad(f)(jnp.asarray(random_scores(5))), slope(f, random_scores(5)), atol=1e-9)
        scores = jnp.asarray(random_scores(5))
        by_exponent = lambda a: words.expected_sgns(scores, TABLE, negatives=2, exponent=a)
        np.testing.assert_allclose(jax.grad(by_exponent)(0.5), slope(by_exponent, 0.5), rtol=1e-7)

    def test_optimum_is_stationary_and_least(self, tolerance):
        law = {"negatives": 5, "exponent": 0.75}
        best = words.sgns_optimum(TABLE, **law)
        gradient = jax.grad(words.expected_sgns)(best, TABLE, **law)
        np.testing.assert_allclose(gradient, jnp.zeros_like(gradient), atol=tolerance)
        least = float(words.optimal_sgns(TABLE, **law))
        moved = jnp.where(jnp.isfinite(best), best, -9.0)[None] + jnp.asarray(
            random_scores(6, (200, *TABLE.shape), 0.1)
        )
        values = jax.vmap(lambda s: words.expected_sgns(s, TABLE, **law))(moved)
        assert np.all(values > least)

    def test_convergence_of_free_scores_to_the_optimum(self, tolerance):
        """Newton's method on the exact objective, cell by cell, finds PMI - log k without being told."""
        full = random_table(9, 4, 6, zeros=0.0)
        slope_of = jax.grad(lambda s: words.expected_sgns(s, full, negatives=3))
        scores = jnp.zeros(full.shape)

        @jax.jit
        def newton(scores):
            slope, curvature = jax.jvp(slope_of, (scores,), (jnp.ones_like(scores),))
            return scores - slope / curvature

        for _ in range(30):
            scores = newton(scores)
        np.testing.assert_allclose(scores, words.pmi(full) - np.log(3), rtol=0, atol=1e3 * tolerance)

    def test_infinite_scores(self):
        """Free where the cell has no weight or the score is right; infinite loss where it is surely wrong."""
        best = jnp.where(jnp.asarray(HOLES) > 0, 0.3, -INF)
        value, gradient = jax.value_and_grad(words.expected_sgns)(best, HOLES, negatives=2)
        assert np.isfinite(value)
        assert np.all(np.isfinite(gradient))
        empty = best.at[1, 1].set(INF)  # a word and a context that occur in no pair
        assert words.expected_sgns(empty, HOLES, negatives=2) == value
        assert words.expected_sgns(best.at[0, 0].set(-INF), HOLES, negatives=2) == INF
        assert words.expected_sgns(best.at[0, 0].set(INF), HOLES, negatives=2) == INF
        never = jnp.log(jnp.array([0.0, 1.0, 1.0]))
        certain = words.sgns_optimum(HOLES, negatives=2, log_weights=never)
        assert np.isposinf(certain[0, 0])
        assert np.isfinite(words.expected_sgns(certain, HOLES, negatives=2, log_weights=never))

    def test_closed_forms(self, tolerance):
        for k in (1, 5, 15):
            zero = words.deviation(np.zeros(TABLE.shape), TABLE, negatives=k)
            best = float(words.optimal_sgns(TABLE, negatives=k))
            np.testing.assert_allclose(zero, (1 + k) * np.log(2) / best - 1, rtol=50 * tolerance)
            assert words.deviation(words.sgns_optimum(TABLE, negatives=k), TABLE, negatives=k) == 0
            share = np.array([1 / (1 + k), k / (1 + k)])
            entropy = -(1 + k) * np.sum(share * np.log(share))
            assert best < entropy, "pairs tell data from noise"
            independent = np.outer([1.0, 2, 3], [4.0, 5])
            np.testing.assert_allclose(words.optimal_sgns(independent, negatives=k), entropy, rtol=20 * tolerance)

    def test_transforms(self, tolerance):
        scores = jnp.asarray(random_scores(10, (3, *TABLE.shape)))
        f = lambda s, k: words.deviation(s, TABLE, negatives=k, exponent=0.75)
        k = jnp.array([1.0, 2.0, 15.0])
        rows = [f(s, x) for s, x in zip(scores, k, strict=True)]
        np.testing.assert_allclose(jax.vmap(f)(scores, k), rows, rtol=50 * tolerance)
        np.testing.assert_allclose(jax.jit(f)(scores[0], k[0]), rows[0], rtol=50 * tolerance)
        halves = jax.jit(lambda t: words.expected_sgns(scores[0], t, negatives=2))(jnp.asarray(TABLE / 2))
        np.testing.assert_allclose(halves, words.expected_sgns(scores[0], TABLE, negatives=2), rtol=10 * tolerance)
        half = words.expected_sgns(scores[0].astype(jnp.bfloat16), TABLE.astype(np.float16), negatives=2)
        assert half.dtype == jnp.float32
        np.testing.assert_allclose(half, halves, rtol=0.02)

    def test_bad_input(self):
        with pytest.raises(ValueError, match="shape of counts"):
            words.expected_sgns(np.zeros((5, 6)), TABLE, negatives=1)
        with pytest.raises(ValueError, match="negatives must be positive"):
            words.deviation(np.zeros(TABLE.shape), TABLE, negatives=0)
        with pytest.raises(ValueError, match="exponent must be finite"):
            words.expected_sgns(np.zeros(TABLE.shape), TABLE, negatives=1, exponent=np.inf)


class TestSvd:
    MATRIX = random_scores(11, (7, 5))

    @pytest.mark.parametrize("rank", [1, 3, 5])
    def test_oracle(self, rank, tolerance):
        factors = words.svd_factors(self.MATRIX, rank=rank)
        assert (factors.words.shape, factors.contexts.shape) == ((7, rank), (5, rank))
        expected = oracle.best_approximation(self.MATRIX, rank)
        np.testing.assert_allclose(factors.words @ factors.contexts.T, expected, rtol=0, atol=100 * tolerance)

    @pytest.mark.parametrize("split", [0.0, 0.3, 1.0])
    def test_split_shares_the_spectrum(self, split, tolerance):
        spectrum = np.linalg.svd(self.MATRIX, compute_uv=False)
        factors = words.svd_factors(self.MATRIX, rank=5, split=split)
        gram = np.asarray(factors.words.T @ factors.words), np.asarray(factors.contexts.T @ factors.contexts)
        np.testing.assert_allclose(gram[0], np.diag(spectrum ** (2 * split)), rtol=0, atol=2000 * tolerance)
        np.testing.assert_allclose(gram[1], np.diag(spectrum ** (2 - 2 * split)), rtol=0, atol=2000 * tolerance)

    def test_leading_columns_are_the_lower_rank(self):
        low, high = (words.svd_factors(self.MATRIX, rank=r) for r in (2, 5))
        np.testing.assert_array_equal(high.words[:, :2], low.words)
        np.testing.assert_array_equal(high.contexts[:, :2], low.contexts)

    def test_symmetric(self, tolerance):
        matrix = self.MATRIX @ np.diag([1.0, -1, 2, -0.5, 1]) @ self.MATRIX.T  # of either sign
        for rank in (2, 5):
            factors = words.svd_factors(matrix, rank=rank, symmetric=True)
            expected = oracle.best_approximation(matrix, rank)
            np.testing.assert_allclose(factors.words @ factors.contexts.T, expected, rtol=0, atol=3000 * tolerance)

    def test_transforms(self, tolerance):
        f = lambda m: jnp.matmul(*[x if i == 0 else x.T for i, x in enumerate(words.svd_factors(m, rank=2))])
        batch = jnp.asarray(random_scores(12, (3, 7, 5)))
        rows = np.stack([f(m) for m in batch])
        np.testing.assert_allclose(jax.jit(f)(batch[0]), rows[0], atol=100 * tolerance)
        np.testing.assert_allclose(jax.vmap(f)(batch), rows, atol=100 * tolerance)

    @pytest.mark.parametrize(
        ("matrix", "options", "message"),
        [
            (np.zeros((3, 4)), {"rank": 4}, "rank must be at most"),
            (np.zeros(3), {"rank": 1}, "rank must be at most"),
            (np.zeros((3, 4)), {"rank": 0}, "rank must be at least 1"),
            (np.full((3, 4), -INF), {"rank": 1}, "Clip -inf first"),
            (np.eye(3), {"rank": 1, "split": 1.5}, "split must be in"),
            (np.triu(np.ones((3, 3))), {"rank": 1, "symmetric": True}, "not symmetric"),
        ],
    )
    def test_bad_input(self, matrix, options, message):
        with pytest.raises(ValueError, match=message):
            words.svd_factors(matrix, **options)

    def test_traced_values_outside_their_domain(self):
        lopsided = np.triu(np.ones((3, 3)))
        factors = jax.jit(lambda m: words.svd_factors(m, rank=1, symmetric=True))(lopsided)
        assert all(np.all(np.isnan(f)) for f in factors)
        ones = jax.jit(lambda a: words.svd_factors(np.eye(3), rank=2, split=a))(1.5)
        assert all(np.all(np.isnan(f)) for f in ones), "1 to the power NaN is 1"


def planted_table(seed, size=20, rank=2):
    """Counts whose optimal scores have rank <= rank + 2: a low-rank log-ratio and the two marginals."""
    rng = np.random.default_rng(seed)
    return np.exp(rng.normal(size=(size, rank)) @ rng.normal(size=(rank, size)) * 0.7)


class TestFit:
    def test_finds_a_planted_table(self, key):
        """The scores of a table of rank 4 are found at rank 4, and cannot be at rank 1."""
        table = planted_table(13)
        fit = words.fit_sgns(key, table, rank=4, negatives=2, num_steps=600)
        zero, found = (
            float(words.deviation(s, table, negatives=2)) for s in (np.zeros((20, 20)), fit.words @ fit.contexts.T)
        )
        assert found < 2e-5 < 1e-2 < zero
        low = words.fit_sgns(jax.random.clone(key), table, rank=1, negatives=2, num_steps=600)
        assert words.deviation(low.words @ low.contexts.T, table, negatives=2) > 1e-2

    @pytest.mark.parametrize("law", [{"negatives": 5, "exponent": 0.75}, {"negatives": 1}, {"negatives": 0.5}])
    def test_curve(self, key, law):
        """Starts near the best constant score -log k, of loss (1 + k) H, and ends at the loss of the result."""
        table = random_table(14, 30, 20)
        fit = words.fit_sgns(key, table, rank=6, num_steps=150, **law)
        assert fit.losses.shape == (151,)
        share = np.array([1, law["negatives"]]) / (1 + law["negatives"])
        constant = -(1 + law["negatives"]) * np.sum(share * np.log(share))
        assert abs(fit.losses[0] / constant - 1) < 0.05
        end = words.expected_sgns(fit.words @ fit.contexts.T, table, **law)
        np.testing.assert_allclose(fit.losses[-1], end, rtol=1e-5)
        assert np.all(fit.losses > 0.9999 * float(words.optimal_sgns(table, **law)))
        svd = words.svd_factors(words.sppmi(table, **law), rank=6)
        assert end < words.expected_sgns(svd.words @ svd.contexts.T, table, **law)

    def test_noise_law_is_used(self, key):
        """At rank 1 on independent pairs the scores become the closed form of the noise given."""
        table, weights = np.outer([1.0, 2, 5], [3.0, 3, 3, 3]), jnp.log(jnp.array([1.0, 2, 4, 1]))
        fit = words.fit_sgns(key, table, rank=2, negatives=3, num_steps=400, log_weights=weights)
        expected = words.sgns_optimum(table, negatives=3, log_weights=weights)
        np.testing.assert_allclose(fit.words @ fit.contexts.T, expected, rtol=0, atol=1e-2)

    @pytest.mark.parametrize("block_size", [1, 7, 1000])
    def test_slabs(self, tolerance, block_size):
        """Loss and gradient do not depend on the slabs, and are those of the exact objective."""
        table, rng = random_table(15, 30, 20), np.random.default_rng(16)
        factors = _factorise.Factors(*(jnp.asarray(rng.normal(size=(n, 3))) for n in table.shape))
        block, joint = min(block_size, 30), jnp.asarray(table / table.sum())
        slabs = _factorise._slabs(joint, block), _factorise._slabs(jnp.sum(joint, axis=1), block)
        noise = 2 * jnp.asarray(oracle.noise(table, 0.75))
        loss, gradient = _factorise._value_and_gradient(factors, slabs, noise)
        exact = lambda f: words.expected_sgns(f.words @ f.contexts.T, table, negatives=2, exponent=0.75)
        expected, slope_of = jax.value_and_grad(exact)(factors)
        np.testing.assert_allclose(loss, expected, rtol=20 * tolerance)
        for a, b in zip(gradient, slope_of, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=20 * tolerance)

    def test_half_precision_descends_in_float32(self, key):
        """Counts beyond 65504 are no infinity, and the losses are those of float32."""
        table = 1e5 * random_table(17, 6, 5)
        f = lambda dtype: words.fit_sgns(jax.random.clone(key), table, rank=2, negatives=2, num_steps=5, dtype=dtype)
        assert f(jnp.float16).losses.dtype == jnp.float32
        np.testing.assert_array_equal(f(jnp.float16).losses, f(jnp.float32).losses)
        with pytest.raises(TypeError, match="dtype must be a floating type"):
            f(jnp.int32)

    @double
    def test_types_meet(self, key):
        """Counts, law and k of other float types than the descent."""
        table, law = TABLE.astype(np.float32), np.zeros(5)
        options = {"rank": 2, "num_steps": 3, "log_weights": law, "learning_rate": np.float64(0.1)}
        plain = words.fit_sgns(jax.random.clone(key), TABLE, negatives=2, **options).losses
        mixed = words.fit_sgns(key, table, negatives=np.float64(2), **options).losses
        np.testing.assert_allclose(mixed, plain, rtol=1e-5)

    def test_block_size_changes_rounding_only(self, key):
        table = random_table(17, 30, 20)
        f = lambda b: words.fit_sgns(jax.random.clone(key), table, rank=3, negatives=2, num_steps=20, block_size=b)
        np.testing.assert_allclose(f(8).losses, f(None).losses, rtol=1e-5)

    def test_dtype(self, key):
        fit = words.fit_sgns(
            jax.random.clone(key), TABLE, rank=2, negatives=2, num_steps=3, dtype=jnp.result_type(float)
        )
        assert {x.dtype for x in fit} == {jnp.result_type(float)}
        assert words.fit_sgns(key, TABLE, rank=2, negatives=2, num_steps=3).words.dtype == jnp.float32

    def test_transforms(self, key):
        f = lambda k, n: words.fit_sgns(k, TABLE, rank=2, negatives=n, num_steps=3).losses
        keys, negatives = jax.random.split(key, 2), jnp.array([1.0, 5.0])
        rows = np.stack([f(jax.random.clone(k), n) for k, n in zip(keys, negatives, strict=True)])
        np.testing.assert_allclose(jax.vmap(f)(jax.random.clone(keys), negatives), rows, rtol=1e-4)
        np.testing.assert_allclose(jax.jit(f)(jax.random.clone(keys[0]), negatives[0]), rows[0], rtol=1e-4)
        assert rows[0][0] != rows[1][0]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"rank": 6}, "rank must be at most"),
            ({"negatives": 0}, "negatives must be positive"),
            ({"num_steps": 0}, "num_steps must be at least 1"),
            ({"learning_rate": -1.0}, "learning_rate must be positive"),
            ({"block_size": 0}, "block_size must be at least 1"),
            ({"exponent": np.nan}, "exponent must be finite"),
        ],
    )
    def test_bad_input(self, key, options, message):
        with pytest.raises(ValueError, match=message):
            words.fit_sgns(key, TABLE, **({"rank": 2, "negatives": 1} | options))
