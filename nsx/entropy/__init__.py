"""Softmax entropy as a function of temperature: how many negatives share the weight, and how to hold that number."""

from nsx.entropy._control import Controller as Controller
from nsx.entropy._control import EntropyState as EntropyState
from nsx.entropy._control import hold_entropy as hold_entropy
from nsx.entropy._margin import effective_margin as effective_margin
from nsx.entropy._margin import freezing_temperature as freezing_temperature
from nsx.entropy._solve import temperature_for_entropy as temperature_for_entropy
from nsx.entropy._thermodynamics import effective_negatives as effective_negatives
from nsx.entropy._thermodynamics import entropy as entropy
from nsx.entropy._thermodynamics import entropy_slope as entropy_slope
from nsx.entropy._thermodynamics import heat_capacity as heat_capacity
