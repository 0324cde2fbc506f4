"""In-batch softmax over rows, a slab of whole rows at a time: exact, in memory O((m + n) d).

Scores z_ij = x_i . y_j; z_i+ is the logit of the row's positive and r_i the log-sum of what else its denominator holds
(negatives of its own). Both are computed by the caller, and differentiated there. Over the negatives only, let
e_ij = exp(z_ij - z_i+ - shift_i), rest_i = exp(r_i - z_i+ - shift_i), total_i their sum and
full_i = total_i + exp(-shift_i). Then

    loss_i = shift_i + log full_i,   d loss_i / d z_ij = e_ij / full_i,   d loss_i / d r_i = rest_i / full_i,
    d loss_i / d z_i+ = -total_i / full_i.

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
from nsx.losses._sides import Columns, Rows, exclusions
from nsx.losses._sums import Sums, loss_from_sums


class _Found(NamedTuple):
    """What the backward pass needs of each row: shift, total and full."""

    shift: Array
    total: Array
    full: Array


class _Slopes(NamedTuple):
    """Gradient of the sum of all losses in the rows' x and the columns' y."""

    x: Array
    y: Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def row_losses(rows: Rows, columns: Columns, block: int, precision: str | None) -> Array:
    """InfoNCE of every row against all columns, shape `(m,)`."""

    def losses(slab: Rows) -> Array:
        """Losses of one slab, whose scores are then forgotten."""
        _, found = _slab(slab, columns, precision)
        return loss_from_sums(found.shift, found.total)

    slabs = jax.lax.map(losses, split_rows(block, rows))
    return join_rows(slabs, rows.x.shape[0])


def _gaps(slab: Rows, columns: Columns, precision: str | None) -> Array:
    """z_ij - z_i+ of a slab, -inf at what is no negative; the positive goes here, before any exponential."""
    scores = jnp.matmul(slab.x, columns.y.T, precision=precision)
    out = exclusions(slab.place, slab.ids, columns)
    return jnp.where(out, -jnp.inf, scores - slab.positive[:, None])


def _slab(slab: Rows, columns: Columns, precision: str | None) -> tuple[Array, _Found]:
    """Weights e_ij of a slab and what is kept of its rows."""
    gaps = _gaps(slab, columns, precision)
    first = Sums.start(slab.positive, slab.rest)
    shift = jnp.maximum(jnp.max(gaps, axis=1), first.shift)
    weights = jnp.exp(gaps - shift[:, None])
    total = jnp.sum(weights, axis=1)
    if slab.rest is not None:
        total = total + first.total * jnp.exp(first.shift - shift)
    return weights, _Found(shift, total, total + jnp.exp(-shift))


def _forward(rows: Rows, columns: Columns, block: int, precision: str | None) -> tuple[Array, tuple]:
    def step(dy: Array, slab: Rows) -> tuple[Array, tuple[Array, _Found]]:
        """One slab's part of the gradient in y, its gradient in x, and what is kept of its rows."""
        weights, found = _slab(slab, columns, precision)
        dy = dy + jnp.matmul(weights.T, slab.x / found.full[:, None], precision=precision)
        dx = jnp.matmul(weights, columns.y, precision=precision) / found.full[:, None]
        return dy, (dx, found)

    dy, out = jax.lax.scan(step, jnp.zeros_like(columns.y), split_rows(block, rows))
    dx, found = jax.tree.map(lambda a: join_rows(a, rows.x.shape[0]), out)
    return loss_from_sums(found.shift, found.total), (rows, columns, found, _Slopes(dx, dy))


def _column_gradient(rows: Rows, columns: Columns, found: _Found, g: Array, block: int, precision: str | None) -> Array:
    """The gradient in y for any cotangents g `(m,)`: the scores are formed again."""

    def step(dy: Array, part: tuple[Rows, Array, Array]) -> tuple[Array, None]:
        slab, shift, scale = part
        weights = jnp.exp(_gaps(slab, columns, precision) - shift[:, None])
        return dy + jnp.matmul(weights.T, scale[:, None] * slab.x, precision=precision), None

    parts = split_rows(block, (rows, found.shift, g / found.full))
    return jax.lax.scan(step, jnp.zeros_like(columns.y), parts)[0]


@functools.partial(jax.custom_jvp, nondiff_argnums=(5, 6))
def _weighed(
    rows: Rows, columns: Columns, found: _Found, dy: Array, g: Array, block: int, precision: str | None
) -> Array:
    """`_column_gradient`, from its value at g = 1 where g is one number at all rows that count (under vmap: both)."""
    counts = rows.place >= 0
    common = g[jnp.argmax(counts)]
    return jax.lax.cond(
        jnp.all((g == common) | ~counts),
        lambda: common * dy,
        lambda: _column_gradient(rows, columns, found, g, block, precision),
    )


@_weighed.defjvp
def _weighed_jvp(block: int, precision: str | None, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """Second derivatives come from the general form: common * dy forgets that the other cotangents may move."""
    rows, columns, found, _, g = primals
    rows_dot, columns_dot, found_dot, _, g_dot = tangents
    general = functools.partial(_column_gradient, block=block, precision=precision)
    return jax.jvp(general, (rows, columns, found, g), (rows_dot, columns_dot, found_dot, g_dot))


def _backward(block: int, precision: str | None, residuals: tuple, g: Array) -> tuple[Rows, Columns]:
    rows, columns, found, slopes = residuals
    share = g / found.full
    rest = None
    if rows.rest is not None:
        rest = jnp.exp(rows.rest - rows.positive - found.shift) * share
    to_rows = Rows(g[:, None] * slopes.x, -found.total * share, rest, None, None)
    dy = _weighed(rows, columns, found, slopes.y, g, block, precision)
    return to_rows, Columns(dy, None, None, None)


row_losses.defvjp(_forward, _backward)
