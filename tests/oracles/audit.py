"""The audit's numbers by loops over candidates, NumPy float64."""

import itertools

import numpy as np


def law(log_weights, allowed):
    """Probabilities of the candidates that may be drawn."""
    weights = np.where(allowed, np.exp(np.where(allowed, log_weights, 0.0)), 0.0)
    return weights / weights.sum()


def full_gradient(anchor, positive, candidates, negative, temperature):
    """Gradient in the anchor of -log softmax of the positive among all its negatives."""
    z = candidates @ anchor / temperature
    z_positive = positive @ anchor / temperature
    weights = np.where(negative, np.exp(z - z_positive), 0.0)
    p = weights / (1 + weights.sum())
    return (p @ candidates - p.sum() * positive) / temperature


def sampled_gradient(anchor, positive, candidates, q, ids, temperature, corrected, hit=-1):
    """Gradient in the anchor of InfoNCE with these draws; a draw of `hit` is masked, and one of the k."""
    ids = np.asarray(ids)
    z = (candidates - positive) @ anchor / temperature
    weights = np.exp(z[ids]) / (len(ids) * q[ids] if corrected else 1.0)
    weights = np.where(ids == hit, 0.0, weights)
    share = weights / (1 + weights.sum())
    return (share @ candidates[ids] - share.sum() * positive) / temperature


def sampled_gradients(anchor, positive, candidates, q, k, temperature, corrected, hit=-1):
    """Every outcome of k draws: its probability and its gradient."""
    for ids in itertools.product(np.flatnonzero(q > 0), repeat=k):
        gradient = sampled_gradient(anchor, positive, candidates, q, ids, temperature, corrected, hit)
        yield np.prod(q[list(ids)]), gradient


def moments(anchor, positive, candidates, q, k, temperature, corrected, target, hit=-1):
    """Squared bias, squared length of the mean, its product with the target, total variance: exact."""
    outcomes = list(sampled_gradients(anchor, positive, candidates, q, k, temperature, corrected, hit))
    mean = sum(p * g for p, g in outcomes)
    variance = sum(p * np.sum((g - mean) ** 2) for p, g in outcomes)
    return np.sum((mean - target) ** 2), np.sum(mean**2), mean @ target, variance


def sgns_gradient(anchor, positive, candidates, q, ids, temperature, corrected, negative):
    """Gradient in the anchor of SGNS with these draws, each weighed by uniform over q where corrected."""
    ids = np.asarray(ids)
    push = 1 / (1 + np.exp(-candidates[ids] @ anchor / temperature))
    if corrected:
        push = push / (negative.sum() * q[ids])
    push = np.where(negative[ids], push, 0.0)
    pull = 1 / (1 + np.exp(positive @ anchor / temperature))
    return (push @ candidates[ids] - pull * positive) / temperature


def full_sgns_gradient(anchor, positive, candidates, negative, k, temperature):
    """Gradient in the anchor of SGNS with k uniform negatives, in expectation."""
    push = np.where(negative, k / negative.sum() / (1 + np.exp(-candidates @ anchor / temperature)), 0.0)
    pull = 1 / (1 + np.exp(positive @ anchor / temperature))
    return (push @ candidates - pull * positive) / temperature
