"""Riemannian SGD and Adam as optax transformations, and the step that keeps their points in the ball."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from nsx._checks import require_in_range, require_positive
from nsx._types import Array, ArrayLike, Float, PyTree
from nsx.poincare._ball import held_inside
from nsx.poincare._functions import safe_sqrt
from nsx.poincare._gyro import rotate
from nsx.poincare._maps import displacement
from nsx.poincare._points import dot, gap, prepare, require_inside

ScalarOrSchedule = Float[ArrayLike, ""] | Callable[[Array], Array]


class RiemannianSGDState(NamedTuple):
    """State of `riemannian_sgd`.

    Attributes:
        count: steps taken, int32; it drives the schedule.
        velocity: mean of the past Riemannian gradients, carried to the present points; None without momentum.
    """

    count: Array
    velocity: PyTree


class RiemannianAdamState(NamedTuple):
    """State of `riemannian_adam`.

    Attributes:
        count: steps taken, int32.
        mean: first moment of the Riemannian gradients, a tangent vector per point, carried along.
        square: second moment of their Riemannian lengths, one number per point.
    """

    count: Array
    mean: PyTree
    square: PyTree


def riemannian_sgd(
    learning_rate: ScalarOrSchedule, *, curvature: Float[ArrayLike, ""] = 1.0, momentum: float | None = None
) -> optax.GradientTransformation:
    r"""Gradient descent along geodesics.

    $$m \leftarrow \mu\,P_{x_{\mathrm{old}} \to x}(m) + \mathrm{grad} f(x),\qquad x \leftarrow \exp_x(-\eta\,m).$$

    Args:
        learning_rate: eta, in units of the ball's own length, or a schedule: a function of the step's number.
        curvature: c >= 0 of the ball that every array's last axis lives in.
        momentum: mu in [0, 1); None keeps no velocity.

    Returns:
        An optax transformation from ordinary gradients to displacements exp_x(-eta m) - x, computed without
        cancellation. It belongs last in `optax.chain`: what comes before it acts on ordinary gradients, what came after
        it would leave the geodesic. `update` needs the parameters. Apply with `apply_updates`.

    Raises:
        ValueError: a negative learning rate or curvature, momentum outside [0, 1), and, in `update`, no parameters
            or a concrete point outside the ball.

    Exact: the step is the exponential map, not a retraction.

    Example:
        >>> x, optimizer = jnp.array([0.5, 0.0]), riemannian_sgd(0.1)
        >>> updates, state = optimizer.update(jax.grad(distance)(x, jnp.zeros(2)), optimizer.init(x), x)
        >>> round(float(distance(x, apply_updates(x, updates))), 5)  # the gradient of a distance has length 1
        0.1

    References:
        [bonnabel2013stochastic, sec. 2], [becigneul2019riemannian, sec. 4]
    """
    _require_rate(learning_rate)
    if momentum is not None:
        require_in_range("momentum", momentum, 0, 1, open_high=True)

    def init(params: PyTree) -> RiemannianSGDState:
        velocity = None if momentum is None else jax.tree.map(jnp.zeros_like, params)
        return RiemannianSGDState(jnp.zeros((), jnp.int32), velocity)

    def update(updates: PyTree, state: RiemannianSGDState, params: PyTree | None = None):
        _require_params(params)
        rate = _rate(learning_rate, state.count)
        if momentum is None:
            steps = jax.tree.map(lambda g, x: _sgd_step(g, x, rate, curvature), updates, params)
            return steps, RiemannianSGDState(state.count + 1, None)
        leaf = lambda g, m, x: _momentum_step(g, m, x, rate, momentum, curvature)
        steps, velocity = _unzip(jax.tree.map(leaf, updates, state.velocity, params), updates, 2)
        return steps, RiemannianSGDState(state.count + 1, velocity)

    return optax.GradientTransformation(init, update)


def riemannian_adam(
    learning_rate: ScalarOrSchedule,
    *,
    curvature: Float[ArrayLike, ""] = 1.0,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> optax.GradientTransformation:
    r"""Adam along geodesics: one adaptive step size per point, momentum carried by parallel transport.

    $$m \leftarrow \beta_1 P_{x_{\mathrm{old}} \to x}(m) + (1 - \beta_1)\,g,\quad
      v \leftarrow \beta_2 v + (1 - \beta_2)\,\lambda_x^2|g|^2,\quad
      x \leftarrow \exp_x\Bigl(-\eta\,\frac{\hat m}{\sqrt{\hat v} + \epsilon}\Bigr),$$
    with g the Riemannian gradient and hats for division by 1 - beta^t.

    Args:
        learning_rate: eta, about the hyperbolic length of a step, or a schedule: a function of the step's number.
        curvature: c >= 0 of the ball that every array's last axis lives in.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added to the root of the second moment, > 0, in units of the Riemannian gradient.

    Returns:
        An optax transformation from ordinary gradients to displacements; it belongs last in `optax.chain`. `update`
        needs the parameters. Apply with `apply_updates`. A gradient of 0 moves nothing at the first step.

    Raises:
        ValueError: a negative learning rate or curvature, b1 or b2 outside [0, 1), eps not positive, and, in
            `update`, no parameters or a concrete point outside the ball.

    Exact exponential map and transport. For c = 0 it is Adam with the second moment of a point's whole gradient.

    Example:
        >>> x, optimizer = jnp.array([0.5, 0.0]), riemannian_adam(0.1)
        >>> updates, state = optimizer.update(jax.grad(distance)(x, jnp.zeros(2)), optimizer.init(x), x)
        >>> round(float(distance(x, apply_updates(x, updates))), 5)
        0.1

    References:
        [becigneul2019riemannian, alg. 1]
    """
    _require_rate(learning_rate)
    for name, value in (("b1", b1), ("b2", b2)):
        require_in_range(name, value, 0, 1, open_high=True)
    require_positive("eps", eps)

    def init(params: PyTree) -> RiemannianAdamState:
        lengths = jax.tree.map(lambda x: jnp.zeros_like(x[..., :1]), params)
        return RiemannianAdamState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params), lengths)

    def update(updates: PyTree, state: RiemannianAdamState, params: PyTree | None = None):
        _require_params(params)
        rate, count = _rate(learning_rate, state.count), state.count + 1
        leaf = lambda g, m, v, x: _adam_step(g, m, v, x, rate, count, (b1, b2, eps), curvature)
        steps, mean, square = _unzip(jax.tree.map(leaf, updates, state.mean, state.square, params), updates, 3)
        return steps, RiemannianAdamState(count, mean, square)

    return optax.GradientTransformation(init, update)


def apply_updates(
    params: PyTree, updates: PyTree, *, curvature: Float[ArrayLike, ""] = 1.0, mask: PyTree | None = None
) -> PyTree:
    r"""Add the updates, then hold the points inside the ball.

    $$x \leftarrow \mathrm{project}(x + u).$$

    Args:
        params: pytree of points, coordinates on the last axis.
        updates: pytree of displacements, as `riemannian_sgd` and `riemannian_adam` return them; None leaves a leaf.
        curvature: c >= 0.
        mask: pytree (or prefix of one) of booleans, True at points of the ball; elsewhere the update is only added.
            None means all of them.

    Returns:
        The new parameters, in their own dtypes; points of the ball inside at the default margin of `project`.

    Raises:
        ValueError: a negative curvature, or pytrees that do not fit.

    Exact: for a displacement of `riemannian_sgd` this is `exp_map`, to rounding.

    Example:
        >>> params = {"point": jnp.array([0.5, 0.0]), "bias": jnp.zeros(2)}
        >>> moved = apply_updates(params, jax.tree.map(jnp.ones_like, params), mask={"point": True, "bias": False})
        >>> bool(jnp.linalg.norm(moved["point"]) < 1), moved["bias"].tolist()
        (True, [1.0, 1.0])

    References:
        [nickel2017poincare, eq. 5]
    """
    moved = optax.apply_updates(params, updates)
    mask = True if mask is None else mask
    hold = lambda inside, part: jax.tree.map(lambda x: _held(x, curvature), part) if inside else part
    return jax.tree.map(hold, mask, moved)


def _held(x: Array, curvature: ArrayLike) -> Array:
    c, point = prepare(curvature, x=x)
    return held_inside(point, c).astype(x.dtype)


def _require_params(params: PyTree | None) -> None:
    if params is None:
        raise ValueError("update needs the points it moves: pass the parameters, update(gradients, state, params).")


def _require_rate(learning_rate: ScalarOrSchedule) -> None:
    if not callable(learning_rate):
        require_in_range("learning_rate", learning_rate, 0, float("inf"), open_high=True)


def _rate(learning_rate: ScalarOrSchedule, count: Array) -> Array:
    return learning_rate(count) if callable(learning_rate) else learning_rate


def _unzip(tree: PyTree, like: PyTree, parts: int) -> tuple[PyTree, ...]:
    """A tree of tuples as a tuple of trees."""
    return jax.tree.transpose(jax.tree.structure(like), jax.tree.structure((0,) * parts), tree)


def _natural(g: Array, x: Array, curvature: ArrayLike) -> tuple[Array, Array, Array]:
    """Curvature, point and Riemannian gradient, in the precision in which they are worked with."""
    c, x, g = prepare(curvature, x=x, gradient=g)
    require_inside(c, x=x)
    return c, x, g * (gap(x, c) / 2) ** 2


def _sgd_step(g: Array, x: Array, rate: Array, curvature: ArrayLike) -> Array:
    dtype = x.dtype
    c, x, g = _natural(g, x, curvature)
    return displacement(x, -jnp.asarray(rate, g.dtype) * g, c).astype(dtype)


def _momentum_step(
    g: Array, m: Array, x: Array, rate: Array, momentum: float, curvature: ArrayLike
) -> tuple[Array, Array]:
    dtype = x.dtype
    c, x, g = _natural(g, x, curvature)
    m = momentum * m.astype(g.dtype) + g
    step = displacement(x, -jnp.asarray(rate, g.dtype) * m, c)
    return step.astype(dtype), _carried(m, x, step, c).astype(dtype)


def _adam_step(
    g: Array, m: Array, v: Array, x: Array, rate: Array, count: Array, decays: tuple[float, ...], curvature: ArrayLike
) -> tuple[Array, Array, Array]:
    dtype, (b1, b2, eps) = x.dtype, decays
    c, x, g = _natural(g, x, curvature)
    lengths = dot(g, g) * (2 / gap(x, c)) ** 2
    m, v = b1 * m.astype(g.dtype) + (1 - b1) * g, b2 * v.astype(g.dtype) + (1 - b2) * lengths
    grown = count.astype(g.dtype)
    direction = (m / (1 - b1**grown)) / (safe_sqrt(v / (1 - b2**grown)) + eps)
    step = displacement(x, -jnp.asarray(rate, g.dtype) * direction, c)
    return step.astype(dtype), _carried(m, x, step, c).astype(dtype), v.astype(dtype)


def _carried(m: Array, x: Array, step: Array, c: Array) -> Array:
    """The tangent vector m at x, transported to the point where `apply_updates` will put it."""
    y = held_inside(x + step, c)
    return rotate(y, -x, m, c) * (gap(y, c) / gap(x, c))
