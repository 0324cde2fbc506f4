"""Tables whose rows are shared out over the devices of a mesh: read some rows, add to them, settle them.

Inside `jax.shard_map` each device holds a stretch of rows and asks for the rows of its share of a batch. Every device
sees all the ids, answers for the rows it holds, and gets its own sum back: traffic grows with the rows asked for, not
with the table. Where `axes` is None there is one device, and these are plain gathers and scatters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from nsx._types import Array, PyTree

Axes = tuple[str, ...] | None
Step = Callable[[PyTree, Axes, tuple[PyTree, PyTree], PyTree], tuple[tuple[PyTree, PyTree], PyTree]]


def scan_steps(
    step: Step, common: PyTree, carry: tuple[PyTree, PyTree], batches: PyTree, mesh: Mesh | None
) -> tuple[tuple[PyTree, PyTree], PyTree]:
    """`lax.scan` of step(common, axes, carry, batch); on a mesh each device takes its part of every step's batch.

    The carry is (tables shared by rows, what every device holds whole). Batches have their steps on axis 0 and what
    is shared out on axis 1. What a step puts out must be the same on every device, as after a `psum` over the axes.
    """
    if mesh is None:
        return jax.lax.scan(partial(step, common, None), carry, batches)
    axes = mesh.axis_names
    whole = PartitionSpec()
    carried = (by_rows(mesh), whole)
    walk = jax.shard_map(
        lambda common, carry, batches: jax.lax.scan(partial(step, common, axes), carry, batches),
        mesh=mesh,
        in_specs=(whole, carried, PartitionSpec(None, axes)),
        out_specs=(carried, whole),
    )
    return walk(common, carry, jax.tree.map(lambda x: share_out(x, 1, mesh), batches))


def locate(table: Array, ids: Array, axes: Axes) -> Array:
    """Where the rows asked for lie in this device's stretch; a place beyond its end for those it does not hold."""
    if axes is None:
        return ids
    ids = jax.lax.all_gather(ids, axes, tiled=True)
    place = ids - jax.lax.axis_index(axes) * len(table)
    return jnp.where(place < 0, len(table), place)  # a negative place would count from the end


def take(table: Array, place: Array, axes: Axes) -> Array:
    """The rows that this device asked for."""
    if axes is None:
        return table[place]
    held = table.at[place].get(mode="fill", fill_value=0)
    return jax.lax.psum_scatter(held, axes, tiled=True)


def add(table: Array, place: Array, rows: Array, axes: Axes) -> Array:
    """Add the rows of every device; a row that is asked for twice is added to twice."""
    if axes is None:
        return table.at[place].add(rows)
    return table.at[place].add(jax.lax.all_gather(rows, axes, tiled=True), mode="drop")


def settle(table: Array, place: Array, function: Callable[[Array], Array], axes: Axes) -> Array:
    """Replace each row asked for by a function of it; rows that occur twice are set to one value."""
    if axes is None:
        return table.at[place].set(function(table[place]))
    return table.at[place].set(function(table.at[place].get(mode="fill", fill_value=0)), mode="drop")


def by_rows(mesh: Mesh) -> PartitionSpec:
    """Rows over all devices of the mesh, whatever its shape."""
    return PartitionSpec(mesh.axis_names)


def place_rows(table: Array, mesh: Mesh | None) -> Array:
    """Give each device its stretch of rows, under jit; rows of zeros make the stretches equal."""
    if mesh is None:
        return table
    return jax.lax.with_sharding_constraint(_pad(table, 0, mesh.size), NamedSharding(mesh, by_rows(mesh)))


def zero_count(mesh: Mesh | None) -> Array:
    """A counter at 0 on every device: on one alone it would be moved, and the epoch compiled twice."""
    return jnp.int32(0) if mesh is None else jax.device_put(np.int32(0), NamedSharding(mesh, PartitionSpec()))


def trim_rows(table: Array, size: int) -> Array:
    """The table without the rows that `place_rows` added."""
    return table if len(table) == size else table[:size]


def share_out(batch: Array, axis: int, mesh: Mesh) -> Array:
    """Give each device its part of a batch, under jit; zeros make the parts equal."""
    batch = _pad(batch, axis, mesh.size)
    return jax.lax.with_sharding_constraint(batch, NamedSharding(mesh, PartitionSpec(*[None] * axis, mesh.axis_names)))


def require_shared(table: Array, mesh: Mesh | None, *, name: str, start: str) -> None:
    """Raise unless the devices can share the rows equally."""
    if mesh is not None and len(table) % mesh.size:
        raise ValueError(
            f"{name} of {len(table)} rows cannot be shared by the {mesh.size} devices of the mesh: start from "
            f"{start}(..., mesh=mesh), which adds the rows that are missing."
        )


def _pad(x: Array, axis: int, multiple: int) -> Array:
    missing = -x.shape[axis] % multiple
    return jnp.pad(x, [(0, missing if i == axis else 0) for i in range(x.ndim)]) if missing else x
