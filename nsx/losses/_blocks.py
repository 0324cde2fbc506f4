"""Blocks of rows: how an n x n quantity is met without ever being held."""

from __future__ import annotations

from typing import TypeVar

import jax
import jax.numpy as jnp

from nsx._checks import require_count
from nsx._types import Array

Tree = TypeVar("Tree")

_SLAB = 2**21  # entries of a slab: 8 MiB of float32, few enough to be reused in cache instead of paged in afresh
_FEWEST = 64  # rows of a slab: fewer, and launching it costs more than its work
_MOST = 512  # rows of a slab: more, and the last one is mostly padding


def default_block(columns: int) -> int:
    """Rows of a slab of about 2^21 entries, at least 64 so that a matrix product is still one."""
    return max(_FEWEST, min(_MOST, _SLAB // columns))


def chosen_block(block_size: int | None, columns: int) -> int:
    """The caller's rows of a slab, checked, or the default's."""
    if block_size is None:
        return default_block(columns)
    return require_count("block_size", block_size)


def split_rows(block: int, tree: Tree) -> Tree:
    """Each array `(m, ...)` of a tree as `(blocks, block, ...)`, for scan.

    Rows of padding are 0, or -1 for signed integers, where a negative place counts for nothing.
    """
    rows = jax.tree.leaves(tree)[0].shape[0]
    block = min(block, rows)
    count = -(-rows // block)

    def split(array: Array) -> Array:
        fill = -1 if jnp.issubdtype(array.dtype, jnp.signedinteger) else 0
        widths = [(0, count * block - rows)] + [(0, 0)] * (array.ndim - 1)
        return jnp.pad(array, widths, constant_values=fill).reshape((count, block, *array.shape[1:]))

    return jax.tree.map(split, tree)


def join_rows(array: Array, rows: int) -> Array:
    """`(blocks, block, ...)` back to `(rows, ...)`, without the padding."""
    return array.reshape((-1, *array.shape[2:]))[:rows]
