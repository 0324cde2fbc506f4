"""The report: what every claim predicts, what was measured, and whether the committed files agree."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

from experiments import _claim
from experiments._claim import GROUPS, ROOT, Check, Claim, Verdict
from experiments._runner import page, report

FIGURES = ROOT / "figures"
REPORT = ROOT / "paper_repro.md"
FIELDS = {
    "claim": str,
    "source": str,
    "verdict": str,
    "checks": list,
    "controls": dict,
    "size": dict,
    "seed": int,
    "dtype": str,
    "device": str,
    "versions": dict,
    "data": str,
}


def read_results(folder: Path = FIGURES) -> dict[str, dict[str, Any]]:
    """The results of a folder by claim; a file that is not a whole result is named, not skipped.

    Raises:
        SystemExit: with what is wrong with the file, and what to run.
    """
    results = {}
    for slug in _claim.claims():
        path = folder / f"{slug}.json"
        if path.exists():
            try:
                results[slug] = json.loads(path.read_text(encoding="utf-8"))
                fault = fault_of(results[slug])
            except (OSError, ValueError, RecursionError) as error:
                fault = f"it is not valid JSON ({error})"
            if fault:
                raise SystemExit(f"{path} is no result: {fault}; run: python -m experiments run {slug}")
    return results


def fault_of(result: Any) -> str:
    """What makes a value no result of a claim; "" where it is one."""
    if not isinstance(result, dict):
        return f"it holds {type(result).__name__}, not an object"
    for field, wanted in FIELDS.items():
        if not isinstance(result.get(field), wanted):
            return f"{field!r} is missing or has another type"
    if result["verdict"] not in get_args(Verdict):
        return f"the verdict {result['verdict']!r} is none of {', '.join(get_args(Verdict))}"
    if result["dtype"] not in ("float32", "float64"):
        return f"the dtype {result['dtype']!r} is neither float32 nor float64"
    if "name" not in result["size"]:
        return "'size' has no name"
    if not result["checks"]:
        return "'checks' is empty"
    if not all(
        isinstance(names, list) and all(isinstance(n, str) for n in names) for names in result["controls"].values()
    ):
        return "'controls' are not lists of names"
    return next(filter(None, map(fault_of_check, result["checks"])), "")


def fault_of_check(check: Any) -> str:
    """What makes a value no check; "" where it is one."""
    newer = {"resolution", "weak", "sentence", "because", "says"}  # results of older claims lack them
    if not isinstance(check, dict) or not {*Check._fields, "passed"} - newer <= set(check) <= {
        *Check._fields,
        "passed",
    }:
        return f"a check has not the fields {', '.join(Check._fields)}, passed"
    kinds = get_type_hints(Check)
    for field in ("relation", "role"):
        if check[field] not in get_args(kinds[field]):
            return f"the {field} {check[field]!r} of a check is none of {', '.join(get_args(kinds[field]))}"
    numbers = [check[field] for field in ("predicted", "measured", "margin")]
    if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in numbers):
        return f"a check has something else than numbers: {numbers}"
    if not isinstance(check["name"], str) or not isinstance(check["passed"], bool):
        return "a check has no name, or does not tell whether it passed"
    return ""


def described() -> dict[str, Claim]:
    """Every claim, read without importing it."""
    return {slug: _claim.describe(file) for slug, file in _claim.claims().items()}


def headline(result: dict[str, Any]) -> dict[str, Any]:
    """The check that a card shows: the first that breaks, or else the first."""
    return next((c for c in result["checks"] if not c["passed"]), result["checks"][0])


def pages(results: dict[str, Any]) -> dict[str, list[page.Page]]:
    """The pages of all claims that have a result, by group."""
    found: dict[str, list[page.Page]] = {group: [] for group in GROUPS}
    for slug, result in results.items():
        found[_claim.group_of(slug)].append(page.page_of(slug, result))
    return found


def compose() -> str:
    """The whole of paper_repro.md."""
    return report.compose(pages(read_results()))


def disagreements(folder: Path = FIGURES) -> Iterator[str]:
    """Where data, results, figures, report and README do not tell the same story."""
    import jax

    from experiments import _run

    for slug, result in read_results(folder).items():
        data = folder / f"{slug}.npz"
        if not data.exists():
            yield f"{slug}: {data.name} is missing"
            continue
        content = data.read_bytes()
        if hashlib.sha256(content).hexdigest() != result["data"]:
            yield f"{slug}: {data.name} is not the data of {slug}.json"
            continue
        try:
            with jax.enable_x64(result["dtype"] == "float64"):
                module = _claim.load(slug)
                checks = module.verdict(_run.unpack(module, content))
        except Exception as error:  # data of an older claim, or a claim under work: say so, and go on
            yield f"{slug}: the data cannot be judged, {type(error).__name__}: {error}"
            continue
        if not same_checks(checks, result["checks"]) or _claim.judge(checks) != result["verdict"]:
            yield f"{slug}: judged again, the data give other checks than {slug}.json"
        if result["verdict"] != module.CLAIM.expected:
            yield f"{slug}: verdict {result['verdict']}, expected {module.CLAIM.expected}"
        for suffix in ("png", "svg"):
            figure = folder / f"{slug}.{suffix}"
            if not figure.exists() or result["data"].encode() not in figure.read_bytes():
                yield f"{slug}: {figure.name} was not drawn from this data"
    yield from (f"{slug}: never run" for slug in _claim.claims() if not (folder / f"{slug}.json").exists())
    strays = {f.stem for f in folder.glob("*.*") if re.fullmatch(r"\.(png|svg|json|npz)", f.suffix)}
    yield from (f"{stray}: files of no claim" for stray in sorted(strays - set(_claim.claims())))
    if folder == FIGURES and (not REPORT.exists() or REPORT.read_text(encoding="utf-8") != compose()):
        yield "paper_repro.md is not what the results say; run: python -m experiments report"


def same_checks(checks: tuple[Check, ...], recorded: list[dict[str, Any]]) -> bool:
    """True where both hold the same checks, numbers equal to nine digits."""

    def close(a: float, b: float) -> bool:
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-300) or (math.isnan(a) and math.isnan(b))

    return len(checks) == len(recorded) and all(
        c.name == r["name"]
        and c.passed == r["passed"]
        and all(close(getattr(c, f), r[f]) for f in ("predicted", "measured", "margin"))
        for c, r in zip(checks, recorded, strict=True)
    )
