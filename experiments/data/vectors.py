"""Word vectors that others trained."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from experiments.data._cache import read_all
from experiments.data.text import tokenize

_FOLDER = "gensim/test/test_data/"


class Vectors(NamedTuple):
    """Words, the most frequent first; of each its row of `table` (v, d) float32, and how often its text holds it."""

    words: tuple[str, ...]
    table: np.ndarray
    counts: np.ndarray


def news_vectors() -> Vectors:
    """Word2vec of 300 news reports, 10 dimensions, with which gensim tests itself; eight words are not in the text."""
    table, text = read_all("gensim", [_FOLDER + "euclidean_vectors.bin", _FOLDER + "lee_background.cor"])
    words, rows = parse_word2vec(table)
    seen = Counter(tokenize(text.decode()))
    return Vectors(words, rows, np.array([seen[word] for word in words]))


def parse_word2vec(content: bytes) -> tuple[tuple[str, ...], np.ndarray]:
    """The binary format of word2vec: a line of two sizes, then a word, a blank and its numbers."""
    head, _, rest = content.partition(b"\n")
    count, dimension = (int(size) for size in head.split())
    width, words, rows = 4 * dimension, [], []
    for _ in range(count):
        word, found, rest = rest.partition(b" ")
        if not found or len(rest) < width:
            raise ValueError(f"word2vec file ends after {len(words)} of {count} words: truncated.")
        words.append(word.decode().lstrip("\n"))
        rows.append(rest[:width])
        rest = rest[width:]
    return tuple(words), np.frombuffer(b"".join(rows), "<f4").reshape(count, dimension)
