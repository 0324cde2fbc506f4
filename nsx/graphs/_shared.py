"""Neighbours that two nodes share: counted, and expected in random graphs."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from nsx._checks import as_float, is_concrete, require_count, require_in_range
from nsx._types import Array, ArrayLike, Bool, Float, Int, Shaped
from nsx.graphs._binomial import tail_of_square
from nsx.graphs._checks import prepare_adjacency, prepare_probabilities


def common_neighbours(adjacency: Bool[ArrayLike, "n n"]) -> Int[Array, "n n"]:
    r"""Number of shared neighbours of every pair.

    $$c_{ij} = \sum_k A_{ik} A_{kj}.$$

    Args:
        adjacency: A, shape `(n, n)`.

    Returns:
        int32, shape `(n, n)`; the diagonal holds the degrees.

    Raises:
        ValueError: as `non_neighbours`.
        TypeError: as `non_neighbours`.

    Exact below 2^24 shared neighbours.

    Example:
        >>> path = jnp.array([[False, True, False], [True, False, True], [False, True, False]])
        >>> common_neighbours(path).tolist()
        [[1, 0, 1], [0, 2, 0], [1, 0, 1]]

    References:
        [liben2007link]
    """
    edges = prepare_adjacency(adjacency).astype(jnp.float32)
    return jnp.matmul(edges, edges, precision="highest").astype(jnp.int32)


def expected_common_neighbours(edge_probability: Float[ArrayLike, "n n"]) -> Float[Array, "n n"]:
    r"""Mean number of shared neighbours where edges are independent.

    $$\mathbb{E}\,c_{ij} = \sum_{k \neq i, j} p_{ik} p_{kj}; \qquad \text{Erdos-Renyi: } (n - 2) p^2.$$

    Args:
        edge_probability: p, shape `(n, n)`, symmetric; the diagonal is ignored. Constant for Erdos-Renyi, constant by
            blocks for a planted partition.

    Returns:
        Shape `(n, n)`, 0 on the diagonal; c_ij does not depend on whether i and j are joined. A traced p outside [0, 1]
        gives NaN at the pairs it bears on.

    Raises:
        ValueError: not square, or (concrete) an entry outside [0, 1].

    Exact.

    Example:
        >>> round(float(expected_common_neighbours(jnp.full((12, 12), 0.3))[0, 1]), 6)
        0.9

    References:
        [holland1983stochastic], [newman2001random]
    """
    p = prepare_probabilities(edge_probability)
    itself = jnp.eye(p.shape[0], dtype=bool)
    p = jnp.where(itself, 0, p)
    return jnp.where(itself, 0, jnp.matmul(p, p, precision="highest"))


def configuration_common_neighbours(degrees: Shaped[ArrayLike, " n"]) -> Float[Array, "n n"]:
    r"""Mean number of shared neighbours in a random graph of given degrees.

    $$\mathbb{E}\,c_{ij} \approx \frac{d_i d_j (\langle d^2 \rangle - \langle d \rangle)}{n \langle d \rangle^2}.$$

    Args:
        degrees: d >= 0, shape `(n,)`.

    Returns:
        Shape `(n, n)`, 0 on the diagonal; all 0 for an empty graph. NaN where a traced degree is negative, and where
        one is NaN or infinite.

    Raises:
        ValueError: degrees not of shape (n,) with n >= 1, or (concrete) negative.

    Biased at finite n: multiple edges count, and i, j themselves are among the possible shared neighbours (relative
    order d_max^2 / n <d>). Growth, as in preferential attachment, correlates degrees, which it leaves out.

    Example:
        >>> round(float(configuration_common_neighbours(jnp.array([2, 2, 2, 2]))[0, 1]), 6)
        0.5

    References:
        [newman2001random]
    """
    d = _prepare_degrees(degrees)
    mean = jnp.mean(d)
    empty = mean == 0
    relative = d / jnp.where(empty, 1, mean)
    factor = jnp.where(empty, 0, (jnp.mean(relative**2) - 1 / jnp.where(empty, 1, mean)) / d.size)
    return jnp.where(jnp.eye(d.size, dtype=bool), 0, jnp.outer(d, d) * factor)


def _prepare_degrees(degrees: ArrayLike) -> Array:
    """Degrees as floats; a traced negative one is NaN, and NaN stays."""
    d = as_float("degrees", degrees)
    if d.ndim != 1 or d.size == 0 or (is_concrete(d) and np.any(np.asarray(d) < 0)):
        raise ValueError(f"degrees must be n >= 1 numbers >= 0, shape (n,), got {degrees}.")
    return jnp.where(d < 0, jnp.nan, d)


def erdos_renyi_hard_rate(
    num_nodes: int, probability: Float[ArrayLike, "..."], *, threshold: int
) -> Float[Array, "..."]:
    r"""Probability that a pair of an Erdos-Renyi graph shares at least h neighbours.

    $$P(c \ge h), \quad c \sim \mathrm{Binomial}(n - 2, p^2); \qquad h = 1: \; 1 - (1 - p^2)^{n - 2}.$$

    Args:
        num_nodes: n >= 2, a Python integer.
        probability: p in [0, 1], any shape.
        threshold: h, a Python integer.

    Returns:
        The shape of probability; 1 for h <= 0 and 0 for h > n - 2. Differentiable in p: the slope is 2 p (n - 2) times
        the probability that a pair of n - 1 nodes shares exactly h - 1; twice in (0, 1). NaN where a traced p is
        outside [0, 1].

    Raises:
        ValueError: n < 2, or a concrete p outside [0, 1].
        TypeError: n or h not a Python integer.

    Exact to rounding of p^2: to 1e-11 (float64; 1e-3 in float32) up to 1e7 nodes wherever the rate is above 1e-10, by
    the incomplete beta function relative to its mode.

    Example:
        >>> round(float(erdos_renyi_hard_rate(10_000_000, 1e-5, threshold=1)), 7)  # 1 - (1 - 1e-10)^(1e7 - 2)
        0.0009995

    References:
        [liben2007link], [devroye1986nonuniform]
    """
    num_nodes = require_count("num_nodes", num_nodes, minimum=2)
    if not isinstance(threshold, (int, np.integer)) or isinstance(threshold, bool):
        raise TypeError(f"threshold must be a Python integer, got {threshold!r}.")
    p = as_float("probability", require_in_range("probability", probability, 0, 1))
    if threshold <= 0:
        return 1 + 0 * p  # NaN stays
    if threshold > num_nodes - 2:
        return 0 * p
    return tail_of_square(p, num_nodes - 2, int(threshold))
