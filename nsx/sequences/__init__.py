"""Linear-chain conditional random fields: log Z, marginals, paths, draws, and sets of perturbed label sequences.

One sequence at a time, `jax.vmap` for many: unary scores `(t, l)` of l labels at t positions, pairwise scores `(l, l)`
from row to column, or `(t - 1, l, l)` with one table per transition; no start or end terms. A position where `where` is
False is skipped, as if it were not there: its scores may be anything, NaN included.

After rounding too, score of a sequence <= score of the best one <= log Z.
"""

from nsx.sequences._forward import crf_log_normalizer as crf_log_normalizer
from nsx.sequences._forward import crf_log_score as crf_log_score
from nsx.sequences._forward import crf_marginals as crf_marginals
from nsx.sequences._messages import Marginals as Marginals
from nsx.sequences._paths import Viterbi as Viterbi
from nsx.sequences._paths import crf_sample as crf_sample
from nsx.sequences._paths import crf_viterbi as crf_viterbi
from nsx.sequences._perturb import Perturbed as Perturbed
from nsx.sequences._perturb import adjacent_swaps as adjacent_swaps
from nsx.sequences._perturb import neighbourhood as neighbourhood
from nsx.sequences._perturb import replacements as replacements
