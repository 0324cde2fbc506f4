r"""Attraction to an anchor against transport-cost repulsion from the negatives: where the embedding comes to rest.

With attraction (y - x)^2 and repulsion r E|y - N|^2 from negatives of mean mu, in any dimension,

    y* = (x - r mu) / (1 - r)    for r < 1,

whatever else the law of N is: transport from a point has one coupling, so the cost is |y - mu|^2 + Var N. The weight
on mu is negative: y* lies beyond x, away from mu, where no average puts it; for r >= 1 the loss has no floor. A
quartic cost brings the variance back, W1 does inside the support of N and not outside (there it is |y - mu|), and the
entropic penalty, from a point, is a constant. Refuted if descent by optax ends elsewhere, if y* for five laws of one
mean depends on more than the mean, or if a variance enters where none should.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, at_most, close
from experiments._style import measured, panels, theory
from experiments.domains._transport import descend, energy, entropic_gradient, rounded, shapes, squared

CLAIM = Claim(
    statement="With transport-cost repulsion the best embedding is a weighted average of the anchor and of the "
    "negatives' mean; their variance does not matter.",
    source="000 and 003, push and pull as transport",
    references=("peyre2019computational",),
    expected="conditional",
    why="For the squared cost only the mean enters. But its weight is negative: y* lies beyond the anchor, and exists "
    "only for repulsion below attraction. A quartic cost, and W1 inside the negatives' support, see the variance.",
)
SIZES = {
    "quick": {"points": 401, "steps": 1000, "dimension": 3},
    "full": {"points": 2001, "steps": 1500, "dimension": 8},
    "device": {"points": 20_001, "steps": 4000, "dimension": 64},
}
ANCHOR, MEAN = 1.0, -0.5
REPULSIONS = np.array([0.0, 0.2, 0.4, 0.6, 0.8])
LAWS = {"a point": 0.0, "normal": 0.5, "uniform": 1.0, "two points": 1.5, "skewed": 2.0}  # and their deviations
DEVIATIONS = np.array([0.0, 0.5, 0.9, 1.5, 2.0, 3.0])  # of uniform laws, by which the costs are compared
STRENGTH, WEAK = 0.5, 0.005  # repulsion by |y - N|, and by the quartic, whose loss has a local minimum only
LIMIT = ANCHOR + STRENGTH / 2 - MEAN  # half-width of the support at which it reaches the resting place
OUTSIDE = np.sqrt(3) * DEVIATIONS < LIMIT
BEYOND, FAR = np.array([1.0, 1.5]), np.array([10.0, 100.0, 1000.0])


class Data(NamedTuple):
    """`rest` (LAWS, REPULSIONS) where descent by optax ends in one dimension, squared cost; `many` (LAWS, REPULSIONS,
    d) in d, with `anchor` and `mean` there; `depth` (BEYOND, FAR) of the loss far out; `quartic` and `absolute`
    (DEVIATIONS,) where descent ends under those costs; `points` atoms a law; `entropic` (LAWS,) change of the gradient
    of an entropic transport cost as its penalty goes from 0.1 to 10.
    """

    rest: jax.Array
    many: jax.Array
    anchor: jax.Array
    mean: jax.Array
    depth: jax.Array
    quartic: jax.Array
    absolute: jax.Array
    points: jax.Array
    entropic: jax.Array


@partial(jax.jit, static_argnames=("points", "steps", "dimension", "cost", "others"))
def compute(key, *, points, steps, dimension, cost=squared, others=None, sign=1.0, apart=0.0):
    atoms, deviations = shapes(points), jnp.asarray(list(LAWS.values()))
    laws = MEAN + deviations[:, None] * atoms
    start = jnp.zeros(1)
    ends = lambda law, r: descend(lambda y: energy(y, ANCHOR, law[:, None], r, cost, sign), start, steps)[0]
    over = lambda f, xs: jax.vmap(lambda x: jax.vmap(lambda r: f(x, r))(jnp.asarray(REPULSIONS)))(xs)
    anchor_key, mean_key, turn_key = jax.random.split(key, 3)
    anchor, mean = jax.random.normal(anchor_key, (dimension,)), jax.random.normal(mean_key, (dimension,))
    direction = jax.random.normal(turn_key, (len(LAWS), dimension))
    clouds = mean + (deviations[:, None] * atoms)[:, :, None] * direction[:, None]
    many = lambda law, r: descend(lambda y: energy(y, anchor, law, r, cost, sign), 0 * anchor, steps)
    depth = lambda r: jax.vmap(lambda y: energy(y[None], ANCHOR, laws[1][:, None], r, cost, sign))(jnp.asarray(FAR))

    def by_cost(f, r):
        law = lambda s: (MEAN + s * atoms[2])[:, None]
        rest = lambda s: descend(lambda y: energy(y, ANCHOR, law(s), r, others or f, 1.0), start + ANCHOR, steps)[0]
        return jax.vmap(rest)(jnp.asarray(DEVIATIONS))

    change = lambda law: jnp.subtract(*(entropic_gradient(ANCHOR, law, e, apart) for e in (0.1, 10.0)))
    return Data(
        *(over(ends, laws), over(many, clouds), anchor, mean, jax.vmap(depth)(jnp.asarray(BEYOND))),
        *(by_cost(lambda g: g**4, WEAK), by_cost(jnp.abs, STRENGTH), jnp.asarray(points), jax.vmap(change)(laws)),
    )


def resting(anchor, mean, repulsion):
    return (anchor - repulsion * mean) / (1 - repulsion)


def quartic_rest(deviation):
    """The local minimum next to the anchor of (y - x)^2 - r ((y - mu)^4 + 6 s^2 (y - mu)^2 + ...)."""
    gap = ANCHOR - MEAN
    roots = np.roots([-4 * WEAK, 0, 2 - 12 * WEAK * deviation**2, -2 * gap])
    real = roots[np.abs(roots.imag) < 1e-9].real
    return MEAN + real[np.argmin(np.abs(real - gap))]


def absolute_rest(deviation):
    """Outside the support the pull is constant; inside, it grows from the middle at 1 / half-width."""
    half = np.sqrt(3) * deviation
    if half < LIMIT:
        return ANCHOR + STRENGTH / 2
    return resting(ANCHOR, MEAN, STRENGTH / (2 * half))


def verdict(data):
    eps = np.finfo(data.rest.dtype).eps
    rounding = 4096 * eps  # 1 / (1 - r) is 5 at most, over sums of the atoms
    exact = resting(ANCHOR, MEAN, REPULSIONS)
    many = resting(data.anchor, data.mean, REPULSIONS[:, None])
    weight = (data.rest[:, 1:] - ANCHOR) / (MEAN - ANCHOR)
    quartic = np.array([quartic_rest(s) for s in DEVIATIONS])
    absolute = np.array([absolute_rest(s) for s in DEVIATIONS])
    spacing = 2 * np.sqrt(3) * DEVIATIONS / data.points + rounding
    return (
        at_its_word(
            at_most("squared cost: spread of y* over laws of one mean", 0, np.ptp(data.rest, axis=0), rounding)
        ),
        at_its_word(at_least("squared cost: weight of the mean of the negatives", 0, weight)),
        close("one dimension: y*", exact, data.rest, rounding),
        close(
            "one dimension: weight of the mean, -r / (1 - r)", -REPULSIONS[1:] / (1 - REPULSIONS[1:]), weight, rounding
        ),
        close("d dimensions: y*", many, data.many, rounding * (1 + np.abs(many))),
        at_most("repulsion 1 or more: the loss falls on and on", 0, np.diff(data.depth, axis=1)),
        close("quartic cost: y* by variance", quartic, data.quartic, rounding),
        close("W1 outside the support: y*, whatever the variance", absolute[OUTSIDE], data.absolute[OUTSIDE], rounding),
        close("W1 inside the support: y* by variance", absolute[~OUTSIDE], data.absolute[~OUTSIDE], spacing[~OUTSIDE]),
        at_most("entropic penalty from a point: change of the gradient", 0, np.abs(data.entropic), rounding),
    )


def controls(key, data, **size):
    run = partial(compute, key, **size | {"points": min(size["points"], 401)})
    return {
        "negatives that attract": run(sign=-1.0),
        "a cost that sees the spread": run(cost=rounded),
        "squared costs in the place of the others": run(others=squared),
        "a source of two atoms": run(apart=2.0),
    }


def plot(data):
    fig, ((rest, weight), (costs, depth)) = panels(2, 2)
    fine = np.linspace(0, 0.85, 100)
    for i, (law, deviation) in enumerate(LAWS.items()):
        style = {"marker": "osv^D"[i], "linestyle": "none", "markersize": 8 - 1.3 * i, "fillstyle": "none"}
        measured(rest, REPULSIONS, data.rest[i], label=f"{law}, deviation {deviation:g}", **style)
    theory(rest, fine, resting(ANCHOR, MEAN, fine), label=r"$(x - r\mu)/(1 - r)$")
    rest.axhspan(MEAN, ANCHOR, color="0.92", label=r"averages of $x$ and $\mu$")
    rest.set(title="Squared cost: only the mean counts", ylabel="resting place $y^*$")
    theory(weight, fine, 1 / (1 - fine))
    theory(weight, fine, -fine / (1 - fine))
    shares = (data.rest - MEAN) / (ANCHOR - MEAN)
    measured(weight, REPULSIONS, shares.mean(axis=0), linestyle="none", label="of the anchor")
    measured(weight, REPULSIONS, 1 - shares.mean(axis=0), linestyle="none", label="of the negatives' mean")
    weight.axhspan(0, 1, color="0.92", label="weights of an average")
    weight.set(title="and its weight is negative", ylabel="weight in $y^*$")
    for ax in (rest, weight):
        ax.set_xlabel("repulsion over attraction $r$")
    smooth = np.linspace(0, 3, 400)
    for values, f, label in (
        (data.quartic, quartic_rest, f"quartic, $r$ = {WEAK}"),
        (data.absolute, absolute_rest, f"$W_1$, $r$ = {STRENGTH}"),
    ):
        measured(costs, DEVIATIONS, values, linestyle="none", label=label)
        theory(costs, smooth, [f(s) for s in smooth])
    costs.axvline(LIMIT / np.sqrt(3), color="0.6", linestyle=":", label="support reaches $y^*$")
    costs.set(title="Other costs see the variance", xlabel="deviation of the negatives", ylabel="resting place $y^*$")
    costs.set_ylim(0.9, 1.9)
    y = np.linspace(-4, 12, 200)
    for r, color in zip((0.5, 0.9, 1.0, 1.5), ("C2", "C0", "C4", "C1"), strict=True):
        depth.plot(y, (y - ANCHOR) ** 2 - r * (y - MEAN) ** 2, color=color, label=f"$r$ = {r}")
    depth.set(title="From $r = 1$ on the loss has no floor", xlabel="embedding $y$", ylabel="loss, up to a constant")
    depth.set_ylim(-30, 30)
    for ax in (rest, weight, costs, depth):
        ax.legend(fontsize=7)
    return fig
