"""nsx.sequences against lists of every label sequence, its laws, its masks and its limits."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from nsx import losses, sequences
from tests.helpers import FLOAT, PRECISION, SEED
from tests.oracles import sequences as oracle

T, L, CASES = 5, 3, 24


def draw_cases():
    """Normal scores of spreads .3 to 30, forbidden labels and transitions, masks with holes at every place."""
    rng = np.random.default_rng(SEED)
    spread = 10 ** rng.uniform(-0.5, 1.5, (CASES, 1, 1))
    unary, pairwise = rng.normal(size=(CASES, T, L)) * spread, rng.normal(size=(CASES, L, L)) * spread
    unary[::4, 2, 1] = pairwise[1::4, 0, 2] = -np.inf
    where = rng.random((CASES, T)) < 0.7
    where[::3] = True
    where[1] = False
    where[2] = [False, False, True, False, False]
    labels = rng.integers(0, L, (CASES, T))
    return unary.astype(FLOAT), pairwise.astype(FLOAT), where, np.where(where, labels, -1)


UNARY, PAIRWISE, WHERE, LABELS = draw_cases()


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


def scale(case):
    """The size of what is added up, for rounding."""
    finite = [np.abs(x[np.isfinite(x)]).max() for x in (UNARY[case], PAIRWISE[case])]
    return 1 + 2 * T * max(finite)


@pytest.mark.parametrize("case", range(CASES))
def test_equals_the_list_of_sequences(case, tolerance):
    nll, log_z, _, marginals, viterbi = jax.tree.map(lambda x: x[case], BATCH)
    u, a, w = UNARY[case].astype(float), PAIRWISE[case].astype(float), WHERE[case]
    _, _, exact = oracle.law(u, a, w)
    np.testing.assert_allclose(log_z, exact, rtol=0, atol=tolerance * scale(case))
    expected_score = oracle.score(u, a, LABELS[case], w)
    if np.isfinite(expected_score):
        np.testing.assert_allclose(nll, exact - expected_score, rtol=0, atol=tolerance * scale(case))
    else:
        assert nll == np.inf
    node, edge = oracle.marginals(u, a, w)
    np.testing.assert_allclose(marginals.unary, node, atol=tolerance * scale(case))
    np.testing.assert_allclose(marginals.pairwise, edge, atol=T * tolerance * scale(case))
    path, top = oracle.best(u, a, w)
    assert viterbi.labels.tolist() == list(path)
    np.testing.assert_allclose(viterbi.log_score, top, rtol=0, atol=tolerance * scale(case))


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
    u[~w] = -np.inf
    np.testing.assert_allclose(sequences.crf_log_normalizer(u, PAIRWISE[4], where=w), clean, rtol=1e-6)
    assert sequences.crf_viterbi(u, PAIRWISE[4], where=w).labels[1] == -1


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


@pytest.mark.parametrize("case", [6, 5, 9])  # plain, forbidden, with holes
def test_draws_follow_the_law(case):
    """Chi-square over all sequences, at a false alarm rate of 1e-6; and what is forbidden never comes."""
    u, a, w = UNARY[case] / scale(case) * 20, PAIRWISE[case] / scale(case) * 20, WHERE[case]
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
    assert 0 < contrast <= exact
    unmasked = losses.info_nce(truth, scores)
    assert unmasked >= np.log(5)
    assert unmasked > exact


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: sequences.crf_log_normalizer(np.zeros((2, 3)), np.zeros((2, 2))), ValueError, r"got \(2, 3\)"),
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
            r"in \[0, 2\), got 2",
        ),
        (
            lambda: sequences.crf_log_score(np.zeros((2, 2)), np.zeros((2, 2)), np.array([0.0, 1.0])),
            TypeError,
            "labels must be integers",
        ),
        (
            lambda: sequences.crf_log_score(np.zeros((2, 2)), np.zeros((2, 2)), np.array([0])),
            ValueError,
            "one entry a position",
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
