"""nsx.poincare where others break: huge points, coincident ones, curvature 0, domains under jit, narrow integers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nsx import poincare
from tests.helpers import EPS, FLOAT, PRECISION
from tests.oracles import poincare as oracle

X = np.array([0.3, 0.1], FLOAT)
Y = np.array([-0.2, 0.6], FLOAT)
HUGE = FLOAT(2e19 if PRECISION == 32 else 2e160)  # its square overflows


def lift(x, c=1.0):
    """Points of the hyperboloid over their space coordinates."""
    x = np.asarray(x, FLOAT)
    return poincare.lorentz_project(np.concatenate([np.zeros_like(x[..., :1]), x], axis=-1), curvature=c)


# ------------------------------------------------------------------ second derivatives at coincidence


def ball_square(x, y, c):
    return poincare.distance(x, y, curvature=c) ** 2


def sheet_square(x, y, c):
    """The same through the hyperboloid."""
    far_x, far_y = (poincare.to_lorentz(p, curvature=c) for p in (x, y))
    return poincare.lorentz_distance(far_x, far_y, curvature=c) ** 2


@pytest.mark.parametrize("point", [(0.3, 0.1), (0.0, 0.0), (0.9, -0.3)])
@pytest.mark.parametrize("c", [1.0, 0.4])
@pytest.mark.parametrize("square", [ball_square, sheet_square])
def test_the_hessian_of_the_squared_distance_at_coincidence(square, c, point):
    """2 lambda^2 times the identity; through both routes of JAX, and in y as in x."""
    x = jnp.asarray(point, FLOAT)
    factor = 2 / (1 - c * np.sum(np.square(np.float64(point))))
    wanted = 2 * factor**2 * np.eye(2)
    for hessian in (jax.hessian(square), jax.jacrev(jax.jacfwd(square)), jax.jacfwd(jax.jacfwd(square))):
        np.testing.assert_allclose(hessian(x, x, c), wanted, rtol=400 * EPS, atol=400 * EPS * factor**2)
    mixed = jax.jacfwd(jax.jacrev(square, 0), 1)(x, x, c)
    np.testing.assert_allclose(mixed, -wanted, rtol=400 * EPS, atol=400 * EPS * factor**2)


@pytest.mark.parametrize("square", [ball_square, sheet_square])
def test_values_and_slopes_at_coincidence_stay_exact(square):
    x = jnp.asarray(X)
    value, slope = jax.value_and_grad(square)(x, x, 1.0)
    assert value == 0
    assert np.all(slope == 0)
    value, slope = jax.value_and_grad(poincare.distance)(x, x)
    assert value == 0
    assert np.all(slope == 0)


def test_the_hessian_next_to_coincidence_is_the_same():
    """The limit: no jump between points that coincide and points that nearly do."""
    x = jnp.asarray(X)
    near = x + FLOAT(1e-3)
    at, beside = (jax.hessian(ball_square)(p, x, 1.0) for p in (x, near))
    np.testing.assert_allclose(at, beside, rtol=0.01, atol=0.05)


def test_the_hessian_from_the_origin_of_the_hyperboloid():
    """Where a length is 0: sqrt(1 + |x|^2) through |x| had second derivative 0, silently."""
    y = poincare.to_lorentz(jnp.asarray(Y))[1:]

    def square(space):
        return poincare.lorentz_distance(lift_traced(space), lift_traced(y)) ** 2

    at = np.zeros(2)
    step = 1e-4
    grid = np.array([[(i, j) for j in (-step, 0, step)] for i in (-step, 0, step)])
    hessian = jax.hessian(square)(jnp.asarray(at, FLOAT))
    exact = [[float(oracle.lorentz_distance(at + p, np.float64(y), 1) ** 2) for p in row] for row in grid]
    second = (exact[2][1] - 2 * exact[1][1] + exact[0][1]) / step**2
    mixed = (exact[2][2] - exact[2][0] - exact[0][2] + exact[0][0]) / (4 * step**2)
    np.testing.assert_allclose(hessian[0], [second, mixed], rtol=1e-4)


def lift_traced(space):
    return poincare.lorentz_project(jnp.concatenate([jnp.zeros_like(space[:1]), space]))


# ------------------------------------------------------------------ huge points


@pytest.mark.parametrize("size", [1e17, 1e19, 1e38, 3e38])
@pytest.mark.parametrize("c", [1.0, 0.04, 25.0])
def test_project_keeps_the_direction_of_a_huge_point(size, c):
    """project([1e38, 1e38]) was the origin."""
    x = np.array([[size, size], [-size, 0], [size, 1e-30]], FLOAT)
    unit = np.array([[0.5**0.5, 0.5**0.5], [-1, 0], [1, 0]]) / c**0.5
    for project in (poincare.project, jax.jit(poincare.project)):
        np.testing.assert_allclose(project(x, curvature=c), unit, rtol=16 * EPS, atol=16 * EPS)
    slope = jax.vmap(jax.jacobian(lambda x: poincare.project(x, curvature=c)))(x)
    assert np.all(np.isfinite(slope))
    moved = poincare.exp_map(np.zeros_like(x), x, curvature=c)
    np.testing.assert_allclose(moved, unit, rtol=16 * EPS, atol=16 * EPS)


AT_ZERO = {
    "distance": lambda c: (poincare.distance(x=[HUGE, HUGE], y=[-HUGE, HUGE], curvature=c), 4 * HUGE),
    "project": lambda c: (poincare.project([HUGE, -HUGE], curvature=c), [HUGE, -HUGE]),
    "mobius_add": lambda c: (poincare.mobius_add([HUGE, 0.0], [HUGE, 1.0], curvature=c), [2 * HUGE, 1.0]),
    "mobius_scale": lambda c: (poincare.mobius_scale(0.5, [HUGE, 0.0], curvature=c), [HUGE / 2, 0.0]),
    "exp_map": lambda c: (poincare.exp_map([HUGE, 1.0], [HUGE, 2.0], curvature=c), [2 * HUGE, 3.0]),
    "log_map": lambda c: (poincare.log_map([HUGE, 1.0], [-HUGE, 2.0], curvature=c), [-2 * HUGE, 1.0]),
    "gyration": lambda c: (poincare.gyration([HUGE, 1.0], [-HUGE, 2.0], [HUGE, 7.0], curvature=c), [HUGE, 7.0]),
    "parallel_transport": lambda c: (
        poincare.parallel_transport([HUGE, 1.0], [0.0, HUGE], [3.0, 7.0], curvature=c),
        [3.0, 7.0],
    ),
    "geodesic": lambda c: (poincare.geodesic([HUGE, 0.0], [-HUGE, HUGE], 0.5, curvature=c), [0.0, HUGE / 2]),
    "midpoint": lambda c: (poincare.midpoint([[HUGE, 0.0], [-HUGE, HUGE]], curvature=c), [0.0, HUGE / 2]),
    "conformal_factor": lambda c: (poincare.conformal_factor([HUGE, HUGE], curvature=c), 2.0),
    "riemannian_gradient": lambda c: (poincare.riemannian_gradient([HUGE, 0.0], [4.0, 8.0], curvature=c), [1.0, 2.0]),
}


@pytest.mark.parametrize("name", AT_ZERO)
def test_euclid_has_room_for_points_whose_squares_overflow(name):
    for c in (0.0, jnp.zeros((), FLOAT)):
        got, wanted = AT_ZERO[name](c)
        np.testing.assert_allclose(got, np.asarray(wanted, FLOAT), rtol=4 * EPS, atol=4 * EPS * float(HUGE))
    traced = jax.jit(lambda c: AT_ZERO[name](c)[0])(FLOAT(0))
    np.testing.assert_allclose(traced, np.asarray(wanted, FLOAT), rtol=4 * EPS, atol=4 * EPS * float(HUGE))
    slope = jax.jit(jax.grad(lambda s: jnp.sum(AT_ZERO_OF(name, s))))(FLOAT(1))
    assert np.isfinite(slope)


def AT_ZERO_OF(name, s):
    """A function of a huge point's share s, at curvature 0."""
    x, y = jnp.stack([s * HUGE, s]), jnp.stack([-s * HUGE, 2 * s])
    calls = {
        "mobius_scale": lambda f: f(0.5, x, curvature=0.0),
        "gyration": lambda f: f(x, y, y, curvature=0.0),
        "parallel_transport": lambda f: f(x, y, y, curvature=0.0),
        "geodesic": lambda f: f(x, y, 0.5, curvature=0.0),
        "midpoint": lambda f: f(jnp.stack([x, y]), curvature=0.0),
        "conformal_factor": lambda f: f(x, curvature=0.0),
        "project": lambda f: f(x, curvature=0.0),
    }
    return calls.get(name, lambda f: f(x, y, curvature=0.0))(getattr(poincare, name)) / HUGE


@pytest.mark.parametrize("c", [1e-30, 1e-37])
def test_a_very_large_ball(c):
    """Points at a tenth of a radius of 1e15 and more; squares are near the end of float32."""
    c = float(FLOAT(c))
    x, y = (np.asarray(p / c**0.5, FLOAT) for p in (X, Y))
    for run in (poincare.distance, jax.jit(poincare.distance)):
        value = run(x, y, curvature=FLOAT(c))
        np.testing.assert_allclose(value, float(oracle.distance(x, y, c)), rtol=8 * EPS)
    np.testing.assert_allclose(
        poincare.conformal_factor(x, curvature=c), 2 / float(oracle.gap(x, FLOAT(c))), rtol=4 * EPS
    )


# ------------------------------------------------------------------ the hyperboloid


@pytest.mark.parametrize("c", [2.0, 0.3, 5.0])
@pytest.mark.parametrize("size", [0.1, 3.0, 1e4])
def test_neighbours_at_any_curvature(c, size):
    """Points an ulp apart: sqrt(c) x was rounded before the difference, 29 % off at c = 2."""
    c = float(FLOAT(c))
    x = np.asarray(size * np.random.default_rng(0).normal(size=(40, 3)), FLOAT)
    y = np.nextafter(x, np.inf).astype(FLOAT)
    wanted = np.array([float(oracle.lorentz_distance(a, b, c)) for a, b in zip(x, y, strict=True)])
    for run in (poincare.lorentz_distance, jax.jit(poincare.lorentz_distance)):
        np.testing.assert_allclose(run(lift(x, c), lift(y, c), curvature=c), wanted, rtol=5e-4 if size > 1e3 else 1e-5)


@pytest.mark.parametrize(("radius", "tolerance"), [(8.0, 1e-6), (17.0, 1e-4)])
@pytest.mark.parametrize("spread", [1.0, 1e-2])
def test_far_neighbours_keep_their_angle(radius, tolerance, spread):
    """At radius 17 float32 has steps of a whole length across; the distance of the coordinates given was 31 % off."""
    rng = np.random.default_rng(1)
    u = rng.normal(size=(60, 3))
    v = u + rng.normal(size=(60, 3)) * 2 * spread * np.exp(-radius)
    u, v = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (u, v))
    x = np.asarray(np.sinh(radius) * u, FLOAT)
    y = np.asarray(np.sinh(radius + spread * rng.normal(size=(60, 1))) * v, FLOAT)
    wanted = np.array([float(oracle.lorentz_distance(a, b, 1)) for a, b in zip(x, y, strict=True)])
    for run in (poincare.lorentz_distance, jax.jit(poincare.lorentz_distance)):
        np.testing.assert_allclose(run(lift(x), lift(y)), wanted, rtol=tolerance)


def test_time_of_a_huge_point_at_any_curvature():
    for c in (4.0, 0.25):
        far = lift([[1e38, 0.0]], c)
        np.testing.assert_allclose(far[0, 0], FLOAT(1e38), rtol=EPS)
        np.testing.assert_allclose(poincare.from_lorentz(far, curvature=c), [[1 / c**0.5, 0]], rtol=16 * EPS)


# ------------------------------------------------------------------ domains, types, strictness


def test_a_traced_curvature_outside_its_domain_gives_nan():
    """jit(distance)(..., curvature=-1.) was 1.015."""
    for c in (-1.0, -1e-6, np.inf, np.nan):
        assert np.isnan(jax.jit(poincare.distance)(X, Y, curvature=FLOAT(c)))
        assert np.all(np.isnan(jax.jit(poincare.project)(9 * X, curvature=FLOAT(c))))
        assert np.all(np.isnan(jax.jit(poincare.lorentz_distance)(lift(X), lift(Y), curvature=FLOAT(c))))
        tree = jax.jit(lambda c: poincare.embed_tree(np.array([-1, 0, 0]), length=1.0, curvature=c))(FLOAT(c))
        assert np.all(np.isnan(tree))


def test_a_curvature_beyond_the_points_precision_is_refused():
    """1e300 is infinite in float32, 1e-300 is 0: neither is taken for another curvature."""
    x = X.astype(np.float32) * 0
    with pytest.raises(ValueError, match="curvature must be in"):
        poincare.distance(x, x, curvature=1e300)
    with pytest.raises(ValueError, match="curvature must be positive"):
        poincare.to_lorentz(x, curvature=1e-300)


def test_traced_weights_outside_their_domain_give_nan():
    points = np.stack([X, Y])
    for weights in ([-1.0, 2.0], [0.0, 0.0], [np.inf, 1.0]):
        assert np.all(np.isnan(jax.jit(poincare.midpoint)(points, np.asarray(weights, FLOAT))))
    with pytest.raises(ValueError, match="finite and at least 0"):
        poincare.midpoint(points, np.array([np.inf, 1.0]))
    heavy = poincare.midpoint(points, np.asarray([3e38, 1.5e38], FLOAT))
    np.testing.assert_allclose(heavy, poincare.midpoint(points, np.array([2.0, 1.0], FLOAT)), rtol=8 * EPS)


def test_midpoint_of_no_points_is_refused():
    with pytest.raises(ValueError, match="n >= 1 points"):
        poincare.midpoint(np.zeros((0, 3)))
    assert poincare.midpoint(np.zeros((0, 2, 3))).shape == (0, 3)


def test_numbers_per_point_are_checked_like_points():
    with pytest.raises(ValueError, match="x needs a last axis"):
        poincare.mobius_scale(2.0, 0.5)
    with pytest.raises(ValueError, match="must share the number of coordinates"):
        poincare.geodesic(np.zeros((3, 2)), np.zeros((3, 2)), np.zeros(4))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64])
def test_parents_of_any_integer_type(dtype):
    """300 nodes under one root whose numbers fit in 8 bits; -1 does not exist among the unsigned."""
    parents = np.zeros(300, dtype)
    if np.issubdtype(dtype, np.unsignedinteger):
        with pytest.raises(ValueError, match="index of an earlier one"):
            poincare.embed_tree(parents, length=1.0)
        return
    parents[0] = -1
    got = poincare.embed_tree(parents, length=1.0)
    np.testing.assert_allclose(got, poincare.embed_tree(parents.astype(np.int32), length=1.0), rtol=0)
    np.testing.assert_allclose(np.linalg.norm(got[1:], axis=1), np.tanh(0.5), rtol=16 * EPS)


def test_the_counter_of_steps_stays_at_its_end():
    """Beyond 2^31 steps int32 is negative, and b^count infinite."""
    optimizer = poincare.riemannian_adam(0.1)
    state = optimizer.init(jnp.asarray(X))
    state = state._replace(count=jnp.int32(2**31 - 1), mean=jnp.asarray(Y), square=jnp.ones(1, FLOAT))
    updates, state = optimizer.update(jnp.asarray(Y), state, jnp.asarray(X))
    assert state.count == 2**31 - 1
    assert np.all(np.isfinite(updates))


@pytest.mark.parametrize("make", [poincare.riemannian_sgd, poincare.riemannian_adam])
def test_a_traced_learning_rate_outside_its_domain_gives_nan(make):
    def step(rate):
        optimizer = make(rate)
        return optimizer.update(jnp.asarray(Y), optimizer.init(jnp.asarray(X)), jnp.asarray(X))[0]

    assert np.all(np.isfinite(jax.jit(step)(FLOAT(0.1))))
    for rate in (-0.1, np.inf, np.nan):
        assert np.all(np.isnan(jax.jit(step)(FLOAT(rate))))


def test_strict_promotion_with_a_schedule_of_another_type():
    optimizer = poincare.riemannian_sgd(optax.constant_schedule(np.float32(0.1)), momentum=0.5)
    with jax.numpy_dtype_promotion("strict"):
        state = optimizer.init(jnp.asarray(X))
        updates, state = optimizer.update(jnp.asarray(Y), state, jnp.asarray(X))
    assert updates.dtype == FLOAT
