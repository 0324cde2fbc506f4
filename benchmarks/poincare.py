"""Hierarchies side by side: nsx.poincare.train_hierarchy and gensim's PoincareModel, on the mammals of WordNet.

    python benchmarks/poincare.py [--quick] [--dimension N] [--epochs N] [--learning-rate X] [--seeds N] [--out FOLDER]

Both take the same relations, dimension, learning rate, batch of 10, 10 negatives, and 10 epochs of burn-in at a rate of
0.01. Quality first, by one evaluation for both: the mean rank of an ancestor and the mean average precision over all
nodes. Then speed, in relations a second. The contestants take turns, one training each per seed, and a fixed
piece of work is timed around each: where its time wanders, the machine was disturbed and no ratio of wall times is
printed. Processor time, which suffers less, is printed always.

What differs: gensim draws negatives by how often a node occurs and adds a penalty on the ancestor's norm
(`regularization_coeff`, left at its default); nsx draws them uniformly, as published. A third row trains nsx on
gensim's law of negatives. gensim runs on one thread, its only way.

Needs the data (`python -m experiments fetch wn`) and gensim (`pip install 'nsx[peers]'`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from sgns import RESULTS, ROOT, STEADY, fixed_work

sys.path.insert(0, str(ROOT))

from experiments import data
from nsx import poincare

BURN_IN, BURN_IN_RATE, NEGATIVES, BATCH = 10, 0.01, 10, 10


class Trained(NamedTuple):
    """One point a node, and what it cost."""

    points: np.ndarray
    seconds: float
    processor_seconds: float


def train_nsx(tree: data.Hierarchy, seed: int, options: argparse.Namespace, log_weights: np.ndarray | None = None):
    """One epoch compiles first; it is not timed, as gensim's compiled code is not."""
    plan = poincare.hierarchy_plan(
        tree.relations, num_nodes=len(tree.names), negatives=NEGATIVES, batch_size=BATCH,
        learning_rate=options.learning_rate, burn_in=BURN_IN, burn_in_rate=BURN_IN_RATE / options.learning_rate,
        log_weights=log_weights,
    )  # fmt: skip
    start_key, epochs_key = jax.random.split(jax.random.key(seed))
    init = poincare.hierarchy_init(start_key, plan, dimension=options.dimension)
    jax.block_until_ready(poincare.hierarchy_epoch(epochs_key, plan, init))
    start = time.perf_counter(), time.process_time()
    state = init
    for epoch in range(BURN_IN + options.epochs):
        state, _ = poincare.hierarchy_epoch(jax.random.fold_in(epochs_key, epoch), plan, state)
    points = np.asarray(state.points)
    return Trained(points, time.perf_counter() - start[0], time.process_time() - start[1])


def train_nsx_by_counts(tree: data.Hierarchy, seed: int, options: argparse.Namespace) -> Trained:
    return train_nsx(tree, seed, options, np.log(np.bincount(tree.relations.ravel(), minlength=len(tree.names))))


def train_gensim(tree: data.Hierarchy, seed: int, options: argparse.Namespace) -> Trained:
    from gensim.models.poincare import PoincareModel

    model = PoincareModel(
        [(str(a), str(b)) for a, b in tree.relations], size=options.dimension, alpha=options.learning_rate, seed=seed,
        negative=NEGATIVES, burn_in=BURN_IN, burn_in_alpha=BURN_IN_RATE,
    )  # fmt: skip
    start = time.perf_counter(), time.process_time()
    model.train(epochs=options.epochs, batch_size=BATCH)
    seconds, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    return Trained(np.stack([model.kv[str(i)] for i in range(len(tree.names))]), seconds, processor)


CONTESTANTS: dict[str, Callable[..., Trained]] = {
    "nsx": train_nsx,
    "nsx, negatives by count": train_nsx_by_counts,
    "gensim": train_gensim,
}


def measure(tree: data.Hierarchy, options: argparse.Namespace) -> dict:
    runs, control = {name: [] for name in CONTESTANTS}, []
    relations = len(tree.relations) * (BURN_IN + options.epochs)
    for seed in range(1, options.seeds + 1):
        for name, train in CONTESTANTS.items():
            control.append(fixed_work())
            trained = train(tree, seed, options)
            control.append(fixed_work())
            found = poincare.reconstruction(trained.points, tree.relations)
            run = {
                "mean_rank": found.mean_rank,
                "mean_average_precision": found.mean_average_precision,
                "relations_per_second": relations / trained.seconds,
                "relations_per_processor_second": relations / trained.processor_seconds,
            }
            runs[name].append(run)
            print(f"seed {seed}  {name:24s}" + "  ".join(f"{k} {v:.4g}" for k, v in run.items()), flush=True)
    return {"runs": runs, "control": [min(control), max(control)], "disturbed": max(control) > STEADY * min(control)}


def show(result: dict) -> None:
    median = {name: {k: np.median([r[k] for r in rows]) for k in rows[0]} for name, rows in result["runs"].items()}
    for key in median["nsx"]:
        print(f"{key:32s}" + "".join(f"{name}: {median[name][key]:<11.4g}" for name in median))
    speed, work = (
        median["nsx"][k] / median["gensim"][k] for k in ("relations_per_second", "relations_per_processor_second")
    )
    print(f"\nnsx trains {work:.0f} times as many relations in a second of processor time")
    if result["disturbed"]:
        low, high = result["control"]
        print(f"the fixed work took {1e3 * low:.0f} to {1e3 * high:.0f} ms: disturbed, so no ratio of wall times")
    else:
        print(f"nsx trains {speed:.0f} times as many relations a second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="five epochs, one seed")
    parser.add_argument("--dimension", type=int, default=5)
    parser.add_argument("--learning-rate", type=float, default=0.3)
    parser.add_argument("--epochs", type=int, default=None, help="after 10 of burn-in")
    parser.add_argument("--seeds", type=int, default=None)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    for name, quick, full in (("epochs", 5, 50), ("seeds", 1, 3)):
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else full)
    try:
        versions = {name: version(name) for name in ("gensim", "jax", "numpy")}
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed, so there is nobody to race: pip install 'nsx[peers]'")
    tree = data.mammals()
    result = measure(tree, options)
    show(result)
    device = jax.devices()[0].device_kind.lower().replace(" ", "-")
    record = {
        "device": device,
        "cores": os.cpu_count(),
        "versions": versions,
        "relations": len(tree.relations),
        "options": {k: getattr(options, k) for k in ("dimension", "learning_rate", "epochs", "seeds")}
        | {"negatives": NEGATIVES, "batch_size": BATCH, "burn_in": BURN_IN, "burn_in_rate": BURN_IN_RATE},
    }
    folder = options.out / device
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "poincare.json").write_text(json.dumps(record | result, indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten: {folder / 'poincare.json'}")


if __name__ == "__main__":
    main()
