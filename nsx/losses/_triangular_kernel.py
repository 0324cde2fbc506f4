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
    """What is known of each point.

    Attributes:
        x: points over the root of the temperature, shape `(b, d)`.
        positive: logit of each one's positive, shape `(b,)`; the caller differentiates it.
        place: 0, 1, ..., negative where the point does not count, shape `(b,)`.
        partner: place of each one's positive, shape `(b,)`.
        ids: identity of each, shape `(b,)`, or None.
    """

    x: Array
    positive: Array
    place: Array
    partner: Array
    ids: Array | None


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def triangular_losses(points: Points, tile: int, precision: str | None) -> Array:
    """InfoNCE of every point against all others, shape `(b,)`."""
    return _forward(points, tile, precision)[0]


def _padded(tree, size: int, tile: int):
    """Arrays up to a multiple of the tile; padding has place -1 and meets nobody."""

    def pad(array: Array) -> Array:
        fill = -1 if jnp.issubdtype(array.dtype, jnp.signedinteger) else 0
        widths = [(0, -size % tile)] + [(0, 0)] * (array.ndim - 1)
        return jnp.pad(array, widths, constant_values=fill)

    return jax.tree.map(pad, tree)


def _corners(size: int, tile: int) -> np.ndarray:
    """First row and first column of every tile on and above the diagonal, `(tiles, 2)`."""
    blocks = -(-size // tile)
    return np.stack(np.triu_indices(blocks), axis=1).astype(np.int32) * tile


def _part(tree, start: Array, tile: int):
    return jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, tile), tree)


def _put(tree, part, start: Array):
    return jax.tree.map(lambda a, piece: jax.lax.dynamic_update_slice_in_dim(a, piece, start, 0), tree, part)


def _scores(row: Points, column: Points, precision: str | None) -> Array:
    """Scores of a tile, -inf at pairs that are no negatives of each other."""
    here = row.place[:, None]
    there = column.place[None, :]
    out = (there == row.partner[:, None]) | ((here | there) < 0)
    out = out | (here == there if row.ids is None else row.ids[:, None] == column.ids[None, :])
    return jnp.where(out, -jnp.inf, jnp.matmul(row.x, column.x.T, precision=precision))


def _forward(points: Points, tile: int, precision: str | None) -> tuple[Array, tuple]:
    size = points.x.shape[0]
    padded = _padded(points, size, tile)

    def step(sums: Sums, corner: Array) -> tuple[Sums, None]:
        i, j = corner
        row = _part(padded, i, tile)
        column = _part(padded, j, tile)
        scores = _scores(row, column, precision)
        sums = _put(sums, _part(sums, i, tile).add(scores - row.positive[:, None], 1), i)

        def below() -> Sums:
            """The same scores as those of the tile across the diagonal."""
            return _put(sums, _part(sums, j, tile).add(scores - column.positive[None, :], 0), j)

        return jax.lax.cond(i == j, lambda: sums, below), None

    sums, _ = jax.lax.scan(step, Sums.start(padded.positive), _corners(size, tile))
    return loss_from_sums(sums.shift[:size], sums.total[:size]), (points, sums)


def _backward(tile: int, precision: str | None, residuals: tuple, g: Array) -> tuple[Points]:
    points, sums = residuals
    size = points.x.shape[0]
    padded = _padded(points, size, tile)
    scale = _padded(g, size, tile) / (sums.total + jnp.exp(-sums.shift))

    def step(dx: Array, corner: Array) -> tuple[Array, None]:
        i, j = corner
        row = _part(padded, i, tile)
        column = _part(padded, j, tile)
        scores = _scores(row, column, precision)
        top = row.positive + _part(sums.shift, i, tile)
        weights = jnp.exp(scores - top[:, None]) * _part(scale, i, tile)[:, None]
        low = column.positive + _part(sums.shift, j, tile)
        weights = weights + jnp.exp(scores - low[None, :]) * _part(scale, j, tile)[None, :]
        dx = _put(dx, _part(dx, i, tile) + jnp.matmul(weights, column.x, precision=precision), i)

        def across() -> Array:
            """What the tile gives to the points of its columns."""
            return _put(dx, _part(dx, j, tile) + jnp.matmul(weights.T, row.x, precision=precision), j)

        return jax.lax.cond(i == j, lambda: dx, across), None  # on the diagonal both halves are one

    dx, _ = jax.lax.scan(step, jnp.zeros_like(padded.x), _corners(size, tile))
    return (Points(dx[:size], -(sums.total * scale)[:size], None, None, None),)


triangular_losses.defvjp(_forward, _backward)
