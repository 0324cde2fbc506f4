"""Hierarchies of WordNet: nsx.hierarchies.train and gensim's PoincareModel.

Both take the same relations, dimension, learning rate, batch, 10 negatives, and 10 epochs of burn-in at a rate of
0.01. Quality first, by one evaluation for both: the mean rank of an ancestor and the mean average precision over all
nodes. Then speed, in relations per second.

What differs: gensim draws negatives by how often a node occurs and adds a penalty on the ancestor's norm
(`regularization_coeff`, left at its default); nsx draws them uniformly, as published. A third row trains nsx on
gensim's law of negatives. gensim runs on one thread, its only way. The noun closure is a test of speed alone: one epoch
for nsx, the first 20,000 relations for gensim, whose epoch takes most of a minute.
"""

from __future__ import annotations

import functools

import jax
import numpy as np

from benchmarks._contest import Contest, Trained, clocked
from experiments import data
from nsx import hierarchies

BURN_IN, BURN_IN_RATE, RATE, NEGATIVES, BATCH = 10, 0.01, 0.3, 10, 10
SIZES = {"quick": (5, 1), "full": (50, 5), "device": (50, 5)}  # epochs after burn-in, seeds
NOUNS = {"batch": 1000, "rate": 1.0, "dimension": 10, "gensim_relations": 20_000}


def schedule(plan: hierarchies.Plan, dimension: int, epochs: int, seed: int) -> Trained:
    """Trains by a plan; one epoch compiles first and is not timed, as gensim's compiled code is not."""
    start_key, epochs_key = jax.random.split(jax.random.key(seed))
    init = hierarchies.init(start_key, plan, dimension=dimension)
    jax.block_until_ready(hierarchies.epoch(epochs_key, plan, init))

    def train() -> tuple[tuple[np.ndarray, ...], float]:
        state = init
        for epoch in range(epochs):
            state, _ = hierarchies.epoch(jax.random.fold_in(epochs_key, epoch), plan, state)
        return (np.asarray(state.points),), epochs * plan.relations.shape[0]

    return clocked(train)


def train_nsx(tree: data.Hierarchy, epochs: int, by_count: bool, seed: int) -> Trained:
    counts = np.bincount(tree.relations.ravel(), minlength=len(tree.names))
    plan = hierarchies.plan(
        tree.relations, num_nodes=len(tree.names), negatives=NEGATIVES, batch_size=BATCH, learning_rate=RATE,
        burn_in=BURN_IN, burn_in_rate=BURN_IN_RATE / RATE, log_weights=np.log(counts) if by_count else None,
    )  # fmt: skip
    return schedule(plan, 5, BURN_IN + epochs, seed)


def train_gensim(tree: data.Hierarchy, epochs: int, seed: int) -> Trained:
    from gensim.models.poincare import PoincareModel

    model = PoincareModel(
        [(str(a), str(b)) for a, b in tree.relations], size=5, alpha=RATE, seed=seed, negative=NEGATIVES,
        burn_in=BURN_IN, burn_in_alpha=BURN_IN_RATE,
    )  # fmt: skip

    def train() -> tuple[tuple[np.ndarray, ...], float]:
        model.train(epochs=epochs, batch_size=BATCH)
        return (np.stack([model.kv[str(i)] for i in range(len(tree.names))]),), len(tree.relations) * (BURN_IN + epochs)

    return clocked(train)


def mammals(scale: str) -> Contest:
    """The mammals at a scale; ImportError without gensim, data.DataError without the data."""
    import gensim  # noqa: F401

    epochs, seeds = SIZES[scale]
    tree = data.mammals()

    def judge(arrays: tuple[np.ndarray, ...]) -> dict[str, float]:
        found = hierarchies.reconstruction(arrays[0], tree.relations)
        return {"mean_rank": found.mean_rank, "mean_average_precision": found.mean_average_precision}

    return Contest(
        "poincare_mammals", f"mammals of WordNet, {BURN_IN} + {epochs} epochs, d = 5, batch {BATCH}", "relations",
        {
            "nsx": functools.partial(train_nsx, tree, epochs, False),
            "nsx, negatives by count": functools.partial(train_nsx, tree, epochs, True),
            "gensim": functools.partial(train_gensim, tree, epochs),
        },
        judge, seeds, 35.0,
        {
            "relations": len(tree.relations), "dimension": 5, "learning_rate": RATE, "epochs": epochs,
            "negatives": NEGATIVES, "batch_size": BATCH, "burn_in": BURN_IN, "burn_in_rate": BURN_IN_RATE,
        },
    )  # fmt: skip


def nouns_nsx(tree: data.Hierarchy, seed: int) -> Trained:
    plan = hierarchies.plan(
        tree.relations, num_nodes=len(tree.names), negatives=NEGATIVES, batch_size=NOUNS["batch"],
        learning_rate=NOUNS["rate"],
    )  # fmt: skip
    return schedule(plan, NOUNS["dimension"], 1, seed)


def nouns_gensim(tree: data.Hierarchy, seed: int) -> Trained:
    from gensim.models.poincare import PoincareModel

    some = tree.relations[np.random.default_rng(seed).permutation(len(tree.relations))[: NOUNS["gensim_relations"]]]
    model = PoincareModel(
        [(str(a), str(b)) for a, b in some], size=NOUNS["dimension"], seed=seed, negative=NEGATIVES, burn_in=0
    )

    def train() -> tuple[tuple[np.ndarray, ...], float]:
        model.train(epochs=1, batch_size=NOUNS["batch"])
        return (), len(some)

    return clocked(train)


def nouns(scale: str) -> Contest:
    """One epoch of the noun closure; ImportError without gensim, data.DataError without the data."""
    import gensim  # noqa: F401

    tree = data.noun_closure()
    return Contest(
        "poincare_nouns", f"noun closure of WordNet (goal 400,000 per second), d = {NOUNS['dimension']}", "relations",
        {"nsx": functools.partial(nouns_nsx, tree), "gensim": functools.partial(nouns_gensim, tree)},
        lambda arrays: {}, SIZES[scale][1], None, NOUNS | {"relations": len(tree.relations), "negatives": NEGATIVES},
    )  # fmt: skip


CONTESTS = {"poincare_mammals": mammals, "poincare_nouns": nouns}
