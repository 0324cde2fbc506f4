"""What a sampled softmax learns from a context with several right answers, by the rule for its candidates."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._devices import over_devices
from experiments.contrast._expected import count_vectors, multinomial
from nsx import losses, samplers

# three items of one context: the law of positives and the proposal
TRUTH, PROPOSAL = np.array([0.7, 0.2, 0.1]), np.array([0.4, 0.35, 0.25])
RULES = (
    "both: hits kept",
    "both: masked",
    "both: masked, distinct (TF)",
    "negatives: masked",
    "negatives: kept",
    "none: kept (TFRS)",
)
# a batch from contexts with several right items: P(context), P(item | context)
CONTEXTS, ITEMS = np.array([0.6, 0.4]), np.array([[0.7, 0.2, 0.1], [0.2, 0.3, 0.5]])
PAIRS = 8


class Rule(NamedTuple):
    """How a sampled softmax treats its candidates; every field may be traced.

    `mask` takes hits of the positive out, `distinct` counts a candidate drawn twice once. The log q subtracted is
    `log_q_positive` (n,) at the positive, `log_q_negatives` (n,) at the others.
    """

    mask: jax.Array
    distinct: jax.Array
    log_q_positive: jax.Array
    log_q_negatives: jax.Array


def expected_loss(scores: jax.Array, truth: jax.Array, counts: jax.Array, weights: jax.Array, rule: Rule) -> jax.Array:
    """Mean InfoNCE of one context with positives from `truth` (n,) and draws in all ways `counts` (rows, n)."""
    items = jnp.arange(scores.shape[0])

    def given(positive):
        where = (counts > 0) & ~(rule.mask & (items == positive))
        log_counts = jnp.where(rule.distinct, 0, jnp.log(jnp.maximum(counts, 1)))
        loss = losses.info_nce(
            jnp.broadcast_to(scores[positive], counts.shape[:1]),
            jnp.broadcast_to(scores, counts.shape),
            log_q_positive=rule.log_q_positive[positive],
            log_q_negatives=rule.log_q_negatives - log_counts,
            where=where,
        )
        return jnp.sum(weights * loss)

    return jnp.sum(truth * jax.vmap(given)(items))


def minimise(loss, start: jax.Array, steps: int = 40) -> jax.Array:
    """The least of a convex loss of scores known up to a constant, as log-probabilities: Newton, steps of at most 1."""

    def fixed(scores):
        return loss(scores) + jnp.mean(scores) ** 2 / 2

    def step(scores, _):
        move = jnp.linalg.solve(jax.hessian(fixed)(scores), jax.grad(fixed)(scores))
        return scores - move / jnp.maximum(1, jnp.max(jnp.abs(move))), None

    return jax.nn.log_softmax(jax.lax.scan(step, start, length=steps)[0])


@jax.jit
def learn(tables, counts, world):
    """The optimum of every rule at every number of draws, by Newton's method on the exact expectation."""
    truth, q = (jnp.asarray(x) ** world["contrast"] for x in (TRUTH, PROPOSAL))
    truth, log_q = truth / jnp.sum(truth), jax.nn.log_softmax(jnp.log(q))

    def at(table, count):
        nothing, scaled = jnp.zeros(3), log_q + jnp.log(count)
        inclusion = jnp.log(-jnp.expm1(count * jnp.log1p(-jnp.exp(log_q))))
        distinct = jnp.arange(6) == 2
        on_positive = jnp.stack([log_q, log_q, inclusion, nothing, nothing, nothing])
        on_negatives = jnp.stack([log_q, log_q, inclusion, scaled, scaled, nothing])
        mask = jnp.asarray([False, True, True, True, False, False]) ^ world["flip"]
        rules = Rule(mask, distinct, on_positive, on_negatives)
        weights = multinomial(table, count, log_q)
        start = jnp.log(truth)
        optimum = lambda rule: minimise(lambda s: expected_loss(s, truth, table, weights, rule), start)
        return jax.vmap(optimum)(rules)

    def kept_for_ever(scores):
        return jnp.sum(truth * (jnp.logaddexp(jax.nn.logsumexp(scores), scores) - scores))

    return jnp.swapaxes(over_devices(lambda x: at(*x), (tables, counts)), 0, 1), minimise(kept_for_ever, jnp.log(truth))


def gradient_at_truth(key, rows, world):
    """Mean gradient of the in-batch loss in the scores at log P(item | context), (kept or masked, contexts, items)."""
    context_key, item_key = jax.random.split(key)
    context = samplers.draw_inverse(context_key, jnp.log(CONTEXTS), (rows, PAIRS))
    item = jax.random.categorical(item_key, jnp.log(ITEMS)[context])
    log_q = world["log_q"] * jnp.log(CONTEXTS @ ITEMS)

    def mean_loss(scores, masked):
        # on the scores of the batch: `in_batch_info_nce` refuses a mask together with log q on the positive
        def one(context, item):
            ids = jnp.where(masked & world["mask"], item, jnp.arange(PAIRS))
            negatives = scores[context][:, item]
            return jnp.mean(
                losses.info_nce(
                    jnp.diagonal(negatives),
                    negatives,
                    log_q_positive=log_q[item],
                    log_q_negatives=jnp.broadcast_to(log_q[item], negatives.shape),
                    where=ids[:, None] != ids[None, :],
                )
            )

        return jnp.mean(jax.vmap(one)(context, item))

    return jax.vmap(jax.grad(mean_loss), (None, 0))(jnp.log(ITEMS), jnp.arange(2) == 1)


@jax.jit
def enumerate_gradient():
    """The same mean gradient summed over all batches, (kept or masked, contexts, items)."""
    q = jnp.asarray(CONTEXTS @ ITEMS)
    counts = jnp.asarray(count_vectors(PAIRS - 1, 3, PAIRS * (PAIRS + 1) // 2), q.dtype)
    weights = multinomial(counts, PAIRS - 1, jnp.log(q))

    def one(masked, share, truth):
        rule = Rule(masked, False, jnp.log(q), jnp.log(q))
        return share * jax.grad(expected_loss)(jnp.log(truth), truth, counts, weights, rule)

    over_contexts = jax.vmap(one, (None, 0, 0))
    return jax.vmap(over_contexts, (0, None, None))(jnp.arange(2) == 1, jnp.asarray(CONTEXTS), jnp.asarray(ITEMS))
