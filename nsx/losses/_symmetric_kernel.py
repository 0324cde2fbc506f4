"""In-batch softmax over rows and columns at once, two passes over slabs of rows: exact, in memory O(b d).

Column sums are complete only after all slabs, so the first pass keeps running ones, and the backward pass
forms the scores again with both sums known. It costs 8 b^2 d operations where a dense loss that holds the
scores costs 6.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nsx._types import Array
from nsx.losses._blocks import join_rows, split_rows
from nsx.losses._row_kernel import exclusions, loss_from_sums


class Pairs(NamedTuple):
    """Both sides of the pairs, `(b, d)` each, and their ids `(b,)` or None."""

    x: Array
    y: Array
    ids: Array | None


class _Sums(NamedTuple):
    """Shift and total of the negatives of each row or column, as in the row kernel."""

    shift: Array
    total: Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def symmetric_losses(pairs: Pairs, block: int, precision: str | None) -> Array:
    """Mean of each pair's row loss and column loss, shape `(b,)`."""
    return _forward(pairs, block, precision)[0]


def _slabs(pairs: Pairs, block: int, *more: Array) -> tuple[Array, ...]:
    index = jnp.arange(pairs.x.shape[0])
    return split_rows(block, pairs.x, index, index if pairs.ids is None else pairs.ids, *more)


def _gaps(slab: tuple[Array, ...], pairs: Pairs, positive: Array, precision: str | None) -> tuple[Array, Array]:
    """A slab's z_ij - z_ii for the rows and z_ij - z_jj for the columns, -inf at what is no negative."""
    x, index, ids = slab[:3]
    scores = jnp.matmul(x, pairs.y.T, precision=precision)
    scores = jnp.where(exclusions(index, ids, pairs.y.shape[0], pairs.ids), -jnp.inf, scores)
    return scores - positive[index][:, None], scores - positive[None, :]


def _positive(pairs: Pairs) -> Array:
    return jnp.sum(pairs.x * pairs.y, axis=1)


def _add(sums: _Sums, gaps: Array, axis: int) -> _Sums:
    """The sums with more gaps in them, under the larger of both shifts."""
    shift = jnp.maximum(sums.shift, jnp.max(gaps, axis=axis))
    more = jnp.sum(jnp.exp(gaps - jnp.expand_dims(shift, axis)), axis=axis)
    return _Sums(shift, sums.total * jnp.exp(sums.shift - shift) + more)


def _sums(pairs: Pairs, block: int, precision: str | None) -> tuple[_Sums, _Sums]:
    positive = _positive(pairs)
    nothing = _Sums(jnp.zeros_like(positive), jnp.zeros_like(positive))

    def step(columns: _Sums, slab: tuple[Array, ...]) -> tuple[_Sums, _Sums]:
        row_gaps, column_gaps = _gaps(slab, pairs, positive, precision)
        none = jax.tree.map(jnp.zeros_like, _Sums(row_gaps[:, 0], row_gaps[:, 0]))
        return _add(columns, column_gaps, 0), _add(none, row_gaps, 1)

    columns, rows = jax.lax.scan(step, nothing, _slabs(pairs, block))
    return jax.tree.map(lambda a: join_rows(a, positive.shape[0]), rows), columns


def _forward(pairs: Pairs, block: int, precision: str | None) -> tuple[Array, tuple]:
    rows, columns = _sums(pairs, block, precision)
    loss = (loss_from_sums(*rows) + loss_from_sums(*columns)) / 2
    return loss, (pairs, rows, columns)


def _backward(block: int, precision: str | None, residuals: tuple, g: Array) -> tuple[Pairs]:
    pairs, rows, columns = residuals
    positive = _positive(pairs)
    row_scale, column_scale = (g / (2 * (s.total + jnp.exp(-s.shift))) for s in (rows, columns))

    def step(dy: Array, slab: tuple[Array, ...]) -> tuple[Array, Array]:
        row_gaps, column_gaps = _gaps(slab, pairs, positive, precision)
        shift, scale = slab[3:]
        weights = jnp.exp(row_gaps - shift[:, None]) * scale[:, None]
        weights = weights + jnp.exp(column_gaps - columns.shift[None, :]) * column_scale[None, :]
        dx = jnp.matmul(weights, pairs.y, precision=precision)
        return dy + jnp.matmul(weights.T, slab[0], precision=precision), dx

    slabs = _slabs(pairs, block, rows.shift, row_scale)
    dy, dx = jax.lax.scan(step, jnp.zeros_like(pairs.y), slabs)
    pull = (rows.total * row_scale + columns.total * column_scale)[:, None]
    return (Pairs(join_rows(dx, g.shape[0]) - pull * pairs.y, dy - pull * pairs.x, None),)


symmetric_losses.defvjp(_forward, _backward)
