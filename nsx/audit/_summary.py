"""From numbers of each anchor to an audit: pooled ratios with jackknife standard errors, and a verdict in words."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

FOUND = 0.95  # the probability of a hard negative that "the k needed" means


class Measured(NamedTuple):
    """A `value` and how it is known: its `standard_error` over anchors and draws, or None where it is exact."""

    value: float
    standard_error: float | None

    def text(self, digits: int = 3) -> str:
        """The number as a reader wants it, with +- its standard error or the word exact."""
        tail = " exact" if self.standard_error is None else f"±{self.standard_error:.1g}"
        return f"{self.value:.{digits}g}{tail}"


class ProposalAudit(NamedTuple):
    """One proposal.

    Attributes:
        name: as given.
        entropy: of the proposal in nats, mean over anchors.
        effective_negatives: exp of it.
        false_negatives: expected number among k draws, or None without labels.
        hard_probability: that k draws hold a hard negative, mean over anchors.
        negatives_needed: the least k at which that reaches 0.95; inf where some anchors have no hard negative to find.
        num_negatives: the numbers of negatives k that the next entries run over.
        bias, corrected_bias: |E g_k - g| / |g|, the bias of the expected gradient relative to the full one, without and
            with the log-q correction.
        drift, corrected_drift: the same with the gradient averaged over the positives of one anchor, which is what
            moves the optimum; None unless two anchors have two pairs each.
        cosine, corrected_cosine: between E g_k and g.
        signal_to_noise, corrected_signal_to_noise: |E g_k| over the root of the total variance of g_k.
        error, corrected_error: root of the mean square of g_k - g, relative to |g|: bias and noise together.
        memory: bytes of the negatives' vectors for a batch: k for every anchor, or one batch shared by all.
        verdict: what to do about it, and why.
    """

    name: str
    entropy: Measured
    effective_negatives: Measured
    false_negatives: Measured | None
    hard_probability: Measured
    negatives_needed: float
    num_negatives: tuple[int, ...]
    bias: tuple[Measured, ...]
    corrected_bias: tuple[Measured, ...]
    drift: tuple[Measured, ...] | None
    corrected_drift: tuple[Measured, ...] | None
    cosine: tuple[Measured, ...]
    corrected_cosine: tuple[Measured, ...]
    signal_to_noise: tuple[Measured, ...]
    corrected_signal_to_noise: tuple[Measured, ...]
    error: tuple[Measured, ...]
    corrected_error: tuple[Measured, ...]
    memory: int
    verdict: str


class Audit(NamedTuple):
    """All proposals, and what is common to them.

    Attributes:
        proposals: in the order given.
        temperature: of the loss.
        temperature_for_entropy: the temperature at which the model's own softmax over the candidates has the asked
            entropy, median over anchors, or None.
        num_anchors: anchors that were used.
        recommendation: which proposal has the smallest error, and whether to correct it.
    """

    proposals: tuple[ProposalAudit, ...]
    temperature: float
    temperature_for_entropy: float | None
    num_anchors: int
    recommendation: str


def jackknife(statistic: Callable[..., float], *columns: np.ndarray) -> Measured:
    """A function of means over anchors, with the standard error of leaving one anchor out at a time."""
    size = len(columns[0])
    totals = [np.sum(c, dtype=np.float64) for c in columns]
    value = float(statistic(*(t / size for t in totals)))
    if size < 2:
        return Measured(value, math.nan)
    left = [(t - np.asarray(c, np.float64)) / (size - 1) for t, c in zip(totals, columns, strict=True)]
    found = np.array([statistic(*row) for row in zip(*left, strict=True)])
    return Measured(value, float(np.sqrt((size - 1) * np.mean((found - found.mean()) ** 2))))


def mean(column: np.ndarray, whole: bool) -> Measured:
    """Mean over anchors: exact where they are all there are."""
    return Measured(float(np.mean(column)), None) if whole else jackknife(lambda m: m, column)


def ratio(top: float, bottom: float) -> float:
    """The ratio, nan over nothing."""
    return top / bottom if bottom > 0 else math.nan


def root(statistic: Callable[..., float], *columns: np.ndarray) -> Measured:
    """Root of a statistic estimated without bias, which may fall below 0 by chance: then 0, with the error it hides."""
    square = jackknife(statistic, *columns)
    if math.isnan(square.value):
        return square
    value, error = math.sqrt(max(square.value, 0.0)), square.standard_error
    return Measured(value, error / (2 * value) if value**2 > error else math.sqrt(error))


def pooled(gap: np.ndarray, size: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each anchor with several pairs, the squared mean of their gaps, and of their gradients' lengths.

    The square is the mean product of two different pairs, whose draws are independent: unbiased, also over positives.
    `gap` is `(pairs, d)`, `size` and `group` `(pairs,)`.
    """
    count = np.bincount(group)
    total = np.zeros((len(count), gap.shape[1]))
    np.add.at(total, group, gap)
    own = np.bincount(group, np.sum(np.square(gap, dtype=np.float64), axis=1))
    several = count > 1
    pairs = (count * (count - 1))[several]
    square = (np.sum(total**2, axis=1) - own)[several] / pairs
    return square, (np.bincount(group, size) / np.maximum(count, 1))[several]


def cosine(along: float, length: float, whole: float) -> float:
    """Cosine from unbiased means; nan where the mean gradient is lost in noise."""
    return min(1.0, along / math.sqrt(length * whole)) if length > 0 and whole > 0 else math.nan


def negatives_needed(hard: np.ndarray) -> float:
    """Least k with mean over anchors of 1 - (1 - mass)^k at least 0.95; inf where no k does."""
    found = lambda k: np.mean(-np.expm1(k * np.log1p(-np.minimum(hard, 1 - 1e-12))))
    if np.mean(hard > 0) < FOUND or found(2.0**62) < FOUND:
        return math.inf
    low, high = 0, 1
    while found(high) < FOUND:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if found(middle) < FOUND else (low, middle)
    return float(high)


def verdict(row: ProposalAudit, hard_share: float) -> str:
    """What to do about a proposal, in words, each with its number."""
    k, words = row.num_negatives[-1], []
    if row.false_negatives is not None and row.false_negatives.value >= 0.5:
        words.append(f"draws {row.false_negatives.value:.2g} false negatives an anchor: exclude or debias them")
    if row.effective_negatives.value < k:
        words.append(f"its {k} draws come from about {row.effective_negatives.value:.2g} candidates: fewer would do")
    word, plain, fixed = judged(row)
    if plain.value > 0.1 and fixed.value < plain.value / 2:
        words.append(f"correct by log q: {word} {plain.value:.2g} falls {_to(fixed)}")
    elif word == "drift" and fixed.value > max(0.05, 2 * plain.value):
        words.append(f"leave log q out: drift {plain.value:.2g} would rise to {fixed.value:.2g}")
    elif plain.value > 0.1 and fixed.value > 0.1:
        words.append(f"{word} {fixed.value:.2g} stays with log q: more negatives, or nearer to the softmax")
    if row.hard_probability.value < 0.5:
        needed = "no number" if math.isinf(row.negatives_needed) else f"k = {row.negatives_needed:,.0f}"
        words.append(f"seldom meets the hardest {100 * hard_share:.3g} %: {needed} finds one in 95 % of anchors")
    if max(row.signal_to_noise[-1].value, row.corrected_signal_to_noise[-1].value) < 1:
        words.append(f"noise outweighs the signal at k = {k}")
    return "; ".join(words) or f"sound at k = {k}: {word} {min(plain.value, fixed.value):.2g}"


def judged(row: ProposalAudit) -> tuple[str, Measured, Measured]:
    """What a verdict goes by at the largest k, without and with log q: drift where it is known, else bias."""
    if row.drift is None or row.corrected_drift is None:
        return "bias", row.bias[-1], row.corrected_bias[-1]
    return "drift", row.drift[-1], row.corrected_drift[-1]


def _to(found: Measured) -> str:
    """Where a bias falls to; below its standard error it is not told from 0."""
    if found.standard_error is not None and found.value < found.standard_error:
        return f"below {found.standard_error:.1g}"
    return f"to {found.value:.2g}"


def recommendation(rows: tuple[ProposalAudit, ...]) -> str:
    """The proposal whose gradient is nearest to the full one, and with which correction."""
    choices = [(e[-1].value, r, tail) for r in rows for e, tail in ((r.error, ""), (r.corrected_error, " with log q"))]
    choices = [c for c in choices if not math.isnan(c[0])]
    if not choices:
        return "no proposal could be judged: the full gradient is 0"
    error, row, tail = min(choices, key=lambda c: c[0])
    text = (
        f"{row.name}{tail} at k = {row.num_negatives[-1]}: its gradient is within {error:.2g} of the full one's length"
    )
    if row.false_negatives is not None and row.false_negatives.value >= 0.5:
        text += f", but {row.false_negatives.value:.2g} of its draws are false negatives"
    return text
