"""The audit's numbers: exact parts by loops, sampled parts against enumeration of every draw."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsx import losses
from nsx.audit import Proposal, audit, from_embeddings, from_scores, named_proposal
from nsx.audit import _statistics as statistics
from tests.audit.shared import ANCHORS, CANDIDATES, DIMENSION, TAU, row_of, small
from tests.oracles import audit as oracle

pytestmark = pytest.mark.slow  # an audit computes in float32 whatever the precision of the run
COUNTS = np.arange(1.0, 7.0)


def side_of(row, corrected):
    return row.corrected if corrected else row.plain


def pairs_of(problem):
    """Anchor, positive, its place, and who is its negative, in float64."""
    for anchor, positive, place in zip(problem.anchors, problem.positives, problem.positive_ids, strict=True):
        yield np.float64(anchor), np.float64(positive), place, np.arange(len(problem.candidates)) != place


def pooled(problem, log_weights, k, corrected, shared):
    """The audit's four pooled numbers, exactly."""
    total = np.zeros(5)
    candidates = np.float64(problem.candidates)
    for anchor, positive, place, negative in pairs_of(problem):
        target = oracle.full_gradient(anchor, positive, candidates, negative, TAU)
        q = oracle.law(log_weights, np.full(len(candidates), True) if shared else negative)
        parts = oracle.moments(anchor, positive, candidates, q, k, TAU, corrected, target, hit=place)
        total += (*parts, target @ target)
    bias, length, along, variance, whole = total
    return {
        "bias": math.sqrt(bias / whole),
        "cosine": along / math.sqrt(length * whole),
        "signal_to_noise": math.sqrt(length / variance),
        "error": math.sqrt((bias + variance) / whole),
    }


@pytest.mark.parametrize("name", ["power:1", "in-batch"])
def test_moments_are_those_of_every_possible_draw(key, name):
    # 5 standard errors over 4096 replicates per pair, whose own error the replicates' standard error does not hold
    problem = small(counts=COUNTS)
    numbers = (1, 2)
    proposal = named_proposal(name, problem)
    row = row_of(key, problem, proposal, k=numbers, replicates=4096)
    for j, k in enumerate(numbers):
        for corrected in (False, True):
            expected = pooled(problem, np.log(COUNTS), k, corrected, proposal.shared)
            for number, value in expected.items():
                measured = getattr(side_of(row, corrected), number)[j]
                assert abs(measured.value - value) < 0.02 * value + 0.003, (number, k, corrected)


NAMES = ["uniform", "power:0.75", "in-batch", "gibbs:2", "scores:0.5", "ann:0.9", "weights:mine"]


def enumerated(problem, name, k):
    """A slab of three pairs, its target, and every outcome of k draws as replicates, under a named proposal."""
    weights = {"mine": np.linspace(-1, 1, ANCHORS * CANDIDATES).reshape(ANCHORS, CANDIDATES)}
    proposal = named_proposal(name, problem, k=k, temperature=TAU, weights=weights)
    pairs = np.arange(3)
    float32 = jnp.float32
    slab = statistics.Slab(
        jnp.asarray(problem.anchors[pairs], float32),
        jnp.asarray(problem.positives[pairs], float32),
        jnp.asarray(problem.positive_ids[pairs], jnp.int32),
        None,
    )
    pool = statistics.Pool(jnp.asarray(problem.candidates, float32), None)
    found = statistics.target(slab, pool, float32(TAU), 0.01)
    law = proposal.at(slab.anchors @ pool.candidates.T, pairs)
    log_q = statistics.log_law(found, law, proposal.shared)
    ids = np.array(list(itertools.product(range(CANDIDATES), repeat=k)))
    draws = statistics.Draws(
        scores=found.scores[:, ids],
        log_q=log_q[:, ids],
        counts=found.negative[:, ids],
        vectors=jnp.broadcast_to(pool.candidates[ids], (3, *ids.shape, DIMENSION)),
    )
    return slab, pool, found, draws, ids


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_the_losses(name):
    """With log q as without, what the audit takes a mean of is the gradient of `nsx.losses`, draw by draw."""
    k = 2
    problem = small(counts=COUNTS)
    slab, pool, found, draws, ids = enumerated(problem, name, k)
    possible = np.all(np.isfinite(draws.log_q), axis=-1)
    for corrected in (False, True):
        taken = statistics.sampled_gradients(found, slab, draws, "info_nce", corrected) / TAU
        for pair in range(3):

            def loss(anchor, row, counts, log_q, pair=pair, corrected=corrected):
                negatives = pool.candidates[row] @ anchor
                law = {"log_q_negatives": log_q} if corrected else {}
                return losses.info_nce(
                    slab.positives[pair] @ anchor, negatives, temperature=jnp.float32(TAU), where=counts, **law
                )

            slopes = jax.vmap(jax.grad(loss), (None, 0, 0, 0))
            chosen = possible[pair]
            assert chosen.sum() > 4
            expected = slopes(slab.anchors[pair], ids[chosen], draws.counts[pair][chosen], draws.log_q[pair][chosen])
            np.testing.assert_allclose(taken[pair][chosen], expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("corrected", [False, True], ids=["as drawn", "log q"])
def test_gradients_in_a_batch_are_those_of_the_in_batch_loss(corrected):
    """Row 0 of a batch whose other positives are the draws: the same ids, the same log q, hits masked."""
    k = 2
    problem = small(counts=COUNTS)
    slab, pool, found, draws, ids = enumerated(problem, "in-batch", k)
    taken = statistics.sampled_gradients(found, slab, draws, "info_nce", corrected) / TAU
    log_q = jnp.log(jnp.asarray(COUNTS / COUNTS.sum(), jnp.float32))
    for pair in range(3):

        def loss(anchor, row, pair=pair):
            places = jnp.concatenate([slab.positive_ids[pair][None], row])
            x = jnp.concatenate([anchor[None], jnp.ones((k, DIMENSION), jnp.float32)])
            law = {"log_q": log_q[places]} if corrected else {}
            found = losses.in_batch_info_nce(x, pool.candidates[places], temperature=TAU, ids=places, **law)
            return found[0]

        expected = jax.vmap(jax.grad(loss), (None, 0))(slab.anchors[pair], jnp.asarray(ids, jnp.int32))
        np.testing.assert_allclose(taken[pair], expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", ["power:0.75", "in-batch"])
def test_gradients_by_the_oracle(name):
    k = 2
    problem = small(counts=COUNTS)
    slab, pool, found, draws, ids = enumerated(problem, name, k)
    candidates = np.float64(pool.candidates)
    q = np.exp(
        np.float64(statistics.log_law(found, named_proposal(name, problem).at(found.scores, 0), name == "in-batch"))
    )
    for loss, corrected in itertools.product(("info_nce", "sgns"), (False, True)):
        taken = statistics.sampled_gradients(found, slab, draws, loss, corrected) / TAU
        for pair, (anchor, positive, place, negative) in zip(range(3), pairs_of(problem), strict=False):
            for outcome, row in enumerate(ids):
                if not np.all(q[pair][row] > 0):
                    continue
                if loss == "info_nce":
                    wanted = oracle.sampled_gradient(
                        anchor, positive, candidates, q[pair], row, TAU, corrected, hit=place
                    )
                else:
                    wanted = oracle.sgns_gradient(anchor, positive, candidates, q[pair], row, TAU, corrected, negative)
                np.testing.assert_allclose(taken[pair, outcome], wanted, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("loss", ["info_nce", "sgns"])
def test_full_gradient_by_the_oracle(loss):
    problem = small()
    slab, pool, found, _, _ = enumerated(problem, "uniform", 1)
    taken = statistics.full_gradient(found, slab, pool, loss, 5).vector / TAU
    candidates = np.float64(problem.candidates)
    for pair, (anchor, positive, _, negative) in zip(range(3), pairs_of(problem), strict=False):
        if loss == "info_nce":
            wanted = oracle.full_gradient(anchor, positive, candidates, negative, TAU)
        else:
            wanted = oracle.full_sgns_gradient(anchor, positive, candidates, negative, 5, TAU)
        np.testing.assert_allclose(taken[pair], wanted, rtol=1e-5, atol=1e-6)


def several_positives(rng):
    """Three anchors with four positives each, and the mean over them of every possible draw's gap."""
    positives = 4
    candidates = rng.normal(size=(CANDIDATES, DIMENSION))
    ids = np.concatenate([rng.permutation(CANDIDATES)[:positives] for _ in range(3)])
    anchors = np.repeat(rng.normal(size=(3, DIMENSION)), positives, axis=0)
    return from_embeddings(anchors, candidates[ids], candidates, positive_ids=ids, counts=COUNTS)


def test_drift_is_the_bias_over_the_positives_of_an_anchor(key):
    rng = np.random.default_rng(1)
    problem = several_positives(rng)
    expected = {}
    for corrected in (False, True):
        gaps, whole = [], 0.0
        candidates = np.float64(problem.candidates)
        for anchor, positive, _, negative in pairs_of(problem):
            full = oracle.full_gradient(anchor, positive, candidates, negative, TAU)
            q = oracle.law(np.log(COUNTS), negative)
            draws = oracle.sampled_gradients(anchor, positive, candidates, q, 2, TAU, corrected)
            gaps.append(sum(weight * gradient for weight, gradient in draws) - full)
            whole += full @ full / len(problem.anchors)
        gaps = np.reshape(gaps, (3, 4, DIMENSION))
        pairs = [g[i] @ g[j] for g in gaps for i in range(4) for j in range(4) if i != j]
        expected[corrected] = math.sqrt(np.mean(pairs) / whole)
    order = rng.permutation(len(problem.anchors))  # anchors that are the same are found wherever they stand
    problem = problem._replace(
        anchors=problem.anchors[order],
        positives=problem.positives[order],
        positive_ids=problem.positive_ids[order],
    )
    report = audit(key, problem, [named_proposal("power:1", problem)], temperature=TAU, k=(2,), replicates=4096)
    assert report.criterion == "drift"
    assert (report.num_pairs, report.num_anchors) == (12, 3)
    row = report.proposals[0]
    for corrected, value in expected.items():
        found = side_of(row, corrected)
        assert abs(found.drift[0].value - value) < 0.02 * value + 0.003
        assert found.drift[0].value < found.bias[0].value
    difference = expected[False] ** 2 - expected[True] ** 2
    assert abs(row.log_q.difference.value - difference) < 0.04 * abs(difference) + 0.003


def test_drift_needs_anchors_with_several_positives(key):
    problem = small()
    report = audit(key, problem, [named_proposal("uniform", problem)], temperature=TAU, k=(2,), replicates=8)
    assert report.proposals[0].plain.drift is None
    assert report.proposals[0].corrected.drift is None
    assert report.criterion == "bias"


@pytest.mark.parametrize("name", ["power:2", "in-batch"])
def test_masses_are_sums_over_candidates(key, name):
    labels = np.array([0, 0, 1, 1, 2, 2])
    problem = small(counts=COUNTS, anchor_labels=labels[np.arange(ANCHORS) % 6], candidate_labels=labels)
    proposal = named_proposal(name, problem)
    row = row_of(key, problem, proposal, k=(3,), hard_share=0.3)
    entropies, false, hard = [], [], []
    for anchor, _, place, negative in pairs_of(problem):
        exponent = 1 if proposal.shared else 2
        q = oracle.law(exponent * np.log(COUNTS), np.full(6, True) if proposal.shared else negative)
        entropies.append(-np.sum(q[q > 0] * np.log(q[q > 0])))
        same = (labels == labels[place]) & negative
        false.append(3 * q[same].sum())
        true = np.flatnonzero(negative & ~same)
        best = true[np.argsort(np.float64(problem.candidates)[true] @ anchor)[-math.ceil(0.3 * len(true)) :]]
        hard.append(1 - (1 - q[best].sum()) ** 3)
    np.testing.assert_allclose(row.entropy.value, np.mean(entropies), rtol=1e-5)
    np.testing.assert_allclose(row.effective_negatives.value, np.exp(np.mean(entropies)), rtol=1e-5)
    np.testing.assert_allclose(row.false_negatives.value, np.mean(false), rtol=1e-5)
    np.testing.assert_allclose(row.hard_probability.value, np.mean(hard), rtol=1e-5)
    assert row.entropy.standard_error is None
    assert row.entropy.text().endswith("exact")


def test_the_softmax_itself_corrected_is_unbiased_at_every_k(key):
    problem = small()
    row = row_of(key, problem, named_proposal(f"scores:{TAU}", problem), k=(1, 8), replicates=256)
    for measured in row.corrected.bias:
        assert measured.value < 4 * measured.standard_error + 1e-3
    assert row.plain.bias[0].value > 2 * row.plain.bias[0].standard_error
    assert row.log_q.difference.value > 0


def test_sgns_with_uniform_draws_is_its_own_reference(key):
    problem = small(counts=COUNTS)
    names = ["uniform", "power:1", "in-batch"]
    proposals = [named_proposal(name, problem) for name in names]
    report = audit(key, problem, proposals, temperature=TAU, k=(2,), loss="sgns", replicates=256)
    uniform, power, shared = report.proposals
    assert uniform.plain.bias[0].value < 4 * uniform.plain.bias[0].standard_error
    for row in (power, shared):
        assert row.plain.bias[0].value > 5 * row.plain.bias[0].standard_error
        assert row.corrected.bias[0].value < 4 * row.corrected.bias[0].standard_error


def test_slabs_do_not_matter(key, monkeypatch):
    problem = small()
    # log-weights of each pair, so that a slab that took another's would show
    own = Proposal("own", np.random.default_rng(0).normal(size=(ANCHORS, CANDIDATES)))
    whole = row_of(key, problem, own)
    monkeypatch.setattr("nsx.audit._slabs._ENTRIES", 5 * CANDIDATES)  # slabs of five pairs, the last one padded
    parts = row_of(key, problem, own)
    np.testing.assert_allclose(parts.entropy.value, whole.entropy.value, rtol=1e-6)
    np.testing.assert_allclose(parts.hard_probability.value, whole.hard_probability.value, rtol=1e-5)
    assert abs(parts.plain.bias[0].value - whole.plain.bias[0].value) < 6 * whole.plain.bias[0].standard_error


def test_scores_are_embeddings_of_their_own(key):
    problem = small()
    scored = from_scores(problem.anchors @ problem.candidates.T, problem.positive_ids)
    rows = [row_of(key, given, named_proposal("gibbs:2", given)) for given in (problem, scored)]
    np.testing.assert_allclose(rows[0].entropy.value, rows[1].entropy.value, rtol=1e-5)
    np.testing.assert_allclose(rows[0].hard_probability.value, rows[1].hard_probability.value, rtol=1e-5)


@pytest.mark.parametrize("factor", [1e-25, 1e20, 1e25])
def test_the_size_of_vectors_does_not_matter(key, factor):
    """Very long candidates with very short anchors have the scores of usual ones, and the same relative numbers."""
    problem = small()
    stretched = from_embeddings(
        np.float64(problem.anchors) / factor,
        np.float64(problem.positives) * factor,
        np.float64(problem.candidates) * factor,
        positive_ids=problem.positive_ids,
    )
    rows = [row_of(key, given, named_proposal("uniform", given)) for given in (problem, stretched)]
    for name in ("bias", "signal_to_noise", "error"):
        values = [getattr(row.plain, name)[0].value for row in rows]
        np.testing.assert_allclose(values[1], values[0], rtol=1e-3)


def test_scores_beyond_float32_are_refused(key):
    vectors = np.eye(3) * 1e19
    problem = from_embeddings(vectors, vectors)
    with pytest.raises(ValueError, match="scores reach 1e\\+38 at temperature 1"):
        row_of(key, problem, named_proposal("uniform", problem), temperature=1.0)
    cosines = from_embeddings(vectors, vectors, cosine=True)
    np.testing.assert_array_equal(cosines.anchors, np.eye(3))


@pytest.mark.parametrize("loss", ["info_nce", "sgns"])
def test_strict_promotion_and_nans(key, loss):
    problem = small(counts=COUNTS, anchor_labels=np.arange(ANCHORS) % 3, candidate_labels=np.arange(CANDIDATES) % 3)
    proposals = [named_proposal(name, problem, k=2) for name in ("uniform", "in-batch", "scores:0.5", "ann:0.9")]
    options = {"temperature": TAU, "k": (1, 2), "replicates": 4, "loss": loss, "target_entropy": 1.0}
    expected = audit(key, problem, proposals, **options)
    with jax.numpy_dtype_promotion("strict"), jax.debug_nans(True):
        found = audit(key, problem, proposals, **options)
    assert found.proposals[1].verdict == expected.proposals[1].verdict
    assert found.temperature_for_entropy == pytest.approx(expected.temperature_for_entropy, rel=1e-5)


def test_a_million_candidates_fit_in_four_gigabytes():
    # the program of one slab, compiled but not run
    rows, n, d = 16, 10**6, 128
    shape = jax.ShapeDtypeStruct
    vectors = shape((rows, d), jnp.float32)
    slab = statistics.Slab(vectors, vectors, shape((rows,), jnp.int32), None)
    pool = statistics.Pool(shape((n, d), jnp.float32), None)
    options = statistics.Options("info_nce", (1, 4, 16, 64), 32, 0.01)
    key = jax.eval_shape(lambda: jax.random.key(0))
    law = shape((rows, n), jnp.float32)
    temperature = shape((), jnp.float32)
    program = statistics.slab_statistics.lower(key, slab, pool, law, temperature, options, False)
    memory = program.compile().memory_analysis()
    assert memory.temp_size_in_bytes + memory.argument_size_in_bytes < 3 * 2**30


def test_bad_options(key):
    problem = small()
    uniform = named_proposal("uniform", problem)
    for options, message in (
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"temperature": 1e-37}, "scores reach"),
        ({"k": (4, 1)}, "that ascend"),
        ({"k": ()}, "that ascend"),
        ({"k": (0,)}, "at least 1"),
        ({"replicates": 1}, "at least 2"),
        ({"max_pairs": 0}, "at least 1"),
        ({"batch_size": -5}, "batch_size must be at least 1"),
        ({"hard_share": 0.0}, "hard_share"),
        ({"hard_share": math.nan}, "hard_share"),
        ({"loss": "triplet"}, "loss must be"),
        ({"target_entropy": 2.0}, "between 0 and 1.609 nats"),
        ({"target_entropy": math.nan}, "between 0 and"),
    ):
        with pytest.raises(ValueError, match=message):
            row_of(key, problem, uniform, **options)
    with pytest.raises(TypeError, match="k sets a shape"):
        row_of(key, problem, uniform, k=(1.5,))
    with pytest.raises(ValueError, match="name at least one"):
        audit(key, problem, [], temperature=1.0)
    with pytest.raises(ValueError, match="two proposals have the name 'uniform'"):
        audit(key, problem, [uniform, uniform], temperature=1.0)


def test_a_law_that_leaves_nobody_is_named_by_its_pair(key):
    problem = small()
    weights = np.zeros((ANCHORS, CANDIDATES))
    weights[7] = -np.inf
    weights[7, problem.positive_ids[7]] = 0.0  # only the positive, which is never drawn
    with pytest.raises(ValueError, match="lonely: for pair 7"):
        row_of(key, problem, Proposal("lonely", weights))
    row_of(key, problem, Proposal("lonely", weights, shared=True))  # where hits are masked, it is a law
    for bad in (math.nan, math.inf):
        weights[7, 0] = bad
        with pytest.raises(ValueError, match="for pair 7 its log-weights hold NaN"):
            row_of(key, problem, Proposal("spoiled", weights, shared=True))
    with pytest.raises(ValueError, match="wide: log-weights must have shape"):
        row_of(key, problem, Proposal("wide", lambda scores: jnp.zeros(CANDIDATES + 1)))


def test_errors_are_those_of_anchors_and_not_of_pairs(key):
    """A pair said four times over tells little more than once: the error of its bias is not halved."""
    problem = small()
    again = np.repeat(np.arange(ANCHORS), 4)
    repeated = from_embeddings(
        problem.anchors[again], problem.positives[again], problem.candidates, positive_ids=problem.positive_ids[again]
    )
    errors = []
    for given in (problem, repeated):
        row = row_of(key, given, named_proposal("uniform", given), replicates=512)
        errors.append([side.bias[0].standard_error for side in (row.plain, row.corrected)])
    ratios = np.divide(*errors)
    assert np.all((ratios > 0.75) & (ratios < 1.35)), ratios
