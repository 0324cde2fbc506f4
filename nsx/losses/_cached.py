"""Gradient caching: the gradient of a loss over a big batch in the memory of one chunk of the encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nsx._checks import require_count
from nsx._types import Array

Tree = Any  # a pytree of arrays
Encode = Callable[..., Tree]
ValueAndGrad = Callable[..., tuple[Array, Tree]]


class _Chunk(NamedTuple):
    """What an encoder is given beside the parameters: rows of the batch, and a key or None."""

    rows: Tree
    key: Array | None


class _Chunks(NamedTuple):
    """Rows in chunks: those of full size, stacked, and what is left; None where there is none."""

    full: Tree | None
    last: Tree | None


class _Tower(NamedTuple):
    """An encoder, its rows, how many make a chunk, and how many chunks come before it in other towers."""

    encode: Encode
    rows: Tree
    size: int
    before: int
    key: Array | None

    @property
    def length(self) -> int:
        """Rows of the batch."""
        return jax.tree.leaves(self.rows)[0].shape[0]

    def chunks(self) -> _Chunks:
        """Its rows in chunks, with the keys, which are the same at every call."""
        whole, left = divmod(self.length, self.size)
        numbers = self.before + jnp.arange(whole + (left > 0))
        keys = None if self.key is None else jax.vmap(jax.random.fold_in, (None, 0))(self.key, numbers)
        rows = _cut(self.rows, self.size)
        full = None if rows.full is None else _Chunk(rows.full, None if keys is None else keys[:whole])
        last = None if rows.last is None else _Chunk(rows.last, None if keys is None else keys[-1])
        return _Chunks(full, last)


def cached_value_and_grad(
    encode: Encode | Mapping[str, Encode],
    loss: Callable[..., Array],
    *,
    chunk_size: int,
    axis_name: str | None = None,
) -> ValueAndGrad:
    r"""Gradient caching: value and gradient of a loss over a whole batch, with activations of one chunk at a time.

    $$\frac{\partial L}{\partial\theta} = \sum_{c} \Bigl(\frac{\partial L}{\partial e_c}\Bigr)^{\!\top}
      \frac{\partial e_c}{\partial\theta} + \frac{\partial L}{\partial\theta}\Big|_{e}, \qquad
      e_c = \mathrm{encode}(\theta, \text{chunk}_c).$$

    Three steps: encode every chunk and keep embeddings alone; take the loss and its gradient in the embeddings; encode
    every chunk again and pull that gradient back.

    Args:
        encode: `encode(params, chunk) -> embeddings`, or `encode(params, chunk, key)` if a key is given below. The
            chunk is the batch with fewer rows; embeddings are an array or a pytree of float arrays, one row per row of
            the chunk. Several towers: a dict of such functions, whose batch and embeddings are dicts of the same names
            (their batches may differ in length).
        loss: `loss(params, embeddings, *rest) -> scalar` of all rows; its own use of params (a learned temperature) is
            differentiated too.
        chunk_size: rows of a chunk, a static integer; the last one may be shorter.
        axis_name: mapped axis of shard_map (or vmap) over which the rows of the batch are split. The loss is then this
            device's part of a sum (an in-batch loss with the same `axis_name`); value and gradient come summed over the
            axis, once, the same on every device.

    Returns:
        `f(params, batch, *rest, key=None) -> (value, gradient in params)`. Batch is a pytree of arrays with one leading
        axis; rest goes to the loss as it is (ids, labels, masks). The c-th chunk, counted through the towers in the
        order of their names, is encoded with `jax.random.fold_in(key, c)` both times, so dropout is the same. Wrap it
        in `jax.jit`.

    Raises:
        ValueError: chunk_size below 1; from the function: leaves of unequal length, names of towers that differ, or
            embeddings that are not one row per row.
        TypeError: a chunk_size that is no Python integer; what is no float where jax differentiates.

    Exact: `jax.value_and_grad` of the loss of all embeddings to rounding (sums over chunks in float32 at least), for
    one more pass of the encoder; an encoder whose rows see each other (batch normalisation) sees its chunk, here and
    there. Keys in shard_map: give each device its own, `jax.random.fold_in(key, jax.lax.axis_index(axis_name))`.

    Example:
        >>> x = jnp.arange(6.0).reshape(6, 1)
        >>> f = cached_value_and_grad(lambda w, rows: w * rows, lambda w, e: jnp.sum(e) ** 2, chunk_size=2)
        >>> value, slope = jax.jit(f)(1.0, x)  # (15 w)^2 and its slope 450 w, the rows two at a time
        >>> float(value), float(slope)
        (225.0, 450.0)

    References:
        [gao2021scaling]
    """
    chunk_size = require_count("chunk_size", chunk_size)

    def value_and_grad(params: Tree, batch: Tree, *rest: Any, key: Array | None = None) -> tuple[Array, Tree]:
        """The loss of the whole batch and its gradient in params."""
        towers = _towers(encode, batch, key, chunk_size)
        params = jax.tree.map(jnp.asarray, params)
        if axis_name is not None:
            params = _of_this_device(params, axis_name)

        # Embeddings of all rows, and nothing else of the encoder
        embeddings = {name: _encoded(tower, params) for name, tower in towers.items()}

        # The loss, and its gradient in the embeddings and in what it takes of the parameters itself
        def whole(params: Tree, embeddings: dict[str, Tree]) -> Array:
            """The loss in the caller's own terms."""
            return loss(params, embeddings if isinstance(encode, Mapping) else embeddings[_ONLY], *rest)

        value, (direct, cotangents) = jax.value_and_grad(whole, (0, 1))(params, embeddings)

        # The encoder once more, a chunk at a time, to pull that gradient back
        gradient = jax.tree.map(lambda g: g.astype(jnp.float32) if jnp.finfo(g.dtype).bits < 32 else g, direct)
        for name, tower in towers.items():
            gradient = _pulled_back(tower, params, cotangents[name], gradient)
        gradient = jax.tree.map(lambda g, p: g.astype(p.dtype), gradient, params)
        return (value, gradient) if axis_name is None else jax.lax.psum((value, gradient), axis_name)

    return value_and_grad


_ONLY = "the only tower"


def _towers(encode: Encode | Mapping[str, Encode], batch: Tree, key: Array | None, size: int) -> dict[str, _Tower]:
    """Each encoder with its rows, in the order of the names."""
    encoders = dict(encode) if isinstance(encode, Mapping) else {_ONLY: encode}
    batches = batch if isinstance(encode, Mapping) else {_ONLY: batch}
    if not isinstance(batches, Mapping) or set(batches) != set(encoders):
        got = sorted(batches) if isinstance(batches, Mapping) else type(batches).__name__
        raise ValueError(f"batch must be a dict with the names of the towers, {sorted(encoders)}, got {got}.")
    towers: dict[str, _Tower] = {}
    before = 0
    for name in sorted(encoders):
        rows = jax.tree.map(jnp.asarray, batches[name])
        towers[name] = _Tower(encoders[name], rows, size, before, key)
        before += -(-_require_length(rows) // size)
    return towers


def _require_length(rows: Tree) -> int:
    """Rows of a batch; ValueError unless all leaves agree on it."""
    lengths = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(rows)}
    if len(lengths) != 1 or lengths <= {(), (0,)}:
        raise ValueError(f"batch must hold arrays of one leading length >= 1, got {sorted(lengths)}.")
    return lengths.pop()[0]


def _cut(rows: Tree, size: int) -> _Chunks:
    """Rows in chunks of one size, `(count, size, ...)`, and the rest."""
    length = jax.tree.leaves(rows)[0].shape[0]
    count = length // size
    full = jax.tree.map(lambda a: a[: count * size].reshape(count, size, *a.shape[1:]), rows) if count else None
    last = jax.tree.map(lambda a: a[count * size :], rows) if length % size else None
    return _Chunks(full, last)


def _apply(tower: _Tower, params: Tree, chunk: _Chunk) -> Tree:
    """Embeddings of one chunk; ValueError unless they are one row per row."""
    key = () if chunk.key is None else (chunk.key,)
    embeddings = tower.encode(params, chunk.rows, *key)
    rows = jax.tree.leaves(chunk.rows)[0].shape[0]
    if any(jnp.shape(leaf)[:1] != (rows,) for leaf in jax.tree.leaves(embeddings)):
        shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(embeddings)]
        raise ValueError(f"encode must return one row per row of its chunk, here {rows}, got shapes {shapes}.")
    return embeddings


def _encoded(tower: _Tower, params: Tree) -> Tree:
    """Embeddings of all rows of a tower."""
    parts = []
    chunks = tower.chunks()
    if chunks.full is not None:
        stacked = jax.lax.map(lambda chunk: _apply(tower, params, chunk), chunks.full)
        parts.append(jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), stacked))
    if chunks.last is not None:
        parts.append(_apply(tower, params, chunks.last))
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _pulled_back(tower: _Tower, params: Tree, cotangents: Tree, gradient: Tree) -> Tree:
    """The gradient with a tower's part added, chunk by chunk."""

    def add(gradient: Tree, part: tuple[_Chunk, Tree]) -> tuple[Tree, None]:
        """One chunk's part."""
        chunk, cotangent = part
        _, pull = jax.vjp(lambda p: _apply(tower, p, chunk), params)
        (more,) = pull(cotangent)
        return jax.tree.map(lambda g, m: g + m.astype(g.dtype), gradient, more), None

    chunks = tower.chunks()
    cut = _cut(cotangents, tower.size)
    if chunks.full is not None:
        gradient, _ = jax.lax.scan(add, gradient, (chunks.full, cut.full))
    if chunks.last is not None:
        gradient, _ = add(gradient, (chunks.last, cut.last))
    return gradient


def _of_this_device(params: Tree, axis_name: str) -> Tree:
    """Params that JAX takes to differ from device to device, so that it sums no gradient over them in every chunk."""
    nothing = 0 * jax.lax.axis_index(axis_name)
    return jax.tree.map(lambda p: p + nothing.astype(p.dtype), params)
