"""Mining: negatives chosen by their scores instead of drawn from a law."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np

from nsx._checks import (
    as_floats,
    as_scores,
    is_concrete,
    require_broadcastable,
    require_in_range,
    require_positive,
    require_scalar,
)
from nsx._numerics import per_row
from nsx._types import Array, ArrayLike, Bool, Float, Int, Key
from nsx.samplers._subsets import draw_without_replacement, require_enough, top_ids


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
        candidates end in -1; a row with a traced NaN that counts is all -1.

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
    """Scores with -inf at what does not count, without NaN: it sorts above everything and would be the hardest."""
    scores = as_scores(scores, where)
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
        ValueError: margin not positive or no single number, or shapes that do not fit. Traced, a margin that is
            not positive gives a mask of False: a mask cannot hold NaN.

    Exact: the gap d- - d+ is compared, so a small margin is not lost in a large distance.

    Example:
        >>> semi_hard(1.0, jnp.array([0.9, 1.0, 1.1, 1.5]), margin=0.5).tolist()
        [False, False, True, False]

    References:
        [schroff2015facenet, sec. 3.2]
    """
    require_scalar("margin", margin)
    margin = require_positive("margin", margin)
    positive, negative, margin = as_floats(
        positive_distance=positive_distance, negative_distance=negative_distance, margin=margin
    )
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
        k candidates end in -1 (in each of the two parts); a row with a traced NaN that counts is all -1.

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
    k = require_enough(scores, k, name="scores and where")
    num_hard = math.floor(hard_share * k + 0.5)
    if num_hard == 0:
        return draw_without_replacement(key, _even_law(scores), k)
    hard = top_ids(scores, num_hard, name="scores and where")
    if num_hard == k:
        return hard
    left = jnp.put_along_axis(scores, hard, -jnp.inf, axis=-1, inplace=False)
    rest = draw_without_replacement(key, _even_law(left), k - num_hard)
    return jnp.concatenate([hard, rest], axis=-1)


def _even_law(scores: Array) -> Array:
    """Log-weight 0 for every candidate; NaN stays NaN."""
    return jnp.where(jnp.isneginf(scores) | jnp.isnan(scores), scores, 0)
