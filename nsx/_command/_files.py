"""Embeddings from a file, and an audit as plain data: the only part of the audit that touches a disk."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np

from nsx.audit import Audit, Measured, Problem, problem, problem_from_scores

KEYS = "anchors, positives, candidates, scores, positive_ids, labels, anchor_labels, candidate_labels, counts"
WEIGHTS = "log_weights_"


def read(path: Path) -> dict[str, np.ndarray]:
    """Arrays of a file by key.

    `.npz` and `.safetensors` hold the keys of `KEYS`, and log-weights as `log_weights_NAME`. A `.npy` holds anchors
    and positives, shape `(2, m, d)`, or scores, shape `(m, n)`, the positive of row i in column i.
    """
    kind = path.suffix.lower()
    if kind == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    if kind == ".safetensors":
        return dict(importlib.import_module("safetensors.numpy").load_file(path))
    if kind != ".npy":
        raise ValueError(f"{path.name}: the file must be .npz, .npy or .safetensors.")
    array = np.load(path, allow_pickle=False)
    if array.ndim == 3 and len(array) == 2:
        return {"anchors": array[0], "positives": array[1]}
    if array.ndim == 2:
        return {"scores": array, "positive_ids": np.arange(len(array))}
    raise ValueError(f"{path.name}: a .npy must have shape (2, m, d) or (m, n), got {array.shape}.")


def to_problem(arrays: dict[str, np.ndarray], *, cosine: bool = False) -> tuple[Problem, dict[str, np.ndarray]]:
    """The problem in a file's arrays, and the log-weights beside it."""
    arrays = dict(arrays)
    weights = {k.removeprefix(WEIGHTS): arrays.pop(k) for k in list(arrays) if k.startswith(WEIGHTS)}
    unknown = set(arrays) - set(KEYS.split(", "))
    if unknown:
        raise ValueError(f"unknown key {sorted(unknown)[0]!r}; there are {KEYS}, and {WEIGHTS}NAME.")
    labels = arrays.pop("labels", None)
    if labels is not None:
        if "candidates" in arrays:
            raise ValueError(
                "labels is for pairs without candidates; with them give anchor_labels and candidate_labels."
            )
        arrays |= {"anchor_labels": labels, "candidate_labels": labels}
    if "scores" in arrays:
        if cosine:
            raise ValueError("cosine needs embeddings; scores are taken as they are.")
        if "positive_ids" not in arrays:
            raise ValueError("scores need positive_ids: the column of each row's positive.")
        return problem_from_scores(**arrays), weights
    missing = {"anchors", "positives"} - set(arrays)
    if missing:
        raise ValueError(f"the key {sorted(missing)[0]!r} is missing; there are {', '.join(sorted(arrays)) or 'none'}.")
    return problem(**arrays, cosine=cosine), weights


def to_json(found: Audit) -> dict:
    """The audit as dictionaries, lists and numbers; a Measured is `{value, standard_error}`, null where exact."""

    def plain(value: object) -> object:
        if isinstance(value, Measured):
            return {name: plain(part) for name, part in value._asdict().items()}
        if hasattr(value, "_asdict"):
            return {name: plain(part) for name, part in value._asdict().items()}
        if isinstance(value, tuple):
            return [plain(part) for part in value]
        if isinstance(value, float) and not np.isfinite(value):
            return None if np.isnan(value) else "inf"
        return value

    return plain(found)
