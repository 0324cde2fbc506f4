"""Softmax thermodynamics by the textbook sums in 60-digit decimals: no shift, no log1p, nothing to get wrong."""

import math
from decimal import Decimal, localcontext

DIGITS = 60


def _law(scores, temperature):
    z = [s / temperature for s in scores]
    weights = [x.exp() for x in z]
    total = sum(weights)
    return z, [w / total for w in weights], total


def _entropy(scores, temperature):
    return -sum(p * p.ln() for p in _law(scores, temperature)[1])


def _variance(scores, temperature):
    z, p, _ = _law(scores, temperature)
    mean = sum(x * y for x, y in zip(z, p, strict=True))
    return sum(y * (x - mean) ** 2 for x, y in zip(z, p, strict=True))


def _free_energy(scores, temperature):
    return temperature * _law(scores, temperature)[2].ln()


QUANTITIES = {"entropy": _entropy, "variance": _variance, "free_energy": _free_energy}


def _decimals(scores, temperature):
    return [Decimal(float(s)) for s in scores if s != -math.inf], Decimal(float(temperature))


def value(quantity, scores, temperature):
    """Entropy in nats, variance of s / tau under the law, or tau log sum exp(s / tau); -inf is left out."""
    with localcontext() as context:
        context.prec = DIGITS
        return float(QUANTITIES[quantity](*_decimals(scores, temperature)))


def derivative(quantity, scores, temperature, index=None):
    """Central difference with step 1e-15, in decimals: in scores[index], or in the temperature for None."""
    with localcontext() as context:
        context.prec = DIGITS
        scores, temperature = _decimals(scores, temperature)
        ends = []
        for h in (Decimal("1e-15"), Decimal("-1e-15")):
            moved = [s + h if i == index else s for i, s in enumerate(scores)]
            ends.append(QUANTITIES[quantity](moved, temperature + h if index is None else temperature))
        return float((ends[0] - ends[1]) / Decimal("2e-15"))


def entropy64(scores, temperature):
    """The entropy in float64, for searches and for many candidates."""
    top = float(max(scores))
    z = [(float(s) - top) / float(temperature) for s in scores if s != -math.inf]
    weights = [math.exp(x) for x in z]
    ties = sum(x == 0 for x in z)
    rest = math.fsum(w for w, x in zip(weights, z, strict=True) if x < 0)
    mean_gap = math.fsum(-x * w for w, x in zip(weights, z, strict=True)) / (ties + rest)
    return math.log(ties) + math.log1p(rest / ties) + mean_gap


def temperature_for_entropy(scores, target):
    """Bisection of log tau."""
    low, high = 1e-12, 1e12
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if entropy64(scores, middle) < target else (low, middle)
    return low


def freezing_temperature(scores):
    kept = [float(s) for s in scores if s != -math.inf]
    mean = math.fsum(kept) / len(kept)
    variance = math.fsum((s - mean) ** 2 for s in kept) / len(kept)
    return math.sqrt(variance / (2 * math.log(len(kept))))
