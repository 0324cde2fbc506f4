"""Edit distance by the textbook table, great circles by unit vectors; NumPy float64."""

import math

import numpy as np


def edit_distance(a, b, cost=None):
    """The whole table, cell by cell."""
    a, b = [list(x[: x.index(-1)] if -1 in x else x) for x in (list(a), list(b))]
    cost = cost if cost is not None else (lambda x, y: float(x != y))
    table = np.zeros((len(a) + 1, len(b) + 1))
    table[:, 0], table[0] = np.arange(len(a) + 1), np.arange(len(b) + 1)
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + cost(x, y))
    return table[-1, -1]


def great_circle(x, y, radius):
    """The angle between unit vectors, from their cross and dot products."""
    u, v = (
        np.array([math.cos(a) * math.cos(b), math.cos(a) * math.sin(b), math.sin(a)])
        for a, b in (np.deg2rad(np.asarray(p, float)) for p in (x, y))
    )
    return radius * math.atan2(float(np.linalg.norm(np.cross(u, v))), float(u @ v))
