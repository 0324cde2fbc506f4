"""The audit's numbers by loops over candidates, NumPy float64."""

import itertools

import numpy as np


def law(log_weights, allowed):
    """Probabilities of the candidates that may be drawn."""
    weights = np.where(allowed, np.exp(np.where(allowed, log_weights, 0.0)), 0.0)
    return weights / weights.sum()


def full_gradient(anchor, positive, candidates, allowed, temperature):
    """Gradient in the anchor of -log softmax of the positive among all candidates that may be drawn."""
    z = candidates @ anchor / temperature
    z_positive = positive @ anchor / temperature
    weights = np.where(allowed, np.exp(z - z_positive), 0.0)
    p = weights / (1 + weights.sum())
    return (p @ candidates - p.sum() * positive) / temperature


def sampled_gradients(anchor, positive, candidates, q, k, temperature, corrected):
    """Every outcome of k draws: its probability and its gradient."""
    z = (candidates - positive) @ anchor / temperature
    for ids in itertools.product(np.flatnonzero(q > 0), repeat=k):
        ids = np.array(ids)
        weights = np.exp(z[ids]) / (k * q[ids] if corrected else 1.0)
        share = weights / (1 + weights.sum())
        gradient = (share @ candidates[ids] - share.sum() * positive) / temperature
        yield np.prod(q[ids]), gradient


def moments(anchor, positive, candidates, q, k, temperature, corrected, target):
    """Squared bias, squared length of the mean, its product with the target, total variance: exact."""
    outcomes = list(sampled_gradients(anchor, positive, candidates, q, k, temperature, corrected))
    mean = sum(p * g for p, g in outcomes)
    variance = sum(p * np.sum((g - mean) ** 2) for p, g in outcomes)
    return np.sum((mean - target) ** 2), np.sum(mean**2), mean @ target, variance
