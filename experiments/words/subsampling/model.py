"""Texts thinned by the keep probability, planted and real, and word vectors trained with and without it."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.stats import spearmanr

from experiments import data as sources
from nsx import words

WINDOW = 3  # of the planted text
MIN_COUNT = 20  # rarer words of a real text are left out before windows are laid
FREQUENCY_BINS = 12  # of equal numbers of words, for the norms
BOOTSTRAP = 2000  # resamples of the judged pairs


# --- A planted text of independent words


class Planted(NamedTuple):
    """Replicates of a thinned text: tokens kept of each word, pairs made, pairs between bins of words."""

    kept: Int[Array, "replicates vocabulary"]
    pairs: Float[Array, "replicates"]
    blocks: Float[Array, "replicates bins bins"]


def planted(
    key: Array, law: np.ndarray, probability: np.ndarray, *, tokens: int, replicates: int, bins: np.ndarray, first: bool
) -> Planted:
    """Draw texts, keep each token with its word's probability, and count; `first`: drop before windows are laid."""
    texts, masks = jax.device_get(draw(key, law, probability, tokens=tokens, replicates=replicates))
    count = pairs_of_what_is_left if first else pairs_with_both_ends_left
    tables = [words.to_dense(count(text, mask, len(law))) for text, mask in zip(texts, masks, strict=True)]
    starts = bins[:-1]
    return Planted(
        kept=np.stack([np.bincount(t[m], minlength=len(law)) for t, m in zip(texts, masks, strict=True)]),
        pairs=np.array([table.sum() for table in tables]),
        blocks=np.array([np.add.reduceat(np.add.reduceat(table, starts, 0), starts, 1) for table in tables]),
    )


@partial(jax.jit, static_argnames=("tokens", "replicates"))
def draw(key, law, probability, *, tokens, replicates):
    """Independent texts and which of their tokens are kept, (replicates, tokens) each."""
    text_key, keep_key = jax.random.split(key)
    texts = jax.random.categorical(text_key, jnp.log(law), shape=(replicates, tokens))
    keys = jax.random.split(keep_key, replicates)
    return texts, jax.vmap(lambda k, text: words.subsample(k, text, probability))(keys, texts)


def pairs_of_what_is_left(text: np.ndarray, mask: np.ndarray, vocabulary: int) -> words.PairCounts:
    """Drop tokens, then lay windows: as word2vec does."""
    return words.cooccurrence(text[mask], window=WINDOW, vocabulary_size=vocabulary)


def pairs_with_both_ends_left(text: np.ndarray, mask: np.ndarray, vocabulary: int) -> words.PairCounts:
    """Lay windows, then drop the pairs that lost an end."""
    marked = np.where(mask, text, vocabulary)
    pairs = words.cooccurrence(marked, window=WINDOW, vocabulary_size=vocabulary + 1)
    whole = (pairs.rows < vocabulary) & (pairs.cols < vocabulary)
    return words.PairCounts(pairs.rows[whole], pairs.cols[whole], pairs.values[whole], (vocabulary, vocabulary))


# --- A real text


class Real(NamedTuple):
    """Vectors of a real text, trained with and without subsampling on the same seeds; none where it was not fetched."""

    tokens_left: Float[Array, "seeds"]  # share of all tokens
    tokens_predicted: Float[Array, ""]  # sum of f p
    tokens: Int[Array, ""]
    pairs_left: Float[Array, "seeds"]  # share of the pairs in windows of 5
    frequency: Float[Array, "bins_of_frequency"]  # mean of each bin of words
    norm_with: Float[Array, "seeds bins_of_frequency"]  # mean log norm of each bin
    norm_without: Float[Array, "seeds bins_of_frequency"]
    rare_quality: Float[Array, "gain"]  # Spearman's correlation on rare pairs: gain, and its 95 % limits


def real(
    key: Array,
    *,
    corpus: str | None,
    threshold: float,
    stated: float,
    epochs: int,
    seeds: int,
    most: int | None,
    thin: bool,
) -> Real:
    """Train on a text with and without subsampling, several seeds each; `thin=False` drops nothing in either."""
    if corpus is None:
        return nothing()
    text = sources.corpus(corpus, min_count=MIN_COUNT)
    ids = text.ids[:most]
    sentence = text.sentence[:most]
    frequency = np.bincount(ids, minlength=len(text.words)) / len(ids)
    probability = np.asarray(words.keep_probability(frequency, threshold=threshold))
    predicted = np.sum(frequency * np.asarray(words.keep_probability(frequency, threshold=stated)))

    # Each seed trains twice, with nothing else between the two than the threshold.
    vectors_with = []
    vectors_without = []
    tokens_left = []
    pairs_left = []
    options = {"vocabulary_size": len(text.words), "sentence": sentence, "epochs": epochs}
    for seed in jax.random.split(key, seeds):
        kept = np.asarray(words.subsample(seed, ids, probability)) if thin else np.ones(len(ids), bool)
        tokens_left.append(kept.mean())
        pairs_left.append(number_of_pairs(sentence[kept]) / number_of_pairs(sentence))
        trained = words.train_sgns(seed, ids, threshold=threshold if thin else None, **options)
        vectors_with.append(np.asarray(trained.embedding.word))
        vectors_without.append(np.asarray(words.train_sgns(seed, ids, threshold=None, **options).embedding.word))

    bins = frequency_bins(frequency)
    return Real(
        tokens_left=np.array(tokens_left),
        tokens_predicted=predicted,
        tokens=np.array(len(ids)),
        pairs_left=np.array(pairs_left),
        frequency=np.array([frequency[b].mean() for b in bins]),
        norm_with=np.stack([mean_log_norms(table, bins) for table in vectors_with]),
        norm_without=np.stack([mean_log_norms(table, bins) for table in vectors_without]),
        rare_quality=gain_on_rare_pairs(vectors_with, vectors_without, text.words, frequency, threshold),
    )


def nothing() -> Real:
    """The real part where its text was not fetched."""
    none = np.zeros(0)
    empty = np.zeros((0, FREQUENCY_BINS))
    return Real(
        tokens_left=none,
        tokens_predicted=np.array(np.nan),
        tokens=np.array(0),
        pairs_left=none,
        frequency=np.zeros(FREQUENCY_BINS),
        norm_with=empty,
        norm_without=empty,
        rare_quality=np.full(3, np.nan),
    )


def number_of_pairs(sentence: np.ndarray, window: int = 5) -> int:
    """Pairs of tokens at most a window apart in one sentence."""
    return sum(int(np.sum(sentence[d:] == sentence[:-d])) for d in range(1, window + 1))


def frequency_bins(frequency: np.ndarray) -> list[np.ndarray]:
    """Words that occur, from the rarest to the most frequent, in bins of equal size."""
    order = np.argsort(frequency, kind="stable")
    return np.array_split(order[frequency[order] > 0], FREQUENCY_BINS)


def mean_log_norms(table: np.ndarray, bins: list[np.ndarray]) -> np.ndarray:
    """Mean logarithm of the norms of each bin's vectors."""
    norms = np.log(np.linalg.norm(table, axis=1))
    return np.array([norms[b].mean() for b in bins])


def gain_on_rare_pairs(
    vectors_with: list[np.ndarray],
    vectors_without: list[np.ndarray],
    names: tuple[str, ...],
    frequency: np.ndarray,
    threshold: float,
) -> np.ndarray:
    """How much better cosines follow human scores on pairs with a word too rare to be dropped.

    Mean over seeds and 95 % limits, which come from resampling the pairs, the same resample for both kinds of vectors.
    """
    place = {name: i for i, name in enumerate(names)}
    judged = [sources.word_similarity(name) for name in ("wordsim353", "simlex999")]
    scores = np.concatenate([(s.scores - s.scores.mean()) / s.scores.std() for s in judged])
    pairs = [pair for s in judged for pair in s.pairs]
    known = np.array([i for i, pair in enumerate(pairs) if all(word in place for word in pair)])
    ids = np.array([[place[word] for word in pairs[i]] for i in known])
    rare = frequency[ids].min(axis=1) < 2.618 * threshold
    ids = ids[rare]
    scores = scores[known[rare]]

    cosines_with = np.stack([cosines(table, ids) for table in vectors_with])
    cosines_without = np.stack([cosines(table, ids) for table in vectors_without])
    rng = np.random.default_rng(0)
    resamples = [np.arange(len(ids)), *rng.integers(len(ids), size=(BOOTSTRAP, len(ids)))]
    gains = [agreement(cosines_with[:, r], scores[r]) - agreement(cosines_without[:, r], scores[r]) for r in resamples]
    return np.array([gains[0], *np.quantile(gains[1:], (0.025, 0.975))])


def cosines(table: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Cosine of each pair of rows."""
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    return np.sum(unit[ids[:, 0]] * unit[ids[:, 1]], axis=1)


def agreement(found: np.ndarray, scores: np.ndarray) -> float:
    """Spearman's correlation with the human scores, mean over seeds."""
    return float(np.mean([spearmanr(row, scores).statistic for row in found]))
