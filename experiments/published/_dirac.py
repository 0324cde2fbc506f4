"""The training methods of the Dirac-GAN as updates: penalties, instance noise, clipping; and the path they take."""

import jax
import jax.numpy as jnp
import numpy as np

from nsx import games

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(64)


def log_sigmoid_game(sign=1.0, penalty=lambda p: 0.0):
    """The Dirac-GAN; `sign` -1 is the non-saturating generator."""
    f = jax.nn.log_sigmoid
    return games.vector_field((lambda p: sign * f(sign * p[0] * p[1]), lambda p: penalty(p) - f(p[0] * p[1])))


def noisy_game(spread):
    """Instance noise of this spread on the datum and on the generated point, in expectation by quadrature."""
    weights = jnp.asarray(WEIGHTS / WEIGHTS.sum())
    mean = lambda psi, place: jax.nn.log_sigmoid(psi * (place + spread * jnp.asarray(NODES))) @ weights
    value = lambda p: mean(p[1], p[0]) + mean(-p[1], 0.0)
    return games.vector_field((value, lambda p: -value(p)))


def slope_penalty(strength, target=0.0):
    """R1 of the critic psi x at the datum; towards slope 1 it is WGAN-GP."""
    return lambda p: games.gradient_penalty(lambda x: p[1] * x[0], jnp.zeros((1, 1)), strength=strength, target=target)


def methods(step_size, scale):
    """Update of each method, the smooth ones first; penalties and noise (as a variance) are scaled."""
    plain, root, rule = log_sigmoid_game(), jnp.sqrt(scale), games.simultaneous
    fields = {
        "none": plain,
        "non-saturating": log_sigmoid_game(-1.0),
        **{f"R1, {g}": log_sigmoid_game(penalty=slope_penalty(g * scale)) for g in (0.3, 1, 2)},
        **{f"noise, {s}": noisy_game(s * root) for s in (0.7, 1)},
    }
    updates = {name: rule(field, step_size=step_size) for name, field in fields.items()}
    updates["consensus, 1"] = games.consensus(plain, step_size=step_size, strength=1.0 * scale)
    updates["symplectic, 2"] = games.symplectic(plain, step_size=step_size, strength=2.0 * scale)
    linear = lambda term: games.vector_field((lambda p: p[0] * p[1], lambda p: term(p) - p[0] * p[1]))
    free = rule(linear(lambda p: 0.0), step_size=step_size)
    clip = lambda s: games.PlayersState((s.players[0], jnp.clip(s.players[1], -1, 1)))
    updates["WGAN, clip 1"] = games.Update(free.init, lambda s: clip(free.step(s)))
    updates["WGAN-GP, 0.7"] = rule(linear(slope_penalty(0.7 * scale, 1.0)), step_size=step_size)
    return updates


def path(update, steps):
    """Norm of (theta, psi) over the steps, from (1, 1)."""
    norm = lambda s: jnp.hypot(*s.players)
    start = update.init((jnp.ones(()), jnp.ones(())))
    return jax.lax.scan(lambda s, _: (update.step(s), norm(update.step(s))), start, length=steps)[1]
