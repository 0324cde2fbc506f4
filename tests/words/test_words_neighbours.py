"""Nearest words and analogies against a loop, and on vectors whose answers are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsx import words
from tests.oracles import words_train as oracle


def table(v=40, d=5, seed=0):
    return np.random.default_rng(seed).normal(size=(v, d))


class TestNearest:
    def test_oracle(self, tolerance):
        vectors = table()
        got = words.nearest(vectors, np.arange(40), k=6)
        assert got.ids.tolist() == [oracle.nearest(vectors, i, 6) for i in range(40)]
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        expected = np.take_along_axis(unit @ unit.T, np.asarray(got.ids), axis=1)
        np.testing.assert_allclose(got.cosines, expected, rtol=10 * tolerance, atol=tolerance)

    def test_more_queries_than_are_answered_at_once(self):
        vectors = table(v=300)
        got = words.nearest(vectors, np.arange(299, -1, -1), k=2).ids
        assert got.tolist() == [oracle.nearest(vectors, i, 2) for i in range(299, -1, -1)]

    def test_length_does_not_matter_and_ties_go_by_id(self):
        vectors = jnp.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.5, 0.0], [0.0, 0.0]])
        got = words.nearest(vectors, jnp.array([0, 4]), k=4)
        assert got.ids.tolist() == [[2, 3, 1, 4], [0, 1, 2, 3]]
        assert got.cosines.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]

    @pytest.mark.parametrize("shape", [(), (1,), (2, 3), (0,)])
    def test_shapes(self, shape):
        ids = np.arange(np.prod(shape, dtype=int)).reshape(shape)
        got = words.nearest(table(), ids, k=3)
        assert got.ids.shape == got.cosines.shape == (*shape, 3)

    def test_jit_changes_nothing(self):
        vectors = jnp.asarray(table())
        jitted = jax.jit(lambda v, i: words.nearest(v, i, k=4))(vectors, jnp.arange(3))
        assert jnp.array_equal(jitted.ids, words.nearest(vectors, jnp.arange(3), k=4).ids)

    def test_what_is_unknown_is_said(self):
        """A traced id that is no word, and a vector that is NaN: no neighbours are made up."""
        traced = jax.jit(lambda i: words.nearest(table(), i, k=2))(jnp.array([3, 40, -1]))
        assert traced.ids.tolist() == [words.nearest(table(), 3, k=2).ids.tolist(), [-1, -1], [-1, -1]]
        assert np.isnan(traced.cosines).tolist() == [[False] * 2, [True] * 2, [True] * 2]
        spoiled = table()
        spoiled[7, 0] = np.nan
        got = words.nearest(spoiled, [3, 7], k=2)
        assert np.all(got.ids == -1)
        assert np.all(np.isnan(got.cosines))
        wide = np.array([2**32], np.int64)
        with pytest.raises(ValueError, match="got 4294967296"):
            words.nearest(table(), wide, k=2)

    @pytest.mark.parametrize("size", [1e-38, 1e-20, 1e19, 1e38])
    def test_length_does_not_matter_at_the_ends_of_float32(self, size):
        vectors = np.array([[1.0, 0.0], [3.0, 1.0], [0.0, 1.0]])
        got = words.nearest(jnp.asarray(vectors * size, jnp.float32), 0, k=2)
        assert got.ids.tolist() == [1, 2]
        np.testing.assert_allclose(got.cosines, [3 / np.sqrt(10), 0], rtol=1e-5)

    def test_half_precision_compares_in_float32(self):
        assert words.nearest(jnp.asarray(table(), jnp.bfloat16), 0, k=2).cosines.dtype == jnp.float32

    @pytest.mark.parametrize(
        ("ids", "k", "error", "match"),
        [
            (40, 2, ValueError, r"ids must be in \[0, 39\], got 40"),
            (-1, 2, ValueError, r"ids must be in \[0, 39\]"),
            (0.0, 2, TypeError, "ids must be integer"),
            (0, 0, ValueError, "k must be at least 1"),
            (0, 40, ValueError, "k must be at most 39"),
            (0, 2.5, TypeError, "k sets a shape"),
        ],
    )
    def test_bad_input(self, ids, k, error, match):
        with pytest.raises(error, match=match):
            words.nearest(table(), ids, k=k)
        with pytest.raises(ValueError, match=r"vectors must have shape \(v, d\)"):
            words.nearest(np.ones(3), 0, k=1)


class TestAnalogy:
    def test_a_grid_of_two_features(self):
        """Word (i, j) is row i plus column j: (i, j) is to (i, l) as (m, j) is to (m, l), for every choice."""
        rows, columns = table(4, 30, 1), table(5, 30, 2)
        vectors = (rows[:, None] + columns[None]).reshape(20, 30)
        i, j, m, l = (x.ravel() for x in np.meshgrid(range(4), range(5), range(4), range(5), indexing="ij"))
        some = (i != m) & (j != l)
        name = lambda a, b: (5 * a + b)[some]
        got = words.analogy(vectors, name(i, j), name(i, l), name(m, j))
        assert got.ids.shape == (some.sum(), 1)
        assert np.mean(np.asarray(got.ids)[:, 0] == name(m, l)) > 0.95

    def test_oracle(self):
        vectors = table(25, 4, 3)
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        a, b, c = np.random.default_rng(4).permuted(np.tile(np.arange(25), (60, 1)), axis=1)[:, :3].T
        got = words.analogy(vectors, a, b, c, k=3)
        for row, (x, y, z) in enumerate(zip(a, b, c, strict=True)):
            target = unit[y] - unit[x] + unit[z]
            cosine = unit @ target / np.linalg.norm(target)
            order = [w for w in np.argsort(-cosine) if w not in (x, y, z)]
            assert got.ids[row].tolist() == order[:3]
            np.testing.assert_allclose(got.cosines[row], cosine[order[:3]], rtol=1e-4)

    def test_scalars_and_bad_input(self):
        assert words.analogy(table(), 0, 1, 2, k=2).ids.shape == (2,)
        with pytest.raises(ValueError, match="k must be at most 37"):
            words.analogy(table(), 0, 1, 2, k=38)
        with pytest.raises(ValueError, match="a, b and c must have one shape"):
            words.analogy(table(), 0, [1], 2)
        with pytest.raises(ValueError, match="c must be in"):
            words.analogy(table(), 0, 1, 40)
        with pytest.raises(TypeError, match="b must be integer"):
            words.analogy(table(), 0, 1.0, 2)
