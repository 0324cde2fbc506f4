"""Any score-level loss over a batch, a slab of whole rows at a time: the family that has no kernel of its own.

A slab is computed, used and forgotten, and computed again for the gradient: 8 b n d operations with it, where the
kernels of `in_batch_info_nce` need 6, but derivatives of every order and in every parameter come for nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from nsx._types import Array, ArrayLike, Bool, Float, Int
from nsx.losses._batch_checks import require_labels, require_pairs
from nsx.losses._blocks import chosen_block, join_rows, split_rows
from nsx.losses._sides import Columns, exclusions, places

RowLoss = Callable[..., Array]


def in_batch(
    loss: RowLoss,
    x: Float[ArrayLike, "b d"],
    y: Float[ArrayLike, "n d"],
    *,
    ids: Int[ArrayLike, "n"] | None = None,
    own: Float[ArrayLike, "b h d"] | None = None,
    own_where: Bool[ArrayLike, "b h"] | None = None,
    where: Bool[ArrayLike, "rows"] | None = None,
    block_size: int | None = None,
    axis_name: str | None = None,
    precision: str | None = "highest",
) -> Float[Array, "b"]:
    r"""Any loss of this package with the other pairs of the batch as negatives, never holding the b x n scores.

    $$\ell_i = \mathrm{loss}\bigl(s_{ii}, (s_{ij})_{j\ne i}, (x_i\cdot o_{ih})_h\bigr), \qquad s_{ij} = x_i\cdot y_j .$$

    Args:
        loss: called as `loss(positive, negatives, where=where)` on slabs of rows, `(r,)`, `(r, n + h)` twice; it
            returns `(r,)`. Bind the rest first: `functools.partial(losses.sigmoid, temperature=t, bias=b)`; what
            it closes over is differentiated too.
        x: anchors, shape `(b, d)`.
        y: candidates, shape `(n, d)`, n >= b; y_i is the positive of x_i, rows from b on are more negatives for all.
        ids: identity of each candidate, integers of any size, shape `(n,)`; candidates of the positive's id are no
            negatives.
        own: hard negatives of one anchor alone, shape `(b, h, d)`.
        own_where: True at the own negatives that count, shape `(b, h)`.
        where: True at the rows that count, shape `(b,)`, or `(n,)` to rule the other candidates too; a row that does
            not has loss 0, is nobody's negative, and may hold anything.
        block_size: rows of a slab; None takes about 2^21 scores.
        axis_name: mapped axis over which the batch is split, as in `in_batch_info_nce`.
        precision: of the matrix products, as in `jax.numpy.matmul`.

    Returns:
        Loss per pair, shape `(b,)`, no reduction.

    Raises:
        ValueError: shapes that do not fit, or what the loss itself refuses.
        TypeError: ids that are not integers, masks that are not boolean, a block_size that is no Python integer.

    Exact: the same numbers as the loss on the full scores, in memory O((b + n) d + n block_size + b h d). Biased as the
    loss itself and as any in-batch negatives are. The mean of both directions is that of `in_batch(loss, x, y)` and
    `in_batch(loss, y, x)`.

    Example:
        >>> from functools import partial
        >>> from nsx.losses import decoupled_info_nce
        >>> decoupled = partial(decoupled_info_nce, temperature=0.1)
        >>> loss = in_batch(decoupled, jnp.ones((4, 2)), jnp.ones((4, 2)))
        >>> print(np.asarray(loss).round(4))  # log 3: its own positive left out
        [1.0986 1.0986 1.0986 1.0986]

    References:
        [zhai2023sigmoid], [yeh2022decoupled], [chuang2020debiased], [robinson2021contrastive]
    """
    # Check, promote, and put 0 where nothing counts
    pairs = require_pairs(x, y, own=own, own_where=own_where, where=where)
    size = pairs.x.shape[0]
    candidates = pairs.y.shape[0]
    (ids,) = require_labels({"ids": candidates}, ids=ids)
    start = 0 if axis_name is None else jax.lax.axis_index(axis_name) * candidates
    row_place = places(size, pairs.counted.rows, start=start)
    row_ids = None if ids is None else ids[:size]

    # Candidates of all devices
    place = places(candidates, pairs.counted.columns, start=start, missing=-2)
    columns = Columns(pairs.y, None, place, ids)
    if axis_name is not None:
        columns = jax.tree.map(lambda a: jax.lax.all_gather(a, axis_name, tiled=True), columns)

    def rows(part: tuple) -> Array:
        """Losses of a slab of anchors."""
        anchors, positives, own, own_where, row_place, row_ids = part
        negatives = jnp.matmul(anchors, columns.y.T, precision=precision)
        counts = ~exclusions(row_place, row_ids, columns)
        if own is not None:
            own_scores = jnp.sum(anchors[:, None, :] * own, axis=-1)
            negatives = jnp.concatenate([negatives, own_scores], axis=1)
            kept = jnp.ones(own_scores.shape, bool) if own_where is None else own_where
            counts = jnp.concatenate([counts, kept], axis=1)
        each = loss(jnp.sum(anchors * positives, axis=1), negatives, where=counts)
        return jnp.where(row_place < 0, 0, each)

    parts = (pairs.x, pairs.y[:size], pairs.own, pairs.own_where, row_place, row_ids)
    return over_slabs(rows, block_size, columns.y.shape[0], parts)


def over_slabs(rows: Callable[[tuple], Array], block_size: int | None, columns: int, parts: tuple) -> Array:
    """`rows` over slabs of the arrays' rows, each forgotten after use."""
    slabs = jax.lax.map(jax.checkpoint(rows), split_rows(chosen_block(block_size, columns), parts))
    return join_rows(slabs, jax.tree.leaves(parts)[0].shape[0])
