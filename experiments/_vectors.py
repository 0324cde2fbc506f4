"""Vectors to try the audit on: words of a corpus trained by nsx, with pairs that occur in it."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from experiments.data import Corpus
from nsx import words

ANCHORS, POSITIVES = 32, 8  # words, and pairs of each: what `nsx audit` looks at unless told otherwise


def pairs(text: Corpus, *, seed: int = 0, window: int = 5, **training: Any) -> dict[str, np.ndarray]:
    """Arrays by the keys of `nsx audit`: word vectors against the context vectors of all words.

    The words are spread evenly over the ranks of the vocabulary; their positives are drawn as often as they occur
    within the window. `training` goes to `nsx.words.train_sgns`.
    """
    shape = {"vocabulary_size": len(text.words), "sentence": text.sentence, "window": window}
    vectors = words.train_sgns(jax.random.key(seed), text.ids, **shape, **training).embedding
    seen = words.to_dense(words.cooccurrence(text.ids, **shape))
    able = np.flatnonzero(seen.sum(axis=1))
    chosen = able[np.linspace(0, len(able) - 1, min(ANCHORS, len(able))).astype(int)]
    draw = np.random.default_rng(seed).choice
    ids = np.concatenate([draw(len(seen), POSITIVES, p=seen[i] / seen[i].sum()) for i in chosen])
    word, context = (np.asarray(table) for table in vectors)
    return {
        "anchors": np.repeat(word[chosen], POSITIVES, axis=0),
        "positives": context[ids],
        "candidates": context,
        "positive_ids": ids,
        "counts": text.counts,
    }
