"""Leading eigenvalues without a matrix: Arnoldi's iteration on Jacobian-vector products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from nsx._checks import require_count
from nsx._types import Array, Complex, Float, Key, PyTree
from nsx.games._eig import eig
from nsx.games._field import flattened, require_finite_jacobian, require_floats


class Leading(NamedTuple):
    """Approximate eigenvalues (k,), and their residuals (k,): |J x - lambda x| for the unit Ritz vector x."""

    eigenvalues: Complex[Array, "k"]
    residuals: Float[Array, "k"]


def leading_eigenvalues(
    key: Key[Array, ""],
    function: Callable[[PyTree], PyTree],
    point: PyTree,
    *,
    num_eigenvalues: int = 6,
    krylov_dimension: int = 48,
    by: Literal["real", "modulus"] = "real",
) -> Leading:
    r"""The outermost eigenvalues of a Jacobian too large to write down.

    Arnoldi's iteration builds an orthonormal basis Q of span{b, J b, ..., J^{m-1} b} from m products J q, each one
    forward-mode derivative, and takes the eigenvalues of the small matrix

    $$H = Q^\top J Q \in \mathbb{R}^{m \times m}, \qquad
      \|J x - \theta x\| = h_{m+1,m}\, |y_m| \quad \text{for } H y = \theta y,\; x = Q y.$$

    Args:
        key: draws the starting vector b; where the basis closes early, a fresh direction.
        function: a field with `point` = players, or an update's step with `point` = its state.
        point: where to linearise, a pytree of n parameters in all.
        num_eigenvalues: how many to return, static.
        krylov_dimension: m, at least that many, static, cut to n. Memory is (m + 1) n numbers: 64 MB for 10^6
            parameters in float32 at m = 15.
        by: "real" gives the largest real parts first (a field: which deviations grow), "modulus" the largest
            moduli (an update map).

    Returns:
        `Leading(eigenvalues, residuals)`; a conjugate pair may be cut in two. NaN where a traced derivative is.

    Raises:
        ValueError: a size < 1, more eigenvalues than m or n, a function whose value is not like the point, a derivative
            that is not finite, an unknown order.
        TypeError: sizes that are no integers, a point without floating leaves.

    Exact for m = n, and wherever the starting vector lies in an invariant subspace of at most m dimensions.
    Otherwise accurate for eigenvalues that stick out of the rest of the spectrum, and biased inwards: an eigenvalue
    is within its residual times its condition number of a true one, so look at the residuals. Eigenvalues near 0
    beside a wide stable spectrum come last; many small steps as the function, `step` repeated, bring them out.

    Example:
        >>> rates = jnp.concatenate([jnp.array([0.5]), -jnp.linspace(1.0, 2.0, 999)])
        >>> found = leading_eigenvalues(jax.random.key(0), lambda x: rates * x, jnp.zeros(1000), krylov_dimension=30)
        >>> round(float(found.eigenvalues[0].real), 4), bool(found.residuals[0] < 1e-3)
        (0.5, True)

    References:
        [arnoldi1951principle], [saad2011numerical, ch. 6]
    """
    num_eigenvalues = require_count("num_eigenvalues", num_eigenvalues)
    krylov_dimension = require_count("krylov_dimension", krylov_dimension)
    if by not in ("real", "modulus"):
        raise ValueError(f"by must be 'real' or 'modulus', got {by!r}.")
    require_floats("point", point)
    flat_function, flat = flattened(function, point)
    dimension = min(krylov_dimension, flat.size)
    if num_eigenvalues > dimension:
        raise ValueError(
            f"num_eigenvalues must be at most krylov_dimension and the number of parameters, {dimension}, "
            f"got {num_eigenvalues}."
        )
    _, product = jax.linearize(flat_function, flat)
    hessenberg = _arnoldi(key, product, flat, dimension)
    require_finite_jacobian("the Jacobian", hessenberg)
    return _ritz(hessenberg, num_eigenvalues, by)


def _ritz(hessenberg: Array, count: int, by: str) -> Leading:
    """Leading eigenvalues of H and their residuals, from the (m + 1, m) Hessenberg matrix."""
    values, vectors = eig(hessenberg[:-1])
    residuals = jnp.abs(hessenberg[-1, -1]) * jnp.abs(vectors[-1]) / jnp.linalg.norm(vectors, axis=0)
    size = values.real if by == "real" else jnp.abs(values)
    first = jnp.lexsort((-values.imag, -size))[:count]
    return Leading(values[first], residuals[first])


def _arnoldi(key: Array, product: Callable[[Array], Array], like: Array, dimension: int) -> Array:
    """The (m + 1, m) Hessenberg matrix of J over the Krylov space of a random vector."""

    def draw(j: int | Array) -> Array:
        """A random direction, another one for each j."""
        return jax.random.normal(jax.random.fold_in(key, j), like.shape, like.dtype)

    basis = jnp.zeros((dimension + 1, like.size), like.dtype).at[0].set(_unit(draw(0)))
    eps = jnp.finfo(like.dtype).eps

    def grow(j: int | Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        """One more direction of the basis, and its column."""
        basis, hessenberg = carry
        image = product(basis[j])
        rest, column = _orthogonal_part(basis, image)
        length = jnp.linalg.norm(rest)
        closed = length <= 32 * eps * jnp.linalg.norm(image)  # an invariant subspace: go on in a fresh direction
        following = jax.lax.cond(closed, lambda: _orthogonal_part(basis, draw(j + 1))[0], lambda: rest)
        basis = basis.at[j + 1].set(_unit(following))
        return basis, hessenberg.at[:, j].set(column.at[j + 1].set(jnp.where(closed, 0, length)))

    start = (basis, jnp.zeros((dimension + 1, dimension), like.dtype))
    return jax.lax.fori_loop(0, dimension, grow, start)[1]


def _orthogonal_part(basis: Array, x: Array) -> tuple[Array, Array]:
    """What is left of x outside the basis, and its coefficients; twice, which makes it orthogonal to rounding."""
    first = basis @ x
    x = x - first @ basis
    second = basis @ x
    return x - second @ basis, first + second


def _unit(x: Array) -> Array:
    length = jnp.linalg.norm(x)
    return x / jnp.where(length > 0, length, 1)
