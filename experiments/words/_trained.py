"""Vectors trained on real text, with and without subsampling: their norms and their nearest words."""

import numpy as np

from experiments import data as sources
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
    return np.log(frequency), *norms, np.array([left, np.sum(frequency * np.asarray(probability))]), neighbours
