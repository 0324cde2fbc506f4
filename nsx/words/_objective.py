"""The SGNS objective in expectation, over every cell of the table: nothing is sampled.

Loss to minimise, in nats per observed pair; Levy & Goldberg maximise minus |D| times this.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nsx._checks import as_floats, require_positive
from nsx._types import Array, ArrayLike, Float
from nsx.words._counts import PairCounts
from nsx.words._pmi import as_table, log_noise, sgns_optimum


def expected_sgns(
    scores: Float[ArrayLike, "v c"],
    counts: Float[ArrayLike, "v c"] | PairCounts,
    *,
    negatives: Float[ArrayLike, ""],
    exponent: Float[ArrayLike, ""] = 1.0,
    log_weights: Float[ArrayLike, " c"] | None = None,
) -> Float[Array, ""]:
    r"""Expected skip-gram negative-sampling loss of a score table, per observed pair.

    $$L(s) = \sum_{w, c} P(w, c)\,\mathrm{softplus}(-s_{wc}) + k\, P(w)\, q(c)\,\mathrm{softplus}(s_{wc}),
      \qquad q(c) \propto \#(c)^{\alpha},$$

    $$\partial L / \partial s_{wc} = k P(w) q(c)\, \sigma(s_{wc}) - P(w, c)\, \sigma(-s_{wc}).$$

    It is E of `nsx.losses.sgns` over pairs drawn from the counts and k independent draws from q.

    Args:
        scores: s, shape `(V, C)`; -inf at unobserved cells is allowed and costs nothing there.
        counts: pair counts >= 0, shape `(V, C)`, on any common scale, or `PairCounts`.
        negatives: k > 0, the number of noise draws per pair.
        exponent: alpha of the noise, a power of the context totals of the counts.
        log_weights: another noise law, unnormalised log-weights of shape `(C,)`; exponent is then ignored.

    Returns:
        Scalar loss in nats per pair; times the sum of the counts it is the corpus total. +inf where a score is
        -inf at an observed cell or +inf at one the noise draws.

    Raises:
        ValueError: counts negative, NaN, infinite or all zero, k <= 0, exponent not finite, or shapes that do not
            fit. Traced, what is outside its domain gives NaN.

    Exact: an enumeration of all V C cells. `optimal_sgns` is its least value.

    Example:
        >>> loss = expected_sgns(jnp.zeros((2, 3)), jnp.ones((2, 3)), negatives=4)
        >>> round(float(loss / jnp.log(2.0)), 5)
        5.0

    References:
        [levy2014neural, eq. 2], [mikolov2013distributed, eq. 4]
    """
    table = as_table(counts)
    negatives = require_positive("negatives", negatives, advice="k counts noise draws per pair.")
    log_q = log_noise(table, exponent, log_weights)
    scores, table, log_q, negatives = as_floats(scores=scores, counts=table, log_weights=log_q, negatives=negatives)
    if scores.shape != table.shape:
        raise ValueError(f"scores must have the shape of counts, {table.shape}, got {scores.shape}.")
    return _expectation(scores, table, negatives * jnp.exp(log_q))


@jax.jit
def _expectation(scores: Array, table: Array, noise: Array) -> Array:
    """Sum over the cells, compiled so that no V x C temporary is written."""
    joint = table / jnp.sum(table)
    push = jnp.sum(joint, axis=1)[:, None] * noise[None, :]
    # a cell without weight may hold any score, infinite ones too: 0 * inf must not appear; a weight of NaN is none
    unpulled = joint == 0
    unpushed = push == 0
    pulled = jnp.where(unpulled, 0, joint * jax.nn.softplus(-jnp.where(unpulled, 0, scores)))
    pushed = jnp.where(unpushed, 0, push * jax.nn.softplus(jnp.where(unpushed, 0, scores)))
    return jnp.sum(pulled + pushed)


def optimal_sgns(
    counts: Float[ArrayLike, "v c"] | PairCounts,
    *,
    negatives: Float[ArrayLike, ""],
    exponent: Float[ArrayLike, ""] = 1.0,
    log_weights: Float[ArrayLike, " c"] | None = None,
) -> Float[Array, ""]:
    r"""Least value of `expected_sgns` over all score tables, attained at `sgns_optimum`.

    $$L^* = \sum_{w, c} P \log\frac{P + k P(w) q(c)}{P} + k P(w) q(c) \log\frac{P + k P(w) q(c)}{k P(w) q(c)},
      \qquad P = P(w, c),\quad 0 \log 0 = 0 .$$

    Args:
        counts: pair counts >= 0, shape `(V, C)`, or `PairCounts`.
        negatives: k > 0, the number of noise draws per pair.
        exponent: alpha of the noise.
        log_weights: another noise law, shape `(C,)`; exponent is then ignored.

    Returns:
        Scalar in nats per pair. It is (1 + k) H(1 / (1 + k)), the entropy of the class, minus (1 + k) times the
        Jensen-Shannon information that a pair carries about being data.

    Raises:
        ValueError: as `expected_sgns`.

    Exact; an unobserved cell costs nothing, its score being -inf.

    Example:
        >>> round(float(optimal_sgns(jnp.ones((2, 2)), negatives=1) / jnp.log(2.0)), 5)
        2.0

    References:
        [levy2014neural, sec. 5.1], [melamud2017information]
    """
    law = {"negatives": negatives, "exponent": exponent, "log_weights": log_weights}
    return expected_sgns(sgns_optimum(counts, **law), counts, **law)


def deviation(
    scores: Float[ArrayLike, "v c"],
    counts: Float[ArrayLike, "v c"] | PairCounts,
    *,
    negatives: Float[ArrayLike, ""],
    exponent: Float[ArrayLike, ""] = 1.0,
    log_weights: Float[ArrayLike, " c"] | None = None,
) -> Float[Array, ""]:
    r"""Relative excess of a score table over the optimal SGNS loss, as in Table 1 of Levy & Goldberg.

    $$\delta = \frac{L(s) - L^*}{L^*}, \qquad \delta(0) = \frac{(1 + k) \log 2}{L^*} - 1 .$$

    They write (Opt - l) / |Opt| for the maximised objective: the same number.

    Args:
        scores: shape `(V, C)`, for instance words @ contexts.T.
        counts: pair counts >= 0, shape `(V, C)`, or `PairCounts`.
        negatives: k > 0, the number of noise draws per pair.
        exponent: alpha of the noise.
        log_weights: another noise law, shape `(C,)`; exponent is then ignored.

    Returns:
        Scalar >= 0, a ratio (0.1 is 10 %). Infinite or NaN where the optimum is 0: data and noise never share a cell.

    Raises:
        ValueError: as `expected_sgns`.

    Exact over all V C cells, unobserved ones included.

    Example:
        >>> float(deviation(jnp.zeros((2, 2)), jnp.ones((2, 2)), negatives=1))
        0.0

    References:
        [levy2014neural, table 1]
    """
    law = {"negatives": negatives, "exponent": exponent, "log_weights": log_weights}
    optimum = optimal_sgns(counts, **law)
    return (expected_sgns(scores, counts, **law) - optimum) / optimum
