"""How figures look: theory black and dashed, measurement in colour with its band, the verdict in the footer."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments._claim import Check, Claim

STYLE = Path(__file__).with_name("nsx.mplstyle")
SEAL = {"supported": "#2E7D32", "conditional": "#B26A00", "refuted": "#B71C1C"}


def panels(columns: int, rows: int = 1, *, width: float = 3.5, height: float = 2.9, **kwargs: Any) -> tuple:
    """A figure of rows x columns panels, each `width` x `height` inches, and its axes (squeezed)."""
    plt.style.use(STYLE)
    return plt.subplots(rows, columns, figsize=(width * columns, height * rows), **kwargs)


def theory(ax: Axes, x: Any, y: Any, *, label: str | None = None, **kwargs: Any) -> None:
    """A predicted curve: black, dashed, above the measurement."""
    ax.plot(x, y, **{"color": "black", "linestyle": "--", "linewidth": 1.1, "zorder": 5, "label": label} | kwargs)


def measured(ax: Axes, x: Any, y: Any, *, band: Any = None, label: str | None = None, **kwargs: Any) -> None:
    """Measured points or a curve in colour; `band` is a half-width, or a (low, high) pair."""
    (line,) = ax.plot(x, y, **{"marker": "o", "linestyle": "-", "label": label} | kwargs)
    if band is not None:
        low, high = band if isinstance(band, tuple) else (np.asarray(y) - band, np.asarray(y) + band)
        ax.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)


def absent(ax: Axes, source: str) -> None:
    """Say in a panel that its real data were not there, and how to get them."""
    ax.set_axis_off()
    text = f"data not fetched:\nrun  python -m experiments fetch {source}"
    ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes, color="#777777")


def finish(fig: Figure, slug: str, claim: Claim, verdict: str, checks: Sequence[Check]) -> None:
    """Write the verdict under the figure, so that a picture cannot be quoted without it."""
    passed = sum(c.passed for c in checks)
    text = f"{slug}: {verdict} ({passed} of {len(checks)} checks hold)   source: {claim.source}"
    fig.supxlabel(text, fontsize=7.5, color=SEAL.get(verdict, "black"), x=0.01, ha="left")


def render(fig: Figure, *, stamp: str) -> dict[str, bytes]:
    """PNG and SVG bytes that carry the digest of their data and depend on nothing but the figure."""
    png, svg = io.BytesIO(), io.BytesIO()
    with plt.style.context(STYLE):
        fig.savefig(png, format="png", metadata={"Software": None, "Description": stamp})
        fig.savefig(svg, format="svg", metadata={"Date": None, "Creator": "nsx", "Description": stamp})
    plt.close(fig)
    return {"png": png.getvalue(), "svg": svg.getvalue()}


def legends(*axes: Axes, **options: Any) -> None:
    """A small legend in each panel."""
    for ax in axes:
        ax.legend(fontsize=7, **options)
