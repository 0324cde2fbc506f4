"""Panels of the claim on approximate indexes."""

import numpy as np

from experiments._style import measured, theory
from experiments.frontiers import _indexes
from experiments.frontiers._mixtures import RATES, bernstein, progress


def plot_rates(ax, data):
    """Typical world: how far towards the uniform law's gradient each rate goes."""
    exact = bernstein(data.blends)
    series = (
        ("SGNS, one negative", data.one, np.broadcast_to(RATES, data.one.shape[:2])),
        ("InfoNCE of 3: gradient", data.softmax[..., 1:], progress(exact[..., 1:])),
        ("InfoNCE of 3: loss", data.softmax[..., :1], progress(exact[..., :1])),
    )
    for label, values, predicted in series:
        measured(ax, RATES, np.median(progress(values), axis=0), label=label, linestyle="none")
        theory(ax, RATES, np.median(predicted, axis=0))
    ax.set(
        title="In proportion, or a polynomial",
        xlabel="rate of the uniform law $\\epsilon$",
        ylabel="bias, in units of the uniform law's",
    )
    ax.legend(loc="upper left")


def plot_index(ax, below, data):
    """Bias against recall of each setting; where its wrong entries lie; which neighbours it misses."""
    ranked, by_rank = below
    lost, k, others = 1 - data.index_recall.mean(axis=1), data.missed.shape[1], data.others[0]
    line = np.geomspace(max(lost.min(), 1e-3), 1, 50)
    theory(ax, line, line / (1 - k / others), label="mixture of equal recall")
    uniform = np.clip(np.minimum(_indexes.EDGES[1:], others + 1) - np.maximum(_indexes.EDGES[:-1], k + 1), 0, None)
    theory(
        ranked,
        _indexes.EDGES[:-1] * np.sqrt(2),
        np.where(uniform > 0, uniform / uniform.sum(), np.nan),
        label="uniform",
    )
    for kind in ("IVF", "HNSW"):
        mine = np.char.startswith(data.settings, kind) & (data.along.mean(axis=1) > 0)  # the axis is logarithmic
        measured(ax, lost[mine], data.along.mean(axis=1)[mine], label=f"{kind} (faiss)")
        for s in np.flatnonzero(mine)[:2]:
            share = data.ranks[s] / data.ranks[s].sum()
            measured(
                ranked, _indexes.EDGES[:-1] * np.sqrt(2), np.where(share > 0, share, np.nan), label=data.settings[s]
            )
            measured(by_rank, np.arange(1, k + 1), data.missed[s], label=data.settings[s])
            theory(by_rank, [1, k], [lost[s], lost[s]])
    name = "word vectors" if data.real[0] else "planted vectors"
    ax.set(title=f"Index on {int(others) + 1} {name}", xscale="log", yscale="log",
           xlabel="recall lost", ylabel="bias, in units of the uniform law's")  # fmt: skip
    ranked.set(title="What it returns wrongly lies near", xscale="log", xlabel="true rank of a wrong entry",
               ylabel="share of wrong entries")  # fmt: skip
    by_rank.set(
        title="and the farther are missed more", xlabel="true rank of a neighbour", ylabel="chance it is missed"
    )
    ax.legend(loc="upper left", fontsize=7)
    ranked.legend(loc="upper center", fontsize=7, bbox_to_anchor=(0.56, 1))
    by_rank.set_ylim(0, 1.45 * data.missed.max())
    by_rank.legend(loc="upper left", fontsize=7, ncols=2)
