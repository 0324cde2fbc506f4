"""Laws over n candidates, and pytrees whose leaves have those candidates on the first axis."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from nsx._checks import as_float, as_floats, require_log_weights
from nsx._types import Array, ArrayLike, PyTree


def prepare_log_weights(name: str, log_weights: ArrayLike) -> Array:
    """One-dimensional log-weights as floats, checked; the messages name the argument."""
    log_weights = as_float(name, log_weights)
    require_log_weights(log_weights, name=name, ndim=1)
    return log_weights


def prepare_pair(
    log_weights: ArrayLike,
    target_log_weights: ArrayLike,
    *,
    names: tuple[str, str] = ("log_weights", "target_log_weights"),
) -> tuple[Array, Array]:
    """Two laws over the same candidates, checked, in one precision."""
    proposal, target = as_floats(**dict(zip(names, (log_weights, target_log_weights), strict=True)))
    require_log_weights(proposal, name=names[0], ndim=1)
    require_log_weights(target, name=names[1], ndim=1)
    if proposal.shape != target.shape:
        raise ValueError(
            f"{names[0]} {proposal.shape} and {names[1]} {target.shape} must be over the same candidates. "
            "Give a candidate that one law excludes the log-weight -inf there."
        )
    return proposal, target


def prepare_leaves(gradients: PyTree, n: int) -> PyTree:
    """The leaves as floats, checked to have n candidates on the first axis."""
    leaves = jax.tree.map(lambda leaf: as_float("gradients", leaf), gradients)
    for leaf in jax.tree.leaves(leaves):
        if leaf.ndim == 0 or leaf.shape[0] != n:
            raise ValueError(
                f"each leaf of gradients needs the n = {n} candidates on its first axis, got shape {leaf.shape}."
            )
    return leaves


def keep(leaf: Array, counted: Array) -> Array:
    """The leaf with 0 at the candidates that do not count, whatever they hold."""
    return jnp.where(counted.reshape(-1, *(1,) * (leaf.ndim - 1)), leaf, 0)


def weighted_sum(leaf: Array, weights: Array) -> Array:
    """sum_i w_i g_i over the first axis, in the wider of the two precisions.

    The product is taken at full precision, as TF32 would round the weights to 11 bits.
    """
    dtype = widest(leaf, weights)
    return jnp.tensordot(weights.astype(dtype), leaf.astype(dtype), axes=1, precision=jax.lax.Precision.HIGHEST)


def widest(*arrays: Array | jax.ShapeDtypeStruct) -> jnp.dtype:
    """The float type among these that holds all of them; unlike JAX's promotion it may be asked for in strict mode."""
    return max((array.dtype for array in arrays), key=lambda dtype: dtype.itemsize)


def mapped(f: Callable[[Array], Array], gradients: PyTree, counted: Array) -> PyTree:
    """F applied to each leaf, floats, with 0 at the candidates that do not count."""
    leaves = prepare_leaves(gradients, counted.shape[0])
    return jax.tree.map(lambda leaf: f(keep(leaf, counted)), leaves)
