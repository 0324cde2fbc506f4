"""Negatives on graphs, dense and by lists of edges; random graphs."""

import jax.numpy as jnp
import numpy as np

from nsx import graphs
from tests.catalogue import Case

PATH = np.array([[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0]], bool)
EDGES = np.array([[0, 1], [1, 0], [1, 2], [2, 1], [2, 3], [3, 2], [0, 1]])
LAW = np.array([0.3, -0.2, 0.9, 0.1])
WEIGHTS = np.where(PATH | np.eye(4, dtype=bool), -np.inf, LAW)
COMMON = PATH.astype(int) @ PATH.astype(int)
PROBABILITIES = np.array([[0.0, 0.3, 0.8], [0.3, 0.0, 0.5], [0.8, 0.5, 0.0]])
ANCHORS = np.array([[0, 3], [1, 2]])
HOST = {"jit": "edges are sorted on the host; what is made there is passed into jit"}


def expected_common_neighbours_of_three(edge_probability):
    """Of nodes 0, 1, 2, from the probabilities of the edges 01, 02, 12, cut to [0, 1]."""
    if jnp.shape(edge_probability) != (3,):
        return graphs.expected_common_neighbours(edge_probability)
    place = np.array([[0, 0, 1], [0, 0, 2], [1, 2, 0]])  # the diagonal is ignored
    return graphs.expected_common_neighbours(jnp.clip(edge_probability, 0, 1)[place])


def configuration_of_degrees(degrees):
    """Degrees made >= 0."""
    return graphs.configuration_common_neighbours(jnp.abs(degrees))


def from_index(key, anchors):
    """Draws by an index with a law."""
    index = graphs.index_edges(EDGES, num_nodes=4, log_weights=LAW)
    return graphs.draw_from_index(key, index, anchors, k=3)


def log_prob_by_index(anchors, ids):
    """Log q of targets by an index with a law."""
    index = graphs.index_edges(EDGES, num_nodes=4, log_weights=LAW)
    return graphs.non_edge_log_prob(index, anchors, ids)


def counts_by_index(edges):
    """Non-edges of each node."""
    return graphs.non_edge_counts(graphs.index_edges(edges, num_nodes=4))


CASES = (
    Case(
        name="graphs.non_neighbours",
        call=graphs.non_neighbours,
        floats={"log_weights": LAW},
        masks={"adjacency": PATH},
        exempt={"nan gradient": "the result is the log-weights themselves: its derivative is 1, whatever they are"},
        infinite="an edge has probability 0",
    ),
    Case(
        name="graphs.has_negatives",
        call=graphs.has_negatives,
        floats={"log_weights": WEIGHTS},
        exempt={
            "nan": "a yes or no per anchor holds no NaN",
            "nan gradient": "a yes or no per anchor has no gradient",
            "gradient": "a yes or no per anchor has no gradient",
        },
    ),
    Case(
        name="graphs.hard_negative_rate",
        call=graphs.hard_negative_rate,
        floats={"log_weights": np.where(np.isfinite(WEIGHTS), WEIGHTS, -1.0)},
        integers={"common": COMMON},
        masks={"where": np.array([True, True, False, True])},
        masked={"log_weights": "where"},
        static={"threshold": 1},
    ),
    Case(
        name="graphs.efficiency",
        call=graphs.efficiency,
        floats={"scores": np.linspace(-1.0, 1.0, 16).reshape(4, 4), "log_weights": np.where(PATH, -2.0, LAW[None])},
        masks={"adjacency": PATH, "where": np.array([True, True, False, True])},
        masked={"log_weights": "where"},
    ),
    Case(
        name="graphs.common_neighbours",
        call=graphs.common_neighbours,
        masks={"adjacency": PATH},
    ),
    Case(
        name="graphs.expected_common_neighbours",
        call=expected_common_neighbours_of_three,
        floats={"edge_probability": np.array([0.3, 0.8, 0.5])},
    ),
    Case(
        name="graphs.configuration_common_neighbours",
        call=configuration_of_degrees,
        floats={"degrees": np.array([2.0, 3.0, 1.0, 2.0])},
    ),
    Case(
        name="graphs.erdos_renyi_hard_rate",
        call=graphs.erdos_renyi_hard_rate,
        parameters={"probability": 0.3},
        outside={"probability": (-0.1, 1.5)},
        static={"num_nodes": 12, "threshold": 3},
    ),
    Case(
        name="graphs.erdos_renyi_hard_rate",
        call=graphs.erdos_renyi_hard_rate,
        parameters={"probability": 0.3},
        outside={"probability": (-0.1, 1.5)},
        static={"num_nodes": 12, "threshold": 0},
    ),
    Case(
        name="graphs.random_graph",
        call=graphs.random_graph,
        random=True,
        floats={"edge_probability": PROBABILITIES},
        exempt={
            "nan": "an edge is there or not; a traced NaN gives none, a concrete one is refused",
            "nan gradient": "edges have no gradient",
            "gradient": "edges have no gradient",
        },
    ),
    Case(
        name="graphs.preferential_attachment",
        call=graphs.preferential_attachment,
        random=True,
        static={"num_nodes": 6, "num_edges": 2},
    ),
    Case(
        name="graphs.draw_non_edges",
        call=graphs.draw_non_edges,
        random=True,
        floats={"log_weights": LAW},
        integers={"edges": EDGES, "anchors": ANCHORS},
        static={"num_nodes": 4, "k": 3},
        exempt=HOST,
    ),
    Case(name="graphs.draw_from_index", call=from_index, random=True, integers={"anchors": ANCHORS}),
    Case(
        name="graphs.non_edge_log_prob",
        call=log_prob_by_index,
        integers={"anchors": np.array([0, 3]), "ids": np.array([[2, 1], [0, 3]])},
        infinite="an edge has probability 0",
    ),
    Case(
        name="graphs.index_edges",
        call=graphs.index_edges,
        floats={"log_weights": LAW},
        integers={"edges": EDGES},
        static={"num_nodes": 4},
        exempt=HOST,
    ),
    Case(name="graphs.non_edge_counts", call=counts_by_index, integers={"edges": EDGES}, exempt=HOST),
)
