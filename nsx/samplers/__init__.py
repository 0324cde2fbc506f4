"""Samplers as log-weights: the laws of negatives, their algebra, draws and mining."""

from nsx.samplers._alias import AliasTable as AliasTable
from nsx.samplers._alias import alias_table as alias_table
from nsx.samplers._alias import draw_alias as draw_alias
from nsx.samplers._inverse import draw_inverse as draw_inverse
from nsx.samplers._laws import log_prob as log_prob
from nsx.samplers._laws import power as power
