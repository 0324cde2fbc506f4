"""What every loss over a batch checks first: shapes, types, and which rows count."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from nsx._checks import as_floats, as_labels, as_mask, require_positive
from nsx._types import Array, ArrayLike


class Counted(NamedTuple):
    """Which rows and which columns count, `(b,)` and `(n,)`; None where all do."""

    rows: Array | None
    columns: Array | None


class Pairs(NamedTuple):
    """A batch that has been checked: floats of one type, and 0 wherever a row does not count, whatever it held.

    Attributes:
        x: anchors, shape `(b, d)`.
        y: candidates, shape `(n, d)`, the first b of which are the positives.
        own: negatives of one anchor alone, shape `(b, h, d)`, or None.
        own_where: which of these count, shape `(b, h)`, or None for all.
        counted: which rows and columns count.
        more: other floats in the order given, of the same type.
    """

    x: Array
    y: Array
    own: Array | None
    own_where: Array | None
    counted: Counted
    more: tuple[Array | None, ...]


def require_pairs(
    x: ArrayLike,
    y: ArrayLike,
    *,
    own: ArrayLike | None = None,
    own_where: ArrayLike | None = None,
    where: ArrayLike | None = None,
    **more: ArrayLike | None,
) -> Pairs:
    """The batch as floats of one type; ValueError unless x is (b, d), y (n, d) with n >= b >= 1, own (b, h, d)."""
    x, y, own, *others = as_floats(x=x, y=y, own=own, **more)
    if x.ndim != 2 or y.ndim != 2 or x.shape[0] == 0 or x.shape[1] != y.shape[1] or y.shape[0] < x.shape[0]:
        raise ValueError(
            f"x and y must have shapes (b, d) and (n, d) with n >= b >= 1, got {x.shape} and {y.shape}. "
            "The first b rows of y are the positives, the others more candidates."
        )
    counted = require_where(where, x.shape[0], y.shape[0])
    own_where = _own_where(x, own, own_where, counted)
    return Pairs(
        x=without(counted.rows, x),
        y=without(counted.columns, y),
        own=None if own is None else without(own_where, own),
        own_where=own_where,
        counted=counted,
        more=tuple(others),
    )


def _own_where(x: Array, own: Array | None, own_where: ArrayLike | None, counted: Counted) -> Array | None:
    """Which negatives of the anchors' own count, `(b, h)`: none of an anchor that does not; None for all."""
    if own is None:
        if own_where is not None:
            raise ValueError("own_where says which of the own negatives count, and there are none. Pass own as well.")
        return None
    if own.ndim != 3 or own.shape[0] != x.shape[0] or own.shape[1] == 0 or own.shape[2] != x.shape[1]:
        raise ValueError(f"own must have shape {(x.shape[0], 'h', x.shape[1])} with h >= 1, got {own.shape}.")
    if own_where is not None:
        own_where = as_mask("own_where", own_where, own.shape[:2], meaning="True at the own negatives that count")
    if counted.rows is None:
        return own_where
    rows = jnp.broadcast_to(counted.rows[:, None], own.shape[:2])
    return rows if own_where is None else rows & own_where


def require_where(where: ArrayLike | None, rows: int, columns: int) -> Counted:
    """A mask of the rows `(b,)`, or of all candidates `(n,)`; TypeError or ValueError where it is neither."""
    if where is None:
        return Counted(None, None)
    where = as_mask("where", where, meaning="True at the rows that count")
    if where.shape not in ((rows,), (columns,)):
        either = f"{(rows,)}" if rows == columns else f"{(rows,)}, or {(columns,)} to rule the other candidates too"
        raise ValueError(f"where must have shape {either}, got {where.shape}.")
    if where.shape[0] < columns:
        where = jnp.concatenate([where, jnp.ones(columns - rows, bool)])
    return Counted(where[:rows], where)


def without(counts: Array | None, array: Array) -> Array:
    """The array with 0 in place of what does not count."""
    if counts is None:
        return array
    return jnp.where(counts.reshape(counts.shape + (1,) * (array.ndim - counts.ndim)), array, 0)


def require_scalar_temperature(temperature: ArrayLike) -> ArrayLike:
    """The temperature, a positive scalar; ValueError otherwise, or NaN where it is traced and not positive."""
    temperature = require_positive("temperature", temperature, advice="It divides the scores.")
    if jnp.ndim(temperature):
        raise ValueError(f"temperature must be a scalar here, got shape {jnp.shape(temperature)}.")
    return temperature


def require_labels(size: dict[str, int], **values: ArrayLike | None) -> tuple[Array | None, ...]:
    """Integers compared for equality, of any size, one per row; ValueError unless each has its length."""
    labels = as_labels(**values)
    for name, label in zip(values, labels, strict=True):
        if label is not None and label.shape != (size[name],):
            raise ValueError(f"{name} must have shape {(size[name],)}, one per row, got {label.shape}.")
    return labels
