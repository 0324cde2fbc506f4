"""The forward recursion and the backward one, in sums of two floats.

A sum in sequence drifts by t roundings. Four ways to add up, tried in float32 on two CPU cores against sums of 80 bits,
over chains of 10 to 50,000 positions, 1 to 10 labels and scores of size 1e-3 to 100, and over chains made to be hard
(two that never meet, of which one overtakes; sums that cancel; 5000 times 7.7):

| way | largest relative error of log Z | microseconds per position at l = 10, at l = 50 |
|---|---|---|
| one float, in sequence | 2e-4, and log Z below the best score | 0.20, 2.6 |
| each position's largest taken out, its total in two floats | 1e-7, but 8e-5 where a chain overtakes | 0.68, 2.8 |
| products of log-matrices, by halves | 1e-7 | 3.4, growing as l^3 |
| each label's sum in two floats (here) | 6e-8, half a rounding | 0.76, 3.8 |

In a batch of 256 sequences of 64 positions with 10 labels log Z takes 11 ms here and 3.4 ms in one float, its gradient
31 ms and 17 ms. The times were taken on a busy machine, and before a mended log(1 + x) that costs about a tenth more at
l = 10: read them as ratios.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from nsx._sums import BEYOND_ROUNDING, Double, add, double
from nsx._types import Array, Float
from nsx.sequences._chain import Chain, Position, positions, transition

# sums of weights are held further above the exact ones than the best score ever is, so that log Z is never below it
ABOVE = 3 * BEYOND_ROUNDING


class Messages(NamedTuple):
    """Log of the summed weight of all prefixes that end in a label.

    Attributes:
        last: up to the last position, shape `(l,)`.
        every: up to each position, shape `(t, l)`.
        entered: without the position's own score, from position 1 on, shape `(t - 1, l)`.
    """

    last: Double
    every: Double
    entered: Double


def enter(message: Double, pairwise: Array) -> Double:
    """Log of the sum of exp(message(a) + A(a, b)) over a: the largest term, in two floats, and the others beside it.

    The largest is looked for in one float. Where the second largest is taken for it, the largest counts among the
    others, and the sum is still above both, as long as a step changes a score by less than 1e6 in float32.
    """
    top = jnp.max(message.head)
    relative = (message.head - jnp.where(jnp.isneginf(top), 0, top)) + message.tail
    weights = relative[:, None] + pairwise
    largest = jnp.max(weights, axis=0)
    label = jnp.arange(pairwise.shape[0], dtype=jnp.int32)
    winner = jnp.max(jnp.where(weights == largest[None, :], label[:, None], -1), axis=0)
    closed = jnp.isneginf(largest)
    best = Double(*(jnp.where(closed, 0, part[winner]) for part in message))
    step = jnp.where(closed, 0, pairwise[winner, jnp.arange(pairwise.shape[1])])
    ahead = (message.head[:, None] - best.head[None, :]) + (message.tail[:, None] - best.tail[None, :])
    share = jnp.exp(ahead + (pairwise - step[None, :]))
    others = jnp.sum(jnp.where(label[:, None] == winner[None, :], 0, share), axis=0)
    one = jnp.where(closed, jnp.asarray(2, others.dtype), 1)
    entered = add(add(best, step, units=ABOVE), log_one_plus(others, one), units=ABOVE)
    return select(closed, Double(jnp.full_like(largest, -jnp.inf), jnp.zeros_like(largest)), entered)


@jax.custom_jvp
def log_one_plus(x: Array, one: Array) -> Array:
    """log(1 + x) for x >= 0, good for small x too (Kahan): in a loop on a CPU twice as fast as `jnp.log1p`.

    `one` is 1 as a value of the run: for a constant the compiler would take (1 + x) - 1 to be x.
    """
    rounded = one + x
    lost = rounded == one
    return jnp.where(lost, x, jnp.log(rounded) * (x / jnp.where(lost, 1, rounded - one)))


@log_one_plus.defjvp
def _log_one_plus_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return log_one_plus(*primals), tangents[0] / (1 + primals[0])


def leave(message: Double) -> Double:
    """Log of the sum over the labels of the last position, shape `(1,)`."""
    return enter(message, jnp.zeros((message.head.shape[0], 1), message.head.dtype))


def law_before(message: Double, pairwise: Array, entered: Double) -> Array:
    """Of the label before, given this one, `(l, l)`, but for rounding; a column of 0 where a label is not entered."""
    closed = jnp.isneginf(entered.head)[None, :]
    ahead = message.head[:, None] - jnp.where(closed, 0, entered.head[None, :])
    return jnp.where(closed, 0, jnp.exp((ahead + pairwise) + (message.tail[:, None] - entered.tail[None, :])))


def forward(chain: Chain) -> Messages:
    """All messages; 0 before the first position that counts, and handed on at a skipped one."""

    def step(message: Double, position: Position) -> tuple[Double, tuple[Double, Double]]:
        entered = enter(message, transition(chain, position))
        entered = select(position.enters, entered, double(jnp.zeros_like(entered.head)))
        message = select(position.counts, add(entered, position.unary, units=ABOVE), message)
        return message, (message, entered)

    first = double(chain.unary[0])
    last, (rest, entered) = jax.lax.scan(step, first, positions(chain))
    every = Double(*(jnp.concatenate([start[None], others]) for start, others in zip(first, rest, strict=True)))
    return Messages(last, every, entered)


def select(condition: Array, here: Double, there: Double) -> Double:
    """Where, for both floats."""
    return Double(*(jnp.where(condition, x, y) for x, y in zip(here, there, strict=True)))


@jax.custom_jvp
def log_normalizer(chain: Chain) -> Array:
    """Log Z; 0 where no position counts."""
    return _total(chain, forward(chain))


@log_normalizer.defjvp
def _log_normalizer_jvp(primals: tuple[Chain], tangents: tuple[Chain]) -> tuple[Array, Array]:
    """The slope is the marginals, which are kept normalised on their way back; so is every further derivative."""
    (chain,) = primals
    (move,) = tangents
    messages = forward(chain)
    marginals = backward(chain, messages)
    slope = jnp.sum(marginals.unary * move.unary) + jnp.sum(marginals.pairwise * move.pairwise)
    return _total(chain, messages), slope


def _total(chain: Chain, messages: Messages) -> Array:
    return jnp.where(jnp.any(chain.where), leave(messages.last).head[0], 0)


class Marginals(NamedTuple):
    """What a draw from the chain holds on average.

    Attributes:
        unary: P(y_i = a), shape `(t, l)`, rows of 0 at skipped positions.
        pairwise: with one table of transitions, the expected number of a -> b, `(l, l)`; with one table per transition,
            P(y_{i-1} = a, y_i = b), `(t - 1, l, l)`, 0 where no transition leads into position i.
    """

    unary: Float[Array, "t l"]
    pairwise: Float[Array, "*t_less_1 l l"]


def backward(chain: Chain, messages: Messages) -> Marginals:
    """Marginals, from the last position to the first; all 0 where no sequence is allowed.

    Each law of a pair is divided by its sum, which is 1 but for rounding: otherwise t roundings would add up.
    """
    shared = chain.pairwise.ndim == 2

    def step(carry: tuple[Array, Double], entry: tuple[Position, Double, Double]) -> tuple[tuple, tuple]:
        law, counted = carry
        position, message, entered = entry
        pairs = law_before(message, transition(chain, position), entered) * law[None, :]
        pairs = jnp.where(position.enters, _normalized(pairs), 0)
        before = jnp.where(position.enters, jnp.sum(pairs, axis=1), law)
        if shared:
            return (before, add(counted, pairs)), (law, None)
        return (before, counted), (law, pairs)

    last = _normalized(law_before(messages.last, jnp.zeros((1, 1), chain.unary.dtype), leave(messages.last))[:, 0])
    count = double(jnp.zeros_like(chain.pairwise) if shared else jnp.zeros((), last.dtype))
    before = Double(*(part[:-1] for part in messages.every))
    entries = (positions(chain), before, messages.entered)
    (first, counted), (laws, pairs) = jax.lax.scan(step, (last, count), entries, reverse=True)
    unary = jnp.where(chain.where[:, None], jnp.concatenate([first[None], laws]), 0)
    return Marginals(unary, counted.head if shared else pairs)


def _normalized(weights: Array) -> Array:
    """Weights over their sum; 0 where it is 0."""
    total = jnp.sum(weights)
    nothing = total == 0  # not `total > 0`: NaN is not nothing
    return jnp.where(nothing, 0, weights / jnp.where(nothing, 1, total))
