"""Update rules of games: each maps a state to the next, `state = step(state)`, and keeps what it must remember."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from nsx._checks import require_count, require_positive
from nsx._types import Array, Float, Players
from nsx.games._field import Field, promoted, require_players
from nsx.games._penalties import checked_strength

StepSize: TypeAlias = Float[Array, ""] | float | tuple[Float[Array, ""] | float, ...]


class Update(NamedTuple):
    """An update rule: `state = init(players)`, then `state = step(state)` and `state.players`, pure and jittable."""

    init: Callable[[Players], Any]
    step: Callable[[Any], Any]


class PlayersState(NamedTuple):
    """State of a rule without memory: the players."""

    players: Players


class OptimisticState(NamedTuple):
    """State of the optimistic rule: the players, and the previous value of the field."""

    players: Players
    previous: Players


def simultaneous(field: Field, *, step_size: StepSize) -> Update:
    r"""Simultaneous gradient descent: all players move at once.

    $$z' = z + \eta\, v(z); \qquad \mu = 1 + \eta\lambda \text{ for each eigenvalue } \lambda \text{ of the field.}$$

    Args:
        field: `field(players) -> players`, as from `vector_field`.
        step_size: eta > 0, or a tuple with one for each player (two time scales).

    Returns:
        `Update(init, step)`. Half-precision players are held in float32.

    Raises:
        ValueError: step_size not positive (traced, it gives NaN) or not one for each player.
        TypeError: players that are no tuple of floating pytrees.

    Exact as a map; biased as an integrator of the flow: each step errs by O(eta^2), outwards on a rotation, where
    |1 + i eta| > 1 for every eta.

    Example:
        >>> update = simultaneous(vector_field((lambda p: p[0] ** 2,)), step_size=0.25)
        >>> float(update.step(update.init((jnp.float32(1.0),))).players[0])
        0.5

    References:
        [mescheder2017numerics, sec. 2], [heusel2017gans]
    """
    rates = _checked_rates(step_size)

    def step(state: PlayersState) -> PlayersState:
        return PlayersState(_moved(state.players, field(state.players), rates))

    return Update(_start, step)


def alternating(field: Field, *, step_size: StepSize) -> Update:
    r"""Alternating gradient descent: the players move in turn, each seeing the moves before its own.

    $$z_i' = z_i + \eta\, v_i(z_1', \ldots, z_{i-1}', z_i, \ldots, z_n).$$

    Args:
        field: `field(players) -> players`, as from `vector_field`.
        step_size: eta > 0, or a tuple with one for each player.

    Returns:
        `Update(init, step)`; one step is one round. Outside jit the whole field is evaluated for each player.

    Raises:
        ValueError: step_size not positive (traced, it gives NaN) or not one for each player.
        TypeError: players that are no tuple of floating pytrees.

    Exact as a map. On the bilinear game a x y its multipliers have modulus 1 up to eta a = 2: it neither converges
    nor diverges.

    Example:
        >>> field = vector_field((lambda p: p[0] * p[1], lambda p: -p[0] * p[1]))
        >>> update = alternating(field, step_size=0.5)
        >>> [float(z) for z in update.step(update.init((jnp.float32(1.0), jnp.float32(1.0)))).players]
        [0.5, 1.25]

    References:
        [mescheder2018which, sec. 2], [gidel2019variational]
    """
    rates = _checked_rates(step_size)

    def step(state: PlayersState) -> PlayersState:
        players = state.players
        for i in range(len(players)):
            players = players[:i] + (_moved(players, field(players), rates)[i],) + players[i + 1 :]
        return PlayersState(players)

    return Update(_start, step)


def extragradient(field: Field, *, step_size: StepSize) -> Update:
    r"""Extragradient: look one step ahead, and move by the field found there.

    $$z' = z + \eta\, v\bigl(z + \eta\, v(z)\bigr); \qquad \mu = 1 + \eta\lambda + \eta^2\lambda^2.$$

    Args:
        field: `field(players) -> players`, as from `vector_field`.
        step_size: eta > 0, or a tuple with one for each player.

    Returns:
        `Update(init, step)`; a step evaluates the field twice.

    Raises:
        ValueError: step_size not positive (traced, it gives NaN) or not one for each player.
        TypeError: players that are no tuple of floating pytrees.

    Exact as a map. On a rotation of frequency a, |mu|^2 = 1 - (eta a)^2 + (eta a)^4: stable for eta a < 1.

    Example:
        >>> update = extragradient(vector_field((lambda p: p[0] ** 2 / 2,)), step_size=0.5)
        >>> float(update.step(update.init((jnp.float32(1.0),))).players[0])
        0.75

    References:
        [korpelevich1976extragradient], [gidel2019variational]
    """
    rates = _checked_rates(step_size)

    def step(state: PlayersState) -> PlayersState:
        ahead = _moved(state.players, field(state.players), rates)
        return PlayersState(_moved(state.players, field(ahead), rates))

    return Update(_start, step)


def optimistic(field: Field, *, step_size: StepSize) -> Update:
    r"""Optimistic gradient descent: expect the field to change as it did last time.

    $$z_{t+1} = z_t + 2\eta\, v(z_t) - \eta\, v(z_{t-1}); \qquad \mu^2 - (1 + 2\eta\lambda)\mu + \eta\lambda = 0.$$

    Args:
        field: `field(players) -> players`, as from `vector_field`.
        step_size: eta > 0, or a tuple with one for each player.

    Returns:
        `Update(init, step)`; the state holds the previous field, which at first is that of the players given, so
        the first step is a simultaneous one. A step evaluates the field once.

    Raises:
        ValueError: step_size not positive (traced, it gives NaN) or not one for each player.
        TypeError: players that are no tuple of floating pytrees.

    Exact as a map. On a rotation of frequency a it is stable for eta a < 1 / sqrt 3, fastest at eta a = 1/2.

    Example:
        >>> update = optimistic(vector_field((lambda p: p[0] ** 2 / 2,)), step_size=0.5)
        >>> state = update.step(update.init((jnp.float32(1.0),)))  # 1 - .5
        >>> float(update.step(state).players[0])  # .5 - 2 * .5 * .5 + .5 * 1
        0.5

    References:
        [daskalakis2018training]
    """
    rates = _checked_rates(step_size)

    def init(players: Players) -> OptimisticState:
        players = _start(players).players
        return OptimisticState(players, field(players))

    def step(state: OptimisticState) -> OptimisticState:
        now = field(state.players)
        direction = jax.tree.map(lambda v, before: 2 * v - before, now, state.previous)
        return OptimisticState(_moved(state.players, direction, rates), now)

    return Update(init, step)


def consensus(field: Field, *, step_size: StepSize, strength: Float[Array, ""] | float) -> Update:
    r"""Consensus optimisation: each player also descends the squared length of the field.

    $$z' = z + \eta \bigl(v - \gamma J^\top v\bigr) = z + \eta \bigl(v - \gamma \nabla \tfrac12 \|v\|^2\bigr).$$

    Args:
        field: `field(players) -> players`, as from `vector_field`.
        step_size: eta > 0, or a tuple with one for each player.
        strength: gamma >= 0.

    Returns:
        `Update(init, step)`; a step costs one field and one vector-Jacobian product.

    Raises:
        ValueError: step_size not positive, strength negative or not finite (traced, they give NaN), or not one step
            size for each player.
        TypeError: players that are no tuple of floating pytrees.

    Exact as a map. Biased as a solver: it is drawn to every zero of the field, saddles and maxima of the losses
    included. On a rotation of frequency a the flow has eigenvalues -gamma a^2 +- i a.

    Example:
        >>> field = vector_field((lambda p: p[0] * p[1], lambda p: -p[0] * p[1]))
        >>> update = consensus(field, step_size=0.5, strength=1.0)
        >>> [float(z) for z in update.step(update.init((jnp.float32(1.0), jnp.float32(0.0)))).players]
        [0.5, 0.5]

    References:
        [mescheder2017numerics, sec. 4]
    """
    rates = _checked_rates(step_size)
    strength = checked_strength(strength)

    def step(state: PlayersState) -> PlayersState:
        now, pull_back = jax.vjp(field, state.players)
        direction = _combined(now, -strength, pull_back(now)[0])
        return PlayersState(_moved(state.players, direction, rates))

    return Update(_start, step)


def symplectic(field: Field, *, step_size: StepSize, strength: Float[Array, ""] | float) -> Update:
    r"""Symplectic gradient adjustment: damp the rotating part of the game, leave the descending part alone.

    $$z' = z + \eta \bigl(v + \lambda A v\bigr), \qquad A = \tfrac12 (J - J^\top).$$

    Args:
        field: `field(players) -> players`, as from `vector_field`.
        step_size: eta > 0, or a tuple with one for each player.
        strength: lambda >= 0; fixed, without the paper's choice of sign by alignment.

    Returns:
        `Update(init, step)`; a step costs one field, one Jacobian-vector and one vector-Jacobian product.

    Raises:
        ValueError: step_size not positive, strength negative or not finite (traced, they give NaN), or not one step
            size for each player.
        TypeError: players that are no tuple of floating pytrees.

    Exact as a map. On a rotation of frequency a the flow has eigenvalues -lambda a^2 +- i a; a game without
    rotation (J symmetric) is not changed.

    Example:
        >>> field = vector_field((lambda p: p[0] * p[1], lambda p: -p[0] * p[1]))
        >>> update = symplectic(field, step_size=0.5, strength=1.0)
        >>> [float(z) for z in update.step(update.init((jnp.float32(1.0), jnp.float32(0.0)))).players]
        [0.5, 0.5]

    References:
        [balduzzi2018mechanics, sec. 3]
    """
    rates = _checked_rates(step_size)
    strength = checked_strength(strength)

    def step(state: PlayersState) -> PlayersState:
        now, pull_back = jax.vjp(field, state.players)
        _, along = jax.jvp(field, (state.players,), (now,))
        turned = jax.tree.map(lambda a, b: (a - b) / 2, along, pull_back(now)[0])
        return PlayersState(_moved(state.players, _combined(now, strength, turned), rates))

    return Update(_start, step)


def implicit(field: Field, *, step_size: StepSize, iterations: int = 8) -> Update:
    r"""Implicit (proximal) step: move by the field at the place one arrives at.

    $$z' = z + \eta\, v(z'); \qquad \mu = \frac{1}{1 - \eta\lambda}.$$

    Args:
        field: `field(players) -> players`, as from `vector_field`.
        step_size: eta > 0, or a tuple with one for each player.
        iterations: Newton steps that solve for z', static; one is enough where the field is linear.

    Returns:
        `Update(init, step)`. Dense: a step solves a system in all n parameters.

    Raises:
        ValueError: step_size not positive (traced, it gives NaN), not one for each player, or iterations < 1.
        TypeError: iterations not an integer, players that are no tuple of floating pytrees.

    Exact once Newton's iteration has converged; it need not where eta times the field's curvature is large. A
    reference for what extragradient and the optimistic rule approximate.

    Example:
        >>> update = implicit(vector_field((lambda p: p[0] ** 2 / 2,)), step_size=1.0)
        >>> float(update.step(update.init((jnp.float32(1.0),))).players[0])
        0.5

    References:
        [daskalakis2018training], [gidel2019variational]
    """
    rates = _checked_rates(step_size)
    require_count("iterations", iterations)

    def step(state: PlayersState) -> PlayersState:
        start, unravel = ravel_pytree(state.players)

        def excess(z: Array) -> Array:
            """What z differs by from the place that the field at z leads to."""
            return z - ravel_pytree(_moved(state.players, field(unravel(z)), rates))[0]

        def newton(_: int | Array, z: Array) -> Array:
            """One step of Newton's iteration."""
            return z - jnp.linalg.solve(jax.jacfwd(excess)(z), excess(z))

        return PlayersState(unravel(jax.lax.fori_loop(0, iterations, newton, start)))

    return Update(_start, step)


def _start(players: Players) -> PlayersState:
    require_players(players)
    return PlayersState(promoted(players))


def _moved(players: Players, direction: Players, rates: StepSize) -> Players:
    """Each player moved along its direction by its own step size."""
    if not isinstance(rates, tuple):
        rates = (rates,) * len(players)
    if len(rates) != len(players):
        raise ValueError(f"step_size must be one number or one for each of {len(players)} players, got {len(rates)}.")
    return tuple(_combined(p, rate, d) for p, rate, d in zip(players, rates, direction, strict=True))


def _combined(x: Any, factor: Any, y: Any) -> Any:
    """X + factor y over pytrees, in the precision of x."""
    return jax.tree.map(lambda a, b: a + jnp.asarray(factor, a.dtype) * b.astype(a.dtype), x, y)


def _checked_rates(step_size: StepSize) -> StepSize:
    """The step size or sizes, each a scalar > 0; NaN where a traced one is not."""
    if isinstance(step_size, tuple):
        return tuple(_checked_rate(rate) for rate in step_size)
    return _checked_rate(step_size)


def _checked_rate(rate: Float[Array, ""] | float) -> Float[Array, ""] | float:
    if jnp.ndim(rate):
        raise ValueError(f"step_size must be a scalar or a tuple of scalars, got shape {jnp.shape(rate)}.")
    return require_positive("step_size", rate)
