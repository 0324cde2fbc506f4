"""The scores of one centre against a positive and two negatives: how a step moves them, and how often wrongly."""

import jax
import jax.numpy as jnp
import numpy as np

SIDE = np.array([1.0, -1.0, -1.0])  # the positive a should rise, the negatives b and c fall


def gaussian(key, shape, dimension):
    """v, u_a, u_b, u_c of N(0, 1) entries in any dimension, turned into four coordinates (Bartlett).

    Their norms are chi: the first of 8 proposals accepted (Marsaglia-Tsang; 1 in 1e10 has none), since the loop of
    `jax.random.gamma` takes seconds to compile.
    """
    normal_key, uniform_key = jax.random.split(key)
    normal = jax.random.normal(normal_key, (12, *shape, 4))
    uniform = jax.random.uniform(uniform_key, (9, *shape, 4))
    left = dimension - jnp.arange(4)
    freedom = jnp.maximum(left, 1)
    d, x = freedom / 2 + 2 / 3, normal[:8]
    v = jnp.maximum(1 + x / jnp.sqrt(9 * d), 0) ** 3
    accepted = jnp.log(uniform[:8]) < x**2 / 2 + d * (1 - v + jnp.log(v))
    gamma = d * jnp.take_along_axis(v, jnp.argmax(accepted, axis=0, keepdims=True), axis=0)[0]
    norms = jnp.sqrt(2 * gamma * uniform[8] ** (2 / freedom))
    entries = jnp.moveaxis(normal[8:], 0, -2)
    return (jnp.tril(entries, -1) + norms[..., None] * jnp.eye(4)) * (left > 0)


def parts(vectors):
    """Log of the pulls' size, scores, |v|^2, inner products of the contexts."""
    scores = vectors[1:] @ vectors[0]
    return -jax.nn.softplus(SIDE * scores), scores, vectors[0] @ vectors[0], vectors[1:] @ vectors[1:].T


def quadratic(vectors):
    """Coefficients of eta and eta^2 in the change of the scores."""
    log_pull, scores, square, gram = parts(vectors)
    pull = SIDE * jnp.exp(log_pull)
    return square * pull + gram @ pull, (pull @ scores) * pull


def winds(vectors, eta, centre):
    """Against and for each move, relative to the largest pull so that none underflows: right where for > against."""
    log_pull, scores, square, gram = parts(vectors)
    pull, own = jnp.exp(log_pull - jnp.max(log_pull)), jnp.diag(gram)
    curve = eta * jnp.sum(SIDE * jnp.exp(log_pull) * scores)
    against = SIDE * ((jnp.diag(own) - gram) @ (SIDE * pull))
    return centre * against, pull * (centre * own + square + centre * curve)


def over(f, vectors):
    """f of four vectors, over all leading axes of (..., 4, 4)."""
    found = jax.vmap(f)(vectors.reshape(-1, 4, 4))
    return jax.tree.map(lambda x: x.reshape(*vectors.shape[:-2], *x.shape[1:]), found)


def goes_wrong(dimension):
    """P(l1 X + X' + l2 X'' < 0) for independent chi-squares, by inverting the characteristic function (Imhof)."""
    weights = np.array([(1 + np.sqrt(3)) / 2, 1, (1 - np.sqrt(3)) / 2])
    u = np.expm1(np.linspace(0, np.log1p(1e7), 20001))[1:]  # the integrand decays as u^(-1 - 3d/2)
    angle = dimension / 2 * np.arctan(weights[:, None] * u).sum(axis=0)
    log_size = dimension / 4 * np.log1p((weights[:, None] * u) ** 2).sum(axis=0)
    return 0.5 - (np.trapezoid(np.sin(angle) * np.exp(-log_size) / u, u) + angle[0]) / np.pi


def coin_margin(dimension):
    """Chance that some score is too near 0, or some coin too near its edge, for the limit of 7/16 to apply."""
    near = np.log(2e4 * np.sqrt(dimension))
    return 8 * near / np.sqrt(2 * np.pi * dimension) + 3e-4
