"""nsx._wide against Python's integers, which have no width."""

import jax
import jax.numpy as jnp
import numpy as np

from nsx import _wide
from tests.helpers import SEED

RNG = np.random.default_rng(SEED)
EDGES = [0, 1, 2, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**63 - 1, 2**63, 2**64 - 2**32, 2**64 - 1]
NUMBERS = EDGES + [int(RNG.integers(0, 2**63)) >> int(RNG.integers(0, 63)) for _ in range(40)]
X, Y = (np.array(part, np.uint64) for part in zip(*[(x, y) for x in NUMBERS for y in NUMBERS], strict=True))


def integers(wide):
    return [int(h) << 32 | int(low) for h, low in zip(np.asarray(wide.high), np.asarray(wide.low), strict=True)]


def test_arithmetic_is_that_of_the_integers():
    pairs = [(int(x), int(y)) for x, y in zip(X, Y, strict=True)]
    x, y = _wide.from_host(X), _wide.from_host(Y)
    assert integers(x) == [a for a, _ in pairs]
    assert integers(_wide.add(x, y)) == [(a + b) % 2**64 for a, b in pairs]
    assert integers(_wide.subtract(x, y)) == [(a - b) % 2**64 for a, b in pairs]
    assert np.asarray(_wide.at_most(x, y)).tolist() == [a <= b for a, b in pairs]
    assert integers(_wide.multiply_high(x, y)) == [a * b >> 64 for a, b in pairs]
    assert integers(_wide.product(x.low, y.low)) == [(a % 2**32) * (b % 2**32) for a, b in pairs]


def test_words_and_places():
    words = jnp.array([0, 1, 2**31 - 1])
    assert integers(_wide.from_word(words)) == [0, 1, 2**31 - 1]
    numbers = _wide.from_host(np.array(EDGES, np.uint64))
    assert integers(_wide.take(numbers, jnp.array([4, 0, 99]))) == [EDGES[4], EDGES[0], EDGES[-1]]


def test_random_bits_are_uniform():
    """Each of 64 bits is 1 half of the time, and no two go together: z of all within a false alarm in a million."""
    drawn = _wide.random_wide(jax.random.key(SEED), (20_000,))
    bits = np.array([[n >> i & 1 for i in range(64)] for n in integers(drawn)]) - 0.5
    z = 2 * bits.sum(0) / np.sqrt(20_000)
    assert np.abs(z).max() < 5.7  # 64 entries, normal quantile
    together = 4 * bits.T @ bits / np.sqrt(20_000)
    assert np.abs(together[np.triu_indices(64, 1)]).max() < 6.3  # 2016 entries
