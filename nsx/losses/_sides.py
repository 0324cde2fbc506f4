"""The two sides of a batch as the kernels see them: rows that ask, columns that are candidates."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from nsx._types import Array


class Rows(NamedTuple):
    """Anchors and what each brings to its own softmax.

    Attributes:
        x: anchors, divided by the temperature, shape `(m, d)`.
        positive: logit of each one's positive, shape `(m,)`.
        rest: log-sum of what else stands in each one's denominator, shape `(m,)`, or None.
        place: column of each one's positive, shape `(m,)`; negative where the row does not count.
        ids: identity of each one's positive, shape `(m,)`, or None.
    """

    x: Array
    positive: Array
    rest: Array | None
    place: Array
    ids: Array | None


class Columns(NamedTuple):
    """Candidates, the positives of the rows first.

    Attributes:
        y: candidates, shape `(n, d)`.
        positive: logit of the pair of each of the first m columns, shape `(m,)`; None where only rows are asked.
        place: of each column in the whole batch, shape `(n,)`; negative where it does not count.
        ids: identity of each column, shape `(n,)`, or None.
    """

    y: Array
    positive: Array | None
    place: Array
    ids: Array | None


def places(size: int, counts: Array | None, *, start: Array | int = 0, missing: int = -1) -> Array:
    """The places start, start + 1, ... as int32, and `missing` where nothing counts."""
    place = jnp.arange(size, dtype=jnp.int32) + jnp.asarray(start, jnp.int32)
    return place if counts is None else jnp.where(counts, place, missing)


def exclusions(row_place: Array, row_ids: Array | None, columns: Columns) -> Array:
    """True where a column is no negative of a row: its positive, its id, or either side does not count."""
    row_place = row_place[:, None]
    place = columns.place[None, :]
    out = (row_place == place) | ((row_place | place) < 0)  # the sign bit of either
    if row_ids is None or columns.ids is None:
        return out
    return out | (row_ids[:, None] == columns.ids[None, :])
