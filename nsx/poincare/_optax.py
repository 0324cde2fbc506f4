"""Riemannian SGD and Adam as optax transformations, and the step that keeps their points in the ball."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from nsx._checks import require_in_range, require_positive
from nsx._numerics import safe_sqrt
from nsx._types import Array, ArrayLike, Float, PyTree
from nsx.poincare._ball import held_inside
from nsx.poincare._gyro import rotate
from nsx.poincare._maps import displacement
from nsx.poincare._points import gap, prepare, require_inside, square_norm

ScalarOrSchedule = Float[ArrayLike, ""] | Callable[[Array], Array]


class RiemannianSGDState(NamedTuple):
    """State of `riemannian_sgd`.

    Attributes:
        count: steps taken, int32; it drives the schedule, and stays at 2^31 - 1 once there.
        velocity: mean of the past Riemannian gradients, carried to the present points; None without momentum.
    """

    count: Array
    velocity: PyTree


class RiemannianAdamState(NamedTuple):
    """State of `riemannian_adam`.

    Attributes:
        count: steps taken, int32; it stays at 2^31 - 1 once there.
        mean: first moment of the Riemannian gradients, a tangent vector per point, carried along.
        square: second moment of their Riemannian lengths, one number per point.
    """

    count: Array
    mean: PyTree
    square: PyTree


def riemannian_sgd(
    learning_rate: ScalarOrSchedule,
    *,
    curvature: Float[ArrayLike, ""] = 1.0,
    momentum: Float[ArrayLike, ""] | None = None,
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
        it would leave the geodesic. `update` needs the parameters. Apply with `apply_updates`. A traced learning rate,
        momentum or curvature outside its domain makes every displacement NaN, and so does NaN in what is given; what
        a schedule returns is taken as it is.

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
    learning_rate = _required_rate(learning_rate)
    if momentum is not None:
        momentum = require_in_range("momentum", momentum, 0, 1, open_high=True)

    def init(params: PyTree) -> RiemannianSGDState:
        velocity = None if momentum is None else jax.tree.map(jnp.zeros_like, params)
        return RiemannianSGDState(jnp.zeros((), jnp.int32), velocity)

    def update(updates: PyTree, state: RiemannianSGDState, params: PyTree | None = None):
        _require_params(params)
        rate = _rate(learning_rate, state.count)
        count = optax.safe_increment(state.count)

        def plain(g: ArrayLike, x: ArrayLike) -> Array:
            """The step of one array."""
            return _sgd_step(g, x, rate, curvature)

        def moving(g: ArrayLike, m: Array, x: ArrayLike) -> tuple[Array, Array]:
            """The step of one array, and its new velocity."""
            return _momentum_step(g, m, x, rate, momentum, curvature)

        if momentum is None:
            return jax.tree.map(plain, updates, params), RiemannianSGDState(count, None)
        steps, velocity = _unzip(jax.tree.map(moving, updates, state.velocity, params), updates, 2)
        return steps, RiemannianSGDState(count, velocity)

    return optax.GradientTransformation(init, update)


def riemannian_adam(
    learning_rate: ScalarOrSchedule,
    *,
    curvature: Float[ArrayLike, ""] = 1.0,
    b1: Float[ArrayLike, ""] = 0.9,
    b2: Float[ArrayLike, ""] = 0.999,
    eps: Float[ArrayLike, ""] = 1e-8,
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
        needs the parameters. Apply with `apply_updates`. A gradient of 0 moves nothing at the first step. Traced
        numbers outside their domain make every displacement NaN, and so does NaN in what is given; what a schedule
        returns is taken as it is.

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
    learning_rate = _required_rate(learning_rate)
    decays = Decays(
        b1=require_in_range("b1", b1, 0, 1, open_high=True),
        b2=require_in_range("b2", b2, 0, 1, open_high=True),
        eps=require_positive("eps", eps),
    )

    def init(params: PyTree) -> RiemannianAdamState:
        lengths = jax.tree.map(lambda x: jnp.zeros_like(x[..., :1]), params)
        return RiemannianAdamState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params), lengths)

    def update(updates: PyTree, state: RiemannianAdamState, params: PyTree | None = None):
        _require_params(params)
        rate = _rate(learning_rate, state.count)
        count = optax.safe_increment(state.count)

        def moving(g: ArrayLike, m: Array, v: Array, x: ArrayLike) -> tuple[Array, Array, Array]:
            """The step of one array, and its new moments."""
            return _adam_step(g, m, v, x, rate, count, decays, curvature)

        steps, mean, square = _unzip(jax.tree.map(moving, updates, state.mean, state.square, params), updates, 3)
        return steps, RiemannianAdamState(count, mean, square)

    return optax.GradientTransformation(init, update)


class Decays(NamedTuple):
    """Numbers of `riemannian_adam`."""

    b1: ArrayLike
    b2: ArrayLike
    eps: ArrayLike


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
        The new parameters, in their own dtypes; points of the ball inside at the default margin of `project`. A traced
        curvature outside its domain, and NaN, give NaN.

    Raises:
        ValueError: a negative curvature, or pytrees that do not fit.

    Exact: for a displacement of `riemannian_sgd` this is `exp_map`, to rounding.

    Example:
        >>> params = {"point": jnp.array([0.5, 0.0]), "bias": jnp.zeros(2)}
        >>> moved = apply_updates(params, jax.tree.map(jnp.ones_like, params), mask={"point": True, "bias": False})
        >>> print(np.asarray(moved["point"], float).round(3), moved["bias"])  # (1.5, 1), held inside
        [0.832 0.555] [1. 1.]

    References:
        [nickel2017poincare, eq. 5]
    """
    moved = optax.apply_updates(params, updates)
    mask = True if mask is None else mask

    def hold(inside: bool, part: PyTree) -> PyTree:
        """The part of the tree under one entry of the mask."""
        return jax.tree.map(lambda x: _held(x, curvature), part) if inside else part

    return jax.tree.map(hold, mask, moved)


def _held(x: ArrayLike, curvature: ArrayLike) -> Array:
    c, point = prepare(curvature, x=x)
    return held_inside(point, c).astype(x.dtype)


def _require_params(params: PyTree | None) -> None:
    if params is None:
        raise ValueError("update needs the points it moves: pass the parameters, update(gradients, state, params).")


def _required_rate(learning_rate: ScalarOrSchedule) -> ScalarOrSchedule:
    if callable(learning_rate):
        return learning_rate
    return require_in_range("learning_rate", learning_rate, 0, float("inf"), open_high=True)


def _rate(learning_rate: ScalarOrSchedule, count: Array) -> ArrayLike:
    return learning_rate(count) if callable(learning_rate) else learning_rate


def _unzip(tree: PyTree, like: PyTree, parts: int) -> tuple[PyTree, ...]:
    """A tree of tuples as a tuple of trees."""
    return jax.tree.transpose(jax.tree.structure(like), jax.tree.structure((0,) * parts), tree)


def _natural(g: ArrayLike, x: ArrayLike, curvature: ArrayLike) -> tuple[Array, Array, Array]:
    """Curvature, point and Riemannian gradient, in the precision in which they are worked with."""
    c, x, g = prepare(curvature, x=x, gradient=g)
    require_inside(c, x=x)
    return c, x, g * (gap(x, c) / 2) ** 2


def _sgd_step(g: ArrayLike, x: ArrayLike, rate: ArrayLike, curvature: ArrayLike) -> Array:
    c, point, natural = _natural(g, x, curvature)
    return displacement(point, -_typed(rate, natural) * natural, c).astype(x.dtype)


def _momentum_step(
    g: ArrayLike, m: Array, x: ArrayLike, rate: ArrayLike, momentum: ArrayLike, curvature: ArrayLike
) -> tuple[Array, Array]:
    c, point, natural = _natural(g, x, curvature)
    velocity = _typed(momentum, natural) * m.astype(natural.dtype) + natural
    step = displacement(point, -_typed(rate, natural) * velocity, c)
    return step.astype(x.dtype), _carried(velocity, point, step, c).astype(x.dtype)


def _adam_step(
    g: ArrayLike, m: Array, v: Array, x: ArrayLike, rate: ArrayLike, count: Array, decays: Decays, curvature: ArrayLike
) -> tuple[Array, Array, Array]:
    c, point, natural = _natural(g, x, curvature)
    b1, b2, eps = (_typed(number, natural) for number in decays)

    # moments of the gradient and of its Riemannian length, and what they miss after few steps
    lengths = square_norm(natural) * (2 / gap(point, c)) ** 2
    mean = b1 * m.astype(natural.dtype) + (1 - b1) * natural
    square = b2 * v.astype(natural.dtype) + (1 - b2) * lengths
    grown = count.astype(natural.dtype)
    direction = (mean / (1 - b1**grown)) / (safe_sqrt(square / (1 - b2**grown)) + eps)

    step = displacement(point, -_typed(rate, natural) * direction, c)
    return step.astype(x.dtype), _carried(mean, point, step, c).astype(x.dtype), square.astype(x.dtype)


def _typed(number: ArrayLike, like: Array) -> Array:
    """A number in the precision that is worked with."""
    return jnp.asarray(number).astype(like.dtype)


def _carried(m: Array, x: Array, step: Array, c: Array) -> Array:
    """The tangent vector m at x, transported to the point where `apply_updates` will put it."""
    y = held_inside(x + step, c)
    return rotate(y, -x, m, c) * (gap(y, c) / gap(x, c))
