"""Edit distances and great circles."""

import jax.numpy as jnp
import numpy as np

from nsx import distances
from tests.catalogue import Case

A = np.array([[0, 1, 2, -1], [3, 3, 0, 1]])
B = np.array([[0, 2, 2], [3, 1, -1]])
COSTS = np.array([[0.0, 0.4, 1.1, 0.7], [0.3, 0.0, 0.9, 0.2], [1.0, 0.8, 0.0, 0.6], [0.5, 0.25, 0.65, 0.0]])
X = np.array([[52.3, 4.8], [-33.9, 151.2]])
Y = np.array([[39.9, -104.7], [48.0, 11.5]])


def edit_distance_of_one_pair(substitution):
    """A pair that needs every cost, made >= 0: NaN in any of them is a NaN in the table."""
    symbols = np.arange(4)
    return distances.edit_distance(symbols, symbols[::-1], substitution=jnp.abs(substitution))


def great_circle_on_the_globe(x, y, radius):
    """Latitudes cut to [-90, 90]."""
    return distances.great_circle(on_the_globe(x), on_the_globe(y), radius=radius)


def on_the_globe(places):
    if jnp.shape(places)[-1:] != (2,):
        return places
    latitude, longitude = jnp.moveaxis(jnp.asarray(places), -1, 0)
    return jnp.stack([jnp.clip(latitude, -90, 90), longitude], axis=-1)


CASES = (
    Case(name="distances.edit_distance", call=distances.edit_distance, integers={"a": A, "b": B}),
    Case(
        name="distances.edit_distance",
        call=edit_distance_of_one_pair,
        floats={"substitution": COSTS},
        exempt={"nan gradient": "a sum of costs along a path: its derivative counts them and depends on none"},
    ),
    Case(
        name="distances.normalised_edit_distance",
        call=distances.normalised_edit_distance,
        integers={"a": A, "b": B},
    ),
    Case(
        name="distances.great_circle",
        call=great_circle_on_the_globe,
        floats={"x": X, "y": Y},
        parameters={"radius": 6371.0},
        outside={"radius": (0.0, -1.0, np.inf)},
    ),
)
