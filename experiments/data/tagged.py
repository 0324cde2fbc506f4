"""HKCanCor [luke2015hong]: Hong Kong Cantonese in conversation, each word with part of speech and reading."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from experiments.data._cache import read_all, verified
from experiments.data._sources import SOURCES

_FOLDER = "pycantonese/data/hkcancor/"


class Tagged(NamedTuple):
    """Tagged words in order; punctuation and the few foreign words without a tag are left out.

    `words`, `tags`, `jyutping` are tuples of n strings; `utterance` and `conversation` (n,) int32 are
    non-decreasing numbers of the utterance (over the whole corpus) and of the conversation it belongs to.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    jyutping: tuple[str, ...]
    utterance: np.ndarray
    conversation: np.ndarray


def hkcancor() -> Tagged:
    """The whole corpus: 58 conversations, in the order of their file names."""
    with zipfile.ZipFile(io.BytesIO(verified(SOURCES["pycantonese"]))) as archive:
        members = sorted(m for m in archive.namelist() if m.startswith(_FOLDER) and m.endswith(".cha"))
    return join(file.decode() for file in read_all("pycantonese", members))


def parse_utterances(text: str) -> Iterator[list[tuple[str, str, str]]]:
    """The (word, tag, jyutping) of each utterance of a CHAT file.

    A line that begins with a tab continues the one before. The speaker's line (*XXA:) holds the words; the
    %mor line after it holds tag|jyutping at the same positions, and punctuation as it stands.
    """
    speech = None
    for line in re.sub(r"\r?\n\t", " ", text).splitlines():
        label, _, content = line.partition("\t")
        if label.startswith("*"):
            speech = content.split()
        elif label == "%mor:" and speech is not None:
            marks = [mark.partition("|") for mark in content.split()]
            if len(marks) != len(speech):
                raise ValueError(f"{len(speech)} words against {len(marks)} tags in the utterance {line!r}.")
            yield [(w, tag, sound) for w, (tag, bar, sound) in zip(speech, marks, strict=True) if bar]
            speech = None


def join(files: Iterator[str]) -> Tagged:
    """Conversations, one CHAT file each, as one sequence."""
    rows = [(c, utterance) for c, file in enumerate(files) for utterance in parse_utterances(file)]
    words, tags, sounds = zip(*(entry for _, utterance in rows for entry in utterance), strict=True)
    lengths = [len(utterance) for _, utterance in rows]
    return Tagged(
        *(words, tags, sounds),
        np.repeat(np.arange(len(rows), dtype=np.int32), lengths),
        np.repeat(np.array([c for c, _ in rows], np.int32), lengths),
    )
