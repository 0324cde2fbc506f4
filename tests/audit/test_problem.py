"""Input of the audit: what is taken, of any type and size, and what is refused by array and row."""

import jax.numpy as jnp
import numpy as np
import pytest

from nsx.audit import describe, from_embeddings, from_scores

GOOD = {"anchors": np.eye(3), "positives": np.eye(3), "candidates": np.vstack([np.eye(3), np.ones((1, 3))])}
ROWS = np.arange(12.0).reshape(4, 3)
BAD = {
    "NaN": ({"anchors": np.diag([1.0, np.nan, 1.0])}, "anchors\\[1\\] holds NaN or infinity; 1 such rows"),
    "infinity": ({"candidates": np.array([[1.0, 1, 1], [0, np.inf, 0]])}, "candidates\\[1\\] holds NaN or infinity"),
    "infinity, cosine": (
        {"candidates": np.array([[1.0, 1, 1], [0, np.inf, 0]]), "cosine": True},
        "candidates\\[1\\] holds NaN or infinity",
    ),
    "beyond float32": ({"anchors": np.diag([1.0, 1.0, 1e60])}, "anchors\\[2\\] holds 1e\\+60, beyond float32"),
    "shape of positives": ({"positives": np.eye(2)}, "positives must have the shape of anchors"),
    "dimension": ({"candidates": np.ones((4, 2))}, "candidates must have shape"),
    "one candidate": ({"candidates": np.ones((1, 3))}, "candidates must have shape \\(n >= 2"),
    "one pair": (
        {"anchors": np.ones((1, 3)), "positives": np.ones((1, 3)), "candidates": None},
        "one pair and no candidates: there is nobody to draw",
    ),
    "no matrix": ({"anchors": np.ones(3)}, "anchors must be a matrix"),
    "empty": ({"anchors": np.ones((0, 3)), "positives": np.ones((0, 3))}, "anchors must be a matrix"),
    "zero vector": (
        {"candidates": np.array([[1.0, 1, 1], [0, 0, 0]]), "cosine": True},
        "candidates\\[1\\] is a zero vector",
    ),
    "id too large": ({"positive_ids": np.array([0, 1, 4])}, "positive_ids must be in \\[-1, 3\\], got 4 at \\(2,\\)"),
    "id below -1": ({"positive_ids": np.array([0, -2, 1])}, "got -2 at \\(1,\\)"),
    "id that would wrap": ({"positive_ids": np.array([0, 1, 2 + 2**32])}, "got 4294967298 at \\(2,\\)"),
    "shape of ids": ({"positive_ids": np.array([0, 1])}, "positive_ids must have shape"),
    "ids off by one": ({"positive_ids": np.array([1, 2, 3])}, "off by one; they count from 0"),
    "ids of others": ({"positive_ids": np.array([0, 1, 0])}, "positives\\[2\\] is not candidates\\[0\\]"),
    "one side": ({"anchor_labels": np.arange(3)}, "candidate_labels is missing"),
    "shape of labels": (
        {"anchor_labels": np.arange(2), "candidate_labels": np.arange(4)},
        "anchor_labels must have shape",
    ),
    "NaN label": (
        {"anchor_labels": np.array([0, np.nan, 1]), "candidate_labels": np.arange(4.0)},
        "anchor_labels\\[1\\] is missing",
    ),
    "None label": (
        {"anchor_labels": np.arange(3), "candidate_labels": np.array([0, 1, 2, None])},
        "candidate_labels\\[3\\] is missing",
    ),
    "no date": (
        {"anchor_labels": np.array(["2020", "NaT", "2021"], "M8[Y]"), "candidate_labels": np.zeros(4, "M8[Y]")},
        "anchor_labels\\[1\\] is missing",
    ),
    "negative count": ({"counts": np.array([1, 2, -3, 4])}, "counts\\[2\\] = -3.0 is no count"),
    "NaN count": ({"counts": np.array([1, 2, np.nan, 4])}, "counts\\[2\\] = nan is no count"),
    "shape of counts": ({"counts": np.ones(3)}, "counts must have shape"),
}
BAD_TYPES = {
    "complex": ({"anchors": np.eye(3) * 1j}, "anchors must be real, got complex128"),
    "bfloat16 as void": ({"positives": np.eye(3).astype("V2")}, "positives has the type \\|V2.*bfloat16"),
    "strings": ({"anchors": np.full((3, 3), "a")}, "anchors must hold numbers"),
    "float ids": ({"positive_ids": np.array([0.0, 1, 2])}, "positive_ids must be integers"),
    "labels of two kinds": (
        {"anchor_labels": np.array(list("abc")), "candidate_labels": np.arange(4)},
        "anchor_labels are strings and candidate_labels integers",
    ),
    "labels of several types": (
        {"anchor_labels": [0, "a", 1], "candidate_labels": np.arange(4)},
        "anchor_labels must be all integers or all strings",
    ),
    "complex labels": (
        {"anchor_labels": np.ones(3) * 1j, "candidate_labels": np.ones(4) * 1j},
        "anchor_labels must be integers",
    ),
    "complex counts": ({"counts": np.ones(4) * 1j}, "counts must be real"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_embeddings_are_named_by_row(name):
    change, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        from_embeddings(**(GOOD | change))


@pytest.mark.parametrize("name", BAD_TYPES)
def test_bad_types_are_named(name):
    change, message = BAD_TYPES[name]
    with pytest.raises(TypeError, match=message):
        from_embeddings(**(GOOD | change))


def test_ids_match_to_half_precision():
    vectors = np.random.default_rng(0).normal(size=(50, 8))
    ids = np.arange(50)
    positives = jnp.asarray(vectors, jnp.bfloat16)
    problem = from_embeddings(vectors, positives, vectors, positive_ids=ids)
    np.testing.assert_array_equal(problem.positive_ids, ids)
    ids[7] = -1  # no candidate: nothing to compare
    from_embeddings(vectors, positives, vectors, positive_ids=ids)
    ids[7] = 8
    with pytest.raises(ValueError, match=r"positives\[7\] is not candidates\[8\].*1 of 50 rows.*candidates\[7\]"):
        from_embeddings(vectors, positives, vectors, positive_ids=ids)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int8", "uint8", "bool"])
def test_any_real_type(dtype):
    rows = jnp.asarray(ROWS > 4 if dtype == "bool" else ROWS, "float32" if dtype == "float64" else dtype)
    rows = np.asarray(rows, np.float64) if dtype == "float64" else rows
    problem = from_embeddings(rows, rows)
    assert problem.anchors.dtype == np.float32
    np.testing.assert_array_equal(problem.anchors, ROWS > 4 if dtype == "bool" else ROWS)


@pytest.mark.parametrize("size", [1e-300, 1e-30, 1e19, 1e30, 1e200])
def test_cosines_of_vectors_of_any_length(size):
    problem = from_embeddings(ROWS[1:] * size, ROWS[1:] / size, cosine=True)
    wanted = ROWS[1:] / np.linalg.norm(ROWS[1:], axis=1, keepdims=True)
    np.testing.assert_allclose(problem.anchors, wanted, rtol=1e-6)
    np.testing.assert_allclose(problem.positives, wanted, rtol=1e-6)


BIG = 2**53
LABELS = {
    "int64 against uint64 above 2^53": (
        np.array([BIG, BIG + 1, -1]),
        np.array([BIG + 1, BIG, 2**64 - 1, 5], np.uint64),
        [[False, True, False, False], [True, False, False, False], [False] * 4],
    ),
    "a list of large integers": (
        [2**63, 2**63 + 1, 7],
        [7, 2**63 + 1, 2**63, 0],
        [[False, False, True, False], [False, True, False, False], [True, False, False, False]],
    ),
    "int8 against int64": (np.array([1, 2, 3], np.int8), np.array([1, 257, 3, 2]), "equal"),
    "strings": (np.array(["b", "a", "c"]), ["a", "b", "long", "c"], "equal"),
    "numbers": (np.array([0.5, 1.5, 2.5]), np.array([1.5, 0.5, 0.0, 2.5]), "equal"),
    "booleans": (np.array([True, False, True]), np.array([True, True, False, False]), "equal"),
    "dates": (np.array([1, 2, 3], "M8[D]"), np.array([3, 2, 1, 4], "M8[D]"), "equal"),
    "strings in an array of objects": (np.array(["b", "a", "c"], object), np.array(["a", "b", "c", "d"]), "equal"),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_are_told_apart_by_equality(name):
    anchors, candidates, wanted = LABELS[name]
    problem = from_embeddings(**GOOD, anchor_labels=anchors, candidate_labels=candidates)
    same = problem.anchor_labels[:, None] == problem.candidate_labels[None, :]
    if wanted == "equal":
        wanted = [[a == c for c in np.asarray(candidates)] for a in np.asarray(anchors)]
    np.testing.assert_array_equal(same, wanted)
    assert problem.anchor_labels.dtype == np.int32


def test_scores_are_refused_by_row():
    scores = np.zeros((2, 3))
    for given, ids, message in (
        (scores, [0, -1], "positive_ids\\[1\\] is -1"),
        (scores, [0, 3], "got 3 at \\(1,\\)"),
        (np.zeros((2, 1)), [0, 0], "2 to 8192 candidates, got 1"),
        (np.zeros((1, 8193)), [0], "2 to 8192 candidates, got 8193"),
        (np.array([[0.0, np.nan], [0, 0]]), [0, 1], "scores\\[0\\] holds NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            from_scores(given, np.array(ids))


def test_what_was_understood_is_said():
    labelled = {"anchor_labels": [0, 1, 0], "candidate_labels": [0, 1, 0, 2], "counts": [1, 2, 3, 4]}
    text = describe(from_embeddings(**GOOD, **labelled))
    assert text == (
        "3 pairs of 3 anchors; 4 candidates, the positives not among them (no positive_ids); scores are dot products "
        "of 3 numbers; labels of 3 groups; counts of the candidates"
    )
    text = describe(from_embeddings(**GOOD, positive_ids=[0, 1, -1], cosine=True))
    assert "2 of the positives among them; scores are cosines" in text
    assert "the positives among them; " in describe(from_embeddings(**GOOD, positive_ids=[0, 1, 2]))
    assert describe(from_scores(np.zeros((1, 2)), [1])) == (
        "1 pair of 1 anchor; 2 candidates, the positives among them; scores as given; no labels; no counts"
    )
