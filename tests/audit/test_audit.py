"""The audit: exact parts by loops, sampled parts against enumeration of every draw, input refused by row and key."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsx.__main__ import main
from nsx._command._show import short
from nsx.audit import Measured, Proposal, audit, problem, problem_from_scores, proposal
from nsx.audit._statistics import Options, Pool, Slab, slab_statistics
from nsx.audit._summary import jackknife, negatives_needed, root, verdict
from tests.oracles import audit as oracle

pytestmark = pytest.mark.slow  # an audit computes in float32 whatever the precision of the run
ANCHORS, CANDIDATES, DIMENSION, TAU = 12, 6, 3, 0.7


def small(**options):
    rng = np.random.default_rng(0)
    candidates = rng.normal(size=(CANDIDATES, DIMENSION))
    ids = np.arange(ANCHORS) % CANDIDATES
    anchors = candidates[ids] + 0.5 * rng.normal(size=(ANCHORS, DIMENSION))
    return problem(anchors, candidates[ids], candidates, positive_ids=ids, **options)


def pooled(p, log_weights, k, corrected):
    """The audit's four pooled numbers, exactly."""
    bias, length, along, variance, whole = np.zeros(5)
    for a, positive, i in zip(p.anchors, p.positives, p.positive_ids, strict=True):
        a, positive, c = (np.float64(x) for x in (a, positive, p.candidates))
        allowed = np.arange(len(c)) != i
        target = oracle.full_gradient(a, positive, c, allowed, TAU)
        parts = oracle.moments(a, positive, c, oracle.law(log_weights, allowed), k, TAU, corrected, target)
        bias, length, along, variance = np.add((bias, length, along, variance), parts)
        whole += target @ target
    return {
        "bias": math.sqrt(bias / whole),
        "cosine": along / math.sqrt(length * whole),
        "signal_to_noise": math.sqrt(length / variance),
        "error": math.sqrt((bias + variance) / whole),
    }


@pytest.mark.parametrize("corrected", [False, True], ids=["drawn", "log q"])
def test_moments_are_those_of_every_possible_draw(key, corrected):
    # 5 standard errors over 4096 replicates an anchor, whose own error the replicates' standard error does not hold
    p, ks = small(counts=np.arange(1.0, 7.0)), (1, 2)
    found = audit(key, p, [proposal("power:1", p)], temperature=TAU, num_negatives=ks, replicates=4096)
    row = found.proposals[0]
    for j, k in enumerate(ks):
        expected = pooled(p, np.log(p.counts), k, corrected)
        for name, value in expected.items():
            measured = getattr(row, f"corrected_{name}" if corrected else name)[j]
            assert abs(measured.value - value) < 0.02 * value + 0.003, (name, k)


@pytest.mark.parametrize("corrected", [False, True], ids=["drawn", "log q"])
def test_drift_is_the_bias_over_the_positives_of_an_anchor(key, corrected):
    rng, positives = np.random.default_rng(1), 4
    candidates, anchors = rng.normal(size=(CANDIDATES, DIMENSION)), rng.normal(size=(3, DIMENSION))
    ids = np.concatenate([rng.permutation(CANDIDATES)[:positives] for _ in anchors])
    anchors = np.repeat(anchors, positives, axis=0)
    p = problem(anchors, candidates[ids], candidates, positive_ids=ids, counts=np.arange(1.0, 7.0))
    gaps, whole = [], 0.0
    for a, positive, i in zip(p.anchors, p.positives, p.positive_ids, strict=True):
        a, positive, c = (np.float64(x) for x in (a, positive, p.candidates))
        allowed = np.arange(CANDIDATES) != i
        full = oracle.full_gradient(a, positive, c, allowed, TAU)
        q = oracle.law(np.log(p.counts), allowed)
        gaps.append(sum(w * g for w, g in oracle.sampled_gradients(a, positive, c, q, 2, TAU, corrected)) - full)
        whole += full @ full / len(p.anchors)
    gaps = np.reshape(gaps, (3, positives, DIMENSION))
    pairs = [g[i] @ g[j] for g in gaps for i in range(positives) for j in range(positives) if i != j]
    order = rng.permutation(len(ids))  # anchors that are the same are found wherever they stand
    p = p._replace(anchors=p.anchors[order], positives=p.positives[order], positive_ids=p.positive_ids[order])
    row = audit(key, p, [proposal("power:1", p)], temperature=TAU, num_negatives=(2,), replicates=4096).proposals[0]
    found = (row.corrected_drift if corrected else row.drift)[0]
    expected = math.sqrt(np.mean(pairs) / whole)
    assert abs(found.value - expected) < 0.02 * expected + 0.003
    assert found.value < (row.corrected_bias if corrected else row.bias)[0].value


def test_drift_needs_anchors_with_several_positives(key):
    p = small()
    row = audit(key, p, [proposal("uniform", p)], temperature=TAU, num_negatives=(2,), replicates=8).proposals[0]
    assert row.drift is None
    assert row.corrected_drift is None


def test_masses_are_sums_over_candidates(key):
    labels = np.array([0, 0, 1, 1, 2, 2])
    p = small(counts=np.arange(1.0, 7.0), anchor_labels=labels[np.arange(ANCHORS) % 6], candidate_labels=labels)
    row = audit(key, p, [proposal("power:2", p)], temperature=TAU, num_negatives=(3,), hard_share=0.3).proposals[0]
    entropies, false, hard = [], [], []
    for a, i in zip(p.anchors, p.positive_ids, strict=True):
        q = oracle.law(2 * np.log(p.counts), np.arange(6) != i)
        entropies.append(-np.sum(q[q > 0] * np.log(q[q > 0])))
        same = (labels == labels[i]) & (np.arange(6) != i)
        false.append(3 * q[same].sum())
        true = np.flatnonzero((np.arange(6) != i) & ~same)
        best = true[np.argsort(p.candidates[true] @ a)[-math.ceil(0.3 * len(true)) :]]
        hard.append(1 - (1 - q[best].sum()) ** 3)
    np.testing.assert_allclose(row.entropy.value, np.mean(entropies), rtol=1e-5)
    np.testing.assert_allclose(row.false_negatives.value, np.mean(false), rtol=1e-5)
    np.testing.assert_allclose(row.hard_probability.value, np.mean(hard), rtol=1e-5)
    assert row.entropy.standard_error is None
    assert row.entropy.text().endswith("exact")


def test_the_softmax_itself_corrected_is_unbiased_at_every_k(key):
    p = small()
    law, options = [proposal(f"scores:{TAU}", p)], {"temperature": TAU, "num_negatives": (1, 8), "replicates": 256}
    row = audit(key, p, law, **options).proposals[0]
    for measured in row.corrected_bias:
        assert measured.value < 4 * measured.standard_error + 1e-3
    assert row.bias[0].value > 2 * row.bias[0].standard_error


def test_sgns_with_uniform_draws_is_its_own_reference(key):
    p = small(counts=np.arange(1.0, 7.0))
    both = [proposal("uniform", p), proposal("power:1", p)]
    options = {"temperature": TAU, "num_negatives": (2,), "loss": "sgns", "replicates": 256}
    uniform, power = audit(key, p, both, **options).proposals
    assert uniform.bias[0].value < 4 * uniform.bias[0].standard_error
    assert power.bias[0].value > 5 * power.bias[0].standard_error
    assert power.corrected_bias[0].value < 4 * power.corrected_bias[0].standard_error


def test_slabs_do_not_matter(key, monkeypatch):
    p = small()
    run = lambda: audit(key, p, [proposal("uniform", p)], temperature=TAU, num_negatives=(2,), replicates=8)
    whole = run().proposals[0]
    monkeypatch.setattr("nsx.audit._audit._ENTRIES", 5 * CANDIDATES)  # slabs of five anchors, the last one padded
    parts = run().proposals[0]
    np.testing.assert_allclose(parts.entropy.value, whole.entropy.value, rtol=1e-6)
    assert abs(parts.bias[0].value - whole.bias[0].value) < 6 * whole.bias[0].standard_error


def test_scores_are_embeddings_of_their_own(key):
    p = small()
    scores = problem_from_scores(p.anchors @ p.candidates.T, p.positive_ids)
    rows = [
        audit(key, x, [proposal("gibbs:2", x)], temperature=TAU, num_negatives=(2,)).proposals[0] for x in (p, scores)
    ]
    np.testing.assert_allclose(rows[0].entropy.value, rows[1].entropy.value, rtol=1e-5)
    np.testing.assert_allclose(rows[0].hard_probability.value, rows[1].hard_probability.value, rtol=1e-5)


def test_proposals_are_the_samplers_laws():
    p = small(counts=np.arange(1.0, 7.0))
    scores = jnp.asarray(p.anchors @ p.candidates.T)
    weights = {"mine": np.log(np.arange(1.0, 7.0))}
    law = lambda name: jax.nn.softmax(
        jnp.broadcast_to(
            proposal(name, p, num_negatives=3, temperature=TAU, weights=weights).log_weights(scores), scores.shape
        )
    )
    np.testing.assert_allclose(law("power:0"), law("uniform"), rtol=1e-6)
    np.testing.assert_allclose(law("in-batch"), law("weights:mine"), rtol=1e-5)
    np.testing.assert_allclose(law("gibbs:2"), law("scores:0.5"), rtol=1e-5)
    np.testing.assert_allclose(law("ann:1"), law(f"scores:{TAU}"), rtol=1e-5)
    np.testing.assert_allclose(law("ann:0.5"), law("uniform"), rtol=1e-5)  # k of n by chance alone
    assert proposal("in-batch", p).shared


def test_summary_statistics():
    x = np.random.default_rng(0).normal(size=400)
    of_mean = jackknife(lambda m: m, x)  # the jackknife of a mean is its standard error
    np.testing.assert_allclose(of_mean.standard_error, x.std(ddof=1) / 20, rtol=1e-6)
    below = root(lambda m: m, -np.abs(x))  # an unbiased square below 0
    assert below.value == 0.0
    assert below.standard_error > 0
    for rho in (0.3, 0.01, 1e-6):
        expected = math.ceil(math.log(0.05) / math.log1p(-rho))
        assert abs(negatives_needed(np.full(3, rho)) - expected) <= 1
    assert negatives_needed(np.array([0.0, 0.5])) == math.inf


def test_a_million_candidates_fit_in_four_gigabytes():
    # the program of one slab, compiled but not run
    rows, n, d = 16, 10**6, 128
    shape = jax.ShapeDtypeStruct
    slab = Slab(shape((rows, d), jnp.float32), shape((rows, d), jnp.float32), shape((rows,), jnp.int32), None)
    pool = Pool(shape((n, d), jnp.float32), None)
    options = Options("info_nce", (1, 4, 16, 64), 32, 0.01)
    key = jax.eval_shape(lambda: jax.random.key(0))
    program = slab_statistics.lower(key, slab, pool, shape((n,), jnp.float32), shape((), jnp.float32), options)
    memory = program.compile().memory_analysis()
    assert memory.temp_size_in_bytes + memory.argument_size_in_bytes < 3 * 2**30


GOOD = {"anchors": np.eye(3), "positives": np.eye(3), "candidates": np.ones((4, 3))}
BAD = [
    ({"anchors": np.diag([1.0, np.nan, 1.0])}, "anchors\\[1\\] holds NaN or infinity"),
    ({"positives": np.eye(2)}, "positives must have the shape of anchors"),
    ({"candidates": np.ones((4, 2))}, "candidates must have shape"),
    ({"candidates": np.array([[1.0, 1, 1], [0, 0, 0]]), "cosine": True}, "candidates\\[1\\] is a zero vector"),
    ({"positive_ids": np.array([0, 1, 4])}, "positive_ids\\[2\\] = 4 is no candidate"),
    ({"positive_ids": np.array([0, 1])}, "positive_ids must have shape"),
    ({"anchor_labels": np.arange(3)}, "candidate_labels is missing"),
    ({"anchor_labels": np.arange(2), "candidate_labels": np.arange(4)}, "anchor_labels must have shape"),
    ({"counts": np.array([1, 2, -3, 4])}, "counts\\[2\\] = -3.0 is no count"),
    ({"counts": np.ones(3)}, "counts must have shape"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=lambda x: x[:25] if isinstance(x, str) else "")
def test_bad_embeddings_are_named_by_row(change, message):
    with pytest.raises(ValueError, match=message):
        problem(**(GOOD | change))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("powr:1", "unknown proposal 'powr:1'"),
        ("power:1", "needs counts"),
        ("gibbs", "must be a number"),
        ("scores:0", "must be in"),
        ("ann:1.5", "must be in"),
        ("uniform:3", "takes no parameter"),
        ("weights:mine", "no log-weights under 'mine'"),
    ],
)
def test_bad_proposals_are_named(name, message):
    with pytest.raises(ValueError, match=message):
        proposal(name, problem(**GOOD))


def test_bad_options(key):
    p = small()
    run = lambda **o: audit(key, p, [proposal("uniform", p)], **({"temperature": 1.0} | o))
    for options, message in (
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"num_negatives": (4, 1)}, "must ascend"),
        ({"num_negatives": (0,)}, "at least 1"),
        ({"replicates": 1}, "at least 2"),
        ({"hard_share": 0.0}, "hard_share"),
        ({"loss": "triplet"}, "loss must be"),
    ):
        with pytest.raises(ValueError, match=message):
            run(**options)
    with pytest.raises(ValueError, match="name at least one"):
        audit(key, p, [], temperature=1.0)


def test_a_law_of_ones_own(key):
    p = small()
    nearest = Proposal("nearest", lambda scores: jnp.where(scores >= jnp.sort(scores)[:, -3:-2], 0.0, -jnp.inf))
    row = audit(key, p, [nearest], temperature=TAU, num_negatives=(4,)).proposals[0]
    assert row.effective_negatives.value <= 3.01
    assert "candidates" in row.verdict


# --- the command


@pytest.fixture
def file(tmp_path):
    p = small()
    path = tmp_path / "pairs.npz"
    np.savez(path, anchors=p.anchors, positives=p.positives, candidates=p.candidates, positive_ids=p.positive_ids)
    return path


def test_command_writes_table_json_and_figure(file, capsys):
    arguments = ["audit", str(file), "-p", "uniform", "-p", "scores:0.5", "-k", "1", "4", "--entropy", "1"]
    assert main([*arguments, "--out", str(file.parent)]) == 0
    out = capsys.readouterr().out
    assert "uniform" in out
    assert "best" in out
    found = json.loads((file.parent / "audit.json").read_text())
    assert [p["name"] for p in found["proposals"]] == ["uniform", "scores:0.5"]
    assert found["proposals"][0]["entropy"] == {"value": pytest.approx(math.log(5), rel=1e-5), "standard_error": None}
    assert found["temperature_for_entropy"] > 0
    assert (file.parent / "audit.png").stat().st_size > 20_000


def test_numbers_are_short():
    shown = [
        (0.0213, 0.0005),
        (4.03, 0.07),
        (0.99981, 0.00002),
        (0.001, 0.003),
        (3543.7, None),
        (1234.0, 12.0),
        (2.0, 0.0),
    ]
    assert [short(Measured(*pair)) for pair in shown] == [
        *("0.0213(5)", "4.03(7)", "0.9998", "< 0.003", "3,544", "1,234(12)", "2"),
    ]


def test_verdicts_go_by_drift_where_it_is_known(key):
    rng = np.random.default_rng(0)
    vectors, ids = rng.normal(size=(40, 4)), rng.integers(0, 40, 64)
    p = problem(np.repeat(vectors[:8], 8, axis=0), vectors[ids], vectors, positive_ids=ids)
    row = audit(key, p, [proposal("scores:0.7", p)], temperature=0.7, num_negatives=(8,)).proposals[0]
    known = row._replace(drift=(Measured(0.04, 0.01),), corrected_drift=(Measured(0.2, 0.01),))
    assert "leave log q out: drift 0.04 would rise to 0.2" in verdict(known, 0.01)
    known = row._replace(drift=(Measured(0.4, 0.01),), corrected_drift=(Measured(0.001, 0.01),))
    assert "correct by log q: drift 0.4 falls below 0.01" in verdict(known, 0.01)
    pairs = row._replace(bias=(Measured(0.4, 0.01),), corrected_bias=(Measured(0.1, 0.01),), drift=None)
    assert "correct by log q: bias 0.4 falls to 0.1" in verdict(pairs, 0.01)


def test_command_reads_other_files(tmp_path, capsys):
    pairs = np.random.default_rng(0).normal(size=(2, 8, 3)).astype(np.float32)
    np.save(tmp_path / "pairs.npy", pairs)
    np.save(tmp_path / "scores.npy", pairs[0] @ pairs[1].T)
    for name in ("pairs.npy", "scores.npy"):
        assert main(["audit", str(tmp_path / name), "-k", "4", "-p", "in-batch", "--out", str(tmp_path)]) == 0
    capsys.readouterr()


def test_command_says_what_is_wrong(file, tmp_path, capsys):
    broken = tmp_path / "broken.npz"
    for change, message in (
        ({"anchors": np.full((2, 3), np.nan), "positives": np.eye(2, 3)}, "anchors[0] holds NaN"),
        ({"anchors": np.eye(3)}, "the key 'positives' is missing"),
        ({"anchors": np.eye(3), "positive": np.eye(3)}, "unknown key 'positive'"),
        ({"anchors": np.eye(3), "positives": np.eye(3), "labels": np.arange(2)}, "labels must have shape"),
    ):
        np.savez(broken, **change)
        assert main(["audit", str(broken)]) == 2
        assert message in capsys.readouterr().err
    assert main(["audit", str(tmp_path / "none.npz")]) == 2
    assert main(["audit", str(file), "-p", "magic"]) == 2
    assert "unknown proposal 'magic'; there are uniform" in capsys.readouterr().err
