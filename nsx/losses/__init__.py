"""Losses as functions of scores: one loss per example out, negatives on the last axis, no reduction."""

from nsx.losses._binary import nce as nce
from nsx.losses._binary import sgns as sgns
from nsx.losses._softmax import info_nce as info_nce
