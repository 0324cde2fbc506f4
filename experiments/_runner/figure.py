"""A claim's figure: the statement on top, lettered panels, the verdict and the sentence that breaks below.

The look is in `nsx.mplstyle`, the ways to draw in `drawing.py`. A figure is 7 inches wide, so that it is read as it is
printed: type is 8 points or more, and there are at most four panels, the first of which is the claim itself.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Page

from experiments._runner import drawing
from experiments._runner.declarations import Verdict

STYLE = Path(__file__).with_name("nsx.mplstyle")
WIDTH = 7.0  # inches, a page's text
ROW = 2.1  # inches of one row of the mosaic
HEAD = 0.75  # inches for the statement and the verdict
MOST_PANELS = 4
STATEMENT = 84  # characters a line at 9.5 points
FOOTER = 112  # characters a line at 8 points
SEAL = {"supported": "#1B5E20", "conditional": "#8A4B00", "refuted": "#8E1414", "undecided": "#444444"}

Panel = Callable[[Axes, Any], None]


class Figure:
    """A mosaic and a function for each of its panels; the function's docstring is the panel's caption.

    `Figure("AAB/AAC", A=first, B=second, C=third)`: rows are divided by a slash, as in matplotlib's `subplot_mosaic`.
    """

    def __init__(self, mosaic: str, **panels: Panel) -> None:
        self.mosaic = mosaic
        self.panels = panels
        places = [place for row in mosaic.split("/") for place in row]
        if set(places) != set(panels):
            raise ValueError(f"the mosaic {mosaic!r} and the panels {sorted(panels)} do not name the same places.")
        if len(panels) > MOST_PANELS:
            raise ValueError(f"a figure has at most {MOST_PANELS} panels, got {len(panels)}; draw what the claim says.")
        areas = {place: places.count(place) for place in panels}
        if max(areas.values()) != areas[next(iter(panels))]:
            raise ValueError("the first panel is the claim itself, and no other is larger.")

    @property
    def captions(self) -> dict[str, str]:
        """The caption of each panel by its letter, a, b, ..."""
        texts = [" ".join((panel.__doc__ or "").split()) for panel in self.panels.values()]
        return dict(zip("abcd", texts, strict=False))

    def draw(self, data: Any, *, statement: str, verdict: Verdict, broken: Mapping[str, str] = {}) -> Page:
        """The figure of some data; `broken` holds the sentences that do not hold and by how much."""
        with plt.style.context(STYLE), drawing.one_meaning_per_colour():
            rows = self.mosaic.split("/")
            page = plt.figure(figsize=(WIDTH, HEAD + ROW * len(rows)), layout="constrained")
            axes = page.subplot_mosaic([list(row) for row in rows])
            for letter, (place, panel) in zip("abcd", self.panels.items(), strict=False):
                panel(axes[place], data)
                title = axes[place].get_title(loc="left") or axes[place].get_title()
                axes[place].set_title("")
                axes[place].set_title(f"({letter})  {title}", loc="left")
            page.suptitle(textwrap.fill(statement, STATEMENT), x=0.01, ha="left", fontsize=9.5, fontweight="bold")
            text = [f"{verdict}", *(f"{sentence}: {how}" for sentence, how in broken.items())]
            footer = "\n".join(textwrap.fill(line, FOOTER) for line in text)
            page.supxlabel(footer, x=0.01, ha="left", fontsize=8, color=SEAL[verdict])
            drawing.fit_titles(page)
            drawing.place_names(page)
        return page


def render(page: Page, *, stamp: str, svg: bool = False) -> dict[str, bytes]:
    """PNG bytes (and SVG's) that carry the digest of their data and depend on nothing but the figure."""
    images = {}
    with plt.style.context(STYLE):
        for kind in ("png", "svg") if svg else ("png",):
            metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": "nsx"}
            buffer = io.BytesIO()
            page.savefig(buffer, format=kind, metadata=metadata | {"Description": stamp})
            images[kind] = buffer.getvalue()
    plt.close(page)
    return images
