"""`samplers.correction`, in its three forms."""

from functools import partial

import numpy as np

from nsx import samplers
from tests.catalogue import Case

LOG_WEIGHTS = np.array([0.2, -1.0, 0.7, 0.1, -0.4])
IDS = np.array([[1, 3, 4], [0, 2, 2]])
POSITIVE_IDS = np.array([2, 1])  # no draw hits its positive, so that rejected hits are allowed
DATA = {"floats": {"log_weights": LOG_WEIGHTS}, "integers": {"ids": IDS, "positive_ids": POSITIVE_IDS}}
NOT_POSITIVE = (0.0, -1.0, np.inf)

CASES = (
    Case(
        name="samplers.correction",
        call=partial(samplers.correction, form="importance", hits="masked"),
        **DATA,
        parameters={"k": 5.0},
        outside={"k": NOT_POSITIVE},
    ),
    Case(name="samplers.correction", call=partial(samplers.correction, form="importance", hits="rejected"), **DATA),
    Case(name="samplers.correction", call=partial(samplers.correction, form="ranking", hits="kept"), **DATA),
)
