"""What the linearisation at a collapsed point predicts; NumPy in float64, nothing of nsx.

Links S are symmetric with rows of sum 1, so their first eigenvalue is 1 (all words alike) and the second, sigma,
belongs to the slowest difference between words.
"""

from __future__ import annotations

import numpy as np


def second_eigenvalue(links: np.ndarray) -> float:
    """Sigma, of the slowest difference between words."""
    return float(np.linalg.eigvalsh(np.asarray(links, float))[-2])


def shrinking(links: np.ndarray, step_size: float) -> float:
    """Factor of the slowest difference per step, when words are pulled by squared distances: 1 - eta (1 - sigma)."""
    return 1 - step_size * (1 - second_eigenvalue(links))


def sphere_growth(links: np.ndarray, repulsion: np.ndarray) -> np.ndarray:
    """Growth rate of differences on the sphere with r noise words per pair, r - (1 - sigma): there is a threshold."""
    return np.asarray(repulsion) - (1 - second_eigenvalue(links))


def dot_growth(links: np.ndarray, repulsion: np.ndarray) -> np.ndarray:
    """The same for dot products, sigma r / (1 + r), at the norm where pull and push cancel: positive for any r > 0."""
    repulsion = np.asarray(repulsion)
    return second_eigenvalue(links) * repulsion / (1 + repulsion)


def runaway(links: np.ndarray, steps: int, *, norm: float, step_size: float) -> dict[str, np.ndarray]:
    """Dot products, only pulled: norm of aligned words and size of their slowest difference, relative to its start.

    Both grow by the pull sigma(-v.u) on v.u = norm^2, the difference sigma times as fast.
    """
    sigma = second_eigenvalue(links)
    norms = np.empty(steps + 1)
    differences = np.empty(steps + 1)
    difference = 1.0
    for step in range(steps + 1):
        norms[step] = norm
        differences[step] = difference
        pull = step_size / (1 + np.exp(norm**2))
        norm *= 1 + pull
        difference *= 1 + pull * sigma
    return {"norm": norms, "difference": differences}
