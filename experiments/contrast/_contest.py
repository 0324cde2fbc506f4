"""Worlds of anchors with a law of positives; what the audit predicts of samplers there, and what training shows."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsx import losses
from nsx.audit import GradientError, Problem, ProposalAudit, audit, from_embeddings, named_proposal

NAMES = ("uniform", "power:0.5", "power:0.75", "power:1", "gibbs:2", "scores:1", "scores:2", "ann:0.9", "ann:0.5")
TRAINED = (*NAMES, "scores:1")  # the exact softmax runs again, at half the step
CORRECTED = np.tile([0.0, 1.0], len(TRAINED))  # each as drawn, then with log q
EXACT = [2 * NAMES.index("scores:1") + 1, -1]
K = 8  # negatives
POSITIVES = 8  # of each anchor, drawn for the audit


class World(NamedTuple):
    """Anchors `(m, d)` before training, candidates `(n, d)`, p*(j | i) `(m, n)`, counts of the candidates `(n,)`."""

    anchors: jax.Array
    candidates: jax.Array
    law: jax.Array
    counts: jax.Array


@partial(jax.jit, static_argnames=("worlds", "anchors", "size", "dimension"))
def drawn_worlds(key, *, worlds, anchors, size=64, dimension=10):
    """Random vectors; the first coordinate of a candidate is how popular it is, and the law is not quite a softmax."""
    candidate_key, anchor_key, law_key = jax.random.split(key, 3)
    rank = jnp.log(jnp.arange(1.0, size + 1))
    candidates = jax.random.normal(candidate_key, (worlds, size, dimension))
    candidates = candidates.at[..., 0].set((rank.mean() - rank) / rank.std())
    true = (0.35 * jax.random.normal(anchor_key, (worlds, anchors, dimension))).at[..., 0].set(0.5)
    misfit = 0.3 * jax.random.normal(law_key, (worlds, anchors, size))
    law = jax.nn.softmax(jnp.einsum("wmd,wnd->wmn", true, candidates) + misfit)
    return World(true, candidates, law, jnp.mean(law, axis=1))


def loss(anchors, world):
    """Full softmax loss of each anchor, nats."""
    scores = anchors @ world.candidates.T
    return jax.nn.logsumexp(scores, axis=-1) - jnp.sum(world.law * scores, axis=-1)


def curvature(anchors, world):
    """Its Hessian, `(m, d, d)`."""
    p = jax.nn.softmax(anchors @ world.candidates.T)
    mean = p @ world.candidates
    return jnp.einsum("mn,nd,ne->mde", p, world.candidates, world.candidates) - mean[..., None] * mean[:, None]


@partial(jax.jit, static_argnames="steps")
@partial(jax.vmap, in_axes=(0, None))
def at_optimum(world, steps):
    """The world with its anchors at the minimum of the full softmax, by damped Newton steps; its largest curvature."""

    def newton(anchors, _):
        slope = (jax.nn.softmax(anchors @ world.candidates.T) - world.law) @ world.candidates
        move = jnp.linalg.solve(curvature(anchors, world), slope[..., None])[..., 0]
        return anchors - move / (1 + jnp.sqrt(jnp.sum(move * slope, axis=-1, keepdims=True))), None

    anchors = jax.lax.scan(newton, world.anchors, length=steps)[0]
    return world._replace(anchors=anchors), jnp.max(jnp.linalg.eigvalsh(curvature(anchors, world)))


def audited(key, world, replicates):
    """What the audit says of each contestant of one world, on the host, `(contestants, 6)`.

    Bias, drift, noise to signal, length of the mean gradient over the full one's; entropy and P(hard) of its law.
    """
    positive_key, audit_key = jax.random.split(key)
    shape = (len(world.anchors), POSITIVES)
    ids = np.ravel(jax.random.categorical(positive_key, jnp.log(world.law)[:, None], shape=shape))
    anchors = np.repeat(world.anchors, POSITIVES, axis=0)
    given = from_embeddings(anchors, world.candidates[ids], world.candidates, positive_ids=ids, counts=world.counts)
    made = [named_proposal(name, given, k=K, temperature=1.0) for name in NAMES]
    found = audit(audit_key, given, made, temperature=1.0, k=(K,), replicates=replicates, max_pairs=None)
    return np.array([_numbers(row, side) for row in found.proposals for side in (row.plain, row.corrected)])


def _numbers(row: ProposalAudit, side: GradientError) -> tuple[float, ...]:
    """The six numbers of one contestant."""
    bias = side.bias[0].value
    signal_to_noise = side.signal_to_noise[0].value
    noise = np.sqrt(side.error[0].value ** 2 - bias**2)  # over the length of the full gradient
    length = signal_to_noise * noise
    return bias, side.drift[0].value, 1 / signal_to_noise, length, row.entropy.value, row.hard_probability.value


def laws(world, scores):
    """Log-weights of every proposal at its contestants' scores, `(contestants, m, n)`."""
    pool = Problem(None, None, world.candidates, None, None, None, world.counts)
    made = [named_proposal(name, pool, k=K, temperature=1.0).log_weights for name in TRAINED]
    parts = jnp.split(scores, len(TRAINED))
    return jnp.concatenate([jnp.broadcast_to(law(part), part.shape) for law, part in zip(made, parts, strict=True)])


def sampled_loss(anchor, positive, draws, candidates, log_q, corrected):
    """InfoNCE of one positive against K draws, with or without log q."""
    log_expected = corrected * (log_q[draws] + np.log(K))  # of the draws of each, or 0
    return losses.info_nce(candidates[positive] @ anchor, candidates[draws] @ anchor - log_expected)


@partial(jax.jit, static_argnames=("steps", "burn"))
@partial(jax.vmap, in_axes=(0, 0, 0, None, None, None))
def train(key, world, rates, corrected, steps, burn):
    """Every contestant from the same start, each at its rate: excess of the mean iterate, and of iterates over it.

    Nats, mean over anchors, of the iterates after the first `burn`: `(contestants, 2)`.
    """
    slope = jax.vmap(jax.grad(sampled_loss), (0, 0, 0, None, 0, None))
    slope = jax.vmap(slope, (0, None, 0, None, 0, 0))
    shape = (len(world.anchors), K, len(world.candidates))

    def step(state, late):
        key, here, total, excess = state
        key, positive_key, draw_key = jax.random.split(key, 3)
        positive = jax.random.categorical(positive_key, jnp.log(world.law))
        scores = here @ world.candidates.T
        allowed = jnp.arange(shape[-1]) != positive[:, None]
        log_q = jax.nn.log_softmax(jnp.where(allowed, laws(world, scores), -jnp.inf))
        luck = jax.random.gumbel(draw_key, shape)  # common to all contestants
        ids = jnp.argmax(log_q[:, :, None] + luck, axis=-1)
        gradient = slope(here, positive, ids, world.candidates, log_q, corrected)
        now = jnp.mean(jax.nn.logsumexp(scores, axis=-1) - jnp.sum(world.law * scores, axis=-1), axis=-1)
        return (key, here - rates[:, None, None] * gradient, total + late * here, excess + late * now), None

    start = jnp.broadcast_to(world.anchors, (len(corrected), *world.anchors.shape))
    late = (jnp.arange(steps) >= burn).astype(start.dtype) / (steps - burn)
    state = (key, start, jnp.zeros_like(start), jnp.zeros_like(start[:, 0, 0]))
    (_, _, total, excess), _ = jax.lax.scan(step, state, late)
    least, mean = jnp.mean(loss(world.anchors, world)), jnp.mean(loss(total, world), axis=-1)
    return jnp.stack([mean - least, excess - mean], axis=-1)


@partial(jax.jit, static_argnames=("steps", "burn"))
@partial(jax.vmap, in_axes=(0, 0, None, None))
def exact_noise(world, rate, steps, burn):
    """Excess of iterates over their mean when q is the model's own softmax with log q: the linear closed form.

    That gradient is (1 - p_+) (mean of K draws - positive), unbiased, of a covariance that sums up. In an eigenvector
    of the Hessian the iterates are autoregressive from 0; their mean square less that of their mean is summed too.
    """
    p, c = jax.nn.softmax(world.anchors @ world.candidates.T), world.candidates
    second = jnp.einsum("mn,nd,ne->mde", p, c, c)
    spread = p @ c  # sum of p c; without candidate j, p q_j-mean (1 - p_j) = spread - p_j c_j
    rest = spread[:, None] - p[..., None] * c
    covariance = jnp.einsum("mj,mde->mde", world.law * (1 - p), second)
    covariance -= jnp.einsum("mj,jd,je->mde", world.law * (1 - p) * p, c, c)
    covariance = (covariance - jnp.einsum("mj,mjd,mje->mde", world.law, rest, rest)) / K
    away = c - spread[:, None]
    covariance += jnp.einsum("mj,mjd,mje->mde", world.law, away, away)
    values, vectors = jnp.linalg.eigh(curvature(world.anchors, world))
    shock = rate**2 * jnp.einsum("mdl,mde,mel->ml", vectors, covariance, vectors)
    stay, time = 1 - rate * values[..., None], jnp.arange(steps)
    square = jnp.mean((1 - stay ** (2 * time[burn:])) / (1 - stay**2), axis=-1)
    first = jnp.maximum(burn, time + 1)
    weight = stay ** (first - 1 - time) * (1 - stay ** (steps - first)) / (1 - stay) / (steps - burn)
    return jnp.mean(jnp.sum(values * shock * (square - jnp.sum(weight**2, axis=-1)), axis=-1)) / 2
