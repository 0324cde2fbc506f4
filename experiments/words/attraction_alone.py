r"""Attraction alone: which embeddings collapse into a point, and how little repulsion keeps them open.

n words attract each other with weights S (symmetric, rows summing to 1, second eigenvalue sigma_2). Only pulled,

    squared distance   x <- x - eta (I - S) x          collapses, mode m by 1 - eta (1 - sigma_m) a step,
                                                       to one point for each group of words linked at all;
    unit sphere        the same, renormalised          collapses, in the end at the same rate;
    dot product        v <- v + eta S sigma(-v.u) u    runs away: v.u ~ log t; the distances between the words
                                                       grow as norm^sigma_2, their angles close as norm^(sigma_2 - 1).

With r noise words a pair, uniform, differences at the collapsed point grow on the sphere at rate r - (1 - sigma_2)
(a threshold), and for dot products at sigma_2 r / (1 + r) > 0 (none). Refuted if rates, exponents or thresholds
differ from these by more than rounding and the next order of their expansions.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, at_most, close
from experiments._style import measured, panels, theory
from experiments.words import _attraction
from experiments.words._attraction import on_sphere, spread

CLAIM = Claim(
    statement="If we only pulled vectors together, they would all collapse into a single point.",
    source="002, a game of push and pull",
    references=("mikolov2013distributed", "wang2020understanding", "lyu2020gradient", "markdahl2018almost"),
    expected="conditional",
    why="Squared distances and the unit sphere do collapse, to one point for each connected group of words. Dot "
    "products, which word2vec uses, do not: the vectors align while they run to infinity and move apart. A sphere "
    "needs 1 - sigma_2 noise words a pair to stay open, a dot product any at all.",
)
SIZES = {
    "quick": {"words": 12, "dimension": 4, "steps": 1500, "starts": 2},
    "full": {"words": 24, "dimension": 8, "steps": 6000, "starts": 8},
    "device": {"words": 96, "dimension": 32, "steps": 60000, "starts": 64},
}
GROUPS, ETA, TILT, SMALL, EARLY = 3, 0.2, 1e-3, 0.05, 16
REPULSION = np.linspace(0.04, 0.96, 24)  # noise words per observed pair


class Data(NamedTuple):
    """Spread is the rms distance from the centroid; mode is the amplitude of the second eigenvector across the mean.

    `links` (n, n) is S. `distance`, `sphere`, `dot`, `severed` (starts, times): spread over that at the start, the
    last without links across groups, which end as `severed_points`, their centroids `severed_gap` times as far apart
    as at the start. `near_*` (times,): mode, over that at the start, for words within TILT of one point; `near_norm`
    their mean. `*_growth` (repulsion, times): mode over mean, over that at the start, with noise words; `*_end` the
    spread of the directions at the end.
    """

    links: jax.Array
    times: jax.Array
    distance: jax.Array
    sphere: jax.Array
    dot: jax.Array
    severed: jax.Array
    severed_points: jax.Array
    severed_gap: jax.Array
    near_distance: jax.Array
    near_sphere: jax.Array
    near_dot: jax.Array
    near_norm: jax.Array
    sphere_growth: jax.Array
    dot_growth: jax.Array
    sphere_end: jax.Array
    dot_end: jax.Array


@partial(jax.jit, static_argnames=("words", "dimension", "steps", "starts"))
def simulate(key, world, *, words, dimension, steps, starts):
    link_key, wild_key, near_key = jax.random.split(key, 3)
    chance = jax.random.normal(link_key, (words, words))
    links = _attraction.co_occurrence(chance, GROUPS, 0.25)
    apart = _attraction.co_occurrence(chance, GROUPS, world["across"])
    descend = partial(_attraction.descend, steps=steps, step_size=ETA)
    times = np.unique(np.r_[0 : EARLY + 1, np.geomspace(1, steps, 80).astype(int)])
    wild = jax.random.normal(wild_key, (starts, 2 * words, dimension)) / np.sqrt(dimension)
    tilts = TILT * jax.random.normal(near_key, (words, dimension))
    near = jnp.tile(tilts.at[:, 0].set(1), (2, 1))[None]
    levels = jnp.asarray(REPULSION, near.dtype)
    alone = jnp.full(starts + 1, world["noise"], near.dtype)

    def sweep(energy, free, collapsed, scale, **options):
        """Without noise: near one point, then from the other starts. With noise: near the point that it leaves."""
        weights = jnp.concatenate([alone, scale * levels])
        end, seen = descend(energy, links, jnp.concatenate([free, collapsed]), weights, **options)
        curves, opened = seen[:, times] / seen[:, :1], jax.vmap(lambda x: spread(on_sphere(x)))(end)
        angles = curves[:, :, 1] / jnp.abs(curves[:, :, 2])
        return curves[1 : starts + 1, :, 0], curves[0, :, 1:], angles[starts + 1 :], opened[starts + 1 :]

    half = jnp.concatenate([near, wild])[:, :words]
    linked = lambda links: descend(_attraction.distance_energy, links, half, alone)
    end, seen = jax.vmap(linked)(jnp.stack([links, apart]))
    distance, left = seen[:, :, times] / seen[:, :, :1], end[1, 1:]
    many = jnp.broadcast_to(near, (len(levels), *near.shape[1:]))
    sphere = sweep(_attraction.sphere_energy, half, many[:, :words], world["push"], keep=on_sphere)
    deep = jnp.sqrt(-jnp.log(levels))[:, None, None]  # v.u = -log r, where pull and push cancel
    small = SMALL * jnp.concatenate([near, wild])
    dot = sweep(_attraction.dot_energy, small, deep * many, world["share"], decay=world["decay"])
    return Data(
        links=links,
        times=jnp.asarray(times),
        distance=distance[0, 1:, :, 0],
        sphere=sphere[0],
        dot=dot[0],
        severed=distance[1, 1:, :, 0],
        severed_points=jax.vmap(_attraction.points_left)(left),
        severed_gap=_attraction.gap(left, GROUPS) / _attraction.gap(half[1:], GROUPS),
        near_distance=distance[0, 0, :, 1],
        near_sphere=sphere[1][:, 0],
        near_dot=dot[1][:, 0],
        near_norm=SMALL * dot[1][:, 1],
        sphere_growth=sphere[2],
        dot_growth=dot[2],
        sphere_end=sphere[3],
        dot_end=dot[3],
    )


def compute(key, *, noise=0.0, decay=0.0, across=0.0, push=1.0, share=1.0, **size):
    """The keywords before the size change the world: the right one has their defaults."""
    world = {"noise": noise, "decay": decay, "across": across, "push": push, "share": share}
    return simulate(key, world, **size)


def per_step(growth):
    return growth[..., EARLY] ** (1 / EARLY)


def opens_at(growth):
    """Middle of the step of REPULSION between which differences stop dying out."""
    grows = growth[:, -1] > 1
    first = int(np.argmax(grows))
    return REPULSION[first - 1 : first + 1].mean() if first else np.nan


def verdict(data):
    sigma, eps = np.linalg.eigvalsh(data.links)[-2], np.finfo(data.links.dtype).eps
    factor, dot_rate = 1 - ETA * (1 - sigma), sigma * REPULSION / (1 + REPULSION)
    norm, mode = _attraction.runaway(sigma, data.times, norm=SMALL, step_size=ETA)
    rounding = 32 * eps / TILT  # of words at distance 1 from the origin and TILT from each other
    cubic = len(data.links) * TILT**2  # what a linearisation leaves out, for d < n
    grown = cubic * np.maximum(data.sphere_growth[:, EARLY], 1) ** 2 + rounding
    exponent = np.divide(*np.log(np.maximum([data.near_dot[-1], data.near_norm[-1] / SMALL], np.finfo(float).tiny)))
    closed = factor ** (data.times[-1] / 2) + 32 * eps / (1 - factor)  # half the steps to gather, half to close in
    return (
        close("distance: mode 2 shrinks a step by", factor, per_step(data.near_distance), rounding),
        close("sphere: mode 2 shrinks a step by, near the point", factor, per_step(data.near_sphere), rounding + cubic),
        close("dot product: norm of aligned words / predicted", 1, data.near_norm / norm, cubic + rounding),
        close("dot product: distance of aligned words / predicted", 1, data.near_dot / mode, 4 * cubic + rounding),
        close("dot product: exponent of distance against norm", sigma, exponent, ETA * (1 - sigma) / 4),
        at_least("dot product: spread from random starts, end / start", 1, data.dot[:, -1]),
        close("severed groups: distance of their centres, end / start", 1, data.severed_gap, rounding),
        close("severed groups: points that remain, one a group", GROUPS, data.severed_points, 0.5),
        close(
            "sphere: growth rate with noise", REPULSION - (1 - sigma), (per_step(data.sphere_growth) - 1) / ETA, grown
        ),
        close("sphere: least noise that opens it", 1 - sigma, opens_at(data.sphere_growth), np.ptp(REPULSION[:2]) / 2),
        close("dot product: growth rate with noise", dot_rate, (per_step(data.dot_growth) - 1) / ETA, cubic + rounding),
        at_least("dot product: any noise widens the angles", 1, data.dot_growth[:, -1]),
        at_its_word(at_most("squared distance: spread that remains", 0, data.distance[:, -1], closed)),
        at_its_word(at_most("sphere: spread that remains", 0, data.sphere[:, -1], closed)),
        at_its_word(at_most("dot product: spread that remains", 0, data.dot[:, -1], closed)),
        at_its_word(close("severed groups: points that remain", 1, data.severed_points, 0.5)),
    )


def controls(key, data, *, words, dimension, steps, starts):
    run = partial(compute, key, **SIZES["quick"])
    return {
        "0.7 noise words a pair in what is called attraction alone": run(noise=0.7),
        "weight decay of 0.6, more than the pull": run(decay=0.6),
        "groups that do meet now and then": run(across=0.25),
        "the uniformity loss at twice its weight": run(push=2.0),
        "no noise in the dot products": run(share=0.0),
    }


def plot(data):
    fig, ((alone, away), (rate, end)) = panels(2, 2, width=4.4, height=3.1)
    sigma, noise = np.linalg.eigvalsh(data.links)[-2], "noise words per observed pair $r$"
    curves = data.distance, data.sphere, data.dot, data.severed
    labels = "squared distance", "unit sphere", "dot product", "squared distance, groups never linked"
    for values, label in zip(curves, labels, strict=True):
        band = values.min(axis=0), values.max(axis=0)
        measured(alone, data.times, np.median(values, axis=0), band=band, label=label, marker="")
    theory(alone, data.times, (1 - ETA * (1 - sigma)) ** data.times, label=r"slowest mode $(1-\eta(1-\sigma_2))^t$")
    alone.set(xscale="log", yscale="log", ylim=(1e-6, 3e4), xlim=(1, data.times[-1]))
    norm, mode = _attraction.runaway(sigma, data.times, norm=SMALL, step_size=ETA)
    measured(away, data.near_norm, data.near_dot, label="distances", markevery=6)
    measured(away, data.near_norm, data.near_dot / data.near_norm * SMALL, label="angles", markevery=6)
    theory(away, norm, mode, label=r"slope $\sigma_2$" + f" = {sigma:.2f}")
    theory(away, norm, mode / norm * SMALL, label=r"slope $\sigma_2-1$", linestyle=":")
    away.set(xscale="log", yscale="log", xlabel="norm of the words", ylabel="relative to the start")
    swept = (data.sphere_growth, data.sphere_end), (data.dot_growth, data.dot_end)
    for (growth, opened), label in zip(swept, labels[1:3], strict=True):
        measured(rate, REPULSION, (per_step(growth) - 1) / ETA, label=label, linestyle="")
        measured(end, REPULSION, opened, label=label)
    theory(rate, REPULSION, REPULSION - (1 - sigma), label=r"$r-(1-\sigma_2)$")
    theory(rate, REPULSION, sigma * REPULSION / (1 + REPULSION), label=r"$\sigma_2 r/(1+r)$", linestyle=":")
    rate.axhline(0, color="0.5", linewidth=0.8)
    end.axvline(1 - sigma, color="black", linestyle="--", linewidth=1.1, label=r"$r=1-\sigma_2$")
    alone.set(
        title="Only pulled: a point, but not with dot products", xlabel="steps", ylabel="spread / spread at the start"
    )
    away.set_title("Dot products align while moving apart")
    rate.set(title="When the collapsed point lets go", xlabel=noise, ylabel="growth rate of differences")
    end.set(title="The least repulsion that keeps words apart", xlabel=noise, ylabel="spread of unit directions")
    for ax in (alone, away, rate, end):
        ax.legend(fontsize=7, loc="upper left", ncols=2 if ax is alone else 1)
    return fig
