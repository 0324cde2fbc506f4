"""Start the points of a hierarchy and run an epoch over its relations: pure array code over a `Plan`."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from nsx._checks import require_count
from nsx._epochs import in_place
from nsx._rows import Axes, add, locate, place_rows, require_shared, scan_steps, settle, take, zero_count
from nsx._types import Array, DTypeLike, Key
from nsx.hierarchies._geometries import Geometry, Scale, working_type
from nsx.hierarchies._negatives import NoiseLaw, draw_negatives
from nsx.hierarchies._plan import Plan

SPREAD = 1e-3  # of the first coordinates, as published


class State(NamedTuple):
    """Where training stands.

    Attributes:
        points: `(n, d)`, one per node.
        epoch: int32, epochs done; it decides on burn-in.
    """

    points: Array
    epoch: Array


class Info(NamedTuple):
    """What an epoch reports.

    Attributes:
        loss: nats per relation that has a negative, each scored before it is learnt from; float32 or wider.
        learning_rate: of one relation in this epoch.
    """

    loss: Array
    learning_rate: Array


def init(
    key: Key[Array, ""],
    plan: Plan,
    *,
    dimension: int = 10,
    dtype: DTypeLike = jnp.float32,
    mesh: Mesh | None = None,
) -> State:
    r"""Points near the origin.

    $$\theta_{ui} \sim \mathrm{Uniform}(-10^{-3}, 10^{-3}) .$$

    Args:
        key: from `jax.random.key`.
        plan: of the hierarchy.
        dimension: d >= 1.
        dtype: of the points.
        mesh: devices that share the rows of the points; None keeps them on one.

    Returns:
        `State` at epoch 0. Every distance starts near 0, a loss of about log(1 + k) per relation. On a mesh,
        rows of zeros make n a multiple of its devices; no node has them, and they stay 0.

    Raises:
        ValueError: dimension < 1.

    Exact.

    Example:
        >>> ready = nsx.hierarchies.plan([[1, 0]], num_nodes=3)
        >>> init(jax.random.key(0), ready, dimension=2).points.shape
        (3, 2)

    References:
        [nickel2017poincare, sec. 4]
    """
    require_count("dimension", dimension)
    return State(_start(key, (plan.num_nodes, dimension), jnp.dtype(dtype), mesh), zero_count(mesh))


@partial(jax.jit, static_argnums=(1, 2, 3))
def _start(key: Array, shape: tuple[int, int], dtype: DTypeLike, mesh: Mesh | None) -> Array:
    return place_rows(jax.random.uniform(key, shape, dtype, minval=-SPREAD, maxval=SPREAD), mesh)


@partial(jax.jit, static_argnames="mesh")
def epoch(key: Key[Array, ""], plan: Plan, state: State, *, mesh: Mesh | None = None) -> tuple[State, Info]:
    r"""One pass over the relations in a new order, with new negatives.

    $$\theta \leftarrow \mathrm{settle}\Bigl(\theta - \eta \sum_{(u, v) \in \text{step}} \nabla L_{uv}(\theta)\Bigr),$$

    with the Riemannian gradient of each relation's loss. Only the rows that occur are gathered, moved and put back.

    Args:
        key: from `jax.random.key`, a new one each epoch.
        plan: of the hierarchy.
        state: from `init` or the epoch before.
        mesh: devices that share the relations of each step and the rows of the points, which `init` placed
            on it; None is one device.

    Returns:
        The next `State`, and `Info`; the same to rounding on any mesh. Points that are not finite
        give a loss that is not.

    Raises:
        ValueError: points whose rows the mesh cannot share.

    Exact gradient of the loss on the negatives drawn; the relations of a step see the points from before it. Different
    from the published code: negatives are drawn with replacement (there, distinct ones), and relations are not updated
    by several threads at once. Biased, as it is there, as a step moves along a straight line.

    Example:
        >>> ready = nsx.hierarchies.plan([[1, 0], [2, 0]], num_nodes=3, negatives=2, burn_in=0)
        >>> start_key, epoch_key = jax.random.split(jax.random.key(0))
        >>> state, info = epoch(epoch_key, ready, init(start_key, ready, dimension=2))
        >>> int(state.epoch), round(float(info.loss), 2)  # log 3: one ancestor, two negatives
        (1, 1.1)

    References:
        [nickel2017poincare, eq. 4-6]
    """
    require_shared(state.points, mesh, name="points", start="init")
    order_key, noise_key = jax.random.split(key)
    burning = state.epoch < plan.burn_in
    rate = plan.learning_rate * jnp.where(burning, plan.burn_in_rate, 1)

    # every relation in one slot of the epoch's steps; the slots left over count for nothing
    size = len(plan.relations)
    shape = (plan.chunks, plan.steps, plan.batch_size)
    slot = jnp.arange(np.prod(shape), dtype=jnp.int32)
    order = jnp.argsort(jax.random.bits(order_key, (size,), jnp.uint32))[slot % size]
    pairs = plan.relations[order].reshape(*shape, 2)
    batches = jnp.arange(plan.chunks), pairs, (slot < size).reshape(shape)

    chunk = partial(_chunk, noise_key, plan, burning, rate, mesh)
    points, (losses, counted) = jax.lax.scan(chunk, state.points, batches)
    return State(points, state.epoch + 1), Info(jnp.sum(losses) / jnp.sum(counted), rate)


epoch_in_place = in_place(epoch)


def _chunk(
    key: Array, plan: Plan, burning: Array, rate: Array, mesh: Mesh | None, points: Array, batch: tuple
) -> tuple[Array, tuple[Array, Array]]:
    """Draw the negatives of many steps at once, then take the steps; returns the summed loss, and of how many."""
    chunk, pairs, counts = batch
    anchors = pairs[..., 0].reshape(-1)
    word = jax.random.bits(jax.random.fold_in(key, chunk), (plan.negatives, anchors.size), jnp.uint32)

    def draw(law: NoiseLaw) -> tuple[Array, Array]:
        return draw_negatives(word, law, anchors), law.room[anchors] > 0

    drawn, possible = jax.lax.cond(burning, lambda: draw(plan.burn_in_noise), lambda: draw(plan.noise))
    wide = working_type(points.dtype)
    batches = Batch(
        anchors=pairs[..., 0],
        others=jnp.concatenate([pairs[..., 1:], drawn.reshape(*pairs.shape[:2], -1)], axis=-1),
        counts=(counts & possible.reshape(counts.shape)).astype(wide),
    )
    how = jax.tree.map(lambda x: x.astype(wide), How(plan.scale, 1 / plan.temperature, rate))
    (points, _), losses = scan_steps(partial(_step, plan.geometry), how, (points, ()), batches, mesh)
    return points, (jnp.sum(losses), jnp.sum(batches.counts))


class Batch(NamedTuple):
    """The relations of a step: anchors `(b,)`, others `(b, 1 + k)`, the ancestor first, and whether they count."""

    anchors: Array
    others: Array
    counts: Array


class How(NamedTuple):
    """What all steps of an epoch share."""

    scale: Scale
    coldness: Array  # 1 / temperature
    rate: Array


def _step(
    geometry: Geometry, how: How, axes: Axes, carry: tuple[Array, tuple], batch: Batch
) -> tuple[tuple[Array, tuple], Array]:
    """Minus the rate times the summed gradients; returns the summed loss."""
    points, _ = carry
    anchors, others, counts = batch

    # the rows that occur
    place = locate(points, jnp.concatenate([anchors, others.reshape(-1)]), axes)
    held = take(points, place, axes).astype(how.rate.dtype)
    u = held[: len(anchors), None]
    v = held[len(anchors) :].reshape(*others.shape, -1)

    # the slope of each relation's loss in its distances
    pull = geometry.pull(u, v, how.scale)
    closeness = pull.closeness
    rest = jnp.sum(closeness[:, 1:], axis=1, keepdims=True)
    total = closeness[:, :1] + rest
    weight = how.coldness * how.rate * counts[:, None] / total
    du, dv = pull.gradients(jnp.concatenate([rest, -closeness[:, 1:]], axis=1) * weight)

    # move, and back to where points may be
    change = -jnp.concatenate([du, dv.reshape(-1, dv.shape[-1])]).astype(points.dtype)
    points = add(points, place, change, axes)
    if geometry.settle is not None:
        points = settle(points, place, lambda x: geometry.settle(x, how.scale.curvature), axes)
    loss = jnp.sum(counts * _cross_entropy(closeness[:, 0], rest[:, 0], pull.log_first))
    return (points, ()), loss if axes is None else jax.lax.psum(loss, axes)


def _cross_entropy(first: Array, rest: Array, log_first: Array) -> Array:
    """log((first + rest) / first), also where the first underflows."""
    least = jnp.finfo(first.dtype).tiny
    under = first < least
    ratio = rest / jnp.where(under, 1, first)
    return jnp.where(under, jnp.log(first + rest) - log_first, jnp.log1p(ratio))
