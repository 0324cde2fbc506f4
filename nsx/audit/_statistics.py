"""One slab of pairs under one proposal: exact masses by enumeration, the sampled gradient by replicates."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nsx import entropy, losses, samplers
from nsx._numerics import log_normalize
from nsx._types import Array

ROUNDING = 64 * float(jnp.finfo(jnp.float32).eps)  # of a sum of up to 1e6 products, relative to their lengths
FLOOR = 1e-15  # a gradient shorter than this, relative to the vectors, has a square that float32 does not know


class Slab(NamedTuple):
    """Some pairs: anchors `(r, d)`, positives `(r, d)`, the positives' places `(r,)`, labels `(r,)` or None."""

    anchors: Array
    positives: Array
    positive_ids: Array
    labels: Array | None


class Pool(NamedTuple):
    """The candidates `(n, d)` and their labels `(n,)` or None."""

    candidates: Array
    labels: Array | None


class Options(NamedTuple):
    """What is static: the loss's name, numbers of negatives k ascending, replicates, the share that counts as hard."""

    loss: str
    k: tuple[int, ...]
    replicates: int
    hard_share: float


class Target(NamedTuple):
    """What a slab is judged by, whoever proposes.

    `scores` over tau `(r, n)`, `positive` the positive's `(r,)`; `negative` who is no positive of the pair, `hard` and
    `false` among these, `(r, n)`.
    """

    scores: Array
    positive: Array
    negative: Array
    hard: Array
    false: Array


class FullGradient(NamedTuple):
    """The gradient `(r, d)` without its factor 1 / tau, as every gradient of the audit; and what it is measured by.

    `square` its squared length, `rounding` the square below which it is not told from 0, `pull` the weight of the
    positive in it, 0 where the pair is solved; each `(r,)`.
    """

    vector: Array
    square: Array
    rounding: Array
    pull: Array


class Masses(NamedTuple):
    """Exact for each pair `(r,)`: entropy of the proposal, its mass on hard and on false negatives."""

    entropy: Array
    hard: Array
    false: Array


class Moments(NamedTuple):
    """Of each pair and number of negatives `(r, k)`, all unbiased: of the sampled gradient against the full one.

    `bias` squared distance of the mean, `length` squared length of the mean, `along` its product with the full
    gradient, `variance` in total; and the distance itself as a vector, `gap` `(r, k, d)`.
    """

    bias: Array
    length: Array
    along: Array
    variance: Array
    gap: Array


class Statistics(NamedTuple):
    """All that is known of some pairs under one proposal: `square`, `rounding`, `pull` of FullGradient are `(r, k)`."""

    masses: Masses
    square: Array
    rounding: Array
    pull: Array
    plain: Moments
    corrected: Moments


class Draws(NamedTuple):
    """Of each pair, replicate and draw `(r, a, k)`: score over tau, log q, whether it counts; `vectors` `(r, a, k, d)`.

    A draw that does not count hit the pair's own positive: it is masked, and still one of the k.
    """

    scores: Array
    log_q: Array
    counts: Array
    vectors: Array


def target(slab: Slab, pool: Pool, temperature: Array, hard_share: float) -> Target:
    """Scores of the slab and the sets that the audit speaks of."""
    scores = jnp.matmul(slab.anchors, pool.candidates.T, precision="highest") / temperature
    positive = jnp.sum(slab.anchors * slab.positives, axis=1) / temperature
    place = jnp.arange(scores.shape[1], dtype=slab.positive_ids.dtype)[None, :]
    negative = place != slab.positive_ids[:, None]
    false = jnp.zeros_like(negative)
    if slab.labels is not None:
        false = (slab.labels[:, None] == pool.labels[None, :]) & negative
    true = negative & ~false
    # the hardest share of the true negatives, by the score of the last of them
    share = jnp.float32(hard_share) * jnp.sum(true, axis=1).astype(jnp.float32)
    count = jnp.ceil(share).astype(jnp.int32)
    ordered = jnp.sort(jnp.where(true, scores, -jnp.inf), axis=1)
    last = jnp.take_along_axis(ordered, jnp.maximum(scores.shape[1] - count, 0)[:, None], axis=1)
    hard = true & (scores >= last) & (count > 0)[:, None]
    return Target(scores, positive, negative, hard, false)


def full_gradient(found: Target, slab: Slab, pool: Pool, loss: str, k: int) -> FullGradient:
    """Gradient in the anchor: of the full softmax, or of SGNS with k uniform negatives in expectation."""
    scores = jnp.where(found.negative, found.scores, -jnp.inf)
    if loss == "info_nce":
        top = jnp.maximum(found.positive, jnp.max(scores, axis=1))
        weights = jnp.exp(scores - top[:, None])
        total = jnp.sum(weights, axis=1) + jnp.exp(found.positive - top)
        weights = weights / total[:, None]
        pull = jnp.sum(weights, axis=1)
    else:
        share = jnp.float32(k) / jnp.sum(found.negative, axis=1, keepdims=True).astype(jnp.float32)
        weights = jax.nn.sigmoid(scores) * share
        pull = jax.nn.sigmoid(-found.positive)
    vector = jnp.matmul(weights, pool.candidates, precision="highest") - pull[:, None] * slab.positives
    # how far rounding alone may take it from 0
    lengths = jnp.linalg.norm(pool.candidates, axis=1)
    own = jnp.linalg.norm(slab.positives, axis=1)
    summed = jnp.matmul(weights, lengths, precision="highest") + pull * own
    rounding = ROUNDING * summed + FLOOR * (jnp.max(lengths) + own)
    return FullGradient(vector, jnp.sum(vector**2, axis=1), rounding**2, pull)


def log_law(found: Target, log_weights: Array, shared: bool) -> Array:
    """Normalised log q `(r, n)`: over all candidates where draws are shared, else over the pair's negatives."""
    return log_normalize(log_weights if shared else jnp.where(found.negative, log_weights, -jnp.inf))


def masses(found: Target, log_q: Array) -> Masses:
    """What is exact about a proposal."""
    q = jnp.exp(log_q)
    return Masses(
        entropy=entropy.entropy(log_q, 1.0, where=log_q > -jnp.inf),
        hard=jnp.sum(jnp.where(found.hard, q, 0), axis=1),
        false=jnp.sum(jnp.where(found.false, q, 0), axis=1),
    )


def draw(key: Array, found: Target, pool: Pool, log_q: Array, options: Options) -> Draws:
    """Independent draws for each pair: as many replicates as asked of the largest k."""
    rows = len(log_q)
    shape = (options.replicates, options.k[-1])

    def of_one(key: Array, law: Array) -> Array:
        """The ids drawn for one pair."""
        return samplers.draw_inverse(key, law, shape)

    ids = jax.vmap(of_one)(jax.random.split(key, rows), log_q)

    def at_ids(values: Array) -> Array:
        """Entries `(r, n)` at the ids drawn."""
        return jnp.take_along_axis(values, ids.reshape(rows, -1), axis=1).reshape(ids.shape)

    return Draws(at_ids(found.scores), at_ids(log_q), at_ids(found.negative), pool.candidates[ids])


@functools.partial(jax.jit, static_argnames=("options", "shared"))
def slab_statistics(
    key: Array, slab: Slab, pool: Pool, log_weights: Array, temperature: Array, options: Options, shared: bool
) -> Statistics:
    """Masses, the full gradient's squares, and moments without and with the log-q correction."""
    found = target(slab, pool, temperature, options.hard_share)
    log_q = log_law(found, log_weights, shared)
    draws = draw(key, found, pool, log_q, options)
    full, plain, corrected = [], [], []
    for k in options.k:
        full.append(full_gradient(found, slab, pool, options.loss, k))
        first = Draws(*(part[:, :, :k] for part in draws))
        for side, with_log_q in ((plain, False), (corrected, True)):
            sampled = sampled_gradients(found, slab, first, options.loss, with_log_q)
            side.append(moments(sampled, full[-1].vector))
    return Statistics(
        masses=masses(found, log_q),
        square=jnp.stack([gradient.square for gradient in full], axis=1),
        rounding=jnp.stack([gradient.rounding for gradient in full], axis=1),
        pull=jnp.stack([gradient.pull for gradient in full], axis=1),
        plain=_stacked(plain),
        corrected=_stacked(corrected),
    )


def _stacked(parts: list[Moments]) -> Moments:
    """The moments of each k along a second axis."""
    return Moments(*(jnp.stack(columns, axis=1) for columns in zip(*parts, strict=True)))


def sampled_gradients(found: Target, slab: Slab, draws: Draws, loss: str, with_log_q: bool) -> Array:
    """Gradient in the anchor of the loss of k draws, `(r, a, d)`, without its factor 1 / tau."""
    num_negatives = jnp.sum(found.negative, axis=1).astype(jnp.float32)
    pull, push = score_slopes(found.positive, draws, num_negatives, loss, with_log_q)
    pushed = jnp.einsum("rak,rakd->rad", push, draws.vectors, precision="highest")
    return pushed + pull[..., None] * slab.positives[:, None]


def score_slopes(
    positive: Array, draws: Draws, num_negatives: Array, loss: str, with_log_q: bool
) -> tuple[Array, Array]:
    """Derivatives of the loss of k draws in the positive's and the negatives' scores, `(r, a)` and `(r, a, k)`.

    These are the functions of `nsx.losses` themselves. With log q, InfoNCE is its importance form, whose denominator's
    expectation is the full one; SGNS weighs each draw by the uniform law, its reference, over q.
    """
    positive = jnp.broadcast_to(positive[:, None], draws.scores.shape[:-1])

    def total(positive: Array, negatives: Array) -> Array:
        """The loss summed over pairs and replicates."""
        if loss == "sgns":
            return jnp.sum(losses.sgns(positive, negatives, where=draws.counts))
        log_q = draws.log_q if with_log_q else None
        return jnp.sum(losses.info_nce(positive, negatives, log_q_negatives=log_q, where=draws.counts))

    pull, push = jax.grad(total, (0, 1))(positive, draws.scores)
    if loss == "sgns" and with_log_q:
        log_uniform = -jnp.log(num_negatives)[:, None, None]
        push = push * jnp.exp(log_uniform - draws.log_q)
    return pull, push


def moments(sampled: Array, full: Array) -> Moments:
    """From replicates `(r, a, d)` and the full gradient `(r, d)`."""
    replicates = sampled.shape[1]
    mean = jnp.mean(sampled, axis=1)
    variance = jnp.sum((sampled - mean[:, None]) ** 2, axis=(1, 2)) / (replicates - 1)
    noise = variance / replicates  # what the mean of the replicates adds to a square
    gap = mean - full
    return Moments(
        bias=jnp.sum(gap**2, axis=1) - noise,
        length=jnp.sum(mean**2, axis=1) - noise,
        along=jnp.sum(mean * full, axis=1),
        variance=variance,
        gap=gap,
    )
