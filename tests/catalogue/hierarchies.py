"""The trainer of hierarchies."""

import jax
import numpy as np

from nsx import hierarchies
from tests.catalogue import Case

EDGES = np.array([[1, 0], [2, 0], [3, 1], [4, 1]])
RELATIONS = np.array([[1, 0], [2, 0], [3, 1], [3, 0], [4, 1], [4, 0]])
POINTS = np.array([[0.01, 0.02], [0.2, -0.1], [-0.3, 0.2], [0.4, -0.2], [0.3, -0.4], [-0.5, -0.5]])
PARAMETERS = {"curvature": 0.8, "temperature": 0.5}
OUTSIDE = {"curvature": (0.0, -1.0, np.inf), "temperature": (0.0, -1.0, np.inf)}
ON_THE_HOST = "relations are read on the host: they set how many steps there are, and which negatives are left"
LOOP = "a loop on the host, which prints, saves and stops between epochs"
TREE = {"relations": RELATIONS, "num_nodes": 6, "negatives": 3, "burn_in": 1, "batch_size": 4}


def epoch(key, points, curvature, temperature, learning_rate, burn_in_rate):
    """The first epoch, which burns in, from these points."""
    ready = hierarchies.plan(
        **TREE,
        curvature=curvature,
        temperature=temperature,
        learning_rate=learning_rate,
        burn_in_rate=burn_in_rate,
    )
    key = jax.random.clone(key)  # a test may call twice
    state, info = hierarchies.epoch(key, ready, hierarchies.State(jax.numpy.asarray(points), jax.numpy.int32(0)))
    return state.points, info.loss


def init(key, dimension):
    return hierarchies.init(jax.random.clone(key), hierarchies.plan(**TREE), dimension=dimension).points


def train(key, relations, **options):
    return hierarchies.train(jax.random.clone(key), relations, **options)


def pulled(make):
    """Closeness and gradients of a geometry."""

    def call(u, v, slope, curvature=None, temperature=0.5, **options):
        ready = hierarchies.plan(**TREE, geometry=make(**options), curvature=curvature, temperature=temperature)
        u, v, slope = (jax.numpy.asarray(x) for x in (u, v, slope))
        dtype = jax.numpy.result_type(u, v)
        scale = jax.tree.map(lambda x: x.astype(dtype), ready.scale)
        pull = ready.geometry.pull(u.astype(dtype), v.astype(dtype), scale)
        return pull.closeness, pull.log_first, pull.gradients(slope.astype(dtype))

    return call


def geometry(name, make, **options):
    """A geometry by what its points do to each other: one anchor, three others."""
    curved = make is not hierarchies.euclidean_geometry
    kept = PARAMETERS if curved else {"temperature": 0.5}
    return Case(
        name=f"hierarchies.{name}",
        call=pulled(make),
        floats={"u": POINTS[None, :1], "v": POINTS[None, 1:4], "slope": np.array([[0.7, -1.3, 0.2]])},
        parameters=kept,
        outside={key: OUTSIDE[key] for key in kept},
        static=options,
        exempt={"mixed": "a geometry is a part of the trainer, which hands it points of one type"},
    )


CASES = (
    Case(
        name="hierarchies.transitive_closure",
        call=hierarchies.transitive_closure,
        integers={"edges": EDGES},
        static={"num_nodes": 5},
        exempt={"jit": "the number of pairs found is not known before"},
    ),
    Case(
        name="hierarchies.plan",
        call=hierarchies.plan,
        floats={"log_weights": np.array([0.0, 0.5, -1.0, 0.2, 0.1, 0.3])},
        integers={"relations": RELATIONS},
        static={"num_nodes": 6},
        exempt={"jit": ON_THE_HOST, "mixed": "the law of the negatives is made of whole units on the host"},
    ),
    Case(
        name="hierarchies.plan",
        call=hierarchies.plan,
        parameters=PARAMETERS | {"learning_rate": 0.03, "burn_in_rate": 0.1},
        outside=OUTSIDE | {"learning_rate": (0.0, -1.0, np.inf), "burn_in_rate": (0.0, -1.0, np.inf)},
        static=TREE,
    ),
    Case(name="hierarchies.init", call=init, static={"dimension": 3}, random=True),
    Case(
        name="hierarchies.epoch",
        call=epoch,
        floats={"points": POINTS},
        parameters=PARAMETERS | {"learning_rate": 0.03, "burn_in_rate": 0.1},
        outside=OUTSIDE | {"learning_rate": (0.0, -1.0, np.inf), "burn_in_rate": (0.0, -1.0, np.inf)},
        random=True,
        exempt={"mixed": "a table keeps its type, half precision too; it is worked with in float32"},
    ),
    Case(
        name="hierarchies.train",
        call=train,
        integers={"relations": RELATIONS},
        parameters=PARAMETERS,
        static={"num_nodes": 6, "dimension": 2, "epochs": 2, "negatives": 3},
        random=True,
        exempt={"jit": LOOP},
    ),
    Case(
        name="hierarchies.reconstruction",
        call=hierarchies.reconstruction,
        floats={"points": POINTS},
        integers={"relations": RELATIONS},
        parameters={"curvature": 0.8},
        outside={"curvature": OUTSIDE["curvature"]},
        exempt={
            "jit": "ranks are counted by blocks that are planned on the host",
            "mixed": "ranks are whole numbers: a coarser type may order two distances the other way",
        },
    ),
    geometry("ball_geometry", hierarchies.ball_geometry, margin=0.01),
    geometry("lorentz_geometry", hierarchies.lorentz_geometry),
    geometry("euclidean_geometry", hierarchies.euclidean_geometry, squared=True),
    geometry("euclidean_geometry", hierarchies.euclidean_geometry, max_norm=2.0),
)
