"""Expectations over more candidates than fit in memory, one chunk at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nsx._checks import as_float, is_concrete, require_count
from nsx._leaves import keep, prepare_log_weights, weighted_sum, widest
from nsx._types import Array, ArrayLike, Float, PyTree

_MOST_TERMS = 2**31 - 1  # samples are numbered in int32


class _Carry(NamedTuple):
    """Sums so far, in units of e^top: of the weights, and of the weighted values."""

    top: Array
    total: Array
    sums: PyTree


def expected_gradient_of(
    gradient_fn: Callable[[PyTree], PyTree],
    candidates: PyTree,
    log_weights: Float[ArrayLike, " n"] | Callable[[PyTree], Array],
    *,
    chunk_size: int = 4096,
) -> PyTree:
    r"""Mean of a function of a candidate under a proposal, never holding more than one chunk of its values.

    $$\mathbb{E}_q g = \frac{\sum_i e^{\ell_i - M} g(x_i)}{\sum_i e^{\ell_i - M}}, \qquad
      M \text{ the running maximum of } \ell .$$

    Sums and maximum are carried from chunk to chunk and rescaled when the maximum rises (a streaming softmax).

    Args:
        gradient_fn: one candidate -> pytree of arrays; called under `jax.vmap`.
        candidates: pytree whose leaves have the n candidates first: embeddings, or ids `jnp.arange(n)`.
        log_weights: unnormalised log q, shape `(n,)`; or a function of one candidate, computed in the same pass.
        chunk_size: candidates evaluated at once; memory is O(chunk_size p + p) above the candidates.

    Returns:
        The pytree that `gradient_fn` returns, averaged, float32 at least. Differentiable in what `gradient_fn` and
        `log_weights` close over (each chunk is recomputed backwards); a candidate of weight 0 adds 0 to the value
        even where its gradient is NaN, but such a NaN reaches the derivative. Put the call under the caller's
        `jax.jit` when it is repeated: eagerly it is compiled each time.

    Raises:
        ValueError: candidates without a common n, log-weights of another length, NaN, +inf or all -inf (concrete
            values only; traced, or from a function, they give NaN), chunk_size < 1.
        TypeError: chunk_size not an integer.

    Exact up to rounding, whatever the chunk size.

    Example:
        >>> ids = jnp.arange(5)
        >>> float(expected_gradient_of(lambda i: 2.0 * i, ids, jnp.zeros(5), chunk_size=2))
        4.0

    References:
        [milakov2018online]
    """
    chunk_size = require_count("chunk_size", chunk_size)
    candidates = jax.tree.map(jnp.asarray, candidates)
    n = _count(candidates)
    size = min(chunk_size, n)
    if callable(log_weights):
        return _stream(gradient_fn, log_weights, (candidates, None), n, size)
    weights = prepare_log_weights("log_weights", log_weights)
    if weights.shape[0] != n:
        raise ValueError(f"log_weights {weights.shape} must have one entry for each of the {n} candidates.")
    return _stream(gradient_fn, None, (candidates, weights), n, size)


def _stream(gradient_fn: Callable, weight_of: Callable | None, rows: PyTree, n: int, size: int) -> PyTree:
    def evaluate(start: Array) -> tuple[Array, PyTree]:
        first = jnp.minimum(start, n - size)  # the last chunk reaches back, and what it repeats is masked
        chunk, log_w = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, first, size), rows)
        log_w = as_float("log_weights", jax.vmap(weight_of)(chunk)) if weight_of else log_w
        repeated = first + jnp.arange(size, dtype=first.dtype) < start
        values = jax.tree.map(lambda x: as_float("gradient_fn's value", x), jax.vmap(gradient_fn)(chunk))
        return jnp.where(repeated, -jnp.inf, log_w), values

    def step(carry: _Carry, start: Array) -> tuple[_Carry, None]:
        log_w, values = evaluate(start)
        # the maximum only fixes the units, so it may be held constant in the derivative
        top = jax.lax.stop_gradient(jnp.maximum(carry.top, jnp.max(log_w)))
        shift = jnp.where(jnp.isneginf(top), 0, top)
        fade = jnp.exp(carry.top - shift)
        weight = jnp.exp(log_w - shift)
        counted = ~jnp.isneginf(log_w)

        def grown(old: Array, x: Array) -> Array:
            """The sum so far in the new units, and what this chunk adds."""
            return old * fade.astype(old.dtype) + weighted_sum(keep(x, counted), weight)

        sums = jax.tree.map(grown, carry.sums, values)
        return _Carry(top=top, total=carry.total * fade + jnp.sum(weight), sums=sums), None

    log_w, values = jax.eval_shape(evaluate, jnp.asarray(0))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape[1:], widest(x, log_w)), values)
    start = _Carry(top=jnp.full((), -jnp.inf, log_w.dtype), total=jnp.zeros((), log_w.dtype), sums=zeros)
    end, _ = jax.lax.scan(jax.checkpoint(step, prevent_cse=False), start, jnp.arange(0, n, size))
    return jax.tree.map(lambda x: x / end.total.astype(x.dtype), end.sums)


def _count(candidates: PyTree) -> int:
    shapes = [leaf.shape for leaf in jax.tree.leaves(candidates)]
    if not shapes or any(not shape or shape[0] != shapes[0][0] for shape in shapes) or shapes[0][0] == 0:
        raise ValueError(f"candidates need one number n >= 1 of them on the first axis of each leaf, got {shapes}.")
    return shapes[0][0]


def expectation_over_samples(
    fn: Callable[[Array], PyTree],
    log_weights: Float[ArrayLike, " n"],
    *,
    k: int,
    max_terms: int = 1_000_000,
    chunk_size: int = 4096,
) -> PyTree:
    r"""Expectation of a function of k independent draws, by enumeration of all n^k ordered samples.

    $$\mathbb{E}\, f(i_1, \dots, i_k) = \sum_{i_1=1}^{n} \cdots \sum_{i_k=1}^{n} q_{i_1} \cdots q_{i_k}
      f(i_1, \dots, i_k).$$

    The oracle of every k-sample loss and gradient: no sampling error.

    Args:
        fn: ids `(k,)`, int32 -> pytree of arrays (a loss, a gradient); called under `jax.vmap`.
        log_weights: unnormalised log q, shape `(n,)`; candidates of log-weight -inf are left out before counting
            where the weights are concrete, and add 0 where they are traced.
        k: number of draws.
        max_terms: refuse more than this many samples; never more than 2^31 - 1.
        chunk_size: samples evaluated at once.

    Returns:
        The pytree that `fn` returns, averaged.

    Raises:
        ValueError: n^k above `max_terms`, or as `expected_gradient`.
        TypeError: k, max_terms or chunk_size not an integer.

    Exact up to rounding, for draws with replacement.

    Example:
        >>> float(expectation_over_samples(lambda ids: jnp.max(ids), jnp.zeros(2), k=2))  # P(any draw is 1)
        0.75

    References:
        [bengio2008adaptive]
    """
    k = require_count("k", k)
    max_terms = require_count("max_terms", max_terms)
    log_weights = prepare_log_weights("log_weights", log_weights)
    possible = jnp.arange(log_weights.shape[0], dtype=jnp.int32)
    if is_concrete(log_weights):
        possible = possible[~jnp.isneginf(log_weights)]
    log_q = jax.nn.log_softmax(log_weights)[possible]
    n = possible.shape[0]
    if n**k > min(max_terms, _MOST_TERMS):
        fits = int(math.log(max_terms) / math.log(n) + 1e-9)
        raise ValueError(
            f"n^k = {n}^{k} samples exceed max_terms = {min(max_terms, _MOST_TERMS)}; k <= {fits} fits. "
            "Take fewer candidates or draws, raise max_terms, or estimate with monte_carlo."
        )
    place = jnp.asarray([n**j for j in range(k)], jnp.int32)

    def digits(sample: Array) -> Array:
        """Which candidates the sample of this number draws: the number written in base n."""
        return (sample // place) % n

    return expected_gradient_of(
        lambda sample: fn(possible[digits(sample)]),
        jnp.arange(n**k, dtype=jnp.int32),
        lambda sample: jnp.sum(log_q[digits(sample)]),
        chunk_size=chunk_size,
    )
