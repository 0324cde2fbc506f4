"""Checks: a prediction, a measurement, a margin with its reason, and what the check can resolve.

A claim's `CHECKS` are functions of its data that end in one of the constructors below. The function's name becomes the
check's name and its docstring the sentence that is checked.

- *Theory* (the default): the precise prediction, which must hold.
- *Chapter* (`sentence=i`): tests the i-th sentence of the claim as its author would defend it.
- *Beyond* (`beyond=True`): what nsx found and no chapter said; it must come out as stated and colours no verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

FALSE_ALARM = 1e-6  # two-sided, of a statistical check as a whole
FEWEST_REPLICATES = 32  # below, Student's quantile at this false alarm is too wide to resolve anything
WEAK = 0.2  # a check that cannot tell the prediction from one 20 % off supports nothing
IDENTITY = 1e-9  # margins under this share of the scale are rounding: such checks are counted, not listed

Relation = Literal["equal", "at most", "at least"]
Role = Literal["theory", "chapter", "beyond"]


class Check(NamedTuple):
    """One comparison, at the entry that comes nearest to failing.

    Attributes:
        predicted: the prediction, or the bound.
        measured: what came out.
        margin: how far the two may be apart.
        relation: of measured to predicted.
        because: the reason of the margin.
        resolution: of an equality: the largest margin over its scale. Of a bound 0, or infinite where the interval of
            what is measured holds the bound.
        slack: |error| over margin of every entry, flattened; over 1 fails.
        role: whose the check is.
        sentence: index of the claim's sentence that a chapter check tests, or None.
        name: from the function's name.
        says: from its docstring.
    """

    predicted: float
    measured: float
    margin: float
    relation: Relation
    because: str
    resolution: float
    slack: np.ndarray
    role: Role = "theory"
    sentence: int | None = None
    name: str = ""
    says: str = ""

    @property
    def passed(self) -> bool:
        """True where every entry is within its margin; NaN never passes."""
        return bool(np.all(self.slack <= 1))

    @property
    def weak(self) -> bool:
        """True where an equality cannot tell the prediction from one 20 % off, or an interval holds its bound."""
        return not self.resolution <= WEAK

    @property
    def identity(self) -> bool:
        """True where the margin is rounding alone."""
        return self.relation == "equal" and self.resolution < IDENTITY


def equal(
    predicted: Any,
    measured: Any,
    margin: Any,
    *,
    because: str,
    scale: Any = None,
    sentence: int | None = None,
    beyond: bool = False,
) -> Check:
    """Every entry of `measured` is within its margin of `predicted`.

    `scale` is what the margin is compared to when the check's resolution is stated: the size of the effect whose
    absence would have to be noticed. By default it is |predicted|, entry by entry; say another where that is 0.
    """
    scale = np.abs(predicted) if scale is None else scale
    predicted, measured, margin, scale = _entries(predicted, measured, margin, scale)
    slack = _over(np.abs(measured - predicted), margin)
    resolution = float(np.max(_over(margin, scale), initial=0))
    return _nearest(predicted, measured, margin, "equal", because, resolution, slack, sentence, beyond)


def at_most(
    bound: Any, measured: Any, margin: Any = 0.0, *, because: str, sentence: int | None = None, beyond: bool = False
) -> Check:
    """Every entry of `measured` is at most its bound, but for the margin."""
    bound, measured, margin = _entries(bound, measured, margin)
    slack = _one_sided(measured - bound, margin, bound)
    return _nearest(bound, measured, margin, "at most", because, 0.0, slack, sentence, beyond)


def at_least(
    bound: Any, measured: Any, margin: Any = 0.0, *, because: str, sentence: int | None = None, beyond: bool = False
) -> Check:
    """Every entry of `measured` is at least its bound, but for the margin."""
    bound, measured, margin = _entries(bound, measured, margin)
    slack = _one_sided(bound - measured, margin, bound)
    return _nearest(bound, measured, margin, "at least", because, 0.0, slack, sentence, beyond)


# --- Statistics


def student_margin(replicates: Any, *, alarm: float = FALSE_ALARM) -> np.ndarray:
    """Student's quantile times the standard error over axis 0.

    The mean of independent normal replicates is farther from the true one with probability `alarm`.
    """
    from scipy.special import stdtrit

    rows = np.asarray(replicates, float)
    if len(rows) < 5:
        raise ValueError(f"a Student margin needs at least 5 replicates on axis 0, got {len(rows)}.")
    return stdtrit(len(rows) - 1, 1 - alarm / 2) * rows.std(axis=0, ddof=1) / np.sqrt(len(rows))


def mean_equal(predicted: Any, replicates: Any, *, scale: Any = None, **role: Any) -> Check:
    """The mean over axis 0 equals the prediction, within Student's margin, in every column."""
    mean, margin, because = _mean(replicates)
    return equal(predicted, mean, margin, because=because, scale=scale, **role)


def mean_at_most(bound: Any, replicates: Any, **role: Any) -> Check:
    """The mean over axis 0 is below the bound by more than chance, in every column."""
    mean, margin, because = _mean(replicates)
    return interval_at_most(bound, mean, mean - margin, mean + margin, because=because, **role)


def mean_at_least(bound: Any, replicates: Any, **role: Any) -> Check:
    """The mean over axis 0 is above the bound by more than chance, in every column."""
    mean, margin, because = _mean(replicates)
    return interval_at_least(bound, mean, mean - margin, mean + margin, because=because, **role)


def interval_at_most(bound: Any, estimate: Any, low: Any, high: Any, *, because: str, **role: Any) -> Check:
    """The upper end of an interval is at most the bound; a check whose interval holds the bound is weak."""
    bound, estimate, low, high = _entries(bound, estimate, low, high)
    check = at_most(bound, estimate, estimate - high, because=because, **role)
    return _resolved(check, (low <= bound) & (bound <= high))


def interval_at_least(bound: Any, estimate: Any, low: Any, high: Any, *, because: str, **role: Any) -> Check:
    """The lower end of an interval is at least the bound; a check whose interval holds the bound is weak."""
    bound, estimate, low, high = _entries(bound, estimate, low, high)
    check = at_least(bound, estimate, low - estimate, because=because, **role)
    return _resolved(check, (low <= bound) & (bound <= high))


def paired_interval(differences: Any, *, confidence: float = 0.99) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, low and high of differences between trainings that share their seeds (axis 0), by Student's t."""
    rows = np.asarray(differences, float)
    mean = rows.mean(axis=0)
    margin = student_margin(rows, alarm=1 - confidence)
    return mean, mean - margin, mean + margin


def _resolved(check: Check, straddles: np.ndarray) -> Check:
    """Where some interval holds its bound neither side of it is shown: the check is weak, and does not pass."""
    if not np.any(straddles):
        return check
    return check._replace(resolution=float(np.inf), slack=np.where(straddles, np.inf, check.slack))


def _mean(replicates: Any) -> tuple[np.ndarray, np.ndarray, str]:
    """Mean, Student's margin at the false alarm of the whole check, and the reason in words."""
    rows = np.asarray(replicates, float)
    if len(rows) < FEWEST_REPLICATES:
        raise ValueError(f"a mean is judged over at least {FEWEST_REPLICATES} replicates, got {len(rows)}.")
    margin = student_margin(rows, alarm=FALSE_ALARM / max(rows[0].size, 1))
    return rows.mean(axis=0), margin, f"Student's t over {len(rows)} replicates, one false alarm in a million"


# --- Parts


def _entries(*values: Any) -> tuple[np.ndarray, ...]:
    """All at the shape of the largest, flattened."""
    return tuple(np.ravel(x) for x in np.broadcast_arrays(*(np.asarray(value, float) for value in values)))


def _over(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole; 0 of nothing is 0, something of nothing is infinite, NaN is infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(whole == 0, np.where(part == 0, 0, np.inf), part / whole)
    return np.where(np.isnan(share), np.inf, share)


def _one_sided(excess: np.ndarray, margin: np.ndarray, bound: np.ndarray) -> np.ndarray:
    """1 at the bound with its margin, over 1 beyond it, less inside: the distance in units of the larger of the two."""
    size = np.maximum(np.maximum(np.abs(bound), np.abs(bound + excess)), np.abs(margin))
    with np.errstate(divide="ignore", invalid="ignore"):
        slack = 1 + np.where(size == 0, 0, (excess - margin) / size)
    return np.where(np.isnan(excess) | np.isnan(margin), np.inf, np.where(excess == -np.inf, 0, slack))


def _nearest(
    predicted: np.ndarray,
    measured: np.ndarray,
    margin: np.ndarray,
    relation: Relation,
    because: str,
    resolution: float,
    slack: np.ndarray,
    sentence: int | None,
    beyond: bool,
) -> Check:
    """The check, shown at the entry that comes nearest to failing."""
    if not because:
        raise ValueError("a check says why its margin is what it is: because=...")
    if beyond and sentence is not None:
        raise ValueError("a check that goes beyond the chapter tests no sentence of it.")
    if not slack.size:
        raise ValueError("a check of no entries cannot fail; judge the data that are there, or leave the check out.")
    worst = int(np.argmax(slack))
    return Check(
        predicted=float(predicted[worst]),
        measured=float(measured[worst]),
        margin=float(margin[worst]),
        relation=relation,
        because=because,
        resolution=resolution,
        slack=slack,
        role="beyond" if beyond else "theory" if sentence is None else "chapter",
        sentence=sentence,
    )


def judged(checks: tuple[Callable[[Any], Check | None], ...], data: Any) -> tuple[Check, ...]:
    """The checks of a claim on its data, with names and sentences from the functions.

    A function returns None where its data are not there (a corpus that was not fetched): its check is left out.
    """
    found = []
    for function in checks:
        check = function(data)
        if check is not None:
            name = function.__name__.replace("_", " ")
            says = " ".join((function.__doc__ or "").split())
            found.append(check._replace(name=name, says=says))
    return tuple(found)
