"""Thinning of frequent words: the probability of keeping a word, and the draw."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import as_float, as_floats, as_ids, require_in_range, require_positive
from nsx._types import Array, ArrayLike, Bool, Float, Int, Key


def keep_probability(
    frequency: Float[ArrayLike, "..."],
    *,
    threshold: Float[ArrayLike, ""],
    rule: Literal["code", "paper"] = "code",
) -> Float[Array, "..."]:
    r"""Probability that word2vec keeps an occurrence of a word, by the rule of its code or of its paper.

    $$p = \min\Bigl(1, \sqrt{t/f} + t/f\Bigr) \ \text{(code)}, \qquad p = \min\bigl(1, \sqrt{t/f}\bigr)
      \ \text{(paper)}.$$

    Args:
        frequency: f, share of the word among all tokens, in [0, 1], any shape; 0 is always kept.
        threshold: t > 0, in the same unit; word2vec uses 1e-5 to 1e-3. The paper's rule begins to drop words at
            f = t, the code's at f = 2.618 t (the golden ratio squared).
        rule: "code" or "paper".

    Returns:
        Probability in [0, 1], the shape of frequency. The mass f p a word keeps above the threshold is
        sqrt(t f) + t under "code" and sqrt(t f) under "paper".

    Raises:
        ValueError: a frequency outside [0, 1], a threshold not positive, or an unknown rule. Traced, a frequency
            outside gives NaN there, a threshold everywhere.

    Exact; the two rules differ by t/f, so they are not interchangeable.

    Example:
        >>> keep_probability(jnp.array([0.0, 0.25, 1.0]), threshold=0.0625).tolist()
        [1.0, 0.75, 0.3125]

    References:
        [mikolov2013distributed, eq. 5], [levy2015improving, sec. 3.1]
    """
    if rule not in ("code", "paper"):
        raise ValueError(f"rule must be 'code' or 'paper', got {rule!r}.")
    frequency = require_in_range("frequency", frequency, 0, 1, advice="Divide counts by their sum.")
    threshold = require_positive("threshold", threshold)
    frequency, threshold = as_floats(frequency=frequency, threshold=threshold)
    rare = frequency <= threshold  # false for NaN
    ratio = threshold / jnp.where(rare, 1, frequency)
    kept = jnp.sqrt(ratio) + (ratio if rule == "code" else 0)
    return jnp.where(rare, 1, jnp.minimum(kept, 1))


def subsample(
    key: Key[Array, ""], tokens: Int[ArrayLike, " n"], probability: Float[ArrayLike, " v"]
) -> Bool[Array, " n"]:
    r"""Draw which tokens are kept, each on its own.

    $$b_t \sim \mathrm{Bernoulli}(p_{x_t}).$$

    A mask, so that the result has a fixed shape under jit and sentence labels are thinned by the same draw:
    `tokens[mask], sentence[mask]` outside jit. Dropping before the windows are laid lets them reach farther, as
    word2vec does.

    Args:
        key: from `jax.random.key`.
        tokens: word ids in [0, v) of any integer type, shape `(n,)`.
        probability: of keeping each word, shape `(v,)`, in [0, 1].

    Returns:
        Boolean mask, shape `(n,)`, True at the tokens kept.

    Raises:
        ValueError: a probability outside [0, 1], an id out of range, or wrong shapes. Traced, a token whose id is out
            of range, or whose probability is outside [0, 1] or NaN, is dropped: a mask has no NaN.
        TypeError: ids that are not integers.

    Exact up to the 2^-23 (float32) or 2^-52 steps of the uniform draw.

    Example:
        >>> mask = subsample(jax.random.key(0), jnp.array([0, 1, 0, 1]), jnp.array([1.0, 0.0]))
        >>> mask.tolist()
        [True, False, True, False]

    References:
        [mikolov2013distributed, sec. 2.3]
    """
    ids = as_ids("tokens", tokens, high=np.size(probability))
    probability = as_float("probability", require_in_range("probability", probability, 0, 1))
    if ids.ndim != 1 or probability.ndim != 1:
        raise ValueError(f"tokens must be (n,) and probability (v,), got {ids.shape} and {probability.shape}.")
    inside = (ids >= 0) & (ids < probability.size)
    kept = jax.random.uniform(key, ids.shape, probability.dtype) < probability[jnp.where(inside, ids, 0)]
    return inside & kept
