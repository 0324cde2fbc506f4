"""Rows of numbers as people have them, as float32: any real type, any size, every fault named by its row."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from nsx._types import ArrayLike

_ROWS = 2**16  # rows in float64 at once, so that a large table is never held twice in double precision


def as_numbers(name: str, value: ArrayLike) -> np.ndarray:
    """The array on the host in its own type; TypeError where it does not hold real numbers."""
    array = np.asarray(value)
    if np.issubdtype(array.dtype, np.complexfloating):
        raise TypeError(f"{name} must be real, got {array.dtype}: take its real part, or its modulus, first.")
    if array.dtype.kind == "V" and not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{name} has the type {array.dtype}, which says nothing of its numbers: so NumPy saves bfloat16. "
            "Save it as float32."
        )
    if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool):
        raise TypeError(f"{name} must hold numbers, got {array.dtype}: save it as float32.")
    return array


def as_matrix(name: str, value: ArrayLike) -> np.ndarray:
    """Rows of finite numbers, `(rows, columns)`, float32."""
    array = _as_rows(name, value)
    with np.errstate(over="ignore"):
        small = array.astype(np.float32, copy=False)
    _require_finite_rows(name, array, small)
    return small


def as_unit_rows(name: str, value: ArrayLike) -> np.ndarray:
    """Rows of length 1, float32: each over its length, of whatever size that is."""
    array = _as_rows(name, value)
    unit = np.empty(array.shape, np.float32)
    for start in range(0, len(array), _ROWS):
        rows = array[start : start + _ROWS].astype(np.float64)
        largest = np.max(np.abs(rows), axis=1, keepdims=True)
        bad = ~(np.isfinite(largest[:, 0]) & (largest[:, 0] > 0))
        if bad.any():
            row = int(np.argmax(bad))
            if largest[row, 0] == 0:
                raise ValueError(f"{name}[{start + row}] is a zero vector, which has no cosine. Drop the row.")
            raise ValueError(f"{name}[{start + row}] holds NaN or infinity. Drop or mend the row.")
        rows = rows / largest  # neither the square of 1e200 nor that of 1e-200 is a number
        unit[start : start + _ROWS] = rows / row_lengths(rows)[:, None]
    return unit


def row_lengths(rows: np.ndarray) -> np.ndarray:
    """Euclidean length of each row, `(rows,)`, summed in float64."""
    return np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))


def _as_rows(name: str, value: ArrayLike) -> np.ndarray:
    array = as_numbers(name, value)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name} must be a matrix with at least one row and column, got shape {array.shape}.")
    return array


def _require_finite_rows(name: str, array: np.ndarray, small: np.ndarray) -> None:
    """Raise ValueError at the first row that is not finite, or no longer so in float32."""
    bad = ~np.isfinite(small).all(axis=1)
    if not bad.any():
        return
    row = int(np.argmax(bad))
    if np.isfinite(array[row].astype(np.float64)).all():
        largest = np.max(np.abs(array[row].astype(np.float64)))
        raise ValueError(f"{name}[{row}] holds {largest:.3g}, beyond float32. Scale the vectors, or take cosines.")
    raise ValueError(
        f"{name}[{row}] holds NaN or infinity; {int(bad.sum())} such rows in all. Drop or mend these rows."
    )
