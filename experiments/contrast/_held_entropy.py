"""Training on planted clusters while the temperature is fixed, held by a controller, or solved for each anchor."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._devices import over_devices
from nsx import entropy, losses

CLUSTERS, MEMBERS, DIMENSION = 8, 8, 8
TARGET, START, FIXED = 2.5, 0.3, 0.15  # nats of log 56 = 4.03; the first temperature; one held fixed
RATES = np.array([0.1, 0.2, 0.5, 1.0])
BURN = 40  # first steps, on the way to the target


def batch(points, step):
    """Scores (n,) of all anchors with a member of their cluster, (n, n) with everything, mask of the negatives."""
    index = jnp.arange(CLUSTERS * MEMBERS)
    unit = points / jnp.linalg.norm(points, axis=1, keepdims=True)
    scores = jnp.matmul(unit, unit.T, precision="highest")
    partner = (index + CLUSTERS * (1 + step % (MEMBERS - 1))) % len(index)
    return scores[index, partner], scores, index[:, None] % CLUSTERS != index % CLUSTERS


def rows_at(log_tau, scores):
    return jnp.full(scores.shape[:1], jnp.exp(log_tau))


def mean_entropy(log_tau, scores, others):
    return jnp.mean(entropy.entropy(scores, rows_at(log_tau, scores), where=others))


def mean_capacity(log_tau, scores, others):
    return jnp.mean(entropy.heat_capacity(scores, rows_at(log_tau, scores), where=others))


def train(points, steps, learning, choose, state):
    """Train from these points; choose(scores, others, state) -> (tau, state, record) sets the temperature."""
    optimizer = optax.sgd(learning)

    def step(carry, i):
        points, memory, state = carry
        _, scores, others = batch(points, i)
        tau, state, record = choose(scores, others, state)

        def loss(points):
            positive, scores, others = batch(points, i)
            return jnp.mean(losses.info_nce(positive, scores, temperature=tau, where=others))

        updates, memory = optimizer.update(jax.grad(loss)(points), memory)
        return (optax.apply_updates(points, updates), memory, state), record

    return jax.lax.scan(step, (points, optimizer.init(points), state), jnp.arange(steps))[1]


def per_anchor(scores, others, state, shared):
    """Every anchor solved for on its own (or, in a wrong world, the mean of these temperatures for all)."""
    tau = entropy.temperature_for_entropy(scores, TARGET, where=others)
    tau = jnp.where(shared, jnp.mean(tau), tau)
    each = entropy.entropy(scores, tau, where=others)
    return tau, state, (jnp.max(jnp.abs(each - TARGET)), jnp.std(each))


def pooled(scores, others, state, controller):
    """One temperature for all by the controller, and what its update did."""
    old = state.log_temperature
    tau, state = controller.update(scores, state, where=others)
    before, after = (mean_entropy(x, scores, others) for x in (old, state.log_temperature))
    bend = jax.vmap(jax.grad(mean_capacity), (0, None, None))
    curvature = jnp.abs(bend(jnp.stack([old, state.log_temperature]), scores, others))
    curvature = jnp.max(curvature) + jnp.abs(curvature[1] - curvature[0])  # bounds it in between
    spread = jnp.std(entropy.entropy(scores, rows_at(state.log_temperature, scores), where=others))
    return tau, state, (before, after, state.log_temperature - old, curvature, spread)


def unchanged(scores, others, state):
    """The temperature FIXED, and the entropy that it gives."""
    return jnp.asarray(FIXED, scores.dtype), state, mean_entropy(jnp.log(FIXED), scores, others)


@partial(jax.jit, static_argnames=("replicates", "steps"))
def training(key, world, replicates, steps):
    """The records of all three ways, for every replicate (see Data)."""
    rates = world["slower"] * jnp.asarray(RATES)

    def one(key):
        points = jax.random.normal(key, (CLUSTERS * MEMBERS, DIMENSION))
        run = partial(train, points, steps, world["learning"])

        def held(rate):
            controller = entropy.hold_entropy(TARGET, rate=rate, initial_temperature=START)
            return run(partial(pooled, controller=controller), controller.init(jnp.zeros((2, CLUSTERS * MEMBERS))))

        fixed = run(unchanged, 0)
        before, after, move, curvature, spread = jax.vmap(held)(rates)
        remainder = curvature * move**2 / 2
        each, own = run(partial(per_anchor, shared=world["shared"]), 0)
        return fixed, before, after, remainder, each, jnp.stack([spread[2], own])

    return over_devices(one, jax.random.split(key, replicates))
