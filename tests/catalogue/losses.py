"""Losses of scores and of distances."""

import numpy as np

from nsx import losses
from tests.catalogue import Case

POSITIVE = np.array([0.3, -0.2])
NEGATIVES = np.array([[0.1, -0.4, 0.7], [0.0, 0.2, -0.9]])
WHERE = np.array([[True, False, True], [True, True, False]])
LOG_Q_POSITIVE = np.array([-1.5, -2.5])
LOG_Q_NEGATIVES = np.array([[-2.0, -1.0, -3.0], [-1.2, -2.2, -0.7]])
SCORES = {"positive": POSITIVE, "negatives": NEGATIVES}
MASKS = {"where": WHERE}
MASKED = {"negatives": "where"}
NOT_POSITIVE = (0.0, -1.0, np.inf)
NOT_FINITE = (np.inf, -np.inf)
NOT_A_PRIOR = (-0.1, 1.0, 2.0)
POINTS = np.array([[0.6, 0.8], [-1.0, 0.1], [0.2, -0.9]])
PARTNERS = np.array([[0.5, 0.9], [-0.8, 0.4], [0.7, -0.3]])

CASES = (
    Case(name="losses.sgns", call=losses.sgns, floats=SCORES, masks=MASKS, masked=MASKED),
    Case(name="losses.bpr", call=losses.bpr, floats=SCORES, masks=MASKS, masked=MASKED),
    Case(
        name="losses.nce",
        call=losses.nce,
        floats={**SCORES, "log_q_positive": LOG_Q_POSITIVE, "log_q_negatives": LOG_Q_NEGATIVES},
        masks=MASKS,
        masked={**MASKED, "log_q_negatives": "where"},
    ),
    Case(
        name="losses.sigmoid",
        call=losses.sigmoid,
        floats=SCORES,
        masks=MASKS,
        masked=MASKED,
        parameters={"temperature": 0.5, "bias": -1.0},
        outside={"temperature": NOT_POSITIVE, "bias": NOT_FINITE},
    ),
    Case(
        name="losses.info_nce",
        call=losses.info_nce,
        floats=SCORES,
        masks=MASKS,
        masked=MASKED,
        parameters={"temperature": 0.5},
        outside={"temperature": NOT_POSITIVE},
    ),
    Case(
        name="losses.info_nce",  # the importance form
        call=losses.info_nce,
        floats={**SCORES, "log_q_negatives": LOG_Q_NEGATIVES},
        masks=MASKS,
        masked={**MASKED, "log_q_negatives": "where"},
        parameters={"temperature": 0.5, "k": 5.0},
        outside={"temperature": NOT_POSITIVE, "k": NOT_POSITIVE},
    ),
    Case(
        name="losses.info_nce",  # the ranking form
        call=losses.info_nce,
        floats={**SCORES, "log_q_positive": LOG_Q_POSITIVE, "log_q_negatives": LOG_Q_NEGATIVES},
        masks=MASKS,
        masked={**MASKED, "log_q_negatives": "where"},
        parameters={"temperature": 0.5},
        outside={"temperature": NOT_POSITIVE},
    ),
    Case(
        name="losses.decoupled_info_nce",
        call=losses.decoupled_info_nce,
        floats=SCORES,
        masks=MASKS,
        masked=MASKED,
        parameters={"temperature": 0.5},
        outside={"temperature": NOT_POSITIVE},
    ),
    Case(
        name="losses.debiased_info_nce",
        call=losses.debiased_info_nce,
        floats=SCORES,
        masks=MASKS,
        masked=MASKED,
        parameters={"temperature": 0.5, "positive_prior": 0.1},
        outside={"temperature": NOT_POSITIVE, "positive_prior": NOT_A_PRIOR},
    ),
    Case(
        name="losses.hard_info_nce",
        call=losses.hard_info_nce,
        floats=SCORES,
        masks=MASKS,
        masked=MASKED,
        parameters={"temperature": 0.5, "positive_prior": 0.1, "concentration": 1.5},
        outside={"temperature": NOT_POSITIVE, "positive_prior": NOT_A_PRIOR, "concentration": NOT_FINITE},
    ),
    Case(
        name="losses.self_adversarial",
        call=losses.self_adversarial,
        floats=SCORES,
        masks=MASKS,
        masked=MASKED,
        parameters={"sharpness": 2.0},
        outside={"sharpness": NOT_FINITE},
    ),
    Case(
        name="losses.triplet",
        call=losses.triplet,
        floats={"positive_distance": np.array([0.5, 1.2]), "negative_distance": np.array([0.9, 1.0])},
        parameters={"margin": 0.5},
        outside={"margin": NOT_FINITE},
    ),
    Case(
        name="losses.alignment",
        call=losses.alignment,
        floats={"x": POINTS, "y": PARTNERS},
        parameters={"power": 1.5},
        outside={"power": NOT_POSITIVE},
    ),
    Case(
        name="losses.uniformity",
        call=losses.uniformity,
        floats={"x": POINTS},
        parameters={"temperature": 2.0},
        outside={"temperature": NOT_POSITIVE},
    ),
)
