"""A chain with every label sequence listed: contrasts with sets of other sequences, and their exact mean gradients.

A family of sets is `ids` and `where`, (n, g, p): for each truth g groups of p sequences, by number; its objective is
the sum over groups of one InfoNCE each.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._devices import over_devices
from experiments.domains._chains import scores_of
from nsx import bias, losses, samplers, sequences


class Family(NamedTuple):
    ids: np.ndarray
    where: np.ndarray


def every_sequence(length, labels):
    """All labels^length sequences, (n, t), in the order of their number in base `labels`."""
    return np.stack(np.unravel_index(np.arange(labels**length), (labels,) * length), axis=1).astype(np.int32)


def is_neighbour(every, labels):
    """True where column is one replacement or one swap of neighbours away from row, (n, n); False for itself."""
    n, t = every.shape
    near = (every[:, None] != every[None]).sum(-1) == 1
    for i in range(t - 1):
        order = np.arange(t)
        order[[i, i + 1]] = i + 1, i
        near[np.arange(n), np.ravel_multi_index(every[:, order].T, (labels,) * t)] = True
    return near & ~np.eye(n, dtype=bool)


def families(every, labels):
    """Single edits pooled, replacements position by position, swap by swap, and the first two kinds pooled apart."""
    n, t = every.shape
    number = lambda rows: np.ravel_multi_index(np.moveaxis(np.asarray(rows), -1, 0), (labels,) * t)
    one = jax.vmap(lambda y: sequences.replacements(y, num_labels=labels))(every)
    two = jax.vmap(sequences.adjacent_swaps)(every)
    both = jax.vmap(lambda y: sequences.neighbourhood(y, num_labels=labels))(every)
    family = lambda found, *shape: Family(*(np.asarray(x).reshape(n, *shape) for x in (number(found[0]), found[1])))
    return {
        "pooled": family(both, 1, -1),
        "by position": family(one, t, labels - 1),
        "swap by swap": family(two, t - 1, 1),
        "swaps": family(two, 1, -1),
        "replacements": family(one, 1, -1),
    }


def loss_of(family, scores, truth):
    """The family's objective for one truth, by number."""
    positive = jnp.broadcast_to(scores[truth], family.ids.shape[1:2])
    return jnp.sum(losses.info_nce(positive, scores[family.ids[truth]], where=family.where[truth]))


def gradients_of(family, scores, features):
    """Gradient of the family's objective in the chain's parameters for every truth, (n, parameters)."""
    groups = family.ids.shape[1]
    objective = lambda s, others, where: jnp.sum(losses.info_nce(jnp.broadcast_to(s, (groups,)), others, where=where))
    pull, push = jax.vmap(jax.grad(objective, argnums=(0, 1)))(scores, scores[family.ids], family.where)
    return pull[:, None] * features + jnp.einsum("ngp,ngpd->nd", push, features[family.ids])


def cosine(a, b):
    sizes = jnp.linalg.norm(a, axis=-1) * jnp.linalg.norm(b, axis=-1)
    return jnp.where(sizes > 0, jnp.sum(a * b, axis=-1) / jnp.where(sizes > 0, sizes, 1), 0)


def in_the_mean(unary, pairwise, every, near, scores, used, strangers):
    """Over truths drawn from the chain itself: mean cosines with the exact gradient, and mean gradients.

    Also the prediction of the pooled one, and the exact gradient's root mean square.
    """
    flat = lambda parts: jnp.concatenate([x.ravel() for x in parts])
    one = jax.grad(sequences.crf_log_score, argnums=(0, 1))
    features = jax.vmap(lambda y: flat(one(unary, pairwise, y)))(every)
    p = jax.nn.softmax(scores)
    exact = flat(sequences.crf_marginals(unary, pairwise))[None] - features
    gradients = {name: gradients_of(f, scores, features) for name, f in (used | {"strangers": strangers}).items()}
    order = ("strangers", "swaps", "replacements", "pooled", "by position")
    cosines = jnp.stack([cosine(gradients[name], exact) for name in order], axis=1)
    inside = near | jnp.eye(len(every), dtype=bool)
    share = inside.T @ (p / (inside @ p))
    return (
        bias.expected_gradient(cosines, scores),
        jnp.stack([bias.expected_gradient(gradients[k], scores) for k in ("pooled", "by position", "swap by swap")]),
        (p * (share - 1)) @ features,
        jnp.sqrt(bias.expected_gradient(jnp.sum(exact**2, axis=1), scores)),
    )


def by_importance(key, every, labels, draws, negatives, weighted):
    """Contrast with draws from independent positions, scores less log K q; those that hit the truth count 0."""
    unary_key, pairwise_key, draw_key = jax.random.split(key, 3)
    unary = jax.random.normal(unary_key, (every.shape[1], labels))
    pairwise = jax.random.normal(pairwise_key, (labels, labels)) / 2
    scores = scores_of(unary, pairwise, every)
    truth = jnp.argmax(scores)
    nll = sequences.crf_log_normalizer(unary, pairwise) - scores[truth]
    log_q = scores_of(jax.nn.log_softmax(unary), jnp.zeros_like(pairwise), every)
    ids = samplers.draw_inverse(draw_key, log_q, (draws, int(negatives[-1])))
    weight = jnp.where(weighted, log_q, -jnp.log(len(every)))
    first = jnp.arange(ids.shape[1])[None] < jnp.asarray(negatives)[:, None]

    def loss(mask):
        where = mask[None] & (ids != truth)
        positive = jnp.full(draws, scores[truth])
        return losses.info_nce(positive, scores[ids], log_q_negatives=weight[ids], k=jnp.sum(mask), where=where)

    ratio = jnp.where(jnp.arange(len(every)) != truth, jnp.exp(jax.nn.log_softmax(scores) - log_q), 0)
    return jnp.exp(over_devices(loss, first) - nll).T, bias.gradient_variance(ratio, log_q)
