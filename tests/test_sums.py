"""Sums in two floats against exact fractions, and counts beyond 32 bits."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsx import _sums
from tests.helpers import EPS, FLOAT, SEED


def exact(pair):
    """Head and tail as one fraction."""
    return Fraction(float(pair.head)) + Fraction(float(pair.tail))


def numbers(size, *, spread=20):
    rng = np.random.default_rng(SEED)
    return (rng.normal(size=size) * 2.0 ** rng.integers(-spread, spread, size)).astype(FLOAT)


def test_two_sum_loses_nothing():
    """Either may be the larger, and they may cancel."""
    x = numbers(300)
    y = np.concatenate([numbers(600)[300:500], -x[200:]])
    pairs = jax.jit(_sums.two_sum)(x, y)
    for a, b, head, tail in zip(x, y, *pairs, strict=True):
        assert Fraction(float(head)) + Fraction(float(tail)) == Fraction(float(a)) + Fraction(float(b))
        assert head == a + b, "rounded to nearest"


def test_two_sum_of_infinities():
    x = np.array([np.inf, -np.inf, np.inf, np.nan], FLOAT)
    y = np.array([1.0, -np.inf, -np.inf, 1.0], FLOAT)
    pair = jax.jit(_sums.two_sum)(x, y)
    np.testing.assert_array_equal(pair.head, [np.inf, -np.inf, np.nan, np.nan])
    np.testing.assert_array_equal(pair.tail[:2], [0, 0])


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 64, 1001])
def test_total_is_held_on_the_side_that_is_asked_for(size):
    """Never below, never above, and within a rounding of a rounding; terms that cancel included."""
    x = numbers(size)
    x[size // 2 :] -= x[: size - size // 2]
    want = sum(map(Fraction, x.astype(float).tolist()), Fraction(0))
    reach = Fraction(4 * (1 + size.bit_length()) * EPS**2 * float(np.abs(x).sum()))
    total = jax.jit(_sums.total, static_argnames="units")
    above, plain, below = (exact(total(jnp.asarray(x), units=units)) for units in (2, 0, -2))
    assert want <= above <= want + reach
    assert want - reach <= below <= want
    assert abs(plain - want) <= reach


def test_adding_one_by_one_is_held_on_the_side_that_is_asked_for():
    x = numbers(2000, spread=4)
    want = sum(map(Fraction, x.astype(float).tolist()), Fraction(0))

    @jax.jit
    def sums(x):
        def step(carry, term):
            return tuple(_sums.add(c, term, units=u) for c, u in zip(carry, (2, 0, -2), strict=True)), None

        return jax.lax.scan(step, (_sums.double(jnp.zeros((), x.dtype)),) * 3, x)[0]

    above, plain, below = map(exact, sums(x))
    reach = Fraction(float(4 * EPS**2 * np.abs(np.cumsum(x.astype(np.float64))).sum()))
    assert want <= above <= want + reach
    assert want - reach <= below <= want
    assert abs(plain - want) <= reach


def test_slope_of_a_total_is_one(tolerance):
    x = jnp.asarray(numbers(37))
    np.testing.assert_allclose(jax.grad(lambda x: _sums.total(x, units=2).head)(x), np.ones(37), rtol=tolerance)


@pytest.mark.parametrize("counts", [[], [5], [2**31 - 1] * 5, [2**31 - 1] * 9000 + [17]])
def test_counts_beyond_32_bits(counts):
    wide = jax.jit(_sums.wide_count)(jnp.asarray(counts, jnp.int32))
    assert wide.dtype == jnp.uint32
    assert _sums.read_wide(wide) == sum(counts)
