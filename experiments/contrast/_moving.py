"""Two worlds where the noise of NCE moves with the model, free softmax logits and a Gaussian mean, and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from nsx import asymptotics, bias, losses

VOCABULARY, DRAWS = 5, 3
ANCHOR, START = 1.5, 0.6  # where the Gaussian noise sits at rho = 0, and where training starts; the truth is 0
GRID = np.linspace(-13.0, 14.5, 551)


def softmax_gradient(theta, truth, moves, elsewhere, leak, count, stale):
    """Mean, and mean size, of the NCE gradient over every datum and every `count` draws of the noise.

    The noise has logits theta (moves = 1) or `elsewhere` (moves = 0).
    """
    logits = moves * theta + (1 - moves) * elsewhere

    def loss(theta, datum, ids):
        seen = logits + leak * moves * (theta - jax.lax.stop_gradient(theta))
        scores, log_q = jax.nn.log_softmax(theta), jax.nn.log_softmax(seen)
        log_q = jnp.where(stale > 0, -jnp.log(VOCABULARY), log_q)
        q = {"log_q_positive": log_q[datum], "log_q_negatives": log_q[ids]}
        return losses.nce(scores[datum], scores[ids], **q, where=jnp.arange(DRAWS) < count)

    def over_draws(datum):
        def value_and_size(ids):
            gradient = jax.grad(loss)(theta, datum, ids)
            return gradient, jnp.abs(gradient)

        return bias.expectation_over_samples(value_and_size, logits, k=DRAWS)

    return bias.expected_gradient(jax.vmap(over_draws)(jnp.arange(VOCABULARY)), truth)


def softmax_world(logits, flow, stale):
    """Errors of three statements: a share of the likelihood's gradient, no gradient at all, the truth kept."""
    truth, theta, other = logits
    cases = (
        jnp.stack([theta, theta, truth]),  # the model
        jnp.asarray([1.0, 1.0, 0.0]),  # whether the noise moves with it
        flow(jnp.asarray([0.0, 1.0, 0.0])),  # whether the gradient flows through log q
    )
    counts = jnp.arange(1, DRAWS + 1)

    def gradients(theta, moves, leak):
        return jax.vmap(lambda count: softmax_gradient(theta, truth, moves, other, leak, count, stale))(counts)

    mean, size = jax.vmap(gradients)(*cases)
    likelihood = jax.nn.softmax(theta) - jax.nn.softmax(truth)
    half = mean[0] - (counts / (1 + counts))[:, None] * likelihood
    return tuple(jnp.max(jnp.abs(x)) for x in (half, size[1], mean[2]))


def centres(tau, theta, rho, leak):
    """Centre of the noise in its draws and in its density: a + rho (t - a), t = tau by the leak and else theta."""
    follow = lambda t: ANCHOR + rho * (t - ANCHOR)
    return follow(theta) + leak * (follow(tau) - follow(theta))


def expected_gradient(theta, rho, leak):
    """Exact gradient, in tau at tau = theta, of the NCE objective with one draw a datum."""

    def objective(tau):
        drawn, believed = centres(tau, theta, rho, leak)
        odds = norm.logpdf(GRID, tau) - norm.logpdf(GRID, believed)
        data = bias.expected_gradient(jax.nn.softplus(-odds), norm.logpdf(GRID))
        return data + bias.expected_gradient(jax.nn.softplus(odds), norm.logpdf(GRID, drawn))

    return jax.grad(objective)(theta)


def force_and_pull(thetas, rhos, leaks):
    """Minus the exact gradient, and its slope, at arrays of one length."""
    one = lambda theta, rho, leak: jax.jvp(lambda t: expected_gradient(t, rho, leak), (theta,), (jnp.ones_like(theta),))
    value, slope = jax.vmap(one)(thetas, rhos, leaks)
    return -value, slope


def sampled_gradient(theta, x, noise, rho, leak, stale, where=None):
    """The same from data (n,) and the noise's standard normals (n, k)."""

    def objective(tau):
        drawn, believed = centres(tau, theta, rho, leak)
        draws, believed = drawn + noise, jnp.where(stale > 0, ANCHOR, believed)
        q = {"log_q_positive": norm.logpdf(x, believed), "log_q_negatives": norm.logpdf(draws, believed)}
        return jnp.mean(losses.nce(norm.logpdf(x, tau), norm.logpdf(draws, tau), **q, where=where))

    return jax.grad(objective)(theta)


def train(gradient, steps):
    """Newton's iteration on a gradient, its curvature kept from vanishing: where there is no force nothing moves."""

    def step(theta, _):
        value, slope = jax.jvp(gradient, (theta,), (jnp.ones_like(theta),))
        return theta - jnp.clip(value / jnp.maximum(slope, 1e-3), -0.4, 0.4), None

    return jax.lax.scan(step, jnp.asarray(START), length=steps)[0]


def fit(x, noise, rho, leak, stale, where=None):
    """Estimate from data (n,) and the noise's standard normals (n, k)."""
    return train(lambda theta: sampled_gradient(theta, x, noise, rho, leak, stale, where), 6)


def replicate(key, sizes, most, ratios, rho, leak, stale, spread):
    """Logits of a softmax world; estimates from n data each, (regimes, sizes); n times their squared distance to the
    mean of the data at the smallest n, (2, ratios), for the noise and flow of the first two regimes.
    """
    logits, n = 3 * VOCABULARY, sizes[0]
    draws = jax.random.normal(key, (logits + n * (1 + most) + 2 * sum(sizes[1:]),))
    worlds, x, noise, rest = jnp.split(draws, np.cumsum([logits, n, n * most]))
    # the smallest n once for all: every regime with one draw a datum, the first two with k
    few, x = jnp.tile(jnp.arange(2), (len(ratios), 1)).T.ravel(), spread * x
    regime = jnp.concatenate([jnp.arange(len(rho)), few])
    counts = jnp.concatenate([jnp.ones_like(rho, int), jnp.tile(ratios, 2)])
    one = lambda r, g, k: fit(x, noise.reshape(n, most), r, g, stale, jnp.arange(most) < k)
    found = jax.vmap(one)(rho[regime], leak[regime], counts)
    estimates, excess = [found[: len(rho)]], n * (found[len(rho) :].reshape(2, -1) - jnp.mean(x)) ** 2
    for n in sizes[1:]:
        x, noise, rest = jnp.split(rest, [n, 2 * n])
        one = lambda r, g, x=spread * x, noise=noise[:, None]: fit(x, noise, r, g, stale)
        estimates.append(jax.vmap(one)(rho, leak))
    return worlds.reshape(3, VOCABULARY), jnp.stack(estimates, axis=-1), excess


def excess_of_fixed_noise(ratios):
    """Asymptotic variance times n of NCE with noise N(a, 1), less the 1 of maximum likelihood."""
    laws = GRID[:, None], norm.logpdf(GRID), norm.logpdf(GRID, ANCHOR)
    return jax.vmap(lambda nu: asymptotics.nce_covariance(*laws, nu=nu)[0, 0] / (1 + nu) - 1)(ratios)


def moments(rho, leak):
    """By quadrature at the truth: the score-function term, the pull, and the variance of the estimate times n."""
    c = ANCHOR * (1 - np.asarray(rho, float)[..., None])
    p, q = (np.exp(-((GRID - centre) ** 2) / 2) for centre in (0 * c, c))
    p, q = p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)
    h, noise = (1 - c / ANCHOR) * (GRID - c), 1 / (1 + np.exp(c**2 / 2 - c * GRID))  # noise is 1 - D
    signal = GRID - leak * h
    mean = lambda law, f: np.sum(law * f, axis=-1)
    variance = lambda law, f: mean(law, f**2) - mean(law, f) ** 2
    pull = mean(p, noise * signal * GRID)
    spread = variance(p, noise * signal) + variance(q, (1 - noise) * signal)
    return mean(q, -np.log(noise) * h), pull, spread / np.where(pull == 0, np.inf, pull) ** 2


def start_of(x, y):
    """Value and slope at x = 0 of the cubic through four points, and how much they differ from the quadratic's."""
    cubic, quadratic = np.polyfit(x[:4], y[:4], 3)[::-1][:2], np.polyfit(x[:3], y[:3], 2)[::-1][:2]
    return cubic, np.abs(cubic - quadratic)


def slope_of_limit():
    """Derivative at rho = 0 of the score-function term: E_q[softplus(log p / q) (x - a)], q the noise at a."""
    q = np.exp(-((GRID - ANCHOR) ** 2) / 2)
    return np.sum(q * np.logaddexp(0, ANCHOR**2 / 2 - ANCHOR * GRID) * (GRID - ANCHOR)) / np.sum(q)
