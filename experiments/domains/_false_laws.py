"""Three proposals with false negatives, each as pushes on candidates, log-weights and which candidates are false.

Planted, each at five levels; and real, each at as many places as there are: words, hospitals, sets of labels.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import data as sources
from experiments.domains import _hospital_laws, _hospitals, _phonetic_law, _sounds, _tagger
from nsx import quadrature, samplers, sequences

SHARPNESS = np.array([0.0, 0.4, 0.8, 1.1, 1.4])  # of the phonetic proposal
FALSE = np.array([0.02, 0.05, 0.1, 0.2, 0.4])  # share among patients
SWAPS = np.array([0.05, 0.2, 0.4, 0.7, 1.0])  # share of swaps among the edits of a label sequence
LENGTH, LABELS = 40, 3
DOMAINS = ("homophones", "hospitals", "sequences")
SPOKEN, AT_REAL = ("two", "right", "there", "night", "flower", "pair", "sea", "knows"), 2.5  # words and sharpness
INVENTORIES = (2, 3, 4, 6, 8, 12, 16)  # part-of-speech tags told apart
MOST = 4096  # real candidates of one place


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
    return side_by_side(laws)


def side_by_side(laws):
    """Laws of different length as one; filled up with candidates of weight 0."""
    widest = max(len(law.push) for law in laws)

    def fill(law):
        room = widest - len(law.push)
        log_w = jnp.pad(law.log_weights, ((0, 0), (0, room)), constant_values=-jnp.inf)
        return Law(jnp.pad(law.push, (0, room)), log_w, jnp.pad(law.false, (0, room)))

    return jax.tree.map(lambda *x: jnp.stack(x), *map(fill, laws))


def real_words() -> list[Law]:
    """The words of the CMU dictionary around each anchor, those at one distance as one candidate."""
    table = _sounds.words_at_distances(sources.pronunciations(), SPOKEN)
    distance = np.arange(table.shape[1])
    push = jax.nn.sigmoid(3 * _phonetic_law.scores(distance))
    near = samplers.gibbs(jnp.asarray(distance, float), sharpness=AT_REAL)
    weigh = lambda count: samplers.power(jnp.asarray(count, float), exponent=1.0) + near
    return [Law(push, weigh(count)[None], distance == 0) for count in table]


def real_patients() -> list[Law]:
    """The pairs of each hospital's patients with everyone; false where they share an illness, as a pair must."""
    scores, hospital, ill = _hospitals.patients()
    others = ~np.eye(len(hospital), dtype=bool)
    pairs = [others & (hospital == h)[:, None] for h in np.unique(hospital)]
    return [uniform(scores[p], ill[p]) for p in pairs if ill[p].any()]


def real_tags() -> list[Law]:
    """Swaps of neighbouring tags in Cantonese speech, by how many tags are told apart: fewer tags, more equal ones.

    The chain is counted, with 1 added, on the conversations that are not drawn from.
    """
    words, tags, conversation, vocabulary = _tagger.utterances("hkcancor")
    seen = conversation % 5 != 0
    heard, held = words[seen], (words[~seen], tags[~seen])
    spoken = heard >= 0
    pair = spoken[:, 1:] & spoken[:, :-1]

    def law(size):
        merged = np.minimum(tags, size - 1)
        told, emission, transition = merged[seen], np.ones((vocabulary, size)), np.ones((size, size))
        np.add.at(emission, (heard[spoken], told[spoken]), 1)
        np.add.at(transition, (told[:, :-1][pair], told[:, 1:][pair]), 1)
        log_emission = np.log(emission / emission.sum(axis=0))
        log_transition = np.log(transition / transition.sum(axis=1, keepdims=True))
        gain, equal = swap_gains(log_emission, log_transition, held[0], np.minimum(held[1], size - 1))
        counts = np.asarray(held[0][:, 1:] >= 0).ravel()
        return uniform(np.asarray(gain).ravel()[counts][:MOST], np.asarray(equal).ravel()[counts][:MOST])

    return [law(size) for size in INVENTORIES]


@jax.jit
def swap_gains(log_emission, log_transition, words, tags):
    """What each swap of neighbours adds to the score, and whether it gives the truth back, (utterances, length - 1)."""

    def one(w, y):
        score = lambda y: sequences.crf_log_score(log_emission[w], log_transition, y, where=w >= 0)
        truth = jnp.maximum(y, 0)
        swapped = sequences.adjacent_swaps(truth, where=w >= 0)
        return jax.vmap(score)(swapped.labels) - score(truth), jnp.all(swapped.labels == truth[None], axis=1)

    return jax.vmap(one)(words, tags)


def uniform(scores: np.ndarray, false: np.ndarray) -> Law:
    """Candidates of these scores, all as likely."""
    return Law(jax.nn.sigmoid(jnp.asarray(scores)), jnp.zeros((1, len(scores))), jnp.asarray(false))


def mean_inverse(share: np.ndarray, draws: int) -> np.ndarray:
    """E 1/N of the true ones among the draws, N binomial; none at all is left out."""
    n = np.arange(1, draws + 1)
    ways = np.array([math.comb(draws, i) for i in n], float)
    return (ways * (1 - share[..., None]) ** n * share[..., None] ** (draws - n)) @ (1 / n)


REAL = {"pronunciations": real_words, "cgd": real_patients, "hkcancor": real_tags}


def all_real(fetched: tuple[str, ...]) -> tuple[Law, np.ndarray]:
    """The real laws of the sources that were fetched, side by side, and the domain of each."""
    found = [(d, law) for d, name in enumerate(REAL) if name in fetched for law in REAL[name]()]
    return side_by_side([law for _, law in found]), np.array([d for d, _ in found])
