"""The Poincare distance with its gradient in both points: nsx and geoopt, float32, 10 coordinates, norms up to 0.95."""

from __future__ import annotations

import importlib

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._race import Run, Topic
from nsx import poincare

DIMENSION = 10
SIZES = {"quick": (10**4, 10**5), "full": (10**4, 10**5, 10**6), "device": (10**5, 10**6, 10**7)}


def ball_points(seed: int, size: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size, DIMENSION))
    radius = 0.95 * rng.random((size, 1))
    return (radius * x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def contestants(size: int) -> dict[str, Run]:
    x, y = ball_points(0, size), ball_points(1, size)
    step = jax.jit(jax.value_and_grad(lambda x, y: jnp.sum(poincare.distance(x, y)), (0, 1)))
    a, b = jnp.asarray(x), jnp.asarray(y)
    runs = {"nsx": lambda: jax.block_until_ready(step(a, b))}
    try:
        torch, geoopt = importlib.import_module("torch"), importlib.import_module("geoopt")
    except ImportError:
        return runs
    ball = geoopt.PoincareBall()
    leaves = [torch.tensor(v, requires_grad=True) for v in (x, y)]

    def peer() -> None:
        for leaf in leaves:
            leaf.grad = None
        ball.dist(*leaves).sum().backward()

    return runs | {"geoopt": peer}


TOPICS = (
    Topic("poincare_distance", "Poincare distance with its gradient", "pairs", SIZES, contestants,
          goals={"geoopt": 4.0}),
)  # fmt: skip
