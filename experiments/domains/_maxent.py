"""Parts of the claim on maximum entropy over hyperedges: rival laws, real features, problems without a solution."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments._devices import over_devices
from experiments.domains import _hyperedges
from nsx import bias, entropy, hypergraphs, samplers

RADIUS = 0.3  # of a nudge of the moments, in standard deviations of each feature


def covariance(values, weights):
    outer = values[:, :, None] * values[:, None, :]
    mean = bias.expected_gradient(values, weights)
    return bias.expected_gradient(outer, weights) - jnp.outer(mean, mean)


def rivals(key, found, law, count):
    """Entropy over that of random laws p = q (1 + t z) of the same moments, and KL(p | q), of the first 40.

    And over all of them the least entropy lost, and the largest gap between loss and divergence.
    """
    direction_key, length_key = jax.random.split(key)
    q = samplers.probabilities(law)
    kept = jnp.concatenate([jnp.ones_like(found.values[:, :1]), found.values], axis=1)
    z = jax.random.normal(direction_key, (count, len(q)))
    z = z - jnp.linalg.solve((kept.T * q) @ kept, kept.T @ (q * z).T).T @ kept.T
    z = jnp.where(found.where, z, 0)
    t = jax.random.uniform(length_key, (count, 1)) / jnp.max(-z, axis=1, keepdims=True)
    log_ratio = jnp.where(found.where, jnp.log1p(t * z), 0)
    p = q * (1 + t * z)
    log_p = jnp.where(found.where, jax.nn.log_softmax(law), 0) + log_ratio
    excess = entropy.entropy(law, 1.0) - entropy.entropy(jnp.where(found.where, log_p, -jnp.inf), 1.0)
    kl = jnp.sum(p * log_ratio, axis=1)
    return excess[:40], kl[:40], jnp.min(excess), jnp.max(jnp.abs(excess - kl))


@jax.jit
def on_real(key, values, where):
    """Exponents recovered from their moments on real features, and those of a nudge of both moments up."""

    def one(entry):
        key, values, where = entry
        solve = lambda mu: hypergraphs.solve_multipliers(values, mu, where=where)
        true = jax.random.normal(key, (2,))
        law = jnp.where(where, samplers.maxent(values, true), -jnp.inf)
        target = bias.expected_gradient(values, law)
        solved = solve(target)
        law_found = jnp.where(where, samplers.maxent(values, solved), -jnp.inf)
        scale = jnp.max(jnp.where(where[:, None], jnp.abs(values - target), 0), axis=0)
        missed = jnp.max(jnp.abs(bias.expected_gradient(values, law_found) - target) / scale)
        flat = jnp.where(where, 0.0, -jnp.inf)
        spread, centre = covariance(values, flat), bias.expected_gradient(values, flat)
        sd = jnp.sqrt(jnp.diag(spread))
        top = jnp.max(jnp.where(where[:, None], values, -jnp.inf), axis=0)
        asked = solve(centre + jnp.minimum(RADIUS * sd * jnp.array([1.0, 0.1]), (top - centre) / 2))
        inverse = jnp.linalg.inv(covariance(values, law_found))
        bound = jnp.max(jnp.finfo(scale.dtype).eps ** 0.75 * jnp.abs(inverse) @ scale)
        return jnp.stack([*true, *solved, missed, spread[0, 1] / jnp.prod(sd), *asked, bound])

    return over_devices(one, (jax.random.split(key, len(values)), values, where))


def impossible(key, hyperedges, nodes, inside):
    """Which impossible problems are refused, and the least gap along the direction that proves it; on the host."""
    incidence, anchor = _hyperedges.planted(key, hyperedges, nodes, False)
    found = hypergraphs.features(incidence, anchor)
    values, where = np.asarray(found.values), np.asarray(found.where)
    mean, corner = values[where].mean(axis=0), values[where].max(axis=0)
    twin = np.stack([values[:, 0], 2 * values[:, 0] + 1], axis=1)
    outside = mean if inside else corner + 0.1
    problems = ((values, outside), (values[:, :1], mean[:1] if inside else corner[:1]))
    problems += ((values if inside else twin, mean if inside else twin[where].mean(axis=0)),)
    refused = []
    for features, moments in problems:
        try:
            hypergraphs.solve_multipliers(features, moments, where=where)
            refused.append(0.0)
        except ValueError:
            refused.append(1.0)
    direction = hypergraphs.feasibility(values, outside, where=where).direction
    return refused, ((values[where] - outside) @ direction).min()
