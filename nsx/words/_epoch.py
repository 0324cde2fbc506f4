"""Start the tables of skip-gram training and run an epoch over them: pure array code over a `SgnsPlan`."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from nsx._checks import require_count
from nsx._epochs import in_place
from nsx._rows import Axes, add, locate, place_rows, require_shared, scan_steps, take, zero_count
from nsx._sums import read_wide, sum_type, wide_count
from nsx._types import Array, DTypeLike, Key
from nsx.samplers import draw_alias
from nsx.words._blocks import Block, Embedding, block_rows, sample_blocks, signed_loss, update_and_scores
from nsx.words._plan import SgnsPlan


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
        loss: nats per pair, on one block of each step, scored before it is learnt from, summed in float32 or wider;
            NaN where those blocks held no pair.
        watched_pairs: pairs that the loss is a mean of, a float.
        pair_count: uint32 `(2,)`, pairs trained on, as high and low 32 bits: see `num_pairs`.
        learning_rate: of the epoch's last step.
    """

    loss: Array
    watched_pairs: Array
    pair_count: Array
    learning_rate: Array

    @property
    def num_pairs(self) -> int:
        """Pairs trained on, a Python integer: an epoch may have more than 2^31. Outside jit only."""
        return read_wide(self.pair_count)


def sgns_init(
    key: Key[Array, ""],
    plan: SgnsPlan,
    *,
    dimension: int = 100,
    dtype: DTypeLike = jnp.float32,
    mesh: Mesh | None = None,
) -> SgnsState:
    r"""Tables as word2vec starts them.

    $$v_{wi} \sim \mathrm{Uniform}(-\tfrac{1}{2d}, \tfrac{1}{2d}), \qquad u = 0 .$$

    Args:
        key: from `jax.random.key`.
        plan: of the corpus.
        dimension: d >= 1.
        dtype: of the tables, a floating type; what is summed is summed in float32 at least.
        mesh: devices that share the rows of the tables; None keeps them on one.

    Returns:
        `SgnsState` at step 0. Every score starts at 0, a loss of (1 + k) log 2 per pair. On a mesh, rows of zeros make
        V a multiple of its devices; no word has them, and they stay 0.

    Raises:
        ValueError: dimension < 1.
        TypeError: a dtype that is not floating.

    Exact.

    Example:
        >>> plan = sgns_plan([0, 1, 2, 1], vocabulary_size=3)
        >>> sgns_init(jax.random.key(0), plan, dimension=2).embedding.word.shape
        (3, 2)

    References:
        [mikolov2013distributed]
    """
    require_count("dimension", dimension)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"dtype must be a floating type, got {dtype}.")
    return SgnsState(_start(key, (plan.keep.size, dimension), jnp.dtype(dtype), mesh), zero_count(mesh))


@partial(jax.jit, static_argnums=(1, 2, 3))
def _start(key: Array, shape: tuple[int, int], dtype: DTypeLike, mesh: Mesh | None) -> Embedding:
    word = jax.random.uniform(key, shape, dtype, minval=-0.5 / shape[1], maxval=0.5 / shape[1])
    return Embedding(place_rows(word, mesh), place_rows(jnp.zeros(shape, dtype), mesh))


@partial(jax.jit, static_argnames="mesh")
def sgns_epoch(
    key: Key[Array, ""], plan: SgnsPlan, state: SgnsState, *, mesh: Mesh | None = None
) -> tuple[SgnsState, SgnsInfo]:
    r"""One pass over the corpus: thin, lay windows, draw noise, and step through the blocks.

    $$\theta \leftarrow \theta - \eta_t \sum_{B \in \text{step } t} \nabla L_B(\theta), \qquad
      \eta_t = \eta_0\,\Bigl(1 - \frac{t}{\text{epochs} \cdot \text{steps}}\Bigr),$$

    with L_B the `block_loss`. Only the rows that occur are gathered and added to.

    Args:
        key: from `jax.random.key`, a new one per epoch.
        plan: of the corpus.
        state: from `sgns_init` or the epoch before. Beyond the last planned epoch the learning rate is 0.
        mesh: devices that share the blocks of each step and the rows of the tables, which `sgns_init` placed on it;
            None is one device.

    Returns:
        The next `SgnsState`, and `SgnsInfo`; the same to rounding on any mesh.

    Raises:
        ValueError: tables whose rows the mesh cannot share.

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
        >>> int(state.step), info.num_pairs, round(float(info.loss), 2)
        (5, 219, 3.7)

    References:
        [mikolov2013distributed, sec. 2.2], [goldberg2014word2vec]
    """
    block_key, noise_key = jax.random.split(key)
    blocks = sample_blocks(block_key, plan)
    noise = draw_alias(noise_key, plan.noise, (plan.steps, plan.blocks_per_step, plan.noise_per_block))
    require_shared(state.embedding.word, mesh, name="tables", start="sgns_init")
    (embedding, step), (losses, pairs) = scan_steps(_step, plan, tuple(state), (blocks, noise), mesh)
    watched = jnp.sum(pairs.astype(losses.dtype))
    info = SgnsInfo(
        loss=jnp.sum(losses) / watched,
        watched_pairs=watched,
        pair_count=wide_count(jnp.sum(blocks.left + blocks.right, axis=-1)),
        learning_rate=_rate(plan, step - 1),
    )
    return SgnsState(embedding, step), info


epoch_in_place = in_place(sgns_epoch)


def _step(plan: SgnsPlan, axes: Axes, carry: tuple, batch: tuple[Block, Array]) -> tuple[tuple, tuple]:
    """Update by the sum over b blocks; report the loss and the pairs of one of them, every stretch in turn."""
    embedding, step = carry
    dtype = sum_type(embedding.word.dtype)
    negatives = plan.negatives.astype(dtype)
    rate = _rate(plan, step).astype(dtype)
    rows = jax.vmap(block_rows)(*batch)
    places = tuple(locate(table, ids, axes) for table, ids in zip(embedding, rows, strict=True))
    vectors = tuple(take(table, place, axes).astype(dtype) for table, place in zip(embedding, places, strict=True))
    learn = jax.vmap(update_and_scores, (0, 0, 0, None, None))
    update, scores, weight = learn(rows, vectors, batch[0], negatives, rate)
    watched = _watch(step % plan.blocks_per_step, scores, weight, batch[0], axes)
    word, context = (
        add(table, place, change.astype(table.dtype), axes)
        for table, place, change in zip(embedding, places, (update.word, update.context), strict=True)
    )
    return (Embedding(word, context), step + 1), watched


def _watch(number: Array, scores: Array, weight: Array, blocks: Block, axes: Axes) -> tuple[Array, Array]:
    """Loss and pairs of one block of a step, wherever it is held."""
    mine = number if axes is None else number - jax.lax.axis_index(axes) * len(scores)
    loss = signed_loss(scores[mine], weight[mine])
    pairs = jnp.sum(blocks.left[mine]) + jnp.sum(blocks.right[mine])
    if axes is None:
        return loss, pairs
    held = (mine >= 0) & (mine < len(scores))
    return jax.lax.psum((jnp.where(held, loss, 0), jnp.where(held, pairs, 0)), axes)


def _rate(plan: SgnsPlan, step: Array) -> Array:
    done = step.astype(plan.learning_rate.dtype) / (plan.epochs * plan.steps)
    return plan.learning_rate * jnp.maximum(1 - done, 0)
