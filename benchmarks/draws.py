"""A million draws with replacement from a shuffled Zipf(1) law: nsx, JAX, NumPy and torch; and the table's build."""

from __future__ import annotations

import importlib
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._race import Run, Topic
from nsx import samplers

DRAWS = 1_000_000
SIZES = {"quick": (10**4, 10**6), "full": (10**4, 10**5, 10**6), "device": (10**4, 10**6, 10**8)}


def zipf(size: int) -> np.ndarray:
    """Log-weights in shuffled order."""
    return np.random.default_rng(0).permutation(-np.log(np.arange(1, size + 1)))


def contestants(size: int) -> dict[str, Run]:
    """A new key or generator every run; each waits until its draws are there."""
    log_weights = zipf(size)
    p = np.exp(log_weights) / np.sum(np.exp(log_weights))
    log32, p32 = jnp.asarray(log_weights, jnp.float32), jnp.asarray(p, jnp.float32)
    table, turn = samplers.alias_table(log_weights), itertools.count()
    choice = jax.jit(lambda key, p: jax.random.choice(key, size, (DRAWS,), p=p))
    key = lambda: jax.random.key(next(turn))
    runs = {
        "nsx.draw_alias": lambda: samplers.draw_alias(key(), table, DRAWS).block_until_ready(),
        "nsx.draw_inverse": lambda: samplers.draw_inverse(key(), log32, DRAWS).block_until_ready(),
        "jax.random.choice": lambda: choice(key(), p32).block_until_ready(),
        "numpy choice": lambda: np.random.default_rng(next(turn)).choice(size, DRAWS, p=p),
        "limit: jax uniforms": lambda: jax.random.uniform(key(), (DRAWS,)).block_until_ready(),
    }
    if size >= 2**24:  # torch.multinomial takes no more classes
        return runs
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return runs
    weights = torch.from_numpy(p)
    return runs | {"torch.multinomial": lambda: torch.multinomial(weights, DRAWS, replacement=True)}


def build(size: int) -> dict[str, Run]:
    log_weights = zipf(size)
    return {"nsx.alias_table": lambda: samplers.alias_table(log_weights).alias.block_until_ready()}


TOPICS = (
    Topic("draws", "a million draws from a Zipf law", "candidates n", SIZES, contestants,
          goals={"jax.random.choice": 3.0, "torch.multinomial": 10.0, "numpy choice": 20.0}),
    Topic("alias_build", "building an alias table", "candidates n", SIZES, build),
)  # fmt: skip
