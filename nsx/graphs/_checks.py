"""Checks of graphs and of the rows of log-weights on them."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from nsx._checks import as_float, as_mask, is_concrete, require_in_range
from nsx._types import Array, ArrayLike


def prepare_adjacency(adjacency: ArrayLike) -> Array:
    """The adjacency as an array, checked."""
    adjacency = as_mask("adjacency", adjacency, meaning="weights > 0")
    if adjacency.ndim != 2 or adjacency.shape[0] != adjacency.shape[1] or adjacency.shape[0] < 2:
        raise ValueError(f"adjacency must be (n, n) with n >= 2 nodes, got shape {adjacency.shape}.")
    if is_concrete(adjacency):
        host = np.asarray(adjacency)
        if np.any(host != host.T) or np.any(np.diag(host)):
            raise ValueError("adjacency must be symmetric with an empty diagonal. Use (a | a.T) & ~eye.")
    return adjacency


def prepare_rows(log_weights: ArrayLike, where: ArrayLike | None) -> tuple[Array, Array]:
    """Log-weights as floats, 0 in the rows that do not count, and the anchors that count; each has a negative."""
    weights = as_float("log_weights", log_weights)
    if weights.ndim != 2 or 0 in weights.shape:
        raise ValueError(f"log_weights must have a row for each anchor, shape (n, n), got {weights.shape}.")
    where = as_mask("where", True if where is None else where, weights.shape[:1], meaning="one entry per anchor")
    if is_concrete(weights) and is_concrete(where):
        bare = np.flatnonzero(np.asarray(where) & (np.max(np.asarray(weights), axis=-1) == -np.inf))
        if bare.size:
            raise ValueError(
                f"node {bare[0]} has no negative: it is joined to every other node. "
                "Mask such anchors with where=has_negatives(log_weights)."
            )
    return jnp.where(where[:, None], weights, 0), where


def prepare_probabilities(edge_probability: ArrayLike) -> Array:
    """Edge probabilities as a square floating array, checked; NaN where a traced one is outside [0, 1]."""
    p = as_float("edge_probability", require_in_range("edge_probability", edge_probability, 0, 1))
    if p.ndim != 2 or p.shape[0] != p.shape[1]:
        raise ValueError(f"edge_probability must be square, got shape {p.shape}.")
    return p
