"""Traps that libraries of this field fell into, as cases that every contestant runs: nsx in the suite, peers on demand.

A contestant is a function without arguments that returns numbers. `python -m tests.traps` fills docs/traps.md with
what passes in the environment it runs in (extra `peers`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Answer = Callable[[], object]
REFUSES = "an error"  # the right answer to input that has none


@dataclass(frozen=True)
class Trap:
    """A question with a known answer.

    Attributes:
        name: what goes wrong, in a few words.
        question: the input and the right answer, for the table.
        expected: numbers from NumPy in float64, or REFUSES.
        contestants: answers by library; every trap has one of "nsx".
        relative, absolute: how far an answer may lie from `expected`.
    """

    name: str
    question: str
    expected: object
    contestants: Mapping[str, Answer]
    relative: float = 1e-3
    absolute: float = 0.0


def outcome(trap: Trap, library: str) -> str | None:
    """The word "passes", the wrong answer in words, or None where the library is not installed."""
    try:
        answer = trap.contestants[library]()
    except ImportError:
        return None
    except Exception as error:  # any refusal counts, whatever its type
        return "passes" if trap.expected is REFUSES else f"raises {type(error).__name__}"
    if trap.expected is REFUSES:
        return "accepts it"
    answer = np.asarray(answer, np.float64)
    if np.allclose(answer, trap.expected, rtol=trap.relative, atol=trap.absolute):
        return "passes"
    return "gives " + ", ".join(f"{a:.4g}" for a in np.ravel(answer))
