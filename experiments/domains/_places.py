"""Places on the globe, planted and real, and what a proposal by proximity does to the gradient at an anchor."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import data as sources
from experiments._devices import over_devices
from nsx import bias, distances, samplers

REGIONS, FEATURES = 12, 8
TRAITS = ("elevation", "letter of the code", "length of the name", "by lot")
LENGTHS = np.array([250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16000.0])  # km
WEIGHED = 5  # of LENGTHS: where importance weights are drawn


class Found(NamedTuple):
    """By length: `bias` (lengths, d), `covariance` gap between it and Cov_u(q/u, g), `ratio` of bias to its bound,
    `index` share of the bias along the regional direction, `chance` mean of each squared component of the bias if
    gradients were dealt to places by lot, `price` variance of the importance-weighted gradient over the uniform one.
    """

    bias: jax.Array
    covariance: jax.Array
    ratio: jax.Array
    index: jax.Array
    chance: jax.Array
    price: jax.Array


def on_the_sphere(key: jax.Array, num: int) -> jax.Array:
    """Latitude and longitude of points at random, (num, 2) degrees."""
    z, longitude = jax.random.uniform(key, (2, num), minval=-1, maxval=1)
    return jnp.stack([jnp.rad2deg(jnp.arcsin(z)), 180 * longitude], axis=-1)


def plant(key: jax.Array, size: int, correlation: jax.Array) -> tuple:
    """Distances from the first place (size,) km, gradients (size, d) at it, and the direction of its region (d,).

    Features are a regional part of this weight plus a part of the place's own; regions are the cells of 12 centres.
    """
    keys = jax.random.split(key, 4)
    places, centres = on_the_sphere(keys[0], size), on_the_sphere(keys[1], REGIONS)
    region = jnp.argmin(distances.great_circle(places[:, None], centres[None]), axis=1)
    flavour = jax.random.normal(keys[2], (REGIONS, FEATURES))
    own = jax.random.normal(keys[3], (size, FEATURES))
    features = correlation * flavour[region] + jnp.sqrt(1 - correlation**2) * own
    return distances.great_circle(places[0], places), push(features[0], features), flavour[region[0]]


def push(anchor: jax.Array, features: jax.Array) -> jax.Array:
    """Gradient at the anchor of the logistic loss of each negative."""
    return jax.nn.sigmoid(features @ anchor)[..., None] * features


def analyse(distance: jax.Array, gradients: jax.Array, direction: jax.Array, itself: jax.Array, flatter=1.0) -> Found:
    """Exact consequences of a proposal by proximity; `flatter` takes covariance and bound from a longer length."""
    uniform = samplers.exclude(jnp.zeros_like(distance), itself)

    def at(length):
        near = samplers.exclude(samplers.gibbs(distance, sharpness=1 / length), itself)
        wrong = samplers.exclude(samplers.gibbs(distance, sharpness=1 / (flatter * length)), itself)
        shift = bias.gradient_bias(gradients, near, uniform)
        weight = jnp.where(itself, 0, samplers.probabilities(wrong) * (distance.size - 1))
        centred = gradients - bias.expected_gradient(gradients, uniform)
        covariance = jnp.sum(jnp.where(itself, 0, weight - 1)[:, None] * centred, axis=0) / (distance.size - 1)
        bound = bias.bias_bound(gradients, wrong, uniform)
        spread = bias.gradient_variance(gradients, uniform)
        chance = bias.chi_square(near, uniform) * spread / (distance.size - 2)
        along = jnp.dot(shift, direction) ** 2 / (jnp.sum(shift**2) * jnp.sum(direction**2))
        mean = bias.expected_gradient(gradients, uniform)
        second = jax.vmap(lambda g: weighted_square(near, itself, g), in_axes=1)(gradients)
        price = jnp.sum(second - mean**2) / jnp.sum(spread)
        return Found(shift, jnp.max(jnp.abs(shift - covariance)), jnp.max(jnp.abs(shift) / bound), along, chance, price)

    return jax.lax.map(at, jnp.asarray(LENGTHS))


def weighted_square(near: jax.Array, itself: jax.Array, g: jax.Array) -> jax.Array:
    """E_q (u/q)^2 g^2 over all places but the anchor."""
    log_q = jnp.where(itself, 0, samplers.log_prob(near, jnp.arange(len(g))))
    return jnp.sum(jnp.where(itself, 0, g**2 * jnp.exp(-log_q))) / (len(g) - 1) ** 2


def weighed(key, distance, g, itself, draws: int, weighted: jax.Array, flatter: jax.Array) -> tuple:
    """Draws at one length: mean of g less its mean by enumeration; the same with importance weights against the uniform
    mean, and its square over the exact variance.
    """
    uniform = samplers.exclude(jnp.zeros_like(distance), itself)
    near = samplers.exclude(samplers.gibbs(distance, sharpness=1 / LENGTHS[WEIGHED]), itself)
    ids = samplers.draw_inverse(key, near, (draws,))
    log_ratio = weighted * (samplers.log_prob(uniform, ids) - samplers.log_prob(near, ids))
    target = bias.expected_gradient(g, uniform)
    error = bias.importance_weighted(g[ids], log_ratio) - target
    variance = (weighted_square(near, itself, g) - target**2) / draws
    exact = bias.expected_gradient(g, samplers.exclude(near / flatter, itself))
    return jnp.mean(g[ids]) - exact, error, error**2 / variance


@partial(jax.jit, static_argnames=("replicates", "size", "draws"))
def planted(key, correlations, *, replicates, size, draws, weighted, flatter, dealt, follow):
    """Worlds at each correlation: `Found` (correlations, replicates, ...), draws, and squares of dealt-out biases."""

    def one(key, correlation):
        keys = jax.random.split(key, 3)
        distance, gradients, direction = plant(keys[0], size, correlation)
        itself = jnp.arange(size) == 0
        near = samplers.exclude(samplers.gibbs(distance, sharpness=1 / LENGTHS[2]), itself)
        mean = bias.expected_gradient(gradients, near)
        found = analyse(distance, gradients, jnp.where(follow, mean, direction), itself, flatter)
        order = jax.random.permutation(keys[1], size - 1) + 1
        order = jnp.where(dealt, jnp.append(0, order), jnp.arange(size))
        again = analyse(distance, gradients[order], direction, itself)
        g = gradients @ direction / jnp.linalg.norm(direction)
        drawn = weighed(keys[2], distance, g, itself, draws, weighted, flatter)
        return found, jnp.sum(again.bias**2, axis=-1) / jnp.sum(found.chance, axis=-1), drawn

    keys = jax.random.split(key, (replicates, len(correlations)))
    found = over_devices(lambda k: jax.vmap(one)(k, correlations), keys)
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), found)


@partial(jax.jit, static_argnames="replicates")
def real(key: jax.Array, tables: tuple, *, replicates: int, by_lot, dealt) -> tuple:
    """Airports: `Found` by anchor, and squared biases over their mean by chance, (lengths, traits), the mean over
    anchors: as it is, and (replicates, ...) with the traits dealt to places by lot.
    """
    place, traits, anchors, country = tables
    trait_key, key = jax.random.split(key)
    *lot_keys, shuffle_key = jax.random.split(key, replicates + 1)
    traits = jnp.concatenate([traits, jax.random.normal(trait_key, (len(traits), 1))], axis=1)
    traits = jnp.where(by_lot, traits[jax.random.permutation(shuffle_key, len(traits))], traits)

    def at(anchor, traits):
        itself, same = jnp.arange(len(place)) == anchor, country == country[anchor]
        gradients = push(traits[anchor], traits)
        direction = samplers.exclude(jnp.where(same, 0.0, -jnp.inf), itself & (jnp.sum(same) > 1))
        direction = bias.gradient_bias(gradients, direction, jnp.zeros(len(place)))
        return analyse(distances.great_circle(place[anchor], place), gradients, direction, itself)

    def over_chance(order):
        found = over_devices(lambda a: at(a, traits[order]), anchors)
        return (
            jnp.mean(found.bias**2 / found.chance, axis=0),
            jnp.mean(found.index, axis=0),
            jnp.mean(found.price, axis=0),
        )

    lot = lambda key: over_chance(jnp.where(dealt, jax.random.permutation(key, len(place)), jnp.arange(len(place))))
    return over_chance(jnp.arange(len(place))), over_devices(lot, jnp.stack(lot_keys))


def airports(num_anchors: int) -> tuple:
    """Coordinates (n, 2), standardised traits (n, 3), anchors and country (n,)."""
    found = sources.airports()
    letter = [ord(code[0]) for code in found.codes]
    traits = np.stack([np.log1p(np.maximum(found.elevation, 0)), letter, [len(name) for name in found.names]], axis=1)
    traits = (traits - traits.mean(axis=0)) / traits.std(axis=0)
    anchors = np.random.default_rng(0).choice(len(letter), num_anchors, replace=False)
    place = np.stack([found.latitude, found.longitude], axis=1)
    return tuple(map(jnp.asarray, (place, traits, anchors, found.country)))
