"""Linearised stability in continuous time: Jacobian, spectrum, kind of equilibrium, and where it is."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from nsx._checks import as_float, is_concrete, require_count
from nsx._types import Array, ArrayLike, Complex, Float, Players, Shaped
from nsx.games._eig import by_real_part, eigenvalues
from nsx.games._field import Field, flattened, promoted, require_finite_jacobian, require_players


class Stability(NamedTuple):
    """A linearised flow: its jacobian (n, n), eigenvalues (n,) sorted by real part, largest first, and abscissa.

    The abscissa is the largest real part: deviations grow as e^(abscissa t).
    """

    jacobian: Float[Array, "n n"]
    eigenvalues: Complex[Array, "n"]
    abscissa: Float[Array, ""]


class Equilibrium(NamedTuple):
    """Players at which the field vanishes, found by Newton's iteration.

    `players` are they, and `residual` is the largest entry of the field left there.
    """

    players: Players
    residual: Float[Array, ""]


def linearize(field: Field, players: Players) -> Stability:
    r"""Linearised dynamics of a game at a point, which tell whether a small deviation grows.

    $$J = \frac{\partial v}{\partial z}, \qquad \dot\delta = J \delta, \qquad
      \alpha = \max_i \mathrm{Re}\,\lambda_i(J); \quad \alpha < 0 \text{ is stable.}$$

    Args:
        field: `field(players) -> players`, as from `vector_field`.
        players: the tuple of pytrees to linearise at, usually an equilibrium; n parameters together.

    Returns:
        `Stability(jacobian, eigenvalues, abscissa)` over the flattened players (`jax.flatten_util.ravel_pytree`
        order: player after player). NaN where a traced Jacobian is not finite.

    Raises:
        ValueError: a field whose value is not like the players (no square Jacobian), wrong number of players,
            a Jacobian that is not finite.
        TypeError: players that are no tuple of floating pytrees.

    Exact up to rounding, of order eps |J| times an eigenvalue's condition number; a double eigenvalue of a
    defective J is off by about sqrt(eps). Dense: n^2 numbers and n^3 work, good to about a thousand
    parameters; beyond, `leading_eigenvalues`. On an accelerator the small matrix goes to the host.

    Example:
        >>> field = vector_field((lambda p: p[0] * p[1], lambda p: -p[0] * p[1]))
        >>> linearize(field, (jnp.float32(0.0), jnp.float32(0.0))).eigenvalues.imag.tolist()
        [1.0, -1.0]

    References:
        [mescheder2018which, sec. 2], [nagarajan2017gradient]
    """
    require_players(players)
    function, flat = flattened(field, players)
    return stability(require_finite_jacobian("the Jacobian", jax.jacfwd(function)(flat)))


def stability(jacobian: Float[ArrayLike, "... n n"]) -> Stability:
    r"""Spectrum and abscissa of a Jacobian found by other means.

    $$\alpha = \max_i \mathrm{Re}\,\lambda_i(J).$$

    Args:
        jacobian: real square matrices, shape `(..., n, n)`.

    Returns:
        `Stability` with eigenvalues `(..., n)` and abscissa `(...)`; NaN for a matrix that is not finite.

    Raises:
        ValueError: a matrix that is not square.
        TypeError: complex entries.

    Exact up to rounding, as `linearize`.

    Example:
        >>> float(stability(jnp.diag(jnp.array([-2.0, -0.5]))).abscissa)
        -0.5

    References:
        [strogatz2015nonlinear, ch. 5]
    """
    jacobian = as_float("jacobian", jacobian)
    if jacobian.ndim < 2 or jacobian.shape[-1] != jacobian.shape[-2] or jacobian.shape[-1] == 0:
        raise ValueError(f"jacobian must be square, of shape (..., n, n) with n >= 1, got {jacobian.shape}.")
    spectrum = by_real_part(eigenvalues(jacobian))
    return Stability(jacobian=jacobian, eigenvalues=spectrum, abscissa=spectrum[..., 0].real)


def classify(spectrum: Shaped[ArrayLike, "n"], *, tolerance: float | None = None) -> str:
    r"""What kind of equilibrium a spectrum belongs to.

    With t = tolerance times the largest modulus, a real or imaginary part of size at most t counts as zero:

    $$\text{node: all imaginary parts zero;} \quad \text{focus: some not;} \quad
      \text{saddle: } \mathrm{Re} > t \text{ and } \mathrm{Re} < -t \text{ both occur;} \quad
      \text{centre: all } |\mathrm{Re}| \le t.$$

    Args:
        spectrum: eigenvalues of the field's Jacobian, shape `(n,)`. For an update map pass the logarithms of
            its multipliers.
        tolerance: relative threshold; None is 8 sqrt(eps) of the spectrum's precision (1.2e-7 in float64,
            2.8e-3 in float32), because a double eigenvalue carries a rounding error of about sqrt(eps).

    Returns:
        "stable node", "unstable node", "stable focus", "unstable focus", "saddle", "centre", or "degenerate"
        where some real parts are zero and the linearisation decides nothing, all eigenvalues zero included. A
        centre is one of the linearised flow: the nonlinear terms decide.

    Raises:
        ValueError: no eigenvalues, not a vector, or NaN.
        TypeError: a traced spectrum, since the answer is a word.

    Exact for the threshold stated.

    Example:
        >>> classify(jnp.array([-0.1 + 2.0j, -0.1 - 2.0j]))
        'stable focus'

    References:
        [strogatz2015nonlinear, sec. 5.2]
    """
    if not is_concrete(spectrum):
        raise TypeError("classify needs concrete eigenvalues: its answer is a word. Call it outside jit.")
    values = np.asarray(spectrum)
    if values.ndim != 1 or values.size == 0 or not np.all(np.isfinite(values)):
        raise ValueError(f"spectrum must be a vector of finite eigenvalues, got {values}.")
    if tolerance is None:
        tolerance = 8 * np.sqrt(np.finfo(np.result_type(values.dtype, np.float32)).eps)
    threshold = tolerance * np.max(np.abs(values))
    growing = values.real > threshold
    shrinking = values.real < -threshold
    turning = np.any(np.abs(values.imag) > threshold)
    if np.any(growing) and np.any(shrinking):
        return "saddle"
    if not np.any(growing | shrinking):
        return "centre" if turning else "degenerate"
    if not np.all(growing | shrinking):
        return "degenerate"
    return f"{'unstable' if np.any(growing) else 'stable'} {'focus' if turning else 'node'}"


def equilibrium(field: Field, players: Players, *, iterations: int = 32) -> Equilibrium:
    r"""A zero of the field near the players given, stable or not.

    Newton's iteration with the shortest step, so that directions in which nothing changes stay where they are, and
    halved up to seven times where that leaves less of the field:

    $$z \leftarrow z - s\, C (R J(z) C)^{+} R\, v(z), \qquad
      s = \arg\min_{0, 1, 1/2, \ldots, 2^{-7}} \|R\, v\|,$$

    with R and C diagonal, such that the rows and columns of R J C have largest entries of 1: parameters and losses may
    have any units. Singular values of that matrix below sqrt(eps) of the largest count as zero.

    Args:
        field: `field(players) -> players`.
        players: where to start.
        iterations: Newton steps, static; convergence is quadratic near a regular zero, so few are needed.

    Returns:
        `Equilibrium(players, residual)`. Look at the residual: far from a zero the iteration may come to rest where
        there is none.

    Raises:
        ValueError: iterations < 1, a field not like the players, or not as many players as it has.
        TypeError: iterations not an integer, players that are no tuple of floating pytrees.

    Exact up to rounding where it converges; NaN comes back as NaN. Dense, as `linearize`.

    Example:
        >>> field = vector_field((lambda p: (p[0] - 1.0) ** 2 + p[0] * p[1], lambda p: p[1] ** 2 - p[0] * p[1]))
        >>> found = equilibrium(field, (jnp.float32(3.0), jnp.float32(0.0)))
        >>> round(float(found.players[0]), 5)  # 2 (x - 1) + y = 0 and 2 y = x
        0.8

    References:
        [balduzzi2018mechanics, sec. 2]
    """
    require_players(players)
    iterations = require_count("iterations", iterations)
    function, flat = flattened(field, players)

    def newton(_: int | Array, z: Array) -> Array:
        """The best of some steps along Newton's direction, or none."""
        value = function(z)
        scaled = _equilibrated(jax.jacfwd(function)(z))
        cutoff = math.sqrt(jnp.finfo(z.dtype).eps)
        step = scaled.columns * jnp.linalg.lstsq(scaled.matrix, scaled.rows * value, rcond=cutoff)[0]
        lengths = jnp.asarray(_LENGTHS, z.dtype)
        trials = z[None] - lengths[:, None] * step[None]
        left = jnp.linalg.norm(scaled.rows[None] * jax.vmap(function)(trials), axis=1)
        return trials[jnp.nanargmin(left)]

    found = jax.lax.fori_loop(0, iterations, newton, flat)
    unravel = ravel_pytree(promoted(players))[1]
    residual = jnp.max(jnp.abs(function(found)))
    return Equilibrium(players=unravel(jnp.where(jnp.isnan(residual), jnp.nan, found)), residual=residual)


_LENGTHS = (*(0.5**i for i in range(8)), 0.0)  # of a Newton step that are tried; 0 stays
_ROUNDS = 8  # of scaling: each halves what the logarithms of the row and column sizes differ from 0 by


class _Equilibrated(NamedTuple):
    """A matrix whose rows and columns have a largest entry near 1: rows * J * columns, and the two scales."""

    matrix: Array
    rows: Array
    columns: Array


def _equilibrated(jacobian: Array) -> _Equilibrated:
    """The Jacobian without its units, so that a parameter with small slopes is not taken for one without any."""

    def scale(size: Array) -> Array:
        """What brings a row or column of this size nearer to 1; one of zeros stays."""
        return jax.lax.rsqrt(jnp.where(size > 0, size, 1))

    def round_of(_: int | Array, state: _Equilibrated) -> _Equilibrated:
        """Rows and columns divided by the square roots of their sizes."""
        size = jnp.abs(state.matrix)
        by_row = scale(jnp.max(size, axis=1))
        by_column = scale(jnp.max(size, axis=0))
        return _Equilibrated(
            matrix=by_row[:, None] * state.matrix * by_column[None],
            rows=state.rows * by_row,
            columns=state.columns * by_column,
        )

    ones = jnp.ones(jacobian.shape[0], jacobian.dtype)
    return jax.lax.fori_loop(0, _ROUNDS, round_of, _Equilibrated(matrix=jacobian, rows=ones, columns=ones))
