"""In-batch softmax over rows, or rows and columns, in two passes; where devices share the batch the columns travel.

Each device keeps its anchors, and its candidates go round: they meet the anchors of every device in turn and bring
home what they gathered, column sums on the first round and gradients on the second. So no device ever holds more than
its share and one visitor's, O(m d) for m pairs a device, and nothing is summed over devices by anyone else. With the
gradient it costs 8 b^2 d operations over all devices, one direction or both. On one device the round is one step, and
the first tiles' scores are kept from one pass to the next, as many as eight times the inputs hold: 6 b^2 d where b is
at most 8 d.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nsx._types import Array
from nsx.losses._blocks import join_rows, split_rows
from nsx.losses._sums import Sums, loss_from_sums

_KEPT = 8  # scores kept for the second pass, in multiples of the numbers in x


class Share(NamedTuple):
    """A device's pairs: both sides `(m, d)`, their places in the whole batch `(m,)`, and ids `(m,)` or None."""

    x: Array
    y: Array
    index: Array
    ids: Array | None


class Plan(NamedTuple):
    """What is static: the mapped axis or None, rows of a tile, whether columns count too, precision of products."""

    axis_name: str | None
    block: int
    symmetric: bool
    precision: str | None


class _Visitor(NamedTuple):
    """Columns on their way: candidates, places, ids, positive scores, and what they collect or need."""

    y: Array
    index: Array
    ids: Array | None
    positive: Array
    load: tuple


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def ring_losses(share: Share, plan: Plan) -> Array:
    """Loss of each pair of this device, shape `(m,)`: its row's, or the mean of its row's and its column's."""
    return _losses(*_sums(share, plan, 0)[:2])


def _num_kept(share: Share, plan: Plan) -> int:
    """Tiles whose scores stay in memory between the passes; none where candidates travel."""
    if plan.axis_name is not None:
        return 0
    rows = share.x.shape[0]
    block = min(plan.block, rows)
    return min(-(-rows // block), _KEPT * share.x.size // (block * rows))


def _cut(tiles: tuple[Array, ...], kept: int) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    return tuple(a[:kept] for a in tiles), tuple(a[kept:] for a in tiles)


def _joined(parts: list):
    """Outputs of consecutive scans as those of one."""
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _scan(step, carry, tiles: tuple[Array, ...], kept: int):
    """`step(carry, tile) -> carry, (out, scores)` over tiles; the scores of the first `kept` ones are returned too."""
    first, rest = _cut(tiles, kept)
    scores: Array | tuple = ()
    outs = []

    def light(carry, tile):
        carry, (out, _) = step(carry, tile)
        return carry, out

    if kept:
        carry, (out, scores) = jax.lax.scan(step, carry, first)
        outs.append(out)
    if kept < tiles[0].shape[0]:
        carry, out = jax.lax.scan(light, carry, rest)
        outs.append(out)
    return carry, _joined(outs), scores


def _visitor(share: Share, load: tuple) -> _Visitor:
    return _Visitor(share.y, share.index, share.ids, jnp.sum(share.x * share.y, axis=1), load)


def _round(step, carry, visitor: _Visitor, plan: Plan):
    """`step(carry, visitor)` at every device's columns; the visitor ends at home."""
    if plan.axis_name is None:
        return step(carry, visitor)
    size = jax.lax.axis_size(plan.axis_name)
    onward = [(i, (i + 1) % size) for i in range(size)]

    def meet(state, _):
        carry, visitor = step(*state)
        return (carry, jax.tree.map(lambda a: jax.lax.ppermute(a, plan.axis_name, onward), visitor)), None

    return jax.lax.scan(meet, (carry, visitor), length=size)[0]


def _tiles(share: Share, plan: Plan, *more: Array) -> tuple[Array, ...]:
    ids = share.index if share.ids is None else share.ids
    positive = jnp.sum(share.x * share.y, axis=1)
    return split_rows(plan.block, share.x, share.index, ids, positive, *more)


def _scores(tile: tuple[Array, ...], visitor: _Visitor, plan: Plan) -> Array:
    """Scores of a tile, -inf at what is no negative."""
    x, index, ids = tile[:3]
    scores = jnp.matmul(x, visitor.y.T, precision=plan.precision)
    out = (index[:, None] == visitor.index[None, :]) | (index < 0)[:, None]
    if visitor.ids is not None:
        out = out | (ids[:, None] == visitor.ids[None, :])
    return jnp.where(out, -jnp.inf, scores)


def _sums(share: Share, plan: Plan, kept: int) -> tuple[Sums, tuple[Sums, ...], Array | tuple]:
    """Sums of this device's rows, and of its columns where they count; and the scores of the first tiles."""

    def step(carry: tuple, visitor: _Visitor) -> tuple[tuple, _Visitor]:
        def tile(load: tuple, part: tuple[Array, ...]) -> tuple[tuple, tuple[Sums, Array]]:
            scores = _scores(part, visitor, plan)
            load = tuple(sums.add(scores - visitor.positive[None, :], 0) for sums in load)
            return load, (Sums(*part[4:]).add(scores - part[3][:, None], 1), scores)

        load, rows, scores = _scan(tile, visitor.load, _tiles(share, plan, *carry[0]), kept)
        return (jax.tree.map(lambda a: join_rows(a, share.x.shape[0]), rows), scores), visitor._replace(load=load)

    nothing = Sums(*(jnp.zeros_like(share.x[:, 0]) for _ in range(2)))
    (rows, scores), visitor = _round(step, (nothing, ()), _visitor(share, (nothing,) * plan.symmetric), plan)
    return rows, visitor.load, scores


def _losses(rows: Sums, columns: tuple[Sums, ...]) -> Array:
    sides = [loss_from_sums(*sums) for sums in (rows, *columns)]
    return sum(sides) / len(sides)


def _forward(share: Share, plan: Plan) -> tuple[Array, tuple]:
    rows, columns, scores = _sums(share, plan, _num_kept(share, plan))
    return _losses(rows, columns), (share, rows, columns, scores)


def _backward(plan: Plan, residuals: tuple, g: Array) -> tuple[Share]:
    share, rows, columns, known = residuals
    sides = (rows, *columns)
    top = [s.shift for s in sides]
    scale = [g / len(sides) / (s.total + jnp.exp(-s.shift)) for s in sides]

    def step(dx: Array, visitor: _Visitor) -> tuple[Array, _Visitor]:
        def tile(dy: Array, part: tuple[Array, ...], scores: Array) -> tuple[Array, Array]:
            positive, dx, shift, own = part[3:]
            weights = jnp.exp(scores - (positive + shift)[:, None]) * own[:, None]
            for shift, own in visitor.load[1:]:
                weights = weights + jnp.exp(scores - (visitor.positive + shift)[None, :]) * own[None, :]
            dy = dy + jnp.matmul(weights.T, part[0], precision=plan.precision)
            return dy, dx + jnp.matmul(weights, visitor.y, precision=plan.precision)

        dy, dx = _again(tile, visitor, _tiles(share, plan, dx, top[0], scale[0]), known, plan)
        return join_rows(dx, share.x.shape[0]), visitor._replace(load=(dy, *visitor.load[1:]))

    load = (jnp.zeros_like(share.y), *zip(top[1:], scale[1:], strict=True))
    dx, visitor = _round(step, jnp.zeros_like(share.x), _visitor(share, load), plan)
    pull = sum(s.total * own for s, own in zip(sides, scale, strict=True))[:, None]
    return (Share(dx - pull * share.y, visitor.load[0] - pull * share.x, None, None),)


def _again(tile, visitor: _Visitor, tiles: tuple[Array, ...], known: Array | tuple, plan: Plan) -> tuple[Array, Array]:
    """`tile(dy, part, scores)` over all tiles: with known scores first, then with scores formed again."""
    kept = 0 if isinstance(known, tuple) else known.shape[0]
    first, rest = _cut(tiles, kept)
    dy, parts = visitor.load[0], []
    if kept:
        dy, dx = jax.lax.scan(lambda dy, both: tile(dy, *both), dy, (first, known))
        parts.append(dx)
    if kept < tiles[0].shape[0]:
        dy, dx = jax.lax.scan(lambda dy, part: tile(dy, part, _scores(part, visitor, plan)), dy, rest)
        parts.append(dx)
    return dy, _joined(parts)


ring_losses.defvjp(_forward, _backward)
