"""Sampled softmax by enumeration of all draws: expected loss, gradient and optimum in float64."""

import math

import numpy as np


def compositions(total, parts):
    """All ways to write `total` as a sum of `parts` counts, shape (ways, parts)."""
    if parts == 1:
        return np.array([[total]])
    blocks = []
    for first in range(total + 1):
        rest = compositions(total - first, parts - 1)
        blocks.append(np.hstack([np.full((len(rest), 1), first), rest]))
    return np.vstack(blocks)


def chances(counts, law):
    """Multinomial probability of each row of counts under the law."""
    log_factorial = np.array([math.lgamma(c + 1) for c in range(int(counts.sum(axis=1)[0]) + 1)])
    possible = law > 0
    log_law = np.log(np.where(possible, law, 1))
    log_terms = np.where(possible, counts * log_law, np.where(counts > 0, -np.inf, 0)).sum(axis=1)
    return np.exp(log_factorial[-1] - log_factorial[counts].sum(axis=1) + log_terms)


def weights_of_draws(q, k, positive, form, hits):
    """(a, w, law): weight of e^s+, of e^s_j of each draw, and the law of a draw, as each combination has them."""
    n = len(q)
    own, others, law = 1.0, 1 / (k * q), q
    if form == "ranking":
        own, others = 1 / q[positive], 1 / q
    if hits != "kept":
        others = np.where(np.arange(n) == positive, 0, others)
    if hits == "rejected":
        law = np.where(np.arange(n) == positive, 0, q) / (1 - q[positive])
        others = others * (1 - q[positive])
    return own, others, law


def expectation(scores, p, q, k, form, hits):
    """Expected loss, gradient and Hessian in the scores, positives from p and k draws each."""
    n = len(q)
    counts = compositions(k, n)
    loss, gradient, hessian = 0.0, np.zeros(n), np.zeros((n, n))
    for c in range(n):
        own, others, law = weights_of_draws(q, k, c, form, hits)
        chance = p[c] * chances(counts, law)
        itself = np.eye(n)[c]
        terms = (counts * others + own * itself) * np.exp(scores - scores[c])
        total = terms.sum(axis=1, keepdims=True)
        share = terms / total
        loss += chance @ (np.log(total[:, 0]) - math.log(own))
        gradient += chance @ (share - itself)
        hessian += np.diag(chance @ share) - (share * chance[:, None]).T @ share
    return loss, gradient, hessian


def optimum(p, q, k, form, hits, steps=200):
    """Probabilities of the scores of least expected loss (Newton, steps of at most 1)."""
    scores = np.log(p)
    for _ in range(steps):
        _, gradient, hessian = expectation(scores, p, q, k, form, hits)
        step = np.linalg.solve(hessian + 1 / len(p), gradient + np.mean(scores))
        scores = scores - step / max(1.0, np.max(np.abs(step)))
        if np.max(np.abs(step)) < 1e-13:
            break
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


def full(scores, p):
    """Loss and gradient of the full softmax."""
    top = scores.max()
    log_z = math.log(np.exp(scores - top).sum()) + top
    return log_z - p @ scores, np.exp(scores - log_z) - p


def first_order(scores, p, q, form, hits):
    """c of: expected gradient = the full softmax's + c / k + O(1 / k^2), by the delta method and a difference."""

    def excess(scores):
        """k times (expected log of the denominator - log Z), to first order."""
        z = np.exp(scores).sum()
        total = 0.0
        for c in range(len(q)):
            _, others, law = weights_of_draws(q, 1, c, form, hits)
            x = others * np.exp(scores)
            variance = law @ x**2 - (law @ x) ** 2
            shift = np.exp(scores[c]) / q[c] / z if form == "ranking" else 0.0
            total += p[c] * (shift - variance / (2 * z**2))
        return total

    h = 1e-5
    return np.array([(excess(scores + h * e) - excess(scores - h * e)) / (2 * h) for e in np.eye(len(q))])
