"""Embed a hierarchy: the loop over epochs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from nsx._checks import require_count
from nsx._epochs import Store, fingerprint, require_finite_loss, run_epochs
from nsx._rows import trim_rows
from nsx._types import Array, ArrayLike, DTypeLike, Float, Int, Key
from nsx.hierarchies._epoch import Info, State, epoch_in_place, init
from nsx.hierarchies._geometries import Geometry
from nsx.hierarchies._plan import Plan
from nsx.hierarchies._plan import plan as make_plan


class Training(NamedTuple):
    """Result of `train`.

    Attributes:
        points: `(n, d)`, one per node, in the coordinates of the geometry.
        losses: of each epoch, nats per relation, NumPy, shape `(epochs,)`.
    """

    points: Array
    losses: np.ndarray


def train(
    key: Key[Array, ""],
    relations: Int[ArrayLike, "m 2"],
    *,
    num_nodes: int,
    dimension: int = 10,
    epochs: int = 300,
    geometry: Geometry | None = None,
    curvature: Float[ArrayLike, ""] | None = None,
    temperature: Float[ArrayLike, ""] = 1.0,
    negatives: int = 50,
    learning_rate: Float[ArrayLike, ""] = 0.03,
    batch_size: int = 10,
    burn_in: int = 20,
    burn_in_rate: Float[ArrayLike, ""] = 0.1,
    dampening: float = 0.75,
    log_weights: Float[ArrayLike, " n"] | None = None,
    dtype: DTypeLike = jnp.float32,
    progress: Callable[[int, Info], object] | None = None,
    mesh: Mesh | None = None,
    checkpoints: Store | None = None,
) -> Training:
    r"""Points whose distances rank each node's ancestors before all other nodes.

    $$\min_\theta \sum_{(u, v) \in R} -\log \frac{e^{-d_c(\theta_u, \theta_v) / \tau}}
      {e^{-d_c(\theta_u, \theta_v) / \tau} + \sum_{j=1}^{k} e^{-d_c(\theta_u, \theta_{z_j}) / \tau}}, \qquad
      z_j \sim q_u .$$

    Args:
        key: from `jax.random.key`.
        relations: (node, ancestor) ids, shape `(m, 2)`.
        num_nodes: n.
        dimension: d.
        epochs: passes over the relations.
        geometry: `ball_geometry()` (None), `lorentz_geometry()` or `euclidean_geometry(...)`.
        curvature: c > 0 of the ball or the hyperboloid; None is 1. Flat space takes none.
        temperature: tau > 0, which divides the distances.
        negatives: k per relation; see `plan`, also for the next six.
        learning_rate: of one relation.
        batch_size: relations whose updates are summed in a step.
        burn_in: epochs of burn-in.
        burn_in_rate: factor of the learning rate during burn-in.
        dampening: exponent of the counts in the negatives of burn-in.
        log_weights: law of the negatives after burn-in; None is uniform.
        dtype: of the points.
        progress: called after each epoch with its number, from 0, and its `Info`.
        mesh: devices that share the work of each step and the rows of the points, from `jax.make_mesh`; None is one.
        checkpoints: `nsx.checkpoints.Checkpoints`; the run goes on after the last epoch found there.

    Returns:
        `Training(points, losses)`. The same key gives the same bits on a CPU, whatever the number of epochs,
        in one go or after an interruption; a mesh gives the same to rounding, and its points stay shared out if n is
        a multiple of its devices.

    Raises:
        ValueError: as `plan`, or dimension or epochs < 1.
        TypeError: as `plan`.
        FloatingPointError: the loss of an epoch is not finite: the steps were too large.
        CheckpointError: see `nsx.checkpoints.Checkpoints`.

    Exact gradients of the loss above at the points a step starts from; see `epoch`.

    Example:
        >>> tree = jnp.array([[1, 0], [2, 0], [3, 1], [3, 0], [4, 2], [4, 0]])
        >>> trained = train(jax.random.key(0), tree, num_nodes=5, dimension=2, epochs=200, negatives=4)
        >>> trained.losses[[0, -1]].round(1).tolist()  # log 5 at the start
        [1.6, 0.4]

    References:
        [nickel2017poincare, eq. 5-6]
    """
    plan = make_plan(
        relations,
        num_nodes=num_nodes,
        geometry=geometry,
        curvature=curvature,
        temperature=temperature,
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

    def epoch_key(number: int) -> Array:
        """Of its own for each epoch, however many there are."""
        return jax.random.fold_in(epochs_key, number)

    def advance(key: Array, state: State) -> tuple[State, Info]:
        """One epoch, the points overwritten."""
        return epoch_in_place(key, plan, state, mesh=mesh)

    state, losses = run_epochs(
        epoch_key,
        init(init_key, plan, dimension=dimension, dtype=dtype, mesh=mesh),
        advance,
        _finite_loss,
        epochs=epochs,
        run=run,
        checkpoints=checkpoints,
        progress=progress,
    )
    return Training(trim_rows(state.points, num_nodes), losses)


def _options(plan: Plan) -> tuple:
    """What decides the result beyond the plan's arrays."""
    pull = plan.geometry.pull
    settle = plan.geometry.settle
    return (
        plan.negatives,
        plan.batch_size,
        getattr(pull, "func", pull).__name__,
        getattr(pull, "keywords", None),
        getattr(settle, "keywords", None),
    )


def _finite_loss(info: Info, epoch: int) -> float:
    advice = f"Lower learning_rate ({float(info.learning_rate):g} in that epoch) or batch_size."
    return require_finite_loss(info.loss, epoch, advice=advice)
