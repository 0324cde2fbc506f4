"""Graphs as sets of neighbours, by loops; random graphs by listing all of them."""

import itertools
import math

import numpy as np


def neighbours(adjacency):
    """A set for each node."""
    n = len(adjacency)
    return [{j for j in range(n) if adjacency[i][j]} for i in range(n)]


def common(adjacency):
    """Shared neighbours of each pair."""
    sets = neighbours(adjacency)
    return [[len(a & b) for b in sets] for a in sets]


def hard_rate(adjacency, weights, threshold):
    """P(hard) of each anchor under unnormalised weights (n, n) of the nodes; None where it has no negative."""
    sets, shared = neighbours(adjacency), common(adjacency)
    rates = []
    for i, near in enumerate(sets):
        others = [j for j in range(len(sets)) if j != i and j not in near and weights[i][j] > 0]
        total = sum(weights[i][j] for j in others)
        hard = sum(weights[i][j] for j in others if shared[i][j] >= threshold)
        rates.append(hard / total if others else None)
    return rates


def efficiency(scores, adjacency):
    """Mean sigmoid over the uniform negatives of each anchor that has any, over the mean of 1 - sigmoid on edges."""
    sigmoid = lambda s: 1 / (1 + math.exp(-s))
    sets, n = neighbours(adjacency), len(adjacency)
    anchors = [[sigmoid(scores[i][j]) for j in range(n) if j != i and j not in sets[i]] for i in range(n)]
    pushes = [sum(row) / len(row) for row in anchors if row]
    pulls = [1 - sigmoid(scores[i][j]) for i in range(n) for j in sets[i]]
    return (sum(pushes) / len(pushes)) / (sum(pulls) / len(pulls))


def law_of_common(probability):
    """P(c_01 = c) in a graph of independent edges, by listing what joins 0 and 1 to the other nodes."""
    n = len(probability)
    law = [0.0] * (n - 1)
    for joined in itertools.product((False, True), repeat=2 * (n - 2)):
        weight, shared = 1.0, 0
        for k in range(2, n):
            a, b = joined[2 * (k - 2)], joined[2 * (k - 2) + 1]
            weight *= probability[0][k] if a else 1 - probability[0][k]
            weight *= probability[1][k] if b else 1 - probability[1][k]
            shared += a and b
        law[shared] += weight
    return law


def configuration(degrees, i, j):
    """Expected shared neighbours when each end of an edge leads to node k in proportion to its degree."""
    ends = sum(degrees)
    return sum(degrees[i] * d / ends * degrees[j] * (d - 1) / ends for d in degrees)


def binomial_tail(num_trials, p, threshold):
    """P(X >= threshold), X ~ Binomial(num_trials, p^2): ratios from the mode outwards over their sum, in 80 bits."""
    p = np.longdouble(p)
    odds = p * p / ((1 - p) * (1 + p))
    mode = min(int((num_trials + 1) * p * p), num_trials)
    reach = int(45 * math.sqrt(num_trials * float(p * p * (1 - p) * (1 + p)))) + 200
    up = np.arange(mode, min(mode + reach, num_trials), dtype=np.longdouble)
    down = np.arange(mode, max(mode - reach, 0), -1, dtype=np.longdouble)
    above = np.cumprod((num_trials - up) / (up + 1) * odds)
    below = np.cumprod(down / (num_trials - down + 1) / odds)
    weights = np.concatenate([below[::-1], [np.longdouble(1)], above])
    first = mode - len(below)
    tail = weights[max(threshold - first, 0) :]
    return float(np.sum(tail[::-1]) / np.sum(np.sort(weights)))


def non_edges(edges, anchor, targets, itself):
    """The targets that the anchor has no edge to, in order; the anchor too where `itself`."""
    joined = {int(j) for i, j in edges if i == anchor}
    return [j for j in targets if j not in joined and (itself or j != anchor)]


def law_of_non_edges(edges, anchor, targets, itself, weight):
    """Probability of each of them under weights by target."""
    free = non_edges(edges, anchor, targets, itself)
    total = math.fsum(weight[j] for j in free)
    return {j: weight[j] / total for j in free}
