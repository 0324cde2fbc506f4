"""What was understood of a problem, in words: the first line of an audit."""

from __future__ import annotations

import numpy as np

from nsx.audit._problem import Problem

_SCORES = {"dot": "scores are dot products", "cosine": "scores are cosines", "given": "scores as given"}


def describe(problem: Problem) -> str:
    r"""What was understood: pairs, anchors, candidates, dimension, scores, labels and counts, in one line.

    $$m \text{ pairs of } |\{a_i\}| \text{ anchors},\quad n \text{ candidates},\quad d .$$

    Args:
        problem: from `from_embeddings` or `from_scores`.

    Returns:
        A line of text.

    Exact: everything is counted.

    Example:
        >>> from nsx.audit import from_embeddings
        >>> describe(from_embeddings(np.eye(3)[[0, 0, 1]], np.eye(3), cosine=True)).split("; ")[:2]
        ['3 pairs of 2 anchors', '3 candidates, which are the positives']

    References:
        [chen2020simple]
    """
    num_pairs = len(problem.anchors)
    num_anchors = len({row.tobytes() for row in problem.anchors})
    pairs = f"{_count(num_pairs, 'pair')} of {_count(num_anchors, 'anchor')}"
    width = "" if problem.scores == "given" else f" of {_count(problem.anchors.shape[1], 'number')}"
    return "; ".join(
        [
            pairs,
            f"{len(problem.candidates):,} candidates, {_positives(problem)}",
            _SCORES[problem.scores] + width,
            _labels(problem),
            "no counts" if problem.counts is None else "counts of the candidates",
        ]
    )


def _positives(problem: Problem) -> str:
    """Where the positives stand among the candidates."""
    if problem.candidates is problem.positives:
        return "which are the positives"
    known = int(np.sum(problem.positive_ids >= 0))
    if known == len(problem.positive_ids):
        return "the positives among them"
    if known == 0:
        return "the positives not among them (no positive_ids)"
    return f"{known:,} of the positives among them"


def _labels(problem: Problem) -> str:
    if problem.candidate_labels is None:
        return "no labels"
    return f"labels of {_count(len(np.unique(problem.candidate_labels)), 'group')}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
