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
