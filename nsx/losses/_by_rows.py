"""Any score-level loss over a batch, a slab of whole rows at a time: the family that has no kernel of its own.

A slab is computed, used and forgotten, and computed again for the gradient: 8 b^2 d operations with it, where the
kernels of `in_batch_info_nce` need 6, but derivatives of every order and in every parameter come for nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from nsx._numerics import masked_logsumexp
from nsx._types import Array, ArrayLike, Float, Int
from nsx.losses._batch_checks import require_integers, require_pairs, require_scalar_temperature
from nsx.losses._blocks import chosen_block, join_rows, split_rows
from nsx.losses._row_kernel import exclusions

RowLoss = Callable[..., Array]


def in_batch(
    loss: RowLoss,
    x: Float[ArrayLike, "b d"],
    y: Float[ArrayLike, "b d"],
    *,
    ids: Int[ArrayLike, "b"] | None = None,
    block_size: int | None = None,
    axis_name: str | None = None,
    precision: str | None = "highest",
) -> Float[Array, "b"]:
    r"""Any loss of this package with the other pairs of the batch as negatives, never holding the b x b scores.

    $$\ell_i = \mathrm{loss}\bigl(s_{ii}, (s_{ij})_{j\ne i}\bigr), \qquad s_{ij} = x_i\cdot y_j .$$

    Args:
        loss: called as `loss(positive, negatives, where=where)` on slabs of rows, `(r,)`, `(r, b)` and `(r, b)`; it
            returns `(r,)`. Bind the rest first: `functools.partial(losses.sigmoid, temperature=t, bias=b)`; what
            it closes over is differentiated too.
        x: anchors, shape `(b, d)`.
        y: candidates, shape `(b, d)`; y_i is the positive of x_i.
        ids: identity of each y, integers of shape `(b,)`; columns of equal id are no negatives of each other.
        block_size: rows of a slab; None takes about 2^21 scores.
        axis_name: mapped axis over which the batch is split, as in `in_batch_info_nce`.
        precision: of the matrix products, as in `jax.numpy.matmul`.

    Returns:
        Loss per pair, shape `(b,)`, no reduction.

    Raises:
        ValueError: shapes that do not fit, or what the loss itself refuses.
        TypeError: ids that are not integers, a block_size that is no Python integer.

    Exact: the same numbers as the loss on the full scores, in memory O(b (d + block_size)). Biased as the loss itself
    and as any in-batch negatives are. The mean of both directions is that of `in_batch(loss, x, y)` and
    `in_batch(loss, y, x)`.

    Example:
        >>> from functools import partial
        >>> from nsx.losses import decoupled_info_nce
        >>> decoupled = partial(decoupled_info_nce, temperature=0.1)
        >>> bool(jnp.allclose(in_batch(decoupled, jnp.ones((4, 2)), jnp.ones((4, 2))), jnp.log(3.0)))
        True

    References:
        [zhai2023sigmoid], [yeh2022decoupled], [chuang2020debiased], [robinson2021contrastive]
    """
    x, y = require_pairs(x, y)
    ids = None if ids is None else require_integers("ids", ids, x.shape[0])
    target, columns = jnp.arange(x.shape[0]), y
    if axis_name is not None:
        gather = lambda a: jax.lax.all_gather(a, axis_name, tiled=True)
        target = jax.lax.axis_index(axis_name) * x.shape[0] + target
        columns, ids = gather(y), None if ids is None else gather(ids)

    def rows(anchors: Array, own: Array, target: Array, row_ids: Array) -> Array:
        scores = jnp.matmul(anchors, columns.T, precision=precision)
        out = exclusions(target, row_ids, columns.shape[0], ids)
        return loss(jnp.sum(anchors * own, axis=1), scores, where=~out)

    return _slabs(rows, block_size, columns.shape[0], x, y, target, target if ids is None else ids[target])


def sup_con(
    x: Float[ArrayLike, "b d"],
    labels: Int[ArrayLike, "b"],
    *,
    temperature: Float[ArrayLike, ""],
    block_size: int | None = None,
    precision: str | None = "highest",
) -> Float[Array, "b"]:
    r"""Supervised contrastive loss: every other point of the label is a positive, the rest are negatives.

    $$\ell_i = -\frac1{|P_i|}\sum_{p\in P_i}\log\frac{e^{z_{ip}}}{\sum_{j\ne i} e^{z_{ij}}},
      \qquad P_i = \{p\ne i: c_p = c_i\}, \quad z_{ij} = x_i\cdot x_j/\tau .$$

    Args:
        x: points, shape `(b, d)`; scores are the dot products of the inputs as given, so normalise for cosines.
        labels: class of each point, integers of shape `(b,)`.
        temperature: tau > 0, a scalar; may be learned.
        block_size: rows of a slab; None takes about 2^21 scores.
        precision: of the matrix products, as in `jax.numpy.matmul`.

    Returns:
        Loss per point in nats, shape `(b,)`, no reduction; 0 where a point is alone in its class.

    Raises:
        ValueError: temperature not positive (concrete values only; a traced one <= 0 gives a meaningless value or
            NaN), or shapes that do not fit.
        TypeError: labels that are not integers.

    Exact, in memory O(b (d + block_size)). Biased: several positives share one softmax, so the loss cannot
    fall below log |P_i|, which it reaches when all of the class coincide far from the rest.

    Example:
        >>> points = 30.0 * jnp.eye(2)[jnp.array([0, 0, 0, 1])]
        >>> loss = sup_con(points, jnp.array([0, 0, 0, 1]), temperature=1.0)
        >>> bool(jnp.allclose(loss, jnp.log(2.0) * jnp.array([1, 1, 1, 0]), rtol=1e-6))  # two positives each
        True

    References:
        [khosla2020supervised, eq. 2]
    """
    x, _ = require_pairs(x, x)
    require_scalar_temperature(temperature)
    labels = require_integers("labels", labels, x.shape[0])

    def rows(anchors: Array, index: Array, own: Array) -> Array:
        itself = exclusions(index, own, x.shape[0], None)
        scores = jnp.matmul(anchors, x.T, precision=precision) / temperature
        top = jnp.max(jnp.where(itself, -jnp.inf, scores), axis=1, keepdims=True)
        scores = scores - jax.lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0))  # before digits are lost
        same = (own[:, None] == labels[None, :]) & ~itself
        count = jnp.sum(same, axis=1)
        total = masked_logsumexp(scores, ~itself)
        gaps = jnp.where(same, jnp.where(count > 0, total, 0)[:, None] - scores, 0)
        return jnp.sum(gaps, axis=1) / jnp.maximum(count, 1)

    return _slabs(rows, block_size, x.shape[0], x, jnp.arange(x.shape[0]), labels)


def _slabs(rows: Callable[..., Array], block_size: int | None, columns: int, *arrays: Array) -> Array:
    """`rows` over slabs of the arrays' rows, each forgotten after use."""
    slabs = split_rows(chosen_block(block_size, columns), *arrays)
    slabs = jax.lax.map(lambda part: jax.checkpoint(rows)(*part), slabs)
    return join_rows(slabs, arrays[0].shape[0])
