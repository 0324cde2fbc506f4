"""Words that attract each other in three geometries: the links between them, their energies, gradient descent."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from experiments._devices import over_devices
from nsx import losses

GROUPS = 3  # words of one group meet four times as often as words of two
ACROSS = 0.25
SWEEPS = 200  # of Sinkhorn's scaling; it has converged to rounding after 100


def planted_links(key: Array, words: int) -> Float[Array, "words words"]:
    """How often words meet: a random table with groups, scaled to rows and columns of sum 1."""
    chance = jax.random.normal(key, (words, words))
    group = jnp.arange(words) % GROUPS
    together = jnp.where(group[:, None] == group, 1, ACROSS)
    return doubly_stochastic(jnp.exp((chance + chance.T) / 4) * together)


def doubly_stochastic(table: Float[Array, "words words"]) -> Float[Array, "words words"]:
    """A symmetric table without its diagonal, scaled to rows and columns of sum 1 (Sinkhorn)."""
    table = table * (1 - jnp.eye(len(table)))

    def scale(_, table: Array) -> Array:
        return table / jnp.sqrt(jnp.sum(table, axis=1)[:, None] * jnp.sum(table, axis=0))

    return jax.lax.fori_loop(0, SWEEPS, scale, table)


# --- Energies: links pull, r noise words per pair push


def squared_distances(x: Array, links: Array) -> Array:
    """sum_ij S_ij |x_i - x_j|^2 / 4: word i is pulled by sum_j S_ij (x_j - x_i)."""
    shape = (len(x), *x.shape)
    distances = losses.alignment(jnp.broadcast_to(x[:, None], shape), jnp.broadcast_to(x, shape))
    return jnp.sum(links * distances) / 4


def distance_energy(x: Array, links: Array, repulsion: Array) -> Array:
    """Squared distances pull, and r uniform noise words per pair push by theirs."""
    return squared_distances(x, links) - repulsion * squared_distances(x, jnp.ones_like(links) / len(x))


def sphere_energy(x: Array, links: Array, repulsion: Array) -> Array:
    """Squared distances pull; noise pushes through the uniformity loss, which near one point is `distance_energy`."""
    return squared_distances(x, links) + repulsion * (len(x) - 1) / 8 * losses.uniformity(x, temperature=2.0)


def dot_energy(x: Array, links: Array, repulsion: Array) -> Array:
    """The expected SGNS loss with r uniform noise words per pair; the first half of x is v, the second u."""
    words = len(links)
    scores = x[:words] @ x[words:].T
    pulled = jnp.sum(links * positive_part(scores))
    pushed = jnp.sum(positive_part(-scores)) / words
    return pulled + repulsion * pushed


def positive_part(scores: Array) -> Array:
    """SGNS of one observed pair and no noise word."""
    return losses.sgns(scores, scores[..., None], where=jnp.zeros((*scores.shape, 1), bool))


def on_sphere(x: Array) -> Array:
    """Each word at norm 1."""
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def anywhere(x: Array) -> Array:
    """No constraint."""
    return x


# --- Descent


class Path(NamedTuple):
    """What is seen of each run."""

    spread: Float[Array, "runs steps"]  # rms distance from the centroid
    difference: Float[Array, "runs steps"]  # size of the slowest difference, across the first axis
    along: Float[Array, "runs steps"]  # mean over the words along the first axis
    end: Float[Array, "runs words dimension"]


def descend(
    energy: Callable,
    links: Array,
    starts: Float[Array, "runs points dimension"],
    repulsion: Float[Array, "runs"],
    *,
    steps: int,
    step_size: float,
    constraint: Callable = anywhere,
    decay: Array | float = 0.0,
) -> Path:
    """Gradient descent from each start; where there are twice as many points as words, the first half is looked at."""
    words = len(links)
    slowest = jnp.linalg.eigh(links)[1][:, -2]

    def run(start: Array, repulsion: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        def step(x: Array, _: None) -> tuple[Array, tuple[Array, Array, Array]]:
            across = jnp.linalg.norm(slowest @ x[:words, 1:])
            seen = (spread(x[:words]), across, jnp.mean(x[:words, 0]))
            moved = (1 - step_size * decay) * x - step_size * jax.grad(energy)(x, links, repulsion)
            return constraint(moved), seen

        return jax.lax.scan(step, constraint(start), length=steps + 1)

    end, (spreads, differences, along) = over_devices(lambda each: run(*each), (starts, repulsion), together=True)
    return Path(spread=spreads, difference=differences, along=along, end=end[:, :words])


def spread(x: Array) -> Array:
    """Root mean square distance from the centroid."""
    return jnp.sqrt(jnp.mean(jnp.sum((x - jnp.mean(x, axis=0, keepdims=True)) ** 2, axis=1)))
