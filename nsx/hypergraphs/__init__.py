"""Negatives among hyperedges: size and overlap with the anchor, and the maximum-entropy law of their moments.

A hypergraph of e hyperedges over n nodes is its incidence matrix, boolean, shape `(e, n)`; the anchor is a set of
nodes, shape `(n,)`. Size s = |E|, overlap o = |E and A| / |E or A| (Jaccard).
"""

from nsx.hypergraphs._dual import Feasibility as Feasibility
from nsx.hypergraphs._dual import feasibility as feasibility
from nsx.hypergraphs._dual import solve_multipliers as solve_multipliers
from nsx.hypergraphs._features import Features as Features
from nsx.hypergraphs._features import features as features
from nsx.hypergraphs._features import overlap as overlap
from nsx.hypergraphs._features import power_law as power_law
