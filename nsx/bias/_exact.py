"""Exact expectations under a proposal, by enumeration of all candidates.

Notation: q ~ exp(log_weights) the proposal, g_i the gradient that candidate i would give. Gradients are pytrees with
the candidate axis first; results drop that axis. A candidate of log-weight -inf never contributes, whatever its
gradient holds (NaN included); its own derivative is 0.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from nsx._checks import SMALLEST_NORMAL, as_float, require_count
from nsx._leaves import mapped, prepare_log_weights, weighted_sum, widest
from nsx._numerics import safe_sqrt
from nsx._types import Array, ArrayLike, Float, PyTree


def expected_gradient(gradients: PyTree, log_weights: Float[ArrayLike, " n"]) -> PyTree:
    r"""Mean gradient under a proposal, summed over all candidates.

    $$\mathbb{E}_q g = \sum_{i=1}^{n} q_i g_i, \qquad q = \mathrm{softmax}(\text{log-weights}).$$

    Args:
        gradients: pytree, each leaf `(n, ...)`: what each candidate would give.
        log_weights: unnormalised log q, shape `(n,)`; -inf is probability 0.

    Returns:
        The same pytree with leaves `(...)`, float32 at least.

    Raises:
        ValueError: leaves without n candidates first; log-weights that hold NaN or +inf or are all -inf (concrete
            values only; traced ones give NaN).
        TypeError: complex values.

    Exact. Memory O(n p): for gradients that do not fit, `expected_gradient_of`.

    Example:
        >>> float(expected_gradient(jnp.array([1.0, 3.0]), jnp.zeros(2)))
        2.0

    References:
        [bengio2008adaptive]
    """
    log_weights = prepare_log_weights("log_weights", log_weights)
    q = jax.nn.softmax(log_weights)
    return mapped(lambda leaf: weighted_sum(leaf, q), gradients, ~jnp.isneginf(log_weights))


def gradient_variance(gradients: PyTree, log_weights: Float[ArrayLike, " n"]) -> PyTree:
    r"""Variance of one draw's gradient, component by component.

    $$\mathrm{Var}_q g = \sum_i q_i (g_i - \mathbb{E}_q g)^2 .$$

    Args:
        gradients: pytree, each leaf `(n, ...)`.
        log_weights: unnormalised log q, shape `(n,)`.

    Returns:
        The same pytree with leaves `(...)`; the mean of k independent draws has this over k.

    Raises:
        ValueError: as `expected_gradient`.
        TypeError: complex values.

    Exact.

    Example:
        >>> float(gradient_variance(jnp.array([1.0, 3.0]), jnp.zeros(2)))
        1.0

    References:
        [owen2013monte, ch. 2]
    """
    log_weights = prepare_log_weights("log_weights", log_weights)
    q = jax.nn.softmax(log_weights)

    def variance(leaf: Array) -> Array:
        """The mean square of what the leaf differs from its mean by."""
        return weighted_sum((leaf - weighted_sum(leaf, q)[None]) ** 2, q)

    return mapped(variance, gradients, ~jnp.isneginf(log_weights))


def signal_to_noise(gradients: PyTree, log_weights: Float[ArrayLike, " n"], *, k: int = 1) -> Float[Array, ""]:
    r"""Length of the mean gradient over the root mean square of its noise, for the mean of k draws.

    $$\mathrm{SNR} = \frac{\lVert \mathbb{E}_q g \rVert}{\sqrt{\mathrm{tr}\,\mathrm{Cov}_q(g) / k}} .$$

    Args:
        gradients: pytree, each leaf `(n, ...)`; all leaves form one vector.
        log_weights: unnormalised log q, shape `(n,)`.
        k: how many independent draws are averaged.

    Returns:
        A scalar >= 0; inf where there is signal and no noise, 0 where there is neither.

    Raises:
        ValueError: as `expected_gradient`, or k < 1.
        TypeError: k not an integer.

    Exact.

    Example:
        >>> float(signal_to_noise(jnp.array([1.0, 3.0]), jnp.zeros(2), k=4))
        4.0

    References:
        [bamler2020extreme]
    """
    k = require_count("k", k)
    signal = _sum_leaves(expected_gradient(gradients, log_weights), jnp.square)
    noise = _sum_leaves(gradient_variance(gradients, log_weights), lambda x: x) / k
    silent = noise == 0
    ratio = safe_sqrt(signal / jnp.where(silent, 1, noise))
    return jnp.where(silent & (signal > 0), jnp.inf, ratio)


def cosine(a: PyTree, b: PyTree) -> Float[Array, ""]:
    r"""Cosine of the angle between two gradients, each a whole pytree taken as one vector.

    $$\cos(a, b) = \frac{\langle a, b\rangle}{\lVert a\rVert \lVert b\rVert} .$$

    Args:
        a: pytree of any shape.
        b: the same structure and shapes.

    Returns:
        A scalar in [-1, 1] up to rounding; 0 where either is zero (no entry of 1.2e-38), with gradient 0.

    Raises:
        ValueError: structures or shapes that differ, or no array at all.
        TypeError: complex values.

    Exact for the two vectors. Biased towards 0 as an estimate of the angle between two means from noisy ones.

    Example:
        >>> round(float(cosine((jnp.array([3.0]), jnp.array(0.0)), (jnp.array([3.0]), jnp.array(3.0)))), 5)
        0.70711

    References:
        [bamler2020extreme]
    """
    a, b = (jax.tree.map(lambda leaf: as_float("a gradient", leaf), tree) for tree in (a, b))
    shapes = [[leaf.shape for leaf in jax.tree.leaves(tree)] for tree in (a, b)]
    if jax.tree.structure(a) != jax.tree.structure(b) or shapes[0] != shapes[1]:
        raise ValueError(f"the two gradients must have one structure and shapes, got {shapes[0]} and {shapes[1]}.")
    if not shapes[0]:
        raise ValueError("the two gradients hold no array, so there is no angle between them.")
    return _sum_leaves(jax.tree.map(_product, _unit(a), _unit(b)), lambda x: x)


def _product(x: Array, y: Array) -> Array:
    """X y entry by entry, in the wider of the two types."""
    dtype = widest(x, y)
    return x.astype(dtype) * y.astype(dtype)


def _unit(tree: PyTree) -> PyTree:
    """The vector of length 1, or zero as it is; divided by its largest entry first, so that no square overflows."""
    leaves = jax.tree.leaves(tree)
    dtype = widest(*leaves)
    peaks = [jnp.max(jnp.abs(x), initial=0).astype(dtype) for x in leaves]
    peak = jax.lax.stop_gradient(jnp.max(jnp.stack(peaks)))
    zero = peak < SMALLEST_NORMAL
    scaled = jax.tree.map(lambda x: x.astype(dtype) / jnp.where(zero, 1, peak), tree)
    square = _sum_leaves(scaled, jnp.square)
    length = jnp.sqrt(jnp.where(zero, 1, square))
    return jax.tree.map(lambda x: jnp.where(zero, 0, x / length), scaled)


def _sum_leaves(tree: PyTree, f: Callable[[Array], Array]) -> Array:
    """The sum of f over all entries of all leaves, in the widest of their types."""
    leaves = jax.tree.leaves(tree)
    dtype = widest(*leaves)
    return sum(jnp.sum(f(leaf.astype(dtype))) for leaf in leaves)
