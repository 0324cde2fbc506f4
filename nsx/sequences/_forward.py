"""Log Z of a chain, the score of a sequence, and marginals."""

from __future__ import annotations

import jax

from nsx._sums import BEYOND_ROUNDING, total
from nsx._types import Array, ArrayLike, Bool, Float, Int
from nsx.sequences._chain import Chain, path_terms, prepare, prepare_labels
from nsx.sequences._messages import Marginals, backward, forward, log_normalizer


def crf_log_normalizer(
    unary: Float[ArrayLike, "t l"],
    pairwise: Float[ArrayLike, "*t_less_1 l l"],
    *,
    where: Bool[ArrayLike, " t"] | None = None,
) -> Float[Array, ""]:
    r"""Log partition function of a linear chain, by the forward recursion.

    $$\log Z = \log \sum_{y \in \{1..l\}^t} e^{s(y)}, \qquad
      s(y) = \sum_{i=1}^{t} u_{i, y_i} + \sum_{i=2}^{t} A^{(i)}_{y_{i-1}, y_i}.$$

    Args:
        unary: u, shape `(t, l)`, t >= 1 positions and l >= 1 labels, nats; -inf forbids a label there.
        pairwise: A, shape `(l, l)`, from row to column; or `(t - 1, l, l)`, one table per transition: entry i - 1 leads
            into position i, from the last counted position before it. -inf forbids a transition.
        where: True at the positions that count, shape `(t,)`; the others are skipped: their neighbours meet.

    Returns:
        log Z in nats, a scalar; 0 where no position counts, -inf with gradient 0 where no sequence is allowed.

    Raises:
        ValueError: shapes that do not fit, NaN or +inf at a position that counts (traced, these give NaN).
        TypeError: a mask that is not boolean.

    Exact, in O(t l^2), and rounded once: the sums are carried in two floats, so 50,000 positions in float32 are as good
    as ten. Never below `crf_log_score` of any sequence nor `crf_viterbi(...).log_score`, after rounding too, as long as
    one step changes a score by less than 1e6 in float32 (1e15 in float64). Derivatives of all orders, by the marginals.

    Example:
        >>> round(float(jnp.exp(crf_log_normalizer(jnp.zeros((4, 3)), jnp.zeros((3, 3))))), 3)
        81.0
        >>> unary = jnp.tile(jnp.array([7.7, 0.0]), (5000, 1))
        >>> round(float(crf_log_normalizer(unary, jnp.zeros((2, 2)))), 1)
        38502.3

    References:
        [lafferty2001conditional], [rabiner1989tutorial, sec. III.A]
    """
    return _log_normalizer(prepare(unary, pairwise, where))


def crf_log_score(
    unary: Float[ArrayLike, "t l"],
    pairwise: Float[ArrayLike, "*t_less_1 l l"],
    labels: Int[ArrayLike, " t"],
    *,
    where: Bool[ArrayLike, " t"] | None = None,
) -> Float[Array, ""]:
    r"""Unnormalised log-probability of a label sequence; less log Z it is the log-likelihood.

    $$s(y) = \sum_{i=1}^{t} u_{i, y_i} + \sum_{i=2}^{t} A^{(i)}_{y_{i-1}, y_i}.$$

    Args:
        unary: shape `(t, l)`, nats.
        pairwise: shape `(l, l)` or `(t - 1, l, l)`, as in `crf_log_normalizer`.
        labels: y, integers in [0, l) of any type, shape `(t,)`; whatever they are where skipped.
        where: True at the positions that count, shape `(t,)`.

    Returns:
        s(y) in nats, a scalar; 0 where no position counts.

    Raises:
        ValueError: as `crf_log_normalizer`, or a label outside [0, l) (traced, it gives NaN).
        TypeError: labels that are not integers, a mask that is not boolean.

    Exact, and rounded once. Never above `crf_viterbi(...).log_score`.

    Example:
        >>> unary = jnp.array([[0.0, 1.0], [0.5, 0.0]])
        >>> pairwise = jnp.array([[0.0, 0.0], [2.0, 0.0]])
        >>> float(crf_log_score(unary, pairwise, jnp.array([1, 0])))
        3.5

    References:
        [lafferty2001conditional]
    """
    chain = prepare(unary, pairwise, where)
    return _log_score(chain, prepare_labels(labels, chain.where, chain.unary.shape[-1]))


def crf_marginals(
    unary: Float[ArrayLike, "t l"],
    pairwise: Float[ArrayLike, "*t_less_1 l l"],
    *,
    where: Bool[ArrayLike, " t"] | None = None,
) -> Marginals:
    r"""Label marginals and expected transition counts: the gradient of log Z.

    $$P(y_i = a) = \frac{\partial \log Z}{\partial u_{ia}}, \qquad
      P(y_{i-1} = a, y_i = b) = \frac{\partial \log Z}{\partial A^{(i)}_{ab}}.$$

    One table shared by all transitions has the sum over i for its derivative: the expected number of a -> b.

    Args:
        unary: shape `(t, l)`, nats.
        pairwise: shape `(l, l)` or `(t - 1, l, l)`, as in `crf_log_normalizer`.
        where: True at the positions that count, shape `(t,)`.

    Returns:
        `Marginals(unary, pairwise)`; all 0 where no sequence is allowed.

    Raises:
        ValueError: as `crf_log_normalizer`.
        TypeError: as `crf_log_normalizer`.

    Exact to rounding: each law is normalised on the way back, so the marginals of every position sum to 1 however
    long the chain.

    Example:
        >>> crf_marginals(jnp.zeros((2, 2)), jnp.zeros((2, 2))).pairwise.tolist()
        [[0.25, 0.25], [0.25, 0.25]]

    References:
        [lafferty2001conditional], [sutton2012introduction, sec. 4.1]
    """
    return _marginals(prepare(unary, pairwise, where))


@jax.jit
def _log_normalizer(chain: Chain) -> Array:
    return log_normalizer(chain)


@jax.jit
def _log_score(chain: Chain, labels: Array) -> Array:
    return total(path_terms(chain, labels), units=-BEYOND_ROUNDING).head


@jax.jit
def _marginals(chain: Chain) -> Marginals:
    return backward(chain, forward(chain))
