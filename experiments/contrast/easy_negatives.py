r"""Uniform negatives soon teach little, not nothing: a hinge stops at the easy ones, InfoNCE fades as e^(-gap / tau).

Clusters come in 64 far groups of two siblings: squared distances u^2 between groups plus v^2 where the fine feature
differs. Once u^2 > m only the sibling, a share rho = 1/127 of the negatives, gives a triplet loss with margin m, so
v grows as (1 + 2 eta h)^t with h = rho for uniform negatives, 1 - (1 - rho)^K for the nearest, or any semi-hard, of
K: training takes 1/h as long. With K negatives beyond a gap, 0 < InfoNCE <= K e^(-gap / tau). Refuted if a triplet
beyond the margin has a gradient, if the shares of zeros or the growth leave these values, if InfoNCE leaves its
bound, slope or prefactor, or if the share of its gradient on the hardest 1 % is not the softmax of the distances.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, at_most, close, mean_is, student_margin
from experiments._style import measured, panels, theory
from experiments.contrast._siblings import (
    ANCHORS,
    CLUSTERS,
    GROUPS,
    HARDEST,
    INFO_NCE,
    MARGIN,
    POOL,
    RATE,
    START,
    TAU,
    UNIFORM,
    chosen,
    distances,
    hardest_share,
    hits,
    triplet,
)
from nsx import losses

CLAIM = Claim(
    statement="Uniform negatives are mostly easy: the loss quickly drops to zero and learning halts; hard negatives "
    "keep teaching.",
    source="001, the quest for a good negative",
    references=("schroff2015facenet", "oord2018representation", "wu2017sampling"),
    expected="conditional",
    why="Most uniform triplets do have zero loss and gradient, exactly, but the mean falls to the share rho of hard "
    "negatives, not to 0: learning is 1/rho times slower, no halt. InfoNCE is never 0, only at most K e^(-gap/tau).",
)
SIZES = {
    "quick": {"replicates": 96, "steps": 400},
    "full": {"replicates": 512, "steps": 1000},
    "device": {"replicates": 8192, "steps": 2000},
}
WINDOW = slice(6, 26)  # far negatives are beyond the margin, no sibling is yet
BLUR = 0.25  # sd of the noise of an embedding in retrieval
NAMES = ("uniform", "semi-hard", "hardest", "InfoNCE, uniform")
GAPS = np.linspace(0.0, 3.0, 61)


class Data(NamedTuple):
    """Means over replicates (steps, runs): `loss`, `norm` of the gradient, `easy` share of zero losses, `retrieval`;
    (steps,): `top`, the share of InfoNCE's gradient on the hardest 1 % in the first replicate, and the largest
    `top_error` against its closed form. Over WINDOW (replicates, runs): `zeros`, `grown`, v after over before,
    `remaining` loss; `found`, retrieval at a quarter of training. Along GAPS: `hinge` and `softmax` loss of K equal
    negatives, `bounded`, the largest of unequal ones over their bound; `stopped`, largest gradient of a triplet
    beyond the margin.
    """

    loss: jax.Array
    norm: jax.Array
    easy: jax.Array
    retrieval: jax.Array
    top: jax.Array
    zeros: jax.Array
    grown: jax.Array
    remaining: jax.Array
    found: jax.Array
    hinge: jax.Array
    softmax: jax.Array
    bounded: jax.Array
    stopped: jax.Array
    top_error: jax.Array


def step_loss(gains, run, ids, noise, world):
    """Mean loss of a run over the anchors, and the share that is 0."""
    far = distances(gains, ids)
    pick = chosen(run, jax.lax.stop_gradient(far), noise, world["pool"])
    hinge = triplet(jnp.take_along_axis(far, pick[:, None], axis=1)[:, 0], world)
    where = jnp.broadcast_to(jnp.arange(POOL) < world["pool"], far.shape)
    softmax = losses.info_nce(jnp.zeros(ANCHORS), -far, temperature=world["tau"], where=where)
    loss = jnp.where(run == INFO_NCE, world["tau"] * softmax, jnp.where(pick >= 0, hinge, 0))
    return jnp.mean(loss), jnp.mean(loss == 0)


def train(key, replicates, steps, world):
    """Loss, gradient norm, zeros, u and v of all runs, (steps, replicates, runs), from draws they share."""

    def step(gains, key):
        first, second = jax.random.split(key)
        low = 1 + world["no_sibling"]
        ids = jax.random.randint(first, (ANCHORS, POOL), low, 2 * GROUPS)
        noise = jax.random.uniform(second, (ANCHORS, POOL))

        def one(gains, run):
            value = jax.value_and_grad(step_loss, has_aux=True)
            (loss, zeros), slope = value(gains, run, ids, noise, world)
            return gains - RATE * slope, (loss, jnp.linalg.norm(slope), zeros, *gains)

        return jax.vmap(one)(gains, jnp.arange(4))

    start = jnp.broadcast_to(jnp.asarray(START), (replicates, 4, 2))
    return jax.lax.scan(jax.vmap(step), start, jax.random.split(key, (steps, replicates)))[1]


def along_gaps(key, replicates, world):
    """Losses of K negatives at each gap, of others beyond it over the bound, and a triplet's gradient beyond."""
    far = jnp.asarray(GAPS)[:, None] * jnp.ones(POOL)
    where = jnp.broadcast_to(jnp.arange(POOL) < world["pool"], far.shape)
    softmax = losses.info_nce(jnp.zeros(len(GAPS)), -far, temperature=world["tau"], where=where)
    beyond = far + jnp.abs(jax.random.normal(key, (replicates, *far.shape))) * (1 - 2 * world["nearer"])
    unequal = losses.info_nce(jnp.zeros(beyond.shape[:2]), -beyond, temperature=world["tau"])
    stopped = jnp.max(jnp.abs(jax.vmap(jax.grad(triplet), (0, None))(MARGIN + jnp.asarray(GAPS), world)))
    most = jnp.max(unequal, axis=0) / (POOL * jnp.exp(-GAPS / TAU))
    return triplet(jnp.asarray(GAPS), world), softmax, most, stopped


@partial(jax.jit, static_argnames=("replicates", "steps"))
def sample(key, world, replicates, steps):
    first, second = jax.random.split(key)
    loss, norm, zeros, u, v = train(first, replicates, steps, world)
    found = jax.scipy.stats.norm.cdf(v / (2 * BLUR))  # nearer its own centre than its sibling's
    means = [jnp.mean(x, axis=1) for x in (loss, norm, zeros, found)]
    gains = jnp.stack([u[:, 0, INFO_NCE], v[:, 0, INFO_NCE]], axis=1)
    top = jax.vmap(lambda g: hardest_share(g, world["tau"]))(gains)
    weights = jnp.exp(-(distances(gains.T[:, :, None], jnp.asarray(CLUSTERS)) - gains[:, 1:] ** 2) / TAU)
    error = jnp.max(jnp.abs(top - jnp.max(weights, axis=1) / jnp.sum(weights, axis=1)))
    window = [jnp.mean(x[WINDOW], axis=0) for x in (zeros, loss)]
    grown = v[WINDOW.stop] / v[WINDOW.start]
    return *means, top, window[0], grown, window[1], found[steps // 4], *along_gaps(second, replicates, world), error


def compute(key, *, replicates, steps, **world):
    """Wrong worlds: `no_sibling`, a `soft` hinge, another `tau`, a `pool` of one, negatives `nearer` than the gap."""
    world = {"no_sibling": 0, "soft": False, "tau": TAU, "pool": POOL, "nearer": 0} | world
    return Data(*sample(key, world, replicates, steps))


def verdict(data):
    eps, length = np.finfo(data.softmax.dtype).eps, WINDOW.stop - WINDOW.start
    above = lambda x: x.mean(axis=0) - student_margin(x)
    grown, remaining = data.grown[:, :INFO_NCE], data.remaining[:, UNIFORM]
    exact = np.log1p(POOL * np.exp(-GAPS / TAU))
    far = (GAPS >= 1.5) & (data.softmax > 0)
    slope, level = np.polyfit(GAPS[far], np.log(data.softmax[far]), 1) if far.sum() > 1 else (np.nan, np.nan)
    tail = POOL * np.exp(-1.5 / TAU)  # log(1 + x) = x (1 - x / 2 + ...), x at most this
    late = data.found[:, HARDEST] - data.found[:, UNIFORM]
    return (
        at_its_word(at_least("uniform: share of triplets with zero loss", 0.5, data.zeros[:, UNIFORM].mean())),
        at_its_word(at_most("uniform: loss left, least of the mean", 0, above(remaining))),
        at_its_word(at_most("uniform: growth of the fine feature", 1, above(grown[:, UNIFORM]))),
        at_its_word(at_most("InfoNCE: least loss, gap of 3", 0, data.softmax[-1])),
        at_its_word(at_least("retrieval: hardest - uniform", 0, above(late), -np.finfo(np.float32).tiny)),
        at_most("hinge: gradient beyond the margin", 0, data.stopped),
        close("hinge at a gap", np.maximum(MARGIN - GAPS, 0), data.hinge, 8 * eps),
        mean_is("share of triplets with zero loss", 1 - hits(), data.zeros[:, :INFO_NCE]),
        mean_is("growth of the fine feature", (1 + 2 * RATE * hits()) ** length, grown),
        close("InfoNCE of K negatives at a gap", exact, data.softmax, 64 * eps * np.maximum(exact, np.exp(-3 / TAU))),
        close("InfoNCE: slope of its log against the gap", -1 / TAU, slope, tail / TAU + 1e3 * eps),
        close("InfoNCE: prefactor", POOL, np.exp(level), POOL * tail * 3 / TAU + 1e3 * eps),
        at_most("InfoNCE over its bound, negatives beyond the gap", 1, data.bounded, 64 * eps / TAU),
        at_most("gradient on the hardest 1 %: from softmax of distances", 0, data.top_error, 256 * eps / TAU),
    )


def controls(key, data, *, replicates, steps):
    run = partial(compute, key, **SIZES["quick"])
    return {
        "no sibling among the negatives": run(no_sibling=1),
        "a soft hinge": run(soft=True),
        "a pool of one": run(pool=1),
        "a temperature too low for the floating point": run(tau=0.003),
        "negatives nearer than the gap": run(nearer=1),
    }


def plot(data):
    fig, ((norm, retrieval), (gap, share)) = panels(2, 2, width=3.9, height=3.1)
    steps = len(data.loss)
    shown = np.unique(np.geomspace(1, steps, 90).astype(int)) - 1
    for i, name in enumerate(NAMES):
        style = {"marker": "", "label": name, "color": f"C{i}"}
        measured(norm, shown + 1, data.norm[shown, i], **style)
        measured(retrieval, shown + 1, data.retrieval[shown, i], **style)
        if i != INFO_NCE:
            measured(share, shown + 1, data.easy[shown, i], **style | {"label": f"zero loss, {name}"})
    for h in hits()[:2]:
        theory(share, [WINDOW.start, WINDOW.stop], 2 * [1 - h], label="exact" if h == hits()[0] else None)
    style = {"marker": "", "color": "C3", "linestyle": "-."}
    measured(share, shown + 1, data.top[shown], label="InfoNCE push on hardest 1 %", **style)
    measured(gap, GAPS[::3], data.hinge[::3], linestyle="none", label="hinge, $m$ = 1", color="C0")
    measured(gap, GAPS[::3], data.softmax[::3], linestyle="none", label=rf"InfoNCE, $\tau$ = {TAU}", color="C3")
    theory(gap, GAPS, np.log1p(POOL * np.exp(-GAPS / TAU)), label="exact")
    theory(gap, GAPS[GAPS < 1], 1 - GAPS[GAPS < 1])
    gap.plot(GAPS, POOL * np.exp(-GAPS / TAU), color="0.55", linestyle=":", label=r"$K e^{-\mathrm{gap}/\tau}$")
    norm.set(title="Uniform negatives teach little, not nothing", xscale="log", yscale="log", xlabel="steps")
    norm.set_ylabel("mean gradient norm")
    retrieval.set(
        title="and take 8 times the steps", xscale="log", xlabel="steps", ylabel="retrieval against the sibling"
    )
    gap.set(title="A hinge stops, InfoNCE fades", yscale="log", ylim=(1e-14, 1e3), ylabel="loss (nats for InfoNCE)")
    gap.set_xlabel(f"gap of {POOL} negatives (squared distance)")
    share.set(title="Most are easy; the hardest carry the push", xscale="log", ylim=(-0.03, 1.05), xlabel="steps")
    share.set_ylabel("share")
    for ax in (norm, retrieval, gap, share):
        ax.legend(fontsize=6.5)
    return fig
