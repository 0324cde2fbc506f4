"""In-batch losses with their gradient: nsx, a good dense jnp version, torch eager and compiled, optax, metric learning.

Unit vectors, d = 128 (and 512), temperature 0.07, float32. "both" is the mean of rows and columns. Own hard negatives,
four per anchor, against the same by concatenation: scores with the own negatives of all, masked but for the anchor's.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import _machine
from benchmarks._race import Run, Topic
from nsx import losses

TEMPERATURE = 0.07
SIZES = {"quick": (1024, 4096), "full": (1024, 4096, 8192, 16384), "device": (4096, 16384, 65536)}
FEWER = {"quick": (1024, 2048), "full": (1024, 4096, 8192), "device": (4096, 16384)}
ONE = SIZES | {"quick": (1024,)}
OWN_SIZES = {"quick": (1024,), "full": (1024, 4096), "device": (4096, 16384)}
OWN = 4  # hard negatives per anchor
DENSE_LIMIT = 40_000  # rows whose scores no longer fit the memory of most machines


def unit(seed: int, size: int, dimension: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(size, dimension)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def compiled(loss: Callable[..., jax.Array], *arrays: np.ndarray) -> Run:
    """Value and gradient of a jax loss, waited for."""
    step = jax.jit(jax.value_and_grad(lambda arrays: jnp.mean(loss(*arrays))))
    arrays = tuple(map(jnp.asarray, arrays))
    return lambda: jax.block_until_ready(step(arrays))


def dense(x: jax.Array, y: jax.Array, symmetric: bool) -> jax.Array:
    scores = jnp.matmul(x, y.T, precision="highest") / TEMPERATURE
    own = jnp.diagonal(scores)
    rows = jax.nn.logsumexp(scores, axis=1) - own
    return (rows + jax.nn.logsumexp(scores, axis=0) - own) / 2 if symmetric else rows


def dense_one_tower(x: jax.Array) -> jax.Array:
    size = x.shape[0]
    scores = jnp.matmul(x, x.T, precision="highest") / TEMPERATURE
    scores = jnp.where(jnp.eye(size, dtype=bool), -jnp.inf, scores)
    return jax.nn.logsumexp(scores, axis=1) - scores[jnp.arange(size), (jnp.arange(size) + size // 2) % size]


def concatenated(x: jax.Array, y: jax.Array, own: jax.Array) -> jax.Array:
    """Rows whose own negatives are columns for all, masked but for their anchor."""
    size = x.shape[0]
    columns = jnp.concatenate([y, own.reshape(-1, x.shape[1])])
    scores = jnp.matmul(x, columns.T, precision="highest") / TEMPERATURE
    mine = jnp.repeat(jnp.eye(size, dtype=bool), OWN, axis=1)
    where = jnp.concatenate([jnp.ones((size, size), bool), mine], axis=1)
    return jax.nn.logsumexp(jnp.where(where, scores, -jnp.inf), axis=1) - jnp.diagonal(scores)


def torch_step(build: Callable, *arrays: np.ndarray) -> Run:
    """Value and gradient of a torch loss; on the accelerator where torch has one."""
    torch = importlib.import_module("torch")
    where = "cuda" if torch.cuda.is_available() else "cpu"
    leaves = [torch.tensor(a, requires_grad=True, device=where) for a in arrays]
    loss = build(torch)

    def run() -> None:
        for leaf in leaves:
            leaf.grad = None
        loss(*leaves).backward()
        if where == "cuda":
            torch.cuda.synchronize()

    return run


def cross_entropy(torch, symmetric: bool):
    def loss(x, y):
        scores = x @ y.T / TEMPERATURE
        labels = torch.arange(len(x), device=x.device)
        rows = torch.nn.functional.cross_entropy(scores, labels)
        return (rows + torch.nn.functional.cross_entropy(scores.T, labels)) / 2 if symmetric else rows

    return loss


def peers(entries: dict[str, Callable[[], Run]]) -> dict[str, Run]:
    """The contestants whose library is installed."""
    found = {}
    for name, build in entries.items():
        try:
            found[name] = build()
        except ImportError:
            continue
    return found


def two_towers(symmetric: bool, dimension: int, size: int) -> dict[str, Run]:
    x, y = unit(0, size, dimension), unit(1, size, dimension)
    ours = functools.partial(losses.in_batch_info_nce, temperature=TEMPERATURE, symmetric=symmetric)
    runs = {"nsx": compiled(ours, x, y)}
    if size > DENSE_LIMIT:
        return runs
    runs["dense jnp"] = compiled(functools.partial(dense, symmetric=symmetric), x, y)
    eager = functools.partial(cross_entropy, symmetric=symmetric)
    return runs | peers(
        {
            "torch": lambda: torch_step(eager, x, y),
            "torch.compile": lambda: torch_step(lambda torch: torch.compile(eager(torch)), x, y),
        }
    )


def one_tower(size: int) -> dict[str, Run]:
    x, labels = unit(0, size, 128), np.tile(np.arange(size // 2), 2)
    runs = {
        "nsx": compiled(functools.partial(losses.nt_xent, temperature=TEMPERATURE), x),
        "dense jnp": compiled(dense_one_tower, x),
    }
    if 2.2 * 4 * 128 * size**2 < _machine.free_memory():  # it holds two arrays of b x b x d numbers
        ntxent = lambda x: optax.losses.ntxent(x, jnp.asarray(labels), TEMPERATURE)
        runs["optax.losses.ntxent"] = compiled(ntxent, x)

    def metric_learning() -> Run:
        library = importlib.import_module("pytorch_metric_learning.losses")
        torch = importlib.import_module("torch")
        targets = torch.tensor(labels)
        loss = library.SupConLoss(temperature=TEMPERATURE)
        return torch_step(lambda _: lambda x: loss(x, targets), x)

    return runs | (peers({"metric-learning SupCon": metric_learning}) if size <= 4096 else {})


def own_negatives(size: int) -> dict[str, Run]:
    x, y = unit(0, size, 128), unit(1, size, 128)
    own = unit(2, size * OWN, 128).reshape(size, OWN, 128)
    ours = lambda x, y, own: losses.in_batch_info_nce(x, y, temperature=TEMPERATURE, own=own)
    return {"nsx": compiled(ours, x, y, own), "concatenated and masked": compiled(concatenated, x, y, own)}


def topic(name: str, title: str, build: Callable[[int], dict[str, Run]], products: int, depth: int, sizes, **goals):
    """A topic whose loss takes a number of b x b x d products where it keeps no scores."""
    operations = lambda b: 2 * products * depth * b * b
    return Topic(name, f"{title}, d = {depth}", "batch size b", sizes, build, operations, depth, goals)


GOALS = {"torch": 3.0, "torch.compile": 1.5, "dense jnp": 1.4}
rows, both = functools.partial(two_towers, False), functools.partial(two_towers, True)
TOPICS = (
    topic("in_batch_rows", "InfoNCE over rows with its gradient", functools.partial(rows, 128), 3, 128, SIZES, **GOALS),
    topic("in_batch_both", "InfoNCE over rows and columns with its gradient", functools.partial(both, 128), 4, 128,
          SIZES, **GOALS),
    topic("in_batch_both_512", "InfoNCE over rows and columns with its gradient", functools.partial(both, 512), 4, 512,
          FEWER, **{"dense jnp": 1.0}),
    topic("in_batch_own", f"InfoNCE over rows and {OWN} own negatives each with its gradient", own_negatives, 3, 128,
          OWN_SIZES, **{"concatenated and masked": 3.0}),
    topic("one_tower", "NT-Xent with its gradient", one_tower, 2, 128, ONE, **{"optax.losses.ntxent": 100.0}),
)  # fmt: skip
