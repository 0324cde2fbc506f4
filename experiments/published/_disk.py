"""The mammals drawn on the hyperbolic plane: `mammal` in the middle, distance from it along the radius."""

import jax
import jax.numpy as jnp
import numpy as np

from nsx import poincare

# a family, its colour, and who of it is named
FAMILIES = (
    ("carnivore", "#C44E52", ("dog", "cat", "lion", "tiger", "bear", "wolf", "fox", "spaniel", "otter")),
    ("even-toed_ungulate", "#8C6D31", ("cattle", "sheep", "deer", "camel", "giraffe", "hippopotamus", "antelope")),
    ("odd-toed_ungulate", "#E1A100", ("horse", "zebra", "rhinoceros", "domestic_ass")),
    ("primate", "#4C72B0", ("monkey", "chimpanzee", "lemur", "baboon")),
    ("rodent", "#55A868", ("mouse", "rat", "squirrel", "beaver", "porcupine")),
    ("bat", "#8172B3", ("vampire_bat", "fruit_bat")),
    ("aquatic_mammal", "#17A2B8", ("whale", "dolphin", "seal", "walrus", "manatee")),
    ("metatherian", "#D96BB0", ("kangaroo", "koala", "opossum")),
    ("lagomorph", "#937860", ("rabbit", "hare")),
    ("insectivore", "#2F4F4F", ("hedgehog", "shrew")),
    ("proboscidean", "#333333", ("elephant", "mammoth")),
)
MIDDLE = ("mammal", "placental")
OTHER = "#B8B8B8"
STEPS = 48  # of an arc


def direct_edges(relations):
    """Pairs that no node stands between: the closure undone."""
    above = {}
    for node, ancestor in relations.tolist():
        above.setdefault(node, set()).add(ancestor)
    return np.array(
        [(c, p) for c in above for p in above[c] if not any(p in above.get(q, ()) for q in above[c])], np.int16
    )


def families(names, relations):
    """Number of each node's family, -1 for none; the first that fits."""
    member = np.full(len(names), -1, np.int8)
    for number, (family, _, _) in reversed(list(enumerate(FAMILIES))):
        if family in names:
            head = names.index(family)
            member[[head, *relations[relations[:, 1] == head, 0]]] = number
    return member


@jax.jit
def centred(points, middle):
    """The ball moved so that one point is its centre; an isometry."""
    return poincare.project(poincare.mobius_add(-points[middle][None], points))


@jax.jit
def radial(points):
    """Hyperbolic distance from the centre along each direction (azimuthal equidistant chart)."""
    norm = jnp.linalg.norm(points, axis=-1, keepdims=True)
    safe = jnp.where(norm > 0, norm, 1)
    return points / safe * poincare.distance(jnp.zeros_like(points), points)[..., None]


@jax.jit
def arcs(points, edges):
    """Points along the geodesics of all edges, in the radial chart, `(edges, STEPS, 2)`."""
    t = jnp.linspace(0, 1, STEPS)
    along = jax.vmap(lambda s: poincare.geodesic(points[edges[:, 0]], points[edges[:, 1]], s))(t)
    return radial(jnp.swapaxes(along, 0, 1))


def thinned(line, tolerance=0.03):
    """The line without the points that it hardly bends at, and a gap after it."""
    kept = [line[0]]
    for before, here, after in zip(line, line[1:], line[2:], strict=False):
        (ax, ay), (bx, by) = here - kept[-1], after - here
        if abs(ax * by - ay * bx) > tolerance * np.hypot(*(after - before)):
            kept.append(here)
    return np.array([*kept, line[-1], (np.nan, np.nan)])


def draw(ax, names, points, edges, member):
    """Nodes, their direct edges as geodesics, and well-known animals by name."""
    names, colours = list(names), [*(colour for _, colour, _ in FAMILIES), OTHER]
    place = np.asarray(radial(jnp.asarray(points)))
    lines = [thinned(line) for line in np.asarray(arcs(jnp.asarray(points), jnp.asarray(edges)))]
    owner = member[edges[:, 0]]
    for family, colour in zip([*range(len(FAMILIES)), -1], colours, strict=True):
        of_family = np.concatenate([lines[i] for i in np.flatnonzero(owner == family)]).T  # one path a family
        ax.plot(*of_family, color=colour, linewidth=0.35, alpha=0.55, zorder=1)
        ax.plot(*place[member == family].T, ".", color=colour, markersize=3, markeredgewidth=0, zorder=2)
    reach = np.linalg.norm(place, axis=1).max()
    circle = np.linspace(0, 2 * np.pi, 400)
    for radius in (4, 8, 12):
        ax.plot(radius * np.cos(circle), radius * np.sin(circle), color="#DDDDDD", linewidth=0.5, zorder=0)
        ax.text(
            0,
            -radius,
            f"{radius}",
            fontsize=6,
            color="#AAAAAA",
            ha="center",
            va="center",
            backgroundcolor="white",
            zorder=0,
        )
    for words, colour in [*((w, c) for _, c, w in FAMILIES), (MIDDLE, "black")]:
        for word in (w for w in words if w in names):
            label(ax, place[names.index(word)], word.replace("_", " "), colour)
    ax.set(aspect="equal", xlim=(-1.06 * reach, 1.06 * reach), ylim=(-1.06 * reach, 1.06 * reach))
    ax.set_axis_off()


def label(ax, at, text, colour):
    side = 1 if at[0] >= 0 else -1
    ax.plot(*at, "o", color=colour, markersize=3, markeredgecolor="white", markeredgewidth=0.4, zorder=4)
    backing = {"boxstyle": "round,pad=0.08", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
    where = {"textcoords": "offset points", "ha": "left" if side > 0 else "right", "va": "center"}
    ax.annotate(text, at, (4 * side, 0), fontsize=6.5, color=colour, zorder=5, bbox=backing, **where)
