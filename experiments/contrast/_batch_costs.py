"""InfoNCE with per-example and with in-batch negatives, and what XLA counts in them."""

import jax
import jax.numpy as jnp
import numpy as np

from nsx import losses

BLOCK, WORD = 16, 4  # rows of a slab, bytes of a number


def per_example(x, y, negatives):
    """InfoNCE with K negatives of its own for each anchor, (B, K, d)."""
    scores = jnp.einsum("bd,bkd->bk", x, negatives)
    return jnp.mean(losses.info_nce(jnp.sum(x * y, axis=1), scores))


def plain(x, y):
    """In-batch InfoNCE that holds all B^2 scores."""
    scores = x @ y.T
    return jnp.mean(losses.info_nce(jnp.diag(scores), scores, where=~jnp.eye(len(x), dtype=bool)))


def blockwise(x, y, rows=BLOCK):
    """The same by slabs of a few rows."""
    return jnp.mean(losses.in_batch_info_nce(x, y, temperature=1.0, block_size=min(rows, len(x))))


def needs(loss, *shapes, gradient=True):
    """Flops, fresh bytes and bytes of the inputs of a compiled loss (and gradient)."""
    program = jax.grad(loss, argnums=tuple(range(len(shapes)))) if gradient else loss
    compiled = jax.jit(program).lower(*(jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes)).compile()
    analysis, memory = compiled.cost_analysis(), compiled.memory_analysis()
    analysis = analysis[0] if isinstance(analysis, list) else analysis
    return analysis["flops"], memory.temp_size_in_bytes, memory.argument_size_in_bytes


def counted(dimension, batches, counts, programs):
    """Costs of the losses. Flops by their increase with the dimension, in which the work on scores drops out."""
    per, dense, block = programs
    pair = lambda b, d: ((b, d), (b, d))
    rise = lambda loss, shapes, **k: (needs(loss, *shapes(2), **k)[0] - needs(loss, *shapes(1), **k)[0]) / dimension
    own = lambda b, k: lambda m: (*pair(b, m * dimension), (b, k, m * dimension))
    shared = lambda b: lambda m: pair(b, m * dimension)
    grid = lambda f: np.array([[f(b, k) for k in counts] for b in batches])
    return {
        "per_flops": grid(lambda b, k: rise(per, own(b, k))),
        "per_forward": grid(lambda b, k: rise(per, own(b, k), gradient=False)),
        "per_inputs": grid(lambda b, k: needs(per, *own(b, k)(1), gradient=False)[2] - 2 * WORD * b * dimension),
        "dense_flops": np.array([rise(dense, shared(b)) for b in batches]),
        "dense_forward": np.array([rise(dense, shared(b), gradient=False) for b in batches]),
        "dense_fresh": np.array([needs(dense, *pair(b, dimension))[1] for b in batches]),
        "block_fresh": np.array([needs(block, *pair(b, dimension))[1] for b in batches]),
    }
