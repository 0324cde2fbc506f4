"""Losses as functions of scores: one loss per example out, negatives on the last axis, no reduction."""

from nsx.losses._binary import bpr as bpr
from nsx.losses._binary import nce as nce
from nsx.losses._binary import sgns as sgns
from nsx.losses._binary import sigmoid as sigmoid
from nsx.losses._by_rows import in_batch as in_batch
from nsx.losses._cached import cached_value_and_grad as cached_value_and_grad
from nsx.losses._in_batch import in_batch_info_nce as in_batch_info_nce
from nsx.losses._metric import alignment as alignment
from nsx.losses._metric import triplet as triplet
from nsx.losses._metric import uniformity as uniformity
from nsx.losses._one_tower import nt_xent as nt_xent
from nsx.losses._reweighted import debiased_info_nce as debiased_info_nce
from nsx.losses._reweighted import hard_info_nce as hard_info_nce
from nsx.losses._reweighted import self_adversarial as self_adversarial
from nsx.losses._softmax import decoupled_info_nce as decoupled_info_nce
from nsx.losses._softmax import info_nce as info_nce
from nsx.losses._sup_con import sup_con as sup_con
