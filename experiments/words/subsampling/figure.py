"""The panels of `subsampling`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from experiments._runner.drawing import absent, measured_points, reference_line, theory_line, theory_points
from experiments.words.subsampling import theory

if TYPE_CHECKING:
    from experiments.words.subsampling import Data


def what_a_word_keeps(ax: Axes, data: Data) -> None:
    """Mass that each word of the planted text keeps (mean of the replicates, 95 % bars smaller than the markers) on the
    formula (dashed). Dropping begins at 2.618 t, where the curve leaves the diagonal; far above, mass grows as the
    square root of frequency.
    """
    from experiments.words.subsampling import THRESHOLD, VOCABULARY

    frequency = theory.zipf(VOCABULARY)
    ax.set(xscale="log", yscale="log")
    theory_line(ax, lambda f: theory.mass(f, THRESHOLD), frequency[-1] / 2, 0.4, log=True, name=r"$\sqrt{tf} + t$")
    ax.plot([frequency[-1] / 2, 0.1], [frequency[-1] / 2, 0.1], color="0.6", linewidth=0.8, zorder=1)
    ax.axvline(theory.GOLDEN_SQUARE * THRESHOLD, color="0.6", linewidth=0.9, zorder=1)
    ax.annotate("2.618 t", (theory.GOLDEN_SQUARE * THRESHOLD, frequency[-1] / 2), (3, 2), textcoords="offset points")
    measured_points(ax, frequency, data.planted.kept / data.tokens, name="planted words")
    ax.set(title="What a word keeps", xlabel="frequency $f$ (share of tokens)", ylabel="mass kept, $f\\,p$")


def pairs_between_bins(ax: Axes, data: Data) -> None:
    """Pairs of the planted text after thinning, between bins of frequent, middling and rare words, over what there were
    before: counted (95 % bars) and the product of the new frequencies (black). Rare words gain pairs, as windows close
    over the gaps.
    """
    from experiments.words.subsampling import blocks_before, expected_blocks

    names = "fmr"
    rows, columns = np.triu_indices(len(names))
    x = np.arange(len(rows))
    before = blocks_before(data)[rows, columns]
    theory_points(ax, x, expected_blocks(data)[rows, columns] / before)
    measured_points(ax, x, data.planted.blocks[:, rows, columns] / before, name="planted words", label=False)
    reference_line(ax, 1.0)
    ax.set_xticks(x, [f"{names[i]} {names[j]}" for i, j in zip(rows, columns, strict=True)])
    ax.set(xlabel="frequent, middling, rare words", ylabel="pairs after / before")
    ax.set(title="Pairs that are left")


def norms_of_a_text(ax: Axes, data: Data) -> None:
    """Mean norm of the vectors of a real text by frequency, trained with and without subsampling (5 seeds, 95 % bars
    smaller than the markers). Frequent words lose most, and stay longer than rare ones.
    """
    if not data.real.tokens_left.size:
        absent(ax)
        return
    ax.set(xscale="log", yscale="log")
    measured_points(ax, data.real.frequency, np.exp(data.real.norm_without), name="all tokens", join=True)
    measured_points(ax, data.real.frequency, np.exp(data.real.norm_with), name="subsampled", join=True)
    ax.set(title="Norms on real text", xlabel="frequency (share of tokens)", ylabel="norm of word vectors")
