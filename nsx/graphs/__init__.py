"""Negatives on a graph: who may be one, how hard it is by shared neighbours, and what topology makes of that.

Notation: adjacency A (n, n), boolean, symmetric, without self-loops; degrees d; a negative of node i is any other node
that is not its neighbour; h the number of shared neighbours from which a negative is called hard.
"""

from nsx.graphs._draws import draw_from_index as draw_from_index
from nsx.graphs._draws import draw_non_edges as draw_non_edges
from nsx.graphs._draws import non_edge_log_prob as non_edge_log_prob
from nsx.graphs._index import EdgeIndex as EdgeIndex
from nsx.graphs._index import TargetLaw as TargetLaw
from nsx.graphs._index import index_edges as index_edges
from nsx.graphs._index import non_edge_counts as non_edge_counts
from nsx.graphs._negatives import efficiency as efficiency
from nsx.graphs._negatives import hard_negative_rate as hard_negative_rate
from nsx.graphs._negatives import has_negatives as has_negatives
from nsx.graphs._negatives import non_neighbours as non_neighbours
from nsx.graphs._random import preferential_attachment as preferential_attachment
from nsx.graphs._random import random_graph as random_graph
from nsx.graphs._shared import common_neighbours as common_neighbours
from nsx.graphs._shared import configuration_common_neighbours as configuration_common_neighbours
from nsx.graphs._shared import erdos_renyi_hard_rate as erdos_renyi_hard_rate
from nsx.graphs._shared import expected_common_neighbours as expected_common_neighbours
