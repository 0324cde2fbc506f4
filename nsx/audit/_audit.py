"""The audit itself: slabs of pairs through every proposal, so that a million candidates fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from nsx import entropy
from nsx._checks import require_count, require_in_range, require_positive
from nsx._types import Array, Key
from nsx.audit._describe import describe
from nsx.audit._problem import Problem
from nsx.audit._proposals import Proposal
from nsx.audit._slabs import Piece, Slabs, iterate, law_of, plan_slabs
from nsx.audit._statistics import ROUNDING, Options, Statistics, slab_statistics
from nsx.audit._summary import Common, Evidence, ProposalAudit, Report, evidence_of
from nsx.audit._verdict import recommendation, verdict

LOSSES = ("info_nce", "sgns")


def audit(
    key: Key[Array, ""],
    problem: Problem,
    proposals: Sequence[Proposal],
    *,
    temperature: float,
    k: Sequence[int] = (1, 4, 16, 64),
    loss: str = "info_nce",
    hard_share: float = 0.01,
    replicates: int = 32,
    max_pairs: int | None = 256,
    batch_size: int = 256,
    target_entropy: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    r"""What each proposal does to the gradient in the anchors, against the full softmax.

    $$g_i = \frac1\tau\Bigl(\sum_j p_{ij} c_j - (1 - p_{i+})\, a^+_i\Bigr), \qquad
      \text{bias} = \frac{\lVert \mathbb{E} g^{(k)} - g\rVert}{\lVert g\rVert}, \qquad
      \text{SNR} = \frac{\lVert \mathbb{E} g^{(k)}\rVert}{\sqrt{\mathrm{tr}\,\mathrm{Var}\, g^{(k)}}},$$

    all norms over pairs and coordinates together, g^(k) the gradient of the loss with k draws: `nsx.losses.info_nce`
    of the drawn scores, and with log q its importance form, each negative less log(k q). A proposal that is `shared`
    draws from all candidates and masks the hits of the pair's own positive, which count in k, as
    `nsx.losses.in_batch_info_nce` does with ids and log_q; any other never draws that positive.

    Args:
        key: of the draws and of the choice of pairs.
        problem: from `from_embeddings` or `from_scores`.
        proposals: from `named_proposal`, or any `Proposal(name, log_weights)`, each under a name of its own.
        temperature: tau > 0 of the loss, dividing the scores.
        k: numbers of negatives, ascending; words and masses speak of the last.
        loss: "info_nce" (against the full softmax over all candidates) or "sgns" (against k uniform negatives in
            expectation; its correction weighs draws by uniform over q).
        hard_share: the share of a pair's true negatives, by score, that counts as hard.
        replicates: independent draws of k negatives per pair, at least 2.
        max_pairs: a random choice of so many pairs, None for all.
        batch_size: pairs of a training step, for the memory.
        target_entropy: nats; the temperature at which the model's softmax would have it is reported.
        progress: called with pairs done and pairs in all.

    Returns:
        `Report`. Numbers of the draws carry a standard error by the jackknife over anchors; entropies and masses say
        exact where no pair was left out. Bias is that of single pairs; give each anchor several positives and
        drift tells what is left of it on average, by which training ranks samplers. Where the full gradient is 0
        (solved, or collapsed) verdicts say so, and what is relative to it is NaN.

    Raises:
        ValueError: temperature not positive, or so small that scores over it overflow; k below 1 or not ascending,
            fewer than 2 replicates, hard_share outside (0, 1], an unknown loss, no proposals or two of one name, a
            proposal whose log-weights have another shape, NaN, +inf, or no mass for some pair; a target_entropy that
            no softmax over the negatives has.
        TypeError: sizes that are no integers.

    Exact: entropies, masses and the full gradient, by enumeration in float32. Biases, cosines and errors are
    estimated without bias in their squares; where a bias is below its standard error it is not told from 0.
    Memory is about 10 slabs of 2^24 scores however many the candidates.

    Example:
        >>> from nsx.audit import from_scores, named_proposal
        >>> p = from_scores(np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]]), np.array([0, 2]))
        >>> found = audit(jax.random.key(0), p, [named_proposal("scores:1", p)], temperature=1.0, k=(4,))
        >>> round(found.proposals[0].effective_negatives.value, 3)  # of the two negatives, e times as likely one
        1.79

    References:
        [bengio2008adaptive], [blanc2018adaptive]
    """
    options = _options(loss, k, replicates, hard_share)
    temperature = float(require_positive("temperature", temperature, advice="It divides the scores."))
    require_count("batch_size", batch_size)
    _require_proposals(proposals)
    _require_possible_entropy(target_entropy, problem)
    slabs = plan_slabs(key, problem, temperature, options, max_pairs)

    # every slab of pairs through every proposal
    parts: list[list[Statistics]] = [[] for _ in proposals]
    temperatures: list[np.ndarray] = []
    for piece in iterate(slabs):
        if target_entropy is not None:
            temperatures.append(_temperatures_for_entropy(piece, target_entropy))
        for place, proposal in enumerate(proposals):
            draw_key = jax.random.fold_in(jax.random.fold_in(key, place), piece.start)
            law = law_of(proposal, piece)
            found = slab_statistics(
                draw_key, piece.slab, slabs.pool, law, jnp.float32(temperature), options, proposal.shared
            )
            parts[place].append(_first(found, len(piece.pairs)))
        if progress is not None:
            progress(piece.start + len(piece.pairs), len(slabs.chosen))

    # what they have in common, and each by itself
    joined = [_joined(of_one) for of_one in parts]
    common = _common(slabs, options, joined[0], temperature)
    row_bytes = problem.candidates.shape[1] * np.dtype(np.float32).itemsize
    evidence = [
        evidence_of(proposal.name, proposal.assumes, found, common)
        for proposal, found in zip(proposals, joined, strict=True)
    ]
    memory = [batch_size * row_bytes * (1 if proposal.shared else options.k[-1]) for proposal in proposals]
    return Report(
        about=describe(problem),
        proposals=tuple(_row(of_one, size, common) for of_one, size in zip(evidence, memory, strict=True)),
        criterion=common.criterion,
        temperature=temperature,
        temperature_for_entropy=_median(temperatures),
        num_pairs=common.num_pairs,
        num_anchors=common.num_anchors,
        recommendation=recommendation(evidence, common),
    )


def _row(evidence: Evidence, memory: int, common: Common) -> ProposalAudit:
    """The face of what was found."""
    return ProposalAudit(
        name=evidence.name,
        assumes=evidence.assumes,
        **evidence.masses._asdict(),
        k=common.options.k,
        plain=evidence.plain,
        corrected=evidence.corrected,
        log_q=evidence.log_q,
        memory=memory,
        verdict=verdict(evidence, common),
    )


def _options(loss: str, k: Sequence[int], replicates: int, hard_share: float) -> Options:
    """What is static, checked."""
    counts = tuple(require_count("k", count) for count in k)
    if not counts or list(counts) != sorted(set(counts)):
        raise ValueError(f"k must hold numbers of negatives that ascend, got {counts}.")
    require_count("replicates", replicates, minimum=2)
    require_in_range("hard_share", hard_share, 0, 1)
    if hard_share == 0:
        raise ValueError("hard_share must be above 0: the hardest share of a pair's negatives.")
    if loss not in LOSSES:
        raise ValueError(f"loss must be 'info_nce' or 'sgns', got {loss!r}.")
    return Options(loss, counts, int(replicates), float(hard_share))


def _require_proposals(proposals: Sequence[Proposal]) -> None:
    """Raise ValueError where there is none, or two have one name."""
    if not proposals:
        raise ValueError("proposals are missing: name at least one.")
    names = [proposal.name for proposal in proposals]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two proposals have the name {twice[0]!r}: give each its own.")


def _require_possible_entropy(target: float | None, problem: Problem) -> None:
    """Raise ValueError for an entropy that no law over an anchor's negatives has."""
    if target is None:
        return
    most = math.log(len(problem.candidates) - int(np.all(problem.positive_ids >= 0)))
    if not 0 < target < most:
        raise ValueError(
            f"target_entropy must be between 0 and {most:.4g} nats, the entropy of uniform negatives, got {target}."
        )


def _temperatures_for_entropy(piece: Piece, target: float) -> np.ndarray:
    """The temperature of each pair at which the softmax over its negatives has the entropy; NaN where none does."""
    return np.asarray(_solved(piece.scores, piece.slab.positive_ids, jnp.float32(target)))[: len(piece.pairs)]


@jax.jit
def _solved(scores: Array, positive_ids: Array, target: Array) -> Array:
    place = jnp.arange(scores.shape[1], dtype=jnp.int32)[None, :]
    return entropy.temperature_for_entropy(
        scores, jnp.full(scores.shape[0], target), where=place != positive_ids[:, None]
    )


def _median(temperatures: Sequence[np.ndarray]) -> float | None:
    """Median over the pairs that have a temperature, or None where none does."""
    known = [part[np.isfinite(part)] for part in temperatures]
    if not any(len(part) for part in known):
        return None
    return float(np.median(np.concatenate(known)))


def _first(found: Statistics, count: int) -> Statistics:
    """The first rows of every array, on the host."""
    return jax.tree.map(lambda column: np.asarray(column)[:count], found)


def _joined(parts: Sequence[Statistics]) -> Statistics:
    """All slabs of one proposal."""
    return jax.tree.map(lambda *columns: np.concatenate(columns), *parts)


def _common(slabs: Slabs, options: Options, found: Statistics, temperature: float) -> Common:
    """What all proposals are seen against; any of them knows the full gradient."""
    problem, chosen = slabs.problem, slabs.chosen
    group = np.unique(problem.anchors[chosen], axis=0, return_inverse=True)[1].ravel()
    several = int(np.sum(np.bincount(group) > 1))
    return Common(
        options=options,
        group=group,
        criterion="drift" if several >= 2 else "bias",
        whole=len(chosen) == len(problem.anchors),
        labelled=problem.anchor_labels is not None,
        vanished=_vanished(found, temperature),
    )


def _vanished(found: Statistics, temperature: float) -> str:
    """Why the full gradient is 0 as far as float32 knows, or "" where it is not."""
    square = found.square.sum(axis=0, dtype=np.float64)
    rounding = found.rounding.sum(axis=0, dtype=np.float64)
    if np.all(square > rounding):
        return ""
    if found.pull.max() <= ROUNDING:
        why = f"at temperature {temperature:g} every positive already has all of its softmax: the pairs are solved"
    else:
        why = "the push of the candidates and the pull of the positives cancel: the vectors have collapsed"
    return f"the full gradient is 0 ({why}): nothing is left to bias"
