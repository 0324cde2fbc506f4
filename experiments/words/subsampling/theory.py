"""What the keep probability does to frequencies and pairs; NumPy in float64, nothing of nsx."""

from __future__ import annotations

import numpy as np

GOLDEN_SQUARE = (1 + 5**0.5) ** 2 / 4  # 2.618...: sqrt(t/f) + t/f is 1 at f = 2.618 t


def zipf(vocabulary: int) -> np.ndarray:
    """Frequencies of a text whose r-th word comes 1 / r as often as its first."""
    weight = 1 / np.arange(1.0, vocabulary + 1)
    return weight / weight.sum()


def mass(frequency: np.ndarray, threshold: float) -> np.ndarray:
    """What a word keeps of its frequency: sqrt(t f) + t above 2.618 t, all of it below."""
    above = frequency > GOLDEN_SQUARE * threshold
    return np.where(above, np.sqrt(threshold * frequency) + threshold, frequency)


def pairs(tokens: int, kept: float, window: int) -> float:
    """Expected ordered pairs of a text thinned before its windows are laid: each kept token meets `window` per side.

    The windows close over the gaps, so the number falls by the share of tokens kept, and not by its square.
    """
    return window * (2 * tokens * kept - window - 1)
