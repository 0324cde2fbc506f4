"""The spectrum of a game: all eigenvalues beside LAPACK alone, and the leading ones of games too large for a matrix."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from benchmarks._race import Run, Topic
from nsx import games

FULL = {"quick": (100, 300), "full": (100, 300, 1000), "device": (100, 300, 1000)}
LARGE = {"quick": (10**4, 10**5), "full": (10**4, 10**5, 10**6), "device": (10**5, 10**6, 10**7)}


def zero_sum(coupling: jax.Array):
    """Two players with a quadratic game of a given coupling, and a little friction."""

    def payoff(players):
        x, y = players
        return x @ coupling @ y + 0.05 * (x @ x - y @ y)

    return games.vector_field((payoff, lambda players: -payoff(players)))


def full(size: int) -> dict[str, Run]:
    half = size // 2
    field = zero_sum(jnp.asarray(np.random.default_rng(0).normal(size=(half, half)) / np.sqrt(half), jnp.float32))
    players = (jnp.zeros(half, jnp.float32), jnp.zeros(half, jnp.float32))
    step = jax.jit(lambda players: games.linearize(field, players))
    jacobian = np.asarray(step(players).jacobian)
    return {
        "nsx.linearize": lambda: jax.block_until_ready(step(players)),
        "limit: LAPACK geev alone": lambda: scipy.linalg.eigvals(jacobian, check_finite=False),
    }


def leading(size: int) -> dict[str, Run]:
    """A game whose coupling is diagonal, so that a product costs no more than the players."""
    half = size // 2
    scale = jnp.linspace(0.1, 1.0, half, dtype=jnp.float32)

    def payoff(players):
        x, y = players
        return jnp.sum(x * scale * y) + 0.05 * (jnp.sum(x**2) - jnp.sum(y**2))

    field = games.vector_field((payoff, lambda players: -payoff(players)))
    players = (jnp.zeros(half, jnp.float32), jnp.zeros(half, jnp.float32))
    step = jax.jit(lambda key, players: games.leading_eigenvalues(key, field, players, krylov_dimension=24))
    return {"nsx.leading_eigenvalues": lambda: jax.block_until_ready(step(jax.random.key(0), players))}


TOPICS = (
    Topic("game_spectrum", "all eigenvalues of a game", "parameters", FULL, full,
          goals={"limit: LAPACK geev alone": 1 / 1.1}),
    Topic("game_leading", "the leading eigenvalues of a game, without its matrix", "parameters", LARGE, leading),
)  # fmt: skip
