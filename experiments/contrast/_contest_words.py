"""The same contest on real vectors: words of Shakespeare trained by nsx, and vectors that others trained on news."""

import numpy as np

from experiments import data as sources
from experiments.contrast._contest import World
from nsx import words

COMMON = 64  # the most frequent words are the candidates
FIRST = 100  # the rank of the first anchor


def grouped(anchors, candidates, law, counts, worlds):
    """Anchors dealt into worlds that share their candidates."""
    deal = lambda rows: np.asarray(rows, float).reshape(worlds, -1, np.shape(rows)[1])
    repeat = lambda rows: np.broadcast_to(np.asarray(rows, float), (worlds, *np.shape(rows)))
    return World(deal(anchors), repeat(candidates), deal(law), repeat(counts))


def corpus_worlds(key, corpus, worlds, anchors):
    """Word vectors as anchors, context vectors as candidates, the share of each context word as the law."""
    text = sources.corpus(corpus, min_count=20)
    options = {"vocabulary_size": len(text.words), "sentence": text.sentence}
    vectors = words.train_sgns(key, text.ids, dimension=10, epochs=3, **options).embedding
    seen = words.to_dense(words.cooccurrence(text.ids, window=5, **options))
    chosen = slice(FIRST, FIRST + worlds * anchors)
    law = seen[chosen, :COMMON] / seen[chosen, :COMMON].sum(axis=1, keepdims=True)
    return grouped(vectors.word[chosen], vectors.context[:COMMON], law, text.counts[:COMMON], worlds)


def vector_worlds(worlds, anchors, temperature=0.25):
    """Unit vectors; positives follow the softmax of the cosines, so that the vectors are the optimum."""
    news = sources.news_vectors()
    unit = news.table / np.linalg.norm(news.table.astype(float), axis=1, keepdims=True)
    start = unit[FIRST : FIRST + worlds * anchors] / temperature
    weight = np.exp(start @ unit[:COMMON].T)
    return grouped(start, unit[:COMMON], weight / weight.sum(axis=1, keepdims=True), news.counts[:COMMON], worlds)
