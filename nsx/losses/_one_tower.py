"""NT-Xent: the in-batch loss of one set of points whose pairs are two views of an item."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from nsx._checks import as_floats, as_ids, as_mask, is_concrete, require_count
from nsx._types import Array, ArrayLike, Bool, Float, Int
from nsx.losses._batch_checks import require_labels, require_scalar_temperature, without
from nsx.losses._sides import places
from nsx.losses._triangular_kernel import Points, triangular_losses

_TILE = 512  # big enough for a matrix product at full speed, small enough that few tiles straddle the diagonal


def nt_xent(
    x: Float[ArrayLike, "b d"],
    *,
    temperature: Float[ArrayLike, ""],
    partner: Int[ArrayLike, "b"] | None = None,
    block_size: int | None = None,
    ids: Int[ArrayLike, "b"] | None = None,
    where: Bool[ArrayLike, "b"] | None = None,
    precision: str | None = "highest",
) -> Float[Array, "b"]:
    r"""NT-Xent: the positive of x_i is its other view, its negatives are all points but these two.

    $$\ell_i = -\log\frac{e^{z_{i\pi(i)}}}{\sum_{j\ne i} e^{z_{ij}}}, \qquad z_{ij} = x_i\cdot x_j/\tau .$$

    Args:
        x: points, shape `(b, d)`; scores are the dot products of the inputs as given, so normalise for cosines.
        temperature: tau > 0, a scalar; may be learned.
        partner: place of each point's positive, shape `(b,)`, an involution; None pairs row i with row i + b/2.
        block_size: rows of a square tile of scores; None takes 512.
        ids: identity of each point, integers of any size, shape `(b,)`; points of equal id are no negatives of each
            other.
        where: True at the points that count, shape `(b,)`; a pair counts where both its points do. One that does not
            has loss 0 and gradient 0, is nobody's negative, and may hold anything, NaN included.
        precision: of the matrix products, as in `jax.numpy.matmul`; see `in_batch_info_nce`.

    Returns:
        Loss per point in nats, shape `(b,)`, no reduction; 0 where no negative is left. Half precision is
        promoted to float32 first.

    Raises:
        ValueError: temperature not positive (a traced one outside its domain gives NaN), b odd or below 2 without
            `partner`, a partner that is not an involution without fixed points (a traced one gives NaN
            throughout), or shapes that do not fit.
        TypeError: ids or partner that are not integers, a mask that is not boolean, a block_size that is no Python
            integer.

    Exact, values and gradients (reverse mode), in memory O(b d + block_size^2); loss and gradient cost
    4 b^2 d operations for any weights of the rows. Biased for the softmax over a catalogue as any in-batch
    loss is, see `in_batch_info_nce`.

    Example:
        >>> loss = nt_xent(jnp.ones((4, 2)), temperature=0.1)
        >>> print(np.asarray(loss).round(4))  # log 3: three others, all alike
        [1.0986 1.0986 1.0986 1.0986]
        >>> padded = jnp.ones((6, 2)).at[2::3].set(jnp.nan)  # two pairs and a row of padding in each half
        >>> loss = nt_xent(padded, temperature=0.1, where=jnp.array([True, True, False] * 2))
        >>> print(np.asarray(loss).round(4))
        [1.0986 1.0986 0.     1.0986 1.0986 0.    ]

    References:
        [chen2020simple, eq. 1]
    """
    # Check and promote
    temperature = require_scalar_temperature(temperature)
    x, temperature = as_floats(x=x, temperature=temperature)
    if x.ndim != 2 or x.shape[0] < 2:
        raise ValueError(f"x must have shape (b, d) with b >= 2, got {x.shape}.")
    size = x.shape[0]
    tile = min(_TILE if block_size is None else require_count("block_size", block_size), size)
    (ids,) = require_labels({"ids": size}, ids=ids)
    partner, paired = _partner(partner, size)
    if where is not None:
        where = as_mask("where", where, (size,), meaning="True at the points that count")
        where = where & where[partner]

    # Points over the root of the temperature, so that their products are the logits
    x = without(where, x) / jnp.sqrt(temperature)
    positive = jnp.where(paired, jnp.sum(x * x[partner], axis=1), jnp.nan)
    return triangular_losses(Points(x, positive, places(size, where), partner, ids), tile, precision)


class _Pairing(NamedTuple):
    """Place of each point's positive, and whether every point has one that has it in turn."""

    partner: Array
    paired: Array


def _partner(partner: ArrayLike | None, size: int) -> _Pairing:
    """The other view of each point; ValueError where there is none, or `paired` False where it is traced."""
    if partner is None:
        if size % 2:
            raise ValueError(f"x must have an even number of rows, got {size}. Name the positives by partner.")
        return _Pairing((jnp.arange(size, dtype=jnp.int32) + size // 2) % size, jnp.asarray(True))
    numbers = np if is_concrete(partner) else jnp
    places = as_ids("partner", partner, high=size)
    if places.shape != (size,):
        raise ValueError(f"partner must have shape {(size,)}, one per point, got {places.shape}.")
    place = numbers.asarray(partner)
    inside = (place >= 0) & (place < size)
    itself = numbers.arange(size, dtype=place.dtype)
    paired = numbers.all(inside & (place[place] == itself) & (place != itself))
    if is_concrete(partner) and not paired:
        raise ValueError("partner must pair every row with one other row: partner[partner] = arange(b).")
    return _Pairing(places.astype(jnp.int32), paired)
