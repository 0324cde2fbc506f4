"""Sums of exponentials that the in-batch kernels keep of a row or column, and the loss they give."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from nsx._types import Array


class Sums(NamedTuple):
    """Shift and total of the negatives of each row or column, as in the row kernel."""

    shift: Array
    total: Array

    @classmethod
    def start(cls, positive: Array, rest: Array | None = None) -> Sums:
        """The sums before any column is met: nothing, or e^rest beside the positive."""
        floor = least_shift(positive)
        if rest is None:
            return cls(floor, jnp.zeros_like(positive))
        shift = jnp.maximum(floor, rest - positive)
        return cls(shift, jnp.exp(rest - positive - shift))

    def add(self, gaps: Array, axis: int) -> Sums:
        """The sums with more gaps in them, under the larger of both shifts."""
        shift = jnp.maximum(self.shift, jnp.max(gaps, axis=axis))
        more = jnp.sum(jnp.exp(gaps - jnp.expand_dims(shift, axis)), axis=axis)
        return Sums(shift, self.total * jnp.exp(self.shift - shift) + more)


def least_shift(positive: Array) -> Array:
    """0, the positive's own gap; NaN where its logit is no number, so that no other entry can hide it."""
    return jnp.where(jnp.isfinite(positive), 0.0, jnp.nan).astype(positive.dtype)


def loss_from_sums(shift: Array, total: Array) -> Array:
    """Shift + log(total + e^-shift): log1p(total) where the positive wins, so a loss of 1e-30 keeps its digits."""
    return shift + jnp.log1p(total + jnp.expm1(-shift))
