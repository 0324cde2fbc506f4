"""Triplets in a planted world: a linear encoder, raw or on the unit sphere, and how its negatives are chosen.

An item has SIGNAL directions that tell its class and SIGNAL that do not, all of variance 1 over items; within a
class the first have variance WITHIN. Negatives are items of other classes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import roots_genlaguerre
from scipy.stats import ncx2

from nsx import losses, samplers

SIGNAL, WITHIN, ANCHORS = 4, 0.25, 8
EASIEST, UNIFORM, SEMI_HARD, HARDEST = range(4)
RIVALS = 16  # items of other classes among which retrieval looks for the positive


class Run(NamedTuple):
    """One way to train; every field may be traced. `sphere`: embeddings of length 1; `bias`: a constant is learnt too.

    Wrong ways: `mask` 1 takes for semi-hard what is nearer than the positive, 2 what is beyond the margin; a `soft`
    hinge.
    """

    policy: jax.Array
    count: jax.Array
    sphere: jax.Array
    bias: jax.Array
    margin: jax.Array
    rate: jax.Array
    mask: jax.Array
    soft: jax.Array


def semi_hard(near, far, run):
    masks = samplers.semi_hard(near, far, margin=run.margin), far < near[..., None], far > near[..., None] + run.margin
    return jnp.stack(masks)[run.mask]


def triplet(near, far, run):
    hinge = losses.triplet(near, far, margin=run.margin)
    return jnp.where(run.soft, jax.nn.softplus(near - far + run.margin), hinge)


def draw(key, pool, width):
    """Anchors, their positives (ANCHORS, 2 SIGNAL), and a pool of negatives of this width, all directions alike."""
    size = 2 * SIGNAL
    normal = jax.random.normal(key, (3 * ANCHORS + pool, size))
    shared, first, second, others = jnp.split(normal, [ANCHORS, 2 * ANCHORS, 3 * ANCHORS])
    signal = jnp.arange(size) < SIGNAL
    centre = jnp.where(signal, jnp.sqrt(1 - WITHIN) * shared, 0)
    scale = jnp.where(signal, WITHIN**0.5, 1)
    return centre + scale * first, centre + scale * second, width * others


def embed(encoder, items, sphere):
    matrix, constant = encoder
    y = items @ matrix.T + constant
    square = jnp.sum(y**2, axis=-1, keepdims=True)
    return jnp.where(sphere, y / jnp.sqrt(jnp.where(sphere, square, 1)), y)


def squared(x, y):
    return jnp.sum((x - y) ** 2, axis=-1)


def distances(encoder, batch, sphere):
    """Squared distances of the anchors to their positives and to all negatives."""
    anchor, positive, negatives = (embed(encoder, items, sphere) for items in batch)
    return squared(anchor, positive), squared(anchor[:, None], negatives)


def choose(key, near, far, run):
    """One negative an anchor of the first `count`: farthest, any, nearest semi-hard, nearest; -1 if none."""
    where = jnp.broadcast_to(jnp.arange(far.shape[-1]) < run.count, far.shape)
    scores = jnp.stack([far, jax.random.uniform(key, far.shape), -far, -far])[run.policy]
    allowed = (run.policy != SEMI_HARD) | semi_hard(near, far, run)
    return samplers.hardest(scores, k=1, where=where & allowed)[..., 0]


def mean_loss(encoder, batch, ids, run):
    anchor, positive, negatives = (embed(encoder, items, run.sphere) for items in batch)
    loss = triplet(squared(anchor, positive), squared(anchor, negatives[ids]), run)
    return jnp.mean(jnp.where(ids >= 0, loss, 0))


def gradient(key, encoder, batch, run):
    """Loss, its gradient in the encoder at the negatives chosen, these, and the distances."""
    near, far = distances(encoder, batch, run.sphere)
    ids = choose(key, near, far, run)
    loss, (matrix, constant) = jax.value_and_grad(mean_loss)(encoder, batch, ids, run)
    return loss, (matrix, jnp.where(run.bias, constant, 0)), ids, (near, far)


def start(runs):
    """The identity, and next to no constant, for each run."""
    size = 2 * SIGNAL
    constant = jnp.where(runs.bias[:, None], 0.01, 0) * jnp.ones(size)
    return jnp.broadcast_to(jnp.eye(size), (len(runs.count), size, size)), constant


def train(key, runs, replicates, pool, blocks, steps, width):
    """Loss, spread of the embeddings (mean squared distance to negatives) and retrieval, (blocks, replicates, runs):
    every run of a replicate sees the same batches.
    """

    def step(encoders, key):
        drawn, chosen = jax.random.split(key)
        batch = draw(drawn, pool, width)

        def one(encoder, run):
            loss, slope, _, (near, far) = gradient(chosen, encoder, batch, run)
            found = jnp.mean(near < jnp.min(far[:, :RIVALS], axis=1))
            return jax.tree.map(lambda x, g: x - run.rate * g, encoder, slope), (loss, jnp.mean(far), found)

        return jax.vmap(one)(encoders, runs)

    def block(encoders, keys):
        encoders, seen = jax.lax.scan(jax.vmap(step), encoders, keys)
        return encoders, tuple(jnp.mean(x, axis=0) for x in seen)

    many = jax.tree.map(lambda x: jnp.broadcast_to(x, (replicates, *x.shape)), start(runs))
    return jax.lax.scan(block, many, jax.random.split(key, (blocks, steps // blocks, replicates)))[1]


def collapsed(run):
    """Next to the collapsed point: little signal, no noise; on the sphere the constant stands for length 1."""
    size = 2 * SIGNAL
    matrix = 1e-3 * jnp.diag(jnp.arange(size) < SIGNAL).astype(float)
    return matrix, jnp.where(run.sphere, jnp.arange(size) == size - 1, 0).astype(float)


def forces(keys, encoder, run, pool, width):
    """Growth rate of the matrix, relative to it and a unit of step size, mean over batches; and the largest error, in
    any batch, of the loss's derivative in the log of the scale against its closed form in the distances.
    """

    def one(key):
        drawn, chosen = jax.random.split(key)
        _, slope, ids, (near, far) = gradient(chosen, encoder, draw(drawn, pool, width), run)
        parts = [jnp.sum(g * x) for g, x in zip(slope, encoder, strict=True)]
        far = jnp.take_along_axis(far, ids[:, None], axis=1)[:, 0]
        gaps = jnp.where(far < near + run.margin, near - far, 0)
        return -parts[0], sum(parts) - jnp.where(run.sphere, 0, 2 * jnp.mean(gaps))

    rate, error = jax.vmap(one)(keys)
    return jnp.mean(rate) / jnp.sum(encoder[0] ** 2), jnp.max(jnp.abs(error))


def nearest(counts):
    """Mean squared distance from an item to the nearest of `counts` others in the signal directions, by quadrature."""
    half, weights = roots_genlaguerre(32, SIGNAL / 2 - 1)  # of the anchor's squared length
    t = np.linspace(0, 1, 801) ** 2 * 120
    survival = ncx2.sf(t, SIGNAL, 2 * half[:, None])
    means = [np.trapezoid(survival**n, t, axis=1) for n in np.atleast_1d(counts)]
    return np.array(means) @ weights / weights.sum()


def exact_growth(counts):
    """The growth rate at the collapsed point with the hardest of so many negatives."""
    return -2 * (2 * SIGNAL * WITHIN - nearest(counts)) / SIGNAL


def boundary():
    """The count at which it vanishes, interpolated in log count."""
    counts = 2.0 ** np.linspace(1, 8, 57)
    return np.exp(np.interp(0, -exact_growth(counts), np.log(counts)))
