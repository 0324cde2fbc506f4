"""Hierarchies by plain loops: ancestors by depth-first search, the ranking loss and its metrics pair by pair."""

import numpy as np


def ancestors(edges, num_nodes):
    """Every (node, ancestor), by walking up from each node."""
    parents = {i: [p for c, p in edges if c == i] for i in range(num_nodes)}
    pairs = []
    for node in range(num_nodes):
        seen, todo = set(), list(parents[node])
        while todo:
            top = todo.pop()
            if top not in seen:
                seen.add(top)
                todo += parents[top]
        pairs += [(node, top) for top in sorted(seen)]
    return np.array(pairs).reshape(-1, 2)


def ball_distance(u, v, c=1.0):
    gap = c * np.sum((u - v) ** 2) / ((1 - c * u @ u) * (1 - c * v @ v))
    return np.arccosh(1 + 2 * gap) / np.sqrt(c)


def lorentz_distance(u, v, c=1.0):
    times = np.sqrt(1 / c + u @ u) * np.sqrt(1 / c + v @ v)
    return np.arccosh(max(c * (times - u @ v), 1.0)) / np.sqrt(c)


def euclidean_distance(u, v, c=None):
    return np.sqrt(np.sum((u - v) ** 2))


def squared_distance(u, v, c=None):
    return np.sum((u - v) ** 2)


def flat_metric(u, c=None):
    return np.eye(len(u))


def ball_metric(u, c=1.0):
    """Inverse of the metric tensor."""
    return np.eye(len(u)) * (1 - c * u @ u) ** 2 / 4


def lorentz_metric(u, c=1.0):
    """Inverse of the metric in spatial coordinates: of I - u u^T / (1/c + |u|^2)."""
    return np.linalg.inv(np.eye(len(u)) - np.outer(u, u) / (1 / c + u @ u))


def relation_loss(points, node, ancestor, negatives, distance, temperature=1.0):
    own = distance(points[node], points[ancestor])
    others = [distance(points[node], points[z]) for z in (ancestor, *negatives)]
    return np.log(sum(np.exp((own - other) / temperature) for other in others))


def riemannian_gradient(loss, points, inverse_metric, step=1e-6):
    """Central differences of a loss of all points, row by row under the inverse metric."""
    slope = np.zeros_like(points)
    for index in np.ndindex(*points.shape):
        shift = np.zeros_like(points)
        shift[index] = step
        slope[index] = (loss(points + shift) - loss(points - shift)) / (2 * step)
    return np.stack([inverse_metric(x) @ g for x, g in zip(points, slope, strict=True)])


def ranks(distances, node, ancestors):
    """Rank of each ancestor: nodes that are none and no farther, and one."""
    strangers = [z for z in range(len(distances)) if z != node and z not in ancestors]
    return [1 + sum(distances[z] <= distances[v] for z in strangers) for v in ancestors]


def average_precision(distances, node, ancestors):
    """Sum of precision times the gain in recall, over thresholds from near to far."""
    others = [z for z in range(len(distances)) if z != node]
    total, recall = 0.0, 0.0
    for threshold in sorted({distances[z] for z in others}):
        retrieved = [z for z in others if distances[z] <= threshold]
        hits = sum(z in ancestors for z in retrieved)
        total += (hits / len(ancestors) - recall) * hits / len(retrieved)
        recall = hits / len(ancestors)
    return total
