"""The in-batch loss: every other pair of the batch supplies a negative, and no b x b array is ever held."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nsx._checks import as_float, require_count, require_finite, require_positive
from nsx._types import Array, ArrayLike, Float, Int
from nsx.losses._blocks import default_block
from nsx.losses._row_kernel import Batch, row_losses
from nsx.losses._symmetric_kernel import Pairs, symmetric_losses


def in_batch_info_nce(
    x: Float[ArrayLike, "b d"],
    y: Float[ArrayLike, "b d"],
    *,
    temperature: Float[ArrayLike, ""],
    symmetric: bool = False,
    block_size: int | None = None,
    axis_name: str | None = None,
    ids: Int[ArrayLike, "b"] | None = None,
    log_q: Float[ArrayLike, "b"] | None = None,
    precision: str | None = "highest",
) -> Float[Array, "b"]:
    r"""InfoNCE of a batch of pairs: the positive of x_i is y_i, its negatives are all other y_j.

    $$\ell_i = -\log\frac{e^{z_{ii}}}{\sum_j e^{z_{ij}}}, \qquad z_{ij} = x_i\cdot y_j/\tau - \log q_j,$$

    and with `symmetric` the mean of this and of the same with rows and columns exchanged.

    Args:
        x: anchors, shape `(b, d)`; scores are the dot products of the inputs as given, so normalise for cosines.
        y: candidates, shape `(b, d)`.
        temperature: tau > 0, a scalar; may be learned.
        symmetric: average over rows and columns, as in CLIP.
        block_size: rows of a slab of scores; None takes about 2^21 scores, 8 MiB of float32.
        axis_name: mapped axis (of shard_map, or of vmap with a name) over which the batch is split: x, y, ids
            and log_q are this device's share, negatives come from all. Gradients need no factor of the world size.
        ids: identity of each y, integers of shape `(b,)`; columns of equal id are no negatives of each other.
        log_q: log-probability of each y under the law that fills the batch, nats, shape `(b,)`, the
            popularity correction; a constant of each column, so it moves the row direction only. None
            corrects nothing.
        precision: of the matrix products, as in `jax.numpy.matmul`; "highest" keeps float32 from being
            rounded to TF32 or bfloat16 on accelerators, None leaves it to JAX's configuration.

    Returns:
        Loss per pair in nats, shape `(b,)`, no reduction; 0 where no negative is left. Half precision is
        promoted to float32 first.

    Raises:
        ValueError: temperature not positive or log_q not finite (concrete values only; a traced temperature
            <= 0 gives a meaningless value or NaN), or shapes that do not fit.
        TypeError: ids that are not integers, a block_size that is no Python integer.

    Exact, in memory O(b (d + block_size)), values and gradients (reverse mode; forward over reverse for
    second derivatives), for any weights of the rows. A mean or sum over the batch costs 6 b^2 d operations
    with its gradient, unequal weights 10, symmetric 8. Biased for the softmax over a whole catalogue by the
    law of the batch, which `log_q` corrects, and by duplicates of the positive, which `ids` masks. With
    `axis_name` each device gathers y, and x too where symmetric (memory O(n d) for n pairs over all devices;
    symmetric then costs 12). Differentiated outside shard_map all gradients are those of one device,
    temperature's included; inside it, divide local sums by the global n, and what is replicated, such as
    temperature, gets one share a device unless shard_map itself sums them (check_vma=True does).

    Example:
        >>> bool(jnp.allclose(in_batch_info_nce(jnp.zeros((4, 2)), jnp.ones((4, 2)), temperature=0.1), jnp.log(4.0)))
        True

    References:
        [oord2018representation, eq. 4], [radford2021learning, fig. 3], [yi2019sampling]
    """
    x, y, ids = _checked(x, y, temperature, ids)
    x = x / jnp.asarray(temperature)
    if log_q is not None:
        x, y = _with_log_q(x, y, log_q)
    if axis_name is None:
        block = _block(block_size, x.shape[0])
        if symmetric:
            return symmetric_losses(Pairs(x, y, ids), block, precision)
        return row_losses(Batch(x, y, jnp.arange(x.shape[0]), ids), block, precision)
    return _over_axis(x, y, ids, symmetric, block_size, axis_name, precision)


def _checked(
    x: ArrayLike, y: ArrayLike, temperature: ArrayLike, ids: ArrayLike | None
) -> tuple[Array, Array, Array | None]:
    x, y = as_float("x", x), as_float("y", y)
    if x.ndim != 2 or x.shape != y.shape or x.shape[0] == 0:
        raise ValueError(f"x and y must have one shape (b, d) with b >= 1, got {x.shape} and {y.shape}.")
    require_positive("temperature", temperature, advice="It divides the scores.")
    if jnp.ndim(temperature):
        raise ValueError(f"temperature must be a scalar here, got shape {jnp.shape(temperature)}.")
    if ids is not None:
        ids = jnp.asarray(ids)
        if not jnp.issubdtype(ids.dtype, jnp.integer):
            raise TypeError(f"ids must be integers, compared for equality, got {ids.dtype}.")
        if ids.shape != x.shape[:1]:
            raise ValueError(f"ids must have shape {x.shape[:1]}, one a pair, got {ids.shape}.")
    return x, y, ids


def _with_log_q(x: Array, y: Array, log_q: ArrayLike) -> tuple[Array, Array]:
    """One more coordinate carries -1 times log q: the kernels need not know, and its gradient is right."""
    log_q = as_float("log_q", log_q)
    if log_q.shape != y.shape[:1]:
        raise ValueError(f"log_q must have shape {y.shape[:1]}, one a candidate, got {log_q.shape}.")
    require_finite("log_q", log_q, advice="A candidate of probability 0 cannot be in the batch.")
    x = jnp.concatenate([x, -jnp.ones_like(x[:, :1])], axis=1)
    return x, jnp.concatenate([y, log_q[:, None]], axis=1)


def _block(block_size: int | None, columns: int) -> int:
    if block_size is None:
        return default_block(columns)
    require_count("block_size", block_size)
    return int(block_size)


def _over_axis(
    x: Array,
    y: Array,
    ids: Array | None,
    symmetric: bool,
    block_size: int | None,
    axis_name: str,
    precision: str | None,
) -> Array:
    """Rows of this device against the columns of all; the gather's transpose sums the columns' gradients."""

    def gather(array: Array) -> Array:
        return jax.lax.all_gather(array, axis_name, tiled=True)

    rows = x.shape[0]
    target = jax.lax.axis_index(axis_name) * rows + jnp.arange(rows)
    ids = None if ids is None else gather(ids)
    columns = gather(y)
    block = _block(block_size, columns.shape[0])
    loss = row_losses(Batch(x, columns, target, ids), block, precision)
    if not symmetric:
        return loss
    return (loss + row_losses(Batch(y, gather(x), target, ids), block, precision)) / 2
