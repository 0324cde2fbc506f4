"""Word vectors side by side: nsx.words.train_sgns and gensim's Word2Vec, on one text with one set of hyperparameters.

    python benchmarks/sgns.py [--quick] [--corpus NAME] [--epochs N] [--seeds N] [--workers N] [--out FOLDER]

Quality first: the SGNS loss of held-out sentences (the noise summed exactly over the vocabulary), the rank
correlation with WordSim-353 and SimLex-999, and the neighbours of a few words to judge by eye. Then speed, in
effective words a second (tokens left by subsampling). The contestants take turns, one training each per seed, so that
a disturbance meets both; a fixed piece of work is timed around each training, and where its time wanders, the
machine was disturbed and no ratio of wall times is printed. Processor time, which suffers less, is printed always.

Sentences are shuffled once. In reading order gensim forgets the first book while it reads the last, and nsx, which
reads stretches of the text side by side, does not: that would be a difference of data, not of trainers.

Needs the data (`python -m experiments fetch`) and gensim (`pip install 'nsx[peers]'`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from scipy import stats

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from experiments import data  # noqa: E402
from nsx import words  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
STEADY = 1.3  # longest over shortest fixed work, above which no ratio of wall times is honest
HELD_OUT = 40  # every 40th sentence
PROBES = ("king", "sea", "woman", "sword", "money", "night", "horse", "red", "eat", "three", "london", "happy")
SHARED = {"window": 5, "negatives": 5, "exponent": 0.75, "learning_rate": 0.025, "threshold": 1e-3}


class Text(NamedTuple):
    """Sentences in shuffled order, the last part of them held out; ids by falling frequency."""

    ids: np.ndarray
    sentence: np.ndarray
    held_ids: np.ndarray
    held_sentence: np.ndarray
    names: np.ndarray


class Trained(NamedTuple):
    """The two tables, and what they cost."""

    word: np.ndarray
    context: np.ndarray
    effective_words: float
    seconds: float
    processor_seconds: float


def load(name: str) -> Text:
    corpus = data.corpus(name, min_count=5)
    cuts = np.flatnonzero(np.diff(corpus.sentence)) + 1
    sentences = np.split(corpus.ids, cuts)
    order = np.random.default_rng(0).permutation(len(sentences))
    held = len(order) // HELD_OUT
    parts = []
    for chosen in (order[held:], order[:held]):
        chosen = [sentences[i] for i in chosen]
        parts += [np.concatenate(chosen), np.repeat(np.arange(len(chosen)), [len(s) for s in chosen])]
    return Text(*parts, np.array(corpus.words))


def train_nsx(text: Text, seed: int, dimension: int, epochs: int, workers: int) -> Trained:
    """One warm-up epoch compiles; it is not timed, as gensim's compiled code is not."""
    del workers  # XLA decides
    options = {"vocabulary_size": len(text.names), "sentence": text.sentence, "epochs": epochs} | SHARED
    plan = words.sgns_plan(text.ids, **options)
    kept = float(np.sum(np.asarray(plan.keep)[text.ids]))
    jax.block_until_ready(
        words.sgns_epoch(jax.random.key(0), plan, words.sgns_init(jax.random.key(1), plan, dimension=dimension))
    )
    start = time.perf_counter(), time.process_time()
    init_key, *keys = jax.random.split(jax.random.key(seed), epochs + 1)
    state = words.sgns_init(init_key, plan, dimension=dimension)
    for key in keys:
        state, _ = words.sgns_epoch(key, plan, state)
    word, context = (np.asarray(x) for x in state.embedding)
    return Trained(word, context, kept * epochs, time.perf_counter() - start[0], time.process_time() - start[1])


def train_gensim(text: Text, seed: int, dimension: int, epochs: int, workers: int) -> Trained:
    from gensim.models import Word2Vec

    sentences = np.split(text.names[text.ids].astype(object), np.flatnonzero(np.diff(text.sentence)) + 1)
    sentences = [s.tolist() for s in sentences]
    model = Word2Vec(
        vector_size=dimension, sg=1, hs=0, min_count=1, seed=seed, workers=workers, window=SHARED["window"],
        negative=SHARED["negatives"], ns_exponent=SHARED["exponent"], alpha=SHARED["learning_rate"],
        sample=SHARED["threshold"],
    )  # fmt: skip
    model.build_vocab(sentences)
    start = time.perf_counter(), time.process_time()
    effective, _ = model.train(sentences, total_examples=len(sentences), epochs=epochs)
    seconds, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    known = {name: i for i, name in enumerate(text.names)}
    rows = [known[name] for name in model.wv.index_to_key]
    word, context = np.zeros((2, len(known), dimension), np.float32)
    word[rows], context[rows] = model.wv.vectors, model.syn1neg
    return Trained(word, context, effective, seconds, processor)


def held_out_loss(text: Text, trained: Trained) -> float:
    """SGNS loss in nats per held-out pair: thinned as in training, windows and noise in expectation."""
    counts = np.bincount(text.ids, minlength=len(text.names))
    keep = words.keep_probability(counts / counts.sum(), threshold=SHARED["threshold"])
    mask = np.asarray(words.subsample(jax.random.key(0), text.held_ids, keep))
    pairs = words.cooccurrence(
        text.held_ids[mask], window=SHARED["window"], vocabulary_size=len(counts), sentence=text.held_sentence[mask],
        weighting="word2vec",
    )  # fmt: skip
    noise = counts ** SHARED["exponent"] / np.sum(counts ** SHARED["exponent"])
    scores = np.sum(trained.word[pairs.rows] * trained.context[pairs.cols], axis=1, dtype=np.float64)
    total = np.sum(pairs.values * np.logaddexp(0, -scores))
    centres, weight = np.unique(pairs.rows), np.bincount(pairs.rows, pairs.values)
    for some in np.array_split(centres, max(1, len(centres) // 512)):
        push = np.logaddexp(0, trained.word[some] @ trained.context.T) @ noise
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


def fixed_work() -> float:
    """Seconds of the same 50 ms of work; the best of three is nearly free of chance."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        np.sort(np.random.default_rng(0).random(500_000))
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def measure(text: Text, options: argparse.Namespace) -> dict:
    contestants = {"nsx": train_nsx, "gensim": train_gensim}
    runs, control, shown = {name: [] for name in contestants}, [], {}
    for seed in range(1, options.seeds + 1):
        for name, train in contestants.items():
            control.append(fixed_work())
            trained = train(text, seed, options.dimension, options.epochs, options.workers)
            control.append(fixed_work())
            run = {
                "held_out_loss": held_out_loss(text, trained),
                "wordsim353": correlation(text, trained.word, "wordsim353"),
                "simlex999": correlation(text, trained.word, "simlex999"),
                "words_per_second": trained.effective_words / trained.seconds,
                "seconds_per_epoch": trained.seconds / options.epochs,
                "processor_ns_per_word": 1e9 * trained.processor_seconds / trained.effective_words,
            }
            runs[name].append(run)
            shown[name] = neighbours(text, trained.word)
            print(f"seed {seed}  {name:7s}" + "  ".join(f"{k} {v:.4g}" for k, v in run.items()), flush=True)
    disturbed = max(control) > STEADY * min(control)
    return {"runs": runs, "control": [min(control), max(control)], "disturbed": disturbed, "neighbours": shown}


def show(result: dict) -> None:
    median = {name: {k: np.median([r[k] for r in rows]) for k in rows[0]} for name, rows in result["runs"].items()}
    for key in median["nsx"]:
        print(f"{key:24s}" + "".join(f"{name:>9s} {median[name][key]:<11.4g}" for name in median))
    speed, work = (median["nsx"][k] / median["gensim"][k] for k in ("words_per_second", "processor_ns_per_word"))
    print(f"\nnsx needs {work:.2f} of gensim's processor time a word")
    if result["disturbed"]:
        low, high = result["control"]
        print(f"the fixed work took {1e3 * low:.0f} to {1e3 * high:.0f} ms: disturbed, so no ratio of wall times")
    else:
        print(f"nsx trains {speed:.2f} times as many words a second")
    for word in result["neighbours"]["nsx"]:
        for name in result["neighbours"]:
            print(f"{word:8s} {name:7s} {' '.join(result['neighbours'][name][word])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="Shakespeare, two epochs, one seed")
    parser.add_argument("--corpus", default=None, help="library, gutenberg, glosses or shakespeare")
    parser.add_argument("--dimension", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--seeds", type=int, default=None)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="gensim's threads")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    for name, quick, full in (("corpus", "shakespeare", "library"), ("epochs", 2, 5), ("seeds", 1, 3)):
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else full)
    try:
        versions = {name: version(name) for name in ("gensim", "jax", "numpy")}
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed, so there is nobody to race: pip install 'nsx[peers]'")
    text = load(options.corpus)
    result = measure(text, options)
    show(result)
    device = jax.devices()[0].device_kind.lower().replace(" ", "-")
    record = {
        "device": device,
        "cores": os.cpu_count(),
        "versions": versions,
        "corpus": {"name": options.corpus, "tokens": text.ids.size, "vocabulary": len(text.names)},
        "options": {k: getattr(options, k) for k in ("dimension", "epochs", "seeds", "workers")} | SHARED,
    }
    folder = options.out / device
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sgns.json").write_text(json.dumps(record | result, indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten: {folder / 'sgns.json'}")


if __name__ == "__main__":
    main()
