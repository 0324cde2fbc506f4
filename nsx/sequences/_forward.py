"""The forward recursion in log space, and what its derivative tells: marginals."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import as_float, is_concrete
from nsx._numerics import masked_logsumexp, masked_sum
from nsx._types import Array, ArrayLike, Bool, Float, Int


class Marginals(NamedTuple):
    """`unary` (t, l): P(y_i = a), rows of 0 at skipped positions; `pairwise` (l, l): expected number of a -> b."""

    unary: Float[Array, "t l"]
    pairwise: Float[Array, "l l"]


def crf_log_normalizer(
    unary: Float[ArrayLike, "t l"], pairwise: Float[ArrayLike, "l l"], *, where: Bool[ArrayLike, " t"] | None = None
) -> Float[Array, ""]:
    r"""Log partition function of a linear chain, by the forward recursion.

    $$\log Z = \log \sum_{y \in \{1..l\}^t} e^{s(y)}, \qquad
      s(y) = \sum_{i=1}^{t} u_{i, y_i} + \sum_{i=2}^{t} A_{y_{i-1}, y_i}.$$

    Args:
        unary: u, shape `(t, l)`, t >= 1 positions and l >= 1 labels, nats; -inf forbids a label there.
        pairwise: A, shape `(l, l)`, from row to column; -inf forbids a transition.
        where: True at the positions that count, shape `(t,)`; the others are skipped: their neighbours meet.

    Returns:
        log Z in nats, a scalar; 0 where no position counts, -inf with gradient 0 where no sequence is allowed.

    Raises:
        ValueError: shapes that do not fit, NaN or +inf (traced, these give NaN or +inf).
        TypeError: a mask that is not boolean.

    Exact, in O(t l^2).

    Example:
        >>> round(float(jnp.exp(crf_log_normalizer(jnp.zeros((4, 3)), jnp.zeros((3, 3))))), 3)
        81.0

    References:
        [lafferty2001conditional], [rabiner1989tutorial, sec. III.A]
    """
    return log_normalizer(*prepare(unary, pairwise, where))


def crf_log_score(
    unary: Float[ArrayLike, "t l"],
    pairwise: Float[ArrayLike, "l l"],
    labels: Int[ArrayLike, " t"],
    *,
    where: Bool[ArrayLike, " t"] | None = None,
) -> Float[Array, ""]:
    r"""Unnormalised log-probability of a label sequence; less log Z it is the log-likelihood.

    $$s(y) = \sum_{i=1}^{t} u_{i, y_i} + \sum_{i=2}^{t} A_{y_{i-1}, y_i}.$$

    Args:
        unary: shape `(t, l)`, nats.
        pairwise: shape `(l, l)`, from row to column.
        labels: y, integers in [0, l), shape `(t,)`; whatever they are where skipped.
        where: True at the positions that count, shape `(t,)`.

    Returns:
        s(y) in nats, a scalar; 0 where no position counts.

    Raises:
        ValueError: as `crf_log_normalizer`, or a label outside [0, l) (traced, it gives NaN).
        TypeError: labels that are not integers, a mask that is not boolean.

    Exact.

    Example:
        >>> unary, pairwise = jnp.array([[0.0, 1.0], [0.5, 0.0]]), jnp.array([[0.0, 0.0], [2.0, 0.0]])
        >>> float(crf_log_score(unary, pairwise, jnp.array([1, 0])))
        3.5

    References:
        [lafferty2001conditional]
    """
    unary, pairwise, where = prepare(unary, pairwise, where)
    labels = prepare_labels(labels, where, unary.shape[-1])
    return _log_score(unary, pairwise, labels, where)


def crf_marginals(
    unary: Float[ArrayLike, "t l"], pairwise: Float[ArrayLike, "l l"], *, where: Bool[ArrayLike, " t"] | None = None
) -> Marginals:
    r"""Label marginals and expected transition counts: the gradient of log Z.

    $$P(y_i = a) = \frac{\partial \log Z}{\partial u_{ia}}, \qquad
      \mathbb{E}\,\#\{i : y_{i-1} = a, y_i = b\} = \frac{\partial \log Z}{\partial A_{ab}}.$$

    Args:
        unary: shape `(t, l)`, nats.
        pairwise: shape `(l, l)`, from row to column.
        where: True at the positions that count, shape `(t,)`.

    Returns:
        `Marginals(unary, pairwise)`; all 0 where no sequence is allowed.

    Raises:
        ValueError: as `crf_log_normalizer`.
        TypeError: as `crf_log_normalizer`.

    Exact to rounding: reverse differentiation of the forward pass is the backward pass.

    Example:
        >>> crf_marginals(jnp.zeros((2, 2)), jnp.zeros((2, 2))).pairwise.tolist()
        [[0.25, 0.25], [0.25, 0.25]]

    References:
        [lafferty2001conditional], [sutton2012introduction, sec. 4.1]
    """
    unary, pairwise, where = prepare(unary, pairwise, where)
    return Marginals(*jax.grad(log_normalizer, argnums=(0, 1))(unary, pairwise, where))


def prepare(unary: ArrayLike, pairwise: ArrayLike, where: ArrayLike | None) -> tuple[Array, Array, Array]:
    """Scores as floats of one dtype and a mask, checked."""
    unary, pairwise = as_float("unary", unary), as_float("pairwise", pairwise)
    if unary.ndim != 2 or 0 in unary.shape or pairwise.shape != (unary.shape[1],) * 2:
        raise ValueError(
            "unary must be (t, l) with t, l >= 1 and pairwise (l, l), "
            f"got {unary.shape} and {pairwise.shape}. Use jax.vmap for a batch."
        )
    for name, scores in (("unary", unary), ("pairwise", pairwise)):
        if is_concrete(scores) and not np.all(np.asarray(scores) < np.inf):  # False for NaN too
            raise ValueError(f"{name} holds NaN or +inf; a score must be finite, or -inf for what is forbidden.")
    dtype = jnp.promote_types(unary.dtype, pairwise.dtype)
    return unary.astype(dtype), pairwise.astype(dtype), prepare_mask(where, unary.shape[0])


def prepare_mask(where: ArrayLike | None, length: int) -> Array:
    """The mask as an array of this length, all True for None."""
    where = jnp.ones(length, bool) if where is None else jnp.asarray(where)
    if where.dtype != bool:
        raise TypeError(f"where must be boolean (True at the positions that count), got {where.dtype}.")
    if where.shape != (length,):
        raise ValueError(f"where must have one entry a position, shape ({length},), got {where.shape}.")
    return where


def prepare_labels(labels: ArrayLike, where: Array, num_labels: int) -> Array:
    """Labels as an integer array, checked where they count."""
    labels = jnp.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"labels must be integers, got dtype {labels.dtype}.")
    if labels.shape != where.shape:
        raise ValueError(f"labels must have one entry a position, shape {where.shape}, got {labels.shape}.")
    if is_concrete(labels) and is_concrete(where):
        counted = np.asarray(labels)[np.asarray(where)]
        bad = counted[(counted < 0) | (counted >= num_labels)]
        if bad.size:
            raise ValueError(f"labels must be in [0, {num_labels}), got {bad[0]}. Mask such positions with `where`.")
    return labels


@jax.jit
def filtered(unary: Array, pairwise: Array, where: Array) -> Array:
    """alpha (t, l): log of the summed weight of all prefixes up to position i whose last counted label is a."""

    def step(carry: tuple[Array, Array], entry: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        alpha, started = carry
        scores, counts = entry
        entered = masked_logsumexp(alpha[:, None] + pairwise, axis=0)
        alpha = jnp.where(counts, jnp.where(started, entered, 0) + scores, alpha)
        return (alpha, started | counts), alpha

    start = (jnp.zeros_like(unary[0]), jnp.asarray(False))
    return jax.lax.scan(step, start, (unary, where))[1]


def log_normalizer(unary: Array, pairwise: Array, where: Array) -> Array:
    """Log Z of checked arguments."""
    return jnp.where(jnp.any(where), masked_logsumexp(filtered(unary, pairwise, where)[-1]), 0)


@jax.jit
def _log_score(unary: Array, pairwise: Array, labels: Array, where: Array) -> Array:
    position = jnp.arange(labels.size)
    last = jax.lax.cummax(jnp.where(where, position, -1))
    before = jnp.concatenate([jnp.full(1, -1, last.dtype), last[:-1]])  # the counted position before this one
    inside = (labels >= 0) & (labels < unary.shape[1])
    safe = jnp.where(inside, labels, 0)
    transition = pairwise[safe[before], safe]
    total = masked_sum(unary[position, safe], where) + masked_sum(transition, where & (before >= 0))
    return jnp.where(jnp.all(inside | ~where), total, jnp.nan)
