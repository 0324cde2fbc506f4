"""The audit itself: slabs of anchors through every proposal, so that a million candidates fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from nsx import entropy
from nsx._checks import require_count, require_in_range, require_positive
from nsx._types import Array, Key
from nsx.audit import _summary as summary
from nsx.audit._problem import Problem
from nsx.audit._proposals import Proposal
from nsx.audit._statistics import Masses, Moments, Options, Pool, Slab, slab_statistics

_ENTRIES = 2**24  # scores of a slab, 64 MiB in float32
_GATHERED = 2**26  # numbers of the vectors drawn for a slab, 256 MiB


def audit(
    key: Key[Array, ""],
    problem: Problem,
    proposals: Sequence[Proposal],
    *,
    temperature: float,
    num_negatives: Sequence[int] = (1, 4, 16, 64),
    loss: str = "info_nce",
    hard_share: float = 0.01,
    replicates: int = 32,
    max_anchors: int | None = 256,
    batch_size: int = 256,
    target_entropy: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> summary.Audit:
    r"""What each proposal does to the gradient in the anchors, against the full softmax.

    $$g_i = \frac1\tau\Bigl(\sum_j p_{ij} c_j - (1 - p_{i+})\, a^+_i\Bigr), \qquad
      \text{bias} = \frac{\lVert \mathbb{E} g^{(k)} - g\rVert}{\lVert g\rVert}, \qquad
      \text{SNR} = \frac{\lVert \mathbb{E} g^{(k)}\rVert}{\sqrt{\mathrm{tr}\,\mathrm{Var}\, g^{(k)}}},$$

    all norms over anchors and coordinates together, g^(k) the gradient of the loss with k draws.

    Args:
        key: of the draws and of the choice of anchors.
        problem: embeddings, from `problem` or `problem_from_scores`.
        proposals: from `proposal`, or any `Proposal(name, log_weights)`.
        temperature: tau > 0 of the loss, dividing the scores.
        num_negatives: numbers of negatives k, ascending; words and masses speak of the last.
        loss: "info_nce" (against the full softmax over all candidates) or "sgns" (against k uniform negatives in
            expectation; its correction weighs draws by uniform over q).
        hard_share: the share of an anchor's true negatives, by score, that counts as hard.
        replicates: independent draws of k negatives an anchor, at least 2.
        max_anchors: a random choice of so many anchors, None for all.
        batch_size: anchors of a training step, for the memory.
        target_entropy: nats; the temperature at which the model's softmax would have it is reported.
        progress: called with anchors done and anchors in all.

    Returns:
        `Audit`. Numbers of the draws carry a standard error by the jackknife over anchors; entropies and masses say
        exact where no anchor was left out. Bias is that of single pairs; give each anchor several positives and
        drift tells what is left of it on average, by which training ranks samplers.

    Raises:
        ValueError: temperature not positive, k below 1 or not ascending, fewer than 2 replicates, hard_share outside
            (0, 1], an unknown loss, no proposals.
        TypeError: sizes that are no integers.

    Exact: entropies, masses and the full gradient, by enumeration in float32. Biases, cosines and errors are
    estimated without bias in their squares; where a bias is below its standard error it is not told from 0.
    Memory is about 10 slabs of 2^24 scores however many the candidates.

    Example:
        >>> p = problem_from_scores(np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]]), np.array([0, 2]))
        >>> found = audit(jax.random.key(0), p, [proposal("scores:1", p)], temperature=1.0, num_negatives=(4,))
        >>> found.proposals[0].entropy.standard_error is None
        True

    References:
        [bengio2008adaptive], [blanc2018adaptive]
    """
    options = _options(loss, num_negatives, replicates, hard_share)
    require_positive("temperature", temperature, advice="It divides the scores.")
    if not proposals:
        raise ValueError("proposals are missing: name at least one.")
    chosen = _chosen(key, len(problem.anchors), max_anchors)
    pool = Pool(jnp.asarray(problem.candidates), _array(problem.candidate_labels))
    rows = min(len(chosen), _slab_rows(pool.candidates.shape, options))
    found, heats = [[] for _ in proposals], []
    for start in range(0, len(chosen), rows):
        index = chosen[start : start + rows]
        slab = _slab(problem, index, rows)
        scores = jnp.matmul(slab.anchors, pool.candidates.T, precision="highest")
        heats.append(_heats(scores, slab.positive_ids, target_entropy)[: len(index)])
        for i, proposal in enumerate(proposals):
            draw = jax.random.fold_in(jax.random.fold_in(key, i), start)
            law = jnp.broadcast_to(proposal.log_weights(scores), scores.shape)  # of one shape: one program for all
            out = slab_statistics(draw, slab, pool, law, jnp.float32(temperature), options)
            found[i].append(_first(out, len(index)))
        if progress is not None:
            progress(min(start + rows, len(chosen)), len(chosen))
    joined = [jax.tree.map(lambda *parts: np.concatenate(parts), *parts) for parts in found]
    whole = len(chosen) == len(problem.anchors)
    memory = lambda p: batch_size * (1 if p.shared else options.num_negatives[-1]) * pool.candidates.shape[1] * 4
    group = np.unique(problem.anchors[chosen], axis=0, return_inverse=True)[1].ravel()
    audits = [
        _row(p.name, parts, options, whole, memory(p), problem.anchor_labels is not None, group)
        for p, parts in zip(proposals, joined, strict=True)
    ]
    audits = tuple(a._replace(verdict=summary.verdict(a, hard_share)) for a in audits)
    heat = None if target_entropy is None else float(np.nanmedian(np.concatenate(heats)))
    return summary.Audit(audits, float(temperature), heat, len(chosen), summary.recommendation(audits))


def _first(tree, count: int):
    """The first rows of every array, on the host."""
    return jax.tree.map(lambda a: np.asarray(a)[:count], tree)


def _options(loss: str, num_negatives: Sequence[int], replicates: int, hard_share: float) -> Options:
    for k in num_negatives:
        require_count("num_negatives", k)
    if not num_negatives or list(num_negatives) != sorted(set(num_negatives)):
        raise ValueError(f"num_negatives must ascend, got {tuple(num_negatives)}.")
    require_count("replicates", replicates, minimum=2)
    require_in_range("hard_share", hard_share, 0, 1)
    if hard_share == 0:
        raise ValueError("hard_share must be above 0: the hardest share of an anchor's negatives.")
    if loss not in ("info_nce", "sgns"):
        raise ValueError(f"loss must be 'info_nce' or 'sgns', got {loss!r}.")
    return Options(loss, tuple(int(k) for k in num_negatives), int(replicates), float(hard_share))


def _chosen(key: Array, size: int, most: int | None) -> np.ndarray:
    if most is None or most >= size:
        return np.arange(size)
    require_count("max_anchors", most)
    return np.sort(np.asarray(jax.random.permutation(jax.random.fold_in(key, 2**31 - 1), size)[:most]))


def _slab_rows(shape: tuple[int, int], options: Options) -> int:
    drawn = options.replicates * options.num_negatives[-1] * shape[1]
    return max(1, min(256, _ENTRIES // shape[0], _GATHERED // drawn))


def _array(values: np.ndarray | None) -> Array | None:
    return None if values is None else jnp.asarray(values, jnp.int32)


def _slab(problem: Problem, index: np.ndarray, rows: int) -> Slab:
    """The chosen anchors, the last one repeated up to the size of a slab, so that one program serves all."""
    index = np.concatenate([index, np.repeat(index[-1:], rows - len(index))])
    labels = None if problem.anchor_labels is None else problem.anchor_labels[index]
    vectors = jnp.asarray(problem.anchors[index]), jnp.asarray(problem.positives[index])
    return Slab(*vectors, jnp.asarray(problem.positive_ids[index], jnp.int32), _array(labels))


@jax.jit
def _solved(scores: Array, ids: Array, wanted: Array) -> Array:
    allowed = jnp.arange(scores.shape[1])[None, :] != ids[:, None]
    return entropy.temperature_for_entropy(scores, jnp.full(scores.shape[0], wanted), where=allowed)


def _heats(scores: Array, ids: Array, wanted: float | None) -> np.ndarray:
    return np.zeros(len(ids)) if wanted is None else np.asarray(_solved(scores, ids, jnp.float32(wanted)))


def _row(
    name: str,
    parts: tuple[Masses, np.ndarray, tuple[Moments, Moments]],
    options: Options,
    whole: bool,
    memory: int,
    labelled: bool,
    group: np.ndarray,
) -> summary.ProposalAudit:
    masses, size, sides = parts
    last = options.num_negatives[-1]
    mean = summary.mean(masses.entropy, whole)
    error = None if mean.standard_error is None else math.exp(mean.value) * mean.standard_error
    columns = []
    for moments in sides:
        each = [[c[:, j] for c in (*moments[:4], size)] for j in range(len(options.num_negatives))]
        columns.append(
            {
                "bias": [summary.root(summary.ratio, b, w) for b, _, _, _, w in each],
                "drift": _drift(moments.gap, size, group),
                "cosine": [summary.jackknife(summary.cosine, a, m, w) for _, m, a, _, w in each],
                "signal_to_noise": [summary.root(summary.ratio, m, v) for _, m, _, v, _ in each],
                "error": [summary.root(summary.ratio, b + v, w) for b, _, _, v, w in each],
            }
        )
    plain, corrected = columns
    hard = -np.expm1(last * np.log1p(-np.minimum(masses.hard.astype(np.float64), 1 - 1e-12)))
    return summary.ProposalAudit(
        name=name,
        entropy=mean,
        effective_negatives=summary.Measured(math.exp(mean.value), error),
        false_negatives=summary.mean(last * masses.false, whole) if labelled else None,
        hard_probability=summary.mean(hard, whole),
        negatives_needed=summary.negatives_needed(masses.hard.astype(np.float64)),
        num_negatives=options.num_negatives,
        memory=memory,
        verdict="",
        **{k: v and tuple(v) for k, v in plain.items()},
        **{f"corrected_{k}": v and tuple(v) for k, v in corrected.items()},
    )


def _drift(gap: np.ndarray, size: np.ndarray, group: np.ndarray) -> list[summary.Measured] | None:
    """For each number of negatives, or None where too few anchors have several pairs."""
    if np.sum(np.bincount(group) > 1) < 2:
        return None
    parts = [summary.pooled(gap[:, j], size[:, j], group) for j in range(gap.shape[1])]
    return [summary.root(summary.ratio, *part) for part in parts]
