"""Supervised contrast: every other point of the label is a positive, in the batch and in a bank."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nsx._checks import as_floats
from nsx._numerics import masked_logsumexp
from nsx._types import Array, ArrayLike, Bool, Float, Int
from nsx.losses._batch_checks import require_labels, require_scalar_temperature, require_where, without
from nsx.losses._by_rows import over_slabs
from nsx.losses._sides import Columns, exclusions, places
from nsx.losses._sums import least_shift


def sup_con(
    x: Float[ArrayLike, "b d"],
    labels: Int[ArrayLike, "b"],
    *,
    temperature: Float[ArrayLike, ""],
    bank: Float[ArrayLike, "m d"] | None = None,
    bank_labels: Int[ArrayLike, "m"] | None = None,
    where: Bool[ArrayLike, "rows"] | None = None,
    block_size: int | None = None,
    precision: str | None = "highest",
) -> Float[Array, "b"]:
    r"""Supervised contrastive loss: every other point of the label is a positive, the rest are negatives.

    $$\ell_i = -\frac1{|P_i|}\sum_{p\in P_i}\log\frac{e^{z_{ip}}}{\sum_{j\ne i} e^{z_{ij}}},
      \qquad P_i = \{p\ne i: c_p = c_i\}, \quad z_{ij} = x_i\cdot x_j/\tau,$$

    where p and j run over the batch and the bank.

    Args:
        x: points, shape `(b, d)`; scores are the dot products of the inputs as given, so normalise for cosines.
        labels: class of each point, integers of any size, shape `(b,)`.
        temperature: tau > 0, a scalar; may be learned.
        bank: more points for all of them to meet (a queue, a memory), shape `(m, d)`; they have no loss of their own.
            Gradients flow to it, unless it comes through `jax.lax.stop_gradient`.
        bank_labels: class of each point of the bank, shape `(m,)`.
        where: True at the rows that count, shape `(b,)`, or `(b + m,)` to rule the bank too (a queue that fills); a
            row that does not has loss 0, is nobody's positive or negative, and may hold anything.
        block_size: rows of a slab; None takes about 2^21 scores.
        precision: of the matrix products, as in `jax.numpy.matmul`.

    Returns:
        Loss per point in nats, shape `(b,)`, no reduction; 0 where a point is alone in its class.

    Raises:
        ValueError: temperature not positive (a traced one outside its domain gives NaN), a bank without labels or
            labels without a bank, or shapes that do not fit.
        TypeError: labels that are not integers, a mask that is not boolean.

    Exact, in memory O((b + m) (d + block_size)) and 8 b (b + m) d operations with the gradient: points of the bank do
    not meet each other. Biased: several positives share one softmax, so the loss cannot fall below log |P_i|, which it
    reaches when all of the class coincide far from the rest.

    Example:
        >>> points = 30.0 * jnp.eye(2)[jnp.array([0, 0, 0, 1])]
        >>> labels = jnp.array([0, 0, 0, 1])
        >>> loss = sup_con(points, labels, temperature=1.0)
        >>> print(np.asarray(loss).round(4))  # log 2: two positives each
        [0.6931 0.6931 0.6931 0.    ]
        >>> bank = {"bank": points[:1], "bank_labels": labels[:1]}
        >>> loss = sup_con(points, labels, temperature=1.0, **bank)
        >>> print(np.asarray(loss).round(4))  # log 3: a third one in the bank
        [1.0986 1.0986 1.0986 0.    ]

    References:
        [khosla2020supervised, eq. 2], [he2020momentum]
    """
    # Check, promote, and put 0 where nothing counts
    temperature = require_scalar_temperature(temperature)
    x, bank, temperature = as_floats(x=x, bank=bank, temperature=temperature)
    _require_points(x, bank, bank_labels)
    points = x if bank is None else jnp.concatenate([x, bank])
    size = x.shape[0]
    total = points.shape[0]
    labels, bank_labels = require_labels(
        {"labels": size, "bank_labels": total - size}, labels=labels, bank_labels=bank_labels
    )
    classes = labels if bank is None else jnp.concatenate([labels, bank_labels])
    counted = require_where(where, size, total)
    points = without(counted.columns, points)
    columns = Columns(points, None, places(total, counted.columns, missing=-2), None)

    def rows(part: tuple[Array, Array, Array]) -> Array:
        """Losses of a slab of points."""
        anchors, place, own = part
        others = ~exclusions(place, None, columns)
        scores = jnp.matmul(anchors, points.T, precision=precision)
        top = jnp.max(jnp.where(others, scores, -jnp.inf), axis=1, keepdims=True)
        scores = scores - jax.lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0))  # before digits are lost
        same = others & (own[:, None] == classes[None, :])
        count = jnp.sum(same, axis=1)
        log_sum = jnp.where(count > 0, masked_logsumexp(scores, others), 0)
        gaps = jnp.where(same, log_sum[:, None] - scores, 0)
        spoiled = least_shift(jnp.sum(anchors, axis=1))  # NaN for a point that is none, in whatever company
        return jnp.sum(gaps, axis=1) / jnp.maximum(count, 1).astype(gaps.dtype) + spoiled

    parts = (points[:size] / temperature, places(size, counted.rows), labels)
    return over_slabs(rows, block_size, total, parts)


def _require_points(x: Array, bank: Array | None, bank_labels: ArrayLike | None) -> None:
    """ValueError unless x is (b, d) with b >= 1, and a bank is (m, d) and comes with its labels."""
    if x.ndim != 2 or x.shape[0] == 0:
        raise ValueError(f"x must have shape (b, d) with b >= 1, got {x.shape}.")
    if (bank is None) != (bank_labels is None):
        raise ValueError("bank and bank_labels come together: pass both, or neither.")
    if bank is not None and (bank.ndim != 2 or bank.shape[1] != x.shape[1]):
        raise ValueError(f"bank must have shape {('m', x.shape[1])}, got {bank.shape}.")
