"""In-batch softmax over rows, a slab of whole rows at a time: exact, in memory O((m + n) d).

Scores z_ij = x_i . y_j; the positive of row i is column target_i, and z_i+ its score. Over the negatives only, let
e_ij = exp(z_ij - z_i+ - shift_i), total_i their sum and full_i = total_i + exp(-shift_i). Then

    loss_i = shift_i + log full_i,   d loss_i / d z_ij = e_ij / full_i,   d loss_i / d z_i+ = -total_i / full_i.

The positive never enters a sum as 1 - p: where it wins, e is small and nothing cancels. A slab holds whole
rows, so its softmax is complete and the gradient costs no second product of the scores. The gradient in x of
row i is linear in that row's cotangent, but that in y mixes all rows: the forward rule forms it for equal
cotangents (any mean or sum over the batch), and only unequal ones need the scores again.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nsx._types import Array
from nsx.losses._blocks import join_rows, split_rows
from nsx.losses._sums import loss_from_sums


class Batch(NamedTuple):
    """Rows `(m, d)`, columns `(n, d)`, the positive's column of each row `(m,)`, and column ids `(n,)` or None."""

    x: Array
    y: Array
    target: Array
    ids: Array | None


class _Rows(NamedTuple):
    """What the backward pass needs of each row: positive score, shift, total and full."""

    positive: Array
    shift: Array
    total: Array
    full: Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def row_losses(batch: Batch, block: int, precision: str | None) -> Array:
    """InfoNCE of every row against all columns, shape `(m,)`."""

    def losses(slab: tuple[Array, ...]) -> Array:
        _, rows = _slab(slab, batch, precision)
        return loss_from_sums(rows.shift, rows.total)

    slabs = jax.lax.map(losses, _slabs(batch, block))
    return join_rows(slabs, batch.x.shape[0])


def exclusions(target: Array, row_ids: Array, columns: int, ids: Array | None) -> Array:
    """True where a column is no negative of a row: its positive, its id, or anything for a row of padding."""
    rows = target.shape[0]
    column = jax.lax.broadcasted_iota(target.dtype, (rows, columns), 1)
    out = (column == target[:, None]) | (target < 0)[:, None]
    return out if ids is None else out | (row_ids[:, None] == ids[None, :])


def _slabs(batch: Batch, block: int, *more: Array) -> tuple[Array, ...]:
    own = batch.y[batch.target]
    row_ids = batch.target if batch.ids is None else batch.ids[batch.target]
    positive = jnp.sum(batch.x * own, axis=1)
    return split_rows(block, batch.x, own, positive, batch.target, row_ids, *more)


def _gaps(slab: tuple[Array, ...], batch: Batch, precision: str | None) -> Array:
    """z_ij - z_i+ of a slab, -inf at what is no negative; the positive goes here, before any exponential."""
    x, _, positive, target, row_ids = slab[:5]
    scores = jnp.matmul(x, batch.y.T, precision=precision)
    out = exclusions(target, row_ids, batch.y.shape[0], batch.ids)
    return jnp.where(out, -jnp.inf, scores - positive[:, None])


def _slab(slab: tuple[Array, ...], batch: Batch, precision: str | None) -> tuple[Array, _Rows]:
    gaps = _gaps(slab, batch, precision)
    shift = jnp.maximum(jnp.max(gaps, axis=1), 0)
    weights = jnp.exp(gaps - shift[:, None])
    total = jnp.sum(weights, axis=1)
    return weights, _Rows(slab[2], shift, total, total + jnp.exp(-shift))


def _forward(batch: Batch, block: int, precision: str | None) -> tuple[Array, tuple]:
    def step(dy: Array, slab: tuple[Array, ...]) -> tuple[Array, tuple[Array, _Rows]]:
        x, own = slab[:2]
        weights, rows = _slab(slab, batch, precision)
        dy = dy + jnp.matmul(weights.T, x / rows.full[:, None], precision=precision)
        dx = jnp.matmul(weights, batch.y, precision=precision) - rows.total[:, None] * own
        return dy, (dx / rows.full[:, None], rows)

    dy, out = jax.lax.scan(step, jnp.zeros_like(batch.y), _slabs(batch, block))
    dx, rows = jax.tree.map(lambda a: join_rows(a, batch.x.shape[0]), out)
    dy = _pull_positive(dy, batch, rows, 1 / rows.full)
    return loss_from_sums(rows.shift, rows.total), (batch, rows, dx, dy)


def _pull_positive(dy: Array, batch: Batch, rows: _Rows, scale: Array) -> Array:
    """What each row adds at its own positive."""
    return dy.at[batch.target].add(-(rows.total * scale)[:, None] * batch.x)


def _column_gradient(batch: Batch, rows: _Rows, g: Array, block: int, precision: str | None) -> Array:
    """The gradient in y for any cotangents g `(m,)`: the scores are formed again."""

    def step(dy: Array, slab: tuple[Array, ...]) -> tuple[Array, None]:
        shift, scale = slab[5:]
        weights = jnp.exp(_gaps(slab, batch, precision) - shift[:, None])
        return dy + jnp.matmul(weights.T, scale[:, None] * slab[0], precision=precision), None

    scale = g / rows.full
    dy, _ = jax.lax.scan(step, jnp.zeros_like(batch.y), _slabs(batch, block, rows.shift, scale))
    return _pull_positive(dy, batch, rows, scale)


@functools.partial(jax.custom_jvp, nondiff_argnums=(4, 5))
def _weighed(batch: Batch, rows: _Rows, dy: Array, g: Array, block: int, precision: str | None) -> Array:
    """`_column_gradient`, taken from its value at g = 1 where all g are equal (both are computed under vmap)."""
    return jax.lax.cond(
        jnp.all(g == g[0]),
        lambda: g[0] * dy,
        lambda: _column_gradient(batch, rows, g, block, precision),
    )


@_weighed.defjvp
def _weighed_jvp(block: int, precision: str | None, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """Second derivatives come from the general form: g[0] * dy forgets that the other cotangents may move."""
    batch, rows, _, g = primals
    batch_dot, rows_dot, _, g_dot = tangents
    general = functools.partial(_column_gradient, block=block, precision=precision)
    return jax.jvp(general, (batch, rows, g), (batch_dot, rows_dot, g_dot))


def _backward(block: int, precision: str | None, residuals: tuple, g: Array) -> tuple[Batch]:
    batch, rows, dx, dy = residuals
    return (Batch(g[:, None] * dx, _weighed(batch, rows, dy, g, block, precision), None, None),)


row_losses.defvjp(_forward, _backward)
