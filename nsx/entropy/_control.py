"""A controller that holds the entropy of the negatives' weights while training changes their scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nsx._checks import is_concrete, require_in_range, require_positive, require_scalar
from nsx._types import Array, ArrayLike, Bool, Float
from nsx.entropy._gibbs import gibbs, prepare_scores


class EntropyState(NamedTuple):
    """What `hold_entropy` remembers.

    Attributes:
        log_temperature: log tau, a scalar (pooled) or one per anchor `(...)`.
        bound: where the last step ended, int32 of the same shape: -1 on the lower bound of the temperature, 1 on the
            upper, 0 between them. Where it is not 0 the entropy is not held.
    """

    log_temperature: Array
    bound: Array


class Controller(NamedTuple):
    """Two pure functions in optax's form; both may be jitted, scanned and vmapped.

    Attributes:
        init: scores `(..., n)` -> state.
        update: (scores `(..., n)`, state, optional `where`) -> (temperature, state).
    """

    init: Callable[..., EntropyState]
    update: Callable[..., tuple[Array, EntropyState]]


def hold_entropy(
    target: float,
    *,
    rate: float = 0.5,
    per_anchor: bool = False,
    initial_temperature: float = 1.0,
    bounds: tuple[float, float] = (1e-3, 1e3),
    max_step: float = 1.0,
) -> Controller:
    r"""Controller that moves the temperature so that the entropy of the negatives' weights stays at a target.

    $$\log\tau \leftarrow \log\tau + \mathrm{clip}\Bigl(\mathrm{rate}\,\frac{H^* - \bar H(\tau)}{\bar C(\tau)},
      \pm\mathrm{max\_step}\Bigr), \qquad C = \tau\,dH/d\tau = \mathrm{Var}_{p_\tau}(s/\tau):$$

    a damped Newton step in log tau. On scores at rest the error falls by the factor 1 - rate a step; on scores that
    drift the entropy by delta a step at fixed temperature, it lags by delta (1 - rate) / rate.

    **Which scores it should see:** those that the loss divides by this temperature, with the mask of the loss, and no
    log q taken off: of s / tau - log q the entropy need not rise with the temperature, so that no step could be told
    from its error. Negatives drawn from a law q have the entropy of a sample of q; to hold the model's own, pass all
    candidates, or k uniform ones, whose entropy is about H - log(n / k). And where the temperature follows the scores,
    the loss no longer sees their scale: leave that to nobody but a norm (cosines), or both wander together.

    Args:
        target: H* in nats, a number > 0 and below log n.
        rate: in (0, 1]; 1 is the undamped Newton step, less averages the noise of minibatches.
        per_anchor: False holds the mean entropy over all rows with one scalar temperature (pooled); True holds
            each row's own, which needs the same anchors in the same rows every step. For anchors that change,
            solve row by row with `temperature_for_entropy`.
        initial_temperature: the temperature before the first update.
        bounds: the temperature is clamped to these; a target out of reach ends there, and `state.bound` says so.
        max_step: largest change of log tau in one update.

    Returns:
        `Controller(init, update)`. `state = init(scores)`; `temperature, state = update(scores, state, where=None)`
        returns the temperature to use with these scores, without gradient: a scalar, or `(...)` per anchor. Rows
        with fewer than two candidates are left out of the mean, or keep their temperature; so does a step whose
        heat capacity is 0 (all scores equal). NaN scores, where traced, give NaN from then on. `state.bound` is -1 or
        1 where the temperature ends on a bound: look at it, or the entropy drifts unseen.

    Raises:
        ValueError: a parameter out of its range or no single number, or (from init) a target of log n or more; traced,
            each gives a temperature of NaN.
        TypeError: as `entropy`.

    Exact at rest; biased behind a drift by the lag above. The pooled one holds the mean entropy, not each row's.

    Example:
        >>> scores = jnp.array([[0.0, -1.0, -2.0], [0.0, -2.0, -4.0]])
        >>> controller = hold_entropy(0.5, rate=1.0, per_anchor=True, initial_temperature=0.1, bounds=(0.01, 0.6))
        >>> state = controller.init(scores)
        >>> for _ in range(8):
        ...     temperature, state = controller.update(scores, state)
        >>> [round(float(t), 4) for t in temperature], state.bound.tolist()  # twice the scale, twice the temperature
        ([0.5485, 0.6], [0, 1])

    References:
        [haarnoja2018soft]
    """
    controls = {"target": target, "rate": rate, "max_step": max_step, "initial_temperature": initial_temperature}
    for name, value in controls.items():
        require_scalar(name, value)
    target = require_positive("target", target)
    rate = require_in_range("rate", require_positive("rate", rate), 0, 1)
    max_step = require_positive("max_step", max_step)
    low, high = (require_positive("bounds", bound) for bound in bounds)
    initial_temperature = require_in_range("initial_temperature", initial_temperature, low, high, advice="Widen them.")

    def state_at(log_tau: Array) -> EntropyState:
        """The log-temperature clamped to the bounds, and which it ends on."""
        ends = [jnp.log(jnp.asarray(end, log_tau.dtype)) for end in (low, high)]
        bound = jnp.where(log_tau >= ends[1], 1, jnp.where(log_tau <= ends[0], -1, 0))
        return EntropyState(jnp.clip(log_tau, *ends), bound.astype(jnp.int32))

    def init(scores: Float[ArrayLike, "... n"]) -> EntropyState:
        scores = prepare_scores(scores, None)
        reachable = _require_reachable(target, scores.shape[-1])
        start = jnp.log(jnp.asarray(initial_temperature, scores.dtype))
        for value in (reachable, rate, max_step):  # outside its domain and traced: NaN from the start
            start = jnp.where(jnp.isnan(value), jnp.nan, start)
        return state_at(jnp.broadcast_to(start, scores.shape[:-1] if per_anchor else ()))

    def update(
        scores: Float[ArrayLike, "... n"], state: EntropyState, *, where: Bool[ArrayLike, "... n"] | None = None
    ) -> tuple[Array, EntropyState]:
        scores = jax.lax.stop_gradient(prepare_scores(scores, where))
        log_tau = state.log_temperature
        goal, gain, most = (jnp.asarray(value, scores.dtype) for value in (target, rate, max_step))
        missing, capacity = _error(scores, jnp.exp(log_tau), goal, pooled=not per_anchor)
        movable = capacity != 0  # True for NaN: bad scores must show
        step = jnp.clip(gain * missing / jnp.where(movable, capacity, 1), -most, most)
        state = state_at(log_tau + jnp.where(movable, step, 0).astype(log_tau.dtype))
        return jax.lax.stop_gradient(jnp.exp(state.log_temperature)), state

    return Controller(init, update)


def _require_reachable(target: ArrayLike, num: int) -> Array:
    """The target below log n; ValueError otherwise, or NaN where it is traced."""
    limit = math.log(num)  # of a shape: concrete under jit too
    if not is_concrete(target):
        return jnp.where(target < limit, target, jnp.nan)
    if target >= limit:
        raise ValueError(f"target must be below log n = {limit} nats, got {target}. Lower it, or add negatives.")
    return jnp.asarray(target)


def _error(scores: Array, temperature: Array, target: Array, *, pooled: bool) -> tuple[Array, Array]:
    """Entropy still missing and heat capacity, per row or averaged over the rows with a choice."""
    law = gibbs(scores, jnp.broadcast_to(temperature.astype(scores.dtype), scores.shape[:-1]))
    missing = target - (jnp.log(law.multiplicity) + law.excess)
    if not pooled:
        return missing, law.variance
    choice = jnp.sum(scores != -jnp.inf, axis=-1) > 1
    count = jnp.maximum(jnp.sum(choice), 1).astype(scores.dtype)
    return tuple(jnp.sum(jnp.where(choice, x, 0)) / count for x in (missing, law.variance))
