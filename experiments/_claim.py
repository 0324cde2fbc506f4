"""What a claim is: a prediction with a margin, a measurement, a verdict, and worlds in which it must fail."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple

import numpy as np

from experiments._runner import declarations

ROOT = Path(__file__).resolve().parent.parent
GROUPS = ("words", "contrast", "domains", "frontiers", "published")
FALSE_ALARM = 1e-6  # two-sided, per statistical check

Verdict = Literal["supported", "conditional", "refuted", "undecided"]


class Claim(NamedTuple):
    """One statement and where it stands; written with literals only, so that listing needs no import.

    `source` is a chapter (000-003) or a section of one; `references` are keys of references.bib. `expected` is
    the verdict a run must reach, and `why` the reason wherever that is not plain support.
    """

    statement: str
    source: str
    references: tuple[str, ...]
    expected: Verdict = "supported"
    why: str = ""


class Check(NamedTuple):
    """One comparison. `role` tells whose: "theory" is the precise prediction, which must hold; "chapter" is the
    chapter's sentence taken at its word, which a conditional or refuted claim is expected to break; "beyond" is what
    nsx found and no chapter said. A `weak` check resolves too little to support anything: `resolution` is its margin
    over the size of the effect.
    """

    name: str
    predicted: float
    measured: float
    margin: float
    relation: Literal["equal", "at most", "at least"] = "equal"
    role: Literal["theory", "chapter", "beyond"] = "theory"
    resolution: float = 0.0
    weak: bool = False
    sentence: int | None = None
    because: str = ""
    says: str = ""

    @property
    def passed(self) -> bool:
        """True where measured meets predicted within the margin; NaN never passes."""
        gap = self.measured - self.predicted
        if self.relation == "at most":
            return bool(gap <= self.margin)
        if self.relation == "at least":
            return bool(-gap <= self.margin)
        return bool(abs(gap) <= self.margin)


def close(name: str, predicted: Any, measured: Any, margin: Any) -> Check:
    """Every entry within its margin; the check shows the entry that comes nearest to failing."""
    p, m, e = (np.ravel(x) for x in np.broadcast_arrays(predicted, measured, margin))
    with np.errstate(over="ignore"):  # a margin of 0 is legal: replicates that do not vary have no other
        excess = np.abs(m.astype(float) - p) / np.maximum(e.astype(float), np.finfo(float).tiny)
    worst = int(np.argmax(np.where(np.isnan(excess), np.inf, excess)))
    return Check(name, float(p[worst]), float(m[worst]), float(e[worst]))


def at_most(name: str, bound: float, measured: Any, margin: float = 0.0) -> Check:
    """The largest entry is at most the bound."""
    return Check(name, float(bound), float(np.max(measured)), float(margin), "at most")


def at_least(name: str, bound: float, measured: Any, margin: float = 0.0) -> Check:
    """The smallest entry is at least the bound."""
    return Check(name, float(bound), float(np.min(measured)), float(margin), "at least")


def student_margin(replicates: Any, *, alarm: float = FALSE_ALARM) -> np.ndarray:
    """Student-t quantile times the standard error over axis 0: a true mean lies within it but for 1 in 1/alarm."""
    from scipy.special import stdtrit

    rows = np.asarray(replicates, float)
    if len(rows) < 32:
        raise ValueError(f"a Student margin needs at least 32 replicates on axis 0, got {len(rows)}.")
    return stdtrit(len(rows) - 1, 1 - alarm / 2) * rows.std(axis=0, ddof=1) / np.sqrt(len(rows))


def mean_is(name: str, predicted: Any, replicates: Any, *, alarm: float = FALSE_ALARM) -> Check:
    """The mean of the replicates (axis 0) equals the prediction, within Student's margin, in every column."""
    rows = np.asarray(replicates, float)
    return close(name, predicted, rows.mean(axis=0), student_margin(rows, alarm=alarm / max(rows[0].size, 1)))


def at_its_word(check: Check) -> Check:
    """Mark a check as the chapter's own sentence, taken literally."""
    return check._replace(role="chapter")


def judge(checks: Sequence[Check]) -> Verdict:
    """The verdict of a set of checks.

    A theory check that fails refutes. Otherwise the chapter's own sentences decide: all hold (or none is
    listed) is support, none holds is refutation, some do is conditional. A weak check holds nothing.
    """
    chapter = [c.passed and not c.weak for c in checks if c.role == "chapter"]
    if not checks or not all(c.passed for c in checks if c.role == "theory"):
        return "refuted"
    if all(chapter):
        return "supported"
    return "conditional" if any(chapter) else "refuted"


class Audit(NamedTuple):
    """How the controls went: what each one fails, the checks none overturns, the controls that overturn nothing."""

    failed: dict[str, list[str]]
    untested: list[str]
    escaped: list[str]


def audit(checks: Sequence[Check], worlds: dict[str, Sequence[Check]]) -> Audit:
    """Every check must come out the other way in some control, and every control must overturn some check."""
    outcome = {c.name: c.passed for c in checks}
    flips = {w: {c.name for c in cs if c.passed != outcome[c.name]} for w, cs in worlds.items()}
    overturned = set().union(*flips.values()) if flips else set()
    return Audit(
        failed={w: [c.name for c in cs if not c.passed] for w, cs in worlds.items()},
        untested=[name for name in outcome if name not in overturned],
        escaped=[w for w, flipped in flips.items() if not flipped],
    )


def claims() -> dict[str, Path]:
    """Every claim's slug and file; the folder is the registry."""
    found = {}
    for group in GROUPS:
        folder = ROOT / "experiments" / group
        files = {f.stem: f for f in folder.glob("[a-z]*.py")}
        folders = {f.parent.name: f for f in folder.glob("[a-z]*/__init__.py")}
        found |= dict(sorted((files | folders).items()))
    return found


def group_of(slug: str) -> str:
    """The group, a folder of experiments/, that a claim belongs to."""
    return claims()[slug].relative_to(ROOT / "experiments").parts[0]


def describe(file: Path) -> Claim:
    """The CLAIM of a file, read without importing it (so that listing claims does not start jax)."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and node.targets[0].id == "CLAIM":
            if not any(keyword.arg == "source" for keyword in node.value.keywords):
                return in_old_form(declarations.described(node.value))
            return Claim(**{k.arg: ast.literal_eval(k.value) for k in node.value.keywords})
    raise ValueError(f"{file.name} has no CLAIM = Claim(...) written with literal keywords.")


CHAPTERS = {"applications": "000", "principles": "001", "word embeddings": "002", "across fields": "003"}


def in_old_form(claim: declarations.Claim) -> Claim:
    """A declaration of the new form in the record of the old one."""
    places = [f"{CHAPTERS[sentence.chapter]}, {sentence.where}" for sentence in claim.sentences]
    return Claim(
        statement=claim.statement,
        source="; ".join(dict.fromkeys(places)) or "published",
        references=claim.references,
        expected=claim.expected,
        why=claim.finding,
    )


@cache
def load(slug: str) -> ModuleType:
    """The module of a claim."""
    from experiments._runner import side_by_side

    module = importlib.import_module(f"experiments.{group_of(slug)}.{slug}")
    return side_by_side.NewForm(module) if side_by_side.has_new_form(module) else module
