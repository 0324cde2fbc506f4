"""Games as vector fields: one of two players of any shape, min over x and max over y, with a nonlinear coupling."""

import jax.numpy as jnp
import numpy as np

from nsx import games
from tests.catalogue import Case

X = np.array([0.4, -0.3])
Y = np.array([0.2, 0.5])
PLAYERS = {"x": X, "y": Y}
LIKE = "the field is like the players, whose types it keeps"
START = "where the iteration ends does not depend on where it starts"
STEP = {"parameters": {"step_size": 0.2}, "outside": {"step_size": (0.0, -1.0, np.inf)}}
SEARCH = "a bisection is a constant in the data up to where it ends"
LOG_DATA = np.log(np.array([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]]))
LOGITS = np.array([[0.1, -0.4, 0.3], [0.0, 0.7, -1.0]])
SCORES = np.array([[0.5, 0.2, -0.1], [-0.8, 0.4, 0.0]])


def coupling(p):
    return jnp.sum(p[0]) * jnp.sum(p[1])


FIELD = games.vector_field(
    (
        lambda p: coupling(p) + jnp.sum(p[0] ** 2) / 2 + jnp.sum(jnp.sin(p[0])),
        lambda p: jnp.sum(p[1] ** 2) / 2 - coupling(p) + jnp.sum(jnp.cos(p[1])),
    )
)


def vector_field(x, y):
    return FIELD((x, y))


def one_step(rule, **options):
    """Two steps of an update rule, as a function of the players and the step size."""

    def call(x, y, step_size, **parameters):
        update = rule(FIELD, step_size=step_size, **options, **parameters)
        return update.step(update.step(update.init((x, y)))).players

    return call


def linearize(x, y):
    return games.linearize(FIELD, (x, y))


def update_spectrum(x, y, step_size):
    return jnp.abs(games.update_spectrum(games.simultaneous(FIELD, step_size=step_size), (x, y)))


def spectral_radius(x, y, step_size):
    return games.spectral_radius(games.alternating(FIELD, step_size=step_size), (x, y))


def largest_stable_step(x, y, low, high):
    return games.largest_stable_step(lambda h: games.simultaneous(FIELD, step_size=h), (x, y), low=low, high=high)


def equilibrium(x, y):
    return games.equilibrium(FIELD, (x, y))


def leading_eigenvalues(key, rates):
    rates = jnp.asarray(rates)
    rates = rates if rates.dtype.itemsize > 2 else rates.astype(jnp.float32)
    return games.leading_eigenvalues(key, lambda p: rates * p, jnp.zeros_like(rates), num_eigenvalues=2)


def gradient_penalty(points, weights, strength, target):
    def critic(x):
        return jnp.sum(x**3) / 3

    return games.gradient_penalty(critic, points, weights=weights, strength=strength, target=target)


def generator_learner(logits, scores, log_data, **options):
    losses = games.generator_learner(lambda p: p, lambda p: p, log_data, **options)
    return [loss((logits, scores)) for loss in losses]


def rule_case(rule, **options):
    return Case(name=f"games.{rule.__name__}", call=one_step(rule, **options), floats=PLAYERS, **STEP)


def strong_rule_case(rule):
    return Case(
        name=f"games.{rule.__name__}",
        call=one_step(rule),
        floats=PLAYERS,
        parameters={"step_size": 0.2, "strength": 0.5},
        outside={"step_size": (0.0, -1.0, np.inf), "strength": (-1.0, np.inf)},
    )


CASES = (
    Case(name="games.vector_field", call=vector_field, floats=PLAYERS, exempt={"mixed": LIKE}),
    rule_case(games.simultaneous),
    rule_case(games.alternating),
    rule_case(games.extragradient),
    rule_case(games.optimistic),
    rule_case(games.implicit, iterations=3),
    strong_rule_case(games.consensus),
    strong_rule_case(games.symplectic),
    Case(name="games.linearize", call=linearize, floats=PLAYERS),
    Case(name="games.stability", call=games.stability, floats={"jacobian": np.array([[-1.0, 0.4], [0.3, -2.0]])}),
    Case(
        name="games.classify",
        call=games.classify,
        floats={"spectrum": np.array([-1.0, -2.0])},
        exempt={"jit": "the answer is a word, which cannot be traced"},
    ),
    Case(name="games.update_spectrum", call=update_spectrum, floats=PLAYERS, **STEP),
    Case(name="games.spectral_radius", call=spectral_radius, floats=PLAYERS, **STEP),
    Case(
        name="games.largest_stable_step",
        call=largest_stable_step,
        floats=PLAYERS,
        parameters={"low": 0.01, "high": 9.0},
        outside={"low": (0.0, -1.0, np.inf), "high": (0.0, -1.0, np.inf)},
        exempt={"nan gradient": SEARCH},
    ),
    Case(
        name="games.equilibrium",
        call=equilibrium,
        floats=PLAYERS,
        exempt={"gradient": START, "nan gradient": START, "mixed": "rounding of the start ends in the same place"},
    ),
    Case(
        name="games.leading_eigenvalues",
        call=leading_eigenvalues,
        floats={"rates": np.array([0.5, -1.0, -2.0, -3.0, 0.1])},
        random=True,
        exempt={"gradient": "residuals are lengths of eigenvectors, which have no derivative of their own"},
    ),
    Case(
        name="games.norm_penalty",
        call=games.norm_penalty,
        floats={"parameters": X},
        parameters={"strength": 0.5},
        outside={"strength": (-1.0, np.inf)},
    ),
    Case(
        name="games.entropy_bonus",
        call=games.entropy_bonus,
        floats={"logits": LOGITS},
        parameters={"strength": 0.5},
        outside={"strength": (-1.0, np.inf)},
    ),
    Case(
        name="games.gradient_penalty",
        call=gradient_penalty,
        floats={"points": LOGITS, "weights": np.array([0.4, 0.6])},
        parameters={"strength": 0.5, "target": 1.0},
        outside={"strength": (-1.0, np.inf), "target": (-1.0, np.inf)},
        infinite="the critic is the caller's: the slope of a cube of 1e3, squared twice, is beyond half precision",
    ),
    Case(
        name="games.generator_learner",
        call=generator_learner,
        floats={"logits": LOGITS, "scores": SCORES, "log_data": LOG_DATA},
        parameters={"negatives": 4.0, "generator_norm": 0.1, "learner_norm": 0.2, "entropy_strength": 0.3},
        outside={"negatives": (0.0, -1.0, np.inf), "generator_norm": (-1.0, np.inf), "entropy_strength": (-1.0,)},
    ),
    Case(
        name="games.generator_equilibrium",
        call=games.generator_equilibrium,
        floats={"log_data": LOG_DATA},
        parameters={"negatives": 4.0},
        outside={"negatives": (0.0, -1.0, np.inf)},
    ),
    Case(
        name="games.collapse_penalty",
        call=games.collapse_penalty,
        parameters={"logit_gap": 5.0, "num_candidates": 100.0},
        outside={"logit_gap": (0.0, -1.0, np.inf), "num_candidates": (1.0, np.inf)},
    ),
    Case(
        name="games.collapse_band",
        call=games.collapse_band,
        parameters={"num_candidates": 100.0},
        outside={"num_candidates": (1.0, np.inf)},
    ),
)
