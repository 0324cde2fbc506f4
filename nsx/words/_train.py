"""Skip-gram with negative sampling on a corpus: the loop over epochs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from nsx._epochs import Store, fingerprint, run_epochs
from nsx._rows import trim_rows
from nsx._types import Array, ArrayLike, Float, Int, Key
from nsx.words._blocks import Embedding
from nsx.words._epoch import SgnsInfo, epoch_in_place, sgns_init
from nsx.words._plan import SgnsPlan, sgns_plan


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
    mesh: Mesh | None = None,
    checkpoints: Store | None = None,
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
        mesh: devices that share the work of each step and the rows of the tables, from `jax.make_mesh`; None is one.
        checkpoints: `nsx.checkpoints.Checkpoints`; the run goes on after the last epoch found there.

    Returns:
        `Training(embedding, losses)`. The same key gives the same bits on a CPU, in one go or after an interruption;
        an accelerator may add rows in another order, and so may a mesh. On a mesh the tables stay shared out if V is
        a multiple of its devices.

    Raises:
        ValueError: as `sgns_plan`, or dimension < 1.
        TypeError: as `sgns_plan`.
        FloatingPointError: the loss of an epoch is not finite: the steps were too large.
        CheckpointError: see `nsx.checkpoints.Checkpoints`.

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
    run = "" if checkpoints is None else fingerprint(key, plan, plan.window, plan.epochs, dimension, *_shapes(plan))
    init_key, *keys = jax.random.split(key, epochs + 1)
    state, losses = run_epochs(
        keys.__getitem__,
        sgns_init(init_key, plan, dimension=dimension, dtype=dtype, mesh=mesh),
        lambda epoch_key, state: epoch_in_place(epoch_key, plan, state, mesh=mesh),
        lambda info, epoch: _finite_loss(info, epoch, plan),
        epochs=epochs,
        run=run,
        checkpoints=checkpoints,
        progress=progress,
    )
    return Training(jax.tree.map(lambda table: trim_rows(table, vocabulary_size), state.embedding), losses)


def _shapes(plan: SgnsPlan) -> tuple[int, int, int]:
    return plan.block_size, plan.blocks_per_step, plan.noise_per_block


def _finite_loss(info: SgnsInfo, epoch: int, plan: SgnsPlan) -> float:
    loss = float(info.loss)
    if not np.isfinite(loss):
        raise FloatingPointError(
            f"training diverged in epoch {epoch}: the loss is {loss}. Lower learning_rate "
            f"({float(plan.learning_rate):g}) or blocks_per_step ({plan.blocks_per_step})."
        )
    return loss
