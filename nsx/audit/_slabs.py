"""Slabs of pairs: who is looked at, so many at a time that scores and drawn vectors fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import require_count
from nsx._types import Array
from nsx.audit._problem import Problem
from nsx.audit._proposals import Proposal
from nsx.audit._statistics import Options, Pool, Slab
from nsx.audit._vectors import row_lengths

MOST_SCORE = 1e37  # a score, and a score over tau, so that float32 holds differences of two
USUAL = 1e6  # vectors no longer than this and no shorter than its inverse are taken as they are

_SLAB_ROWS = 256  # pairs of a slab at most
_ENTRIES = 2**24  # scores of a slab, 64 MiB in float32
_GATHERED = 2**26  # numbers of the vectors drawn for a slab, 256 MiB
_CHOICE = 2**31 - 1  # what the key of the choice of pairs is folded with: no proposal has this place


class Slabs(NamedTuple):
    """What is cut into slabs: the pairs `chosen` of a `problem`, `rows` at a time, against all candidates in `pool`.

    Positives and candidates are divided by `scale`, anchors multiplied: scores stay, and no square overflows.
    """

    problem: Problem
    pool: Pool
    chosen: np.ndarray
    rows: int
    scale: np.float32


class Piece(NamedTuple):
    """One slab: its first place among the chosen, its pairs, the same with the last repeated to fill it, its arrays."""

    start: int
    pairs: np.ndarray
    padded: np.ndarray
    slab: Slab
    scores: Array


def plan_slabs(key: Array, problem: Problem, temperature: float, options: Options, max_pairs: int | None) -> Slabs:
    """Choose pairs and the size of slabs; ValueError where the scores are beyond float32."""
    scale = _scale(problem, temperature)
    chosen = _chosen(key, len(problem.anchors), max_pairs)
    pool = Pool(jnp.asarray(problem.candidates) / scale, _on_device(problem.candidate_labels))
    num_candidates, dimension = problem.candidates.shape
    drawn = options.replicates * options.k[-1] * dimension
    rows = max(1, min(_SLAB_ROWS, _ENTRIES // num_candidates, _GATHERED // drawn))
    return Slabs(problem, pool, chosen, min(rows, len(chosen)), scale)


def iterate(slabs: Slabs) -> Iterator[Piece]:
    """One slab after the other, all of one shape so that one program serves them."""
    problem, chosen, rows = slabs.problem, slabs.chosen, slabs.rows
    for start in range(0, len(chosen), rows):
        pairs = chosen[start : start + rows]
        padded = np.concatenate([pairs, np.repeat(pairs[-1:], rows - len(pairs))])
        labels = None if problem.anchor_labels is None else problem.anchor_labels[padded]
        slab = Slab(
            anchors=jnp.asarray(problem.anchors[padded]) * slabs.scale,
            positives=jnp.asarray(problem.positives[padded]) / slabs.scale,
            positive_ids=jnp.asarray(problem.positive_ids[padded], jnp.int32),
            labels=_on_device(labels),
        )
        scores = jnp.matmul(slab.anchors, slabs.pool.candidates.T, precision="highest")
        yield Piece(start, pairs, padded, slab, scores)


def law_of(proposal: Proposal, piece: Piece) -> Array:
    """Log-weights of a proposal for a slab, `(r, n)`; ValueError where they are none or leave nobody to draw."""
    law = proposal.at(piece.scores, piece.padded)
    never_drawn = jnp.full_like(piece.slab.positive_ids, -1) if proposal.shared else piece.slab.positive_ids
    bad = np.asarray(_bad_rows(law, never_drawn))
    if bad.any():
        pair = int(piece.padded[np.argmax(bad)])
        raise ValueError(
            f"{proposal.name}: for pair {pair} its log-weights hold NaN or +inf, or leave no negative to draw; "
            "a log-weight is finite, or -inf for probability 0."
        )
    return law


@jax.jit
def _bad_rows(law: Array, never_drawn: Array) -> Array:
    """Rows `(r,)` with NaN, +inf, or no mass beside the candidate that is never drawn, `(r,)`."""
    place = jnp.arange(law.shape[1], dtype=jnp.int32)[None, :]
    top = jnp.max(jnp.where(place == never_drawn[:, None], -jnp.inf, law), axis=1)
    return jnp.any(jnp.isnan(law), axis=1) | jnp.isinf(top)


def _chosen(key: Array, size: int, most: int | None) -> np.ndarray:
    """The places of the pairs that are looked at, ascending."""
    if most is None:
        return np.arange(size)
    if require_count("max_pairs", most) >= size:
        return np.arange(size)
    return np.sort(np.asarray(jax.random.permutation(jax.random.fold_in(key, _CHOICE), size)[:most]))


def _scale(problem: Problem, temperature: float) -> np.float32:
    """A power of two about as long as the longest vector, where vectors are very long or short, else 1."""
    longest = max(float(row_lengths(table).max()) for table in (problem.candidates, problem.positives))
    anchor = float(row_lengths(problem.anchors).max())
    score = longest * anchor
    if max(score, score / temperature) > MOST_SCORE:
        raise ValueError(
            f"scores reach {score:.2g} at temperature {temperature:g}, beyond what float32 holds. "
            "Scale the vectors down, take cosines, or raise the temperature."
        )
    if longest == 0 or 1 / USUAL <= longest <= USUAL:
        return np.float32(1)
    return np.float32(2.0 ** round(np.log2(longest)))


def _on_device(values: np.ndarray | None) -> Array | None:
    return None if values is None else jnp.asarray(values, jnp.int32)
