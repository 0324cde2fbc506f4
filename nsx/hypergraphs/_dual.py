"""The multipliers of a maximum-entropy law from its moments, by damped Newton on the dual; when there are none."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linprog

from nsx._checks import as_floats, as_mask, is_concrete, require_finite
from nsx._types import Array, ArrayLike, Bool, Float

_MAX_STEPS = 200


class Feasibility(NamedTuple):
    """Whether a law on all candidates has the wanted moments, with its proof either way (NumPy, float64).

    `slack`: the largest probability that a law with these moments can give to every candidate at once; > 0 if
    feasible, 0 on the boundary (multipliers infinite), < 0 outside the convex hull (of the best affine combination;
    -inf outside the affine hull). `law` (n,): such a law where slack > 0, else 0. `direction` (m,): where slack <= 0, a
    c with c.(f_i - moments) >= 0 for every candidate, not all 0: no law can average those to 0; else 0.
    """

    slack: float
    law: np.ndarray
    direction: np.ndarray


def solve_multipliers(
    features: Float[ArrayLike, "n m"], moments: Float[ArrayLike, " m"], *, where: Bool[ArrayLike, " n"] | None = None
) -> Float[Array, " m"]:
    r"""Lagrange multipliers of the maximum-entropy law with the given moments.

    $$\lambda = \arg\min_\lambda \log \sum_i e^{\lambda \cdot f_i} - \lambda \cdot \mu
      \iff \mathbb{E}_q f = \mu,\; q_i \propto e^{\lambda \cdot f_i}, \qquad
      \frac{\partial \lambda}{\partial \mu} = \mathrm{Cov}_q(f)^{-1}.$$

    Args:
        features: f, shape `(n, m)`, m features of n candidates.
        moments: mu, shape `(m,)`, inside the convex hull of the candidates' features.
        where: True at the candidates that count, shape `(n,)`.

    Returns:
        lambda, shape `(m,)`, in the inverse units of the features; `samplers.maxent` makes the law of it. Its moments
        are mu within 2e-12 (float64; 7e-6 in float32) of each feature's largest distance from mu. Derivatives by the
        implicit function theorem, in features and moments.

    Raises:
        ValueError: affinely dependent features (not unique), moments on or outside the boundary of the convex hull
            (none exist), shapes that do not fit, entries that are not finite. Traced, such a problem gives NaN with
            derivative 0.

    Exact to rounding; the dual is convex, and Newton's step t = log(1 + d) / d, d the range of the log-weights' change,
    descends from anywhere. Ill-conditioned near the boundary, where the multipliers diverge.

    Example:
        >>> die = jnp.arange(1.0, 7.0)[:, None]
        >>> round(float(solve_multipliers(die, jnp.array([4.5]))[0]), 4)  # Jaynes's die
        0.371

    References:
        [jaynes1957information], [sun2019generalized, alg. 1]
    """
    features, moments, where = _prepare(features, moments, where)
    multipliers = _solve(features, moments, where)
    if is_concrete(multipliers) and not np.all(np.isfinite(np.asarray(multipliers))):
        _explain(*(np.asarray(x) for x in (features, moments, where)))
    return multipliers


def feasibility(
    features: Float[ArrayLike, "n m"], moments: Float[ArrayLike, " m"], *, where: Bool[ArrayLike, " n"] | None = None
) -> Feasibility:
    r"""Whether a law with these moments exists, proved by such a law or by a direction that separates.

    $$\text{slack} = \max_{p, t} t : \; \sum_i p_i f_i = \mu,\; \sum_i p_i = 1,\; p_i \ge t.$$

    Args:
        features: f, shape `(n, m)`, concrete.
        moments: mu, shape `(m,)`, concrete.
        where: True at the candidates that count, shape `(n,)`; the others have probability 0.

    Returns:
        `Feasibility(slack, law, direction)`.

    Raises:
        ValueError: shapes that do not fit, entries that are not finite.
        TypeError: traced arrays: the linear program runs on the host.

    Exact to the solver's tolerance, 1e-9 in units of each feature's largest distance from mu: what is closer to the
    boundary counts as on it.

    Example:
        >>> die = np.arange(1.0, 7.0)[:, None]
        >>> round(feasibility(die, np.array([4.5])).slack, 4)  # of 1/6, which only the uniform law gives to all
        0.1
        >>> feasibility(die, np.array([6.5])).direction.round(3).tolist()
        [-0.067]

    References:
        [boyd2004convex, sec. 5.8]
    """
    if not all(is_concrete(x) for x in (features, moments, where)):
        raise TypeError("feasibility runs on the host: it needs concrete arrays. Call it outside jit and vmap.")
    values, target, counted = (np.asarray(x) for x in _prepare(features, moments, where))
    offset = values[counted].astype(float) - target
    scale = np.maximum(np.abs(offset).max(axis=0), np.finfo(float).tiny)
    found = _programme(offset / scale)
    law = np.zeros(len(counted))
    law[counted] = found.law
    return Feasibility(slack=found.slack, law=law, direction=found.direction / scale)


def _programme(g: np.ndarray) -> Feasibility:
    """The answer for offsets g (n, m); the dual prices of the moments are the direction."""
    n, m = g.shape
    no_law = np.zeros(n)
    no_direction = np.zeros(m)
    rows = np.concatenate([np.append(g.T, g.sum(axis=0)[:, None], axis=1), np.append(np.ones(n), n)[None]])
    bounds = [(0, None)] * n + [(None, None)]
    found = linprog(-np.eye(n + 1)[n], A_eq=rows, b_eq=np.eye(m + 1)[m], bounds=bounds, method="highs")
    if found.x is None:  # moments off the affine hull: some direction is constant and not 0 on all candidates
        direction = np.linalg.lstsq(g, np.ones(n), rcond=None)[0]
        return Feasibility(slack=-np.inf, law=no_law, direction=direction)
    slack = float(found.x[-1])
    if slack > 1e-9 / n:
        return Feasibility(slack=slack, law=found.x[:-1] + slack, direction=no_direction)
    direction = found.eqlin.marginals[:m]
    towards_all = np.sign((g @ direction).sum())
    return Feasibility(slack=0.0 if slack > -1e-9 else slack, law=no_law, direction=direction * towards_all)


def _explain(features: np.ndarray, moments: np.ndarray, where: np.ndarray) -> None:
    """Raise the error that tells why no multipliers were found."""
    offset = features[where].astype(float) - moments
    scale = np.maximum(np.abs(offset).max(axis=0), np.finfo(float).tiny)
    centred = offset / scale - (offset / scale).mean(axis=0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    tolerance = max(centred.shape) * np.finfo(features.dtype).eps
    if centred.shape[0] <= centred.shape[1] or singular[-1] <= tolerance * max(singular[0], tolerance):
        combination = directions[-1] / scale
        shown = np.round(combination / np.abs(combination).max(), 4)
        raise ValueError(
            f"features are affinely dependent: {shown.tolist()} . f is the same for all {centred.shape[0]} candidates, "
            "so the multipliers are not unique. Drop a feature, or the one with one value only."
        )
    found = feasibility(features, moments, where=where)
    if found.slack <= 0:
        place = "on the boundary of" if found.slack == 0 else "outside"
        raise ValueError(
            f"no law has these moments with every candidate possible: {moments.tolist()} lies {place} the convex hull "
            f"of the features; direction {found.direction.tolist()} separates it. Move the moments inside."
        )
    raise ValueError(
        f"Newton's method did not converge on moments {moments.tolist()}: they lie too near the boundary of the convex "
        f"hull (slack {found.slack:.1e}) for {features.dtype}. Move them inside, or use float64."
    )


class _Search(NamedTuple):
    """State of Newton's method: largest residual now and a step ago, and the range of the last step's log-weights."""

    multipliers: Array
    residual: Array
    previous: Array
    change: Array
    step: Array


class _Moments(NamedTuple):
    """Of standardised features under the law of some multipliers."""

    mean: Array
    covariance: Array


def _standardised(features: Array, moments: Array, where: Array) -> tuple[Array, Array]:
    """Offsets from the moments over each feature's largest one, and those scales."""
    offset = jnp.where(where[:, None], features - moments[None], 0)
    scale = jnp.maximum(jnp.max(jnp.abs(offset), axis=0), jnp.finfo(features.dtype).tiny)
    return offset / scale[None], scale


def _moments(g: Array, multipliers: Array, where: Array) -> _Moments:
    """Mean and covariance of the features g."""
    logits = jnp.where(where, jnp.matmul(g, multipliers, precision="highest"), -jnp.inf)
    law = jax.nn.softmax(logits)
    mean = jnp.matmul(law, g, precision="highest")
    centred = jnp.where(where[:, None], g - mean[None], 0)
    covariance = jnp.matmul((law[:, None] * centred).T, centred, precision="highest")
    return _Moments(mean=mean, covariance=covariance)


@jax.custom_jvp
@jax.jit
def _solve(features: Array, moments: Array, where: Array) -> Array:
    g, scale = _standardised(features, moments, where)
    eps = jnp.finfo(g.dtype).eps
    accepted = eps**0.75

    def improve(state: _Search) -> _Search:
        now = _moments(g, state.multipliers, where)
        newton = jnp.linalg.solve(now.covariance, now.mean)
        change = jnp.where(where, jnp.matmul(g, newton, precision="highest"), 0)
        change = jnp.max(change, initial=-jnp.inf, where=where) - jnp.min(change, initial=jnp.inf, where=where)
        damping = jnp.where(change > eps, jnp.log1p(change) / jnp.where(change > eps, change, 1), 1)
        multipliers = state.multipliers - damping * newton
        residual = jnp.max(jnp.abs(_moments(g, multipliers, where).mean))
        return _Search(
            multipliers=multipliers,
            residual=residual,
            previous=state.residual,
            change=change,
            step=state.step + 1,
        )

    def unfinished(state: _Search) -> Array:
        settled = (state.residual <= accepted) & (state.residual > state.previous / 2)
        return (state.step < _MAX_STEPS) & (state.residual > eps) & ~settled

    infinite = jnp.asarray(jnp.inf, g.dtype)
    start = _Search(
        multipliers=jnp.zeros_like(scale),
        residual=infinite,
        previous=infinite,
        change=infinite,
        step=jnp.asarray(0),
    )
    found = jax.lax.while_loop(unfinished, improve, start)
    # on the boundary the residual dies out too, but the steps do not
    good = (found.residual <= accepted) & (found.change <= eps**0.25) & _independent(g, where)  # False for NaN
    return jnp.where(good, found.multipliers / scale, jnp.nan)


def _independent(g: Array, where: Array) -> Array:
    """True where no combination of the features is constant over the candidates that count."""
    count = jnp.sum(where)
    mean = jnp.sum(g, axis=0) / jnp.maximum(count, 1).astype(g.dtype)
    centred = jnp.where(where[:, None], g - mean[None], 0)
    singular = jnp.linalg.svd(centred, compute_uv=False)
    tolerance = max(g.shape) * jnp.finfo(g.dtype).eps
    return (count > g.shape[1]) & (singular[-1] > tolerance * jnp.maximum(singular[0], tolerance))


@_solve.defjvp
def _solve_jvp(primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    features, moments, where = primals
    multipliers = _solve(features, moments, where)
    solved = jnp.all(jnp.isfinite(multipliers))
    safe = jnp.where(solved, multipliers, 0)

    def residual(features: Array, moments: Array) -> Array:
        return _moments(features, safe, where).mean - moments

    _, change = jax.jvp(residual, (features, moments), tangents[:2])
    g, scale = _standardised(features, moments, where)
    covariance = _moments(g, safe * scale, where).covariance
    along = -jnp.linalg.solve(jnp.where(solved, covariance, jnp.eye(scale.size)), change / scale) / scale
    return multipliers, jnp.where(solved, along, 0)


def _prepare(features: ArrayLike, moments: ArrayLike, where: ArrayLike | None) -> tuple[Array, Array, Array]:
    """Features (0 where they do not count) and moments of one float type, and what counts."""
    features, moments = as_floats(features=features, moments=moments)
    if features.ndim != 2 or 0 in features.shape or moments.shape != features.shape[1:]:
        raise ValueError(
            f"features must be (n, m) with n, m >= 1 and moments (m,), got {features.shape} and {moments.shape}."
        )
    where = as_mask("where", True if where is None else where, features.shape[:1], meaning="one entry per candidate")
    if is_concrete(where) and not np.any(np.asarray(where)):
        raise ValueError("no candidate counts: where is False everywhere.")
    features = jnp.where(where[:, None], features, 0)
    features = require_finite("features", features, advice="Mask such candidates with `where`.")
    return features, require_finite("moments", moments), where
