"""Who may be a negative of a node, how hard it is, and how much gradient it gives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import as_float, as_floats, as_ids, is_concrete
from nsx._numerics import log_normalize, masked_sum
from nsx._types import Array, ArrayLike, Bool, Float, Int
from nsx.graphs._checks import prepare_adjacency, prepare_rows


def non_neighbours(
    adjacency: Bool[ArrayLike, "n n"], *, log_weights: Float[ArrayLike, "n n"] | Float[ArrayLike, " n"] | None = None
) -> Float[Array, "n n"]:
    r"""Log-weights of negatives, a row for each anchor: the nodes it has no edge to, itself left out.

    $$w_{ij} = \begin{cases} -\infty & A_{ij} \text{ or } i = j \\ w_{ij} & \text{else.} \end{cases}$$

    Args:
        adjacency: A, shape `(n, n)`.
        log_weights: any proposal, shape `(n, n)` or `(n,)` for one law shared by all anchors; None is uniform.

    Returns:
        Shape `(n, n)`, nats. The row of a node joined to all others (the hub of a star) is all -inf: the samplers
        refuse it, and `has_negatives` tells which rows to mask.

    Raises:
        ValueError: A not square, not symmetric or with a self-loop, fewer than 2 nodes, weights that do not fit.
        TypeError: A not boolean. Traced, only shape and type are checked.

    Exact. In an empty graph every other node is a negative. Memory O(n^2): for 1e5 nodes and more, and for directed or
    bipartite graphs, draw negatives by `draw_non_edges` from the list of edges.

    Example:
        >>> path = jnp.array([[False, True, False], [True, False, True], [False, True, False]])
        >>> non_neighbours(path)[0].tolist()
        [-inf, -inf, 0.0]

    References:
        [liben2007link], [yang2020understanding]
    """
    adjacency = prepare_adjacency(adjacency)
    n = adjacency.shape[0]
    weights = jnp.zeros((n, n)) if log_weights is None else as_float("log_weights", log_weights)
    if weights.shape not in ((n, n), (n,)):
        raise ValueError(f"log_weights must be ({n}, {n}) or ({n},), got {weights.shape}.")
    return jnp.where(adjacency | jnp.eye(n, dtype=bool), -jnp.inf, jnp.broadcast_to(weights, (n, n)))


def has_negatives(log_weights: Float[ArrayLike, "n n"]) -> Bool[Array, " n"]:
    r"""True at the anchors that have a negative at all.

    $$\exists j : w_{ij} > -\infty.$$

    Args:
        log_weights: shape `(n, n)`, a row for each anchor, nats.

    Returns:
        Shape `(n,)`, the `where` of `hard_negative_rate` and `efficiency`. NaN is no mass.

    Raises:
        ValueError: a scalar.

    Exact.

    Example:
        >>> has_negatives(non_neighbours(~jnp.eye(2, dtype=bool))).tolist()
        [False, False]

    References:
        [yang2020understanding]
    """
    weights = as_float("log_weights", log_weights)
    if weights.ndim == 0:
        raise ValueError("log_weights must have a row for each anchor, got a scalar.")
    return jnp.any(weights > -jnp.inf, axis=-1)


def hard_negative_rate(
    log_weights: Float[ArrayLike, "n n"],
    common: Int[ArrayLike, "n n"],
    *,
    threshold: int,
    where: Bool[ArrayLike, " n"] | None = None,
) -> Float[Array, " n"]:
    r"""Probability that a negative drawn for an anchor is hard: that it shares at least h neighbours with it.

    $$r_i = \sum_j q_{ij}\, 1[c_{ij} \ge h].$$

    Args:
        log_weights: of the negatives, shape `(n, n)`, a row for each anchor, nats, as from `non_neighbours`.
        common: c >= 0, integers, shape `(n, n)`, as from `common_neighbours`.
        threshold: h, a number.
        where: True at the anchors that count, shape `(n,)`; None for all.

    Returns:
        Shape `(n,)`; 0 where masked, NaN where traced weights leave a counted anchor without negatives, or hold NaN in
        its row.

    Raises:
        ValueError: a counted anchor without negatives, shapes that do not fit.
        TypeError: counts that are not integers, a mask that is not boolean.

    Exact for the law given.

    Example:
        >>> path = jnp.array([[False, True, False], [True, False, True], [False, True, False]])
        >>> weights = non_neighbours(path)
        >>> hard_negative_rate(weights, common_neighbours(path), threshold=1, where=has_negatives(weights)).tolist()
        [1.0, 0.0, 1.0]

    References:
        [liben2007link], [yang2020understanding]
    """
    weights, where = prepare_rows(log_weights, where)
    common = as_ids("common", common)
    if common.shape != weights.shape:
        raise ValueError(f"common must have the shape of log_weights, {weights.shape}, got {common.shape}.")
    return _expected(weights, (common >= threshold).astype(weights.dtype), where)


def efficiency(
    scores: Float[ArrayLike, "n n"],
    adjacency: Bool[ArrayLike, "n n"],
    log_weights: Float[ArrayLike, "n n"],
    *,
    where: Bool[ArrayLike, " n"] | None = None,
) -> Float[Array, ""]:
    r"""Efficiency of negatives: the mean gradient a negative gives over the mean gradient an edge gives.

    $$\frac{\mathrm{mean}_i\, \mathbb{E}_{j \sim q_i}\, \sigma(s_{ij})}
           {\mathrm{mean}_{(i, j) \in A}\, \sigma(-s_{ij})},$$

    the gradients of `losses.sgns` in the scores.

    Args:
        scores: s, shape `(n, n)`, larger is closer.
        adjacency: A, shape `(n, n)`.
        log_weights: of the negatives, shape `(n, n)`, nats.
        where: True at the anchors whose negatives count, shape `(n,)`.

    Returns:
        A scalar, 1 at scores 0. NaN, traced, for a graph without edges or anchors without negatives. A score that is
        neither an edge's nor a possible negative's may be anything.

    Raises:
        ValueError: no edge, a counted anchor without negatives, no anchor that counts, shapes that do not fit.
        TypeError: as `non_neighbours`.

    Exact for the law given.

    Example:
        >>> pairs = jnp.kron(jnp.eye(2), jnp.array([[0, 1], [1, 0]])) > 0
        >>> float(efficiency(jnp.zeros((4, 4)), pairs, non_neighbours(pairs)))
        1.0

    References:
        [yang2020understanding], [mikolov2013distributed]
    """
    adjacency = prepare_adjacency(adjacency)
    weights, where = prepare_rows(log_weights, where)
    scores, weights = as_floats(scores=scores, weights=weights)
    if scores.shape != adjacency.shape or weights.shape != adjacency.shape:
        raise ValueError(f"scores {scores.shape} and log_weights {weights.shape} must fit the graph {adjacency.shape}.")
    if is_concrete(adjacency) and not np.any(np.asarray(adjacency)):
        raise ValueError("adjacency has no edge: there is no positive to compare with.")
    if is_concrete(where) and not np.any(np.asarray(where)):
        raise ValueError("no anchor counts: every node is masked or joined to all others.")
    possible = where[:, None] & (weights != -jnp.inf)
    push_each = _expected(weights, jax.nn.sigmoid(jnp.where(possible, scores, 0)), where)
    pull_each = jax.nn.sigmoid(-jnp.where(adjacency, scores, 0))
    push = masked_sum(push_each, where) / jnp.sum(where.astype(scores.dtype))
    pull = jnp.sum(masked_sum(pull_each, adjacency)) / jnp.sum(adjacency.astype(scores.dtype))
    return push / pull


def _expected(log_weights: Array, values: Array, where: Array) -> Array:
    """Mean of the values under each row's law; 0 where masked, NaN where a counted row is empty."""
    possible = log_weights != -jnp.inf  # not `>`: NaN is no impossible one
    mean = masked_sum(jnp.exp(log_normalize(log_weights)) * values, possible)
    return jnp.where(where, jnp.where(jnp.any(possible, axis=-1), mean, jnp.nan), 0)
