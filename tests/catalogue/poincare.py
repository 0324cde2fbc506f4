"""The ball and the hyperboloid."""

import jax.numpy as jnp
import numpy as np

from nsx import poincare
from tests.catalogue import Case

X = np.array([[0.3, 0.4], [-0.1, 0.7], [0.05, -0.2]])
Y = np.array([[-0.2, 0.6], [0.3, 0.1], [0.5, 0.5]])
V = np.array([[0.1, -0.2], [0.4, 0.3], [-0.6, 0.2]])
NUMBERS = np.array([0.25, -0.5, 1.5])
C = {"curvature": 0.8}
BALL = {"curvature": (-1.0, -1e-3, np.inf)}
OWN_TYPE = "optax's contract: parameters, and what moves them, keep their own type, half precision too"
SHEET = {"curvature": (0.0, -1.0, np.inf)}


def sheet(x):
    """Points of the hyperboloid of curvature 0.8 over the points of the ball."""
    factor = 2 / (1 - 0.8 * np.sum(x * x, axis=-1, keepdims=True))
    return np.concatenate([(factor - 1) / 0.8**0.5, factor * x], axis=-1)


FAR_X = sheet(X)
FAR_Y = sheet(Y)
FAR_V = np.concatenate([np.zeros((3, 1)), V], axis=-1)


def lorentz_project(space, curvature):
    """The time coordinate is what the function finds, so it is not asked for."""
    space = jnp.asarray(space)
    if space.ndim == 0:
        return poincare.lorentz_project(space, curvature=curvature)  # refused
    return poincare.lorentz_project(jnp.concatenate([space[..., :1], space], axis=-1), curvature=curvature)


def sgd(x, gradient, learning_rate, momentum, curvature):
    """Two steps, the second with a velocity."""
    optimizer = poincare.riemannian_sgd(learning_rate, momentum=momentum, curvature=curvature)
    _, state = optimizer.update(gradient, optimizer.init(x), x)
    updates, state = optimizer.update(gradient, state, x)
    return updates, state.velocity


def adam(x, gradient, learning_rate, b1, b2, eps, curvature):
    """Two steps, the second with moments."""
    optimizer = poincare.riemannian_adam(learning_rate, b1=b1, b2=b2, eps=eps, curvature=curvature)
    _, state = optimizer.update(gradient, optimizer.init(x), x)
    updates, state = optimizer.update(gradient, state, x)
    return updates, state.mean, state.square


def pair(name, **floats):
    """A function of the ball with a curvature."""
    return Case(name=f"poincare.{name}", call=getattr(poincare, name), floats=floats, parameters=C, outside=BALL)


def far_pair(name, **floats):
    """A function of the hyperboloid."""
    return Case(name=f"poincare.{name}", call=getattr(poincare, name), floats=floats, parameters=C, outside=SHEET)


CASES = (
    pair("distance", x=X, y=Y),
    pair("conformal_factor", x=X),
    pair("riemannian_gradient", x=X, gradient=V),
    pair("mobius_add", x=X, y=Y),
    pair("mobius_scale", scale=NUMBERS, x=X),
    pair("gyration", x=X, y=Y, v=V),
    pair("exp_map", x=X, v=V),
    pair("log_map", x=X, y=Y),
    pair("parallel_transport", x=X, y=Y, v=V),
    pair("geodesic", x=X, y=Y, time=NUMBERS),
    pair("midpoint", x=X, weights=np.array([1.0, 0.5, 2.0])),
    Case(
        name="poincare.project",
        call=poincare.project,
        floats={"x": 3 * X},
        parameters=C | {"margin": 0.01},
        outside=BALL | {"margin": (0.0, -0.1, 1.0, 2.0)},
    ),
    Case(
        name="poincare.embed_tree",
        call=poincare.embed_tree,
        parameters={"length": 1.5, "curvature": 0.8},
        outside=BALL | {"length": (0.0, -1.0, np.inf)},
        static={"parents": np.array([-1, 0, 0, 1, 1, 2])},
    ),
    Case(
        name="poincare.embed_tree",
        call=poincare.embed_tree,
        integers={"parents": np.array([-1, 0, 0, 1, 1, 2])},
        parameters={"length": 1.5},
        exempt={"jit": "the tree's shape is read on the host: it sets the order of the drawing"},
    ),
    Case(name="poincare.to_lorentz", call=poincare.to_lorentz, floats={"x": X}, parameters=C, outside=SHEET),
    far_pair("from_lorentz", x=FAR_X),
    Case(name="poincare.lorentz_inner", call=poincare.lorentz_inner, floats={"x": FAR_X, "y": FAR_Y}),
    Case(name="poincare.lorentz_project", call=lorentz_project, floats={"space": X}, parameters=C, outside=SHEET),
    far_pair("lorentz_distance", x=FAR_X, y=FAR_Y),
    far_pair("lorentz_exp_map", x=FAR_X, v=FAR_V),
    far_pair("lorentz_log_map", x=FAR_X, y=FAR_Y),
    far_pair("lorentz_tangent", x=FAR_X, v=FAR_V),
    Case(
        name="poincare.riemannian_sgd",
        call=sgd,
        floats={"x": X, "gradient": V},
        parameters=C | {"learning_rate": 0.1, "momentum": 0.9},
        outside=BALL | {"learning_rate": (-0.1, np.inf), "momentum": (-0.1, 1.0)},
        exempt={"mixed": OWN_TYPE},
    ),
    Case(
        name="poincare.riemannian_adam",
        call=adam,
        floats={"x": X, "gradient": V},
        parameters=C | {"learning_rate": 0.1, "b1": 0.9, "b2": 0.99, "eps": 1e-6},
        outside=BALL | {"learning_rate": (-0.1, np.inf), "b1": (-0.1, 1.0), "b2": (1.0,), "eps": (0.0, -1.0)},
        exempt={"mixed": OWN_TYPE},
    ),
    Case(
        name="poincare.apply_updates",
        call=lambda x, updates, curvature: poincare.apply_updates(x, updates, curvature=curvature),
        floats={"x": X, "updates": V},
        parameters=C,
        outside=BALL,
        exempt={"mixed": OWN_TYPE},
    ),
)
