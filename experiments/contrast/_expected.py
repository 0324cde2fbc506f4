"""Exact expectations over K independent negatives: by counting who was drawn how often, and by quadrature."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Check, mean_is


def count_vectors(num_draws: int, num_items: int, rows: int) -> np.ndarray:
    """All ways in which the draws fall on the items, (rows, num_items), the unused rows at the end 0."""
    vectors = np.zeros((1, 0), int)
    for _ in range(num_items - 1):
        left = num_draws - vectors.sum(axis=1)
        more = np.concatenate([np.arange(n + 1) for n in left])
        vectors = np.column_stack([np.repeat(vectors, left + 1, axis=0), more])
    vectors = np.column_stack([vectors, num_draws - vectors.sum(axis=1)])
    return np.pad(vectors, ((0, rows - len(vectors)), (0, 0)))


def multinomial(counts: jax.Array, num_draws: jax.Array, log_q: jax.Array) -> jax.Array:
    """Probability of each vector of counts (rows, n); 0 in the unused rows."""
    factorial = jax.lax.lgamma
    log_ways = factorial(num_draws + 1.0) - jnp.sum(factorial(counts + 1.0), axis=-1)
    used = jnp.sum(counts, axis=-1) == num_draws
    return jnp.where(used, jnp.exp(log_ways + jnp.sum(counts * log_q, axis=-1)), 0)


def expected_log(log_values: np.ndarray, weights: np.ndarray, num_draws: float, log_offset: float = -np.inf) -> float:
    r"""E log(e^offset + sum of num_draws independent e^value), values by their law: float64 quadrature.

    $$E \log S = \int (e^{-e^u} - E e^{-S e^u})\,du,$$

    by the trapezoidal rule, which converges exponentially here: at step 1/4 its error is below 1e-12 of the range.
    """
    top = max(log_offset, log_values.max() + np.log(num_draws))
    lowest = log_offset if log_offset > -np.inf else log_values.min()
    u = np.arange(min(-top, 0) - 38, np.log(45) + max(-lowest, 0) + 0.25, 0.25)
    t = np.exp(u)
    exponents = -t[:, None] * np.exp(log_values)
    drop, left = np.expm1(exponents) @ weights, np.exp(exponents) @ weights
    each = np.where(drop > -0.5, np.log1p(np.maximum(drop, -0.5)), np.log(np.maximum(left, np.finfo(float).tiny)))
    return 0.25 * float(np.sum(np.exp(-t) - np.exp(num_draws * each - t * np.exp(log_offset))))


def usual(name: str, predicted: np.ndarray, replicates: np.ndarray) -> Check:
    """`mean_is` where the prediction is far enough from 0 and 1 for Student's margin to be honest."""
    keep = (predicted > 0.05) & (predicted < 0.95)
    return mean_is(name, predicted[keep], replicates[:, keep])
