"""One slab of anchors under one proposal: exact masses by enumeration, the sampled gradient by replicates."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nsx import entropy, losses, samplers
from nsx._types import Array


class Slab(NamedTuple):
    """Some anchors `(r, d)`, their positives `(r, d)`, the positives' places `(r,)`, labels `(r,)` or None."""

    anchors: Array
    positives: Array
    positive_ids: Array
    labels: Array | None


class Pool(NamedTuple):
    """The candidates `(n, d)` and their labels `(n,)` or None."""

    candidates: Array
    labels: Array | None


class Options(NamedTuple):
    """What is static: the loss's name, negative counts k ascending, replicates, the share that counts as hard."""

    loss: str
    num_negatives: tuple[int, ...]
    replicates: int
    hard_share: float


class Target(NamedTuple):
    """Of each anchor: scores over tau `(r, n)`, the positive's `(r,)`, who may be drawn, who is hard, who is false."""

    scores: Array
    positive: Array
    allowed: Array
    hard: Array
    false: Array


class Masses(NamedTuple):
    """Exact for each anchor `(r,)`: entropy of the proposal, its mass on hard and on false negatives."""

    entropy: Array
    hard: Array
    false: Array


class Moments(NamedTuple):
    """Of each anchor and number of negatives `(r, k)`, all unbiased: of the sampled gradient against the full one.

    Squared distance of the mean, squared length of the mean, its product with the full gradient, total variance;
    and the distance itself as a vector, `(r, k, d)`.
    """

    bias: Array
    length: Array
    along: Array
    variance: Array
    gap: Array


def target(slab: Slab, pool: Pool, temperature: Array, hard_share: float) -> Target:
    """Scores of the slab and the sets that the audit speaks of."""
    scores = jnp.matmul(slab.anchors, pool.candidates.T, precision="highest") / temperature
    positive = jnp.sum(slab.anchors * slab.positives, axis=1) / temperature
    place = jnp.arange(scores.shape[1])[None, :]
    allowed = place != slab.positive_ids[:, None]
    false = jnp.zeros_like(allowed)
    if slab.labels is not None:
        false = (slab.labels[:, None] == pool.labels[None, :]) & allowed
    true = allowed & ~false
    count = jnp.ceil(hard_share * jnp.sum(true, axis=1)).astype(jnp.int32)
    ordered = jnp.sort(jnp.where(true, scores, -jnp.inf), axis=1)
    last = jnp.take_along_axis(ordered, jnp.maximum(scores.shape[1] - count, 0)[:, None], axis=1)
    return Target(scores, positive, allowed, true & (scores >= last) & (count > 0)[:, None], false)


def full_gradient(found: Target, slab: Slab, pool: Pool, temperature: Array, loss: str, count: int) -> Array:
    """Gradient in the anchor `(r, d)`: of the full softmax, or of SGNS with k uniform negatives in expectation."""
    scores = jnp.where(found.allowed, found.scores, -jnp.inf)
    if loss == "info_nce":
        top = jnp.maximum(found.positive, jnp.max(scores, axis=1))
        weights = jnp.exp(scores - top[:, None])
        weights = weights / (jnp.sum(weights, axis=1) + jnp.exp(found.positive - top))[:, None]
        pull = jnp.sum(weights, axis=1)
    else:
        share = count / jnp.sum(found.allowed, axis=1, keepdims=True)
        weights, pull = jax.nn.sigmoid(scores) * share, jax.nn.sigmoid(-found.positive)
    push = jnp.matmul(weights, pool.candidates, precision="highest")
    return (push - pull[:, None] * slab.positives) / temperature


def log_law(found: Target, log_weights: Array) -> Array:
    """Normalised log q `(r, n)`, the positive left out."""
    law = jnp.where(found.allowed, jnp.broadcast_to(log_weights, found.scores.shape), -jnp.inf)
    return jax.nn.log_softmax(law, axis=1)


def masses(found: Target, log_q: Array) -> Masses:
    """What is exact about a proposal."""
    mass = lambda where: jnp.sum(jnp.where(where, jnp.exp(log_q), 0), axis=1)
    return Masses(entropy.entropy(log_q, 1.0, where=log_q > -jnp.inf), mass(found.hard), mass(found.false))


@functools.partial(jax.jit, static_argnames=("options",))
def slab_statistics(
    key: Array, slab: Slab, pool: Pool, log_weights: Array, temperature: Array, options: Options
) -> tuple[Masses, Array, tuple[Moments, Moments]]:
    """Masses, squared length of the full gradient `(r, k)`, and moments without and with the log-q correction."""
    found = target(slab, pool, temperature, options.hard_share)
    log_q = log_law(found, log_weights)
    most, rows = options.num_negatives[-1], found.scores.shape[0]
    draw = lambda key, law: samplers.draw_inverse(key, law, (options.replicates, most))
    ids = jax.vmap(draw)(jax.random.split(key, rows), log_q)
    at = lambda values: jnp.take_along_axis(values, ids.reshape(rows, -1), axis=1).reshape(ids.shape)
    scores, log_drawn, vectors = at(found.scores), at(log_q), pool.candidates[ids]
    out, sizes = ([], []), []
    for count in options.num_negatives:
        whole = full_gradient(found, slab, pool, temperature, options.loss, count)
        sizes.append(jnp.sum(whole**2, axis=1))
        for side, corrected in zip(out, (False, True), strict=True):
            law = _log_count(log_drawn, found, options.loss)[..., :count] if corrected else None
            pull, push = _slopes(found.positive, scores[..., :count], law, options.loss)
            sampled = jnp.einsum("rak,rakd->rad", push, vectors[:, :, :count], precision="highest")
            sampled = (sampled + pull[..., None] * slab.positives[:, None]) / temperature
            side.append(_moments(sampled, whole))
    stack = lambda parts: jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *parts)
    return masses(found, log_q), jnp.stack(sizes, axis=1), (stack(out[0]), stack(out[1]))


def _log_count(log_q: Array, found: Target, loss: str) -> Array:
    """Log of what a draw must be divided by: q, or q over the uniform law, the reference of SGNS."""
    if loss == "info_nce":
        return log_q
    return log_q + jnp.log(jnp.sum(found.allowed, axis=1))[:, None, None]


def _slopes(positive: Array, negatives: Array, law: Array | None, loss: str) -> tuple[Array, Array]:
    """Derivatives of the k-sample loss in the positive's and the negatives' scores, `(r, a)` and `(r, a, k)`."""
    positive = jnp.broadcast_to(positive[:, None], negatives.shape[:-1])
    if loss == "info_nce":
        shift = None if law is None else law + math.log(negatives.shape[-1])
        total = lambda p, n: jnp.sum(losses.info_nce(p, n, log_q_negatives=shift))
        return jax.grad(total, (0, 1))(positive, negatives)
    pull, push = jax.grad(lambda p, n: jnp.sum(losses.sgns(p, n)), (0, 1))(positive, negatives)
    return pull, push if law is None else push * jnp.exp(-law)


def _moments(sampled: Array, whole: Array) -> Moments:
    """From replicates `(r, a, d)` and the full gradient `(r, d)`."""
    replicates = sampled.shape[1]
    mean = jnp.mean(sampled, axis=1)
    variance = jnp.sum((sampled - mean[:, None]) ** 2, axis=(1, 2)) / (replicates - 1)
    noise = variance / replicates
    return Moments(
        bias=jnp.sum((mean - whole) ** 2, axis=1) - noise,
        length=jnp.sum(mean**2, axis=1) - noise,
        along=jnp.sum(mean * whole, axis=1),
        variance=variance,
        gap=mean - whole,
    )
