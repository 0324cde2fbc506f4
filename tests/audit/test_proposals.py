"""Named proposals are the samplers' laws, and the table of them can grow."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsx.audit import PROPOSALS, Proposal, from_embeddings, named_proposal, register_proposal
from tests.audit.shared import TAU, row_of, small

COUNTS = np.arange(1.0, 7.0)


def laws(problem, name, **options):
    """Probabilities of every pair's candidates."""
    proposal = named_proposal(name, problem, **({"k": 3, "temperature": TAU} | options))
    scores = jnp.asarray(problem.anchors @ problem.candidates.T)
    return np.asarray(jax.nn.softmax(proposal.at(scores, np.arange(len(problem.anchors)))), np.float64)


def test_proposals_are_the_samplers_laws():
    problem = small(counts=COUNTS)
    scores = np.float64(problem.anchors) @ problem.candidates.T
    size = len(COUNTS)

    def softmax(x):
        weights = np.exp(x - x.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)

    by_count = COUNTS**0.75 / np.sum(COUNTS**0.75)
    np.testing.assert_allclose(laws(problem, "uniform"), np.full(scores.shape, 1 / size), rtol=1e-6)
    np.testing.assert_allclose(laws(problem, "power:0.75"), np.broadcast_to(by_count, scores.shape), rtol=1e-5)
    np.testing.assert_allclose(laws(problem, "in-batch")[0], COUNTS / COUNTS.sum(), rtol=1e-5)
    np.testing.assert_allclose(laws(problem, "gibbs:2"), softmax(2 * scores), rtol=1e-5)
    np.testing.assert_allclose(laws(problem, "scores:0.5"), softmax(scores / 0.5), rtol=1e-5)
    # an index with recall 0.8 at k = 3 of 6, where chance alone recalls half: misses (1 - 0.8) / (1 - 0.5)
    mixed = 0.6 * softmax(scores / TAU) + 0.4 / size
    np.testing.assert_allclose(laws(problem, "ann:0.8"), mixed, rtol=1e-5)
    np.testing.assert_allclose(laws(problem, "ann:1", k=6), softmax(scores / TAU), rtol=1e-5)


def test_log_weights_of_ones_own():
    problem = small()
    shared = np.log(COUNTS)
    np.testing.assert_allclose(laws(problem, "weights:mine", weights={"mine": shared})[3], COUNTS / 21, rtol=1e-6)
    rows = np.random.default_rng(0).normal(size=(12, 6))
    found = laws(problem, "weights:mine", weights={"mine": rows})
    np.testing.assert_allclose(found, np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True), rtol=1e-5)


def test_in_batch_says_what_it_takes_for_granted():
    with_counts = named_proposal("in-batch", small(counts=COUNTS))
    without = named_proposal("in-batch", small())
    assert with_counts.shared
    assert without.shared
    assert with_counts.assumes == ""
    assert "equally frequent" in without.assumes


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("powr:1", "unknown proposal 'powr:1'; there are uniform, power:ALPHA"),
        ("power:1", "needs counts"),
        ("gibbs", "must be a number, as in"),
        ("gibbs:inf", "must be finite"),
        ("gibbs:-1", "must be finite and in"),
        ("scores:0", "must be finite and in"),
        ("scores:nan", "must be finite and in"),
        ("ann:1.5", "must be finite and in"),
        ("ann:0.5", "must be finite and in \\[1, 1\\]"),  # 64 of 4 candidates are all of them
        ("uniform:3", "takes no parameter"),
        ("weights:mine", "no log-weights under 'mine'; there are other"),
        ("weights:other", "must have shape \\(4,\\) or \\(3, 4\\), got \\(2,\\)"),
    ],
)
def test_bad_proposals_are_named(name, message):
    problem = from_embeddings(np.eye(3), np.eye(3), np.ones((4, 3)))
    with pytest.raises(ValueError, match=message):
        named_proposal(name, problem, weights={"other": np.zeros(2)})


def test_bad_log_weights_are_named():
    problem = small()
    rows = np.zeros((12, 6))
    rows[4] = -np.inf
    for weights, message in (
        (rows, "row 4 holds NaN, \\+inf or no mass"),
        (np.full(6, np.nan), "they hold NaN"),
        (np.full(6, np.inf), "they hold NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            named_proposal("weights:mine", problem, weights={"mine": weights})
    with pytest.raises(TypeError, match="weights:mine must be real"):
        named_proposal("weights:mine", problem, weights={"mine": np.zeros(6) * 1j})
    with pytest.raises(ValueError, match="k must be at least 1"):
        named_proposal("uniform", problem, k=0)
    with pytest.raises(ValueError, match="temperature must be positive"):
        named_proposal("uniform", problem, temperature=-1.0)


def nearest(request):
    """The COUNT best by score, each equally likely."""
    most = int(request.number(1, math.inf))

    def log_weights(scores):
        return jnp.where(scores >= jnp.sort(scores)[:, -most, None], 0.0, -jnp.inf)

    return Proposal(request.name, log_weights)


@pytest.mark.slow
def test_the_table_can_grow(key, monkeypatch):
    monkeypatch.setattr("nsx.audit._proposals.PROPOSALS", dict(PROPOSALS))
    register_proposal("nearest:COUNT", nearest)
    problem = small()
    row = row_of(key, problem, named_proposal("nearest:3", problem), k=(4,))
    assert row.name == "nearest:3"
    assert 2 <= row.effective_negatives.value <= 3.01  # the positive may be among the three
    assert "candidates" in row.verdict
    with pytest.raises(ValueError, match=r"there are uniform.*nearest:COUNT"):
        named_proposal("farthest", problem)
    with pytest.raises(ValueError, match="'nearest:COUNT' already"):
        register_proposal("nearest", nearest)
    with pytest.raises(ValueError, match="needs a name"):
        register_proposal(":COUNT", nearest)
    assert "nearest" not in PROPOSALS
