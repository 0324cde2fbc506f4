"""Losses of scores and of distances."""

import numpy as np

from nsx import losses
from tests.catalogue import Case

POSITIVE = np.array([0.3, -0.2])
NEGATIVES = np.array([[0.1, -0.4, 0.7], [0.0, 0.2, -0.9]])
WHERE = np.array([[True, False, True], [True, True, False]])

CASES = (
    Case(
        name="losses.sgns",
        call=losses.sgns,
        floats={"positive": POSITIVE, "negatives": NEGATIVES},
        masks={"where": WHERE},
        masked={"negatives": "where"},
    ),
    Case(
        name="losses.decoupled_info_nce",
        call=losses.decoupled_info_nce,
        floats={"positive": POSITIVE, "negatives": NEGATIVES},
        masks={"where": WHERE},
        masked={"negatives": "where"},
        parameters={"temperature": 0.5},
        outside={"temperature": (0.0, -1.0, np.inf)},
    ),
)
