"""Expectations under a proposal, one candidate at a time in float64."""

import itertools
import math

import numpy as np


def law(log_weights):
    top = max(log_weights)
    weights = [math.exp(w - top) for w in log_weights]
    total = math.fsum(weights)
    return [w / total for w in weights]


def mean(gradients, log_weights):
    total = np.zeros(np.shape(gradients)[1:])
    for q, g in zip(law(log_weights), gradients, strict=True):
        if q > 0:
            total = total + q * np.asarray(g, np.float64)
    return total


def variance(gradients, log_weights):
    centre = mean(gradients, log_weights)
    total = np.zeros_like(centre)
    for q, g in zip(law(log_weights), gradients, strict=True):
        if q > 0:
            total = total + q * (np.asarray(g, np.float64) - centre) ** 2
    return total


def bias(gradients, log_weights, target):
    return mean(gradients, log_weights) - mean(gradients, target)


def chi_square(log_weights, target):
    total = 0.0
    for q, u in zip(law(log_weights), law(target), strict=True):
        if u > 0:
            total += (q - u) ** 2 / u
        elif q > 0:
            return math.inf
    return total


def signal_to_noise(gradients, log_weights, k=1):
    return math.sqrt(np.sum(mean(gradients, log_weights) ** 2) / (np.sum(variance(gradients, log_weights)) / k))


def cosine(a, b):
    return float(np.dot(a, b) / math.sqrt(np.dot(a, a) * np.dot(b, b)))


def over_samples(f, log_weights, k):
    """Sum over all n^k ordered samples."""
    q = law(log_weights)
    total = 0.0
    for ids in itertools.product(range(len(q)), repeat=k):
        share = math.prod(q[i] for i in ids)
        if share > 0:
            total = total + share * f(ids)
    return total


def importance_weighted(gradients, log_ratios):
    total = np.zeros(np.shape(gradients)[1:])
    for r, g in zip(log_ratios, gradients, strict=True):
        if r > -math.inf:
            total = total + math.exp(r) * np.asarray(g, np.float64)
    return total / len(log_ratios)


def self_normalised_bias(gradients, log_weights, target, k):
    centre = mean(gradients, target)
    total = np.zeros_like(centre)
    for q, p, g in zip(law(log_weights), law(target), gradients, strict=True):
        if p > 0:
            total = total - p * p / q * (np.asarray(g, np.float64) - centre)
    return total / k


def nce_covariance(score, data, noise, nu):
    """Gutmann and Hyvarinen's Sigma, times 1 + nu for the total budget; laws given as probabilities."""
    d = np.shape(score)[1]
    information, first = np.zeros((d, d)), np.zeros(d)
    for g, p, n in zip(score, data, noise, strict=True):
        if p > 0:
            share = p * nu * n / (p + nu * n)
            information += share * np.outer(g, g)
            first += share * np.asarray(g)
    inverse = np.linalg.inv(information)
    return (1 + nu) * (inverse - (1 + 1 / nu) * inverse @ np.outer(first, first) @ inverse)
