"""The collapse game of a penalised softmax generator: training in all K logits, and its closed law by NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from nsx import games
from nsx.entropy import entropy

STEP_SIZE = 5.0


def field(count, size, strength, kinds):
    """The generator's game over `count` of `size` candidates, the first harder by 1; penalty and bonus as `kinds`."""
    shown = jnp.arange(size) < count

    def loss(players):
        logits = jnp.where(shown, players[0], -jnp.inf)
        bonus = games.entropy_bonus(logits, strength=kinds[1] * strength)
        return bonus - jax.nn.softmax(logits)[0] + games.norm_penalty(players[0], strength=kinds[0] * strength)

    return games.vector_field((loss,))


def logits_of(gap, count, size):
    """Logits of sum zero with this gap between the first of `count` candidates and the others."""
    own = jnp.where(jnp.arange(size) == 0, gap * (1 - 1 / count), -gap / count)
    return jnp.where(jnp.arange(size) < count, own, 0.0)


def train(logits, count, strength, kinds, steps):
    """Logits after that many steps."""
    update = games.simultaneous(field(count, logits.size, strength, kinds), step_size=STEP_SIZE)
    return jax.lax.fori_loop(0, steps, lambda _, s: update.step(s), update.init((logits,))).players[0]


def ends(gap, count, strength, kinds, size, steps):
    """Gap, velocity of the gap and entropy after training from a given gap."""
    logits = train(logits_of(gap, count, size), count, strength, kinds, steps)
    (move,) = field(count, size, strength, kinds)((logits,))
    shown = jnp.where(jnp.arange(size) < count, logits, -jnp.inf)
    return logits[0] - logits[1], move[0] - move[1], entropy(shown, 1.0)


def law(x, k):
    """Penalty over reward gap at which the gap x rests, and the growth rate of a deviation over that penalty."""
    p = 1 / (1 + (k - 1) * np.exp(-x))
    return k / (k - 1) * p * (1 - p) / x, x * np.tanh((np.log(k - 1) - x) / 2) - 1


def folds(k=100):
    """Penalties at which the law of K turns, by a fine grid."""
    x = np.linspace(0.5, np.log(k - 1), 400_001)
    ratio, slope = law(x, k)
    turns = np.flatnonzero(np.diff(np.sign(slope)))
    return ratio[turns]


def states(counts, ratios):
    """Smallest and largest gap of the law, (2, counts, ratios), by sign changes on a grid and bisection."""
    x = np.linspace(1e-6, 40.0, 8001)[:, None]

    def excess(x, k, g):
        p = 1 / (1 + (k - 1) * np.exp(-x))
        return k / (k - 1) * p * (1 - p) - g * x

    found = np.empty((2, len(counts), len(ratios)))
    for i, k in enumerate(np.asarray(counts, float)):
        g = np.asarray(ratios, float)
        changes = np.diff(np.sign(excess(x, k, g)), axis=0) != 0
        for side, at in enumerate((changes.argmax(axis=0), len(x) - 2 - changes[::-1].argmax(axis=0))):
            low, high = x[at, 0], x[at + 1, 0]
            for _ in range(60):
                middle = (low + high) / 2
                same = excess(middle, k, g) * excess(low, k, g) > 0
                low, high = np.where(same, middle, low), np.where(same, high, middle)
            found[side, i] = low
    return found


def chance(gap, k):
    """Probability of the hard candidate at a gap of logits."""
    return 1 / (1 + (k - 1) * np.exp(-np.asarray(gap)))
