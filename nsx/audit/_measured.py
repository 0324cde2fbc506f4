"""Numbers with their standard errors, from columns that hold one entry per anchor; and what these errors resolve."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Z = 1.959964  # the normal law is within it with probability 95 %


class Measured(NamedTuple):
    """A `value` and how it is known: its `standard_error` over anchors and draws, or None where it is exact."""

    value: float
    standard_error: float | None

    def text(self, digits: int = 3) -> str:
        """The number as a reader wants it, with +- its standard error or the word exact."""
        tail = " exact" if self.standard_error is None else f"±{self.standard_error:.1g}"
        return f"{self.value:.{digits}g}{tail}"

    @property
    def known(self) -> bool:
        """Whether there is a finite number, and a finite error where it is not exact."""
        return math.isfinite(self.value) and (self.standard_error is None or math.isfinite(self.standard_error))


UNKNOWN = Measured(math.nan, math.nan)


class Comparison(NamedTuple):
    """Whether one number is told from another.

    Attributes:
        difference: the first less the second, with the standard error of the difference itself: what both share
            (anchors, the full gradient) cancels.
        resolved: whether 0 is outside its interval of 95 % (Student's, over anchors).
        pairs_needed: roughly how many pairs like these would resolve it; inf where the difference is 0.
    """

    difference: Measured
    resolved: bool
    pairs_needed: float


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's law, by its expansion in 1 / freedom: within 3 % from 2 degrees on."""
    if freedom < 1:
        return math.nan
    terms = (
        Z,
        (Z**3 + Z) / 4,
        (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96,
        (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384,
    )
    return sum(term / freedom**power for power, term in enumerate(terms))


def compare(difference: Measured, *, num_anchors: int, num_pairs: int) -> Comparison:
    """What is told from 0, and how many pairs would tell what is not: an error falls by the root of their number."""
    error = difference.standard_error
    if error is None or not difference.known:
        return Comparison(difference, error is None and difference.value != 0, math.nan)
    reach = student(num_anchors - 1) * error
    size = abs(difference.value)
    needed = num_pairs * (reach / size) ** 2 if size > 0 else math.inf
    return Comparison(difference, size > reach, needed)


def by_anchor(column: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Sums over the pairs of each anchor, float64; `group` names the anchor of each pair, 0 to the number less one."""
    return np.bincount(group, np.asarray(column, np.float64))


def jackknife(statistic: Callable[..., float], *columns: np.ndarray) -> Measured:
    """A function of means over anchors, with the standard error of leaving one anchor out at a time."""
    size = len(columns[0])
    totals = [np.sum(column, dtype=np.float64) for column in columns]
    value = float(statistic(*(total / size for total in totals)))
    if size < 2:
        return Measured(value, math.nan)
    left = [
        (total - np.asarray(column, np.float64)) / (size - 1) for total, column in zip(totals, columns, strict=True)
    ]
    found = np.array([statistic(*row) for row in zip(*left, strict=True)])
    return Measured(value, float(np.sqrt((size - 1) * np.mean((found - found.mean()) ** 2))))


def mean(column: np.ndarray, group: np.ndarray, *, whole: bool) -> Measured:
    """Mean over pairs: exact where they are all there are."""
    if whole:
        return Measured(float(np.mean(column, dtype=np.float64)), None)
    return jackknife(ratio, by_anchor(column, group), by_anchor(np.ones(len(column)), group))


def ratio(top: float, bottom: float) -> float:
    """The ratio, NaN over nothing."""
    return top / bottom if bottom > 0 else math.nan


def root_of_ratio(top: np.ndarray, bottom: np.ndarray) -> Measured:
    """Root of a ratio estimated without bias, which may fall below 0 by chance: then 0, with the error it hides."""
    square = jackknife(ratio, top, bottom)
    if math.isnan(square.value):
        return UNKNOWN
    value = math.sqrt(max(square.value, 0.0))
    error = square.standard_error
    return Measured(value, error / (2 * value) if value**2 > error else math.sqrt(error))


def cosine(along: float, length: float, square: float) -> float:
    """Cosine from unbiased means; NaN where the mean gradient is lost in noise."""
    return min(1.0, along / math.sqrt(length * square)) if length > 0 and square > 0 else math.nan
