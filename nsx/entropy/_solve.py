"""The temperature at which the softmax law has a given entropy, differentiable in scores and target."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import is_concrete
from nsx._types import Array, ArrayLike, Bool, Float
from nsx.entropy._gibbs import Gibbs, best, gibbs, prepare_rows, prepare_scores

_MAX_STEPS = 100  # bisection alone needs 60 or so; the hybrid takes about 10


def temperature_for_entropy(
    scores: Float[ArrayLike, "... n"],
    target: Float[ArrayLike, "..."],
    *,
    where: Bool[ArrayLike, "... n"] | None = None,
) -> Float[Array, "..."]:
    r"""The temperature at which the softmax law of the scores has the target entropy.

    $$\tau : H(\tau) = H^*, \qquad
      \frac{\partial\tau}{\partial H^*} = \frac{\tau}{\mathrm{Var}(z)}, \qquad
      \frac{\partial\tau}{\partial s_i} = \frac{p_i (z_i - \mathbb{E} z)}{\mathrm{Var}(z)}, \qquad z = s / \tau.$$

    H increases strictly from log m (m = multiplicity of the maximum) to log n, so the root is unique.

    Args:
        scores: shape `(..., n)`; -inf excludes a candidate.
        target: H* in nats, a scalar or broadcasting to `(...)`, inside (log m, log n) of its row.
        where: True at the candidates that count; n is then their number.

    Returns:
        Temperatures in units of the scores, shape `(...)`. The entropy there, by `entropy` in the same precision,
        is the target within (2 + max(1, log 1/H*)) 2^-21 relative in float32 (1e-6 from H* = 0.1 up, measured) and
        1e-12 in float64. Derivatives come from the implicit function theorem, forward and reverse, of any order.

    Raises:
        ValueError: a target outside (log m, log n), scores all equal in a row, or as `entropy`. With scores or
            target traced, such a row gives NaN, with gradient 0.
        TypeError: as `entropy`.

    Exact up to rounding; ill-conditioned near both ends, where dH/dtau vanishes. Targets whose distance to log m
    is below 1e-36 (float32) are beyond what an entropy in that precision can show.

    Example:
        >>> scores = jnp.array([0.0, -1.0, -2.0])
        >>> tau = temperature_for_entropy(scores, jnp.log(jnp.array([1.5, 2.0, 2.5])))  # effective candidates
        >>> [round(float(t), 3) for t in tau]
        [0.473, 0.754, 1.256]

    References:
        [maaten2008visualizing], [haarnoja2018soft]
    """
    scores, target = prepare_rows("target", target, prepare_scores(scores, where))
    if is_concrete(scores) and is_concrete(target):
        _require_root(*(np.asarray(x).reshape(-1) for x in (*_reachable(scores), target)))
    return _temperature(scores, target)


@jax.jit
def _temperature(scores: Array, target: Array) -> Array:
    low, high = _reachable(scores)
    inside = (low > -jnp.inf) & (low < target) & (target < high)  # -inf: an empty row, or NaN in it
    return jnp.where(inside, _solve(scores, target), jnp.nan)


@jax.jit
def _reachable(scores: Array) -> tuple[Array, Array]:
    """(log multiplicity of the maximum, log number of candidates), each (...); (-inf, -inf) in an empty row."""
    counted = scores != -jnp.inf
    at_top = counted & (scores == best(scores))
    return tuple(jnp.log(jnp.sum(x, axis=-1).astype(scores.dtype)) for x in (at_top, counted))


def _require_root(low: np.ndarray, high: np.ndarray, target: np.ndarray) -> None:
    inside = (low < target) & (target < high)
    if np.all(inside):
        return
    row = int(np.argmin(inside))
    if low[row] == high[row]:
        raise ValueError(
            f"scores are all equal in row {row}: the entropy is {high[row]} at every temperature. "
            "Drop the row, or break the ties."
        )
    raise ValueError(
        f"target must lie in (log multiplicity of the maximum, log n) = ({low[row]}, {high[row]}) nats, "
        f"got {target[row]} in row {row}. No temperature reaches it; clip the target to the inside."
    )


@jax.custom_jvp
def _solve(scores: Array, target: Array) -> Array:
    low, high = _reachable(scores)
    wanted = target - low
    span = high - low
    bracket = _bracket(scores, wanted, span)

    def unfinished(state: _Search) -> Array:
        return (state.step < _MAX_STEPS) & ~jnp.all(state.done)

    def improve(state: _Search) -> _Search:
        return _improve(state, gibbs(scores, state.tau), wanted, span)

    return jax.lax.while_loop(unfinished, improve, bracket).tau


@_solve.defjvp
def _solve_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    scores, target = primals
    d_scores, d_target = tangents
    tau = _solve(scores, target)
    law = gibbs(scores, tau)
    along = jnp.sum(law.probability * law.centred * d_scores, axis=-1)
    some = law.variance > 0
    return tau, jnp.where(some, (tau * d_target + along) / jnp.where(some, law.variance, 1), 0)


class _Search(NamedTuple):
    low: Array
    high: Array
    tau: Array
    done: Array
    step: Array


def _bracket(scores: Array, wanted: Array, span: Array) -> _Search:
    """Temperatures proved to lie on either side of the root, and the random-energy guess between them.

    log n - H = KL(p || uniform) <= (range / tau)^2 / 8 by Hoeffding's lemma, and, as x e^-x <= (2/e) e^(-x/2),
    H - log m <= (1 + 2/e) (n/m - 1) e^(-d / 2 tau) for the shortest gap d. Both ends are widened for rounding. A row
    without a root is done from the start, at temperature 1, so that it can disturb no other.
    """
    info = jnp.finfo(scores.dtype)
    counted = scores != -jnp.inf
    # masks written as -1e38 are gaps too, and must not overflow
    gap = jnp.where(counted, jnp.minimum(best(scores) - scores, info.max / 8), 0)
    longest = jnp.max(gap, axis=-1)
    shortest = jnp.min(jnp.where(gap > 0, gap, info.max), axis=-1)
    short_of_span = jnp.maximum(span - wanted, info.eps * span)
    high = jnp.minimum(2 * longest / jnp.sqrt(8 * short_of_span), info.max)
    log_ratio = jnp.log((1 + 2 / jnp.e) * jnp.expm1(span)) - jnp.log(wanted)
    low = jnp.minimum(shortest / (4 * jnp.maximum(log_ratio, 1)), high)
    guess = jnp.clip(_deviation(gap, counted) / jnp.sqrt(2 * short_of_span), low, high)
    start = jnp.where(jnp.isfinite(guess), guess, jnp.sqrt(low) * jnp.sqrt(high))
    rootless = ~((wanted > 0) & (wanted < span))
    return _Search(low, high, jnp.where(rootless, 1, start), rootless, jnp.int32(0))


def _deviation(gap: Array, counted: Array) -> Array:
    count = jnp.sum(counted, axis=-1, keepdims=True).astype(gap.dtype)
    centred = jnp.where(counted, gap - jnp.sum(gap, axis=-1, keepdims=True) / count, 0)
    return jnp.sqrt(jnp.sum(centred**2, axis=-1) / count[..., 0])


def _improve(state: _Search, law: Gibbs, wanted: Array, span: Array) -> _Search:
    """One Newton step in log tau on log(E / (span - E)), E = H - log m; bisection where it leaves the bracket.

    That logit is close to linear in 1 / tau when cold and in log tau when hot, where H itself is flat.
    """
    excess = law.excess
    low = jnp.where(excess <= wanted, state.tau, state.low)
    high = jnp.where(excess >= wanted, state.tau, state.high)
    logit = jnp.log(wanted / excess) - jnp.log((span - wanted) / (span - excess))
    step = logit * excess * (span - excess) / (law.variance * span)
    newton = state.tau * jnp.exp(step)
    inside = (newton >= low) & (newton <= high)  # False for NaN
    eps = jnp.finfo(newton.dtype).eps
    # rounding is all that is left: of tau when cold, of E when hot
    settled = (jnp.abs(step) <= 4 * eps) | (jnp.abs(excess - wanted) <= 4 * eps * wanted)
    settled |= high - low <= 2 * eps * high
    tau = jnp.where(inside, newton, jnp.where(settled, state.tau, jnp.sqrt(low) * jnp.sqrt(high)))
    tau = jnp.where(state.done, state.tau, tau)
    return _Search(low, high, tau, state.done | settled, state.step + 1)
