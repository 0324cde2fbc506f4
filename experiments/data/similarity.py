"""What people say about words: similarity scores and analogy questions, all in lower case."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from experiments.data._cache import read
from experiments.data._sources import require_known

_FOLDER = "gensim/test/test_data/"
_SETS = {"wordsim353": "wordsim353.tsv", "simlex999": "simlex999.txt"}


class Similarity(NamedTuple):
    """Pairs of words and the mean human score of each, 0 to 10; `scores` is (n,) float64."""

    pairs: tuple[tuple[str, str], ...]
    scores: np.ndarray


def word_similarity(name: str) -> Similarity:
    """WordSim-353 ("wordsim353") [finkelstein2002placing] or SimLex-999 ("simlex999") [hill2015simlex]."""
    require_known("similarity set", name, _SETS)
    return parse_similarity(read("gensim", _FOLDER + _SETS[name]).decode())


def analogies() -> dict[str, list[tuple[str, str, str, str]]]:
    """Questions a : b = c : d in 14 groups [mikolov2013efficient]; the groups of grammar begin with gram."""
    return parse_analogies(read("gensim", _FOLDER + "questions-words.txt").decode())


def parse_similarity(text: str) -> Similarity:
    """Lines of word, word, score between tabs; comments begin with #."""
    rows = [line.lower().split("\t") for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return Similarity(tuple((a, b) for a, b, _ in rows), np.array([float(score) for *_, score in rows]))


def parse_analogies(text: str) -> dict[str, list[tuple[str, str, str, str]]]:
    """Lines of four words, under lines that begin with a colon and name the group."""
    groups: dict[str, list[tuple[str, str, str, str]]] = {}
    for line in text.splitlines():
        if line.startswith(":"):
            current = groups.setdefault(line[1:].strip(), [])
        elif line.strip():
            a, b, c, d = line.lower().split()
            current.append((a, b, c, d))
    return groups
