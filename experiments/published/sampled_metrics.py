r"""Krichene & Rendle 2020: ranking metrics on m sampled negatives are not the metrics, and can reverse an order.

An item of rank r among n has X ~ Binomial(m, (r-1)/(n-1)) of m uniform negatives above it, so its sampled rank is 1 + X
and a sampled metric is E f(1 + X): for average precision (1 - (1-p)^(m+1)) / ((m+1) p), for AUC 1 - p at every m.
The paper's example (n = 10,000, three recommenders, five test items each) is recomputed: the exact table, the sampled
one with its spread, and the orders along m. One negative makes every metric a rescaled AUC. Without replacement the
law is hypergeometric, and all n - 1 negatives give the exact metric. Refuted if simulated evaluation departs from
the closed forms or from the printed table by more than its own standard error, or if the order does not reverse.
"""

from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import FALSE_ALARM, Claim, at_least, close, mean_is, student_margin
from experiments._devices import over_devices
from experiments._style import legends, measured, panels, theory
from nsx import samplers

CLAIM = Claim(
    statement="Metrics on sampled negatives can reverse the order of two recommenders, even in expectation; only AUC "
    "is what it is on the whole catalogue.",
    source="published: Krichene & Rendle 2020, Tables 1-2 and Figure 2",
    references=("krichene2020sampled",),
)
SIZES = {
    "quick": {"replicates": 64, "rows": 32, "distinct_rows": 1},
    "full": {"replicates": 256, "rows": 64, "distinct_rows": 4},
    "device": {"replicates": 1024, "rows": 256, "distinct_rows": 64},
}
ITEMS = 10000
RANKS = np.array([[100, 100, 100, 100, 100], [40, 40, 8437, 9266, 4482], [212, 2, 743, 5342, 1548]])
A, B, C = range(3)
METRICS = AUC, AP, NDCG, RECALL = range(4)
COUNTS = np.array([1, 20, 99, 200, 500])  # negatives
PRINTED_AT, HALF = 2, 5000  # the place of m = 99; negatives drawn without replacement
# the paper's tables, metrics by recommenders: exact, sampled with m = 99, and the latter's spread over REPEATS
PRINTED = np.array([[0.990, 0.555, 0.843], [0.010, 0.010, 0.101], [0.150, 0.122, 0.208], [0.0, 0.0, 0.2]])
SAMPLED = np.array([[0.990, 0.555, 0.843], [0.630, 0.336, 0.325], [0.724, 0.444, 0.460], [1.0, 0.4, 0.567]])
SPREAD = np.array([[0.004, 0.014, 0.014], [0.129, 0.073, 0.050], [0.097, 0.054, 0.039], [0.0, 0.0, 0.092]])
REPEATS, HALF_DIGIT = 1000, 5e-4
ORDERS = {20: (A, C, B), 200: (A, B, C), 500: (C, A, B)}  # by average precision, best first, as read from its Figure 2


class Data(NamedTuple):
    """`exact` (metrics, recommenders); `sampled` (replicates, counts, metrics, recommenders), and `squares`, the mean
    square of an evaluation at m = 99. At HALF, without replacement: `distinct` (replicates, metrics, recommenders), and
    `scatter` (replicates, recommenders), the mean square of an item's AUC about its exact value.
    """

    exact: jax.Array
    sampled: jax.Array
    squares: jax.Array
    distinct: jax.Array
    scatter: jax.Array


def metrics(above, negatives, first=1):
    """The four metrics of a relevant item with `above` of the negatives ranked above it."""
    rank = above + first
    return jnp.stack([1 - above / negatives, 1 / rank, 1 / jnp.log2(rank + 1.0), rank <= 10.0])


def evaluate(ids, counts, first):
    """Metrics on the first `counts` of the negatives, (rows, 5, m): (counts, metrics, recommenders, 5, rows)."""
    ranks, counts = jnp.asarray(RANKS).T[:, :, None], np.asarray(counts)  # negatives are numbered from the best score
    higher = ids[:, :, None] < ranks - 1
    above = jnp.stack([jnp.sum(higher[..., :m], axis=-1) for m in counts], axis=-1)
    return metrics(above, counts, first).transpose(4, 0, 3, 2, 1)


def compute(key, *, replicates, rows, distinct_rows, tilt=0.0, first=1, run=1):
    """`tilt`: popular negatives are drawn more, as rank^-tilt, and ranked higher; `first`: rank of an item with none
    above it; `run`: the negatives said to be distinct come in runs.
    """
    return simulate(key, tilt, first, run, replicates=replicates, rows=rows, distinct_rows=distinct_rows)


@partial(jax.jit, static_argnames=("replicates", "rows", "distinct_rows"))
def simulate(key, tilt, first, run, *, replicates, rows, distinct_rows):
    law = -tilt * jnp.log(jnp.arange(1.0, ITEMS))

    def replicate(key):
        draw_key, distinct_key = jax.random.split(key)
        values = evaluate(samplers.draw_inverse(draw_key, law, (rows, 5, COUNTS[-1])), COUNTS, first).mean(axis=-2)
        laws = jnp.broadcast_to(law, (distinct_rows, 5, ITEMS - 1))
        distinct = samplers.draw_without_replacement(distinct_key, laws, HALF)[..., jnp.arange(HALF) // run]
        distinct = evaluate(distinct, [HALF], first)[0]
        scatter = jnp.mean((distinct[AUC] - 1 + (RANKS[..., None] - 1) / (ITEMS - 1)) ** 2, axis=(-2, -1))
        squares = jnp.mean(values[PRINTED_AT] ** 2, axis=-1)
        return values.mean(axis=-1), squares, distinct.mean(axis=(-2, -1)), scatter

    everything = jnp.broadcast_to(jnp.arange(ITEMS - 1), (1, 5, ITEMS - 1))
    exact = evaluate(everything, [ITEMS - 1], first)[0].mean(axis=(-2, -1))
    return Data(exact, *over_devices(replicate, jax.random.split(key, replicates)))


@cache
def moments(negatives, replace=True):
    """Mean, variance, and fourth central moment of an evaluation, (3, metrics, recommenders), by enumeration."""
    from scipy import stats

    x, above = np.arange(negatives + 1.0), RANKS[..., None] - 1
    if replace:
        law = stats.binom.pmf(x, negatives, above / (ITEMS - 1))
    else:
        law = stats.hypergeom.pmf(x, ITEMS - 1, above, negatives)
    values = np.array([1 - x / negatives, 1 / (x + 1), 1 / np.log2(x + 2), x < 10])[:, None, None]
    each = np.sum(law * values, axis=-1)
    central = [np.sum(law * (values - each[..., None]) ** power, axis=-1) for power in (2, 4)]
    variance = central[0].sum(axis=-1) / 25  # an evaluation is the mean of five
    fourth = (central[1] - 3 * central[0] ** 2).sum(axis=-1) / 625 + 3 * variance**2
    return np.array([each.mean(axis=-1), variance, fourth])


def expected_precision(negatives):
    """Average precision on the negatives, (counts, recommenders), in closed form."""
    p, m = (RANKS - 1) / (ITEMS - 1), np.asarray(negatives, float)[:, None, None]
    return np.mean(-np.expm1((m + 1) * np.log1p(-p)) / ((m + 1) * p), axis=-1)


def printed(name, table, replicates, mean, variance):
    """A printed mean over REPEATS against ours; its margin is normal, by exact variance, and half a digit."""
    from scipy.special import ndtri

    theirs = ndtri(1 - FALSE_ALARM / table.size / 2) * np.sqrt(variance / REPEATS)
    return close(name, table, mean, theirs + student_margin(replicates, alarm=FALSE_ALARM / table.size) + HALF_DIGIT)


def likely(name, law, replicates):
    """`mean_is` where outcomes are not so rare that Student's margin is dishonest: by kurtosis of one evaluation."""
    mean, variance, fourth = law
    keep = (variance > 1e-9) & (fourth < 20 * variance**2)
    return mean_is(name, mean[keep], replicates[:, keep])


def ahead(data):
    """Differences in precision, first over second and second over third, at the counts of ORDERS, (replicates, 6)."""
    places = {m: int(np.argmax(m == COUNTS)) for m in ORDERS}
    values = {m: data.sampled[:, i, AP] for m, i in places.items()}
    return np.stack([values[m][:, a] - values[m][:, b] for m, o in ORDERS.items() for a, b in (o[:2], o[1:])], axis=1)


def verdict(data):
    eps = np.finfo(data.exact.dtype).eps
    law = np.stack([moments(m) for m in COUNTS], axis=1)
    mean, variance, fourth = law[:, PRINTED_AT]
    few, many = data.sampled[:, 0], data.sampled[:, PRINTED_AT]
    sd = np.sqrt(variance)
    around = data.squares - 2 * mean * many + mean**2  # unbiased for the variance; delta method for its root
    sd_here = sd + (around - variance) / (2 * np.maximum(sd, HALF_DIGIT))
    sd_variance = (fourth - variance**2) / (4 * np.maximum(variance, HALF_DIGIT**2))
    lead, swap = ahead(data), many[:, AP:, A] - many[:, AP:, C]
    slope = np.array([0.5, 1 - 1 / np.log2(3), 0])[:, None]
    half = moments(HALF, replace=False)
    share = (RANKS - 1) / (ITEMS - 1)
    scatter = np.mean(share * (1 - share), axis=1) / HALF * (ITEMS - 1 - HALF) / (ITEMS - 2)
    return (
        close("exact metrics as printed", PRINTED, data.exact, HALF_DIGIT),
        close("all negatives, by the hypergeometric law", data.exact, moments(ITEMS - 1, replace=False)[0], 4096 * eps),
        printed("sampled metrics at m = 99 as printed", SAMPLED, many, many.mean(axis=0), variance),
        printed("their spread as printed", SPREAD, sd_here, sd_here.mean(axis=0), sd_variance),
        likely("simulated metrics = binomial expectation", law, data.sampled),
        mean_is("average precision in closed form", expected_precision(COUNTS), data.sampled[:, :, AP]),
        likely("mean squares about the expectation at m = 99", (variance, variance, fourth), around),
        mean_is("sampled AUC = exact AUC, whatever m", data.exact[AUC], data.sampled[:, 2:, AUC]),
        at_least("exact: C above A by the other three", 0, data.exact[AP:, C] - data.exact[AP:, A]),
        at_least("sampled: A above C by the same", 0, swap.mean(axis=0) - student_margin(swap)),
        at_least("orders by precision at m = 20, 200, 500 as printed", 0, lead.mean(axis=0) - student_margin(lead)),
        close("one negative: every metric is 1 - slope (1 - AUC)", 1 - slope * (1 - few[:, :1]), few[:, 1:], 64 * eps),
        likely("without replacement = hypergeometric expectation", half, data.distinct),
        mean_is("and its variance of an item's AUC", scatter, data.scatter),
    )


def controls(key, data, **size):
    world = partial(compute, key, **SIZES["quick"])
    whole = np.broadcast_to(data.exact, data.sampled.shape)
    return {
        "popular items drawn more often": world(tilt=0.5),
        "ranks counted from 2": world(first=2),
        "runs of eight equal negatives where all differ": world(run=8),
        "evaluated on the whole catalogue": data._replace(sampled=whole),
        "A taken for C": data._replace(exact=data.exact[:, ::-1]),
    }


def plot(data):
    fig, (along, table, blur) = panels(3, width=3.7, height=3.3)
    fine = np.unique(np.geomspace(1, ITEMS - 1, 40).astype(int))
    curves = np.array([moments(int(m), replace=False)[0, AP] for m in fine])
    for i, name in enumerate("ABC"):
        values = np.column_stack([data.sampled[:, :, AP, i], data.distinct[:, AP, i]])
        band = student_margin(values)
        measured(along, [*COUNTS, HALF], values.mean(axis=0), band=band, label=name, linestyle="none")
        theory(along, fine, curves[:, i], label="expected" if i == C else None)
    along.plot([ITEMS - 1] * 3, data.exact[AP], "k*", markersize=8, clip_on=False, zorder=7, label="exact")
    along.set(xscale="log", yscale="log", xlabel="negatives $m$", ylabel="average precision")
    along.set_title("The order depends on $m$")
    for j in METRICS:
        for i in (A, B, C):
            x = j + np.array([-0.2, 0.2])
            shown = [data.exact[j, i], data.sampled[:, PRINTED_AT, j, i].mean()]
            measured(table, x, shown, color=f"C{i}", label="ABC"[i] if j == 0 else None)
        table.plot(np.repeat(x, 3), [*PRINTED[j], *SAMPLED[j]], "k_", markersize=11, zorder=6, label="printed"[j * 9 :])
    table.set_xticks(METRICS, ["AUC", "AP", "NDCG", "recall@10"])
    table.set(title="Exact (left) and on 99 negatives", xlabel="metric", ylabel="value", ylim=(-0.04, 1.28))
    ranks = np.geomspace(1.001, ITEMS - 1, 300)
    for shade, m in zip(("0.8", "0.65", "0.45", "0.2"), (1, 20, 99, 500), strict=True):
        p = (ranks - 1) / (ITEMS - 1)
        blur.plot(ranks, -np.expm1((m + 1) * np.log1p(-p)) / ((m + 1) * p), color=shade, label=f"$m$ = {m}")
    theory(blur, ranks, 1 / ranks, label="exact: 1 / rank")
    blur.set(xscale="log", yscale="log", xlabel="true rank among 10,000", ylabel="expected average precision")
    blur.set_title("Few negatives do not see the top")
    table.legend(ncols=4, loc="upper center", fontsize=7, columnspacing=1, handletextpad=0.4)
    legends(along, blur, loc="lower left")
    return fig
