"""The softmax over K independent random scores: free energy and participation by quadrature, and their limits."""

from functools import cache

import numpy as np
from scipy.special import gammaln, ndtri

from experiments import data
from nsx import samplers, words

NORMAL, LAPLACE = "normal", "Laplace"


def density(law: str, x: np.ndarray) -> np.ndarray:
    """Density of the standard law (mean 0, variance 1) at x."""
    if law == NORMAL:
        return np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    return np.exp(-np.sqrt(2) * np.abs(x)) / np.sqrt(2)


def sizes(largest: int) -> np.ndarray:
    """64, 256, ... up to the largest."""
    return 4 ** np.arange(3, round(np.log2(largest) / 2) + 1)


@cache
def softmax_averages(law: str, count: float, tau: float) -> tuple[float, float]:
    r"""E log S and E sum p^2 for S = sum of `count` e^(x/tau), p = e^(x/tau) / S, x standard: float64 quadrature.

    $$E\log S = \int (e^{-e^u} - \phi^K)\,du, \qquad
      E\sum p^2 = K \int t^2 E[e^{2x/\tau - t e^{x/\tau}}] \phi^{K-1} du,$$

    t = e^u and phi = E exp(-t e^(x/tau)): both sums by the trapezoidal rule, whose error falls exponentially.
    """
    reach = 10.0 if law == NORMAL else 30.0
    step = min(tau / 4, 1 / 16)
    x = np.arange(-reach, reach + step, step)
    weights = density(law, x) * step
    z = x / tau
    above = np.cumsum(weights[::-1])[::-1]
    floor = z[np.searchsorted(-above, -min(60 / count, 0.999)) - 1]  # about 60 of the draws lie above this
    u = np.arange(-z[-1] - np.log(count) - 38, max(4.5, 4.5 - floor), 0.25)
    total, squares = 0.0, 0.0
    for part in np.array_split(u, 1 + len(u) * len(x) // 1_000_000):
        y = np.minimum(part[:, None] + z, 40.0)
        weight = np.exp(-np.exp(y))
        drop = np.expm1(-np.exp(y)) @ weights
        left = np.maximum(weight @ weights, np.finfo(float).tiny)
        log_phi = np.where(drop > -0.5, np.log1p(np.maximum(drop, -0.5)), np.log(left))
        total += np.sum(np.exp(-np.exp(part)) - np.exp(count * log_phi))
        squares += np.sum(np.exp(2 * y - np.exp(y)) @ weights * np.exp((count - 1) * log_phi))
    return 0.25 * total, 0.25 * count * squares


def edge(count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of `count` standard normal scores: the level that one exceeds on average, and the hazard rate there."""
    level = -ndtri(1 / count)
    return level, count * np.exp(-(level**2) / 2) / np.sqrt(2 * np.pi)


def frozen_excess(theta: float) -> float:
    """(m_eff - edge) times the hazard rate as K grows, theta = tau times that rate < 1: a one-sided stable law.

    The scores near the edge are a Poisson process of density e^-u, so S has the transform exp(-Gamma(1-theta) t^theta).
    """
    return float(gammaln(1 - theta) + np.euler_gamma * (1 - theta))


@cache
def word_scores(corpus: str, vocabulary: int = 1500, anchors: int = 512) -> np.ndarray:
    """Cosines of some words to all frequent others, in standard deviations of each row, (anchors, vocabulary - 1)."""
    ids = data.corpus(corpus).ids
    counts = words.cooccurrence(ids[ids < vocabulary], window=5, vocabulary_size=vocabulary)
    vectors = np.array(words.svd_factors(words.sppmi(counts), rank=64).words)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = np.arange(100, 100 + anchors)  # below the function words
    scores = vectors[rows] @ vectors.T
    scores = scores[np.arange(vocabulary) != rows[:, None]].reshape(anchors, -1)
    return (scores - scores.mean(axis=1, keepdims=True)) / scores.std(axis=1, keepdims=True)


def real(corpus: str | None, law: str, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum of p^2 of words' scores at theta times their Gaussian freezing temperature, and of Gaussian scores.

    Under another law than the normal one (a wrong world) the words' scores are replaced by Gaussian ones.
    """
    if not corpus:
        return np.zeros((0, len(theta))), np.zeros(0)
    scores = word_scores(corpus)
    if law != NORMAL:
        scores = np.random.default_rng(0).normal(size=scores.shape)
    tau = theta / np.sqrt(2 * np.log(scores.shape[1]))
    share = np.sum(np.asarray(samplers.probabilities(scores[:, None] / tau[:, None])) ** 2, axis=-1)
    return share, np.array([softmax_averages(NORMAL, scores.shape[1], t)[1] for t in tau])


def limits(law: str) -> tuple[np.ndarray, np.ndarray]:
    """By quadrature, for growing K, in units of s.

    Hot, at tau = s: K / tau times what log K tau + s^2 / 2 tau is too high by. Cold, at half the inverse hazard rate
    of the edge: the rate times what m_eff lies above the edge.
    """
    hot = [n * (np.log(n) + 0.5 - softmax_averages(law, n, 1.0)[0]) for n in (256.0, 1024.0, 4096.0)]
    cold = []
    for n in 2.0 ** np.array([8, 16, 32]):
        level, rate = edge(n)
        cold.append(0.5 * softmax_averages(law, n, 0.5 / rate)[0] - level * rate)
    return np.array(hot), np.array(cold)
