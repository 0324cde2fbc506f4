"""The softmax law p_tau ~ exp(s / tau) in coordinates that stay exact: gaps to the best score, in temperatures."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import as_floats, as_scores, is_concrete, require_positive
from nsx._numerics import per_row
from nsx._types import Array, ArrayLike

# exp(-1000) is 0 in float32 and float64: a longer gap changes no weight, and its square would overflow
_LONGEST_GAP = 1000.0


class Gibbs(NamedTuple):
    """gap (s - max s) / tau <= 0 and weight exp(gap), 0 and 0 where excluded; multiplicity of the maximum."""

    gap: Array
    weight: Array
    multiplicity: Array
    rest: Array  # total weight of the candidates below the maximum

    @property
    def probability(self) -> Array:
        """The law itself, 0 where excluded.

        Its sum is taken anew: multiplicity + rest is the same number, but constant in the best scores under autodiff.
        """
        total = jnp.sum(self.weight, axis=-1, keepdims=True)
        return self.weight / jnp.where(total > 0, total, 1)

    @property
    def centred(self) -> Array:
        """z - E z under the law; meaningless (finite) where excluded."""
        return self.gap - jnp.sum(self.probability * self.gap, axis=-1, keepdims=True)

    @property
    def variance(self) -> Array:
        """Var(z) under the law, two passes: no cancellation."""
        return jnp.sum(self.probability * self.centred**2, axis=-1)

    @property
    def log_excess(self) -> Array:
        """Log of the partition sum, less log multiplicity; a value only, see `probability`."""
        return jnp.log1p(self.rest / self.multiplicity)

    @property
    def excess(self) -> Array:
        """H - log multiplicity: a sum of terms >= 0, so that tiny entropies keep precision; a value only."""
        mean_gap = jnp.sum(self.weight * -self.gap, axis=-1) / (self.multiplicity + self.rest)
        return self.log_excess + mean_gap


def gibbs(scores: Array, temperature: Array) -> Gibbs:
    """The law of scores (..., n) at temperature (...); a row without candidates counts as one certain one."""
    counted = scores != -jnp.inf
    top = best(scores)
    tau = per_row(temperature)
    # the clamp comes before the division: a mask of -1e38 would overflow in it and put NaN into the gradient
    gap = jnp.maximum(jnp.where(counted, scores, top) - top, -_LONGEST_GAP * tau) / tau
    weight = jnp.where(counted, jnp.exp(gap), 0)
    below = gap < 0
    multiplicity = jnp.sum(counted & ~below, axis=-1).astype(scores.dtype)
    rest = jnp.sum(jnp.where(below, weight, 0), axis=-1)
    return Gibbs(gap, weight, jnp.maximum(multiplicity, 1), rest)


def best(scores: Array) -> Array:
    """The largest score of each row, shape (..., 1), constant under differentiation; 0 in an empty row."""
    top = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
    return jnp.where(top == -jnp.inf, 0, top)


def is_empty(scores: Array) -> Array:
    """True at the rows (...) where no candidate counts."""
    return jnp.all(scores == -jnp.inf, axis=-1)


def prepare_scores(scores: ArrayLike, where: ArrayLike | None) -> Array:
    """Scores as floats, -inf where masked, checked for shape and (concrete) for values."""
    scores = as_scores(scores, where)
    if is_concrete(scores):
        top = np.max(np.asarray(scores), axis=-1)
        if np.any(np.isnan(top)) or np.any(top == math.inf):
            raise ValueError("scores hold NaN or +inf; a score must be finite, or -inf for an excluded candidate.")
        if np.any(top == -math.inf):
            raise ValueError("a row of scores has no candidate left (all -inf or masked). Drop the row.")
    return scores


def prepare_rows(name: str, value: ArrayLike, scores: Array) -> tuple[Array, Array]:
    """Scores (..., n) and a per-row parameter (...) broadcast against each other, in their common precision."""
    scores, value = as_floats(**{"scores": scores, name: value})
    try:
        lead = np.broadcast_shapes(scores.shape[:-1], value.shape)
    except ValueError:
        raise ValueError(
            f"{name} of shape {value.shape} does not broadcast with the rows of scores, {scores.shape[:-1]}. "
            f"Give one {name} for all rows, or one per row."
        ) from None
    return jnp.broadcast_to(scores, (*lead, scores.shape[-1])), jnp.broadcast_to(value, lead)


def prepare(scores: ArrayLike, temperature: ArrayLike, where: ArrayLike | None) -> tuple[Array, Array]:
    """Checked scores (..., n) and temperature (...), broadcast against each other."""
    temperature = require_positive("temperature", temperature, advice="It divides the scores.")
    return prepare_rows("temperature", temperature, prepare_scores(scores, where))
