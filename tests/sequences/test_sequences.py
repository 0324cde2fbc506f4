"""nsx.sequences against lists of every label sequence, its laws, its masks and its limits."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from nsx import losses, sequences
from tests.helpers import EPS, FLOAT, PRECISION, SEED
from tests.oracles import sequences as oracle

T, L, CASES = 5, 3, 24


def draw_cases(*table):
    """Normal scores of spreads .3 to 30, forbidden labels and transitions, masks with holes at every place."""
    rng = np.random.default_rng(SEED)
    spread = 10 ** rng.uniform(-0.5, 1.5, (CASES, 1, 1))
    unary = rng.normal(size=(CASES, T, L)) * spread
    pairwise = rng.normal(size=(CASES, *table)) * spread.reshape(-1, *[1] * len(table))
    unary[::4, 2, 1] = pairwise[1::4, ..., 0, 2] = -np.inf
    where = rng.random((CASES, T)) < 0.7
    where[::3] = True
    where[1] = False
    where[2] = [False, False, True, False, False]
    labels = rng.integers(0, L, (CASES, T))
    return unary.astype(FLOAT), pairwise.astype(FLOAT), where, np.where(where, labels, -1)


UNARY, PAIRWISE, WHERE, LABELS = draw_cases(L, L)
EACH = draw_cases(T - 1, L, L)[1]  # one table per transition


@jax.jit
@jax.vmap
def batched(unary, pairwise, where, labels):
    """Every quantity of a case, and the gradient of the negative log-likelihood."""

    def loss(u, a):
        log_z = sequences.crf_log_normalizer(u, a, where=where)
        return log_z - sequences.crf_log_score(u, a, labels, where=where), log_z

    (nll, log_z), gradient = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(unary, pairwise)
    viterbi = sequences.crf_viterbi(unary, pairwise, where=where)
    return nll, log_z, gradient, sequences.crf_marginals(unary, pairwise, where=where), viterbi


BATCH = jax.device_get(batched(UNARY, PAIRWISE, WHERE, LABELS))
EACH_BATCH = jax.device_get(batched(UNARY, EACH, WHERE, LABELS))


def scale(case):
    """The size of what is added up, for rounding."""
    finite = [np.abs(x[np.isfinite(x)]).max() for x in (UNARY[case], PAIRWISE[case], EACH[case])]
    return 1 + 2 * T * max(finite)


@pytest.mark.parametrize("tables", ["one", "each"])
@pytest.mark.parametrize("case", range(CASES))
def test_equals_the_list_of_sequences(case, tables, tolerance):
    batch, pairwise = (BATCH, PAIRWISE) if tables == "one" else (EACH_BATCH, EACH)
    nll, log_z, _, marginals, viterbi = jax.tree.map(lambda x: x[case], batch)
    u, a, w = UNARY[case].astype(float), pairwise[case].astype(float), WHERE[case]
    _, _, exact = oracle.law(u, a, w)
    np.testing.assert_allclose(log_z, exact, rtol=0, atol=tolerance * scale(case))
    expected_score = oracle.score(u, a, LABELS[case], w)
    if np.isfinite(expected_score):
        np.testing.assert_allclose(nll, exact - expected_score, rtol=0, atol=tolerance * scale(case))
    else:
        assert nll == np.inf
    node, edge = oracle.marginals(u, a, w)
    assert marginals.pairwise.shape == edge.shape
    np.testing.assert_allclose(marginals.unary, node, atol=tolerance * scale(case))
    np.testing.assert_allclose(marginals.pairwise, edge, atol=T * tolerance * scale(case))
    path, top = oracle.best(u, a, w)
    assert viterbi.labels.tolist() == list(path)
    np.testing.assert_allclose(viterbi.log_score, top, rtol=0, atol=tolerance * scale(case))


def test_gradient_of_each_table_is_its_marginal_minus_the_truth():
    _, _, gradients, marginals, _ = EACH_BATCH
    for case in range(CASES):
        kept = np.flatnonzero(WHERE[case])
        edge = np.zeros((T - 1, L, L))
        edge[kept[1:] - 1, LABELS[case][kept[:-1]], LABELS[case][kept[1:]]] = 1
        np.testing.assert_allclose(gradients[1][case], marginals.pairwise[case] - edge, atol=1e-6)


def test_one_table_is_the_same_table_at_every_transition(tolerance):
    u, a, w = UNARY[6], PAIRWISE[6], WHERE[4]
    many = np.tile(a, (T - 1, 1, 1))
    log_z = sequences.crf_log_normalizer(u, a, where=w)
    np.testing.assert_allclose(sequences.crf_log_normalizer(u, many, where=w), log_z, rtol=tolerance)
    one = sequences.crf_marginals(u, a, where=w)
    each = sequences.crf_marginals(u, many, where=w)
    np.testing.assert_allclose(each.unary, one.unary, atol=tolerance)
    np.testing.assert_allclose(each.pairwise.sum(axis=0), one.pairwise, atol=10 * tolerance)
    key = jax.random.key(SEED)
    drawn = sequences.crf_sample(key, u, many, where=w)
    np.testing.assert_array_equal(drawn, sequences.crf_sample(jax.random.clone(key), u, a, where=w))


def test_gradient_is_marginals_minus_the_truth():
    _, _, gradients, marginals, _ = BATCH
    for case in range(CASES):
        kept = np.flatnonzero(WHERE[case])
        node, edge = np.zeros((T, L)), np.zeros((L, L))
        node[kept, LABELS[case][kept]] = 1
        np.add.at(edge, (LABELS[case][kept[:-1]], LABELS[case][kept[1:]]), 1)
        np.testing.assert_allclose(gradients[0][case], marginals.unary[case] - node, atol=1e-6)
        np.testing.assert_allclose(gradients[1][case], marginals.pairwise[case] - edge, atol=1e-6)
        assert np.all(marginals.unary[case][~WHERE[case]] == 0)


@pytest.mark.skipif(PRECISION == 32, reason="finite differences")
def test_marginals_equal_differences_of_log_z():
    u, a, w = (jnp.asarray(x[9]) for x in (UNARY, PAIRWISE, WHERE))
    shift = np.eye(T * L).reshape(-1, T, L) * 1e-5
    log_z = jax.vmap(lambda d: sequences.crf_log_normalizer(u + d, a, where=w))
    numeric = (log_z(shift) - log_z(-shift)) / 2e-5
    np.testing.assert_allclose(numeric.reshape(T, L), BATCH[3].unary[9], atol=1e-8)


@pytest.mark.skipif(PRECISION == 32, reason="finite differences")
@pytest.mark.parametrize("pairwise", [PAIRWISE[10], EACH[10]], ids=["one", "each"])
def test_second_derivatives_equal_differences_of_the_marginals(pairwise):
    u, a, w = (jnp.asarray(x) for x in (UNARY[10] / scale(10), pairwise / scale(10), WHERE[10]))
    curvature = jax.hessian(sequences.crf_log_normalizer, argnums=1)(u, a, where=w).reshape(a.size, a.size)
    shift = np.eye(a.size).reshape(-1, *a.shape) * 1e-5
    edges = jax.vmap(lambda d: sequences.crf_marginals(u, a + d, where=w).pairwise)
    numeric = (edges(shift) - edges(-shift)) / 2e-5
    np.testing.assert_allclose(curvature, numeric.reshape(a.size, a.size), atol=1e-8)
    reverse = jax.jacrev(jax.grad(sequences.crf_log_normalizer, argnums=1), argnums=1)(u, a, where=w)
    np.testing.assert_allclose(reverse.reshape(curvature.shape), curvature, atol=1e-12)


def long_chains():
    """(name, unary, pairwise): what float32 sums in sequence get wrong, and shorter ones of every size of score."""
    rng = np.random.default_rng(SEED)
    halves = np.zeros((50_000, 2))
    halves[:25_000, 0] = 7.7
    halves[25_000:, 1] = 7.9
    apart = np.array([[0, -np.inf], [-np.inf, 0]])
    yield "5000 times 7.7", np.tile([7.7, 0], (5000, 1)), np.zeros((2, 2))
    yield "two chains, one overtakes", halves, apart
    yield "all sequences alike", np.zeros((50_000, 10)), np.zeros((10, 10))
    yield "rare changes", np.zeros((50_000, 2)), np.array([[0, -9.0], [-9, 0]])
    yield "one label", rng.normal(size=(50_000, 1)), np.full((1, 1), 0.1)
    yield "what cancels", np.tile([[7.7, 1e4], [-7.7, -1e4]], (2500, 1)), np.zeros((2, 2))
    yield "soft masks", np.where(rng.random((5000, 4)) < 0.3, -1e9, rng.normal(size=(5000, 4))), np.full((4, 4), 0.1)
    yield "a table per transition", rng.normal(size=(5000, 3)), rng.normal(size=(4999, 3, 3)) * 3
    for t, l, size in ((10, 2, 1e-3), (10, 10, 30.0), (512, 3, 1.0), (3000, 5, 100.0), (50_000, 10, 5.0)):
        yield f"t={t} l={l} s={size}", rng.normal(size=(t, l)) * size, rng.normal(size=(l, l)) * size


LONG = {name: (u.astype(FLOAT), a.astype(FLOAT)) for name, u, a in long_chains()}


@pytest.mark.parametrize("name", LONG)
def test_long_chains_are_rounded_once(name):
    """Log Z, the best score and the score of its path: within two roundings of the exact sums, and in order."""
    u, a = LONG[name]
    log_z = sequences.crf_log_normalizer(u, a)
    best = sequences.crf_viterbi(u, a)
    score = sequences.crf_log_score(u, a, best.labels)
    exact = oracle.long_log_normalizer(u, a)
    exact_score = oracle.long_score(u, a, np.asarray(best.labels))
    np.testing.assert_allclose(log_z, float(exact), rtol=2 * EPS)
    np.testing.assert_allclose(best.log_score, exact_score, rtol=2 * EPS, atol=EPS)
    np.testing.assert_allclose(score, exact_score, rtol=2 * EPS, atol=EPS)
    assert score <= best.log_score <= log_z


def test_the_chain_of_the_report():
    """7.7 or nothing, 5000 times: log Z is above the best score by 5000 log(1 + e^-7.7)."""
    u, a = (x.astype(FLOAT) for x in LONG["5000 times 7.7"])
    best = sequences.crf_viterbi(u, a)
    assert abs(float(best.log_score) - 5000 * float(u[0, 0])) < 0.004
    above = float(sequences.crf_log_normalizer(u, a)) - float(best.log_score)
    assert abs(above - 5000 * np.log1p(np.exp(-7.7))) < 0.01  # 2.26, in numbers near 38500


@pytest.mark.parametrize("name", [n for n in LONG if n != "soft masks"])
def test_marginals_of_long_chains_sum_to_one(name):
    u, a = LONG[name]
    marginals = sequences.crf_marginals(u, a)
    gradient = jax.grad(sequences.crf_log_normalizer, argnums=(0, 1))(u, a)
    for part, same in zip(marginals, gradient, strict=True):
        np.testing.assert_allclose(part, same, rtol=4 * EPS, atol=EPS)
    sums = np.asarray(marginals.unary, np.longdouble).sum(axis=1)
    np.testing.assert_allclose(sums.astype(float), 1, atol=2 * (1 + u.shape[1]) * EPS)
    pairs = np.asarray(marginals.pairwise, np.longdouble).sum()
    np.testing.assert_allclose(float(pairs), len(u) - 1, rtol=2 * (1 + u.shape[1] ** 2) * EPS)


def test_long_marginals_equal_those_of_the_reversed_chain():
    """Forwards and backwards the recursions share no number; float32 against float32."""
    rng = np.random.default_rng(SEED)
    u, a = rng.normal(size=(20_000, 4)).astype(FLOAT), (2 * rng.normal(size=(4, 4))).astype(FLOAT)
    forwards = sequences.crf_marginals(u, a)
    backwards = sequences.crf_marginals(u[::-1], a.T)
    np.testing.assert_allclose(forwards.unary, backwards.unary[::-1], atol=100 * EPS)
    np.testing.assert_allclose(forwards.pairwise, backwards.pairwise.T, rtol=100 * EPS)


@pytest.mark.parametrize("size", [1e-3, 1.0, 77.7, 1e4])
def test_no_sequence_scores_above_the_best_nor_above_log_z(size):
    """After rounding, for all 3^6 sequences of 300 chains; sums of few digits make many ties and many half-ways."""
    rng = np.random.default_rng(SEED)
    every = np.array(list(itertools.product(range(3), repeat=6)), np.int32)

    @jax.jit
    @jax.vmap
    def orders(u, a):
        scores = jax.vmap(lambda y: sequences.crf_log_score(u, a, y))(every)
        return jnp.max(scores), sequences.crf_viterbi(u, a).log_score, sequences.crf_log_normalizer(u, a)

    u = rng.normal(size=(300, 6, 3)) * size
    a = rng.normal(size=(300, 3, 3)) * size * 10.0 ** rng.uniform(-8, 1, (300, 1, 1))
    u[100:] = np.round(u[100:] / size, 2) * size
    a[200:] = np.round(a[200:] / size, 1) * size
    score, best, log_z = orders(u.astype(FLOAT), a.astype(FLOAT))
    assert np.all(score <= best)
    assert np.all(best <= log_z)
    assert np.any(score == best)
    assert size < 1e4 or np.mean(score == log_z) > 0.5, "sequences far apart: the three are one number"


def test_no_long_sequence_scores_above_log_z():
    """One sequence outweighs all others by far, so that only roundings are left; 200 chains of 3000 positions."""
    rng = np.random.default_rng(SEED)
    u = np.concatenate([rng.normal(size=(200, 3000, 1)) * 3, np.full((200, 3000, 1), -60.0)], axis=-1).astype(FLOAT)
    a = rng.normal(size=(200, 2, 2)).astype(FLOAT)
    log_z = jax.vmap(sequences.crf_log_normalizer)(u, a)
    path = np.zeros(3000, np.int32)
    score = jax.vmap(lambda u, a: sequences.crf_log_score(u, a, path))(u, a)
    assert np.all(score <= log_z)
    assert np.mean(score == log_z) > 0.5


def test_eager_equals_the_batch():
    """jit = eager and vmap = loop."""
    for case in (0, 1, 2, 5):
        u, a, w, y = UNARY[case], PAIRWISE[case], WHERE[case], LABELS[case]
        nll = sequences.crf_log_normalizer(u, a, where=w) - sequences.crf_log_score(u, a, y, where=w)
        np.testing.assert_allclose(nll, BATCH[0][case], rtol=1e-5)
        np.testing.assert_array_equal(sequences.crf_viterbi(u, a, where=w).labels, BATCH[4].labels[case])


def test_skipped_positions_may_hold_anything():
    u, w = UNARY[4].copy(), np.array([True, False, True, True, False])
    clean = sequences.crf_log_normalizer(u[w], PAIRWISE[4])
    for anything in (-np.inf, np.inf, np.nan):
        u[~w] = anything
        np.testing.assert_allclose(sequences.crf_log_normalizer(u, PAIRWISE[4], where=w), clean, rtol=1e-6)
        assert sequences.crf_viterbi(u, PAIRWISE[4], where=w).labels[1] == -1
    each = np.tile(PAIRWISE[4], (T - 1, 1, 1))
    each[[0, 3]] = np.nan  # they lead into skipped positions
    np.testing.assert_allclose(sequences.crf_log_normalizer(u, each, where=w), clean, rtol=1e-6)
    gradient = jax.grad(sequences.crf_log_normalizer, argnums=(0, 1))(u, each, where=w)
    assert all(np.all(np.isfinite(g)) for g in gradient)


def test_labels_of_any_integer_type():
    """64 bits taken modulo 2^32 would be labels 0 and 1."""
    u, a = UNARY[6], PAIRWISE[6]
    for wide in (np.int64(2**32), np.uint64(2**32), np.uint32(2**31 + 2**30)):
        with pytest.raises(ValueError, match=rf"got {wide} at \(1,\)"):
            sequences.crf_log_score(u, a, np.array([0, wide, 1, 1, 1], wide.dtype))
    want = sequences.crf_log_score(u, a, np.array([0, 2, 1, 1, 0]))
    for dtype in (np.int8, np.uint8, np.int16, np.uint32, np.int64, np.uint64):
        assert sequences.crf_log_score(u, a, np.array([0, 2, 1, 1, 0], dtype)) == want
    w = np.array([True, False, True, True, True])
    skipped = np.array([0, 2**40, 1, 1, 0])
    clean = sequences.crf_log_score(u, a, np.array([0, -1, 1, 1, 0]), where=w)
    assert sequences.crf_log_score(u, a, skipped, where=w) == clean
    near = sequences.neighbourhood(skipped, num_labels=3, where=w)
    assert set(np.unique(near.labels[near.where][:, 1])) == {-1}
    traced = jax.jit(lambda y: sequences.replacements(y, num_labels=3).where)(np.array([0, 7, 1]))
    assert traced.tolist() == [True, True, False, False, True, True]


def test_nothing_allowed_and_nothing_counted():
    blocked = np.full((2, 2), -np.inf, FLOAT)
    assert sequences.crf_log_normalizer(np.zeros((2, 2), FLOAT), blocked) == -np.inf
    assert all(np.all(x == 0) for x in sequences.crf_marginals(np.zeros((2, 2), FLOAT), blocked))
    path = sequences.crf_viterbi(np.zeros((2, 2), FLOAT), blocked)
    assert (path.labels.tolist(), float(path.log_score)) == ([-1, -1], -np.inf)
    assert sequences.crf_sample(jax.random.key(0), np.zeros((2, 2), FLOAT), blocked).tolist() == [-1, -1]
    nowhere = np.zeros(2, bool)
    assert sequences.crf_log_normalizer(np.ones((2, 2), FLOAT), blocked, where=nowhere) == 0
    assert sequences.crf_viterbi(np.ones((2, 2), FLOAT), blocked, where=nowhere).log_score == 0


def test_length_one_and_one_label():
    u = np.array([[0.5, -1.0, 2.0]], FLOAT)
    a = np.ones((3, 3), FLOAT)
    np.testing.assert_allclose(sequences.crf_log_normalizer(u, a), np.log(np.exp(u).sum()), rtol=1e-6)
    assert sequences.crf_viterbi(u, a).labels.tolist() == [2]
    assert int(sequences.crf_sample(jax.random.key(1), u, a)[0]) in range(3)
    assert np.all(sequences.crf_marginals(u, a).pairwise == 0)
    near = sequences.neighbourhood(np.array([1]), num_labels=3)
    assert (near.labels.tolist(), near.where.tolist()) == ([[0], [2]], [True, True])
    assert sequences.adjacent_swaps(np.array([1])).labels.shape == (0, 1)
    assert sequences.replacements(np.array([0, 0]), num_labels=1).labels.shape == (0, 2)


def test_ties_go_to_the_lower_label_from_the_end():
    assert sequences.crf_viterbi(np.zeros((3, 3), FLOAT), np.zeros((3, 3), FLOAT)).labels.tolist() == [0, 0, 0]


def test_huge_scores_stay_finite():
    u = np.where(np.arange(8)[:, None] % 2 == 0, 1e4, -1e4) * np.array([1.0, -1.0])
    value, gradient = jax.value_and_grad(sequences.crf_log_normalizer)(u.astype(FLOAT), np.zeros((2, 2), FLOAT))
    assert value == 8e4
    np.testing.assert_array_equal(gradient, [[1, 0], [0, 1]] * 4)


def test_half_precision_sums_in_float32():
    value = sequences.crf_log_normalizer(jnp.zeros((300, 2), jnp.bfloat16), jnp.zeros((2, 2), jnp.bfloat16))
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, 300 * np.log(2), rtol=1e-5)


@pytest.mark.parametrize("tables", ["one", "each"])
@pytest.mark.parametrize("case", [6, 5, 9])  # plain, forbidden, with holes
def test_draws_follow_the_law(case, tables):
    """Chi-square over all sequences, at a false alarm rate of 1e-6; and what is forbidden never comes."""
    u, w = UNARY[case] / scale(case) * 20, WHERE[case]
    a = (PAIRWISE if tables == "one" else EACH)[case] / scale(case) * 20
    every, law, _ = oracle.law(u.astype(float), a.astype(float), w)
    draws = 20_000
    keys = jax.random.split(jax.random.key(SEED + case), draws)
    sampled = np.asarray(jax.vmap(lambda k: sequences.crf_sample(k, u, a, where=w))(keys))
    index = {y: i for i, y in enumerate(every)}
    counts = np.bincount([index[tuple(y)] for y in sampled.tolist()], minlength=len(every))
    law = np.array(law)
    assert np.all(counts[law == 0] == 0)
    often = law * draws >= 5
    observed, expected = (
        np.append(counts[often], counts[~often].sum()),
        np.append(law[often], law[~often].sum()) * draws,
    )
    kept = expected > 5
    chi2 = np.sum((observed - expected)[kept] ** 2 / expected[kept])
    assert kept.sum() > 3
    assert chi2 < stats.chi2.ppf(1 - 1e-6, kept.sum() - 1)


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 1], [2, 2, 1, 1], [0, 1, 0, 1]])
@pytest.mark.parametrize("where", [[True] * 4, [True, True, False, True]])
def test_neighbourhood_is_the_set_of_edits(labels, where):
    near = sequences.neighbourhood(np.array(labels), num_labels=3, where=np.array(where))
    rows = [tuple(y) for y in np.asarray(near.labels)[near.where].tolist()]
    assert len(rows) == len(set(rows)), "a row twice"
    assert set(rows) == oracle.edits(labels, 3, where)
    masked = np.asarray(near.labels)[len(labels) * 2 :][~np.asarray(near.where)[len(labels) * 2 :]]
    swaps_within = [y for y in masked.tolist() if all(where) or y == labels]
    assert all(y == labels for y in swaps_within)


def test_neighbourhood_under_jit_and_vmap():
    labels = np.array(list(itertools.product(range(3), repeat=3)), np.int32)
    near = jax.jit(jax.vmap(lambda y: sequences.neighbourhood(y, num_labels=3)))(labels)
    for row, y in enumerate(labels):
        one = sequences.neighbourhood(y, num_labels=3)
        np.testing.assert_array_equal(near.labels[row], one.labels)
        np.testing.assert_array_equal(near.where[row], one.where)


def test_contrast_on_other_sequences_is_a_lower_bound_and_unmasked_swaps_break_it():
    """All labels equal: t - 1 swaps give the truth back, and hold an unmasked loss above log t."""
    u, a, y = jnp.zeros((5, 3), FLOAT).at[:, 0].set(9.0), jnp.zeros((3, 3), FLOAT), np.zeros(5, int)
    near = sequences.neighbourhood(y, num_labels=3)
    truth = sequences.crf_log_score(u, a, y)
    scores = jax.vmap(lambda z: sequences.crf_log_score(u, a, z))(near.labels)
    exact = sequences.crf_log_normalizer(u, a) - truth
    contrast = losses.info_nce(truth, scores, where=near.where)
    assert 0 < contrast <= exact + EPS * float(truth), "log Z and the score are rounded"
    unmasked = losses.info_nce(truth, scores)
    assert unmasked >= np.log(5)
    assert unmasked > exact


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: sequences.crf_log_normalizer(np.zeros((2, 3)), np.zeros((2, 2))),
            ValueError,
            r"one table per transition.*got \(2, 2\)",
        ),
        (lambda: sequences.crf_log_normalizer(np.zeros((1, 2, 3)), np.zeros((3, 3))), ValueError, "jax.vmap"),
        (lambda: sequences.crf_log_normalizer(np.zeros((0, 3)), np.zeros((3, 3))), ValueError, "t, l >= 1"),
        (lambda: sequences.crf_viterbi(np.full((2, 2), np.nan), np.zeros((2, 2))), ValueError, "unary holds NaN"),
        (lambda: sequences.crf_marginals(np.zeros((2, 2)), np.full((2, 2), np.inf)), ValueError, "pairwise holds NaN"),
        (
            lambda: sequences.crf_log_normalizer(np.zeros((2, 2)), np.zeros((2, 2)), where=np.ones(3, bool)),
            ValueError,
            r"got \(3,\)",
        ),
        (
            lambda: sequences.crf_log_normalizer(np.zeros((2, 2)), np.zeros((2, 2)), where=np.ones(2)),
            TypeError,
            "where must be boolean",
        ),
        (
            lambda: sequences.crf_log_score(np.zeros((2, 2)), np.zeros((2, 2)), np.array([0, 2])),
            ValueError,
            r"in \[0, 1\], got 2 at \(1,\)",
        ),
        (
            lambda: sequences.crf_log_score(np.zeros((2, 2)), np.zeros((2, 2)), np.array([0.0, 1.0])),
            TypeError,
            "labels must be integers",
        ),
        (
            lambda: sequences.crf_log_score(np.zeros((2, 2)), np.zeros((2, 2)), np.array([0])),
            ValueError,
            "one entry per position",
        ),
        (lambda: sequences.replacements(np.array([3]), num_labels=3), ValueError, "got 3"),
        (lambda: sequences.replacements(np.array([0]), num_labels=0), ValueError, "at least 1"),
        (lambda: sequences.adjacent_swaps(np.zeros((2, 2), int)), ValueError, "jax.vmap"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_traced_bad_label_gives_nan():
    score = jax.jit(sequences.crf_log_score)(np.zeros((2, 2), FLOAT), np.zeros((2, 2), FLOAT), np.array([0, 5]))
    assert np.isnan(score)
