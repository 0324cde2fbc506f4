"""What a hyperedge is to an anchor: log size and log(1 - overlap); the law that is a power of each."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from nsx import samplers
from nsx._checks import as_float, as_floats, as_mask, require_finite
from nsx._types import Array, ArrayLike, Bool, Float


class Features(NamedTuple):
    """`values` (e, 2): log s and log(1 - o), 0 where they are not finite; `where` (e,) False there.

    That is at hyperedges equal to the anchor (o = 1) and at empty ones (s = 0): no candidates.
    """

    values: Float[Array, "e 2"]
    where: Bool[Array, " e"]


def overlap(incidence: Bool[ArrayLike, "e n"], anchor: Bool[ArrayLike, " n"]) -> Float[Array, " e"]:
    r"""Jaccard overlap of every hyperedge with the anchor.

    $$o_i = \frac{|E_i \cap A|}{|E_i \cup A|}.$$

    Args:
        incidence: shape `(e, n)`, True where the node is in the hyperedge.
        anchor: A, shape `(n,)`, True at its nodes.

    Returns:
        Shape `(e,)`, in [0, 1]; 1 for the anchor itself, also where both are empty.

    Raises:
        ValueError: shapes that do not fit.
        TypeError: arrays that are not boolean.

    Exact.

    Example:
        >>> overlap(jnp.array([[True, True, False], [False, True, True]]), jnp.array([True, True, False])).tolist()
        [1.0, 0.3333333...]

    References:
        [jaccard1912distribution]
    """
    incidence, anchor = _prepare(incidence, anchor)
    shared = _count(incidence & anchor[None])
    either = _count(incidence | anchor[None])
    both_empty = either == 0
    return jnp.where(both_empty, 1, shared / jnp.where(both_empty, 1, either))


def features(incidence: Bool[ArrayLike, "e n"], anchor: Bool[ArrayLike, " n"]) -> Features:
    r"""The two features whose maximum-entropy law is a product of powers of size and of 1 - overlap.

    $$f_i = (\log s_i,\; \log(1 - o_i)).$$

    Args:
        incidence: shape `(e, n)`, True where the node is in the hyperedge.
        anchor: A, shape `(n,)`.

    Returns:
        `Features(values, where)`.

    Raises:
        ValueError: shapes that do not fit.
        TypeError: arrays that are not boolean.

    Exact; 1 - o is formed as |E xor A| / |E or A|, without cancellation.

    Example:
        >>> found = features(jnp.array([[True, True, False], [False, True, True]]), jnp.array([True, True, False]))
        >>> found.where.tolist(), jnp.exp(found.values[1]).round(4).tolist()
        ([False, True], [2.0, 0.6667...])

    References:
        [jaynes1957information]
    """
    incidence, anchor = _prepare(incidence, anchor)
    size = _count(incidence)
    differing = _count(incidence ^ anchor[None])
    either = _count(incidence | anchor[None])
    where = (size > 0) & (differing > 0)
    log_size, log_differing, log_either = (jnp.log(jnp.where(where, x, 1)) for x in (size, differing, either))
    return Features(values=jnp.stack([log_size, log_differing - log_either], axis=1), where=where)


def power_law(
    incidence: Bool[ArrayLike, "e n"],
    anchor: Bool[ArrayLike, " n"],
    *,
    size_exponent: Float[ArrayLike, ""],
    overlap_exponent: Float[ArrayLike, ""],
) -> Float[Array, " e"]:
    r"""Log-weights of negatives that are powers of size and of 1 - overlap.

    $$q_i \propto s_i^{\alpha} (1 - o_i)^{\beta}.$$

    Args:
        incidence: shape `(e, n)`, True where the node is in the hyperedge.
        anchor: A, shape `(n,)`.
        size_exponent: alpha, a scalar; > 0 prefers large hyperedges.
        overlap_exponent: beta, a scalar; > 0 prefers those that share little with the anchor.

    Returns:
        Shape `(e,)`, nats; -inf at the anchor itself and at empty hyperedges whatever the exponents (0^0 and the
        pole at beta < 0 included). NaN elsewhere where a traced exponent is not finite.

    Raises:
        ValueError: shapes that do not fit, exponents not finite, no candidate (concrete values only).
        TypeError: arrays that are not boolean.

    Exact: the maximum-entropy law of its own moments of log s and log(1 - o), see `solve_multipliers`.

    Example:
        >>> incidence = jnp.array([[True, False, False], [False, True, True], [True, True, False]])
        >>> anchor = jnp.array([True, True, False])
        >>> law = power_law(incidence, anchor, size_exponent=1.0, overlap_exponent=0.0)
        >>> [round(p, 3) for p in samplers.probabilities(law).tolist()]
        [0.333, 0.667, 0.0]

    References:
        [jaynes1957information]
    """
    found = features(incidence, anchor)
    values, alpha, beta = as_floats(
        values=found.values,
        alpha=_prepare_exponent("size_exponent", size_exponent),
        beta=_prepare_exponent("overlap_exponent", overlap_exponent),
    )
    return samplers.exclude(samplers.maxent(values, jnp.stack([alpha, beta])), ~found.where)


def _prepare(incidence: ArrayLike, anchor: ArrayLike) -> tuple[Array, Array]:
    incidence = as_mask("incidence", incidence)
    anchor = as_mask("anchor", anchor)
    if incidence.ndim != 2 or 0 in incidence.shape or anchor.shape != incidence.shape[1:]:
        raise ValueError(
            f"incidence must be (e, n) with e, n >= 1 and anchor (n,), got {incidence.shape} and {anchor.shape}."
        )
    return incidence, anchor


def _count(nodes: Array) -> Array:
    """Number of nodes of each hyperedge, as a float."""
    return jnp.sum(nodes, axis=1).astype(jnp.zeros(()).dtype)


def _prepare_exponent(name: str, value: ArrayLike) -> Array:
    exponent = as_float(name, require_finite(name, value))
    if exponent.ndim:
        raise ValueError(f"{name} must be a scalar, got shape {exponent.shape}. Use vmap for several laws.")
    return exponent
