"""Words that attract each other in three geometries: their energies, and gradient descent on them."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments._devices import over_devices
from nsx import losses


def co_occurrence(noise, groups, across):
    """Groups of words, met 1/across times as often inside as across, scaled to rows of sum 1 (Sinkhorn)."""
    words = len(noise)
    group = jnp.arange(words) % groups
    weights = jnp.exp((noise + noise.T) / 4) * jnp.where(group[:, None] == group, 1, across) * (1 - jnp.eye(words))
    scaled = lambda _, w: w / jnp.sqrt(jnp.sum(w, 1)[:, None] * jnp.sum(w, 0))
    return jax.lax.fori_loop(0, 200, scaled, weights)


def squared(x, links):
    """sum S_ij |x_i - x_j|^2 / 4: word i is pulled by sum_j S_ij (x_j - x_i)."""
    shape = (len(x), *x.shape)
    return jnp.sum(links * losses.alignment(jnp.broadcast_to(x[:, None], shape), jnp.broadcast_to(x, shape))) / 4


def distance_energy(x, links, r):
    """Each pair pulled by its squared distance, r uniform noise words a pair pushed by theirs."""
    return squared(x, links) - r * squared(x, jnp.ones_like(links) / len(x))


def sphere_energy(x, links, r):
    """The noise pushes through the uniformity loss, scaled so that near one point it is that of distance_energy."""
    return squared(x, links) + r * (len(x) - 1) / 8 * losses.uniformity(x, temperature=2.0)


def dot_energy(vu, links, r):
    """Expected SGNS loss with r uniform noise words a pair; the first half of vu is v, the second u."""
    pulled = lambda s: losses.sgns(s, s[..., None], where=jnp.zeros((*s.shape, 1), bool))
    scores = vu[: len(links)] @ vu[len(links) :].T
    return jnp.sum(links * pulled(scores)) + r / len(links) * jnp.sum(pulled(-scores))


def on_sphere(x):
    """Each word at norm 1."""
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def spread(x):
    """Root mean square distance from the centroid."""
    return jnp.sqrt(jnp.mean(jnp.sum((x - jnp.mean(x, axis=0, keepdims=True)) ** 2, axis=1)))


def points_left(x):
    """Words that no earlier word sits on."""
    near = jnp.sum((x[:, None] - x) ** 2, axis=-1) < 1e-6
    return jnp.sum(~jnp.any(jnp.tril(near, -1), axis=1))


def gap(x, groups):
    """Distance between the centroids of the first two groups; words on the last axis but one."""
    return jnp.linalg.norm(jnp.mean(x[..., 0::groups, :], axis=-2) - jnp.mean(x[..., 1::groups, :], axis=-2), axis=-1)


def descend(energy, links, starts, repulsions, steps, *, step_size, keep=lambda x: x, decay=0.0):
    """Gradient descent from each start: the words at the end, and (runs, steps, 3) curves.

    The curves are the spread; the amplitude of the second eigenvector of the links across the first axis; the mean
    along that axis.
    """
    words, mode = len(links), jnp.linalg.eigh(links)[1][:, -2]

    def run(start, r):
        def step(x, _):
            seen = spread(x[:words]), jnp.linalg.norm(mode @ x[:words, 1:]), jnp.mean(x[:words, 0])
            return keep((1 - step_size * decay) * x - step_size * jax.grad(energy)(x, links, r)), jnp.stack(seen)

        return jax.lax.scan(step, keep(start), length=steps + 1)

    end, seen = over_devices(lambda each: run(*each), (starts, repulsions), together=True)
    return end[:, :words], seen


def runaway(sigma, times, *, norm, step_size):
    """Norm and mode of nearly aligned words under dot products, only pulled: the linearisation's two scalars."""
    mode, seen = 1.0, []
    for _ in range(times[-1] + 1):
        seen.append((norm, mode))
        pull = step_size / (1 + np.exp(norm**2))
        norm, mode = norm * (1 + pull), mode * (1 + pull * sigma)
    return np.array(seen)[times].T
