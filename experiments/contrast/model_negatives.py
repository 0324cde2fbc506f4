r"""Negatives proposed by the model are harder, and teach faster by the step; what they cost, and what they bias.

Context w of probability pi has words of its own, of unigram probability pi P(c|w), so unigram noise returns their
scores to the truth at the rate P k q / (P + k q), about k pi: learning takes about 1 / pi steps. Noise from the model
returns them at P k / (1 + k), and learning takes about log(1 / pi) steps; but drawing from the model means scoring all
C candidates, where unigram noise scores 1 + k. Left uncorrected, noise q ~ softmax(g s) comes to rest at the truth's
log-odds over 1 + g, SGNS and InfoNCE alike; with log q it keeps them. Refuted if enumeration or training on samples
leaves these laws.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, at_most, close, mean_is
from experiments._devices import over_devices
from experiments._style import measured, panels, theory
from experiments.contrast import _proposals as world
from experiments.contrast._proposals import K

CLAIM = Claim(
    statement="Negatives proposed by the model itself are more challenging than those drawn by frequency, "
    "and lead to more efficient learning.",
    source="001, who should propose the negatives",
    references=("bengio2008adaptive", "gutmann2012noise", "blanc2018adaptive"),
    expected="conditional",
    why="By the step they teach faster, the more so the rarer the context. By the score evaluated they lose to "
    "unigram noise unless the context is rare, and never beat the full softmax, which costs the same C scores a step. "
    "And they need log q in the loss: without it the log-odds learnt shrink by 1 / (1 + g).",
)
SIZES = {
    "quick": {"replicates": 32, "contexts": 5, "steps": 80},
    "full": {"replicates": 48, "contexts": 9, "steps": 480},
    "device": {"replicates": 512, "contexts": 11, "steps": 1900},
}
METHODS = ("unigram", "half and half", "model", "full softmax, no noise")
RATE, EXACT = np.array([0.0, 0.5, 1.0, 0.0]), np.array([0.0, 0.0, 0.0, 1.0])
SHARPNESS = np.linspace(0.0, 1.0, 5)
TARGET = 0.05  # nats above the entropy of the truth


class Data(NamedTuple):
    """Log-odds learnt over true ones (softmax, corrected, sharpness, laws) and how far from proportional they are.

    By proposal and context, exact: mean push of one negative and signal over noise of one gradient, half of the way;
    at the truth the pull on each score, the largest pull of one score on another, the total variance.
    By method: expected excess (contexts, steps) and, on samples, in every second context, its mean over replicates
    (contexts, steps) and (replicates, contexts) for noise extrapolated to none where the expected one meets the
    target, with that expectation; the excess over the last tenth (replicates, contexts).
    """

    odds: jax.Array
    odds_residual: jax.Array
    push: jax.Array
    signal: jax.Array
    pull: jax.Array
    coupling: jax.Array
    variance: jax.Array
    share: jax.Array
    cost: jax.Array
    expected: jax.Array
    sampled: jax.Array
    at_target: jax.Array
    expected_at_target: jax.Array
    last: jax.Array


@partial(jax.jit, static_argnames=("contexts",))
def exactly(key, mechanism, *, contexts):
    """What needs no draws, by proposal and context: log-odds at rest, gradients half of the way and at the truth."""
    share, sharper, corrected, _ = mechanism
    law, _, unigram = (jnp.asarray(x) for x in world.world(contexts))
    one = lambda rate, p: world.by_proposal(rate, p, unigram, corrected)
    return *world.log_odds(key, sharper * SHARPNESS, corrected), *world.over(one, share * RATE[:3], law[1:])


@partial(jax.jit, static_argnames=("replicates", "contexts", "steps"))
def simulate(key, mechanism, *, replicates, contexts, steps):
    """Expected excess (methods, contexts, steps); sampled, in every second context, with whole and half batches."""
    share, _, corrected, _ = mechanism
    law, _, unigram = (jnp.asarray(x) for x in world.world(contexts))
    law, rates, exact = law[1:], share * RATE, jnp.asarray(EXACT)
    descend = lambda r, e: jax.vmap(lambda p: world.descend(p, unigram, r, e, 1.0, steps))(law)
    grid = [
        x.ravel() for x in np.meshgrid(np.arange(replicates), np.arange(4), np.arange(len(law))[::2], indexing="ij")
    ]
    train = lambda k, r, e, p: world.train(k, p, unigram, r, e, corrected, steps)
    runs = jax.random.split(key, grid[0].size), rates[grid[1]], exact[grid[1]], law[grid[2]]
    curves = over_devices(lambda run: train(*run), runs, together=True)
    return jax.vmap(descend)(rates, exact), curves.reshape(replicates, 4, -1, 2, steps)


def compute(key, *, share=1.0, sharper=1.0, corrected=1.0, free=0.0, **size):
    """Wrong worlds: the model's part of every proposal times `share`; proposals sharper than known; log q left out of
    what is trained and of what comes to rest; draws from the model for free.
    """
    exact_key, sample_key = jax.random.split(key)
    mechanism, contexts = jnp.asarray([share, sharper, corrected, free]), size["contexts"]
    exact = exactly(exact_key, mechanism, contexts=contexts)
    expected, sampled = (np.asarray(x) for x in simulate(sample_key, mechanism, **size))
    whole, half = sampled[:, :, :, 0], sampled[:, :, :, 1]
    law, context_share, _ = world.world(contexts)
    reached = np.minimum(np.sum(expected[:, ::2] > TARGET, axis=-1), expected.shape[-1] - 1)[..., None]
    without_noise = 2 * whole - half  # noise of first order in 1 / batch is twice as much in the half
    at_target = np.take_along_axis(without_noise, np.broadcast_to(reached, (len(whole), *reached.shape)), axis=-1)
    late = expected.shape[-1] // 10
    return Data(
        *exact,
        context_share[1:],
        np.where((RATE == 0) & (EXACT == 0), 1 + K, 1 + K if free else law.shape[1]),
        expected,
        whole.mean(axis=0),
        at_target[..., 0],
        np.take_along_axis(expected[:, ::2], reached, axis=-1)[..., 0],
        (whole - expected[:, ::2])[..., -late:].mean(axis=-1),
    )


def crossing(curves):
    """Step at which each curve meets the target, interpolated; NaN where it does not."""
    above = np.logical_and.accumulate(curves > TARGET, axis=-1)
    i = np.clip(above.sum(axis=-1, keepdims=True), 1, curves.shape[-1] - 1)
    before, after = (np.log(np.take_along_axis(curves, j, axis=-1)[..., 0]) for j in (i - 1, i))
    met = ~above[..., -1] & ~(curves[..., 0] <= TARGET)
    return np.where(met, i[..., 0] - 1 + (before - np.log(TARGET)) / np.where(met, before - after, 1), np.nan)


def verdict(data):
    eps, (law, _, unigram) = np.finfo(data.odds.dtype).eps, world.world(len(data.share) + 1)
    law, rounding = law[1:], 64 * eps
    q = (1 - RATE[:3, None, None]) * unigram + RATE[:3, None, None] * law
    pull = np.divide(law * K * q, law + K * q, out=np.zeros_like(q), where=law > 0)
    variance = pull.sum(axis=-1) - (1 + 1 / K) * (pull**2).sum(axis=-1)
    floor = np.array([[world.noise_floor(p[p > 0], x[p > 0]) for p, x in zip(law, row, strict=True)] for row in q])
    steps = crossing(data.sampled)
    scores = steps * data.cost[:, None]
    shrunk = np.stack([1 / (1 + SHARPNESS), np.ones_like(SHARPNESS)])[:, :, None]
    rest = 1024 * eps  # the rounding of an enumerated gradient over its smallest pull, about 1 / 20
    return (
        at_its_word(at_least("push of a model negative - unigram negative", rounding, data.push[2] - data.push[0])),
        at_its_word(at_least("signal over noise: model - unigram", rounding, data.signal[2] - data.signal[0])),
        at_its_word(at_least("steps saved by the model", 1, steps[0] - steps[2])),
        at_its_word(at_least("scores evaluated saved by the model", 1, scores[0] - scores[2])),
        close("SGNS at rest: learnt log-odds over true", shrunk, data.odds[0], rest),
        close("InfoNCE at rest: learnt log-odds over true", shrunk, data.odds[1], rest),
        at_most("at rest: distance from proportional", 0, data.odds_residual, rest),
        close("pull on each score at the truth, P k q / (P + k q)", pull, data.pull, rounding),
        at_most("pull of one score on another", 0, data.coupling, rounding),
        close("variance of the gradient at the truth", variance, data.variance, rounding),
        mean_is("sampled excess without noise, at the target", data.expected_at_target, data.at_target),
        mean_is("excess left by noise in the end", floor[1:, ::2], data.last[:, 1:3]),
    )


def controls(key, data, *, replicates, contexts, steps):
    run = partial(compute, key, replicates=32, contexts=5, steps=80)
    return {
        "the model's part of the proposals left out": run(share=0.0),
        "proposals sharper than their log q says": run(sharper=2.0),
        "log q left out": run(corrected=0.0),
        "an index that draws from the model for free": run(free=1.0),
    }


def plot(data):
    fig, ((odds, signal), (learning, cost)) = panels(2, 2, width=3.9, height=3.1)
    rarity = 1 / data.share
    names = (("binary", "o"), ("InfoNCE", "s"))
    for right, label in ((0, "log q left out"), (1, "with log q")):
        for loss, (name, marker) in enumerate(names):
            mean = data.odds[loss, right].mean(axis=-1)
            measured(
                odds,
                SHARPNESS,
                mean,
                marker=marker,
                linestyle="none",
                color=f"C{right}",
                label=f"{name}, {label}",
                ms=4 + 4 * loss,
                fillstyle=("full", "none")[loss],
            )
    fine = np.linspace(0, SHARPNESS[-1], 50)
    theory(odds, fine, 1 / (1 + fine), label=r"$1/(1+\gamma)$ and 1")
    theory(odds, fine, np.ones_like(fine))
    odds.set(ylim=(0.4, 1.08), xlabel=r"sharpness $\gamma$ of the proposal, $q \propto e^{\gamma s}$")
    odds.set_ylabel("log-odds learnt / true")
    for i, name in enumerate(METHODS[:3]):
        measured(signal, rarity, data.signal[i], label=name, color=f"C{i}")
    signal.set(xscale="log", ylim=(0, None), xlabel=r"rarity of the context, $1/\pi$")
    signal.set_ylabel("signal / noise of one gradient")
    shown = data.sampled.shape[1] - 1
    for i, name in enumerate(METHODS):
        measured(
            learning, np.arange(data.sampled.shape[-1]), data.sampled[i, shown], marker="", color=f"C{i}", label=name
        )
        theory(learning, np.arange(data.expected.shape[-1]), data.expected[i, 2 * shown])
    law = world.world(len(data.share) + 1)[0]
    last, own = law[1 + 2 * shown], law[1 + 2 * shown] > 0
    floor = world.noise_floor(last[own], last[own])
    theory(learning, [0, data.sampled.shape[-1]], [floor, floor], linestyle="-.", label="what noise leaves")
    learning.axhline(TARGET, color="0.6", linestyle=":", linewidth=1)
    learning.set(yscale="log", ylim=(3e-3, 4), xlabel=f"steps of {world.BATCH} data, {K} negatives each")
    learning.set_ylabel("excess loss (nats)")
    steps, expected = crossing(data.sampled), crossing(data.expected)
    for i, name in enumerate(METHODS):
        measured(cost, rarity[::2], steps[i] * data.cost[i], linestyle="none", color=f"C{i}", label=name)
        theory(cost, rarity, expected[i] * data.cost[i])
    cost.set(xscale="log", yscale="log", xlabel=r"rarity of the context, $1/\pi$")
    cost.set_ylabel("scores evaluated a datum, to target")
    for ax in (odds, signal, learning, cost):
        ax.legend(fontsize=6.5)
    odds.set_title("Uncorrected, the model's negatives flatten it")
    signal.set_title("Rare contexts hardly hear unigram noise")
    learning.set_title(rf"By the step: learning one with $1/\pi$ = {rarity[2 * shown]:.0f}")
    cost.set_title("By the score: cheaper only for rare contexts")
    return fig
