"""The audit: its input, its proposals, its numbers. All of it runs on the host, and hands slabs to compiled code."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from nsx import audit
from tests.catalogue import Case

ON_HOST = {"jit": "embeddings are checked row by row on the host; nothing of it is meant to be traced"}
VECTORS = np.array([[1.0, 0.2, -0.3], [-0.4, 0.9, 0.1], [0.3, -0.5, 0.8], [0.6, 0.7, 0.2]])
ANCHORS = np.array([[0.8, 0.1, -0.5], [0.1, 1.1, 0.3], [0.2, -0.1, 0.9]])
IDS = np.array([0, 1, 2])
SCORES = np.array([[0.9, 0.1, -0.3, 0.4], [0.2, 0.8, 0.0, -0.1], [0.1, -0.4, 0.7, 0.3]])
LABELS = np.array([3, 3, 5, 4])
COUNTS = np.array([5.0, 1.0, 2.0, 8.0])


def arrays_of(problem: audit.Problem) -> dict:
    """The problem without its words."""
    return {name: value for name, value in problem._asdict().items() if name != "scores"}


def from_embeddings(anchors, candidates, counts, anchor_labels, candidate_labels, *, cosine):
    """Positives are the first candidates."""
    positives = candidates[: len(anchors)] if np.ndim(candidates) and np.ndim(anchors) else candidates
    return arrays_of(
        audit.from_embeddings(
            anchors,
            positives,
            candidates,
            cosine=cosine,
            counts=counts,
            anchor_labels=anchor_labels,
            candidate_labels=candidate_labels,
        )
    )


def from_scores(scores, positive_ids):
    """A problem of scores alone."""
    return arrays_of(audit.from_scores(scores, positive_ids))


def named_proposal(scores, temperature, *, name):
    """Log-weights of a named proposal for all pairs."""
    problem = audit.from_scores(scores, IDS, counts=COUNTS)
    proposal = audit.named_proposal(name, problem, k=2, temperature=temperature)
    return proposal.at(jnp.asarray(problem.anchors), np.arange(len(problem.anchors)))


def register_proposal(*, usage):
    """A name is added, and taken away again."""

    def build(request: audit.Request) -> audit.Proposal:
        return audit.Proposal(request.name, np.zeros(len(request.problem.candidates)))

    audit.register_proposal(usage, build)
    problem = audit.from_scores(SCORES, IDS)
    law = audit.named_proposal(usage, problem).log_weights
    del audit.PROPOSALS[usage]
    return law


def describe(anchors):
    """How many characters the description has."""
    return np.asarray(len(audit.describe(audit.from_embeddings(anchors, ANCHORS, VECTORS))))


def whole_audit(key, anchors, temperature):
    """The exact numbers of two proposals: what is relative to the full gradient is NaN where that is 0."""
    problem = audit.from_embeddings(anchors, VECTORS[IDS], VECTORS, positive_ids=IDS, counts=COUNTS)
    proposals = [audit.named_proposal(name, problem, k=2) for name in ("in-batch", "gibbs:1")]
    report = audit.audit(key, problem, proposals, temperature=temperature, k=(2,), replicates=2)
    exact = [(row.entropy.value, row.hard_probability.value) for row in report.proposals]
    return np.asarray(exact)


CASES = (
    *(
        Case(
            name="audit.from_embeddings",
            call=from_embeddings,
            floats={"anchors": ANCHORS, "candidates": VECTORS, "counts": COUNTS},
            integers={"anchor_labels": LABELS[IDS], "candidate_labels": LABELS},
            static={"cosine": cosine},
            exempt=ON_HOST,
        )
        for cosine in (False, True)
    ),
    Case(
        name="audit.from_scores",
        call=from_scores,
        floats={"scores": SCORES},
        integers={"positive_ids": IDS},
        exempt=ON_HOST,
    ),
    *(
        Case(
            name="audit.named_proposal",
            call=named_proposal,
            floats={"scores": SCORES},
            parameters={"temperature": 0.5},
            outside={"temperature": (0.0, -1.0, np.inf)},
            static={"name": name},
            exempt=ON_HOST,
            infinite=infinite,
        )
        for name, infinite in (("power:0.75", ""), ("scores:0.3", ""), ("ann:0.9", "log of a softmax that is 0"))
    ),
    Case(name="audit.register_proposal", call=register_proposal, static={"usage": "own"}, exempt=ON_HOST),
    Case(name="audit.describe", call=describe, floats={"anchors": ANCHORS}, exempt=ON_HOST),
    Case(
        name="audit.audit",
        call=whole_audit,
        floats={"anchors": ANCHORS},
        parameters={"temperature": 0.5},
        outside={"temperature": (0.0, -1.0, np.inf)},
        random=True,
        exempt=ON_HOST,
    ),
)
