"""A controller that holds the entropy of the negatives' weights while training changes their scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nsx._checks import is_concrete, require_in_range, require_positive
from nsx._types import Array, ArrayLike, Bool, Float
from nsx.entropy._gibbs import gibbs, prepare_scores


class EntropyState(NamedTuple):
    """What `hold_entropy` remembers.

    Attributes:
        log_temperature: log tau, a scalar (pooled) or one per anchor `(...)`.
    """

    log_temperature: Array


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

    Args:
        target: H* in nats, > 0 and below log n.
        rate: in (0, 1]; 1 is the undamped Newton step, less averages the noise of minibatches.
        per_anchor: False holds the mean entropy over all rows with one scalar temperature (pooled); True holds
            each row's own, which needs the same anchors in the same rows every step. For anchors that change,
            solve row by row with `temperature_for_entropy`.
        initial_temperature: the temperature before the first update.
        bounds: the temperature is clamped to these; a target out of reach ends there.
        max_step: largest change of log tau in one update.

    Returns:
        `Controller(init, update)`. `state = init(scores)`; `temperature, state = update(scores, state, where=None)`
        returns the temperature to use with these scores, without gradient: a scalar, or `(...)` per anchor. Rows
        with fewer than two candidates are left out of the mean, or keep their temperature; so does a step whose
        heat capacity is 0 (all scores equal). NaN scores, where traced, give NaN from then on.

    Raises:
        ValueError: a parameter out of its range, or (from init) a target of log n or more.
        TypeError: as `entropy`.

    Exact at rest; biased behind a drift by the lag above. The pooled one holds the mean entropy, not each row's.

    Example:
        >>> scores = jnp.array([[0.0, -1.0, -2.0], [0.0, -2.0, -4.0]])
        >>> controller = hold_entropy(0.5, rate=1.0, per_anchor=True)
        >>> state = controller.init(scores)
        >>> for _ in range(8):
        ...     temperature, state = controller.update(scores, state)
        >>> round(float(temperature[1] / temperature[0]), 4)
        2.0

    References:
        [haarnoja2018soft]
    """
    settings = {"target": target, "rate": rate, "bounds": bounds, "max_step": max_step}
    for name, value in settings.items():
        require_positive(name, value)
    require_in_range("rate", rate, 0, 1)
    require_in_range("initial_temperature", initial_temperature, *bounds, advice="Widen the bounds.")
    low, high = jnp.log(jnp.asarray(bounds))

    def init(scores: Float[ArrayLike, "... n"]) -> EntropyState:
        scores = prepare_scores(scores, None)
        limit = math.log(scores.shape[-1])  # of a shape: concrete under jit too
        if is_concrete(target) and target >= limit:
            raise ValueError(f"target must be below log n = {limit} nats, got {target}. Lower it, or add negatives.")
        shape = scores.shape[:-1] if per_anchor else ()
        return EntropyState(jnp.full(shape, jnp.log(initial_temperature), scores.dtype))

    def update(
        scores: Float[ArrayLike, "... n"], state: EntropyState, *, where: Bool[Array, "... n"] | None = None
    ) -> tuple[Array, EntropyState]:
        scores = jax.lax.stop_gradient(prepare_scores(scores, where))
        log_tau = state.log_temperature
        missing, capacity = _error(scores, jnp.exp(log_tau), target, pooled=not per_anchor)
        movable = capacity != 0  # True for NaN: bad scores must show
        step = jnp.clip(rate * missing / jnp.where(movable, capacity, 1), -max_step, max_step)
        log_tau = jnp.clip(log_tau + jnp.where(movable, step, 0), low, high).astype(log_tau.dtype)
        return jax.lax.stop_gradient(jnp.exp(log_tau)), EntropyState(log_tau)

    return Controller(init, update)


def _error(scores: Array, temperature: Array, target: float, *, pooled: bool) -> tuple[Array, Array]:
    """Entropy still missing and heat capacity, per row or averaged over the rows with a choice."""
    law = gibbs(scores, jnp.broadcast_to(temperature, scores.shape[:-1]))
    missing = target - (jnp.log(law.multiplicity) + law.excess)
    if not pooled:
        return missing, law.variance
    choice = jnp.sum(scores != -jnp.inf, axis=-1) > 1
    count = jnp.maximum(jnp.sum(choice), 1)
    return tuple(jnp.sum(jnp.where(choice, x, 0)) / count for x in (missing, law.variance))
