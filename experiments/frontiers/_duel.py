"""The bilinear duel a x y with norm penalties: runs of every update rule, and their closed forms."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from nsx import games

DAMPING, STRENGTH = 0.3, 0.5
RULES = {
    "simultaneous": games.simultaneous,
    "alternating": games.alternating,
    "extragradient": games.extragradient,
    "optimistic": games.optimistic,
    "consensus": partial(games.consensus, strength=STRENGTH),
}
STEPS = np.linspace(0.05, 1.65, 17)
NEAR = np.array([0.98, 1.02])  # of the largest stable step
PENALTIES = np.geomspace(0.1, 10, 13)


def duel(a, r1, r2):
    """Min over x, max over y of a x y, each with its penalty."""
    return games.vector_field(
        (
            lambda p: a * p[0] * p[1] + games.norm_penalty(p[0], strength=r1),
            lambda p: -a * p[0] * p[1] + games.norm_penalty(p[1], strength=r2),
        )
    )


def origin():
    return jnp.zeros(()), jnp.zeros(())


def step_matrix(update, players):
    """Jacobian of one step, in a 4 x 4 frame."""
    jacobian = games.linearize(update.step, update.init(players)).jacobian
    return jnp.zeros((4, 4)).at[: len(jacobian), : len(jacobian)].set(jacobian)


def grow(update, steps):
    """Log growth a step over the later half of a run of a linear game, rescaled at every step."""
    flat, unravel = ravel_pytree(update.init((jnp.ones(()), jnp.asarray(0.3))))

    def step(z, _):
        z = ravel_pytree(update.step(unravel(z)))[0]
        return z / jnp.linalg.norm(z), jnp.log(jnp.linalg.norm(z))

    return jnp.mean(jax.lax.scan(step, flat / jnp.linalg.norm(flat), length=steps)[1][steps // 2 :])


def bilinear(turn, stride, steps):
    """Radius, matrix, growth over STEPS; largest stable step and growth beside it; for every rule."""
    field, rows = duel(turn, DAMPING, DAMPING), []
    for make in RULES.values():
        rule = lambda h, make=make: make(field, step_size=h)
        radii, matrices = jax.vmap(
            lambda h, rule=rule: (games.spectral_radius(rule(h), origin()), step_matrix(rule(h), origin()))
        )(jnp.asarray(STEPS))
        limit = games.largest_stable_step(rule, origin(), low=0.02, high=6.0)
        rates = jax.vmap(lambda h, rule=rule: grow(rule(h), steps))(stride * jnp.append(STEPS, NEAR * limit))
        rows.append((radii, matrices, rates[: len(STEPS)], limit, rates[len(STEPS) :]))
    return [jnp.stack(x) for x in zip(*rows, strict=True)]


def one_sided(turn, sign, unit):
    """A penalty on one player only: abscissa of the flow, radius of a step, largest stable step."""

    def one(g):
        field = duel(turn, sign * g, 0.0)
        rule = lambda h: games.simultaneous(field, step_size=h)
        limit = games.largest_stable_step(rule, origin(), low=1e-3, high=9.0)
        return games.linearize(field, origin()).abscissa, games.spectral_radius(rule(unit), origin()), limit

    return jax.vmap(one)(jnp.asarray(PENALTIES))


def multipliers(name, h):
    """One step's eigenvalues on the duel of strength 1 with damping 0.3 twice, in closed form."""
    lam = np.array([-DAMPING + 1j, -DAMPING - 1j])
    if name == "alternating":
        u = 1 - h * DAMPING
        return np.roots([1, h**2 - 2 * u, u**2])
    if name == "optimistic":
        return np.concatenate([np.roots([1, -(1 + 2 * h * x), h * x]) for x in lam])
    return (
        1
        + h
        * {
            "simultaneous": lam,
            "extragradient": lam + h * lam**2,
            "consensus": lam - STRENGTH * abs(lam) ** 2,
        }[name]
    )


def reach(name):
    """The step at which the closed form leaves the unit circle, by bisection."""
    low, high = 0.02, 6.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if np.abs(multipliers(name, middle)).max() < 1 else (low, middle)
    return low


def bound(g):
    """The largest stable step under a penalty on one player."""
    return np.where(g <= 2, g, 4 / (g + np.sqrt(np.maximum(g**2 - 4, 0))))
