"""NT-Xent: the in-batch loss of one set of points whose pairs are two views of an item."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from nsx._checks import as_float, is_concrete, require_count
from nsx._types import Array, ArrayLike, Float, Int
from nsx.losses._batch_checks import require_integers, require_scalar_temperature
from nsx.losses._triangular_kernel import Points, triangular_losses

_TILE = 512  # big enough for a matrix product at full speed, small enough that few tiles straddle the diagonal


def nt_xent(
    x: Float[ArrayLike, "b d"],
    *,
    temperature: Float[ArrayLike, ""],
    partner: Int[ArrayLike, "b"] | None = None,
    block_size: int | None = None,
    ids: Int[ArrayLike, "b"] | None = None,
    precision: str | None = "highest",
) -> Float[Array, "b"]:
    r"""NT-Xent: the positive of x_i is its other view, its negatives are all points but these two.

    $$\ell_i = -\log\frac{e^{z_{i\pi(i)}}}{\sum_{j\ne i} e^{z_{ij}}}, \qquad z_{ij} = x_i\cdot x_j/\tau .$$

    Args:
        x: points, shape `(b, d)`; scores are the dot products of the inputs as given, so normalise for cosines.
        temperature: tau > 0, a scalar; may be learned.
        partner: place of each point's positive, shape `(b,)`, an involution; None pairs row i with row i + b/2.
        block_size: rows of a square tile of scores; None takes 512.
        ids: identity of each point, integers of shape `(b,)`; points of equal id are no negatives of each other.
        precision: of the matrix products, as in `jax.numpy.matmul`; see `in_batch_info_nce`.

    Returns:
        Loss per point in nats, shape `(b,)`, no reduction; 0 where no negative is left. Half precision is
        promoted to float32 first.

    Raises:
        ValueError: temperature not positive, b odd or below 2 without `partner`, a partner that is not an
            involution without fixed points (concrete values only; a traced one gives a loss whose column
            side takes the wrong positives), or shapes that do not fit.
        TypeError: ids or partner that are not integers, a block_size that is no Python integer.

    Exact, values and gradients (reverse mode), in memory O(b d + block_size^2); loss and gradient cost
    4 b^2 d operations for any weights of the rows. Biased for the softmax over a catalogue as any in-batch
    loss is, see `in_batch_info_nce`.

    Example:
        >>> bool(jnp.allclose(nt_xent(jnp.ones((4, 2)), temperature=0.1), jnp.log(3.0)))
        True

    References:
        [chen2020simple, eq. 1]
    """
    x = as_float("x", x)
    if x.ndim != 2 or x.shape[0] < 2:
        raise ValueError(f"x must have shape (b, d) with b >= 2, got {x.shape}.")
    require_scalar_temperature(temperature)
    tile = _TILE if block_size is None else block_size
    require_count("block_size", tile)
    points = Points(
        x / jnp.sqrt(jnp.asarray(temperature)), _partner(partner, x.shape[0]), require_integers("ids", ids, x.shape[0])
    )
    return triangular_losses(points, min(int(tile), x.shape[0]), precision)


def _partner(partner: ArrayLike | None, size: int) -> Array:
    if partner is None:
        if size % 2:
            raise ValueError(f"x must have an even number of rows, got {size}. Name the positives by partner.")
        return (jnp.arange(size) + size // 2) % size
    concrete = is_concrete(partner)
    partner = require_integers("partner", partner, size)
    if concrete:
        place = np.asarray(partner)
        inside = np.all((place >= 0) & (place < size))
        if not inside or np.any(place[place] != np.arange(size)) or np.any(place == np.arange(size)):
            raise ValueError("partner must pair every row with one other row: partner[partner] = arange(b).")
    return partner
