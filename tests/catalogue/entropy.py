"""Entropy of the softmax law and what follows from it."""

import numpy as np

from nsx import entropy
from tests.catalogue import Case

SCORES = np.array([[0.3, -0.8, 1.1, 0.2], [1.4, 0.1, -0.6, 0.9]])
WHERE = np.array([[True, True, True, False], [True, False, True, True]])
ROWS = {
    "floats": {"scores": SCORES},
    "masks": {"where": WHERE},
    "masked": {"scores": "where"},
}
TEMPERATURE = {"parameters": {"temperature": 0.7}, "outside": {"temperature": (0.0, -1.0, np.inf)}}


def hold(scores, where, target, rate, max_step):
    """Three steps of the controller: the temperature and the state."""
    controller = entropy.hold_entropy(target, rate=rate, max_step=max_step)
    state = controller.init(SCORES)
    for _ in range(3):
        temperature, state = controller.update(scores, state, where=where)
    return temperature, state


def margin(scores, where, temperature):
    """`effective_margin` calls its scores negatives."""
    return entropy.effective_margin(scores, temperature, where=where)


CASES = (
    Case(name="entropy.entropy", call=entropy.entropy, **ROWS, **TEMPERATURE),
    Case(name="entropy.entropy_slope", call=entropy.entropy_slope, **ROWS, **TEMPERATURE),
    Case(name="entropy.heat_capacity", call=entropy.heat_capacity, **ROWS, **TEMPERATURE),
    Case(name="entropy.effective_negatives", call=entropy.effective_negatives, **ROWS, **TEMPERATURE),
    Case(name="entropy.effective_margin", call=margin, **ROWS, **TEMPERATURE),
    Case(name="entropy.freezing_temperature", call=entropy.freezing_temperature, **ROWS),
    Case(
        name="entropy.temperature_for_entropy",
        call=entropy.temperature_for_entropy,
        **ROWS,
        parameters={"target": 0.9},
        outside={"target": (0.0, -1.0, 5.0, np.inf)},
        undefined="scores that are all equal have one entropy, log n, at every temperature",
    ),
    Case(
        name="entropy.hold_entropy",
        call=hold,
        **ROWS,
        parameters={"target": 0.8, "rate": 0.5, "max_step": 1.0},
        outside={
            "target": (0.0, -1.0, 5.0, np.inf),
            "rate": (0.0, -1.0, 1.5),
            "max_step": (0.0, -1.0, np.inf),
        },
        exempt={"nan gradient": "the temperature carries no gradient: it is a constant of the step that it is used in"},
    ),
)
