"""What the trainer of a hierarchy needs to know, found once on the host: laws of negatives, and how many steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import require_count, require_finite, require_log_weights, require_positive
from nsx._types import Array, ArrayLike, Float, Int
from nsx.poincare._geometries import Geometry, ball_geometry
from nsx.poincare._hierarchy import _as_pairs
from nsx.poincare._negatives import NoiseLaw, noise_law

DRAWS_AT_ONCE = 1 << 18  # negatives drawn together stay in a core's cache


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["relations", "noise", "burn_in_noise", "learning_rate", "burn_in", "burn_in_rate"],
    meta_fields=["geometry", "num_nodes", "negatives", "batch_size", "chunks", "steps"],
)
@dataclass(frozen=True)
class HierarchyPlan:
    """A hierarchy ready for training; a pytree whose geometry and whole numbers are static.

    Attributes:
        relations: int32 `(m, 2)`, (node, ancestor).
        noise: law of the negatives, without each anchor and its ancestors.
        burn_in_noise: their law during burn-in.
        learning_rate: of one relation.
        burn_in: epochs of burn-in.
        burn_in_rate: factor of the learning rate during it.
        geometry: where the points live.
        num_nodes: n.
        negatives: k of a relation.
        batch_size: b, relations a step.
        chunks: of an epoch; the negatives of each are drawn at once.
        steps: of a chunk; chunks * steps * b >= m.
    """

    relations: Array
    noise: NoiseLaw
    burn_in_noise: NoiseLaw
    learning_rate: Array
    burn_in: Array
    burn_in_rate: Array
    geometry: Geometry
    num_nodes: int
    negatives: int
    batch_size: int
    chunks: int
    steps: int


def hierarchy_plan(
    relations: Int[ArrayLike, "m 2"],
    *,
    num_nodes: int,
    geometry: Geometry | None = None,
    negatives: int = 50,
    learning_rate: float = 0.03,
    batch_size: int = 10,
    burn_in: int = 20,
    burn_in_rate: float = 0.1,
    dampening: float = 0.75,
    log_weights: Float[ArrayLike, " n"] | None = None,
) -> HierarchyPlan:
    r"""Look at a hierarchy once: the laws of the negatives of each node, and how an epoch is cut into steps.

    $$q_u(v) \propto [v \ne u,\ v \notin \mathrm{anc}(u)]\, q_v, \qquad
      q_v = \#\{u : v \in \mathrm{anc}(u)\}^{\text{dampening}} \text{ during burn-in, } 1 \text{ after.}$$

    Args:
        relations: (node, ancestor) ids in [0, num_nodes), shape `(m, 2)`; closed pairs, as of `transitive_closure`,
            or any other directed pairs without loops.
        num_nodes: n. A node in no relation, isolated, is drawn as a negative and stays an anchor of none.
        geometry: None is `ball_geometry()`.
        negatives: k >= 1, drawn with replacement for each relation.
        learning_rate: of one relation. Steps sum over their relations: code that averages over a batch of b, as the
            published code does, gives b times this number as its rate.
        batch_size: b >= 1, relations a step.
        burn_in: epochs at the start with a smaller rate and frequent ancestors as negatives, >= 0.
        burn_in_rate: factor of the learning rate during burn-in.
        dampening: exponent of the counts.
        log_weights: another law q after burn-in, unnormalised, nats, shape `(n,)`; None is uniform.

    Returns:
        `HierarchyPlan`. Descendants of the anchor may be negatives, as in the published code.

    Raises:
        ValueError: an id out of range, a node that is its own ancestor, no relation with any negative, a law that
            does not fit, or a number that is too small.
        TypeError: ids or whole numbers that are not.

    Exact: draws follow the law above to 2^-30, without rejection. Where an anchor has no negative left, its
    relations are passed over.

    Example:
        >>> plan = hierarchy_plan([[1, 0], [2, 0], [2, 1]], num_nodes=4, batch_size=2)
        >>> plan.chunks, plan.steps, plan.noise.room.tolist()
        (1, 2, [3, 2, 1, 3])

    References:
        [nickel2017poincare, sec. 3 and 4.1]
    """
    pairs = np.unique(_as_pairs("relations", relations, num_nodes), axis=0).astype(np.int32)
    _require_sizes(negatives=negatives, batch_size=batch_size, burn_in=burn_in)
    _refuse_loops(pairs)
    for name, value in (("learning_rate", learning_rate), ("burn_in_rate", burn_in_rate)):
        require_positive(name, value)
    require_finite("dampening", dampening)
    noise = noise_law(pairs, num_nodes, _probabilities(log_weights, num_nodes))
    if not np.any(np.asarray(noise.room)[pairs[:, 0]] > 0):
        raise ValueError("every node is related to all others, so there is no negative to draw. Give fewer relations.")
    steps = -(-len(pairs) // batch_size)
    chunks = -(-steps // max(1, DRAWS_AT_ONCE // (batch_size * negatives)))
    return HierarchyPlan(
        jnp.asarray(pairs),
        noise,
        noise_law(pairs, num_nodes, _frequencies(pairs, num_nodes, dampening)),
        jnp.asarray(float(learning_rate)),
        jnp.asarray(int(burn_in), jnp.int32),
        jnp.asarray(float(burn_in_rate)),
        geometry=ball_geometry() if geometry is None else geometry,
        num_nodes=num_nodes,
        negatives=negatives,
        batch_size=batch_size,
        chunks=chunks,
        steps=-(-steps // chunks),
    )


def _require_sizes(*, negatives: int, batch_size: int, burn_in: int) -> None:
    require_count("negatives", negatives)
    require_count("batch_size", batch_size)
    require_count("burn_in", burn_in, minimum=0)


def _refuse_loops(pairs: np.ndarray) -> None:
    loops = pairs[pairs[:, 0] == pairs[:, 1], 0]
    if loops.size:
        raise ValueError(f"node {loops[0]} is given as its own ancestor ({loops.size} such pairs). Remove these pairs.")


def _probabilities(log_weights: ArrayLike | None, num_nodes: int) -> np.ndarray | None:
    if log_weights is None:
        return None
    host = np.asarray(log_weights, np.float64)
    if host.shape != (num_nodes,):
        raise ValueError(f"log_weights must have one entry a node, ({num_nodes},), got {host.shape}.")
    require_log_weights(host)
    weights = np.exp(host - host.max())
    return weights / weights.sum()


def _frequencies(pairs: np.ndarray, num_nodes: int, dampening: float) -> np.ndarray:
    """Counts as an ancestor to the power of dampening, normalised; a node that is none has probability 0."""
    counts = np.bincount(pairs[:, 1], minlength=num_nodes).astype(np.float64)
    weights = np.where(counts > 0, np.maximum(counts, 1) ** dampening, 0)
    return weights / weights.sum()
