r"""In the Poincare ball the push of a negative does not know where it happens; only coordinates do.

The gradient of d(x, y) in x has Euclidean norm 2 / (1 - |x|^2) whatever y is, and Riemannian length 1. A negative at
distance d therefore pushes its anchor with sigma(-d) (its weight in the logistic loss of the score -d) times the
anchor's own factor, and hard against easy is sigma(-d_h) / sigma(-d_e), wherever the anchor stands. Coordinates tell
another story: at a fixed offset in them the ratio moves, and in the negatives' own coordinates so does that of their
gradients. What curvature does buy is room: a tree fits the disk with every neighbour nearest. Refuted if norms or
ratios differ from these by more than rounding, or the tree in the disk is as distorted as every drawing in the plane.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, at_most, close
from experiments._devices import over_devices
from experiments._style import measured, panels, theory
from experiments.frontiers._trees import complete_tree, draw_tree, fit
from nsx import losses, poincare

CLAIM = Claim(
    statement="In the Poincare ball the gradient of a distance is not constant, so a negative's utility depends on its "
    "distance and on absolute positions, and hard against easy negatives weigh otherwise than in Euclidean space.",
    source="000, non-Euclidean geometries",
    references=("nickel2017poincare", "sarkar2011low", "desa2018representation", "linial1995geometry"),
    expected="conditional",
    why="Only coordinates depend on position: in the ball's own length every gradient of a distance is 1, and at fixed "
    "distances the hard/easy ratio at the anchor is the same everywhere.",
)
SIZES = {
    "quick": {"directions": 8, "depth": 4},
    "full": {"directions": 64, "depth": 5},
    "device": {"directions": 256, "depth": 6},
}
RADII = np.append(np.linspace(0.0, 0.9, 10), [0.95, 0.99])
HARD, EASY = 1.0, 3.0  # distances in the ball
NEAR_OFFSET, FAR_OFFSET = 0.05, 0.3  # steps in coordinates, towards the centre
BRANCHING, LENGTH = 4, 2.5
CURVATURES = np.append(10.0 ** np.linspace(-3, -0.25, 9), 1.0)


class Data(NamedTuple):
    """Rows are radii of the anchor, columns directions of the negatives; then the tree of n nodes over curvatures.

    Norms of the gradient of d(x, y) in coordinates at x, and in the ball's length at x and y; hard/easy ratios of the
    push at the anchor at fixed distances, at the negatives in coordinates and in the ball's length, at the anchor at
    fixed offsets; 1 - |y|^2 of the hard and of the easy negative. Mean average precision, distortion and distance of
    two sisters for each curvature, points and parents of the last.
    """

    ambient: jax.Array
    natural: jax.Array
    at_anchor: jax.Array
    at_negative: jax.Array
    at_negative_natural: jax.Array
    at_offset: jax.Array
    hard_gap: jax.Array
    easy_gap: jax.Array
    precision: jax.Array
    distortion: jax.Array
    sisters: jax.Array
    tree: jax.Array
    parents: jax.Array
    depth: jax.Array


def one_scene(x, to_hard, to_easy, share):
    """Around an anchor: a hard and an easy negative in two directions, one at each fixed offset, one on the way."""
    factor, inwards = poincare.conformal_factor, -jnp.eye(x.shape[0])[0]
    ends = poincare.exp_map(x[None], jnp.stack([to_hard * HARD, to_easy * EASY]) / factor(x))
    offsets = x[None] + jnp.array([[NEAR_OFFSET], [FAR_OFFSET]]) * inwards[None]
    negatives = jnp.concatenate([ends, offsets, poincare.geodesic(x, ends[1], share)[None]])
    return x, negatives, 2 / factor(x), 2 / factor(negatives)


@partial(jax.jit, static_argnames="directions")
def scenes(key, directions):
    """Every anchor against every pair of directions."""
    ways = jax.random.normal(key, (2, directions, 3))
    ways = ways / jnp.linalg.norm(ways, axis=-1, keepdims=True)
    anchors = jnp.zeros((len(RADII), 3)).at[:, 0].set(RADII)
    scene = jax.vmap(one_scene, (None, 0, 0, 0))
    return jax.vmap(scene, (0, None, None, None))(anchors, *ways, jnp.linspace(0.1, 1.0, directions))


def seen(x, negatives, gap, gaps, distance):
    """Gradients of the distance and of the loss of each negative, at the anchor and at the negative."""
    size = lambda v: jnp.linalg.norm(v, axis=-1)
    slopes = jax.vmap(jax.grad(distance, (0, 1)), (None, 0))(x, negatives)
    weight = jax.vmap(jax.grad(lambda s: losses.sgns(0.0, s[None])))(-jax.vmap(distance, (None, 0))(x, negatives))
    hard, easy, near, far, _ = weight * size(slopes[0])
    y_hard, y_easy, *_ = weight * size(slopes[1])
    natural = jnp.stack([size(slopes[0])[-1] * gap, size(slopes[1])[-1] * gaps[-1]]) / 2
    ratios = hard / easy, y_hard / y_easy, y_hard / y_easy * gaps[0] / gaps[1], near / far
    return size(slopes[0])[-1], natural, *ratios, gaps[0], gaps[1]


@partial(jax.jit, static_argnames="distance")
def places(scene, distance):
    return jax.vmap(jax.vmap(lambda *s: seen(*s, distance)))(*scene)


@partial(jax.jit, static_argnames="depth")
def trees(curvatures, depth):
    """The complete tree at every curvature."""
    parents, hops = complete_tree(BRANCHING, depth)
    pair = BRANCHING + 1, BRANCHING + 2  # sisters whose parent has a parent
    precision, distortion, sisters, points = over_devices(lambda c: fit(parents, hops, c, LENGTH, pair), curvatures)
    return precision, distortion, sisters, points[-1], jnp.asarray(parents), jnp.asarray(depth)


def compute(key, *, directions, depth, distance=poincare.distance, flatter=1.0):
    return Data(*places(scenes(key, directions), distance), *trees(jnp.asarray(CURVATURES / flatter), depth))


def sigmoid(s):
    return 1 / (1 + np.exp(-s))


def ball_distance(x, y):
    """Along a diameter, in the textbook form."""
    return np.arccosh(1 + 2 * (x - y) ** 2 / ((1 - x**2) * (1 - y**2)))


def plane_bound(nodes, depth):
    """Least distortion of any drawing in the plane: n discs of radius 1/2 in one of radius D depth + 1/2."""
    return (np.sqrt(nodes) - 1) / (2 * depth)


FACTOR = 2 / (1 - RADII**2)
RATIO = sigmoid(-HARD) / sigmoid(-EASY)
OFFSET_RATIO = sigmoid(-ball_distance(RADII, RADII - NEAR_OFFSET)) / sigmoid(-ball_distance(RADII, RADII - FAR_OFFSET))
SISTERS = np.arccosh(np.cosh(LENGTH) ** 2 - np.sinh(LENGTH) ** 2 * np.cos(2 * np.pi / (BRANCHING + 1)))


def spread(x, axis=None):
    return np.max(x, axis) / np.min(x, axis)


def verdict(data):
    eps = np.finfo(data.ambient.dtype).eps
    # a coordinate rounded by eps / 2 moves a point by eps times its factor, at most e^EASY times the anchor's
    rounding = 8 * eps * FACTOR[:, None] * np.exp(EASY)
    same = 1 + rounding.max()
    bound, deep = plane_bound(len(data.tree), data.depth), 8 * eps * np.cosh(LENGTH * data.depth)
    push_at_negative = RATIO * data.easy_gap / data.hard_gap
    return (
        close("gradient of d in coordinates over 2/(1-|x|^2)", 1, data.ambient / FACTOR[:, None], rounding),
        close("its length in the ball, at both ends", 1, data.natural, rounding[..., None]),
        close("hard/easy at the anchor, fixed distances", RATIO, data.at_anchor, RATIO * rounding),
        close("hard/easy at the negatives, the ball's length", RATIO, data.at_negative_natural, RATIO * rounding),
        close("hard/easy at the negatives, coordinates", 1, data.at_negative / push_at_negative, rounding),
        close("hard/easy at the anchor, fixed offsets", 1, data.at_offset / OFFSET_RATIO[:, None], rounding),
        close("distance of sisters in the tree", SISTERS, data.sisters[-1], deep),
        at_least("tree in the disk: mean average precision", 1, data.precision[-1], 4 * eps),
        at_most("tree in the disk: distortion, least of the plane", bound, data.distortion[-1]),
        at_its_word(at_least("gradient of d differs between places", same, spread(data.ambient))),
        at_its_word(at_least("and with the place of the negative", same, spread(data.ambient, 1))),
        at_its_word(at_least("hard/easy differs between places, same offsets", same, spread(data.at_offset))),
        at_its_word(at_least("hard/easy differs between places, same distances", same, spread(data.at_anchor))),
    )


def straight(x, y):
    """Euclidean distance of the coordinates."""
    return jnp.linalg.norm(x - y)


def controls(key, data, *, directions, depth):
    run = partial(compute, key, directions=8, depth=depth)
    return {
        "the coordinates' own distance": run(distance=straight),
        "the squared distance": run(distance=lambda x, y: poincare.distance(x, y) ** 2),
        "the tree in an all but flat disk": run(flatter=1000.0),
    }


def plot(data):
    fig, ((norms, ratios), (disk, room)) = panels(2, 2, width=4.2, height=3.4)
    keep = np.linspace(0, data.ambient.shape[1] - 1, 8).astype(int)
    for k, column in enumerate(keep):
        measured(norms, RADII, data.ambient[:, column], color="C0", label="" if k else "in coordinates", markersize=3)
        measured(norms, RADII, data.natural[:, column, 0], color="C2", label="" if k else "in the ball", markersize=3)
    theory(norms, RADII, FACTOR, label=r"$2/(1-|x|^2)$ and 1")
    theory(norms, RADII, np.ones_like(RADII))
    norms.set(yscale="log", xlabel="radius of the anchor $|x|$", ylabel=r"length of $\nabla_x d(x, y)$")
    norms.set_title("Eight negatives at each place: theirs does not matter")
    norms.legend(loc="upper left")
    for k, column in enumerate(keep[:4]):
        label = "" if k else "at the negatives, coordinates"
        measured(ratios, RADII, data.at_negative[:, column], color="C3", alpha=0.5, markersize=3, label=label)
    measured(ratios, RADII, data.at_offset[:, 0], color="C1", label="at the anchor, fixed offsets")
    measured(ratios, RADII, data.at_anchor[:, 0], color="C0", label="at the anchor, fixed distances")
    theory(ratios, RADII, np.full_like(RADII, RATIO), label="predicted")
    theory(ratios, RADII, OFFSET_RATIO)
    flat = sigmoid(-2 * NEAR_OFFSET) / sigmoid(-2 * FAR_OFFSET)
    ratios.plot(RADII, np.full_like(RADII, flat), ":", color="#777777", label="no curvature, same offsets")
    ratios.set(yscale="log", xlabel="radius of the anchor $|x|$", ylabel="push of the hard over the easy negative")
    ratios.set_yticks([0.5, 1, 2, 5], ["0.5", "1", "2", "5"], minor=False)
    ratios.yaxis.set_minor_formatter("")
    ratios.set_title("Hard against easy: fixed by distances alone")
    ratios.legend(loc="lower left", fontsize=7, bbox_to_anchor=(0, 0.5))
    draw_tree(disk, np.asarray(data.tree, float), data.parents)
    edges = np.sqrt(CURVATURES) * LENGTH
    measured(room, edges, data.precision, color="C0", label="mean average precision")
    measured(room, edges, np.minimum(1 / data.distortion, 1), color="C1", label="1 / distortion")
    bound = 1 / plane_bound(len(data.tree), data.depth)
    theory(room, edges, np.full_like(edges, bound), label="1 / least distortion in the plane")
    room.set(
        xscale="log",
        ylim=(0, 1.05),
        xlabel=r"edge length in units of curvature $\sqrt{c}\,\tau$",
        ylabel="fit of the tree",
    )
    room.set_title(f"Curvature makes room for {len(data.tree)} nodes")
    room.legend(loc="center left", fontsize=7)
    return fig
