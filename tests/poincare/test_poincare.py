"""nsx.poincare: the ball and the hyperboloid against 100-digit decimals, their laws, their limits, the peers' traps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nsx import poincare
from tests.helpers import EPS, FLOAT, PRECISION
from tests.oracles import poincare as oracle

NEAREST = 7 if PRECISION == 32 else 15  # radii up to 1 - 10^-NEAREST
STATED = 8 * EPS  # 1e-6 in float32, 2e-15 in float64: what the docstrings promise
jitted = {name: jax.jit(getattr(poincare, name)) for name in vars(poincare) if callable(getattr(poincare, name))}


def ball(count, d=3, *, nearest=NEAREST, seed=0, c=1.0):
    """Points whose radius comes as near to the boundary as 10^-nearest, evenly in the logarithm."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, d))
    gaps = 10 ** -rng.uniform(0, nearest, (count, 1))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True) * (1 - gaps) / np.sqrt(c)).astype(FLOAT)
    return x[c * np.sum(x.astype(np.float64) ** 2, axis=1) < 1 - EPS / 4]


def pairs(count=120, *, nearest=NEAREST, c=1.0):
    """Far pairs, and neighbours at 1e-1 to 1e-7 of the gap."""
    x = ball(count, seed=1, nearest=nearest, c=c)
    y = ball(count + 9, seed=2, nearest=nearest, c=c)[: len(x)]
    close = x * (1 - (10.0 ** -np.linspace(1, 7, len(x)))[:, None] * (1 - np.sum(x**2, 1) * c)[:, None])
    y = np.where(np.arange(len(x))[:, None] % 2, y, close.astype(FLOAT))
    return x, y


def near(got, want, tolerance, scale=None):
    """|got - want| <= tolerance * scale, entry by entry; the scale is |want| where none is given."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    bound = tolerance * (np.abs(want) if scale is None else scale)
    worst = np.max(np.abs(got - want) / bound)
    assert worst <= 1, f"{worst:.3g} times the bound"


def lengths(v):
    return np.linalg.norm(np.asarray(v, np.float64), axis=-1)


def exact(function, *arrays):
    """The oracle row by row, as floats."""
    return np.array([np.asarray(function(*row), np.float64) for row in zip(*arrays, strict=True)])


# ------------------------------------------------------------------ against decimals


@pytest.mark.parametrize("c", [1.0, 0.37, 1e-6, 40.0])
def test_distance_and_its_gradient_are_exact(c):
    c = float(FLOAT(c))
    x, y = pairs(60, c=c)
    value, (slopes, by_y, by_c) = jax.jit(
        jax.vmap(jax.value_and_grad(lambda x, y, c: poincare.distance(x, y, curvature=c), (0, 1, 2)), (0, 0, None))
    )(x, y, FLOAT(c))
    wanted = exact(lambda x, y: oracle.distance(x, y, c), x, y)
    apart = wanted > 0
    near(value[apart], wanted[apart], STATED)
    # of neighbours the oracle differences too: steps of 1e-30 are far below their distance
    points = [oracle.distance_gradient(a, b, c) for a, b in zip(x[apart], y[apart], strict=True)]
    by_point, by_curvature = (np.array([np.asarray(p[i], np.float64) for p in points]) for i in (0, 1))
    near(slopes[apart], by_point, STATED, lengths(by_point)[:, None])
    # the curvature pulls three ways, so its derivative may cancel: its parts are the scale
    parts = wanted[apart] / c * (1 + 1 / exact(lambda a: oracle.gap(a, c), x[apart]))
    near(by_c[apart], by_curvature, STATED, np.abs(by_curvature) + parts)
    mirrored = jax.jit(jax.vmap(jax.grad(lambda y: poincare.distance(x[1], y, curvature=c))))(y[1:2])
    near(by_y[1:2], mirrored, STATED, lengths(mirrored)[:, None])


def test_gradient_has_the_closed_form_norm_up_to_the_boundary():
    x, y = pairs(2000)
    apart = np.any(x != y, axis=1)
    slopes = jax.jit(jax.vmap(jax.grad(poincare.distance)))(x, y)
    wanted = np.array([2 / float(oracle.gap(a, 1)) for a in x])
    assert wanted.max() > 0.5 / 10.0**-NEAREST / 2
    near(lengths(slopes)[apart], wanted[apart], STATED)
    near(jitted["conformal_factor"](x), wanted, 2 * EPS)
    natural = jitted["riemannian_gradient"](x, slopes)
    near(lengths(natural)[apart] * wanted[apart], np.ones(apart.sum()), 2 * STATED)


def test_the_gap_is_summed_without_rounding():
    """The textbook 1 - |x|^2 loses every digit where this keeps them; up to 200 coordinates, and curvatures no power
    of two."""
    for c, d in [(1.0, 2), (1.0, 100), (1.0, 200), (0.3, 30), (1e8, 5)]:
        x = ball(200, d, seed=d, c=c)
        wanted = exact(lambda a, c=c: 2 / oracle.gap(a, FLOAT(c)), x)
        near(poincare.conformal_factor(x, curvature=FLOAT(c)), wanted, 4 * EPS)
    x = ball(200, 100, seed=100)
    textbook = 2 / (1 - np.sum(x * x, axis=1))
    assert np.max(np.abs(textbook / exact(lambda a: 2 / oracle.gap(a, 1), x) - 1)) > 1e3 * EPS


@pytest.mark.parametrize("c", [1.0, 0.2])
def test_operations_equal_the_textbook(c):
    c = float(FLOAT(c))
    x, y = pairs(60, nearest=2, c=c)
    v = np.random.default_rng(3).normal(size=x.shape).astype(FLOAT)
    run = lambda name, *a: jitted[name](*a, curvature=FLOAT(c))
    near(run("mobius_add", x, y), exact(lambda *a: oracle.mobius_add(*a, c), x, y), 8 * EPS / c**0.5, 1)
    near(run("exp_map", x, v), exact(lambda *a: oracle.exp_map(*a, c), x, v), 8 * EPS / c**0.5, 1)
    near(run("gyration", x, y, v), exact(lambda *a: oracle.gyration(*a, c), x, y, v), 8 * EPS, lengths(v)[:, None])
    x, y = pairs(60, c=c)
    wanted = exact(lambda *a: oracle.log_map(*a, c), x, y)
    apart = np.any(x != y, axis=1)
    near(run("log_map", x, y)[apart], wanted[apart], 2 * STATED, lengths(wanted)[apart, None])


def test_short_steps_at_the_boundary_are_not_lost():
    """exp_x(v) - x, which the optimisers return, keeps its digits where x + v rounds them away."""
    x = ball(200, nearest=NEAREST - 1)
    v = np.random.default_rng(5).normal(size=x.shape).astype(FLOAT) * (1 - np.sum(x**2, 1, keepdims=True)) * FLOAT(1e-3)
    step, _ = poincare.riemannian_sgd(1.0).update(
        -v * poincare.conformal_factor(x)[:, None] ** 2, poincare.riemannian_sgd(1.0).init(x), x
    )
    with oracle.localcontext() as context:
        context.prec = oracle.DIGITS
        moved = [
            [float(a - b) for a, b in zip(oracle.exp_map(p, w, 1), oracle.numbers(p), strict=True)]
            for p, w in zip(x, v, strict=True)
        ]
    near(step, np.array(moved), 2 * STATED, lengths(moved)[:, None])


# ------------------------------------------------------------------ laws

X, Y, Z = (ball(1000, seed=s, nearest=2)[:900] for s in (11, 12, 13))
ROOM = 100 * EPS  # a chart at 1 - 1e-2 magnifies rounding a hundredfold
LAWS = {
    "the origin is neutral": lambda p, x, y, z: (p.mobius_add(jnp.zeros_like(x), x), x),
    "left inverse": lambda p, x, y, z: (p.mobius_add(-x, x), jnp.zeros_like(x)),
    "left cancellation": lambda p, x, y, z: (p.mobius_add(-x, p.mobius_add(x, y)), y),
    "gyroassociativity": lambda p, x, y, z: (
        p.mobius_add(x, p.mobius_add(y, z)),
        p.mobius_add(p.mobius_add(x, y), p.gyration(x, y, z)),
    ),
    "gyrocommutativity": lambda p, x, y, z: (p.mobius_add(x, y), p.gyration(x, y, p.mobius_add(y, x))),
    "left loop": lambda p, x, y, z: (p.gyration(x, y, z), p.gyration(p.mobius_add(x, y), y, z)),
    "gyrations invert": lambda p, x, y, z: (p.gyration(y, x, p.gyration(x, y, z)), z),
    "gyrations respect sums": lambda p, x, y, z: (
        p.gyration(x, y, p.mobius_add(z, x)),
        p.mobius_add(p.gyration(x, y, z), p.gyration(x, y, x)),
    ),
    "scaling adds": lambda p, x, y, z: (
        p.mobius_scale(0.7, x),
        p.mobius_add(p.mobius_scale(0.3, x), p.mobius_scale(0.4, x)),
    ),
    "scaling multiplies": lambda p, x, y, z: (p.mobius_scale(0.5, p.mobius_scale(3.0, x)), p.mobius_scale(1.5, x)),
    "half of the double": lambda p, x, y, z: (p.mobius_scale(0.5, p.mobius_add(x, x)), x),
    "exp and log invert": lambda p, x, y, z: (p.exp_map(x, p.log_map(x, y)), y),
    "transport takes log to minus log": lambda p, x, y, z: (
        p.parallel_transport(x, y, p.log_map(x, y)),
        -p.log_map(y, x),
    ),
    "transport inverts": lambda p, x, y, z: (p.parallel_transport(y, x, p.parallel_transport(x, y, z)), z),
    "geodesic ends": lambda p, x, y, z: (p.geodesic(x, y, 1.0), y),
    "geodesic is exp of log": lambda p, x, y, z: (p.geodesic(x, y, 0.3), p.exp_map(x, 0.3 * p.log_map(x, y))),
    "geodesic runs back": lambda p, x, y, z: (p.geodesic(x, y, 0.3), p.geodesic(y, x, 0.7)),
    "midpoint of two": lambda p, x, y, z: (p.midpoint(jnp.stack([x, y], 1)), p.geodesic(x, y, 0.5)),
    "charts invert": lambda p, x, y, z: (p.from_lorentz(p.to_lorentz(x)), x),
}


@jax.jit
def laws(x, y, z):
    return {name: law(poincare, x, y, z) for name, law in LAWS.items()}


@pytest.mark.parametrize("name", LAWS)
def test_law(name):
    left, right = laws(X, Y, Z)[name]
    # two of the laws magnify by the square: their intermediate points lie at 1 - 1e-4
    doubled = {
        "left cancellation",
        "half of the double",
        "scaling multiplies",
        "exp and log invert",
        "left loop",
        "transport inverts",
        "geodesic is exp of log",
    }
    near(left, right, 2e4 * EPS if name in doubled else ROOM, 1)


def test_gyrations_and_transport_keep_lengths():
    x, y, v = ball(900)[:800], ball(900, seed=8)[:800], X[:800]
    near(lengths(jitted["gyration"](x, y, v)), lengths(v), 8 * EPS)
    carried = jitted["parallel_transport"](x, y, v)
    ratio = jitted["conformal_factor"](y) / jitted["conformal_factor"](x)
    near(lengths(carried) * np.asarray(ratio, np.float64), lengths(v), 2 * STATED)


def test_translations_are_isometries():
    moved = jitted["distance"](jitted["mobius_add"](Z, X), jitted["mobius_add"](Z, Y))
    near(moved, jitted["distance"](X, Y), 1e4 * EPS, 1)


def test_geodesics_have_constant_speed_also_beyond_the_ends():
    times = np.linspace(-0.5, 1.5, 9).astype(FLOAT)
    x, y = X[:60] * FLOAT(0.9), Y[:60] * FLOAT(0.9)
    path = poincare.geodesic(x[:, None], y[:, None], times)
    travelled = poincare.distance(x[:, None], path)
    near(travelled, np.abs(times) * np.asarray(poincare.distance(x, y))[:, None], 2e4 * EPS, 1)


def test_midpoint_minimises_mean_cosh_and_moves_with_isometries():
    points, weights = X[:400].reshape(40, 10, 3), np.random.default_rng(2).uniform(size=(40, 10)).astype(FLOAT)
    centre = jitted["midpoint"](points, weights)
    cosh = lambda m: jnp.sum(weights * jnp.cosh(poincare.distance(points, m[:, None])))
    slope = poincare.riemannian_gradient(centre, jax.grad(cosh)(centre))
    size = np.sum(weights * np.cosh(poincare.distance(points, np.asarray(centre)[:, None])), axis=1, keepdims=True)
    near(slope, 0 * slope, 200 * EPS, size)
    moved = jitted["midpoint"](poincare.mobius_add(Z[:40, None], points), weights)
    near(moved, poincare.mobius_add(Z[:40], centre), 100 * EPS, 1)
    # a tight cluster at the boundary: one pass would lose the radius
    tight = poincare.mobius_add(jnp.full((1, 2), 0.7, FLOAT), 1e-3 * points[:, :, :2])
    pull = jnp.sum(poincare.log_map(poincare.midpoint(tight)[:, None], tight), axis=1)
    near(pull, 0 * pull, 2e-6 if PRECISION == 32 else 1e-9, 1)


def test_midpoint_ignores_points_of_weight_zero_and_keeps_a_lone_point():
    weights = np.zeros((900, 2), FLOAT)
    weights[:, 0] = 3
    near(poincare.midpoint(np.stack([X, Y], 1), weights), X, ROOM, 1)


# ------------------------------------------------------------------ curvature


def test_curvature_zero_is_the_limit_over_sixteen_decades():
    """Distance and its slope in c stay exact from c = 1 to c = 1e-16 and at 0."""
    x, y = ball(8, nearest=1)[:6] * FLOAT(0.9), ball(8, nearest=1, seed=4)[:6]
    curvatures = np.append(10.0 ** -np.arange(17.0), 0).astype(FLOAT)
    one = lambda c, x, y: poincare.distance(x, y, curvature=c)
    value, slope = jax.jit(jax.vmap(jax.vmap(jax.value_and_grad(one), (None, 0, 0)), (0, None, None)))(curvatures, x, y)
    for row, c in enumerate(curvatures):
        near(value[row], exact(lambda a, b, c=c: oracle.distance(a, b, c), x, y), STATED)
        wanted = [oracle.distance_gradient(a, b, c)[1] for a, b in zip(x, y, strict=True)]
        near(slope[row], np.array(wanted, float), 8 * STATED, np.asarray(value[row]))
    step = x - y
    closed = lengths(step) * (np.sum(x**2 + y**2, axis=1) - lengths(step) ** 2 / 3)
    near(slope[-1], closed, 8 * STATED, lengths(step))


def test_euclid_at_curvature_zero():
    x, y, v = X, 5 * Y, 3 * Z
    near(poincare.mobius_add(x, y, curvature=0), x + y, 2 * EPS, 6)
    near(poincare.exp_map(x, v, curvature=0.0), x + v, 2 * EPS, 4)
    near(poincare.log_map(x, y, curvature=0.0), y - x, 2 * EPS, 6)
    near(poincare.mobius_scale(2.5, x, curvature=0), 2.5 * x, 2 * EPS, 2.5)
    near(poincare.geodesic(x, y, 0.25, curvature=0), 0.75 * x + 0.25 * y, 4 * EPS, 6)
    near(poincare.midpoint(np.stack([x, y], 1), curvature=0), (x + y) / 2, 8 * EPS, 6)
    assert np.array_equal(poincare.parallel_transport(x, y, v, curvature=0), v)
    assert np.array_equal(poincare.project(1e9 * x, curvature=0), (1e9 * x).astype(FLOAT))
    assert np.all(poincare.conformal_factor(1e9 * x, curvature=0) == 2)


@pytest.mark.parametrize("c", [1e-4, 1e4])
def test_scaling_the_ball_scales_lengths(c):
    s = FLOAT(c**0.5)
    near(poincare.distance(X / s, Y / s, curvature=c) * s, poincare.distance(X, Y), 3e3 * EPS)
    near(poincare.mobius_add(X / s, Y / s, curvature=c) * s, poincare.mobius_add(X, Y), ROOM, 1)
    near(poincare.exp_map(X / s, Z / s, curvature=c) * s, poincare.exp_map(X, Z), ROOM, 1)


# ------------------------------------------------------------------ the peers' traps


def test_trap_arccosh_form():
    """Points 1e-2 to 1e-7 apart: arccosh(1 + 2 u) is 0 in float32 from 1e-4 on."""
    steps = 10.0 ** -np.arange(2, 8)
    for r in (0.0, 0.9):
        x = np.tile(np.array([r, 0.0], FLOAT), (6, 1))
        y = x + np.stack([0 * steps, steps], 1).astype(FLOAT)
        near(poincare.distance(x, y), exact(lambda a, b: oracle.distance(a, b, 1), x, y), STATED)


def test_trap_artanh_clamp():
    """geoopt clamps at 1 - 1e-7: 16.811 and gradient 0 where the truth is 24.4121 and 1e5."""
    x, y = np.array([FLOAT(0.99999), 0]), np.array([-FLOAT(0.99999), 0])
    value, slope = jax.value_and_grad(poincare.distance)(x, y)
    assert round(float(value), 4) == (24.4121 if PRECISION == 64 else round(float(oracle.distance(x, y, 1)), 4))
    near(slope[0], 2 / float(oracle.gap(x, 1)), STATED)
    if PRECISION == 64:
        assert abs(float(slope[0]) / 1.000005e5 - 1) < 1e-6


def test_trap_coincident_points():
    """Gradient 0 at x = y, not NaN, also second derivatives; and 2 / (1 - r^2) as soon as the points part."""
    x = ball(200)
    assert np.all(jax.vmap(jax.grad(poincare.distance))(x, x) == 0)
    assert np.all(poincare.distance(x, x) == 0)
    assert np.all(np.isfinite(jax.vmap(jax.jacobian(poincare.log_map, (0, 1)))(x[:5], x[:5])))
    apart = 1e-18 if PRECISION == 32 else 1e-150
    slope = jax.grad(poincare.distance)(jnp.array([apart, 0.0]), jnp.zeros(2))
    near(slope, [2.0, 0.0], STATED, 1)
    for function in (poincare.exp_map, poincare.log_map, poincare.mobius_add):
        at = jnp.zeros(3) if function is poincare.exp_map else X[0]
        at = -X[0] if function is poincare.mobius_add else at
        slopes = jax.jacobian(function, (0, 1))(X[0], at)
        assert np.all(np.isfinite(slopes))


def test_trap_margin_is_scale_covariant():
    """geoopt and hypll keep an absolute margin, so a smaller ball loses more of its volume."""
    x = 3 * ball(300, seed=6)
    for c, s in ((1.0, 4.0), (1.0, 2.0**-20), (0.3, 2.0**13)):
        scaled = poincare.project(x / FLOAT(s), curvature=c * s * s) * FLOAT(s)
        assert np.array_equal(scaled, poincare.project(x, curvature=c))
    outside = x[lengths(x) > 1.1]
    assert np.all(1 - lengths(poincare.project(outside)) < 7 * EPS)


def test_trap_clip_is_radial():
    """gensim subtracts from each coordinate; the direction must stay, and points inside must not move."""
    x = (
        np.random.default_rng(0).normal(size=(500, 4)).astype(FLOAT)
        * 10 ** np.linspace(-3, 9, 500).astype(FLOAT)[:, None]
    )
    y = np.asarray(poincare.project(x), np.float64)
    inside = lengths(x) < 0.9
    assert 50 < inside.sum() < 450
    assert np.array_equal(y[inside], x[inside])
    near(y / lengths(y)[:, None], x.astype(np.float64) / lengths(x)[:, None], 4 * EPS, 1)
    assert np.all(lengths(y) < 1)
    poincare.conformal_factor(y.astype(FLOAT))  # does not raise: truly inside
    near(lengths(poincare.project(x[-5:], margin=0.25)), np.full(5, 0.75), 4 * EPS)


def test_trap_curvature_forces_no_dtype():
    """hypll works in float32 whatever comes in."""
    for dtype in [jnp.float32, *([jnp.float64] if PRECISION == 64 else [])]:
        x = X[:4].astype(dtype)
        c = np.float64(0.5)
        for out in (
            poincare.distance(x, x / 2, curvature=c),
            poincare.exp_map(x, x, curvature=jnp.float32(0.5)),
            poincare.midpoint(x, curvature=c),
            poincare.to_lorentz(x, curvature=c),
            jax.grad(lambda x, c: jnp.sum(poincare.log_map(x, x / 2, curvature=c)))(x, c),
        ):
            assert out.dtype == dtype
    assert poincare.distance(jnp.zeros(2, jnp.bfloat16), jnp.full(2, 0.5, jnp.bfloat16)).dtype == jnp.float32
    assert poincare.distance([0, 0], [0.5, 0.0]).dtype == FLOAT


def test_trap_far_points_of_the_hyperboloid():
    """arcsinh of 1e19 has derivative 0 in jax's float32: far points would stop moving. Rays are exact powers of two."""
    reach = (20, 60, 64, 98) if PRECISION == 32 else (20, 60, 400, 900)
    value_and_grad = jax.jit(jax.value_and_grad(lambda a, b: poincare.lorentz_distance(a, b)))
    along = np.array([3.0, 4.0])
    for k in reach:
        for other in (-90, -4, 0, 1, k - 1, k):
            for sign in (1, -1):
                x, y = along * 2.0**k, sign * along * 2.0**other
                points = [poincare.lorentz_project(jnp.asarray([0, *p], FLOAT)) for p in (x, y)]
                value, slope = value_and_grad(*points)
                radii = np.arcsinh(5 * 2.0**k), np.arcsinh(5 * 2.0**other)
                wanted = radii[0] - sign * radii[1]
                near(value, wanted, 8 * EPS, radii[0])
                # one unit of the way is cosh r units of the coordinate
                speed = float(np.asarray(slope[1:], np.float64) @ (along / 5) * np.hypot(1, 5 * 2.0**k))
                assert abs(speed - float(wanted != 0)) < 8 * EPS, (k, other, sign)


# ------------------------------------------------------------------ hyperboloid


@pytest.mark.parametrize("c", [1.0, 1e-4, 9.0])
def test_charts_are_isometric(c):
    x, y = pairs(400, nearest=3, c=c)
    far_x, far_y = (jitted["to_lorentz"](p, curvature=c) for p in (x, y))
    assert np.all(np.abs(poincare.lorentz_inner(far_x, far_x) * c + 1) < 8 * EPS * c * np.asarray(far_x)[:, 0] ** 2)
    near(
        jitted["lorentz_distance"](far_x, far_y, curvature=c),
        jitted["distance"](x, y, curvature=c),
        20 * EPS,
        np.asarray(jitted["distance"](x, y, curvature=c)) + 100 / c**0.5,
    )
    near(jitted["from_lorentz"](far_x, curvature=c), x, 8 * EPS / c**0.5, 1)
    # tangent vectors have the lengths of the ball
    v = np.random.default_rng(1).normal(size=x.shape).astype(FLOAT)
    pushed = jax.vmap(lambda x, v: jax.jvp(lambda p: poincare.to_lorentz(p, curvature=c), (x,), (v,))[1])(x, v)
    size = lengths(v) * np.asarray(jitted["conformal_factor"](x, curvature=c))
    near(np.sqrt(np.maximum(poincare.lorentz_inner(pushed, pushed), 0)), size, 4e6 * EPS)


def test_lorentz_distance_equals_decimals():
    """Both branches and their seam, neighbours and opposites."""
    rng = np.random.default_rng(9)
    x = rng.normal(size=(150, 3)) * 10 ** rng.uniform(-6, 3, (150, 1))
    y = np.where(
        np.arange(150)[:, None] % 3,
        rng.normal(size=(150, 3)) * 10 ** rng.uniform(-6, 3, (150, 1)),
        x * (1 + 10 ** -rng.uniform(1, 5, (150, 1)) * rng.normal(size=(150, 3))),
    )
    x, y = x.astype(FLOAT), y.astype(FLOAT)
    lift = lambda s: poincare.lorentz_project(np.pad(s, ((0, 0), (1, 0))))
    value = jitted["lorentz_distance"](lift(x), lift(y))
    wanted = exact(lambda a, b: oracle.lorentz_distance(a, b, 1), x, y)
    slack = 8 * EPS * wanted + 4 * EPS * np.minimum(lengths(x), lengths(y)) * np.minimum(
        lengths(x - y) / np.maximum(np.sinh(np.minimum(wanted, 80)), 1e-30), 1
    )
    assert np.all(np.abs(np.asarray(value) - wanted) <= slack)
    slopes = jax.jit(jax.vmap(jax.grad(poincare.lorentz_distance)))(lift(x), lift(y))
    assert np.all(np.isfinite(slopes))
    assert np.all(np.asarray(slopes)[:, 0] == 0)


def test_lorentz_maps():
    x, y = (jitted["to_lorentz"](p * FLOAT(0.9)) for p in (X, Y))
    v = jitted["lorentz_log_map"](x, y)
    scale = np.asarray(x)[:, :1] * np.asarray(y)[:, :1]
    near(jitted["lorentz_inner"](x, v)[:, None], 0 * scale, 8 * EPS, scale * 10)
    near(jitted["lorentz_exp_map"](x, v), y, 8 * EPS, 10 * scale**2)
    ball_v = jitted["log_map"](X * FLOAT(0.9), Y * FLOAT(0.9))
    pushed = jax.vmap(lambda x, v: jax.jvp(poincare.to_lorentz, (x,), (v,))[1])(X * FLOAT(0.9), ball_v)
    near(pushed, v, 40 * EPS, scale)
    slope = jax.vmap(jax.grad(poincare.lorentz_distance))(x, y) * jnp.array([[-1.0, 1, 1, 1]])
    toward = -poincare.lorentz_tangent(x, slope) * poincare.lorentz_distance(x, y)[:, None]
    near(toward, v, 80 * EPS, scale * np.asarray(x)[:, :1])
    still = jax.jacobian(poincare.lorentz_exp_map, 1)(x[0], jnp.zeros(4))
    assert np.all(np.isfinite(still))


# ------------------------------------------------------------------ optimisers


def frechet(points):
    return lambda x: jnp.mean(poincare.distance(x, points) ** 2) / 2


def symmetric_cloud(seed, count=8, spread=0.5):
    """Points in pairs about a centre, which is their Frechet mean: exp_m(v) and exp_m(-v)."""
    centre = poincare.project(jnp.asarray(ball(9, seed=seed, nearest=1)[0]))
    v = np.random.default_rng(seed).normal(size=(count, 3)) * spread / poincare.conformal_factor(centre)
    return centre, poincare.exp_map(centre[None], jnp.concatenate([v, -v]).astype(FLOAT))


def run(optimizer, loss, x, steps):
    def step(carry, _):
        x, state = carry
        value, slope = jax.value_and_grad(loss)(x)
        updates, state = optimizer.update(slope, state, x)
        x = poincare.apply_updates(x, updates)
        return (x, state), (x, value)

    return jax.jit(lambda x: jax.lax.scan(step, (x, optimizer.init(x)), length=steps))(x)[1]


OPTIMISERS = {
    "sgd": (lambda: poincare.riemannian_sgd(0.5), 60),
    "momentum": (lambda: poincare.riemannian_sgd(0.2, momentum=0.5), 120),
    "schedule": (lambda: poincare.riemannian_sgd(optax.piecewise_constant_schedule(0.1, {9: 5.0})), 80),
    "adam": (lambda: poincare.riemannian_adam(optax.cosine_decay_schedule(0.2, 300), b2=0.9), 300),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_optimisers_find_the_frechet_mean(name):
    make, steps = OPTIMISERS[name]
    centre, points = symmetric_cloud(3)
    start = jnp.array([-0.9, 0.1, 0.2], FLOAT)
    path, _ = run(make(), frechet(points), start, steps)
    missed = float(poincare.distance(path[-1], centre))
    assert missed < (2e-3 if name == "adam" else 300 * EPS + 1e-9)
    assert float(poincare.distance(start, centre)) > 2


def test_a_step_is_a_geodesic_step():
    """On d^2 / 2 a step of size t goes the share t of the way."""
    for t in (0.25, 1.0):
        x, y = jnp.asarray(X[:50]), jnp.asarray(Y[:50])
        slope = jax.grad(lambda x, y: jnp.sum(poincare.distance(x, y) ** 2) / 2)(x, y)
        updates, _ = poincare.riemannian_sgd(t).update(slope, poincare.riemannian_sgd(t).init(x), x)
        near(poincare.apply_updates(x, updates), poincare.geodesic(x, y, t), 2e3 * EPS, 1)


@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_momentum_is_carried_along(name):
    """The gradient of a distance is a unit vector along one geodesic: momentum must add up on it to the last digit.

    Without transport, or with it the wrong way, the velocity leaves the geodesic and the sums below fail.
    """
    goal, start = jnp.array([0.1, -0.2, 0.3], FLOAT), jnp.array([0.55, 0.6, 0.5], FLOAT)
    optimizer = (
        poincare.riemannian_sgd(0.02, momentum=0.9) if name == "momentum" else poincare.riemannian_adam(0.05, eps=1e-30)
    )
    path, _ = run(optimizer, lambda x: poincare.distance(x, goal), start, 20)
    terms = 0.02 * (1 - 0.9 ** np.arange(1, 21)) / 0.1 if name == "momentum" else np.full(20, 0.05)
    travelled = np.cumsum(terms)
    assert travelled[-1] < float(poincare.distance(start, goal))
    near(poincare.distance(start[None], path), travelled, 500 * EPS, 1)
    left = poincare.distance(path, goal[None])
    near(left, float(poincare.distance(start, goal)) - travelled, 500 * EPS, 1)


def test_optimisers_mix_with_optax():
    """chain, multi_transform, masked, inject_hyperparams: ball and Euclid in one tree."""
    goal = jnp.array([0.3, -0.2], FLOAT)
    params = {"point": jnp.zeros((4, 2), FLOAT), "bias": jnp.ones(3, FLOAT)}
    loss = lambda p: jnp.sum(poincare.distance(p["point"], goal[None]) ** 2) / 2 + jnp.sum(p["bias"] ** 2)
    kinds = {"point": "ball", "bias": "flat"}
    ballwise = optax.chain(optax.clip(10.0), poincare.riemannian_sgd(optax.constant_schedule(0.3)))
    optimizers = {
        "multi": optax.multi_transform({"ball": ballwise, "flat": optax.sgd(0.1)}, kinds),
        "masked": optax.chain(
            optax.masked(
                poincare.riemannian_adam(optax.cosine_decay_schedule(0.1, 60), b2=0.9), {"point": True, "bias": False}
            ),
            optax.masked(optax.sgd(0.1), {"point": False, "bias": True}),
        ),
        "injected": optax.multi_transform(
            {"ball": optax.inject_hyperparams(poincare.riemannian_sgd)(learning_rate=0.3), "flat": optax.adam(0.1)},
            kinds,
        ),
    }
    inside = {"point": True, "bias": False}
    for name, optimizer in optimizers.items():

        def step(carry, _, optimizer=optimizer):
            p, state = carry
            updates, state = optimizer.update(jax.grad(loss)(p), state, p)
            return (poincare.apply_updates(p, updates, mask=inside), state), loss(p)

        (moved, _), losses = jax.jit(lambda p, o=optimizer, s=step: jax.lax.scan(s, (p, o.init(p)), length=60))(params)
        assert losses[-1] < 0.02 * losses[0], name
        assert float(jnp.max(poincare.distance(moved["point"], goal[None]))) < 0.02, name


def test_huge_steps_stay_inside():
    x = jnp.asarray(X[:20])
    for size in (1e3, 1e12, 1e30):
        updates, _ = poincare.riemannian_sgd(1.0).update(
            jnp.full_like(x, size), poincare.riemannian_sgd(1.0).init(x), x
        )
        moved = poincare.apply_updates(x, updates)
        assert np.all(np.isfinite(poincare.conformal_factor(moved)))
        if size > 1e3:
            near(moved, poincare.exp_map(x, jnp.full_like(x, -1e5)), ROOM, 1)
            near(poincare.exp_map(x, jnp.full_like(x, -size)), moved, ROOM, 1)
    flat = {"point": x, "bias": jnp.zeros(2)}
    moved = poincare.apply_updates(
        flat, {"point": 5 * x, "bias": jnp.full(2, 7.0)}, mask={"point": True, "bias": False}
    )
    assert np.all(np.asarray(moved["bias"]) == 7)
    assert np.all(lengths(moved["point"]) < 1)


def test_optimisers_keep_half_precision_parameters():
    x = jnp.asarray(X[:4], jnp.bfloat16) / 2
    for optimizer in (poincare.riemannian_sgd(0.1, momentum=0.9), poincare.riemannian_adam(0.1)):
        updates, state = optimizer.update(x, optimizer.init(x), x)
        assert poincare.apply_updates(x, updates).dtype == jnp.bfloat16
        assert jax.tree.leaves(state)[1].dtype == jnp.bfloat16


# ------------------------------------------------------------------ shapes and bad input

POINTWISE = ("distance", "mobius_add", "exp_map", "log_map", "riemannian_gradient")


@pytest.mark.parametrize("name", POINTWISE)
def test_broadcasts_and_agrees_under_jit_and_vmap(name):
    function = getattr(poincare, name)
    table = jax.jit(function)(X[:4, None], Y[:5])
    rows = jnp.stack([function(x, Y[:5]) for x in X[:4]])
    near(table, rows, 8 * EPS, 1 + np.abs(rows))
    mapped = jax.vmap(jax.vmap(function, (None, 0)), (0, None))(X[:4], Y[:5])
    near(mapped, rows, 8 * EPS, 1 + np.abs(rows))


def test_finite_at_every_radius_and_parting():
    """Values and gradients of every operation, from coincident points to the last float of the ball."""
    gaps = np.concatenate([[1.0], 10.0 ** -np.arange(1, NEAREST + 1)])
    x = np.stack([1 - gaps, 0 * gaps], 1).astype(FLOAT)
    y = np.concatenate([x, -x, x[:, ::-1], x * FLOAT(1 - 4 * EPS)])
    for name in ("distance", "mobius_add", "exp_map", "log_map"):
        loss = lambda x, y, c, name=name: jnp.sum(getattr(poincare, name)(x[:, None], y, curvature=c))
        value, slopes = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(x, y, FLOAT(1))
        assert np.isfinite(value), name
        assert all(np.all(np.isfinite(s)) for s in slopes), name


def test_traced_points_outside_give_nan():
    assert np.isnan(jax.jit(poincare.distance)(jnp.array([1.5, 0.0]), jnp.array([1.5, 0.1])))
    assert np.isnan(jax.jit(poincare.conformal_factor)(jnp.array([1.0, 0.0])))
    assert np.all(np.isnan(jax.jit(poincare.exp_map)(jnp.array([1.5, 0.0]), jnp.zeros(2))))


BAD = [
    (lambda: poincare.distance([1.0, 0.0], [0.0, 0.0]), r"x must lie inside the ball.*project"),
    (lambda: poincare.distance([0.0, 0.0], [0.9, 0.9]), r"y must lie inside the ball.*1\.6"),
    (lambda: poincare.distance([0.0, 0.6], [0.0, 0.0], curvature=3.0), "at curvature 3"),
    (lambda: poincare.exp_map([0.0, 1.0], [0.0, 0.0]), "x must lie inside"),
    (lambda: poincare.midpoint([[0.0, 1.0]]), "x must lie inside"),
    (lambda: poincare.to_lorentz([0.0, 1.0]), "x must lie inside"),
    (lambda: poincare.distance([0.0, 0.0], [0.0, 0.0], curvature=-1.0), r"curvature must be in \[0.*0 is Euclid"),
    (lambda: poincare.project([0.0, 0.0], curvature=float("nan")), "curvature must be in"),
    (lambda: poincare.distance([0.0, 0.0], [0.0, 0.0], curvature=[1.0, 2.0]), "curvature must be a scalar.*vmap"),
    (lambda: poincare.to_lorentz([0.0, 0.0], curvature=0.0), "curvature must be positive.*cannot be 0"),
    (lambda: poincare.distance([0.0, 0.0], [0.0, 0.0, 0.0]), "x, y must share the number of coordinates"),
    (lambda: poincare.distance(np.zeros((2, 2)), np.zeros((3, 2))), "broadcast before it"),
    (lambda: poincare.distance(0.0, [0.0]), "x needs a last axis of coordinates"),
    (lambda: poincare.project([0.5, 0.5], margin=1.0), "margin must be in.*share of the radius"),
    (lambda: poincare.midpoint([0.0, 0.5]), "n >= 1 points by d coordinates"),
    (lambda: poincare.midpoint([[0.0, 0.5]], [0.0]), "at least 0, with a positive sum"),
    (lambda: poincare.midpoint([[0.0, 0.5]], [-1.0]), "weights must be finite and at least 0"),
    (lambda: poincare.midpoint([[0.0, 0.5]], [1.0, 2.0]), "does not broadcast"),
    (lambda: poincare.lorentz_distance([1.0, 1.0], [1.0, 0.0]), "x must lie on the hyperboloid.*lorentz_project"),
    (lambda: poincare.lorentz_distance([1.0], [1.0]), "a time and at least one space coordinate"),
    (lambda: poincare.riemannian_sgd(-0.1), "learning_rate must be in"),
    (lambda: poincare.riemannian_sgd(0.1, momentum=1.0), "momentum must be in"),
    (lambda: poincare.riemannian_adam(0.1, b1=1.0), "b1 must be in"),
    (lambda: poincare.riemannian_adam(0.1, eps=0.0), "eps must be positive"),
    (
        lambda: poincare.riemannian_sgd(0.1).update(np.zeros(2), poincare.riemannian_sgd(0.1).init(np.zeros(2))),
        "pass the par",
    ),
    (
        lambda: poincare.riemannian_sgd(0.1).update(
            np.zeros(2), poincare.riemannian_sgd(0.1).init(np.ones(2)), np.ones(2)
        ),
        "x must lie inside",
    ),
]


@pytest.mark.parametrize(("call", "message"), BAD, ids=[m for _, m in BAD])
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_complex_points_are_refused():
    with pytest.raises(TypeError, match="x must be real"):
        poincare.distance(np.zeros(2, complex), np.zeros(2))


# ------------------------------------------------------------------ trees


def regular(branching, depth):
    """Parents of a complete tree, from the root outwards."""
    levels = [np.zeros(1, int)]
    parents, start = [np.array([-1])], 0
    for _ in range(depth):
        size = len(levels[-1])
        parents.append(start + np.repeat(np.arange(size), branching))
        start += size
        levels.append(np.zeros(size * branching))
    return np.concatenate(parents)


@pytest.mark.parametrize("c", [1.0, 0.25])
def test_tree_has_even_edges_and_angles(c):
    parents = regular(3, 4)
    x = jax.jit(lambda c: poincare.embed_tree(parents, length=2.0 / c**0.5, curvature=c))(FLOAT(c))
    between = np.asarray(jitted["distance"](x[:, None], x[None], curvature=c)) * c**0.5
    rounding = 8 * EPS * np.cosh(8.0)
    near(between[np.arange(1, 121), parents[1:]], np.full(120, 2.0), rounding, 1)
    siblings = np.arccosh(np.cosh(2.0) ** 2 - np.sinh(2.0) ** 2 * np.cos(np.pi / 2))
    near(between[4, [5, 0]], [siblings, siblings], rounding, 1)
    adjacent = np.zeros((121, 121), bool)
    adjacent[np.arange(1, 121), parents[1:]] = adjacent[parents[1:], np.arange(1, 121)] = True
    far = np.where(adjacent | np.eye(121, dtype=bool), np.inf, between)
    assert np.all(np.max(np.where(adjacent, between, 0), axis=1) < np.min(far, axis=1))  # mean average precision 1


def test_tree_in_the_plane_at_curvature_zero():
    """A path bends nowhere; a star of four is a cross."""
    path = poincare.embed_tree(np.arange(-1, 4), length=2.0, curvature=0.0)
    near(poincare.distance(path[:1], path, curvature=0.0), 2.0 * np.arange(5), 8 * EPS, 8)
    star = poincare.embed_tree(np.array([-1, 0, 0, 0, 0]), length=2.0, curvature=0.0)
    near(star[1:], [[0, 1], [-1, 0], [0, -1], [1, 0]], 8 * EPS, 1)
    assert poincare.embed_tree(np.array([-1]), length=1.0).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("parents", [[0, 0], [-1, 2, 1], [-1, -1], [-1.0, 0.0], []])
def test_tree_refuses_what_is_no_tree(parents):
    with pytest.raises(ValueError, match=r"index of an earlier one.*from the root outwards"):
        poincare.embed_tree(np.array(parents), length=1.0)
    with pytest.raises(ValueError, match="length must be positive"):
        poincare.embed_tree(np.array([-1, 0]), length=0.0)
