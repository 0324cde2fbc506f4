"""Linear chains."""

import jax
import numpy as np

from nsx import sequences
from tests.catalogue import Case

UNARY = np.array([[0.3, -0.2], [0.1, 0.5], [-0.4, 0.7], [0.2, 0.0]])
PAIRWISE = np.array([[0.4, -0.1], [0.2, 0.3]])
EACH = PAIRWISE * np.arange(1, 4)[:, None, None]
LABELS = np.array([0, 0, 1, 0])
WHERE = np.array([True, True, False, True])
SUM = {"nan gradient": "the score is a sum, whose slope is 1 whatever is summed"}
DRAWN = {"gradient": "labels are drawn, and a label has no slope", "nan gradient": "labels have no slope"}

CHAIN = {"floats": {"unary": UNARY, "pairwise": PAIRWISE}, "masks": {"where": WHERE}, "masked": {"unary": "where"}}
EACH_CHAIN = CHAIN | {"floats": {"unary": UNARY, "pairwise": EACH}}


def sample(key, unary, pairwise, where):
    """One key for both sides of a comparison."""
    return sequences.crf_sample(jax.random.clone(key), unary, pairwise, where=where)


def viterbi_of_each(unary, pairwise, where):
    """Labels are -1 where the chain holds NaN, so the score alone is compared."""
    return sequences.crf_viterbi(unary, pairwise, where=where).log_score


CASES = (
    Case(name="sequences.crf_log_normalizer", call=sequences.crf_log_normalizer, **CHAIN),
    Case(name="sequences.crf_log_normalizer", call=sequences.crf_log_normalizer, **EACH_CHAIN),
    Case(
        name="sequences.crf_log_score", call=sequences.crf_log_score, integers={"labels": LABELS}, exempt=SUM, **CHAIN
    ),
    Case(
        name="sequences.crf_log_score",
        call=sequences.crf_log_score,
        integers={"labels": LABELS},
        exempt=SUM,
        **EACH_CHAIN,
    ),
    Case(name="sequences.crf_marginals", call=sequences.crf_marginals, **CHAIN),
    Case(name="sequences.crf_marginals", call=sequences.crf_marginals, **EACH_CHAIN),
    Case(name="sequences.crf_viterbi", call=sequences.crf_viterbi, **CHAIN),
    Case(name="sequences.crf_viterbi", call=viterbi_of_each, **EACH_CHAIN),
    Case(name="sequences.crf_sample", call=sample, random=True, exempt=DRAWN, **CHAIN),
    Case(name="sequences.crf_sample", call=sample, random=True, exempt=DRAWN, **EACH_CHAIN),
    Case(
        name="sequences.replacements",
        call=sequences.replacements,
        integers={"labels": LABELS},
        masks={"where": WHERE},
        static={"num_labels": 3},
    ),
    Case(
        name="sequences.adjacent_swaps",
        call=sequences.adjacent_swaps,
        integers={"labels": LABELS},
        masks={"where": WHERE},
    ),
    Case(
        name="sequences.neighbourhood",
        call=sequences.neighbourhood,
        integers={"labels": LABELS},
        masks={"where": WHERE},
        static={"num_labels": 3},
    ),
)
