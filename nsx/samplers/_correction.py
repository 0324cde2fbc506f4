"""What a sampled softmax must be told of its draws: log q, which of them count, and how many there were."""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from nsx._checks import (
    as_float,
    as_ids,
    is_concrete,
    require_broadcastable,
    require_finite,
    require_log_weights,
    require_positive,
)
from nsx._numerics import log_normalize, masked_logsumexp
from nsx._types import Array, ArrayLike, Bool, Float, Int
from nsx.samplers._algebra import no_accidental_hits
from nsx.samplers._laws import log_prob

Form = Literal["importance", "ranking"]
Hits = Literal["kept", "masked", "rejected"]

_ALLOWED = {"importance": ("masked", "rejected"), "ranking": ("kept",)}
# the numbers are those of tests/samplers/test_correction.py: truth (.7, .2, .1), q (.4, .35, .25), 64 draws
_REFUSED = {
    ("importance", "kept"): (
        "the denominator would count the positive twice, e^s+ too much in expectation however many are drawn: a loss "
        "too large by log(1 + p+) and an optimum that is too flat (.63 for a truth of .7 at 64 draws). Mask the hits, "
        "or reject them."
    ),
    ("ranking", "masked"): (
        "the positive enters once, whatever k, beside others that enter k times, so it weighs ever less as k grows: "
        "the optimum is biased from two draws on (.97 for a truth of .7 at 64 draws), and diverges. Keep the hits, or "
        "use the importance form."
    ),
    ("ranking", "rejected"): (
        "the positive enters once, whatever k, beside others that enter k times, so it weighs ever less as k grows: "
        "the optimum is biased for every k (.97 for a truth of .7 at 64 draws), and diverges. Draw with hits and keep "
        "them, or use the importance form."
    ),
}


class Correction(NamedTuple):
    """What `losses.info_nce` needs to know of the draws: `info_nce(positive, negatives, **found._asdict())`.

    Attributes:
        log_q_positive: log q of the positives, nats, shape `(...)`; None in the importance form.
        log_q_negatives: log q of the draws, nats, shape `(..., k)`; with rejected hits, of the law they leave.
        k: number of draws, hits included, a scalar or `(...)`; None in the ranking form, where it cancels.
        where: True at the draws that count, shape `(..., k)`.
    """

    log_q_positive: Float[Array, "..."] | None
    log_q_negatives: Float[Array, "... k"]
    k: Float[Array, "..."] | None
    where: Bool[Array, "... k"]


def correction(
    log_weights: Float[ArrayLike, "... n"],
    ids: Int[ArrayLike, "... k"],
    positive_ids: Int[ArrayLike, "..."],
    *,
    form: Form = "importance",
    hits: Hits | None = None,
    k: Float[ArrayLike, "..."] | None = None,
) -> Correction:
    r"""Correction of a sampled softmax for the law of its draws, in a form that is right, or an error saying why not.

    | form | hits of the positive | positive | draw j | right is |
    |---|---|---|---|---|
    | importance | masked | $s^+$ | $s_j - \log(k\,q_j)$ | the denominator, in expectation |
    | importance | rejected | $s^+$ | $s_j - \log(k\,q_j / (1 - q^+))$ | the denominator, in expectation |
    | ranking | kept | $s^+ - \log q^+$ | $s_j - \log q_j$ | the optimum, for every k |

    Args:
        log_weights: the law of the draws, shape `(n,)`, or `(..., n)` with one law per row; independent draws.
        ids: the candidates drawn, integers in [0, n), shape `(..., k)`, or `(k,)` where all rows share them.
        positive_ids: the candidate observed in each row, integers in [0, n), shape `(...)`.
        form: "importance" weighs the draws so that their sum stands for the whole catalogue's; "ranking" asks which
            of the 1 + k candidates is the observed one.
        hits: what becomes of draws that are the positive itself. "kept": they stay among the negatives; "masked":
            they are left out of the sum here, but were drawn; "rejected": they were drawn again until none was left,
            so q is renormalised by 1 - q+ per row. None is "masked" for importance and "kept" for ranking.
        k: number of draws, a scalar or one per row, where hits were taken out before, or where some columns are
            padding, to be masked too: `found._replace(where=found.where & drawn)`; None takes the last axis of ids.

    Returns:
        `Correction(log_q_positive, log_q_negatives, k, where)`, in the names of `losses.info_nce`.

    Raises:
        ValueError: a combination of form and hits that is biased; an id outside [0, n), a draw of probability 0, in
            the ranking form a positive of probability 0, rejected hits that are there, k not positive (traced, each
            gives NaN in log_q_negatives, log_q_positive or k, and so in the loss of its row); or shapes that do not
            fit.
        TypeError: ids that are not integers.

    Exact for what the table says. The importance form: E[denominator] = sum_i e^s_i for every k, so the loss is biased
    down by O(1/k) and the gradient off by O(1/k); with rejected hits and q the model's own softmax both are exact. The
    ranking form: the expected loss is least at log p + constant for every k; its gradient tends to the full
    softmax's with O(1/k), and is k / (k + 1) times it where q is the model's softmax. Before k is many times 1 / q+ a
    rare positive is pulled less at a step than by the full softmax, and pushed less, too. Where q depends on the model,
    put `jax.lax.stop_gradient` around log_weights.

    Example:
        >>> from nsx.losses import info_nce
        >>> scores = jnp.array([1.0, 0.0, -1.0, 2.0])
        >>> ids = jnp.array([1, 2, 3, 0])  # uniform draws that happen to be the whole catalogue; candidate 0 is the hit
        >>> found = correction(jnp.zeros(4), ids, 0)
        >>> found.where.tolist(), int(found.k)
        ([True, True, True, False], 4)
        >>> sampled = info_nce(scores[0], scores[ids], **found._asdict())
        >>> full = jax.nn.logsumexp(scores) - scores[0]
        >>> round(float(sampled), 4), round(float(full), 4)
        (1.4402, 1.4402)

    References:
        [bengio2008adaptive], [ma2018noise], [yi2019sampling]
    """
    hits = _chosen_hits(form, hits)
    log_weights = as_float("log_weights", log_weights)
    require_log_weights(log_weights)
    size = log_weights.shape[-1]
    ids = as_ids("ids", ids, high=size)
    positive_ids = as_ids("positive_ids", positive_ids, high=size)
    require_broadcastable("the rows of log_weights", log_weights.shape[:-1], positive_ids.shape)
    no_hit = no_accidental_hits(positive_ids, ids)
    log_q_positive = _log_prob_of(log_weights, positive_ids[..., None])[..., 0]
    log_q_negatives = _log_prob_of(log_weights, jnp.broadcast_to(ids, no_hit.shape))
    log_q_negatives = jnp.where(jnp.isnan(log_q_positive)[..., None], jnp.nan, log_q_negatives)
    where = no_hit if hits == "masked" else jnp.ones_like(no_hit)
    if hits == "rejected":
        _require_no_hit(no_hit)
        log_rest = _log_rest(log_weights, positive_ids, log_q_positive)
        log_q_negatives = jnp.where(no_hit, log_q_negatives - log_rest[..., None], jnp.nan)
    log_q_negatives = _require_drawn(log_q_negatives, where)
    if form == "ranking":
        advice = "Mix some of every candidate into the law (samplers.mix_uniform), or use the importance form."
        log_q_positive = require_finite("log q of the positives", log_q_positive, advice=advice)
        return Correction(log_q_positive, log_q_negatives, None, where)
    k = require_positive("k", ids.shape[-1] if k is None else k, advice="It is the number of draws, hits included.")
    return Correction(None, log_q_negatives, jnp.asarray(k, log_weights.dtype), where)


def _chosen_hits(form: str, hits: str | None) -> str:
    """What becomes of the hits; ValueError for an unknown name, and for a combination that is biased."""
    if form not in _ALLOWED:
        raise ValueError(f"form must be 'importance' or 'ranking', got {form!r}.")
    if hits not in (None, "kept", "masked", "rejected"):
        raise ValueError(f"hits must be 'kept', 'masked' or 'rejected', got {hits!r}.")
    hits = hits or _ALLOWED[form][0]
    if hits not in _ALLOWED[form]:
        raise ValueError(f"the {form} form with hits {hits} is biased: {_REFUSED[form, hits]}")
    return hits


def _log_prob_of(log_weights: Array, ids: Array) -> Array:
    """log q of ids (..., k), with one law for all rows or one per row."""
    if log_weights.ndim > 1:
        log_weights = jnp.broadcast_to(log_weights, (*ids.shape[:-1], log_weights.shape[-1]))
    return log_prob(log_weights, ids)


def _require_no_hit(no_hit: Array) -> None:
    """ValueError where a draw is the positive although such draws were to be rejected."""
    if is_concrete(no_hit) and not np.all(np.asarray(no_hit)):
        hit = tuple(int(i) for i in np.argwhere(~np.asarray(no_hit))[0])
        raise ValueError(f"hits were to be rejected, but the draw at {hit} is the positive. Draw again, or mask hits.")


def _log_rest(log_weights: Array, positive_ids: Array, log_q_positive: Array) -> Array:
    """log(1 - q+), shape (...): of the likeliest candidate by summing the others, since 1 - q+ may leave no digit."""
    likeliest = jnp.argmax(log_weights, axis=-1).astype(positive_ids.dtype)
    law = log_normalize(log_weights)
    others = jnp.put_along_axis(law, likeliest[..., None], -jnp.inf, axis=-1, inplace=False)
    is_likeliest = positive_ids == likeliest
    at_most_half = jnp.where(is_likeliest, -jnp.inf, log_q_positive)
    return jnp.where(is_likeliest, masked_logsumexp(others), jnp.log1p(-jnp.exp(at_most_half)))


def _require_drawn(log_q: Array, where: Array) -> Array:
    """log q where it counts, which must be finite; what is masked is left as it is."""
    advice = "A candidate of probability 0 cannot have been drawn: these ids come from another law."
    counted = require_finite("log q of the draws", jnp.where(where, log_q, 0), advice=advice)
    return jnp.where(where, counted, log_q)
