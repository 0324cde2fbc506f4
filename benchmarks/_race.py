"""A fair race: contestants take turns on one machine, which is measured in the same run and must hold still."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

STEADY = 1.3  # ninetieth over tenth percentile of a fixed piece of work, above which no ratio is honest
FEWEST, PATIENCE = 5, 30.0  # rounds that any median gets, and seconds after which these are enough
PAUSE, BURST = 0.25, 0.1
Run = Callable[[], object]  # one measured piece of work; returns when it is done


class Topic(NamedTuple):
    """What is raced.

    Attributes:
        name: of the result, `<name>.json` and `<name>.png`.
        title: what one run does.
        axis: what the size counts.
        sizes: sizes of the quick and the full benchmark.
        contestants: size -> runs by name; the first is the reference of the ratios. A contestant that cannot run
            at a size is left out there.
        operations: size -> matrix operations that it takes, for the machine's limit; None has no limit.
        depth: length of the vectors whose products these are.
        goals: name -> the ratio to the reference that nsx set out to reach.
    """

    name: str
    title: str
    axis: str
    sizes: Mapping[str, tuple[int, ...]]
    contestants: Callable[[int], dict[str, Run]]
    operations: Callable[[int], float] | None = None
    depth: int | None = None
    goals: Mapping[str, float] = {}


def fixed_work(size: int = 100_000) -> None:
    """Work that depends on nothing but the machine, about 10 ms at this size."""
    np.sort(np.random.default_rng(0).random(size))


def timed(run: Run) -> float:
    """Seconds of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def burst(run: Run) -> float:
    """Median seconds of a run among as many as fill a tenth of a second, after the others' threads have gone to sleep.

    OpenMP's workers spin for up to 0.2 s after their work and take cores from whoever comes next.
    """
    time.sleep(PAUSE)
    taken = [timed(run)]
    while sum(taken) < BURST:
        taken.append(timed(run))
    return float(np.median(taken))


def race(runs: Mapping[str, Run], rounds: int) -> tuple[dict[str, list[float]], list[float]]:
    """Seconds of each contestant and of the fixed work, a burst a round, after a warm-up round; fewer if long."""
    seconds, control = {name: [] for name in runs}, []
    start = time.perf_counter()
    for turn in range(rounds + 1):
        if turn > FEWEST and time.perf_counter() - start > PATIENCE:
            break
        for name, run in runs.items():
            taken, still = burst(run), timed(fixed_work)
            if turn:
                seconds[name].append(taken)
                control.append(still)
    return seconds, control


def spread(seconds: list[float]) -> dict[str, float]:
    """Median with its tenth and ninetieth percentiles."""
    low, median, high = np.percentile(seconds, [10, 50, 90])
    return {"median": float(median), "p10": float(low), "p90": float(high)}


def disturbed(control: list[float]) -> bool:
    """Whether the fixed work wandered, so that the machine cannot be trusted."""
    wander = spread(control)
    return wander["p90"] > STEADY * wander["p10"]


def measure(topic: Topic, size: int, rounds: int) -> dict:
    """One size of a topic: seconds, and ratios to the reference where the machine held still."""
    runs = topic.contestants(size)
    seconds, control = race(runs, rounds)
    reference = next(iter(runs))
    upset = disturbed(control)
    ratios = {name: float(np.median(s) / np.median(seconds[reference])) for name, s in seconds.items()}
    return {
        "size": size,
        "seconds": {name: spread(s) for name, s in seconds.items()},
        "control": spread(control),
        "disturbed": upset,
        "reference": reference,
        "ratio": None if upset else ratios,
    }
