"""Clusters in far groups of two siblings, told apart by a coarse and a fine gain, and negatives chosen among a few."""

import jax
import jax.numpy as jnp
import numpy as np

from nsx import losses, samplers

GROUPS, ANCHORS, POOL = 64, 8, 8
CLUSTERS = np.arange(1, 2 * GROUPS)  # the negatives of cluster 0; 1 is its sibling
MARGIN, RATE, TAU, START = 1.0, 0.5, 0.1, (0.6, 0.02)
UNIFORM, SEMI_HARD, HARDEST, INFO_NCE = range(4)


def distances(gains, ids):
    """Squared distances of cluster 0 to others: clusters 2g and 2g + 1 are siblings."""
    coarse, fine = gains
    return coarse**2 * (ids > 1) + fine**2 * (ids % 2)


def chosen(run, far, noise, pool):
    """Which of the candidates (anchors, POOL) a run takes, -1 for none."""
    where = jnp.broadcast_to(jnp.arange(POOL) < pool, far.shape)
    semi = where & samplers.semi_hard(jnp.zeros(ANCHORS), far, margin=MARGIN)
    scores = jnp.where(run == HARDEST, -far, noise)
    return samplers.hardest(scores, k=1, where=jnp.where(run == SEMI_HARD, semi, where))[:, 0]


def triplet(far, world):
    return jnp.where(world["soft"], jax.nn.softplus(MARGIN - far), losses.triplet(0.0, far, margin=MARGIN))


def hardest_share(gains, tau):
    """Share of InfoNCE's push, all clusters as negatives, on the hardest 1 %: the nearest."""
    far = distances(gains, jnp.asarray(CLUSTERS))
    push = jax.grad(lambda s: losses.info_nce(0.0, s, temperature=tau))(-far)
    return jnp.max(push) / jnp.sum(push)


def hits():
    """Share of the triplets of each hinge run whose negative is the sibling."""
    rho = 1 / len(CLUSTERS)
    return np.array([rho, *[1 - (1 - rho) ** POOL] * 2])
