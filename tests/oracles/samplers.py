"""Samplers recomputed one candidate at a time in float64 or whole integers."""

import itertools
import math

import numpy as np


def power(counts, exponent):
    weights = []
    for c in counts:
        if exponent == 0:
            weights.append(0.0)
        else:
            weights.append(exponent * math.log(c) if c > 0 else -math.inf)
    return np.array(weights)


def probabilities(log_weights):
    top = max(log_weights)
    mass = [math.exp(w - top) for w in log_weights]
    total = math.fsum(mass)
    return np.array([m / total for m in mass])


def log_prob(log_weights, i):
    top = max(log_weights)
    return (log_weights[i] - top) - math.log(math.fsum(math.exp(w - top) for w in log_weights))


def maxent(features, multipliers):
    return np.array([sum(f * m for f, m in zip(row, multipliers, strict=True)) for row in features])


def mix(log_weights_a, log_weights_b, rate):
    """In probabilities, which is enough where none underflows."""
    a, b = probabilities(log_weights_a), probabilities(log_weights_b)
    return np.array([(1 - rate) * p + rate * q for p, q in zip(a, b, strict=True)])


def exclusion_window(num, anchor, width):
    return np.array([anchor - width <= i <= anchor + width for i in range(num)])


def table_probabilities(threshold, alias, num):
    """The law of an alias table as integers out of slots * 2^32: each slot is followed by hand."""
    units = [0] * len(threshold)
    for slot, (keep, other) in enumerate(zip(threshold.tolist(), alias.tolist(), strict=True)):
        units[slot] += keep if other != slot else 2**32
        if other != slot:
            units[other] += 2**32 - keep
    assert sum(units) == len(threshold) * 2**32
    assert not any(units[num:]), "a slot of padding is drawn"
    return units[:num]


def table_probabilities_large(threshold, alias, num):
    """The same in exact int64 sums, for tables too large to follow by hand."""
    own = alias == np.arange(alias.size)
    keep = np.where(own, 2**32, threshold.astype(np.int64))
    units = keep.copy()
    np.add.at(units, alias, 2**32 - keep)
    assert units.sum() == alias.size * 2**32
    assert not units[num:].any(), "a slot of padding is drawn"
    return units[:num]


def first_above(units, coin):
    """The first index whose running sum exceeds the coin, in Python integers."""
    total = 0
    for i, u in enumerate(units):
        total += u
        if total > coin:
            return i
    raise ValueError("the coin is not below the total")


def order_probabilities(log_weights, k):
    """P of each ordered draw of k without replacement, by the product of conditional probabilities."""
    q = probabilities(log_weights)
    orders = {}
    for order in itertools.permutations(range(len(q)), k):
        left, p = 1.0, 1.0
        for r, i in enumerate(order):
            left = math.fsum(q[j] for j in range(len(q)) if j not in order[:r])
            p *= q[i] / left if left > 0 else 0.0
        orders[order] = p
    return orders


def inclusion(log_weights, k):
    total = np.zeros(len(log_weights))
    for order, p in order_probabilities(log_weights, k).items():
        for i in order:
            total[i] += p
    return total


def hardest(scores, k, where):
    order = sorted((i for i in range(len(scores)) if where[i]), key=lambda i: (-scores[i], i))
    return order[:k]


def semi_hard(positive, negatives, margin):
    return np.array([positive < d < positive + margin for d in negatives])
