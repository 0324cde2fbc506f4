"""nsx.asymptotics: the published efficiency of noise-contrastive estimation, by quadrature and by simulation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

from nsx import asymptotics
from nsx.losses import nce
from tests.helpers import FLOAT, PRECISION, SEED
from tests.oracles import bias as oracle

X = jnp.linspace(-10.0, 10.0, 1001, dtype=FLOAT)
DATA = -(X**2) / 2
SCORE = X[:, None]  # of the mean of a normal law of variance 1, at mean 0
EXACT = 1e-6 if PRECISION == 64 else 1e-4


@jax.jit
def cost(noise, share):
    """T times the mean squared error, with this share of noise in the budget T."""
    return asymptotics.nce_covariance(SCORE, DATA, noise, nu=share / (1 - share))[0, 0]


def normal(mean, deviation=1.0):
    return -(((X - mean) / deviation) ** 2) / 2


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
def test_noise_equal_to_the_data(share):
    """(1 + nu)^2 / nu: 4.000 at one half, 11.11 at a tenth."""
    np.testing.assert_allclose(cost(DATA, share), 1 / (share * (1 - share)), rtol=EXACT)


@pytest.mark.parametrize(
    ("noise", "share", "published"),
    [
        (normal(1.50), 0.26, 3.072),
        (normal(1.427), 0.5, 3.699),
        (normal(0, 1.5), 0.5, 3.384),
        (normal(0, 1.65), 0.43, 3.318),
        (DATA + jnp.log(jnp.abs(X)), 0.416, 3.052),
        (DATA + jnp.log(jnp.abs(X)), 0.5, 3.135),
    ],
)
def test_published_costs(noise, share, published):
    assert float(cost(noise, share)) == pytest.approx(published, abs=6e-4)


@pytest.mark.skipif(PRECISION == 32, reason="the optimum is flat")
def test_the_best_normal_noise_is_not_the_data():
    f = jax.jit(jax.value_and_grad(lambda v: cost(normal(v[0]), v[1])))
    best = optimize.minimize(
        lambda v: tuple(map(np.asarray, f(v))), [1.0, 0.4], jac=True, bounds=[(0, 3), (0.1, 0.9)], tol=1e-10
    )
    # the published row, 3.072 at mean 1.50 and 26 % noise, is this optimum on a grid
    assert best.fun == pytest.approx(3.0711, abs=1e-4)
    assert best.x == pytest.approx([1.4983, 0.2510], abs=1e-3)


def test_limits():
    """Much noise: maximum likelihood, whatever the noise; its budget is then all noise."""
    nu = 1e4
    covariance = asymptotics.nce_covariance(SCORE, DATA, normal(0, 1.5), nu=nu)[0, 0]
    np.testing.assert_allclose(covariance / (1 + nu), 1, rtol=2e-3)
    information = asymptotics.fisher_information(SCORE, DATA)
    np.testing.assert_allclose(information, [[1.0]], rtol=EXACT)


def test_equals_the_textbook_form_with_several_parameters():
    """Mean, variance and a free log-normaliser; laws with points that one of them lacks."""
    score = jnp.stack([X, (X**2 - 1) / 2, jnp.ones_like(X)], axis=1)
    data, noise = DATA.at[:20].set(-jnp.inf), normal(0.5, 1.4).at[10:30].set(-jnp.inf)
    to_law = lambda w: np.exp(np.asarray(w, np.float64)) / np.exp(np.asarray(w, np.float64)).sum()
    exact = oracle.nce_covariance(np.asarray(score, np.float64), to_law(data), to_law(noise), 2.5)
    value = jax.jit(asymptotics.nce_covariance)(score, data, noise, nu=2.5)
    np.testing.assert_allclose(
        value, exact, rtol=1e-8 if PRECISION == 64 else 2e-3, atol=1e-8 if PRECISION == 64 else 2e-3
    )
    np.testing.assert_allclose(value, value.T, rtol=1e-3)
    poisoned = asymptotics.nce_covariance(score.at[:20].set(jnp.nan), data, noise, nu=2.5)
    np.testing.assert_allclose(poisoned, value, rtol=1e-4)
    gradient = jax.grad(lambda w: asymptotics.nce_covariance(score, data, w, nu=2.5)[0, 0])(noise)
    assert np.all(np.isfinite(gradient))


def test_simulated_estimates_have_the_predicted_error():
    """1,000 fits of the mean by Newton's method on `nsx.losses.nce`: 1,000 data, 1,000 draws of the best noise."""
    mean, size, fits = 1.427, 1000, 1000
    keys = jax.random.split(jax.random.key(SEED), 2)
    data = jax.random.normal(keys[0], (fits, size))
    noise = mean + jax.random.normal(keys[1], (fits, size))
    log_normal = lambda x, m: -((x - m) ** 2) / 2 - jnp.log(2 * jnp.pi) / 2

    def loss(theta, x, y):
        scores, log_q = ((log_normal(x, m), log_normal(y, m)[:, None]) for m in (theta, mean))
        return jnp.sum(nce(*scores, log_q_positive=log_q[0], log_q_negatives=log_q[1]))

    def fit(x, y):
        step = lambda _, t: t - jax.grad(loss)(t, x, y) / jax.grad(jax.grad(loss))(t, x, y)
        return jax.lax.fori_loop(0, 6, step, jnp.zeros((), x.dtype))

    estimates = np.asarray(jax.jit(jax.vmap(fit))(data, noise), np.float64)
    ratio = 2 * size * np.mean(estimates**2) / float(cost(normal(mean), 0.5))
    # chi-square of 1,000 degrees at 1e-4 on either side, and 1 % for the next order in 1 / size
    low, high = stats.chi2.ppf([1e-4, 1 - 1e-4], fits) / fits * [0.99, 1.01]
    assert low < ratio < high
    assert not low < ratio * 3.699 / 3.072 < high  # the cost at a noise share of 26 %


@pytest.mark.parametrize(
    ("arguments", "nu", "message"),
    [
        ((X, DATA, DATA), 1.0, r"score\[:, None\]"),
        ((SCORE[1:], DATA, DATA), 1.0, "needs the n = 1001"),
        ((SCORE, DATA, DATA[1:]), 1.0, "over the same candidates"),
        ((SCORE, DATA, DATA), 0.0, "nu must be positive"),
    ],
)
def test_bad_input(arguments, nu, message):
    with pytest.raises(ValueError, match=message):
        asymptotics.nce_covariance(*arguments, nu=nu)
