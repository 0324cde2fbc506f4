"""Taggers of real speech, trained by likelihood and by contrast: a chain over tags, words as its only clue."""

from collections import Counter
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import data as sources
from experiments._claim import student_margin
from experiments._devices import over_devices
from experiments._style import absent, theory
from experiments.domains import _chains
from nsx import sequences

LENGTH, TAGS, BATCH, RATE = 12, 16, 128, 0.03
OBJECTIVES = {
    "likelihood": _chains.likelihood,
    "one contrast a position": _chains.by_position,
    "single edits pooled": _chains.pooled,
    "and equal swaps kept": _chains.with_duplicates,
}
COLUMNS = ("nll", "contrast", "kept", *OBJECTIVES, "majority", "words")


def utterances(corpus):
    """Word and tag ids (u, LENGTH), -1 beyond the end, and which conversation; longer ones are cut, rare words one."""
    tagged = getattr(sources, corpus)()
    words, tags = Counter(tagged.words), Counter(tagged.tags)
    word_id = {w: i + 1 for i, (w, c) in enumerate(words.most_common()) if c >= 5}
    tag_id = {t: i for i, (t, _) in enumerate(tags.most_common(TAGS - 1))}
    start = np.searchsorted(tagged.utterance, tagged.utterance)
    place = np.arange(len(tagged.words)) - start
    kept = place < LENGTH
    _, row = np.unique(tagged.utterance, return_inverse=True)
    ids = np.full((2, row.max() + 1, LENGTH), -1, np.int32)
    ids[0, row[kept], place[kept]] = [word_id.get(w, 0) for w, k in zip(tagged.words, kept, strict=True) if k]
    ids[1, row[kept], place[kept]] = [tag_id.get(t, TAGS - 1) for t, k in zip(tagged.tags, kept, strict=True) if k]
    conversation = np.zeros(row.max() + 1, np.int32)
    conversation[row] = tagged.conversation
    return ids[0], ids[1], conversation, len(word_id) + 1


def chain(parameters, words):
    return parameters["emission"][words], parameters["transition"]


@partial(jax.jit, static_argnames=("objective", "steps", "vocabulary"))
def train(key, words, tags, objective, steps, vocabulary):
    """Adam on the mean objective of random batches, the rate falling to 0."""
    optimizer = optax.adam(optax.linear_schedule(RATE, 0.0, steps))
    start = {"emission": jnp.zeros((vocabulary, TAGS)), "transition": jnp.zeros((TAGS, TAGS))}

    def loss(parameters, rows):
        one = lambda w, y: objective(*chain(parameters, w), jnp.maximum(y, 0), where=y >= 0)
        return jnp.mean(jax.vmap(one)(words[rows], tags[rows])) + 1e-5 * optax.tree.norm(parameters, squared=True)

    def step(state, rows):
        parameters, memory = state
        updates, memory = optimizer.update(jax.grad(loss)(parameters, rows), memory)
        return (optax.apply_updates(parameters, updates), memory), None

    rows = jax.random.randint(key, (steps, BATCH), 0, len(words))
    return jax.lax.scan(step, (start, optimizer.init(start)), rows)[0][0]


@jax.jit
def accuracy(parameters, words, tags):
    """Share of right tags of each utterance on the best path."""
    one = lambda w, y: sequences.crf_viterbi(*chain(parameters, w), where=y >= 0).labels
    right = (jax.vmap(one)(words, tags) == tags) & (tags >= 0)
    return jnp.sum(right, axis=1) / jnp.sum(tags >= 0, axis=1)


@jax.jit
def values(parameters, words, tags):
    """Likelihood, contrast and contrast with duplicates of each utterance, under one model."""
    one = lambda w, y: [
        f(*chain(parameters, w), jnp.maximum(y, 0), where=y >= 0)
        for f in (_chains.likelihood, _chains.pooled, _chains.with_duplicates)
    ]
    return over_devices(lambda x: one(*x), (words, tags), batch_size=256)


def compare(key, corpus, steps):
    """COLUMNS for each utterance of the test conversations (every fifth), (u, columns); empty without the corpus."""
    if corpus is None:
        return np.zeros((0, len(COLUMNS)))
    words, tags, conversation, vocabulary = utterances(corpus)
    test = conversation % 5 == 0
    models = [
        train(k, words[~test], tags[~test], f, steps, vocabulary)
        for k, f in zip(jax.random.split(key, len(OBJECTIVES)), OBJECTIVES.values(), strict=True)
    ]
    most = np.bincount(tags[~test][tags[~test] >= 0]).argmax()
    length = (tags[test] >= 0).sum(axis=1)
    right = [accuracy(m, words[test], tags[test]) for m in models]
    majority = (tags[test] == most).sum(axis=1) / length
    return np.stack([*values(models[0], words[test], tags[test]), *right, majority, length], axis=1)


def draw(scatter, bars, real):
    """Contrast against likelihood of each utterance, and what the taggers get right."""
    if not len(real):
        for ax in (scatter, bars):
            absent(ax, "pycantonese")
        return
    columns = dict(zip(COLUMNS, real.T, strict=True))
    scatter.scatter(columns["nll"], columns["contrast"], s=3, alpha=0.4, rasterized=True, label="test utterances")
    top = columns["nll"].max()
    theory(scatter, [0, top], [0, top], label="contrast = NLL")
    scatter.set(title="Real speech: always below", xlabel="exact NLL (nats)", ylabel="contrast on single edits (nats)")
    scatter.legend(loc="upper left")
    trained = (*OBJECTIVES, "majority")
    rates = np.stack([columns[name] for name in trained], axis=1)
    bars.barh(np.arange(len(trained)), rates.mean(0), xerr=student_margin(rates), color="C2", height=0.6)
    bars.set_yticks(np.arange(len(trained)), [*OBJECTIVES, "always the commonest tag"])
    bars.set(title="Taggers trained by each", xlabel="share of tags right", xlim=(0, 1.1))
    for row, rate in enumerate(rates.mean(0)):
        bars.text(rate + 0.03, row, f"{rate:.3f}", va="center", fontsize=7)
