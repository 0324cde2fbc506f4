"""Chains by listing every label sequence: sums over l^t paths, in loops."""

import itertools
import math

import numpy as np


def score(unary, pairwise, labels, where):
    """Score of a sequence, the positions that do not count left out."""
    kept = [i for i in range(len(unary)) if where[i]]
    total = sum(unary[i][labels[i]] for i in kept)
    return total + sum(pairwise[labels[i]][labels[j]] for i, j in itertools.pairwise(kept))


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
    """P(y_i = a) (t, l) and the expected number of transitions (l, l)."""
    t, l = np.shape(unary)
    node, edge = np.zeros((t, l)), np.zeros((l, l))
    for y, p in zip(*law(unary, pairwise, where)[:2], strict=True):
        kept = [i for i in range(t) if where[i]]
        for i in kept:
            node[i, y[i]] += p
        for i, j in itertools.pairwise(kept):
            edge[y[i], y[j]] += p
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
