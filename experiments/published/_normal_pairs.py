"""Pairs of normal vectors: their correlation, and what InfoNCE reports of them with the best critic, in closed form."""

from functools import cache

import numpy as np

DIMENSION = 20


def correlation(information):
    """The rho at which the pairs have this mutual information."""
    return np.sqrt(-np.expm1(-2 * np.asarray(information) / DIMENSION))


def distances(freedom, centre, scale):
    """Law of scale times a noncentral chi-squared variable, on a grid of its logarithm."""
    from scipy import stats

    mean, sd = freedom + centre, np.sqrt(2 * freedom + 4 * centre)
    w = np.exp(np.linspace(np.log(1e-3), np.log(mean + 14 * sd), 240))
    weights = w * stats.ncx2.pdf(w, freedom, centre)
    return scale * w, weights / weights.sum()


@cache
def expected_bound(information, candidates):
    """Expectation of the bound under the optimal critic: quadrature over |x|, candidates, and the integral's u."""
    from scipy.special import roots_genlaguerre

    rho2 = float(correlation(information)) ** 2
    nodes, masses = roots_genlaguerre(20, DIMENSION / 2 - 1)  # |x|^2 / 2 has a Gamma law
    u = np.arange(-60.0, 320.0, 0.5)
    t, total = np.exp(u)[:, None], 0.0
    for half, mass in zip(nodes, masses / masses.sum(), strict=True):
        log_ratio = lambda w, half=half: information + half - w * rho2 / (1 - rho2) / 2  # w = |y - x / rho|^2
        w, weights = distances(DIMENSION, 2 * half / rho2, 1.0)
        own, own_weights = distances(DIMENSION, 2 * half * (1 - rho2) / rho2, 1 - rho2)
        drop = np.expm1(-t * np.exp(log_ratio(w))) @ weights
        each = np.log1p(np.maximum(drop, -1 + 1e-15))
        kept = (np.exp(-t * np.exp(log_ratio(own))) @ own_weights) * np.exp((candidates - 1) * each)
        total += mass * 0.5 * np.sum(np.exp(-t[:, 0]) - kept)
    return float(np.log(candidates) + information - total)
