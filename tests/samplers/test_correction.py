"""Which combinations of form and hits are right: every one enumerated, the refused ones shown biased by the number.

All draws of k from a small catalogue are enumerated as multisets with their chances and go through the functions as a
user writes them, `info_nce(positive, negatives, **correction(...)._asdict())`; predictions come from the oracle.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsx import losses, samplers
from tests.helpers import PRECISION, close
from tests.oracles import correction as oracle

TRUTH = np.array([0.7, 0.2, 0.1])
PROPOSAL = np.array([0.4, 0.35, 0.25])
RARE_TRUTH = np.array([0.05, 0.6, 0.35])
RARE_PROPOSAL = np.array([8e-5, 0.7, 0.29992])  # the first is hardly ever drawn
WIDE_TRUTH = np.array([0.02, 0.3, 0.08, 0.6])
WIDE_PROPOSAL = np.array([0.55, 0.25, 0.15, 0.05])  # frequent where the truth is rare, and rare where it is frequent
LAWS = {
    "near": (TRUTH, PROPOSAL),
    "a rare positive": (RARE_TRUTH, RARE_PROPOSAL),
    "against each other": (WIDE_TRUTH, WIDE_PROPOSAL),
}
ALLOWED = (("importance", "masked"), ("importance", "rejected"), ("ranking", "kept"))
REFUSED = (("importance", "kept"), ("ranking", "masked"), ("ranking", "rejected"))
COUNTS = {"near": (1, 2, 3, 8, 64), "a rare positive": (1, 2, 3, 8, 64), "against each other": (1, 2, 3, 8, 24)}
LARGEST = {law: counts[-1] for law, counts in COUNTS.items()}

laws = pytest.mark.parametrize("law", LAWS)
allowed = pytest.mark.parametrize(("form", "hits"), ALLOWED)
refused = pytest.mark.parametrize(("form", "hits"), REFUSED)
needs_float64 = pytest.mark.skipif(PRECISION == 32, reason="a limit of differences needs float64")


class World(NamedTuple):
    """Every positive with every multiset of draws, rows of one shape for every k: what is too many is padding."""

    ids: np.ndarray  # (rows, largest)
    drawn: np.ndarray  # (rows, largest), False at padding
    k: np.ndarray  # (rows,)
    positives: np.ndarray  # (rows,)
    chances: np.ndarray  # (rows,) of the draws, given the positive


@functools.cache
def draws(n, k):
    """All multisets of k draws: ids (ways, k) and counts (ways, n)."""
    counts = oracle.compositions(k, n)
    ids = np.stack([np.repeat(np.arange(n), row) for row in counts])
    return ids, counts


@functools.cache
def world(law, k, hits):
    """The draws that are possible for each positive, and their chances."""
    q = LAWS[law][1]
    n, largest = len(q), LARGEST[law]
    ids, counts = draws(n, k)
    size = n * math.comb(largest + n - 1, n - 1)
    found = World(
        np.zeros((size, largest), int),
        np.zeros((size, largest), bool),
        np.ones(size),
        np.zeros(size, int),
        np.zeros(size),
    )
    start = 0
    for positive in range(n):
        _, _, drawn_from = oracle.weights_of_draws(q, k, positive, "importance", hits)
        possible = counts[:, positive] == 0 if hits == "rejected" else np.ones(len(ids), bool)
        rows = slice(start, start + np.sum(possible))
        found.ids[rows, :k] = ids[possible]
        found.ids[rows, k:] = (positive + 1) % n  # padding, and no hit: where hits are rejected it would be refused
        found.drawn[rows, :k] = True
        found.k[rows] = k
        found.positives[rows] = positive
        found.chances[rows] = oracle.chances(counts[possible], drawn_from)
        start = rows.stop
    found.ids[start:] = 1
    return found


def rows_of(scores, log_weights, rows, form, hits):
    """The losses as a user has them."""
    found = samplers.correction(log_weights, rows.ids, rows.positives, form=form, hits=hits, k=rows.k)
    found = found._replace(where=found.where & rows.drawn)
    return losses.info_nce(scores[rows.positives], scores[rows.ids], **found._asdict())


@functools.partial(jax.jit, static_argnames=("form", "hits"))
def expectation(scores, p, log_weights, rows, form, hits):
    """Expected loss, its gradient, and the expected denominator for each positive."""

    def loss(scores):
        each = rows_of(scores, log_weights, rows, form, hits)
        return jnp.sum(p[rows.positives] * rows.chances * each), each

    (value, each), gradient = jax.value_and_grad(loss, has_aux=True)(scores)
    denominators = rows.chances * jnp.exp(each + scores[rows.positives])
    return value, gradient, jnp.zeros_like(scores).at[rows.positives].add(denominators)


def expected(scores, law, k, form, hits):
    """As `expectation`, in NumPy."""
    p, q = (jnp.asarray(x) for x in LAWS[law])
    return [np.asarray(x) for x in expectation(jnp.asarray(scores), p, jnp.log(q), world(law, k, hits), form, hits)]


# --- what is allowed


@allowed
@laws
def test_value_and_gradient_are_the_oracle_s(form, hits, law, tolerance):
    p, q = LAWS[law]
    scores = np.random.default_rng(0).normal(size=len(p))
    for k in (1, 3, 8):
        loss, gradient, _ = oracle.expectation(scores, p, q, k, form, hits)
        found = expected(scores, law, k, form, hits)
        close(found[0], loss, tolerance, scale=10)
        close(found[1], gradient, tolerance, scale=10)


@laws
def test_ranking_with_hits_kept_has_the_truth_for_its_optimum(law, tolerance):
    p, q = LAWS[law]
    for k in COUNTS[law]:
        gradient = expected(np.log(p) + 0.7, law, k, "ranking", "kept")[1]
        close(gradient, 0 * p, tolerance, scale=10)
        hessian = oracle.expectation(np.log(p), p, q, k, "ranking", "kept")[2]
        assert np.linalg.eigvalsh(hessian)[1] > 0  # convex: no other optimum, but for the constant


@pytest.mark.parametrize("hits", ["masked", "rejected"])
@laws
def test_importance_has_the_denominator_of_the_full_softmax_in_expectation(hits, law, tolerance):
    scores = np.random.default_rng(1).normal(size=len(LAWS[law][0]))
    for k in COUNTS[law]:
        denominators = expected(scores, law, k, "importance", hits)[2]
        close(denominators / np.sum(np.exp(scores)), np.ones(len(scores)), tolerance, scale=10)


@needs_float64
@allowed
@pytest.mark.parametrize("law", ["near", "against each other"])
def test_gradient_tends_to_the_full_softmax_as_one_over_k(form, hits, law):
    p, q = LAWS[law]
    scores = np.random.default_rng(2).normal(size=len(p))
    exact = oracle.full(scores, p)[1]
    counts = np.array([LARGEST[law] // 4, LARGEST[law] // 2, LARGEST[law]])
    scaled = [k * (expected(scores, law, int(k), form, hits)[1] - exact) for k in counts]
    assert np.max(np.abs(scaled[-1])) > 0.01  # there is an error, of order 1 / k
    # its coefficient is the delta method's, and what is left of it falls as 1 / k again: each doubling halves it
    predicted = oracle.first_order(scores, p, q, form, hits)
    left = [np.max(np.abs(error - predicted)) for error in scaled]
    assert 1.6 < left[0] / left[1] < 2.7
    assert 1.7 < left[1] / left[2] < 2.5


@pytest.mark.parametrize("k", [1, 2, 8])
def test_exact_where_the_sampler_is_the_model(k, tolerance):
    scores = np.log(PROPOSAL) + 0.3  # the model's softmax is q
    full_loss, full_gradient = oracle.full(scores, TRUTH)
    loss, gradient, _ = expected(scores, "near", k, "importance", "rejected")
    close(loss, full_loss, tolerance)
    close(gradient, full_gradient, tolerance)
    close(expected(scores, "near", k, "ranking", "kept")[1], k / (k + 1) * full_gradient, tolerance)


def test_distinct_draws_go_with_the_logarithm_of_their_expected_counts(tolerance):
    # two of four without replacement: Horvitz and Thompson's sum is unbiased, with k = 1
    scores = jnp.asarray(np.random.default_rng(3).normal(size=4))
    pairs = np.array([(i, j) for i in range(4) for j in range(4) if i != j])
    chances = WIDE_PROPOSAL[pairs[:, 0]] * WIDE_PROPOSAL[pairs[:, 1]] / (1 - WIDE_PROPOSAL[pairs[:, 0]])
    inclusion = np.array([chances[(pairs == i).any(axis=1)].sum() for i in range(4)])
    for positive in range(4):
        where = samplers.no_accidental_hits(jnp.full(len(pairs), positive), pairs)
        settings = {"log_q_negatives": np.log(inclusion)[pairs], "where": where}
        rows = losses.info_nce(jnp.full(len(pairs), scores[positive]), scores[pairs], **settings, k=1)
        denominator = jnp.sum(chances * jnp.exp(rows + scores[positive]))
        close(denominator / jnp.sum(jnp.exp(scores)), 1, tolerance, scale=10)


def test_two_laws_at_once_go_with_the_logarithm_of_their_expected_counts(tolerance):
    # one draw from p, two from q: the balance heuristic is unbiased, with k = 1
    scores = np.random.default_rng(5).normal(size=3)
    rows = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    chances = TRUTH[rows[:, 0]] * PROPOSAL[rows[:, 1]] * PROPOSAL[rows[:, 2]]
    log_counts = np.log(TRUTH + 2 * PROPOSAL)
    for positive in range(3):
        where = samplers.no_accidental_hits(np.full(27, positive), rows)
        settings = {"log_q_negatives": log_counts[rows], "where": where}
        each = losses.info_nce(np.full(27, scores[positive]), scores[rows], **settings, k=1)
        close(np.sum(chances * np.exp(each + scores[positive])) / np.sum(np.exp(scores)), 1, tolerance, scale=10)


def test_a_law_that_leaves_the_positive_out_is_the_law_of_rejected_hits(tolerance):
    log_weights, positives, ids = np.log(WIDE_PROPOSAL), np.array([0, 3]), np.array([[1, 2, 2], [0, 0, 1]])
    rejected = samplers.correction(log_weights, ids, positives, hits="rejected")
    laws = samplers.exclude(log_weights, positives[:, None] == np.arange(4))
    masked = samplers.correction(laws, ids, positives)
    close(masked.log_q_negatives, rejected.log_q_negatives, tolerance, scale=10)
    assert np.all(masked.where)
    with pytest.raises(ValueError, match="log q of the positives must be finite"):
        samplers.correction(laws, ids, positives, form="ranking")


# --- what is refused, and by how much it is wrong


@refused
def test_refused(form, hits):
    with pytest.raises(ValueError, match=f"the {form} form with hits {hits} is biased"):
        samplers.correction(jnp.zeros(3), jnp.array([1, 2]), 0, form=form, hits=hits)


@refused
def test_the_number_in_the_message_is_the_optimum_at_64_draws(form, hits):
    with pytest.raises(ValueError, match="biased") as caught:
        samplers.correction(jnp.zeros(3), jnp.array([1, 2]), 0, form=form, hits=hits)
    learnt = oracle.optimum(TRUTH, PROPOSAL, 64, form, hits)[0]
    assert f"({learnt:.2f} for a truth of 0.7 at 64 draws)".replace("0.", ".") in str(caught.value)
    assert abs(learnt - 0.7) > 0.05


def test_hits_kept_in_the_importance_form_count_the_positive_twice():
    scores = np.log(TRUTH)
    losses_at = [oracle.expectation(scores, np.eye(3)[0], PROPOSAL, k, "importance", "kept")[0] for k in (32, 64)]
    limit = 2 * losses_at[1] - losses_at[0]  # the term in 1 / k taken out
    assert limit - -math.log(0.7) == pytest.approx(math.log1p(0.7), abs=2e-3)
    # the optimum solves pi (1 + pi) ~ p
    guess = oracle.optimum(TRUTH, PROPOSAL, 64, "importance", "kept")
    assert np.max(np.abs(guess * (1 + guess) / np.sum(guess * (1 + guess)) - TRUTH)) < 0.01
    assert np.max(np.abs(guess - TRUTH)) > 0.06


@pytest.mark.parametrize("hits", ["masked", "rejected"])
def test_ranking_without_hits_diverges(hits):
    odds = []
    for k in (16, 32, 64):
        learnt = oracle.optimum(TRUTH, PROPOSAL, k, "ranking", hits)[0]
        odds.append(learnt / (1 - learnt))
    # the odds of an item likelier than 1/2 grow by q (2p - 1) / (1 - p) with each draw
    slope = 0.4 * (2 * 0.7 - 1) / (1 - 0.7)
    assert (odds[2] - odds[1]) / 32 == pytest.approx(slope, rel=0.02)
    assert odds[2] > 10 * 0.7 / 0.3


def test_pull_on_a_rare_positive():
    """The numbers of docs/log_q.md: q+ = 8e-5, p+ = .05, 255 draws; the full softmax pulls by .95."""
    scores, positive = np.log(RARE_TRUTH), np.eye(3)[0]

    def pull(form, hits, k):
        return -oracle.expectation(scores, positive, RARE_PROPOSAL, k, form, hits)[1][0]

    found = {(form, hits): pull(form, hits, 255) for form, hits in (*ALLOWED, *REFUSED)}
    rounded = {key: round(float(value), 2) for key, value in found.items()}
    assert rounded == {
        ("importance", "masked"): 0.95,
        ("importance", "rejected"): 0.95,
        ("ranking", "kept"): 0.28,
        ("importance", "kept"): 0.94,
        ("ranking", "masked"): 0.28,
        ("ranking", "rejected"): 0.28,
    }


# --- use


def test_shared_draws_laws_per_row_and_leading_axes(tolerance):
    rng = np.random.default_rng(4)
    log_weights = rng.normal(size=(2, 3, 9))
    ids, positive_ids = rng.integers(0, 9, (2, 3, 5)), rng.integers(0, 9, (2, 3))
    found = samplers.correction(log_weights, ids, positive_ids)
    for row in np.ndindex(2, 3):
        alone = samplers.correction(log_weights[row], ids[row], positive_ids[row])
        close(found.log_q_negatives[row], alone.log_q_negatives, tolerance, scale=10)
        np.testing.assert_array_equal(found.where[row], alone.where)
    shared = samplers.correction(log_weights[0, 0], ids[0, 0], positive_ids[0])
    expanded = samplers.correction(log_weights[0, 0], np.stack([ids[0, 0]] * 3), positive_ids[0])
    jax.tree.map(np.testing.assert_array_equal, shared, expanded)
    assert int(found.k) == 5


def test_rejected_hits_with_one_law_per_row(tolerance):
    rng = np.random.default_rng(6)
    log_weights = rng.normal(size=(3, 5)) * 3
    positives = np.array([0, 4, 2])
    ids = (positives[:, None] + rng.integers(1, 5, (3, 4))) % 5
    found = samplers.correction(log_weights, ids, positives, hits="rejected")
    q = np.exp(log_weights) / np.exp(log_weights).sum(axis=1, keepdims=True)
    rows = np.arange(3)
    wanted = np.log(q[rows[:, None], ids] / (1 - q[rows, positives])[:, None])
    close(found.log_q_negatives, wanted, tolerance, scale=10)


def test_padding_is_no_draw(tolerance):
    log_weights, scores = jnp.log(jnp.asarray(WIDE_PROPOSAL)), jnp.asarray([0.3, -1.0, 0.8, 0.1])
    ids = jnp.array([[1, 2, 0, 0], [1, 3, 2, 0]])
    drawn = jnp.array([[True, True, False, False], [True, True, True, True]])
    found = samplers.correction(log_weights, ids, jnp.array([3, 0]), k=jnp.sum(drawn, axis=1))
    got = losses.info_nce(scores[jnp.array([3, 0])], scores[ids], **found._replace(where=found.where & drawn)._asdict())
    for row, (positive, some) in enumerate(((3, [1, 2]), (0, [1, 3, 2, 0]))):
        alone = samplers.correction(log_weights, jnp.array(some), positive)
        expected = losses.info_nce(scores[positive], scores[jnp.array(some)], **alone._asdict())
        close(got[row], expected, tolerance)


def test_rejected_hits_near_a_positive_of_all_mass(tolerance):
    # 1 - q+ = 2e-9 is gone in float32; its logarithm is not
    log_weights = np.array([0.0, -20.0, -20.0])
    found = samplers.correction(log_weights, jnp.array([1, 2]), 0, hits="rejected")
    log_total = math.log1p(2 * math.exp(-20))
    wanted = -20 - log_total - math.log(2 * math.exp(-20) / (1 + 2 * math.exp(-20)))
    close(found.log_q_negatives, [wanted] * 2, tolerance)


BAD = [
    ({"form": "nce"}, "form must be"),
    ({"hits": "dropped"}, "hits must be"),
    ({"ids": np.array([1, 4])}, "ids must be in"),
    ({"positive_ids": 2**32}, "positive_ids must be in"),
    ({"ids": np.array([1, 3])}, "comes? from another law"),
    ({"ids": np.array([1, 0]), "hits": "rejected"}, r"the draw at \(1,\) is the positive"),
    ({"k": 0}, "k must be positive"),
    ({"positive_ids": 3, "form": "ranking"}, "log q of the positives must be finite"),
    ({"log_weights": np.full(4, -np.inf)}, "all -inf"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input(change, message):
    given = {"log_weights": np.array([0.0, 1.0, 0.5, -np.inf]), "ids": np.array([1, 2]), "positive_ids": 0} | change
    arrays = [given.pop(name) for name in ("log_weights", "ids", "positive_ids")]
    with pytest.raises(ValueError, match=message):
        samplers.correction(*arrays, **given)


@pytest.mark.parametrize(
    ("ids", "positive_ids", "settings"),
    [
        ([1, 3], 0, {}),  # a draw of probability 0
        ([1, 2], 3, {"form": "ranking"}),  # a positive of probability 0
        ([1, 0], 0, {"hits": "rejected"}),
        ([1, 7], 0, {}),
        ([1, 2], 7, {}),
        ([1, 2], 0, {"k": 0.0}),
    ],
)
def test_traced_bad_input_gives_nan_in_its_row_alone(ids, positive_ids, settings):
    log_weights, scores = jnp.array([0.0, 1.0, 0.5, -jnp.inf]), jnp.array([0.3, -1.0, 0.8, 0.1])
    settings = dict(settings)
    counts = jnp.array([settings.pop("k", 2.0), 2.0])

    @jax.jit
    def run(ids, positive_ids, counts):
        found = samplers.correction(log_weights, ids, positive_ids, k=counts, **settings)
        return losses.info_nce(scores[positive_ids], scores[ids], **found._asdict())

    rows = run(jnp.array([ids, [1, 2]]), jnp.array([positive_ids, 0]), counts)
    assert np.isnan(rows[0])
    assert np.isfinite(rows[1])
