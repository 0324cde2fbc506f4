"""Checks of graphs and of the rows of log-weights on them."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from nsx._checks import as_float, is_concrete, require_in_range
from nsx._types import Array, ArrayLike


def prepare_adjacency(adjacency: ArrayLike) -> Array:
    """The adjacency as an array, checked."""
    adjacency = jnp.asarray(adjacency)
    if adjacency.dtype != bool:
        raise TypeError(f"adjacency must be boolean, got dtype {adjacency.dtype}. Use weights > 0.")
    if adjacency.ndim != 2 or adjacency.shape[0] != adjacency.shape[1] or adjacency.shape[0] < 2:
        raise ValueError(f"adjacency must be (n, n) with n >= 2 nodes, got shape {adjacency.shape}.")
    if is_concrete(adjacency):
        host = np.asarray(adjacency)
        if np.any(host != host.T) or np.any(np.diag(host)):
            raise ValueError("adjacency must be symmetric with an empty diagonal. Use (a | a.T) & ~eye.")
    return adjacency


def prepare_rows(log_weights: ArrayLike, where: ArrayLike | None) -> tuple[Array, Array]:
    """Log-weights as floats and the anchors that count; each of those has a negative."""
    weights = as_float("log_weights", log_weights)
    where = jnp.ones(weights.shape[0], bool) if where is None else jnp.asarray(where)
    if where.dtype != bool or where.shape != weights.shape[:1]:
        raise ValueError(f"where must be boolean, one entry an anchor, got {where.dtype} of shape {where.shape}.")
    if is_concrete(weights) and is_concrete(where):
        bare = np.flatnonzero(np.asarray(where) & (np.max(np.asarray(weights), axis=-1) == -np.inf))
        if bare.size:
            raise ValueError(
                f"node {bare[0]} has no negative: it is joined to every other node. "
                "Mask such anchors with where=has_negatives(log_weights)."
            )
    return weights, where


def prepare_probabilities(edge_probability: ArrayLike) -> Array:
    """Edge probabilities as a square floating array, checked."""
    p = as_float("edge_probability", edge_probability)
    if p.ndim != 2 or p.shape[0] != p.shape[1]:
        raise ValueError(f"edge_probability must be square, got shape {p.shape}.")
    require_in_range("edge_probability", p, 0, 1)
    return p
