"""Start the tables of skip-gram training and run an epoch over them: pure array code over a `SgnsPlan`."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from nsx._checks import require_count
from nsx._rows import Axes, add, by_rows, locate, place_rows, require_shared, share_out, take, zero_count
from nsx._types import Array, Key
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
        loss: nats per pair, on one block of each step, scored before it is learnt from; 0 where it held no pair.
        num_pairs: int32, pairs trained on.
        learning_rate: of the epoch's last step.
    """

    loss: Array
    num_pairs: Array
    learning_rate: Array


def sgns_init(
    key: Key[Array, ""],
    plan: SgnsPlan,
    *,
    dimension: int = 100,
    dtype: jnp.dtype = jnp.float32,
    mesh: Mesh | None = None,
) -> SgnsState:
    r"""Tables as word2vec starts them.

    $$v_{wi} \sim \mathrm{Uniform}(-\tfrac{1}{2d}, \tfrac{1}{2d}), \qquad u = 0 .$$

    Args:
        key: from `jax.random.key`.
        plan: of the corpus.
        dimension: d >= 1.
        dtype: of the tables.
        mesh: devices that share the rows of the tables; None keeps them on one.

    Returns:
        `SgnsState` at step 0. Every score starts at 0, a loss of (1 + k) log 2 a pair. On a mesh, rows of zeros make
        V a multiple of its devices; no word has them, and they stay 0.

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
    return SgnsState(_start(key, (plan.keep.size, dimension), jnp.dtype(dtype), mesh), zero_count(mesh))


@partial(jax.jit, static_argnums=(1, 2, 3))
def _start(key: Array, shape: tuple[int, int], dtype: jnp.dtype, mesh: Mesh | None) -> Embedding:
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
        key: from `jax.random.key`, a new one each epoch.
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
        >>> int(state.step) == plan.steps, bool(info.loss <= 6 * jnp.log(2))
        (True, True)

    References:
        [mikolov2013distributed, sec. 2.2], [goldberg2014word2vec]
    """
    block_key, noise_key = jax.random.split(key)
    blocks = sample_blocks(block_key, plan)
    noise = draw_alias(noise_key, plan.noise, (plan.steps, plan.blocks_per_step, plan.noise_per_block))
    (embedding, step), (losses, pairs) = _walk(plan, tuple(state), (blocks, noise), mesh)
    info = SgnsInfo(
        loss=jnp.sum(losses) / jnp.maximum(jnp.sum(pairs), 1),
        num_pairs=jnp.sum(blocks.left) + jnp.sum(blocks.right),
        learning_rate=_rate(plan, step - 1),
    )
    return SgnsState(embedding, step), info


epoch_in_place = jax.jit(sgns_epoch.__wrapped__, static_argnames="mesh", donate_argnames="state")


def _walk(plan: SgnsPlan, carry: tuple, batches: tuple[Block, Array], mesh: Mesh | None) -> tuple[tuple, tuple]:
    """Step through the blocks; on a mesh each device takes its part of every step's."""
    if mesh is None:
        return jax.lax.scan(partial(_step, plan, None), carry, batches)
    require_shared(carry[0].word, mesh, name="tables", start="sgns_init")
    axes, once = mesh.axis_names, PartitionSpec()
    walk = jax.shard_map(
        lambda plan, carry, batches: jax.lax.scan(partial(_step, plan, axes), carry, batches),
        mesh=mesh,
        in_specs=(once, (by_rows(mesh), once), PartitionSpec(None, axes)),
        out_specs=((by_rows(mesh), once), once),
    )
    return walk(plan, carry, jax.tree.map(lambda x: share_out(x, 1, mesh), batches))


def _step(plan: SgnsPlan, axes: Axes, carry: tuple, batch: tuple[Block, Array]) -> tuple[tuple, tuple]:
    """Update by the sum over b blocks; report the loss and the pairs of one of them, every stretch in turn."""
    embedding, step = carry
    dtype = embedding.word.dtype
    negatives, rate = plan.negatives.astype(dtype), _rate(plan, step).astype(dtype)
    rows = jax.vmap(block_rows)(*batch)
    places = tuple(locate(table, ids, axes) for table, ids in zip(embedding, rows, strict=True))
    vectors = tuple(take(table, place, axes) for table, place in zip(embedding, places, strict=True))
    learn = jax.vmap(update_and_scores, (0, 0, 0, None, None))
    update, scores, weight = learn(rows, vectors, batch[0], negatives, rate)
    watched = _watch(step % plan.blocks_per_step, scores, weight, batch[0], axes)
    word, context = (
        add(table, place, change, axes)
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
