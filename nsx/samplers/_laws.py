"""Proposal laws as unnormalised log-weights over candidates, and their normalised probabilities."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from nsx._checks import as_float, is_concrete, require_finite, require_log_weights
from nsx._numerics import masked_logsumexp, per_row
from nsx._types import Array, ArrayLike, Float, Int


def power(counts: Float[ArrayLike, "... n"], *, exponent: Float[ArrayLike, "..."]) -> Float[Array, "... n"]:
    r"""Counts raised to a power, the noise of word2vec: exponent 3/4 flattens the unigram law.

    $$w_i = \alpha \log c_i, \qquad q_i = c_i^{\alpha} / \textstyle\sum_j c_j^{\alpha}.$$

    Args:
        counts: occurrences c >= 0 of each candidate, shape `(..., n)`, integer or real, any common scale.
        exponent: alpha, any real number, a scalar or one per row, shape `(...)`. 0 is the uniform law over
            all n candidates, zero counts included; for every other exponent, negative ones too, a zero count
            has probability 0.

    Returns:
        Log-weights, shape `(..., n)`, unnormalised, nats; -inf at probability 0. Differentiable in counts and
        exponent, with derivative 0 at the entries of probability 0.

    Raises:
        ValueError: a count negative or NaN, an exponent NaN or infinite, or a row without mass. Traced, a
            negative count is taken as 0 and a row without mass comes back as all -inf.

    Exact. Discontinuous at exponent 0 where a count is 0: the law jumps to include it.

    Example:
        >>> jnp.exp(power(jnp.array([16.0, 1.0, 0.0]), exponent=0.75)).tolist()
        [8.0, 1.0, 0.0]

    References:
        [mikolov2013distributed, sec. 2.2], [levy2015improving, sec. 3.2]
    """
    counts = _as_counts(counts)
    require_finite("exponent", exponent, advice="Use 0 for the uniform law.")
    exponent = jnp.asarray(exponent, dtype=counts.dtype)
    seen = counts > 0
    log_counts = jnp.log(jnp.where(seen, counts, 1))
    weights = jnp.where(seen | (per_row(exponent) == 0), per_row(exponent) * log_counts, -jnp.inf)
    require_log_weights(weights)
    return weights


def _as_counts(counts: ArrayLike) -> Array:
    """Counts as floats: integers beyond int32 must not wrap on their way to the device."""
    if is_concrete(counts):
        host = np.asarray(counts)
        if host.ndim == 0 or host.shape[-1] == 0:
            raise ValueError(f"counts need a last axis of n >= 1 candidates, got shape {host.shape}.")
        if not np.all(host >= 0):
            raise ValueError(f"counts must be >= 0, got {host[~(host >= 0)][0]}. Drop or clip them first.")
        if not np.issubdtype(host.dtype, np.inexact):
            return jnp.asarray(host.astype(np.float64).astype(jnp.result_type(float)))
    return as_float("counts", counts)


def log_prob(log_weights: Float[ArrayLike, "... n"], ids: Int[ArrayLike, "..."]) -> Float[Array, "..."]:
    r"""Normalised log-probability of the given candidates: the log q that corrected losses ask for.

    $$\log q_i = w_i - \log\textstyle\sum_j e^{w_j}.$$

    Args:
        log_weights: shape `(n,)`, or `(..., n)` with one law a row.
        ids: candidates in [0, n), integers: any shape where log_weights is 1-d, else `(..., k)` with the same
            leading axes as log_weights.

    Returns:
        Log-probabilities in nats, the shape of ids; -inf for a candidate of probability 0.

    Raises:
        ValueError: an id outside [0, n), no mass, NaN or +inf weights, or shapes that do not fit. Traced, an
            id out of range gives NaN and a row without mass gives -inf.
        TypeError: ids that are not integers.

    Exact, to the rounding of the precision of log_weights.

    Example:
        >>> jnp.exp(log_prob(jnp.array([0.0, 0.0, -jnp.inf]), jnp.array([2, 1]))).tolist()
        [0.0, 0.5]

    References:
        [bengio2008adaptive]
    """
    log_weights, ids = as_float("log_weights", log_weights), jnp.asarray(ids)
    require_log_weights(log_weights)
    _require_ids(ids, log_weights.shape)
    size = log_weights.shape[-1]
    inside = (ids >= 0) & (ids < size)
    safe = jnp.where(inside, ids, 0)
    log_total = masked_logsumexp(log_weights)
    log_total = jnp.where(jnp.isneginf(log_total), 0, log_total)
    if log_weights.ndim == 1:
        chosen = log_weights.at[safe].get(mode="promise_in_bounds")
    else:
        chosen = jnp.take_along_axis(log_weights, safe, axis=-1)
        log_total = log_total[..., None]
    return jnp.where(inside, chosen - log_total, jnp.nan)


def _require_ids(ids: Array, shape: tuple[int, ...]) -> None:
    """Raise unless the ids are integers that fit log-weights of this shape and (concrete) lie in [0, n)."""
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TypeError(f"ids must be integers, got dtype {ids.dtype}.")
    if len(shape) > 1 and ids.shape[:-1] != shape[:-1]:
        raise ValueError(
            f"ids must be (..., k) with the leading axes {shape[:-1]} of log_weights, got shape {ids.shape}."
        )
    if is_concrete(ids):
        host = np.asarray(ids)
        bad = host[(host < 0) | (host >= shape[-1])]
        if bad.size:
            raise ValueError(
                f"ids must be in [0, {shape[-1]}), got {bad[0]}. Mask or drop such entries first."
            )
