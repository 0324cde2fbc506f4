"""Eigenvalues of small nonsymmetric matrices on any device."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from nsx._types import Array


def eig(matrix: Array) -> tuple[Array, Array]:
    """Eigenvalues and unit right eigenvectors (in columns) of square matrices (..., n, n).

    LAPACK's general solver exists on the CPU only: on another device the matrix is copied to the host and back,
    also inside jit. A matrix with NaN or infinite entries gives NaN.
    """
    fine = jnp.all(jnp.isfinite(matrix), axis=(-2, -1))
    values, vectors = jax.lax.platform_dependent(
        jnp.where(fine[..., None, None], matrix, 0), cpu=_by_lapack, default=_on_the_host
    )
    return jnp.where(fine[..., None], values, jnp.nan), jnp.where(fine[..., None, None], vectors, jnp.nan)


def _by_lapack(matrix: Array) -> tuple[Array, Array]:
    values, vectors = jnp.linalg.eig(matrix)
    return values, vectors


def _on_the_host(matrix: Array) -> tuple[Array, Array]:
    """The same through NumPy; a batch is one call."""
    dtype = jnp.result_type(matrix.dtype, jnp.complex64)
    shapes = jax.ShapeDtypeStruct(matrix.shape[:-1], dtype), jax.ShapeDtypeStruct(matrix.shape, dtype)

    def solve(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return tuple(np.asarray(part, dtype) for part in np.linalg.eig(np.asarray(x)))

    return jax.pure_callback(solve, shapes, matrix, vmap_method="expand_dims")


@jax.custom_jvp
def eigenvalues(matrix: Array) -> Array:
    """Eigenvalues (..., n) of square matrices, in the solver's order; differentiable where they are distinct."""
    return eig(matrix)[0]


@eigenvalues.defjvp
def _eigenvalues_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    values, vectors = eig(primals[0])
    rotated = jnp.linalg.solve(vectors, tangents[0].astype(vectors.dtype) @ vectors)
    return values, jnp.diagonal(rotated, axis1=-2, axis2=-1)


def by_real_part(values: Array) -> Array:
    """Sorted by real part, largest first; of a conjugate pair the one above the axis first."""
    return jnp.take_along_axis(values, jnp.lexsort((-values.imag, -values.real), axis=-1), axis=-1)


def by_modulus(values: Array) -> Array:
    """Sorted by modulus, largest first; of a conjugate pair the one above the axis first."""
    return jnp.take_along_axis(values, jnp.lexsort((-values.imag, -jnp.abs(values)), axis=-1), axis=-1)
