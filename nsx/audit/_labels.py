"""Groups of anchors and candidates, told apart by equality alone, as integers of one code."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from nsx._checks import as_labels
from nsx._types import ArrayLike

_KINDS = {"i": "integers", "u": "integers", "b": "booleans", "f": "numbers", "U": "strings", "S": "bytes", "M": "dates"}


class GroupCodes(NamedTuple):
    """Codes of the groups, int32, `(m,)` and `(n,)`: equal where the labels are; both None where there are none."""

    anchors: np.ndarray | None
    candidates: np.ndarray | None


def as_group_codes(
    anchor_labels: ArrayLike | None, candidate_labels: ArrayLike | None, num_anchors: int, num_candidates: int
) -> GroupCodes:
    """Labels of both sides in one code; ValueError or TypeError where they cannot be compared."""
    if anchor_labels is None and candidate_labels is None:
        return GroupCodes(None, None)
    if anchor_labels is None or candidate_labels is None:
        missing = "anchor_labels" if anchor_labels is None else "candidate_labels"
        raise ValueError(f"{missing} is missing: false negatives need the labels of both sides.")
    anchors = _as_values("anchor_labels", anchor_labels, num_anchors)
    candidates = _as_values("candidate_labels", candidate_labels, num_candidates)
    kinds = [_KINDS[values.dtype.kind] for values in (anchors, candidates)]
    if kinds[0] != kinds[1]:
        raise TypeError(f"anchor_labels are {kinds[0]} and candidate_labels {kinds[1]}: give both as one kind.")
    if kinds[0] == "integers":
        codes = as_labels(anchor_labels=anchors, candidate_labels=candidates)
        return GroupCodes(*(np.asarray(code) for code in codes))
    codes = np.unique(np.concatenate([anchors, candidates]), return_inverse=True)[1].astype(np.int32)
    return GroupCodes(codes[:num_anchors], codes[num_anchors:])


def _as_values(name: str, labels: ArrayLike, size: int) -> np.ndarray:
    """The labels as an array of one kind in which none is missing."""
    is_array = isinstance(labels, (np.ndarray, jax.Array))
    values = np.asarray(labels) if is_array else np.asarray(labels, object)  # a list of large integers would be floats
    if values.shape != (size,):
        raise ValueError(f"{name} must have shape {(size,)}, got {values.shape}.")
    if values.dtype == object:
        values = _of_one_type(name, values)
    if values.dtype.kind not in _KINDS:
        raise TypeError(f"{name} must be integers, strings, numbers or dates, got {values.dtype}.")
    if values.dtype.kind == "f":
        _require_present(name, np.isnan(values))
    if values.dtype.kind == "M":
        _require_present(name, np.isnat(values))
    return values


def _of_one_type(name: str, values: np.ndarray) -> np.ndarray:
    """Python objects as an array of integers, or of whatever else they all are."""
    _require_present(name, np.array([v is None or v != v for v in values]))  # NaN differs from itself
    kinds = {"string" if isinstance(v, str) else "integer" if isinstance(v, (int, np.integer)) else "" for v in values}
    if len(kinds) > 1:
        raise TypeError(f"{name} must be all integers or all strings, got values of several types.")
    if kinds == {"integer"}:
        low, high = min(values), max(values)
        if low < -(2**63) or high >= 2**64 or (low < 0 and high >= 2**63):
            raise TypeError(f"{name} holds integers beyond 64 bits: save them as strings.")
        return values.astype(np.int64 if high < 2**63 else np.uint64)
    return np.asarray(values.tolist())


def _require_present(name: str, missing: np.ndarray) -> None:
    if missing.any():
        row = int(np.argmax(missing))
        raise ValueError(
            f"{name}[{row}] is missing (None or NaN); {int(missing.sum())} such rows in all. Give each such row a "
            "label of its own, or drop it: else all of them would be one group."
        )
