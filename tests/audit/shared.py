"""A small problem, and an audit of it."""

import numpy as np

from nsx.audit import audit, from_embeddings

ANCHORS = 12
CANDIDATES = 6
DIMENSION = 3
TAU = 0.7


def small(**options):
    """Twelve pairs with anchors near their positives, six candidates."""
    rng = np.random.default_rng(0)
    candidates = rng.normal(size=(CANDIDATES, DIMENSION))
    ids = np.arange(ANCHORS) % CANDIDATES
    anchors = candidates[ids] + 0.5 * rng.normal(size=(ANCHORS, DIMENSION))
    return from_embeddings(anchors, candidates[ids], candidates, positive_ids=ids, **options)


def row_of(key, problem, proposal, **options):
    """The audit of one proposal."""
    return audit(key, problem, [proposal], **({"temperature": TAU, "k": (2,), "replicates": 8} | options)).proposals[0]
