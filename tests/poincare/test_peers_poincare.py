"""The same geometry from geoopt: equal values and gradients where geoopt is right, and the points where it is not.

Run with the `peers` extra; skipped without it. Everything is compared in float64: geoopt keeps its curvature in float32
unless told otherwise, which would part us in the seventh digit.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsx import poincare

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(not jax.config.jax_enable_x64, reason="compared in float64"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
C = 0.75


@pytest.fixture
def geoopt():
    pytest.importorskip("torch")
    return pytest.importorskip("geoopt")


def points(seed, reach=0.95, count=200, d=4):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True) * rng.uniform(0.05, reach, (count, 1)) / C**0.5


X, Y, V = points(0), points(1), 0.3 * points(2)
SAME = {
    "distance": (lambda c: poincare.distance(X, Y, curvature=c), lambda m, t: m.dist(t(X), t(Y))),
    "mobius_add": (lambda c: poincare.mobius_add(X, Y, curvature=c), lambda m, t: m.mobius_add(t(X), t(Y))),
    "mobius_scale": (
        lambda c: poincare.mobius_scale(1.7, X, curvature=c),
        lambda m, t: m.mobius_scalar_mul(t(np.array(1.7)), t(X)),
    ),
    "gyration": (lambda c: poincare.gyration(X, Y, V, curvature=c), lambda m, t: m.gyration(t(X), t(Y), t(V))),
    "exp_map": (lambda c: poincare.exp_map(X, V, curvature=c), lambda m, t: m.expmap(t(X), t(V))),
    "log_map": (lambda c: poincare.log_map(X, Y, curvature=c), lambda m, t: m.logmap(t(X), t(Y))),
    "parallel_transport": (
        lambda c: poincare.parallel_transport(X, Y, V, curvature=c),
        lambda m, t: m.transp(t(X), t(Y), t(V)),
    ),
    "geodesic": (
        lambda c: poincare.geodesic(X, Y, 0.3, curvature=c),
        lambda m, t: m.geodesic(t(np.array(0.3)), t(X), t(Y)),
    ),
    "conformal_factor": (lambda c: poincare.conformal_factor(X, curvature=c), lambda m, t: m.lambda_x(t(X))),
    "riemannian_gradient": (
        lambda c: poincare.riemannian_gradient(X, V, curvature=c),
        lambda m, t: m.egrad2rgrad(t(X), t(V)),
    ),
    "midpoint": (
        lambda c: poincare.midpoint(X.reshape(20, 10, 4), np.abs(V[:, 0]).reshape(20, 10), curvature=c),
        lambda m, t: m.weighted_midpoint(
            t(X.reshape(20, 10, 4)), t(np.abs(V[:, 0]).reshape(20, 10)), reducedim=[-2], lincomb=False
        ),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_ball(geoopt, name):
    torch = pytest.importorskip("torch")
    ours, theirs = SAME[name]
    ball = geoopt.PoincareBall(c=C).double()
    wanted = theirs(ball, lambda a: torch.tensor(a)).numpy()
    np.testing.assert_allclose(ours(ball.c.item()), wanted, rtol=1e-9, atol=1e-11)


def test_gradient_of_the_distance(geoopt):
    torch = pytest.importorskip("torch")
    x = torch.tensor(X, requires_grad=True)
    ball = geoopt.PoincareBall(c=C).double()
    ball.dist(x, torch.tensor(Y)).sum().backward()
    ours = jax.grad(lambda x: jnp.sum(poincare.distance(x, Y, curvature=ball.c.item())))(X)
    np.testing.assert_allclose(ours, x.grad.numpy(), rtol=1e-8)


def test_hyperboloid(geoopt):
    """geoopt's curvature k is the square of the radius, 1 / c."""
    torch = pytest.importorskip("torch")
    sheet = geoopt.Lorentz(k=1 / C).double()
    c = 1 / sheet.k.item()
    x, y = (poincare.to_lorentz(p, curvature=c) for p in (X, Y))
    t = lambda a: torch.tensor(np.asarray(a))
    np.testing.assert_allclose(poincare.lorentz_distance(x, y, curvature=c), sheet.dist(t(x), t(y)), rtol=1e-8)
    v = poincare.lorentz_log_map(x, y, curvature=c)
    np.testing.assert_allclose(v, sheet.logmap(t(x), t(y)).numpy(), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(
        poincare.lorentz_exp_map(x, v / 2, curvature=c), sheet.expmap(t(x), t(v / 2)).numpy(), rtol=1e-8, atol=1e-8
    )


def test_optimisers_take_the_same_path(geoopt):
    """RiemannianSGD with momentum, and RiemannianAdam, on a Frechet mean: 20 steps, the same points.

    PoincareBall itself steps along straight lines, PoincareBallExact along geodesics. geoopt starts its velocity
    from the ordinary gradient, not the Riemannian one, so it is given a velocity of 0 to start from.
    """
    torch = pytest.importorskip("torch")
    ball = geoopt.PoincareBallExact(c=C).double()
    c = ball.c.item()
    start, cloud = X[0], 0.5 * Y[:6]
    loss = lambda x: jnp.sum(poincare.distance(x, cloud, curvature=c) ** 2)
    recipes = [
        (
            poincare.riemannian_sgd(0.02, curvature=c, momentum=0.6),
            lambda p: geoopt.optim.RiemannianSGD([p], lr=0.02, momentum=0.6),
        ),
        (poincare.riemannian_adam(0.05, curvature=c), lambda p: geoopt.optim.RiemannianAdam([p], lr=0.05)),
    ]
    for ours, make in recipes:
        x, state, p = jnp.asarray(start), ours.init(start), geoopt.ManifoldParameter(torch.tensor(start), manifold=ball)
        theirs = make(p)
        if "momentum" in theirs.param_groups[0]:
            theirs.state[p]["momentum_buffer"] = torch.zeros_like(p)
        for _ in range(20):
            updates, state = ours.update(jax.grad(loss)(x), state, x)
            x = poincare.apply_updates(x, updates, curvature=c)
            theirs.zero_grad()
            (ball.dist(p, torch.tensor(cloud)) ** 2).sum().backward()
            theirs.step()
        np.testing.assert_allclose(x, p.detach().numpy(), rtol=1e-6, atol=1e-8)
        assert float(poincare.distance(x, start, curvature=c)) > 0.3


def test_where_geoopt_is_wrong(geoopt):
    """Its artanh is clamped in every dtype: at radius 0.99999 it says 16.8 with gradient 0; truth 24.4 and 1e5."""
    torch = pytest.importorskip("torch")
    x, y = np.array([0.99999, 0.0]), np.array([-0.99999, 0.0])
    p = torch.tensor(x, requires_grad=True)
    value = geoopt.PoincareBall(c=1.0).double().dist(p, torch.tensor(y))
    value.backward()
    assert abs(value.item() - 16.8) < 0.1
    assert np.all(p.grad.numpy() == 0)
    ours, slope = jax.value_and_grad(poincare.distance)(x, y)
    assert round(float(ours), 4) == 24.4121
    assert abs(float(slope[0]) / 1.000005e5 - 1) < 1e-6
