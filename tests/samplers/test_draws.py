"""Draws: the alias table, the inverse distribution, the Gumbel race; exact laws where sampling would be too long.

Chi-square and binomial tests raise a false alarm once in a million seeds.
"""

import itertools
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

from nsx import samplers
from nsx.samplers import _alias, _inverse, _subsets
from tests.helpers import PRECISION
from tests.oracles import samplers as oracle

INF = np.inf
FALSE_ALARM = 1e-6
RARE = 1e-9


def zipf(num, seed=0):
    return np.random.default_rng(seed).permutation(-np.log(np.arange(1, num + 1)))


def law(log_weights):
    """Probabilities in float64, by NumPy in one go."""
    mass = np.exp(log_weights - np.max(log_weights))
    return mass / mass.sum()


def with_rare_end(num):
    """A uniform law whose last class has mass 1e-9 and whose first has none."""
    mass = np.full(num, (1 - RARE) / (num - 2))
    mass[0], mass[-1] = 0, RARE
    with np.errstate(divide="ignore"):
        return np.log(mass)


def check_counts(counts, expected):
    """Chi-square, with classes expected under 5 times pooled; what cannot happen did not."""
    counts, expected = np.asarray(counts, float), np.asarray(expected, float)
    assert np.all(counts[expected == 0] == 0)
    rare = expected < 5
    observed = np.append(counts[~rare], counts[rare].sum())
    predicted = np.append(expected[~rare], expected[rare].sum())
    kept = predicted > 0
    observed, predicted = observed[kept], predicted[kept]
    assert predicted.size > 1
    assert stats.chisquare(observed, predicted * observed.sum() / predicted.sum()).pvalue > FALSE_ALARM


class TestAliasTable:
    @pytest.mark.parametrize("num", [1, 2, 3, 17, 1023, 1024, 1025])
    @pytest.mark.parametrize("span", [0, 1, 600])
    def test_law_is_exact(self, num, span):
        """Followed slot by slot in whole numbers; 1e-12 is the promise, one unit in slots * 2^32 the bound."""
        w = span * np.random.default_rng(num).uniform(-1, 0, num)
        w[1::5] = -INF
        table = samplers.alias_table(w)
        threshold, alias = np.asarray(table.threshold), np.asarray(table.alias)
        assert (threshold.dtype, alias.dtype) == (np.uint32, np.int32)
        units = oracle.table_probabilities(threshold, alias, num)
        total = threshold.size * 2.0**32
        np.testing.assert_allclose(np.array(units) / total, oracle.probabilities(w), rtol=0, atol=1 / total + 1e-15)
        assert 1 / total < 1e-12
        assert not np.array(units)[np.isneginf(w)].any()

    @pytest.mark.parametrize(
        "w",
        [zipf(10**6), np.random.default_rng(1).uniform(-600, 0, 10**6), np.zeros(2**20), np.zeros(2**20 + 1)],
        ids=["zipf", "600 nats", "power of two", "one more"],
    )
    def test_law_of_a_large_table(self, w):
        table = samplers.alias_table(w)
        units = oracle.table_probabilities_large(np.asarray(table.threshold), np.asarray(table.alias), w.size)
        np.testing.assert_allclose(units / (table.alias.size * 2.0**32), law(w), rtol=0, atol=1e-14)

    def test_rare_and_zero_class_among_ten_million(self):
        """Trap: multinomials over a float32 running sum never draw the one and may draw the other."""
        w = with_rare_end(10**7)
        table = samplers.alias_table(w)
        units = oracle.table_probabilities_large(np.asarray(table.threshold), np.asarray(table.alias), w.size)
        np.testing.assert_allclose(units[-1] / (table.alias.size * 2.0**32), RARE, rtol=1e-6)
        assert units[0] == 0

    def test_float64_weights_are_used_in_full(self):
        """Two classes apart by less than a float32 step of the weights keep their difference."""
        w = np.array([1000.0, 1000.0 + 1e-6])
        table = samplers.alias_table(w)
        units = oracle.table_probabilities(np.asarray(table.threshold), np.asarray(table.alias), 2)
        np.testing.assert_allclose((units[1] - units[0]) / sum(units), 5e-7, rtol=1e-5)

    def test_memory_and_size(self):
        w = zipf(10**6)
        tracemalloc.start()
        table = samplers.alias_table(w)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert table.threshold.shape == (2**20,)
        assert peak <= 64 * 2**20

    @pytest.mark.parametrize(
        ("w", "error", "match"),
        [
            ([-INF, -INF], ValueError, "all -inf"),
            ([np.nan, 0.0], ValueError, "NaN"),
            ([INF, 0.0], ValueError, r"\+inf"),
            (np.zeros((2, 3)), ValueError, "1-dimensional"),
            ([], ValueError, "n >= 1"),
        ],
    )
    def test_bad_input(self, w, error, match):
        with pytest.raises(error, match=match):
            samplers.alias_table(w)

    def test_traced_weights_are_refused(self):
        with pytest.raises(TypeError, match="Build the table outside jit"):
            jax.jit(samplers.alias_table)(jnp.zeros(3))


class TestDrawAlias:
    def test_chi_square(self, key):
        w = zipf(1000)
        w[::3] = -INF
        ids = samplers.draw_alias(key, samplers.alias_table(w), (1000, 1000))
        assert (ids.shape, ids.dtype) == ((1000, 1000), jnp.int32)
        check_counts(np.bincount(np.ravel(ids), minlength=1000), 1e6 * law(w))

    def test_zero_class_never_in_ten_million_draws(self, key):
        w = np.where(np.arange(999) % 2, 0.0, -INF)
        counts = np.bincount(samplers.draw_alias(key, samplers.alias_table(w), 10**7), minlength=999)
        check_counts(counts, 1e7 * law(w))

    def test_rare_classes_get_their_share(self, key):
        """The last thousand of 1e5 classes have mass 1e-7 each: 1000 of 1e7 draws, binomially."""
        mass = np.full(10**5, (1 - 1e-4) / (10**5 - 1000))
        mass[-1000:] = 1e-7
        ids = samplers.draw_alias(key, samplers.alias_table(np.log(mass)), 10**7)
        hits = int(np.sum(np.asarray(ids) >= 10**5 - 1000))
        assert stats.binomtest(hits, 10**7, 1e-4).pvalue > FALSE_ALARM

    def test_successive_draws_are_independent(self, key):
        ids = np.asarray(samplers.draw_alias(key, samplers.alias_table(np.zeros(8)), (200_000, 2)))
        check_counts(np.bincount(8 * ids[:, 0] + ids[:, 1], minlength=64), np.full(64, 200_000 / 64))

    def test_slot_and_coin_follow_the_two_words(self, key):
        """Each draw recomputed by hand from its random words, then at the edges of every slot."""
        table = samplers.alias_table(zipf(1500))
        threshold, alias = np.asarray(table.threshold), np.asarray(table.alias)
        by_hand = lambda slots, coins: np.where(coins < threshold[slots], slots, alias[slots])
        words = np.asarray(jax.random.key_data(jax.random.split(jax.random.clone(key), 500)))
        assert samplers.draw_alias(key, table, 500).tolist() == by_hand(words[:, 0] >> 21, words[:, 1]).tolist()
        slots = np.arange(2048, dtype=np.uint32)
        for coins in (threshold, np.maximum(threshold, 1) - 1):
            np.testing.assert_array_equal(_alias._pick(table, (slots << 21) + 5, coins), by_hand(slots, coins))

    def test_same_bits_in_jit_vmap_and_both_precisions(self, key):
        table = samplers.alias_table(zipf(100))
        draw = lambda k: samplers.draw_alias(k, table, 50)
        eager = draw(jax.random.clone(key)).tolist()
        assert jax.jit(draw)(jax.random.clone(key)).tolist() == eager
        with jax.enable_x64(PRECISION != 64):
            assert samplers.draw_alias(jax.random.clone(key), table, 50).tolist() == eager
        tables = jax.tree.map(lambda *x: jnp.stack(x), table, samplers.alias_table(np.zeros(100)))
        keys = jax.random.split(key, 2)
        stacked = jax.vmap(lambda k, t: samplers.draw_alias(k, t, 50))(jax.random.clone(keys), tables)
        assert stacked[0].tolist() == draw(keys[0]).tolist()

    @pytest.mark.parametrize("shape", [(), 3, (2, 0)])
    def test_shapes(self, key, shape):
        ids = samplers.draw_alias(key, samplers.alias_table([0.0]), shape)
        assert ids.shape == ((shape,) if isinstance(shape, int) else shape)
        assert not ids.any()

    def test_other_key_implementations(self):
        ids = samplers.draw_alias(jax.random.key(0, impl="rbg"), samplers.alias_table(zipf(50)), 10**5)
        check_counts(np.bincount(ids, minlength=50), 1e5 * law(zipf(50)))

    def test_a_table_of_another_make_is_refused(self, key):
        table = samplers.AliasTable(jnp.zeros(3, jnp.uint32), jnp.zeros(3, jnp.int32))
        with pytest.raises(ValueError, match="power of two of slots"):
            samplers.draw_alias(key, table, 1)


class TestDrawInverse:
    def test_chi_square(self, key):
        w = zipf(1000)
        w[::3] = -INF
        ids = samplers.draw_inverse(key, w, (1000, 1000))
        assert (ids.shape, ids.dtype) == ((1000, 1000), jnp.int32)
        check_counts(np.bincount(np.ravel(ids), minlength=1000), 1e6 * law(w))

    @pytest.mark.parametrize("num", [1, 2, 1000])
    def test_search_of_every_boundary(self, num):
        """Coins on both sides of each step of the running sum land where Python integers put them."""
        w = jnp.asarray(np.where(np.arange(num) % 4 == 1, -INF, 4 * np.random.default_rng(num).normal(size=num)))
        sums = jax.jit(_inverse._cumulative)(samplers.probabilities(w))
        wide = [(int(h) << 32) + int(l) for h, l in zip(*map(np.asarray, sums), strict=True)]
        units = [b - a for a, b in itertools.pairwise([0, *wide])]
        expected = [int(2.0**63 * float(q)) for q in samplers.probabilities(w)]
        assert [u - e for u, e in zip(units, expected, strict=True)] == [0] * num
        coins = sorted({c for s in wide[:: max(1, num // 50)] for c in (s - 1, s) if c < wide[-1]} | {0})
        words = (np.array([c >> 32 for c in coins], np.uint32), np.array([c & 0xFFFFFFFF for c in coins], np.uint32))
        got = jax.jit(_inverse._first_above)(sums, words)
        assert got.tolist() == [oracle.first_above(units, c) for c in coins]

    def test_coin_covers_the_total_evenly(self):
        """word * total / 2^64 to within two units, and always below the total."""
        rng = np.random.default_rng(0)
        words = rng.integers(0, 2**32, (4, 2000), dtype=np.uint32)
        words[:, :4] = np.array([0, 1, 2**32 - 1, 2**31], np.uint32)
        coin = _inverse._scale_down((words[0], words[1]), (jnp.asarray(words[2]), jnp.asarray(words[3])))
        for a, b, c, d, high, low in zip(*words.tolist(), *(x.tolist() for x in coin), strict=True):
            exact = ((a << 32) + b) * ((c << 32) + d) >> 64
            assert 0 <= exact - ((high << 32) + low) <= 2

    def test_rare_and_zero_class_among_ten_million(self):
        """Trap: the last class of 1e7, mass 1e-9, keeps its share of a sum that float32 could not resolve."""
        w = jnp.asarray(with_rare_end(10**7))
        high, low = (x[jnp.array([0, -2, -1])] for x in jax.jit(_inverse._cumulative)(samplers.probabilities(w)))
        first, before, total = ((int(h) << 32) + int(l) for h, l in zip(high, low, strict=True))
        assert first == 0
        np.testing.assert_allclose((total - before) / total, RARE, rtol=1e-5)

    def test_zero_class_never_in_a_million_draws(self, key):
        w = np.where(np.arange(999) % 2, 0.0, -INF)
        check_counts(np.bincount(samplers.draw_inverse(key, w, 10**6), minlength=999), 1e6 * law(w))

    def test_rare_classes_get_their_share(self, key):
        mass = np.full(10**5, (1 - 1e-3) / (10**5 - 1000))
        mass[-1000:] = 1e-6
        hits = int(np.sum(np.asarray(samplers.draw_inverse(key, np.log(mass), 10**6)) >= 10**5 - 1000))
        assert stats.binomtest(hits, 10**6, 1e-3).pvalue > FALSE_ALARM

    @pytest.mark.parametrize("shift", [0.0, 1e4, -1e8])
    def test_a_common_shift_is_harmless(self, key, shift):
        ids = samplers.draw_inverse(key, jnp.array([0.0, -INF, 0.0]) + shift, 10**5)
        check_counts(np.bincount(ids, minlength=3), [5e4, 0, 5e4])

    def test_one_sharp_class_among_many(self, key):
        """600 nats: every running sum after the peak is the same, and the search still ends."""
        w = np.full(5000, -600.0)
        w[1234] = 0
        assert np.all(np.asarray(samplers.draw_inverse(key, w, 1000)) == 1234)

    def test_jit_vmap_and_traced_weights(self, key):
        w = jnp.asarray(zipf(100))
        draw = lambda k, w: samplers.draw_inverse(k, w, (2, 3))
        keys = jax.random.split(key, 2)
        eager = [draw(k, v).tolist() for k, v in zip(jax.random.clone(keys), (w, -w), strict=True)]
        both = jax.jit(jax.vmap(draw))
        assert both(jax.random.clone(keys), jnp.stack([w, -w])).tolist() == eager
        nothing = jnp.stack([jnp.full(100, -INF), jnp.full(100, np.nan)])
        assert np.all(np.asarray(both(keys, nothing)) == -1)

    @pytest.mark.parametrize(
        ("w", "match"), [([-INF], "all -inf"), ([[0.0]], "1-dimensional"), ([np.nan], "NaN"), ([], "n >= 1")]
    )
    def test_bad_input(self, key, w, match):
        with pytest.raises(ValueError, match=match):
            samplers.draw_inverse(key, w, 1)


class TestWithoutReplacement:
    WEIGHTS = np.array([0.0, 1.0, -INF, -1.5, 0.3])

    def test_law_of_the_ordered_draws(self, key):
        ids = np.asarray(samplers.draw_without_replacement(key, jnp.broadcast_to(self.WEIGHTS, (200_000, 5)), 3))
        assert (ids.shape, ids.dtype) == ((200_000, 3), np.int32)
        orders = oracle.order_probabilities(self.WEIGHTS, 3)
        counts = np.bincount(ids @ [25, 5, 1], minlength=125)
        expected = np.zeros(125)
        for order, p in orders.items():
            expected[np.dot(order, [25, 5, 1])] = 200_000 * p
        check_counts(counts, expected)

    def test_noise_is_gumbel_to_its_tails(self, key):
        noise = _subsets._gumbel(*_subsets.random_words(key, (200_000,)), jnp.zeros(()).dtype)
        assert stats.kstest(np.asarray(noise, float), "gumbel_r").pvalue > FALSE_ALARM
        top = np.uint32(2**32 - 1)
        ends = _subsets._gumbel(jnp.array([0, top], np.uint32), jnp.array([0, top], np.uint32), jnp.zeros(()).dtype)
        np.testing.assert_allclose(ends, [65 * np.log(2), -np.log(65 * np.log(2))], rtol=1e-5)
        middle = _subsets._gumbel(jnp.array([2**31 - 1, 2**31], np.uint32), jnp.zeros(2, np.uint32), noise.dtype)
        np.testing.assert_allclose(middle, -np.log(np.log(2)), rtol=1e-5)

    def test_the_largest_noise_does_not_tie(self):
        """Trap: the top of a float32 Gumbel from 23 bits has few values, and ties go to the lower id."""
        steps, zeros = jnp.arange(1000, dtype=jnp.uint32), jnp.zeros(1000, jnp.uint32)
        for words in ((zeros, steps), (steps, zeros)):
            assert np.all(np.diff(_subsets._gumbel(*words, jnp.float32)) < 0)

    def test_transforms(self, key):
        w = jnp.asarray(np.random.default_rng(0).normal(size=(3, 6)))
        f = lambda k, w: samplers.draw_without_replacement(k, w, 6)
        ids = f(jax.random.clone(key), w)
        assert np.all(np.sort(ids, axis=-1) == np.arange(6))
        assert jax.jit(f)(jax.random.clone(key), w).tolist() == ids.tolist()
        keys = jax.random.split(key, 3)
        rows = [f(jax.random.clone(keys)[i], w[i]).tolist() for i in range(3)]
        assert jax.vmap(f)(keys, w).tolist() == rows

    def test_traced_shortage_ends_in_minus_one(self, key):
        ids = jax.jit(lambda w: samplers.draw_without_replacement(key, w, 4))(jnp.array([-INF, 0.0, -INF, 1.0]))
        assert sorted(ids[:2].tolist()) == [1, 3]
        assert ids[2:].tolist() == [-1, -1]

    @pytest.mark.parametrize(
        ("w", "k", "error", "match"),
        [
            ([0.0, -INF], 2, ValueError, "k = 2 distinct ids .* only 1 candidates"),
            ([0.0, 0.0], 3, ValueError, "k = 3"),
            ([[0.0, 0.0], [0.0, -INF]], 2, ValueError, "only 1 candidates"),
            ([0.0, 0.0], 0, ValueError, "k must be at least 1"),
            ([0.0, 0.0], 1.0, TypeError, "k sets a shape"),
            ([-INF, -INF], 1, ValueError, "all -inf"),
        ],
    )
    def test_bad_input(self, key, w, k, error, match):
        with pytest.raises(error, match=match):
            samplers.draw_without_replacement(key, jnp.array(w), k)
        with pytest.raises(error, match=match):
            samplers.inclusion_probability(jnp.array(w), k)


class TestInclusionProbability:
    PRECISE = 1e-11 if PRECISION == 64 else 1e-5

    @pytest.mark.parametrize("k", [1, 3, 6])
    def test_enumeration(self, k):
        w = np.random.default_rng(1).normal(size=(6, 6)) * np.array([0.1, 1, 3, 8, 8, 20])[:, None]
        w[0] = 0
        expected = np.stack([oracle.inclusion(row, k) for row in w])
        got = samplers.inclusion_probability(w, k)
        np.testing.assert_allclose(got, expected, atol=self.PRECISE)

    def test_excluded_candidates(self):
        w = jnp.array([0.0, -INF, 1.0, -INF, 2.0])
        got = samplers.inclusion_probability(w, 2)
        assert got[1] == got[3] == 0
        np.testing.assert_allclose(got[jnp.array([0, 2, 4])], oracle.inclusion([0, 1, 2], 2), atol=self.PRECISE)
        assert samplers.inclusion_probability(w, 3).tolist() == [1, 0, 1, 0, 1]
        assert samplers.inclusion_probability(w[::2], 3).tolist() == [1, 1, 1]

    def test_uniform_law_and_total(self):
        num, k = 300, 120
        np.testing.assert_allclose(samplers.inclusion_probability(jnp.zeros(num), k), k / num, atol=self.PRECISE)
        total = np.sum(np.asarray(samplers.inclusion_probability(zipf(num), k), float))
        np.testing.assert_allclose(total, k, rtol=10 * self.PRECISE)

    def test_simulation(self, key):
        w = zipf(30)
        ids = samplers.draw_without_replacement(key, jnp.broadcast_to(w, (20_000, 30)), 10)
        share = np.bincount(np.ravel(ids), minlength=30) / 20_000
        p = np.asarray(samplers.inclusion_probability(w, 10), float)
        z = (share - p) / np.sqrt(p * (1 - p) / 20_000)
        assert np.max(np.abs(z)) < stats.norm.isf(FALSE_ALARM / 60)

    def test_gradient_and_transforms(self):
        w = np.random.default_rng(2).normal(size=5)
        f = lambda w: samplers.inclusion_probability(w, 2)
        jacobian = jax.jit(jax.jacrev(f))
        step = 1e-5
        expected = np.stack(
            [(oracle.inclusion(w + e, 2) - oracle.inclusion(w - e, 2)) / (2 * step) for e in step * np.eye(5)], 1
        )
        np.testing.assert_allclose(jacobian(jnp.asarray(w)), expected, atol=1e-8 if PRECISION == 64 else 1e-4)
        assert np.all(np.isfinite(jacobian(jnp.asarray(w).at[1].set(-INF))))
        short = jnp.array([-INF, 0.0, -INF, -INF, -INF])
        rows = jax.vmap(f)(jnp.stack([jnp.asarray(w), short]))
        np.testing.assert_allclose(rows[0], oracle.inclusion(w, 2), atol=self.PRECISE)
        assert rows[1].tolist() == [0, 1, 0, 0, 0]

    @pytest.mark.parametrize("seed", [0, 1])
    @pytest.mark.parametrize("scale", [3000, 30000])
    def test_weights_in_the_thousands(self, seed, scale):
        """Sums to k and in [0, 1], where the nodes of old gave 7.99; enumeration knows the law in logs."""
        w = np.random.default_rng(seed).normal(size=6) * scale
        for k in (1, 2, 5):
            got = np.asarray(samplers.inclusion_probability(w, k), float)
            np.testing.assert_allclose(got, np.argsort(np.argsort(-w)) < k, atol=self.PRECISE)

    def test_groups_far_apart(self):
        """Three of the upper four, surely; then two of the lower three, as they would be drawn alone."""
        upper, lower = np.array([0.0, 1.0]), np.array([0.3, -0.5, 0.9])
        w = np.concatenate([upper, lower - 500])
        got = samplers.inclusion_probability(w, 4)
        np.testing.assert_allclose(got, [1, 1, *oracle.inclusion(lower, 2)], atol=self.PRECISE)

    def test_small_probabilities_keep_their_relative_size(self):
        """Below the k likeliest no gap is shortened: k = 1 is the law itself."""
        w = np.array([0.0, -60.0, -70.0])
        np.testing.assert_allclose(samplers.inclusion_probability(w, 1), law(w), rtol=1e-5)

    def test_gradient_of_weights_100_apart(self):
        f = lambda w: samplers.inclusion_probability(w, 2)
        got = jax.jacrev(f)(jnp.array([0.0, 0.5, -100.0, -100.7]))
        assert np.all(np.isfinite(got))
        np.testing.assert_allclose(got, 0, atol=self.PRECISE)  # the first two are drawn in any case
        got = jax.jacrev(f)(jnp.array([0.0, -100.0, -100.7]))
        share = 1 / (1 + np.exp(-0.7))
        expected = share * (1 - share) * np.array([[0, 0, 0], [0, 1, -1], [0, -1, 1]])
        np.testing.assert_allclose(got, expected, atol=10 * self.PRECISE)

    def test_gradient_of_a_long_ladder(self):
        """The first clock has rung e^800 times when the last one rings: beyond the range of a float."""
        w = jnp.asarray(-50.0 * np.arange(19))
        f = lambda w: samplers.inclusion_probability(w, 18, num_nodes=8000)[17]
        value, gradient = jax.value_and_grad(f)(w)
        np.testing.assert_allclose(value, 1, atol=100 * self.PRECISE)
        assert np.all(np.isfinite(gradient))

    def test_too_few_nodes_are_never_silent(self):
        w = jnp.array([0.0, -40.0, -80.0, -120.0])
        with pytest.raises(ValueError, match="need num_nodes >= "):
            samplers.inclusion_probability(w, 3, num_nodes=100)
        traced = jax.jit(lambda w: samplers.inclusion_probability(w, 3, num_nodes=100))
        assert np.all(np.isnan(traced(w)))
        assert np.all(np.isfinite(traced(jnp.zeros(4))))


class TestExpectedCounts:
    """Against `inclusion_probability`, which is exact, within the errors that the docstring states."""

    PRECISE = 1e-12 if PRECISION == 64 else 1e-5

    @staticmethod
    def errors(w, k):
        got = np.asarray(samplers.expected_counts(w, k=k), float)
        exact = np.asarray(samplers.inclusion_probability(w, k), float)
        np.testing.assert_allclose(got.sum(), k, rtol=1e-5 if PRECISION == 32 else 1e-12)
        assert np.all(got >= 0)
        assert np.all(got <= 1)
        return np.max(np.abs(got - exact)), np.max(np.abs(got / exact - 1))

    @pytest.mark.parametrize("num", [30, 100])
    @pytest.mark.parametrize("exponent", [0.5, 1.0])
    def test_zipf(self, num, exponent):
        for k in (3, 8, num // 2, num - 1):
            absolute, relative = self.errors(-exponent * np.log(np.arange(1, num + 1)), k)
            assert absolute < 0.003
            assert relative < 0.01

    @pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
    def test_one_dominates(self, share):
        w = np.zeros(50)
        w[7] = np.log(share / (1 - share) * 49)
        for k in (2, 3, 10, 49):
            assert self.errors(w, k)[0] < 0.015

    @pytest.mark.parametrize("scale", [1, 3, 10])
    def test_every_law_tried(self, scale):
        for seed in range(4):
            w = scale * np.random.default_rng(seed).normal(size=12)
            for k in (2, 5, 11):
                assert self.errors(w, k)[0] < 0.06

    def test_the_next_order_pays(self):
        """Rosen's law alone is off by over 3 times as much; its error falls like 1 / k, the corrected one faster."""
        w = -np.log(np.arange(1, 201))
        corrected = [self.errors(w, k)[0] for k in (5, 40)]
        plain = []
        for k in (5, 40):
            t = optimize.brentq(lambda t, k=k: np.sum(-np.expm1(-law(w) * t)) - k, 1, 1e6)
            exact = np.asarray(samplers.inclusion_probability(w, k), float)
            plain.append(np.max(np.abs(-np.expm1(-law(w) * t) - exact)))
        assert all(c < p / 3 for c, p in zip(corrected, plain, strict=True))
        assert corrected[1] < corrected[0] / 3

    def test_limits(self):
        w = np.random.default_rng(3).normal(size=9)
        np.testing.assert_allclose(samplers.expected_counts(w, k=1), law(w), rtol=10 * self.PRECISE)
        assert samplers.expected_counts(w, k=9).tolist() == [1] * 9
        np.testing.assert_allclose(samplers.expected_counts(np.zeros(30), k=7), 7 / 30, rtol=100 * self.PRECISE)
        assert samplers.expected_counts(jnp.array([0.0, -INF, 1.0]), k=2).tolist() == [1, 0, 1]
        far = samplers.expected_counts(np.array([0.0, -1000.0, -2000.0, -3000.0]), k=2)
        np.testing.assert_allclose(far, [1, 1, 0, 0], atol=self.PRECISE)

    def test_a_million_in_moderate_time_and_sum(self):
        got = np.asarray(samplers.expected_counts(jnp.asarray(zipf(10**6)), k=1000), float)
        np.testing.assert_allclose(got.sum(), 1000, rtol=1e-5)
        assert got.min() > 0

    def test_rows_jit_and_nan(self):
        w = jnp.asarray(np.random.default_rng(4).normal(size=(2, 3, 6)))
        f = lambda w: samplers.expected_counts(w, k=3)
        rows = np.stack([[f(row) for row in block] for block in w])
        np.testing.assert_allclose(f(w), rows, rtol=100 * self.PRECISE)
        np.testing.assert_allclose(jax.jit(jax.vmap(f))(w), rows, rtol=100 * self.PRECISE)
        spoiled = jax.jit(f)(w.at[0, 0, 0].set(np.nan))
        assert np.all(np.isnan(spoiled[0, 0]))
        assert np.all(np.isfinite(spoiled[0, 1:]))
        assert np.all(np.isnan(jax.jit(lambda w: samplers.expected_counts(w, k=6))(w.at[0, 0, 0].set(np.nan))[0, 0]))

    @pytest.mark.skipif(PRECISION != 64, reason="finite differences need float64")
    def test_gradient(self):
        w = np.random.default_rng(5).normal(size=8)
        got = jax.jacrev(lambda w: samplers.expected_counts(w, k=3))(jnp.asarray(w))
        step = 1e-5 * np.eye(8)
        expected = [(samplers.expected_counts(w + e, k=3) - samplers.expected_counts(w - e, k=3)) / 2e-5 for e in step]
        np.testing.assert_allclose(got, np.stack(expected, axis=1), atol=1e-8)
        np.testing.assert_allclose(np.sum(got, axis=0), 0, atol=1e-12)
        assert np.all(np.isfinite(jax.hessian(lambda w: samplers.expected_counts(w, k=3)[0])(jnp.asarray(w))))

    def test_bad_input(self):
        with pytest.raises(ValueError, match="k = 3 distinct"):
            samplers.expected_counts(np.zeros(2), k=3)
        with pytest.raises(TypeError, match="k sets a shape"):
            samplers.expected_counts(np.zeros(2), k=1.0)
        with pytest.raises(ValueError, match="all -inf"):
            samplers.expected_counts(np.full(2, -INF), k=1)
