"""The embeddings under audit, checked row by row before anything is computed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nsx._checks import as_ids
from nsx._types import ArrayLike, Float, Int, Shaped
from nsx.audit._labels import as_group_codes
from nsx.audit._vectors import as_matrix, as_numbers, as_unit_rows, row_lengths

MOST_SCORED = 8192  # candidates that scores alone may have: their identity matrix is then 256 MiB
MOST_COUNTED = 1e38  # occurrences of a candidate: a float32
SAME = 0.01  # relative distance within which a positive is its candidate: half precision moves it by 0.004
_ROWS = 2**16  # rows compared at once


class Problem(NamedTuple):
    """Pairs of an anchor and its positive, and the candidates that negatives are drawn from.

    Attributes:
        anchors: of each pair, shape `(m, d)`, float32; normalised where scores are cosines.
        positives: of each pair, shape `(m, d)`.
        candidates: shape `(n, d)`; the score of a candidate is its dot product with the anchor.
        positive_ids: place of each positive among the candidates, `(m,)`, -1 where it is not one of them. It is
            never a negative of its own pair.
        anchor_labels: group of each anchor, integers `(m,)`, or None; candidates of its group are false negatives.
        candidate_labels: group of each candidate, integers `(n,)`, or None.
        counts: how often each candidate occurs, `(n,)`, or None.
        scores: what the scores are: "dot", "cosine", or "given" where there was nothing but scores.
    """

    anchors: np.ndarray
    positives: np.ndarray
    candidates: np.ndarray
    positive_ids: np.ndarray
    anchor_labels: np.ndarray | None
    candidate_labels: np.ndarray | None
    counts: np.ndarray | None
    scores: str = "dot"


def from_embeddings(
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
    r"""The problem that `audit` looks at, from vectors; every complaint names the array and the row.

    $$s_{ij} = a_i\cdot c_j \quad\text{or}\quad \frac{a_i\cdot c_j}{|a_i||c_j|} .$$

    Args:
        anchors: shape `(m, d)`, any real type; the rows of one anchor may repeat, once per positive.
        positives: shape `(m, d)`.
        candidates: shape `(n, d)`; None takes the positives, as in-batch negatives do.
        cosine: normalise all vectors first.
        positive_ids: place of each positive among the candidates, -1 for none; None is 0..m-1 where candidates are
            the positives, else -1: then a candidate that equals the positive counts as a negative.
        anchor_labels: group of each anchor: integers, strings, numbers or dates; with `candidate_labels` it tells
            false negatives.
        candidate_labels: group of each candidate, of the same kind.
        counts: occurrences of each candidate, >= 0, for laws by frequency.

    Returns:
        `Problem` of NumPy arrays, float32.

    Raises:
        ValueError: shapes that do not fit, rows with NaN or infinity or beyond float32, zero vectors under cosine,
            ids out of range or of a candidate that is not the positive (further than 1 % of its length), labels of
            the wrong length, of one side only, or missing (NaN, None), negative counts, fewer than two candidates.
        TypeError: vectors or counts that are not real numbers, ids that are not integers, labels of two kinds.

    Exact: nothing is estimated here.

    Example:
        >>> pairs = from_embeddings(np.eye(3), 2 * np.eye(3), cosine=True)
        >>> pairs.positives.tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
        >>> pairs.positive_ids.tolist()
        [0, 1, 2]

    References:
        [chen2020simple]
    """
    as_rows = as_unit_rows if cosine else as_matrix
    own = candidates is None
    anchors = as_rows("anchors", anchors)
    positives = as_rows("positives", positives)
    candidates = positives if own else as_rows("candidates", candidates)
    if positives.shape != anchors.shape:
        raise ValueError(f"positives must have the shape of anchors, {anchors.shape}, got {positives.shape}.")
    if own and len(positives) < 2:
        raise ValueError("one pair and no candidates: there is nobody to draw. Give two pairs or more, or candidates.")
    if candidates.shape[1] != anchors.shape[1] or len(candidates) < 2:
        raise ValueError(f"candidates must have shape (n >= 2, {anchors.shape[1]}), got {candidates.shape}.")
    if positive_ids is None:
        ids = np.arange(len(anchors)) if own else np.full(len(anchors), -1)
    else:
        ids = _as_positive_ids(positive_ids, len(anchors), len(candidates))
        _require_same(positives, candidates, ids)
    labels = as_group_codes(anchor_labels, candidate_labels, len(anchors), len(candidates))
    return Problem(
        anchors=anchors,
        positives=positives,
        candidates=candidates,
        positive_ids=ids.astype(np.int32),
        anchor_labels=labels.anchors,
        candidate_labels=labels.candidates,
        counts=_as_counts(counts, len(candidates)),
        scores="cosine" if cosine else "dot",
    )


def from_scores(
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
        anchor_labels: as in `from_embeddings`.
        candidate_labels: as in `from_embeddings`.
        counts: as in `from_embeddings`.

    Returns:
        `Problem` whose dot products are the scores.

    Raises:
        ValueError: more than 8192 candidates, and what `from_embeddings` refuses.
        TypeError: what `from_embeddings` refuses.

    Exact: nothing is estimated here.

    Example:
        >>> scored = from_scores(np.array([[0.9, 0.1, 0.3]]), np.array([0]))
        >>> (scored.anchors @ scored.candidates.T).round(1).tolist()
        [[0.8999999761581421, 0.10000000149011612, 0.30000001192092896]]

    References:
        [bengio2008adaptive]
    """
    scores = as_matrix("scores", scores)
    num_pairs, size = scores.shape
    if not 2 <= size <= MOST_SCORED:
        raise ValueError(f"scores of 2 to {MOST_SCORED} candidates, got {size}. Give embeddings of more.")
    ids = _as_positive_ids(positive_ids, num_pairs, size)
    if np.any(ids < 0):
        raise ValueError(f"positive_ids[{int(np.argmax(ids < 0))}] is -1: with scores every positive is a candidate.")
    identity = np.eye(size, dtype=np.float32)
    labels = as_group_codes(anchor_labels, candidate_labels, num_pairs, size)
    return Problem(
        anchors=scores,
        positives=identity[ids],
        candidates=identity,
        positive_ids=ids,
        anchor_labels=labels.anchors,
        candidate_labels=labels.candidates,
        counts=_as_counts(counts, size),
        scores="given",
    )


def _as_positive_ids(ids: ArrayLike, num_pairs: int, num_candidates: int) -> np.ndarray:
    """The place of each pair's positive, int32."""
    shape = np.shape(ids)
    if shape != (num_pairs,):
        raise ValueError(f"positive_ids must have shape {(num_pairs,)}, one per pair, got {shape}.")
    return np.asarray(as_ids("positive_ids", ids, low=-1, high=num_candidates))


def _require_same(positives: np.ndarray, candidates: np.ndarray, ids: np.ndarray) -> None:
    """Raise ValueError where a positive is not the candidate that its id names: ids off by one, or another table."""
    apart = _apart(positives, candidates, ids)
    if not apart.any():
        return
    row = int(np.argmax(apart))
    advice = "The ids must be places in `candidates`, counted from 0."
    for shift in (-1, 1):
        moved = np.where(ids < 0, ids, np.clip(ids + shift, 0, len(candidates) - 1))
        if not _apart(positives, candidates, moved)[row]:
            advice = f"It is candidates[{ids[row] + shift}]: the ids are off by one; they count from 0."
    raise ValueError(
        f"positives[{row}] is not candidates[{ids[row]}], which positive_ids[{row}] names; "
        f"{int(apart.sum())} of {len(ids)} rows are so. {advice}"
    )


def _apart(positives: np.ndarray, candidates: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Which positives, `(m,)`, differ from the candidate named by more than rounding to half precision would do."""
    apart = np.zeros(len(ids), bool)
    for start in range(0, len(ids), _ROWS):
        rows = slice(start, start + _ROWS)
        named = candidates[np.maximum(ids[rows], 0)]
        distance = row_lengths(positives[rows].astype(np.float64) - named)
        longest = np.maximum(row_lengths(positives[rows]), row_lengths(named))
        apart[rows] = (distance > SAME * longest) & (ids[rows] >= 0)
    return apart


def _as_counts(counts: ArrayLike | None, num_candidates: int) -> np.ndarray | None:
    """Occurrences of each candidate, float64."""
    if counts is None:
        return None
    counts = as_numbers("counts", counts).astype(np.float64)
    if counts.shape != (num_candidates,):
        raise ValueError(f"counts must have shape {(num_candidates,)}, one per candidate, got {counts.shape}.")
    bad = ~((counts >= 0) & (counts <= MOST_COUNTED))
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"counts[{row}] = {counts[row]} is no count; they are from 0 to {MOST_COUNTED:g}.")
    return counts
