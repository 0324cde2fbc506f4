"""NT-Xent over one set of points by tiles on and above the diagonal: scores are symmetric, each is met once a pass.

Pass one keeps each row's running shift and sum; pass two forms the scores again with both known. Together they cost
4 b^2 d operations with the gradient, where the full b x b scores of a dense loss cost 6. Memory O(b d + tile^2).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsx._types import Array
from nsx.losses._sums import Sums, loss_from_sums


class Points(NamedTuple):
    """Points `(b, d)`, the index of each one's positive `(b,)`, and their ids `(b,)` or None."""

    x: Array
    partner: Array
    ids: Array | None


class _Row(NamedTuple):
    """What a tile knows of a point: its place, its positive's place, its id, its positive score."""

    index: Array
    partner: Array
    ids: Array
    positive: Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def triangular_losses(points: Points, tile: int, precision: str | None) -> Array:
    """InfoNCE of every point against all others, shape `(b,)`."""
    return _forward(points, tile, precision)[0]


def _padded(points: Points, tile: int) -> tuple[Array, _Row]:
    """Points and rows up to a multiple of the tile; padding has place -1 and meets nobody."""
    size = points.x.shape[0]
    index = jnp.arange(size, dtype=jnp.int32)
    ids = index if points.ids is None else points.ids
    positive = jnp.sum(points.x * points.x[points.partner], axis=1)
    pad = lambda a, fill: jnp.pad(a, [(0, -size % tile)] + [(0, 0)] * (a.ndim - 1), constant_values=fill)
    partner = points.partner.astype(jnp.int32)
    return pad(points.x, 0), _Row(pad(index, -1), pad(partner, -1), pad(ids, 0), pad(positive, 0))


def _corners(size: int, tile: int) -> np.ndarray:
    """First row and first column of every tile on and above the diagonal, `(tiles, 2)`."""
    blocks = -(-size // tile)
    return np.stack(np.triu_indices(blocks), axis=1).astype(np.int32) * tile


def _part(tree, start: Array, tile: int):
    return jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, tile), tree)


def _put(array: Array, part: Array, start: Array) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(array, part, start, 0)


def _scores(x: Array, y: Array, row: _Row, column: _Row, masked: bool, precision: str | None) -> Array:
    """Scores of a tile, -inf at pairs that are no negatives of each other."""
    here, there = row.index[:, None], column.index[None, :]
    out = (there == row.partner[:, None]) | (here < 0) | (there < 0)
    out = out | (row.ids[:, None] == column.ids[None, :] if masked else here == there)
    return jnp.where(out, -jnp.inf, jnp.matmul(x, y.T, precision=precision))


def _forward(points: Points, tile: int, precision: str | None) -> tuple[Array, tuple]:
    size = points.x.shape[0]
    x, rows = _padded(points, tile)

    def step(sums: Sums, corner: Array) -> tuple[Sums, None]:
        i, j = corner
        row, column = _part(rows, i, tile), _part(rows, j, tile)
        scores = _scores(_part(x, i, tile), _part(x, j, tile), row, column, points.ids is not None, precision)
        put = lambda sums, new, start: jax.tree.map(lambda s, n: _put(s, n, start), sums, new)
        sums = put(sums, _part(sums, i, tile).add(scores - row.positive[:, None], 1), i)

        def below() -> Sums:
            return put(sums, _part(sums, j, tile).add(scores - column.positive[None, :], 0), j)

        return jax.lax.cond(i == j, lambda: sums, below), None

    nothing = jnp.zeros_like(rows.positive)
    (shift, total), _ = jax.lax.scan(step, Sums(nothing, nothing), _corners(size, tile))
    return loss_from_sums(shift[:size], total[:size]), (points, shift, total)


def _backward(tile: int, precision: str | None, residuals: tuple, g: Array) -> tuple[Points]:
    points, shift, total = residuals
    size = points.x.shape[0]
    x, rows = _padded(points, tile)
    scale = jnp.pad(g, (0, -size % tile)) / (total + jnp.exp(-shift))

    def step(dx: Array, corner: Array) -> tuple[Array, None]:
        i, j = corner
        row, column = _part(rows, i, tile), _part(rows, j, tile)
        a, b = _part(x, i, tile), _part(x, j, tile)
        scores = _scores(a, b, row, column, points.ids is not None, precision)
        top = row.positive + _part(shift, i, tile)
        weights = jnp.exp(scores - top[:, None]) * _part(scale, i, tile)[:, None]
        low = column.positive + _part(shift, j, tile)
        weights = weights + jnp.exp(scores - low[None, :]) * _part(scale, j, tile)[None, :]
        dx = _put(dx, _part(dx, i, tile) + jnp.matmul(weights, b, precision=precision), i)
        across = lambda: _put(dx, _part(dx, j, tile) + jnp.matmul(weights.T, a, precision=precision), j)
        return jax.lax.cond(i == j, lambda: dx, across), None  # on the diagonal both halves are one

    dx, _ = jax.lax.scan(step, jnp.zeros_like(x), _corners(size, tile))
    pull = (total * scale)[:size, None]
    dx = dx[:size] - pull * points.x[points.partner]
    return (Points(dx.at[points.partner].add(-pull * points.x), None, None),)


triangular_losses.defvjp(_forward, _backward)
