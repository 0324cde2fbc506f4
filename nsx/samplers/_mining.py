"""Mining: negatives chosen by their scores instead of drawn from a law."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np

from nsx._checks import as_float, is_concrete, require_broadcastable, require_in_range, require_positive
from nsx._numerics import per_row
from nsx._types import Array, ArrayLike, Bool, Float, Int, Key
from nsx.samplers._subsets import draw_without_replacement, top_ids


def hardest(
    scores: Float[ArrayLike, "... n"], *, k: int, where: Bool[ArrayLike, "... n"] | None = None
) -> Int[Array, "... k"]:
    r"""The k candidates of largest score: the limit of `from_scores` at temperature 0, without replacement.

    $$(i_1, \dots, i_k) = \text{top-}k_i\, s_i.$$

    Args:
        scores: shape `(..., n)`, larger is closer and so harder; -inf is no candidate.
        k: how many, a Python integer, 1 <= k <= n.
        where: True at the candidates that count, shape `(..., n)`.

    Returns:
        int32 ids, shape `(..., k)`, hardest first, ties by the lower id. Traced scores with fewer than k
        candidates end in -1; a traced NaN is no candidate.

    Raises:
        ValueError: k over n, or over the candidates of some row; a NaN among the scores that count.

    Exact. As a sampler it is biased: a false negative is the most likely of all to be chosen.

    Example:
        >>> hardest(jnp.array([0.1, 0.9, 0.5]), k=2, where=jnp.array([True, False, True])).tolist()
        [2, 0]

    References:
        [schroff2015facenet, sec. 3.2]
    """
    return top_ids(_candidates(scores, where), k, name="scores and where")


def _candidates(scores: ArrayLike, where: ArrayLike | None) -> Array:
    """Scores with -inf at what does not count; NaN, which sorts above everything, counts as an error or not."""
    scores = as_float("scores", scores)
    if scores.ndim == 0 or scores.shape[-1] == 0:
        raise ValueError(f"scores need a last axis of n >= 1 candidates, got shape {scores.shape}.")
    if where is not None:
        where = jnp.asarray(where)
        if where.dtype != bool:
            raise TypeError(f"where must be boolean (True at the candidates that count), got {where.dtype}.")
        require_broadcastable("where", where.shape, scores.shape)
        scores = jnp.where(jnp.broadcast_to(where, scores.shape), scores, -jnp.inf)
    if is_concrete(scores) and np.any(np.isnan(np.asarray(scores))):
        raise ValueError("scores hold NaN, which would count as the hardest. Mask such candidates with `where`.")
    return scores


def semi_hard(
    positive_distance: Float[ArrayLike, "..."],
    negative_distance: Float[ArrayLike, "... k"],
    *,
    margin: float,
) -> Bool[Array, "... k"]:
    r"""Mask of the negatives farther than the positive, but by less than the margin.

    $$m_j = [\, d^+ < d^-_j < d^+ + m \,].$$

    Args:
        positive_distance: shape `(...)`, faced by the k negatives of its row; or as many axes as
            negative_distance, broadcasting to it.
        negative_distance: shape `(..., k)`.
        margin: m > 0, in the unit of the distances, a scalar.

    Returns:
        Mask, the shape of negative_distance: pass it as `where`. Both bounds are strict; NaN is False. A row
        may have none.

    Raises:
        ValueError: margin not positive (traced, it gives all False), or shapes that do not fit.

    Exact: the gap d- - d+ is compared, so a small margin is not lost in a large distance.

    Example:
        >>> semi_hard(1.0, jnp.array([0.9, 1.0, 1.1, 1.5]), margin=0.5).tolist()
        [False, False, True, False]

    References:
        [schroff2015facenet, sec. 3.2]
    """
    positive = as_float("positive_distance", positive_distance)
    negative = as_float("negative_distance", negative_distance)
    require_positive("margin", margin)
    if positive.ndim == negative.ndim - 1:
        positive = per_row(positive)
    require_broadcastable("positive_distance", positive.shape, negative.shape)
    return (negative > positive) & (negative - positive < margin)


def mine_mixed(
    key: Key[Array, ""],
    scores: Float[ArrayLike, "... n"],
    *,
    k: int,
    hard_share: float,
    where: Bool[ArrayLike, "... n"] | None = None,
) -> Int[Array, "... k"]:
    r"""Some of the hardest candidates, and the rest uniform among the others, all distinct.

    $$\{i_1, \dots, i_k\} = \text{top-}h_i\, s_i \,\cup\, (k - h) \text{ uniform without replacement}, \qquad
      h = \lfloor \rho k + \tfrac12 \rfloor.$$

    Args:
        key: a typed key, `jax.random.key`.
        scores: shape `(..., n)`, larger is closer and so harder; -inf is no candidate.
        k: how many, a Python integer, 1 <= k <= n.
        hard_share: rho in [0, 1], a Python number, since it sets shapes.
        where: True at the candidates that count, shape `(..., n)`.

    Returns:
        int32 ids, shape `(..., k)`: the h hardest first, hardest of all in front. Traced scores with fewer than
        k candidates end in -1 (in each of the two parts).

    Raises:
        ValueError: hard_share outside [0, 1], k over the candidates of some row, or NaN among the scores.

    Exact. As a sampler it is biased: no fixed law q gives the log q of the hard part.

    Example:
        >>> ids = mine_mixed(jax.random.key(0), jnp.arange(4.0), k=4, hard_share=0.5)
        >>> ids[:2].tolist(), sorted(ids[2:].tolist())
        ([3, 2], [0, 1])

    References:
        [schroff2015facenet, sec. 3.2], [xiong2021approximate]
    """
    require_in_range("hard_share", hard_share, 0, 1)
    scores = _candidates(scores, where)
    top_ids(scores, k, name="scores and where")
    num_hard = math.floor(hard_share * k + 0.5)
    if num_hard == 0:
        return draw_without_replacement(key, jnp.where(scores > -jnp.inf, 0.0, -jnp.inf), k)
    hard = top_ids(scores, num_hard, name="scores and where")
    if num_hard == k:
        return hard
    left = jnp.put_along_axis(scores, hard, -jnp.inf, axis=-1, inplace=False)
    rest = draw_without_replacement(key, jnp.where(left > -jnp.inf, 0.0, -jnp.inf), k - num_hard)
    return jnp.concatenate([hard, rest], axis=-1)
