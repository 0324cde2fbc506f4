"""Exact losses under a phonetic law, from how many words lie at each distance: NumPy float64, no sampling."""

import numpy as np

from experiments.contrast._expected import expected_log

TEMPERATURE = 1.0
REACH = 6  # from this distance on a word scores -1
NEGATIVES = np.array([4, 16, 64, 256])


def scores(distance):
    """Of a model that hears and nothing else: 1 for the same sound, falling to -1."""
    return (1 - 2 * distance / REACH).clip(-1)


def shares(table, sharpness):
    """Exact law over distances (..., anchors, distances) from the counts alone."""
    weights = table * np.exp(-np.asarray(sharpness)[..., None, None] * np.arange(table.shape[-1]))
    return weights / weights.sum(axis=-1, keepdims=True)


def clean(law):
    rest = np.where(np.arange(law.shape[-1]) > 0, law, 0)
    return rest / rest.sum(axis=-1, keepdims=True)


def exact_loss(law):
    """Mean over anchors of E InfoNCE, by number of negatives."""
    levels = scores(np.arange(law.shape[-1])) / TEMPERATURE
    top = 1 / TEMPERATURE
    return np.array([np.mean([expected_log(levels, row, k, top) for row in law]) - top for k in NEGATIVES])


def expansion(law, k):
    """E of the corrected loss to second order in 1/k, mean over anchors, and a bound on what follows.

    With x the relative deviation of the sum, E log(1 + x) = -E x^2/2 + E x^3/3 - E x^4/4 + ..., central moments of
    k draws.
    """
    values = np.exp(scores(np.arange(law.shape[-1])) / TEMPERATURE)
    share, top = law[:, :1], values[0]
    centre = (clean(law) * values).sum(axis=1)
    scale = k / (top + k * centre) / (1 - share[:, 0])
    gap = values - (law * values).sum(axis=1, keepdims=True)
    m2, m3, m4 = (scale**p * (law * gap**p).sum(axis=1) for p in (2, 3, 4))
    fourth = 3 * (1 - 1 / k) * m2**2 / k**2 + m4 / k**3
    mean = np.log1p(k * centre / top) - m2 / (2 * k) + m3 / (3 * k**2) - fourth / 4
    return mean.mean(), np.mean(2 * m2 * np.abs(m3) / k**3 + 15 * m2**3 / (6 * k**3))
