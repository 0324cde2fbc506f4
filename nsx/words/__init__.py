"""Word embeddings: pair counts, PMI, the exact SGNS objective and its optimum, factorisation."""

from nsx.words._counts import PairCounts as PairCounts
from nsx.words._counts import cooccurrence as cooccurrence
from nsx.words._counts import marginals as marginals
from nsx.words._counts import to_dense as to_dense
from nsx.words._factorise import Factors as Factors
from nsx.words._factorise import Fit as Fit
from nsx.words._factorise import fit_sgns as fit_sgns
from nsx.words._factorise import svd_factors as svd_factors
from nsx.words._objective import deviation as deviation
from nsx.words._objective import expected_sgns as expected_sgns
from nsx.words._objective import optimal_sgns as optimal_sgns
from nsx.words._pmi import pmi as pmi
from nsx.words._pmi import sgns_optimum as sgns_optimum
from nsx.words._pmi import sppmi as sppmi
from nsx.words._subsample import keep_probability as keep_probability
from nsx.words._subsample import subsample as subsample
