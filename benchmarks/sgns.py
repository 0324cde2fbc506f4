"""Word vectors: nsx.words.train_sgns and gensim's Word2Vec, on one text with one set of hyperparameters.

Quality first: the SGNS loss of held-out sentences (the noise summed exactly over the vocabulary), the rank
correlation with WordSim-353 and SimLex-999, and the neighbours of a few words to judge by eye. Then speed, in
effective words a second (tokens left by subsampling).

Sentences are shuffled once. In reading order gensim forgets the first book while it reads the last, and nsx, which
reads stretches of the text side by side, does not: that would be a difference of data, not of trainers.
"""

from __future__ import annotations

import functools
import os
from typing import NamedTuple

import jax
import numpy as np
from scipy import stats

from benchmarks._contest import Contest, Trained, clocked
from experiments import data
from nsx import words

HELD_OUT = 40  # every 40th sentence
PROBES = ("king", "sea", "woman", "sword", "money", "night", "horse", "red", "eat", "three", "london", "happy")
SHARED = {"window": 5, "negatives": 5, "exponent": 0.75, "learning_rate": 0.025, "threshold": 1e-3}
DIMENSION, MIN_COUNT = 100, 5
SIZES = {  # corpus, epochs, seeds
    "quick": ("shakespeare", 2, 1),
    "full": ("library", 5, 5),
    "device": ("library", 5, 5),
}


class Text(NamedTuple):
    """Sentences in shuffled order, the last part of them held out; ids by falling frequency."""

    ids: np.ndarray
    sentence: np.ndarray
    held_ids: np.ndarray
    held_sentence: np.ndarray
    names: np.ndarray


def load(name: str) -> Text:
    corpus = data.corpus(name, min_count=MIN_COUNT)
    cuts = np.flatnonzero(np.diff(corpus.sentence)) + 1
    sentences = np.split(corpus.ids, cuts)
    order = np.random.default_rng(0).permutation(len(sentences))
    held = len(order) // HELD_OUT
    parts = []
    for chosen in (order[held:], order[:held]):
        chosen = [sentences[i] for i in chosen]
        parts += [np.concatenate(chosen), np.repeat(np.arange(len(chosen)), [len(s) for s in chosen])]
    return Text(*parts, np.array(corpus.words))


def train_nsx(text: Text, epochs: int, seed: int) -> Trained:
    """One warm-up epoch compiles; it is not timed, as gensim's compiled code is not."""
    options = {"vocabulary_size": len(text.names), "sentence": text.sentence, "epochs": epochs} | SHARED
    plan = words.sgns_plan(text.ids, **options)
    kept = float(np.sum(np.asarray(plan.keep)[text.ids]))
    init = functools.partial(words.sgns_init, plan=plan, dimension=DIMENSION)
    jax.block_until_ready(words.sgns_epoch(jax.random.key(0), plan, init(jax.random.key(1))))

    def train() -> tuple[tuple[np.ndarray, ...], float]:
        init_key, *keys = jax.random.split(jax.random.key(seed), epochs + 1)
        state = init(init_key)
        for key in keys:
            state, _ = words.sgns_epoch(key, plan, state)
        return tuple(np.asarray(x) for x in state.embedding), kept * epochs

    return clocked(train)


def train_gensim(text: Text, epochs: int, seed: int) -> Trained:
    from gensim.models import Word2Vec

    sentences = np.split(text.names[text.ids].astype(object), np.flatnonzero(np.diff(text.sentence)) + 1)
    sentences = [s.tolist() for s in sentences]
    model = Word2Vec(
        vector_size=DIMENSION, sg=1, hs=0, min_count=1, seed=seed, workers=os.cpu_count(), window=SHARED["window"],
        negative=SHARED["negatives"], ns_exponent=SHARED["exponent"], alpha=SHARED["learning_rate"],
        sample=SHARED["threshold"],
    )  # fmt: skip
    model.build_vocab(sentences)

    def train() -> tuple[tuple[np.ndarray, ...], float]:
        effective, _ = model.train(sentences, total_examples=len(sentences), epochs=epochs)
        return (model.wv.vectors, model.syn1neg), effective

    done = clocked(train)
    known = {name: i for i, name in enumerate(text.names)}
    rows = [known[name] for name in model.wv.index_to_key]
    tables = np.zeros((2, len(known), DIMENSION), np.float32)
    tables[0, rows], tables[1, rows] = done.arrays
    return done._replace(arrays=tuple(tables))


def held_out_loss(text: Text, word: np.ndarray, context: np.ndarray) -> float:
    """SGNS loss in nats per held-out pair: thinned as in training, windows and noise in expectation."""
    counts = np.bincount(text.ids, minlength=len(text.names))
    keep = words.keep_probability(counts / counts.sum(), threshold=SHARED["threshold"])
    mask = np.asarray(words.subsample(jax.random.key(0), text.held_ids, keep))
    pairs = words.cooccurrence(
        text.held_ids[mask], window=SHARED["window"], vocabulary_size=len(counts), sentence=text.held_sentence[mask],
        weighting="word2vec",
    )  # fmt: skip
    noise = counts ** SHARED["exponent"] / np.sum(counts ** SHARED["exponent"])
    scores = np.sum(word[pairs.rows] * context[pairs.cols], axis=1, dtype=np.float64)
    total = np.sum(pairs.values * np.logaddexp(0, -scores))
    centres, weight = np.unique(pairs.rows), np.bincount(pairs.rows, pairs.values)
    for some in np.array_split(centres, max(1, len(centres) // 512)):
        push = np.logaddexp(0, word[some] @ context.T) @ noise
        total += SHARED["negatives"] * np.sum(weight[some] * push)
    return float(total / np.sum(pairs.values))


def correlation(text: Text, vectors: np.ndarray, name: str) -> float:
    """Spearman's rank correlation of cosines with people's scores, over the pairs whose words are known."""
    known = {word: i for i, word in enumerate(text.names)}
    human = data.word_similarity(name)
    rows = [
        (known[a], known[b], s) for (a, b), s in zip(human.pairs, human.scores, strict=True) if {a, b} <= set(known)
    ]
    first, second, score = (np.array(x) for x in zip(*rows, strict=True))
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return float(stats.spearmanr(np.sum(unit[first] * unit[second], axis=1), score).statistic)


def neighbours(text: Text, vectors: np.ndarray) -> dict[str, list[str]]:
    common = vectors[: int(np.sum(np.bincount(text.ids) >= 20))]
    asked = {word: i for i, word in enumerate(text.names[: len(common)]) if word in PROBES}
    found = words.nearest(common, np.array(list(asked.values())), k=6).ids
    return {word: text.names[np.asarray(row)].tolist() for word, row in zip(asked, found, strict=True)}


def contest(scale: str) -> Contest:
    """The contest at a scale; ImportError without gensim, data.DataError without the data."""
    import gensim  # noqa: F401

    corpus, epochs, seeds = SIZES[scale]
    text = load(corpus)
    judge = lambda tables: {
        "held_out_loss": held_out_loss(text, *tables),
        "wordsim353": correlation(text, tables[0], "wordsim353"),
        "simlex999": correlation(text, tables[0], "simlex999"),
    }
    facts = SHARED | {"corpus": corpus, "tokens": text.ids.size, "vocabulary": len(text.names), "epochs": epochs}
    return Contest(
        "sgns", f"word vectors on {text.ids.size / 1e6:.1f} M words, {epochs} epochs, d = {DIMENSION}", "words",
        {
            "nsx": functools.partial(train_nsx, text, epochs),
            "gensim": functools.partial(train_gensim, text, epochs),
        },
        judge, seeds, 2.5, facts | {"dimension": DIMENSION, "gensim_workers": os.cpu_count()},
        show=lambda tables: neighbours(text, tables[0]),
    )  # fmt: skip


CONTESTS = {"sgns": contest}
