"""Losses recomputed term by term in float64."""

import math

import numpy as np


def softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def sgns(positive, negatives, where=None):
    where = np.ones(len(negatives), bool) if where is None else where
    return softplus(-positive) + sum(softplus(s) for s, w in zip(negatives, where, strict=True) if w)


def nce(positive, negatives, log_q_positive, log_q_negatives, where=None):
    where = np.ones(len(negatives), bool) if where is None else where
    k = max(int(np.sum(where)), 1)
    total = softplus(-(positive - log_q_positive - math.log(k)))
    for s, q, w in zip(negatives, log_q_negatives, where, strict=True):
        if w:
            total += softplus(s - q - math.log(k))
    return total


def info_nce(positive, negatives, temperature=1.0, log_q_positive=0.0, log_q_negatives=None, where=None):
    log_q_negatives = np.zeros(len(negatives)) if log_q_negatives is None else log_q_negatives
    where = np.ones(len(negatives), bool) if where is None else where
    top = positive / temperature - log_q_positive
    rest = [s / temperature - q - top for s, q, w in zip(negatives, log_q_negatives, where, strict=True) if w]
    if not rest:
        return 0.0
    peak = max(rest)
    return softplus(peak + math.log(sum(math.exp(r - peak) for r in rest)))
