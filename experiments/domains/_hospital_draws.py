"""Draws from a mixture of false, same-hospital and other-hospital scores: pushes, pulls, and training on them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from experiments._devices import over_devices
from experiments.domains import _hospitals
from experiments.domains._hospital_laws import (
    FALSE,
    MEANS,
    NEGATIVES,
    OFFSETS,
    PER_POSITIVE,
    POSITIVE,
    SHIFTS,
    STABILITY_SHIFTS,
    WEIGHTS,
)
from nsx import bias, quadrature


def shifted(shift):
    return jnp.asarray(MEANS) + shift * jnp.array([0.0, 1.0, 0.0])


def expected_push(log_weights, means, order):
    return quadrature.mixture_expectation(jax.nn.sigmoid, log_weights, means, jnp.ones(3), order=order)


def draw(key, weights, means, shape):
    kind_key, key = jax.random.split(key)
    kind = jax.random.choice(kind_key, 3, shape, p=weights)
    return kind, means[kind] + jax.random.normal(key, shape)


def pushes(key, shift, draws, heavy):
    """From draws: the push, and its derivatives in log-shares and means."""
    kind, s = draw(key, jnp.asarray(WEIGHTS), shifted(shift) + heavy, (draws,))
    value, one_hot = jax.nn.sigmoid(s), jax.nn.one_hot(kind, 3)
    in_share = jnp.mean((value - jnp.mean(value))[:, None] * one_hot, axis=0) * draws / (draws - 1)
    return jnp.mean(value), in_share, jnp.mean((value * (1 - value))[:, None] * one_hot, axis=0)


def shares(false):
    """Its share goes up at the cost of the other hospitals'."""
    return jnp.array([0.0, WEIGHTS[1], 1 - WEIGHTS[1]]) + false * jnp.array([1.0, 0.0, -1.0])


def pulls(key, draws, loss):
    """Mean pull on the positive, by number of negatives and share of false ones."""

    def one(key, false):
        _, s = draw(key, shares(false), shifted(0.0), (draws // 8, NEGATIVES[-1]))
        pull = lambda s: -jax.grad(loss)(POSITIVE, s)
        return jnp.stack([jnp.mean(jax.vmap(pull)(s[:, :k])) for k in NEGATIVES])

    return jax.vmap(one, out_axes=1)(jax.random.split(key, len(FALSE)), jnp.asarray(FALSE))


def enumerated(loss, order, k):
    """The pull with k negatives, over all k-tuples of quadrature points."""

    def one(false):
        points, log_w = quadrature.mixture_points(
            jnp.log(shares(false)), shifted(0.0), jnp.ones(3), order=min(order, 20)
        )
        pull = lambda ids: -jax.grad(loss)(POSITIVE, points[ids])
        return bias.expectation_over_samples(pull, log_w, k=k)

    return over_devices(one, jnp.asarray(FALSE))


def fixed_point(field):
    """Root of an increasing function in (-12, 12), by bisection."""

    def halve(_, ends):
        middle = jnp.mean(ends)
        return jnp.where(field(middle) > 0, ends.at[1].set(middle), ends.at[0].set(middle))

    return jnp.mean(jax.lax.fori_loop(0, 60, halve, jnp.array([-12.0, 12.0])))


def train(keys, law, steps, step_size):
    """Mean square distance of b from its fixed point when a step visits one hospital; what predicts it; own optima."""
    at = lambda b: _hospitals.push_and_slope(b, law, POSITIVE, PER_POSITIVE)
    root = fixed_point(lambda b: jnp.mean(at(b)[0]))
    push, slope = at(root)
    bend = jax.grad(lambda b: jnp.mean(at(b)[1]))
    terms = jnp.var(push), jnp.mean(slope), jnp.mean(slope**2), bend(root) / 2, jax.grad(bend)(root) / 6

    def one(key):
        def step(b, h):
            row = jax.tree.map(lambda x: x[h, None], law)
            push = _hospitals.push_and_slope(b, row, POSITIVE, PER_POSITIVE)[0][0]
            return b - step_size * push, (b - root) ** 2

        visits = jax.random.randint(key, (steps,), 0, len(law.points))
        return jnp.mean(jax.lax.scan(step, root, visits)[1][steps // 4 :])

    rows = jax.tree.map(lambda x: x[:, None], law)
    own = jax.vmap(lambda r: fixed_point(lambda b: _hospitals.push_and_slope(b, r, POSITIVE, PER_POSITIVE)[0][0]))(rows)
    return jax.vmap(one)(keys), jnp.stack([*terms, jnp.mean(push * slope), root]), own


@partial(jax.jit, static_argnames=("replicates", "draws", "steps", "loss", "order", "pair"))
def planted(key, *, replicates, draws, steps, loss, heavy, step_size, alike, order, pair):
    push_key, pull_key, train_key = jax.random.split(key, 3)
    push, by = jax.vmap(lambda d: (expected_push(jnp.log(WEIGHTS), shifted(d), order), derivatives(d)))(
        jnp.asarray(SHIFTS)
    )
    keys = jax.random.split(push_key, (replicates, len(SHIFTS)))
    drawn = over_devices(lambda k: jax.vmap(lambda k, d: pushes(k, d, draws, heavy))(k, jnp.asarray(SHIFTS)), keys)
    pull = over_devices(lambda k: pulls(k, draws, loss), jax.random.split(pull_key, replicates))

    def trained(keys, shift):
        law = _hospitals.planted_hospitals(shift, jnp.asarray(WEIGHTS), MEANS, OFFSETS)
        return train(keys, law, steps, step_size)

    keys = jax.random.split(train_key, (len(STABILITY_SHIFTS), replicates))
    jitter, law, best = over_devices(lambda x: trained(*x), (keys, jnp.asarray(STABILITY_SHIFTS) * (1 - alike)))
    drawn = (drawn[0], by[0], drawn[1], by[1], drawn[2])
    return push, *drawn, pull, enumerated(loss, order, pair), jitter.T, law, best


def derivatives(shift):
    """Of the push, in log-shares (kept a law) and in means."""
    return jax.grad(expected_push, argnums=(0, 1))(jnp.log(WEIGHTS), shifted(shift), 64)


def as_mixture(pairs, heavy):
    """The push if the scores of each kind were normal."""
    kinds = [pairs.scores[pairs.kind == c] for c in range(3)]
    moments = zip(*((np.log(len(k)), k.mean() + heavy, k.std()) for k in kinds), strict=True)
    return quadrature.mixture_expectation(jax.nn.sigmoid, *map(jnp.array, moments))
