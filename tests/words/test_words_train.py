"""The skip-gram trainer against loops over pairs, the laws it draws from, and corpora whose truth is known."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from nsx import samplers, words
from nsx.words import _epoch
from tests.helpers import PRECISION
from tests.oracles import words_train as oracle

FLOAT = jnp.float64 if PRECISION == 64 else jnp.float32
double = pytest.mark.skipif(PRECISION != 64, reason="finite differences need float64")

V, D, T, W, S, K = 12, 3, 7, 2, 4, 5
CASES = 40


def random_blocks(seed, cases=CASES):
    """Tables, blocks and noise with repeated words, hits of the context by the noise, and empty windows."""
    rng = np.random.default_rng(seed)
    tables = words.Embedding(*(jnp.asarray(rng.normal(size=(cases, V, D)), FLOAT) for _ in range(2)))
    left, right = rng.integers(0, W + 1, (2, cases, T))
    left[0] = right[0] = 0
    ids = rng.integers(0, V, (cases, T + 2 * W))
    block = words.Block(*(jnp.asarray(x, jnp.int32) for x in (ids, left, right)))
    return tables, block, jnp.asarray(rng.integers(0, V, (cases, S)), jnp.int32)


def by_case(*trees):
    """Float64 copies of one case after another, flattened."""
    leaves = [np.asarray(x) for x in jax.tree.leaves(trees)]
    leaves = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in leaves]
    return zip(*leaves, strict=True)


def dense(update, shape=(V, D)):
    """The update as two whole tables."""
    word = np.zeros((update.word_ids.shape[0], *shape))
    context = np.zeros_like(word)
    for case in range(len(word)):
        np.add.at(word[case], np.asarray(update.word_ids[case]), np.asarray(update.word[case]))
        np.add.at(context[case], np.asarray(update.context_ids[case]), np.asarray(update.context[case]))
    return word, context


@partial(jax.jit, static_argnames="rate")
def updates(tables, block, noise, rate=1.0):
    step = partial(words.block_update, negatives=K, learning_rate=rate)
    return jax.vmap(step)(tables, block, noise)


class TestBlock:
    def test_update_is_the_weighted_sum_over_pairs(self, tolerance):
        case = random_blocks(0)
        expected = [oracle.block_gradient(*c, [K / S] * S) for c in by_case(*case)]
        for rate in (1.0, 0.025):
            word, context = dense(updates(*case, rate=rate))
            np.testing.assert_allclose(word, [-rate * g[0] for g in expected], rtol=10 * tolerance, atol=20 * tolerance)
            np.testing.assert_allclose(
                context, [-rate * g[1] for g in expected], rtol=10 * tolerance, atol=20 * tolerance
            )
        assert not word[0].any(), "no pair, no change"
        assert not context[0].any(), "no pair, no change"

    def test_loss_is_the_weighted_sum_over_pairs(self, tolerance):
        case = random_blocks(1)
        got = jax.vmap(partial(words.block_loss, negatives=K))(*case)
        expected = [oracle.block_loss(*c, [K / S] * S) for c in by_case(*case)]
        np.testing.assert_allclose(got, expected, rtol=tolerance)
        assert got[0] == 0

    def test_update_is_minus_the_gradient_of_the_loss(self, tolerance):
        case = random_blocks(2)
        gradient = jax.vmap(jax.grad(partial(words.block_loss, negatives=K)))(*case)
        for got, expected in zip(dense(updates(*case)), gradient, strict=True):
            np.testing.assert_allclose(got, -np.asarray(expected), rtol=10 * tolerance, atol=20 * tolerance)

    @double
    def test_gradient_against_finite_differences(self):
        tables, block, noise = jax.tree.map(lambda x: x[3], random_blocks(3))
        loss = partial(words.block_loss, negatives=K)
        direction = jax.tree.map(lambda x: jnp.cos(jnp.arange(x.size, dtype=FLOAT)).reshape(x.shape), tables)
        move = lambda e: loss(jax.tree.map(lambda x, d: x + e * d, tables, direction), block, noise)
        slope = (move(1e-6) - move(-1e-6)) / 2e-6
        gradient = jax.grad(loss)(tables, block, noise)
        inner = sum(float(jnp.vdot(g, d)) for g, d in zip(gradient, direction, strict=True))
        np.testing.assert_allclose(inner, slope, rtol=1e-7)

    def test_expectation_over_the_draws_is_exact(self, tolerance):
        """Averaged over the noise law, each pair has k expected negatives: hits of its context included."""
        tables, block, _ = random_blocks(4)
        q = np.random.default_rng(5).dirichlet(np.ones(V))
        every = [dense(updates(tables, block, jnp.full((CASES, 1), z, jnp.int32))) for z in range(V)]
        expected = [oracle.block_gradient(*c, range(V), K * q) for c in by_case(tables, block)]
        for side in range(2):
            average = sum(q[z] * every[z][side] for z in range(V))
            np.testing.assert_allclose(average, [-g[side] for g in expected], rtol=10 * tolerance, atol=30 * tolerance)

    @pytest.mark.parametrize("shared", [1, S])
    def test_mean_over_drawn_noise_reaches_the_expectation(self, key, shared):
        """The draws themselves: the mean of 20,000 updates is within 5 standard errors at each of 72 entries."""
        tables, block, _ = jax.tree.map(lambda x: x[2:3], random_blocks(6))
        weights = jnp.asarray(np.random.default_rng(7).normal(size=V), FLOAT)
        noise = samplers.draw_alias(key, samplers.alias_table(weights), (20_000, 1, shared))

        def tabled(z):
            update = jax.tree.map(lambda x: x[0], updates(tables, block, z))
            zero = jnp.zeros((V, D), FLOAT)
            return jnp.stack(
                [zero.at[update.word_ids].add(update.word), zero.at[update.context_ids].add(update.context)]
            )

        drawn = np.asarray(jax.jit(jax.vmap(tabled))(noise), np.float64)
        q = np.asarray(samplers.probabilities(weights), np.float64)
        expected = -np.stack(oracle.block_gradient(*next(by_case(tables, block)), range(V), K * q))
        error = drawn.std(axis=0, ddof=1) / np.sqrt(len(drawn))
        assert np.all(np.abs(drawn.mean(axis=0) - expected) <= 5 * error + 1e-5)

    def test_an_accidental_hit_pulls_and_pushes(self, tolerance):
        """Noise equal to the pair's own context counts, where word2vec would skip it."""
        block = words.Block(jnp.array([[0, 1, 2]]), jnp.array([[1]]), jnp.array([[0]]))
        tables = words.Embedding(jnp.ones((1, 3, 1), FLOAT), jnp.full((1, 3, 1), 0.5, FLOAT))
        word, context = dense(updates(tables, block, jnp.array([[0]])), (3, 1))
        pull, push = oracle.sigma(-0.5), K * oracle.sigma(0.5)
        np.testing.assert_allclose(context[0, :, 0], [pull - push, 0, 0], rtol=tolerance)
        np.testing.assert_allclose(word[0, :, 0], [0, 0.5 * (pull - push), 0], rtol=tolerance)

    def test_a_pair_already_learnt_keeps_its_small_pull(self):
        """At score 50 the pull is e^-50, not the 0 of 1 - sigma(50)."""
        block = words.Block(jnp.array([0, 1, 2]), jnp.array([1]), jnp.array([0]))
        tables = words.Embedding(jnp.full((3, 1), 50.0), jnp.array([[1.0], [0.0], [-20.0]]))
        update = words.block_update(tables, block, jnp.array([2]), negatives=1, learning_rate=1.0)
        np.testing.assert_allclose(update.context[0, 0], 50 * np.exp(-50), rtol=1e-4)

    def test_jit_and_vmap_change_nothing(self, tolerance):
        case = random_blocks(8, cases=3)
        batched = updates(*case)
        for i in range(3):
            one = jax.tree.map(lambda x, i=i: x[i], case)
            eager = words.block_update(*one, negatives=K, learning_rate=1.0)
            for got, want in zip(jax.tree.map(lambda x, i=i: x[i], batched), eager, strict=True):
                np.testing.assert_allclose(got, want, rtol=10 * tolerance, atol=10 * tolerance)

    def test_half_precision_tables_are_accepted(self):
        case = random_blocks(9, cases=2)
        half = words.Embedding(*(x.astype(jnp.bfloat16) for x in case[0]))
        assert np.all(np.isfinite(np.asarray(updates(half, *case[1:]).word, np.float32)))


# Every token its own word, so that an id tells where in the corpus it stood.
N, WINDOW = 6000, 3
SENTENCE = np.repeat(np.arange(N), np.random.default_rng(0).integers(1, 9, N))[:N]


@pytest.fixture(scope="module")
def places():
    """A plan over distinct tokens that keeps a half, and 20 epochs of blocks from it."""
    plan = words.sgns_plan(
        np.arange(N), vocabulary_size=N, window=WINDOW, sentence=SENTENCE, threshold=None, blocks_per_step=4
    )
    keep = np.where(np.arange(N) % 2, 0.75, 0.25)
    thinned = dataclasses.replace(plan, keep=jnp.asarray(keep, jnp.float32))
    draws = [words.sample_blocks(k, thinned) for k in jax.random.split(jax.random.key(1), 20)]
    return plan, keep, [streams(b) for b in draws]


def streams(blocks):
    """The blocks in reading order again: ids `(m, t + 2w)`, left and right `(m, t)`."""
    return [np.swapaxes(np.asarray(x), 0, 1).reshape(-1, x.shape[-1]) for x in blocks]


def pair_ids(ids, left, right):
    return np.array([(i[a], i[b]) for i, l, r in zip(ids, left, right, strict=True) for a, b in oracle.pairs(i, l, r)])


class TestBlocks:
    def test_every_pair_is_near_and_in_one_sentence(self, places):
        _, _, draws = places
        for ids, left, right in draws[:3]:
            centres = ids[:, WINDOW:-WINDOW].reshape(-1)
            rank = {w: n for n, w in enumerate(centres[: np.argmax(centres) + 1])}
            got = pair_ids(ids, left, right)
            assert len(got) > 3000
            assert np.array_equal(SENTENCE[got[:, 0]], SENTENCE[got[:, 1]]), "a window crossed a sentence"
            distance = np.array([abs(rank[a] - rank[b]) for a, b in got])
            assert distance.min() == 1
            assert distance.max() == WINDOW, "distance counts kept tokens only"

    def test_each_centre_meets_all_tokens_within_one_window(self, places):
        """left and right come from one drawn window, cut at the sentence's ends."""
        _, _, draws = places
        for ids, left, right in draws[:3]:
            centres = ids[:, WINDOW:-WINDOW].reshape(-1)
            kept = centres[: np.argmax(centres) + 1]
            assert np.all(np.diff(kept) > 0), "reading order"
            before = np.array(
                [np.sum(SENTENCE[kept[max(0, i - WINDOW) : i]] == SENTENCE[w]) for i, w in enumerate(kept)]
            )
            after = np.array(
                [np.sum(SENTENCE[kept[i + 1 : i + 1 + WINDOW]] == SENTENCE[w]) for i, w in enumerate(kept)]
            )
            left, right = (x.reshape(-1) for x in (left, right))
            assert not left[len(kept) :].any(), "padding has no pair"
            assert not right[len(kept) :].any(), "padding has no pair"
            left, right = left[: len(kept)], right[: len(kept)]
            reach = np.maximum(left, right)
            assert np.array_equal(left, np.minimum(before, reach))
            assert np.array_equal(right, np.minimum(after, reach))
            assert np.all((reach > 0) == (before + after > 0)), "a window is at least 1"

    def test_windows_are_uniform(self, places):
        _, _, draws = places
        reach = []
        for ids, _, right in draws:
            centres = ids[:, WINDOW:-WINDOW].reshape(-1)
            kept = centres[: np.argmax(centres) + 1]
            free = np.flatnonzero(SENTENCE[kept[:-WINDOW]] == SENTENCE[kept[WINDOW:]])
            reach.append(right.reshape(-1)[free])
        counts = np.bincount(np.concatenate(reach), minlength=WINDOW + 1)
        assert counts[0] == 0
        assert stats.chisquare(counts[1:]).pvalue > 1e-4
        assert counts.sum() > 5000

    def test_subsampling_law(self, places):
        _, keep, draws = places
        kept = np.zeros(N)
        for ids, _, _ in draws:
            centres = ids[:, WINDOW:-WINDOW].reshape(-1)
            kept[centres[: np.argmax(centres) + 1]] += 1
        for rate in (0.25, 0.75):
            n = 20 * np.sum(keep == rate)
            deviation = kept[keep == rate].sum() - n * rate
            assert abs(deviation) <= 4 * np.sqrt(n * rate * (1 - rate))
        assert 0 < np.var(kept[keep == 0.75]) < 2 * 20 * 0.75 * 0.25, "occurrences are drawn one by one"

    def test_keep_probability_is_that_of_the_corpus(self):
        tokens = np.repeat([0, 1, 2], [900, 90, 10])
        plan = words.sgns_plan(tokens, vocabulary_size=4, threshold=0.01)
        np.testing.assert_allclose(plan.keep[0], np.sqrt(0.01 / 0.9) + 0.01 / 0.9, rtol=1e-6)
        assert plan.keep[2:].tolist() == [1, 1]
        assert words.sgns_plan(tokens, vocabulary_size=4, threshold=None).keep.tolist() == [1] * 4

    def test_nothing_is_lost_without_subsampling(self, key):
        tokens = np.arange(331)
        plan = words.sgns_plan(tokens, vocabulary_size=331, window=5, threshold=None, block_size=5, blocks_per_step=3)
        ids, left, right = streams(words.sample_blocks(key, plan))
        assert ids[:, 5:-5].reshape(-1)[:331].tolist() == tokens.tolist()
        got = set(map(tuple, pair_ids(ids, left, right)))
        assert {(i, i + 1) for i in range(330)} | {(i + 1, i) for i in range(330)} <= got
        assert max(abs(a - b) for a, b in got) == 5

    def test_a_label_that_returns_is_another_sentence(self, key):
        """0 1 0 with the middle word always dropped: its neighbours must not meet."""
        tokens, sentence = np.array([0, 0, 1, 2, 2] * 40), np.array([0, 0, 1, 0, 0] * 40)
        sentence += np.repeat(2 * np.arange(40), 5)
        plan = words.sgns_plan(tokens, vocabulary_size=3, window=2, sentence=sentence, threshold=None)
        plan = dataclasses.replace(plan, keep=jnp.array([1.0, 0.0, 1.0]))
        got = pair_ids(*streams(words.sample_blocks(key, plan)))
        assert set(map(tuple, got)) == {(0, 0), (2, 2)}

    def test_room_is_enough(self):
        """Six standard deviations: no draw of 200 fills the last slot."""
        tokens = np.zeros(2000, int)
        plan = words.sgns_plan(tokens, vocabulary_size=1, threshold=0.05, block_size=5, blocks_per_step=1)
        draw = jax.jit(jax.vmap(lambda k: words.sample_blocks(k, plan)))
        blocks = draw(jax.random.split(jax.random.key(2), 200))
        centres = np.asarray(blocks.left + blocks.right).reshape(200, -1)
        expected = 2000 * float(plan.keep[0])
        assert not centres[:, -1].any()
        assert abs(np.mean(np.sum(centres > 0, axis=1)) - expected) < 4 * np.sqrt(expected / 200)


class TestEpoch:
    TOKENS = np.random.default_rng(3).integers(0, V, 200)

    def plan(self, **options):
        """15 blocks of 16 tokens in 5 steps an epoch; three words never occur."""
        defaults = {
            "vocabulary_size": V + 3, "window": W, "negatives": K, "threshold": None, "epochs": 4,
            "learning_rate": 0.03, "sentence": np.arange(200) // 9, "block_size": 16, "blocks_per_step": 3,
            "noise_per_block": 5,
        }  # fmt: skip
        return words.sgns_plan(self.TOKENS, **(defaults | options))

    def state(self, scale=1.0, step=0):
        """Tables far from the start, so that no gradient is small."""
        rng = np.random.default_rng(8)
        tables = (jnp.asarray(scale * rng.normal(size=(V + 3, D)), FLOAT) for _ in range(2))
        return words.SgnsState(words.Embedding(*tables), jnp.int32(step))

    def steps(self, key, plan):
        """Blocks and noise that `sgns_epoch` draws from this key, step by step."""
        block_key, noise_key = jax.random.split(jax.random.clone(key))
        blocks = words.sample_blocks(block_key, plan)
        shape = (plan.steps, plan.blocks_per_step, plan.noise_per_block)
        noise = samplers.draw_alias(noise_key, plan.noise, shape)
        return [list(by_case(*step)) for step in zip(*map(np.asarray, (*blocks, noise)), strict=True)]

    def test_epoch_is_a_loop_over_pairs(self, tolerance):
        """Two epochs, 10 steps of 3 blocks with a falling rate, against one pair at a time in NumPy."""
        plan, state = self.plan(), self.state()
        word, context = (np.asarray(x, np.float64) for x in state.embedding)
        assert plan.steps == 5
        for number, key in enumerate(jax.random.split(jax.random.key(0))):
            steps = self.steps(key, plan)
            rates = [0.03 * (1 - (5 * number + s) / 20) for s in range(5)]
            word, context = oracle.epoch(word, context, steps, K, rates)
            state, info = words.sgns_epoch(key, plan, state)
            np.testing.assert_allclose(info.learning_rate, rates[-1], rtol=1e-6)
            assert info.num_pairs == sum(np.sum(left) + np.sum(right) for s in steps for _, left, right, _ in s)
        assert int(state.step) == 10
        np.testing.assert_allclose(state.embedding.word, word, rtol=100 * tolerance, atol=100 * tolerance)
        np.testing.assert_allclose(state.embedding.context, context, rtol=100 * tolerance, atol=100 * tolerance)

    @pytest.mark.parametrize("blocks_per_step", [1, 3])
    def test_reported_loss_is_that_of_the_watched_blocks(self, blocks_per_step, tolerance):
        """Block t mod b of step t; all blocks where a step has one. A rate of 0 leaves the tables as they are."""
        plan, state = self.plan(blocks_per_step=blocks_per_step), self.state(step=1000)
        key = jax.random.key(5)
        tables = [np.asarray(x, np.float64) for x in state.embedding]
        watched = [step[(1000 + t) % blocks_per_step] for t, step in enumerate(self.steps(key, plan))]
        total = sum(oracle.block_loss(*tables, *case, [K / 5] * 5) for case in watched)
        pairs = sum(np.sum(left) + np.sum(right) for _, left, right, _ in watched)
        _, info = words.sgns_epoch(key, plan, state)
        np.testing.assert_allclose(info.loss, total / pairs, rtol=10 * tolerance)
        assert (int(info.num_pairs) == pairs) == (blocks_per_step == 1)

    def test_learning_rate_falls_linearly_to_zero(self):
        plan, state = self.plan(), self.state()
        rates = []
        for k in jax.random.split(jax.random.key(1), 5):
            last = state
            state, info = words.sgns_epoch(k, plan, state)
            rates.append(float(info.learning_rate))
        np.testing.assert_allclose(rates, [0.03 * (1 - t / 20) for t in (4, 9, 14, 19, 20)], rtol=1e-6)
        assert int(state.step) == 25
        assert all(bool(jnp.all(a == b)) for a, b in zip(state.embedding, last.embedding, strict=True)), "rate 0"

    def test_rows_of_words_that_never_occur_stay_as_they_were(self):
        start = self.state()
        state, _ = words.sgns_epoch(jax.random.key(1), self.plan(), start)
        for before, after in zip(start.embedding, state.embedding, strict=True):
            assert jnp.array_equal(before[V:], after[V:])
            assert not jnp.any(jnp.all(before[:V] == after[:V], axis=-1))

    def test_start(self, key):
        plan = self.plan()
        tables = words.sgns_init(key, plan, dimension=50, dtype=FLOAT).embedding
        assert not tables.context.any()
        assert tables.word.dtype == FLOAT
        assert stats.kstest(np.asarray(tables.word).ravel() * 50 + 0.5, "uniform").pvalue > 1e-4
        _, info = words.sgns_epoch(jax.random.key(1), plan, self.state(scale=0.0, step=1000))
        np.testing.assert_allclose(info.loss, (1 + K) * np.log(2), rtol=1e-6)

    def test_pairs_beyond_32_bits(self):
        """The counter of an epoch is read as a Python integer of any size."""
        _, info = words.sgns_epoch(jax.random.key(1), self.plan(), self.state())
        assert info.num_pairs == int(info.pair_count[1])
        many = info._replace(pair_count=jnp.array([3, 2**32 - 1], jnp.uint32))
        assert many.num_pairs == 4 * 2**32 - 1

    def test_no_pair_is_no_loss(self):
        """Where nothing was looked at there is nothing to be perfect at."""
        plan = self.plan()
        thinned = dataclasses.replace(plan, keep=jnp.zeros_like(plan.keep))
        _, info = words.sgns_epoch(jax.random.key(1), thinned, self.state())
        assert np.isnan(info.loss)
        assert info.watched_pairs == 0
        assert info.num_pairs == 0

    @pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
    def test_half_precision_tables_are_summed_in_float32(self, dtype):
        """Scores near 300 on every pair: a float16 sum of a block's loss would be infinite."""
        tables = words.Embedding(*(jnp.full((V + 3, D), x, dtype) for x in (10.0, -10.0)))
        plan = self.plan(block_size=64, blocks_per_step=1)
        state, info = words.sgns_epoch(jax.random.key(1), plan, words.SgnsState(tables, jnp.int32(1000)))
        assert info.loss.dtype == jnp.float32
        np.testing.assert_allclose(info.loss, 300, rtol=1e-5)  # softplus(300) + 5 softplus(-300)
        assert all(table.dtype == dtype for table in state.embedding)
        block, noise = (jax.tree.map(lambda x: x[0, 0], part) for part in self.draws(plan))
        loss = words.block_loss(tables, block, noise, negatives=K)
        assert loss.dtype == jnp.float32
        np.testing.assert_allclose(loss, 300 * jnp.sum(block.left + block.right), rtol=1e-5)
        update = words.block_update(tables, block, noise, negatives=K, learning_rate=0.1)
        assert update.word.dtype == dtype

    def draws(self, plan):
        """Blocks of an epoch, and noise for them."""
        shape = (plan.steps, plan.blocks_per_step, plan.noise_per_block)
        return words.sample_blocks(jax.random.key(2), plan), samplers.draw_alias(jax.random.key(3), plan.noise, shape)


class TestPlan:
    def test_ids_and_labels_of_any_integer_type(self):
        tokens = np.array([0, 1, 2, 1, 0, 2])
        want = words.sgns_plan(tokens, vocabulary_size=3, window=1, sentence=[0, 0, 0, 1, 1, 1], threshold=None)
        near = 2**63 + np.array([1, 1, 1, 0, 0, 0], np.uint64)  # one number in float64
        far = np.array([7, 7, 7, 7 + 2**32, 7 + 2**32, 7 + 2**32])  # one number modulo 2^32
        for dtype in (np.int8, np.uint8, np.uint32, np.int64, np.uint64):
            for labels in (near, far):
                plan = words.sgns_plan(
                    tokens.astype(dtype), vocabulary_size=3, window=1, sentence=labels, threshold=None
                )
                assert plan.tokens.dtype == jnp.int32
                np.testing.assert_array_equal(plan.tokens, want.tokens)
                np.testing.assert_array_equal(plan.segment, want.segment)
        with pytest.raises(ValueError, match="got 2147483649"):
            words.sgns_plan(np.array([0, 2**31 + 1], np.uint32), vocabulary_size=3)

    def test_a_plan_is_made_on_the_host(self):
        for name in ("tokens", "sentence", "learning_rate"):
            given = {"tokens": jnp.array([0, 1]), "sentence": jnp.array([0, 0]), "learning_rate": 0.1}

            def traced(value, name=name, given=given):
                return words.sgns_plan(**(given | {name: value}), vocabulary_size=2).keep

            with pytest.raises(TypeError, match=f"{name} .*traced.*outside jit"):
                jax.jit(traced)(given[name])

    def test_noise_follows_the_power_of_the_counts(self, key):
        tokens = np.repeat([0, 1, 2], [81, 16, 1])
        for options, mass in (
            ({}, np.array([27, 8, 1, 0])),
            ({"exponent": 1.0}, np.array([81, 16, 1, 0])),
            ({"exponent": 0.0}, np.ones(4)),
            ({"log_weights": np.log([1.0, 1.0, 1.0, 5.0])}, np.array([1, 1, 1, 5])),
        ):
            plan = words.sgns_plan(tokens, vocabulary_size=4, **options)
            drawn = np.bincount(np.asarray(samplers.draw_alias(jax.random.clone(key), plan.noise, 20_000)), minlength=4)
            some = mass > 0
            assert not drawn[~some].any()
            assert stats.chisquare(drawn[some], 20_000 * mass[some] / mass.sum()).pvalue > 1e-4

    def test_steps_shrink_where_a_row_would_be_overrun(self):
        """Learning rate x pair gradients on the busiest row a step touches: at most 5, and no less than need be."""
        flat = np.arange(50_000) % 5000
        heavy = np.where(np.arange(50_000) % 4, flat, 0)
        plan = partial(words.sgns_plan, vocabulary_size=5000, threshold=None)
        size = lambda *args, **options: (lambda p: (p.block_size, p.blocks_per_step))(plan(*args, **options))
        assert size(flat) == (16, 64)
        share = np.mean(heavy == 0)
        for rate in (0.001, 0.0025):
            load = lambda tokens, rate=rate: rate * 6 * (1 + 5) * (1 + tokens * share)
            block, blocks = size(heavy, learning_rate=rate)
            assert block == 16
            assert load(16 * blocks) <= 5 < load(16 * (blocks + 1))
        block, blocks = size(heavy, learning_rate=0.05)
        assert blocks == 1
        assert load(block, 0.05) <= 5 < load(block + 1, 0.05)
        assert size(heavy, learning_rate=1.0) == (5, 1), "no smaller than the window"
        noisy = np.zeros(5000)
        noisy[7] = 20.0
        block, blocks = size(flat, log_weights=noisy, learning_rate=0.002)
        assert 0.002 * 6 * (1 + 2.5 + 5 * block * blocks) <= 5 < 0.002 * 6 * (1 + 2.5 + 5 * block * (blocks + 1))

    def test_sizes(self):
        plan = words.sgns_plan(np.arange(100) % 7, vocabulary_size=7, window=20, threshold=None, learning_rate=1e-4)
        assert (plan.block_size, plan.noise_per_block) == (20, 40)
        assert plan.blocks_per_step == 5, "no more blocks than the corpus fills"
        assert plan.steps == 1
        assert words.sgns_plan(np.arange(100) % 7, vocabulary_size=7).noise_per_block == 32

    @pytest.mark.parametrize(
        ("change", "error", "match"),
        [
            ({"tokens": []}, ValueError, "tokens are empty"),
            ({"tokens": [0, 1, 9]}, ValueError, r"in \[0, 3\], got 9 at \(2,\)"),
            ({"tokens": [0, -1, 1]}, ValueError, r"got -1 at \(1,\)"),
            ({"tokens": np.array([0, 2**32, 1])}, ValueError, r"got 4294967296 at \(1,\)"),
            ({"tokens": np.array([0, 2**63 + 1, 1], np.uint64)}, ValueError, "got 9223372036854775809"),
            ({"tokens": [0.0, 1.0]}, TypeError, "tokens must be integers"),
            ({"tokens": [[0, 1]]}, ValueError, "one stream"),
            ({"vocabulary_size": 0}, ValueError, "vocabulary_size must be at least 1"),
            ({"window": 0}, ValueError, "window must be at least 1"),
            ({"window": 2.0}, TypeError, "window"),
            ({"negatives": 0}, ValueError, "negatives must be at least 1"),
            ({"epochs": 0}, ValueError, "epochs must be at least 1"),
            ({"exponent": np.nan}, ValueError, "exponent must be finite"),
            ({"learning_rate": 0.0}, ValueError, "learning_rate must be positive"),
            ({"learning_rate": np.nan}, ValueError, "learning_rate must be positive"),
            ({"threshold": 0.0}, ValueError, "threshold must be positive"),
            ({"sentence": [0]}, ValueError, "sentence must label each token"),
            ({"sentence": [0, 1, 2]}, ValueError, "no two tokens share a sentence"),
            ({"tokens": [1]}, ValueError, "no two tokens share a sentence"),
            ({"log_weights": np.zeros(3)}, ValueError, "one entry per word"),
            ({"log_weights": np.full(4, -np.inf)}, ValueError, "all -inf"),
            ({"block_size": 4}, ValueError, "block_size must be at least the window"),
            ({"blocks_per_step": 0}, ValueError, "blocks_per_step must be at least 1"),
            ({"noise_per_block": 0}, ValueError, "noise_per_block must be at least 1"),
            ({"dimension": 0}, ValueError, "dimension must be at least 1"),
            ({"dtype": np.int32}, TypeError, "dtype must be a floating type"),
            ({"sentence": [0.0, 0.0, 1.0]}, TypeError, "sentence must be integers"),
            ({"blocks_per_step": 2**28, "block_size": 16}, ValueError, r"fewer than 2\^31 tokens"),
        ],
    )
    def test_bad_input(self, key, change, error, match):
        options = {"tokens": [0, 1, 2], "vocabulary_size": 4} | change
        with pytest.raises(error, match=match):
            words.train_sgns(key, options.pop("tokens"), **options)


def planted(topics=4, size=10, sentences=1500, length=8, seed=0):
    """Sentences whose words all come from one topic, but for one word in four from a shared stock."""
    rng = np.random.default_rng(seed)
    topic = np.repeat(rng.integers(0, topics, sentences), length)
    own = topic * size + rng.integers(0, size, topic.size)
    stock = topics * size + rng.integers(0, size, topic.size)
    return np.where(rng.random(topic.size) < 0.25, stock, own), np.repeat(np.arange(sentences), length)


TOKENS, SENTENCES = planted()
OPTIONS = {
    "vocabulary_size": 50, "sentence": SENTENCES, "epochs": 4, "threshold": None, "learning_rate": 0.05,
    "block_size": 16, "blocks_per_step": 4,
}  # fmt: skip


@partial(jax.jit, static_argnames=())
def equal(a, b):
    return jax.tree.reduce(jnp.logical_and, jax.tree.map(lambda x, y: jnp.all(x == y), a, b))


class TestTraining:
    def test_planted_topics_are_found(self):
        seen = []
        watch = lambda epoch, info: seen.append((epoch, float(info.loss)))
        trained = words.train_sgns(jax.random.key(0), TOKENS, dimension=8, progress=watch, **OPTIONS)
        neighbours = np.asarray(words.nearest(trained.embedding.word[:40], np.arange(40), k=9).ids)
        assert np.mean(neighbours // 10 == np.arange(40)[:, None] // 10) == 1
        assert trained.losses.shape == (4,)
        assert np.all(np.diff(trained.losses) < 0)
        assert trained.losses[0] < 6 * np.log(2)
        assert [e for e, _ in seen] == list(range(4))
        np.testing.assert_allclose([x for _, x in seen], trained.losses, rtol=1e-6)

    def test_same_key_same_bits(self):
        run = lambda seed: words.train_sgns(jax.random.key(seed), TOKENS, dimension=8, **OPTIONS)
        first, again, other = run(3), run(3), run(4)
        assert equal(first.embedding, again.embedding)
        assert np.array_equal(first.losses, again.losses)
        assert not equal(first.embedding, other.embedding)

    def test_loop_over_epochs_is_the_trainer(self):
        """The pieces a notebook drives give the trainer's bits, and leave the states they were given alone."""
        trained = words.train_sgns(jax.random.key(3), TOKENS, dimension=8, **OPTIONS)
        plan = words.sgns_plan(TOKENS, **OPTIONS)
        init_key, *keys = jax.random.split(jax.random.key(3), 5)
        state = start = words.sgns_init(init_key, plan, dimension=8)
        for key in keys:
            state, _ = words.sgns_epoch(key, plan, state)
        assert equal(trained.embedding, state.embedding)
        assert int(start.step) == 0
        assert not start.embedding.context.any()

    def test_a_plan_trains_as_its_tokens_do(self):
        plan = words.sgns_plan(TOKENS, **OPTIONS)
        trained = words.train_sgns(jax.random.key(3), plan, dimension=8)
        same = words.train_sgns(jax.random.key(3), TOKENS, dimension=8, **OPTIONS)
        assert equal(trained.embedding, same.embedding)
        assert np.array_equal(trained.losses, same.losses)
        with pytest.raises(TypeError, match="a plan has its options already, got epochs too"):
            words.train_sgns(jax.random.key(3), plan, epochs=2)

    def test_an_epoch_without_pairs_is_no_perfect_one(self):
        losses = words.train_sgns(jax.random.key(0), [0, 1] * 50, vocabulary_size=2).losses
        assert np.isnan(losses[0])
        np.testing.assert_allclose(losses[1:], 6 * np.log(2), rtol=0.01)

    @pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
    def test_half_precision_tables_train(self, dtype):
        trained = words.train_sgns(jax.random.key(0), TOKENS, dimension=8, dtype=dtype, **OPTIONS)
        single = words.train_sgns(jax.random.key(0), TOKENS, dimension=8, **OPTIONS)
        assert trained.embedding.word.dtype == dtype
        np.testing.assert_allclose(trained.losses, single.losses, rtol=0.03)

    def test_divergence_is_an_error_that_says_what_to_lower(self):
        with pytest.raises(FloatingPointError, match=r"diverged in epoch \d+.*Lower learning_rate"):
            words.train_sgns(jax.random.key(0), TOKENS, dimension=8, **(OPTIONS | {"learning_rate": 50.0}))

    def test_free_scores_reach_the_optimum(self):
        """d = V: scores meet log P(w,c) / (P(w) q(c)) - log k, the factor k and the window's weights included."""
        rng = np.random.default_rng(1)
        chain = rng.dirichlet(np.full(6, 2.0), 6).cumsum(axis=1)
        tokens = np.zeros(30_000, int)
        for i, u in enumerate(rng.random(tokens.size - 1)):
            tokens[i + 1] = np.argmax(u < chain[tokens[i]])
        counts = words.cooccurrence(tokens, window=2, vocabulary_size=6, weighting="word2vec")
        law = np.log(np.bincount(tokens) ** 0.75)
        for negatives in (1, 4):
            target = words.sgns_optimum(counts, negatives=negatives, log_weights=law)
            trained = words.train_sgns(
                jax.random.key(2), tokens, vocabulary_size=6, dimension=6, window=2, negatives=negatives, epochs=12,
                learning_rate=0.05, threshold=None, dtype=FLOAT, block_size=16, blocks_per_step=1,
            )  # fmt: skip
            assert [x.dtype for x in trained.embedding] == [FLOAT, FLOAT]
            error = np.asarray(trained.embedding.word @ trained.embedding.context.T - target)
            assert np.sqrt(np.mean(error**2)) < 0.04
            assert abs(np.mean(error)) < 0.01

    def test_tables_are_not_copied_at_each_step(self):
        """Reading a table after rows were scattered into it would copy it whole, at every step of the scan."""
        plan = words.sgns_plan(TOKENS, **OPTIONS)
        state = words.sgns_init(jax.random.key(0), plan, dimension=8)
        text = _epoch.epoch_in_place.lower(jax.random.key(1), plan, state).compile().as_text()
        assert "f32[50,8]" in text
        assert not [line for line in text.splitlines() if "f32[50,8]" in line and " copy(" in line]
