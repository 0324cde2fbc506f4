"""Losses recomputed term by term in float64."""

import math
from decimal import Decimal, localcontext

import numpy as np


def softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def log_sum(terms):
    """log sum exp of a list; -inf of an empty one."""
    if len(terms) == 0:
        return -math.inf
    peak = max(terms)
    return peak + math.log(math.fsum(math.exp(t - peak) for t in terms))


def kept(negatives, where):
    return [s for s, w in zip(negatives, where, strict=True) if w] if where is not None else list(negatives)


def sgns(positive, negatives, where=None):
    return softplus(-positive) + sum(softplus(s) for s in kept(negatives, where))


def nce(positive, negatives, log_q_positive, log_q_negatives, where=None):
    where = np.ones(len(negatives), bool) if where is None else where
    k = max(int(np.sum(where)), 1)
    total = softplus(-(positive - log_q_positive - math.log(k)))
    for s, q, w in zip(negatives, log_q_negatives, where, strict=True):
        if w:
            total += softplus(s - q - math.log(k))
    return total


def info_nce(positive, negatives, temperature=1.0, log_q_positive=None, log_q_negatives=None, k=None, where=None):
    log_k = 0.0
    if log_q_negatives is not None and log_q_positive is None:  # importance
        log_k = math.log(len(negatives) if k is None else k)
    log_q_negatives = np.zeros(len(negatives)) if log_q_negatives is None else log_q_negatives
    where = np.ones(len(negatives), bool) if where is None else where
    top = positive / temperature - (log_q_positive or 0.0)
    rest = [s / temperature - q - log_k - top for s, q, w in zip(negatives, log_q_negatives, where, strict=True) if w]
    return softplus(log_sum(rest)) if rest else 0.0


def decoupled_info_nce(positive, negatives, temperature, where=None):
    rest = kept(negatives, where)
    return log_sum([(s - positive) / temperature for s in rest]) if rest else 0.0


def sigmoid(positive, negatives, temperature, bias, where=None):
    total = softplus(-(positive / temperature + bias))
    for s in kept(negatives, where):
        total += softplus(s / temperature + bias)
    return total


def bpr(positive, negatives, where=None):
    return sum(softplus(s - positive) for s in kept(negatives, where))


def self_adversarial(positive, negatives, sharpness, weights_of=None, where=None):
    """`weights_of` are the scores that set the weights: hold them fixed to get the stopped gradient."""
    rest = kept(negatives, where)
    logits = [sharpness * s for s in kept(negatives if weights_of is None else weights_of, where)]
    total = softplus(-positive)
    for s, z in zip(rest, logits, strict=True):
        total += math.exp(z - log_sum(logits)) * softplus(s)
    return total


def debiased_info_nce(positive, negatives, temperature, positive_prior, where=None):
    return hard_info_nce(positive, negatives, temperature, positive_prior, 0.0, where)


def hard_info_nce(positive, negatives, temperature, positive_prior, concentration, where=None):
    """The formula as printed, in decimals whose exponents reach e^(1/0.001) and beyond."""
    rest = kept(negatives, where)
    if not rest:
        return 0.0
    with localcontext(prec=60):
        tau, prior, k = Decimal(float(temperature)), Decimal(float(positive_prior)), len(rest)
        z = [Decimal(float(s)) / tau for s in rest]
        importance = [(Decimal(float(concentration)) * s).exp() for s in z]
        mean = sum(i * s.exp() for i, s in zip(importance, z, strict=True)) / sum(importance)
        top = (Decimal(float(positive)) / tau).exp()
        g = max((mean - prior * top) / (1 - prior), (-1 / tau).exp())
        odds = k * g / top
        return float((1 + odds).ln() if odds > Decimal("1e-30") else odds)


def triplet(positive_distance, negative_distance, margin):
    return max(0.0, positive_distance - negative_distance + margin)


def alignment(x, y, power):
    return math.sqrt(math.fsum((a - b) ** 2 for a, b in zip(x, y, strict=True))) ** power


def uniformity(x, temperature):
    n = len(x)
    terms = [
        -temperature * math.fsum((a - b) ** 2 for a, b in zip(x[i], x[j], strict=True))
        for i in range(n)
        for j in range(n)
        if i != j
    ]
    return log_sum(terms) - math.log(len(terms))
