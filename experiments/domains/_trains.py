"""Spike trains with a known code, by design or locked to a stimulus; the early and late parts of their gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from experiments._devices import over_devices
from nsx import spikes

DURATION, BINS, RATE, MOST = 200.0, 100, 0.15, 96  # MOST: padding, far above the mean count of 30, or 60 when warm
SURROGATES = 199  # sets of trials whose spikes fall anywhere
HALF, GRID = BINS // 2, (np.arange(BINS) + 0.5) * DURATION / BINS
CONSTANTS = np.array([1.0, 10.0, 50.0, 200.0])
CODE_CONSTANT = 100.0


def parts(size):
    """Means of the early and of the late half."""
    return jnp.stack([jnp.mean(size[..., :HALF], axis=-1), jnp.mean(size[..., HALF:], axis=-1)], axis=-1)


def trains(key, count, warm):
    """Times and mask of Poisson trains on [-warm, DURATION]."""
    count_key, time_key = jax.random.split(key)
    times = jax.random.uniform(time_key, (count, MOST), minval=-warm, maxval=DURATION)
    number = jax.random.poisson(count_key, RATE * (DURATION + warm), (count, 1))
    return times, jnp.arange(MOST)[None] < number


def silent_gradient(positive, negatives):
    return spikes.contrastive_gradient(jnp.zeros_like(positive), positive, negatives, step=DURATION / BINS)


def coded(key, late, shared):
    """Mean squares where positive and negative share that part of their spikes in the half that is not the code."""
    time_key, mark_key = jax.random.split(key)
    times, counts = trains(time_key, 3, 0.0)
    common = jax.random.uniform(mark_key, times.shape) < shared
    outside = (times >= DURATION / 2) != late
    kept = counts & jnp.concatenate([(outside & common)[:1], (~outside | ~common)[1:]])
    both, positive, negative = spikes.trace(times, GRID, time_constant=CODE_CONSTANT, where=kept)
    return parts(silent_gradient(both + positive, (both + negative)[None]) ** 2)


def code_law(late, shared):
    """Ratio for private rates 1 in one half and 1 - shared in the other."""
    first, second = (1 - shared, 1.0) if late else (1.0, 1 - shared)
    grown = lambda t: spikes.expected_trace(t, rate=1.0, time_constant=CODE_CONSTANT / 2)
    after = jnp.asarray(GRID[HALF:]) - DURATION / 2
    early = first * grown(GRID[:HALF])
    tail = first * grown(jnp.full(1, DURATION / 2)) * jnp.exp(-2 * after / CODE_CONSTANT)
    return jnp.mean(tail + second * grown(after)) / jnp.mean(early)


def burst_law(start, tau):
    """Geometric sums of the tail over the early and the late bins."""
    width = DURATION / BINS
    total = lambda bins: -jnp.expm1(-bins * width / tau)
    waited = jnp.round((GRID[HALF] - start) / width)
    return jnp.exp(-waited * width / tau) * total(HALF) / total(waited)


@partial(jax.jit, static_argnames=("window",))
def locked(key, times, window):
    """Mean squares of the gradient averaged over trials, against trains without a stimulus; then of surrogates."""
    grid = (jnp.arange(BINS) + 0.5) * 2 * window / BINS
    counts = ~jnp.isnan(times)
    elapsed = jnp.where(counts, times, 0) + window
    rate = jnp.mean(jnp.sum(counts, axis=1)) / (2 * window)

    def at(spike_times, tau):
        trials = spikes.trace(spike_times, grid, time_constant=tau, where=counts)
        free = spikes.expected_trace(grid, rate=rate, time_constant=tau)
        return parts(silent_gradient(jnp.mean(trials, axis=0), free[None]) ** 2)

    every = lambda spike_times: jax.vmap(lambda tau: at(spike_times, tau))(jnp.asarray(CONSTANTS))
    anywhere = lambda k: every(jax.random.uniform(k, times.shape, maxval=2 * window))
    pair = jnp.stack([rate, rate]), jnp.array([0.5, -0.5])
    rest = [spikes.resting_emphasis(grid, *pair, time_constant=tau, power=2) for tau in CONSTANTS]
    surrogates = over_devices(anywhere, jax.random.split(key, SURROGATES))
    return jnp.concatenate([every(elapsed)[None], surrogates]), jnp.stack(rest)
