"""A small real game: a table of logits that proposes negatives against a flax embedding learner; fixed data."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.flatten_util import ravel_pytree

from experiments.frontiers._duel import NEAR
from nsx import games

CONTEXTS, CANDIDATES, DIMENSION, NEGATIVES = 3, 5, 2, 5
LAW = np.random.default_rng(3).dirichlet(np.full(CANDIDATES, 0.5), size=CONTEXTS)
LEARNER_NORM = 0.01
WATCHED_STEPS = 200


class Learner(nn.Module):
    """Scores of every candidate in every context, through embeddings of two squashed numbers."""

    @nn.compact
    def __call__(self) -> jax.Array:
        dtype = jnp.asarray(0.0).dtype
        contexts = nn.Embed(CONTEXTS, DIMENSION, param_dtype=dtype, embedding_init=nn.initializers.normal(1.0))
        return nn.Dense(CANDIDATES, param_dtype=dtype)(nn.tanh(contexts(jnp.arange(CONTEXTS))))


def start() -> tuple:
    """A generator that proposes every candidate alike, and a learner that knows nothing yet."""
    return jnp.zeros((CONTEXTS, CANDIDATES)), Learner().init(jax.random.key(1))


def field(generator_norm: jax.Array) -> Callable[[tuple], tuple]:
    """The game's vector field under a norm penalty of the generator."""
    return lambda players: _field(generator_norm, players)


@jax.jit  # traced once, however often the experiments differentiate it
def _field(generator_norm: jax.Array, players: tuple) -> tuple:
    learner = Learner()
    losses = games.generator_learner(
        lambda logits: logits,
        learner.apply,
        jnp.log(jnp.asarray(LAW)),
        negatives=NEGATIVES,
        generator_norm=generator_norm,
        learner_norm=LEARNER_NORM,
    )
    return games.vector_field(losses)(players)


def rests(generator_norms: jax.Array, steps: int) -> games.Equilibrium:
    """Equilibria for falling penalties, each found from the last; the first after a run of the game."""
    update = games.extragradient(field(generator_norms[0]), step_size=0.5)
    settled = jax.lax.fori_loop(0, steps, lambda _, s: update.step(s), update.init(start())).players

    def follow(players: tuple, norm: jax.Array) -> tuple:
        found = games.equilibrium(field(norm), players, iterations=24)
        return found.players, found

    return jax.lax.scan(follow, settled, generator_norms)[1]


def watch(rule, players, direction, stride):
    """A rule on the real game, just below and above its largest stable step, against powers of its matrix."""
    limit = games.largest_stable_step(rule, players, low=0.05, high=50.0)

    def beside(factor):
        run, told = rule(stride * factor * limit), rule(factor * limit)
        rest, unravel = ravel_pytree(told.init(players))
        matrix = games.linearize(told.step, told.init(players)).jacobian
        eps = jnp.finfo(rest.dtype).eps
        delta = eps**0.45 * jnp.resize(direction, rest.shape)
        go = jax.vmap(lambda z: ravel_pytree(run.step(unravel(z)))[0])
        norm = lambda x: jnp.linalg.norm(x, axis=-1)

        def step(carry, _):
            pair, predicted = go(carry[0]), matrix @ carry[1]
            odd, even = (pair[0] - pair[1]) / 2, (pair[0] + pair[1]) / 2 - rest
            return (pair, predicted), (norm(odd), norm(predicted), norm(odd - predicted), norm(even))

        start = (jnp.stack([rest + delta, rest - delta]), delta)
        sizes, told_sizes, errors, bends = jax.lax.scan(step, start, length=WATCHED_STEPS)[1]
        rounding = 16 * WATCHED_STEPS * eps * norm(rest) / norm(delta)
        half = WATCHED_STEPS // 2
        growth = jnp.log(sizes[-1] / sizes[half]) / (WATCHED_STEPS - 1 - half)
        return growth, errors[half] / sizes[half], bends[half] / sizes[half] + rounding, sizes, told_sizes

    return limit, *jax.vmap(beside)(jnp.asarray(NEAR))
