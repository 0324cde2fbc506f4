"""Mixtures of normal laws as points and weights."""

import jax
import numpy as np

from nsx import quadrature
from tests.catalogue import Case

LAW = {
    "log_weights": np.array([[0.2, -0.4], [0.0, 1.0]]),
    "means": np.array([[0.5, -1.0], [2.0, 0.3]]),
    "deviations": np.array([[0.5, 1.0], [0.2, 2.0]]),
}


def mixture_expectation(log_weights, means, deviations):
    """Of a logistic function."""
    return quadrature.mixture_expectation(jax.nn.sigmoid, log_weights, means, deviations, order=9)


CASES = (
    Case(
        name="quadrature.mixture_points",
        call=quadrature.mixture_points,
        floats=LAW,
        static={"order": 4},
        exempt={"nan gradient": "linear in means and deviations: the slope is the same whatever they hold"},
    ),
    Case(name="quadrature.mixture_expectation", call=mixture_expectation, floats=LAW),
)
