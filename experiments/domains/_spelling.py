"""Words with two distances to an anchor, of meaning and of spelling: planted in jit, real from a corpus."""

from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import data as sources
from experiments._devices import over_devices
from nsx import distances, entropy, samplers, words

ANCHORS = ("king", "love", "war", "night", "sword", "friend", "walk", "speak")
ENDINGS = ("s", "es", "'s", "d", "ed", "ing", "st", "est", "th", "eth", "er", "ly")
PLANTED, LETTERS, LONGEST, INFLECTED, DIMENSION = 8, 12, 8, 3, 20
MIXES = np.linspace(0, 1, 21)


class Table(NamedTuple):
    """Each (anchors, n): cosine distance `meaning`, normalised Levenshtein distance `spelling`, whether the word is an
    inflection of the anchor, and whether it is the anchor `itself`.
    """

    meaning: jax.Array
    spelling: jax.Array
    inflected: jax.Array
    itself: jax.Array


class Curves(NamedTuple):
    """By mix l of meaning into the distance, (anchors, MIXES): means of both distances under the proposal, the variance
    of their difference and of the mixed distance, entropy, mass on inflections; and three derivatives by autodiff: of
    the mean difference in l, and of mean mixed distance and entropy in the sharpness.
    """

    meaning: jax.Array
    spelling: jax.Array
    variance: jax.Array
    mixed_variance: jax.Array
    entropy: jax.Array
    inflected: jax.Array
    difference_slope: jax.Array
    distance_slope: jax.Array
    entropy_slope: jax.Array


def cosine_distance(vectors, anchors):
    unit = vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True)
    return 1 - unit[anchors] @ unit.T


@partial(jax.jit, static_argnames="size")
def plant(key: jax.Array, *, size: int) -> Table:
    """Random words; the anchors come first, then three inflections of each: a letter more, and half the meaning."""
    keys = jax.random.split(key, 4)
    letters = jax.random.randint(keys[0], (size, LONGEST), 0, LETTERS)
    length = jax.random.randint(keys[1], (size,), 3, LONGEST)
    source = jnp.arange(PLANTED).repeat(INFLECTED)
    forms = PLANTED + jnp.arange(PLANTED * INFLECTED)
    place = jnp.arange(LONGEST)
    spelt = jnp.where(place < length[:, None], letters, -1)
    spelt = spelt.at[forms].set(jnp.where(place == length[source, None], letters[forms], spelt[source]))
    vectors = jax.random.normal(keys[2], (size, DIMENSION))
    vectors = vectors.at[forms].set(vectors[source] + jax.random.normal(keys[3], (len(forms), DIMENSION)))
    anchors = jnp.arange(PLANTED)
    spelling = distances.normalised_edit_distance(spelt[anchors, None], spelt[None])
    inflected = jnp.zeros((PLANTED, size), bool).at[source, forms].set(True)
    return Table(cosine_distance(vectors, anchors), spelling, inflected, jnp.arange(size) == anchors[:, None])


@cache
def real(corpus: str, epochs: int) -> Table:
    """Frequent words of a corpus, vectors trained on it, string distance by rapidfuzz."""
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist

    text = sources.corpus(corpus, min_count=20)
    options = {"vocabulary_size": len(text.words), "sentence": text.sentence, "dimension": 50}
    vectors = words.train_sgns(jax.random.key(0), text.ids, epochs=epochs, **options).embedding.word
    ids = {word: i for i, word in enumerate(text.words)}
    anchors = np.array([ids[word] for word in ANCHORS])
    spelling = cdist(ANCHORS, text.words, scorer=Levenshtein.normalized_distance, dtype=np.float32)
    inflected = np.array([[word in {a + end for end in ENDINGS} for word in text.words] for a in ANCHORS])
    itself = np.arange(len(text.words)) == anchors[:, None]
    return Table(*map(jnp.asarray, (cosine_distance(vectors, anchors), spelling, inflected, itself)))


def hybrid(table: Table, mix: jax.Array, sharpness: jax.Array, double=1.0) -> jax.Array:
    """Log-weights of p ~ exp(-a (l d_sem + (1 - l) d_syn)), the anchor itself left out."""
    distance = mix * double * table.meaning + (1 - mix) * table.spelling
    return samplers.exclude(samplers.gibbs(distance, sharpness=sharpness), table.itself)


def moments(table: Table, mix: jax.Array, sharpness: jax.Array) -> tuple:
    """Means of both distances and of the mixed one under the proposal, variances, entropy, and mass on inflections."""
    p = samplers.probabilities(hybrid(table, mix, sharpness))
    mean = lambda x: jnp.sum(p * x)
    gap, mixed = table.meaning - table.spelling, mix * table.meaning + (1 - mix) * table.spelling
    spread = lambda x: mean((x - mean(x)) ** 2)
    scores = jnp.where(table.itself, -jnp.inf, -mixed)
    uncertainty = entropy.entropy(scores, 1 / sharpness)
    return mean(table.meaning), mean(table.spelling), spread(gap), spread(mixed), uncertainty, mean(table.inflected)


def curves(table: Table, sharpness: float) -> Curves:
    """All anchors at all mixes, with derivatives by autodiff."""

    def one(row, mix):
        found = moments(row, mix, sharpness)
        slope = jax.grad(lambda l: jnp.subtract(*moments(row, l, sharpness)[:2]))(mix)
        distance = lambda a: mix * moments(row, mix, a)[0] + (1 - mix) * moments(row, mix, a)[1]
        return Curves(
            *found, slope, jax.grad(distance)(sharpness), jax.grad(lambda a: moments(row, mix, a)[4])(sharpness)
        )

    over = jax.vmap(jax.vmap(one, (None, 0)), (0, None))
    return over(
        table._replace(meaning=table.meaning.astype(float), spelling=table.spelling.astype(float)), jnp.asarray(MIXES)
    )


@partial(jax.jit, static_argnames=("replicates", "draws"))
def sample(key: jax.Array, table: Table, sharpness: float, *, replicates: int, draws: int) -> tuple:
    """Mean difference of the distances and share of inflections among draws, (replicates, MIXES), over anchors."""

    def one(key, row, mix):
        ids = samplers.draw_inverse(key, hybrid(row, mix, sharpness), (draws,))
        return jnp.mean((row.meaning - row.spelling)[ids]), jnp.mean(row.inflected[ids])

    def replicate(key):
        keys = jax.random.split(key, (len(table.meaning), len(MIXES)))
        found = jax.vmap(jax.vmap(one, (0, None, 0)), (0, 0, None))(keys, table, jnp.asarray(MIXES))
        return tuple(jnp.mean(x, axis=0) for x in found)

    return over_devices(replicate, jax.random.split(key, replicates))
