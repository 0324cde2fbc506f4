"""Frames of binary attributes that follow Ornstein-Uhlenbeck tracks, and the exact law of their likeness.

A frame has TRACKS attributes, each the sign of a stationary AR(1) track of correlation exp(-lag / memory). Two frames
differ in an attribute with probability acos(correlation) / pi (Sheppard's orthant), independently of the others.
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import binom

from nsx import losses, samplers

TRACKS, ALIKE, NEARLY = 16, 2, 4  # frames are alike that differ in <= 2 attributes, hard in 3 or 4
NEGATIVES = 4
DISTANCES = np.arange(TRACKS + 1)


def lag_law(frames, width):
    """Law of the lag of a uniform negative outside the window of a uniform anchor, (frames - 1,), by counting."""
    anchor, lag = np.arange(frames)[:, None], np.arange(1, frames)
    excluded = 1 + np.minimum(anchor, width) + np.minimum(frames - 1 - anchor, width)
    sides = (anchor - lag >= 0).astype(int) + (anchor + lag < frames)
    return np.mean(sides * (lag > width) / (frames - excluded), axis=0)


def distance_law(memory, lags):
    """Law of the number of attributes in which frames at these lags differ, (lags, TRACKS + 1)."""
    return binom.pmf(DISTANCES, TRACKS, np.arccos(np.exp(-np.asarray(lags) / memory))[..., None] / np.pi)


def laws(memory, frames, widths):
    """Exact laws of the distance to the next frame, to negatives outside windows (widths, .), to true negatives."""
    at_lag = distance_law(memory, np.arange(1, frames))
    negatives = np.array([lag_law(frames, w) @ at_lag for w in widths])
    true = lag_law(frames, 0) @ at_lag * (DISTANCES > ALIKE)
    return at_lag[0], negatives, true / true.sum()


def optimum(positives, negatives):
    """Score of each distance where SGNS is least, inf where no negative is."""
    with np.errstate(divide="ignore"):
        return np.log(positives) - np.log(NEGATIVES * negatives)


def tracks(key, memory, frames):
    """Signs of the tracks of one clip, (frames, TRACKS)."""
    noise = jax.random.normal(key, (frames, TRACKS))
    keep = jnp.exp(-1 / memory)

    def step(x, fresh):
        x = keep * x + jnp.sqrt(1 - keep**2) * fresh
        return x, x

    return jax.lax.scan(step, noise[0], noise[1:])[1], noise[0]


def clip(key, memory, frames):
    """Number of attributes in which every two frames of a clip differ, (frames, frames)."""
    later, first = tracks(key, memory, frames)
    signs = jnp.sign(jnp.concatenate([first[None], later]))
    return jnp.round((TRACKS - signs @ signs.T) / 2)


def proposals(frames, widths):
    """Law of the negatives of each anchor under each window, (widths, frames, frames)."""

    def at(width):
        window = samplers.exclusion_window(frames, jnp.arange(frames), width=width)
        return samplers.probabilities(samplers.exclude(jnp.zeros((frames, frames)), window))

    return jax.vmap(at)(widths)


def sgns(scores, positives, negatives):
    """Mean SGNS loss of scores by distance, with positives and negatives of these laws."""
    ids = jnp.broadcast_to(DISTANCES[:, None], (TRACKS + 1, NEGATIVES))
    pairs = losses.sgns(scores[:, None], jnp.broadcast_to(scores[ids], (TRACKS + 1, *ids.shape)))
    return positives @ pairs @ negatives


def fit(positives, negatives, steps=24):
    """The least of that loss by Newton's method, steps of at most 2; what never occurred runs off, a unit a step."""

    def step(scores, _):
        gradient = jax.grad(sgns)
        value, curvature = jax.jvp(lambda s: gradient(s, positives, negatives), (scores,), (jnp.ones_like(scores),))
        move = value / jnp.maximum(curvature, jnp.finfo(scores.dtype).tiny)
        return scores - jnp.clip(move, -2, 2), None

    return jax.lax.scan(step, jnp.zeros_like(positives), length=steps)[0]
