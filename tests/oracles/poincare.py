"""Textbook formulas of the ball and of the hyperboloid in 100-digit decimals: no rounding that a float could see."""

from decimal import Decimal, getcontext, localcontext

DIGITS = 100


def precise(function):
    """Run with 100 digits."""

    def run(*args, **kwargs):
        with localcontext() as context:
            context.prec = DIGITS
            return function(*args, **kwargs)

    return run


def numbers(x):
    return [Decimal(float(v)) for v in x] if not isinstance(x[0], Decimal) else list(x)


def dot(x, y):
    return sum((a * b for a, b in zip(x, y, strict=True)), Decimal(0))


def arccosh(x):
    return (x + (x * x - 1).sqrt()).ln()


def arctanh(x):
    return ((1 + x) / (1 - x)).ln() / 2


def tanh(x):
    grown = (2 * x).exp()
    return (grown - 1) / (grown + 1)


@precise
def gap(x, c):
    x, c = numbers(x), Decimal(float(c))
    return 1 - c * dot(x, x)


@precise
def distance(x, y, c):
    x, y, c = numbers(x), numbers(y), c if isinstance(c, Decimal) else Decimal(float(c))
    step = [a - b for a, b in zip(x, y, strict=True)]
    if c == 0:
        return 2 * dot(step, step).sqrt()
    u = c * dot(step, step) / ((1 - c * dot(x, x)) * (1 - c * dot(y, y)))
    return arccosh(1 + 2 * u) / c.sqrt()


@precise
def distance_gradient(x, y, c):
    """Central differences in x, then in c (one-sided at 0)."""
    x, y, c, h = numbers(x), numbers(y), Decimal(float(c)), Decimal("1e-30")
    moved = lambda i, by: [v + (by if j == i else 0) for j, v in enumerate(x)]
    by_point = [(distance(moved(i, h), y, c) - distance(moved(i, -h), y, c)) / (2 * h) for i in range(len(x))]
    low = c - h if c > h else Decimal(0)
    return by_point, (distance(x, y, c + h) - distance(x, y, low)) / (c + h - low)


@precise
def mobius_add(x, y, c):
    x, y, c = numbers(x), numbers(y), Decimal(float(c)) if not isinstance(c, Decimal) else c
    xy, xx, yy = dot(x, y), dot(x, x), dot(y, y)
    below = 1 + 2 * c * xy + c * c * xx * yy
    return [((1 + 2 * c * xy + c * yy) * a + (1 - c * xx) * b) / below for a, b in zip(x, y, strict=True)]


@precise
def exp_map(x, v, c):
    x, v, c = numbers(x), numbers(v), Decimal(float(c))
    length = dot(v, v).sqrt()
    if c == 0 or length == 0:
        return [a + b for a, b in zip(x, v, strict=True)]
    root = c.sqrt()
    size = tanh(root * length / (1 - c * dot(x, x))) / (root * length)
    return mobius_add(x, [size * b for b in v], c)


@precise
def log_map(x, y, c):
    x, y, c = numbers(x), numbers(y), Decimal(float(c))
    if c == 0:
        return [b - a for a, b in zip(x, y, strict=True)]
    w = mobius_add([-a for a in x], y, c)
    length, root = dot(w, w).sqrt(), c.sqrt()
    if length == 0:
        return w
    return [(1 - c * dot(x, x)) / root * arctanh(root * length) / length * b for b in w]


@precise
def gyration(x, y, v, c):
    """By its definition, on a vector shrunk into the ball."""
    x, y, v, c = numbers(x), numbers(y), numbers(v), Decimal(float(c))
    size = 2 * (1 + c.sqrt()) * (1 + dot(v, v).sqrt())
    v = [a / size for a in v]
    left = mobius_add(x, mobius_add(y, v, c), c)
    return [size * a for a in mobius_add([-a for a in mobius_add(x, y, c)], left, c)]


@precise
def lorentz_distance(x, y, c):
    """From the space coordinates of the hyperboloid."""
    x, y, c = numbers(x), numbers(y), Decimal(float(c))
    getcontext().prec = 2 * DIGITS  # cosh d of points 1e30 away cancels 120 digits
    times = (1 / c + dot(x, x)).sqrt() * (1 / c + dot(y, y)).sqrt()
    return arccosh(c * (times - dot(x, y))) / c.sqrt()
