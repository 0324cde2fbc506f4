"""A log-linear model of y given x whose partition function depends on x, and its estimators.

Parameters: theta (2), one normaliser c for all contexts (1), one for each (contexts). An estimator frees some of them;
the others stay at 0.
"""

from itertools import combinations_with_replacement, product
from math import factorial, prod

import jax
import jax.numpy as jnp
import numpy as np

from nsx import asymptotics, bias, losses

CONTEXTS, LABELS, WIDTH, DRAWS = 6, 4, 2, 4
TRUTH = np.array([1.0, -0.7])
FEATURES = np.random.default_rng(1).normal(size=(CONTEXTS, LABELS, WIDTH))
FEATURES *= np.linspace(0.4, 1.4, CONTEXTS)[:, None, None]
NOISE = np.array([0.1, 0.2, 0.3, 0.4])
SHARED = np.array([1.0] * (WIDTH + 1) + [0.0] * CONTEXTS)
OWN = np.array([1.0] * WIDTH + [0.0] + [1.0] * CONTEXTS)
COUNTS = np.array([1, 2, 4, 8, 16, 32, 64])


def truth():
    """Log Z(x) with the features as they are, and the true law of y given x."""
    log_z = np.log(np.exp(FEATURES @ TRUTH).sum(axis=1))
    return log_z, np.exp(FEATURES @ TRUTH - log_z[:, None])


def features(level):
    """Features moved by a vector of the context alone, which changes no probability: at level 1 all Z(x) are equal."""
    log_z, _ = truth()
    along = (log_z - log_z.mean())[:, None, None] * TRUTH / (TRUTH @ TRUTH)
    return FEATURES - level * along


def over(f, *arguments):
    """F on all combinations of its arguments, each along its own axis of the result."""
    for i in reversed(range(len(arguments))):
        f = jax.vmap(f, [0 if i == j else None for j in range(len(arguments))])
    return f(*arguments)


def binary_loss(parameters, data, noise, log_q, count, level):
    """NCE loss of data (x, y), a law or counts, against noise of any total in each context, `count` draws a datum.

    It is a sum over datum and draws, so pairs of a datum and one draw suffice, and the datum alone.
    """
    theta, shared, own = jnp.split(parameters, [WIDTH, WIDTH + 1])
    scores = jnp.matmul(features(level), theta) + (shared + own)[:, None]
    log_kq = log_q + jnp.log(count)
    of_draws = lambda table: jnp.broadcast_to(table[:, None, :, None], (CONTEXTS, LABELS, LABELS, 1))
    q = {"log_q_positive": log_kq[:, :, None], "log_q_negatives": of_draws(log_kq)}
    pair = lambda where: losses.nce(scores[:, :, None], of_draws(scores), **q, where=jnp.full((1,), where))
    shares = jnp.sum(data, axis=1)

    def mean(values, p, n):  # over the datum, then over the draw
        return bias.expected_gradient(bias.expected_gradient(values, jnp.log(p)), jnp.log(n))

    alone, both = (bias.expected_gradient(jax.vmap(mean)(pair(w), data, noise), jnp.log(shares)) for w in (False, True))
    return alone + count * (both - alone)


def ranking_losses(theta, x, y, draws, log_q, count, level):
    """Ranking loss of data x, y (...) against the first `count` of their draws (..., DRAWS)."""
    scores = jnp.matmul(features(level), theta)
    q = {"log_q_positive": log_q[x, y], "log_q_negatives": log_q[x[..., None], draws]}
    return losses.info_nce(scores[x, y], scores[x[..., None], draws], **q, where=jnp.arange(DRAWS) < count)


def ranking_information(law, noise, log_q, count, level):
    """Gradient of the expected ranking loss at the truth and its Hessian, every datum and every draw enumerated."""
    grid = jnp.stack(jnp.meshgrid(jnp.arange(CONTEXTS), *[jnp.arange(LABELS)] * (1 + DRAWS), indexing="ij"), axis=-1)

    def expected(theta):
        mean = ranking_losses(theta, grid[..., 0], grid[..., 1], grid[..., 2:], log_q, count, level)
        inner = mean
        for _ in range(DRAWS):  # the last draw first, each under the noise of its context
            inner = jnp.einsum("x...d,xd->x...", inner, noise)
        return jnp.mean(jnp.einsum("xy,xy->x", inner, law))

    return jax.grad(expected)(jnp.asarray(TRUTH)), jax.hessian(expected)(jnp.asarray(TRUTH))


def solve(loss, free, steps=10):
    """Newton's method from 0 on the free parameters."""

    def step(parameters, _):
        gradient, curvature = jax.grad(loss)(parameters), jax.hessian(loss)(parameters)
        curvature = curvature * jnp.outer(free, free) + jnp.diag(1 - free)
        return parameters - jnp.clip(jnp.linalg.solve(curvature, gradient * free), -1, 1), None

    return jax.lax.scan(step, jnp.zeros_like(free), length=steps)[0]


def unordered(size, most):
    """Pairs of `size` data and as many draws without regard to order, (pairs, 2, most), and the log of the orders.

    Padded in both: labels beyond `size` do not count, nor do pairs of -inf orders.
    """
    pairs = list(product(combinations_with_replacement(range(LABELS), size), repeat=2))
    orders = [
        prod(factorial(size) / prod(factorial(half.count(y)) for y in set(half)) for half in pair) for pair in pairs
    ]
    room = len(list(combinations_with_replacement(range(LABELS), most))) ** 2 - len(pairs)
    labels = np.pad(np.array(pairs), ((0, room), (0, 0), (0, most - size)))
    return labels, np.pad(np.log(orders), (0, room), constant_values=-np.inf)


def incidental_limit(size, law, noise, log_q, most, steps=300):
    """Limit of binary NCE, one draw a datum, when each context has `size` data of its own to fit its normaliser to.

    All outcomes of these data and draws are enumerated; the normaliser is the best for each outcome, by Newton's
    method, and theta descends the gradient at that.
    """
    every = zip(*(unordered(n, most) for n in range(1, most + 1)), strict=True)
    ids, log_orders = (jnp.asarray(np.stack(x))[size - 1] for x in every)
    counted = jnp.arange(most) < size

    def loss(c, data, draws):
        """Of the data and the draws of one context, from their log-odds but for c."""
        return jnp.sum(jnp.where(counted, losses.sgns(data + c, (draws + c)[:, None]), 0)) / size

    def best(data, draws):
        def step(c, _):
            slope, curvature = jax.jvp(lambda c: jax.grad(loss)(c, data, draws), (c,), (jnp.ones_like(c),))
            return c - jnp.clip(slope / jnp.maximum(curvature, 1e-6), -2, 2), None

        c = jax.lax.stop_gradient(jax.lax.scan(step, -jnp.sum(jnp.where(counted, data, 0)) / size, length=8)[0])
        return loss(c, data, draws)

    def context(odds, p, q):
        values = jax.vmap(best)(odds[ids[:, 0]], odds[ids[:, 1]])
        each = jnp.where(counted, jnp.log(p)[ids[:, 0]] + jnp.log(q)[ids[:, 1]], 0)
        return bias.expected_gradient(values, log_orders + jnp.sum(each, axis=-1))

    mean = lambda theta: jnp.mean(jax.vmap(context)(jnp.matmul(features(0.0), theta) - log_q, law, noise))
    return jax.lax.scan(lambda t, _: (t - 6 * jax.grad(mean)(t), None), jnp.zeros(WIDTH), length=steps)[0]


def centred_features():
    """Score of the likelihood: f - E[f|x] at the truth, (contexts, labels, 2)."""
    _, law = truth()
    return FEATURES - np.einsum("xy,xyd->xd", law, FEATURES)[:, None]


def fisher():
    """Information of one datum about theta when likelihood is maximised: the Cramer-Rao bound's inverse."""
    score, (_, law) = centred_features(), truth()
    return np.einsum("xy,xyd,xye->de", law, score, score) / CONTEXTS


def asymptotic_excess(count):
    """tr(F covariance) - 2 of binary NCE with one normaliser a context, per datum, by `nsx.asymptotics`."""
    _, law = truth()
    score = np.concatenate(
        [FEATURES, np.broadcast_to(np.eye(CONTEXTS)[:, None], (CONTEXTS, LABELS, CONTEXTS))], axis=-1
    )
    weights = np.log(law).ravel(), np.log(np.tile(NOISE, CONTEXTS))
    covariance = asymptotics.nce_covariance(score.reshape(-1, WIDTH + CONTEXTS), *weights, nu=count) / (1 + count)
    return jnp.trace(jnp.matmul(fisher(), covariance[:WIDTH, :WIDTH])) - WIDTH


def pooled_error(count):
    """tr(F covariance) with one normaliser for all, Z(x) being equal: draws share their datum's context."""
    _, law = truth()
    score = np.concatenate([features(1.0), np.ones((CONTEXTS, LABELS, 1))], axis=-1)
    weight = law * count * NOISE / (law + count * NOISE)
    information = np.einsum("xy,xyi,xyj->ij", weight, score, score) / CONTEXTS
    mean = np.einsum("xy,xyi->xi", weight, score)
    noise = information - (1 + 1 / count) * mean.T @ mean / CONTEXTS
    inverse = np.linalg.inv(information)
    return np.trace(fisher() @ (inverse @ noise @ inverse)[:WIDTH, :WIDTH])


def binary_limit(count, level, steps=40):
    """Root of the expected gradient of binary NCE with one normaliser, in closed form; count may be infinite.

    Returns (theta, c), and the term in 1 / k of that root where count is infinite.
    """
    score = np.concatenate([features(level), np.ones((CONTEXTS, LABELS, 1))], axis=-1)
    _, law = truth()
    root = np.zeros(WIDTH + 1)
    for _ in range(steps):
        mass = np.exp(score @ root)
        weight = 1 / (1 + mass / (count * NOISE))
        force = np.einsum("xy,xyi->i", (law - mass) * weight, score)
        slope = mass * weight + (law - mass) * weight**2 * mass / (count * NOISE)
        curvature = np.einsum("xy,xyi,xyj->ij", slope, score, score)
        root = root + np.clip(np.linalg.solve(curvature, force), -1, 1)
    correction = np.linalg.solve(curvature, -np.einsum("xy,xyi->i", (law - mass) * mass / NOISE, score))
    return root, correction


def bias_slope():
    """Derivative in the level, where all Z(x) are equal, of the root for one draw a datum."""
    score = np.concatenate([features(1.0), np.ones((CONTEXTS, LABELS, 1))], axis=-1)
    log_z, law = truth()
    weight = law * NOISE / (law + NOISE)
    moved = -(log_z - log_z.mean())[:, None] * np.ones(LABELS)  # of the score at the truth, per unit of level
    force = np.einsum("xy,xyi->i", -weight * moved, score)
    return np.linalg.solve(np.einsum("xy,xyi,xyj->ij", weight, score, score), force)[:WIDTH]
