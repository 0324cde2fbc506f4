"""An audit for eyes: the table of the terminal and the one-page figure. Needs the `audit` extra."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from rich import box
from rich.table import Table

from nsx.audit import Audit, Measured

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#000000")
NO_MARK = {"Software": None}


def tables(found: Audit) -> tuple[Table, Table]:
    """The laws and what they do to the gradient, a row a proposal; k is the largest number of negatives."""
    k = found.proposals[0].num_negatives[-1]
    about = f"{found.num_anchors} anchors, temperature {found.temperature:g}, k = {k}"
    law = Table(
        "proposal", "entropy, nats", "effective", "P(hard)", "k for 95 %", "false among k", title=f"Laws: {about}"
    )
    gradient = Table(
        "proposal", "bias", "with log q", "cosine", "SNR", "error", "MiB", title=f"Gradients: {about}",
        caption="cosine, SNR and error with log q",
    )  # fmt: skip
    for table in (law, gradient):
        table.box, table.columns[0].no_wrap = box.SIMPLE, True
        for column in table.columns[1:]:
            column.overflow = "fold"
    for row in found.proposals:
        false = "no labels" if row.false_negatives is None else row.false_negatives.text(2)
        needed = "none" if math.isinf(row.negatives_needed) else f"{row.negatives_needed:,.0f}"
        first = (row.entropy, row.effective_negatives, row.hard_probability)
        law.add_row(row.name, *(m.text() for m in first), needed, false)
        ends = (row.bias, row.corrected_bias, row.corrected_cosine, row.corrected_signal_to_noise, row.corrected_error)
        gradient.add_row(row.name, *(m[-1].text(2) for m in ends), f"{row.memory / 2**20:.3g}")
    return law, gradient


def figure(found: Audit, path: Path) -> None:
    """One page: bias and signal-to-noise against k, masses that matter, and the verdicts in words."""
    rows = found.proposals
    page, axes = plt.subplots(2, 2, figsize=(9.5, 8.2), layout="constrained", height_ratios=(1, 1))
    for row, colour in zip(rows, COLOURS * len(rows), strict=False):
        k = np.array(row.num_negatives)
        _curve(axes[0, 0], k, row.bias, colour, "--", None)
        _curve(axes[0, 0], k, row.corrected_bias, colour, "-", row.name)
        _curve(axes[0, 1], k, row.signal_to_noise, colour, "--", None)
        _curve(axes[0, 1], k, row.corrected_signal_to_noise, colour, "-", row.name)
    axes[0, 0].set(xscale="log", yscale="log", xlabel="negatives k", ylabel="bias of the gradient / its length")
    axes[0, 0].set_title("Bias: dashed as drawn, solid with log q; not shown below its error", loc="left", fontsize=10)
    axes[0, 1].set(xscale="log", yscale="log", xlabel="negatives k", ylabel="signal to noise of one gradient")
    axes[0, 1].axhline(1, color="k", lw=0.8, ls=":")
    axes[0, 1].set_title("Signal to noise: above 1 the direction shows", loc="left", fontsize=10)
    axes[0, 1].legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=4)
    _masses(axes[1, 0], found)
    _words(axes[1, 1], found)
    page.suptitle(
        f"What the sampler does to the gradient: {found.num_anchors} anchors, temperature {found.temperature:g}",
        fontsize=12,
    )
    page.savefig(path, dpi=150, metadata=NO_MARK if path.suffix == ".png" else None)
    plt.close(page)


def _curve(axis, k: np.ndarray, values: tuple[Measured, ...], colour: str, style: str, label: str | None) -> None:
    """A curve with bars of one standard error; what is not told from 0 is left out of a log axis."""
    value = np.array([v.value for v in values])
    error = np.array([v.standard_error or 0.0 for v in values])
    seen = np.isfinite(value) & (value > error)
    axis.errorbar(k[seen], value[seen], error[seen], color=colour, ls=style, marker="o", ms=3.5, lw=1.4, label=label)


def _masses(axis, found: Audit) -> None:
    """Bars of P(hard) and of expected false negatives a draw."""
    names = [row.name for row in found.proposals]
    place, k = np.arange(len(names)), found.proposals[0].num_negatives[-1]
    axis.barh(place + 0.2, [r.hard_probability.value for r in found.proposals], 0.38, color="#0072B2", label="P(hard)")
    if found.proposals[0].false_negatives is not None:
        false = [-math.expm1(-r.false_negatives.value) for r in found.proposals]
        axis.barh(place - 0.2, false, 0.38, color="#D55E00", label="P(a false negative), Poisson")
    axis.set(yticks=place, yticklabels=names, xlim=(0, 1), xlabel=f"probability among k = {k} draws")
    axis.invert_yaxis()
    axis.set_title("What the draws hold", loc="left", fontsize=10)
    axis.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)


def _words(axis, found: Audit) -> None:
    """The verdicts, wrapped."""
    axis.axis("off")
    axis.set_title("Verdicts", loc="left", fontsize=10)
    text = "\n\n".join(f"{row.name}: {row.verdict}." for row in found.proposals)
    text += f"\n\nBest: {found.recommendation}."
    size = 8.5 if len(text) < 900 else 7
    axis.text(0, 0.98, text, va="top", fontsize=size, wrap=True, transform=axis.transAxes)
