"""Where an interrupted training goes on: the one module of nsx that writes files, through orbax (`nsx[checkpoints]`).

A trainer takes `checkpoints=Checkpoints(folder)` and does the rest: it saves after epochs, and it begins after the last
epoch found in the folder. The pure epoch functions know nothing of it.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nsx._checks import require_count
from nsx._types import Array, PyTree


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written or read, or that belongs to another run."""


class Checkpoints(NamedTuple):
    """A folder for the checkpoints of one run, which may be anywhere that orbax can write.

    Attributes:
        folder: made where it is missing; on many hosts, one that all of them see.
        every: epochs between two checkpoints; the last epoch is always kept.
        keep: how many of the newest stay.
    """

    folder: str | Path
    every: int = 1
    keep: int = 2

    def restore(self, run: str, start: PyTree) -> tuple[PyTree, list[float]]:
        """Find where a run was left.

        Args:
            run: fingerprint of all that decides its result.
            start: state before the first epoch: shapes, types and devices of what is read.

        Returns:
            State and losses after the last epoch saved, or `start` and no losses where the folder has none.

        Raises:
            CheckpointError: the newest checkpoint cannot be read, or belongs to another run.
        """
        with _manager(self) as manager:
            newest = manager.latest_step()
            if newest is None:
                return start, []
            try:
                return _read(manager, newest, run, start)
            except CheckpointError as error:
                raise CheckpointError(f"{self.folder}: {error}") from None
            except Exception as error:
                raise CheckpointError(_unreadable(self.folder, newest, manager.all_steps(), error)) from error

    def save(self, run: str, state: PyTree, losses: list[float], *, last: bool) -> None:
        """Keep the state after an epoch, if it is one to be kept; whole, or not at all.

        Args:
            run: fingerprint of all that decides its result.
            state: a pytree of arrays.
            losses: of each epoch so far.
            last: whether this was the last epoch.

        Raises:
            CheckpointError: it cannot be written, for want of room or of rights; those from before are as they were.
        """
        if len(losses) % self.every and not last:
            return
        ocp = _orbax()
        about = ocp.args.JsonSave({"run": run, "losses": losses, "sums": _sums(state)})
        with _manager(self) as manager:
            before = manager.latest_step()
            try:
                manager.save(len(losses), args=ocp.args.Composite(state=ocp.args.StandardSave(state), about=about))
            except Exception as error:
                kept = "none is there yet" if before is None else f"that of epoch {before} is as it was"
                raise CheckpointError(
                    f"{self.folder}: the checkpoint of epoch {len(losses)} could not be written; {kept}. Make room or "
                    f"name another folder, and start again to go on. ({_first_line(error)})"
                ) from error


def _orbax() -> ModuleType:
    try:
        import orbax.checkpoint as ocp
    except ImportError:
        raise ImportError("checkpoints need orbax-checkpoint: pip install 'nsx[checkpoints]'.") from None
    return ocp


def _manager(checkpoints: Checkpoints) -> Any:
    """Open the folder; what an interrupted save left behind is cleared away."""
    require_count("every", checkpoints.every)
    require_count("keep", checkpoints.keep)
    ocp = _orbax()
    options = ocp.CheckpointManagerOptions(
        max_to_keep=checkpoints.keep, enable_async_checkpointing=False, cleanup_tmp_directories=True
    )
    folder = Path(checkpoints.folder).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return ocp.CheckpointManager(folder, options=options, item_names=("state", "about"))
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be a folder of checkpoints. ({_first_line(error)})") from error


def _read(manager: Any, epoch: int, run: str, start: PyTree) -> tuple[PyTree, list[float]]:
    ocp = _orbax()
    about = manager.restore(epoch, args=ocp.args.Composite(about=ocp.args.JsonRestore())).about
    if about["run"] != run:
        raise CheckpointError(
            f"the checkpoint of epoch {epoch} is of another run (key, data or options differ): use an empty folder, or "
            "train as before."
        )
    like = jax.tree.map(ocp.utils.to_shape_dtype_struct, start)
    # rows of zeros at the end of a table depend on the number of devices; they are cut or added as needed
    state = manager.restore(epoch, args=ocp.args.Composite(state=ocp.args.StandardRestore(like, strict=False))).state
    if _sums(state) != about["sums"]:
        raise ValueError("what is read is not what was written")
    return state, about["losses"]


def _sums(state: PyTree) -> list[int]:
    """A sum over the bits of each array, weighted by place: orbax does not notice a changed byte."""
    return [int(x) for x in _bit_sums(jax.tree.leaves(state))]


@jax.jit
def _bit_sums(leaves: list[Array]) -> list[Array]:
    def bit_sum(x: Array) -> Array:
        bits = jax.lax.bitcast_convert_type(x, jnp.uint16 if x.dtype.itemsize == 2 else jnp.uint32).reshape(-1)
        weight = 2 * jnp.arange(bits.size, dtype=jnp.uint32) + 1  # rows of zeros at the end add nothing
        return jnp.sum(bits.astype(jnp.uint32) * weight, dtype=jnp.uint32)

    return [bit_sum(x) for x in leaves]


def _unreadable(folder: str | Path, epoch: int, epochs: list[int], error: Exception) -> str:
    older = [e for e in epochs if e != epoch]
    rest = f"go on from epoch {max(older)}" if older else "start anew"
    return (
        f"{folder}: the checkpoint of epoch {epoch} cannot be read. Remove its folder, {epoch}, to {rest}. "
        f"({_first_line(error)})"
    )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
