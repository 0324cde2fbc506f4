"""What a proposal does to the gradient."""

import jax.numpy as jnp
import numpy as np

from nsx import bias
from tests.catalogue import Case

GRADIENTS = np.array([[1.0, -0.5], [0.3, 2.0], [-1.2, 0.4], [0.7, 0.1]])
LOG_Q = np.array([0.2, -0.7, 0.4, 0.0])
LOG_U = np.array([-0.3, 0.5, 0.1, -1.0])
GAP = "a law that gives e^-300 to what the other gives much has an infinite divergence from it"


def expected_gradient_of(points, log_weights):
    """A nonlinear function of a candidate, over chunks of unequal size."""
    return bias.expected_gradient_of(jnp.sin, points, log_weights, chunk_size=3)


def expectation_over_samples(values, log_weights):
    """The mean of the larger of two draws."""
    return bias.expectation_over_samples(lambda ids: jnp.max(jnp.asarray(values)[ids]), log_weights, k=2)


BOTH = {"gradients": GRADIENTS, "log_weights": LOG_Q}
PAIR = {"log_weights": LOG_Q, "target_log_weights": LOG_U}

CASES = (
    Case(name="bias.expected_gradient", call=bias.expected_gradient, floats=BOTH),
    Case(name="bias.gradient_variance", call=bias.gradient_variance, floats=BOTH),
    Case(name="bias.signal_to_noise", call=bias.signal_to_noise, floats=BOTH, static={"k": 3}, infinite=GAP),
    Case(name="bias.cosine", call=bias.cosine, floats={"a": GRADIENTS, "b": GRADIENTS[::-1]}),
    Case(name="bias.gradient_bias", call=bias.gradient_bias, floats={"gradients": GRADIENTS, **PAIR}),
    Case(name="bias.chi_square", call=bias.chi_square, floats=PAIR, infinite=GAP),
    Case(name="bias.bias_bound", call=bias.bias_bound, floats={"gradients": GRADIENTS, **PAIR}, infinite=GAP),
    Case(
        name="bias.self_normalised_bias",
        call=bias.self_normalised_bias,
        floats={"gradients": GRADIENTS, **PAIR},
        static={"k": 4},
        infinite=GAP,
    ),
    Case(
        name="bias.importance_weighted",
        call=bias.importance_weighted,
        floats={"gradients": GRADIENTS, "log_ratios": LOG_Q},
        infinite="a ratio e^300 is beyond float32",
    ),
    Case(
        name="bias.self_normalised",
        call=bias.self_normalised,
        floats={"gradients": GRADIENTS, "log_ratios": LOG_Q},
    ),
    Case(name="bias.monte_carlo", call=bias.monte_carlo, floats=BOTH, static={"k": 100}, random=True),
    Case(
        name="bias.expected_gradient_of",
        call=expected_gradient_of,
        floats={"points": GRADIENTS[:, 0], "log_weights": LOG_Q},
        exempt={"mixed": "the function is the caller's: it keeps the type of the points"},
    ),
    Case(
        name="bias.expectation_over_samples",
        call=expectation_over_samples,
        floats={"values": GRADIENTS[:, 0], "log_weights": LOG_Q},
        exempt={"nan": "the function is the caller's: a maximum may hold a NaN that others outweigh"},
    ),
)
