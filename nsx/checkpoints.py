"""Where an interrupted training goes on: the one module of nsx that writes files, through orbax (`nsx[checkpoints]`).

A trainer takes `checkpoints=Checkpoints(folder)` and does the rest: it saves after epochs, and it begins after the last
epoch found in the folder. The pure epoch functions know nothing of it.

A checkpoint is written beside its place and then renamed, so a run that is killed, by SIGTERM or by a full disk, leaves
whole ones only; what it was writing is cleared away by the next run. One run at a time holds a folder.
"""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nsx._checks import require_count
from nsx._types import Array, PyTree

FULL = ("No space left", "File too large", "quota exceeded", "RESOURCE_EXHAUSTED")  # how storage says that it is full
LOCK = ".training.lock"  # stays in the folder; the system drops the lock on it when its process ends, however it does


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

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder for one training, and clear away what a killed one was writing.

        Returns:
            A context: within it no other training, of this process or another, can hold the folder.

        Raises:
            CheckpointError: another training holds the folder, or it cannot be one of checkpoints.
        """
        folder = _folder(self)
        if jax.process_index() > 0:  # one training on many hosts: the first of them holds the folder
            yield
            return
        with _locked(folder):
            _manager(self, cleanup=True).close()
            yield

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
                    f"{self.folder}: the checkpoint of epoch {len(losses)} could not be written; {kept}. "
                    f"{_advice(error)}, and start again to go on. ({_first_line(error)})"
                ) from error


def _orbax() -> ModuleType:
    try:
        import orbax.checkpoint as ocp
    except ImportError:
        raise ImportError("checkpoints need orbax-checkpoint: pip install 'nsx[checkpoints]'.") from None
    return ocp


def _folder(checkpoints: Checkpoints) -> Path:
    """The folder, made where it is missing."""
    folder = Path(checkpoints.folder).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be a folder of checkpoints. ({_first_line(error)})") from error
    return folder


def _manager(checkpoints: Checkpoints, *, cleanup: bool = False) -> Any:
    """Open the folder; with cleanup, what an interrupted save left behind is cleared away, which needs the lock."""
    require_count("every", checkpoints.every)
    require_count("keep", checkpoints.keep)
    ocp = _orbax()
    options = ocp.CheckpointManagerOptions(
        max_to_keep=checkpoints.keep, enable_async_checkpointing=False, cleanup_tmp_directories=cleanup
    )
    folder = _folder(checkpoints)
    try:
        return ocp.CheckpointManager(folder, options=options, item_names=("state", "about"))
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be a folder of checkpoints. ({_first_line(error)})") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; a folder that nobody can write to needs none."""
    if not os.access(folder, os.W_OK):
        yield
        return
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be a folder of checkpoints. ({_first_line(error)})") from error
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    """Take the lock and write down who has it, or say who does."""
    try:
        import fcntl  # not on every system

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        raise CheckpointError(
            f"{folder}: another training keeps its checkpoints here{f' (process {holder})' if holder else ''}. "
            "Wait for it to end, or name another folder."
        ) from None
    except (ImportError, OSError) as error:
        warnings.warn(
            f"{folder}: no lock can be taken here; see that no other training writes to it. ({_first_line(error)})",
            stacklevel=2,
        )
    with suppress(OSError):  # a full disk: the number is only for the message
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _advice(error: BaseException | None) -> str:
    """What to do about a failed write, by the first cause that tells."""
    while error is not None:
        number = getattr(error, "errno", None)
        if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or any(word in str(error) for word in FULL):
            return "Make room or name another folder"
        if number in (errno.EACCES, errno.EPERM, errno.EROFS) or "PERMISSION_DENIED" in str(error):
            return "Ask for the right to write there or name another folder"
        error = error.__cause__ or error.__context__
    return "See that the folder is still there, with room and the right to write, or name another"


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
