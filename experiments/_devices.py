"""Replicates and sweeps over several devices: `jax.lax.map` with its rows cut over the devices that `use` has taken."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, PartitionSpec

AXIS = "replicates"
# for each CPU device: a LAPACK call holds a thread while it waits for others, so that two devices on a pool of two
# threads wait for ever (jaxlib 0.10)
THREADS = 16

_taken: list[jax.Device] = []


def cores() -> int:
    """Of the CPU, those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use(count: int | None = 1) -> int:
    """Run on so many devices from here on, None for all; returns how many.

    A CPU is cut into that many (all: its cores), so this comes before anything that computes. An accelerator's first
    are taken.

    Raises:
        ValueError: there are fewer.
    """
    if count != 1:
        with contextlib.suppress(RuntimeError):  # the backend has started: what it has is all there is
            jax.config.update("jax_num_cpu_devices", count or cores())
            os.environ.setdefault("NPROC", str(THREADS * (count or cores())))  # read by XLA
    there = jax.devices()
    wanted = count or len(there)
    if wanted > len(there):
        raise ValueError(f"{wanted} devices were asked for; there are {len(there)} ({there[0].device_kind}).")
    if there[:wanted] != in_use():
        jax.clear_caches()  # programs traced for other devices
    _taken[:] = there[:wanted]
    return wanted


def in_use() -> list[jax.Device]:
    """The devices that claims run on."""
    return _taken or jax.devices()[:1]


def over_devices(f: Callable, xs: Any, *, batch_size: int | None = None, together: bool = False) -> Any:
    """`jax.lax.map(f, xs, batch_size=batch_size)` (or `jax.vmap(f)(xs)`), its rows cut over the devices in use.

    What surrounds it runs whole on every device, so the numbers are those of one device: to the bit wherever XLA
    compiles f alike for a shorter loop, else to rounding. Inside another one it is the plain map, so write it
    around the outermost loop.

    Args:
        f: of one row of `xs`.
        xs: a pytree of arrays, the rows on their leading axis.
        batch_size: rows that a device takes at once; None is one after another.
        together: True where a device takes all its rows at once.

    Returns:
        What f gives for each row, stacked.
    """
    plain = jax.vmap(f) if together else lambda rows: jax.lax.map(f, rows, batch_size=batch_size)
    if len(_taken) < 2 or AXIS in jax.sharding.get_abstract_mesh().axis_names:
        return plain(xs)
    size = jax.tree.leaves(xs)[0].shape[0]
    part = -(-size // len(_taken))

    def own(xs):
        rows = jax.lax.axis_index(AXIS) * part + jnp.arange(part)
        rows = jnp.minimum(rows, size - 1)  # the last row fills up what does not divide
        found = plain(jax.tree.map(lambda x: x[rows], xs))
        return jax.tree.map(lambda x: jax.lax.all_gather(x, AXIS, tiled=True), found)

    mesh = Mesh(np.array(_taken), (AXIS,), axis_types=(AxisType.Auto,))
    whole = PartitionSpec()  # not cut: else XLA would cut what comes before and after, and sum in another order
    found = jax.jit(jax.shard_map(own, mesh=mesh, in_specs=whole, out_specs=whole, check_vma=False))(xs)
    return jax.tree.map(lambda x: x[:size], found)
