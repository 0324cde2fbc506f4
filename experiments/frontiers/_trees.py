"""A complete tree: its parents, its path lengths, its fit and its picture in the disk."""

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from nsx import poincare


def complete_tree(branching, depth):
    """Parents and path lengths of the complete tree, from the host."""
    sizes = branching ** np.arange(depth)
    starts = np.cumsum(sizes) - sizes
    parents = [np.repeat(a + np.arange(s), branching) for a, s in zip(starts, sizes, strict=True)]
    parents = np.concatenate([[-1], *parents])
    hops = np.zeros((len(parents), len(parents)))
    for node in range(1, len(parents)):  # a node sees what its parent sees, one edge later
        hops[node, :node] = hops[:node, node] = hops[parents[node], :node] + 1
    return parents, hops


def fit(parents, hops, curvature, length, pair):
    """Mean average precision of the neighbours, distortion, distance of a pair, and the points."""
    points = poincare.embed_tree(parents, length=length, curvature=curvature)
    between = poincare.distance(points[:, None], points[None], curvature=curvature)
    children = np.arange(1, len(parents))
    ends = np.concatenate([children, parents[1:]]), np.concatenate([parents[1:], children])
    within = between[ends[0]] <= between[ends][:, None]  # nodes at least as near as the neighbour, itself included
    found, seen = jnp.sum(within & (hops == 1)[ends[0]], axis=1), jnp.sum(within, axis=1) - 1
    share = jnp.zeros(len(parents)).at[ends[0]].add(found / jnp.maximum(seen, 1))
    ratio = between / np.where(hops > 0, hops, 1)
    low = jnp.min(jnp.where(hops > 0, ratio, jnp.inf))
    return jnp.mean(share / np.sum(hops == 1, axis=1)), jnp.max(ratio) / low, between[pair], points


def draw_tree(ax, points, parents):
    """Edges as geodesics, the boundary as a circle."""
    times = np.linspace(0, 1, 12)
    children = np.arange(1, len(points))
    a, b = points[parents[children]][:, None], points[children][:, None]
    curves = np.asarray(
        poincare.geodesic(np.float32(a) * (1 - 1e-6), np.float32(b) * (1 - 1e-6), times.astype(np.float32))
    )
    for curve in curves:
        ax.plot(*curve.T, color="C0", linewidth=0.6, rasterized=True)
    ax.add_patch(plt.Circle((0, 0), 1, fill=False, color="black", linewidth=0.8))
    ax.scatter(*points.T, s=2, color="C1", zorder=3, rasterized=True)
    ax.set(xlim=(-1.03, 1.03), ylim=(-1.03, 1.03), aspect="equal")
    ax.set_axis_off()
    ax.set_title("Every edge alike, every neighbour nearest")
