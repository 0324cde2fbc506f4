"""nsx.quadrature: normal mixtures against the trapezoid rule, moments, gradients, and the rest of nsx."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsx import bias
from nsx.quadrature import mixture_expectation, mixture_points
from tests.helpers import EPS, FLOAT, PRECISION, SEED
from tests.oracles import quadrature as oracle

RNG = np.random.default_rng(SEED)
LOG_WEIGHTS = RNG.normal(size=(6, 3)).astype(FLOAT)
MEANS = RNG.uniform(-3, 3, (6, 3)).astype(FLOAT)
DEVIATIONS = RNG.uniform(0, 2, (6, 3)).astype(FLOAT)
CASES = (LOG_WEIGHTS, MEANS, DEVIATIONS)


@pytest.mark.parametrize(
    ("f", "truth"),
    [(jax.nn.sigmoid, oracle.sigmoid), (jax.nn.softplus, lambda x: np.logaddexp(0, x)), (jnp.cos, np.cos)],
)
def test_expectations_match_the_trapezoid_rule(f, truth):
    got = jax.jit(lambda *c: mixture_expectation(f, *c))(*CASES)
    expected = [oracle.mixture_expectation(truth, np.exp(w), m, s) for w, m, s in zip(*CASES, strict=True)]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9 if PRECISION == 64 else 4e-6)


def test_gap_of_the_probit_approximation():
    """At mean 1, deviation 2, sigma(m / sqrt(1 + pi s^2 / 8)) is off by .0033."""
    exact = float(mixture_expectation(jax.nn.sigmoid, np.zeros(1), np.ones(1), 2 * np.ones(1)))
    assert 1 / (1 + np.exp(-1 / np.sqrt(1 + np.pi / 2))) - exact == pytest.approx(0.00333, abs=5e-6)


def test_exact_for_polynomials_up_to_the_stated_degree():
    law = (np.zeros(1), np.zeros(1), np.ones(1))
    for order in (1, 2, 3, 5):
        powers = [float(mixture_expectation(lambda x, p=p: x**p, *law, order=order)) for p in range(2 * order)]
        moments = [0.0 if p % 2 else float(np.prod(np.arange(p - 1, 0, -2))) for p in range(2 * order)]
        np.testing.assert_allclose(powers, moments, rtol=64 * EPS, atol=256 * EPS)
        beyond = float(mixture_expectation(lambda x, p=2 * order: x**p, *law, order=order))
        assert abs(beyond - np.prod(np.arange(2 * order - 1, 0, -2.0))) > 0.5


def test_points_are_a_law_with_the_moments_of_the_mixture():
    points, log_w = mixture_points(*CASES, order=20)
    assert points.shape == log_w.shape == (6, 60)
    w, pi = np.exp(log_w), np.exp(LOG_WEIGHTS) / np.exp(LOG_WEIGHTS).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(w.sum(axis=1), 1, rtol=64 * EPS)
    np.testing.assert_allclose((w * points).sum(axis=1), (pi * MEANS).sum(axis=1), atol=256 * EPS)
    second = (pi * (MEANS**2 + DEVIATIONS**2)).sum(axis=1)
    np.testing.assert_allclose((w * points**2).sum(axis=1), second, rtol=256 * EPS)


def test_the_points_serve_expectations_over_two_draws():
    """E max(x, y) of two normal draws of variance 1 is 1 / sqrt(pi); the kink costs accuracy."""
    law = mixture_points(np.zeros(1), np.zeros(1), np.ones(1), order=40)
    square = lambda ids: (law.points[ids[0]] - law.points[ids[1]]) ** 4
    assert float(bias.expectation_over_samples(square, law.log_weights, k=2)) == pytest.approx(12, rel=1e-4)
    largest = lambda ids: jnp.max(law.points[ids])
    got = float(bias.expectation_over_samples(largest, law.log_weights, k=2))
    assert got == pytest.approx(1 / np.sqrt(np.pi), abs=0.02)


def test_deviation_zero_and_weight_zero():
    weights = np.array([0.0, -np.inf], FLOAT)
    got = mixture_expectation(lambda x: 1 / x, weights, np.array([2.0, 0.0], FLOAT), np.zeros(2, FLOAT))
    assert float(got) == pytest.approx(0.5, rel=64 * EPS)
    slope = jax.grad(lambda s: mixture_expectation(jax.nn.sigmoid, weights, np.ones(2, FLOAT), s))(np.zeros(2, FLOAT))
    np.testing.assert_allclose(slope, 0, atol=16 * EPS)  # E f(m + s z) is even in s


@pytest.mark.skipif(PRECISION == 32, reason="finite differences need float64")
@pytest.mark.parametrize("argument", [0, 1, 2])
def test_gradients(argument):
    f = jax.jit(lambda *c: jnp.sum(mixture_expectation(jax.nn.sigmoid, *c)))
    gradient, direction = jax.grad(f, argnums=argument)(*CASES), RNG.normal(size=(6, 3))
    moved = lambda t: f(*(c + t * direction if i == argument else c for i, c in enumerate(CASES)))
    slope = (moved(1e-5) - moved(-1e-5)) / 2e-5
    assert float(jnp.sum(gradient * direction)) == pytest.approx(float(slope), rel=1e-6)


def test_derivatives_in_closed_form():
    """Stein: d/dmu E f = E f', and d/dsigma E f = sigma E f''."""
    slope = jax.vmap(jax.vmap(jax.grad(jax.nn.sigmoid)))
    means, deviations = MEANS[:, :1], DEVIATIONS[:, :1]
    zero = np.zeros((6, 1), FLOAT)
    value = lambda m, s: jnp.sum(mixture_expectation(jnp.sin, zero, m, s))
    by_mean, by_deviation = jax.grad(value, argnums=(0, 1))(means, deviations)
    damp = np.exp(-(deviations**2) / 2)
    np.testing.assert_allclose(by_mean, np.cos(means) * damp, atol=64 * EPS)
    np.testing.assert_allclose(by_deviation, -deviations * np.sin(means) * damp, atol=256 * EPS)
    assert slope(jnp.asarray(means)).shape == means.shape


def test_one_row_is_a_row_of_many():
    many = jax.vmap(lambda *c: mixture_expectation(jax.nn.sigmoid, *c))(*CASES)
    np.testing.assert_allclose(many, mixture_expectation(jax.nn.sigmoid, *CASES), rtol=16 * EPS)
    shared = mixture_expectation(jax.nn.sigmoid, LOG_WEIGHTS, MEANS[:1], DEVIATIONS[:1])
    each = [mixture_expectation(jax.nn.sigmoid, w, MEANS[0], DEVIATIONS[0]) for w in LOG_WEIGHTS]
    np.testing.assert_allclose(shared, each, rtol=16 * EPS)


def test_half_precision_is_promoted():
    assert mixture_points(*(np.ones(2, np.float16),) * 3).points.dtype == jnp.float32


def test_bad_input():
    one = np.ones(2, FLOAT)
    with pytest.raises(ValueError, match="all -inf"):
        mixture_points(np.full(2, -np.inf), one, one)
    with pytest.raises(ValueError, match=r"means of shape \(3,\) does not broadcast"):
        mixture_points(one, np.ones(3), one)
    with pytest.raises(ValueError, match="deviations must be in"):
        mixture_points(one, one, -one)
    with pytest.raises(ValueError, match="means must be finite"):
        mixture_points(one, one * np.nan, one)
    with pytest.raises(ValueError, match="order must be at most 100"):
        mixture_points(one, one, one, order=101)
    with pytest.raises(TypeError, match="order sets a shape"):
        mixture_points(one, one, one, order=8.0)
    with pytest.raises(ValueError, match="f must keep the shape"):
        mixture_expectation(jnp.sum, one, one, one)


def test_no_rows_are_no_points():
    law = mixture_points(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3)), order=3)
    assert law.points.shape == law.log_weights.shape == (0, 9)
    assert mixture_expectation(jnp.cos, np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3))).shape == (0,)


def test_traced_deviations_outside_give_nan():
    one = jnp.ones(2, FLOAT)
    points = jax.jit(lambda s: mixture_points(one, one, s, order=2).points)(jnp.asarray([-1.0, 1.0], FLOAT))
    np.testing.assert_array_equal(np.isnan(points), [True, True, False, False])
