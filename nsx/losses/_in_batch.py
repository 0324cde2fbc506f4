"""The in-batch loss: every other pair of the batch supplies a negative, and no b x b array is ever held."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nsx._numerics import masked_logsumexp
from nsx._types import Array, ArrayLike, Bool, Float, Int
from nsx.losses._batch_checks import Pairs, require_labels, require_pairs, require_scalar_temperature
from nsx.losses._batch_log_q import chosen_form, log_draws, require_log_q
from nsx.losses._blocks import chosen_block
from nsx.losses._ring_kernel import Plan, ring_losses
from nsx.losses._row_kernel import row_losses
from nsx.losses._sides import Columns, Rows, places


def in_batch_info_nce(
    x: Float[ArrayLike, "b d"],
    y: Float[ArrayLike, "n d"],
    *,
    temperature: Float[ArrayLike, ""],
    symmetric: bool = False,
    block_size: int | None = None,
    axis_name: str | None = None,
    ids: Int[ArrayLike, "n"] | None = None,
    log_q: Float[ArrayLike, "n"] | None = None,
    form: str | None = None,
    own: Float[ArrayLike, "b h d"] | None = None,
    own_where: Bool[ArrayLike, "b h"] | None = None,
    where: Bool[ArrayLike, "rows"] | None = None,
    precision: str | None = "highest",
) -> Float[Array, "b"]:
    r"""InfoNCE of a batch of pairs: the positive of x_i is y_i, its negatives are all other y_j and its own ones.

    $$\ell_i = -\log\frac{e^{z_{ii}}}{e^{z_{ii}} + \sum_{j\ne i} e^{z_{ij} - c_j} + \sum_h e^{x_i\cdot o_{ih}/\tau}},
      \qquad z_{ij} = x_i\cdot y_j/\tau,$$

    with $c_j = \log(k\,q_j)$ in the *importance* form of log q, where k is the number of draws, $c_j = \log q_j$, taken
    from the positive's logit too, in the *ranking* form, and 0 without log q.

    Args:
        x: anchors, shape `(b, d)`; scores are the dot products of the inputs as given, so normalise for cosines.
        y: candidates, shape `(n, d)`, n >= b: the first b rows are the positives of the anchors, the others are more
            negatives for all of them (a queue, mined ones, another source).
        temperature: tau > 0, a scalar; may be learned.
        symmetric: average over rows and columns, as in CLIP. The columns' softmax runs over the anchors: candidates
            beyond the first b have no anchor and no column loss, own negatives stand in their anchor's row alone,
            and log q, a constant of a column, does not move it.
        block_size: rows of a slab of scores; None takes about 2^21 scores, 8 MiB of float32.
        axis_name: mapped axis of shard_map (or of vmap, if differentiated inside it) over which the batch is split:
            all arrays are this device's share (its pairs first in its y), negatives come from all. Gradients need no
            factor of the world size.
        ids: identity of each candidate, integers of any size, shape `(n,)`; candidates of the positive's id (hits) are
            no negatives.
        log_q: log-probability of each candidate under the law that fills the batch, nats, shape `(n,)`. Where several
            sources fill it, the law is their mixture by number of draws.
        form: "importance", which needs ids; "ranking", which needs hits kept, so no ids; None takes importance
            where ids are given, else ranking.
        own: hard negatives of one anchor alone, shape `(b, h, d)`. They are no draws: in every form each enters at
            weight 1 and k does not count it.
        own_where: True at the own negatives that count, shape `(b, h)`; for ragged lists, and for hits among them:
            `own_where = own_ids != ids[:b, None]`.
        where: True at the rows that count, shape `(b,)`, or `(n,)` to rule the other candidates too. A row that does
            not is no pair, no candidate and no draw: it has loss 0 and gradient 0, whatever it holds, NaN included.
        precision: of the matrix products, as in `jax.numpy.matmul`; "highest" keeps float32 from being
            rounded to TF32 or bfloat16 on accelerators, None leaves it to JAX's configuration.

    Returns:
        Loss per pair in nats, shape `(b,)`, no reduction; 0 where no negative is left. Half precision is
        promoted to float32 first, floats of two types to the wider one.

    Raises:
        ValueError: temperature not positive or log_q not finite (a traced temperature outside its domain gives NaN
            everywhere, a traced log_q NaN wherever its candidate is met), shapes that do not fit, or log q in a
            combination that is biased: importance without ids, ranking with ids or with own negatives.
        TypeError: ids that are not integers, masks that are not boolean, a block_size that is no Python integer.

    Exact, in memory O((b + n) d + n block_size + b h d), values and gradients (reverse mode; forward over reverse for
    second derivatives), for any weights of the rows. A mean or sum over the batch costs 6 b n d operations
    with its gradient, unequal weights 10, symmetric 6 to 8. Biased for the softmax over a whole catalogue by the
    law of the batch, which log q corrects: in the importance form the denominator is that softmax's in expectation,
    with k the n - 1 other candidates that count, masked hits too; in the ranking form the optimum is. With
    `axis_name` the shares of y go round the devices, none of which holds more than two (8 b n d operations in
    all). Differentiated outside shard_map all gradients are those of one device, temperature's included;
    inside it, divide local sums by the global b, and what is replicated, such as temperature, gets one share
    per device unless shard_map itself sums them (check_vma=True does).

    Example:
        >>> x, hard = jnp.eye(3), jnp.full((3, 2, 3), 0.5)
        >>> loss = in_batch_info_nce(x, x, temperature=1.0)
        >>> print(np.asarray(loss).round(4))  # log(1 + 2 / e)
        [0.5514 0.5514 0.5514]
        >>> loss = in_batch_info_nce(x, x, temperature=1.0, own=hard)
        >>> print(np.asarray(loss).round(4))  # log(1 + 2 / e + 2 / sqrt(e))
        [1.0814 1.0814 1.0814]

    References:
        [oord2018representation, eq. 4], [radford2021learning, fig. 3], [yi2019sampling], [karpukhin2020dense]
    """
    # Check, promote, and put 0 where nothing counts
    form = chosen_form(form, log_q, ids, own)
    temperature = require_scalar_temperature(temperature)
    pairs = require_pairs(x, y, own=own, own_where=own_where, where=where, temperature=temperature, log_q=log_q)
    size = pairs.x.shape[0]
    candidates = pairs.y.shape[0]
    (ids,) = require_labels({"ids": candidates}, ids=ids)

    # The logits that are each row's own: its positive's, and the log-sum of its own negatives
    temperature, promoted_log_q = pairs.more
    anchors = pairs.x / temperature
    y = pairs.y
    positive = jnp.sum(anchors * y[:size], axis=1)
    rest = own_log_sum(anchors, pairs)

    # Log q: one more coordinate carries -1 times it, so that the kernels need not know and its gradient is right
    column_positive = positive
    if form is not None:
        shift = require_log_q(log_q, promoted_log_q, pairs.counted, candidates)
        if form == "importance":
            shift = shift + log_draws(pairs.counted, candidates, axis_name).astype(shift.dtype)
        anchors = jnp.concatenate([anchors, -jnp.ones_like(anchors[:, :1])], axis=1)
        y = jnp.concatenate([y, shift[:, None]], axis=1)
        column_positive = positive - shift[:size]
    if form == "ranking":
        positive = column_positive

    # The two sides; places tell a pair from a negative, and padding from both
    start = 0 if axis_name is None else jax.lax.axis_index(axis_name) * candidates
    row_place = places(size, pairs.counted.rows, start=start)
    place = places(candidates, pairs.counted.columns, start=start, missing=-2)
    rows = Rows(anchors, positive, rest, row_place, None if ids is None else ids[:size])
    block = chosen_block(block_size, candidates)
    if axis_name is None and not symmetric:
        return row_losses(rows, Columns(y, None, place, ids), block, precision)
    plan = Plan(axis_name, block, symmetric, precision)
    return ring_losses(rows, Columns(y, column_positive, place, ids), plan)


def own_log_sum(anchors: Array, pairs: Pairs) -> Array | None:
    """Log-sum of each anchor's own negatives, `(b,)`, -inf where none counts; None where there are none at all."""
    if pairs.own is None:
        return None
    return masked_logsumexp(jnp.sum(anchors[:, None, :] * pairs.own, axis=-1), pairs.own_where)
