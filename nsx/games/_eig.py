"""Eigenvalues of small nonsymmetric matrices on any device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nsx._types import Array


def eig(matrix: Array) -> tuple[Array, Array]:
    """Eigenvalues and unit right eigenvectors (in columns) of square matrices (..., n, n).

    LAPACK's general solver exists on the CPU only: on another device the matrix is copied to the host and back,
    also inside jit. A matrix with NaN or infinite entries gives NaN.
    """
    values, vectors = _solved(matrix, lambda x: tuple(jnp.linalg.eig(x)), _pairs_on_the_host)
    fine = _finite(matrix)[..., None]
    return jnp.where(fine, values, jnp.nan), jnp.where(fine[..., None], vectors, jnp.nan)


@jax.custom_jvp
def eigenvalues(matrix: Array) -> Array:
    """Eigenvalues (..., n) of square matrices, in the solver's order; differentiable where they are distinct."""
    values = _solved(matrix, jnp.linalg.eigvals, _values_on_the_host)  # half the work of `eig`
    return jnp.where(_finite(matrix)[..., None], values, jnp.nan)


@eigenvalues.defjvp
def _eigenvalues_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    values, vectors = eig(primals[0])
    rotated = jnp.linalg.solve(vectors, tangents[0].astype(vectors.dtype) @ vectors)
    return values, jnp.diagonal(rotated, axis1=-2, axis2=-1)


def _finite(matrix: Array) -> Array:
    return jnp.all(jnp.isfinite(matrix), axis=(-2, -1))


def _solved(matrix: Array, by_lapack: Callable, on_the_host: Callable) -> Any:
    safe = jnp.where(_finite(matrix)[..., None, None], matrix, 0)
    return jax.lax.platform_dependent(safe, cpu=by_lapack, default=on_the_host)


def _values_on_the_host(matrix: Array) -> Array:
    """The eigenvalues through NumPy; a batch is one call."""
    values = _like_values(matrix)

    def solve(x: Array) -> np.ndarray:
        """LAPACK's eigenvalues."""
        return np.asarray(np.linalg.eigvals(np.asarray(x)), values.dtype)

    return jax.pure_callback(solve, values, matrix, vmap_method="expand_dims")


def _pairs_on_the_host(matrix: Array) -> tuple[Array, Array]:
    """Eigenvalues and vectors through NumPy; a batch is one call."""
    values = _like_values(matrix)
    shapes = values, jax.ShapeDtypeStruct(matrix.shape, values.dtype)

    def solve(x: Array) -> tuple[np.ndarray, ...]:
        """LAPACK's eigenvalues and vectors."""
        return tuple(np.asarray(part, values.dtype) for part in np.linalg.eig(np.asarray(x)))

    return jax.pure_callback(solve, shapes, matrix, vmap_method="expand_dims")


def _like_values(matrix: Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(matrix.shape[:-1], jnp.result_type(matrix.dtype, jnp.complex64))


def by_real_part(values: Array) -> Array:
    """Sorted by real part, largest first; of a conjugate pair the one above the axis first."""
    return jnp.take_along_axis(values, jnp.lexsort((-values.imag, -values.real), axis=-1), axis=-1)


def by_modulus(values: Array) -> Array:
    """Sorted by modulus, largest first; of a conjugate pair the one above the axis first."""
    return jnp.take_along_axis(values, jnp.lexsort((-values.imag, -jnp.abs(values)), axis=-1), axis=-1)
