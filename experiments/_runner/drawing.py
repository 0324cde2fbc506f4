"""Ways to draw that every figure shares, so that a reader learns them once.

- Theory is a black dashed line, sampled finely, under everything measured.
- What is measured has a colour and a marker that belong to its name: the same in every panel of a figure.
- Bands and bars are 95 % everywhere.
- Names stand beside their lines, on a spot where nothing else is drawn.
- Nothing is dropped: on a logarithmic axis what cannot be told from 0 is an open triangle at its upper limit.
"""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

INTERVAL = 0.95  # of every band and bar
FINE = 400  # points of a theory line
# Okabe and Ito's colours in an order in which neighbours stay apart also under deuteranopia, each with its marker.
STYLES = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#56B4E9", "^"),
    ("#E69F00", "D"),
    ("#009E73", "v"),
    ("#CC79A7", "P"),
    ("#000000", "X"),
)
GREY = "#8A8A8A"


class Style(NamedTuple):
    """Colour and marker of one name."""

    colour: str
    marker: str


_meanings: dict[str, Style] = {}


@contextlib.contextmanager
def one_meaning_per_colour() -> Iterator[None]:
    """Within one figure, a name keeps the colour and marker that it got first."""
    _meanings.clear()
    yield
    _meanings.clear()


def style_of(name: str) -> Style:
    """The colour and marker of a name in this figure."""
    if name not in _meanings:
        if len(_meanings) == len(STYLES):
            raise ValueError(f"{name} would be the eighth name in one figure; draw fewer, or name a family once.")
        _meanings[name] = Style(*STYLES[len(_meanings)])
    return _meanings[name]


# --- Theory


def theory_line(
    ax: Axes,
    function: Callable[[np.ndarray], np.ndarray],
    low: float,
    high: float,
    *,
    name: str = "",
    log: bool = False,
) -> None:
    """A predicted curve between two abscissae, sampled finely; `log` spaces the samples for a logarithmic axis."""
    x = np.geomspace(low, high, FINE) if log else np.linspace(low, high, FINE)
    (line,) = ax.plot(x, function(x), color="black", linestyle=(0, (4, 2)), linewidth=1.0, zorder=2)
    _remember(ax, line, name)


def theory_points(ax: Axes, x: Any, y: Any, *, name: str = "") -> None:
    """Predictions where x has no between: short black bars, wider than any marker."""
    line = ax.plot(x, y, color="black", linestyle="", marker="_", markersize=13, markeredgewidth=1.4, zorder=2)[0]
    _remember(ax, line, name)


def reference_line(ax: Axes, height: float, *, name: str = "") -> None:
    """A level that the eye compares with, such as chance or 0: grey, and no prediction."""
    line = ax.axhline(height, color=GREY, linewidth=0.9, zorder=1)
    _remember(ax, line, name, GREY)


# --- Measurement


def measured_curve(
    ax: Axes, x: Any, y: Any, *, name: str, every: int = 1, band: Any = None, label: bool = True
) -> None:
    """A curve known at many abscissae: a thin line in its colour with hollow markers at every n-th point.

    `band` is a pair (low, high) of 95 % limits.
    """
    style = style_of(name)
    (line,) = ax.plot(x, y, color=style.colour, linewidth=1.3, alpha=0.55, zorder=3)
    ax.plot(x, y, linestyle="", markevery=every, zorder=4, **_hollow(style))
    if band is not None:
        ax.fill_between(x, *band, color=style.colour, alpha=0.18, linewidth=0, zorder=1)
    _remember(ax, line, name if label else "", style.colour)


def measured_points(ax: Axes, x: Any, replicates: Any, *, name: str, join: bool = False, label: bool = True) -> None:
    """The mean of replicates (axis 0) at each abscissa, with its 95 % interval by Student's t; one row has no bar.

    On a logarithmic axis a point whose interval reaches 0 is an open triangle at its upper limit.
    """
    from experiments._runner.checks import student_margin

    style = style_of(name)
    x = np.asarray(x, float)
    rows = np.atleast_2d(np.asarray(replicates, float))
    mean = rows.mean(axis=0)
    half = student_margin(rows, alarm=1 - INTERVAL) if len(rows) >= 5 else np.zeros_like(mean)
    seen = np.ones(mean.shape, bool) if ax.get_yscale() != "log" else mean - half > 0
    bars = ax.errorbar(
        x[seen],
        mean[seen],
        half[seen] if len(rows) >= 5 else None,
        linestyle="-" if join else "",
        linewidth=1.0,
        elinewidth=1.0,
        zorder=4,
        **_hollow(style),
    )
    if not np.all(seen):
        ax.plot(x[~seen], (mean + half)[~seen], linestyle="", zorder=4, **_hollow(Style(style.colour, "v")))
    _remember(ax, bars.lines[0], name if label else "", style.colour)


def _hollow(style: Style) -> dict[str, Any]:
    return {
        "color": style.colour,
        "marker": style.marker,
        "markerfacecolor": "white",
        "markeredgecolor": style.colour,
        "markeredgewidth": 1.1,
    }


# --- Titles that fit their panels


def fit_titles(page: Figure) -> None:
    """Break each title into as many lines as its panel's width asks for; the layout then makes room for them."""
    page.draw_without_rendering()
    renderer = page.canvas.get_renderer()
    for ax in page.axes:
        title = ax.get_title(loc="left")
        room = ax.get_window_extent(renderer).width
        for characters in range(len(title), 9, -1):
            text = ax.set_title("\n".join(textwrap.wrap(title, characters)), loc="left")
            if text.get_window_extent(renderer).width <= room:
                break
    page.draw_without_rendering()


# --- Names beside their lines


def _remember(ax: Axes, line: Any, name: str, colour: str = "black") -> None:
    if name:
        names = ax.__dict__.setdefault("nsx_names", [])
        if not any(known == name for _, known, _ in names):
            names.append((line, name, colour))


def place_names(page: Figure) -> None:
    """Write each name beside its line, where it covers neither data nor other text; at the panel's top otherwise."""
    for ax in page.axes:
        taken: list[Bbox] = []
        for line, name, colour in ax.__dict__.get("nsx_names", []):
            spot = _free_spot(page, ax, line, name, taken)
            text = ax.text(*spot.place, name, color=colour, fontsize=8, ha=spot.ha, va=spot.va, zorder=6)
            taken.append(text.get_window_extent(page.canvas.get_renderer()))


class _Spot(NamedTuple):
    place: tuple[float, float]
    ha: str
    va: str


def _free_spot(page: Figure, ax: Axes, line: Any, name: str, taken: list[Bbox]) -> _Spot:
    """The place nearest to the line at which the name covers the fewest drawn points, other lines' most of all."""
    renderer = page.canvas.get_renderer()
    frame = ax.get_window_extent(renderer)
    obstacles = _drawn_points(ax)
    own = _pixels(ax, line)
    inside = own[(own[:, 0] >= frame.x0) & (own[:, 0] <= frame.x1) & (own[:, 1] >= frame.y0) & (own[:, 1] <= frame.y1)]
    anchors = (
        inside[np.linspace(0, len(inside) - 1, 41).astype(int)] if len(inside) else np.array([[frame.x0, frame.y1]])
    )
    probe = ax.text(0, 0, name, fontsize=8)
    size = probe.get_window_extent(renderer)
    probe.remove()
    best = None
    for x, y in anchors:
        for ha, va, dx, dy in _SIDES:
            left = x + dx - {"left": 0, "center": size.width / 2, "right": size.width}[ha]
            low = y + dy - {"bottom": 0, "center": size.height / 2, "top": size.height}[va]
            box = Bbox.from_bounds(left - 2, low - 1, size.width + 4, size.height + 2)
            outside = max(0, frame.x0 - box.x0, box.x1 - frame.x1) + max(0, frame.y0 - box.y0, box.y1 - frame.y1)
            covered = int(np.sum(_within(box, obstacles)))
            overlaps = sum(box.overlaps(other) for other in taken)
            cost = (outside > 0) * 1e4 + overlaps * 1e4 + covered * 10 - 0.002 * (x - frame.x0)
            if best is None or cost < best[0]:
                best = (cost, (x + dx, y + dy), ha, va)
    _, pixel, ha, va = best
    place = ax.transData.inverted().transform(pixel)
    return _Spot((float(place[0]), float(place[1])), ha, va)


# where a name may stand, as seen from a point of its line, in pixels
_SIDES = (
    ("left", "center", 7, 0),
    ("right", "center", -7, 0),
    ("center", "bottom", 0, 6),
    ("center", "top", 0, -6),
    ("left", "bottom", 5, 5),
    ("left", "top", 5, -5),
    ("right", "bottom", -5, 5),
    ("right", "top", -5, -5),
    ("center", "bottom", 0, 16),
    ("center", "top", 0, -16),
)


def _pixels(ax: Axes, line: Any) -> np.ndarray:
    """Points of a line, and finely between them, in pixels; those that an axis cannot show are left out."""
    with np.errstate(divide="ignore", invalid="ignore"):
        points = ax.transData.transform(np.column_stack([np.asarray(line.get_xdata(), float), line.get_ydata()]))
    points = points[np.all(np.isfinite(points), axis=1)]
    if len(points) < 2 or line.get_linestyle() in ("None", "", " "):
        return points
    steps = np.linspace(0, 1, 12, endpoint=False)[:, None, None]
    between = points[:-1] + steps * (points[1:] - points[:-1])
    return np.concatenate([between.reshape(-1, 2), points[-1:]])


def _drawn_points(ax: Axes) -> np.ndarray:
    """Everything drawn by lines and markers in a panel, as points in pixels."""
    lines = [_pixels(ax, line) for line in ax.get_lines() if len(line.get_xdata())]
    return np.concatenate(lines) if lines else np.zeros((0, 2))


def _within(box: Bbox, points: np.ndarray) -> np.ndarray:
    x, y = points.T if len(points) else (np.zeros(0), np.zeros(0))
    return (x >= box.x0) & (x <= box.x1) & (y >= box.y0) & (y <= box.y1)


def absent(ax: Axes) -> None:
    """Say in a panel that its data were not fetched, and how to get them."""
    ax.set_axis_off()
    text = "data not fetched;\nrun  python -m experiments fetch"
    ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes, color=GREY)
