"""Claims of the new form, as the old runner asks for them. It goes when the last claim of the old form goes.

A claim of the new form declares `CHECKS`, `CONTROLS` and `FIGURE` instead of `verdict`, `controls` and `plot`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import _claim
from experiments._runner import data as npz
from experiments._runner.checks import Check, judged
from experiments._runner.declarations import Claim
from experiments._runner.figure import render
from experiments._runner.judging import bite, claim_verdict, sentence_verdict

NOT_RUN = {"controls"}  # the size at which controls are compared with the truth, never asked for by name


def has_new_form(module: ModuleType) -> bool:
    """True for a claim of the new form."""
    return hasattr(module, "CHECKS")


class NewForm:
    """A claim of the new form under the names of the old one."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.__name__ = module.__name__
        self.__doc__ = module.__doc__
        self.Data = module.Data
        self.CLAIM = _claim.in_old_form(module.CLAIM)
        self.SIZES = {name: size for name, size in module.SIZES.items() if name not in NOT_RUN}

    def compute(self, key: jax.Array, **size: Any) -> NamedTuple:
        """The data under the true mechanism, shapes checked."""
        found = jax.device_get(self.module.compute(key, **size))
        npz.check_shapes(found)
        return found

    def verdict(self, data: NamedTuple) -> tuple[_claim.Check, ...]:
        """The checks, as the old runner keeps them; a sentence whose data are not there has a weak one that fails."""
        checks = judged(self.module.CHECKS, data)
        judged_ones = {check.sentence for check in checks}
        missing = [i for i, s in enumerate(self.module.CLAIM.sentences) if i not in judged_ones and not s.excused]
        absent = [
            _claim.Check(f"no data for sentence {i}", np.nan, np.nan, np.nan, role="chapter", weak=True, sentence=i)
            for i in missing
        ]
        return (*(old_check(check) for check in checks), *absent)

    def evaluate(self, key: jax.Array, size: Mapping[str, Any]) -> tuple[NamedTuple, tuple, _claim.Audit]:
        """Data and checks at this size; controls beside the truth on the same randomness, at the size for controls."""
        found = self.compute(key, **size)
        small = dict(self.module.SIZES.get("controls", self.module.SIZES["quick"]))
        absent = {name: None for name in ("corpus", "dataset") if name in size and size[name] is None}
        small |= absent
        truth = judged(self.module.CHECKS, self.compute(key, **small))
        worlds = {
            wrong: judged(self.module.CHECKS, jax.device_get(self.module.compute(key, mechanism, **small)))
            for wrong, mechanism in self.module.CONTROLS.items()
        }
        shown = bite(truth, worlds)
        escaped = [] if absent else shown.escaped  # what is wrong may concern the data that are not there
        outcome = _claim.Audit(failed=shown.overturned, untested=shown.untested, escaped=escaped)
        return found, self.verdict(found), outcome

    def images(self, data: NamedTuple, *, stamp: str) -> dict[str, bytes]:
        """The figure as PNG and SVG."""
        checks = judged(self.module.CHECKS, data)
        verdict = claim_verdict(self.module.CLAIM, checks)
        broken = broken_sentences(self.module.CLAIM, checks)
        page = self.module.FIGURE.draw(data, statement=self.module.CLAIM.statement, verdict=verdict, broken=broken)
        return render(page, stamp=stamp, svg=True)


def broken_sentences(claim: Claim, checks: tuple[Check, ...]) -> dict[str, str]:
    """The sentences that do not hold, and by how much."""
    broken = {}
    for index, sentence in enumerate(claim.sentences):
        failing = [check for check in checks if check.sentence == index and not check.passed]
        if failing and sentence_verdict(checks, index) != "supported":
            told = [f"{c.name}: {SIGNS[c.relation]} {c.predicted:.3g} asked, {c.measured:.3g} found" for c in failing]
            broken[f"not shown: “{sentence.says}”" if failing[0].weak else f"“{sentence.says}”"] = "; ".join(told)
    return broken


SIGNS = {"equal": "=", "at most": "≤", "at least": "≥"}


def old_check(check: Check) -> _claim.Check:
    """A check in the old record, with what is new of it."""
    return _claim.Check(
        name=check.name,
        predicted=check.predicted,
        measured=check.measured,
        margin=check.margin,
        relation=check.relation,
        role=check.role,
        resolution=check.resolution,
        weak=check.weak,
        sentence=check.sentence,
        because=check.because,
        says=check.says,
    )
