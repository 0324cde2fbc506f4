r"""A share of false negatives caps what can be learnt; the order survives, until samples are too few to see it.

With a share pi of the negatives from p itself, SGNS with k of them has the optimum s = log p / (k ((1 - pi) q + pi p)),
below -log(k pi) whatever the data, and nearer the cap by (1 - pi) q / (pi p). InfoNCE cannot fall below E log(1 + M),
M ~ Binomial(k, pi). As s still rises with p / q, the order is kept; but the gaps between close items shrink, and a
finite sample loses them first. Excluding false negatives, reweighting by the chance to be true, and debiasing all
have the optimum log p / (k (1 - pi) q), at different variances; debiasing is to undo the cap, s - log(1 - k pi e^s).
Refuted if enumeration or training leaves these laws.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, at_most, close, student_margin
from experiments._devices import over_devices
from experiments._style import measured, panels, theory
from experiments.contrast import _false_negatives as world
from experiments.contrast._expected import usual
from experiments.contrast._false_negatives import GRADES, METHODS, K

CLAIM = Claim(
    statement="Training on a false negative would be disastrous: it teaches the model to push away two things that "
    "are nearly identical.",
    source="001, the peril of false negatives",
    references=("levy2014neural", "chuang2020debiased", "kiryo2017positive"),
    expected="conditional",
    why="The push is real: a share pi caps every SGNS score at -log(k pi), and no InfoNCE loss falls below "
    "E log(1 + M). But the optimum still ranks by p / q: half the negatives may be false and close items are still "
    "found among others. What is lost, by noise, is the order among the close ones. Excluding restores it; debiasing "
    "is unbiased too, at a variance that grows as pi p / q.",
)
SIZES = {
    "quick": {"replicates": 64},
    "full": {"replicates": 1024},
    "device": {"replicates": 65536},
}
SHARES = np.array([0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5])
RATIOS = np.logspace(-2, 4, 25)
DRAWS, COUNTS = np.array([1, K, 15]), (4, 16, 64)
ITEMS = np.array([0.5, 0.3, 0.17, 0.02, 0.01])  # a small law p, and its noise reversed


class Data(NamedTuple):
    """Exact: optimal scores (methods, shares, draws, ratios), the variance of estimates times the exposure, of the
    same shape; InfoNCE of a perfect model, plain, excluded, debiased, (shares, counts, 3); InfoNCE at log p / q'
    (shares,) and its gradient there (shares, items).

    Trained: chance that a close item is ranked above another and above a related one (replicates, methods, shares, 2);
    mean score of close items, nothing done (replicates, shares).
    """

    scores: jax.Array
    variance: jax.Array
    floor: jax.Array
    least: jax.Array
    gradient: jax.Array
    found: jax.Array
    score: jax.Array


def compute(key, *, replicates, actual=None, believed=1.0):
    """Wrong worlds: every actual share as given; the cures believing in another share than the true one."""
    shares = np.full_like(SHARES, actual) if actual is not None else SHARES
    return simulate(key, jnp.asarray(shares), jnp.asarray(believed * SHARES), replicates=replicates)


@partial(jax.jit, static_argnames=("replicates",))
def simulate(key, actual, believed, *, replicates):
    column = lambda x: x[:, None, None]
    scores, variance = world.population(column(actual), column(believed), RATIOS, 1.0 * DRAWS[:, None])
    floor = jax.vmap(lambda a, b: world.perfect(a, b, COUNTS))(actual, believed)
    noise = ITEMS[::-1]
    optimum = jnp.log(ITEMS / ((1 - SHARES[:, None]) * noise + SHARES[:, None] * ITEMS))
    least = jax.vmap(lambda s, a: world.info_nce_at(s, a, jnp.asarray(ITEMS), jnp.asarray(noise)))(optimum, actual)

    def one(key):
        keys = jax.random.split(key, len(SHARES))
        learnt = jax.vmap(world.train)(keys, actual, believed)  # (shares, methods, items)
        return jnp.swapaxes(world.retrieval(learnt), 0, 1), jnp.mean(learnt[:, 0, : GRADES["close"][1]], axis=-1)

    return Data(scores, variance, floor, *least, *over_devices(one, jax.random.split(key, replicates), together=True))


def predicted():
    return world.predicted_optimum(SHARES[:, None, None], DRAWS[:, None], RATIOS)


def retrieval():
    return np.array([[world.predicted_retrieval(m, share) for share in SHARES] for m in range(len(METHODS))])


def verdict(data):
    eps, (scores, variance) = np.finfo(data.scores.dtype).eps, predicted()
    share, k = SHARES[1:, None, None], DRAWS[:, None]
    # a gradient that is a difference of pulls and pushes; debiasing takes back most of the pushes
    rounding = 64 * eps * (1 + SHARES[:, None, None] * RATIOS / (1 - SHARES[:, None, None]))
    cap = -np.log(k * share)
    below = cap - data.scores[0, 1:]
    far = RATIOS[-1] * np.expm1(below[..., -1]) * share[..., 0] / (1 - share[..., 0])
    with np.errstate(all="ignore"):  # above the cap it is NaN, which fails
        own = data.scores[0, 1:] - np.log(-np.expm1(-below))  # s - log(1 - k pi e^s)
    floors = np.array([[world.predicted_floor(x, n) for n in COUNTS] for x in SHARES])
    lowest = [world.predicted_floor(x, 3)[0] for x in SHARES]
    pushed = data.score[:, 1:] - data.score[:, :1]
    chance = data.found[:, 0, -1, 0]
    return (
        at_its_word(
            at_most("trained: score of close items, less that without", 0, pushed.mean(axis=0) + student_margin(pushed))
        ),
        at_its_word(
            at_most("trained: close above others, half of all false", 0.5, chance.mean() - student_margin(chance))
        ),
        close("SGNS: optimal score, nothing done", scores[0], data.scores[0], rounding),
        at_most("SGNS: optimal score less the cap -log(k pi)", 0, -below),
        close("distance to the cap, times pi p over (1 - pi) q", 1, far, 64 * eps * RATIOS[-1]),
        at_least("order kept: least rise of the score with p / q", 64 * eps, np.diff(data.scores[0], axis=-1)),
        close("SGNS: optimal scores of three cures", scores[1:], data.scores[1:], rounding),
        close("capped scores undone by 1 - k pi e^s", scores[1, 1:], own, rounding[1:]),
        close("SGNS: variance of a score, by method", 1, data.variance / variance, 4 * rounding),
        close("InfoNCE: least loss, plain, excluded, debiased", floors, data.floor, 1024 * eps),
        at_least("InfoNCE: least loss of overlapping laws, less the floor", 0, data.least - lowest),
        at_most("InfoNCE: gradient at log p / q'", 0, np.abs(data.gradient), 64 * eps),
        usual(
            "trained: close above others, above related",
            retrieval(),
            data.found.reshape(len(data.found), len(METHODS), -1, 2),
        ),
    )


def controls(key, data, *, replicates):
    run = partial(compute, key, replicates=64)
    return {
        "no false negatives": run(actual=0.0),
        "nothing but false negatives": run(actual=1.0),
        "a share twice as large as believed": run(believed=0.5),
    }


def plot(data):
    fig, ((score, reach, floor), (noise, coarse, fine)) = panels(3, 2, width=3.6, height=3.0)
    scores, variance = predicted()
    for i, colour in ((0, "0.45"), (1, "C0"), (3, "C2"), (6, "C1")):
        measured(score, RATIOS, data.scores[0, i, 1], color=colour, label=rf"$\pi$ = {SHARES[i]:g}", markersize=3)
        theory(score, RATIOS, scores[0, i, 1], label="predicted" if i == 6 else None)
        if i:
            score.axhline(-np.log(K * SHARES[i]), color=colour, linestyle=":", linewidth=1)
            below = -np.log(K * SHARES[i]) - data.scores[0, i, 1]
            measured(reach, RATIOS, below, color=colour, label=rf"$\pi$ = {SHARES[i]:g}", markersize=3)
            theory(
                reach, RATIOS, (1 - SHARES[i]) / (SHARES[i] * RATIOS), label=r"$(1-\pi) / (\pi r)$" if i == 6 else None
            )
    score.set(xscale="log", xlabel="ratio $r = p/q$ of the pair", ylabel="optimal score (nats)")
    reach.set(
        xscale="log",
        yscale="log",
        xlabel="ratio $r = p/q$ of the pair",
        ylabel="cap less optimal score (nats)",
        ylim=(5e-5, 50),
    )
    for i, (name, colour) in enumerate((("nothing done", "C1"), ("excluded", "C0"), ("debiased", "C3"))):
        for j, marker in ((1, "o"), (2, "s")):
            label = f"{name}, $k$ = {COUNTS[j]}"
            measured(
                floor,
                SHARES,
                data.floor[:, j, i],
                color=colour,
                marker=marker,
                linestyle="none",
                label=label,
                markersize=4,
            )
            x = np.linspace(0, 0.5, 101)
            theory(floor, x, [world.predicted_floor(p, COUNTS[j])[i] for p in x])
    floor.set(xlabel=r"share of false negatives $\pi$", ylabel="loss of a perfect model (nats)", ylim=(-0.15, 5.2))
    at = int(np.argmin(np.abs(RATIOS - 32)))
    colours, names = ("C1", "C0", "C2", "C3"), ("nothing done (the capped score)", *METHODS[1:])
    for i, name in enumerate(METHODS):
        measured(
            noise,
            SHARES,
            data.variance[i, :, 1, at],
            label=names[i],
            color=colours[i],
            linestyle="none",
            markersize=7 - i,
        )
        theory(noise, SHARES, variance[i, :, 1, at])
        for j, ax in enumerate((coarse, fine)):
            band = student_margin(data.found[:, i, :, j], alarm=0.05)
            measured(
                ax,
                SHARES,
                data.found[:, i, :, j].mean(axis=0),
                band=band,
                label=name,
                color=colours[i],
                linestyle="none",
            )
            theory(ax, SHARES, retrieval()[i, :, j])
    noise.set(yscale="log", xlabel=r"share of false negatives $\pi$", ylabel="variance of a score times exposure")
    for ax in (coarse, fine):
        ax.axhline(0.5, color="0.6", linestyle=":")
        ax.set(ylim=(0.45, 1.02), xlabel=r"share of false negatives $\pi$", ylabel="chance to be ranked above")
    for ax in (score, reach, noise, coarse, fine):
        ax.legend(fontsize=6.5)
    floor.legend(fontsize=6.5, ncols=2, loc="upper left")
    score.set_title(r"Every score stays below $-\log k\pi$")
    reach.set_title("and nears it as one over the ratio")
    floor.set_title("InfoNCE keeps a floor")
    noise.set_title(f"Debiasing is paid in variance, $r$ = {RATIOS[at]:.0f}")
    coarse.set_title("Trained: close items above others")
    fine.set_title("Trained: close above merely related")
    return fig
