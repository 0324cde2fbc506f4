"""A noise law's shares of the draws and of the push, over a planted table of imbalanced classes."""

import jax
import jax.numpy as jnp
import numpy as np

from nsx import losses, samplers, words

CLASSES, ANCHORS, IMBALANCE, NEGATIVES = 20, 8, 1000.0, 5  # the last class is the rarest
PAUSES = np.array([10, 30, 100, 300, 1000])  # steps


def imbalanced(key):
    """Classes in geometric steps from 1000 to 1, each with anchors of its own taste."""
    frequency = IMBALANCE ** -jnp.linspace(0, 1, CLASSES)
    taste = jax.nn.softmax(jax.random.normal(key, (ANCHORS, CLASSES)), axis=0)
    return taste * frequency / jnp.sum(frequency)


def sample(key, joint, law, tables, kept, replicates, examples):
    """Shares of the draws, pushes at each table of scores, and how long the rarest class goes undrawn."""
    pair_key, noise_key = jax.random.split(key)
    shape = (replicates, examples)
    anchor, positive = jnp.divmod(samplers.draw_inverse(pair_key, jnp.log(joint).ravel(), shape), CLASSES)
    noise = samplers.draw_inverse(noise_key, law, (*shape, NEGATIVES))
    where = jnp.broadcast_to(jnp.arange(NEGATIVES) < kept, noise.shape)
    by_class = lambda x: jax.vmap(lambda i, v: jnp.zeros(CLASSES, v.dtype).at[i].add(v))(noise, x) / examples

    def push(scores):
        loss = lambda negatives: jnp.sum(losses.sgns(scores[anchor, positive], negatives, where=where))
        return by_class(jax.grad(loss)(scores[anchor[..., None], noise]))

    drawn = jnp.any(where & (noise == CLASSES - 1), axis=-1)
    blocks = lambda n: drawn[:, : examples // n * n].reshape(replicates, -1, n)
    never = [jnp.mean(~jnp.any(blocks(int(n)), axis=-1), axis=-1, dtype=joint.dtype) for n in PAUSES]
    return by_class(where.astype(joint.dtype)) / kept, jnp.stack([push(t) for t in tables]), jnp.stack(never, axis=-1)


def pushes(scores, joint, law, k):
    """Weight of the push on each class a step: the part of the expected gradient that is not the pull."""
    gradient = jax.grad(lambda s: words.expected_sgns(s, joint, negatives=k, log_weights=law))(scores)
    return jnp.sum(gradient + joint * jax.nn.sigmoid(-scores), axis=0)


def equalising(joint, law_of, k, progress):
    """Newton through the exponent, to equal push on the commonest and the rarest class."""

    def gap(alpha):
        law = law_of(alpha)
        log_push = jnp.log(pushes(progress * words.sgns_optimum(joint, negatives=k, log_weights=law), joint, law, k))
        return log_push[0] - log_push[-1]

    step = lambda _, alpha: alpha - jnp.divide(*jax.value_and_grad(gap)(alpha))
    return jax.lax.fori_loop(0, 20, step, jnp.zeros_like(k))


def noise_law(joint, alpha):
    weights = joint.sum(axis=0) ** alpha
    return weights / weights.sum()


def push_at_optimum(joint, alpha, k):
    """What each class is pulled: half the harmonic mean of the pairs seen and the pairs drawn."""
    drawn = k * joint.sum(axis=1, keepdims=True) * noise_law(joint, alpha)
    return (joint * drawn / (joint + drawn)).sum(axis=0)


def normalised(push):
    return push / push.sum(axis=-1, keepdims=True)


def root(joint, k, low=-4.0, high=1.0):
    """The alpha of equal push on the commonest and the rarest class at the optimum, by bisection."""
    for _ in range(60):
        middle = (low + high) / 2
        push = push_at_optimum(joint, middle, k)
        low, high = (low, middle) if push[0] > push[-1] else (middle, high)
    return middle
