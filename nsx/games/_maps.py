"""Linearised stability in discrete time: the spectrum of the update map, and the step at which it breaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import is_concrete, require_positive, require_scalar
from nsx._types import Array, ArrayLike, Complex, Float, Players
from nsx.games._eig import by_modulus, eigenvalues
from nsx.games._field import flattened, require_finite_jacobian, require_players
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
    jacobian = require_finite_jacobian("the Jacobian of the step", jax.jacfwd(function)(flat))
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

    $$\eta^* = \sup\{\eta \in [\mathrm{low}, \mathrm{high}] : \rho(\eta) \le 1 + \epsilon\}.$$

    Args:
        make_update: step size to `Update`, such as `lambda h: alternating(field, step_size=h)`; called with a
            traced scalar.
        players: the tuple of pytrees to linearise at, usually an equilibrium.
        low: a stable step size, > 0.
        high: an unstable one, > low.
        tolerance: epsilon, what a radius may exceed 1 by and still be called stable. None asks for stability itself:
            the rounding of the spectrum, 64 m eps for a state of m numbers, is then allowed for, so that multipliers
            of modulus 1 (a symmetry, or the alternating rule's orbit) pass, and is never taken for the answer.

    Returns:
        The step, a scalar of the players' precision, bracketed to (high - low) eps. NaN where, traced, the
        bracket does not hold.

    Raises:
        ValueError: low not positive, high not above low, unstable at low, or still stable at high (traced, they give
            NaN). Without a tolerance, "unstable at low" is also said of a rule whose radius leaves 1 too slowly for the
            precision to tell from 1 at low: it is one where it passes the rounding smoothly, as h^2 does.
        TypeError: players that are no tuple of floating pytrees.

    Exact up to rounding where the radius crosses 1 once in the bracket, otherwise one of the crossings. Rounding or a
    tolerance move the answer by about their size over the slope of the radius. Can be jitted; outside jit each
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
    require_scalar("low", low)
    require_scalar("high", high)
    low = require_positive("low", low)
    high = require_positive("high", high)
    if is_concrete(low) and is_concrete(high) and not float(high) > float(low):
        raise ValueError(f"high must exceed low, got low = {low} and high = {high}.")
    types = [leaf.dtype for leaf in map(jnp.asarray, jax.tree.leaves(players))]
    dtype = max((*types, jnp.dtype(jnp.float32)), key=lambda dtype: dtype.itemsize)
    state = jax.eval_shape(lambda p: make_update(jnp.ones((), dtype)).init(p), players)
    rounding = 64 * sum(x.size for x in jax.tree.leaves(state)) * float(jnp.finfo(dtype).eps)
    allowed = rounding if tolerance is None else tolerance

    def excess(step_size: Array) -> Array:
        """What the radius exceeds 1 by."""
        return spectral_radius(make_update(step_size), players) - 1

    low = jnp.asarray(low, dtype)
    high = jnp.asarray(high, dtype)
    found = _bisect(lambda step_size: excess(step_size) <= allowed, low, high)
    if tolerance is None:
        found = found._replace(low_holds=found.low_holds & _is_crossing(excess, found.below, low, high, rounding))
    return _answer(found, low, high)


class _Bisection(NamedTuple):
    """The largest point found at which the predicate holds, and whether it holds at either end."""

    below: Array
    low_holds: Array
    high_holds: Array


_HIGHEST_ORDER = 7  # of the power of the step by which a radius that is 1 at 0 may leave it unseen


def _is_crossing(excess: Callable[[Array], Array], found: Array, low: Array, high: Array, rounding: float) -> Array:
    """Whether stability ends at the point found, or growth that was there all along has only outgrown the rounding.

    Growth like h^p passes the rounding smoothly: further on it is (h / found)^p times that. Where the radius is below 1
    at low, or is further on above any such power, there was stability to lose.
    """
    further = jnp.minimum(2 * found, high)
    at_low = excess(low)
    at_further = excess(further)
    smooth = rounding * (further / found) ** _HIGHEST_ORDER
    return (at_low < -rounding) | (at_further > smooth)


def _bisect(holds: Callable[[Array], Array], low: Array, high: Array) -> _Bisection:
    """Where a predicate that holds at low stops holding before high.

    One loop looks at low, at high, and then at the middles, so that the predicate is compiled once.
    """

    def look(i: int | Array, carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        """Look at one more point."""
        below, above, low_holds, high_holds = carry
        point = jnp.where(i == 0, low, jnp.where(i == 1, high, (below + above) / 2))
        here = holds(point)
        below = jnp.where(here & (i > 1), point, below)
        above = jnp.where(~here & (i > 1), point, above)
        return below, above, jnp.where(i == 0, here, low_holds), jnp.where(i == 1, here, high_holds)

    start = (low, high, jnp.asarray(False), jnp.asarray(False))
    points = int(jnp.finfo(low.dtype).nmant) + 3
    below, _, low_holds, high_holds = jax.lax.fori_loop(0, points, look, start)
    return _Bisection(below=below, low_holds=low_holds, high_holds=high_holds)


def _answer(found: _Bisection, low: Array, high: Array) -> Array:
    """The point found; NaN (an error, where concrete) if the bracket does not hold it."""
    bracketed = found.low_holds & ~found.high_holds & (high > low)
    if is_concrete(bracketed) and not np.asarray(bracketed):
        state = "still stable at high" if np.asarray(found.low_holds) else "already unstable at low"
        raise ValueError(
            f"the update is {state}, with low = {low} and high = {high} in {low.dtype}. Widen the bracket, or take a "
            "wider type."
        )
    return jnp.where(bracketed, found.below, jnp.nan)
