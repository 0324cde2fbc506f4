"""Linearised stability in discrete time: the spectrum of the update map, and the step at which it breaks."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import is_concrete, require_positive
from nsx._types import Array, ArrayLike, Complex, Float, Players
from nsx.games._eig import by_modulus, eigenvalues
from nsx.games._field import flattened, require_no_nan, require_players
from nsx.games._updates import Update


def update_spectrum(update: Update, players: Players) -> Complex[Array, "m"]:
    r"""Multipliers of one step: eigenvalues of the update map's Jacobian, memory included.

    $$\mu_i = \lambda_i\!\left(\frac{\partial\, \mathrm{step}(s)}{\partial s}\right), \quad s = \mathrm{init}(z),
      \qquad \|\delta_t\| \sim \max_i |\mu_i|^t.$$

    Args:
        update: `Update(init, step)`, as from `simultaneous` or `optimistic`.
        players: the tuple of pytrees to linearise at, usually an equilibrium.

    Returns:
        Eigenvalues `(m,)`, largest modulus first; m is the size of the whole state, so a rule that remembers
        has more of them than there are parameters. NaN where a traced Jacobian is not finite.

    Raises:
        ValueError: a step whose value is not like the state, a Jacobian that is not finite.
        TypeError: players that are no tuple of floating pytrees.

    Exact up to rounding, as `linearize`; dense.

    Example:
        >>> field = vector_field((lambda p: p[0] * p[1], lambda p: -p[0] * p[1]))
        >>> origin = (jnp.float32(0.0), jnp.float32(0.0))
        >>> round(float(abs(update_spectrum(simultaneous(field, step_size=0.5), origin)[0])), 4)  # sqrt(1 + .5^2)
        1.118

    References:
        [mescheder2017numerics, sec. 3], [gidel2019variational]
    """
    require_players(players)
    function, flat = flattened(update.step, update.init(players))
    jacobian = jax.jacfwd(function)(flat)
    require_no_nan("the Jacobian of the step", jacobian)
    return by_modulus(eigenvalues(jacobian))


def spectral_radius(update: Update, players: Players) -> Float[Array, ""]:
    r"""Growth factor per step of a small deviation: the largest modulus among the multipliers.

    $$\rho = \max_i |\mu_i|, \qquad \rho < 1 \text{ is stable.}$$

    Args:
        update: `Update(init, step)`.
        players: the tuple of pytrees to linearise at.

    Returns:
        The radius, a scalar.

    Raises:
        ValueError: as `update_spectrum`.
        TypeError: as `update_spectrum`.

    Exact up to rounding as the rate in the long run; over few steps a non-normal map may grow before it shrinks.

    Example:
        >>> field = vector_field((lambda p: p[0] ** 2,))
        >>> float(spectral_radius(simultaneous(field, step_size=0.75), (jnp.float32(0.0),)))
        0.5

    References:
        [mescheder2017numerics, sec. 3]
    """
    return jnp.abs(update_spectrum(update, players)[0])


def largest_stable_step(
    make_update: Callable[[Array], Update],
    players: Players,
    *,
    low: Float[ArrayLike, ""],
    high: Float[ArrayLike, ""],
    tolerance: float | None = None,
) -> Float[Array, ""]:
    r"""The step size at which an update rule loses its stability, by bisection on the spectral radius.

    $$\eta^* = \sup\{\eta \in [\mathrm{low}, \mathrm{high}] : \rho(\eta) \le 1 + \mathrm{tolerance}\}.$$

    Args:
        make_update: step size to `Update`, such as `lambda h: alternating(field, step_size=h)`; called with a
            traced scalar.
        players: the tuple of pytrees to linearise at, usually an equilibrium.
        low: a stable step size, > 0.
        high: an unstable one, > low.
        tolerance: what a radius may exceed 1 by and still count as stable; None is 64 m eps for a state of m
            numbers, so that multipliers of modulus exactly 1 (a symmetry, or the alternating rule's orbit) pass.

    Returns:
        The step, a scalar of the players' precision, bracketed to (high - low) eps. NaN where, traced, the
        bracket does not hold.

    Raises:
        ValueError: low not positive, high not above low, unstable at low, or still stable at high (concrete).
        TypeError: players that are no tuple of floating pytrees.

    Exact up to rounding where the radius crosses 1 once in the bracket, otherwise one of the crossings. A
    tolerance moves the answer by about tolerance over the slope of the radius. Can be jitted; outside jit each
    call compiles once.

    Example:
        >>> field = vector_field((lambda p: p[0] ** 2,))  # gradient descent on x^2 with step h: 1 - 2 h
        >>> make = lambda h: simultaneous(field, step_size=h)
        >>> round(float(largest_stable_step(make, (jnp.float32(0.0),), low=0.1, high=3.0)), 4)
        1.0

    References:
        [mescheder2017numerics, sec. 3], [nagarajan2017gradient]
    """
    require_players(players)
    require_positive("low", low)
    if is_concrete(low) and is_concrete(high) and not float(high) > float(low):
        raise ValueError(f"high must exceed low, got low = {low} and high = {high}.")
    dtype = jnp.result_type(*(x.dtype for x in map(jnp.asarray, jax.tree.leaves(players))), jnp.float32)
    state = jax.eval_shape(lambda p: make_update(jnp.ones((), dtype)).init(p), players)
    if tolerance is None:
        tolerance = 64 * sum(x.size for x in jax.tree.leaves(state)) * float(jnp.finfo(dtype).eps)

    def stable(step_size: Array) -> Array:
        return spectral_radius(make_update(step_size), players) <= 1 + tolerance

    return _bisect(stable, jnp.asarray(low, dtype), jnp.asarray(high, dtype))


def _bisect(stable: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Where a predicate that holds at low stops holding before high; NaN (or an error, concrete) otherwise.

    One loop looks at low, at high, and then at the middles, so that the predicate is compiled once.
    """

    def look(i: int, carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        below, above, low_holds, high_holds = carry
        point = jnp.where(i == 0, low, jnp.where(i == 1, high, (below + above) / 2))
        holds = stable(point)
        below, above = jnp.where(holds & (i > 1), point, below), jnp.where(~holds & (i > 1), point, above)
        return below, above, jnp.where(i == 0, holds, low_holds), jnp.where(i == 1, holds, high_holds)

    start = (low, high, jnp.asarray(False), jnp.asarray(False))
    below, _, low_holds, high_holds = jax.lax.fori_loop(0, int(jnp.finfo(low.dtype).nmant) + 3, look, start)
    bracketed = low_holds & ~high_holds
    if is_concrete(bracketed) and not np.asarray(bracketed):
        state = "still stable at high" if np.asarray(low_holds) else "already unstable at low"
        raise ValueError(f"the update is {state}, with low = {low} and high = {high}. Widen the bracket.")
    return jnp.where(bracketed, below, jnp.nan)
