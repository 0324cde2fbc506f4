"""nsx.bias against sums over candidates and over samples, one at a time in float64."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from nsx import bias, samplers
from tests.helpers import EPS, FLOAT, SEED
from tests.oracles import bias as oracle


def draw_case(n=6, p=3, seed=0, spread=1.0):
    rng = np.random.default_rng(seed)
    gradients, log_q, log_u = rng.normal(size=(n, p)), rng.normal(size=n) * spread, rng.normal(size=n)
    return gradients.astype(FLOAT), log_q.astype(FLOAT), log_u.astype(FLOAT)


G, LOG_Q, LOG_U = draw_case()
TREE = {"a": jnp.asarray(G), "b": (jnp.asarray(G[:, 0]), jnp.asarray(G.reshape(6, 3, 1)) * 2)}

LINEAR = {
    "expected_gradient": (lambda g, q, u: bias.expected_gradient(g, q), lambda g, q, u: oracle.mean(g, q)),
    "gradient_bias": (bias.gradient_bias, oracle.bias),
    "gradient_variance": (lambda g, q, u: bias.gradient_variance(g, q), lambda g, q, u: oracle.variance(g, q)),
    "bias_bound": (
        bias.bias_bound,
        lambda g, q, u: np.sqrt(oracle.chi_square(q, u) * oracle.variance(g, u)),
    ),
    "self_normalised_bias": (
        lambda g, q, u: bias.self_normalised_bias(g, q, u, k=7),
        lambda g, q, u: oracle.self_normalised_bias(g, q, u, 7),
    ),
    "importance_weighted": (
        lambda g, q, u: bias.importance_weighted(g, q),
        lambda g, q, u: oracle.importance_weighted(g, q),
    ),
    "self_normalised": (lambda g, q, u: bias.self_normalised(g, q), lambda g, q, u: oracle.mean(g, q)),
}
SCALARS = {
    "signal_to_noise": (
        lambda g, q, u: bias.signal_to_noise(g, q, k=5),
        lambda g, q, u: oracle.signal_to_noise(g, q, 5),
    ),
    "chi_square": (lambda g, q, u: bias.chi_square(q, u), lambda g, q, u: oracle.chi_square(q, u)),
    "cosine": (lambda g, q, u: bias.cosine(g[:, 0], g[:, 1]), lambda g, q, u: oracle.cosine(g[:, 0], g[:, 1])),
}
EVERY = pytest.mark.parametrize(("f", "exact"), (LINEAR | SCALARS).values(), ids=LINEAR | SCALARS)


@EVERY
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_sum_over_candidates(f, exact, seed):
    case = draw_case(seed=seed, spread=1 + seed)
    case64 = [x.astype(np.float64) for x in case]
    np.testing.assert_allclose(f(*case), exact(*case64), rtol=100 * EPS, atol=20 * EPS)


@pytest.mark.parametrize("name", LINEAR)
def test_pytrees_leaf_by_leaf(name):
    f = LINEAR[name][0]
    result = f(TREE, LOG_Q, LOG_U)
    assert jax.tree.structure(result) == jax.tree.structure(TREE)
    for leaf, whole in zip(jax.tree.leaves(result), jax.tree.leaves(TREE), strict=True):
        assert leaf.shape == whole.shape[1:]
        np.testing.assert_allclose(leaf, f(whole, LOG_Q, LOG_U), rtol=10 * EPS)


@EVERY
def test_jit_equals_eager_and_vmap_equals_a_loop(f, exact):
    cases = [jnp.stack(x) for x in zip(*(draw_case(seed=s) for s in range(4)), strict=True)]
    loop = jnp.stack([f(*(x[i] for x in cases)) for i in range(4)])
    np.testing.assert_allclose(jax.jit(jax.vmap(f))(*cases), loop, rtol=1e3 * EPS, atol=20 * EPS)
    assert loop.dtype == FLOAT


@EVERY
def test_derivatives_equal_finite_differences(f, exact):
    """In gradients, proposal and target; differences of the oracle in float64."""
    direction = [np.random.default_rng(9).normal(size=x.shape) for x in (G, LOG_Q, LOG_U)]
    case = [x.astype(np.float64) for x in (G, LOG_Q, LOG_U)]
    weights = np.random.default_rng(8).normal(size=np.shape(exact(*case)))
    total = lambda *a: jnp.sum(f(*a) * jnp.asarray(weights, FLOAT))
    by_input = jax.jit(jax.grad(total, (0, 1, 2)))(G, LOG_Q, LOG_U)
    analytic = sum(np.sum(np.asarray(b, np.float64) * d) for b, d in zip(by_input, direction, strict=True))
    move = lambda h: np.sum(exact(*(x + h * d for x, d in zip(case, direction, strict=True))) * weights)
    numeric = (move(1e-5) - move(-1e-5)) / 2e-5
    assert analytic == pytest.approx(numeric, rel=1e-7 + 1e3 * EPS)


@pytest.mark.parametrize("name", [n for n in LINEAR if n not in ("importance_weighted", "self_normalised")])
def test_excluded_candidates_may_hold_anything(name):
    """-inf is probability 0: NaN gradients there reach neither the value nor the derivatives."""
    f = LINEAR[name][0]
    g = jnp.concatenate([G, jnp.full((2, 3), jnp.nan, FLOAT)])
    log_q, log_u = (jnp.concatenate([x, jnp.full(2, -jnp.inf, FLOAT)]) for x in (LOG_Q, LOG_U))
    np.testing.assert_allclose(f(g, log_q, log_u), f(G, LOG_Q, LOG_U), rtol=10 * EPS)
    gradient = jax.jit(jax.grad(lambda *a: jnp.sum(f(*a)), (0, 1, 2)))
    by_g, by_q, by_u = gradient(g, log_q, log_u)
    base = gradient(G, LOG_Q, LOG_U)
    for gradient, kept in zip((by_g, by_q, by_u), base, strict=True):
        np.testing.assert_allclose(gradient[:6], kept, rtol=100 * EPS, atol=20 * EPS)
        np.testing.assert_array_equal(gradient[6:], 0)


def test_laws_of_different_support():
    """Mass that only one of the two laws has."""
    log_q, log_u = LOG_Q.copy(), LOG_U.copy()
    log_q[0] = log_u[1] = -np.inf
    value = bias.gradient_bias(G, log_q, log_u)
    np.testing.assert_allclose(value, oracle.bias(G.astype(np.float64), log_q, log_u), rtol=100 * EPS, atol=10 * EPS)
    gradient = jax.grad(lambda *a: jnp.sum(bias.gradient_bias(*a)), (0, 1, 2))(G, log_q, log_u)
    assert all(np.all(np.isfinite(g)) for g in gradient)
    assert bias.chi_square(log_q, log_u) == jnp.inf
    log_u[1] = 0.0
    np.testing.assert_allclose(bias.chi_square(log_q, log_u), oracle.chi_square(log_q, log_u), rtol=100 * EPS)
    assert all(np.all(np.isfinite(g)) for g in jax.grad(bias.chi_square, (0, 1))(log_q, log_u))


def test_bias_is_a_covariance_and_within_its_bound():
    rng = np.random.default_rng(1)
    g, log_q, log_u = (jnp.asarray(rng.normal(size=(1000, 9)).astype(FLOAT)) for _ in range(3))
    value = jax.vmap(bias.gradient_bias)(g, log_q, log_u)
    u, ratio = jax.nn.softmax(log_u), jnp.exp(jax.nn.log_softmax(log_q) - jax.nn.log_softmax(log_u))
    mean = lambda x: jnp.sum(u * x, axis=1)
    np.testing.assert_allclose(value, mean(ratio * g) - mean(ratio) * mean(g), atol=100 * EPS)
    bound = jax.vmap(bias.bias_bound)(g, log_q, log_u)
    assert np.all(np.abs(value) <= bound * (1 + 10 * EPS))
    linear = jax.vmap(bias.gradient_bias)(2 * ratio + 1, log_q, log_u)
    np.testing.assert_allclose(linear, jax.vmap(bias.bias_bound)(2 * ratio + 1, log_q, log_u), rtol=1e4 * EPS)
    np.testing.assert_allclose(linear, 2 * jax.vmap(bias.chi_square)(log_q, log_u), rtol=1e4 * EPS)


def test_bias_of_a_mixture_is_linear_in_its_rate_down_to_rounding():
    """p_eps = (1 - eps) p + eps u: bias = eps (E_u g - E_p g), at rates where the laws agree in float32."""
    target = jnp.asarray(LOG_Q)
    slope = oracle.bias(G.astype(np.float64), np.zeros(6), LOG_Q)
    for rate in (0.3, 1e-2, 1e-4):
        mixed = samplers.mix_uniform(target, rate=rate)
        np.testing.assert_allclose(
            bias.gradient_bias(G, mixed, target), rate * slope, rtol=20 * EPS / rate, atol=10 * EPS
        )
    assert np.max(np.abs(bias.gradient_bias(G + 1e3, target, target))) == 0
    derivative = jax.jacfwd(lambda r: bias.gradient_bias(G, target + r * jnp.asarray(LOG_U), target))(0.0)
    p, shift = jax.nn.softmax(LOG_Q.astype(np.float64)), LOG_U.astype(np.float64)
    exact = (p * shift) @ G - (p @ shift) * (p @ G)
    np.testing.assert_allclose(derivative, exact, rtol=1e3 * EPS)


def test_small_differences_keep_relative_precision():
    """The laws differ by 1e-5: differences of float32 probabilities would be wrong by a percent."""
    tilt = FLOAT(2.0**-17) * jnp.arange(6, dtype=FLOAT)
    value = bias.gradient_bias(G + 100, jnp.zeros(6, FLOAT) + tilt, jnp.zeros(6))
    exact = oracle.bias(G.astype(np.float64), np.asarray(tilt, np.float64), np.zeros(6))
    np.testing.assert_allclose(value, exact, rtol=2e-4)
    chi = oracle.chi_square(np.asarray(tilt, np.float64), np.zeros(6))
    np.testing.assert_allclose(bias.chi_square(tilt, jnp.zeros(6)), chi, rtol=2e-3)


def test_weights_that_span_600_nats():
    log_q = jnp.asarray([0.0, -300.0, -600.0, 2.0], FLOAT)
    g = jnp.asarray([1.0, 5.0, 7.0, 3.0], FLOAT)
    np.testing.assert_allclose(bias.expected_gradient(g, log_q), oracle.mean(g, log_q.tolist()), rtol=10 * EPS)
    assert bias.chi_square(jnp.array([0.0, -400.0]), jnp.array([-70.0, 0.0])) == pytest.approx(math.exp(70), rel=1e-4)
    assert bias.chi_square(jnp.array([-400.0, 0.0]), jnp.array([0.0, -70.0])) == pytest.approx(math.exp(70), rel=1e-4)


def test_signal_to_noise_and_cosine_at_their_edges():
    assert bias.signal_to_noise(jnp.ones(4), jnp.zeros(4)) == jnp.inf
    assert bias.signal_to_noise(jnp.zeros(4), jnp.zeros(4)) == 0
    once, many = (bias.signal_to_noise(TREE, LOG_Q, k=k) for k in (1, 9))
    np.testing.assert_allclose(many, 3 * once, rtol=10 * EPS)
    a = jax.tree.map(lambda x: x[0], TREE)
    np.testing.assert_allclose(bias.cosine(a, jax.tree.map(lambda x: -3 * x, a)), -1, rtol=10 * EPS)
    huge = jnp.array([1e30, 0.0], FLOAT)
    np.testing.assert_allclose(bias.cosine(huge, jnp.array([1e-30, 1e-30], FLOAT)), math.sqrt(0.5), rtol=1e-5)
    zero = jnp.zeros(2)
    assert bias.cosine(zero, huge) == 0
    np.testing.assert_array_equal(jax.grad(bias.cosine)(zero, jnp.ones(2)), 0)


def test_integer_and_half_gradients_are_promoted():
    value = bias.expected_gradient(jnp.arange(3, dtype=jnp.bfloat16), jnp.zeros(3, jnp.bfloat16))
    assert value.dtype == jnp.float32
    assert bias.expected_gradient(jnp.arange(3), jnp.zeros(3)) == 1


# chunks


@pytest.mark.parametrize("size", [1, 2, 5, 6, 100])
@pytest.mark.parametrize("streamed", [False, True])
def test_chunks_give_the_sum_over_candidates(size, streamed):
    f = lambda x: {"g": jnp.sin(x), "outer": x[:, None] * x[None, :]}
    for span in (1, 40):  # of 2 nats: all count; of 90: the maximum rises from chunk to chunk
        table = jnp.asarray(np.stack([G[:, 0], G[:, 1], LOG_Q * span], axis=1))
        log_weights = (lambda x: x[2]) if streamed else table[:, 2]
        value = bias.expected_gradient_of(f, table, log_weights, chunk_size=size)
        exact = bias.expected_gradient(jax.vmap(f)(table), table[:, 2])
        for key in exact:
            np.testing.assert_allclose(value[key], exact[key], rtol=1e3 * EPS, atol=100 * EPS)


@pytest.mark.parametrize("size", [2, 4])
def test_chunks_that_hold_only_excluded_candidates(size):
    log_weights = jnp.asarray([-np.inf, -np.inf, -np.inf, -np.inf, 0.0, 1.0, -np.inf, -np.inf, -np.inf], FLOAT)
    f = lambda i: jnp.where(i < 4, jnp.nan, i.astype(FLOAT))
    value = bias.expected_gradient_of(f, jnp.arange(9), log_weights, chunk_size=size)
    np.testing.assert_allclose(value, 4 + 1 / (1 + math.exp(-1)), rtol=10 * EPS)


def test_chunked_derivatives():
    """In what both functions close over: a parameter of the gradient and the sharpness of the proposal."""
    x = jnp.asarray(np.sort(G[:, 0]))

    def chunked(a, sharpness, size):
        return bias.expected_gradient_of(lambda v: jnp.sin(a * v), x, lambda v: sharpness * v, chunk_size=size)

    whole = lambda a, sharpness: bias.expected_gradient(jnp.sin(a * x), sharpness * x)
    exact = jax.grad(whole, (0, 1))(0.7, 2.0)
    for size in (2, 4, 6):
        np.testing.assert_allclose(jax.grad(chunked, (0, 1))(0.7, 2.0, size), exact, rtol=1e3 * EPS)


def test_a_million_candidates_fit():
    """The values would take 256 MB in float32; one chunk takes 1."""
    table = jnp.asarray(np.random.default_rng(0).normal(size=(1_000_000, 8)).astype(np.float32))
    f = lambda x: jnp.tile(x, 8) ** 2
    run = lambda t: bias.expected_gradient_of(f, t, lambda x: 0.5 * x[0], chunk_size=4096)
    compiled = jax.jit(run).lower(table).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 16e6
    weights = np.exp(0.5 * np.asarray(table[:, 0], np.float64))
    exact = weights @ np.asarray(table, np.float64) ** 2 / weights.sum()
    np.testing.assert_allclose(compiled(table), np.tile(exact, 8), rtol=2e-5)


def test_chunked_traced_weights_without_mass_give_nan():
    f = jax.jit(lambda w: bias.expected_gradient_of(lambda i: i * 1.0, jnp.arange(5), w, chunk_size=2))
    assert jnp.isnan(f(jnp.full(5, -jnp.inf)))
    assert jnp.isnan(f(jnp.array([0.0, 1.0, 2.0, jnp.nan, 0.0])))
    assert f(jnp.zeros(5)) == 2


# all samples


def test_expectation_over_all_samples():
    f = lambda ids: jnp.asarray(G)[ids[0], 0] * jnp.exp(jnp.asarray(G)[ids[1], 1]) + ids[2]  # the order counts
    exact = oracle.over_samples(lambda ids: float(G[ids[0], 0] * np.exp(G[ids[1], 1]) + ids[2]), LOG_Q, 3)
    for size in (7, 4096):
        np.testing.assert_allclose(bias.expectation_over_samples(f, LOG_Q, k=3, chunk_size=size), exact, rtol=1e3 * EPS)
    np.testing.assert_allclose(
        jax.jit(lambda w: bias.expectation_over_samples(f, w, k=3))(LOG_Q), exact, rtol=1e3 * EPS
    )
    mean = bias.expectation_over_samples(lambda ids: jnp.asarray(G)[ids].mean(axis=0), LOG_Q, k=4)
    np.testing.assert_allclose(mean, bias.expected_gradient(G, LOG_Q), rtol=1e3 * EPS, atol=20 * EPS)


def test_excluded_candidates_do_not_use_up_samples():
    log_weights = np.full(200, -np.inf, FLOAT)
    log_weights[[3, 150]] = 0.0, math.log(3)
    share = lambda ids: jnp.all(ids == 150) * 1.0
    np.testing.assert_allclose(bias.expectation_over_samples(share, log_weights, k=10), 0.75**10, rtol=1e3 * EPS)
    poison = lambda ids: jnp.where(jnp.any(ids == 2), jnp.nan, 1.0)
    weights = jnp.array([0.0, 1.0, -jnp.inf])
    value = jax.jit(lambda w: bias.expectation_over_samples(poison, w, k=3))(weights)
    np.testing.assert_allclose(value, 1, rtol=20 * EPS)


def test_too_many_samples():
    with pytest.raises(ValueError, match=r"10\^7 samples exceed max_terms = 1000000; k <= 6 fits"):
        bias.expectation_over_samples(lambda ids: 1.0, jnp.zeros(10), k=7)
    with pytest.raises(ValueError, match="max_terms = 2147483647"):
        bias.expectation_over_samples(lambda ids: 1.0, jnp.zeros(2), k=31, max_terms=2**40)


# estimates


def test_monte_carlo_is_the_mean_of_its_draws(key):
    estimate = bias.monte_carlo(key, TREE, LOG_Q, k=500)
    ids = np.asarray(samplers.draw_inverse(jax.random.key(SEED), LOG_Q, 500))  # the key again, on purpose
    draws = G.astype(np.float64)[ids]
    np.testing.assert_allclose(estimate.mean["a"], draws.mean(axis=0), rtol=100 * EPS, atol=10 * EPS)
    error = draws.std(axis=0, ddof=1) / math.sqrt(500)
    np.testing.assert_allclose(estimate.standard_error["a"], error, rtol=100 * EPS)
    np.testing.assert_allclose(estimate.standard_error["b"][1][:, 0], 2 * error, rtol=100 * EPS)


def test_monte_carlo_covers_the_exact_mean(key):
    """Of 2,000 intervals of two standard errors 95.4 % cover, within 5.0 binomial standard errors."""
    keys = jax.random.split(key, 2000)
    estimate = jax.jit(jax.vmap(lambda k: bias.monte_carlo(k, G, LOG_Q, k=400)))(keys)
    exact = oracle.mean(G.astype(np.float64), LOG_Q)
    covered = np.mean(np.abs(np.asarray(estimate.mean) - exact) < 2 * np.asarray(estimate.standard_error), axis=0)
    share = 1 - 2 * stats.t.sf(2, 399)
    # half a percent is the normal approximation's own error at 400 draws of a bounded law
    assert np.all(np.abs(covered - share) < 5.0 * math.sqrt(share * (1 - share) / 2000) + 0.005)


def test_monte_carlo_ignores_what_it_cannot_draw(key):
    g = jnp.array([1.0, jnp.nan, 3.0])
    estimate = bias.monte_carlo(key, g, jnp.array([0.0, -jnp.inf, 0.0]), k=100)
    assert jnp.isfinite(estimate.mean)
    f = jax.jit(lambda w: bias.monte_carlo(jax.random.key(SEED), jnp.ones(3), w, k=10).mean)
    assert jnp.isnan(f(jnp.full(3, -jnp.inf)))
    np.testing.assert_allclose(f(jnp.zeros(3)), 1, rtol=10 * EPS)


def log_ratios():
    return jax.nn.log_softmax(jnp.asarray(LOG_U)) - jax.nn.log_softmax(jnp.asarray(LOG_Q))


def test_importance_weighting_is_unbiased_over_all_samples():
    g, ratios = jnp.asarray(G), log_ratios()
    mean = bias.expectation_over_samples(lambda ids: bias.importance_weighted(g[ids], ratios[ids]), LOG_Q, k=3)
    np.testing.assert_allclose(mean, oracle.mean(G.astype(np.float64), LOG_U), rtol=1e3 * EPS, atol=20 * EPS)
    value = bias.importance_weighted(jnp.array([1.0, jnp.nan]), jnp.array([math.log(4.0), -jnp.inf]))
    np.testing.assert_allclose(value, 2.0, rtol=10 * EPS)
    np.testing.assert_array_equal(bias.importance_weighted(jnp.array([jnp.nan]), jnp.array([-jnp.inf])), 0)


def test_self_normalised_bias_is_the_first_order_of_the_exact_one():
    """Over all n^k samples the remainder falls as 1 / k^2: by 4 from k = 8 to 16, up to the next order, 1 / k."""
    log_q, ratios = jnp.zeros(2, FLOAT), jnp.array([0.4, -0.4], FLOAT)
    g = jnp.array([[1.0, 0.0], [-0.5, 2.0]], FLOAT)
    exact = oracle.mean(np.asarray(g, np.float64), np.asarray(ratios))
    remainders, firsts = [], []
    for k in (8, 16):
        mean = bias.expectation_over_samples(lambda ids: bias.self_normalised(g[ids], ratios[ids]), log_q, k=k)
        firsts.append(np.asarray(bias.self_normalised_bias(g, log_q, ratios, k=k), np.float64))
        remainders.append(np.asarray(mean, np.float64) - exact - firsts[-1])
    np.testing.assert_allclose(firsts[0], 2 * firsts[1], rtol=100 * EPS)
    np.testing.assert_array_less(np.abs(remainders[1]), np.abs(firsts[1]) / 16)
    np.testing.assert_allclose(remainders[0] / remainders[1], 4, rtol=1 / 8)
    np.testing.assert_allclose(bias.self_normalised_bias(g, log_q, log_q + 3, k=5), 0, atol=10 * EPS)


def test_self_normalised_bias_against_draws(key):
    """k = 20: 40,000 estimates, mean within Student's t at 1e-6 of the prediction, whose own error is O(1/k^2)."""
    g, ratios, k = jnp.asarray(G), log_ratios(), 20
    ids = samplers.draw_inverse(key, LOG_Q, (40_000, k))
    estimates = np.asarray(jax.jit(jax.vmap(lambda i: bias.self_normalised(g[i], ratios[i])))(ids), np.float64)
    error = estimates.std(axis=0, ddof=1) / math.sqrt(len(estimates))
    predicted = np.asarray(bias.self_normalised_bias(g, LOG_Q, LOG_U, k=k))
    measured = estimates.mean(axis=0) - oracle.mean(G.astype(np.float64), LOG_U)
    chi = oracle.chi_square(LOG_U, LOG_Q)
    assert np.all(np.abs(measured - predicted) < 4.9 * error + np.abs(predicted) * (1 + chi) / k)
    assert np.any(np.abs(measured) > 6 * error)  # the bias itself is seen


def test_a_target_that_the_proposal_cannot_reach():
    log_q = jnp.array([0.0, -jnp.inf, 0.0])
    with pytest.raises(ValueError, match="misses them at every k"):
        bias.self_normalised_bias(jnp.ones(3), log_q, jnp.zeros(3), k=2)
    f = jax.jit(lambda q, p: bias.self_normalised_bias(jnp.arange(3.0), q, p, k=2))
    assert jnp.isnan(f(log_q, jnp.zeros(3)))
    np.testing.assert_allclose(f(log_q, jnp.array([0.0, -jnp.inf, 0.0])), 0, atol=EPS)
    value = f(jnp.zeros(3), jnp.array([0.0, -jnp.inf, 1.0]))
    exact = oracle.self_normalised_bias(np.arange(3.0), np.zeros(3), np.array([0.0, -np.inf, 1.0]), 2)
    np.testing.assert_allclose(value, exact, rtol=50 * EPS)


KEY = jax.random.key(1)
BAD = [
    (lambda: bias.expected_gradient(jnp.ones((3, 2)), jnp.zeros(4)), ValueError, "needs the n = 4 candidates"),
    (lambda: bias.expected_gradient(jnp.ones(()), jnp.zeros(4)), ValueError, "needs the n = 4 candidates"),
    (lambda: bias.expected_gradient(jnp.ones(3), jnp.full(3, -jnp.inf)), ValueError, "all -inf"),
    (lambda: bias.expected_gradient(jnp.ones(2), jnp.array([0.0, jnp.nan])), ValueError, "hold NaN"),
    (lambda: bias.expected_gradient(jnp.ones((2, 2)), jnp.zeros((2, 2))), ValueError, "1-dimensional"),
    (lambda: bias.expected_gradient(jnp.ones(2, complex), jnp.zeros(2)), TypeError, "must be real"),
    (lambda: bias.gradient_bias(jnp.ones(3), jnp.zeros(3), jnp.zeros(4)), ValueError, "over the same candidates"),
    (lambda: bias.gradient_bias(jnp.ones(2), jnp.zeros(2), jnp.full(2, -jnp.inf)), ValueError, "target_log_weights"),
    (lambda: bias.chi_square(jnp.zeros(3), jnp.zeros(4)), ValueError, "over the same candidates"),
    (lambda: bias.signal_to_noise(jnp.ones(3), jnp.zeros(3), k=0), ValueError, "k must be at least 1"),
    (lambda: bias.cosine(jnp.ones(3), jnp.ones(4)), ValueError, "one structure and shapes"),
    (lambda: bias.cosine((jnp.ones(3),), jnp.ones(3)), ValueError, "one structure and shapes"),
    (lambda: bias.monte_carlo(KEY, jnp.ones(3), jnp.zeros(3), k=1), ValueError, "at least 2"),
    (lambda: bias.monte_carlo(KEY, jnp.ones(3), jnp.zeros(3), num_samples=2.0), TypeError, "k sets a shape"),
    (lambda: bias.monte_carlo(KEY, jnp.ones(3), jnp.zeros(3)), TypeError, "takes k"),
    (lambda: bias.monte_carlo(KEY, jnp.ones(3), jnp.zeros(3), k=2, num_samples=2), TypeError, "takes k"),
    (lambda: bias.importance_weighted(jnp.ones(3), jnp.zeros(0)), ValueError, "k >= 1 draws"),
    (lambda: bias.importance_weighted(jnp.ones(2), jnp.array([0.0, jnp.inf])), ValueError, "NaN or"),
    (lambda: bias.self_normalised(jnp.ones(2), jnp.full(2, -jnp.inf)), ValueError, "all -inf"),
    (lambda: bias.self_normalised_bias(jnp.ones(2), jnp.zeros(2), jnp.zeros(2), k=0), ValueError, "at least 1"),
    (lambda: bias.expected_gradient_of(jnp.sin, jnp.ones(3), jnp.zeros(4)), ValueError, "one entry for each of the 3"),
    (lambda: bias.expected_gradient_of(jnp.sin, (), jnp.zeros(4)), ValueError, "candidates need one number"),
    (lambda: bias.expected_gradient_of(jnp.sin, jnp.ones(3), jnp.zeros(3), chunk_size=0), ValueError, "chunk_size"),
    (lambda: bias.expectation_over_samples(jnp.sum, jnp.zeros(3), k=0), ValueError, "k must be at least 1"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
