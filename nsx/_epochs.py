"""What trainers share: the loop over epochs, its keys and losses, and where to take an interrupted run up."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from nsx._types import Array, PyTree


@runtime_checkable
class Store(Protocol):
    """What a trainer asks of `nsx.checkpoints.Checkpoints`."""

    def alone(self) -> AbstractContextManager[None]:
        """Keep other trainings out for as long as this one runs."""
        ...

    def restore(self, run: str, start: PyTree) -> tuple[PyTree, list[float]]:
        """State and losses of the last epoch saved, or `start` and none."""
        ...

    def save(self, run: str, state: PyTree, losses: list[float], *, last: bool) -> None:
        """Keep the state after an epoch, with the losses up to it."""
        ...


def run_epochs(
    epoch_key: Callable[[int], Array],
    start: PyTree,
    advance: Callable[[Array, PyTree], tuple[PyTree, Any]],
    finite_loss: Callable[[Any, int], float],
    *,
    epochs: int,
    run: str,
    checkpoints: Store | None,
    progress: Callable[[int, Any], object] | None,
) -> tuple[PyTree, np.ndarray]:
    """Advance a state by epochs, each with its own key: a run taken up among them gives the same bits."""
    with nullcontext() if checkpoints is None else checkpoints.alone():
        state, losses = (start, []) if checkpoints is None else checkpoints.restore(run, start)
        if len(losses) > epochs:
            done = len(losses)
            raise ValueError(f"the checkpoint has {done} epochs behind it, {epochs} are asked for: ask for as many.")
        for epoch in range(len(losses), epochs):
            state, info = advance(epoch_key(epoch), state)
            losses.append(finite_loss(info, epoch))
            if checkpoints is not None:
                checkpoints.save(run, state, losses, last=epoch == epochs - 1)
            if progress is not None:
                progress(epoch, info)
        return state, np.asarray(losses)


def in_place(epoch: Callable) -> Callable:
    """A jitted epoch(key, plan, state, *, mesh) that overwrites the state it is given instead of copying its tables."""
    return jax.jit(epoch.__wrapped__, static_argnames="mesh", donate_argnames="state")


def require_finite_loss(loss: Array, epoch: int, *, advice: str) -> float:
    """The loss of an epoch as a number; FloatingPointError, with what to do, where the training diverged."""
    value = float(loss)
    if not np.isfinite(value):
        raise FloatingPointError(f"training diverged in epoch {epoch}: the loss is {value}. {advice}")
    return value


def fingerprint(key: Array, plan: PyTree, *options: object) -> str:
    """A digest of all that decides the result of a run, for the same run to know its checkpoints by."""
    digest = hashlib.sha256(repr(options).encode())
    for leaf in jax.tree.leaves((jax.random.key_data(key), plan)):
        host = np.asarray(leaf)
        digest.update(f"{host.dtype}{host.shape}".encode())
        digest.update(np.ascontiguousarray(host))
    return digest.hexdigest()
