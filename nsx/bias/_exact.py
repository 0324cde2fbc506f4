"""Exact expectations under a proposal, by enumeration of all candidates.

Notation: q ~ exp(log_weights) the proposal, g_i the gradient that candidate i would give. Gradients are pytrees with
the candidate axis first; results drop that axis. A candidate of log-weight -inf never contributes, whatever its
gradient holds (NaN included); its own derivative is 0.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from nsx._checks import as_float, require_count
from nsx._leaves import mapped, prepare_log_weights, weighted_sum
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
    return mapped(lambda leaf: weighted_sum(leaf, q), gradients, log_weights > -jnp.inf)


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
    centred = lambda leaf: leaf - weighted_sum(leaf, q)[None]
    return mapped(lambda leaf: weighted_sum(centred(leaf) ** 2, q), gradients, log_weights > -jnp.inf)


def signal_to_noise(
    gradients: PyTree, log_weights: Float[ArrayLike, " n"], *, num_samples: int = 1
) -> Float[Array, ""]:
    r"""Length of the mean gradient over the root mean square of its noise, for the mean of k draws.

    $$\mathrm{SNR} = \frac{\lVert \mathbb{E}_q g \rVert}{\sqrt{\mathrm{tr}\,\mathrm{Cov}_q(g) / k}} .$$

    Args:
        gradients: pytree, each leaf `(n, ...)`; all leaves form one vector.
        log_weights: unnormalised log q, shape `(n,)`.
        num_samples: k, how many independent draws are averaged.

    Returns:
        A scalar >= 0; inf where there is signal and no noise, 0 where there is neither.

    Raises:
        ValueError: as `expected_gradient`, or k < 1.
        TypeError: k not an integer.

    Exact.

    Example:
        >>> float(signal_to_noise(jnp.array([1.0, 3.0]), jnp.zeros(2), num_samples=4))
        4.0

    References:
        [bamler2020extreme]
    """
    require_count("num_samples", num_samples)
    signal = _sum_leaves(expected_gradient(gradients, log_weights), lambda x: x**2)
    noise = _sum_leaves(gradient_variance(gradients, log_weights), lambda x: x) / num_samples
    some = (signal > 0) & (noise > 0)
    ratio = jnp.sqrt(jnp.where(some, signal, 1) / jnp.where(some, noise, 1))
    return jnp.where(some, ratio, jnp.where(signal > 0, jnp.inf, jnp.where(signal == 0, 0, jnp.nan)))


def cosine(a: PyTree, b: PyTree) -> Float[Array, ""]:
    r"""Cosine of the angle between two gradients, each a whole pytree taken as one vector.

    $$\cos(a, b) = \frac{\langle a, b\rangle}{\lVert a\rVert \lVert b\rVert} .$$

    Args:
        a: pytree of any shape.
        b: the same structure and shapes.

    Returns:
        A scalar in [-1, 1] up to rounding; 0 where either is zero, with gradient 0.

    Raises:
        ValueError: structures or shapes that differ.
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
    a, b = _unit(a), _unit(b)
    return _sum_leaves(jax.tree.map(jnp.multiply, a, b), lambda x: x)


def _unit(tree: PyTree) -> PyTree:
    """The vector of length 1, or zero as it is; divided by its largest entry first, so that no square overflows."""
    peak = jax.lax.stop_gradient(jnp.max(jnp.stack([jnp.max(jnp.abs(x), initial=0) for x in jax.tree.leaves(tree)])))
    scaled = jax.tree.map(lambda x: x / jnp.where(peak > 0, peak, 1), tree)
    square = _sum_leaves(scaled, lambda x: x**2)
    length = jnp.sqrt(jnp.where(peak == 0, 1, square))
    return jax.tree.map(lambda x: jnp.where(peak == 0, 0, x / length), scaled)


def _sum_leaves(tree: PyTree, f: Callable[[Array], Array]) -> Array:
    return sum(jnp.sum(f(leaf)) for leaf in jax.tree.leaves(tree))
