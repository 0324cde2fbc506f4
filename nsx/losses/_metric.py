"""Losses of distances: triplet, alignment, uniformity."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import as_floats, is_concrete, require_finite, require_positive
from nsx._numerics import masked_logsumexp
from nsx._types import Array, ArrayLike, Float
from nsx.losses._blocks import default_block, split_rows
from nsx.losses._scores import nan_from


def triplet(
    positive_distance: Float[ArrayLike, "..."],
    negative_distance: Float[ArrayLike, "..."],
    *,
    margin: Float[ArrayLike, "..."],
) -> Float[Array, "..."]:
    r"""Triplet loss: the negative should be farther than the positive by a margin.

    $$\ell = \max(0,\; d^+ - d^- + m).$$

    Args:
        positive_distance: distances anchor to positive, any geometry, shape `(...)`.
        negative_distance: distances anchor to negative; broadcasts against the positive's, elementwise.
        margin: m in the unit of the distances, broadcasting.

    Returns:
        Loss per triplet, the broadcast shape; NaN where a distance is NaN.

    Raises:
        ValueError: margin not finite (traced, it gives NaN), or shapes that do not broadcast.

    Exact for the distances given. The gradient is 0 at the kink d- = d+ + m, as it is beyond it.

    Example:
        >>> triplet(1.0, jnp.array([0.5, 1.5, 3.0]), margin=1.0).tolist()
        [1.5, 0.5, 0.0]

    References:
        [schroff2015facenet, eq. 3]
    """
    near, far, margin = as_floats(
        positive_distance=positive_distance,
        negative_distance=negative_distance,
        margin=require_finite("margin", margin),
    )
    near, far, margin = _broadcast(near, far, margin)
    gap = near - far + margin
    loss = jnp.where(gap <= 0, 0, gap)  # jnp.maximum would split the gradient in halves at the kink
    return loss * jnp.where(jnp.isnan(gap), jnp.nan, 1)  # a slope of 1 would hide it


def _broadcast(near: Array, far: Array, margin: Array) -> list[Array]:
    """The three at one shape; ValueError where there is none."""
    try:
        shape = np.broadcast_shapes(near.shape, far.shape, margin.shape)
    except ValueError:
        raise ValueError(
            "positive_distance, negative_distance and margin must broadcast, "
            f"got shapes {near.shape}, {far.shape} and {margin.shape}."
        ) from None
    return [jnp.broadcast_to(array, shape) for array in (near, far, margin)]


def alignment(
    x: Float[ArrayLike, "... d"], y: Float[ArrayLike, "... d"], *, power: Float[ArrayLike, ""] = 2
) -> Float[Array, "..."]:
    r"""Alignment: how far the two embeddings of a positive pair are from each other.

    $$\ell = \lVert x - y \rVert_2^{\alpha}.$$

    Args:
        x: embeddings, shape `(..., d)`, on the unit sphere in the paper.
        y: embeddings of the positives, shape `(..., d)`.
        power: alpha > 0, a scalar.

    Returns:
        One value per pair, shape `(...)`; the paper's quantity is its mean.

    Raises:
        ValueError: power not positive (traced, it gives NaN) or no scalar, or shapes that do not fit.

    Exact, with its curvature at power 2. At x = y the gradient is 0, also for power <= 1, where the true one does
    not exist, and the second derivative is 0 at every power but a concrete 2.

    Example:
        >>> angles = jnp.array([0.0, jnp.pi / 3, jnp.pi])
        >>> points = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
        >>> [round(float(a), 4) for a in alignment(points, jnp.array([[1.0, 0.0]] * 3))]
        [0.0, 1.0, 4.0]

    References:
        [wang2020understanding, sec. 4.1]
    """
    smooth = is_concrete(power) and np.ndim(power) == 0 and power == 2
    x, y, power = as_floats(x=x, y=y, power=require_positive("power", power))
    if power.ndim:
        raise ValueError(f"power must be a scalar, got shape {power.shape}.")
    if x.ndim == 0 or x.shape != y.shape:
        raise ValueError(f"x and y must have one shape (..., d), got {x.shape} and {y.shape}.")
    square = jnp.sum((x - y) ** 2, axis=-1)
    if smooth:
        return square  # the mask below would lose the curvature at x = y
    apart = square != 0
    loss = jnp.where(apart, jnp.where(apart, square, 1) ** (power / 2), 0)
    return nan_from(loss, power)


def uniformity(x: Float[ArrayLike, "... n d"], *, temperature: Float[ArrayLike, ""] = 2) -> Float[Array, "..."]:
    r"""Uniformity: log of the mean Gaussian potential between the points of a batch.

    $$\ell = \log \frac{1}{n(n-1)} \sum_{i \ne j} e^{-t \lVert x_i - x_j \rVert_2^2}.$$

    Args:
        x: points, shape `(..., n, d)` with n >= 2, on the unit sphere in the paper.
        temperature: t > 0, a scalar, an inverse squared length that multiplies (the paper's name for it).

    Returns:
        One value per batch of points, shape `(...)`: at most 0, and 0 only when all points coincide.

    Raises:
        ValueError: t not positive (traced, it gives NaN) or no scalar, or a shape without two points.

    Exact, in memory O(n d): rows of the n x n potentials are formed in blocks, and again for the gradient. On
    points drawn from the sphere's uniform law the mean inside the log is unbiased for its value there,
    exp(-2t) Gamma(d/2) t^(1-d/2) I_{d/2-1}(2t); the log of it is biased down by O(1/n).

    Example:
        >>> square = jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
        >>> clumped = jnp.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
        >>> [round(float(uniformity(points)), 3) for points in (square, clumped)]  # lower is more even
        [-4.396, -1.098]

    References:
        [wang2020understanding, sec. 4.1]
    """
    x, t = as_floats(x=x, temperature=require_positive("temperature", temperature))
    if x.ndim < 2 or x.shape[-2] < 2:
        raise ValueError(f"x must have shape (..., n, d) with n >= 2 points, got {x.shape}: one point has no pair.")
    if t.ndim:
        raise ValueError(f"temperature must be a scalar, got shape {t.shape}.")
    batches = x.reshape((math.prod(x.shape[:-2]), *x.shape[-2:]))
    return jax.vmap(lambda points: _log_mean_potential(points, t))(batches).reshape(x.shape[:-2])


def _log_mean_potential(x: Array, t: Array) -> Array:
    """The log-mean over ordered pairs of one batch `(n, d)`, a block of rows at a time."""
    n = x.shape[0]
    x = x - jax.lax.stop_gradient(jnp.mean(x, axis=0, keepdims=True))  # less to cancel in |a|^2 + |b|^2 - 2 a.b
    norms = jnp.sum(x * x, axis=1)

    def log_row_sums(block: tuple[Array, Array, Array]) -> Array:
        points, index, norm = block
        square = norm[:, None] + norms[None, :] - 2 * jnp.matmul(points, x.T, precision="highest")
        other = (index[:, None] != jnp.arange(n)[None, :]) & (index >= 0)[:, None]
        return masked_logsumexp(-t * square, other)

    blocks = split_rows(default_block(n), (x, jnp.arange(n), norms))
    rows = jax.lax.map(jax.checkpoint(log_row_sums), blocks)  # else the gradient would keep all n x n potentials
    return masked_logsumexp(rows.reshape(-1)) - jnp.log(jnp.asarray(n * (n - 1), x.dtype))
