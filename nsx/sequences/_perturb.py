"""Negatives made from the true label sequence by small changes; what a change leaves as it was is masked."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import require_count
from nsx._types import Array, ArrayLike, Bool, Int
from nsx.sequences._chain import prepare_labels, prepare_mask


class Perturbed(NamedTuple):
    """`labels` (p, t) int32, one perturbed sequence per row; `where` (p,) True at rows that are another sequence.

    The rows that count are distinct from each other and from the truth: `where` is the mask for a loss.
    """

    labels: Int[Array, "p t"]
    where: Bool[Array, " p"]


def replacements(
    labels: Int[ArrayLike, " t"], *, num_labels: int, where: Bool[ArrayLike, " t"] | None = None
) -> Perturbed:
    r"""Every sequence that differs from the truth at exactly one position.

    $$\{y' : \textstyle\sum_i 1[y'_i \neq y_i] = 1\}, \qquad t\,(l - 1) \text{ of them}.$$

    Args:
        labels: the true sequence, integers in [0, l) of any type, shape `(t,)`.
        num_labels: l, a Python integer >= 1.
        where: True at the positions that count, shape `(t,)`; the others are never changed.

    Returns:
        `Perturbed` with t (l - 1) rows, position after position; none for one label.

    Raises:
        ValueError: a label outside [0, l) (traced, the rows at its position do not count), shapes that do not fit.
        TypeError: labels that are not integers, num_labels not a Python integer, a mask that is not boolean.

    Exact: each row once. As negatives of a chain these are a biased stand-in for all sequences: see `neighbourhood`.

    Example:
        >>> replacements(jnp.array([0, 2]), num_labels=3).labels.tolist()
        [[1, 2], [2, 2], [0, 0], [0, 1]]

    References:
        [smith2005contrastive], [besag1975statistical]
    """
    require_count("num_labels", num_labels)
    labels, where = _prepare(labels, where, num_labels)
    position = jnp.repeat(jnp.arange(labels.size), num_labels - 1)
    offset = jnp.tile(jnp.arange(1, num_labels, dtype=jnp.int32), labels.size)
    # ascending labels with the true one left out
    changed = jnp.where(offset - 1 >= labels[position], offset, offset - 1)
    counts = where & (labels >= 0) & (labels < num_labels)
    rows = jnp.broadcast_to(labels, (position.size, labels.size))
    return Perturbed(rows.at[jnp.arange(position.size), position].set(changed), counts[position])


def adjacent_swaps(labels: Int[ArrayLike, " t"], *, where: Bool[ArrayLike, " t"] | None = None) -> Perturbed:
    r"""Every sequence with two neighbouring labels exchanged.

    $$y' = (\dots, y_{i+1}, y_i, \dots), \qquad i = 1..t-1, \qquad \text{masked where } y_i = y_{i+1}.$$

    Args:
        labels: the true sequence, integers in [0, 2^31 - 1), shape `(t,)`.
        where: True at the positions that count, shape `(t,)`; both of a pair must.

    Returns:
        `Perturbed` with t - 1 rows (none for a sequence of length 1). Swapping equal labels gives back the truth:
        such a row is there, for a fixed shape, but does not count.

    Raises:
        ValueError: a label negative or too large (traced, it is kept, or -1 where 32 bits do not hold it), shapes that
            do not fit.
        TypeError: labels that are not integers, a mask that is not boolean.

    Exact: no row that counts is the truth or another row. Unmasked, m rows equal to the truth would hold a contrastive
    loss above log(1 + m).

    Example:
        >>> swapped = adjacent_swaps(jnp.array([4, 4, 7]))
        >>> swapped.labels.tolist(), swapped.where.tolist()
        ([[4, 4, 7], [4, 7, 4]], [False, True])

    References:
        [smith2005contrastive]
    """
    labels, where = _prepare(labels, where, jnp.iinfo(jnp.int32).max)
    first = jnp.arange(labels.size - 1)
    rows = jnp.broadcast_to(labels, (first.size, labels.size))
    rows = rows.at[first, first].set(labels[1:]).at[first, first + 1].set(labels[:-1])
    return Perturbed(rows, where[1:] & where[:-1] & (labels[1:] != labels[:-1]))


def neighbourhood(
    labels: Int[ArrayLike, " t"], *, num_labels: int, where: Bool[ArrayLike, " t"] | None = None
) -> Perturbed:
    r"""All single replacements and all adjacent swaps, each other sequence once.

    $$N(y) = \text{replacements}(y) \cup \text{swaps}(y), \qquad
      \ell = -\log \frac{e^{s(y)}}{e^{s(y)} + \sum_{y' \in N(y)} e^{s(y')}} \le \log Z - s(y).$$

    Args:
        labels: the true sequence, integers in [0, l) of any type, shape `(t,)`.
        num_labels: l, a Python integer >= 1.
        where: True at the positions that count, shape `(t,)`.

    Returns:
        `Perturbed` with t (l - 1) + t - 1 rows: `replacements`, then `adjacent_swaps`.

    Raises:
        ValueError: as `replacements`.
        TypeError: as `replacements`.

    Exact: a swap changes two positions and a replacement one, so no row comes twice. The loss on it is a likelihood
    conditional on the neighbourhood: biased below the negative log-likelihood, however often it is drawn from.

    Example:
        >>> neighbourhood(jnp.array([0, 1]), num_labels=2).labels.tolist()
        [[1, 1], [0, 0], [1, 0]]

    References:
        [smith2005contrastive]
    """
    one = replacements(labels, num_labels=num_labels, where=where)
    two = adjacent_swaps(labels, where=where)
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), one, two)


def _prepare(labels: ArrayLike, where: ArrayLike | None, num_labels: int) -> tuple[Array, Array]:
    shape = np.shape(labels)
    if len(shape) != 1 or shape[0] == 0:
        raise ValueError(f"labels must be one sequence of t >= 1 labels, got shape {shape}. Use jax.vmap.")
    where = prepare_mask(where, shape[0])
    return prepare_labels(labels, where, num_labels), where
