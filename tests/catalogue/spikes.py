"""Spike trains, their traces and the gradient on them."""

import jax.numpy as jnp
import numpy as np

from nsx import spikes
from tests.catalogue import Case

TIMES = np.array([[0.3, 1.2, 2.6], [0.7, 0.9, 1.6]])
COUNTED = np.array([[True, False, True], [True, True, False]])
GRID = np.array([0.5, 1.0, 1.5, 2.0, 3.0])
TRACES = np.array([[0.2, 0.9, 0.4], [0.5, 0.0, 0.3]])
NEGATIVES = np.array([[[0.1, 0.7, 0.2], [0.4, 0.3, 0.0]], [[0.6, 0.2, 0.9], [0.3, 0.8, 0.1]]])
WHERE = np.array([[True, False], [True, True]])
NOT_POSITIVE = (0.0, -1.0, np.inf)


def expected_trace_from_0_on(grid, rate, time_constant):
    """Times made >= 0."""
    return spikes.expected_trace(jnp.abs(grid), rate=rate, time_constant=time_constant)


def emphasis_where_nothing_is_silent(gradient, **options):
    """Zeros made 1: a silent trial is NaN, as it should be."""
    return spikes.temporal_emphasis(jnp.where(jnp.equal(gradient, 0), 1, gradient), **options)


def resting_emphasis_where_nothing_is_silent(grid, rates, weights, time_constant, **options):
    """Times, rates and weights made positive: silence is NaN, as it should be."""
    grid, rates, weights = (jnp.abs(x) + 0.1 for x in (grid, rates, weights))
    return spikes.resting_emphasis(grid, rates, weights, time_constant=time_constant, **options)


CASES = (
    Case(
        name="spikes.trace",
        call=spikes.trace,
        floats={"times": TIMES, "grid": GRID},
        masks={"where": COUNTED},
        masked={"times": "where"},
        parameters={"time_constant": 1.5},
        outside={"time_constant": NOT_POSITIVE},
    ),
    Case(
        name="spikes.binned_trace",
        call=spikes.binned_trace,
        floats={"counts": np.array([[0.0, 1.0, 0.0, 2.0], [1.0, 0.0, 0.0, 1.0]])},
        parameters={"step": 0.5, "time_constant": 1.5},
        outside={"step": NOT_POSITIVE, "time_constant": NOT_POSITIVE},
        exempt={"nan gradient": "linear in the counts: its derivative does not depend on them"},
    ),
    Case(
        name="spikes.expected_trace",
        call=expected_trace_from_0_on,
        floats={"grid": GRID},
        parameters={"rate": 0.4, "time_constant": 1.5},
        outside={"rate": (-1.0, np.inf), "time_constant": NOT_POSITIVE},
    ),
    Case(
        name="spikes.contrastive_gradient",
        call=spikes.contrastive_gradient,
        floats={"anchor": TRACES, "positive": TRACES[::-1], "negatives": NEGATIVES},
        masks={"where": WHERE},
        masked={"negatives": "where"},
        parameters={"step": 0.5},
        outside={"step": NOT_POSITIVE},
    ),
    Case(
        name="spikes.temporal_emphasis",
        call=emphasis_where_nothing_is_silent,
        floats={"gradient": np.array([[0.3, -0.2, 0.9, 0.4], [0.1, 0.6, -0.5, 0.2]])},
        infinite="late over early is infinite where the early part has no gradient",
    ),
    Case(
        name="spikes.temporal_emphasis",
        call=emphasis_where_nothing_is_silent,
        floats={"gradient": np.array([[0.3, -0.2, 0.9, 0.4], [0.1, 0.6, -0.5, 0.2]])},
        static={"power": 2, "split": 1},
        infinite="late over early is infinite where the early part has no gradient",
    ),
    Case(
        name="spikes.resting_emphasis",
        call=resting_emphasis_where_nothing_is_silent,
        floats={"grid": GRID, "rates": np.array([0.4, 0.7]), "weights": np.array([-0.5, 0.3])},
        parameters={"time_constant": 1.5},
        outside={"time_constant": NOT_POSITIVE},
        static={"power": 2},
    ),
    Case(
        name="spikes.resting_emphasis",
        call=resting_emphasis_where_nothing_is_silent,
        floats={"grid": GRID, "rates": np.array([0.4, 0.7]), "weights": np.array([0.5, 0.3])},
        parameters={"time_constant": 1.5},
        outside={"time_constant": NOT_POSITIVE},
    ),
)
