"""What noise-contrastive estimation costs."""

import numpy as np

from nsx import asymptotics
from tests.catalogue import Case

SCORE = np.array([[-1.0, 0.3], [0.2, -0.6], [1.1, 0.8], [0.4, 1.5]])
DATA = np.array([0.1, -0.5, 0.3, 0.0])
NOISE = np.array([-0.2, 0.4, 0.0, 0.6])

CASES = (
    Case(
        name="asymptotics.fisher_information",
        call=asymptotics.fisher_information,
        floats={"score": SCORE, "data_log_weights": DATA},
    ),
    Case(
        name="asymptotics.nce_covariance",
        call=asymptotics.nce_covariance,
        floats={"score": SCORE, "data_log_weights": DATA, "noise_log_weights": NOISE},
        parameters={"nu": 2.0},
        outside={"nu": (0.0, -1.0, np.inf)},
        infinite="an information matrix without rank has no inverse",
    ),
)
