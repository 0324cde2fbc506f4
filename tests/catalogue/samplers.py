"""Laws as log-weights, their algebra, draws and mining."""

import jax.numpy as jnp
import numpy as np

from nsx import samplers
from tests.catalogue import Case

LOG_WEIGHTS = np.array([0.3, -1.0, 0.8, 0.0, -0.4])
ROWS = np.array([[0.3, -1.0, 0.8, 0.0], [1.0, 0.2, -0.5, -2.0]])
WHERE = np.array([[True, True, True, False], [False, True, True, True]])
LINEAR = "linear in the data: the slope is the same whatever they hold"
IDS = "ids are whole numbers and have no derivative"
EMPTY = "a candidate of probability 0 has log-weight -inf"


def exclude(log_weights, where):
    """With a mask of what is kept, as the other entries have it."""
    return samplers.exclude(log_weights, jnp.logical_not(where))


def draw_alias(key):
    """Draws from a table, which is built on the host."""
    return samplers.draw_alias(key, samplers.alias_table(LOG_WEIGHTS), (2, 3))


CASES = (
    Case(
        name="samplers.power",
        call=samplers.power,
        floats={"counts": np.array([3.0, 0.0, 7.0, 1.0])},
        parameters={"exponent": 0.75},
        outside={"exponent": (np.inf,)},
        infinite=EMPTY,
    ),
    Case(
        name="samplers.gibbs",
        call=samplers.gibbs,
        floats={"distance": np.array([[0.5, 2.0, 1.0], [0.1, 0.0, 3.0]])},
        parameters={"sharpness": 1.5},
        outside={"sharpness": (np.inf,)},
        exempt={"nan gradient": LINEAR},
    ),
    Case(
        name="samplers.maxent",
        call=samplers.maxent,
        floats={"features": np.array([[1.0, 0.5], [-0.3, 2.0], [0.7, 0.1]]), "multipliers": np.array([0.5, -1.0])},
    ),
    Case(
        name="samplers.from_scores",
        call=samplers.from_scores,
        floats={"scores": ROWS},
        parameters={"temperature": 0.5},
        outside={"temperature": (0.0, -1.0, np.inf)},
        exempt={"nan gradient": LINEAR},
    ),
    Case(name="samplers.probabilities", call=samplers.probabilities, floats={"log_weights": ROWS}),
    Case(
        name="samplers.log_prob",
        call=samplers.log_prob,
        floats={"log_weights": LOG_WEIGHTS},
        integers={"ids": np.array([[0, 4], [2, 2]])},
    ),
    Case(
        name="samplers.mix",
        call=samplers.mix,
        floats={"log_weights_a": ROWS, "log_weights_b": ROWS[::-1]},
        parameters={"rate": 0.3},
        outside={"rate": (-0.1, 1.5)},
    ),
    Case(
        name="samplers.mix_uniform",
        call=samplers.mix_uniform,
        floats={"log_weights": ROWS},
        parameters={"rate": 0.3},
        outside={"rate": (-0.1, 1.5)},
    ),
    Case(
        name="samplers.exclude",
        call=exclude,
        floats={"log_weights": ROWS},
        masks={"where": WHERE},
        masked={"log_weights": "where"},
        exempt={"nan gradient": LINEAR},
        infinite=EMPTY,
    ),
    Case(
        name="samplers.exclusion_window",
        call=samplers.exclusion_window,
        integers={"anchors": np.array([0, 4])},
        static={"num": 6, "width": 1},
    ),
    Case(
        name="samplers.no_accidental_hits",
        call=samplers.no_accidental_hits,
        integers={"positive_ids": np.array([3, 5]), "negative_ids": np.array([[5, 3, 1], [5, 7, 3]])},
    ),
    Case(
        name="samplers.alias_table",
        call=samplers.alias_table,
        floats={"log_weights": LOG_WEIGHTS},
        exempt={"jit": "a table is built on the host, once for many draws"},
    ),
    Case(name="samplers.draw_alias", call=draw_alias, random=True),
    Case(
        name="samplers.draw_inverse",
        call=samplers.draw_inverse,
        floats={"log_weights": LOG_WEIGHTS},
        static={"shape": (2, 3)},
        random=True,
        exempt={"nan gradient": IDS},
    ),
    Case(
        name="samplers.draw_without_replacement",
        call=samplers.draw_without_replacement,
        floats={"log_weights": ROWS},
        static={"k": 2},
        random=True,
        exempt={"nan gradient": IDS},
    ),
    Case(
        name="samplers.inclusion_probability",
        call=samplers.inclusion_probability,
        floats={"log_weights": ROWS},
        static={"k": 2},
    ),
    Case(name="samplers.expected_counts", call=samplers.expected_counts, floats={"log_weights": ROWS}, static={"k": 2}),
    Case(
        name="samplers.hardest",
        call=samplers.hardest,
        floats={"scores": ROWS},
        masks={"where": WHERE},
        masked={"scores": "where"},
        static={"k": 2},
        exempt={"nan gradient": IDS},
    ),
    Case(
        name="samplers.mine_mixed",
        call=samplers.mine_mixed,
        floats={"scores": ROWS},
        masks={"where": WHERE},
        masked={"scores": "where"},
        static={"k": 3, "hard_share": 0.4},
        random=True,
        exempt={"nan gradient": IDS},
    ),
    Case(
        name="samplers.semi_hard",
        call=samplers.semi_hard,
        floats={"positive_distance": np.array([0.3, 1.0]), "negative_distance": np.array([[0.5, 0.2], [1.2, 3.0]])},
        parameters={"margin": 0.5},
        outside={"margin": (0.0, -1.0, np.inf)},
        exempt={
            "nan": "a mask cannot hold NaN: every comparison with it is False",
            "nan gradient": "a mask has no derivative",
            "domain": "a mask cannot hold NaN: a traced margin outside gives False",
        },
    ),
)
