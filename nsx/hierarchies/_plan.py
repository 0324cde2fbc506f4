"""What the trainer of a hierarchy needs to know, found once on the host: laws of negatives, and how many steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import (
    as_float,
    as_floats,
    is_concrete,
    require_count,
    require_finite,
    require_log_weights,
    require_positive,
)
from nsx._types import Array, ArrayLike, Float, Int
from nsx.hierarchies._closure import as_pairs, refuse_loops
from nsx.hierarchies._geometries import Geometry, Scale, ball_geometry
from nsx.hierarchies._negatives import NoiseLaw, noise_law

DRAWS_AT_ONCE = 1 << 18  # negatives drawn together stay in a core's cache
MOST_SLOTS = 2**31 - 1  # relations are numbered in 32 bits


@partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "relations",
        "noise",
        "burn_in_noise",
        "learning_rate",
        "burn_in",
        "burn_in_rate",
        "temperature",
        "scale",
    ],
    meta_fields=["geometry", "num_nodes", "negatives", "batch_size", "chunks", "steps"],
)
@dataclass(frozen=True)
class Plan:
    """A hierarchy ready for training; a pytree whose geometry and whole numbers are static.

    Attributes:
        relations: int32 `(m, 2)`, (node, ancestor).
        noise: law of the negatives, without each anchor and its ancestors.
        burn_in_noise: their law during burn-in.
        learning_rate: of one relation.
        burn_in: epochs of burn-in.
        burn_in_rate: factor of the learning rate during it.
        temperature: divides the distances.
        scale: `Scale` of the geometry, its curvature and what the temperature makes of its closeness.
        geometry: where the points live.
        num_nodes: n.
        negatives: k per relation.
        batch_size: b, relations per step.
        chunks: of an epoch; the negatives of each are drawn at once.
        steps: of a chunk; chunks * steps * b >= m.
    """

    relations: Array
    noise: NoiseLaw
    burn_in_noise: NoiseLaw
    learning_rate: Array
    burn_in: Array
    burn_in_rate: Array
    temperature: Array
    scale: Scale
    geometry: Geometry
    num_nodes: int
    negatives: int
    batch_size: int
    chunks: int
    steps: int


def plan(
    relations: Int[ArrayLike, "m 2"],
    *,
    num_nodes: int,
    geometry: Geometry | None = None,
    curvature: Float[ArrayLike, ""] | None = None,
    temperature: Float[ArrayLike, ""] = 1.0,
    negatives: int = 50,
    learning_rate: Float[ArrayLike, ""] = 0.03,
    batch_size: int = 10,
    burn_in: int = 20,
    burn_in_rate: Float[ArrayLike, ""] = 0.1,
    dampening: float = 0.75,
    log_weights: Float[ArrayLike, " n"] | None = None,
) -> Plan:
    r"""Look at a hierarchy once: the laws of the negatives of each node, and how an epoch is cut into steps.

    $$q_u(v) \propto [v \ne u,\ v \notin \mathrm{anc}(u)]\, q_v, \qquad
      q_v = \#\{u : v \in \mathrm{anc}(u)\}^{\text{dampening}} \text{ during burn-in, } 1 \text{ after.}$$

    Args:
        relations: (node, ancestor) ids in [0, num_nodes), shape `(m, 2)`; closed pairs, as of `transitive_closure`,
            or any other directed pairs without loops.
        num_nodes: n. A node in no relation, isolated, is drawn as a negative and stays an anchor of none.
        geometry: None is `ball_geometry()`.
        curvature: c > 0 of the ball or the hyperboloid; None is 1. Flat space takes none.
        temperature: tau > 0; a pair scores minus its distance over tau.
        negatives: k >= 1, drawn with replacement for each relation.
        learning_rate: of one relation. Steps sum over their relations: code that averages over a batch of b, as the
            published code does, gives b times this number as its rate.
        batch_size: b >= 1, relations per step.
        burn_in: epochs at the start with a smaller rate and frequent ancestors as negatives, >= 0.
        burn_in_rate: factor of the learning rate during burn-in.
        dampening: exponent of the counts.
        log_weights: another law q after burn-in, unnormalised, nats, shape `(n,)`; None is uniform.

    Returns:
        `Plan`. Descendants of the anchor may be negatives, as in the published code. Where burn-in's law has no
        negative for any relation, burn-in draws from the law after it. Training at curvature c with rate eta is
        training at curvature 1 in the coordinates sqrt(c) x with temperature sqrt(c) tau and rate c eta. A traced
        curvature, temperature or rate outside its domain makes every loss and point NaN.

    Raises:
        ValueError: an id out of range, a node that is its own ancestor, no relation with any negative, a law that
            does not fit, a number that is too small, or a curvature of flat space.
        TypeError: ids or whole numbers that are not, or traced relations.

    Exact: draws follow the law above to 2^-30, without rejection. Where an anchor has no negative left, its
    relations are passed over.

    Example:
        >>> ready = plan([[1, 0], [2, 0], [2, 1]], num_nodes=4, batch_size=2)
        >>> ready.chunks, ready.steps, ready.noise.room.tolist()
        (1, 2, [3, 2, 1, 3])

    References:
        [nickel2017poincare, sec. 3 and 4.1]
    """
    pairs = np.unique(as_pairs("relations", relations, num_nodes), axis=0)
    refuse_loops(pairs)
    negatives = require_count("negatives", negatives)
    batch_size = require_count("batch_size", batch_size)
    burn_in = require_count("burn_in", burn_in, minimum=0)
    learning_rate = require_positive("learning_rate", learning_rate)
    burn_in_rate = require_positive("burn_in_rate", burn_in_rate)
    require_finite("dampening", dampening)

    with jax.ensure_compile_time_eval():  # on the host, also inside a transformation
        noise = noise_law(pairs, num_nodes, _probabilities(log_weights, num_nodes))
        burn_in_noise = noise_law(pairs, num_nodes, _frequencies(pairs, num_nodes, dampening))
        if not _any_negative(noise, pairs):
            raise ValueError("every node is related to all others, so there is no negative to draw. Relate fewer.")
        if not _any_negative(burn_in_noise, pairs):
            burn_in_noise = noise
    chunks, steps = _cut(len(pairs), batch_size, negatives)
    geometry = ball_geometry() if geometry is None else geometry
    scale, temperature = scale_of(geometry, curvature, temperature)
    return Plan(
        relations=jnp.asarray(pairs),
        noise=noise,
        burn_in_noise=burn_in_noise,
        learning_rate=as_float("learning_rate", learning_rate),
        burn_in=jnp.asarray(burn_in, jnp.int32),
        burn_in_rate=as_float("burn_in_rate", burn_in_rate),
        temperature=temperature,
        scale=scale,
        geometry=geometry,
        num_nodes=num_nodes,
        negatives=negatives,
        batch_size=batch_size,
        chunks=chunks,
        steps=steps,
    )


def _any_negative(law: NoiseLaw, pairs: np.ndarray) -> bool:
    """Whether some relation has a negative to be drawn."""
    return bool(np.any(np.asarray(law.room)[pairs[:, 0]] > 0))


def _cut(relations: int, batch_size: int, negatives: int) -> tuple[int, int]:
    """Chunks of an epoch and steps of a chunk, for all relations to have a slot."""
    in_all = -(-relations // batch_size)
    chunks = -(-in_all // max(1, DRAWS_AT_ONCE // (batch_size * negatives)))
    steps = -(-in_all // chunks)
    if chunks * steps * batch_size > MOST_SLOTS:
        raise ValueError(f"{relations} relations in steps of {batch_size} need more than {MOST_SLOTS} slots per epoch.")
    return chunks, steps


def scale_of(geometry: Geometry, curvature: ArrayLike | None, temperature: ArrayLike = 1.0) -> tuple[Scale, Array]:
    """How the geometry measures at this curvature, and the temperature."""
    if curvature is not None and not geometry.curved:
        raise ValueError(f"flat space has no curvature, got {curvature}. Leave it out, or name a curved geometry.")
    temperature = require_positive("temperature", temperature)
    curvature = require_positive("curvature", 1.0 if curvature is None else curvature, advice="It is c > 0.")
    same = is_concrete(curvature) and is_concrete(temperature) and float(curvature) ** 0.5 * float(temperature) == 1
    curvature, temperature = as_floats(curvature=curvature, temperature=temperature)
    sharpness = None if same else 1 / (jnp.sqrt(curvature) * temperature)
    return Scale(curvature if geometry.curved else None, sharpness), temperature


def _probabilities(log_weights: ArrayLike | None, num_nodes: int) -> np.ndarray | None:
    if log_weights is None:
        return None
    host = np.asarray(log_weights, np.float64)
    if host.shape != (num_nodes,):
        raise ValueError(f"log_weights must have one entry per node, ({num_nodes},), got {host.shape}.")
    require_log_weights(host)
    weights = np.exp(host - host.max())
    return weights / weights.sum()


def _frequencies(pairs: np.ndarray, num_nodes: int, dampening: float) -> np.ndarray:
    """Counts as an ancestor to the power of dampening, normalised; a node that is none has probability 0."""
    counts = np.bincount(pairs[:, 1], minlength=num_nodes).astype(np.float64)
    weights = np.where(counts > 0, np.maximum(counts, 1) ** dampening, 0)
    return weights / weights.sum()
