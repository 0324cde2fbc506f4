"""What the claim on hospitals predicts: pushes and pulls under a normal mixture, and jitter; NumPy float64."""

import numpy as np

from experiments._claim import close, student_margin

SHIFTS = np.linspace(0, 4, 9)
WEIGHTS, MEANS = np.array([0.1, 0.3, 0.6]), np.array([3.0, -1.0, -1.0])
FALSE = np.linspace(0, 0.6, 7)  # shares of false negatives along which InfoNCE bends
NEGATIVES = (1, 2, 8)
POSITIVE, PER_POSITIVE, STEP, HOSPITALS = 3.0, 5.0, 0.05, 13
OFFSETS = np.linspace(-1, 1, HOSPITALS) * np.sqrt(3 * (HOSPITALS - 1) / (HOSPITALS + 1))  # variance 1
STABILITY_SHIFTS = np.array([0.25, 0.5, 1.0, 2.0, 4.0])


def normal_mean(f, mean):
    """E f(mean + z) by the trapezoid rule in float64: no sampling, none of nsx."""
    z = np.linspace(-10, 10, 2001)
    return f(mean + z) @ np.exp(-(z**2) / 2) * 0.01 / np.sqrt(2 * np.pi)


def sigmoid(s):
    return 1 / (1 + np.exp(-s))


def parts(t):
    """E_c exp(-t e^s) of each part, (3, times)."""
    return np.array([[normal_mean(lambda s, t=t: np.exp(-t * np.exp(s)), m) for t in t] for m in MEANS])


def exact_pull(law, k):
    """The pull of InfoNCE where the k draws have the transform `law` (times,), of one draw."""
    return 1 - np.sum(DECAY * law**k)


LOG_TIMES = np.arange(-30.0, 2.0, 0.05)
TIMES = np.exp(LOG_TIMES)
DECAY = 0.05 * TIMES * np.exp(POSITIVE - TIMES * np.exp(POSITIVE))  # A e^{-tA} dt


def pulls(shares: np.ndarray) -> tuple[np.ndarray, float]:
    """Pull of InfoNCE (NEGATIVES, rows) for shares (rows, 3); and its second differences at 2."""
    transforms = parts(TIMES)
    pull = np.array([[exact_pull(row @ transforms, k) for row in shares] for k in NEGATIVES])
    bend = -2 * (FALSE[1] - FALSE[0]) ** 2 * np.sum(DECAY * (transforms[0] - transforms[2]) ** 2)
    return pull, bend


def jitter_is(name, replicates, law, step):
    """Variance of the linear recursion; the margin adds the next terms, which its curvature gives."""
    spread, h, square, bend, third, mixed = np.moveaxis(law, -1, 0)[:6]
    linear = step * spread / (2 * h - step * square)
    beyond = 5 * bend**2 * linear / h**2 + 3 * np.abs(third) * linear / h + step * np.abs(mixed * bend) / h**2
    return close(name, linear, replicates.mean(axis=0), student_margin(replicates) + linear * beyond)
