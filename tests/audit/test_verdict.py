"""Words and their standard errors: what is not resolved is called so, one criterion, no contradiction, never NaN."""

import json
import math
import re

import jax
import numpy as np
import pytest

from nsx._command._files import to_json
from nsx.audit import Comparison, GradientError, Measured, audit, from_embeddings, named_proposal
from nsx.audit._measured import UNKNOWN, by_anchor, compare, cosine, jackknife, mean, ratio, root_of_ratio, student
from nsx.audit._statistics import Options
from nsx.audit._summary import Common, Evidence, MassSummary, Standing, excess, negatives_needed, pooled
from nsx.audit._verdict import recommendation, verdict
from tests.audit.shared import TAU

SURE = Measured(0.99, None)
ANCHORS = 30


def common(**changes):
    """Sixty pairs of thirty anchors."""
    settings = {
        "options": Options("info_nce", (64,), 8, 0.01),
        "group": np.arange(60) // 2,
        "criterion": "drift",
        "whole": True,
        "labelled": False,
        "vanished": "",
    }
    return Common(**(settings | changes))


def evidence(plain, corrected, *, difference=None, masses=None, name="mine", snr=5.0, assumes="", num_anchors=ANCHORS):
    """A proposal with these numbers at k = 64, and the difference of squares that they have unless told."""
    plain, corrected = Measured(*plain), Measured(*corrected)
    if difference is None:
        error = math.hypot(2 * plain.value * plain.standard_error, 2 * corrected.value * corrected.standard_error)
        difference = (plain.value**2 - corrected.value**2, error)
    usual = {
        "entropy": Measured(6.0, None),
        "effective_negatives": Measured(400.0, None),
        "false_negatives": None,
        "hard_probability": SURE,
        "negatives_needed": 30.0,
    }
    noise = (Measured(snr, 0.01),)
    sides = [
        GradientError(bias=(value,), drift=(value,), cosine=noise, signal_to_noise=noise, error=noise)
        for value in (plain, corrected)
    ]
    standings = tuple(
        Standing(name, with_log_q, value, np.full(num_anchors, value.value**2), np.ones(num_anchors))
        for with_log_q, value in ((False, plain), (True, corrected))
    )
    return Evidence(
        name=name,
        assumes=assumes,
        masses=MassSummary(**(usual | (masses or {}))),
        plain=sides[0],
        corrected=sides[1],
        log_q=compare(Measured(*difference), num_anchors=num_anchors, num_pairs=2 * num_anchors),
        standings=standings,
    )


VERDICTS = {
    "correct": (evidence((0.4, 0.01), (0.15, 0.01)), "correct by log q: drift 0.40±0.01 falls to 0.15±0.01"),
    "correct, below": (evidence((0.4, 0.01), (0.001, 0.01)), "correct by log q: drift 0.40±0.01 falls below 0.01"),
    "leave": (evidence((0.04, 0.01), (0.2, 0.01)), "leave log q out: drift 0.04±0.01 would rise to 0.20±0.01"),
    "not resolved": (  # the sentence of faults.md: "leave log q out: drift 0 would rise to .17" at 0 +- .167
        evidence((0.0, 0.167), (0.17, 0.1), difference=(-0.029, 0.03)),
        "with log q or without is not resolved: drift 0.2±0.1 or below 0.2; about 300 pairs would tell",
    ),
    "no small number would tell": (
        evidence((0.3, 0.2), (0.3, 0.2), difference=(-1e-5, 0.03)),
        "not resolved: drift 0.3±0.2 or 0.3±0.2; more than 10,000,000 pairs would tell",
    ),
    "stays": (evidence((0.6, 0.01), (0.3, 0.01)), "falls to 0.30±0.01; drift stays above 0.1: more negatives"),
    "little": (
        evidence((0.4, 0.01), (0.38, 0.01), difference=(0.0156, 1e-3)),
        "log q changes little: drift 0.38±0.01 for",
    ),
    "little, as far as one can tell": (
        evidence((0.4, 0.01), (0.39, 0.01), difference=(0.0079, 5e-3)),
        "log q changes little: drift 0.39±0.01 for",
    ),
    "nothing": (evidence((0.4, 0.01), (0.4, 0.01), difference=(0.0, 0.0)), "log q changes nothing: drift 0.40±0.01"),
    "sound": (
        evidence((0.04, 0.01), (0.02, 0.03)),
        "sound with log q or without: drift below 0.03 or 0.04±0.01",
    ),
    "false": (
        evidence((0.01, 0.01), (0.01, 0.01), masses={"false_negatives": Measured(2.0, 0.1)}),
        "draws 2.0±0.1 false negatives per anchor: exclude or debias them",
    ),
    "copies": (
        evidence((0.01, 0.01), (0.01, 0.01), masses={"effective_negatives": Measured(10.0, 1.0)}),
        "its 64 draws come from about 10 candidates: fewer would do",
    ),
    "seldom": (
        evidence((0.01, 0.01), (0.01, 0.01), masses={"hard_probability": Measured(0.2, 0.01)}),
        "seldom meets the hardest 1 %: k = 30 finds one in 95 % of anchors",
    ),
    "never": (
        evidence(
            (0.01, 0.01),
            (0.01, 0.01),
            masses={"hard_probability": Measured(0.2, 0.01), "negatives_needed": math.inf},
        ),
        "no number finds one in 95 % of anchors",
    ),
    "noisy": (evidence((0.01, 0.01), (0.01, 0.01), snr=0.5), "noise outweighs the signal at k = 64"),
    "assumed": (evidence((0.01, 0.01), (0.01, 0.01), assumes="all equal"), "; all equal"),
    "NaN": (evidence((math.nan, 0.1), (0.1, 0.1), difference=(0.1, 0.1)), "no verdict: the drift is no finite number"),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_verdicts(name):
    found, words = VERDICTS[name]
    assert words in verdict(found, common())


def test_a_chance_is_no_ground_for_a_verdict():
    """Numbers on the right side of a threshold within their errors are not spoken of."""
    unsure = {
        "effective_negatives": Measured(60.0, 10.0),
        "hard_probability": Measured(0.45, 0.1),
        "false_negatives": Measured(0.6, 0.3),
    }
    found = evidence((0.01, 0.01), (0.01, 0.01), masses=unsure)
    assert verdict(found, common()).startswith("sound")


def test_one_anchor_has_no_verdict():
    alone = common(group=np.zeros(3, int))
    found = evidence((0.4, math.nan), (0.1, math.nan), difference=(0.1, math.nan), num_anchors=1)
    assert "a single anchor has no standard error" in verdict(found, alone)
    assert "a single anchor has no standard error" in recommendation([found], alone)


def noisy_standing(rng, name, with_log_q, square, noise):
    """A side whose squares differ from anchor to anchor."""
    top = square + noise * rng.normal(size=ANCHORS)
    bottom = np.ones(ANCHORS)
    return Standing(name, with_log_q, root_of_ratio(top, bottom), top, bottom)


def test_the_best_has_the_least_of_the_criterion_and_names_what_is_not_told_from_it():
    rng = np.random.default_rng(0)
    found = []
    for name, squares in {"near": (0.04, 0.010), "level": (0.3, 0.011), "far": (0.5, 0.4)}.items():
        sides = tuple(noisy_standing(rng, name, i == 1, square, 0.002) for i, square in enumerate(squares))
        found.append(evidence((0.1, 0.1), (0.1, 0.1), name=name)._replace(standings=sides))
    text = recommendation(found, common())
    assert re.match(
        r"near with log q at k = 64: the least drift, 0.103±0.002; not resolved from it: level with log q", text
    )
    assert "far" not in text
    assert "near as drawn" not in text
    assert re.search(r"\(about [\d,]+ pairs would tell\)$", text)
    sure = found[1]._replace(standings=(found[1].standings[0], found[0].standings[1]._replace(name="level")))
    labelled = [
        one._replace(masses=one.masses._replace(false_negatives=Measured(3.0, 0.1))) for one in (found[0], sure)
    ]
    assert "but 3.0±0.1 of its draws are false negatives" in recommendation(labelled, common())


def test_a_square_below_zero_is_luck_and_no_merit():
    """Of two that are not told from 0, the best is the one known to be nearer to it; and the other is not resolved."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=ANCHORS)
    noise -= noise.mean()
    found = []
    for name, square, width in (("lucky", -0.01, 0.02), ("sure", 1e-6, 1e-4)):
        top = square + width * noise
        side = Standing(name, False, root_of_ratio(top, np.ones(ANCHORS)), top, np.ones(ANCHORS))
        worse = side._replace(with_log_q=True, value=Measured(0.9, 0.01), top=top + 0.81)
        found.append(evidence((0.1, 0.1), (0.1, 0.1), name=name)._replace(standings=(side, worse)))
    sides = [
        one.standings[0]._replace(value=Measured(0.0, width)) for one, width in zip(found, (0.1, 0.01), strict=True)
    ]
    found = [one._replace(standings=(side, one.standings[1])) for one, side in zip(found, sides, strict=True)]
    lucky, sure = sides
    assert jackknife(ratio, sure.top - lucky.top, lucky.bottom).value > 2.1 * 0.02 / math.sqrt(ANCHORS)
    assert not excess(sure, lucky, 60).resolved
    assert recommendation(found, common()).startswith(
        "sure as drawn at k = 64: the least drift, below 0.01; not resolved"
    )


def test_what_two_proposals_share_cancels_in_their_comparison():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=ANCHORS)
    bottom = np.ones(ANCHORS)
    first = Standing("a", False, Measured(0.5, 0.1), 0.3 + shared, bottom)
    second = Standing("b", False, Measured(0.5, 0.1), 0.2 + shared + 0.01 * rng.normal(size=ANCHORS), bottom)
    found = excess(first, second, 60)
    assert found.resolved
    assert abs(found.difference.value - 0.1) < 0.01
    assert not excess(first, second._replace(top=0.2 + rng.normal(size=ANCHORS)), 60).resolved


def test_pairs_that_would_tell_do():
    """With so many pairs the difference is resolved in about half of all samples: its expectation is at the limit."""
    rng = np.random.default_rng(0)
    found = compare(Measured(0.1, 0.1), num_anchors=1000, num_pairs=1000)
    assert not found.resolved
    assert found.pairs_needed == pytest.approx(1000 * 1.962**2, rel=1e-3)
    many = int(found.pairs_needed)
    samples = 0.1 + 0.1 * math.sqrt(1000) * rng.normal(size=(400, many))
    resolved = np.abs(samples.mean(axis=1)) > student(many - 1) * samples.std(axis=1, ddof=1) / math.sqrt(many)
    assert abs(resolved.mean() - 0.5) < 5 * 0.5 / 20


def test_student_quantiles():
    # 97.5 % of Student's law, from tables
    for freedom, value in {2: 4.3027, 3: 3.1824, 5: 2.5706, 10: 2.2281, 30: 2.0423, 1000: 1.9623}.items():
        assert student(freedom) == pytest.approx(value, rel=0.04 if freedom == 2 else 0.01)
    assert math.isnan(student(0))


def test_jackknife_and_roots():
    x = np.random.default_rng(0).normal(size=400)
    of_mean = jackknife(float, x)  # the jackknife of a mean is its standard error
    np.testing.assert_allclose(of_mean.standard_error, x.std(ddof=1) / 20, rtol=1e-6)
    below = root_of_ratio(-np.abs(x), np.ones(400))  # an unbiased square below 0
    assert below.value == 0.0
    assert below.standard_error > 0
    assert root_of_ratio(x, np.zeros(400)) is UNKNOWN
    assert math.isnan(jackknife(float, x[:1]).standard_error)
    assert math.isnan(cosine(1.0, -1.0, 1.0))
    group = np.array([0, 1, 1, 0, 2])
    np.testing.assert_array_equal(by_anchor(np.arange(5.0), group), [3, 3, 4])
    assert mean(np.arange(5.0), group, whole=True) == Measured(2.0, None)
    part = mean(np.arange(5.0), group, whole=False)
    assert part.value == 2.0
    left = [7 / 3, 7 / 3, 6 / 4]  # means of the pairs when one anchor is left out
    assert part.standard_error == pytest.approx(math.sqrt(2 * np.mean((left - np.mean(left)) ** 2)))
    assert math.isnan(ratio(1.0, 0.0))


def test_pooled_gaps_are_products_of_different_pairs():
    rng = np.random.default_rng(0)
    group = np.array([0, 1, 0, 2, 1, 0])
    gap = rng.normal(size=(6, 3))
    square = rng.uniform(size=6)
    top, bottom = pooled(gap, square, group)
    rows = [np.flatnonzero(group == g) for g in (0, 1)]  # anchor 2 has one pair
    wanted = [np.mean([gap[i] @ gap[j] for i in row for j in row if i != j]) for row in rows]
    np.testing.assert_allclose(top, wanted)
    np.testing.assert_allclose(bottom, [square[row].mean() for row in rows])


def test_negatives_needed():
    for rho in (0.3, 0.01, 1e-6):
        expected = math.ceil(math.log(0.05) / math.log1p(-rho))
        assert abs(negatives_needed(np.full(3, rho)) - expected) <= 1
    assert negatives_needed(np.array([0.0, 0.5])) == math.inf
    assert negatives_needed(np.ones(3)) == 1.0


# --- whole audits


def solved():
    return from_embeddings(np.eye(20), np.eye(20)), 0.01, "the pairs are solved"


def collapsed_positives():
    rng = np.random.default_rng(0)
    point = rng.normal(size=7)
    anchors = rng.normal(size=(20, 7))
    return from_embeddings(anchors, np.tile(point, (20, 1))), 0.7, "the vectors have collapsed"


@pytest.mark.slow
@pytest.mark.parametrize("make", [solved, collapsed_positives])
def test_a_gradient_of_zero_is_said(key, make):
    problem, temperature, why = make()
    report = audit(key, problem, [named_proposal("uniform", problem)], temperature=temperature, k=(2,), replicates=8)
    row = report.proposals[0]
    assert "the full gradient is 0" in row.verdict
    assert why in row.verdict
    assert row.verdict.endswith("nothing is left to bias")
    assert report.recommendation == row.verdict
    assert not row.plain.bias[0].known
    assert not row.log_q.resolved
    assert row.effective_negatives.value == pytest.approx(19, rel=1e-5)  # the law is what it was
    text = json.dumps(to_json(report), allow_nan=False)
    assert '"bias": [{"value": null, "standard_error": null}]' in text


@pytest.mark.slow
def test_equal_rows_are_a_gradient_of_zero(key):
    rows = np.tile(np.random.default_rng(0).normal(size=7), (20, 1))
    problem = from_embeddings(rows, rows, cosine=True)
    report = audit(key, problem, [named_proposal("uniform", problem)], temperature=0.1, k=(2,), replicates=8)
    assert "the vectors have collapsed" in report.recommendation


@pytest.mark.slow
def test_nearly_collapsed_is_not_zero(key):
    """Vectors that differ by a thousandth have a gradient, and its relative numbers are those of wider ones."""
    rng = np.random.default_rng(0)
    point = rng.normal(size=4)
    spread = rng.normal(size=(12, 4))
    anchors = rng.normal(size=(12, 4))
    rows = []
    for width in (1.0, 1e-3):
        candidates = point + width * spread
        problem = from_embeddings(anchors / width, candidates)
        options = {"temperature": 5.0, "k": (2,), "replicates": 32}
        rows.append(audit(key, problem, [named_proposal("uniform", problem)], **options).proposals[0])
    assert "the full gradient is 0" not in rows[1].verdict
    np.testing.assert_allclose(rows[1].plain.error[0].value, rows[0].plain.error[0].value, rtol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_no_contradiction_on_one_screen(seed):
    """The best is at least as good as any by the criterion, and its own verdict says nothing against its side."""
    rng = np.random.default_rng(seed)
    candidates = rng.normal(size=(30, 4))
    ids = rng.integers(0, 30, 48)
    anchors = np.repeat(rng.normal(size=(12, 4)), 4, axis=0)
    problem = from_embeddings(anchors, candidates[ids], candidates, positive_ids=ids, counts=np.arange(1, 31))
    proposals = [named_proposal(name, problem, k=8) for name in ("uniform", "in-batch", "scores:1", "power:2")]
    report = audit(jax.random.key(seed), problem, proposals, temperature=TAU, k=(8,), replicates=8)
    name, side = re.match(r"(\S+) (with log q|as drawn) at", report.recommendation).groups()
    row = next(row for row in report.proposals if row.name == name)
    against = "leave log q out" if side == "with log q" else "correct by log q"
    assert against not in row.verdict
    values = [s.drift[-1].value for row in report.proposals for s in (row.plain, row.corrected)]
    chosen = (row.corrected if side == "with log q" else row.plain).drift[-1].value
    assert chosen == min(values)
    assert report.criterion == "drift"
    assert "the least drift" in report.recommendation
    for row in report.proposals:
        assert "nan" not in row.verdict
        assert isinstance(row.log_q, Comparison)
