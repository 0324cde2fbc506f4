"""Skip-gram with negative sampling on a corpus: start the tables, run an epoch, repeat.

`sgns_init` and `sgns_epoch` are pure array code over a `SgnsPlan`; `train_sgns` is the loop over them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import require_count
from nsx._types import Array, ArrayLike, Float, Int, Key
from nsx.samplers import draw_alias
from nsx.words._blocks import Block, BlockUpdate, Embedding, sample_blocks, signed_loss, update_and_scores
from nsx.words._plan import SgnsPlan, sgns_plan


class SgnsState(NamedTuple):
    """Where training stands.

    Attributes:
        embedding: the two tables, `(V, d)` each.
        step: int32, steps taken since the start; it sets the learning rate.
    """

    embedding: Embedding
    step: Array


class SgnsInfo(NamedTuple):
    """What an epoch reports.

    Attributes:
        loss: nats per pair, on one block of each step, scored before it is learnt from; 0 where it held no pair.
        num_pairs: int32, pairs trained on.
        learning_rate: of the epoch's last step.
    """

    loss: Array
    num_pairs: Array
    learning_rate: Array


class Training(NamedTuple):
    """Result of `train_sgns`.

    Attributes:
        embedding: `Embedding(word, context)`, `(V, d)` each.
        losses: of each epoch, nats per pair, NumPy, shape `(epochs,)`.
    """

    embedding: Embedding
    losses: np.ndarray


def train_sgns(
    key: Key[Array, ""],
    tokens: Int[ArrayLike, " n"],
    *,
    vocabulary_size: int,
    dimension: int = 100,
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
    dtype: jnp.dtype = jnp.float32,
    progress: Callable[[int, SgnsInfo], object] | None = None,
) -> Training:
    r"""Word vectors from a corpus by skip-gram with negative sampling, as word2vec trains them.

    $$\min_{v, u} \sum_{\text{pairs } (w, c)} \Bigl[ \mathrm{softplus}(-v_w^\top u_c)
      + k\, \mathbb{E}_{z \sim q}\, \mathrm{softplus}(v_w^\top u_z) \Bigr].$$

    Args:
        key: from `jax.random.key`.
        tokens: word ids in [0, vocabulary_size) in reading order, shape `(n,)`.
        vocabulary_size: V.
        dimension: d of the vectors.
        window: w; each centre draws its reach uniformly from 1..w.
        negatives: k, noise draws a pair in expectation.
        exponent: alpha of the noise q, a power of the word frequency.
        log_weights: another noise law, unnormalised, nats, shape `(V,)`.
        epochs: passes over the corpus.
        learning_rate: of the first step; it falls linearly to 0.
        threshold: of the subsampling, a share of the tokens; None keeps every token.
        sentence: label of the sentence of each token, shape `(n,)`; no window crosses a change of label.
        block_size: tokens a block; see `sgns_plan`, also for the next two.
        blocks_per_step: blocks whose updates are summed.
        noise_per_block: noise draws shared by a block.
        dtype: of the tables.
        progress: called after each epoch with its number, from 0, and its `SgnsInfo`.

    Returns:
        `Training(embedding, losses)`. The same key gives the same bits on a CPU; an accelerator may add rows in
        another order.

    Raises:
        ValueError: as `sgns_plan`, or dimension < 1.
        TypeError: as `sgns_plan`.
        FloatingPointError: the loss of an epoch is not finite: the steps were too large.

    Exact SGNS gradient in expectation, blockwise: see `sgns_epoch` for what differs from word2vec.

    Example:
        >>> text = jnp.array([0, 1, 0, 1, 2, 3, 2, 3] * 50)
        >>> trained = train_sgns(jax.random.key(0), text, vocabulary_size=4, dimension=4, window=1, threshold=None)
        >>> trained.embedding.word.shape, bool(trained.losses[-1] < trained.losses[0])
        ((4, 4), True)

    References:
        [mikolov2013distributed, sec. 2.2], [goldberg2014word2vec]
    """
    plan = sgns_plan(
        tokens,
        vocabulary_size=vocabulary_size,
        window=window,
        negatives=negatives,
        exponent=exponent,
        log_weights=log_weights,
        epochs=epochs,
        learning_rate=learning_rate,
        threshold=threshold,
        sentence=sentence,
        block_size=block_size,
        blocks_per_step=blocks_per_step,
        noise_per_block=noise_per_block,
    )
    init_key, *epoch_keys = jax.random.split(key, epochs + 1)
    state = sgns_init(init_key, plan, dimension=dimension, dtype=dtype)
    losses = []
    for epoch, epoch_key in enumerate(epoch_keys):
        state, info = _epoch_in_place(epoch_key, plan, state)
        losses.append(_finite_loss(info, epoch, plan))
        if progress is not None:
            progress(epoch, info)
    return Training(state.embedding, np.asarray(losses))


def _finite_loss(info: SgnsInfo, epoch: int, plan: SgnsPlan) -> float:
    loss = float(info.loss)
    if not np.isfinite(loss):
        raise FloatingPointError(
            f"training diverged in epoch {epoch}: the loss is {loss}. Lower learning_rate "
            f"({float(plan.learning_rate):g}) or blocks_per_step ({plan.blocks_per_step})."
        )
    return loss


def sgns_init(
    key: Key[Array, ""], plan: SgnsPlan, *, dimension: int = 100, dtype: jnp.dtype = jnp.float32
) -> SgnsState:
    r"""Tables as word2vec starts them.

    $$v_{wi} \sim \mathrm{Uniform}(-\tfrac{1}{2d}, \tfrac{1}{2d}), \qquad u = 0 .$$

    Args:
        key: from `jax.random.key`.
        plan: of the corpus.
        dimension: d >= 1.
        dtype: of the tables.

    Returns:
        `SgnsState` at step 0. Every score starts at 0, a loss of (1 + k) log 2 a pair.

    Raises:
        ValueError: dimension < 1.

    Exact.

    Example:
        >>> plan = sgns_plan([0, 1, 2, 1], vocabulary_size=3)
        >>> sgns_init(jax.random.key(0), plan, dimension=2).embedding.word.shape
        (3, 2)

    References:
        [mikolov2013distributed]
    """
    require_count("dimension", dimension)
    shape = (plan.keep.size, dimension)
    word = jax.random.uniform(key, shape, dtype, minval=-0.5 / dimension, maxval=0.5 / dimension)
    return SgnsState(Embedding(word, jnp.zeros(shape, dtype)), jnp.int32(0))


@jax.jit
def sgns_epoch(key: Key[Array, ""], plan: SgnsPlan, state: SgnsState) -> tuple[SgnsState, SgnsInfo]:
    r"""One pass over the corpus: thin, lay windows, draw noise, and step through the blocks.

    $$\theta \leftarrow \theta - \eta_t \sum_{B \in \text{step } t} \nabla L_B(\theta), \qquad
      \eta_t = \eta_0\,\Bigl(1 - \frac{t}{\text{epochs} \cdot \text{steps}}\Bigr),$$

    with L_B the `block_loss`. Only the rows that occur are gathered and added to.

    Args:
        key: from `jax.random.key`, a new one each epoch.
        plan: of the corpus.
        state: from `sgns_init` or the epoch before. Beyond the last planned epoch the learning rate is 0.

    Returns:
        The next `SgnsState`, and `SgnsInfo`.

    Exact in expectation: a step's update is minus eta times the sum of the SGNS gradients of its pairs, with k noise
    draws expected for each. Different from word2vec: (1) the pairs of a step see the parameters from before it, not
    from before the pair; (2) the s noise words of a block are shared by its pairs, so their draws are not
    independent; (3) noise that hits the pair's own context counts, as in the objective, where word2vec skips it;
    (4) an epoch reads b stretches of the corpus side by side. Nothing is clipped or averaged: `sgns_plan` keeps the
    step small enough. Biased by what (1) leaves out, which grows with learning rate times blocks_per_step.

    Example:
        >>> plan = sgns_plan([0, 1] * 20, vocabulary_size=2, threshold=None)
        >>> start_key, epoch_key = jax.random.split(jax.random.key(0))
        >>> state, info = sgns_epoch(epoch_key, plan, sgns_init(start_key, plan, dimension=2))
        >>> int(state.step) == plan.steps, bool(info.loss <= 6 * jnp.log(2))
        (True, True)

    References:
        [mikolov2013distributed, sec. 2.2], [goldberg2014word2vec]
    """
    block_key, noise_key = jax.random.split(key)
    blocks = sample_blocks(block_key, plan)
    noise = draw_alias(noise_key, plan.noise, (plan.steps, plan.blocks_per_step, plan.noise_per_block))
    (embedding, step), (losses, pairs) = jax.lax.scan(partial(_step, plan), tuple(state), (blocks, noise))
    info = SgnsInfo(
        loss=jnp.sum(losses) / jnp.maximum(jnp.sum(pairs), 1),
        num_pairs=jnp.sum(blocks.left) + jnp.sum(blocks.right),
        learning_rate=_rate(plan, step - 1),
    )
    return SgnsState(embedding, step), info


_epoch_in_place = jax.jit(sgns_epoch.__wrapped__, donate_argnames="state")


def _step(plan: SgnsPlan, carry: tuple, batch: tuple[Block, Array]) -> tuple[tuple, tuple]:
    """Update by the sum over b blocks; report the loss and the pairs of one of them, every stretch in turn."""
    embedding, step = carry
    dtype = embedding.word.dtype
    negatives, rate = plan.negatives.astype(dtype), _rate(plan, step).astype(dtype)
    update, scores, weight = jax.vmap(update_and_scores, (None, 0, 0, None, None))(embedding, *batch, negatives, rate)
    watched = step % plan.blocks_per_step
    loss = signed_loss(scores[watched], weight[watched])
    pairs = jnp.sum(batch[0].left[watched]) + jnp.sum(batch[0].right[watched])
    return (_add_rows(embedding, update), step + 1), (loss, pairs)


def _rate(plan: SgnsPlan, step: Array) -> Array:
    done = step.astype(plan.learning_rate.dtype) / (plan.epochs * plan.steps)
    return plan.learning_rate * jnp.maximum(1 - done, 0)


def _add_rows(embedding: Embedding, update: BlockUpdate) -> Embedding:
    return Embedding(
        embedding.word.at[update.word_ids].add(update.word),
        embedding.context.at[update.context_ids].add(update.context),
    )
