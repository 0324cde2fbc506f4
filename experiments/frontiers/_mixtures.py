"""Expected gradients while the law of the negatives slides from hard to uniform, and what predicts them."""

from functools import partial
from math import comb

import jax
import jax.numpy as jnp
import numpy as np

from nsx import bias, losses, samplers

RATES = np.linspace(0, 1, 9)
DRAWS = 3
DIMENSION = 4


def averaged(positive, negatives):
    """SGNS with the scores of the negatives averaged first."""
    return losses.sgns(positive, jnp.mean(negatives, keepdims=True))


def gradients_of(loss, anchor, context, vectors):
    """Loss and its gradient in the anchor, as one vector, for the ids drawn."""

    def evaluate(ids):
        value, slope = jax.value_and_grad(lambda x: loss(x @ context, vectors[ids] @ x))(anchor)
        return jnp.append(value, slope)

    return evaluate


def blended(fn, p, u):
    """E fn(j draws from u, the others from p) for j = 0..DRAWS, from the table of all samples."""
    n = p.size
    table = jax.vmap(fn)(jnp.indices((n,) * DRAWS).reshape(DRAWS, -1).T).reshape(*(n,) * DRAWS, -1)
    rows = []
    for j in range(DRAWS + 1):
        row = table
        for i in range(DRAWS):
            row = jnp.tensordot(u if i < j else p, row, axes=1)
        rows.append(row)
    return jnp.stack(rows)


def sweep(fn, laws, jointly):
    """The expectation over DRAWS at each of RATES; or, `jointly`, where all draws of a sample come from one end."""
    values = jax.vmap(lambda law: bias.expectation_over_samples(fn, law, k=DRAWS))(laws)
    rate = jnp.asarray(RATES)[:, None]
    return jnp.where(jointly, (1 - rate) * values[0] + rate * values[-1], values)


def world(key, candidates, hard, additive, ranked, stale, avoiding, jointly):
    """A random anchor, its positive and its candidates."""
    anchor_key, vector_key, positive_key, drift_key = jax.random.split(key, 4)
    anchor = jax.random.normal(anchor_key, (DIMENSION,))
    vectors = jax.random.normal(vector_key, (candidates, DIMENSION))
    context = anchor / 2 + jax.random.normal(positive_key, (DIMENSION,)) / 2

    def top(scores):
        law = samplers.from_scores(scores, temperature=1.0)
        return samplers.exclude(law, scores < jax.lax.top_k(scores, hard)[0][-1])

    log_true = top(vectors @ anchor)
    log_p = top((vectors + stale * jax.random.normal(drift_key, vectors.shape)) @ anchor)
    p, u = samplers.probabilities(log_true), jnp.full(candidates, 1 / candidates)
    spread = jnp.where(avoiding & (log_p > -jnp.inf), -jnp.inf, 0.0)
    laws = jax.vmap(lambda rate: samplers.mix(log_p, spread, rate=rate))(jnp.asarray(RATES))
    laws = jnp.where(avoiding, laws, jax.vmap(lambda rate: samplers.mix_uniform(log_p, rate=rate))(jnp.asarray(RATES)))
    sgns, nce = (gradients_of(f, anchor, context, vectors) for f in (additive, ranked))
    pushes = jax.nn.sigmoid(vectors @ anchor)[:, None] * vectors
    alone = jax.vmap(sgns)(jnp.arange(candidates)[:, None])[:, 1:]
    several, softmax = jnp.split(sweep(lambda ids: jnp.append(sgns(ids)[1:], nce(ids)), laws, jointly), [DIMENSION], 1)
    return (
        jax.vmap(lambda law: bias.expected_gradient(alone, law))(laws),
        several,
        softmax,
        blended(nce, p, u),
        jnp.stack([p @ pushes, u @ pushes]),
        -(1 - jax.nn.sigmoid(anchor @ context)) * context,
        samplers.probabilities(laws) @ (p > 0),
    )


@partial(jax.jit, static_argnames=("replicates", "candidates", "hard", "additive", "softmax"))
def worlds(
    key, stale, avoiding, jointly, *, replicates, candidates, hard,
    additive=losses.sgns, softmax=losses.info_nce,
):  # fmt: skip
    """Measured expectations of many worlds, and the closed forms that predict them.

    `stale`: the hard ones are those of vectors that have since moved; `avoiding`: the uniform part avoids the hard
    ones; `jointly`: all draws of a sample come from the hard law, or all from the uniform one.
    """
    fields = jax.vmap(lambda k: world(k, candidates, hard, additive, softmax, stale, avoiding, jointly))(
        jax.random.split(key, replicates)
    )
    return *fields, jnp.full(1, hard / candidates)


def lines(gradients):
    """Slope and intercept of each entry along RATES, by least squares."""
    rows = np.moveaxis(gradients, 1, 0).reshape(len(RATES), -1)
    intercept, slope = np.polynomial.polynomial.polyfit(RATES, rows, 1).reshape(2, len(gradients), -1)
    return slope, intercept


def chord(values):
    """The line between both ends of RATES."""
    return values[:, :1] + RATES[:, None] * (values[:, -1:] - values[:, :1])


def bernstein(blends):
    """The polynomial in RATES with these Bernstein coefficients."""
    rate, j = RATES[:, None], np.arange(DRAWS + 1)
    basis = np.array([comb(DRAWS, i) for i in j]) * rate**j * (1 - rate) ** (DRAWS - j)
    return np.einsum("ej,rjd->red", basis, blends)


def progress(gradients):
    """How far along the bias of the uniform law, in units of it, (r, e)."""
    moved = gradients - gradients[:, :1]
    return np.einsum("red,rd->re", moved, moved[:, -1]) / np.sum(moved[:, -1:] ** 2, axis=2)
