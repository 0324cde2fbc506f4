"""Spike traces by loops over spikes and times, and the contrastive gradient from its definition."""

import math

import numpy as np


def trace(times, grid, tau):
    """Sum of the tails of the spikes so far."""
    return [math.fsum(math.exp(-(t - s) / tau) for s in times if s <= t) for t in grid]


def loss(anchor, positive, negatives, step):
    """SGNS of inner products in time."""
    inner = lambda x, y: step * math.fsum(a * b for a, b in zip(x, y, strict=True))
    softplus = lambda s: max(s, 0.0) + math.log1p(math.exp(-abs(s)))
    return softplus(-inner(anchor, positive)) + math.fsum(softplus(inner(anchor, n)) for n in negatives)


def gradient(anchor, positive, negatives, step, h=1e-6):
    """Central differences of the loss."""
    rows = []
    for i in range(len(anchor)):
        up, down = np.array(anchor, float), np.array(anchor, float)
        up[i] += h
        down[i] -= h
        rows.append((loss(up, positive, negatives, step) - loss(down, positive, negatives, step)) / (2 * h))
    return rows


def emphasis(gradient, split, power):
    """Late over early mean of |g|^p."""
    size = [abs(g) ** power for g in gradient]
    return (math.fsum(size[split:]) / (len(size) - split)) / (math.fsum(size[:split]) / split)


def halves(duration, tau):
    """Late over early mean trace in continuous time: the integral of 1 - e^(-t / tau) over each half."""
    integral = lambda t: t + tau * math.exp(-t / tau)
    half = integral(duration / 2)
    return (integral(duration) - half) / (half - integral(0.0))
