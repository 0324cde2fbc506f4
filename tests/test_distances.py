"""nsx.distances: edits against the textbook table, great circles against unit vectors; laws, gradients, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsx import distances
from tests.helpers import EPS, FLOAT, PRECISION, SEED
from tests.oracles import distances as oracle

RNG = np.random.default_rng(SEED)
LONGEST, SYMBOLS, CASES = 7, 4, 200


def sequences(count):
    """Random sequences of every length from 0 to LONGEST, padded by -1 and then by anything."""
    ids = RNG.integers(0, SYMBOLS, (count, LONGEST))
    lengths = RNG.integers(0, LONGEST + 1, count)
    padded = np.where(np.arange(LONGEST) < lengths[:, None], ids, -1)
    return np.where(np.arange(LONGEST) > lengths[:, None], ids, padded)  # behind the first -1 all is ignored


A, B, C = (sequences(CASES) for _ in range(3))
COSTS = RNG.uniform(0, 1.5, (SYMBOLS, SYMBOLS)).astype(FLOAT)
edit = jax.jit(distances.edit_distance)
normalised = jax.jit(distances.normalised_edit_distance)


def length(rows):
    return np.array([list(row).index(-1) if -1 in row else len(row) for row in rows])


# --- edits --------------------------------------------------------------------------------------------------


def test_levenshtein_matches_the_table():
    expected = [oracle.edit_distance(a, b) for a, b in zip(A.tolist(), B.tolist(), strict=True)]
    np.testing.assert_array_equal(edit(A, B), expected)


def test_weighted_edits_match_the_table():
    cost = lambda x, y: float(COSTS[x, y])
    expected = [oracle.edit_distance(a, b, cost) for a, b in zip(A.tolist(), B.tolist(), strict=True)]
    got = jax.jit(lambda a, b, c: distances.edit_distance(a, b, substitution=c))(A, B, COSTS)
    np.testing.assert_allclose(got, expected, rtol=32 * EPS, atol=32 * EPS)


def test_levenshtein_is_the_metric_of_unit_costs():
    ab, ba, bc, ac = (np.asarray(edit(x, y)) for x, y in ((A, B), (B, A), (B, C), (A, C)))
    np.testing.assert_array_equal(ab, ba)
    assert np.all(ac <= ab + bc)
    assert np.all((ab >= np.abs(length(A) - length(B))) & (ab <= np.maximum(length(A), length(B))))
    np.testing.assert_array_equal(edit(A, A), 0)
    unit = 1.0 - np.eye(SYMBOLS)
    np.testing.assert_array_equal(distances.edit_distance(A, B, substitution=unit), ab)


def test_normalised_is_a_share_of_the_longer_and_no_metric():
    longest = np.maximum(length(A), length(B))
    np.testing.assert_allclose(normalised(A, B), np.asarray(edit(A, B)) / np.maximum(longest, 1), rtol=4 * EPS)
    ab, aba, ba = ([0, 1, -1], [0, 1, 0], [1, 0, -1])
    far, half = (float(distances.normalised_edit_distance(np.array(x), np.array(ba))) for x in (ab, aba))
    assert far == 1.0
    assert far > 2 * half == pytest.approx(2 / 3)


def test_empty_sequences():
    empty, word = np.array([-1, 3, 3]), np.array([1, 2, 0])
    assert float(distances.edit_distance(empty, word)) == 3.0
    assert float(distances.edit_distance(word, np.zeros(0, int))) == 3.0
    assert float(distances.edit_distance(empty, np.zeros(0, int))) == 0.0
    assert float(distances.normalised_edit_distance(empty, np.array([-1]))) == 0.0
    assert float(distances.normalised_edit_distance(empty, word)) == 1.0


def test_edits_broadcast_as_a_loop_of_pairs():
    got = distances.edit_distance(A[:5, None], B[None, :6])
    assert got.shape == (5, 6)
    single = [[float(distances.edit_distance(a, b)) for b in B[:6]] for a in A[:5]]
    np.testing.assert_array_equal(got, single)
    np.testing.assert_array_equal(jax.vmap(distances.edit_distance)(A[:6], B[:6]), edit(A[:6], B[:6]))
    np.testing.assert_array_equal(distances.edit_distance(A[:6], B[0]), edit(A[:6], np.tile(B[0], (6, 1))))


@pytest.mark.skipif(PRECISION == 32, reason="finite differences need float64")
def test_gradient_in_the_costs():
    f = jax.jit(lambda c: jnp.sum(distances.edit_distance(A[:40], B[:40], substitution=c)))
    gradient, step = jax.grad(f)(COSTS), 1e-6
    for _ in range(3):
        direction = RNG.normal(size=COSTS.shape)
        slope = (f(COSTS + step * direction) - f(COSTS - step * direction)) / (2 * step)
        assert float(jnp.sum(gradient * direction)) == pytest.approx(float(slope), rel=1e-6)
    assert np.abs(gradient).max() > 0


def test_bad_sequences():
    with pytest.raises(TypeError, match="a must be integers"):
        distances.edit_distance(np.array([1.0]), np.array([1]))
    with pytest.raises(ValueError, match="b must have its symbols on the last axis"):
        distances.edit_distance(np.array([1]), 1)
    with pytest.raises(ValueError, match=r"leading axes \(3,\) and \(4,\) do not broadcast"):
        distances.edit_distance(A[:3], B[:4])
    with pytest.raises(ValueError, match=r"substitution must be square.*got shape \(4, 3\)"):
        distances.edit_distance(A, B, substitution=COSTS[:, :3])
    with pytest.raises(ValueError, match="substitution must be in"):
        distances.edit_distance(A, B, substitution=-COSTS)
    with pytest.raises(ValueError, match=r"symbols of a, as rows of substitution, must be in \[0, 1\], got"):
        distances.edit_distance(A, B, substitution=COSTS[:2, :2])


@pytest.mark.parametrize(
    ("a", "b", "edits"),
    [
        ([2**40, 7], [2**41, 7], 1),
        ([2**32 + 5], [5], 1),
        ([2**40, 2**40], [2**40], 1),
        (np.array([2**31, 3, 2**32 - 1], np.uint32), np.array([2**31, 2**32 - 1], np.uint32), 1),
        (np.array([2**31, 3], np.uint32), np.array([2**31, 4, -1, 9]), 1),
        (np.array([2**63 + 1, 2**63 + 2], np.uint64), np.array([2**63 + 1, 2**63 + 3], np.uint64), 1),
        (np.array([2**63 + 1], np.uint64), np.array([-(2**63), 1]), 1),
        ([2**70, 1], [2**70, 2], 1),
        (np.array([5, -128, 5], np.int8), np.array([5], np.int64), 0),
        (np.array([2**40, -(2**40), 3]), np.array([2**40, -1]), 0),
    ],
)
def test_symbols_of_any_type_and_size(a, b, edits):
    assert float(distances.edit_distance(a, b)) == edits
    assert float(distances.edit_distance(b, a)) == edits
    shorter_and_longer = sorted(int(np.sum(np.cumprod(np.asarray(x) >= 0))) for x in (a, b))
    share = edits / shorter_and_longer[1]
    assert float(distances.normalised_edit_distance(a, b)) == pytest.approx(share)


def test_traced_symbols_do_not_wrap():
    far = np.array([2**31 + 5, 7], np.uint32)
    assert float(edit(far, far[::-1])) == 2, "no end is read into the high bit"
    assert float(edit(np.array([3, 4], np.int8), np.array([3, 4]))) == 0
    with pytest.raises(TypeError, match="signed and unsigned"):
        edit(far, np.array([1, 2]))
    costs = COSTS + 0.1
    traced = jax.jit(lambda a, b: distances.edit_distance(a, b, substitution=costs))
    assert np.isnan(traced(np.array([0, SYMBOLS]), np.array([1, 2]))), "no row of costs"
    assert np.isnan(traced(np.array([0, 2**31 + 1], np.uint32), np.array([1, 2], np.uint32)))
    behind = traced(np.array([0, -1, SYMBOLS]), np.array([1, -7, -1]))
    assert float(behind) == pytest.approx(min(float(costs[0, 1]), 2), rel=4 * EPS), "behind the end all is ignored"
    for wrong in (-1.0, np.nan, np.inf):
        bad = costs.copy()
        bad[0, 1] = wrong
        given = jax.jit(lambda c: distances.edit_distance(np.array([0]), np.array([1]), substitution=c))(bad)
        assert np.isnan(given)
        with pytest.raises(ValueError, match="substitution must be in"):
            distances.edit_distance(np.array([0]), np.array([1]), substitution=bad)


@pytest.mark.parametrize("shape", [(3, 0), (0, 3), (2, 0, 2), (0, 0)])
def test_empty_axes(shape):
    rows, word = np.zeros(shape, int), np.array([1, 0])
    both = np.broadcast_shapes(shape[:-1], ())
    want = np.full(both, float(oracle.edit_distance([0] * shape[-1], [1, 0])))
    for f in (distances.edit_distance, jax.jit(distances.edit_distance)):
        np.testing.assert_array_equal(f(rows, word), want)
        np.testing.assert_array_equal(f(word, rows), want)
    np.testing.assert_array_equal(distances.normalised_edit_distance(rows, rows), np.zeros(both))
    assert distances.edit_distance([], []) == 0


# --- great circles ------------------------------------------------------------------------------------------


def places(count):
    z = RNG.uniform(-1, 1, count)
    return np.stack([np.rad2deg(np.arcsin(z)), RNG.uniform(-180, 180, count)], axis=-1).astype(FLOAT)


X, Y = places(CASES), places(CASES)


def test_great_circle_matches_unit_vectors():
    expected = [oracle.great_circle(x, y, distances.EARTH_RADIUS) for x, y in zip(X, Y, strict=True)]
    np.testing.assert_allclose(jax.jit(distances.great_circle)(X, Y), expected, rtol=64 * EPS)


@pytest.mark.parametrize("apart", [1e-1, 1e-4, 1e-7])
def test_nothing_cancels_near_or_opposite(apart):
    """Along a meridian the angle is the difference of latitudes, exactly; opposite it is pi less that."""
    south = np.array([[10.0, 20.0], [0.0, -70.0]], FLOAT)
    apart = FLOAT(2.0 ** np.round(np.log2(apart)))  # 10 + apart is exact in float64, apart itself is in both
    north = np.array([[apart, -70.0]], FLOAT)
    got = float(distances.great_circle(south[1], north[0], radius=1.0))
    assert got == pytest.approx(np.deg2rad(float(apart)), rel=16 * EPS)
    other_side = np.array([-apart, 110.0], FLOAT)
    defect = np.pi - float(distances.great_circle(south[1], other_side, radius=1.0))
    assert defect == pytest.approx(np.deg2rad(float(apart)), abs=8 * EPS)
    # a quarter of the way round the parallel, at any latitude, with whole turns added
    assert float(distances.great_circle(south[0] + np.array([0, 360], FLOAT), south[0])) <= 64 * EPS * 6371


def test_known_arcs():
    quarter = [((0, 0), (0, 90)), ((90, 13), (0, -50)), ((45, 0), (-45, 0)), ((0, 170), (0, -100))]
    for x, y in quarter:
        got = float(distances.great_circle(np.array(x, FLOAT), np.array(y, FLOAT), radius=2.0))
        assert got == pytest.approx(np.pi, rel=8 * EPS)
    assert float(distances.great_circle(np.array([90.0, 0]), np.array([-90.0, 77]))) == pytest.approx(
        np.pi * 6371.0088, rel=8 * EPS
    )


def test_great_circle_laws():
    f = jax.jit(distances.great_circle)
    np.testing.assert_array_equal(f(X, Y), f(Y, X))
    np.testing.assert_array_equal(f(X, X), 0)
    turned = np.array([0, 33.25], FLOAT)
    np.testing.assert_allclose(f(X + turned, Y + turned), f(X, Y), rtol=512 * EPS)
    np.testing.assert_allclose(f(X * np.array([-1, 1], FLOAT), Y * np.array([-1, 1], FLOAT)), f(X, Y), rtol=8 * EPS)
    assert np.all(np.asarray(f(X, Y)) <= np.asarray(f(X, Y[::-1])) + np.asarray(f(Y[::-1], Y)) + 1e-2)
    got = distances.great_circle(X[:4, None], Y[None, :3])
    np.testing.assert_allclose(got, [[distances.great_circle(x, y) for y in Y[:3]] for x in X[:4]], rtol=16 * EPS)
    np.testing.assert_allclose(jax.vmap(distances.great_circle)(X, Y), f(X, Y), rtol=16 * EPS)


@pytest.mark.skipif(PRECISION == 32, reason="finite differences need float64")
def test_gradient_of_the_arc():
    f = lambda x, y: distances.great_circle(x, y, radius=1.0)
    gradient = jax.jit(jax.vmap(jax.grad(f)))(X, Y)
    step = 1e-5
    for axis in (0, 1):
        move = step * np.eye(2)[axis]
        slope = (f(X + move, Y) - f(X - move, Y)) / (2 * step)
        inside = np.abs(X[:, 0]) < 89.9
        np.testing.assert_allclose(gradient[inside, axis], slope[inside], rtol=1e-4, atol=1e-9)


def test_gradient_is_finite_where_there_is_none():
    x = np.array([40.0, 10.0], FLOAT)
    for y in (x, np.array([-40.0, 190.0], FLOAT), np.array([40.0, 370.0], FLOAT)):
        assert np.all(np.isfinite(jax.grad(distances.great_circle)(x, y)))
    np.testing.assert_array_equal(jax.grad(distances.great_circle)(x, x), 0)


def test_nan_and_domains():
    f = jax.jit(lambda x, y, r: distances.great_circle(x, y, radius=r))
    here, there = np.array([10.0, 20.0], FLOAT), np.array([20.0, 30.0], FLOAT)
    for place in ([10.0, np.nan], [10.0, np.inf]):
        assert np.isnan(distances.great_circle(place, there))
        assert np.isnan(distances.great_circle(there, place))
        assert np.isnan(f(np.array(place, FLOAT), there, 1.0))
        assert np.isnan(jax.grad(distances.great_circle)(np.array(place, FLOAT), there)).any()
    for latitude in (90.5, -91.0, np.nan):
        assert np.isnan(f(np.array([latitude, 0.0], FLOAT), there, 1.0))
        with pytest.raises(ValueError, match="the latitude of x"):
            distances.great_circle(np.array([latitude, 0.0]), there)
    for radius in (0.0, -2.0, np.inf, np.nan, 1e-40):
        assert np.isnan(f(here, there, FLOAT(radius)))
        assert np.isnan(f(here, here, FLOAT(radius))), "also where the distance is 0"
        with pytest.raises(ValueError, match="radius must be positive"):
            distances.great_circle(here, there, radius=radius)
    with pytest.raises(ValueError, match=r"radius must be a number, got shape \(2,\)"):
        distances.great_circle(here, there, radius=np.ones(2))


def test_half_precision_is_promoted():
    got = distances.great_circle(np.array([10.0, 20.0], np.float16), np.array([10.5, 20.0], np.float16))
    assert got.dtype == jnp.float32
    assert float(got) == pytest.approx(6371.0088 * np.deg2rad(0.5), rel=1e-5)


def test_bad_places():
    with pytest.raises(ValueError, match=r"x must have latitude and longitude.*got \(3,\)"):
        distances.great_circle(np.zeros(3), np.zeros(2))
    with pytest.raises(ValueError, match=r"the latitude of y must be in .*Latitude comes first"):
        distances.great_circle(np.zeros(2), np.array([100.0, 0.0]))
    with pytest.raises(ValueError, match="radius must be positive"):
        distances.great_circle(np.zeros(2), np.zeros(2), radius=0.0)
    with pytest.raises(ValueError, match=r"leading axes \(3,\) and \(4,\)"):
        distances.great_circle(X[:3], Y[:4])


def test_edits_agree_with_rapidfuzz():
    levenshtein = pytest.importorskip("rapidfuzz.distance").Levenshtein
    text = ["".join(chr(97 + x) for x in row[: list(row).index(-1) if -1 in row else None]) for row in (*A, *B)]
    pairs = list(zip(text[:CASES], text[CASES:], strict=True))
    np.testing.assert_array_equal(edit(A, B), [levenshtein.distance(a, b) for a, b in pairs])
    shares = [levenshtein.normalized_distance(a, b) for a, b in pairs]
    np.testing.assert_allclose(normalised(A, B), shares, rtol=4 * EPS)
