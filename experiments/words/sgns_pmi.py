r"""The optimum of skip-gram negative sampling is PMI - log k, when noise follows the unigram law.

Setting the derivative of the expected loss P(w,c) softplus(-s) + k P(w) P(c) softplus(s) to zero gives, cell by
cell, s* = log P(w,c) / (P(w) P(c)) - log k, with the marginals of the pair counts. It needs free scores (dimension at
least the rank), noise terms summed over the k draws, and P(w,c) > 0: an unobserved pair is only ever pushed, so its
score falls for ever. Here free scores are found by minimising the expected loss, with no closed form in sight. In d
dimensions the loss stays above the optimum by a share that falls with d; the truncated SVD of the clipped matrix, the
classical stand-in, does worse at every d because it weighs all cells alike. Refuted if a score differs from PMI - log k
by more than rounding, if an unobserved score stops, or if at equal rank the SVD comes nearer to the optimum.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_least, at_most, close
from experiments._devices import over_devices
from experiments._style import measured, panels, theory
from experiments.words import _tables
from nsx import words

CLAIM = Claim(
    statement="At its optimum SGNS reproduces PMI - log k on every observed pair, when the noise is the unigram law.",
    source="002, the secret identity",
    references=("levy2014neural", "goldberg2014word2vec"),
)
SIZES = {
    "quick": {"size": 24, "corpus": None, "vocabulary": 24, "ranks": (2, 8)},
    "full": {"size": 64, "corpus": "shakespeare", "vocabulary": 600, "ranks": (5, 20, 80, 320)},
    "device": {"size": 64, "corpus": "library", "vocabulary": 8000, "ranks": (5, 20, 80, 320, 1280)},
}
NEGATIVES = np.array([1.0, 2.0, 5.0, 15.0])
NUM_STEPS = 48


class Data(NamedTuple):
    """Planted table (n, n) and the scores that minimise its loss, (4, n, n), one for each of NEGATIVES.

    On the corpus (or a larger planted table where it was not fetched): `gap` (4,) largest error of the free optimum in
    units of rounding, `scatter` (2, p) PMI and score of some pairs at k = 5, and excess loss over the optimum, a
    ratio, of the zero table (4,), of SPPMI (4,), and by rank of SVD of SPPMI and of SGNS (ranks, 4).
    """

    table: jax.Array
    scores: jax.Array
    gap: np.ndarray
    scatter: np.ndarray
    ranks: np.ndarray
    zero: np.ndarray
    sppmi: np.ndarray
    svd: np.ndarray
    sgns: np.ndarray
    optimum: np.ndarray


@partial(jax.jit, static_argnames=("objective", "exponent"))
def optima(table, objective, exponent):
    """Free scores of least expected loss, for every k."""

    def one(negatives):
        law = {"negatives": negatives, "exponent": exponent, "num_steps": NUM_STEPS, "objective": objective}
        return _tables.minimise_scores(table, **law)

    return over_devices(one, jnp.asarray(NEGATIVES, table.dtype))


@jax.jit
def excess(scores, table, negatives, exponent=1.0):
    return words.deviation(scores, table, negatives=negatives, exponent=exponent)


def corpus_counts(key, corpus, vocabulary):
    if corpus is None:
        return jax.jit(partial(_tables.zipf_table, size=vocabulary))(key)
    return jnp.asarray(_tables.corpus_table(corpus, vocabulary=vocabulary, window=5)[0], float)


def free_optima(counts, objective=words.expected_sgns, exponent=1.0):
    """Largest gap between the free optimum and PMI - log k, by k, and a sample of pairs at k = 5."""
    scores, pmi = np.asarray(optima(counts, objective, exponent)), _tables.pmi_by_hand(counts)
    law = pmi - np.log(NEGATIVES)[:, None, None]
    gap = np.nanmax(np.abs(scores - law) / _tables.rounding(law, scores.dtype), axis=(1, 2))
    some = np.argwhere(np.asarray(counts) > 0)[:: max(1, int(np.sum(counts > 0)) // 3000)]
    return {"gap": gap, "scatter": np.stack([pmi[tuple(some.T)], scores[2][tuple(some.T)]])}


def at_low_rank(key, counts, ranks, num_steps=200):
    """Excess loss of SVD of SPPMI and of SGNS, by rank and k."""
    svd, sgns = np.zeros((2, len(ranks), len(NEGATIVES)))
    keys = jax.random.split(key, svd.shape)
    for j, k in enumerate(NEGATIVES):
        whole = words.svd_factors(words.sppmi(counts, negatives=k), rank=max(ranks))
        for i, rank in enumerate(ranks):
            fit = words.fit_sgns(keys[i, j], counts, rank=rank, negatives=k, num_steps=num_steps)
            svd[i, j] = excess(whole.words[:, :rank] @ whole.contexts[:, :rank].T, counts, k)
            sgns[i, j] = excess(fit.words @ fit.contexts.T, counts, k)
    return {"svd": svd, "sgns": sgns}


def stand_ins(counts, exponent=1.0):
    """Excess of the zero table and of SPPMI, and the least loss itself, by k."""
    rows = [
        (
            excess(jnp.zeros_like(counts), counts, k, exponent),
            excess(words.sppmi(counts, negatives=k), counts, k, exponent),
            words.optimal_sgns(counts, negatives=k),
        )
        for k in NEGATIVES
    ]
    return dict(zip(("zero", "sppmi", "optimum"), np.array(rows, float).T, strict=True))


def compute(key, *, size, corpus, vocabulary, ranks):
    planted, other, start = jax.random.split(key, 3)
    table = jax.jit(partial(_tables.zipf_table, size=size))(planted)
    counts = corpus_counts(other, corpus, vocabulary)
    fields = free_optima(counts) | stand_ins(counts) | at_low_rank(start, counts, ranks)
    return Data(table, optima(table, words.expected_sgns, 1.0), ranks=np.array(ranks), **fields)


def verdict(data):
    pmi = _tables.pmi_by_hand(data.table)
    seen = ~np.isnan(pmi)
    law = (pmi - np.log(NEGATIVES)[:, None, None])[:, seen]
    mean = data.scores[:, seen].mean(axis=1)
    slope = np.polyfit(np.log(NEGATIVES), mean, 1)[0]
    eps = np.finfo(data.scores.dtype).eps
    closed = (1 + NEGATIVES) * np.log(2) / data.optimum - 1
    return (
        close(
            "planted table: optimal score = PMI - log k",
            law,
            data.scores[:, seen],
            _tables.rounding(law, data.scores.dtype),
        ),
        close("slope of the mean optimum on log k", -1, slope, 1024 * eps),
        at_most("unobserved pairs: score after 48 Newton steps", -NUM_STEPS / 2, data.scores[:, ~seen]),
        close("larger table: gap to PMI - log k, in units of rounding", 0, data.gap, 1),
        close(
            "all-zero scores exceed the optimum by (1 + k) log 2 / optimum - 1", closed, data.zero, 4096 * eps * closed
        ),
        at_least("SVD of SPPMI exceeds SGNS of the same rank by", 0, data.svd - data.sgns),
        at_most("SGNS: excess at the next rank - excess at this rank", 0, np.diff(data.sgns, axis=0)),
    )


def averaged(scores, table, *, negatives, exponent):
    """The k noise terms averaged instead of summed: log k disappears."""
    return words.expected_sgns(scores, table, negatives=1.0 + 0 * negatives, exponent=exponent)


def smoothed(scores, table, *, negatives, exponent):
    """Every pair counted at least a little: no pair is unobserved, and none falls for ever."""
    return words.expected_sgns(scores, table + jnp.mean(table) / 10, negatives=negatives, exponent=exponent)


def controls(key, data, *, size, corpus, vocabulary, ranks):
    del corpus, vocabulary
    table = jnp.asarray(data.table)

    def world(objective=words.expected_sgns, exponent=1.0):
        return data._replace(scores=optima(table, objective, exponent), **free_optima(table, objective, exponent))

    hasty = at_low_rank(key, table, (2, 8), num_steps=2)
    return {
        "noise by frequency^0.75": world(exponent=0.75),
        "noise terms averaged, not summed": world(objective=averaged),
        "no pair unobserved": world(objective=smoothed),
        "excess judged under noise by frequency^0.75": data._replace(**stand_ins(table, 0.75)),
        "ranks read backwards": data._replace(sgns=data.sgns[::-1]),
        "descent stopped after two steps": data._replace(ranks=np.array((2, 8)), **hasty),
    }


def plot(data):
    fig, (scatter, planted, rank) = panels(3)
    pmi = _tables.pmi_by_hand(data.table)
    scatter.plot(*data.scatter, ".", markersize=1.5, alpha=0.4, rasterized=True, label="free scores, k = 5")
    ends = np.array([data.scatter[0].min(), data.scatter[0].max()])
    theory(scatter, ends, ends - np.log(5), label="PMI - log 5")
    scatter.set(title="Optimum of SGNS against PMI", xlabel="PMI (nats)", ylabel="optimal score (nats)")
    scatter.legend()
    seen = ~np.isnan(pmi)
    measured(planted, NEGATIVES, data.scores[:, seen].mean(axis=1), linestyle="", label="observed pairs, mean")
    theory(planted, NEGATIVES, pmi[seen].mean() - np.log(NEGATIVES), label="mean PMI - log k")
    fallen = f"unobserved pairs: below {data.scores[:, ~seen].max():.1f}\nafter {NUM_STEPS} Newton steps, and falling"
    planted.text(0.05, 0.08, fallen, transform=planted.transAxes, fontsize=7.5)
    planted.set(title="It shifts by log k", xscale="log", xlabel="negatives $k$", ylabel="optimal score (nats)")
    planted.legend()
    for i, k in enumerate(NEGATIVES):
        if k != 2:
            measured(rank, data.ranks, 100 * data.sgns[:, i], label=f"SGNS, k = {k:g}", color=f"C{i}")
            measured(
                rank,
                data.ranks,
                100 * data.svd[:, i],
                label=f"SVD, k = {k:g}",
                color=f"C{i}",
                linestyle=":",
                marker="s",
            )
    rank.set(title="In d dimensions", xscale="log", yscale="log", xlabel="dimension d", ylabel="loss above optimum (%)")
    rank.legend(fontsize=6.5, ncols=2)
    return fig
