"""nsx.hypergraphs against sets and loops, SciPy's minimiser, and problems that have no solution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsx import bias, hypergraphs, samplers
from tests.helpers import FLOAT, PRECISION, SEED
from tests.oracles import hypergraphs as oracle

RNG = np.random.default_rng(SEED)
MET = 1e-11 if PRECISION == 64 else 3e-5  # of moments, in the features' range
INCIDENCE = RNG.random((40, 9)) < 0.35
INCIDENCE[3] = False  # an empty hyperedge
ANCHOR = RNG.random(9) < 0.5
ANCHOR[:2] = True
INCIDENCE[[7, 11]] = ANCHOR  # the anchor itself, twice


def test_overlap_and_features_equal_the_sets(tolerance):
    exact = oracle.overlap(INCIDENCE, ANCHOR)
    np.testing.assert_allclose(hypergraphs.overlap(INCIDENCE, ANCHOR), exact, rtol=tolerance)
    found = hypergraphs.features(INCIDENCE, ANCHOR)
    empty_or_anchor = [not e or o == 1 for e, o in zip(oracle.sets(INCIDENCE), exact, strict=True)]
    assert np.flatnonzero(empty_or_anchor).tolist() == np.flatnonzero(~np.asarray(found.where)).tolist()
    assert {3, 7, 11} <= set(np.flatnonzero(empty_or_anchor).tolist())
    kept = np.asarray(found.where)
    sizes = np.array([len(e) for e in oracle.sets(INCIDENCE)])[kept]
    np.testing.assert_allclose(np.exp(found.values[kept, 0]), sizes, rtol=10 * tolerance)
    np.testing.assert_allclose(np.exp(found.values[kept, 1]), 1 - np.array(exact)[kept], rtol=10 * tolerance)
    assert np.all(np.asarray(found.values)[~kept] == 0)
    nothing = np.zeros(9, bool)
    assert float(hypergraphs.overlap(INCIDENCE, nothing)[3]) == 1, "two empty sets"


@pytest.mark.parametrize(("alpha", "beta"), [(1.5, 2.0), (0.0, 0.0), (-1.0, -3.0), (0.7, 0.0)])
def test_power_law_leaves_the_anchor_out_whatever_the_exponents(alpha, beta, tolerance):
    law = lambda i, a: hypergraphs.power_law(i, a, size_exponent=alpha, overlap_exponent=beta)
    weights = law(INCIDENCE, ANCHOR)
    exact = oracle.power_law(INCIDENCE, ANCHOR, alpha, beta)
    np.testing.assert_allclose(samplers.probabilities(weights), exact, rtol=100 * tolerance)
    assert np.all(weights[np.array([3, 7, 11])] == -np.inf)
    np.testing.assert_allclose(weights, jax.jit(law)(INCIDENCE, ANCHOR), rtol=100 * tolerance)
    many = jax.vmap(lambda a: law(INCIDENCE, a))(np.stack([ANCHOR, ~ANCHOR]))
    np.testing.assert_allclose(many[0], weights, rtol=100 * tolerance)
    slope = jax.jacobian(lambda b: hypergraphs.power_law(INCIDENCE, ANCHOR, size_exponent=1.0, overlap_exponent=b))(
        beta
    )
    assert np.all(np.isfinite(slope))


def draw_problems(count=40, n=25, m=3):
    """Features of very different units, masks, and the moments of laws with multipliers of size up to 3 a unit."""
    units = 10 ** RNG.uniform(-2, 2, (count, 1, m))
    raw = RNG.normal(size=(count, n, m))
    where = RNG.random((count, n)) < 0.8
    logits = np.where(where, np.einsum("cnm,cm->cn", raw, RNG.normal(size=(count, m)) * 1.5), -np.inf)
    law = np.exp(logits - logits.max(1, keepdims=True))
    law /= law.sum(1, keepdims=True)
    features = (raw * units).astype(FLOAT)
    moments = np.einsum("cn,cnm->cm", law, features.astype(float)).astype(FLOAT)
    features[~where] = np.nan
    return features, moments, where, units[:, 0]


FEATURES, MOMENTS, WHERE, UNITS = draw_problems()
SOLVED = jax.device_get(
    jax.jit(jax.vmap(lambda f, mu, w: hypergraphs.solve_multipliers(f, mu, where=w)))(FEATURES, MOMENTS, WHERE)
)


def test_moments_are_met():
    assert np.all(np.isfinite(SOLVED))
    for f, mu, w, unit, x in zip(FEATURES, MOMENTS, WHERE, UNITS, SOLVED, strict=True):
        value = oracle.moments(f[w].astype(float), x.astype(float))
        np.testing.assert_allclose((value - mu) / (8 * unit), 0, atol=MET)


def test_multipliers_equal_a_general_minimiser_and_the_eager_call():
    for i in (0, 1, 2):
        f, mu, w = FEATURES[i], MOMENTS[i], WHERE[i]
        exact = oracle.solve(f[w] / UNITS[i], mu / UNITS[i]) / UNITS[i]
        np.testing.assert_allclose(SOLVED[i] * UNITS[i], exact * UNITS[i], atol=1e-5 if PRECISION == 64 else 1e-3)
        eager = hypergraphs.solve_multipliers(f, mu, where=w)
        np.testing.assert_allclose(eager * UNITS[i], SOLVED[i] * UNITS[i], atol=1e-9 if PRECISION == 64 else 1e-3)


def test_recovers_the_exponents_of_the_power_law():
    found = hypergraphs.features(INCIDENCE, ANCHOR)
    law = hypergraphs.power_law(INCIDENCE, ANCHOR, size_exponent=1.3, overlap_exponent=-0.4)
    moments = bias.expected_gradient(found.values, law)
    exponents = hypergraphs.solve_multipliers(found.values, moments, where=found.where)
    np.testing.assert_allclose(exponents, [1.3, -0.4], atol=1e-9 if PRECISION == 64 else 1e-3)


def test_an_undamped_step_would_overshoot():
    """One candidate in a thousand must get half the mass: Newton's full step from 0 is 500, the answer log 999."""
    f = np.zeros((1000, 1), FLOAT)
    f[0] = 1
    value = hypergraphs.solve_multipliers(f, np.array([0.5], FLOAT))
    np.testing.assert_allclose(value, [np.log(999)], rtol=1e-10 if PRECISION == 64 else 1e-4)


@pytest.mark.skipif(PRECISION == 32, reason="finite differences")
def test_derivatives_equal_differences_and_the_inverse_covariance():
    f, mu, w = jnp.asarray(np.nan_to_num(FEATURES[0] / UNITS[0])), jnp.asarray(MOMENTS[0] / UNITS[0]), WHERE[0]
    solve = lambda f, mu: hypergraphs.solve_multipliers(f, mu, where=w)
    by_features, by_moments = jax.jacobian(solve, (0, 1))(f, mu)
    law = samplers.probabilities(samplers.exclude(samplers.maxent(f, solve(f, mu)), ~w))
    covariance = jnp.cov(f.T, aweights=law, ddof=0)
    np.testing.assert_allclose(by_moments, jnp.linalg.inv(covariance), rtol=1e-8)
    forward = jax.jvp(solve, (f, mu), (jnp.ones_like(f), jnp.ones_like(mu)))[1]
    np.testing.assert_allclose(forward, 0, atol=1e-8)  # a shift of both changes nothing
    for i, a in ((0, 1), (4, 0), (int(np.flatnonzero(~w)[0]), 2)):
        numeric = (solve(f.at[i, a].add(1e-6), mu) - solve(f.at[i, a].add(-1e-6), mu)) / 2e-6
        np.testing.assert_allclose(by_features[:, i, a], numeric, atol=1e-7)
    second = jax.hessian(lambda x: solve(f, mu.at[0].add(x))[1])(0.0)
    slope = jax.grad(lambda x: solve(f, mu.at[0].add(x))[1])
    np.testing.assert_allclose(second, (slope(1e-5) - slope(-1e-5)) / 2e-5, rtol=1e-4)


traced_solution = jax.jit(jax.value_and_grad(lambda f, mu: hypergraphs.solve_multipliers(f, mu)[0], 1))
DIE = np.arange(1.0, 7.0, dtype=FLOAT)[:, None]
SIZES = np.array([[1.0, 2.0], [1.0, 5.0], [1.0, 3.0]], FLOAT)  # equal sizes: alpha cannot be told
TWINS = np.array([[0.0, 1.0], [1.0, 3.0], [2.0, 5.0], [4.0, 9.0]], FLOAT)
PLANE = (np.random.default_rng(4).normal(size=(9, 2)) @ [[1.0, 0.0, 0.3], [0.0, 1.0, 0.7]]).astype(FLOAT)


@pytest.mark.parametrize(
    ("features", "moments", "message"),
    [
        (SIZES, [1.0, 3.0], r"affinely dependent: \[1.0, 0.0\] . f|affinely dependent: \[-1.0, -?0.0\] . f"),
        (TWINS, [1.5, 4.0], "affinely dependent"),
        (TWINS, [1.5, 5.0], "affinely dependent"),
        (PLANE, PLANE.mean(0), "affinely dependent"),
        (DIE[:1], [1.0], "affinely dependent"),
        (DIE, [6.5], r"\[6.5\] lies outside the convex hull"),
        (DIE, [6.0], r"\[6.0\] lies on the boundary"),
        (DIE, [1.0], r"\[1.0\] lies on the boundary"),
    ],
)
def test_problems_without_a_solution(features, moments, message):
    moments = np.array(moments, FLOAT)
    with pytest.raises(ValueError, match=message):
        hypergraphs.solve_multipliers(features, moments)
    traced, slope = traced_solution(features, moments)
    assert np.isnan(traced)
    assert np.all(slope == 0)


def test_feasibility_proves_both_answers():
    inside = outside = 0
    for f, w, mu in zip(FEATURES, WHERE, MOMENTS, strict=True):
        spread = f[w].astype(float)
        for target in (mu, mu + 0.9 * (spread.max(0) - spread.min(0))):
            found = hypergraphs.feasibility(f, target, where=w)
            if found.slack > 0:
                inside += 1
                assert found.law[w].min() >= found.slack * (1 - 1e-6)
                assert np.all(found.law[~w] == 0)
                np.testing.assert_allclose(found.law.sum(), 1, rtol=1e-9)
                np.testing.assert_allclose((found.law[w] @ spread - target) / np.ptp(spread, axis=0), 0, atol=1e-9)
                assert np.all(found.direction == 0)
            else:
                outside += 1
                gaps = (spread - target) @ found.direction
                assert gaps.min() > 0
                assert np.all(found.law == 0)
    assert inside >= 40
    assert outside >= 5
    off = hypergraphs.feasibility(TWINS, np.array([1.0, 2.0]))
    assert off.slack == -np.inf
    np.testing.assert_allclose((TWINS - [1.0, 2.0]) @ off.direction, 1)
    edge = hypergraphs.feasibility(DIE, np.array([6.0]))
    assert edge.slack == 0
    gaps = (DIE - 6.0) @ edge.direction
    assert gaps.min() == 0
    assert gaps.max() > 0


def test_exponents_are_two_finite_numbers():
    law = lambda alpha, beta: hypergraphs.power_law(INCIDENCE, ANCHOR, size_exponent=alpha, overlap_exponent=beta)
    allowed = np.asarray(hypergraphs.features(INCIDENCE, ANCHOR).where)
    for wrong in (np.nan, np.inf):
        for name, pair in (("size_exponent", (wrong, 1.0)), ("overlap_exponent", (1.0, wrong))):
            with pytest.raises(ValueError, match=f"{name} must be finite"):
                law(*pair)
            found = np.asarray(jax.jit(law)(*map(FLOAT, pair)))
            assert np.isnan(found).tolist() == allowed.tolist()
            assert np.all(found[~allowed] == -np.inf)
    with pytest.raises(ValueError, match="size_exponent must be a scalar"):
        law(np.ones(2), 1.0)


def test_features_and_moments_of_two_types_and_nan():
    die = DIE.astype(np.float32)
    exact = hypergraphs.solve_multipliers(die, np.array([4.5], np.float32))
    for moments in (np.array([4.5]), jnp.array([4.5], jnp.bfloat16), [4.5]):
        found = hypergraphs.solve_multipliers(die, moments)
        np.testing.assert_allclose(found, exact, rtol=1e-4)
    traced = jax.jit(hypergraphs.solve_multipliers)(DIE, np.array([np.nan], FLOAT))
    assert np.all(np.isnan(traced))
    spoilt = np.where(np.arange(6)[:, None] == 2, np.nan, DIE)
    assert np.all(np.isnan(jax.jit(hypergraphs.solve_multipliers)(spoilt, np.array([4.5], FLOAT))))
    with jax.debug_nans(True):
        hypergraphs.solve_multipliers(DIE, np.array([4.5], FLOAT))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: hypergraphs.overlap(INCIDENCE.astype(int), ANCHOR), TypeError, "must be boolean"),
        (lambda: hypergraphs.features(INCIDENCE, ANCHOR[:3]), ValueError, r"anchor \(n,\)"),
        (lambda: hypergraphs.features(INCIDENCE[:0], ANCHOR), ValueError, "e, n >= 1"),
        (
            lambda: hypergraphs.power_law(ANCHOR[None], ANCHOR, size_exponent=1.0, overlap_exponent=1.0),
            ValueError,
            "all -inf",
        ),
        (
            lambda: hypergraphs.power_law(INCIDENCE, ANCHOR, size_exponent=np.nan, overlap_exponent=1.0),
            ValueError,
            "size_exponent must be finite",
        ),
        (lambda: hypergraphs.solve_multipliers(DIE, np.zeros(2)), ValueError, r"moments \(m,\)"),
        (lambda: hypergraphs.solve_multipliers(DIE, np.array([np.inf])), ValueError, "moments must be finite"),
        (
            lambda: hypergraphs.solve_multipliers(DIE * np.nan, np.array([1.0])),
            ValueError,
            "features must be finite",
        ),
        (lambda: hypergraphs.solve_multipliers(DIE, np.ones(1), where=np.zeros(6, bool)), ValueError, "no candidate"),
        (lambda: hypergraphs.solve_multipliers(DIE, np.ones(1), where=np.ones(6)), TypeError, "where must be boolean"),
        (lambda: jax.jit(hypergraphs.feasibility)(DIE, np.ones(1)), TypeError, "outside jit"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
