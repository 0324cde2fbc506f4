"""A contest of trainers: each trains on the same data with the same hyperparameters, is judged, and is timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from benchmarks._race import STEADY, fixed_work, timed


class Trained(NamedTuple):
    """What a trainer made, the words or relations it went through, and what that cost."""

    arrays: tuple[np.ndarray, ...]
    work: float
    seconds: float
    processor_seconds: float


class Contest(NamedTuple):
    """Who trains on what, and how it is judged.

    Attributes:
        name: of the result, `<name>.json` and `<name>.png`.
        title: what is trained.
        unit: what the speed counts.
        contestants: seed -> trained, by name; the first is nsx, the reference of the ratios.
        judge: of the arrays; figures of quality by name, a panel of the plot each.
        seeds: how many trainings each.
        goal: how many times the peer's speed nsx set out to reach; None has none.
        facts: data and hyperparameters, for the record.
        show: arrays -> something to judge by eye, for the record; None shows nothing.
    """

    name: str
    title: str
    unit: str
    contestants: Mapping[str, Callable[[int], Trained]]
    judge: Callable[[tuple[np.ndarray, ...]], dict[str, float]]
    seeds: int
    goal: float | None
    facts: Mapping[str, object]
    show: Callable[[tuple[np.ndarray, ...]], object] | None = None


def clocked(train: Callable[[], tuple[tuple[np.ndarray, ...], float]]) -> Trained:
    """The arrays and the work of a training, with its wall and processor seconds."""
    start = time.perf_counter(), time.process_time()
    arrays, work = train()
    return Trained(arrays, work, time.perf_counter() - start[0], time.process_time() - start[1])


def steadiness() -> float:
    """Seconds of the same 50 ms of work; the best of three is nearly free of chance."""
    return min(timed(lambda: fixed_work(500_000)) for _ in range(3))


def hold(contest: Contest, console: Console) -> dict:
    """The contestants in turns, one training each per seed, so that a disturbance meets all."""
    runs, control, shown = {name: [] for name in contest.contestants}, [], {}
    for seed in range(1, contest.seeds + 1):
        for name, train in contest.contestants.items():
            control.append(steadiness())
            trained = train(seed)
            control.append(steadiness())
            run = contest.judge(trained.arrays) | {
                f"{contest.unit}_per_second": trained.work / trained.seconds,
                f"{contest.unit}_per_processor_second": trained.work / trained.processor_seconds,
            }
            runs[name].append(run)
            if contest.show is not None:
                shown[name] = contest.show(trained.arrays)
            console.print(f"seed {seed}  {name}: " + "  ".join(f"{k} {v:.4g}" for k, v in run.items()), soft_wrap=True)
    disturbed = max(control) > STEADY * min(control)
    record = {"runs": runs, "control": [min(control), max(control)], "disturbed": disturbed, "shown": shown}
    return record | {"compared": compared(contest, runs, disturbed)}


def interval(values: np.ndarray) -> dict[str, float | None]:
    """Mean with its 95 % interval by Student's law; no interval for one seed."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return {"mean": mean, "low": None, "high": None}
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return {"mean": mean, "low": float(mean - half), "high": float(mean + half)}


def peers(runs: Mapping[str, list[dict]]) -> list[str]:
    """The contestants that are not nsx under other options."""
    return [name for name in runs if not name.startswith("nsx")]


def compared(contest: Contest, runs: Mapping[str, list[dict]], disturbed: bool) -> dict:
    """nsx against each peer, paired by seed: ratios of speeds (geometric means), differences of quality."""
    reference, *_ = runs
    column = lambda name, key: np.array([run[key] for run in runs[name]])
    found: dict[str, dict] = {}
    for other in peers(runs):
        found[other] = {}
        for key in runs[reference][0]:
            first, second = column(reference, key), column(other, key)
            if not key.endswith("second"):
                found[other][key] = interval(first - second)
            elif disturbed and "processor" not in key:
                found[other][key] = None  # no honest ratio of wall times
            else:
                logs = interval(np.log(first / second))
                found[other][key] = {k: None if v is None else float(np.exp(v)) for k, v in logs.items()}
    return found


def table(contest: Contest, record: dict) -> Table:
    """Means with their intervals, a row a figure; nsx less (quality) or over (speed) the others."""
    names = list(record["runs"])
    out = Table("", *names, *(f"nsx against {n}" for n in record["compared"]), title=contest.title)
    for key in record["runs"][names[0]][0]:
        means = [_text(interval(np.array([run[key] for run in record["runs"][n]]))) for n in names]
        sign = "x " if key.endswith("second") else ""
        against = [found[key] for found in record["compared"].values()]
        out.add_row(key.replace("_", " "), *means, *("disturbed" if a is None else sign + _text(a) for a in against))
    return out


def _text(value: Mapping[str, float | None]) -> str:
    low, high = value["low"], value["high"]
    return f"{value['mean']:.4g}" + ("" if low is None else f" ({low:.4g} to {high:.4g})")
