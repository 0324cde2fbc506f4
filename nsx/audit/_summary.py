"""What an audit says: the numbers of each proposal by name, from those of each pair."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from nsx.audit._measured import (
    UNKNOWN,
    Comparison,
    Measured,
    by_anchor,
    compare,
    cosine,
    jackknife,
    mean,
    ratio,
    root_of_ratio,
)
from nsx.audit._statistics import Moments, Options, Statistics

FOUND = 0.95  # the probability of a hard negative that "the k needed" means


class GradientError(NamedTuple):
    """What the gradient of k draws has wrong, as drawn or with log q; each a tuple with one entry per k.

    Attributes:
        bias: |E g_k - g| / |g|, of the expected gradient of single pairs relative to the full one.
        drift: the same with the gradient averaged over the positives of one anchor, which is what moves the optimum;
            None unless two anchors have two pairs each.
        cosine: between E g_k and g.
        signal_to_noise: |E g_k| over the root of the total variance of g_k.
        error: root of the mean square of g_k - g, relative to |g|: bias and noise together.
    """

    bias: tuple[Measured, ...]
    drift: tuple[Measured, ...] | None
    cosine: tuple[Measured, ...]
    signal_to_noise: tuple[Measured, ...]
    error: tuple[Measured, ...]


class ProposalAudit(NamedTuple):
    """One proposal.

    Attributes:
        name: as given.
        assumes: what was taken for granted in making it, or "".
        entropy: of the proposal in nats, mean over pairs.
        effective_negatives: exp of it.
        false_negatives: expected number among k draws, or None without labels.
        hard_probability: that k draws hold a hard negative, mean over pairs.
        negatives_needed: the least k at which that reaches 0.95; inf where some anchors have no hard negative to find.
        k: the numbers of negatives that the next entries run over; the masses above and the verdict speak of the last.
        plain: errors of the gradient as drawn.
        corrected: errors with log q: each negative's score less log(k q).
        log_q: what log q changes at the last k: the square of drift (bias where there is no drift) as drawn, less
            that with log q; positive where log q helps.
        memory: bytes of the negatives' vectors for a batch: k per anchor, or one batch shared by all.
        verdict: what to do about it, and why.
    """

    name: str
    assumes: str
    entropy: Measured
    effective_negatives: Measured
    false_negatives: Measured | None
    hard_probability: Measured
    negatives_needed: float
    k: tuple[int, ...]
    plain: GradientError
    corrected: GradientError
    log_q: Comparison
    memory: int
    verdict: str


class Report(NamedTuple):
    """All proposals, and what is common to them.

    Attributes:
        about: what was looked at, in words.
        proposals: in the order given.
        criterion: what verdicts and the recommendation go by: "drift" where it is known, else "bias".
        temperature: of the loss.
        temperature_for_entropy: the temperature at which the model's own softmax over the candidates has the asked
            entropy, median over pairs that can have it, or None.
        num_pairs: pairs that were looked at.
        num_anchors: different anchors among them.
        recommendation: which proposal has the least of the criterion, with log q or without, and what is not told
            from it.
    """

    about: str
    proposals: tuple[ProposalAudit, ...]
    criterion: str
    temperature: float
    temperature_for_entropy: float | None
    num_pairs: int
    num_anchors: int
    recommendation: str


class Common(NamedTuple):
    """What all proposals are seen against.

    `group` the anchor of each pair `(m,)`; `criterion` "drift" or "bias"; `whole` whether no pair was left out,
    `labelled` whether there are labels; `vanished` why the full gradient is 0, or "".
    """

    options: Options
    group: np.ndarray
    criterion: str
    whole: bool
    labelled: bool
    vanished: str

    @property
    def num_pairs(self) -> int:
        """Pairs looked at."""
        return len(self.group)

    @property
    def num_anchors(self) -> int:
        """Different anchors among them."""
        return int(self.group.max()) + 1


class Standing(NamedTuple):
    """A proposal on one side, as it is compared with others at the last k.

    `value` of the criterion; its square is the mean of `top` over that of `bottom`, one entry per anchor.
    """

    name: str
    with_log_q: bool
    value: Measured
    top: np.ndarray
    bottom: np.ndarray

    @property
    def square(self) -> float:
        """The criterion's square, which chance may take below 0."""
        return float(np.mean(self.top) / np.mean(self.bottom))

    @property
    def text(self) -> str:
        """Its name, and whether log q is used."""
        return f"{self.name} with log q" if self.with_log_q else f"{self.name} as drawn"


class MassSummary(NamedTuple):
    """The entries of ProposalAudit that are sums over its law."""

    entropy: Measured
    effective_negatives: Measured
    false_negatives: Measured | None
    hard_probability: Measured
    negatives_needed: float


class Evidence(NamedTuple):
    """All that a verdict on one proposal may go by; the standings are those of the last k."""

    name: str
    assumes: str
    masses: MassSummary
    plain: GradientError
    corrected: GradientError
    log_q: Comparison
    standings: tuple[Standing, Standing]


def evidence_of(name: str, assumes: str, found: Statistics, common: Common) -> Evidence:
    """The numbers of one proposal, pooled over pairs."""
    plain = standing(name, found.plain, found, common, with_log_q=False)
    corrected = standing(name, found.corrected, found, common, with_log_q=True)
    return Evidence(
        name=name,
        assumes=assumes,
        masses=summarise_masses(found, common),
        plain=gradient_error(found.plain, found, common),
        corrected=gradient_error(found.corrected, found, common),
        log_q=excess(plain, corrected, common.num_pairs),
        standings=(plain, corrected),
    )


def summarise_masses(found: Statistics, common: Common) -> MassSummary:
    """Means over pairs of what is exact for each."""
    k = common.options.k[-1]
    entropy = mean(found.masses.entropy, common.group, whole=common.whole)
    effective = math.exp(entropy.value)
    error = None if entropy.standard_error is None else effective * entropy.standard_error
    mass = np.minimum(found.masses.hard.astype(np.float64), 1 - 1e-12)
    meets_hard = -np.expm1(k * np.log1p(-mass))
    false = mean(k * found.masses.false, common.group, whole=common.whole)
    return MassSummary(
        entropy=entropy,
        effective_negatives=Measured(effective, error),
        false_negatives=false if common.labelled else None,
        hard_probability=mean(meets_hard, common.group, whole=common.whole),
        negatives_needed=negatives_needed(mass),
    )


def gradient_error(moments: Moments, found: Statistics, common: Common) -> GradientError:
    """Pooled over pairs, one entry per k; all unknown where the full gradient is 0."""
    num_k = len(common.options.k)
    has_drift = common.criterion == "drift"
    if common.vanished:
        unknown = (UNKNOWN,) * num_k
        return GradientError(unknown, unknown if has_drift else None, unknown, unknown, unknown)

    def of_anchors(column: np.ndarray) -> list[np.ndarray]:
        """Sums over the pairs of each anchor, one array per k."""
        return [by_anchor(column[:, j], common.group) for j in range(num_k)]

    square = of_anchors(found.square)
    bias = of_anchors(moments.bias)
    length = of_anchors(moments.length)
    along = of_anchors(moments.along)
    variance = of_anchors(moments.variance)
    drift = [pooled(moments.gap[:, j], found.square[:, j], common.group) for j in range(num_k)] if has_drift else None
    return GradientError(
        bias=tuple(root_of_ratio(b, s) for b, s in zip(bias, square, strict=True)),
        drift=None if drift is None else tuple(root_of_ratio(*part) for part in drift),
        cosine=tuple(jackknife(cosine, *columns) for columns in zip(along, length, square, strict=True)),
        signal_to_noise=tuple(root_of_ratio(m, v) for m, v in zip(length, variance, strict=True)),
        error=tuple(root_of_ratio(b + v, s) for b, v, s in zip(bias, variance, square, strict=True)),
    )


def standing(name: str, moments: Moments, found: Statistics, common: Common, *, with_log_q: bool) -> Standing:
    """One side of a proposal, by the criterion, at the last k."""
    square = found.square[:, -1]
    if common.criterion == "drift":
        top, bottom = pooled(moments.gap[:, -1], square, common.group)
    else:
        top = by_anchor(moments.bias[:, -1], common.group)
        bottom = by_anchor(square, common.group)
    value = UNKNOWN if common.vanished else root_of_ratio(top, bottom)
    return Standing(name, with_log_q, value, top, bottom)


def excess(first: Standing, second: Standing, num_pairs: int) -> Comparison:
    """The square of the first's criterion less that of the second's, with the error of their difference by anchors.

    No square is below 0, so one that chance took there counts as 0: else its luck would pass for a merit.
    """
    if not (first.value.known and second.value.known):
        return Comparison(UNKNOWN, False, math.nan)
    error = jackknife(ratio, first.top - second.top, first.bottom).standard_error
    difference = Measured(max(first.square, 0.0) - max(second.square, 0.0), error)
    return compare(difference, num_anchors=len(first.top), num_pairs=num_pairs)


def pooled(gap: np.ndarray, square: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each anchor with several pairs, the squared mean of their gaps, and of their gradients' lengths.

    The square is the mean product of two different pairs, whose draws are independent: unbiased, also over positives.
    `gap` is `(pairs, d)`, `square` and `group` `(pairs,)`.
    """
    count = np.bincount(group)
    total = np.zeros((len(count), gap.shape[1]))
    np.add.at(total, group, gap)
    own = np.bincount(group, np.sum(np.square(gap, dtype=np.float64), axis=1))
    several = count > 1
    products = (count * (count - 1))[several]
    of_mean = (np.sum(total**2, axis=1) - own)[several] / products
    return of_mean, (by_anchor(square, group) / np.maximum(count, 1))[several]


def negatives_needed(hard: np.ndarray) -> float:
    """Least k with mean over pairs of 1 - (1 - mass)^k at least 0.95; inf where no k does."""

    def found(k: float) -> float:
        """Share of pairs that meet a hard negative among k."""
        return float(np.mean(-np.expm1(k * np.log1p(-np.minimum(hard, 1 - 1e-12)))))

    if np.mean(hard > 0) < FOUND or found(2.0**62) < FOUND:
        return math.inf
    high = 1
    while found(high) < FOUND:
        high *= 2
    low = high // 2  # too few, or 0
    while high - low > 1:
        middle = (low + high) // 2
        if found(middle) < FOUND:
            low = middle
        else:
            high = middle
    return float(high)
