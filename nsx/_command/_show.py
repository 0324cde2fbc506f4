"""An audit for eyes: the table of the terminal and the one-page figure. Needs the `audit` extra."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from rich import box
from rich.table import Table
from rich.text import Text

from nsx.audit import GradientError, Measured, ProposalAudit, Report

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#000000")
NO_MARK = {"Software": None}
TITLE = {"loc": "left", "fontsize": 10, "weight": "bold"}
AS_DRAWN = "--"  # line styles
WITH_LOG_Q = "-"
LINE = 0.062  # height of a line of the verdicts, of the panel's
GAP = 1.5  # lines taken by a name and the space above it
LARGEST = 9.0  # points of the verdicts' font
FEWEST_COLUMNS = 62  # characters of a line of the verdicts in that font
MOST_COLUMNS = 100  # and in the smallest
TITLE_COLUMNS = 132  # characters of a line of the title


def criterion(report: Report, side: GradientError) -> tuple[Measured, ...]:
    """What verdicts go by, one number per k."""
    return side.drift if report.criterion == "drift" else side.bias


def vanished(report: Report) -> bool:
    """Whether the full gradient is 0, so that nothing is relative to it."""
    return not math.isfinite(report.proposals[0].plain.bias[-1].value)


def verdicts(report: Report) -> list[tuple[str, str, str]]:
    """Name, words and colour of each verdict and of the best; one of all where the gradient is 0."""
    if vanished(report):
        return [("all", report.recommendation, "k")]
    rows = [(row.name, row.verdict, colour) for row, colour in _coloured(report)]
    return [*rows, ("best", report.recommendation, "k")]


def tables(report: Report) -> tuple[Table, Table]:
    """The laws and what they do to the gradient, a row per proposal; k is the largest number of negatives."""
    k = report.proposals[0].k[-1]
    about = f"{report.num_pairs} pairs, temperature {report.temperature:g}, k = {k}"
    exact = report.proposals[0].entropy.standard_error is None
    brackets = "brackets: standard error of the last digit"
    law = _table(
        "proposal", "entropy, nats", "effective", "P(hard)", "k for 95 %", "false among k",
        title=f"Laws: {about}", caption="exact" if exact else brackets,
    )  # fmt: skip
    gradient = _table(
        "proposal", report.criterion, "with log q", "cosine*", "SNR*", "error*", "MiB",
        title=f"Gradients: {about}",
        caption=f"judged by {report.criterion}; * with log q; {brackets}; < below its own error",
    )  # fmt: skip
    for row in report.proposals:
        law.add_row(Text(row.name), *_law_cells(row))
        gradient.add_row(Text(row.name), *_gradient_cells(report, row))
    return law, gradient


def _table(*columns: str, title: str, caption: str) -> Table:
    """A table whose first column is names and whose others are numbers."""
    table = Table(*columns, title=title, caption=caption, box=box.SIMPLE)
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _law_cells(row: ProposalAudit) -> list[str]:
    needed = "none" if math.isinf(row.negatives_needed) else f"{row.negatives_needed:,.0f}"
    false = "no labels" if row.false_negatives is None else short(row.false_negatives)
    return [short(row.entropy), short(row.effective_negatives), short(row.hard_probability), needed, false]


def _gradient_cells(report: Report, row: ProposalAudit) -> list[str]:
    plain = criterion(report, row.plain)
    corrected = criterion(report, row.corrected)
    others = (row.corrected.cosine, row.corrected.signal_to_noise, row.corrected.error)
    return [short(values[-1]) for values in (plain, corrected, *others)] + [f"{row.memory / 2**20:.3g}"]


def short(found: Measured) -> str:
    """0.0213(5) for 0.0213 with a standard error of 0.0005; < 0.003 for what is not told from 0."""
    value = found.value
    error = found.standard_error
    if math.isnan(value):
        return "none"
    if error is None or not math.isfinite(value):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    if not math.isfinite(error) or error == 0:
        return f"{value:.3g}"
    if abs(value) < error:
        return f"< {error:.1g}"
    places = max(0, min(-math.floor(math.log10(error)), 4))
    digits = round(error * 10**places)
    return f"{value:,.{places}f}({digits})" if digits else f"{value:.{places}f}"


def figure(report: Report, path: Path) -> None:
    """One page: bias and signal-to-noise against k, what the draws hold, and the verdicts in words."""
    page, axes = plt.subplots(2, 2, figsize=(10, 7.8), layout="constrained")
    _criterion_panel(axes[0, 0], report)
    _signal_panel(axes[0, 1], report)
    _masses_panel(axes[1, 0], report)
    _words_panel(axes[1, 1], report)
    for axis in (axes[0, 0], axes[0, 1], axes[1, 0]):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="0.92", lw=0.6)
        axis.set_axisbelow(True)
    about = f"temperature {report.temperature:g}; {report.about}"
    if not report.about.startswith(f"{report.num_pairs:,} pair"):
        about = f"{report.num_pairs:,} looked at of {about}"
    lines = ["What the sampler does to the gradient", *textwrap.wrap(about, TITLE_COLUMNS)]
    page.suptitle("\n".join(_shown(line) for line in lines), fontsize=10, x=0.01, ha="left")
    page.savefig(path, dpi=150, metadata=NO_MARK if path.suffix == ".png" else None)
    plt.close(page)


def _coloured(report: Report) -> list[tuple[ProposalAudit, str]]:
    """Each proposal with its colour."""
    return [(row, COLOURS[place % len(COLOURS)]) for place, row in enumerate(report.proposals)]


def _criterion_panel(axis: Axes, report: Report) -> None:
    """Drift or bias against k, as drawn and with log q."""
    drift = report.criterion == "drift"
    axis.set_title("Drift: bias over an anchor's positives" if drift else "Bias of the expected gradient", **TITLE)
    sides = [(criterion(report, row.plain), criterion(report, row.corrected)) for row in report.proposals]
    if not _curves(axis, report, sides):
        return
    axis.set_ylabel(f"{report.criterion} / length of the gradient")
    axis.plot([], [], color="0.3", ls=AS_DRAWN, label="as drawn")
    axis.plot([], [], color="0.3", ls=WITH_LOG_Q, label="with log q")
    axis.plot([], [], color="0.3", ls="", marker="v", mfc="white", label="below its error")
    axis.legend(fontsize=8, frameon=False, loc="lower left")


def _signal_panel(axis: Axes, report: Report) -> None:
    """Signal to noise against k, as drawn and with log q."""
    axis.set_title("Signal to noise: above 1 the direction shows", **TITLE)
    sides = [(row.plain.signal_to_noise, row.corrected.signal_to_noise) for row in report.proposals]
    if not _curves(axis, report, sides):
        return
    axis.set(ylabel="signal to noise of one gradient")
    axis.axhline(1, color="k", lw=0.8, ls=":")


def _curves(axis: Axes, report: Report, sides: Sequence[tuple[Sequence[Measured], Sequence[Measured]]]) -> bool:
    """Each proposal as drawn and with log q against k; False, and said so, where no number is above 0."""
    if vanished(report):
        _nothing(axis, "the full gradient is 0")
        return False
    for (row, colour), (plain, corrected) in zip(_coloured(report), sides, strict=True):
        _curve(axis, row.k, plain, colour, AS_DRAWN)
        _curve(axis, row.k, corrected, colour, WITH_LOG_Q)
    if not any(np.any(line.get_ydata() > 0) for line in axis.lines):
        _nothing(axis, "nothing is told from 0")
        return False
    k = report.proposals[0].k
    axis.set(xscale="log", yscale="log", xlabel="negatives k")
    axis.set_xticks(k, [str(number) for number in k])
    axis.minorticks_off()
    return True


def _nothing(axis: Axes, why: str) -> None:
    """A panel with nothing to show, and why."""
    axis.set(xticks=[], yticks=[])
    axis.text(0.5, 0.5, why, ha="center", va="center", transform=axis.transAxes)


def _curve(axis: Axes, numbers: Sequence[int], values: Sequence[Measured], colour: str, style: str) -> None:
    """A curve with bars of one standard error; what is not told from 0 shows as its error, an open triangle."""
    k = np.array(numbers)
    value = np.array([v.value for v in values])
    error = np.nan_to_num(np.array([v.standard_error or 0.0 for v in values]))  # unknown of a single anchor
    seen = np.isfinite(value) & (value > error)
    axis.errorbar(k[seen], value[seen], error[seen], color=colour, ls=style, marker="o", ms=3.5, lw=1.4)
    lost = np.isfinite(value) & ~seen & (error > 0)
    axis.plot(k[lost], error[lost], color=colour, ls="", marker="v", ms=5, mfc="white")


def _masses_panel(axis: Axes, report: Report) -> None:
    """Bars of P(hard) and of a false negative among k, in the colour of each proposal."""
    rows = report.proposals
    colours = [colour for _, colour in _coloured(report)]
    labelled = rows[0].false_negatives is not None
    place = np.arange(len(rows))
    k = rows[0].k[-1]
    width = 0.36 if labelled else 0.6
    axis.barh(place - width / 2 * labelled, [row.hard_probability.value for row in rows], width, color=colours)
    if labelled:
        false = [-math.expm1(-row.false_negatives.value) for row in rows]
        axis.barh(place + width / 2, false, width, color="white", edgecolor=colours, hatch="////")
    names = [f"{_shown(row.name)}\n{row.effective_negatives.value:,.0f} effective" for row in rows]
    axis.set_yticks(place, names, fontsize=8.5)
    axis.set(xlim=(0, 1), xlabel=f"probability among k = {k} draws")
    axis.invert_yaxis()
    axis.set_title("A hard negative" + (", and (hatched) a false one" if labelled else " among the draws"), **TITLE)


def _words_panel(axis: Axes, report: Report) -> None:
    """The verdicts, each under its name in its colour, wrapped to the panel."""
    axis.axis("off")
    axis.set_title("Verdicts", **TITLE)
    blocks = verdicts(report)
    columns = max(range(FEWEST_COLUMNS, MOST_COLUMNS), key=lambda count: _font_size(blocks, count))
    size = _font_size(blocks, columns)
    step = min(LINE, 1 / _lines(blocks, columns))
    top = 0.99
    for name, text, colour in blocks:
        axis.text(0, top, _shown(name), va="top", fontsize=size, weight="bold", color=colour, transform=axis.transAxes)
        wrapped = textwrap.wrap(text, columns)
        for i, line in enumerate(wrapped, 1):
            axis.text(0, top - i * step, _shown(line), va="top", fontsize=size, transform=axis.transAxes)
        top -= (len(wrapped) + GAP) * step


def _font_size(blocks: Sequence[tuple[str, str, str]], columns: int) -> float:
    """The largest, in points, at which lines of so many characters fit into the width and the height of the panel."""
    return min(LARGEST, LARGEST * FEWEST_COLUMNS / columns, LARGEST / LINE / _lines(blocks, columns))


def _lines(blocks: Sequence[tuple[str, str, str]], columns: int) -> float:
    """How many lines the verdicts take at a width."""
    return sum(len(textwrap.wrap(text, columns)) + GAP for _, text, _ in blocks)


def _shown(text: str) -> str:
    """Text as it is: a dollar sign is no formula."""
    return text.replace("$", r"\$")
