"""Hyperedges as sets, by loops; multipliers by SciPy's minimiser on the dual."""

import math

import numpy as np
from scipy import optimize


def sets(incidence):
    """The nodes of each hyperedge."""
    return [{j for j, inside in enumerate(row) if inside} for row in incidence]


def overlap(incidence, anchor):
    """Jaccard overlap with the anchor; 1 for two empty sets."""
    a = sets([anchor])[0]
    return [len(e & a) / len(e | a) if e | a else 1.0 for e in sets(incidence)]


def power_law(incidence, anchor, alpha, beta):
    """Probabilities s^alpha (1 - o)^beta over the hyperedges that are neither empty nor the anchor."""
    a = sets([anchor])[0]
    weights = [
        len(e) ** alpha * (1 - o) ** beta if e and e != a else 0.0
        for e, o in zip(sets(incidence), overlap(incidence, anchor), strict=True)
    ]
    return [w / math.fsum(weights) for w in weights]


def moments(features, multipliers):
    """E[f] of the maximum-entropy law, by loops."""
    scores = [sum(a * b for a, b in zip(f, multipliers, strict=True)) for f in features]
    weights = [math.exp(s - max(scores)) for s in scores]
    total = math.fsum(weights)
    return [
        math.fsum(w * f[a] for w, f in zip(weights, features, strict=True)) / total for a in range(len(features[0]))
    ]


def solve(features, target):
    """Multipliers that minimise the dual."""

    def dual(x):
        scores = features @ x
        top = scores.max()
        return top + math.log(np.exp(scores - top).sum()) - x @ target

    found = optimize.minimize(dual, np.zeros(features.shape[1]), method="BFGS", options={"gtol": 1e-9})
    return found.x
