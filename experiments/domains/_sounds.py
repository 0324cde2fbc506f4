"""Words by sound: planted ones inside jit, real ones from the CMU dictionary."""

import itertools
from collections.abc import Sequence
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import data as sources
from nsx import distances

PLANTED = np.array([1, 1, 2, 2, 3, 4, 6, 8])  # homophones planted for each anchor
PHONES, SHORTEST, LONGEST, MEANINGS = 8, 2, 5, 50


class Sounds(NamedTuple):
    """Candidates of each anchor: `distance` (anchors, n) edits between the sounds, `count` (anchors, n) how many words
    a candidate stands for (0 for the anchor itself), `near` the distances that the proposal goes by.

    `agree` (pairs,): True where two homophones share a meaning; `by_chance` the same for words at random.
    """

    distance: jax.Array
    near: jax.Array
    count: jax.Array
    agree: jax.Array
    by_chance: jax.Array


@partial(jax.jit, static_argnames="size")
def planted(key: jax.Array, *, size: int, unlike: bool, meant: bool) -> Sounds:
    """Random words over 8 phones; the anchors come first, then their copies in sound, then all others.

    Where `unlike`, the proposal takes the farthest for the nearest; where `meant`, words of one sound have one meaning.
    """
    keys = jax.random.split(key, 4)
    phones = jax.random.randint(keys[0], (size, LONGEST), 0, PHONES)
    lengths = jax.random.randint(keys[1], (size, 1), SHORTEST, LONGEST + 1)
    words = jnp.where(jnp.arange(LONGEST) < lengths, phones, -1)
    source = jnp.asarray(np.repeat(np.arange(len(PLANTED)), PLANTED))
    copies = len(PLANTED) + jnp.arange(len(source))
    words = words.at[copies].set(words[source])
    anchors = jnp.arange(len(PLANTED))
    distance = distances.edit_distance(words[anchors, None], words[None])
    meaning = jax.random.randint(keys[2], (size,), 0, MEANINGS)
    meaning = meaning.at[copies].set(jnp.where(meant, meaning[source], meaning[copies]))
    pairs = jax.random.randint(keys[3], (2, 20_000), len(PLANTED) + len(source), size)
    agree, by_chance = meaning[copies] == meaning[source], meaning[pairs[0]] == meaning[pairs[1]]
    near = jnp.where(unlike, LONGEST - distance, distance)
    return Sounds(distance, near, 1.0 - jnp.eye(len(anchors), size), agree, by_chance)


def real(spoken: Sequence[str], *, unlike: bool, meant: bool) -> Sounds:
    """The words of the dictionary by their first reading; those at one distance are one candidate."""
    table, agree, by_chance = _read(tuple(spoken))
    distance = jnp.broadcast_to(jnp.arange(table.shape[1], dtype=float), table.shape)
    near = jnp.where(unlike, table.shape[1] - distance, distance)
    return Sounds(distance, near, jnp.asarray(table, float), agree | meant, by_chance)


def words_at_distances(found: sources.Pronunciations, spoken: Sequence[str]) -> np.ndarray:
    """How many words (anchors, distances) sound that many edits away, by rapidfuzz; the anchor itself left out."""
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist

    entries = np.unique(found.word, return_index=True)[1]
    text = ["".join(chr(65 + c) for c in found.phones[e, : found.lengths[e]]) for e in entries]
    anchors = [found.words.index(word) for word in spoken]
    distance = cdist([text[i] for i in anchors], text, scorer=Levenshtein.distance, dtype=np.uint8)
    table = np.stack([np.bincount(row, minlength=int(distance.max()) + 1) for row in distance])
    table[:, 0] -= 1
    return table


@cache
def _read(spoken: tuple[str, ...]) -> tuple[np.ndarray, ...]:
    """Words (anchors, distances) at each distance, and whether pairs share a synset of WordNet.

    The pairs are all homophones that are both lemmas, and 20,000 random pairs of those words.
    """
    found = sources.pronunciations()
    table = words_at_distances(found, spoken)
    synsets = sources.lemma_synsets()
    classes = (c.tolist() for c in sources.homophone_classes(found))
    pairs = {(found.words[a], found.words[b]) for c in classes for a, b in itertools.combinations(c, 2)}
    pairs = sorted((a, b) for a, b in pairs if a in synsets and b in synsets)
    known = sorted({word for pair in pairs for word in pair})
    random = [(known[i], known[j]) for i, j in np.random.default_rng(0).integers(0, len(known), (20_000, 2)) if i != j]
    return table, *(np.array([bool(synsets[a] & synsets[b]) for a, b in p]) for p in (pairs, random))
