"""Embeddings from a file, and an audit as plain data."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nsx._command._archives import Archive, legible, open_archive, require_memory
from nsx.audit import Problem, Report, from_embeddings, from_scores

KEYS = (
    "anchors",
    "positives",
    "candidates",
    "scores",
    "positive_ids",
    "labels",
    "anchor_labels",
    "candidate_labels",
    "counts",
)
WEIGHTS = "log_weights_"
CLOSE = 0.8  # likeness, of 0 to 1, at which an unknown key is taken for a slip of the pen


class Contents(NamedTuple):
    """Arrays of a file by key, log-weights by the name behind `log_weights_`, and keys that were left alone."""

    arrays: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]
    unused: tuple[str, ...]


def read(path: Path, *, scores: bool = False, weights: Sequence[str] = ()) -> Contents:
    """The arrays of a file that an audit uses, and nothing else of it.

    `.npz` and `.safetensors` hold the keys of `KEYS`, and log-weights as `log_weights_NAME`, read for the names in
    `weights`. A `.npy` holds anchors and positives, shape `(2, m, d)`, or where `scores` says so, scores of shape
    `(m, n)`, the positive of row i in column i.
    """
    archive = open_archive(path)
    keys = list(archive.keys)
    if keys == [""]:
        return _from_one_array(archive, scores)
    if scores and "scores" not in keys:
        raise ValueError(f"--scores: there is no key 'scores'; there are {', '.join(sorted(keys)) or 'none'}.")
    _require_no_slips(keys)
    _require_enough(keys)
    missing = [name for name in weights if WEIGHTS + name not in keys]
    if missing:
        known = sorted(key for key in keys if key.startswith(WEIGHTS)) or ["none"]
        raise ValueError(
            f"weights:{missing[0]} needs the key {WEIGHTS + missing[0]!r}; of this kind there are {', '.join(known)}."
        )
    wanted = [key for key in keys if key in KEYS] + [WEIGHTS + name for name in weights]
    arrays = _load(archive, wanted)
    return Contents(
        arrays={key: array for key, array in arrays.items() if key in KEYS},
        weights={name: arrays[WEIGHTS + name] for name in weights},
        unused=tuple(sorted(set(keys) - set(wanted))),
    )


def to_problem(arrays: dict[str, np.ndarray], *, cosine: bool = False) -> Problem:
    """The problem in a file's arrays."""
    arrays = dict(arrays)
    labels = arrays.pop("labels", None)
    if labels is not None:
        if "candidates" in arrays:
            raise ValueError(
                "labels is for pairs without candidates; with them give anchor_labels and candidate_labels."
            )
        arrays |= {"anchor_labels": labels, "candidate_labels": labels}
    if "scores" in arrays:
        vectors = {"anchors", "positives", "candidates"} & set(arrays)
        if vectors:
            raise ValueError(f"both scores and {sorted(vectors)[0]}: give scores, or embeddings, in one file.")
        if "positive_ids" not in arrays:
            raise ValueError("scores need positive_ids: the column of each row's positive.")
        return from_scores(**arrays)
    try:
        return from_embeddings(**arrays, cosine=cosine)
    except (ValueError, TypeError) as error:
        if labels is None:
            raise
        # the file has one key for both sides, and that is what its owner knows
        text = str(error).replace("anchor_labels", "labels").replace("candidate_labels", "labels")
        raise type(error)(text) from error


def to_json(report: Report) -> dict:
    """The report as dictionaries, lists and numbers; a Measured is `{value, standard_error}`, null where exact."""

    def plain(value: object) -> object:
        """A value of the report by its kind."""
        if hasattr(value, "_asdict"):
            return {name: plain(part) for name, part in value._asdict().items()}
        if isinstance(value, tuple):
            return [plain(part) for part in value]
        if isinstance(value, float) and not math.isfinite(value):
            return None if math.isnan(value) else "inf"
        return value

    return plain(report)


def _from_one_array(archive: Archive, scores: bool) -> Contents:
    """What a `.npy` holds; a plain matrix is never taken for scores unless told."""
    array = _load(archive, [""])[""]
    if scores:
        if array.ndim != 2 or array.shape[0] > array.shape[1]:
            raise ValueError(
                f"--scores needs shape (m, n) with the positive of row i in column i, so n >= m, got {array.shape}. "
                "Else save an .npz with scores and positive_ids."
            )
        return Contents({"scores": array, "positive_ids": np.arange(len(array))}, {}, ())
    if array.ndim == 3 and len(array) == 2:
        return Contents({"anchors": array[0], "positives": array[1]}, {}, ())
    if array.ndim == 2:
        raise ValueError(
            f"one matrix of shape {array.shape} is not a set of pairs. If these are scores, the positive of row i in "
            "column i, say --scores; if embeddings, save anchors and positives as one array of shape (2, m, d), or as "
            "an .npz with these keys."
        )
    raise ValueError(f"a .npy must have shape (2, m, d), or (m, n) with --scores, got {array.shape}.")


def _load(archive: Archive, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays under these keys, once it is known that they fit."""
    declared = {}
    for key in keys:
        with legible(key):
            declared[key] = archive.declared(key)
    require_memory(declared)
    arrays = {}
    for key in keys:
        with legible(key):
            arrays[key] = archive.load(key)
    return arrays


def _require_enough(keys: Sequence[str]) -> None:
    """Raise ValueError where there are neither scores nor pairs of vectors."""
    missing = [key for key in ("anchors", "positives") if key not in keys]
    if missing and "scores" not in keys:
        raise ValueError(
            f"the key {missing[0]!r} is missing; the file has {', '.join(sorted(keys)) or 'none'}. Save the vectors "
            "that draw negatives as 'anchors', the positive of each row as 'positives'; an audit also reads "
            f"{', '.join(KEYS[2:])}."
        )


def _require_no_slips(keys: Sequence[str]) -> None:
    """Raise ValueError at a key that is almost one of the known: nobody means `label` to be left alone."""
    for key in sorted(set(keys) - set(KEYS)):
        if key.startswith(WEIGHTS):
            continue
        like = difflib.get_close_matches(key.lower(), set(KEYS) - set(keys), n=1, cutoff=CLOSE)
        if like:
            raise ValueError(f"unknown key {key!r}: is it {like[0]!r}? An audit reads {', '.join(KEYS)}.")
