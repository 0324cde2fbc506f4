"""Proposals from proposals: mixtures, exclusions, and the masks that exclusions need."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from nsx._checks import (
    as_float,
    as_floats,
    as_ids,
    as_labels,
    as_mask,
    require_broadcastable,
    require_count,
    require_in_range,
    require_log_weights,
)
from nsx._numerics import log_normalize, per_row
from nsx._types import Array, ArrayLike, Bool, Float, Int


def mix_uniform(log_weights: Float[ArrayLike, "... n"], *, rate: Float[ArrayLike, "..."]) -> Float[Array, "... n"]:
    r"""A law mixed with the uniform one: exploration, or the recall of an approximate index.

    $$w_i = \log\bigl((1 - r)\, q_i + r / n\bigr).$$

    Args:
        log_weights: shape `(..., n)`, unnormalised.
        rate: r in [0, 1], a scalar or one per row, shape `(...)`.

    Returns:
        Normalised log-probabilities, shape `(..., n)`. n counts every candidate, those of probability 0 too:
        the uniform part brings them back, so exclude after mixing, not before.

    Raises:
        ValueError: rate outside [0, 1] or not one per row, a row without mass, NaN or +inf. Traced, a rate
            outside gives NaN and a row without mass is mixed as if q were 0.

    Exact, also at rates 0 and 1, with a finite derivative in the rate there (capped where it overflows, and 0
    at a candidate of probability 0 and rate 0, where the true one is infinite).

    Example:
        >>> jnp.exp(mix_uniform(jnp.array([0.0, -jnp.inf]), rate=0.5)).tolist()
        [0.75, 0.25]

    References:
        [owen2000safe]
    """
    log_weights = as_float("log_weights", log_weights)
    require_log_weights(log_weights)
    return _mixed(log_weights, jnp.zeros_like(log_weights), rate)


def mix(
    log_weights_a: Float[ArrayLike, "... n"],
    log_weights_b: Float[ArrayLike, "... n"],
    *,
    rate: Float[ArrayLike, "..."],
) -> Float[Array, "... n"]:
    r"""Mixture of two normalised laws.

    $$w_i = \log\bigl((1 - r)\, a_i + r\, b_i\bigr), \qquad a, b \text{ normalised}.$$

    Args:
        log_weights_a: the law of weight 1 - r, shape `(..., n)`, unnormalised.
        log_weights_b: the law of weight r, the same shape.
        rate: r in [0, 1], a scalar or one per row, shape `(...)`.

    Returns:
        Normalised log-probabilities, shape `(..., n)`.

    Raises:
        ValueError: rate outside [0, 1] or not one per row, shapes that differ, a row without mass, NaN or
            +inf. Traced, a rate outside gives NaN and a row without mass counts as 0.

    Exact, also at rates 0 and 1, with the finite derivatives described in `mix_uniform`.

    Example:
        >>> jnp.exp(mix(jnp.array([0.0, -jnp.inf]), jnp.array([0.0, 0.0]), rate=0.5)).tolist()
        [0.75, 0.25]

    References:
        [owen2000safe]
    """
    a = as_float("log_weights_a", log_weights_a)
    b = as_float("log_weights_b", log_weights_b)
    if a.shape != b.shape:
        raise ValueError(f"the two laws must have one shape, got {a.shape} and {b.shape}.")
    require_log_weights(a, name="log_weights_a")
    require_log_weights(b, name="log_weights_b")
    return _mixed(a, b, rate)


def _mixed(a: Array, b: Array, rate: ArrayLike) -> Array:
    """The mixture of two checked laws of one shape."""
    rate = require_in_range("rate", rate, 0, 1)
    a, b, rate = as_floats(log_weights_a=a, log_weights_b=b, rate=rate)
    require_broadcastable("rate", rate.shape, a.shape[:-1])
    rate = jnp.broadcast_to(per_row(rate), a.shape)
    return _log_blend(log_normalize(a), log_normalize(b), rate)


@jax.custom_jvp
def _log_blend(log_a: Array, log_b: Array, rate: Array) -> Array:
    """log((1 - rate) a + rate b), in logs throughout: neither part may underflow before the sum."""
    return jnp.logaddexp(jnp.log1p(-rate) + log_a, jnp.log(rate) + log_b)


@_log_blend.defjvp
def _log_blend_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    """The derivative in the rate is (b - a) / blend: finite where log(rate) has none."""
    log_a, log_b, rate = primals
    out = _log_blend(*primals)
    empty = jnp.isneginf(out)
    cap = 0.9 * math.log(jnp.finfo(out.dtype).max)  # a ratio beyond is capped: its square is still finite

    def ratio(part: Array) -> Array:
        """The part over the blend, 0 where the blend is."""
        return jnp.where(empty, 0, jnp.exp(jnp.minimum(jnp.where(empty, 0, part - out), cap)))

    ratio_a = ratio(log_a)
    ratio_b = ratio(log_b)
    slope = (1 - rate) * ratio_a * tangents[0] + rate * ratio_b * tangents[1]
    return out, slope + (ratio_b - ratio_a) * tangents[2]


def exclude(log_weights: Float[ArrayLike, "... n"], mask: Bool[ArrayLike, "... n"]) -> Float[Array, "... n"]:
    r"""A law without some candidates, the others keeping their odds.

    $$w'_i = -\infty \text{ where the mask is True, else } w_i.$$

    Args:
        log_weights: shape `(..., n)`, or `(n,)` against a mask with more axes.
        mask: True at what is left out (the opposite of a `where`), shape `(..., n)`, or `(n,)` for all rows.

    Returns:
        Log-weights, unnormalised, of the shape with more axes; derivative 0 at what is left out.

    Raises:
        ValueError: shapes that do not fit, or a row that loses every candidate. Traced, such a row is all -inf.
        TypeError: a mask that is not boolean.

    Exact for the conditional law given that the draw is allowed.

    Example:
        >>> exclude(jnp.array([1.0, 2.0]), jnp.array([True, False])).tolist()
        [-inf, 2.0]

    References:
        [rendle2009bpr]
    """
    log_weights = as_float("log_weights", log_weights)
    mask = as_mask("mask", mask, meaning="True at what is left out")
    shape = max(log_weights.shape, mask.shape, key=len)
    if any(x.shape not in (shape, shape[-1:]) for x in (log_weights, mask)):
        raise ValueError(
            f"mask and log_weights must have one shape, or one of them (n,), got {mask.shape} and {log_weights.shape}."
        )
    kept = jnp.where(jnp.broadcast_to(mask, shape), -jnp.inf, jnp.broadcast_to(log_weights, shape))
    require_log_weights(kept)
    return kept


def exclusion_window(num: int, anchors: Int[ArrayLike, "..."], *, width: int) -> Bool[Array, "... num"]:
    r"""Mask of the positions too near an anchor to be called negative: neighbouring frames, words, samples.

    $$m_{ai} = \bigl[\, |i - a| \le \mathrm{width} \,\bigr].$$

    Args:
        num: how many positions, 0 .. num - 1.
        anchors: positions of the anchors, shape `(...)`, integers of any type, signed or not; one outside
            0 .. num - 1 is allowed.
        width: positions excluded on each side, an integer >= 0; 0 excludes the anchor alone.

    Returns:
        Mask for `exclude`, shape `(..., num)`, True within the window, one row per anchor. `mask.any(axis=-2)`
        is the union over anchors.

    Raises:
        ValueError: num < 1, width < 0 (traced, a negative width excludes nothing), or a number beyond 32 bits.
        TypeError: num not a Python integer, anchors or width not integers.

    Exact, whatever the integers' type: no difference wraps.

    Example:
        >>> exclusion_window(5, 1, width=1).astype(int).tolist()
        [1, 1, 1, 0, 0]

    References:
        [sermanet2018time]
    """
    num = require_count("num", num)
    anchors = as_ids("anchors", anchors, low=-(2**31), high=2**31)[..., None]
    width = as_ids("width", width)
    positions = jnp.broadcast_to(jnp.arange(num, dtype=anchors.dtype), (*anchors.shape[:-1], num))
    # the smaller is taken from the larger in an unsigned type, which holds every difference of its signed one
    unsigned = jnp.uint64 if max(anchors.dtype.itemsize, width.dtype.itemsize) == 8 else jnp.uint32
    gap = jnp.maximum(positions, anchors).astype(unsigned) - jnp.minimum(positions, anchors).astype(unsigned)
    return (width >= 0) & (gap <= width.astype(unsigned))


def no_accidental_hits(
    positive_ids: Int[ArrayLike, "..."], negative_ids: Int[ArrayLike, "... k"]
) -> Bool[Array, "... k"]:
    r"""Mask of the negatives that count: False where a draw is the positive itself.

    $$m_{ij} = [\, c_{ij} \ne c^+_i \,].$$

    Args:
        positive_ids: the candidate observed in each example, shape `(...)`; integers of any type and size.
        negative_ids: the candidates drawn, shape `(..., k)`, or `(k,)` where all examples share them. In a
            batch, `no_accidental_hits(ids, ids)` masks the diagonal and every duplicate of the positive.

    Returns:
        Mask, shape `(..., k)`, True at a true negative: pass it as `where` to a loss.

    Raises:
        ValueError: shapes that do not fit; a concrete id beyond 32 bits beside traced ones.
        TypeError: ids that are not integers, or traced ones of signed against unsigned type.

    Exact: only equality counts, so ids of 64 bits are numbered anew before JAX could cut them. Unmasked hits
    bias a sampled softmax with log q: its denominator counts the positive twice.

    Example:
        >>> no_accidental_hits(jnp.array([3, 5]), jnp.array([5, 7])).tolist()
        [[True, True], [False, True]]

    References:
        [jean2015using], [bengio2008adaptive]
    """
    positive_ids, negative_ids = as_labels(positive_ids=positive_ids, negative_ids=negative_ids)
    shape = positive_ids.shape + negative_ids.shape[-1:]
    if negative_ids.ndim == 0 or negative_ids.shape not in (shape, shape[-1:]):
        raise ValueError(
            f"negative_ids must be (k,) or {positive_ids.shape + ('k',)} to fit positive_ids, got {negative_ids.shape}."
        )
    return jnp.broadcast_to(negative_ids, shape) != positive_ids[..., None]
