"""Training steps of the full softmax and of SGNS, and what XLA counts in them."""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsx import losses

RATE = 0.1


class Program(NamedTuple):
    """A training step (tables, centre, context, noise) -> tables, and how it is compiled."""

    step: object
    tables: int = 2
    donated: bool = True


def gain(centres, rows):
    """What SGNS climbs, times the learning rate; the context is the first of the rows (batch, 1 + k, d)."""
    scores = jnp.einsum("bd,bkd->bk", centres, rows)
    return -RATE * jnp.sum(losses.sgns(scores[:, 0], scores[:, 1:]))


def full_softmax(tables, centre, context, noise):
    centres, contexts = tables

    def softmax_gain(v, u):
        scores = v @ u.T
        positive = jnp.take_along_axis(scores, context[:, None], axis=1)[:, 0]
        return -RATE * jnp.sum(losses.info_nce(positive, scores, where=jnp.arange(len(u)) != context[:, None]))

    to_centres, to_contexts = jax.grad(softmax_gain, argnums=(0, 1))(centres[centre], contexts)
    return centres.at[centre].add(to_centres), contexts + to_contexts


def sgns_by_rows(tables, centre, context, noise):
    centres, contexts = tables
    ids = jnp.concatenate([context[:, None], noise], axis=1)
    to_centres, to_rows = jax.grad(gain, argnums=(0, 1))(centres[centre], contexts[ids])
    return centres.at[centre].add(to_centres), contexts.at[ids].add(to_rows)


def sgns_shared(tables, centre, context, noise):
    """One draw of k negatives for the whole batch: a product of matrices."""
    centres, contexts = tables

    def shared_gain(v, u, rows):
        return -RATE * jnp.sum(losses.sgns(jnp.sum(v * u, axis=1), v @ rows.T))

    ids = jnp.concatenate([context, noise[0]])
    rows = centres[centre], contexts[context], contexts[noise[0]]
    to_centres, *to_rows = jax.grad(shared_gain, argnums=(0, 1, 2))(*rows)
    return centres.at[centre].add(to_centres), contexts.at[ids].add(jnp.concatenate(to_rows))


def sgns_dense(tables, centre, context, noise):
    """The obvious code: gradients of whole tables, and momentum on every row."""
    centres, contexts, *velocity = tables
    ids = jnp.concatenate([context[:, None], noise], axis=1)
    gradient = jax.grad(lambda v, u: gain(v[centre], u[ids]), argnums=(0, 1))(centres, contexts)
    velocity = [0.9 * m + g for m, g in zip(velocity, gradient, strict=True)]
    return centres + velocity[0], contexts + velocity[1], *velocity


PROGRAMS = {
    "full": Program(full_softmax),
    "rows": Program(sgns_by_rows),
    "shared": Program(sgns_shared),
    "dense": Program(sgns_dense, tables=4),
    "copied": Program(sgns_by_rows, donated=False),
}


def lowered(program, vocabulary, negatives, batch, dimension):
    """The step for these shapes, traced but not compiled; nothing is allocated."""
    table, ids = jax.ShapeDtypeStruct((vocabulary, dimension), jnp.float32), jax.ShapeDtypeStruct((batch,), jnp.int32)
    noise = jax.ShapeDtypeStruct((batch, negatives), jnp.int32)
    step = jax.jit(program.step, donate_argnums=0 if program.donated else ())
    return step.lower((table,) * program.tables, ids, ids, noise)


def counts(stage):
    """Flops and bytes accessed, whatever the version wraps them in."""
    costs = stage.cost_analysis()
    costs = costs[0] if isinstance(costs, (list, tuple)) else costs
    return np.array([costs["flops"], costs["bytes accessed"]])


@cache
def written(program, *shape):
    return counts(lowered(program, *shape))


@cache
def compiled(program, *shape):
    """The step, ready to run on tables and ids of these shapes."""
    return lowered(program, *shape).compile()


def needs(stage):
    """Flops of a compiled step, and bytes of memory that it needs besides the tables it is given."""
    memory = stage.memory_analysis()
    return counts(stage)[0], memory.temp_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
