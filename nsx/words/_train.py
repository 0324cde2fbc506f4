"""Skip-gram with negative sampling on a corpus: the loop over epochs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from nsx._epochs import Store, fingerprint, require_finite_loss, run_epochs
from nsx._rows import trim_rows
from nsx._types import Array, ArrayLike, Int, Key
from nsx.words._blocks import Embedding
from nsx.words._epoch import SgnsInfo, SgnsState, epoch_in_place, sgns_init
from nsx.words._plan import SgnsPlan, sgns_plan


class Training(NamedTuple):
    """Result of `train_sgns`.

    Attributes:
        embedding: `Embedding(word, context)`, `(V, d)` each.
        losses: of each epoch, nats per pair, NumPy, shape `(epochs,)`; NaN where no pair was looked at.
    """

    embedding: Embedding
    losses: np.ndarray


def train_sgns(
    key: Key[Array, ""],
    tokens: Int[ArrayLike, " n"] | SgnsPlan,
    *,
    dimension: int = 100,
    dtype: jnp.dtype = jnp.float32,
    progress: Callable[[int, SgnsInfo], object] | None = None,
    mesh: Mesh | None = None,
    checkpoints: Store | None = None,
    **options: Any,
) -> Training:
    r"""Word vectors from a corpus by skip-gram with negative sampling, as word2vec trains them.

    $$\min_{v, u} \sum_{\text{pairs } (w, c)} \Bigl[ \mathrm{softplus}(-v_w^\top u_c)
      + k\, \mathbb{E}_{z \sim q}\, \mathrm{softplus}(v_w^\top u_z) \Bigr].$$

    Args:
        key: from `jax.random.key`.
        tokens: word ids in reading order, shape `(n,)`; or a plan of them, from `sgns_plan`.
        dimension: d of the vectors.
        dtype: of the tables, a floating type; what is summed is summed in float32 at least.
        progress: called after each epoch with its number, from 0, and its `SgnsInfo`.
        mesh: devices that share the work of each step and the rows of the tables, from `jax.make_mesh`; None is one.
        checkpoints: `nsx.checkpoints.Checkpoints`; the run goes on after the last epoch found there.
        options: with tokens, what `sgns_plan` takes: `vocabulary_size`, which has no default, `window=5`,
            `negatives=5` (k), `exponent=0.75`, `log_weights`, `epochs=5`, `learning_rate=0.025`, `threshold=1e-3`,
            `sentence`, `block_size`, `blocks_per_step`, `noise_per_block`. With a plan, none.

    Returns:
        `Training(embedding, losses)`. The same key gives the same bits on a CPU, in one go or after an interruption;
        an accelerator may add rows in another order, and so may a mesh. On a mesh the tables stay shared out if V is
        a multiple of its devices.

    Raises:
        ValueError: as `sgns_plan`, or dimension < 1.
        TypeError: as `sgns_plan`, options beside a plan, or a dtype that is not floating.
        FloatingPointError: the loss of an epoch is not finite though it saw pairs: the steps were too large.
        CheckpointError: see `nsx.checkpoints.Checkpoints`.

    Exact SGNS gradient in expectation, blockwise: see `sgns_epoch` for what differs from word2vec.

    Example:
        >>> text = jnp.array([0, 1, 0, 1, 2, 3, 2, 3] * 50)
        >>> trained = train_sgns(jax.random.key(0), text, vocabulary_size=4, dimension=4, window=1, threshold=None)
        >>> trained.embedding.word.shape, trained.losses.round(2).tolist()
        ((4, 4), [3.57, 2.26, 2.08, 2.07, 2.02])

    References:
        [mikolov2013distributed, sec. 2.2], [goldberg2014word2vec]
    """
    plan = _as_plan(tokens, options)
    run = "" if checkpoints is None else fingerprint(key, plan, plan.window, plan.epochs, dimension, *_shapes(plan))
    init_key, *keys = jax.random.split(key, plan.epochs + 1)

    def advance(epoch_key: Array, state: SgnsState) -> tuple[SgnsState, SgnsInfo]:
        return epoch_in_place(epoch_key, plan, state, mesh=mesh)

    def loss_of(info: SgnsInfo, epoch: int) -> float:
        return _finite_loss(info, epoch, plan)

    state, losses = run_epochs(
        keys.__getitem__,
        sgns_init(init_key, plan, dimension=dimension, dtype=dtype, mesh=mesh),
        advance,
        loss_of,
        epochs=plan.epochs,
        run=run,
        checkpoints=checkpoints,
        progress=progress,
    )
    return Training(jax.tree.map(lambda table: trim_rows(table, plan.keep.size), state.embedding), losses)


def _as_plan(tokens: ArrayLike | SgnsPlan, options: dict[str, Any]) -> SgnsPlan:
    """The plan given, or one made of the tokens."""
    if not isinstance(tokens, SgnsPlan):
        return sgns_plan(tokens, **options)
    if options:
        raise TypeError(f"a plan has its options already, got {', '.join(options)} too. Give them to sgns_plan.")
    return tokens


def _shapes(plan: SgnsPlan) -> tuple[int, int, int]:
    return plan.block_size, plan.blocks_per_step, plan.noise_per_block


def _finite_loss(info: SgnsInfo, epoch: int, plan: SgnsPlan) -> float:
    """The loss of an epoch; NaN where no pair was looked at, an error where it diverged."""
    if float(info.watched_pairs) == 0:
        return float("nan")
    advice = f"Lower learning_rate ({float(plan.learning_rate):g}) or blocks_per_step ({plan.blocks_per_step})."
    return require_finite_loss(info.loss, epoch, advice=advice)
