"""What log q does in an in-batch loss: two forms that are right, and why the others are refused."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nsx._checks import require_finite
from nsx._types import Array, ArrayLike
from nsx.losses._batch_checks import Counted, without

FORMS = ("importance", "ranking")


def chosen_form(form: str | None, log_q: ArrayLike | None, ids: ArrayLike | None, own: ArrayLike | None) -> str | None:
    """The form of the correction, None without log q; ValueError for a combination that is biased."""
    if form not in (None, *FORMS):
        raise ValueError(f"form must be 'importance', 'ranking' or None, got {form!r}.")
    if log_q is None:
        if form is not None:
            raise ValueError(f"form={form!r} says how log_q enters, and there is none. Pass log_q, or leave form out.")
        return None
    if form is None:
        form = "ranking" if ids is None else "importance"
    if form == "importance" and ids is None:
        raise ValueError(
            "form='importance' is biased without ids: where a candidate is the positive once more, the denominator "
            "counts it twice. Pass ids, or take form='ranking', which keeps such hits."
        )
    if form == "ranking" and ids is not None:
        raise ValueError(
            "form='ranking' is biased with ids: once hits of the positive are masked, log q on the positive weighs it "
            "as a draw that it no longer is. Leave ids out, or take form='importance'."
        )
    if form == "ranking" and own is not None:
        raise ValueError(
            "form='ranking' compares logits that are all less their log q, and own negatives have none. Pass ids and "
            "form='importance', where they enter at weight 1, or pass them among y with their log q."
        )
    return form


def require_log_q(log_q: ArrayLike, promoted: Array, counted: Counted, candidates: int) -> Array:
    """Log q per candidate, 0 where one does not count; ValueError where it is not finite, or NaN where traced."""
    if promoted.shape != (candidates,):
        raise ValueError(f"log_q must have shape {(candidates,)}, one per candidate, got {promoted.shape}.")
    advice = "A candidate of probability 0 cannot be in the batch."
    if counted.columns is None:
        require_finite("log_q", log_q, advice=advice)  # looked at before a transformation makes a tracer of it
    return require_finite("log_q", without(counted.columns, promoted), advice=advice)


def log_draws(counted: Counted, candidates: int, axis_name: str | None) -> Array:
    """Log of the number of draws that an anchor meets: candidates that count, hits too, all but its own positive."""
    count = jnp.asarray(candidates) if counted.columns is None else jnp.sum(counted.columns)
    if axis_name is not None:
        count = jax.lax.psum(count, axis_name)
    return jnp.log(jnp.maximum(count - 1, 1).astype(float))
