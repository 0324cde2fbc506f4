"""SGNS on blocks of consecutive tokens: how a corpus is cut into them, their loss, and the few rows each changes.

A block of t tokens meets its own neighbourhood of t + 2w tokens and s noise words in one (t, t + 2w + s) table of
scores; a band of the table holds the observed pairs. Gathering and scattering rows costs 2 + (2w + s)/t rows per
token, where a list of pairs costs k + 2 rows per pair.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from nsx._checks import as_float, as_ids, require_finite, require_positive
from nsx._types import Array, ArrayLike, Float, Int, Key
from nsx.words._plan import SgnsPlan
from nsx.words._subsample import subsample


class Embedding(NamedTuple):
    """Two vectors per word; the score of a pair is word[w] @ context[c].

    Attributes:
        word: v, vectors of words as centres, shape `(V, d)`.
        context: u, vectors of words as neighbours, shape `(V, d)`.
    """

    word: Array
    context: Array


class Block(NamedTuple):
    """Consecutive tokens with w tokens on either side, and how far the window of each reaches.

    Attributes:
        ids: int32 `(t + 2w,)`, word ids; the centres are `ids[w:w + t]`.
        left: int32 `(t,)`, neighbours before the centre that count, 0 to w.
        right: int32 `(t,)`, neighbours after it. Centre i counts left[i] + right[i] pairs.
    """

    ids: Array
    left: Array
    right: Array


class BlockUpdate(NamedTuple):
    """Rows to add to the two tables; an id that occurs twice is added twice.

    Attributes:
        word_ids: int32 `(t,)`.
        word: shape `(t, d)`.
        context_ids: int32 `(t + 2w + s,)`, the neighbourhood, then the noise.
        context: shape `(t + 2w + s, d)`.
    """

    word_ids: Array
    word: Array
    context_ids: Array
    context: Array


@jax.jit
def sample_blocks(key: Key[Array, ""], plan: SgnsPlan) -> Block:
    r"""Thin the corpus, draw the windows, and cut what is left into the blocks of an epoch.

    $$b_i \sim \mathrm{Bernoulli}(p_{x_i}), \qquad W_i \sim \mathrm{Uniform}\{1..w\}, \qquad
      \text{pairs } (i, j):\ 0 < |i - j| \le W_i \text{ in one sentence.}$$

    Args:
        key: from `jax.random.key`.
        plan: of the corpus.

    Returns:
        `Block` with leading axes `(steps, b)`. Column j of a step runs on where column j of the step before ended:
        an epoch reads b stretches of the corpus side by side. Slots without a token count no pair.

    Exact: the law of word2vec, where words are dropped before the windows are laid.

    Example:
        >>> plan = sgns_plan([0, 1, 2, 1], vocabulary_size=3, window=1, threshold=None)
        >>> blocks = sample_blocks(jax.random.key(0), plan)
        >>> blocks.left[0, 0, :5].tolist(), blocks.right[0, 0, :5].tolist()
        ([0, 1, 1, 1, 0], [1, 1, 1, 0, 0])

    References:
        [mikolov2013distributed, sec. 2.3], [levy2015improving, sec. 3.1]
    """
    keep_key, window_key = jax.random.split(key)
    kept = _places(subsample(keep_key, plan.tokens, plan.keep), plan.steps * plan.blocks_per_step * plan.block_size)
    ids = plan.tokens.at[kept].get(mode="fill", fill_value=0)
    segment = plan.segment.at[kept].get(mode="fill", fill_value=-1)
    left, right = _reaches(window_key, segment, plan.window)
    blocks = Block(_neighbourhoods(ids, plan), *(x.reshape(-1, plan.block_size) for x in (left, right)))
    return jax.tree.map(lambda x: jnp.swapaxes(x.reshape(plan.blocks_per_step, plan.steps, x.shape[-1]), 0, 1), blocks)


def _places(mask: Array, room: int) -> Array:
    """Where mask is True, in order, `(room,)`; the rest is filled with its size, a place that does not exist."""
    slot = jnp.where(mask, jnp.cumsum(mask) - 1, room)
    return jnp.full(room, mask.size, jnp.int32).at[slot].set(jnp.arange(mask.size, dtype=jnp.int32), mode="drop")


def _reaches(key: Array, segment: Array, window: int) -> tuple[Array, Array]:
    """Neighbours that count on the left and right: as far as the window drawn, within the sentence."""
    drawn = jax.random.randint(key, segment.shape, 1, window + 1, jnp.int32)
    padded = jnp.pad(segment, window, constant_values=-1)

    def side(sign: int) -> Array:
        starts = [window + sign * offset for offset in range(1, window + 1)]
        same = [padded[start : start + segment.size] == segment for start in starts]
        return sum((s & (segment >= 0) & (i < drawn)).astype(jnp.int32) for i, s in enumerate(same))

    return side(-1), side(1)


def _neighbourhoods(ids: Array, plan: SgnsPlan) -> Array:
    """Each block between the w tokens before and after it, `(blocks, t + 2w)`; w <= t, so the next blocks hold them."""
    rows = ids.reshape(-1, plan.block_size)
    before = jnp.roll(rows, 1, axis=0)[:, plan.block_size - plan.window :]
    after = jnp.roll(rows, -1, axis=0)[:, : plan.window]
    return jnp.concatenate([before, rows, after], axis=1)


def block_loss(
    embedding: Embedding, block: Block, noise_ids: Int[ArrayLike, " s"], *, negatives: Float[ArrayLike, ""]
) -> Float[Array, ""]:
    r"""SGNS loss of a block, summed over its pairs, with s noise draws shared by all of them.

    $$L = \sum_{(i,j) \in B} \mathrm{softplus}(-v_i^\top u_j)
          + \sum_i \frac{k\, n_i}{s} \sum_{l=1}^{s} \mathrm{softplus}(v_i^\top u_{z_l}),$$

    with n_i the pairs of centre i and z the noise.

    Args:
        embedding: tables of shape `(V, d)`.
        block: t centres and their neighbourhood.
        noise_ids: word ids drawn from the noise law, shape `(s,)`, s >= 1.
        negatives: k > 0, noise draws per pair in expectation.

    Returns:
        Loss in nats, a scalar; divide by `jnp.sum(block.left + block.right)` for the loss per pair. Tables of half
        precision are scored and summed in float32.

    Raises:
        ValueError: an id outside [0, V), k not positive. Traced, these give NaN.
        TypeError: ids that are not integers.

    Exact SGNS loss in expectation over the draws, for any s: each pair gets k expected negatives, hits of its own
    context included (word2vec skips those, which lowers k by the share q(c) of the context). The draws of
    different pairs are the same, so the variance of the sum is larger than with independent ones.

    Example:
        >>> block = Block(jnp.array([0, 1, 2]), jnp.array([1]), jnp.array([0]))
        >>> tables = Embedding(jnp.zeros((3, 2)), jnp.zeros((3, 2)))
        >>> round(float(block_loss(tables, block, jnp.array([2]), negatives=5) / jnp.log(2)), 4)
        6.0

    References:
        [mikolov2013distributed, eq. 4], [goldberg2014word2vec]
    """
    scored = _scored(embedding, block, noise_ids, negatives)
    return signed_loss(scored.scores, scored.weight)


def block_update(
    embedding: Embedding,
    block: Block,
    noise_ids: Int[ArrayLike, " s"],
    *,
    negatives: Float[ArrayLike, ""],
    learning_rate: Float[ArrayLike, ""],
) -> BlockUpdate:
    r"""One gradient step on `block_loss`, as the rows it touches.

    $$\Delta v_i = \eta \Bigl[\sum_{j} \sigma(-s_{ij})\, u_j - \frac{k\, n_i}{s} \sum_l \sigma(s_{il})\, u_{z_l}\Bigr],
      \quad \Delta u_j = \eta \sum_i \sigma(-s_{ij})\, v_i, \quad
      \Delta u_{z_l} = -\eta \sum_i \frac{k\, n_i}{s} \sigma(s_{il})\, v_i .$$

    Args:
        embedding: tables of shape `(V, d)`.
        block: t centres and their neighbourhood.
        noise_ids: word ids drawn from the noise law, shape `(s,)`.
        negatives: k > 0, noise draws per pair in expectation.
        learning_rate: eta, finite.

    Returns:
        `BlockUpdate` of t + (t + 2w + s) rows: their sum over equal ids is -eta times the gradient. Every other
        row of the tables has gradient 0. Rows of half-precision tables are summed in float32 and come in their type.

    Raises:
        ValueError: an id outside [0, V), k not positive, eta not finite. Traced, these give NaN.
        TypeError: ids that are not integers.

    Exact gradient of `block_loss`; its expectation over the draws is the sum of the per-pair SGNS gradients with k
    negatives each. All pairs of the block see the parameters from before it, where word2vec updates after each.

    Example:
        >>> block = Block(jnp.array([0, 1, 2]), jnp.array([1]), jnp.array([0]))
        >>> tables = Embedding(jnp.ones((3, 1)), jnp.zeros((3, 1)))
        >>> update = block_update(tables, block, jnp.array([2]), negatives=5, learning_rate=1.0)
        >>> update.context_ids.tolist(), update.context[:, 0].tolist()
        ([0, 1, 2, 2], [0.5, 0.0, 0.0, -2.5])

    References:
        [mikolov2013distributed, eq. 4], [goldberg2014word2vec]
    """
    scored = _scored(embedding, block, noise_ids, negatives)
    rate = as_float("learning_rate", require_finite("learning_rate", learning_rate)).astype(scored.scores.dtype)
    update = _descend(scored.rows, scored.vectors, scored.scores, scored.weight, rate)
    word = update.word.astype(embedding.word.dtype)
    return update._replace(word=word, context=update.context.astype(embedding.context.dtype))


def update_and_scores(
    rows: tuple[Array, Array], vectors: tuple[Array, Array], block: Block, negatives: Array, learning_rate: Array
) -> tuple[BlockUpdate, Array, Array]:
    """The update, and the scores and weights that `signed_loss` takes: no second look at the tables.

    A table that is read after its rows were scattered into would be copied whole at every step.
    """
    scores, weight = _scores(rows, vectors, block, negatives)
    return _descend(rows, vectors, scores, weight, learning_rate), scores, weight


def signed_loss(scores: Array, weight: Array) -> Array:
    """Sum of softplus(-s) over observed pairs and of k n / s softplus(s) over noise."""
    return jnp.sum(jnp.abs(weight) * jax.nn.softplus(jnp.where(weight < 0, -scores, scores)))


class _Scored(NamedTuple):
    """A block looked up: row ids and vectors of either side, scores `(t, t + 2w + s)`, and how often each counts."""

    rows: tuple[Array, Array]
    vectors: tuple[Array, Array]
    scores: Array
    weight: Array


def _scored(embedding: Embedding, block: Block, noise_ids: ArrayLike, negatives: ArrayLike) -> _Scored:
    high = len(embedding.word)
    block = block._replace(ids=_known_ids("block.ids", block.ids, high))
    rows = block_rows(block, _known_ids("noise_ids", noise_ids, high))
    vectors = tuple(_looked_up(table, ids) for table, ids in zip(embedding, rows, strict=True))
    negatives = as_float("negatives", require_positive("negatives", negatives, advice="k counts noise draws per pair."))
    return _Scored(rows, vectors, *_scores(rows, vectors, block, negatives))


def _known_ids(name: str, ids: ArrayLike, high: int) -> Array:
    """Ids as int32, -1 for a traced one that is out of range."""
    ids = as_ids(name, ids, high=high)
    return jnp.where((ids < 0) | (ids >= high), -1, ids).astype(jnp.int32)


def _looked_up(table: Array, ids: Array) -> Array:
    """Rows of a table, at least in float32; NaN for a traced id that it does not have."""
    place = jnp.where(ids < 0, len(table), ids)  # a negative place would count from the end
    return as_float("tables", table).at[place].get(mode="fill", fill_value=jnp.nan)


def _scores(rows: tuple, vectors: tuple, block: Block, negatives: ArrayLike) -> tuple[Array, Array]:
    scores = vectors[0] @ vectors[1].T
    return scores, _signed_weight(block, rows[1].size - block.ids.size, negatives, scores.dtype)


def _descend(rows: tuple, vectors: tuple, scores: Array, weight: Array, learning_rate: ArrayLike) -> BlockUpdate:
    # sigma of the signed score: 1 - sigma(s) would round to 0 for a pair already learnt
    step = -learning_rate * weight * jax.nn.sigmoid(jnp.where(weight < 0, -scores, scores))
    return BlockUpdate(rows[0], step @ vectors[1], rows[1], step.T @ vectors[0])


def block_rows(block: Block, noise_ids: Array) -> tuple[Array, Array]:
    """Ids of the centres `(t,)`, and of everything they are scored against `(t + 2w + s,)`."""
    window = (block.ids.size - block.left.size) // 2
    return block.ids[window : window + block.left.size], jnp.concatenate([block.ids, noise_ids])


def _signed_weight(block: Block, num_noise: int, negatives: ArrayLike, dtype: jnp.dtype) -> Array:
    """How often each score counts, `(t, t + 2w + s)`: -1 at observed pairs, k n_i / s at noise, 0 elsewhere."""
    size = block.left.size
    width = block.ids.size
    column = jnp.arange(width + num_noise, dtype=jnp.int32)[None, :]
    offset = column - jnp.arange(size, dtype=jnp.int32)[:, None] - (width - size) // 2
    noise = column >= width
    left = block.left.astype(jnp.int32)[:, None]
    right = block.right.astype(jnp.int32)[:, None]
    near = (offset >= -left) & (offset <= right) & (offset != 0) & ~noise
    share = (left + right).astype(dtype) * (jnp.asarray(negatives, dtype) / num_noise)
    return jnp.where(noise, share, -near.astype(dtype))
