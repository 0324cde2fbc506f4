"""Neighbours that two nodes share: counted, and expected in random graphs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import as_float, is_concrete, require_count, require_in_range
from nsx._types import Array, ArrayLike, Bool, Float, Int, Shaped
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
        >>> common_neighbours(jnp.array([[False, True, False], [True, False, True], [False, True, False]])).tolist()
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
        Shape `(n, n)`, 0 on the diagonal; c_ij does not depend on whether i and j are joined.

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
    off = 1 - jnp.eye(p.shape[0], dtype=p.dtype)
    return jnp.matmul(p * off, p * off, precision="highest") * off


def configuration_common_neighbours(degrees: Shaped[ArrayLike, " n"]) -> Float[Array, "n n"]:
    r"""Mean number of shared neighbours in a random graph of given degrees.

    $$\mathbb{E}\,c_{ij} \approx \frac{d_i d_j (\langle d^2 \rangle - \langle d \rangle)}{n \langle d \rangle^2}.$$

    Args:
        degrees: d >= 0, shape `(n,)`.

    Returns:
        Shape `(n, n)`, 0 on the diagonal; all 0 for an empty graph.

    Raises:
        ValueError: degrees not of shape (n,), or (concrete) negative.

    Biased at finite n: multiple edges count, and i, j themselves are among the possible shared neighbours (relative
    order d_max^2 / n <d>). Growth, as in preferential attachment, correlates degrees, which it leaves out.

    Example:
        >>> round(float(configuration_common_neighbours(jnp.array([2, 2, 2, 2]))[0, 1]), 6)
        0.5

    References:
        [newman2001random]
    """
    d = jnp.asarray(degrees).astype(float)
    if d.ndim != 1 or (is_concrete(d) and np.any(np.asarray(d) < 0)):
        raise ValueError(f"degrees must be n numbers >= 0, got {degrees}.")
    mean, square = jnp.mean(d), jnp.mean(d**2)
    factor = jnp.where(mean > 0, (square - mean) / jnp.where(mean > 0, d.size * mean**2, 1), 0)
    return jnp.outer(d, d) * factor * (1 - jnp.eye(d.size, dtype=d.dtype))


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
        The shape of probability; 1 for h <= 0 and 0 for h > n - 2. Differentiable in p.

    Raises:
        ValueError: n < 2 or p outside [0, 1] (traced: NaN).
        TypeError: n not a Python integer.

    Exact, by the incomplete beta function.

    Example:
        >>> bool(jnp.isclose(erdos_renyi_hard_rate(12, 0.3, threshold=1), 1 - 0.91**10))
        True

    References:
        [liben2007link], [devroye1986nonuniform]
    """
    require_count("num_nodes", num_nodes, minimum=2)
    require_in_range("probability", probability, 0, 1)
    p = as_float("probability", probability)
    if not 0 < threshold <= num_nodes - 2:
        return jnp.full(p.shape, 1.0 if threshold <= 0 else 0.0, p.dtype)
    shape = jnp.asarray(threshold, p.dtype), jnp.asarray(num_nodes - 1 - threshold, p.dtype)
    inside = (p > 0) & (p < 1)
    tail = jax.scipy.special.betainc(*(jnp.broadcast_to(x, p.shape) for x in shape), jnp.where(inside, p, 0.5) ** 2)
    return jnp.where(inside, tail, p)  # the ends are the values themselves; NaN stays
