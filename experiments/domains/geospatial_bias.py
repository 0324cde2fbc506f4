r"""Negatives from nearby bias the gradient, and take a region for a likeness, as far as place and gradient go together.

With q ~ exp(-distance / length), u uniform and g_i the gradient that place i of n gives,

    bias = E_q g - E_u g = Cov_u(q/u, g), |bias|^2 <= chi2(q, u) Var_u g, E bias^2 = chi2(q, u) Var_u(g) / (n - 1),

the last over all ways to deal the gradients out to the places: what chance leaves without spatial autocorrelation. The
confounding index is the bias's share along the direction of the anchor's region: in d dimensions 1/d on average, with
second moment 3 / (d (d + 2)), where features know nothing of place. Weights u/q take the bias away at the price
Var_q(g u/q) / Var_u g. Refuted if a bias leaves its covariance, its bound or its null, or the weighted mean is off.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, at_most, mean_is, student_margin
from experiments._style import absent, measured, panels, theory
from experiments.domains import _places
from experiments.domains._places import FEATURES, LENGTHS, TRAITS

CLAIM = Claim(
    statement="Preferring nearby negatives biases the gradient and confuses likeness with region.",
    source="000, geospatial data",
    references=("agapiou2017importance", "owen2013monte", "sinnott1984virtues"),
)
SIZES = {
    "quick": {"replicates": 128, "size": 200, "draws": 64, "anchors": 2, "dataset": None},
    "full": {"replicates": 256, "size": 400, "draws": 256, "anchors": 8, "dataset": "airports"},
    "device": {"replicates": 4096, "size": 1600, "draws": 1024, "anchors": 64, "dataset": "airports"},
}
CORRELATIONS = np.array([0.0, 0.4, 0.8])


class Data(NamedTuple):
    """Planted, axes (correlations, replicates, lengths): `gap` between bias and covariance, `ratio` of bias to bound,
    `index`, `price` of the weights, `dealt` squared bias over its mean when gradients are dealt out by lot; axes
    (correlations, replicates): `drawn` mean less the exact one, `error` of the weighted mean, `square` of it over its
    variance, all along the region. Airports, empty where not fetched: `real` (lengths, traits) squared bias over what
    chance gives, `lots` the same dealt out by lot (replicates, ...), `real_index`, `lot_index`, `real_price`.
    """

    gap: jax.Array
    ratio: jax.Array
    index: jax.Array
    price: jax.Array
    dealt: jax.Array
    drawn: jax.Array
    error: jax.Array
    square: jax.Array
    real: np.ndarray
    lots: np.ndarray
    real_index: np.ndarray
    lot_index: np.ndarray
    real_price: np.ndarray


def compute(key, *, replicates, size, draws, anchors, dataset=None, follow=False, by_lot=False, **world):
    """World: `weighted` 0 without weights, `flatter` law for covariance and bound, features not `dealt` out, direction
    that does `follow` the neighbours, no `correlation`, airports `by_lot`.
    """
    world = {"weighted": 1.0, "flatter": 1.0, "dealt": True, "correlation": 1.0} | world
    correlations = jnp.asarray(CORRELATIONS) * world.pop("correlation")
    planted_key, real_key = jax.random.split(key)
    size = {"replicates": replicates, "size": size, "draws": draws}
    found, dealt, drawn = _places.planted(planted_key, correlations, follow=follow, **size, **world)
    planted = found.covariance, found.ratio, found.index, found.price, dealt, *drawn
    if dataset is None:
        return Data(*planted, *np.zeros((5, 0)))
    asis, lots = _places.real(real_key, _places.airports(anchors), replicates=64, by_lot=by_lot, dealt=world["dealt"])
    return Data(*planted, asis[0], lots[0], asis[1], lots[1], asis[2])


def verdict(data):
    eps, d = np.finfo(data.gap.dtype).eps, FEATURES
    none, strong = data.index[0], data.index[-1, :, : len(LENGTHS) - 2]
    size = 4096 * eps  # sums over the places
    checks = (
        at_most("bias - Cov(q/u, g)", 0, data.gap, size),
        at_most("bias over its bound", 1, data.ratio, size),
        mean_is("bias by draws less bias by enumeration", np.zeros(3), data.drawn.T),
        mean_is("no autocorrelation: index", np.full(len(LENGTHS), 1 / d), none),
        mean_is("no autocorrelation: squared index", np.full(len(LENGTHS), 3 / (d * (d + 2))), none**2),
        mean_is("dealt out by lot: squared bias over chi2 Var / (n - 1)", np.ones(3), data.dealt.mean(axis=2).T),
        mean_is("importance weights: mean less the uniform one", np.zeros(3), data.error.T),
        mean_is("importance weights: squared error over its variance", np.ones(3), data.square.T),
        at_its_word(
            at_least("index with autocorrelation, over 1/d", 1, d * (strong.mean(axis=0) - student_margin(strong)))
        ),
    )
    if data.real.size:
        checks += (
            mean_is("airports by lot: squared bias over chance", np.ones(data.real.shape), data.lots),
            at_its_word(
                at_least(
                    "airports: bias by elevation over chance, over 99 % by lot",
                    1,
                    data.real[:-1, 0] / np.quantile(data.lots[:, :-1, 0], 0.99, axis=0),
                )
            ),
        )
    return checks


def controls(key, data, *, dataset, **size):
    run = partial(compute, key, **size | {"replicates": 128, "anchors": 4}, dataset=dataset)
    return {
        "the weights left out": run(weighted=0.0),
        "covariance and bound of a proposal twice as flat": run(flatter=2.0),
        "a direction that follows the neighbours": run(follow=True),
        "gradients that stay in their places": run(dealt=False),
        "no autocorrelation anywhere": run(correlation=0.0, by_lot=True),
    }


def plot(data):
    fig, ((strength, index, price), (traits, country, cost)) = panels(3, 2)
    for i, correlation in enumerate(CORRELATIONS):
        label = f"autocorrelation {correlation:.1f}"
        ratio, share = data.ratio[i], FEATURES * data.index[i]
        measured(strength, LENGTHS, ratio.mean(axis=0), band=tuple(np.quantile(ratio, (0.1, 0.9), axis=0)), label=label)
        measured(index, LENGTHS, share.mean(axis=0), band=student_margin(share), label=label)
    theory(strength, LENGTHS, np.ones(len(LENGTHS)), label=r"bound $\sqrt{\chi^2 \mathrm{Var}}$")
    theory(index, LENGTHS, np.ones(len(LENGTHS)), label="by chance")
    measured(price, LENGTHS, np.median(data.price[-1], axis=0), label="planted", color="C2")
    strength.set(title="The bias stays within its bound", ylabel="largest bias over its bound", ylim=(0, 1.6))
    index.set(title="Confounded where place tells", ylabel="share along the region, over $1/d$", ylim=(0, 9))
    price.set(title="Weights $u/q$: no bias, at a price", ylabel="variance over uniform", yscale="log", ylim=(0.5, 1e6))
    if data.real.size:
        plot_airports(traits, country, price, data)
    else:
        absent(traits, "airportsdata")
        absent(country, "airportsdata")
    at = np.arange(3)
    for shift, values, label in ((-0.1, data.drawn, "less $E_q g$"), (0.1, data.error, "weighted, less $E_u g$")):
        mean, margin = values.mean(axis=1), student_margin(values.T)
        cost.errorbar(at + shift, mean, margin, marker="o", linestyle="none", label=label)
    theory(cost, [-0.5, 2.5], [0, 0])
    cost.set_xticks(at, [f"{c:.1f}" for c in CORRELATIONS])
    cost.set(
        title="Drawn means, along the region",
        xlabel="autocorrelation",
        ylabel="error of the mean gradient",
        ylim=(-0.02, 0.03),
    )
    for ax in (strength, index, price, traits, country):
        if ax.axison:
            ax.set(xscale="log", xlabel="length scale of the proposal (km)")
    for ax in fig.axes:
        if ax.axison:
            ax.legend(fontsize=7, loc="upper left" if ax is strength else "upper right")
    return fig


def plot_airports(traits, country, price, data):
    for j, name in enumerate(TRAITS):
        measured(traits, LENGTHS, data.real[:, j], label=name)
    band = np.quantile(data.lots[:, :, 0], (0.01, 0.99), axis=0)
    traits.fill_between(LENGTHS, *band, color="0.85", label="elevation, 98 % by lot")
    theory(traits, LENGTHS, np.ones(len(LENGTHS)))
    traits.set(
        title="Airports: what knows its place", ylabel="squared bias over chance", yscale="log", ylim=(0.05, 1e6)
    )
    measured(country, LENGTHS, data.real_index, label="the airports")
    band = np.quantile(data.lot_index, (0.01, 0.99), axis=0)
    country.fill_between(LENGTHS, *band, color="0.85", label="98 % by lot")
    theory(country, LENGTHS, data.lot_index.mean(axis=0), label="mean by lot")
    country.set(title="Airports: share along the country", ylabel="confounding index", ylim=(0, 1))
    measured(price, LENGTHS, data.real_price, label="airports", color="C3")
