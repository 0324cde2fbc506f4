"""Scores of pairs of patients as a mixture: false negatives, true ones of the same hospital, true ones of another."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import data as sources
from nsx import bias, quadrature

KINDS = ("false negative", "same hospital", "other hospital")


class Pairs(NamedTuple):
    """Scores (p,) of all pairs of patients, their kind (p,) as an index into KINDS, and for each hospital the scores of
    its patients with everyone (hospitals, most) with log-weights, -inf behind the last.
    """

    scores: np.ndarray
    kind: np.ndarray
    by_hospital: np.ndarray
    log_weights: np.ndarray
    same: np.ndarray


def similarity(features: np.ndarray) -> np.ndarray:
    """Dot products of standardised features over the root of their number; one that does not vary says nothing."""
    spread = features.std(axis=0)
    x = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return x @ x.T / np.sqrt(features.shape[1])


def pair_up(scores: np.ndarray, hospital: np.ndarray, ill: np.ndarray) -> Pairs:
    """Pairs of the patients of `hospital` (n,), their similarity `scores` (n, n); `ill` (n, n): they share an illness.

    A hospital with one patient has no pair of its own and meets the others all the same.
    """
    i, j = np.triu_indices(len(hospital), 1)
    same = hospital[i] == hospital[j]
    kind = np.where(ill[i, j], 0, np.where(same, 1, 2))
    rows = [np.delete(scores, p, axis=1)[p] for p in range(len(hospital))]
    each = [np.concatenate([rows[p] for p in np.flatnonzero(hospital == h)]) for h in np.unique(hospital)]
    most = max(map(len, each))
    padded = np.stack([np.pad(row, (0, most - len(row))) for row in each])
    log_weights = np.stack([np.where(np.arange(most) < len(row), 0.0, -np.inf) for row in each])
    return Pairs(scores[i, j], kind, padded, log_weights, same)


def patients() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Similarity (n, n) of the trial's patients, their hospital (n,), and which pairs (n, n) share an illness.

    An illness is shared by two patients with the same inheritance who both had a serious infection while followed.
    """
    found = sources.granulomatous_disease()
    columns = [c != "interferon" for c in sources.FEATURES]  # the treatment was given by lot
    inherited = found.features[:, sources.FEATURES.index("autosomal")]
    infected = found.infections > 0
    ill = (inherited[:, None] == inherited) & infected[:, None] & infected
    return similarity(found.features[:, columns]), found.hospital, ill


def real_pairs(num_shuffles: int) -> tuple[Pairs, np.ndarray]:
    """Pairs of the trial's patients, and the domain shifts of hospitals of the same sizes drawn by lot."""
    scores, hospital, ill = patients()
    rng, (i, j) = np.random.default_rng(0), np.triu_indices(len(scores), 1)
    shuffled = (rng.permutation(hospital) for _ in range(num_shuffles))
    null = [within_less_across(scores[i, j], h[i] == h[j]) for h in shuffled]
    return pair_up(scores, hospital, ill), np.array(null)


def within_less_across(scores: np.ndarray, same: np.ndarray) -> float:
    """The domain shift: mean score of pairs of one hospital less that of the others."""
    return scores[same].mean() - scores[~same].mean()


def planted_hospitals(
    shift: jax.Array, weights: jax.Array, means: jax.Array, offsets: np.ndarray
) -> quadrature.Quadrature:
    """The law of the negatives' scores at each hospital, whose own patients score `shift` times its offset higher."""
    own = jnp.asarray(means) + shift * jnp.asarray(offsets)[:, None] * jnp.array([0.0, 1.0, 0.0])
    rows = jnp.broadcast_to(jnp.log(weights), own.shape)
    return quadrature.mixture_points(rows, own, jnp.ones_like(own), order=32)


def push_and_slope(b: jax.Array, law: quadrature.Quadrature, positive: float, negatives: float) -> tuple:
    """Gradient in a common bias b of the logistic loss at each hospital, and its derivative, (hospitals,)."""

    def one(points, log_weights):
        push, slope = jax.nn.sigmoid(points + b), jax.nn.sigmoid(points + b) * jax.nn.sigmoid(-points - b)
        mean, change = bias.expected_gradient((push, slope), log_weights)
        pull = jax.nn.sigmoid(-positive - b)
        return negatives * mean - pull, negatives * change + pull * (1 - pull)

    return jax.vmap(one)(law.points, law.log_weights)
