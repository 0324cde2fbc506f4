"""Pair counts by walking over the text, and the SGNS objective cell by cell in float64."""

import math

import numpy as np


def softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def cooccurrence(tokens, window, size, sentence=None, weighting="uniform"):
    table = np.zeros((size, size))
    for t, word in enumerate(tokens):
        for offset in range(1, window + 1):
            for other in (t - offset, t + offset):
                if not 0 <= other < len(tokens):
                    continue
                between = range(min(t, other), max(t, other))
                if sentence is not None and any(sentence[i] != sentence[i + 1] for i in between):
                    continue
                table[word, tokens[other]] += 1.0 if weighting == "uniform" else (window - offset + 1) / window
    return table


def keep_probability(frequency, threshold, rule="code"):
    if frequency == 0:
        return 1.0
    ratio = threshold / frequency
    return min(1.0, math.sqrt(ratio) + (ratio if rule == "code" else 0.0))


def noise(counts, exponent=1.0):
    totals = np.sum(counts, axis=0)
    weights = np.array([0.0 if c == 0 and exponent != 0 else c**exponent if c else 1.0 for c in totals])
    return weights / weights.sum()


def sgns_optimum(counts, negatives, q):
    counts = np.asarray(counts, float)
    total = counts.sum()
    scores = np.full(counts.shape, -np.inf)
    for w, c in np.ndindex(counts.shape):
        if counts[w, c] > 0:
            joint, word = counts[w, c] / total, counts[w].sum() / total
            scores[w, c] = np.inf if q[c] == 0 else math.log(joint / (word * q[c])) - math.log(negatives)
    return scores


def expected_sgns(scores, counts, negatives, q):
    total, loss = counts.sum(), 0.0
    for w, c in np.ndindex(counts.shape):
        pull, push = counts[w, c] / total, negatives * counts[w].sum() / total * q[c]
        if pull > 0:
            loss += pull * softplus(-scores[w, c])
        if push > 0:
            loss += push * softplus(scores[w, c])
    return loss


def gradient(scores, counts, negatives, q):
    total = counts.sum()
    out = np.zeros(counts.shape)
    for w, c in np.ndindex(counts.shape):
        pull, push = counts[w, c] / total, negatives * counts[w].sum() / total * q[c]
        out[w, c] = push / (1 + math.exp(-scores[w, c])) - pull / (1 + math.exp(scores[w, c]))
    return out


def optimal_sgns(counts, negatives, q):
    """The entropic form: P log(1 + kQ/P) + kQ log(1 + P/kQ), with 0 log 0 = 0."""
    total, loss = counts.sum(), 0.0
    for w, c in np.ndindex(counts.shape):
        pull, push = counts[w, c] / total, negatives * counts[w].sum() / total * q[c]
        if pull > 0 and push > 0:
            loss += pull * math.log1p(push / pull) + push * math.log1p(pull / push)
    return loss


def best_approximation(matrix, rank):
    left, spectrum, right = np.linalg.svd(np.asarray(matrix, float))
    return sum((spectrum[i] * np.outer(left[:, i], right[i]) for i in range(rank)), np.zeros(np.shape(matrix)))
