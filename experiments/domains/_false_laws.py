"""Three proposals with false negatives, each as pushes on candidates, log-weights and which candidates are false."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.domains import _hospital_laws, _phonetic_law, _sounds
from nsx import quadrature, samplers, sequences

SHARPNESS = np.array([0.0, 0.4, 0.8, 1.1, 1.4])  # of the phonetic proposal
FALSE = np.array([0.02, 0.05, 0.1, 0.2, 0.4])  # share among patients
SWAPS = np.array([0.05, 0.2, 0.4, 0.7, 1.0])  # share of swaps among the edits of a label sequence
LENGTH, LABELS = 40, 3
DOMAINS = ("homophones", "hospitals", "sequences")


class Law(NamedTuple):
    """`push` (n,) the gradient of the logistic loss in a candidate's score, `log_weights` (levels, n), `false` (n,)."""

    push: jax.Array
    log_weights: jax.Array
    false: jax.Array


def homophones(key: jax.Array, size: int) -> Law:
    """Words around one anchor; a word of the same sound is false."""
    world = _sounds.planted(key, size=size, unlike=False, meant=False)
    distance, count = world.distance[-1], world.count[-1]
    base = samplers.power(count, exponent=1.0)
    log_w = jax.vmap(lambda a: base + samplers.gibbs(distance, sharpness=a))(jnp.asarray(SHARPNESS))
    return Law(jax.nn.sigmoid(3 * _phonetic_law.scores(distance)), log_w, distance == 0)


def hospitals() -> Law:
    """Normal scores of false, same-hospital and other-hospital patients, by quadrature."""
    means = jnp.asarray(_hospital_laws.MEANS) + jnp.array([0.0, 1.0, 0.0])
    shares = np.stack([FALSE, 0.3 * (1 - FALSE), 0.7 * (1 - FALSE)], axis=1)
    points, log_w = quadrature.mixture_points(jnp.log(shares), means[None], jnp.ones((1, 3)), order=32)
    return Law(jax.nn.sigmoid(points[0]), log_w, jnp.arange(96) < 32)


def label_sequences(key: jax.Array) -> Law:
    """Edits of the labels of a chain; a swap of equal neighbours gives the truth back and is false."""
    keys = jax.random.split(key, 3)
    unary, pairwise = jax.random.normal(keys[0], (LENGTH, LABELS)), jax.random.normal(keys[1], (LABELS, LABELS))
    truth = sequences.crf_sample(keys[2], unary, pairwise)
    place = jnp.arange(LENGTH)
    swap = lambda i: truth.at[i].set(truth[i + 1]).at[i + 1].set(truth[i])
    replace = lambda i, step: truth.at[i].set((truth[i] + step) % LABELS)
    swapped = jax.vmap(swap)(place[:-1])
    replaced = jax.vmap(lambda step: jax.vmap(lambda i: replace(i, step))(place))(
        jnp.arange(1, LABELS, dtype=truth.dtype)
    ).reshape(-1, LENGTH)
    score = lambda y: sequences.crf_log_score(unary, pairwise, y)
    every = jnp.concatenate([swapped, replaced])
    kinds = jnp.repeat(jnp.arange(2), np.array([LENGTH - 1, LENGTH * (LABELS - 1)]), total_repeat_length=len(every))
    share = jnp.stack([jnp.asarray(SWAPS), 1 - jnp.asarray(SWAPS)], axis=1) / jnp.array(
        [LENGTH - 1, LENGTH * (LABELS - 1)]
    )
    log_w = jnp.log(share)[:, kinds]
    return Law(jax.nn.sigmoid(jax.vmap(score)(every) - score(truth)), log_w, jnp.all(every == truth, axis=1))


@partial(jax.jit, static_argnames="size")
def all_three(key: jax.Array, *, size: int) -> Law:
    """The three laws side by side, shorter ones filled up with candidates of weight 0."""
    words_key, chain_key = jax.random.split(key)
    laws = homophones(words_key, size), hospitals(), label_sequences(chain_key)
    widest = max(len(law.push) for law in laws)

    def fill(law):
        room = widest - len(law.push)
        log_w = jnp.pad(law.log_weights, ((0, 0), (0, room)), constant_values=-jnp.inf)
        return Law(jnp.pad(law.push, (0, room)), log_w, jnp.pad(law.false, (0, room)))

    return jax.tree.map(lambda *x: jnp.stack(x), *map(fill, laws))
