r"""Per-example negatives against in-batch ones: memory, operations, hard negatives, and the law they follow.

For B pairs in dimension d, counted by XLA in one loss and gradient, float32. Per-example negatives are handed over as
B K d numbers and returned as gradients; in-batch ones are the rows already there, B d, but the plain loss holds B^2
scores, and the blockwise loss of nsx does not. In products of vectors, forward and back,

    per example  5 B (K + 1) d flops      in-batch  6 B^2 d      (forward alone: 2 B (K + 1) d and 2 B^2 d)

so in-batch costs more only when B - 1 > K (with gradients B > 5/6 (K + 1)); it encodes 2 B items, not (K + 2) B.
In-batch negatives follow the unigram law p(y): the exact optimum is log p(y|x) - log p(y), popular candidates lose
their popularity, and log_q = log p gives it back. Refuted if the counts, the odds of a hard negative, or the optima
depart from these.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, at_most, close, mean_is
from experiments._style import measured, panels, theory
from experiments.contrast._batch_costs import BLOCK, WORD, blockwise, counted, per_example, plain
from experiments.contrast._plots import dots
from nsx import losses, samplers

CLAIM = Claim(
    statement="In-batch negatives save memory and give each anchor more negatives, at the price of more computation "
    "per example.",
    source="001, the engineering reality",
    references=("yi2019sampling", "oord2018representation"),
    expected="conditional",
    why="In-batch negatives cost more operations per example, and give more negatives, only when B - 1 > K (with the "
    "gradient, at B > 5/6 (K + 1)). The plain loss trades B K d for B^2: memory of order B d takes a blockwise loss. "
    "They follow the unigram law, which removes popularity from the optimum unless log q is given back.",
)
SIZES = {
    "quick": {"dimension": 64, "batches": (128, 512, 1024), "counts": (64, 256), "replicates": 64},
    "full": {"dimension": 256, "batches": (256, 512, 1024, 2048), "counts": (64, 256, 1024), "replicates": 512},
    "device": {"dimension": 512, "batches": (256, 1024, 4096, 16384), "counts": (64, 256, 1024), "replicates": 4096},
}
RHO = 1 / 128  # of the candidates are hard
JOINT = np.array([[6.0, 2.0, 1.0, 1.0], [3.0, 6.0, 0.5, 1.0], [1.0, 1.0, 1.0, 0.5]]) / 24  # p(x, y) of the small world


class Data(NamedTuple):
    """`batches`, `counts`. Flops of loss and gradient, a dimension: `per_flops` (batches, counts), `dense_flops`;
    forward alone, `*_forward`. Bytes: `per_inputs` (batches, counts), of the negatives handed over; `dense_fresh` and
    `block_fresh`, besides inputs. `in_batch` and `per_example`: share of anchors with a hard negative, replicates
    first. `slope`: of the exact loss at log p(y|x) - log p(y), and with log q at log p(y|x); `swapped`, at the other.
    """

    dimension: np.ndarray
    batches: np.ndarray
    counts: np.ndarray
    per_flops: np.ndarray
    per_forward: np.ndarray
    per_inputs: np.ndarray
    dense_flops: np.ndarray
    dense_forward: np.ndarray
    dense_fresh: np.ndarray
    block_fresh: np.ndarray
    in_batch: np.ndarray
    per_example: np.ndarray
    slope: np.ndarray
    swapped: np.ndarray


@jax.jit
def exact_slope(scores, log_q):
    """Largest entry of the gradient of the expected in-batch loss, over all batches of three pairs, by scores."""
    x, y = np.array([divmod(i, 4) for i in np.ndindex(12, 12, 12) for i in i]).reshape(-1, 3, 2).transpose(2, 0, 1)
    weights = jnp.prod(jnp.asarray(JOINT)[x, y], axis=1)

    def loss(scores):
        one = lambda x, y: jnp.sum(losses.in_batch_info_nce(scores[x], jnp.eye(4)[y], temperature=1.0, log_q=log_q[y]))
        return jnp.sum(weights * jax.vmap(one)(x, y))

    return jnp.max(jnp.abs(jax.grad(loss)(scores)))


@partial(jax.jit, static_argnames=("batches", "counts", "replicates"))
def hard_found(key, rho, *, batches, counts, replicates):
    """Share of 32 anchors, one a batch, with a hard negative among the others of its batch or among its own."""
    law = jnp.log(jnp.stack([1 - rho, rho]))
    one = lambda k, n: jnp.mean(jnp.any(samplers.draw_inverse(k, law, (32, n)) == 1, axis=1))
    numbers = [b - 1 for b in batches] + list(counts)
    keys = jax.random.split(key, (len(numbers), replicates))
    found = jnp.stack([jax.vmap(lambda k, n=n: one(k, n))(ks) for ks, n in zip(keys, numbers, strict=True)], axis=1)
    return found[:, : len(batches)], found[:, len(batches) :]


def compute(key, *, dimension, batches, counts, replicates, rho=RHO, programs=(per_example, plain, blockwise), mix=0.0):
    """Wrong worlds: other odds, other programs, candidates not drawn by p(y) but by its mixture with another law."""
    found = hard_found(key, rho, batches=batches, counts=counts, replicates=replicates)
    popular, conditional = np.log(JOINT.sum(axis=0)), np.log(JOINT / JOINT.sum(axis=1, keepdims=True))
    popular = (1 - mix) * popular
    zero = np.zeros(4)
    slope = exact_slope(conditional - popular, zero), exact_slope(conditional, popular)
    swapped = exact_slope(conditional, zero), exact_slope(conditional - popular, popular)
    costs = counted(dimension, batches, counts, programs)
    arrays = np.array(dimension), np.array(batches), np.array(counts)
    return Data(
        *arrays, **costs, in_batch=found[0], per_example=found[1], slope=np.array(slope), swapped=np.array(swapped)
    )


def rise_of(batches, y):
    """Exponent of y in the batch, between the two largest."""
    return np.diff(np.log(y[-2:])) / np.diff(np.log(batches[-2:]))


def at_least_one(number):
    return -np.expm1(number * np.log1p(-RHO))


def verdict(data):
    b, k, d = data.batches, data.counts, data.dimension
    summed = 1e-5  # XLA adds its counts in float32, and these are differences of two
    dearer = np.sign(data.dense_forward[:, None] - data.per_forward)
    spare = np.sign((b - 1)[:, None] - k)
    odds = at_least_one(b - 1)[:, None] - at_least_one(k)
    saved = (data.dense_fresh + 8 * b * d)[:, None] - data.per_inputs
    rounding = 64 * np.finfo(data.slope.dtype).eps
    return (
        close("per example: forward flops / 2 B (K + 1) d", 1, data.per_forward / (2 * b[:, None] * (k + 1)), summed),
        close("in-batch: forward flops / 2 B^2 d", 1, data.dense_forward / (2 * b**2), summed),
        close(
            "per example: flops with gradient / 5 B (K + 1) d", 1, data.per_flops / (5 * b[:, None] * (k + 1)), summed
        ),
        close("in-batch: flops with gradient / 6 B^2 d", 1, data.dense_flops / (6 * b**2), summed),
        close("in-batch costs more forward: when B - 1 > K", spare, dearer, 0),
        close("per example: bytes of negatives / 4 B K d", 1, data.per_inputs / (WORD * b[:, None] * k * d), 0),
        close("in-batch, plain: exponent of memory in B", 2, rise_of(b, data.dense_fresh), d / b[-2]),
        close("in-batch, blockwise: exponent of memory in B", 1, rise_of(b, data.block_fresh), BLOCK / b[-2]),
        mean_is("in-batch: 1 - (1-rho)^(B-1) find a hard negative", at_least_one(b - 1)[:1], data.in_batch[:, :1]),
        mean_is("per example: 1 - (1-rho)^K", at_least_one(k), data.per_example),
        close("exact gradient at log p(y|x) - log p(y)", 0, data.slope[0], rounding),
        close("with log q: exact gradient at log p(y|x)", 0, data.slope[1], rounding),
        at_least("without log q, log p(y|x) is not the optimum", 1e-3, data.swapped[0]),
        at_its_word(at_most("in-batch takes less memory", 0, saved)),
        at_its_word(at_least("in-batch costs more per example", 0, dearer)),
        at_its_word(at_least("in-batch gives more hard negatives", 0, odds)),
        at_its_word(close("memory of in-batch grows as B", 1, rise_of(b, data.block_fresh), BLOCK / b[-2])),
    )


def controls(key, data, **size):
    small = SIZES["quick"]
    world = partial(compute, key, **small)
    doubled = lambda x, y: plain(x, y) + plain(y @ (x.T @ x), y)
    return {
        "plain and blockwise in each other's place": world(programs=(per_example, blockwise, plain)),
        "hard candidates ten times likelier": world(rho=10 * RHO),
        "candidates drawn half by popularity": world(mix=0.5),
        "a symmetric loss counted as one direction": world(
            programs=(lambda x, y, n: per_example(x, y, n) + jnp.sum(n @ x[0]) ** 2, doubled, blockwise)
        ),
        "in-batch of fewer than K in place of more": data._replace(
            dense_forward=1e9 * data.dense_forward, swapped=0 * data.swapped, per_inputs=1e3 * data.per_inputs
        ),
        "few negatives of its own": data._replace(
            counts=data.counts // 64, per_forward=data.per_forward / 64, per_inputs=data.per_inputs / 64
        ),
    }


def plot(data):
    fig, ((flops, memory), (odds, popular)) = panels(2, 2, width=4.3, height=3.1)
    b, d = data.batches, data.dimension
    for i, k in enumerate(data.counts):
        measured(flops, b, data.per_flops[:, i] / b, label=f"per example, K = {k}", color=f"C{i + 1}")
        theory(flops, b, np.full(len(b), 5.0 * (k + 1)))
        measured(memory, b, data.per_inputs[:, i], color=f"C{i + 1}")
        theory(memory, b, 4.0 * b * k * d)
    measured(flops, b, data.dense_flops / b, label="in-batch", color="C0")
    theory(flops, b, 6.0 * b, label="counted by hand")
    measured(memory, b, data.dense_fresh, color="C0", label="in-batch, plain")
    measured(memory, b, data.block_fresh, color="C0", marker="s", linestyle=":", label="in-batch, blockwise")
    flops.set(title="Operations cross at B = 5/6 (K + 1)", ylabel="flops per example and dimension")
    memory.set(title="Only blocks stay linear in B", ylabel="bytes of negatives or scores")
    grid = np.geomspace(16, b[-1], 100)
    theory(odds, grid, at_least_one(grid), label=r"$1-(1-\rho)^n$")
    dots(odds, b - 1, data.in_batch, "in-batch, $n = B - 1$")
    dots(odds, data.counts, data.per_example, "per example, $n = K$")
    odds.set(title="More negatives only if B - 1 > K", xlabel="negatives $n$", ylabel="share with a hard negative")
    flops.set(yscale="log", xlabel="batch $B$", ylim=(None, 40 * data.dense_flops[-1] / b[-1]))
    memory.set(yscale="log", xlabel="batch $B$", ylim=(None, 20 * data.per_inputs.max()))
    sizes = np.maximum(np.array([[data.slope[0], data.swapped[0]], [data.swapped[1], data.slope[1]]]), 1e-18)
    for i, label in enumerate(("no correction", "corrected by log q")):
        popular.bar(np.arange(2) + 0.4 * i - 0.2, sizes[i], width=0.36, label=label)
    popular.set_xticks([0, 1], [r"$\log p(y|x) - \log p(y)$", r"$\log p(y|x)$"])
    popular.set(yscale="log", ylim=(1e-18, 1e3), xlabel="scores", ylabel="largest exact gradient")
    popular.set(title="Popularity is lost, and log q gives it back")
    popular.legend(fontsize=7, loc="upper left", ncols=2)
    for ax in (flops, memory, odds):
        ax.set_xscale("log", base=2)
        ax.legend(fontsize=6.5, ncols=1 if ax is odds else 2)
    return fig
