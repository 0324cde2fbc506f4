r"""Dropping frequent words saves half the work, evens out norms, and gives rare words a larger share of the pairs.

**Prediction.** word2vec keeps a token whose word makes up the share $f$ of the text with probability
$p = \min(1, \sqrt{t/f} + t/f)$. So

- nothing is dropped below $f = 2.618\,t$ (the golden ratio squared); above, a word keeps $f p = \sqrt{tf} + t$;
- tokens are dropped before windows are laid, so windows close over the gaps: the number of pairs falls by
  $\sum_f f p$, and not by its square, as it would if both ends of a pair had to survive;
- on independent words a pair's law is the product of the new frequencies: rare words gain pairs.

**Measurement.** Texts of independent words with Zipf frequencies, thinned and counted. Vectors of a real text, trained
on the same seeds with and without subsampling: tokens and pairs left, norms by frequency, and how well cosines of pairs
with a rare word follow human similarity scores.

**Refuted if** kept tokens, the new law or pair counts miss the formula.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from experiments._runner import (
    Check,
    Claim,
    Figure,
    Sentence,
    at_least,
    equal,
    interval_at_least,
    interval_at_most,
    mean_equal,
    paired_interval,
)
from experiments.words.subsampling import figure, model, theory
from experiments.words.subsampling.model import WINDOW, Planted, Real
from nsx import words

CLAIM = Claim(
    statement="Keeping a word with probability sqrt(t/f) + t/f culls frequent words, speeds training, helps rarer "
    "words, and gives frequent words smaller norms and rare words relatively larger ones.",
    sentences=(
        Sentence(
            chapter="word embeddings",
            where="taming the commonplace",
            says="Occurrences of frequent words are discarded with a probability that rises with their frequency; t is "
            "a threshold.",
        ),
        Sentence(
            chapter="word embeddings",
            where="taming the commonplace",
            says="This dramatically speeds up training, by culling very many useless examples.",
        ),
        Sentence(
            chapter="word embeddings",
            where="taming the commonplace",
            says="It improves the quality of the embeddings of rarer words.",
        ),
        Sentence(
            chapter="word embeddings",
            where="taming the commonplace",
            says="It leads to smaller norms for frequent words and relatively larger norms for rare words.",
        ),
    ),
    finding="Dropping begins at 2.618 t. On real text more than half of the tokens go; frequent words lose half of "
    "their norm, but stay longer than rare ones. On a text of this size no effect on rare pairs is resolved.",
    expected="conditional",
    references=("mikolov2013distributed", "levy2015improving", "schakel2015measuring"),
)
VOCABULARY = 60
SIZES = {
    "quick": {"tokens": 4000, "replicates": 64, "corpus": None, "epochs": 1, "seeds": 5, "most": None},
    "full": {"tokens": 20_000, "replicates": 128, "corpus": "shakespeare", "epochs": 3, "seeds": 5, "most": None},
    "long": {"tokens": 200_000, "replicates": 128, "corpus": "library", "epochs": 10, "seeds": 5, "most": None},
    "device": {"tokens": 200_000, "replicates": 1024, "corpus": "library", "epochs": 10, "seeds": 5, "most": None},
    "controls": {"tokens": 4000, "replicates": 64, "corpus": "shakespeare", "epochs": 1, "seeds": 5, "most": 100_000},
}
THRESHOLD = 0.005  # of the planted text, whose Zipf law runs from 0.2 to 0.004
REAL_THRESHOLD = 1e-4  # word2vec's papers use 1e-5 for a billion words; a million words keep half at 1e-4
BINS = np.array([0, 3, 12, VOCABULARY])  # frequent, middling and rare words of the planted text
TIMES_THRESHOLD = np.geomspace(0.1, 100, 3001)  # grid of f / t for the formula


class Mechanism(NamedTuple):
    """What could be otherwise; the defaults are the truth."""

    rule: Literal["code", "paper", "none"] = "code"  # word2vec's code, its paper, or nothing dropped
    drop_first: bool = True  # before windows are laid
    thin_training: bool = True  # the training that is called subsampled is
    threshold_factor: float = 1.0  # of the threshold of that training, to the stated one


class Formula(NamedTuple):
    """The keep probability along TIMES_THRESHOLD, for three thresholds."""

    threshold: Float[Array, "thresholds"]
    probability: Float[Array, "thresholds grid"]


class Data(NamedTuple):
    """All that is measured; a planted text has `tokens`."""

    tokens: Int[Array, ""]
    formula: Formula
    planted: Planted
    real: Real


def compute(
    key: Array,
    mechanism: Mechanism = Mechanism(),
    *,
    tokens: int,
    replicates: int,
    corpus: str | None,
    epochs: int,
    seeds: int,
    most: int | None,
) -> Data:
    """Thin a planted text, and train on a real one with and without subsampling."""
    planted_key, real_key = jax.random.split(key)
    law = theory.zipf(VOCABULARY)
    thresholds = np.array([0.1, 1, 10]) * REAL_THRESHOLD
    return Data(
        tokens=np.array(tokens),
        formula=Formula(
            threshold=thresholds,
            probability=np.stack([np.asarray(keep(TIMES_THRESHOLD * t, t, mechanism.rule)) for t in thresholds]),
        ),
        planted=model.planted(
            planted_key,
            law,
            keep(law, THRESHOLD, mechanism.rule),
            tokens=tokens,
            replicates=replicates,
            bins=BINS,
            first=mechanism.drop_first,
        ),
        real=model.real(
            real_key,
            corpus=corpus,
            threshold=mechanism.threshold_factor * REAL_THRESHOLD,
            stated=REAL_THRESHOLD,
            epochs=epochs,
            seeds=seeds,
            most=most,
            thin=mechanism.thin_training,
        ),
    )


def keep(frequency: np.ndarray, threshold: float, rule: str) -> Array:
    """Probability of keeping a token, by nsx."""
    if rule == "none":
        return jnp.ones_like(jnp.asarray(frequency))
    return words.keep_probability(frequency, threshold=threshold, rule=rule)


# --- What must hold: the planted text


def tokens_kept_of_each_word(data: Data) -> Check:
    """Each word of the planted text keeps its predicted number of tokens."""
    predicted = data.tokens * theory.mass(theory.zipf(VOCABULARY), THRESHOLD)
    return mean_equal(predicted, data.planted.kept)


def pairs_fall_by_the_share_kept(data: Data) -> Check:
    """Windows close over the gaps: the number of pairs falls by the share of tokens kept, not by its square."""
    kept = theory.mass(theory.zipf(VOCABULARY), THRESHOLD).sum()
    predicted = theory.pairs(data.tokens, kept, WINDOW)
    return mean_equal(predicted, data.planted.pairs)


def pairs_between_bins_follow_the_new_frequencies(data: Data) -> Check:
    """Pairs between frequent, middling and rare words come as the product of their new frequencies."""
    return mean_equal(expected_blocks(data), data.planted.blocks)


def expected_blocks(data: Data) -> np.ndarray:
    """Expected pairs between the bins after thinning."""
    mass = theory.mass(theory.zipf(VOCABULARY), THRESHOLD)
    return blocks(data, mass)


def blocks_before(data: Data) -> np.ndarray:
    """Expected pairs between the bins when nothing is dropped."""
    return blocks(data, theory.zipf(VOCABULARY))


def blocks(data: Data, mass: np.ndarray) -> np.ndarray:
    """Pairs between bins of independent words that keep this mass."""
    share = np.add.reduceat(mass, BINS[:-1]) / mass.sum()
    return np.outer(share, share) * theory.pairs(data.tokens, mass.sum(), WINDOW)


def dropping_begins_at_a_fixed_multiple_of_t(data: Data) -> Check:
    """For each threshold t, dropping begins at 2.618 t: t is a threshold, though not the frequency itself."""
    first = np.argmax(data.formula.probability < 1, axis=1)
    measured = np.where(np.any(data.formula.probability < 1, axis=1), TIMES_THRESHOLD[first], np.nan)
    margin = theory.GOLDEN_SQUARE * (TIMES_THRESHOLD[1] / TIMES_THRESHOLD[0] - 1)
    return equal(theory.GOLDEN_SQUARE, measured, margin, because="one step of the grid of frequencies", sentence=0)


def frequent_words_are_dropped_more(data: Data) -> Check:
    """The probability of being dropped never falls with frequency, and is .89 at a hundred times t."""
    rises = np.min(np.diff(1 - data.formula.probability, axis=1))
    most = np.min(1 - data.formula.probability[:, -1]) - 0.88
    return at_least(0, [rises, most], because="1 - (1/10 + 1/100) is .89 at f = 100 t", sentence=0)


# --- What must hold: a real text


def tokens_left_of_a_real_text(data: Data) -> Check | None:
    """The share of a real text's tokens that is left is the sum of f p."""
    if not data.real.tokens_left.size:
        return None
    predicted = data.real.tokens_predicted
    margin = 4.9 * np.sqrt(predicted * (1 - predicted) / data.real.tokens)
    return equal(predicted, data.real.tokens_left, margin, because="normal quantile, one false alarm in a million")


def training_pairs_are_culled(data: Data) -> Check | None:
    """Of the pairs that a training epoch would visit, close to half go (a factor of 1.8 or more in work)."""
    if not data.real.pairs_left.size:
        return None
    return at_least(1.8, 1 / data.real.pairs_left, because="fewer would be no dramatic saving", sentence=1)


def rare_words_gain_quality(data: Data) -> Check | None:
    """On pairs with a rare word, cosines of subsampled vectors follow human scores better."""
    if not data.real.tokens_left.size:
        return None
    estimate, low, high = data.real.rare_quality
    return interval_at_least(
        0, estimate, low, high, because="95 % by resampling the pairs, mean of 5 seeds", sentence=2
    )


def frequent_words_lose_norm(data: Data) -> Check | None:
    """Subsampling shortens the vectors of the most frequent words."""
    if not data.real.tokens_left.size:
        return None
    change = data.real.norm_with[:, -1] - data.real.norm_without[:, -1]
    return interval_at_most(0, *paired_interval(change), because=PAIRED, sentence=3)


def rare_words_gain_on_frequent_ones(data: Data) -> Check | None:
    """Against those of the most frequent words, the vectors of the rarest become longer."""
    if not data.real.tokens_left.size:
        return None
    change = data.real.norm_with - data.real.norm_without
    return interval_at_least(0, *paired_interval(change[:, 0] - change[:, -1]), because=PAIRED, sentence=3)


def frequent_words_stay_longer_than_rare_ones(data: Data) -> Check | None:
    """Even so, the vectors of the most frequent words stay longer than those of the rarest."""
    if not data.real.tokens_left.size:
        return None
    gap = data.real.norm_with[:, -1] - data.real.norm_with[:, 0]
    return interval_at_least(0, *paired_interval(gap), because=PAIRED, beyond=True)


PAIRED = "99 % by Student's t over seeds, both trainings on each seed"
CHECKS = (
    tokens_kept_of_each_word,
    pairs_fall_by_the_share_kept,
    pairs_between_bins_follow_the_new_frequencies,
    dropping_begins_at_a_fixed_multiple_of_t,
    frequent_words_are_dropped_more,
    tokens_left_of_a_real_text,
    training_pairs_are_culled,
    rare_words_gain_quality,
    frequent_words_lose_norm,
    rare_words_gain_on_frequent_ones,
    frequent_words_stay_longer_than_rare_ones,
)
CONTROLS = {
    "the paper's rule in place of the code's": Mechanism(rule="paper"),
    "nothing dropped": Mechanism(rule="none"),
    "pairs dropped after the windows are laid": Mechanism(drop_first=False),
    "nothing dropped in the training that is called subsampled": Mechanism(thin_training=False),
    "a threshold a hundred times lower in that training": Mechanism(threshold_factor=0.01),
}
FIGURE = Figure("AAB/AAC", A=figure.what_a_word_keeps, B=figure.pairs_between_bins, C=figure.norms_of_a_text)
