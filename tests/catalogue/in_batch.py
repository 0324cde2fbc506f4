"""Losses over a batch, whose pairs are each other's negatives."""

import functools

import jax.numpy as jnp
import numpy as np

from nsx import losses
from nsx._checks import as_floats
from tests.catalogue import Case

X = np.array([[0.3, -0.2], [0.8, 0.5], [-0.6, 0.4], [0.1, 0.9]])
Y = np.array([[0.5, 0.1], [0.7, -0.3], [-0.2, 0.6], [0.4, 0.2], [-0.9, 0.3], [0.6, 0.6]])
OWN = np.array([[[0.2, 0.3]], [[-0.1, 0.7]], [[0.5, -0.4]], [[0.3, 0.3]]])
LOG_Q = np.array([-1.0, -2.5, -0.7, -3.0, -1.5, -2.0])
IDS = np.array([3, 1, 4, 1, 5, 3])
WHERE = np.array([True, False, True, True])
OWN_WHERE = np.array([[True], [True], [False], [True]])
TEMPERATURE = {"parameters": {"temperature": 0.5}, "outside": {"temperature": (0.0, -1.0, np.inf)}}


def by_rows(x, y, temperature, **options):
    """`in_batch` of a score-level loss."""
    return losses.in_batch(functools.partial(losses.sigmoid, temperature=temperature, bias=-1.0), x, y, **options)


def cached(weights, rows, temperature, chunk_size):
    """Gradient caching of a linear encoder under the in-batch loss."""

    def loss(weights, embeddings, temperature):
        """In-batch loss of the rows and their mirror images."""
        return jnp.sum(losses.in_batch_info_nce(embeddings, jnp.flip(embeddings, 1), temperature=temperature))

    def encode(weights, rows):
        """Linear, in the wider of both types."""
        return jnp.matmul(*as_floats(rows=rows, weights=weights))

    return losses.cached_value_and_grad(encode, loss, chunk_size=chunk_size)(weights, rows, temperature)


CASES = (
    Case(
        name="losses.in_batch_info_nce",
        call=losses.in_batch_info_nce,
        floats={"x": X, "y": Y, "own": OWN},
        masks={"where": WHERE, "own_where": OWN_WHERE},
        masked={"x": "where", "own": "own_where"},
        **TEMPERATURE,
    ),
    Case(
        name="losses.in_batch_info_nce",
        call=losses.in_batch_info_nce,
        floats={"x": X, "y": Y, "own": OWN, "log_q": LOG_Q},
        integers={"ids": IDS},
        static={"symmetric": True, "block_size": 2},
        **TEMPERATURE,
    ),
    Case(
        name="losses.in_batch_info_nce",
        call=losses.in_batch_info_nce,
        floats={"x": X, "y": Y, "log_q": LOG_Q},
        masks={"where": np.array([True, False, True, True, False, True])},
        masked={"y": "where", "log_q": "where"},
        **TEMPERATURE,
    ),
    Case(
        name="losses.in_batch",
        call=by_rows,
        floats={"x": X, "y": Y, "own": OWN},
        integers={"ids": IDS},
        masks={"where": WHERE, "own_where": OWN_WHERE},
        masked={"x": "where", "own": "own_where"},
        static={"block_size": 3},
        **TEMPERATURE,
    ),
    Case(
        name="losses.nt_xent",
        call=losses.nt_xent,
        floats={"x": X},
        integers={"ids": np.array([7, 8, 9, 8])},
        **TEMPERATURE,
    ),
    Case(
        name="losses.nt_xent",
        call=losses.nt_xent,
        floats={"x": Y},
        integers={"partner": np.array([1, 0, 3, 2, 5, 4])},
        masks={"where": np.array([True, True, False, False, True, True])},
        masked={"x": "where"},
        static={"block_size": 4},
        **TEMPERATURE,
    ),
    Case(
        name="losses.sup_con",
        call=losses.sup_con,
        floats={"x": X, "bank": Y},
        integers={"labels": np.array([0, 1, 0, 1]), "bank_labels": np.array([0, 0, 1, 2, 1, 1])},
        masks={"where": WHERE},
        masked={"x": "where"},
        static={"block_size": 3},
        **TEMPERATURE,
    ),
    Case(
        name="losses.cached_value_and_grad",
        call=cached,
        floats={"weights": np.array([[0.5, -0.2], [0.1, 0.8]]), "rows": X},
        static={"chunk_size": 3},
        exempt={"mixed": "a gradient has the type of its parameter, as that of jax.value_and_grad"},
        **TEMPERATURE,
    ),
)
