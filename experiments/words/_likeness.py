"""What makes words alike on a real text as the window grows: part of speech, similarity, relatedness."""

import numpy as np

from experiments import data as sources
from nsx import words

VOCABULARY = 4000


def on_real_text(corpus, windows):
    """Neighbours on real text: their part of speech, and judged similarity against relatedness."""
    if corpus is None:
        return np.zeros((0, len(windows))), np.zeros((2, 0)), np.zeros((2, 0))
    text = sources.corpus(corpus, min_count=5)
    classes = sources.lexicographer_classes()
    speech = [classes[w].parts if w in classes else () for w in text.words[:VOCABULARY]]
    known = np.array([i for i, p in enumerate(speech) if len(p) == 1])
    part = np.array([min(speech[i]) for i in known])
    index = {w: i for i, w in enumerate(text.words)}
    judged = [sources.word_similarity(name) for name in ("simlex999", "wordsim353")]
    pairs = [
        np.array([[index[a], index[b]] if a in index and b in index else (-1, -1) for a, b in j.pairs]) for j in judged
    ]
    agree, likeness, interval = [], [], []
    for window in windows:
        counts = words.cooccurrence(
            text.ids, window=int(window), vocabulary_size=len(text.words), sentence=text.sentence
        )
        rows, norms = ppmi_rows(counts)
        near = (rows[known] @ rows[known].T).toarray() / np.outer(norms[known], norms[known])
        np.fill_diagonal(near, -1)
        agree.append(part[near.argmax(axis=1)] == part)
        found = [spearman(rows, norms, p, j.scores) for p, j in zip(pairs, judged, strict=True)]
        likeness.append([f[0] for f in found])
        interval.append([f[1] for f in found])
    return np.array(agree, float).T, np.array(likeness).T, np.array(interval).T


def ppmi_rows(counts):
    """Sparse PPMI rows over the frequent contexts, and their norms."""
    from scipy.sparse import csr_array

    row, col = words.marginals(counts)
    value = np.log(counts.values * col.sum() / (row[counts.rows] * col[counts.cols]))
    keep = (value > 0) & (counts.cols < VOCABULARY)
    rows = csr_array((value[keep], (counts.rows[keep], counts.cols[keep])), shape=(counts.shape[0], VOCABULARY))
    return rows, np.maximum(np.sqrt(rows.multiply(rows).sum(axis=1)), 1e-30)


def spearman(rows, norms, pairs, scores, resamples=200):
    """Rank correlation of cosine with judgement over the known pairs, and its bootstrap standard error."""
    from scipy.stats import spearmanr

    known = pairs[:, 0] >= 0
    left, right = pairs[known].T
    cosine = rows[left].multiply(rows[right]).sum(axis=1) / (norms[left] * norms[right])
    scores, rng = np.asarray(scores)[known], np.random.default_rng(0)
    draws = [rng.integers(0, len(scores), len(scores)) for _ in range(resamples)]
    return spearmanr(cosine, scores).statistic, np.std([spearmanr(cosine[d], scores[d]).statistic for d in draws])
