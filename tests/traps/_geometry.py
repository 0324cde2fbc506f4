"""The ball and the hyperboloid: clamps, cancellations, coincident points, curvature, far points."""

import importlib
import math

import jax
import jax.numpy as jnp
import numpy as np

from nsx import poincare
from tests.traps import Trap
from tests.traps._losses import slope, torch_slope


def geoopt(**options):
    return importlib.import_module("geoopt").PoincareBall(**options)


def textbook(x, y):
    """The distance by arccosh, as printed in papers and coded in most of their repositories."""
    gap = jnp.sum((x - y) ** 2, axis=-1)
    room = (1 - jnp.sum(x**2, axis=-1)) * (1 - jnp.sum(y**2, axis=-1))
    return jnp.arccosh(1 + 2 * gap / room)


BALL = {
    "nsx": lambda x, y: slope(lambda x, y: jnp.sum(poincare.distance(x, y)), x, y),
    "geoopt": lambda x, y: torch_slope(lambda torch, x, y: geoopt().dist(x, y).sum(), x, y),
    "arccosh": lambda x, y: slope(lambda x, y: jnp.sum(textbook(x, y)), x, y),
}


def answers(x, y):
    return {name: lambda ask=ask: ask(x, y) for name, ask in BALL.items()}


RADIUS = float(np.float32(0.99999))
EDGE = np.array([RADIUS, 0.0])
BOUNDARY = Trap(
    "artanh clamped near the boundary",
    "points at +-0.99999 of a diameter, float32: distance 24.41 and gradient 2 / (1 - r^2) = 1.0e5",
    np.array([4 * math.atanh(RADIUS), 2 / (1 - RADIUS**2)]),
    answers(EDGE, -EDGE),
)

HERE, NEAR = np.float32([0.5, 0.2]), np.float32([0.5, 0.2 + 1e-5])
STEP = float(np.float64(NEAR[1]) - np.float64(HERE[1]))
ROOM = 1 - float(np.sum(np.float64(HERE) ** 2))
CLOSE = Trap(
    "arccosh of 1 + tiny",
    "points 1e-5 apart, float32: distance 2e-5 / (1 - r^2), gradient 2 / (1 - r^2)",
    np.array([2 * STEP / ROOM, 2 / ROOM]),
    answers(HERE, NEAR),
)

TWIN = Trap(
    "coincident points",
    "distance 0 with gradient 0, not NaN",
    np.zeros(2),
    answers(np.array([0.5, 0.2]), np.array([0.5, 0.2])),
    absolute=1e-6,
)


def scaled_margin(library):
    """How far a point beyond the boundary is projected, in units of the radius, for curvatures 1 and 1e-8."""
    out = []
    for c in (1.0, 1e-8):
        x = np.float32([2.0, 0.0]) / math.sqrt(c)
        if library == "nsx":
            y = poincare.project(jnp.asarray(x), curvature=c)
        else:
            torch = importlib.import_module("torch")
            y = geoopt(c=c).projx(torch.tensor(x))
        out.append(1 - float(y[0]) * math.sqrt(c))
    return np.log10(max(out[1], 1e-12) / out[0])


MARGIN = Trap(
    "a margin that does not scale with curvature",
    "projection of an outside point for c = 1 and 1e-8: the same relative distance from the boundary (log ratio 0)",
    0.0,
    {library: lambda library=library: scaled_margin(library) for library in ("nsx", "geoopt")},
    absolute=0.1,
)


def far(library):
    """Distance of two points of the hyperboloid 30 from the origin, at a right angle, float32."""
    r = np.float32(30.0)
    x, y = (np.float32([np.cosh(r), *(np.sinh(r) * np.eye(2)[i])]) for i in range(2))
    if library == "nsx":
        return poincare.lorentz_distance(jnp.asarray(x), jnp.asarray(y))
    torch = importlib.import_module("torch")
    return importlib.import_module("geoopt").Lorentz().dist(torch.tensor(x), torch.tensor(y)).item()


FAR = Trap(
    "far points of the hyperboloid",
    "two points 30 from the origin at a right angle, float32: distance 2 arcsinh(sinh(30) / sqrt 2) = 59.31",
    2 * math.asinh(math.sinh(30.0) / math.sqrt(2)),
    {library: lambda library=library: far(library) for library in ("nsx", "geoopt")},
)


def precision(library):
    """Digits of a float64 distance: |relative error| in units of 1e-7, at most 1 where no digit is lost."""
    x, y = np.array([0.3, 0.4]), np.array([-0.5, 0.1])
    gap, room = np.sum((x - y) ** 2), (1 - np.sum(x**2)) * (1 - np.sum(y**2))
    exact = np.arccosh(1 + 2 * gap / room) / math.sqrt(0.7)
    x, y = x / math.sqrt(0.7), y / math.sqrt(0.7)
    if library == "nsx":
        with jax.enable_x64(True):
            got = float(poincare.distance(jnp.asarray(x), jnp.asarray(y), curvature=0.7))
    else:
        torch = importlib.import_module("torch")
        got = geoopt(c=0.7).dist(torch.tensor(x), torch.tensor(y)).item()
    return abs(got / exact - 1) > 1e-12


FORCED = Trap(
    "curvature forced to float32",
    "float64 points, curvature 0.7: no digit is lost (0 = right to 1e-12)",
    0.0,
    {library: lambda library=library: precision(library) for library in ("nsx", "geoopt")},
)

TRAPS = (BOUNDARY, CLOSE, TWIN, MARGIN, FAR, FORCED)
