"""Fill docs/traps.md with what every library of this environment answers: python -m tests.traps."""

import importlib.metadata
import warnings
from pathlib import Path

from tests.traps import _geometry, _losses, _samplers, outcome

TRAPS = (*_losses.TRAPS, *_samplers.TRAPS, *_geometry.TRAPS)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "traps.md"
HEAD = """# Who passes which trap

Each row is an input on which some library of the field failed, in this version or an earlier one, with the answer that
mathematics gives (NumPy, float64). The same cases run in the test suite for nsx (`tests/traps`). A dash: the library
has no such function, so the question does not arise. The last column is the textbook
formula of the Poincare distance. To fill the table anew: `pip install 'nsx[test,peers]'`, then
`python -m tests.traps`.

"""


def cell(trap, library):
    if library not in trap.contestants:
        return "–"
    answer = outcome(trap, library)
    return "not installed" if answer is None else "**passes**" if answer == "passes" else answer


def page() -> str:
    """The table of all traps, a column a library."""
    libraries = list(dict.fromkeys(library for trap in TRAPS for library in trap.contestants))
    lines = [f"| trap | the right answer | {' | '.join(libraries)} |", "|---" * (len(libraries) + 2) + "|"]
    for trap in TRAPS:
        lines.append(f"| {trap.name} | {trap.question} | {' | '.join(cell(trap, x) for x in libraries)} |")
    versions = ", ".join(f"{x} {importlib.metadata.version(x)}" for x in libraries if x not in ("nsx", "arccosh"))
    return HEAD + "\n".join(lines) + f"\n\nVersions: {versions}.\n"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    PAGE.write_text(page(), encoding="utf-8")
