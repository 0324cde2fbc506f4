"""Vectors trained on real text, with and without subsampling: their norms and their nearest words."""

import numpy as np

from experiments import data as sources
from experiments._claim import at_its_word, at_least, at_most, close, student_margin
from nsx import words

QUERIES = ("king", "ship", "bread", "monday", "doctor", "green", "three", "seventh", "war", "london", "eat", "happy")


def with_and_without(key, corpus, epochs, threshold):
    """Log norms of vectors trained with and without subsampling, the share of tokens it leaves, some neighbours."""
    if corpus is None:
        return *np.zeros((4, 0)), np.zeros((0, 6), str)
    text = sources.corpus(corpus, min_count=20)
    options = {"vocabulary_size": len(text.words), "sentence": text.sentence, "epochs": epochs}
    tables = [words.train_sgns(key, text.ids, threshold=t, **options).embedding.word for t in (threshold, None)]
    frequency = text.counts / text.counts.sum()
    probability = words.keep_probability(frequency, threshold=threshold)
    left = words.subsample(key, text.ids, probability).mean()
    norms = [np.log(np.linalg.norm(table, axis=1)) for table in tables]
    names = np.array(text.words)
    asked = np.flatnonzero(np.isin(names, QUERIES))
    nearest = np.asarray(words.nearest(tables[0], asked, k=5).ids)
    neighbours = np.concatenate([names[asked][:, None], names[nearest]], axis=1)
    return (
        np.log(frequency),
        *norms,
        np.array([left, np.sum(frequency * np.asarray(probability)), text.ids.size]),
        neighbours,
    )


def checks(data):
    """What the norms of trained vectors say of the chapter."""
    change = data.with_it - data.without
    often, seldom = ends(data.log_frequency)
    frequent, rare = data.with_it[often], data.with_it[seldom]
    wider = change[seldom] - change[often].mean()
    left, predicted, tokens = data.tokens_left
    spread = 4.9 * np.sqrt(predicted * (1 - predicted) / tokens)  # normal quantile of a false alarm in a million
    return (
        close("real text: share of tokens left", predicted, left, spread),
        at_its_word(at_most("real text: most frequent tenth, change of log norm", 0, upper(change[often]))),
        at_its_word(at_least("real text: rarest tenth gains on the most frequent", 0, -upper(-wider))),
        at_its_word(
            at_most("real text: log norm of the most frequent tenth - of the rarest", 0, frequent.mean() - rare.mean())
        ),
    )


def ends(log_frequency):
    """The most frequent and the rarest tenth of the words."""
    low, high = np.quantile(log_frequency, (0.1, 0.9))
    return log_frequency >= high, log_frequency <= low


def upper(values):
    """Upper end of the mean, with Student's margin over words."""
    return values.mean() + student_margin(values)
