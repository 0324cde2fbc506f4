"""Word and context vectors from a table: truncated SVD, and full-batch descent of the exact SGNS objective."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nsx._checks import (
    as_float,
    as_floats,
    is_concrete,
    require_count,
    require_finite,
    require_in_range,
    require_positive,
)
from nsx._sums import sum_type
from nsx._types import Array, ArrayLike, DTypeLike, Float, Key
from nsx.words._counts import PairCounts
from nsx.words._pmi import as_table, log_noise

SLAB_CELLS = 2**20  # scores held at once: 4 MiB in float32 stays in cache, and fresh pages cost more than products


class Factors(NamedTuple):
    """Low-rank scores: words @ contexts.T.

    Attributes:
        words: shape `(V, d)`.
        contexts: shape `(C, d)`.
    """

    words: Array
    contexts: Array


class Fit(NamedTuple):
    """Result of `fit_sgns`.

    Attributes:
        words: shape `(V, d)`.
        contexts: shape `(C, d)`.
        losses: expected loss in nats per pair before each step and at the end, shape `(num_steps + 1,)`.
    """

    words: Array
    contexts: Array
    losses: Array


def svd_factors(
    matrix: Float[ArrayLike, "v c"],
    *,
    rank: int,
    split: Float[ArrayLike, ""] = 0.5,
    symmetric: bool = False,
) -> Factors:
    r"""Best approximation of given rank in squared error, as word and context vectors.

    $$M \approx U_d \Sigma_d V_d^\top, \qquad W = U_d \Sigma_d^{\,a}, \qquad C = V_d \Sigma_d^{\,1 - a}.$$

    Args:
        matrix: finite, shape `(V, C)`, for instance `sppmi(counts, negatives=5)`.
        rank: d, at most min(V, C). The first r < d columns of the factors are those of rank r: compute once, slice.
        split: a in [0, 1]; 0.5 shares the spectrum, 1 gives it all to the words.
        symmetric: True where the matrix equals its transpose: an eigendecomposition, about 4 times as fast.

    Returns:
        `Factors`, columns by descending singular value.

    Raises:
        ValueError: not a table, entries that are not finite, rank out of range, split outside [0, 1], or a matrix
            said to be symmetric that is not. Traced, these give NaN.

    Exact for squared error over all cells alike; biased for SGNS, which weighs cells by how often they are drawn.

    Example:
        >>> factors = svd_factors(jnp.diag(jnp.array([1.0, 9.0])), rank=1, split=1.0)
        >>> jnp.abs(factors.words).round(4).tolist(), jnp.abs(factors.contexts).round(4).tolist()
        ([[0.0], [9.0]], [[0.0], [1.0]])

    References:
        [levy2014neural, sec. 4.2], [levy2015improving, sec. 3.3]
    """
    matrix, split = as_floats(matrix=matrix, split=require_in_range("split", split, 0, 1))
    _require_rank(rank, matrix.shape)
    matrix = require_finite("matrix", matrix, advice="Clip -inf first: see `sppmi`.")
    if symmetric:
        matrix = _require_symmetric(matrix)
    decomposed = jnp.linalg.svd(matrix, full_matrices=False, hermitian=symmetric)
    spectrum = jnp.where(jnp.isnan(split), jnp.nan, decomposed.S[None, :rank])  # 1 to the power NaN is 1
    words = decomposed.U[:, :rank] * spectrum**split
    return Factors(words, decomposed.Vh[:rank].T * spectrum ** (1 - split))


def _require_symmetric(matrix: Array) -> Array:
    """The matrix; where it is not its transpose, ValueError if concrete, NaN if traced."""
    advice = "pass symmetric=False, or average it with its transpose."
    if matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"matrix of shape {matrix.shape} is not symmetric; {advice}")
    if is_concrete(matrix):
        if not np.array_equal(np.asarray(matrix), np.asarray(matrix).T):
            raise ValueError(f"matrix is not symmetric; {advice}")
        return matrix
    return jnp.where(jnp.all(matrix == matrix.T), matrix, jnp.nan)


def fit_sgns(
    key: Key[Array, ""],
    counts: Float[ArrayLike, "v c"] | PairCounts,
    *,
    rank: int,
    negatives: Float[ArrayLike, ""],
    exponent: Float[ArrayLike, ""] = 1.0,
    log_weights: Float[ArrayLike, " c"] | None = None,
    num_steps: int = 100,
    learning_rate: float = 0.1,
    block_size: int | None = None,
    dtype: DTypeLike = jnp.float32,
) -> Fit:
    r"""Vectors of dimension d that minimise the exact expected SGNS loss, by full-batch descent.

    $$\min_{W, C} L(W C^\top), \qquad \partial L / \partial W = G C,\quad \partial L / \partial C = G^\top W,\quad
      G_{wc} = k P(w) q(c)\, \sigma(s_{wc}) - P(w, c)\, \sigma(-s_{wc}).$$

    Adam with a cosine decay to 0 (moments 0.8 and 0.95: the gradient has no noise to average out). It starts from
    small random vectors plus one shared coordinate that sets every score to -log k, the best constant; without
    it the loss at k = 15 stays half as far again from the optimum. Cost: 6 V C d operations per step.

    Args:
        key: from `jax.random.key`, for the start.
        counts: pair counts >= 0, shape `(V, C)`, or `PairCounts`.
        rank: d, at most min(V, C).
        negatives: k > 0, the number of noise draws per pair.
        exponent: alpha of the noise.
        log_weights: another noise law, unnormalised log-weights of shape `(C,)`; exponent is then ignored.
        num_steps: passes over the whole table.
        learning_rate: of Adam at the start, in the unit of the vectors.
        block_size: rows of the table scored at once; None holds about a million cells. Changes memory and
            rounding only.
        dtype: of the descent; half precision is taken as float32, which is enough: judge it with `deviation`.

    Returns:
        `Fit`: vectors and loss curve. Memory: two copies of the table, the slab and six times the vectors.

    Raises:
        ValueError: counts negative, NaN, infinite or all zero, k or learning_rate not positive, or rank out of range.
            Traced, a value outside its domain gives NaN.
        TypeError: a dtype that is not floating.

    Exact gradient, no sampling; the problem is not convex, so the end point is a local minimum at best, and an upper
    bound on the least loss at rank d. At full rank the infimum is `optimal_sgns`, with scores of unobserved
    cells on their way to -inf.

    Example:
        >>> fit = fit_sgns(jax.random.key(0), jnp.ones((3, 3)), rank=1, negatives=1, num_steps=50)
        >>> round(float(fit.losses[-1] / jnp.log(2.0)), 3)
        2.0

    References:
        [levy2014neural, sec. 3.1], [kingma2015adam]
    """
    table = as_table(counts)
    _require_rank(rank, table.shape)
    require_count("num_steps", num_steps)
    negatives = require_positive("negatives", negatives, advice="k counts noise draws per pair.")
    learning_rate = require_positive("learning_rate", learning_rate)
    dtype = _sum_type(dtype)
    block_size = max(1, SLAB_CELLS // table.shape[1]) if block_size is None else block_size
    require_count("block_size", block_size)
    noise = jnp.exp(log_noise(table, exponent, log_weights)).astype(dtype)
    noise = as_float("negatives", negatives).astype(dtype) * noise
    rate = as_float("learning_rate", learning_rate).astype(dtype)
    return _descend(key, table.astype(dtype), noise, rate, rank, num_steps, min(block_size, table.shape[0]))


def _sum_type(dtype: DTypeLike) -> DTypeLike:
    """The type that tables of this type are summed in."""
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"dtype must be a floating type, got {dtype}.")
    return sum_type(dtype)


def _require_rank(rank: int, shape: tuple[int, ...]) -> None:
    """Raise unless the rank fits a table of this shape."""
    require_count("rank", rank)
    if len(shape) != 2 or rank > min(shape):
        raise ValueError(f"rank must be at most the smaller side of a table (V, C), got {rank} for shape {shape}.")


@partial(jax.jit, static_argnames=("rank", "num_steps", "block_size"))
def _descend(
    key: Array, table: Array, noise: Array, learning_rate: Array, rank: int, num_steps: int, block_size: int
) -> Fit:
    """Adam over the whole table; weights are scaled to mean 1 per row, so that Adam's epsilon is negligible."""
    rows = table.shape[0]
    joint = table / jnp.sum(table) * rows
    slabs = (_slabs(joint, block_size), _slabs(jnp.sum(joint, axis=1), block_size))
    optimiser = optax.adam(optax.cosine_decay_schedule(learning_rate, num_steps), b1=0.8, b2=0.95)

    def step(carry: tuple, _: None) -> tuple[tuple, Array]:
        factors, state = carry
        loss, gradient = _value_and_gradient(factors, slabs, noise)
        with jax.numpy_dtype_promotion("standard"):  # optax adds Python numbers to counters
            updates, state = optimiser.update(gradient, state)
        return (optax.apply_updates(factors, updates), state), loss

    start = _start(key, table.shape, rank, jnp.sum(noise))
    (factors, _), losses = jax.lax.scan(step, (start, optimiser.init(start)), length=num_steps)
    last = _value_and_gradient(factors, slabs, noise)[0]
    return Fit(*factors, jnp.append(losses, last) / rows)


def _start(key: Array, shape: tuple[int, int], rank: int, negatives: Array) -> Factors:
    """Vectors of norm about 1/10 sqrt(d) whose scores are -log k on average: k^-1 is the odds of the data."""
    words, contexts = (
        0.1 * jax.random.normal(part, (side, rank), negatives.dtype)
        for part, side in zip(jax.random.split(key), shape, strict=True)
    )
    log_k = jnp.log(negatives)
    shared = jnp.sqrt(jnp.abs(log_k))
    return Factors(words.at[:, 0].add(shared), contexts.at[:, 0].add(-jnp.sign(log_k) * shared))


def _slabs(x: Array, block_size: int) -> Array:
    """Rows padded with zeros to whole blocks: shape (blocks, block_size, ...)."""
    padding = -x.shape[0] % block_size
    return jnp.pad(x, ((0, padding),) + ((0, 0),) * (x.ndim - 1)).reshape(-1, block_size, *x.shape[1:])


def _value_and_gradient(factors: Factors, slabs: tuple[Array, Array], noise: Array) -> tuple[Array, Factors]:
    """Loss and gradient in one pass over slabs of rows; a slab's scores are used twice and dropped."""
    words, contexts = factors

    def slab(carry: tuple[Array, Array], rows: tuple) -> tuple[tuple[Array, Array], Array]:
        total, context_gradient = carry
        words, joint, marginal = rows
        loss, slope = _cells(_product(words, contexts.T), joint, marginal[:, None] * noise[None, :])
        return (total + loss, context_gradient + _product(slope.T, words)), _product(slope, contexts)

    start = (jnp.zeros((), contexts.dtype), jnp.zeros_like(contexts))
    blocks = (_slabs(words, slabs[1].shape[1]), *slabs)
    (loss, context_gradient), word_gradient = jax.lax.scan(slab, start, blocks)
    return loss, Factors(word_gradient.reshape(-1, words.shape[1])[: words.shape[0]], context_gradient)


def _cells(scores: Array, pull: Array, push: Array) -> tuple[Array, Array]:
    """Sum of pull softplus(-s) + push softplus(s) and its slope, from one exponential per cell."""
    small = jnp.exp(-jnp.abs(scores))
    softplus = jnp.maximum(scores, 0) + jnp.log1p(small)
    sigmoid = jnp.where(scores >= 0, 1, small) / (1 + small)
    weight = pull + push
    return jnp.sum(weight * softplus - pull * scores), weight * sigmoid - pull


def _product(x: Array, y: Array) -> Array:
    """Matrix product in the full precision of its type on every backend."""
    return jnp.matmul(x, y, precision="highest")
