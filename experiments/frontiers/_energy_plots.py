"""The figure of `energy_view`."""

import numpy as np

from experiments._claim import student_margin
from experiments._style import measured, panels, theory


def four_panels(data, v, shortfall, nll, axes, proposals):
    """Shortfall of the loss, error of the gradient, bare sums over distinct others, certified information."""
    draws, subset, pairs = axes
    fig, ((short, errors), (sets, info)) = panels(2, 2, width=4.2, height=3.2)
    for p, name in enumerate(proposals[:3]):
        gap = -np.asarray(data.gap[:, p] - (data.zhat[:, p] - 1))
        measured(short, draws, gap.mean(axis=0), band=student_margin(gap), label=name, color=f"C{p}")
        theory(short, draws, -shortfall[p], label="" if p else "exact, by quadrature")
        theory(short, draws, v[p] / 2 / draws, linestyle=":", label="" if p else "$v / 2K$")
    short.set(xscale="log", yscale="log", xlabel="draws $K$", ylabel=r"NLL $-$ E loss (nats)")
    short.set_title("Short of the likelihood by $v/2K$")
    short.legend(fontsize=7)
    for p, name in enumerate(proposals):
        measured(errors, draws, np.sqrt(data.error[p]), color=f"C{p}", label=name)
        measured(errors, draws, np.sqrt(data.bare_error[p]), color=f"C{p}", linestyle=":", markersize=2)
    errors.plot([], [], ":", color="#555555", label="no log(K q) taken off")
    errors.set(xscale="log", yscale="log", xlabel="draws $K$", ylabel="r.m.s. error of the gradient")
    errors.set_yticks([0.05, 0.1, 0.2, 0.5], ["0.05", "0.1", "0.2", "0.5"])
    errors.yaxis.set_minor_formatter("")
    errors.set_title("The gradient: without log q it never arrives")
    errors.legend(fontsize=7, loc="lower left")
    low, middle, high = np.quantile(data.distinct, [0.05, 0.5, 0.95], axis=0)
    measured(sets, subset, middle, band=(low, high), label="median and 90 % of the sets")
    theory(sets, subset, np.full(len(subset), nll), label="NLL")
    sets.set(xscale="log", xlabel="distinct others in the sum", ylabel="loss (nats)")
    sets.set_title("A bare handful: below, until all are in")
    sets.legend(loc="lower right")
    mean = np.asarray(data.information)
    measured(info, pairs, mean.mean(axis=0), band=student_margin(mean), label="certified with $K = 15$")
    theory(info, pairs, np.minimum(pairs, np.log(16)), label=r"$\min(I, \log 16)$")
    info.set(xscale="log", yscale="log", xlabel="mutual information $I$ (nats)", ylabel="certified information (nats)")
    info.set_yticks([0.5, 1, 2], ["0.5", "1", "2"])
    info.yaxis.set_minor_formatter("")
    info.set_title("No more than $\\log(1 + K)$ can be certified")
    info.legend(loc="lower right")
    return fig
