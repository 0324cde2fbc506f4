"""Expectations under normal mixtures by the trapezoid rule on a fine grid; NumPy float64.

For an analytic integrand that falls as a normal density the trapezoid rule converges faster than any power.
"""

import numpy as np


def mixture_expectation(f, weights, means, deviations, reach=12.0, points=20_001):
    z = np.linspace(-reach, reach, points)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (2 * reach / (points - 1))
    weights = np.asarray(weights, float) / np.sum(weights)
    total = 0.0
    for w, mean, deviation in zip(weights, means, deviations, strict=True):
        total += w * np.sum(f(mean + deviation * z) * density)
    return total


def sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))
