"""The in-batch loss: every other pair of the batch supplies a negative, and no b x b array is ever held."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nsx._checks import as_float, require_finite
from nsx._types import Array, ArrayLike, Float, Int
from nsx.losses._batch_checks import require_integers, require_pairs, require_scalar_temperature
from nsx.losses._blocks import chosen_block
from nsx.losses._ring_kernel import Plan, Share, ring_losses
from nsx.losses._row_kernel import Batch, row_losses


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
        axis_name: mapped axis of shard_map (or of vmap, if differentiated inside it) over which the batch is split:
            x, y, ids and log_q are this device's share, negatives come from all. Gradients need no factor of
            the world size.
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
    with its gradient, unequal weights 10, symmetric 6 to 8. Biased for the softmax over a whole catalogue by the
    law of the batch, which `log_q` corrects, and by duplicates of the positive, which `ids` masks. With
    `axis_name` the shares of y go round the devices, none of which holds more than two (8 b^2 d operations in
    all). Differentiated outside shard_map all gradients are those of one device, temperature's included;
    inside it, divide local sums by the global b, and what is replicated, such as temperature, gets one share
    a device unless shard_map itself sums them (check_vma=True does).

    Example:
        >>> bool(jnp.allclose(in_batch_info_nce(jnp.zeros((4, 2)), jnp.ones((4, 2)), temperature=0.1), jnp.log(4.0)))
        True

    References:
        [oord2018representation, eq. 4], [radford2021learning, fig. 3], [yi2019sampling]
    """
    x, y = require_pairs(x, y)
    require_scalar_temperature(temperature)
    ids = require_integers("ids", ids, x.shape[0])
    x = x / jnp.asarray(temperature)
    if log_q is not None:
        x, y = _with_log_q(x, y, log_q)
    block, index = chosen_block(block_size, x.shape[0]), jnp.arange(x.shape[0])
    if axis_name is None and not symmetric:
        return row_losses(Batch(x, y, index, ids), block, precision)
    if axis_name is not None:
        index = jax.lax.axis_index(axis_name) * x.shape[0] + index
    return ring_losses(Share(x, y, index, ids), Plan(axis_name, block, symmetric, precision))


def _with_log_q(x: Array, y: Array, log_q: ArrayLike) -> tuple[Array, Array]:
    """One more coordinate carries -1 times log q: the kernels need not know, and its gradient is right."""
    log_q = as_float("log_q", log_q)
    if log_q.shape != y.shape[:1]:
        raise ValueError(f"log_q must have shape {y.shape[:1]}, one a candidate, got {log_q.shape}.")
    require_finite("log_q", log_q, advice="A candidate of probability 0 cannot be in the batch.")
    x = jnp.concatenate([x, -jnp.ones_like(x[:, :1])], axis=1)
    return x, jnp.concatenate([y, log_q[:, None]], axis=1)
