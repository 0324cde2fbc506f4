r"""How many negatives find at least one hard one: K >= log(1 - q) / log(1 - rho).

Independent draws find one with probability 1 - (1 - rho)^K. Refuted if sampled draws find one more or less often
than that beyond their standard error, or if ceil(log1p(-q) / log1p(-rho)) is not the least K that reaches q.
Beyond the chapter: without replacement the law is hypergeometric and needs fewer; negatives that come in runs of g
alike (frames of one video, passages of one page) need g times as many; in a batch of B each anchor follows the law
with K = B - 1, but the anchors share their luck; and a T cell survives K self peptides with probability (1 - rho)^K.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_least, close, mean_is, student_margin
from experiments._devices import over_devices
from experiments._style import measured, panels, theory
from experiments.contrast._expected import usual
from experiments.contrast._plots import dots
from nsx import samplers

CLAIM = Claim(
    statement="If a random negative is hard with probability rho, K >= log(1 - q) / log(1 - rho) negatives hold at "
    "least one hard one with probability q.",
    source="001, tuning the difficulty; immune analogy",
    references=("feller1968introduction", "percus1993predicting"),
)
SIZES = {
    "quick": {"replicates": 64, "rows": 32, "longest": 512},
    "full": {"replicates": 256, "rows": 64, "longest": 512},
    "device": {"replicates": 4096, "rows": 1024, "longest": 512},
}
POOL = 1024  # candidates, of which the first HARD are hard
HARD = np.array([8, 64, 512])
WANTED = np.array([0.5, 0.9, 0.95])
RATES, SURE = np.array([0.001, 0.003, 0.01, 0.03, 0.1, 0.3]), np.array([0.5, 0.9, 0.95, 0.99])  # for the exact law
RUN = 4  # negatives that come together
CLASSES = 32  # equally likely; an anchor's hard negatives are the others of its class, a T cell's those it matches


class Data(NamedTuple):
    """Shares of the rows, replicates first. `found`, `distinct`, `runs` (replicates, counts, rho): rows with a hard
    negative among the first `counts` draws; `reached` (replicates, rho, wanted): among the least K by the formula;
    `anchors` and `variance` (replicates, batches): mean over batches of the share of anchors with a hard negative,
    and of its squared distance from the prediction; `survivors` (replicates, counts). `least` (rates, wanted): the
    least K by enumeration.
    """

    found: jax.Array
    reached: jax.Array
    distinct: jax.Array
    runs: jax.Array
    anchors: jax.Array
    variance: jax.Array
    survivors: jax.Array
    least: jax.Array


def counts(longest):
    return 2 ** np.arange(int(np.log2(longest)) + 1)


def formula(rate, wanted):
    """The least number of independent draws, by the formula under test; log1p keeps small rates exact."""
    return np.ceil(np.log1p(-wanted) / np.log1p(-rate))


def first_hit(hits):
    """Index of the first True on the last axis; its length where there is none."""
    return jnp.where(jnp.any(hits, axis=-1), jnp.argmax(hits, axis=-1), hits.shape[-1])


def share_found(first, numbers):
    """Share of the rows (last axis) whose first hard candidate is among the numbers, (m, 1) or (m, rho), of draws."""
    return jnp.mean(first < jnp.asarray(numbers)[..., None], axis=-1)


def in_batch(classes):
    """For batches of 2, 4, ..., the share of anchors with another of their class, and its squared distance."""
    sizes = counts(classes.shape[1])[1:]
    members = jnp.cumsum(jax.nn.one_hot(classes, CLASSES, dtype=jnp.int32), axis=1)[:, sizes - 1]
    shares = 1 - jnp.sum(members == 1, axis=-1) / sizes
    expected = 1 - (1 - 1 / CLASSES) ** (sizes - 1.0)
    return jnp.mean(shares, axis=0), jnp.mean((shares - expected) ** 2, axis=0)


def replicate(key, rows, longest, world):
    """One set of rows of draws of every kind; classes and peptides are the candidates in blocks of 32."""
    draw_key, distinct_key, cell_key = jax.random.split(key, 3)
    log_weights = world["tilt"] * (jnp.arange(POOL) < HARD[-1])
    draws = samplers.draw_inverse(draw_key, log_weights, (rows, longest))
    rowwise = jnp.broadcast_to(log_weights, (rows, POOL))
    distinct = samplers.draw_without_replacement(distinct_key, rowwise, longest)
    draws, distinct = jnp.where(world["swap"], distinct, draws), jnp.where(world["swap"], draws, distinct)
    order = jnp.arange(longest)
    kinds = jnp.stack([draws, distinct, draws[:, order // world["run"]]])
    first = first_hit(kinds[:, None] < HARD[:, None, None])  # (kinds, rho, rows)
    found, apart, runs = jax.vmap(lambda f: share_found(f, counts(longest)[:, None]))(first)
    reached = share_found(first[0], formula(HARD / POOL, WANTED[:, None]))
    classes = draws // (POOL // CLASSES)
    receptors = jax.random.randint(cell_key, (rows, 1), 0, CLASSES)
    killed = first_hit(receptors == classes[0, order // world["family"]])
    survivors = jnp.mean(killed[:, None] >= counts(longest), axis=0)
    return found, reached, apart, runs, *in_batch(classes[:, : longest // 2]), survivors


@partial(jax.jit, static_argnames=("replicates", "rows", "longest"))
def sample(key, world, replicates, rows, longest):
    keys = jax.random.split(key, replicates)
    return over_devices(lambda k: replicate(k, rows, longest, world), keys)


def enumerate_least(replacement):
    """The least K that reaches each wanted probability: draws multiplied up one by one, no logarithm."""
    drawn = np.arange(8192.0) * (not replacement)
    missed = np.maximum(8192 * (1 - RATES[:, None]) - drawn, 0) / (8192 - drawn)
    missed = np.cumprod(missed, axis=1)
    return 1 + np.argmax(missed[:, None, :] <= 1 - SURE[:, None], axis=-1)


def compute(key, *, replicates, rows, longest, tilt=0.0, run=RUN, family=1, swap=False):
    """`tilt`: nats by which some are likelier; `run`, `family`: draws and peptides that come together; `swap`:
    draws said to be independent are without replacement, and the other way round.
    """
    world = {"tilt": tilt, "run": run, "family": family, "swap": swap}
    return Data(*sample(key, world, replicates, rows, longest), enumerate_least(not swap))


def at_least_one(rate, number):
    return -np.expm1(number * np.log1p(-rate))


def hypergeometric(number):
    """The same without replacement, (numbers, rho): a product over the draws."""
    missed = 1 - HARD / (POOL - np.arange(number.max())[:, None])
    return 1 - np.cumprod(np.maximum(missed, 0), axis=0)[number - 1]


def singletons(batch):
    """Mean and variance of the share of a batch that is not alone in its class, (batches,)."""
    alone = (1 - 1 / CLASSES) ** (batch - 1.0)
    pair = (1 - 1 / CLASSES) * (1 - 2 / CLASSES) ** (batch - 2.0)
    return 1 - alone, alone / batch + (batch - 1) / batch * pair - alone**2


def verdict(data):
    number, rho = counts(2 ** (data.found.shape[1] - 1)), HARD / POOL
    mean, variance = singletons(number[1 : data.anchors.shape[1] + 1])
    likely = (mean > 0.05) & (mean < 0.95)
    least, excess = formula(rho, WANTED[:, None]), data.reached.mean(axis=0) - WANTED[:, None]
    return (
        close("least K by enumeration = ceil(log(1-q) / log(1-rho))", formula(RATES[:, None], SURE), data.least, 0.5),
        usual("independent draws: 1 - (1-rho)^K", at_least_one(rho, number[:, None]), data.found),
        mean_is("probability reached at the least K", at_least_one(rho, least), data.reached),
        at_least("and it is at least q", 0, excess, np.max(student_margin(data.reached, alarm=1e-6 / least.size))),
        usual("without replacement: hypergeometric", hypergeometric(number), data.distinct),
        usual("runs of 4: the exponent is K / 4", at_least_one(rho, -(-number // RUN)[:, None]), data.runs),
        mean_is("in-batch: an anchor has K = B - 1", mean[likely], data.anchors[:, likely]),
        mean_is("in-batch: variance of the share of anchors served", variance[likely], data.variance[:, likely]),
        usual("T cells that survive K self peptides: (1-rho)^K", (1 - 1 / CLASSES) ** number, data.survivors),
    )


def controls(key, data, **size):
    run = partial(compute, key, **size)
    return {
        "draws without replacement taken for independent ones": run(swap=True),
        "hard candidates four times rarer than said, classes unequal": run(tilt=-np.log(8)),
        "runs of 8, and peptides in families of 8": run(run=8, family=8),
    }


def plot(data):
    fig, ((found, needed), (batch, cells)) = panels(2, 2)
    number, rho = counts(2 ** (data.found.shape[1] - 1)), HARD / POOL
    fine, whole = np.geomspace(1, number[-1], 200), np.arange(1, number[-1] + 1)
    for i, rate in enumerate(rho):
        dots(found, number, data.found[:, :, i], rf"$\rho$ = 1/{round(1 / rate)}")
        theory(found, fine, at_least_one(rate, fine), label=r"$1-(1-\rho)^K$" if i == 0 else None)
    found.set(title="One hard negative among $K$ draws", xlabel="negatives $K$", ylabel="probability")
    for values, predicted, label in (
        (data.distinct, hypergeometric(whole)[:, 0], "without replacement"),
        (data.found, at_least_one(rho[0], whole), "independent"),
        (data.runs, at_least_one(rho[0], -(-whole // RUN)), f"in runs of {RUN}"),
    ):
        dots(needed, number, values[:, :, 0], label)
        theory(needed, whole, predicted)
    needed.set(title="Distinct draws need fewer, runs more", xlabel=r"negatives $K$, $\rho$ = 1/128")
    needed.set_ylabel("probability")
    sizes, smooth = number[1 : data.anchors.shape[1] + 1], np.geomspace(2, number[-2], 200)
    served, variance = singletons(smooth)
    measured(batch, sizes, np.sqrt(data.variance.mean(axis=0)), label="measured", linestyle="none")
    theory(batch, smooth, np.sqrt(variance), label="shared luck")
    batch.plot(
        smooth, np.sqrt(served * (1 - served) / smooth), color="0.55", linestyle=":", label="if each had its own"
    )
    batch.set(title="In a batch the anchors share their luck", xlabel="batch size $B$", yscale="log")
    batch.set_ylabel("sd of the share served")
    dots(cells, number, data.survivors, "measured")
    theory(cells, fine[fine < 256], (1 - 1 / CLASSES) ** fine[fine < 256], label=r"$(1-\rho)^K$")
    cells.set(title="T cells that survive self", xlabel=r"self peptides $K$, $\rho$ = 1/32", yscale="log")
    cells.set_ylabel("share that survives")
    for ax in (found, needed, batch):
        ax.set_xscale("log", base=2)
    for ax, place in ((found, "lower right"), (needed, "upper left"), (batch, "lower center"), (cells, "upper right")):
        ax.legend(loc=place, fontsize=7)
    return fig
