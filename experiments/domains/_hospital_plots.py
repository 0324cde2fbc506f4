"""Panels of the claim on hospitals that show real patients."""

import numpy as np

from experiments._style import theory
from experiments.domains import _hospitals


def pairs(kinds, lots, data):
    """Scores of pairs by kind, and the domain shift against hospitals drawn by lot."""
    grid = np.linspace(-4, 5, 200)
    for c, name in enumerate(_hospitals.KINDS):
        s = data.scores[data.kind == c]
        bins = np.linspace(-4, 5, 28)
        kinds.hist(s, bins, density=True, histtype="step", color=f"C{c}", label=f"{name} ({len(s):,})")
        kinds.axvline(s.mean(), color=f"C{c}", linewidth=0.8)
    s = data.scores
    normal = np.exp(-((grid - s.mean()) ** 2) / (2 * s.var())) / np.sqrt(2 * np.pi * s.var())
    theory(kinds, grid, normal, label="one normal law")
    kinds.set(
        title="128 patients, 13 hospitals",
        xlabel="similarity of two patients",
        ylabel="density of pairs",
        ylim=(0, 0.62),
    )
    lots.hist(data.null, 40, density=True, color="0.75", label="hospitals drawn by lot")
    observed = _hospitals.within_less_across(s, data.same.astype(bool))
    lots.axvline(observed, color="C0", linewidth=2, label="the 13 hospitals")
    lots.axvline(np.quantile(data.null, 0.99), color="black", linestyle="--", linewidth=1.1, label="99 % by lot")
    lots.set(
        title="One's own hospital is nearer", xlabel="similarity within less across", ylabel="density", ylim=(0, 16)
    )
