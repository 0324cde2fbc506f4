"""Pointwise mutual information of a table of pair counts, and the score table that SGNS aims at."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from nsx._checks import as_float, as_floats, is_concrete, require_positive
from nsx._types import Array, ArrayLike, Float
from nsx.samplers import log_prob, power
from nsx.words._counts import PairCounts, to_dense


def pmi(counts: Float[ArrayLike, "v c"] | PairCounts) -> Float[Array, "v c"]:
    r"""Pointwise mutual information of words and contexts.

    $$\mathrm{PMI}(w, c) = \log\frac{P(w, c)}{P(w) P(c)} = \log\frac{\#(w, c)\,|D|}{\#(w)\,\#(c)}.$$

    Args:
        counts: pair counts >= 0, shape `(V, C)`, on any common scale, or `PairCounts`.

    Returns:
        PMI in nats, shape `(V, C)`; -inf at the unobserved cells, so also in rows and columns without a count.
        Differentiable, with derivative 0 at the unobserved cells.

    Raises:
        ValueError: counts negative, NaN or infinite, all zero, or not two-dimensional. Traced, a count outside makes
            its row and all observed cells NaN, and a table of zeros is NaN throughout.

    Exact for the counts given; biased as an estimate of the PMI of the text behind them, upwards at rare pairs.

    Example:
        >>> (pmi(jnp.array([[3.0, 0.0], [0.0, 3.0]])) / jnp.log(2.0)).round(4).tolist()
        [[1.0, -inf], [-inf, 1.0]]

    References:
        [levy2014neural, sec. 3.1]
    """
    return sgns_optimum(counts, negatives=1)


def sgns_optimum(
    counts: Float[ArrayLike, "v c"] | PairCounts,
    *,
    negatives: Float[ArrayLike, ""],
    exponent: Float[ArrayLike, ""] = 1.0,
    log_weights: Float[ArrayLike, " c"] | None = None,
) -> Float[Array, "v c"]:
    r"""Score table that minimises the expected SGNS loss: PMI - log k for unigram noise.

    $$s^*(w, c) = \log\frac{P(w, c)}{P(w)\, q(c)} - \log k, \qquad q(c) \propto \#(c)^{\alpha},$$

    $$s^* = \mathrm{PMI} + (1 - \alpha) \log P(c) + \log \textstyle\sum_{c'} P(c')^{\alpha} - \log k .$$

    Args:
        counts: pair counts >= 0, shape `(V, C)`, on any common scale, or `PairCounts`. The marginals are those of
            the pairs, after subsampling and window weights.
        negatives: k > 0, the number of noise draws per pair.
        exponent: alpha of the noise.
        log_weights: another noise law, unnormalised log-weights of shape `(C,)`; exponent is then ignored.

    Returns:
        Scores in nats, shape `(V, C)`; -inf at the unobserved cells, +inf at an observed one that the noise never
        draws. Differentiable in every argument, with derivative 0 at the infinite cells.

    Raises:
        ValueError: counts negative, NaN, infinite or all zero, k <= 0, exponent not finite, or shapes that do not
            fit. Traced, counts as in `pmi`, and k or an exponent outside its domain gives NaN at every observed cell, k
            at the others too.

    Exact when the scores are free (dimension at least the rank of the table), noise is drawn independently of the
    word, and its terms are summed over the k draws, not averaged.

    Example:
        >>> (sgns_optimum(jnp.ones((1, 2)), negatives=4) / jnp.log(4.0)).round(4).tolist()
        [[-1.0, -1.0]]

    References:
        [levy2014neural, eq. 7], [levy2015improving, sec. 3.2]
    """
    table = as_table(counts)
    log_q = log_noise(table, exponent, log_weights)
    negatives = require_positive("negatives", negatives, advice="k counts noise draws per pair.")
    table, log_q, negatives = as_floats(counts=table, log_weights=log_q, negatives=negatives)
    log_k = jnp.log(negatives)
    unseen = table == 0  # NaN is no unobserved cell
    row = jnp.sum(table, axis=1)
    log_row = jnp.log(jnp.where(row == 0, 1, row))
    log_ratio = jnp.log(jnp.where(unseen, 1, table)) - log_row[:, None] - log_q[None, :] - log_k
    nothing = jnp.where(jnp.isnan(log_k), jnp.nan, -jnp.inf)
    return jnp.where(unseen, nothing, log_ratio)


def sppmi(
    counts: Float[ArrayLike, "v c"] | PairCounts,
    *,
    negatives: Float[ArrayLike, ""] = 1,
    exponent: Float[ArrayLike, ""] = 1.0,
) -> Float[Array, "v c"]:
    r"""Shifted positive PMI: the SGNS optimum clipped at 0, finite and sparse; PPMI at k = 1.

    $$\mathrm{SPPMI}(w, c) = \max\bigl(s^*(w, c),\, 0\bigr) = \max\bigl(\mathrm{PMI}(w, c) - \log k,\, 0\bigr)
      \ \text{at}\ \alpha = 1.$$

    Args:
        counts: pair counts >= 0, shape `(V, C)`, or `PairCounts`.
        negatives: k > 0, the number of noise draws per pair; 1 shifts by nothing.
        exponent: alpha of the noise; 0.75 is context distribution smoothing.

    Returns:
        Nats, shape `(V, C)`, >= 0; 0 at the unobserved cells.

    Raises:
        ValueError: as `sgns_optimum`; traced, NaN where that is NaN.

    Biased as a stand-in for the SGNS optimum: an unobserved pair has score 0 instead of -inf, probability 1/2
    instead of 0. The deviation this costs grows with k.

    Example:
        >>> (sppmi(jnp.array([[3.0, 0.0], [3.0, 3.0]])) / jnp.log(1.5)).round(4).tolist()
        [[1.0, 0.0], [0.0, 1.0]]

    References:
        [levy2014neural, eq. 11], [levy2015improving, sec. 3.2]
    """
    return jnp.maximum(sgns_optimum(counts, negatives=negatives, exponent=exponent), 0)


def as_table(counts: ArrayLike | PairCounts) -> Array:
    """Counts as a dense floating table: an error where concrete and out of their domain, NaN where traced."""
    if isinstance(counts, PairCounts):
        counts = to_dense(counts)
    if not is_concrete(counts):
        table = as_float("counts", counts)
        _require_table(table.shape)
        good = (table >= 0) & (table < jnp.inf) & jnp.any(table != 0)
        return jnp.where(good, table, jnp.nan)
    host = np.asarray(counts)
    _require_table(host.shape)
    good = (host >= 0) & (host < np.inf)
    if not np.all(good):
        row, col = np.argwhere(~good)[0]
        raise ValueError(f"counts must be finite and >= 0, got {host[row, col]} at ({row}, {col}). Clip or drop it.")
    if not np.any(host):
        raise ValueError("counts are all zero: no pair was observed. Check the corpus, the window and the vocabulary.")
    return jnp.asarray(host, float) if host.dtype.kind in "iub" else as_float("counts", host)


def _require_table(shape: tuple[int, ...]) -> None:
    """Raise ValueError unless the shape is (V, C) with cells."""
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"counts must be a table of shape (V, C) with V, C >= 1, got {shape}.")


def log_noise(table: Array, exponent: ArrayLike, log_weights: ArrayLike | None) -> Array:
    """Normalised log-probability of each context under the noise: a power of the marginal, or the law given."""
    if log_weights is None:
        log_weights = power(jnp.sum(table, axis=0), exponent=exponent)
    log_weights = as_float("log_weights", log_weights)
    if log_weights.shape != table.shape[1:]:
        raise ValueError(f"log_weights must have one entry per context, {table.shape[1:]}, got {log_weights.shape}.")
    return log_prob(log_weights, jnp.arange(table.shape[1], dtype=jnp.int32))
