"""The panels of `attraction_alone`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from experiments._runner.drawing import measured_curve, reference_line, theory_line
from experiments.words.attraction_alone import theory

if TYPE_CHECKING:
    from experiments.words.attraction_alone import Data


def only_pulled(ax: Axes, data: Data) -> None:
    """Spread of the words, over that at the start, when they are only pulled: median of the random starts, band from
    the lowest to the highest. Squared distances and the sphere fall to rounding at the predicted slowest rate (dashed);
    dot products spread out.
    """
    from experiments.words.attraction_alone import STEP_SIZE

    curves = {
        "squared distance": data.pulled.distance,
        "unit sphere": data.pulled.sphere,
        "dot product": data.pulled.dot,
    }
    shown = data.times >= 1
    factor = theory.shrinking(data.links, STEP_SIZE)
    ends = np.log(1e-6) / np.log(factor)
    theory_line(ax, lambda t: factor**t, 1, ends, log=True, name=r"slowest: $(1-\eta(1-\sigma))^t$")
    for name, spreads in curves.items():
        spreads = np.maximum(spreads, 1e-18)[:, shown]
        band = (spreads.min(axis=0), spreads.max(axis=0))
        measured_curve(ax, data.times[shown], np.median(spreads, axis=0), name=name, every=6, band=band)
    ax.set(xscale="log", yscale="log", ylim=(1e-6, 30), xlim=(1, data.times[-1] * 1.1))
    ax.set(
        title="Only pulled: a point, but not with dot products", xlabel="steps", ylabel="spread / spread at the start"
    )


def running_away(ax: Axes, data: Data) -> None:
    """Dot products, only pulled, from near one point: the slowest difference between words against their norm, on the
    predicted path (dashed, in the end norm to the power sigma). It grows, but less than the norm: words align.
    """
    from experiments.words.attraction_alone import SMALL, STEP_SIZE

    path = theory.runaway(data.links, data.times[-1], norm=SMALL, step_size=STEP_SIZE)
    norm = SMALL * data.near.dot_norm / data.near.dot_norm[0]
    theory_line(ax, lambda x: np.interp(x, path["norm"], path["difference"]), norm[0], norm[-1], log=True)
    measured_curve(ax, norm, data.near.dot, name="dot product", every=6, label=False)
    ax.set(xscale="log", yscale="log", title="They align while moving apart")
    ax.set(xlabel="norm of the words", ylabel="difference / start")


def with_noise(ax: Axes, data: Data) -> None:
    """Growth rate of differences near the collapsed point against noise words per observed pair, on the predicted rates
    (dashed). Above 0 the point lets go: on the sphere beyond 1 - sigma, of planted links and of the commonest words of
    Shakespeare; for dot products from the start.
    """
    from experiments.words.attraction_alone import REPULSION

    low = REPULSION[0]
    high = REPULSION[-1]
    reference_line(ax, 0.0)
    theory_line(ax, lambda r: theory.sphere_growth(data.links, r), low, high)
    theory_line(ax, lambda r: theory.dot_growth(data.links, r), low, high)
    measured_curve(ax, REPULSION, data.noisy.sphere_growth, name="unit sphere", every=4, label=False)
    measured_curve(ax, REPULSION, data.noisy.dot_growth, name="dot product", every=4, label=False)
    if not np.isnan(data.real.sigma):
        theory_line(ax, lambda r: r - (1 - data.real.sigma), low, high)
        measured_curve(ax, REPULSION, data.real.sphere_growth, name="sphere, Shakespeare", every=4)
    ax.set(title="When the collapsed point lets go", xlabel="noise words per observed pair $r$", ylabel="growth rate")
