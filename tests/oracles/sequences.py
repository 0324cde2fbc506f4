"""Chains by listing every label sequence: sums over l^t paths, in loops; and long ones in more than double precision.

Pairwise scores are one table (l, l), or one per transition (t - 1, l, l): entry i - 1 leads into position i.
"""

import itertools
import math

import numpy as np


def score(unary, pairwise, labels, where):
    """Score of a sequence, the positions that do not count left out."""
    kept = [i for i in range(len(unary)) if where[i]]
    total = sum(unary[i][labels[i]] for i in kept)
    return total + sum(into(pairwise, j)[labels[i]][labels[j]] for i, j in itertools.pairwise(kept))


def into(pairwise, position):
    """The table that leads into a position."""
    return pairwise[position - 1] if np.ndim(pairwise) == 3 else pairwise


def paths(unary, where):
    """Every sequence; -1 where it does not count."""
    choices = [range(len(row)) if counts else [-1] for row, counts in zip(unary, where, strict=True)]
    return list(itertools.product(*choices))


def law(unary, pairwise, where):
    """(paths, probabilities, log Z)."""
    every = paths(unary, where)
    scores = [score(unary, pairwise, y, where) for y in every]
    top = max(scores)
    if top == -math.inf:
        return every, [0.0] * len(every), -math.inf
    weights = [math.exp(s - top) for s in scores]
    total = math.fsum(weights)
    return every, [w / total for w in weights], top + math.log(total)


def marginals(unary, pairwise, where):
    """P(y_i = a) (t, l) and the expected number of transitions, in the shape of pairwise."""
    node, edge = np.zeros(np.shape(unary)), np.zeros(np.shape(pairwise))
    for y, p in zip(*law(unary, pairwise, where)[:2], strict=True):
        kept = [i for i in range(len(node)) if where[i]]
        for i in kept:
            node[i, y[i]] += p
        for i, j in itertools.pairwise(kept):
            into(edge, j)[y[i], y[j]] += p
    return node, edge


def best(unary, pairwise, where):
    """A sequence of highest score, and that score; of ties the one lowest from the end."""
    every = paths(unary, where)
    scored = [(score(unary, pairwise, y, where), tuple(-a for a in reversed(y)), y) for y in every]
    top = max(scored)
    return top[2], top[0]


def edits(labels, num_labels, where):
    """Every other sequence one replacement or one swap of neighbours away."""
    found = set()
    for i, counts in enumerate(where):
        for a in range(num_labels) if counts else ():
            found.add(tuple(a if j == i else y for j, y in enumerate(labels)))
    for i in range(len(labels) - 1):
        if where[i] and where[i + 1]:
            swapped = list(labels)
            swapped[i], swapped[i + 1] = swapped[i + 1], swapped[i]
            found.add(tuple(swapped))
    return found - {tuple(labels)}


def long_log_normalizer(unary, pairwise):
    """Log Z of a chain without mask by the recursion in 80 bits; 64 of them hold the digits."""
    unary, pairwise = np.asarray(unary, np.longdouble), np.asarray(pairwise, np.longdouble)
    alpha = unary[0].copy()
    with np.errstate(divide="ignore"):
        for i, scores in enumerate(unary[1:], start=1):
            alpha = _log_sum(alpha[:, None] + into(pairwise, i)) + scores
        return _log_sum(alpha)


def _log_sum(x):
    top = x.max(axis=0)
    top = np.where(np.isfinite(top), top, 0)
    return np.log(np.exp(x - top).sum(axis=0)) + top


def long_score(unary, pairwise, labels):
    """Score of a sequence without mask, its sum rounded once."""
    terms = [row[a] for row, a in zip(np.asarray(unary, float), labels, strict=True)]
    steps = [into(pairwise, i)[labels[i - 1]][labels[i]] for i in range(1, len(labels))]
    return math.fsum([*terms, *np.asarray(steps, float)])
