"""Label sequences from a chain: the best one, and draws."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from nsx._numerics import masked_logsumexp
from nsx._types import Array, ArrayLike, Bool, Float, Int, Key
from nsx.sequences._forward import filtered, prepare


class Viterbi(NamedTuple):
    """`labels` (t,) int32 of a best sequence, -1 at skipped positions; `log_score`, its unnormalised score in nats."""

    labels: Int[Array, " t"]
    log_score: Float[Array, ""]


def crf_viterbi(
    unary: Float[ArrayLike, "t l"], pairwise: Float[ArrayLike, "l l"], *, where: Bool[ArrayLike, " t"] | None = None
) -> Viterbi:
    r"""The sequence of highest score, by dynamic programming.

    $$y^* = \arg\max_y s(y).$$

    Args:
        unary: shape `(t, l)`, nats; -inf forbids a label there.
        pairwise: shape `(l, l)`, from row to column; -inf forbids a transition.
        where: True at the positions that count, shape `(t,)`.

    Returns:
        `Viterbi(labels, log_score)`. log_score is differentiable (its gradient marks the path), labels are not. All
        labels are -1 and the score -inf where no sequence is allowed; the score is 0 where no position counts.

    Raises:
        ValueError: as `crf_log_normalizer`.
        TypeError: as `crf_log_normalizer`.

    Exact, in O(t l^2); of sequences that tie, one that takes the lower label at the last place where they differ.

    Example:
        >>> unary = jnp.array([[0.0, 1.0], [0.2, 0.0]])
        >>> crf_viterbi(unary, jnp.array([[3.0, 0.0], [0.0, 0.0]])).labels.tolist()
        [0, 0]

    References:
        [viterbi1967error], [rabiner1989tutorial, sec. III.B]
    """
    return _viterbi(*prepare(unary, pairwise, where))


def crf_sample(
    key: Key[Array, ""],
    unary: Float[ArrayLike, "t l"],
    pairwise: Float[ArrayLike, "l l"],
    *,
    where: Bool[ArrayLike, " t"] | None = None,
) -> Int[Array, " t"]:
    r"""One draw from the chain's law, by filtering forwards and sampling backwards.

    $$y \sim e^{s(y)} / Z: \qquad y_t \propto \alpha_t(\cdot), \quad
      y_i \propto \alpha_i(\cdot)\, e^{A_{\cdot, y_{i+1}}}.$$

    Args:
        key: a typed key, `jax.random.key`; `jax.vmap` over split keys for many draws.
        unary: shape `(t, l)`, nats; -inf forbids a label there.
        pairwise: shape `(l, l)`, from row to column; -inf forbids a transition.
        where: True at the positions that count, shape `(t,)`.

    Returns:
        int32 labels, shape `(t,)`, -1 at skipped positions, and everywhere if no sequence is allowed. Not
        differentiable.

    Raises:
        ValueError: as `crf_log_normalizer`.
        TypeError: as `crf_log_normalizer`.

    Exact and independent draws; labels whose probability is below about 1e-7 (float32) may never come up.

    Example:
        >>> crf_sample(jax.random.key(0), jnp.array([[0.0, -jnp.inf], [-jnp.inf, 0.0]]), jnp.zeros((2, 2))).tolist()
        [0, 1]

    References:
        [scott2002bayesian], [rabiner1989tutorial]
    """
    return _sample(key, *prepare(unary, pairwise, where))


@jax.jit
def _viterbi(unary: Array, pairwise: Array, where: Array) -> Viterbi:
    same = jnp.arange(unary.shape[1])

    def forward(carry: tuple[Array, Array], entry: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        best, started = carry
        scores, counts = entry
        paths = best[:, None] + pairwise
        pointer = jnp.where(counts, jnp.argmax(paths, axis=0), same)
        best = jnp.where(counts, jnp.where(started, jnp.max(paths, axis=0), 0) + scores, best)
        return (best, started | counts), pointer

    def backward(label: Array, pointer: Array) -> tuple[Array, Array]:
        return pointer[label], label

    (best, _), pointers = jax.lax.scan(forward, (jnp.zeros_like(unary[0]), jnp.asarray(False)), (unary, where))
    labels = jax.lax.scan(backward, jnp.argmax(best), pointers, reverse=True)[1]
    score = jnp.where(jnp.any(where), jnp.max(best), 0)
    return Viterbi(_shown(labels, where, score), score)


@jax.jit
def _sample(key: Array, unary: Array, pairwise: Array, where: Array) -> Array:
    alpha = filtered(unary, pairwise, where)
    noise = jax.random.gumbel(key, alpha.shape, alpha.dtype)  # argmax of log-weights + Gumbel noise is a draw
    last = jnp.argmax(alpha[-1] + noise[-1])

    def backward(label: Array, entry: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        weights, luck, next_counts = entry
        drawn = jnp.argmax(weights + pairwise[:, label] + luck)
        label = jnp.where(next_counts, drawn, label)  # a skipped position hands the label on
        return label, label

    rest = jax.lax.scan(backward, last, (alpha[:-1], noise[:-1], where[1:]), reverse=True)[1]
    return _shown(jnp.append(rest, last), where, masked_logsumexp(alpha[-1]))


def _shown(labels: Array, where: Array, log_weight: Array) -> Array:
    """The labels, -1 where skipped and everywhere if nothing has weight."""
    return jnp.where(where & (log_weight > -jnp.inf), labels, -1).astype(jnp.int32)
