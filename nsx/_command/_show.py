"""An audit for eyes: the table of the terminal and the one-page figure. Needs the `audit` extra."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from rich import box
from rich.table import Table

from nsx.audit import Audit, Measured
from nsx.audit._summary import judged

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#000000")
NO_MARK = {"Software": None}
TITLE = {"loc": "left", "fontsize": 10, "weight": "bold"}


def tables(found: Audit) -> tuple[Table, Table]:
    """The laws and what they do to the gradient, a row a proposal; k is the largest number of negatives."""
    k, rows = found.proposals[0].num_negatives[-1], found.proposals
    about = f"{found.num_anchors} anchors, temperature {found.temperature:g}, k = {k}"
    exact = rows[0].entropy.standard_error is None
    brackets = "brackets: standard error of the last digit"
    law = Table(
        "proposal", "entropy, nats", "effective", "P(hard)", "k for 95 %", "false among k",
        title=f"Laws: {about}", caption="exact" if exact else brackets,
    )  # fmt: skip
    gradient = Table(
        "proposal", "bias" if rows[0].drift is None else "drift", "with log q", "cosine*", "SNR*", "error*", "MiB",
        title=f"Gradients: {about}", caption=f"* with log q; {brackets}; < below its own error",
    )  # fmt: skip
    for table in (law, gradient):
        table.box, table.columns[0].no_wrap = box.SIMPLE, True
        for column in table.columns[1:]:
            column.justify = "right"
    for row in rows:
        false = "no labels" if row.false_negatives is None else short(row.false_negatives)
        needed = "none" if math.isinf(row.negatives_needed) else f"{row.negatives_needed:,.0f}"
        first = (row.entropy, row.effective_negatives, row.hard_probability)
        law.add_row(row.name, *(short(m) for m in first), needed, false)
        ends = (row.corrected_cosine, row.corrected_signal_to_noise, row.corrected_error)
        cells = [short(m) for m in (*judged(row)[1:], *(m[-1] for m in ends))]
        gradient.add_row(row.name, *cells, f"{row.memory / 2**20:.3g}")
    return law, gradient


def short(found: Measured) -> str:
    """0.0213(5) for 0.0213 with a standard error of 0.0005; < 0.003 for what is not told from 0."""
    value, error = found
    if error is None or not math.isfinite(value):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    if not math.isfinite(error) or error == 0:
        return f"{value:.3g}"
    if abs(value) < error:
        return f"< {error:.1g}"
    places = max(0, min(-math.floor(math.log10(error)), 4))
    digits = round(error * 10**places)
    return f"{value:,.{places}f}({digits})" if digits else f"{value:.{places}f}"


def figure(found: Audit, path: Path) -> None:
    """One page: bias and signal-to-noise against k, what the draws hold, and the verdicts in words."""
    rows = found.proposals
    page, axes = plt.subplots(2, 2, figsize=(10, 7.8), layout="constrained")
    (bias, signal), (draws, words) = axes
    drift = rows[0].drift is not None
    for row, colour in zip(rows, COLOURS * len(rows), strict=False):
        k = np.array(row.num_negatives)
        sides = (row.drift, row.corrected_drift) if drift else (row.bias, row.corrected_bias)
        for side, style in zip(sides, ("--", "-"), strict=True):
            _curve(bias, k, side, colour, style)
        for side, style in ((row.signal_to_noise, "--"), (row.corrected_signal_to_noise, "-")):
            _curve(signal, k, side, colour, style)
    for axis in (bias, signal):
        axis.set(xscale="log", yscale="log", xlabel="negatives k")
        axis.set_xticks(rows[0].num_negatives, [str(k) for k in rows[0].num_negatives])
        axis.minorticks_off()
    bias.set_ylabel("drift / length of the gradient" if drift else "bias / length of the gradient")
    bias.set_title("Drift: bias over an anchor's positives" if drift else "Bias of the expected gradient", **TITLE)
    for style, label in (("--", "as drawn"), ("-", "with log q")):
        bias.plot([], [], color="0.3", ls=style, label=label)
    bias.plot([], [], color="0.3", ls="", marker="v", mfc="white", label="below its error")
    bias.legend(fontsize=8, frameon=False, loc="lower left")
    signal.set(ylabel="signal to noise of one gradient")
    signal.axhline(1, color="k", lw=0.8, ls=":")
    signal.set_title("Signal to noise: above 1 the direction shows", **TITLE)
    _masses(draws, found)
    _words(words, found)
    for axis in (bias, signal, draws):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="0.92", lw=0.6)
        axis.set_axisbelow(True)
    page.suptitle(
        f"What the sampler does to the gradient: {found.num_anchors} anchors, temperature {found.temperature:g}",
        fontsize=12, x=0.01, ha="left",
    )  # fmt: skip
    page.savefig(path, dpi=150, metadata=NO_MARK if path.suffix == ".png" else None)
    plt.close(page)


def _curve(axis, k: np.ndarray, values: tuple[Measured, ...], colour: str, style: str) -> None:
    """A curve with bars of one standard error; what is not told from 0 shows as its error, an open triangle."""
    value = np.array([v.value for v in values])
    error = np.array([v.standard_error or 0.0 for v in values])
    seen = np.isfinite(value) & (value > error)
    axis.errorbar(k[seen], value[seen], error[seen], color=colour, ls=style, marker="o", ms=3.5, lw=1.4)
    lost = np.isfinite(value) & ~seen & (error > 0)
    axis.plot(k[lost], error[lost], color=colour, ls="", marker="v", ms=5, mfc="white")


def _masses(axis, found: Audit) -> None:
    """Bars of P(hard) and of a false negative among k, in the colour of each proposal."""
    rows, colours = found.proposals, [COLOURS[i % len(COLOURS)] for i in range(len(found.proposals))]
    labelled = rows[0].false_negatives is not None
    place, k, width = np.arange(len(rows)), rows[0].num_negatives[-1], 0.36 if labelled else 0.6
    axis.barh(place - width / 2 * labelled, [r.hard_probability.value for r in rows], width, color=colours)
    if labelled:
        false = [-math.expm1(-r.false_negatives.value) for r in rows]
        axis.barh(place + width / 2, false, width, color="white", edgecolor=colours, hatch="////")
    names = [f"{r.name}\n{r.effective_negatives.value:,.0f} effective" for r in rows]
    axis.set_yticks(place, names, fontsize=8.5)
    axis.set(xlim=(0, 1), xlabel=f"probability among k = {k} draws")
    axis.invert_yaxis()
    axis.set_title("A hard negative" + (", and (hatched) a false one" if labelled else " among the draws"), **TITLE)


def _words(axis, found: Audit) -> None:
    """The verdicts, each under its name in its colour, wrapped to the panel."""
    axis.axis("off")
    axis.set_title("Verdicts", **TITLE)
    blocks = [(r.name, r.verdict, COLOURS[i % len(COLOURS)]) for i, r in enumerate(found.proposals)]
    blocks.append(("best", found.recommendation, "k"))
    wrapped = [(name, textwrap.wrap(text, 62), colour) for name, text, colour in blocks]
    lines = sum(len(text) + 1.5 for _, text, _ in wrapped)
    step, top = min(0.062, 1 / lines), 0.99
    for name, text, colour in wrapped:
        size = min(9.0, 150 * step)
        axis.text(0, top, name, va="top", fontsize=size, weight="bold", color=colour, transform=axis.transAxes)
        for i, line in enumerate(text, 1):
            axis.text(0, top - i * step, line, va="top", fontsize=size, transform=axis.transAxes)
        top -= (len(text) + 1.5) * step
