"""Samplers as log-weights: the laws of negatives, their algebra, draws and mining."""

from nsx.samplers._algebra import exclude as exclude
from nsx.samplers._algebra import exclusion_window as exclusion_window
from nsx.samplers._algebra import mix as mix
from nsx.samplers._algebra import mix_uniform as mix_uniform
from nsx.samplers._algebra import no_accidental_hits as no_accidental_hits
from nsx.samplers._alias import AliasTable as AliasTable
from nsx.samplers._alias import alias_table as alias_table
from nsx.samplers._alias import draw_alias as draw_alias
from nsx.samplers._correction import Correction as Correction
from nsx.samplers._correction import correction as correction
from nsx.samplers._expected import expected_counts as expected_counts
from nsx.samplers._inclusion import inclusion_probability as inclusion_probability
from nsx.samplers._inverse import draw_inverse as draw_inverse
from nsx.samplers._laws import from_scores as from_scores
from nsx.samplers._laws import gibbs as gibbs
from nsx.samplers._laws import log_prob as log_prob
from nsx.samplers._laws import maxent as maxent
from nsx.samplers._laws import power as power
from nsx.samplers._laws import probabilities as probabilities
from nsx.samplers._mining import hardest as hardest
from nsx.samplers._mining import mine_mixed as mine_mixed
from nsx.samplers._mining import semi_hard as semi_hard
from nsx.samplers._subsets import draw_without_replacement as draw_without_replacement
