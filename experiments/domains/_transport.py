"""Attraction and repulsion of an embedding, five laws of negatives, descent by optax, and entropic transport."""

import jax
import jax.numpy as jnp
import optax


def squared(gap):
    return gap**2


def rounded(gap):
    """Like the distance far out: it sees the spread of the negatives."""
    return 4 * jnp.sqrt(1 + gap**2)


def shapes(points):
    """Atoms of the five laws, mean 0 and deviation 1 (the point aside), exactly."""
    u = (jnp.arange(points) + 0.5) / points
    atoms = jnp.stack([0 * u, jax.scipy.special.ndtri(u), u, jnp.sign(u - 0.5), -jnp.log1p(-u)])
    atoms = atoms - jnp.mean(atoms, axis=1, keepdims=True)
    spread = jnp.sqrt(jnp.mean(atoms**2, axis=1, keepdims=True))
    return atoms / jnp.where(spread > 0, spread, 1)


def descend(loss, start, steps, rate=0.2):
    """Where gradient descent comes to rest, its steps falling to 0."""
    optimiser = optax.sgd(optax.linear_schedule(rate, 0.0, steps))

    def step(carry, _):
        y, state = carry
        updates, state = optimiser.update(jax.grad(loss)(y), state)
        return (optax.apply_updates(y, updates), state), None

    return jax.lax.scan(step, (start, optimiser.init(start)), length=steps)[0][0]


def energy(y, anchor, negatives, repulsion, cost, sign):
    """Attraction by the square, repulsion by the mean cost; the last axis of y and of negatives is coordinates."""
    return jnp.sum((y - anchor) ** 2) - sign * repulsion * jnp.mean(jnp.sum(cost(y - negatives), axis=-1))


def entropic_gradient(y, atoms, penalty, apart):
    """Gradient in the first of two source atoms, at y and y + apart, of the entropic cost: from the Sinkhorn plan."""
    source = y + jnp.stack([jnp.zeros(()), apart])
    gap = source[:, None] - atoms
    kernel = -(gap**2) / penalty
    a, b = jnp.log(0.5), -jnp.log(atoms.size)

    def iterate(f, _):
        g = b - jax.nn.logsumexp(kernel + f[:, None], axis=0)
        return a - jax.nn.logsumexp(kernel + g, axis=1), None

    f, _ = jax.lax.scan(iterate, jnp.zeros(2), length=50)
    g = b - jax.nn.logsumexp(kernel + f[:, None], axis=0)
    return jnp.sum(jnp.exp(kernel + f[:, None] + g)[0] * 2 * gap[0])
