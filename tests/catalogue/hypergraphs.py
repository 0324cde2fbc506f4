"""Features of hyperedges, and the maximum-entropy law of their moments."""

import jax.numpy as jnp
import numpy as np

from nsx import hypergraphs
from tests.catalogue import Case

INCIDENCE = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 1]], bool)
ANCHOR = np.array([1, 1, 0, 0], bool)
FEATURES = np.array([[0.0, 1.0], [1.0, 0.2], [2.0, 0.7], [0.5, -1.0], [1.5, 0.1]])
MOMENTS = np.array([1.0, 0.1])
WHERE = np.array([True, True, True, True, False])


def solve_a_problem_with_a_solution(features, moments, where):
    """Features and moments near those above: a problem without a solution is NaN, as it should be."""
    if jnp.shape(features) != FEATURES.shape or jnp.shape(moments) != MOMENTS.shape:
        return hypergraphs.solve_multipliers(features, moments, where=where)
    near = jnp.asarray(FEATURES, jnp.result_type(float)) + 0.02 * jnp.clip(features, -5, 5)
    return hypergraphs.solve_multipliers(near, MOMENTS + 0.02 * jnp.clip(moments, -5, 5), where=where)


CASES = (
    Case(name="hypergraphs.overlap", call=hypergraphs.overlap, masks={"incidence": INCIDENCE, "anchor": ANCHOR}),
    Case(name="hypergraphs.features", call=hypergraphs.features, masks={"incidence": INCIDENCE, "anchor": ANCHOR}),
    Case(
        name="hypergraphs.power_law",
        call=hypergraphs.power_law,
        masks={"incidence": INCIDENCE, "anchor": ANCHOR},
        parameters={"size_exponent": 0.7, "overlap_exponent": -0.4},
        outside={"size_exponent": (np.inf,), "overlap_exponent": (np.inf,)},
        infinite="the anchor itself has probability 0",
    ),
    Case(
        name="hypergraphs.solve_multipliers",
        call=solve_a_problem_with_a_solution,
        floats={"features": FEATURES, "moments": MOMENTS},
        masks={"where": WHERE},
        masked={"features": "where"},
        exempt={
            "nan gradient": "multipliers that do not exist are NaN, and by the docstring their derivative is 0",
        },
    ),
    Case(
        name="hypergraphs.feasibility",
        call=hypergraphs.feasibility,
        floats={"features": FEATURES, "moments": MOMENTS},
        masks={"where": WHERE},
        masked={"features": "where"},
        exempt={"jit": "a linear programme, solved on the host"},
        infinite="moments off the affine hull of the features have slack -inf",
    ),
)
