"""Proposal laws as unnormalised log-weights over candidates, and their normalised probabilities."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from nsx._checks import (
    as_float,
    as_floats,
    as_ids,
    is_concrete,
    require_broadcastable,
    require_finite,
    require_log_weights,
    require_positive,
)
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
        ValueError: a count that is negative, infinite or NaN, an exponent that is NaN, infinite or not one per row, a
            row without mass, or a power that overflows. Traced, a negative count, and an exponent that is not finite,
            give NaN, and a row without mass comes back as all -inf.

    Exact. Discontinuous at exponent 0 where a count is 0: the law jumps to include it.

    Example:
        >>> jnp.exp(power(jnp.array([16.0, 1.0, 0.0]), exponent=0.75)).round().tolist()
        [8.0, 1.0, 0.0]

    References:
        [mikolov2013distributed, sec. 2.2], [levy2015improving, sec. 3.2]
    """
    exponent = require_finite("exponent", exponent, advice="Use 0 for the uniform law.")
    counts, exponent = as_floats(counts=_as_counts(counts), exponent=exponent)
    require_broadcastable("exponent", exponent.shape, counts.shape[:-1])
    exponent = per_row(exponent)
    none = counts == 0
    log_counts = jnp.log(jnp.where(none, 1, counts))
    weights = jnp.where(none & (exponent != 0), -jnp.inf, exponent * log_counts)
    _require_mass("exponent * log counts", weights, impossible=none)
    return weights


def _as_counts(counts: ArrayLike) -> Array:
    """Counts as floats: integers beyond int32 must not wrap on their way to the device."""
    if not is_concrete(counts):
        return as_float("counts", counts)
    host = np.asarray(counts)
    if host.ndim == 0 or host.shape[-1] == 0:
        raise ValueError(f"counts need a last axis of n >= 1 candidates, got shape {host.shape}.")
    with np.errstate(invalid="ignore"):  # NumPy warns where it compares NaN
        good = ((host >= 0) & (host < np.inf)).astype(bool)
    if not np.all(good):
        raise ValueError(f"counts must be finite and >= 0, got {host[~good][0]}. Drop or clip them first.")
    if host.dtype.kind in "iubO":
        return jnp.asarray(host.astype(jnp.result_type(float)))
    return as_float("counts", counts)


def _require_mass(formula: str, weights: Array, *, impossible: Array) -> None:
    """Raise ValueError where log-weights made of checked data overflow, or none is left (concrete values only)."""
    if not is_concrete(weights):
        return
    found = np.asarray(weights)
    if np.any(np.all(np.asarray(impossible), axis=-1)):
        require_log_weights(weights)  # the data themselves leave a row all -inf
    top = np.max(found, axis=-1)
    if not np.all(np.isfinite(top)):
        raise ValueError(f"{formula} overflows {found.dtype}. Rescale the data, or take a milder parameter.")


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
        ValueError: sharpness not finite or not one per row, distance NaN or -inf, a row without candidate, or a
            product that overflows. Traced, a sharpness that is not finite gives NaN, so does a distance of NaN, and a
            row without candidate is all -inf.

    Exact.

    Example:
        >>> gibbs(jnp.array([0.0, 1.5, jnp.inf]), sharpness=2.0).tolist()
        [-0.0, -3.0, -inf]

    References:
        [lecun2006tutorial]
    """
    sharpness = require_finite("sharpness", sharpness, advice="Use argmin of the distance for the sharp limit.")
    distance, sharpness = as_floats(distance=distance, sharpness=sharpness)
    _require_distance(distance)
    require_broadcastable("sharpness", sharpness.shape, distance.shape[:-1])
    absent = distance == jnp.inf
    weights = jnp.where(absent, -jnp.inf, -per_row(sharpness) * jnp.where(absent, 0, distance))
    _require_mass("sharpness * distance", weights, impossible=absent)
    return weights


def _require_distance(distance: Array) -> None:
    """Raise ValueError unless distances have a candidate axis and (concrete) are finite or +inf."""
    if distance.ndim == 0 or distance.shape[-1] == 0:
        raise ValueError(f"distance needs a last axis of n >= 1 candidates, got shape {distance.shape}.")
    if is_concrete(distance) and not np.all(np.asarray(distance) > -np.inf):
        raise ValueError("distance holds NaN or -inf; a distance must be finite, or +inf for an excluded candidate.")


def maxent(features: Float[ArrayLike, "... n m"], multipliers: Float[ArrayLike, " m"]) -> Float[Array, "... n"]:
    r"""Maximum-entropy law with the given Lagrange multipliers: the flattest law of its moments E[f].

    $$w_i = \sum_a \lambda_a f_{ia}, \qquad q = \arg\max_p H(p) \;\text{subject to}\; E_p[f] = E_q[f].$$

    Args:
        features: m moments of each candidate, shape `(..., n, m)`, finite.
        multipliers: lambda, shape `(m,)`, in the inverse units of the features.

    Returns:
        Log-weights, shape `(..., n)`, nats.

    Raises:
        ValueError: shapes that do not fit, entries that are not finite (traced, they give NaN), a sum that overflows.

    Exact, with the product taken at the highest precision of the device.

    Example:
        >>> maxent(jnp.array([[1.0, 0.0], [1.0, 2.0]]), jnp.array([0.5, -1.0])).tolist()
        [0.5, -1.5]

    References:
        [jaynes1957information]
    """
    features, multipliers = as_floats(features=features, multipliers=multipliers)
    if features.ndim < 2 or 0 in features.shape[-2:] or multipliers.shape != features.shape[-1:]:
        raise ValueError(
            f"features must be (..., n, m) and multipliers (m,), got {features.shape} and {multipliers.shape}."
        )
    features = require_finite("features", features, advice="Drop a candidate with `exclude`.")
    multipliers = require_finite("multipliers", multipliers)
    weights = jnp.matmul(features, multipliers, precision="highest")
    _require_mass("features @ multipliers", weights, impossible=jnp.zeros(weights.shape, bool))
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
        ValueError: temperature not positive or not one per row, scores NaN or +inf, a row without candidate, or a
            quotient that overflows. Traced, a temperature that is not positive gives NaN, so does a score of NaN, and
            a row without candidate is all -inf.

    Exact. Put `jax.lax.stop_gradient` around the scores where the sampler must not be trained.

    Example:
        >>> from_scores(jnp.array([1.0, -jnp.inf]), temperature=0.5).tolist()
        [2.0, -inf]

    References:
        [bengio2008adaptive]
    """
    temperature = require_positive("temperature", temperature, advice="Use `hardest` for the limit of temperature 0.")
    scores, temperature = as_floats(scores=scores, temperature=temperature)
    require_log_weights(scores, name="scores")
    require_broadcastable("temperature", temperature.shape, scores.shape[:-1])
    absent = jnp.isneginf(scores)
    weights = jnp.where(absent, -jnp.inf, jnp.where(absent, 0, scores) / per_row(temperature))
    _require_mass("scores / temperature", weights, impossible=absent)
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
        log_weights: shape `(n,)`, or `(..., n)` with one law per row.
        ids: candidates in [0, n), integers of any type: any shape where log_weights is 1-d, else `(..., k)` with the
            same leading axes as log_weights.

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
    log_weights = as_float("log_weights", log_weights)
    require_log_weights(log_weights)
    size = log_weights.shape[-1]
    ids = as_ids("ids", ids, high=size)
    lead = log_weights.shape[:-1]
    if lead and ids.shape[:-1] != lead:
        raise ValueError(f"ids must be (..., k) with the leading axes {lead} of log_weights, got shape {ids.shape}.")
    inside = (ids >= 0) & (ids < size)
    safe = jnp.where(inside, ids, 0)
    top, log_total = log_total_above_top(log_weights)
    if not lead:
        chosen = log_weights.at[safe].get(mode="promise_in_bounds")
    else:
        chosen = jnp.take_along_axis(log_weights, safe, axis=-1)
        top = top[..., None]
        log_total = log_total[..., None]
    return jnp.where(inside, (chosen - top) - log_total, jnp.nan)
