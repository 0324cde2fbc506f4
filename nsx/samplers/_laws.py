"""Proposal laws as unnormalised log-weights over candidates, and their normalised probabilities."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from nsx._checks import as_float, is_concrete, require_finite, require_log_weights, require_positive
from nsx._numerics import log_normalize, log_total_above_top, per_row
from nsx._types import Array, ArrayLike, Float, Int, Shaped


def power(counts: Shaped[ArrayLike, "... n"], *, exponent: Float[ArrayLike, "..."]) -> Float[Array, "... n"]:
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
        >>> jnp.exp(power(jnp.array([16.0, 1.0, 0.0]), exponent=0.75)).round().tolist()
        [8.0, 1.0, 0.0]

    References:
        [mikolov2013distributed, sec. 2.2], [levy2015improving, sec. 3.2]
    """
    counts = _as_counts(counts)
    require_finite("exponent", exponent, advice="Use 0 for the uniform law.")
    exponent = per_row(jnp.asarray(exponent))
    seen = counts > 0
    log_counts = jnp.log(jnp.where(seen, counts, 1))
    weights = jnp.where(seen | (exponent == 0), exponent * log_counts, -jnp.inf)
    require_log_weights(weights)
    return weights


def _as_counts(counts: ArrayLike) -> Array:
    """Counts as floats: integers beyond int32 must not wrap on their way to the device."""
    if not is_concrete(counts):
        return as_float("counts", counts)
    host = np.asarray(counts)
    if host.ndim == 0 or host.shape[-1] == 0:
        raise ValueError(f"counts need a last axis of n >= 1 candidates, got shape {host.shape}.")
    good = (host >= 0) & (host < np.inf)
    if not np.all(good):
        raise ValueError(f"counts must be finite and >= 0, got {host[~good][0]}. Drop or clip them first.")
    if host.dtype.kind in "iub":
        return jnp.asarray(host.astype(jnp.result_type(float)))
    return as_float("counts", counts)


def gibbs(distance: Float[ArrayLike, "... n"], *, sharpness: Float[ArrayLike, "..."]) -> Float[Array, "... n"]:
    r"""Gibbs law of a distance: the nearer the likelier.

    $$w_i = -\alpha d_i, \qquad q_i \propto e^{-\alpha d_i}.$$

    Args:
        distance: from the anchor to each candidate, shape `(..., n)`, any unit; +inf is no candidate.
        sharpness: alpha, in the inverse unit, a scalar or one per row, shape `(...)`; 0 is uniform, a negative
            one prefers the far.

    Returns:
        Log-weights, shape `(..., n)`, nats; -inf with derivative 0 where the distance is infinite, whatever
        the sharpness.

    Raises:
        ValueError: sharpness not finite, distance NaN or -inf, or a row without candidate. Traced, these give
            NaN, +inf and a row of -inf.

    Exact.

    Example:
        >>> gibbs(jnp.array([0.0, 1.5, jnp.inf]), sharpness=2.0).tolist()
        [-0.0, -3.0, -inf]

    References:
        [lecun2006tutorial]
    """
    distance = as_float("distance", distance)
    require_finite("sharpness", sharpness, advice="Use argmin of the distance for the sharp limit.")
    absent = distance == jnp.inf
    weights = jnp.where(absent, -jnp.inf, -per_row(jnp.asarray(sharpness)) * jnp.where(absent, 0, distance))
    require_log_weights(weights)
    return weights


def maxent(features: Float[ArrayLike, "... n m"], multipliers: Float[ArrayLike, " m"]) -> Float[Array, "... n"]:
    r"""Maximum-entropy law with the given Lagrange multipliers: the flattest law of its moments E[f].

    $$w_i = \sum_a \lambda_a f_{ia}, \qquad q = \arg\max_p H(p) \;\text{subject to}\; E_p[f] = E_q[f].$$

    Args:
        features: m moments of each candidate, shape `(..., n, m)`, finite.
        multipliers: lambda, shape `(m,)`, in the inverse units of the features.

    Returns:
        Log-weights, shape `(..., n)`, nats.

    Raises:
        ValueError: shapes that do not fit, or entries that are not finite. Traced, the latter give NaN.

    Exact, with the product taken at the highest precision of the device.

    Example:
        >>> maxent(jnp.array([[1.0, 0.0], [1.0, 2.0]]), jnp.array([0.5, -1.0])).tolist()
        [0.5, -1.5]

    References:
        [jaynes1957information]
    """
    features, multipliers = as_float("features", features), as_float("multipliers", multipliers)
    if features.ndim < 2 or multipliers.shape != features.shape[-1:]:
        raise ValueError(
            f"features must be (..., n, m) and multipliers (m,), got {features.shape} and {multipliers.shape}."
        )
    require_finite("features", features, advice="Drop a candidate with `exclude`.")
    weights = jnp.matmul(features, multipliers, precision="highest")
    require_log_weights(weights)
    return weights


def from_scores(scores: Float[ArrayLike, "... n"], *, temperature: Float[ArrayLike, "..."]) -> Float[Array, "... n"]:
    r"""Softmax law of scores: the model itself, or a stale copy of it, as the sampler.

    $$w_i = s_i / \tau.$$

    Args:
        scores: shape `(..., n)`, larger is closer; -inf is no candidate.
        temperature: tau > 0, in the unit of the scores, a scalar or one per row, shape `(...)`.

    Returns:
        Log-weights, shape `(..., n)`, nats; -inf with derivative 0 where the score is -inf.

    Raises:
        ValueError: temperature not positive, scores NaN or +inf, or a row without candidate. Traced, a
            temperature of 0 gives infinities or NaN, and a negative one reverses the order.

    Exact. Put `jax.lax.stop_gradient` around the scores where the sampler must not be trained.

    Example:
        >>> from_scores(jnp.array([1.0, -jnp.inf]), temperature=0.5).tolist()
        [2.0, -inf]

    References:
        [bengio2008adaptive]
    """
    scores = as_float("scores", scores)
    require_positive("temperature", temperature, advice="Use `hardest` for the limit of temperature 0.")
    absent = jnp.isneginf(scores)
    weights = jnp.where(absent, -jnp.inf, jnp.where(absent, 0, scores) / per_row(jnp.asarray(temperature)))
    require_log_weights(weights)
    return weights


def probabilities(log_weights: Float[ArrayLike, "... n"]) -> Float[Array, "... n"]:
    r"""Normalised probabilities of a sampler.

    $$q_i = e^{w_i} / \textstyle\sum_j e^{w_j}.$$

    Args:
        log_weights: shape `(..., n)`, nats, any common shift.

    Returns:
        Probabilities, shape `(..., n)`, summing to 1; exactly 0 with derivative 0 at -inf.

    Raises:
        ValueError: a row without mass, NaN or +inf. Traced, a row without mass is all 0.

    Exact to rounding, for weights that span any range.

    Example:
        >>> probabilities(jnp.array([1e4, 1e4, -jnp.inf])).tolist()
        [0.5, 0.5, 0.0]

    References:
        [lecun2006tutorial]
    """
    log_weights = as_float("log_weights", log_weights)
    require_log_weights(log_weights)
    return jnp.exp(log_normalize(log_weights))


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
    top, log_total = log_total_above_top(log_weights)
    if log_weights.ndim == 1:
        chosen = log_weights.at[safe].get(mode="promise_in_bounds")
    else:
        chosen = jnp.take_along_axis(log_weights, safe, axis=-1)
        top, log_total = top[..., None], log_total[..., None]
    return jnp.where(inside, (chosen - top) - log_total, jnp.nan)


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
            raise ValueError(f"ids must be in [0, {shape[-1]}), got {bad[0]}. Mask or drop such entries first.")
