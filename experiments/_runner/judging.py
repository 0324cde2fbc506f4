"""From checks to verdicts: of each sentence, of the claim, and of the controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from experiments._runner.checks import Check
from experiments._runner.declarations import Claim, Verdict


def sentence_verdict(checks: Sequence[Check], sentence: int) -> Verdict:
    """Of its own checks that are not weak: all hold, some, or none; undecided where there is none."""
    outcomes = [check.passed for check in checks if check.sentence == sentence and not check.weak]
    if not outcomes:
        return "undecided"
    if all(outcomes):
        return "supported"
    return "conditional" if any(outcomes) else "refuted"


def claim_verdict(claim: Claim, checks: Sequence[Check]) -> Verdict:
    """A theory check that fails refutes; otherwise the claim's sentences decide, those excused left out.

    A claim without sentences (a published table, an extension) is supported by its theory alone.
    """
    theory = [check for check in checks if check.role == "theory"]
    if not all(check.passed for check in theory):
        return "refuted"
    verdicts = [sentence_verdict(checks, i) for i, sentence in enumerate(claim.sentences) if not sentence.excused]
    if not verdicts:
        return "supported" if any(not check.weak for check in theory) else "undecided"
    for verdict in ("supported", "refuted", "undecided"):
        if all(found == verdict for found in verdicts):
            return verdict
    return "conditional"


class Bite(NamedTuple):
    """What the controls showed.

    Attributes:
        overturned: of each control, the checks that come out the other way in it.
        untested: checks that no control overturns, weak ones left out, as they support nothing.
        escaped: controls that overturn nothing.
    """

    overturned: dict[str, list[str]]
    untested: list[str]
    escaped: list[str]


def bite(truth: Sequence[Check], controls: Mapping[str, Sequence[Check]]) -> Bite:
    """Every check must come out the other way in some control, and every control must overturn some check."""
    outcome = {check.name: check.passed for check in truth}
    overturned = {
        wrong: [check.name for check in checks if check.passed != outcome.get(check.name, check.passed)]
        for wrong, checks in controls.items()
    }
    tested = {name for names in overturned.values() for name in names}
    return Bite(
        overturned=overturned,
        untested=[check.name for check in truth if check.name not in tested and not check.weak],
        escaped=[wrong for wrong, names in overturned.items() if not names],
    )


def stated_otherwise(checks: Sequence[Check]) -> list[str]:
    """Checks beyond the chapter that do not come out as stated: the claim must state what was found."""
    return [check.name for check in checks if check.role == "beyond" and not check.passed]
