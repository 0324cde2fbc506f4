"""One claim as a page: what every renderer (the report, the site) is given."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments import _claim
from experiments._claim import ROOT
from experiments._runner import declarations
from experiments._runner.checks import IDENTITY
from experiments._runner.declarations import Claim, Sentence

Check = Mapping[str, Any]  # as results record it
USUAL = ("full", 0, "float64", "cpu")  # size, seed, precision, device of the committed results


class Judged(NamedTuple):
    """A sentence of a chapter and what its checks say: supported, conditional, refuted, undecided or excused."""

    sentence: Sentence
    verdict: str


class Control(NamedTuple):
    """A wrong mechanism, and how many of the checks it overturns; None where an older result did not keep that."""

    wrong: str
    overturned: int | None


class Page(NamedTuple):
    """All that is told of a claim.

    Attributes:
        slug: name of claim, figure and file.
        statement: the claim.
        verdict: of its run.
        finding: what came out, in a sentence.
        source: where the claim stands.
        references: keys of references.bib.
        sentences: of the chapters, each with its verdict; empty for a claim of the old form.
        text: prediction, measurement, what would refute it; "" for a claim of the old form.
        captions: of the panels by letter.
        chapter: checks of the chapters' sentences.
        theory: checks of the precise prediction, those that hold to rounding left out.
        identities: how many hold to rounding.
        beyond: checks of what nsx found and no chapter said.
        controls: wrong mechanisms.
        run: size, seed, precision and device, where they are not the usual ones.
        file: the claim's own file.
    """

    slug: str
    statement: str
    verdict: str
    finding: str
    source: str
    references: tuple[str, ...]
    sentences: tuple[Judged, ...]
    text: str
    captions: Mapping[str, str]
    chapter: tuple[Check, ...]
    theory: tuple[Check, ...]
    identities: int
    beyond: tuple[Check, ...]
    controls: tuple[Control, ...]
    run: str
    file: Path


def page_of(slug: str, result: Mapping[str, Any]) -> Page:
    """The page of a claim from its file and its recorded result."""
    file = _claim.claims()[slug]
    source = file.read_text(encoding="utf-8")
    declared = declaration(source)
    shown = _claim.in_old_form(declared) if isinstance(declared, Claim) else declared
    checks = result["checks"]
    theory = [check for check in checks if check["role"] == "theory"]
    return Page(
        slug=slug,
        statement=shown.statement,
        verdict=result["verdict"],
        finding=shown.why,
        source=shown.source,
        references=shown.references,
        sentences=judged_sentences(declared, checks) if isinstance(declared, Claim) else (),
        text=docstring_after_its_first_line(source) if isinstance(declared, Claim) else "",
        captions=captions(slug) if isinstance(declared, Claim) else {},
        chapter=tuple(check for check in checks if check["role"] == "chapter"),
        theory=tuple(check for check in theory if not is_identity(check)),
        identities=sum(is_identity(check) for check in theory),
        beyond=tuple(check for check in checks if check["role"] == "beyond"),
        controls=controls(result, new=isinstance(declared, Claim)),
        run=run_line(result),
        file=file.relative_to(ROOT),
    )


def run_line(result: Mapping[str, Any]) -> str:
    """Size, seed, precision and device of a run; "" where they are those of all committed results."""
    run = (result["size"]["name"], result["seed"], result["dtype"], result["device"])
    return "" if run == USUAL else "{} size, seed {}, {}, {}".format(*run)


def declaration(source: str) -> Claim | _claim.Claim:
    """The CLAIM of a file's text, in its own form."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and node.targets[0].id == "CLAIM":
            if any(keyword.arg == "source" for keyword in node.value.keywords):
                return _claim.Claim(**{k.arg: ast.literal_eval(k.value) for k in node.value.keywords})
            return declarations.described(node.value)
    raise ValueError("there is no CLAIM = Claim(...) written with literal keywords.")


def docstring_after_its_first_line(source: str) -> str:
    """Prediction, measurement and what would refute it, as the claim's file has them."""
    return ast.get_docstring(ast.parse(source)).partition("\n")[2].strip()


def captions(slug: str) -> dict[str, str]:
    """The captions of the figure's panels."""
    return _claim.load(slug).module.FIGURE.captions


def judged_sentences(claim: Claim, checks: Sequence[Check]) -> tuple[Judged, ...]:
    """Each sentence with the verdict of its own checks that are not weak."""
    found = []
    for index, sentence in enumerate(claim.sentences):
        outcomes = [c["passed"] for c in checks if c.get("sentence") == index and not c.get("weak")]
        verdict = "supported" if all(outcomes) else "conditional" if any(outcomes) else "refuted"
        found.append(Judged(sentence, "excused" if sentence.excused else verdict if outcomes else "undecided"))
    return tuple(found)


def controls(result: Mapping[str, Any], *, new: bool) -> tuple[Control, ...]:
    """The wrong mechanisms; results of the old form kept what each fails, also what fails in the truth."""
    return tuple(Control(wrong, len(names) if new else None) for wrong, names in result["controls"].items())


def is_identity(check: Check) -> bool:
    """True for what is asked to hold to rounding: such checks are counted, not listed."""
    if check["relation"] == "at most":
        return abs(check["predicted"]) + abs(check["margin"]) < IDENTITY
    if check["relation"] == "at least":
        return False
    if check.get("resolution"):
        return check["resolution"] < IDENTITY
    return check["margin"] < IDENTITY * max(abs(check["predicted"]), 1.0)


# --- Numbers as a reader wants them

SIGN = {"equal": "=", "at most": "≤", "at least": "≥"}


def number(x: float) -> str:
    """Three significant digits, exponents where they help."""
    if x == 0 or not math.isfinite(x):
        return f"{x:g}"
    return f"{x:.3g}" if 1e-3 <= abs(x) < 1e3 else f"{x:,.0f}" if 1e3 <= abs(x) < 1e5 else f"{x:.1e}"


def allowed_share(check: Check) -> str:
    """How much of what is allowed the error takes, in percent; "" for a bound."""
    if check["relation"] != "equal" or not check["margin"]:
        return ""
    share = abs(check["measured"] - check["predicted"]) / check["margin"]
    return f"{100 * share:.0f} %" if share < 10 else f"{share:.0f} times"


# --- Text that Markdown and HTML show word for word


def plain(text: str) -> str:
    """Text with nothing in it that HTML would take for a tag or a character."""
    return re.sub(r"&(?=#?\w+;)", "&amp;", text).replace("<", "&lt;")


def cell(text: str) -> str:
    """Such text in a table of Markdown, whose cells a bar would end."""
    return plain(text).replace("|", r"\|")
