"""Label sequences from a chain: the best one, and draws."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from nsx._sums import BEYOND_ROUNDING, Double, add, double, moved, two_sum
from nsx._types import Array, ArrayLike, Bool, Float, Int, Key
from nsx.sequences._chain import Chain, Position, path_terms, positions, prepare, transition
from nsx.sequences._messages import forward, select


class Viterbi(NamedTuple):
    """`labels` (t,) int32 of a best sequence, -1 at skipped positions; `log_score`, its unnormalised score in nats."""

    labels: Int[Array, " t"]
    log_score: Float[Array, ""]


def crf_viterbi(
    unary: Float[ArrayLike, "t l"],
    pairwise: Float[ArrayLike, "*t_less_1 l l"],
    *,
    where: Bool[ArrayLike, " t"] | None = None,
) -> Viterbi:
    r"""The sequence of highest score, by dynamic programming.

    $$y^* = \arg\max_y s(y).$$

    Args:
        unary: shape `(t, l)`, nats; -inf forbids a label there.
        pairwise: shape `(l, l)` or `(t - 1, l, l)`, as in `crf_log_normalizer`; -inf forbids a transition.
        where: True at the positions that count, shape `(t,)`.

    Returns:
        `Viterbi(labels, log_score)`. log_score is differentiable (its gradient marks the path), labels are not. All
        labels are -1 and the score -inf where no sequence is allowed; the score is 0 where no position counts.

    Raises:
        ValueError: as `crf_log_normalizer`. Traced, NaN or +inf gives a score of NaN and labels of -1.
        TypeError: as `crf_log_normalizer`.

    Exact, in O(t l^2); of sequences that tie, one that takes the lower label at the last place where they differ. The
    scores are added up and compared in two floats and rounded once: never below `crf_log_score` of any sequence, and at
    most one unit in the last place above that of `labels`.

    Example:
        >>> unary = jnp.array([[0.0, 1.0], [0.2, 0.0]])
        >>> best = crf_viterbi(unary, jnp.array([[3.0, 0.0], [0.0, 0.0]]))
        >>> best.labels.tolist(), round(float(best.log_score), 3)
        ([0, 0], 3.2)

    References:
        [viterbi1967error], [rabiner1989tutorial, sec. III.B]
    """
    return _viterbi(prepare(unary, pairwise, where))


def crf_sample(
    key: Key[Array, ""],
    unary: Float[ArrayLike, "t l"],
    pairwise: Float[ArrayLike, "*t_less_1 l l"],
    *,
    where: Bool[ArrayLike, " t"] | None = None,
) -> Int[Array, " t"]:
    r"""One draw from the chain's law, by filtering forwards and sampling backwards.

    $$y \sim e^{s(y)} / Z: \qquad y_t \propto \alpha_t(\cdot), \quad
      y_i \propto \alpha_i(\cdot)\, e^{A_{\cdot, y_{i+1}}}.$$

    Args:
        key: a typed key, `jax.random.key`; `jax.vmap` over split keys for many draws.
        unary: shape `(t, l)`, nats; -inf forbids a label there.
        pairwise: shape `(l, l)` or `(t - 1, l, l)`, as in `crf_log_normalizer`; -inf forbids a transition.
        where: True at the positions that count, shape `(t,)`.

    Returns:
        int32 labels, shape `(t,)`, -1 at skipped positions, and everywhere if no sequence is allowed. Not
        differentiable.

    Raises:
        ValueError: as `crf_log_normalizer`. Traced, NaN or +inf gives labels of -1.
        TypeError: as `crf_log_normalizer`.

    Exact and independent draws; labels whose probability is below about 1e-7 (float32) may never come up.

    Example:
        >>> crf_sample(jax.random.key(0), jnp.array([[0.0, -jnp.inf], [-jnp.inf, 0.0]]), jnp.zeros((2, 2))).tolist()
        [0, 1]

    References:
        [scott2002bayesian], [rabiner1989tutorial]
    """
    return _sample(key, prepare(unary, pairwise, where))


@jax.jit
def _viterbi(chain: Chain) -> Viterbi:
    labels, best = _best(jax.lax.stop_gradient(chain))
    score = jnp.where(jnp.any(chain.where), best, 0)
    labels = _shown(labels, chain.where, score)
    slope = jnp.where(jnp.isnan(score), jnp.nan, jnp.where(jnp.isneginf(score), 0, 1)).astype(score.dtype)
    path = jnp.sum(path_terms(chain, jnp.maximum(labels, 0)))
    return Viterbi(labels, _with_slope_of(score, slope * path))


def _best(chain: Chain) -> tuple[Array, Array]:
    """Labels of a best sequence, those of skipped positions included, and its score."""
    label = jnp.arange(chain.unary.shape[1], dtype=jnp.int32)

    def step(best: Double, position: Position) -> tuple[Double, Array]:
        entered, pointer = _largest(best, transition(chain, position))
        entered = select(position.enters, entered, double(jnp.zeros_like(entered.head)))
        best = select(position.counts, add(entered, position.unary, units=BEYOND_ROUNDING), best)
        return best, jnp.where(position.enters, pointer, label)

    def back(after: Array, pointer: Array) -> tuple[Array, Array]:
        return pointer[after], after

    best, pointers = jax.lax.scan(step, double(chain.unary[0]), positions(chain))
    score, last = _largest(best, jnp.zeros((label.size, 1), chain.unary.dtype))
    first, rest = jax.lax.scan(back, last[0], pointers, reverse=True)
    return jnp.concatenate([first[None], rest]), score.head[0]


def _largest(best: Double, pairwise: Array) -> tuple[Double, Array]:
    """The largest of best(a) + A(a, b) over a, and the lowest a that has it.

    The sums are compared in two floats: by what each of them, with what its rounding left out, is above the largest
    rounded sum.
    """
    sums = two_sum(best.head[:, None], pairwise)
    rounded = jnp.max(sums.head, axis=0)
    closed = jnp.isneginf(rounded)
    rounded = jnp.where(closed, 0, rounded)
    above = (sums.head - rounded[None, :]) + (sums.tail + best.tail[:, None])
    most = jnp.where(closed, 0, jnp.max(above, axis=0))
    label = jnp.arange(pairwise.shape[0], dtype=jnp.int32)
    none = label[-1]  # where a sum is NaN, none is the largest
    winner = jnp.min(jnp.where(above == most[None, :], label[:, None], none), axis=0)
    largest = two_sum(rounded, moved(most, jnp.abs(most), units=BEYOND_ROUNDING))
    return Double(jnp.where(closed, -jnp.inf, largest.head), jnp.where(closed, 0, largest.tail)), winner


@jax.custom_jvp
def _with_slope_of(value: Array, same: Array) -> Array:
    """A value whose derivative is that of another expression for it."""
    return value


@_with_slope_of.defjvp
def _with_slope_of_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return _with_slope_of(*primals), tangents[1]


@jax.jit
def _sample(key: Array, chain: Chain) -> Array:
    chain = jax.lax.stop_gradient(chain)
    messages = forward(chain)
    noise = jax.random.gumbel(key, chain.unary.shape, chain.unary.dtype)  # argmax of log-weights + Gumbel noise: a draw

    def back(label: Array, entry: tuple[Position, Double, Array]) -> tuple[Array, Array]:
        position, message, luck = entry
        weights = add(message, transition(chain, position)[:, label])
        label = jnp.where(position.enters, _drawn(weights, luck), label)  # a skipped position hands the label on
        return label, label

    last = _drawn(messages.last, noise[-1])
    before = Double(*(part[:-1] for part in messages.every))
    rest = jax.lax.scan(back, last, (positions(chain), before, noise[:-1]), reverse=True)[1]
    return _shown(jnp.append(rest, last), chain.where, jnp.max(messages.last.head))


def _drawn(weights: Double, noise: Array) -> Array:
    """The label of the largest log-weight plus noise."""
    top = jnp.max(weights.head)
    relative = (weights.head - jnp.where(jnp.isneginf(top), 0, top)) + weights.tail
    return jnp.argmax(relative + noise)


def _shown(labels: Array, where: Array, log_weight: Array) -> Array:
    """The labels, -1 where skipped and everywhere if nothing has weight."""
    return jnp.where(where & (log_weight > -jnp.inf), labels, -1).astype(jnp.int32)
