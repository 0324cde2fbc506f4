"""What skip-gram training needs to know of a corpus, found once on the host: laws, sizes, and how many steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import is_concrete, require_count, require_positive
from nsx._types import Array, ArrayLike, Float, Int
from nsx.samplers import AliasTable, alias_table, power, probabilities
from nsx.words._counts import sentence_numbers, token_ids
from nsx.words._subsample import keep_probability

BLOCK_SIZE = 16  # tokens; longer blocks score more pairs that no window holds, shorter ones scatter more rows
MOST_BLOCKS = 64  # per step; more gain nothing on a CPU
MOST_TOKENS = 2**31 - 1  # places in the corpus are int32
MOST_LOAD = (
    5.0  # learning rate x gradients summed on a row; corpora of few words diverge from 6.4 on, real ones from 25
)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["tokens", "segment", "keep", "noise", "negatives", "learning_rate"],
    meta_fields=["window", "epochs", "block_size", "blocks_per_step", "noise_per_block", "steps"],
)
@dataclass(frozen=True)
class SgnsPlan:
    """A corpus ready for training; a pytree whose whole numbers are static.

    Attributes:
        tokens: int32 `(n,)`, word ids.
        segment: int32 `(n,)`, number of the sentence, never falling.
        keep: probability that an epoch keeps an occurrence of a word, shape `(V,)`.
        noise: alias table of the noise law.
        negatives: k, noise draws per pair.
        learning_rate: of the first step; it falls linearly to 0 over epochs * steps.
        window: w.
        epochs: passes over the corpus.
        block_size: t, tokens per block.
        blocks_per_step: b, blocks whose updates are summed.
        noise_per_block: s, noise draws per block.
        steps: of an epoch; they have room for steps * b * t tokens.
    """

    tokens: Array
    segment: Array
    keep: Array
    noise: AliasTable
    negatives: Array
    learning_rate: Array
    window: int
    epochs: int
    block_size: int
    blocks_per_step: int
    noise_per_block: int
    steps: int


def sgns_plan(
    tokens: Int[ArrayLike, " n"],
    *,
    vocabulary_size: int,
    window: int = 5,
    negatives: int = 5,
    exponent: float = 0.75,
    log_weights: Float[ArrayLike, " v"] | None = None,
    epochs: int = 5,
    learning_rate: float = 0.025,
    threshold: float | None = 1e-3,
    sentence: Int[ArrayLike, " n"] | None = None,
    block_size: int | None = None,
    blocks_per_step: int | None = None,
    noise_per_block: int | None = None,
) -> SgnsPlan:
    r"""Look at a corpus once: subsampling, the noise table, and how an epoch is cut into steps.

    All that decides a training but the shape of the tables; `train_sgns` takes the plan, or these options.

    $$p_w = \min\Bigl(1, \sqrt{t/f_w} + t/f_w\Bigr), \qquad q_w \propto f_w^{\alpha} .$$

    Args:
        tokens: word ids in [0, vocabulary_size) of any integer type, in reading order, shape `(n,)`, n < 2^31.
        vocabulary_size: V.
        window: w >= 1; each centre draws its own reach uniformly from 1..w.
        negatives: k >= 1, the number of noise draws per pair, in expectation.
        exponent: alpha of the noise; f is the share of the tokens before subsampling.
        log_weights: another noise law, unnormalised, nats, shape `(V,)`; exponent is then ignored.
        epochs: passes over the corpus, >= 1.
        learning_rate: of the first step; it falls linearly to 0 at the end of the last epoch.
        threshold: t of the subsampling, a share of the tokens; None keeps every token.
        sentence: integer label of the sentence of each token, shape `(n,)`; no window crosses a change of label. None
            is one long sentence.
        block_size: tokens a block, at least the window; None is 16, or what the window or a stable step asks.
        blocks_per_step: blocks whose updates are summed; None takes as many as keep the step stable, at most 64.
        noise_per_block: noise draws shared by a block; None is 32, or 2 block_size where that is more.

    Returns:
        `SgnsPlan`. Its steps have room for the expected number of tokens kept and six standard deviations more;
        what an epoch keeps beyond that (probability 1e-9) is left out.

    Raises:
        ValueError: no token, an id out of range, no two tokens in one sentence, labels that do not fit, an exponent
            that is NaN, noise without mass, a number that is too small, or 2^31 tokens.
        TypeError: ids or labels that are not integers, whole numbers that are not, or anything traced: a plan is made
            on the host.

    Exact. Left to itself, the plan bounds the expected sum of pair gradients on any row a step touches, times the
    learning rate, by 5, where a block no longer than the window allows it: not where learning_rate (1 + negatives)
    (1 + window) is over 5. Nothing is clipped, so steps much larger than that diverge.

    Example:
        >>> plan = sgns_plan([0, 1, 2, 1], vocabulary_size=3, window=1, threshold=None)
        >>> plan.block_size, plan.blocks_per_step, plan.steps
        (16, 1, 1)

    References:
        [mikolov2013distributed, sec. 2], [levy2015improving, sec. 3.1]
    """
    _require_host(exponent=exponent, log_weights=log_weights, learning_rate=learning_rate, threshold=threshold)
    ids = token_ids(tokens, vocabulary_size)
    if ids.size > MOST_TOKENS:
        raise ValueError(f"tokens must be fewer than 2^31, got {ids.size}. Train on the parts of the corpus in turn.")
    for name, value in (("window", window), ("negatives", negatives), ("epochs", epochs)):
        require_count(name, value)
    require_positive("learning_rate", learning_rate)
    segment = _sentences(sentence, ids.shape)
    counts = np.bincount(ids, minlength=vocabulary_size)
    keep = _keep(counts, threshold)
    log_weights = _noise_law(counts, exponent, log_weights)
    most = _most_tokens(counts * keep, log_weights, learning_rate * (window + 1), negatives)
    if block_size is None:
        block_size = max(window, min(most, BLOCK_SIZE))
    if blocks_per_step is None:
        blocks_per_step = max(1, min(most // block_size, MOST_BLOCKS, -(-_room(counts, keep) // block_size)))
    noise_per_block = 2 * max(block_size, BLOCK_SIZE) if noise_per_block is None else noise_per_block
    _require_shapes(window, block_size, blocks_per_step, noise_per_block)
    return SgnsPlan(
        jnp.asarray(ids),
        jnp.asarray(segment),
        jnp.asarray(keep, jnp.float32),
        alias_table(log_weights),
        jnp.asarray(float(negatives)),
        jnp.asarray(float(learning_rate)),
        window=window,
        epochs=epochs,
        block_size=block_size,
        blocks_per_step=blocks_per_step,
        noise_per_block=noise_per_block,
        steps=-(-_room(counts, keep) // (block_size * blocks_per_step)),
    )


def _require_host(**options: object) -> None:
    for name, value in options.items():
        if not is_concrete(value):
            raise TypeError(f"{name} is traced, but a plan is made on the host. Call this outside jit.")


def _sentences(sentence: ArrayLike | None, shape: tuple[int, ...]) -> np.ndarray:
    segment = np.zeros(shape, np.int32) if sentence is None else sentence_numbers(sentence, shape).astype(np.int32)
    if not np.any(segment[1:] == segment[:-1]):
        raise ValueError("no two tokens share a sentence, so there is no pair to learn from. Check `sentence`.")
    return segment


def _keep(counts: np.ndarray, threshold: float | None) -> np.ndarray:
    if threshold is None:
        return np.ones(counts.shape)
    return np.asarray(keep_probability(counts / np.sum(counts), threshold=threshold), np.float64)


def _noise_law(counts: np.ndarray, exponent: float, log_weights: ArrayLike | None) -> ArrayLike:
    if log_weights is None:
        return power(counts, exponent=exponent)
    if np.shape(log_weights) != counts.shape:
        raise ValueError(f"log_weights must have one entry per word, {counts.shape}, got {np.shape(log_weights)}.")
    return log_weights


def _most_tokens(kept: np.ndarray, log_weights: ArrayLike, rate: float, negatives: int) -> int:
    """Tokens a step may sum before the row that gets most of their gradients overshoots, at least 1.

    A step of n tokens brings a row it touches (1 + k)(1 + n f) pair gradients as a word and 1 + k/2 + n (f + k q) as a
    context, each times w + 1, in expectation; rate is learning rate times w + 1.
    """
    frequency = kept / np.sum(kept)
    noise = np.asarray(probabilities(log_weights))
    as_word = (MOST_LOAD / rate / (1 + negatives) - 1) / np.max(frequency)
    as_context = (MOST_LOAD / rate - 1 - negatives / 2) / np.max(frequency + negatives * noise)
    return int(max(1, min(as_word, as_context, 1e9)))


def _room(counts: np.ndarray, keep: np.ndarray) -> int:
    """Tokens an epoch keeps: their expected number and six standard deviations, all of them at most."""
    mean = float(np.sum(counts * keep))
    variance = float(np.sum(counts * keep * (1 - keep)))
    return min(math.ceil(mean + 6 * math.sqrt(variance)), int(np.sum(counts)))


def _require_shapes(window: int, block_size: int, blocks_per_step: int, noise_per_block: int) -> None:
    require_count("blocks_per_step", blocks_per_step)
    require_count("noise_per_block", noise_per_block)
    require_count("block_size", block_size)
    if block_size * blocks_per_step > MOST_TOKENS:
        raise ValueError(f"a step must hold fewer than 2^31 tokens, got {block_size} times {blocks_per_step}.")
    if block_size < window:
        raise ValueError(
            f"block_size must be at least the window, {window}, got {block_size}: a block sees only the next."
        )
