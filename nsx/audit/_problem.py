"""The embeddings under audit, checked row by row before anything is computed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nsx._types import ArrayLike, Float, Int, Shaped


class Problem(NamedTuple):
    """Anchors with their positives, and the candidates that negatives are drawn from.

    Attributes:
        anchors: shape `(m, d)`, float32; normalised where scores are cosines.
        positives: the positive of each anchor, shape `(m, d)`.
        candidates: shape `(n, d)`; the score of a candidate is its dot product with the anchor.
        positive_ids: place of each positive among the candidates, `(m,)`, -1 where it is not one of them. It is
            never drawn as a negative.
        anchor_labels: group of each anchor, integers `(m,)`, or None; candidates of its group are false negatives.
        candidate_labels: group of each candidate, integers `(n,)`, or None.
        counts: how often each candidate occurs, `(n,)`, or None.
    """

    anchors: np.ndarray
    positives: np.ndarray
    candidates: np.ndarray
    positive_ids: np.ndarray
    anchor_labels: np.ndarray | None
    candidate_labels: np.ndarray | None
    counts: np.ndarray | None


def problem(
    anchors: Float[ArrayLike, "m d"],
    positives: Float[ArrayLike, "m d"],
    candidates: Float[ArrayLike, "n d"] | None = None,
    *,
    cosine: bool = False,
    positive_ids: Int[ArrayLike, "m"] | None = None,
    anchor_labels: Shaped[ArrayLike, "m"] | None = None,
    candidate_labels: Shaped[ArrayLike, "n"] | None = None,
    counts: Shaped[ArrayLike, "n"] | None = None,
) -> Problem:
    r"""Checked input of `audit`, every complaint naming the array and the row.

    $$s_{ij} = a_i\cdot c_j \quad\text{or}\quad \frac{a_i\cdot c_j}{|a_i||c_j|} .$$

    Args:
        anchors: shape `(m, d)`.
        positives: shape `(m, d)`.
        candidates: shape `(n, d)`; None takes the positives, as in-batch negatives do.
        cosine: normalise all vectors first.
        positive_ids: place of each positive among the candidates, -1 for none; None is 0..m-1 where candidates are
            the positives, else -1.
        anchor_labels: group of each anchor, any comparable values; with `candidate_labels` it tells false negatives.
        candidate_labels: group of each candidate.
        counts: occurrences of each candidate, >= 0, for laws by frequency.

    Returns:
        `Problem` of NumPy arrays, float32.

    Raises:
        ValueError: shapes that do not fit, NaN or infinite rows, zero vectors under cosine, ids out of range,
            labels of the wrong length or of one side only, negative counts, fewer than two candidates.
        TypeError: positive_ids that are not integers.

    Exact: nothing is estimated here.

    Example:
        >>> problem(np.eye(3), np.eye(3)).positive_ids.tolist()
        [0, 1, 2]

    References:
        [chen2020simple]
    """
    anchors, positives = _matrix("anchors", anchors), _matrix("positives", positives)
    own = candidates is None
    candidates = positives if own else _matrix("candidates", candidates)
    if positives.shape != anchors.shape:
        raise ValueError(f"positives must have the shape of anchors, {anchors.shape}, got {positives.shape}.")
    if candidates.shape[1] != anchors.shape[1] or len(candidates) < 2:
        raise ValueError(f"candidates must have shape (n >= 2, {anchors.shape[1]}), got {candidates.shape}.")
    if cosine:
        anchors, positives = _unit("anchors", anchors), _unit("positives", positives)
        candidates = positives if own else _unit("candidates", candidates)
    ids = _ids(positive_ids, len(anchors), len(candidates), own)
    labels = _labels(anchor_labels, candidate_labels, len(anchors), len(candidates))
    return Problem(anchors, positives, candidates, ids, *labels, _counts(counts, len(candidates)))


def problem_from_scores(
    scores: Float[ArrayLike, "m n"],
    positive_ids: Int[ArrayLike, "m"],
    *,
    anchor_labels: Shaped[ArrayLike, "m"] | None = None,
    candidate_labels: Shaped[ArrayLike, "n"] | None = None,
    counts: Shaped[ArrayLike, "n"] | None = None,
) -> Problem:
    r"""The same from scores alone: the gradient is then the one in the anchor's row of scores.

    $$a_i = (s_{ij})_j, \qquad c_j = e_j, \qquad \partial\ell_i/\partial a_i = \partial\ell_i/\partial s_i .$$

    Args:
        scores: of every candidate for every anchor, shape `(m, n)`, n <= 8192: candidates become an identity matrix.
        positive_ids: place of each anchor's positive, shape `(m,)`.
        anchor_labels: as in `problem`.
        candidate_labels: as in `problem`.
        counts: as in `problem`.

    Returns:
        `Problem` whose dot products are the scores.

    Raises:
        ValueError: more than 8192 candidates, and what `problem` refuses.
        TypeError: positive_ids that are not integers.

    Exact: nothing is estimated here.

    Example:
        >>> problem_from_scores(np.zeros((2, 3)), np.array([0, 1])).candidates.shape
        (3, 3)

    References:
        [bengio2008adaptive]
    """
    scores = _matrix("scores", scores)
    if scores.shape[1] > 8192:
        raise ValueError(f"scores of at most 8192 candidates, got {scores.shape[1]}. Give embeddings instead.")
    ids = _ids(positive_ids, len(scores), scores.shape[1], False)
    if np.any(ids < 0):
        raise ValueError(f"positive_ids[{int(np.argmax(ids < 0))}] is -1: with scores every positive is a candidate.")
    identity = np.eye(scores.shape[1], dtype=np.float32)
    labels = _labels(anchor_labels, candidate_labels, len(scores), scores.shape[1])
    return Problem(scores, identity[ids], identity, ids, *labels, _counts(counts, scores.shape[1]))


def _matrix(name: str, value: ArrayLike) -> np.ndarray:
    array = np.asarray(value, np.float32)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name} must be a matrix with at least one row and column, got shape {array.shape}.")
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        raise ValueError(f"{name}[{int(np.argmax(bad))}] holds NaN or infinity; {int(bad.sum())} such rows in all.")
    return array


def _unit(name: str, array: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(array, axis=1, keepdims=True)
    if np.any(length == 0):
        raise ValueError(f"{name}[{int(np.argmin(length))}] is a zero vector, which has no cosine.")
    return array / length


def _ids(ids: ArrayLike | None, anchors: int, candidates: int, own: bool) -> np.ndarray:
    if ids is None:
        return np.arange(anchors) if own else np.full(anchors, -1)
    ids = np.asarray(ids)
    if not np.issubdtype(ids.dtype, np.integer):
        raise TypeError(f"positive_ids must be integers, got {ids.dtype}.")
    if ids.shape != (anchors,):
        raise ValueError(f"positive_ids must have shape {(anchors,)}, one an anchor, got {ids.shape}.")
    out = (ids < -1) | (ids >= candidates)
    if out.any():
        row = int(np.argmax(out))
        raise ValueError(f"positive_ids[{row}] = {ids[row]} is no candidate: they go from 0 to {candidates - 1}.")
    return ids


def _labels(first, second, anchors: int, candidates: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Labels of both sides as integers of one code; candidates that are the positives still need their own."""
    if first is None and second is None:
        return None, None
    if first is None or second is None:
        missing = "anchor_labels" if first is None else "candidate_labels"
        raise ValueError(f"{missing} is missing: false negatives need the labels of both sides.")
    first, second = np.asarray(first), np.asarray(second)
    for name, labels, size in (("anchor_labels", first, anchors), ("candidate_labels", second, candidates)):
        if labels.shape != (size,):
            raise ValueError(f"{name} must have shape {(size,)}, got {labels.shape}.")
    codes = np.unique(np.concatenate([first, second]), return_inverse=True)[1]
    return codes[:anchors], codes[anchors:]


def _counts(counts: ArrayLike | None, candidates: int) -> np.ndarray | None:
    if counts is None:
        return None
    counts = np.asarray(counts, np.float64)
    if counts.shape != (candidates,):
        raise ValueError(f"counts must have shape {(candidates,)}, one a candidate, got {counts.shape}.")
    bad = ~(counts >= 0) | ~np.isfinite(counts)
    if bad.any():
        raise ValueError(f"counts[{int(np.argmax(bad))}] = {counts[np.argmax(bad)]} is no count.")
    return counts
