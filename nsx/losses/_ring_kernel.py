"""In-batch softmax over rows, or rows and columns, in two passes; where devices share the batch the columns travel.

Each device keeps its anchors, and its candidates go round: they meet the anchors of every device in turn and bring
home what they gathered, column sums on the first round and gradients on the second. So no device ever holds more than
its share and one visitor's, O((m + n) d) for m pairs and n candidates per device, and nothing is summed over devices
by anyone else. With the gradient it costs 8 b^2 d operations over all devices, one direction or both. On one device the
round is one step, and the first tiles' scores are kept from one pass to the next, as many as eight times the inputs
hold: 6 b^2 d where b is at most 8 d.

The logits of the positives and the log-sums of what else a denominator holds are the caller's, who differentiates them.
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

_KEPT = 8  # scores kept for the second pass, in multiples of the numbers in x


class Plan(NamedTuple):
    """What is static: the mapped axis or None, rows of a tile, whether columns count too, precision of products."""

    axis_name: str | None
    block: int
    symmetric: bool
    precision: str | None


class _Visitor(NamedTuple):
    """Columns on their way, and what they collect or need."""

    columns: Columns
    load: tuple


class _Pull(NamedTuple):
    """What turns scores into weights of the gradient: the shift of each row or column, and its cotangent over full."""

    shift: Array
    scale: Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def ring_losses(rows: Rows, columns: Columns, plan: Plan) -> Array:
    """Loss of each pair of this device, shape `(m,)`: its row's, or the mean of its row's and its column's."""
    return _losses(*_sums(rows, columns, plan, 0)[:2])


# --- Tiles and rounds


def _num_kept(rows: Rows, columns: Columns, plan: Plan) -> int:
    """Tiles whose scores stay in memory between the passes; none where candidates travel."""
    if plan.axis_name is not None:
        return 0
    size = rows.x.shape[0]
    block = min(plan.block, size)
    return min(-(-size // block), _KEPT * rows.x.size // (block * columns.y.shape[0]))


def _cut(tiles, kept: int) -> tuple:
    """The first tiles of a tree, and the rest."""
    return jax.tree.map(lambda a: a[:kept], tiles), jax.tree.map(lambda a: a[kept:], tiles)


def _joined(parts: list):
    """Outputs of consecutive scans as those of one."""
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _scan(step, carry, tiles, kept: int):
    """`step(carry, tile) -> carry, (out, scores)` over tiles; the scores of the first `kept` ones are returned too."""
    first, rest = _cut(tiles, kept)
    scores: Array | tuple = ()
    outs = []

    def light(carry, tile):
        """The step, its scores forgotten."""
        carry, (out, _) = step(carry, tile)
        return carry, out

    if kept:
        carry, (out, scores) = jax.lax.scan(step, carry, first)
        outs.append(out)
    if kept < jax.tree.leaves(tiles)[0].shape[0]:
        carry, out = jax.lax.scan(light, carry, rest)
        outs.append(out)
    return carry, _joined(outs), scores


def _round(step, carry, visitor: _Visitor, plan: Plan):
    """`step(carry, visitor)` at every device's columns; the visitor ends at home."""
    if plan.axis_name is None:
        return step(carry, visitor)
    size = jax.lax.axis_size(plan.axis_name)
    onward = [(i, (i + 1) % size) for i in range(size)]

    def meet(state, _):
        """The visitor is met, and sent on to the next device."""
        carry, visitor = step(*state)
        return (carry, jax.tree.map(lambda a: jax.lax.ppermute(a, plan.axis_name, onward), visitor)), None

    return jax.lax.scan(meet, (carry, visitor), length=size)[0]


def _scores(rows: Rows, columns: Columns, plan: Plan) -> Array:
    """Scores of a tile, -inf at what is no negative."""
    scores = jnp.matmul(rows.x, columns.y.T, precision=plan.precision)
    return jnp.where(exclusions(rows.place, rows.ids, columns), -jnp.inf, scores)


# --- The first pass: sums


def _sums(rows: Rows, columns: Columns, plan: Plan, kept: int) -> tuple[Sums, tuple[Sums, ...], Array | tuple]:
    """Sums of this device's rows, and of its columns where they count; and the scores of the first tiles."""
    size = rows.x.shape[0]

    def step(carry: tuple, visitor: _Visitor) -> tuple[tuple, _Visitor]:
        def tile(load: tuple, part: tuple[Rows, Sums]) -> tuple[tuple, tuple[Sums, Array]]:
            """A tile's scores join the sums of its rows, and those of the columns that have a pair."""
            slab, sums = part
            scores = _scores(slab, visitor.columns, plan)
            load = tuple(s.add(scores[:, :size] - visitor.columns.positive[None, :], 0) for s in load)
            return load, (sums.add(scores - slab.positive[:, None], 1), scores)

        load, sums, scores = _scan(tile, visitor.load, split_rows(plan.block, (rows, carry[0])), kept)
        return (jax.tree.map(lambda a: join_rows(a, size), sums), scores), visitor._replace(load=load)

    load = (Sums.start(columns.positive),) if plan.symmetric else ()
    carry = (Sums.start(rows.positive, rows.rest), ())
    (sums, scores), visitor = _round(step, carry, _Visitor(columns, load), plan)
    return sums, visitor.load, scores


def _losses(rows: Sums, columns: tuple[Sums, ...]) -> Array:
    sides = [loss_from_sums(*sums) for sums in (rows, *columns)]
    return sum(sides) / len(sides)


def _forward(rows: Rows, columns: Columns, plan: Plan) -> tuple[Array, tuple]:
    row_sums, column_sums, scores = _sums(rows, columns, plan, _num_kept(rows, columns, plan))
    return _losses(row_sums, column_sums), (rows, columns, row_sums, column_sums, scores)


# --- The second pass: gradients


def _backward(plan: Plan, residuals: tuple, g: Array) -> tuple[Rows, Columns]:
    rows, columns, row_sums, column_sums, known = residuals
    size = rows.x.shape[0]
    sides = (row_sums, *column_sums)
    pulls = [_Pull(s.shift, g / len(sides) / (s.total + jnp.exp(-s.shift))) for s in sides]

    def step(dx: Array, visitor: _Visitor) -> tuple[Array, _Visitor]:
        def tile(dy: Array, part: tuple[Rows, Array, _Pull], scores: Array) -> tuple[Array, Array]:
            """A tile's part of the gradient in y, and the gradient in its rows' x."""
            slab, dx, pull = part
            weights = jnp.exp(scores - (slab.positive + pull.shift)[:, None]) * pull.scale[:, None]
            for pull in visitor.load[1:]:
                top = visitor.columns.positive + pull.shift
                across = jnp.exp(scores[:, :size] - top[None, :]) * pull.scale[None, :]
                weights = weights + _widened(across, scores.shape[1])
            dy = dy + jnp.matmul(weights.T, slab.x, precision=plan.precision)
            return dy, dx + jnp.matmul(weights, visitor.columns.y, precision=plan.precision)

        dy, dx = _again(tile, visitor, split_rows(plan.block, (rows, dx, pulls[0])), known, plan)
        return join_rows(dx, size), visitor._replace(load=(dy, *visitor.load[1:]))

    load = (jnp.zeros_like(columns.y), *pulls[1:])
    dx, visitor = _round(step, jnp.zeros_like(rows.x), _Visitor(columns, load), plan)
    rest = None
    if rows.rest is not None:
        rest = jnp.exp(rows.rest - rows.positive - pulls[0].shift) * pulls[0].scale
    to_positives = [-s.total * pull.scale for s, pull in zip(sides, pulls, strict=True)]
    to_columns = Columns(visitor.load[0], to_positives[1] if plan.symmetric else None, None, None)
    return Rows(dx, to_positives[0], rest, None, None), to_columns


def _widened(weights: Array, columns: int) -> Array:
    """Weights of the columns that have a pair, with zeros for the others."""
    missing = columns - weights.shape[1]
    return jnp.pad(weights, [(0, 0), (0, missing)]) if missing else weights


def _again(tile, visitor: _Visitor, tiles: tuple, known: Array | tuple, plan: Plan) -> tuple[Array, Array]:
    """`tile(dy, part, scores)` over all tiles: with known scores first, then with scores formed again."""
    kept = 0 if isinstance(known, tuple) else known.shape[0]
    first, rest = _cut(tiles, kept)
    dy = visitor.load[0]
    parts = []
    if kept:
        dy, dx = jax.lax.scan(lambda dy, both: tile(dy, *both), dy, (first, known))
        parts.append(dx)

    def again(dy: Array, part: tuple[Rows, Array, _Pull]) -> tuple[Array, Array]:
        """A tile whose scores were not kept."""
        return tile(dy, part, _scores(part[0], visitor.columns, plan))

    if kept < jax.tree.leaves(tiles)[0].shape[0]:
        dy, dx = jax.lax.scan(again, dy, rest)
        parts.append(dx)
    return dy, _joined(parts)


ring_losses.defvjp(_forward, _backward)
