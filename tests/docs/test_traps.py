"""nsx walks past every trap of tests/traps, the checks bite, and the page in the docs has a row for each."""

import numpy as np
import pytest

from tests.traps import REFUSES, Trap, outcome
from tests.traps.__main__ import PAGE, TRAPS

SMALL = [t for t in TRAPS if "draws" not in t.question or t.expected is REFUSES]
LARGE = [t for t in TRAPS if t not in SMALL]


@pytest.mark.parametrize("trap", SMALL, ids=lambda t: t.name)
def test_nsx_passes(trap):
    assert outcome(trap, "nsx") == "passes"


@pytest.mark.slow
@pytest.mark.parametrize("trap", LARGE, ids=lambda t: t.name)
def test_nsx_draws_pass(trap):
    assert outcome(trap, "nsx") == "passes"


def test_some_contestant_fails_each_trap_on_the_page():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]
    assert [r.split(" | ")[0].removeprefix("| ") for r in rows] == [t.name for t in TRAPS]
    for row, trap in zip(rows, TRAPS, strict=True):
        cells = [c.strip() for c in row.strip("|").split("|")][2:]
        assert cells[0] == "**passes**", trap.name
        assert "not installed" not in cells, "fill the page where the peers are installed"


def test_an_outcome_is_judged():
    trap = Trap("", "", np.ones(2), {"right": lambda: [1, 1], "wrong": lambda: [1, 2], "broken": lambda: 1 / 0})
    assert outcome(trap, "right") == "passes"
    assert outcome(trap, "wrong") == "gives 1, 2"
    assert outcome(trap, "broken") == "raises ZeroDivisionError"
    refusal = Trap("", "", REFUSES, {"right": lambda: 1 / 0, "wrong": lambda: 1})
    assert (outcome(refusal, "right"), outcome(refusal, "wrong")) == ("passes", "accepts it")
