"""Start the points of a hierarchy and run an epoch over its relations: pure array code over a `HierarchyPlan`."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from nsx._checks import require_count
from nsx._rows import Axes, add, by_rows, locate, place_rows, require_shared, settle, share_out, take, zero_count
from nsx._types import Array, Key
from nsx.poincare._geometries import Geometry
from nsx.poincare._negatives import NoiseLaw, draw_negatives
from nsx.poincare._plan import HierarchyPlan

SPREAD = 1e-3  # of the first coordinates, as published


class HierarchyState(NamedTuple):
    """Where training stands.

    Attributes:
        points: `(n, d)`, one a node.
        epoch: int32, epochs done; it decides on burn-in.
    """

    points: Array
    epoch: Array


class HierarchyInfo(NamedTuple):
    """What an epoch reports.

    Attributes:
        loss: nats per relation, each scored before it is learnt from.
        learning_rate: of one relation in this epoch.
    """

    loss: Array
    learning_rate: Array


def hierarchy_init(
    key: Key[Array, ""],
    plan: HierarchyPlan,
    *,
    dimension: int = 10,
    dtype: jnp.dtype = jnp.float32,
    mesh: Mesh | None = None,
) -> HierarchyState:
    r"""Points near the origin.

    $$\theta_{ui} \sim \mathrm{Uniform}(-10^{-3}, 10^{-3}) .$$

    Args:
        key: from `jax.random.key`.
        plan: of the hierarchy.
        dimension: d >= 1.
        dtype: of the points.
        mesh: devices that share the rows of the points; None keeps them on one.

    Returns:
        `HierarchyState` at epoch 0. Every distance starts near 0, a loss of about log(1 + k) a relation. On a mesh,
        rows of zeros make n a multiple of its devices; no node has them, and they stay 0.

    Raises:
        ValueError: dimension < 1.

    Exact.

    Example:
        >>> plan = hierarchy_plan([[1, 0]], num_nodes=3)
        >>> hierarchy_init(jax.random.key(0), plan, dimension=2).points.shape
        (3, 2)

    References:
        [nickel2017poincare, sec. 4]
    """
    require_count("dimension", dimension)
    return HierarchyState(_start(key, (plan.num_nodes, dimension), jnp.dtype(dtype), mesh), zero_count(mesh))


@partial(jax.jit, static_argnums=(1, 2, 3))
def _start(key: Array, shape: tuple[int, int], dtype: jnp.dtype, mesh: Mesh | None) -> Array:
    return place_rows(jax.random.uniform(key, shape, dtype, minval=-SPREAD, maxval=SPREAD), mesh)


@partial(jax.jit, static_argnames="mesh")
def hierarchy_epoch(
    key: Key[Array, ""], plan: HierarchyPlan, state: HierarchyState, *, mesh: Mesh | None = None
) -> tuple[HierarchyState, HierarchyInfo]:
    r"""One pass over the relations in a new order, with new negatives.

    $$\theta \leftarrow \mathrm{settle}\Bigl(\theta - \eta \sum_{(u, v) \in \text{step}} \nabla L_{uv}(\theta)\Bigr),$$

    with the Riemannian gradient of each relation's loss. Only the rows that occur are gathered, moved and put back.

    Args:
        key: from `jax.random.key`, a new one each epoch.
        plan: of the hierarchy.
        state: from `hierarchy_init` or the epoch before.
        mesh: devices that share the relations of each step and the rows of the points, which `hierarchy_init` placed
            on it; None is one device.

    Returns:
        The next `HierarchyState`, and `HierarchyInfo`; the same to rounding on any mesh. Points that are not finite
        give a loss that is not.

    Raises:
        ValueError: points whose rows the mesh cannot share.

    Exact gradient of the loss on the negatives drawn; the relations of a step see the points from before it. Different
    from the published code: negatives are drawn with replacement (there, distinct ones), and relations are not updated
    by several threads at once. Biased, as it is there, as a step moves along a straight line.

    Example:
        >>> plan = hierarchy_plan([[1, 0], [2, 0]], num_nodes=3, negatives=2, burn_in=0)
        >>> start_key, epoch_key = jax.random.split(jax.random.key(0))
        >>> state, info = hierarchy_epoch(epoch_key, plan, hierarchy_init(start_key, plan, dimension=2))
        >>> int(state.epoch), round(float(info.loss - jnp.log(3)), 2)
        (1, 0.0)

    References:
        [nickel2017poincare, eq. 4-6]
    """
    require_shared(state.points, mesh, name="points", start="hierarchy_init")
    order_key, noise_key = jax.random.split(key)
    burning = state.epoch < plan.burn_in
    rate = plan.learning_rate * jnp.where(burning, plan.burn_in_rate, 1)
    shape = (plan.chunks, plan.steps, plan.batch_size)
    slot = jnp.arange(np.prod(shape), dtype=jnp.int32)
    size = len(plan.relations)
    order = jnp.argsort(jax.random.bits(order_key, (size,), jnp.uint32))[slot % size]
    pairs = plan.relations[order].reshape(*shape, 2)
    batches = jnp.arange(plan.chunks), pairs, (slot < size).reshape(shape)
    points, losses = jax.lax.scan(partial(_chunk, noise_key, plan, burning, rate, mesh), state.points, batches)
    return HierarchyState(points, state.epoch + 1), HierarchyInfo(jnp.sum(losses) / size, rate)


epoch_in_place = jax.jit(hierarchy_epoch.__wrapped__, static_argnames="mesh", donate_argnames="state")


def _chunk(
    key: Array, plan: HierarchyPlan, burning: Array, rate: Array, mesh: Mesh | None, points: Array, batch: tuple
) -> tuple[Array, Array]:
    """Draw the negatives of many steps at once, then take the steps."""
    chunk, pairs, counts = batch
    anchors = pairs[..., 0].reshape(-1)
    word = jax.random.bits(jax.random.fold_in(key, chunk), (plan.negatives, anchors.size), jnp.uint32)

    def draw(law: NoiseLaw) -> tuple[Array, Array]:
        return draw_negatives(word, law, anchors), law.room[anchors] > 0

    drawn, possible = jax.lax.cond(burning, lambda: draw(plan.burn_in_noise), lambda: draw(plan.noise))
    others = jnp.concatenate([pairs[..., 1:], drawn.reshape(*pairs.shape[:2], -1)], axis=-1)
    counts = (counts & possible.reshape(counts.shape)).astype(points.dtype)
    points, losses = _walk(plan.geometry, rate.astype(points.dtype), points, (pairs[..., 0], others, counts), mesh)
    return points, jnp.sum(losses)


def _walk(geometry: Geometry, rate: Array, points: Array, batches: tuple, mesh: Mesh | None) -> tuple[Array, Array]:
    """Step through the relations; on a mesh each device takes its part of every step's."""
    if mesh is None:
        return jax.lax.scan(partial(_step, geometry, rate), points, batches)
    axes, once = mesh.axis_names, PartitionSpec()
    walk = jax.shard_map(
        lambda rate, points, batches: jax.lax.scan(partial(_step, geometry, rate, axes=axes), points, batches),
        mesh=mesh,
        in_specs=(once, by_rows(mesh), PartitionSpec(None, axes)),
        out_specs=(by_rows(mesh), once),
    )
    return walk(rate, points, jax.tree.map(lambda x: share_out(x, 1, mesh), batches))


def _step(
    geometry: Geometry, rate: Array, points: Array, batch: tuple[Array, Array, Array], axes: Axes = None
) -> tuple[Array, Array]:
    """Minus the rate times the summed gradients; each row `others` (b, 1 + k) begins with the ancestor."""
    anchors, others, counts = batch
    place = locate(points, jnp.concatenate([anchors, others.reshape(-1)]), axes)
    held = take(points, place, axes)
    u, v = held[: len(anchors), None], held[len(anchors) :].reshape(*others.shape, -1)
    closeness, gradients = geometry.pull(u, v)
    rest = jnp.sum(closeness[:, 1:], axis=1, keepdims=True)
    total = closeness[:, :1] + rest
    slope = jnp.concatenate([rest, -closeness[:, 1:]], axis=1) * (rate * counts[:, None] / total)
    du, dv = gradients(slope)
    points = add(points, place, -jnp.concatenate([du, dv.reshape(-1, dv.shape[-1])]), axes)
    if geometry.settle is not None:
        points = settle(points, place, geometry.settle, axes)
    nearest = jnp.maximum(closeness[:, 0], jnp.finfo(points.dtype).tiny)
    loss = jnp.sum(counts * jnp.log1p(rest[:, 0] / nearest))
    return points, loss if axes is None else jax.lax.psum(loss, axes)
