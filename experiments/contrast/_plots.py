"""One way to draw replicates."""

import numpy as np
from matplotlib.axes import Axes

from experiments._claim import student_margin
from experiments._style import measured


def dots(ax: Axes, x: np.ndarray, replicates: np.ndarray, label: str | None = None) -> None:
    """Means over the replicates (axis 0) with Student's margin, where the mean is larger than it."""
    mean, margin = replicates.mean(axis=0), student_margin(replicates)
    seen = np.abs(mean) > margin
    measured(ax, x[seen], mean[seen], band=margin[seen], label=label, linestyle="none")
