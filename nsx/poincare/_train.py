"""Embed a hierarchy: the loop over epochs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from nsx._checks import require_count
from nsx._epochs import Store, fingerprint, run_epochs
from nsx._rows import trim_rows
from nsx._types import Array, ArrayLike, Float, Int, Key
from nsx.poincare._epoch import HierarchyInfo, epoch_in_place, hierarchy_init
from nsx.poincare._geometries import Geometry
from nsx.poincare._plan import HierarchyPlan, hierarchy_plan


class HierarchyTraining(NamedTuple):
    """Result of `train_hierarchy`.

    Attributes:
        points: `(n, d)`, one a node, in the coordinates of the geometry.
        losses: of each epoch, nats per relation, NumPy, shape `(epochs,)`.
    """

    points: Array
    losses: np.ndarray


def train_hierarchy(
    key: Key[Array, ""],
    relations: Int[ArrayLike, "m 2"],
    *,
    num_nodes: int,
    dimension: int = 10,
    epochs: int = 300,
    geometry: Geometry | None = None,
    negatives: int = 50,
    learning_rate: float = 0.03,
    batch_size: int = 10,
    burn_in: int = 20,
    burn_in_rate: float = 0.1,
    dampening: float = 0.75,
    log_weights: Float[ArrayLike, " n"] | None = None,
    dtype: jnp.dtype = jnp.float32,
    progress: Callable[[int, HierarchyInfo], object] | None = None,
    mesh: Mesh | None = None,
    checkpoints: Store | None = None,
) -> HierarchyTraining:
    r"""Points whose distances rank each node's ancestors before all other nodes.

    $$\min_\theta \sum_{(u, v) \in R} -\log \frac{e^{-d(\theta_u, \theta_v)}}
      {e^{-d(\theta_u, \theta_v)} + \sum_{j=1}^{k} e^{-d(\theta_u, \theta_{z_j})}}, \qquad z_j \sim q_u .$$

    Args:
        key: from `jax.random.key`.
        relations: (node, ancestor) ids, shape `(m, 2)`.
        num_nodes: n.
        dimension: d.
        epochs: passes over the relations.
        geometry: `ball_geometry()` (None), `lorentz_geometry()` or `euclidean_geometry(...)`.
        negatives: k of a relation; see `hierarchy_plan`, also for the next six.
        learning_rate: of one relation.
        batch_size: relations whose updates are summed in a step.
        burn_in: epochs of burn-in.
        burn_in_rate: factor of the learning rate during burn-in.
        dampening: exponent of the counts in the negatives of burn-in.
        log_weights: law of the negatives after burn-in; None is uniform.
        dtype: of the points.
        progress: called after each epoch with its number, from 0, and its `HierarchyInfo`.
        mesh: devices that share the work of each step and the rows of the points, from `jax.make_mesh`; None is one.
        checkpoints: `nsx.checkpoints.Checkpoints`; the run goes on after the last epoch found there.

    Returns:
        `HierarchyTraining(points, losses)`. The same key gives the same bits on a CPU, whatever the number of epochs,
        in one go or after an interruption; a mesh gives the same to rounding, and its points stay shared out if n is
        a multiple of its devices.

    Raises:
        ValueError: as `hierarchy_plan`, or dimension or epochs < 1.
        TypeError: as `hierarchy_plan`.
        FloatingPointError: the loss of an epoch is not finite: the steps were too large.
        CheckpointError: see `nsx.checkpoints.Checkpoints`.

    Exact gradients of the loss above at the points a step starts from; see `hierarchy_epoch`.

    Example:
        >>> tree = jnp.array([[1, 0], [2, 0], [3, 1], [3, 0], [4, 2], [4, 0]])
        >>> trained = train_hierarchy(jax.random.key(0), tree, num_nodes=5, dimension=2, epochs=60, negatives=4)
        >>> trained.points.shape, bool(trained.losses[-1] < trained.losses[0])
        ((5, 2), True)

    References:
        [nickel2017poincare, eq. 5-6]
    """
    plan = hierarchy_plan(
        relations,
        num_nodes=num_nodes,
        geometry=geometry,
        negatives=negatives,
        learning_rate=learning_rate,
        batch_size=batch_size,
        burn_in=burn_in,
        burn_in_rate=burn_in_rate,
        dampening=dampening,
        log_weights=log_weights,
    )
    require_count("epochs", epochs)
    run = "" if checkpoints is None else fingerprint(key, plan, dimension, *_options(plan))
    init_key, epochs_key = jax.random.split(key)
    state, losses = run_epochs(
        lambda epoch: jax.random.fold_in(epochs_key, epoch),
        hierarchy_init(init_key, plan, dimension=dimension, dtype=dtype, mesh=mesh),
        lambda epoch_key, state: epoch_in_place(epoch_key, plan, state, mesh=mesh),
        _finite_loss,
        epochs=epochs,
        run=run,
        checkpoints=checkpoints,
        progress=progress,
    )
    return HierarchyTraining(trim_rows(state.points, num_nodes), losses)


def _options(plan: HierarchyPlan) -> tuple:
    """What decides the result beyond the plan's arrays."""
    geometry = getattr(plan.geometry.pull, "func", plan.geometry.pull)
    return plan.negatives, plan.batch_size, geometry.__name__, getattr(plan.geometry.pull, "keywords", None)


def _finite_loss(info: HierarchyInfo, epoch: int) -> float:
    loss = float(info.loss)
    if not np.isfinite(loss):
        raise FloatingPointError(
            f"training diverged in epoch {epoch}: the loss is {loss}. Lower learning_rate "
            f"({float(info.learning_rate):g} in that epoch) or batch_size."
        )
    return loss
